//! Servers that are killed, frozen, demoted or moved while sessions are written.

use super::{at, cluster, in_a_cluster, open, options, plain, url, watched};
use crate::servers::redis::{Cluster, PASSWORD, Server, Watched};
use crate::servers::{PATIENCE, until};
use crate::support::{NOW, create, entry, key, text};
use cloakroom::session::StoreKey;
use cloakroom::store::redis::{RedisOptions, RedisStore, Topology};
use cloakroom::store::{Entry, Store, StoreError, Version, Written};
use redis::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a call may take in these tests.
const LIMIT: Duration = Duration::from_millis(500);

/// A machine on which everything runs at once is given this on top.
const MERCY: Duration = Duration::from_secs(2);

fn quick(topology: Topology) -> Arc<RedisStore> {
    Arc::new(open(RedisOptions { timeout: LIMIT, ..options(topology) }))
}

/// Entries that outlive the test.
fn lasting(text: &str) -> Entry {
    Entry { deadline: crate::support::later(3600), ..entry(text) }
}

/// A call that ends in time, however it ends.
async fn timed<T>(call: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let outcome = call.await;
    assert!(began.elapsed() < LIMIT + MERCY, "it took {:?}", began.elapsed());
    outcome
}

/// Repeats a read until the store is back.
async fn loaded(store: &dyn Store, key: &StoreKey) -> Option<(Entry, Version)> {
    let began = Instant::now();
    loop {
        match timed(store.load(key, NOW)).await {
            Ok(found) => return found,
            Err(error) if began.elapsed() > PATIENCE => panic!("it does not come back: {error:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Counts up in one session until told to stop, and knows at each moment what it may find there.
async fn count_up(store: Arc<RedisStore>, key: StoreKey, stop: Arc<AtomicBool>) -> (u64, u64) {
    let mut version = create(&*store, &key, lasting("0")).await;
    let (mut acknowledged, mut failed) = (0_u64, 0);
    while !stop.load(Ordering::SeqCst) {
        let next = acknowledged + 1;
        match timed(store.replace(&key, lasting(&next.to_string()), version, NOW)).await {
            Ok(Written::Done(now)) => (acknowledged, version) = (next, now),
            Ok(other) => panic!("{other:?}: what was acknowledged under {version:?} is lost"),
            Err(error) => {
                failed += 1;
                let (found, now) = loaded(&*store, &key).await.expect("what was acknowledged is there");
                let found: u64 = String::from_utf8(found.bytes.to_vec()).unwrap().parse().unwrap();
                // A write that certainly did not happen has not happened.
                let most = if error.is_unknown() { next } else { acknowledged };
                assert!((acknowledged..=most).contains(&found), "{found} after {acknowledged}: {error:?}");
                (acknowledged, version) = (found, now);
            }
        }
    }
    let (found, _) = loaded(&*store, &key).await.expect("what was acknowledged is there");
    assert_eq!(found.bytes, acknowledged.to_string().as_bytes());
    (acknowledged, failed)
}

/// Writers on eight sessions, and what happens meanwhile.
async fn under_load(store: &Arc<RedisStore>, happens: impl FnOnce()) -> (u64, u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for n in 0..8 {
        writers.spawn(count_up(Arc::clone(store), key(n), Arc::clone(&stop)));
    }
    tokio::task::block_in_place(happens);
    // Afterwards, it goes on by itself.
    for n in 100..104 {
        while timed(store.create(&key(n), lasting(""), NOW)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    writers.join_all().await.into_iter().fold((0, 0), |sum, (done, failed)| (sum.0 + done, sum.1 + failed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_killed_and_restarted_under_load_loses_nothing_that_it_wrote_down() {
    let mut server = Server::with(&[("appendonly", "yes"), ("appendfsync", "always")]);
    let store = quick(Topology::Single(at(server.port)));
    let (done, failed) = under_load(&store, || {
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(200));
            server.kill();
            std::thread::sleep(Duration::from_millis(700));
            server.restart();
        }
        std::thread::sleep(Duration::from_millis(200));
    })
    .await;
    assert!(done > 0 && failed > 0, "{done} done, {failed} failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_that_is_quick_enough_is_not_noticed_by_reads() {
    let mut server = Server::with(&[("appendonly", "yes")]);
    let store = open(options(Topology::Single(at(server.port))));
    create(&store, &key(1), lasting("one")).await;
    server.kill();
    let reading = tokio::spawn(async move {
        let found = text(&store, &key(1), NOW).await;
        (store, found)
    });
    server.restart();
    let (store, found) = reading.await.unwrap();
    assert_eq!(found.as_deref(), Some("one"));
    // A write that finds its connection gone has certainly not been sent.
    server.kill();
    server.restart();
    let (_, version) = store.load(&key(1), NOW).await.unwrap().unwrap();
    assert!(matches!(store.replace(&key(1), lasting("two"), version, NOW).await.unwrap(), Written::Done(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_frozen_server_costs_no_call_more_than_its_limit() {
    let server = Server::start();
    let store = quick(Topology::Single(at(server.port)));
    let version = create(&*store, &key(1), lasting("one")).await;
    server.daemon().freeze();
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let store = Arc::clone(&store);
        calls.spawn(async move { timed(store.load(&key(1), NOW)).await });
    }
    let outcomes = calls.join_all().await;
    assert!(outcomes.iter().all(Result::is_err), "it answers while it is frozen");
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(StoreError::TimedOut { .. }))), "{outcomes:?}");
    for _ in 0..3 {
        timed(store.replace(&key(1), lasting("two"), version, NOW)).await.unwrap_err();
    }
    server.daemon().thaw();
    let (found, _) = loaded(&*store, &key(1)).await.expect("a time-out is never a logout");
    assert!([b"one", b"two"].contains(&&found.bytes[..].try_into().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_password_is_told_without_the_password() {
    let server = Server::with(&[("requirepass", "right")]);
    // `Server` asks without a password, and is told so: it is up.
    let text = format!("redis://:hunter2@127.0.0.1:{}", server.port);
    for topology in [Topology::Single(url(&text)), Topology::Cluster(vec![url(&text)])] {
        let store = quick(topology);
        let error = timed(store.load(&key(1), NOW)).await.unwrap_err();
        let (mut words, mut next) = (Vec::new(), Some(&error as &dyn std::error::Error));
        while let Some(error) = next {
            words.push(error.to_string());
            next = error.source();
        }
        let words = words.join(": ");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(words.starts_with("redis store is unavailable: 127.0.0.1:"), "{words}");
        assert!(words.contains("refuses the connection: it says WRONGPASS"), "{words}");
        for shown in [words, format!("{error:?} {store:?}")] {
            assert!(!shown.contains("hunter2") && !shown.contains(PASSWORD), "{shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_was_demoted_takes_writes_again_when_it_is_promoted() {
    let server = Server::start();
    let store = quick(Topology::Single(at(server.port)));
    let version = create(&*store, &key(1), lasting("one")).await;
    server.run(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = timed(store.replace(&key(1), lasting("two"), version, NOW)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "it was not executed, and says so: {refused:?}");
    // Meanwhile writers look for a primary, and no reader suffers for it.
    let mut writers = JoinSet::new();
    for n in 2..10 {
        let store = Arc::clone(&store);
        writers.spawn(async move { timed(store.create(&key(n), lasting(""), NOW)).await.unwrap_err() });
    }
    while !writers.is_empty() {
        assert_eq!(text(&*store, &key(1), NOW).await.as_deref(), Some("one"));
        while writers.try_join_next().is_some() {}
    }
    server.run(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(&loaded(&*store, &key(1)).await.unwrap().0.bytes[..], b"one");
    assert!(matches!(store.replace(&key(1), lasting("two"), version, NOW).await.unwrap(), Written::Done(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_sentinels_choose_another_primary_and_the_store_finds_it() {
    let mut servers = Watched::start();
    let store = quick(watched(&servers));
    for n in 0..20 {
        create(&*store, &key(n), lasting(&n.to_string())).await;
    }
    let old = servers.primary().unwrap();
    servers.servers[old].until_copied(2);
    servers.servers[old].kill();
    let new = || servers.primary().is_some_and(|new| new != old);
    // Until then every call fails in time, and none says that there is no session.
    while !new() {
        let _ = timed(store.load(&key(1), NOW)).await.map(|found| found.expect("a failure is never a logout"));
    }
    for n in 0..20 {
        let (found, version) = loaded(&*store, &key(n)).await.expect("what was copied is there");
        assert_eq!(found.bytes, n.to_string().as_bytes());
        let written = timed(store.replace(&key(n), lasting("again"), version, NOW)).await.unwrap();
        assert!(matches!(written, Written::Done(_)), "{written:?}");
    }
    // The old one comes back as a replica, and nobody is taken in by it.
    servers.servers[old].restart();
    let demoted = || {
        let role = servers.servers[old].run(&["ROLE"]);
        matches!(role, Value::Array(parts) if crate::servers::redis::text(&parts[0]) == "slave")
    };
    assert!(until(PATIENCE, demoted), "the Sentinels leave it as it is");
    create(&*store, &key(200), lasting("")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_that_loses_a_primary_goes_on_with_its_replica() {
    let mut servers = Cluster::start();
    let store = quick(cluster(&servers));
    for n in 0..40 {
        create(&*store, &key(n), lasting(&n.to_string())).await;
    }
    for primary in &servers.nodes[..3] {
        primary.until_copied(1);
    }
    // Also the first of the two that the store was told about.
    servers.nodes[0].kill();
    for n in 0..40 {
        let (found, version) = loaded(&*store, &key(n)).await.expect("what was copied is there");
        assert_eq!(found.bytes, n.to_string().as_bytes());
        let began = Instant::now();
        let written = loop {
            match timed(store.replace(&key(n), lasting("again"), version, NOW)).await {
                Ok(written) => break written,
                Err(error) => assert!(!error.is_unknown() && began.elapsed() < PATIENCE, "{error:?}"),
            }
        };
        assert!(matches!(written, Written::Done(_)), "{written:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slots_that_move_under_writers_lose_nothing() {
    let store = Arc::new(in_a_cluster());
    let nodes = &Cluster::shared().nodes;
    let slot_of = |name: &str| nodes[0].run(&["CLUSTER", "KEYSLOT", name]);
    // The slots of the eight sessions that are written, each with whatever else lies there.
    let (done, failed) = under_load(&store, move || {
        use base64::Engine as _;
        for n in 0..8 {
            let name = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key(n).as_bytes());
            let Value::Int(slot) = slot_of(&name) else { panic!("a slot is a number") };
            let slot = slot.to_string();
            for _ in 0..3 {
                Cluster::shared().move_slot(&slot);
            }
        }
    })
    .await;
    assert_eq!(failed, 0, "{done} done: a slot that moves is no failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let server = Server::start();
    let store = quick(Topology::Single(at(server.port)));
    let version = create(&*store, &key(1), lasting("one")).await;
    server.run(&["SCRIPT", "FLUSH"]);
    assert!(matches!(store.replace(&key(1), lasting("two"), version, NOW).await.unwrap(), Written::Done(_)));
    server.run(&["SCRIPT", "FLUSH"]);
    store.delete(&key(1)).await.unwrap();
    assert!(store.load(&key(1), NOW).await.unwrap().is_none());
}

// ST7
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_without_memory_is_full_and_keeps_what_it_has() {
    let server = Server::with(&[("maxmemory", "3mb"), ("maxmemory-policy", "noeviction")]);
    let store = quick(Topology::Single(at(server.port)));
    create(&*store, &key(0), lasting("first")).await;
    let large = Entry { bytes: vec![0; 100_000].into(), ..lasting("") };
    let mut n = 1;
    let refused = loop {
        match store.create(&key(n), large.clone(), NOW).await {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
    assert!(refused.to_string().starts_with("redis store is full: it says OOM: "), "{refused}");
    assert_eq!(text(&*store, &key(0), NOW).await.as_deref(), Some("first"));
    store.delete(&key(1)).await.unwrap();
    assert!(text(&*store, &key(1), NOW).await.is_none());
}

#[test]
fn a_connection_whose_runtime_has_ended_is_replaced() {
    let store = plain();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    first.block_on(async { create(&store, &key(1), lasting("one")).await });
    // Both use it; its connections live on the first.
    let found = std::thread::scope(|scope| {
        let reading = scope.spawn(|| second.block_on(async { text(&store, &key(1), NOW).await }));
        first.block_on(async {
            while !reading.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        reading.join().unwrap()
    });
    assert_eq!(found.as_deref(), Some("one"));
    drop(first);
    let (_, version) = second.block_on(store.load(&key(1), NOW)).unwrap().unwrap();
    let written = second.block_on(store.replace(&key(1), lasting("two"), version, NOW)).unwrap();
    assert!(matches!(written, Written::Done(_)), "{written:?}");
}

/// What is logged meanwhile.
#[derive(Clone, Default)]
struct Log(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// All in one thread, as the log is the thread's.
#[tokio::test]
async fn a_server_that_may_drop_sessions_is_warned_about_once() {
    let server = Server::with(&[("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-lru")]);
    server.run(&["REPLICAOF", "127.0.0.1", "1"]);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let store = quick(Topology::Single(at(server.port)));
    let began = Instant::now();
    loop {
        store.load(&key(1), NOW).await.unwrap();
        let said = String::from_utf8(log.0.lock().clone()).unwrap();
        let times = |words: &str| said.matches(words).count();
        if times("this redis is a replica") > 0 {
            assert_eq!((times("this redis is a replica"), times("may drop live sessions")), (1, 1), "{said}");
            break;
        }
        assert!(began.elapsed() < PATIENCE, "nothing is said: {said}");
    }
}
