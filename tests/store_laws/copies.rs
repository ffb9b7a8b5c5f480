//! Copying a store to another one.

use crate::interleaving::{Stepping, give_way};
use crate::support::{Fixture, NOW, create, entry, key, later, owned, text};
use cloakroom::store::copy::{CopyError, Progress, Summary, copy};
use cloakroom::store::memory::{MemoryLimits, MemoryStore};
use cloakroom::store::moving::Moving;
use cloakroom::store::{Cursor, Entry, Store, Written};
use std::sync::Arc;

const SESSIONS: u64 = 1000;

async fn fill(store: &dyn Store) {
    for n in 0..SESSIONS {
        create(store, &key(n), Entry { deadline: later(30), ..owned(&n.to_string(), "ann") }).await;
    }
}

// Nothing is lost, nothing is overwritten.
pub async fn a_copy_moves_every_live_entry_and_overwrites_nothing(store: Arc<dyn Store>) {
    fill(&*store).await;
    for n in 0..10 {
        create(&*store, &key(5000 + n), entry("expires before it is copied")).await;
    }
    let to = Fixture::memory().store();
    create(&*to, &key(7), entry("newer")).await;
    let mut told = Vec::new();
    let scan = store.scan().expect("this store can be walked");
    let summary = copy(scan, &*to, None, || later(5), &mut |progress| told.push(progress.clone())).await.unwrap();
    assert_eq!(summary, Summary { copied: SESSIONS - 1 + 10, there: 1, skipped: 0, too_large: 0 });
    assert!(told.len() > 3 && told.iter().rev().skip(1).all(|progress| progress.next.is_some()));
    assert_eq!(told.last(), Some(&Progress { summary, next: None }));
    for n in 0..SESSIONS {
        let expected = if n == 7 { "newer".to_owned() } else { n.to_string() };
        assert_eq!(text(&*to, &key(n), later(5)).await, Some(expected));
        assert_eq!(text(&*store, &key(n), later(5)).await, Some(n.to_string()), "a copy takes nothing away");
    }
    let (found, _) = to.load(&key(8), NOW).await.unwrap().unwrap();
    assert!(found == Entry { deadline: later(30), ..owned("8", "ann") });

    // Again: all is there. And with a later clock, the short-lived ones are not.
    let again = copy(scan, &*to, None, || later(5), &mut |_| {}).await.unwrap();
    assert_eq!((again.copied, again.there), (0, SESSIONS + 10));
    let empty = Fixture::memory().store();
    assert_eq!(copy(scan, &*empty, None, || later(11), &mut |_| {}).await.unwrap().copied, SESSIONS);
}

// Killed at any moment, in the middle of a page as well.
pub async fn a_copy_that_is_killed_goes_on_where_it_stopped(store: Arc<dyn Store>) {
    fill(&*store).await;
    let scan = store.scan().expect("this store can be walked");
    let to = Fixture::memory().store();
    let slow = Stepping(Arc::clone(&to));
    // All that survives, as text in a file.
    let mut place: Option<Cursor> = None;
    let mut kills = 0;
    loop {
        let start = place.clone();
        let mut progress = |progress: &Progress| place.clone_from(&progress.next);
        // A page of 256 by eight at a time takes 32 steps and a few.
        let steps = 40 + kills * 7 % 30;
        tokio::select! {
            biased;
            () = give_way(steps) => kills += 1,
            done = copy(scan, &slow, start, || NOW, &mut progress) => {
                done.unwrap();
                break;
            }
        }
        assert!(kills < 100, "it does not get on");
    }
    assert!(kills > 2, "it was killed {kills} times only");
    for n in 0..SESSIONS {
        assert_eq!(text(&*to, &key(n), NOW).await, Some(n.to_string()));
    }

    // A target that fills up says where the copy goes on with a larger one.
    let small = MemoryStore::new(MemoryLimits { max_entries: 600, ..MemoryLimits::default() });
    let Err(CopyError::To { next: Some(next), source }) = copy(scan, &small, None, || NOW, &mut |_| {}).await else {
        panic!("a full store does not take all")
    };
    assert!(source.to_string().contains("full"), "{source}");
    let rest = copy(scan, &*to, Some(next), || NOW, &mut |_| {}).await.unwrap();
    assert!((1..SESSIONS - 256).contains(&rest.there) && rest.copied == 0, "{rest:?}");
}

// Sessions change, begin and end at the same time, through two proxies.
pub async fn a_copy_under_load_loses_nothing_and_revives_nothing(store: Arc<dyn Store>) {
    fill(&*store).await;
    let to = Fixture::memory().store();
    let mut proxies = tokio::task::JoinSet::new();
    for proxy in 0..2 {
        let moving = Moving::new(Arc::clone(&to), Arc::clone(&store));
        proxies.spawn(async move {
            for n in (proxy..SESSIONS).step_by(3) {
                let (_, version) = moving.load(&key(n), NOW).await.unwrap().expect("nobody is logged out");
                if n % 2 == 0 {
                    moving.delete(&key(n)).await.unwrap();
                    continue;
                }
                let changed = Entry { deadline: later(30), ..entry("changed") };
                let written = moving.replace(&key(n), changed, version, NOW).await.unwrap();
                assert!(matches!(written, Written::Done(_)), "{written:?}");
            }
        });
    }
    let scan = store.scan().expect("this store can be walked");
    for _ in 0..3 {
        copy(scan, &*to, None, || NOW, &mut |_| {}).await.unwrap();
        tokio::task::yield_now().await;
    }
    proxies.join_all().await;
    let summary = copy(scan, &*to, None, || NOW, &mut |_| {}).await.unwrap();
    assert_eq!(summary.copied, 0, "all had moved already: {summary:?}");
    let moving = Moving::new(Arc::clone(&to), Arc::clone(&store));
    for n in 0..SESSIONS {
        let expected = match (n % 3, n % 2) {
            (0 | 1, 0) => None,
            (0 | 1, _) => Some("changed".to_owned()),
            _ => Some(n.to_string()),
        };
        for now in [NOW, later(25)] {
            assert_eq!(text(&moving, &key(n), now).await, expected, "{n}");
        }
    }
}
