//! What a store with copies promises about their age, and about sessions that were ended.

use crate::interleaving::give_way;
use crate::support::{Fixture, NOW, create, entry, key, later, move_deadline, text};
use async_trait::async_trait;
use cloakroom::clock::Timestamp;
use cloakroom::session::StoreKey;
use cloakroom::store::near::{Near, NearEntries, NearOptions};
use cloakroom::store::{Entry, Index, Store, StoreError, Version, Written};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const DAY: Duration = Duration::from_secs(86_400);

/// A store that other machines write too, that counts what it is asked, and whose answers can get lost.
#[derive(Debug)]
pub struct Far {
    inner: Arc<dyn Store>,
    loads: AtomicUsize,
    /// What arrives takes place, and nobody hears of it.
    is_mute: AtomicBool,
    /// A load reads, and then takes its time.
    is_slow: AtomicBool,
}

impl Far {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, loads: AtomicUsize::new(0), is_mute: AtomicBool::new(false), is_slow: AtomicBool::new(false) }
    }

    pub fn mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }

    pub fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    fn hear<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if self.is_mute.load(Ordering::SeqCst) {
            return Err(StoreError::TimedOut { store: "far", limit: Duration::from_secs(1) });
        }
        answer
    }
}

#[async_trait]
impl Store for Far {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let found = self.inner.load(key, now).await;
        while self.is_slow.load(Ordering::SeqCst) {
            give_way(1).await;
        }
        self.hear(found)
    }
    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        self.hear(self.inner.create(key, entry, now).await)
    }
    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let written = self.inner.replace(key, entry, expected, now).await;
        give_way(1).await;
        self.hear(written)
    }
    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.hear(self.inner.delete(key).await)
    }
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.hear(self.inner.sweep(now, limit).await)
    }
    fn index(&self) -> Option<&dyn Index> {
        self.inner.index()
    }
    fn promise(&self) -> &'static str {
        self.inner.promise()
    }
}

/// The store as this proxy sees it, and as the others do.
struct Scene {
    near: Arc<Near>,
    entries: Arc<NearEntries>,
    far: Arc<Far>,
    others: Arc<dyn Store>,
}

impl Scene {
    fn new(fresh: Duration, recall: Duration) -> Self {
        let others = Fixture::memory().store();
        let far = Arc::new(Far::new(Arc::clone(&others)));
        let entries = Arc::new(NearEntries::new(NearOptions { fresh, recall, max_bytes: 8 << 20 }));
        let near = Arc::new(Near::around(Arc::clone(&far) as Arc<dyn Store>, Arc::clone(&entries)));
        Self { near, entries, far, others }
    }

    /// Copies that are good for a day, and a session that was read.
    async fn with_session() -> (Self, Version) {
        let scene = Self::new(DAY, DAY);
        let version = create(&*scene.others, &key(1), entry("one")).await;
        assert_eq!(scene.peek().await.as_deref(), Some("one"));
        (scene, version)
    }

    async fn peek(&self) -> Option<String> {
        let found = self.near.peek(&key(1), NOW).await.unwrap();
        found.map(|(entry, _)| String::from_utf8(entry.bytes.to_vec()).unwrap())
    }

    fn recall(&self, now: Timestamp) -> Option<String> {
        let found = self.near.recall(&key(1), now);
        found.map(|(entry, _)| String::from_utf8(entry.bytes.to_vec()).unwrap())
    }

    /// Somebody else's write.
    async fn changed_elsewhere(&self, text: &str) {
        let (_, version) = self.others.load(&key(1), NOW).await.unwrap().unwrap();
        self.others.replace(&key(1), entry(text), version, NOW).await.unwrap();
    }

    fn mute(&self, is_mute: bool) {
        self.far.mute(is_mute);
    }
}

/// Lets a call begin and no more, as when the request goes away that it was made for.
async fn give_up<T>(call: impl Future<Output = T>) {
    tokio::select! { biased; _ = call => panic!("it takes its time"), () = std::future::ready(()) => {} }
}

// Law 9
#[tokio::test]
async fn a_peek_asks_once_and_a_load_asks_always() {
    let (scene, _) = Scene::with_session().await;
    let asked = scene.far.loads();
    scene.changed_elsewhere("two").await;
    assert_eq!(scene.peek().await.as_deref(), Some("one"), "within its age");
    assert_eq!(scene.far.loads(), asked);
    assert_eq!(text(&*scene.near, &key(1), NOW).await.as_deref(), Some("two"));
    assert_eq!(scene.peek().await.as_deref(), Some("two"), "a load is remembered");
    assert_eq!(scene.far.loads(), asked + 1);
    for _ in 0..2 {
        assert!(scene.near.peek(&key(9), NOW).await.unwrap().is_none());
    }
    assert_eq!(scene.far.loads(), asked + 3, "absence is not remembered");
}

// Law 9: by a clock that does not step, whatever `now` says.
#[tokio::test]
async fn a_peek_is_never_older_than_it_says() {
    let fresh = Duration::from_millis(30);
    let scene = Scene::new(fresh, DAY);
    create(&*scene.others, &key(1), entry("0")).await;
    let mut changed = vec![Instant::now()];
    let mut was_old = false;
    while changed.len() < 20 {
        let begun = Instant::now();
        let n: usize = scene.peek().await.unwrap().parse().unwrap();
        // What replaced it had not been there for longer than that.
        if let Some(replaced) = changed.get(n + 1) {
            assert!(begun.saturating_duration_since(*replaced) < fresh);
            was_old = true;
        }
        if changed[changed.len() - 1].elapsed() > fresh / 3 {
            scene.changed_elsewhere(&changed.len().to_string()).await;
            changed.push(Instant::now());
        }
    }
    assert!(was_old, "nothing was ever answered from a copy");
}

#[tokio::test]
async fn without_a_fresh_age_every_peek_asks() {
    let scene = Scene::new(Duration::ZERO, DAY);
    create(&*scene.others, &key(1), entry("one")).await;
    for n in 1..4 {
        scene.peek().await;
        assert_eq!(scene.far.loads(), n);
    }
    assert_eq!(scene.recall(NOW).as_deref(), Some("one"));
    let scene = Scene::new(DAY, Duration::ZERO);
    create(&*scene.near, &key(1), entry("one")).await;
    assert_eq!((scene.peek().await.as_deref(), scene.recall(NOW)), (Some("one"), None));
    assert_eq!(scene.far.loads(), 0, "one's own write is remembered");
}

#[tokio::test]
async fn a_copy_ends_with_its_own_deadline_and_stays_ended() {
    let (scene, _) = Scene::with_session().await;
    assert_eq!(scene.recall(later(10)).as_deref(), Some("one"));
    assert_eq!(scene.recall(later(11)), None);
    assert_eq!(scene.recall(NOW), None, "the clock stepped back");
}

#[tokio::test]
async fn an_acknowledged_write_is_the_copy() {
    let (scene, version) = Scene::with_session().await;
    scene.near.replace(&key(1), entry("two"), version, NOW).await.unwrap();
    let version = move_deadline(&*scene.near, &key(1), later(20), NOW).await;
    let asked = scene.far.loads();
    let copy = scene.near.peek(&key(1), later(15)).await.unwrap().unwrap();
    assert_eq!(copy, (Entry { deadline: later(20), ..entry("two") }, version));
    assert_eq!(scene.far.loads(), asked);
    let version = move_deadline(&*scene.near, &key(1), later(5), NOW).await;
    assert_eq!(scene.near.recall(&key(1), NOW), Some((Entry { deadline: later(5), ..entry("two") }, version)));
    assert_eq!(scene.recall(later(6)), None, "nothing of the longer life is left");
}

#[tokio::test]
async fn what_lost_a_race_is_not_fresh_any_more() {
    let (scene, version) = Scene::with_session().await;
    scene.changed_elsewhere("two").await;
    assert_eq!(scene.near.replace(&key(1), entry("mine"), version, NOW).await.unwrap(), Written::Conflict);
    assert_eq!(scene.recall(NOW).as_deref(), Some("one"), "good enough for an outage");
    assert_eq!(scene.peek().await.as_deref(), Some("two"));
    scene.others.delete(&key(1)).await.unwrap();
    let (_, version) = scene.near.recall(&key(1), NOW).unwrap();
    assert_eq!(scene.near.replace(&key(1), entry("mine"), version, NOW).await.unwrap(), Written::Gone);
    assert_eq!((scene.peek().await, scene.recall(NOW)), (None, None));
}

#[tokio::test]
async fn a_change_of_unknown_outcome_is_asked_for_and_may_be_recalled_as_it_was() {
    let (scene, version) = Scene::with_session().await;
    scene.mute(true);
    assert!(scene.near.replace(&key(1), entry("two"), version, NOW).await.is_err());
    assert_eq!(scene.recall(NOW).as_deref(), Some("one"));
    assert!(scene.near.peek(&key(1), NOW).await.is_err(), "it has to ask");
    scene.mute(false);
    assert_eq!(scene.peek().await.as_deref(), Some("two"));

    // The same when the request was given up in the middle.
    let (_, version) = scene.near.load(&key(1), NOW).await.unwrap().unwrap();
    give_up(scene.near.replace(&key(1), entry("three"), version, NOW)).await;
    let asked = scene.far.loads();
    scene.peek().await;
    assert_eq!(scene.far.loads(), asked + 1);
}

/// A session that someone tried to end is never shown from a copy, though nobody knows what came of it.
async fn check_never_recalled(end: impl AsyncFn(&Near, Version)) {
    let (scene, version) = Scene::with_session().await;
    // What lies there does not change: as if the end were still on its way.
    let still_there = scene.others.load(&key(1), NOW).await.unwrap().unwrap().0;
    scene.mute(true);
    end(&scene.near, version).await;
    assert_eq!(scene.recall(NOW), None);
    scene.mute(false);
    scene.others.delete(&key(1)).await.unwrap();
    create(&*scene.others, &key(1), still_there).await;
    let asked = scene.far.loads();
    for n in 1..3 {
        assert_eq!(scene.peek().await.as_deref(), Some("one"), "the store says that it lives");
        assert_eq!((scene.recall(NOW), scene.far.loads()), (None, asked + n));
    }
}

#[tokio::test]
async fn a_session_that_was_to_end_is_never_recalled() {
    check_never_recalled(async |near, _| assert!(near.delete(&key(1)).await.is_err())).await;
    check_never_recalled(async |near, version| {
        let last = Entry { deadline: NOW, ..entry("tombstone") };
        assert!(near.replace(&key(1), last, version, NOW).await.is_err());
    })
    .await;
    check_never_recalled(async |near, version| {
        let alias = Entry { deadline: later(3), ..entry("alias") };
        assert!(near.replace(&key(1), alias, version, NOW).await.is_err());
    })
    .await;
    // Given up in the middle.
    check_never_recalled(async |near, version| {
        give_up(near.replace(&key(1), Entry { deadline: NOW, ..entry("") }, version, NOW)).await;
    })
    .await;
}

// An end that is acknowledged leaves nothing, and a store full of unknown ends keeps nothing.
#[tokio::test]
async fn ends_leave_no_copy_however_many_there_are() {
    let (scene, _) = Scene::with_session().await;
    scene.near.delete(&key(1)).await.unwrap();
    assert_eq!((scene.recall(NOW), scene.peek().await), (None, None));

    let many = 20_000;
    for n in 0..many {
        create(&*scene.others, &key(n), entry("")).await;
    }
    scene.mute(true);
    for n in 0..many {
        assert!(scene.near.delete(&key(n)).await.is_err());
    }
    scene.mute(false);
    for n in 0..many {
        scene.others.create(&key(n), entry(""), NOW).await.unwrap();
        assert!(scene.near.load(&key(n), NOW).await.unwrap().is_some());
        assert!(scene.near.recall(&key(n), NOW).is_none(), "{n}");
    }
}

// The reader read first and is heard last.
#[tokio::test]
async fn a_slow_read_does_not_undo_what_was_heard_meanwhile() {
    for what in ["a write", "an end", "word from the store"] {
        let scene = Scene::new(DAY, DAY);
        let version = create(&*scene.others, &key(1), entry("one")).await;
        scene.far.is_slow.store(true, Ordering::SeqCst);
        let one = key(1);
        let mut reading = scene.near.load(&one, NOW);
        give_up(&mut reading).await;
        match what {
            "a write" => drop(scene.near.replace(&key(1), entry("two"), version, NOW).await.unwrap()),
            "an end" => scene.near.delete(&key(1)).await.unwrap(),
            _ => {
                scene.changed_elsewhere("two").await;
                scene.entries.forget(&key(1));
            }
        }
        scene.far.is_slow.store(false, Ordering::SeqCst);
        assert!(reading.await.unwrap().is_some_and(|(found, _)| found == entry("one")));
        assert_ne!(scene.recall(NOW).as_deref(), Some("one"), "{what}");
        assert_ne!(scene.peek().await.as_deref(), Some("one"), "{what}");
    }
}

#[tokio::test]
async fn of_two_writes_at_once_neither_is_believed() {
    for is_heard_in_order in [true, false] {
        let (scene, version) = Scene::with_session().await;
        let one = key(1);
        let mut first = scene.near.replace(&one, entry("two"), version, NOW);
        give_up(&mut first).await;
        // It took place, and nobody here has heard so yet.
        let (_, version) = scene.near.load(&one, NOW).await.unwrap().unwrap();
        let longer = Entry { deadline: later(20), ..entry("three") };
        let mut second = scene.near.replace(&one, longer, version, NOW);
        give_up(&mut second).await;
        let heard = if is_heard_in_order { [first.await, second.await] } else { [second.await, first.await] };
        assert!(heard.iter().all(|written| matches!(written, Ok(Written::Done(_)))), "{heard:?}");
        let asked = scene.far.loads();
        assert_eq!(scene.peek().await.as_deref(), Some("three"));
        assert_eq!(scene.far.loads(), asked + 1);
    }
}

#[tokio::test]
async fn what_the_store_says_has_changed_is_neither_fresh_nor_recalled() {
    let (scene, _) = Scene::with_session().await;
    scene.changed_elsewhere("two").await;
    scene.entries.forget(&key(1));
    assert_eq!(scene.recall(NOW), None);
    assert_eq!(scene.peek().await.as_deref(), Some("two"));
}

#[tokio::test]
async fn when_the_word_of_changes_is_lost_nothing_is_fresh_and_all_can_be_recalled() {
    let (scene, _) = Scene::with_session().await;
    let is_asked = async || {
        let asked = scene.far.loads();
        scene.peek().await;
        scene.far.loads() > asked
    };
    assert!(!is_asked().await);
    scene.entries.forget_all();
    assert_eq!(scene.recall(NOW).as_deref(), Some("one"));
    assert!(is_asked().await);
    assert!(!is_asked().await, "what was read since is fresh");
    scene.entries.trust(true);
    assert!(is_asked().await, "nobody told of changes before");
    assert!(!is_asked().await);
    scene.entries.trust(false);
    assert!(is_asked().await && is_asked().await);
    scene.entries.forget_all();
    assert!(is_asked().await && is_asked().await, "still without word");
    assert_eq!(scene.recall(NOW).as_deref(), Some("one"));
    scene.entries.trust(true);
    assert!(is_asked().await, "what was read meanwhile may have changed");
    assert!(!is_asked().await);
}
