//! What a cache in front of the store is told.

use super::{at, cluster, open, options, watched};
use crate::servers::redis::{Cluster, Guarded, Server, Watched, text};
use crate::servers::{PATIENCE, until};
use crate::support::{NOW, create, entry, key, later, move_deadline};
use cloakroom::session::StoreKey;
use cloakroom::store::Store;
use cloakroom::store::redis::{Invalidate, RedisStore, Topology};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A cache that holds nothing but what it was told.
#[derive(Debug, Default)]
struct Told(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_trusted: bool,
    forgotten: BTreeSet<StoreKey>,
    all: usize,
}

impl Invalidate for Told {
    fn forget(&self, key: &StoreKey) {
        self.0.lock().forgotten.insert(*key);
    }
    fn forget_all(&self) {
        self.0.lock().all += 1;
    }
    fn trust(&self, tracked: bool) {
        self.0.lock().is_trusted = tracked;
    }
}

impl Told {
    fn when(&self, condition: impl Fn(&State) -> bool) {
        let came = tokio::task::block_in_place(|| until(PATIENCE, || condition(&self.0.lock())));
        assert!(came, "{self:?}");
    }

    fn is_trusted(&self) {
        self.when(|state| state.is_trusted);
    }
}

/// A store with a cache, and another with the same entries.
fn two(topology: Topology) -> (Arc<Told>, RedisStore, RedisStore) {
    let (told, options) = (Arc::new(Told::default()), options(topology));
    let near: Arc<dyn Invalidate> = Arc::clone(&told) as Arc<dyn Invalidate>;
    (told, RedisStore::open(options.clone(), Some(near)).unwrap(), open(options))
}

/// What the other store does is told, key by key.
async fn check_that_changes_are_told(told: &Arc<Told>, store: &RedisStore, other: &RedisStore) {
    store.load(&key(0), NOW).await.unwrap();
    told.is_trusted();
    for n in 0..10 {
        let version = create(other, &key(n), entry("")).await;
        told.when(move |state| state.forgotten.contains(&key(n)));
        for step in 0..3 {
            told.0.lock().forgotten.clear();
            match step {
                0 => drop(other.replace(&key(n), entry("two"), version, NOW).await.unwrap()),
                1 => drop(move_deadline(other, &key(n), later(20), NOW).await),
                _ => other.delete(&key(n)).await.unwrap(),
            }
            told.when(move |state| state.forgotten.contains(&key(n)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_another_changes_is_told_at_once() {
    let (told, store, other) = two(Topology::Single(at(Guarded::shared().server.port)));
    check_that_changes_are_told(&told, &store, &other).await;
    drop(store);
    told.when(|state| !state.is_trusted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_primaries_of_a_cluster_are_listened_to() {
    let (told, store, other) = two(cluster(Cluster::shared()));
    check_that_changes_are_told(&told, &store, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_primary_of_the_sentinels_is_listened_to() {
    let (told, store, other) = two(watched(Watched::shared()));
    check_that_changes_are_told(&told, &store, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_nobody_listens_nothing_is_trusted() {
    let mut server = Server::start();
    let (told, store, other) = two(Topology::Single(at(server.port)));
    check_that_changes_are_told(&told, &store, &other).await;
    let before = told.0.lock().all;
    // Only the connection that listens has the flag.
    let clients = text(&server.run(&["CLIENT", "LIST"]));
    let listening = clients.lines().find(|line| line.contains("flags=t")).expect("somebody listens");
    let id = listening.split_ascii_whitespace().find_map(|word| word.strip_prefix("id=")).unwrap();
    server.run(&["CLIENT", "KILL", "ID", id]);
    told.when(move |state| state.all > before && state.is_trusted);
    check_that_changes_are_told(&told, &store, &other).await;
    // A server that was emptied says so.
    let before = told.0.lock().all;
    server.run(&["FLUSHALL"]);
    told.when(move |state| state.all > before);
    server.kill();
    told.when(|state| !state.is_trusted);
    server.restart();
    check_that_changes_are_told(&told, &store, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_hangs_is_not_trusted() {
    let server = Server::start();
    let topology = Topology::Single(at(server.port));
    let (told, mut limited) = (Arc::new(Told::default()), options(topology));
    limited.timeout = std::time::Duration::from_millis(500);
    let store = RedisStore::open(limited, Some(Arc::clone(&told) as Arc<dyn Invalidate>)).unwrap();
    store.load(&key(1), NOW).await.unwrap();
    told.is_trusted();
    server.daemon().freeze();
    told.when(|state| !state.is_trusted);
    server.daemon().thaw();
    told.is_trusted();
}
