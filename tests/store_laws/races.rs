//! Laws under races: many tasks on several threads.

use crate::support::{NOW, create, entry, key, keys_of, later, owned, owner};
use cloakroom::clock::Timestamp;
use cloakroom::store::{Entry, Store, Written};
use std::sync::Arc;
use tokio::task::JoinSet;

fn number(entry: &Entry) -> u64 {
    std::str::from_utf8(&entry.bytes).unwrap().parse().unwrap()
}

/// Law 3; ST3: 64 writers add one by compare-and-swap, and nothing is lost or counted twice.
pub async fn parallel_increments_sum_up(store: Arc<dyn Store>) {
    const WRITERS: u64 = 64;
    const EACH: u64 = 10;
    create(&*store, &key(1), entry("0")).await;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for _ in 0..EACH {
                loop {
                    let (found, version) = store.load(&key(1), NOW).await.unwrap().unwrap();
                    let next = entry(&(number(&found) + 1).to_string());
                    match store.replace(&key(1), next, version, NOW).await.unwrap() {
                        Written::Done(_) => break,
                        Written::Conflict => {}
                        Written::Gone => panic!("nobody deletes it"),
                    }
                }
            }
        });
    }
    writers.join_all().await;
    let (found, _) = store.load(&key(1), NOW).await.unwrap().unwrap();
    assert_eq!(number(&found), WRITERS * EACH);
}

/// Law 2.
pub async fn only_one_of_parallel_creates_wins(store: Arc<dyn Store>) {
    for round in 0..20 {
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                let written = store.create(&key(round), entry(&writer.to_string()), NOW).await.unwrap();
                matches!(written, Written::Done(_)).then_some(writer)
            });
        }
        let winners: Vec<u64> = writers.join_all().await.into_iter().flatten().collect();
        let (found, _) = store.load(&key(round), NOW).await.unwrap().unwrap();
        assert_eq!(winners, [number(&found)]);
    }
}

/// Law 4; SL6: after the acknowledgement of a delete nothing brings the entry back.
pub async fn destroy_racing_writes_revives_nothing(store: Arc<dyn Store>) {
    for round in 0..20 {
        create(&*store, &key(round), owned("0", "ann")).await;
        let mut writers = JoinSet::new();
        for writer in 0..8 {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                loop {
                    let Some((found, version)) = store.load(&key(round), NOW).await.unwrap() else { return };
                    let deadline = if writer % 2 == 0 { later(20) } else { found.deadline };
                    store.replace(&key(round), Entry { deadline, ..found }, version, NOW).await.unwrap();
                }
            });
        }
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        store.delete(&key(round)).await.unwrap();
        assert!(store.load(&key(round), NOW).await.unwrap().is_none());
        // Each writer ends only when it finds nothing.
        writers.join_all().await;
        assert!(store.load(&key(round), NOW).await.unwrap().is_none());
        assert_eq!(keys_of(&*store, "ann", NOW).await, []);
    }
}

/// Law 8: changes of owner, deletes, expiry and new entries at once, on few keys.
pub async fn the_index_agrees_with_the_entries_after_a_race(store: Arc<dyn Store>) {
    const KEYS: u64 = 5;
    let names = ["ann", "bob"];
    let mut writers = JoinSet::new();
    for writer in 0..8_u64 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for step in 0..40 {
                let (key, name) = (key((writer + step) % KEYS), names[usize::from((writer * 7 + step) % 3 == 0)]);
                // Some clocks are ahead, so that entries expire in the middle of everything.
                let now = later((writer * step) % 3 * 6);
                let fresh = Entry { deadline: now.after(std::time::Duration::from_secs(5)), ..owned("", name) };
                match step % 5 {
                    0 => store.delete(&key).await.unwrap(),
                    1 | 2 => drop(store.create(&key, fresh, now).await.unwrap()),
                    3 => drop(store.sweep(now, 2).await.unwrap()),
                    _ => {
                        if let Some((_, version)) = store.load(&key, now).await.unwrap() {
                            store.replace(&key, fresh, version, now).await.unwrap();
                        }
                    }
                }
            }
        });
    }
    writers.join_all().await;
    let now = Timestamp::default();
    let mut listed = Vec::new();
    for name in names {
        for key in keys_of(&*store, name, now).await {
            let (found, _) = store.load(&key, now).await.unwrap().expect("the index lists live keys only");
            assert_eq!(found.owner, Some(owner(name)));
            listed.push(key);
        }
    }
    for key in (0..KEYS).map(key) {
        let lives = store.load(&key, now).await.unwrap().is_some();
        assert_eq!(listed.iter().filter(|listed| **listed == key).count(), usize::from(lives));
    }
}

/// Laws 1 and 3, where a cache is in between: versions only grow, in every reader's eyes.
pub async fn nobody_sees_an_older_state_after_a_newer_one(store: Arc<dyn Store>) {
    const LAST: u64 = 200;
    let mut version = create(&*store, &key(1), entry("0")).await;
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let store = Arc::clone(&store);
        readers.spawn(async move {
            let mut seen = 0;
            while seen < LAST {
                let (found, _) = store.load(&key(1), NOW).await.unwrap().unwrap();
                assert!(number(&found) >= seen, "{} after {seen}", number(&found));
                seen = number(&found);
                tokio::task::yield_now().await;
            }
        });
    }
    for n in 1..=LAST {
        let Written::Done(next) = store.replace(&key(1), entry(&n.to_string()), version, NOW).await.unwrap() else {
            panic!("nobody else writes")
        };
        version = next;
        let (found, _) = store.load(&key(1), NOW).await.unwrap().unwrap();
        assert_eq!(number(&found), n, "one's own write is seen at once");
    }
    readers.join_all().await;
}
