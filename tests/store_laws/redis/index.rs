//! The owner index and the walk, where Redis does them in its own way.

use super::{RedisOptions, at, in_a_cluster, open, options, over_tls_as_a_user, plain};
use crate::servers::redis::Server;
use crate::support::{NOW, create, entry, key, keys_of, later, owned};
use cloakroom::session::StoreKey;
use cloakroom::store::redis::{RedisStore, Topology};
use cloakroom::store::{Cursor, Entry, Store, Written};
use redis::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

fn sets(server: &Server, pattern: &str) -> Vec<String> {
    let Value::Array(names) = server.run(&["KEYS", pattern]) else { panic!("names are a list") };
    names.iter().map(crate::servers::redis::text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_that_is_extended_again_and_again_stays_listed() {
    let server = Server::start();
    let store = open(options(Topology::Single(at(server.port))));
    let mut version = create(&store, &key(1), owned("", "ann")).await;
    // Hours beyond what the first listing covers.
    for hour in 1..20 {
        let (now, deadline) = (later(hour * 3600), later((hour + 1) * 3600));
        let before = if hour == 1 { NOW } else { now };
        let fresh = Entry { deadline, ..owned("", "ann") };
        let Written::Done(next) = store.replace(&key(1), fresh, version, before).await.unwrap() else {
            panic!("the version was right")
        };
        version = next;
        // Others come and go, and take with them what nobody is listed for any more.
        create(&store, &key(100 + hour), owned("", "ann")).await;
        store.delete(&key(100 + hour)).await.unwrap();
        assert_eq!(keys_of(&store, "ann", now).await, [key(1)], "after {hour} hours");
    }
    let [set] = &sets(&server, "app:*o:*")[..] else { panic!("one owner, one set") };
    assert_eq!(server.run(&["ZCARD", set]), Value::Int(1), "it is listed once");
    let Value::Int(left) = server.run(&["PTTL", set]) else { panic!("a time is a number") };
    assert!(left > 3_600_000, "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_end_leave_nothing_behind() {
    let server = Server::start();
    let store = open(options(Topology::Single(at(server.port))));
    let mut versions = Vec::new();
    for n in 0..6 {
        versions.push(create(&store, &key(n), owned("", "ann")).await);
    }
    store.delete(&key(0)).await.unwrap();
    store.replace(&key(1), entry("nobody's"), versions[1], NOW).await.unwrap();
    store.delete(&key(1)).await.unwrap();
    assert!(store.load(&key(2), later(11)).await.unwrap().is_none());
    let longer = Entry { deadline: later(30), ..owned("", "ann") };
    assert_eq!(store.replace(&key(3), longer, versions[3], later(11)).await.unwrap(), Written::Gone);
    assert_eq!(store.create(&key(4), owned("", "ann"), NOW).await.unwrap(), Written::Conflict);
    for n in [4, 5] {
        store.delete(&key(n)).await.unwrap();
    }
    assert_eq!(server.run(&["DBSIZE"]), Value::Int(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_index_that_lies_is_not_believed() {
    let server = Server::start();
    let store = open(options(Topology::Single(at(server.port))));
    create(&store, &key(1), owned("", "ann")).await;
    create(&store, &key(2), owned("", "bob")).await;
    let mut owners = sets(&server, "app:*o:*");
    owners.sort();
    // Everybody's sessions are in everybody's set, with a few things that are no sessions at all.
    for (from, to) in [(0, 1), (1, 0)] {
        server.run(&["ZUNIONSTORE", &owners[to], "2", &owners[from], &owners[to]]);
        server.run(&["ZADD", &owners[to], "NaN".replace("NaN", "1").as_str(), "short"]);
        server.run(&["ZADD", &owners[to], "9e15", &"x".repeat(40)]);
    }
    assert_eq!(keys_of(&store, "ann", NOW).await, [key(1)]);
    assert_eq!(keys_of(&store, "bob", NOW).await, [key(2)]);
}

/// All that a walk sees, with a pause for what happens meanwhile after the first page.
async fn walk(store: &RedisStore, meanwhile: impl FnOnce()) -> BTreeSet<StoreKey> {
    let (mut seen, mut from, mut meanwhile) = (BTreeSet::new(), None::<Cursor>, Some(meanwhile));
    loop {
        let page = store.scan().unwrap().page(from.as_ref(), 20, NOW).await.unwrap();
        for (key, found) in page.entries {
            assert_eq!(found.bytes, format!("{key:?}").as_bytes());
            seen.insert(key);
        }
        if let Some(meanwhile) = meanwhile.take() {
            meanwhile();
        }
        let Some(next) = page.next else { return seen };
        assert!(next.0.bytes().all(|byte| byte.is_ascii_graphic()), "{next:?}");
        from = Some(next);
    }
}

async fn fill(store: &RedisStore, count: u64) -> BTreeSet<StoreKey> {
    for n in 0..count {
        let deadline = later(3600);
        create(store, &key(n), Entry { deadline, ..owned(&format!("{:?}", key(n)), "ann") }).await;
    }
    create(store, &key(count), Entry { deadline: NOW, ..entry("gone") }).await;
    store.delete(&key(count)).await.unwrap();
    (0..count).map(key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_walk_sees_every_entry_on_every_server() {
    for store in [plain(), over_tls_as_a_user(), in_a_cluster()] {
        let expected = fill(&store, 150).await;
        assert!(store.scan().unwrap().count().await.unwrap() >= 150);
        assert_eq!(walk(&store, || {}).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_walk_goes_on_after_a_restart_of_the_server() {
    let mut server = Server::with(&[("appendonly", "yes"), ("appendfsync", "always")]);
    let store = open(options(Topology::Single(at(server.port))));
    let expected = fill(&store, 150).await;
    let seen = walk(&store, || {
        server.kill();
        server.restart();
    });
    assert_eq!(seen.await, expected);
}

/// Law 3, with numbers that take their time.
async fn hammer(each: u64) {
    const WRITERS: u64 = 64;
    const KEYS: u64 = 16;
    let store = Arc::new(open(RedisOptions { connections: 4, ..options(cluster_of_all()) }));
    for n in 0..KEYS {
        create(&*store, &key(n), entry("0")).await;
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for step in 0..each {
                let key = key((writer + step) % KEYS);
                loop {
                    let (found, version) = store.load(&key, NOW).await.unwrap().unwrap();
                    let number: u64 = std::str::from_utf8(&found.bytes).unwrap().parse().unwrap();
                    let next = entry(&(number + 1).to_string());
                    if matches!(store.replace(&key, next, version, NOW).await.unwrap(), Written::Done(_)) {
                        break;
                    }
                }
            }
        });
    }
    writers.join_all().await;
    let mut sum = 0;
    for n in 0..KEYS {
        let (found, _) = store.load(&key(n), NOW).await.unwrap().unwrap();
        sum += std::str::from_utf8(&found.bytes).unwrap().parse::<u64>().unwrap();
    }
    assert_eq!(sum, WRITERS * each);
}

fn cluster_of_all() -> Topology {
    super::cluster(crate::servers::redis::Cluster::shared())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_on_few_sessions_of_a_cluster_lose_nothing() {
    hammer(30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes a quarter of a minute"]
async fn very_many_writes_on_few_sessions_of_a_cluster_lose_nothing() {
    hammer(1000).await;
}
