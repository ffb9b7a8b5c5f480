//! What only the PostgreSQL store promises: its table, its TLS, its versions shared by many proxies.

mod faults;

use crate::servers::free_port;
use crate::servers::postgres::{Postgres, open, options};
use crate::support::{NOW, create, entry, key, keys_of, later, owned, text};
use cloakroom::store::disk::Sync;
use cloakroom::store::postgres::{Migration, PostgresOptions, PostgresStore, PostgresUrl};
use cloakroom::store::{Cursor, Entry, Store, StoreError, Written};
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// All that an error says, from the outside to the cause.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// Waits until the store answers: a lane rests for up to a second after a failure.
async fn recovered(store: &PostgresStore) {
    let patience = tokio::time::Instant::now() + crate::servers::PATIENCE;
    while let Err(error) = store.load(&key(1), NOW).await {
        assert!(tokio::time::Instant::now() < patience, "it does not recover: {}", chain(&error));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn local(sync: Sync) -> PostgresOptions {
    options(&Postgres::shared().url(), sync)
}

#[tokio::test]
async fn a_missing_table_is_named_with_what_to_do_and_found_when_it_is_made() {
    let options = PostgresOptions { connections: 1, ..local(Sync::Always) };
    let table = options.table.clone();
    let store = PostgresStore::open(options).unwrap();
    let message =
        format!("there is no table `{table}` in the database: run `cloakroom store migrate NAME` for this store");
    assert_eq!(store.check_schema().await.unwrap_err().to_string(), message);
    let error = store.load(&key(1), NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(chain(&error), format!("postgres store is unavailable: no connection: {message}"));
    assert_eq!(store.migrate().await.unwrap(), Migration::Created);
    store.check_schema().await.unwrap();
    recovered(&store).await;
    // And when it vanishes under the store.
    Postgres::shared().sql(&format!("DROP TABLE {table}"));
    let error = store.load(&key(1), NOW).await.unwrap_err();
    assert!(chain(&error).ends_with(&message), "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_migrate_at_once_and_again() {
    let store = Arc::new(PostgresStore::open(local(Sync::Always)).unwrap());
    let mut migrations = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        migrations.spawn(async move { store.migrate().await.unwrap() });
    }
    let done = migrations.join_all().await;
    assert_eq!(done.iter().filter(|migration| **migration == Migration::Created).count(), 1, "{done:?}");
    create(&*store, &key(1), entry("one")).await;
    assert_eq!(store.migrate().await.unwrap(), Migration::Current);
    assert_eq!(text(&*store, &key(1), NOW).await.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_table_of_something_else_or_of_a_later_version_is_refused_and_left_alone() {
    let server = Postgres::shared();
    for (comment, expected) in [
        ("our photos", "is not a session table: expected the comment `sessions of cloakroom, format ` on it"),
        ("sessions of cloakroom, format 7", "has format 7, this version of cloakroom knows 1"),
    ] {
        let options = local(Sync::Always);
        let table = options.table.clone();
        server.sql(&format!("CREATE TABLE {table} (name text); COMMENT ON TABLE {table} IS '{comment}'"));
        let store = PostgresStore::open(options).unwrap();
        for error in [store.migrate().await.unwrap_err(), store.check_schema().await.unwrap_err()] {
            assert!(error.to_string().starts_with(&format!("the table `{table}` {expected}")), "{error}");
        }
        assert!(store.create(&key(1), entry(""), NOW).await.is_err());
        assert_eq!(
            server.sql(&format!("SELECT count(*), obj_description('{table}'::regclass) FROM {table}")),
            format!("0|{comment}")
        );
    }
}

#[tokio::test]
async fn two_stores_on_one_table_see_each_others_changes_at_once() {
    let options = local(Sync::Interval);
    let (one, other) = (open(options.clone()), open(options));
    let mut version = create(&one, &key(1), entry("0")).await;
    for n in 1..=50 {
        let (writer, reader) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let next = owned(&n.to_string(), if n % 3 == 0 { "ann" } else { "bob" });
        let Written::Done(written) = writer.replace(&key(1), next, version, NOW).await.unwrap() else {
            panic!("the version was right")
        };
        assert_eq!(reader.replace(&key(1), entry("stale"), version, NOW).await.unwrap(), Written::Conflict);
        assert_eq!(text(reader, &key(1), NOW).await, Some(n.to_string()));
        assert_eq!(keys_of(reader, "ann", NOW).await.len(), usize::from(n % 3 == 0));
        version = written;
    }
    other.delete(&key(1)).await.unwrap();
    assert_eq!(one.replace(&key(1), entry(""), version, NOW).await.unwrap(), Written::Gone);
}

// Law 3; ST3
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_proxies_with_many_writers_count_exactly() {
    const WRITERS: u64 = 64;
    const KEYS: u64 = 16;
    const EACH: u64 = 50;
    let options = local(Sync::Interval);
    let stores = [Arc::new(open(options.clone())), Arc::new(open(options))];
    for n in 0..KEYS {
        create(&*stores[0], &key(n), entry("0")).await;
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, key) = (Arc::clone(&stores[usize::from(writer % 2 == 0)]), key(writer % KEYS));
        writers.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let (found, version) = store.load(&key, NOW).await.unwrap().unwrap();
                let count: u64 = std::str::from_utf8(&found.bytes).unwrap().parse().unwrap();
                let written = store.replace(&key, entry(&(count + 1).to_string()), version, NOW).await.unwrap();
                done += u64::from(matches!(written, Written::Done(_)));
            }
        });
    }
    writers.join_all().await;
    for n in 0..KEYS {
        assert_eq!(text(&*stores[0], &key(n), NOW).await, Some((WRITERS / KEYS * EACH).to_string()));
    }
}

/// A page keeps room for new versions of its rows, and what every write changes stands in no index.
#[tokio::test]
async fn updates_touch_no_index() {
    let options = local(Sync::Never);
    let table = options.table.clone();
    let store = open(options);
    for n in 0..20 {
        let mut version = create(&store, &key(n), owned(&"x".repeat(500), "ann")).await;
        for step in 0..20 {
            let fresh = Entry { deadline: later(20 + step), ..owned(&"y".repeat(500), "ann") };
            let Written::Done(next) = store.replace(&key(n), fresh, version, NOW).await.unwrap() else {
                panic!("the version was right")
            };
            version = next;
        }
    }
    // The server's statistics come a second late.
    let seen = || {
        let counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname";
        let line = Postgres::shared().sql(&format!("{counts} = '{table}'"));
        let (all, within) = line.split_once('|').unwrap();
        (all.parse::<u32>().unwrap(), within.parse::<u32>().unwrap())
    };
    assert!(crate::servers::until(crate::servers::PATIENCE, || seen().0 == 400), "{:?}", seen());
    assert!(seen().1 >= 380, "{:?} updates, of which within their page", seen());
}

// Law 10
#[tokio::test]
async fn a_walk_sees_every_entry_and_goes_on_in_another_process() {
    let options = local(Sync::Never);
    let store = open(options.clone());
    for n in 0..550 {
        create(&store, &key(n), owned(&n.to_string(), "ann")).await;
    }
    for n in 550..560 {
        create(&store, &key(n), Entry { deadline: later(1), ..entry("") }).await;
    }
    assert_eq!(store.scan().unwrap().count().await.unwrap(), 560);
    let (mut seen, mut from) = (BTreeSet::new(), None);
    loop {
        // Each page by another process.
        let store = open(options.clone());
        let page = store.scan().unwrap().page(from.as_ref(), 100, later(5)).await.unwrap();
        assert!(page.entries.len() <= 100);
        for (key, found) in page.entries {
            assert_eq!(store.load(&key, later(5)).await.unwrap().unwrap().0, found);
            assert!(seen.insert(key), "in order, nothing is seen twice");
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..550).map(key).collect());
    let error = store.scan().unwrap().page(Some(&Cursor("not ours".into())), 100, NOW).await.unwrap_err();
    assert!(chain(&error).contains("is none that this store gave"), "{}", chain(&error));
}

#[tokio::test]
async fn a_certificate_that_nobody_known_vouches_for_is_refused() {
    let server = Postgres::shared();
    let with_tls = options(&server.url_with_tls(), Sync::Never);
    // The system's authorities do not know it; the right authority does not know it under that name.
    let nameless = PostgresUrl::parse(&server.url_with_tls().replace("localhost", "127.0.0.1")).unwrap();
    let nameless = PostgresOptions { url: nameless, ca: Some(server.ca()), ..with_tls.clone() };
    for options in [with_tls, nameless] {
        let store = PostgresStore::open(options).unwrap();
        let error = store.load(&key(1), NOW).await.unwrap_err();
        assert!(
            chain(&error).contains("error performing TLS handshake: invalid peer certificate"),
            "{}",
            chain(&error)
        );
    }
    let error = PostgresStore::open(PostgresOptions {
        ca: Some(b"nothing".to_vec()),
        ..options(&server.url_with_tls(), Sync::Never)
    });
    assert_eq!(
        error.unwrap_err().to_string(),
        "`ca` holds no certificate: expected PEM text with -----BEGIN CERTIFICATE-----"
    );
}

// LG1
#[tokio::test]
async fn a_wrong_password_is_an_error_that_does_not_show_it_until_it_is_right() {
    let server = Postgres::shared();
    server.sql("CREATE ROLE app2 LOGIN PASSWORD 'old-word'; GRANT ALL ON SCHEMA public TO app2");
    let url = server.url_with_tls().replace("app:hunter2", "app2:new-word");
    let options = PostgresOptions { ca: Some(server.ca()), ..options(&url, Sync::Always) };
    let store = PostgresStore::open(options.clone()).unwrap();
    let error = store.load(&key(1), NOW).await.unwrap_err();
    let shown = format!("{} {error:?} {store:?} {options:?}", chain(&error));
    assert!(shown.contains("password authentication failed for user \"app2\""), "{shown}");
    assert!(!shown.contains("new-word"), "{shown}");
    server.sql("ALTER ROLE app2 PASSWORD 'new-word'");
    store.migrate().await.unwrap();
    recovered(&store).await;
}

#[tokio::test]
async fn a_host_that_is_dead_is_passed_over() {
    let url = Postgres::shared().url().replace("127.0.0.1", &format!("127.0.0.1:{},127.0.0.1", free_port()));
    let options = options(&url, Sync::Never);
    let store = PostgresStore::open(options).unwrap();
    store.migrate().await.unwrap();
    create(&store, &key(1), entry("one")).await;
}

// ST8
#[test]
fn each_way_to_sync_says_what_it_promises() {
    let promise = |sync| PostgresStore::open(local(sync)).unwrap().promise();
    for sync in [Sync::Always, Sync::Interval, Sync::Never] {
        assert!(promise(sync).starts_with("an acknowledged update survives a crash of the proxy"));
        assert!(promise(sync).contains("a failover to a replica that is not synchronous may take back"));
    }
    assert!(promise(Sync::Always).contains("and of the PostgreSQL server"));
    assert!(promise(Sync::Interval).contains("but no login and no logout"));
    assert!(promise(Sync::Never).contains("logins and logouts included"));
}
