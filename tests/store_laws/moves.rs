//! A cut-over from one store to another: nobody is logged out, nobody is revived, in whatever order things happen.

use crate::interleaving::{Stepping, Task, every_order};
use crate::support::{Fixture, NOW, create, entry, key, keys_of, later, owned, text};
use async_trait::async_trait;
use cloakroom::clock::Timestamp;
use cloakroom::session::StoreKey;
use cloakroom::store::moving::Moving;
use cloakroom::store::{Entry, Index, Store, StoreError, Version, Written};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// For the laws: each key's first entry is made in the old store, and moves when it is first used.
#[derive(Debug)]
pub struct FromOld {
    moving: Moving,
    old: Arc<dyn Store>,
    made: Mutex<HashSet<StoreKey>>,
}

impl FromOld {
    pub fn new(new: Arc<dyn Store>, old: Arc<dyn Store>) -> Self {
        Self { moving: Moving::new(new, Arc::clone(&old)), old, made: Mutex::default() }
    }
}

#[async_trait]
impl Store for FromOld {
    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        if !self.made.lock().unwrap().insert(*key) {
            return self.moving.create(key, entry, now).await;
        }
        match self.old.create(key, entry, now).await? {
            Written::Done(_) => Ok(match self.moving.load(key, now).await? {
                Some((_, version)) => Written::Done(version),
                None => Written::Gone,
            }),
            other => Ok(other),
        }
    }
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        self.moving.load(key, now).await
    }
    async fn peek(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        self.moving.peek(key, now).await
    }
    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        self.moving.replace(key, entry, expected, now).await
    }
    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.moving.delete(key).await
    }
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.moving.sweep(now, limit).await
    }
    fn index(&self) -> Option<&dyn Index> {
        self.moving.index()
    }
    fn promise(&self) -> &'static str {
        self.moving.promise()
    }
}

/// It would live longer than a minute.
fn session(text: &str) -> Entry {
    Entry { deadline: later(600), ..owned(text, "ann") }
}

/// What is written over it: the deadline moves, too.
fn extended(text: &str) -> Entry {
    Entry { deadline: later(700), ..owned(text, "ann") }
}

/// The two stores, and two proxies that move sessions from one to the other.
struct Pair {
    new: Arc<dyn Store>,
    old: Arc<dyn Store>,
    proxies: [Arc<Moving>; 2],
}

impl Pair {
    fn new() -> Self {
        Self::of(Fixture::memory().store(), Fixture::memory().store())
    }

    fn of(new: Arc<dyn Store>, old: Arc<dyn Store>) -> Self {
        let stepping = |store: &Arc<dyn Store>| Arc::new(Stepping(Arc::clone(store))) as Arc<dyn Store>;
        let proxy = || Arc::new(Moving::new(stepping(&new), stepping(&old)));
        let proxies = [proxy(), proxy()];
        Self { new, old, proxies }
    }

    /// A session in the old store.
    async fn with_session() -> Self {
        let pair = Self::new();
        create(&*pair.old, &key(1), session("one")).await;
        pair
    }

    /// A third proxy, to see what is left.
    fn later(&self) -> Moving {
        Moving::new(Arc::clone(&self.new), Arc::clone(&self.old))
    }

    async fn assert_ended(&self, order: &str) {
        assert_eq!(keys_of(&self.later(), "ann", NOW).await, [], "{order}");
        // Whoever read the entry before and comes late with it, as long as it would have lived.
        for now in [NOW, later(61), later(600)] {
            assert_eq!(self.new.create(&key(1), session("one"), now).await.unwrap(), Written::Conflict, "{order}");
        }
        for now in [NOW, later(61), later(600), later(1000)] {
            let found = self.later().load(&key(1), now).await.unwrap();
            assert!(found.is_none(), "{order}: {found:?} came back");
        }
    }

    async fn assert_lives(&self, expected: &Entry, order: &str) {
        let (found, _) = self.later().load(&key(1), NOW).await.unwrap().expect(order);
        assert!(found == *expected, "{order}: {found:?} instead of {expected:?}");
        assert_eq!(keys_of(&self.later(), "ann", NOW).await, [key(1)], "{order}");
    }
}

fn reads(proxy: &Arc<Moving>, expected: &'static [&'static str]) -> Task {
    let proxy = Arc::clone(proxy);
    Box::pin(async move {
        let found = text(&*proxy, &key(1), NOW).await.unwrap_or_else(|| "nothing".to_owned());
        assert!(expected.contains(&found.as_str()), "{found} was read");
    })
}

fn writes(proxy: &Arc<Moving>) -> Task {
    let proxy = Arc::clone(proxy);
    Box::pin(async move {
        let (_, version) = proxy.load(&key(1), NOW).await.unwrap().expect("nobody is logged out");
        let written = proxy.replace(&key(1), extended("two"), version, NOW).await.unwrap();
        assert!(matches!(written, Written::Done(_)), "{written:?}");
    })
}

/// Goes on until the session has ended, or is written.
fn tries_to_write(proxy: &Arc<Moving>) -> Task {
    let proxy = Arc::clone(proxy);
    Box::pin(async move {
        while let Some((_, version)) = proxy.load(&key(1), NOW).await.unwrap() {
            if let Written::Done(_) = proxy.replace(&key(1), extended("two"), version, NOW).await.unwrap() {
                return;
            }
        }
    })
}

fn ends(proxy: &Arc<Moving>) -> Task {
    let proxy = Arc::clone(proxy);
    Box::pin(async move {
        // Before it ends a session, a proxy has looked at it.
        proxy.load(&key(1), NOW).await.unwrap();
        proxy.delete(&key(1)).await.unwrap();
    })
}

/// Ends all sessions of an owner, without a look at any.
fn ends_by_owner(proxy: &Arc<Moving>) -> Task {
    let proxy = Arc::clone(proxy);
    Box::pin(async move {
        for key in keys_of(&*proxy, "ann", NOW).await {
            proxy.delete(&key).await.unwrap();
        }
    })
}

/// Lists the sessions of somebody who has one, under one id or another.
fn lists(proxy: &Arc<Moving>) -> Task {
    let proxy = Arc::clone(proxy);
    Box::pin(async move { assert_ne!(keys_of(&*proxy, "ann", NOW).await, [], "nobody is overlooked") })
}

/// Gives a session another id: the new entry comes first, then the old one is nobody's.
fn moves_on(proxy: &Arc<Moving>) -> Task {
    let proxy = Arc::clone(proxy);
    Box::pin(async move {
        let (_, version) = proxy.load(&key(1), NOW).await.unwrap().expect("nobody is logged out");
        create(&*proxy, &key(2), session("one")).await;
        let farewell = Entry { deadline: later(10), ..entry("farewell") };
        let written = proxy.replace(&key(1), farewell, version, NOW).await.unwrap();
        assert!(matches!(written, Written::Done(_)), "{written:?}");
    })
}

/// What the copying command does with one entry.
fn copies(pair: &Pair) -> Task {
    let (new, old) = (Stepping(Arc::clone(&pair.new)), Stepping(Arc::clone(&pair.old)));
    Box::pin(async move {
        if let Some((entry, _)) = old.load(&key(1), NOW).await.unwrap() {
            new.create(&key(1), entry, NOW).await.unwrap();
        }
    })
}

async fn in_every_order(tasks: impl Fn(&Pair) -> [Task; 2], lives: Option<Entry>) {
    // The same stores each time: to make them costs more than a run.
    let (new, old) = (Fixture::memory().store(), Fixture::memory().store());
    let set_up = async || {
        new.delete(&key(1)).await.unwrap();
        old.delete(&key(1)).await.unwrap();
        create(&*old, &key(1), session("one")).await;
        let pair = Pair::of(Arc::clone(&new), Arc::clone(&old));
        let tasks = tasks(&pair);
        (pair, tasks)
    };
    let lives = lives.as_ref();
    let orders = every_order(set_up, |pair, order| async move {
        match lives {
            Some(expected) => pair.assert_lives(expected, &order).await,
            None => pair.assert_ended(&order).await,
        }
    });
    let orders = orders.await;
    assert!(orders > 5, "only {orders} orders");
}

#[tokio::test]
async fn two_readers_both_find_the_session() {
    in_every_order(|pair| [reads(&pair.proxies[0], &["one"]), reads(&pair.proxies[1], &["one"])], Some(session("one")))
        .await;
    in_every_order(|pair| [reads(&pair.proxies[0], &["one"]), copies(pair)], Some(session("one"))).await;
}

#[tokio::test]
async fn a_reader_finds_the_session_while_another_changes_it() {
    in_every_order(|pair| [reads(&pair.proxies[0], &["one", "two"]), writes(&pair.proxies[1])], Some(extended("two")))
        .await;
}

#[tokio::test]
async fn a_copy_never_takes_a_change_back() {
    in_every_order(|pair| [copies(pair), writes(&pair.proxies[1])], Some(extended("two"))).await;
    in_every_order(|pair| [tries_to_write(&pair.proxies[0]), tries_to_write(&pair.proxies[1])], Some(extended("two")))
        .await;
}

#[tokio::test]
async fn nothing_that_races_with_an_end_revives_the_session() {
    in_every_order(|pair| [ends(&pair.proxies[0]), reads(&pair.proxies[1], &["one", "nothing"])], None).await;
    in_every_order(|pair| [ends(&pair.proxies[0]), copies(pair)], None).await;
    in_every_order(|pair| [ends(&pair.proxies[0]), tries_to_write(&pair.proxies[1])], None).await;
    in_every_order(|pair| [ends(&pair.proxies[0]), ends(&pair.proxies[1])], None).await;
    in_every_order(|pair| [ends_by_owner(&pair.proxies[0]), reads(&pair.proxies[1], &["one", "nothing"])], None).await;
    in_every_order(|pair| [ends_by_owner(&pair.proxies[0]), copies(pair)], None).await;
    in_every_order(|pair| [ends_by_owner(&pair.proxies[0]), tries_to_write(&pair.proxies[1])], None).await;
}

#[tokio::test]
async fn a_session_that_gets_another_id_meanwhile_is_listed() {
    let (new, old) = (Fixture::memory().store(), Fixture::memory().store());
    let set_up = async || {
        for key in [key(1), key(2)] {
            new.delete(&key).await.unwrap();
            old.delete(&key).await.unwrap();
        }
        create(&*old, &key(1), session("one")).await;
        let pair = Pair::of(Arc::clone(&new), Arc::clone(&old));
        let tasks = [lists(&pair.proxies[0]), moves_on(&pair.proxies[1])];
        (pair, tasks)
    };
    let orders = every_order(set_up, |pair, order| async move {
        assert_eq!(keys_of(&pair.later(), "ann", NOW).await, [key(2)], "{order}");
    });
    assert!(orders.await > 5);
}

#[tokio::test]
async fn a_session_of_the_old_store_is_found_copied_and_kept_out_of_the_way_of_new_ones() {
    let pair = Pair::with_session().await;
    let proxy = pair.later();
    assert_eq!(proxy.create(&key(1), entry("other"), NOW).await.unwrap(), Written::Conflict);
    assert_eq!(keys_of(&proxy, "ann", NOW).await, [key(1)]);
    let (found, version) = proxy.peek(&key(1), NOW).await.unwrap().unwrap();
    assert_eq!((found.clone(), version), pair.new.load(&key(1), NOW).await.unwrap().unwrap());
    assert!(found == session("one"));
    assert!(pair.old.load(&key(1), NOW).await.unwrap().is_some(), "a read takes nothing away");
    proxy.replace(&key(1), entry("two"), version, NOW).await.unwrap();
    assert!(pair.old.load(&key(1), NOW).await.unwrap().is_none(), "a write does");
}

#[tokio::test]
async fn what_expires_in_the_new_store_has_nothing_behind_it() {
    let pair = Pair::new();
    create(&*pair.old, &key(1), Entry { deadline: later(1000), ..entry("one") }).await;
    let proxy = pair.later();
    let (_, version) = proxy.load(&key(1), NOW).await.unwrap().unwrap();
    proxy.replace(&key(1), entry("short"), version, NOW).await.unwrap();
    assert_eq!(text(&proxy, &key(1), later(11)).await, None);
}

#[tokio::test]
async fn a_new_session_may_take_the_place_of_an_end() {
    let pair = Pair::with_session().await;
    let proxy = pair.later();
    proxy.load(&key(1), NOW).await.unwrap();
    proxy.delete(&key(1)).await.unwrap();
    create(&proxy, &key(1), session("anew")).await;
    pair.assert_lives(&session("anew"), "").await;
    assert_eq!(proxy.create(&key(1), entry("twice"), NOW).await.unwrap(), Written::Conflict);
}

/// An old store that does not answer.
#[derive(Debug)]
struct Silent;

fn silence<T>() -> Result<T, StoreError> {
    Err(StoreError::TimedOut { store: "old", limit: Duration::from_secs(1) })
}

#[async_trait]
impl Store for Silent {
    async fn load(&self, _: &StoreKey, _: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        silence()
    }
    async fn create(&self, _: &StoreKey, _: Entry, _: Timestamp) -> Result<Written, StoreError> {
        silence()
    }
    async fn replace(&self, _: &StoreKey, _: Entry, _: Version, _: Timestamp) -> Result<Written, StoreError> {
        silence()
    }
    async fn delete(&self, _: &StoreKey) -> Result<(), StoreError> {
        silence()
    }
    async fn sweep(&self, _: Timestamp, _: usize) -> Result<usize, StoreError> {
        silence()
    }
    fn index(&self) -> Option<&dyn Index> {
        None
    }
    fn promise(&self) -> &'static str {
        "nothing"
    }
}

// Law 6: a time-out is never a logout.
#[tokio::test]
async fn what_the_old_store_does_not_answer_is_unknown_and_not_absent() {
    let new = Fixture::memory().store();
    let version = create(&*new, &key(1), entry("moved already")).await;
    let proxy = Moving::new(Arc::clone(&new), Arc::new(Silent));
    assert_eq!(text(&proxy, &key(1), NOW).await.as_deref(), Some("moved already"));
    assert!(proxy.load(&key(2), NOW).await.is_err());
    assert!(proxy.peek(&key(2), NOW).await.is_err());
    assert!(proxy.create(&key(2), entry(""), NOW).await.is_err());
    assert!(proxy.replace(&key(1), entry(""), version, NOW).await.is_err());
    assert!(proxy.delete(&key(1)).await.is_err());
    assert!(proxy.index().is_none(), "sessions that are not found cannot be ended");
    assert_eq!(text(&proxy, &key(1), NOW).await.as_deref(), Some("moved already"), "nothing was half done");
}
