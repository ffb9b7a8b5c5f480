//! What may go wrong with a PostgreSQL server, and what the store makes of it: an error, then an answer again.

use super::{chain, local, recovered};
use crate::servers::postgres::{Postgres, open, options};
use crate::support::{NOW, create, entry, key, later, owned, text};
use cloakroom::clock::Timestamp;
use cloakroom::store::disk::Sync;
use cloakroom::store::postgres::{PostgresOptions, PostgresStore};
use cloakroom::store::{Entry, Store, StoreError, Version, Written};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Stands before a server and cuts a connection when it is told to: after a question got through, before its answer.
struct Cutter {
    port: u16,
    cuts: Arc<AtomicBool>,
}

impl Cutter {
    fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&cuts);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass_on(from, to, || true));
                let cuts = Arc::clone(&shared);
                std::thread::spawn(move || pass_on(server, client, || !cuts.swap(false, Ordering::SeqCst)));
            }
        });
        Self { port, cuts }
    }

    /// Lets the next question through, and not its answer.
    fn cut_the_next_answer(&self) {
        self.cuts.store(true, Ordering::SeqCst);
    }

    fn has_cut(&self) -> bool {
        !self.cuts.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, may_pass: impl Fn() -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !may_pass() || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}

// ST5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_cut_off_is_lost_and_what_may_be_repeated_is_repeated() {
    let cutter = Cutter::before(Postgres::shared().port());
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cutter.port);
    let store = open(PostgresOptions { connections: 1, ..options(&url, Sync::Never) });
    let version = create(&store, &key(1), entry("one")).await;

    // The write took place, but nobody may say so.
    cutter.cut_the_next_answer();
    let longer = Entry { deadline: later(20), ..entry("two") };
    let answer = store.replace(&key(1), longer, version, NOW).await;
    assert!(matches!(answer, Err(StoreError::Lost { .. })), "{answer:?}");
    assert!(cutter.has_cut());
    assert_eq!(text(&store, &key(1), later(20)).await.as_deref(), Some("two"));

    cutter.cut_the_next_answer();
    let answer = store.create(&key(2), entry("one"), NOW).await;
    assert!(matches!(answer, Err(StoreError::Lost { .. })), "{answer:?}");
    assert_eq!(text(&store, &key(2), NOW).await.as_deref(), Some("one"));

    // A read, and a delete, come to the same when they are done twice.
    cutter.cut_the_next_answer();
    assert_eq!(text(&store, &key(2), NOW).await.as_deref(), Some("one"));
    assert!(cutter.has_cut());
    cutter.cut_the_next_answer();
    store.delete(&key(2)).await.unwrap();
    assert!(cutter.has_cut());
    assert_eq!(text(&store, &key(2), NOW).await, None);
}

// LG1
#[tokio::test]
async fn what_a_server_quotes_of_a_session_is_not_repeated() {
    let options = local(Sync::Always);
    let table = options.table.clone();
    let store = open(options);
    // A rule of somebody else's: the server tells what broke it, the whole row included.
    Postgres::shared().sql(&format!(
        "CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'no % rows %', chr(10), repeat('x', 1000) USING DETAIL = encode(NEW.data, 'escape');
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_{table}()"
    ));
    let error = store.create(&key(1), entry("hunter2"), NOW).await.unwrap_err();
    let said = format!("{} {error:?}", chain(&error));
    assert!(said.contains("it says P0001: no  rows xxx") && !said.contains('\n'), "{said}");
    assert!(!said.contains("hunter2") && said.len() < 600, "{said}");
}

/// Writes one number after the other to its own key, and notes the last one that was acknowledged.
async fn count_on(store: Arc<PostgresStore>, n: u64, acknowledged: Arc<AtomicU64>, is_over: Arc<AtomicBool>) {
    let mut known: Option<(u64, Version)> = None;
    while !is_over.load(Ordering::SeqCst) {
        let Some((count, version)) = known else {
            // After an error: look up what is there.
            if let Ok(found) = store.load(&key(n), NOW).await {
                let (found, version) = found.expect("an outage is no logout");
                known = Some((std::str::from_utf8(&found.bytes).unwrap().parse().unwrap(), version));
            } else {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            continue;
        };
        known = match store.replace(&key(n), entry(&(count + 1).to_string()), version, NOW).await {
            Ok(Written::Done(next)) => {
                acknowledged.store(count + 1, Ordering::SeqCst);
                Some((count + 1, next))
            }
            Ok(other) => panic!("nobody else writes key {n}: {other:?}"),
            Err(_) => None,
        };
    }
}

// Law 7; ST5, ST8
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_acknowledged_write_is_lost_when_the_server_is_killed_or_stopped_under_load() {
    const WRITERS: u64 = 16;
    let mut server = Postgres::start(&["fsync=on"]);
    let options = PostgresOptions { timeout: Duration::from_secs(5), ..options(&server.url(), Sync::Always) };
    let store = Arc::new(open(options));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    let mut counts = Vec::new();
    for n in 0..WRITERS {
        create(&*store, &key(n), entry("0")).await;
        let count = Arc::new(AtomicU64::new(0));
        counts.push(Arc::clone(&count));
        writers.spawn(count_on(Arc::clone(&store), n, count, Arc::clone(&is_over)));
    }
    let sum = |counts: &[Arc<AtomicU64>]| counts.iter().map(|count| count.load(Ordering::SeqCst)).sum::<u64>();
    for killed in [true, false] {
        let before = sum(&counts);
        // All of them write.
        wait(|| sum(&counts) > before + 20 * WRITERS).await;
        tokio::task::block_in_place(|| if killed { server.kill() } else { server.stop() });
        tokio::task::block_in_place(|| server.resume());
        let after = sum(&counts);
        wait(|| sum(&counts) > after + 20 * WRITERS).await;
    }
    is_over.store(true, Ordering::SeqCst);
    writers.join_all().await;
    for (n, count) in (0..).zip(&counts) {
        let found =
            tokio::time::timeout(crate::servers::PATIENCE, surely(&store, n)).await.expect("it does not recover");
        let found: u64 = found.parse().unwrap();
        assert!(found >= count.load(Ordering::SeqCst), "key {n}: {found} after {count:?} was acknowledged");
    }
}

/// What lies under a key, however often one has to ask: a connection may have failed at the last moment.
async fn surely(store: &PostgresStore, n: u64) -> String {
    loop {
        match store.load(&key(n), NOW).await {
            Ok(found) => return String::from_utf8(found.expect("an outage is no logout").0.bytes.to_vec()).unwrap(),
            Err(StoreError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("the server runs: {}", chain(&error)),
        }
    }
}

async fn wait(condition: impl Fn() -> bool) {
    let patience = tokio::time::Instant::now() + crate::servers::PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < patience, "it does not come to that");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// With nobody to write the log in the background, what lies in it beyond the disk is what no commit waited for.
// ST8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interval_waits_for_logins_and_deletes_and_for_nothing_else() {
    let mut server = Postgres::start(&["fsync=on", "wal_level=minimal", "max_wal_senders=0", "autovacuum=off"]);
    let store = open(options(&server.url(), Sync::Interval));
    let careless = open(options(&server.url(), Sync::Never));
    let careful = open(options(&server.url(), Sync::Always));
    let replaced = |written| match written {
        Written::Done(version) => version,
        other => panic!("the version was right: {other:?}"),
    };
    server.freeze_log_writer();
    let check = |waits: bool, what: &str| {
        // A few bytes may be the head of a page that nothing stands on yet.
        let ahead = server.sql("SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn() > 64");
        assert_eq!(ahead, if waits { "f" } else { "t" }, "{what}");
    };
    let first = create(&store, &key(1), entry("of nobody")).await;
    check(false, "a new session of nobody");
    let born = create(&store, &key(2), owned("born with an owner", "ann")).await;
    check(true, "a login that makes a session");
    let second = replaced(store.replace(&key(1), entry("an update"), first, NOW).await.unwrap());
    check(false, "an update");
    let third = replaced(store.replace(&key(1), owned("logged in", "ann"), second, NOW).await.unwrap());
    check(true, "a login into a session");
    create(&store, &key(3), entry("to be deleted")).await;
    store.delete(&key(3)).await.unwrap();
    check(true, "a delete");
    let version = create(&careful, &key(1), entry("kept")).await;
    check(true, "`always`: a new session");
    let longer = Entry { deadline: later(60), ..entry("kept too") };
    replaced(careful.replace(&key(1), longer, version, NOW).await.unwrap());
    check(true, "`always`: an update");
    let longer = Entry { deadline: later(60), ..owned("logged in", "ann") };
    replaced(store.replace(&key(1), longer, third, NOW).await.unwrap());
    check(false, "a deadline that moves");
    replaced(store.replace(&key(2), owned("an update", "ann"), born, NOW).await.unwrap());
    create(&careless, &key(1), owned("a login", "ann")).await;
    careless.delete(&key(1)).await.unwrap();
    check(false, "`never`");

    server.kill();
    server.resume();
    for store in [&store, &careless, &careful] {
        recovered(store).await;
    }
    assert_eq!(text(&store, &key(1), NOW).await.as_deref(), Some("logged in"));
    assert_eq!(text(&store, &key(1), later(30)).await, None, "the move was taken back");
    assert_eq!(text(&store, &key(2), NOW).await.as_deref(), Some("born with an owner"), "the update was taken back");
    assert_eq!(text(&store, &key(3), NOW).await, None);
    assert_eq!(text(&careful, &key(1), later(30)).await.as_deref(), Some("kept too"));
}

// ST4, ST5
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_freezes_or_takes_no_writes_is_an_error_until_it_is_itself_again() {
    const CROWD: usize = 1500;
    let server = Postgres::start(&["fsync=off"]);
    let limit = Duration::from_millis(400);
    let options = PostgresOptions { connections: 1, timeout: limit, ..options(&server.url(), Sync::Always) };
    let store = Arc::new(open(PostgresOptions { timeout: Duration::from_secs(20), ..options.clone() }));
    create(&*store, &key(1), entry("one")).await;
    let hasty = Arc::new(PostgresStore::open(options).unwrap());
    recovered(&hasty).await;

    server.freeze();
    let error = hasty.load(&key(1), NOW).await.unwrap_err();
    assert_eq!(error.to_string(), "postgres store did not answer within 400ms");
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let hasty = Arc::clone(&hasty);
        crowd.spawn(async move { hasty.load(&key(1), NOW).await.expect_err("it is frozen") });
    }
    let errors: Vec<String> = crowd.join_all().await.iter().map(|error| chain(error)).collect();
    assert!(errors.iter().any(|error| error.contains("questions wait for an answer already")), "{:?}", errors.last());
    let slow = tokio::spawn({
        let store = Arc::clone(&store);
        async move { text(&*store, &key(1), NOW).await }
    });
    server.thaw();
    assert_eq!(slow.await.unwrap().as_deref(), Some("one"), "whoever had the time to wait got the answer");
    recovered(&hasty).await;
    assert_eq!(text(&*hasty, &key(1), NOW).await.as_deref(), Some("one"));

    // As after a failover, when the old primary comes back as a replica.
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    server.sql("SELECT pg_reload_conf()");
    wait_for_refusal(&store).await;
    server.sql("ALTER SYSTEM RESET default_transaction_read_only");
    server.sql("SELECT pg_reload_conf()");
    recovered(&store).await;
    create(&*store, &key(2), entry("two")).await;
}

/// The server reads its settings a moment after it was told to.
async fn wait_for_refusal(store: &PostgresStore) {
    for n in 100.. {
        match store.create(&key(n), entry(""), NOW).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error @ StoreError::Unavailable { .. }) => {
                assert!(chain(&error).contains("database does not allow writes"), "{}", chain(&error));
                return;
            }
            Err(error) => panic!("nothing was done, and that is certain: {}", chain(&error)),
        }
    }
}

// ST7
#[tokio::test]
async fn a_full_disk_refuses_the_write_and_loses_nothing() {
    let server = Postgres::shared();
    let options = local(Sync::Always);
    let table = options.table.clone();
    let store = open(options);
    let version = create(&store, &key(1), entry("one")).await;
    server.sql(&format!(
        "CREATE FUNCTION full_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION \
         'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$; \
         CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION full_{table}()"
    ));
    let answers =
        [store.create(&key(2), entry(""), NOW).await, store.replace(&key(1), entry("two"), version, NOW).await];
    for answer in answers {
        let error = answer.expect_err("there is no space");
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert_eq!(error.to_string(), "postgres store is full: could not extend file: No space left on device");
    }
    assert_eq!(store.load(&key(1), NOW).await.unwrap().unwrap(), (entry("one"), version));
    server.sql(&format!("DROP TRIGGER full_disk ON {table}"));
    assert!(matches!(store.replace(&key(1), entry("two"), version, NOW).await.unwrap(), Written::Done(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_leave_do_not_shift_the_answers() {
    let store = Arc::new(open(local(Sync::Never)));
    for n in 0..50 {
        create(&*store, &key(n), entry(&n.to_string())).await;
    }
    let mut callers = JoinSet::new();
    for caller in 0..1000_u64 {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            let n = caller % 50;
            let patience = Duration::from_micros(caller * 7 % 3000);
            let answer = tokio::time::timeout(patience, text(&*store, &key(n), NOW)).await;
            assert!(answer.is_err() || answer == Ok(Some(n.to_string())), "{answer:?} for {n}");
        });
    }
    callers.join_all().await;
    for n in 0..50 {
        assert_eq!(text(&*store, &key(n), NOW).await, Some(n.to_string()));
    }
}

#[test]
fn a_connection_is_replaced_when_its_runtime_has_ended() {
    let store = open(local(Sync::Never));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for n in 0..3 {
        // The connections of the runtime before this one are gone with it.
        runtime().block_on(async {
            create(&store, &key(n), Entry { deadline: Timestamp::NEVER, ..entry("") }).await;
            assert!(store.load(&key(n), NOW).await.unwrap().is_some());
        });
    }
    // One runtime connects, and another one that goes on uses that connection meanwhile.
    let (first, second) = (runtime(), runtime());
    first.block_on(async { store.load(&key(0), NOW).await.unwrap() });
    std::thread::scope(|scope| {
        let (sender, ended) = tokio::sync::oneshot::channel::<()>();
        scope.spawn(move || first.block_on(async { ended.await.ok() }));
        assert!(second.block_on(store.load(&key(0), NOW)).unwrap().is_some());
        sender.send(()).ok();
    });
    assert!(second.block_on(store.load(&key(0), NOW)).unwrap().is_some());
}
