//! What only the memcached store promises: how it behaves when servers do not.

use crate::servers::fake_memcached::{FakeMemcached, Manner};
use crate::servers::memcached::Memcached;
use crate::support::{
    NOW, create, entry, key, keys_of, later, memcached_options, move_deadline, open_memcached, owned, owner, text,
};
use bytes::Bytes;
use cloakroom::store::memcached::{MemcachedOptions, MemcachedServer, MemcachedStore};
use cloakroom::store::{Entry, Store as _, StoreError, Written};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const DAY: u64 = 86_400;

fn patient(servers: &[&Memcached], limit: Duration) -> MemcachedStore {
    MemcachedStore::open(MemcachedOptions { timeout: limit, ..memcached_options(servers) })
}

/// One connection to a server with these manners.
fn faked(manners: &[Manner]) -> (FakeMemcached, MemcachedStore) {
    let fake = FakeMemcached::start(manners);
    let servers = vec![MemcachedServer::parse(&fake.name()).unwrap()];
    let store = MemcachedStore::open(MemcachedOptions { servers, connections: 1, ..memcached_options(&[]) });
    (fake, store)
}

/// Asks until there is an answer; whatever comes before must be an error, never an absent session.
async fn answered(store: &MemcachedStore, n: u64) -> Option<String> {
    let start = Instant::now();
    loop {
        match store.load(&key(n), NOW).await {
            Ok(found) => return found.map(|(entry, _)| String::from_utf8(entry.bytes.to_vec()).unwrap()),
            Err(error) => assert!(start.elapsed() < Duration::from_secs(30), "no recovery: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// ST8: as the promise says.
#[tokio::test]
async fn a_server_started_anew_knows_nothing_and_serves_on() {
    let mut server = Memcached::on_port(&[]);
    let store = open_memcached(&[&server]);
    let version = create(&store, &key(1), owned("one", "ann")).await;
    server.kill();
    assert!(store.load(&key(1), NOW).await.is_err(), "unknown, not absent");
    server.start_again();
    assert_eq!(answered(&store, 1).await, None);
    assert_eq!(keys_of(&store, "ann", NOW).await, []);
    assert_eq!(store.replace(&key(1), entry("two"), version, NOW).await.unwrap(), Written::Gone);
    create(&store, &key(1), entry("three")).await;
    assert_eq!(text(&store, &key(1), NOW).await.as_deref(), Some("three"));
}

// Law 3: memcached counts its unique numbers from one again.
#[tokio::test]
async fn a_version_from_an_earlier_life_of_the_server_fits_nothing() {
    let mut server = Memcached::on_port(&[]);
    let store = open_memcached(&[&server]);
    let old = create(&store, &key(1), entry("one")).await;
    server.kill();
    server.start_again();
    assert_eq!(answered(&store, 1).await, None);
    create(&store, &key(1), entry("two")).await;
    assert_eq!(store.replace(&key(1), entry("three"), old, NOW).await.unwrap(), Written::Conflict);
    assert_eq!(text(&store, &key(1), NOW).await.as_deref(), Some("two"));
}

// Law 6; ST5: a time-out is no log-out.
#[tokio::test]
async fn a_frozen_server_costs_the_time_limit_and_no_session() {
    let limit = Duration::from_millis(300);
    let server = Memcached::on_port(&[]);
    let store = Arc::new(patient(&[&server], limit));
    for n in 0..20 {
        create(&*store, &key(n), entry(&n.to_string())).await;
    }
    server.freeze();
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for n in 0..20 {
        let store = Arc::clone(&store);
        callers.spawn(async move { store.load(&key(n), NOW).await.unwrap_err() });
    }
    for error in callers.join_all().await {
        assert!(matches!(error, StoreError::TimedOut { store: "memcached", .. }), "{error:?}");
    }
    assert!(start.elapsed() >= limit && start.elapsed() < limit * 5, "{:?}", start.elapsed());
    // The kernel still accepts connections for it.
    assert!(store.load(&key(1), NOW).await.is_err());
    assert!(store.create(&key(50), entry(""), NOW).await.is_err());
    server.thaw();
    for n in 0..20 {
        assert_eq!(answered(&store, n).await, Some(n.to_string()));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_at_once_and_no_hindrance_later() {
    let mut server = Memcached::on_port(&[]);
    let store = open_memcached(&[&server]);
    server.kill();
    for _ in 0..50 {
        let error = store.load(&key(1), NOW).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    server.start_again();
    assert_eq!(answered(&store, 1).await, None);
}

// Law 6; ST5
#[tokio::test]
async fn a_write_whose_connection_is_cut_is_lost_and_not_repeated() {
    let (fake, store) = faked(&[Manner::CutsWrites, Manner::Honest]);
    let large = Entry { bytes: vec![7; 900_000].into(), ..entry("") };
    let error = store.create(&key(1), large, NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. }) && error.is_unknown(), "{error:?}");
    assert_eq!(fake.accepted(), 1);
    assert_eq!(text(&store, &key(1), NOW).await, None);
    create(&store, &key(1), entry("one")).await;
    assert_eq!(text(&store, &key(1), NOW).await.as_deref(), Some("one"));
    assert_eq!(fake.accepted(), 2);
}

#[tokio::test]
async fn a_read_whose_connection_is_cut_is_repeated_once() {
    let (fake, store) = faked(&[Manner::CutsReads, Manner::Honest]);
    assert_eq!(text(&store, &key(1), NOW).await, None);
    assert_eq!(fake.accepted(), 2);
    let (fake, store) = faked(&[Manner::CutsReads]);
    let error = store.load(&key(1), NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(fake.accepted(), 2);
}

// Law 6; SL1: whatever a broken or malicious server sends, nobody is shown the session of another.
#[tokio::test]
async fn a_reply_to_another_command_ends_the_connection_and_reaches_nobody() {
    for manner in [Manner::OtherKey, Manner::OtherNumber, Manner::OtherValue] {
        let (fake, store) = faked(&[manner]);
        for n in 1..=2 {
            create(&store, &key(n), entry(&n.to_string())).await;
        }
        let error = store.load(&key(1), NOW).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{manner:?}: {error:?}");
        // What lies under another's name says nothing against the connection.
        let expected = if matches!(manner, Manner::OtherValue) { 1 } else { 2 };
        assert_eq!(fake.accepted(), expected, "{manner:?}");
    }
}

#[tokio::test]
async fn after_a_slip_the_next_connection_serves_on() {
    let (fake, store) = faked(&[Manner::OtherKey, Manner::Honest]);
    for n in 1..=2 {
        create(&store, &key(n), entry(&n.to_string())).await;
    }
    let (first, second) = (key(1), key(2));
    let (one, two) = tokio::join!(text(&store, &first, NOW), text(&store, &second, NOW));
    assert_eq!((one.as_deref(), two.as_deref()), (Some("1"), Some("2")));
    assert_eq!(fake.accepted(), 2);
}

#[tokio::test]
async fn a_reply_that_nobody_asked_for_is_given_to_nobody() {
    let (fake, store) = faked(&[Manner::OneTooMany, Manner::Honest]);
    create(&store, &key(1), entry("1")).await;
    for _ in 0..3 {
        assert_eq!(text(&store, &key(1), NOW).await.as_deref(), Some("1"));
        assert_eq!(text(&store, &key(2), NOW).await, None);
    }
    assert_eq!(fake.accepted(), 2);
}

// A server that greets and then breaks off is left alone for longer and longer.
#[tokio::test]
async fn a_server_that_never_answers_is_not_besieged() {
    let (fake, store) = faked(&[Manner::CutsReads]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        assert!(store.load(&key(1), NOW).await.is_err());
        tokio::task::yield_now().await;
    }
    assert!((2..20).contains(&fake.accepted()), "{} connections in half a second", fake.accepted());
}

#[tokio::test]
async fn a_server_of_another_kind_is_named_as_such() {
    let (_fake, store) = faked(&[Manner::Ancient]);
    let error = store.load(&key(1), NOW).await.unwrap_err();
    let StoreError::Unavailable { source, .. } = error else { panic!("{error:?}") };
    let reason = source.source().unwrap().to_string();
    assert!(reason.contains("memcached 1.6 or later is needed"), "{reason}");
}

// Law 6: the share of a dead server is unknown; it is not looked for where it is not.
#[tokio::test]
async fn without_one_of_three_servers_its_share_is_unknown_and_the_rest_lives_on() {
    let mut servers = [Memcached::on_port(&[]), Memcached::on_port(&[]), Memcached::on_socket()];
    let store = open_memcached(&servers.each_ref());
    for n in 0..90 {
        create(&store, &key(n), entry(&n.to_string())).await;
    }
    servers[1].kill();
    let mut lost = Vec::new();
    for n in 0..90 {
        match store.load(&key(n), NOW).await {
            Ok(found) => assert_eq!(found.unwrap().0, entry(&n.to_string())),
            Err(_) => lost.push(n),
        }
    }
    assert!((10..50).contains(&lost.len()), "{lost:?}");
    for n in &lost {
        assert!(store.create(&key(*n), entry("elsewhere"), NOW).await.is_err());
        assert!(store.delete(&key(*n)).await.is_err());
    }
    servers[1].start_again();
    for n in 0..90 {
        let expected = (!lost.contains(&n)).then(|| n.to_string());
        assert_eq!(answered(&store, n).await, expected);
    }
}

#[tokio::test]
async fn the_order_of_the_servers_does_not_matter() {
    let servers = [Memcached::on_port(&[]), Memcached::on_port(&[]), Memcached::on_port(&[])];
    let options = memcached_options(&servers.each_ref());
    let mut turned = options.clone();
    turned.servers.rotate_left(1);
    let (store, turned) = (MemcachedStore::open(options), MemcachedStore::open(turned));
    for n in 0..60 {
        create(&store, &key(n), owned(&n.to_string(), &format!("owner {n}"))).await;
        assert_eq!(text(&turned, &key(n), NOW).await, Some(n.to_string()));
        assert_eq!(keys_of(&turned, &format!("owner {n}"), NOW).await, [key(n)]);
    }
}

// Law 3; ST3
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_writers_lose_no_increment() {
    const KEYS: u64 = 16;
    let server = Memcached::on_port(&[]);
    // Two proxies: what one knows of an item is often out of date.
    let options = memcached_options(&[&server]);
    let stores = [options.clone(), options].map(|options| Arc::new(MemcachedStore::open(options)));
    for n in 0..KEYS {
        create(&*stores[0], &key(n), entry("0")).await;
    }
    let number = |entry: &Entry| std::str::from_utf8(&entry.bytes).unwrap().parse::<u64>().unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..64_u64 {
        let store = Arc::clone(&stores[usize::from(writer % 2 == 0)]);
        writers.spawn(async move {
            for step in 0..1000 {
                let key = key((writer + step) % KEYS);
                loop {
                    let (found, version) = store.load(&key, NOW).await.unwrap().unwrap();
                    let next = entry(&(number(&found) + 1).to_string());
                    if let Written::Done(_) = store.replace(&key, next, version, NOW).await.unwrap() {
                        break;
                    }
                }
            }
        });
    }
    writers.join_all().await;
    let mut sum = 0;
    for n in 0..KEYS {
        sum += number(&stores[0].load(&key(n), NOW).await.unwrap().unwrap().0);
    }
    assert_eq!(sum, 64_000);
}

// ST8: as the promise says.
#[tokio::test]
async fn a_flooded_server_pushes_out_the_oldest_and_fails_nobody() {
    let server = Memcached::on_port(&["-m", "4"]);
    let store = open_memcached(&[&server]);
    let large = Entry { bytes: vec![1; 20_000].into(), ..entry("") };
    for n in 0..600 {
        create(&store, &key(n), large.clone()).await;
    }
    assert!(server.stat("evictions") > 0);
    assert_eq!(store.load(&key(0), NOW).await.unwrap(), None);
    assert_eq!(store.load(&key(599), NOW).await.unwrap().unwrap().0, large);
}

// ST7
#[tokio::test]
async fn a_server_without_evictions_refuses_new_entries_and_keeps_every_live_one() {
    let server = Memcached::on_port(&["-m", "4", "-M"]);
    let store = open_memcached(&[&server]);
    let large = Entry { bytes: vec![1; 20_000].into(), ..entry("") };
    let mut kept = 0;
    let error = loop {
        match store.create(&key(kept), large.clone(), NOW).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("memcached store is full: {} is out of memory", server.name()));
    assert!(kept > 50);
    for n in 0..kept {
        assert!(store.load(&key(n), NOW).await.unwrap().is_some());
    }
}

// ST4: the limit is the server's, and what is refused is not sent: memcached would drop the old item.
#[tokio::test]
async fn an_entry_of_the_servers_limit_fits_and_a_larger_one_changes_nothing() {
    let server = Memcached::on_port(&["-I", "2m"]);
    let store = open_memcached(&[&server]);
    let sized = |size: usize| Entry { bytes: Bytes::from(vec![5; size]), ..owned("", "ann") };
    let version = create(&store, &key(1), entry("small")).await;
    let refused = store.replace(&key(1), sized(3_000_000), version, NOW).await.unwrap_err();
    let StoreError::TooLarge { size, limit, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(limit, (2 << 20) - 512);
    let overhead = size - 3_000_000;
    assert_eq!(store.load(&key(1), NOW).await.unwrap().unwrap(), (entry("small"), version));
    let largest = sized(limit - overhead);
    assert!(matches!(store.replace(&key(1), largest.clone(), version, NOW).await.unwrap(), Written::Done(_)));
    assert_eq!(store.load(&key(1), NOW).await.unwrap().unwrap().0, largest);
    assert!(store.create(&key(2), sized(limit - overhead + 1), NOW).await.is_err());
}

// Law 1: thirty days are a border for memcached, and none for us.
#[tokio::test]
async fn a_session_of_many_days_does_not_vanish_early() {
    let server = Memcached::on_port(&[]);
    let options = memcached_options(&[&server]);
    let prefix = options.key_prefix.clone();
    let store = MemcachedStore::open(options);
    for (n, days) in (0..).zip([29, 30, 31, 90, 365]) {
        create(&store, &key(n), Entry { deadline: later(days * DAY), ..entry("long") }).await;
        assert_eq!(text(&store, &key(n), NOW).await.as_deref(), Some("long"));
        let left = server.seconds_left(&prefix, &key(n)).unwrap();
        assert!((days * DAY..(days + 2) * DAY).contains(&left), "{left} seconds for {days} days");
        move_deadline(&store, &key(n), later(DAY), NOW).await;
        assert!(server.seconds_left(&prefix, &key(n)).unwrap() <= DAY + 60);
    }
    create(&store, &key(9), Entry { deadline: later(100 * 365 * DAY), ..entry("very long") }).await;
    assert_eq!(server.seconds_left(&prefix, &key(9)), None, "without end");
}

// Law 8
#[tokio::test]
async fn an_owner_has_as_many_sessions_as_a_list_can_name() {
    let server = Memcached::on_port(&[]);
    let store = open_memcached(&[&server]);
    let until = |seconds| Entry { deadline: later(seconds), ..owned("", "ann") };
    for n in 0..1000 {
        create(&store, &key(n), until(if n < 3 { 10_000 } else { 20_000 })).await;
    }
    let refused = store.create(&key(1000), until(20_000), NOW).await.unwrap_err();
    assert_eq!(refused.to_string(), "memcached store is full: one owner may have 1000 sessions");
    assert_eq!(store.load(&key(1000), NOW).await.unwrap(), None);
    assert_eq!(keys_of(&store, "ann", NOW).await.len(), 1000);
    create(&store, &key(1000), owned("", "bob")).await;

    // One ends, and its place is free as soon as nobody can be writing it any more.
    store.delete(&key(500)).await.unwrap();
    let written = store.create(&key(2000), until(20_000), later(61)).await.unwrap();
    assert!(matches!(written, Written::Done(_)));
    let keys = keys_of(&store, "ann", later(61)).await;
    assert!(keys.len() == 1000 && keys.contains(&key(2000)) && !keys.contains(&key(500)));
}

// Law 8: a session in use stays on the list, also when its first deadline has long passed.
#[tokio::test]
async fn a_session_that_is_extended_again_and_again_stays_on_its_owners_list() {
    let server = Memcached::on_port(&[]);
    let options = memcached_options(&[&server]);
    let prefix = options.key_prefix.clone();
    let store = MemcachedStore::open(options);
    let hour = 3600;
    create(&store, &key(1), Entry { deadline: later(hour), ..owned("", "ann") }).await;
    for hours in 1..20 {
        move_deadline(&store, &key(1), later((hours + 1) * hour), later(hours * hour)).await;
        assert_eq!(keys_of(&store, "ann", later(hours * hour)).await, [key(1)]);
        let list = server.seconds_left_of_owner(&prefix, &owner("ann")).unwrap();
        assert!(list >= server.seconds_left(&prefix, &key(1)).unwrap(), "{list}");
    }
}

// The proxy has a runtime for each of its threads.
#[test]
fn a_store_serves_several_runtimes_and_outlives_each() {
    let server = Memcached::on_port(&[]);
    let store = Arc::new(open_memcached(&[&server]));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    first.block_on(create(&*store, &key(1), entry("one")));
    std::thread::scope(|scope| {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        scope.spawn(move || first.block_on(stopped).ok());
        for _ in 0..2 {
            scope.spawn(|| {
                runtime().block_on(async {
                    for _ in 0..100 {
                        assert_eq!(text(&*store, &key(1), NOW).await.as_deref(), Some("one"));
                    }
                });
            });
        }
        let others = runtime();
        others.block_on(async { assert_eq!(text(&*store, &key(1), NOW).await.as_deref(), Some("one")) });
        stop.send(()).unwrap();
    });
    // Every runtime so far is gone, and the connections with them.
    runtime().block_on(async { assert_eq!(text(&*store, &key(1), NOW).await.as_deref(), Some("one")) });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_go_away_disturb_nobody() {
    let server = Memcached::on_port(&[]);
    let store = Arc::new(open_memcached(&[&server]));
    for n in 0..200 {
        create(&*store, &key(n), entry(&n.to_string())).await;
    }
    let mut callers = JoinSet::new();
    for round in 0..2000_u64 {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            let n = round % 200;
            let (key, moment) = (key(n), Duration::from_micros(round % 300));
            if let Ok(found) = tokio::time::timeout(moment, text(&*store, &key, NOW)).await {
                assert_eq!(found, Some(n.to_string()));
            }
        });
    }
    callers.join_all().await;
    for n in 0..200 {
        assert_eq!(text(&*store, &key(n), NOW).await, Some(n.to_string()));
    }
    assert!(server.has_connections(2), "as many as before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_dropped_leaves_no_connection() {
    let server = Memcached::on_port(&[]);
    let store = open_memcached(&[&server]);
    for n in 0..200 {
        create(&store, &key(n), entry("")).await;
    }
    assert!(server.has_connections(2));
    drop(store);
    assert!(server.has_connections(0));
}

#[tokio::test]
async fn a_store_without_servers_says_so() {
    let store = open_memcached(&[]);
    let error = store.load(&key(1), NOW).await.unwrap_err();
    let StoreError::Unavailable { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "no server is configured");
}
