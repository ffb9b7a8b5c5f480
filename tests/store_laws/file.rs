//! What only the disk store promises: its file.

use crate::support::{NOW, create, entry, key, keys_of, later, move_deadline, open_disk, owned, text};
use cloakroom::store::disk::{DiskOptions, DiskStore, OpenError, Sync};
use cloakroom::store::{Store as _, StoreError, Written};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn open(path: &Path) -> Result<DiskStore, OpenError> {
    DiskStore::open(DiskOptions { path: path.to_owned(), sync: Sync::Never })
}

// Law 7; ST8
#[tokio::test]
async fn what_was_acknowledged_survives_a_restart() {
    for sync in [Sync::Always, Sync::Interval, Sync::Never] {
        let directory = tempfile::tempdir().unwrap();
        let store = open_disk(directory.path(), sync);
        let first = create(&store, &key(1), owned("one", "ann")).await;
        let Written::Done(second) = store.replace(&key(1), owned("two", "ann"), first, NOW).await.unwrap() else {
            panic!("the version was right")
        };
        create(&store, &key(2), entry("deleted")).await;
        store.delete(&key(2)).await.unwrap();
        create(&store, &key(3), entry("extended")).await;
        move_deadline(&store, &key(3), later(60), NOW).await;
        drop(store);

        let store = open_disk(directory.path(), sync);
        assert_eq!(store.load(&key(1), NOW).await.unwrap().unwrap(), (owned("two", "ann"), second));
        assert_eq!(text(&store, &key(2), NOW).await, None);
        assert_eq!(text(&store, &key(3), later(60)).await.as_deref(), Some("extended"));
        assert_eq!(keys_of(&store, "ann", NOW).await, [key(1)]);
        assert_eq!(store.replace(&key(1), entry("three"), first, NOW).await.unwrap(), Written::Conflict);
        assert!(matches!(store.replace(&key(1), entry("three"), second, NOW).await.unwrap(), Written::Done(_)));
    }
}

// ST9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_store_writes_what_is_queued() {
    let directory = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(open_disk(directory.path(), Sync::Never));
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..500 {
        let store = std::sync::Arc::clone(&store);
        writers.spawn(async move { create(&*store, &key(n), entry("")).await });
    }
    writers.join_all().await;
    drop(store);
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "sessions.db-wal"), "the log was put away: {left:?}");
    let store = open_disk(directory.path(), Sync::Never);
    for n in 0..500 {
        assert!(text(&store, &key(n), NOW).await.is_some());
    }
}

// ST9: an old and a new process during an upgrade; the lock treats two stores of one process like two processes.
#[tokio::test]
async fn two_openers_see_each_others_writes_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let old = open_disk(directory.path(), Sync::Never);
    let mut version = create(&old, &key(1), entry("0")).await;
    assert!(text(&old, &key(1), NOW).await.is_some(), "hot now");
    let new = open_disk(directory.path(), Sync::Never);
    for n in 1..=50 {
        let (writer, reader) = if n % 2 == 0 { (&old, &new) } else { (&new, &old) };
        let next = entry(&n.to_string());
        let Written::Done(written) = writer.replace(&key(1), next, version, NOW).await.unwrap() else {
            panic!("the version was right")
        };
        assert_eq!(reader.replace(&key(1), entry("stale"), version, NOW).await.unwrap(), Written::Conflict);
        assert_eq!(text(reader, &key(1), NOW).await, Some(n.to_string()));
        version = written;
    }
    // The old one leaves; the new one goes on.
    drop(old);
    new.delete(&key(1)).await.unwrap();
    assert_eq!(text(&new, &key(1), NOW).await, None);
}

// ST9
#[test]
fn many_may_open_a_new_file_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = &directory.path().join("new").join("sessions.db");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || drop(open(path).unwrap()));
        }
    });
}

#[test]
fn the_file_and_its_directory_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state").join("sessions.db");
    let _store = open(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.path().join("state")), 0o700);
    for file in fs::read_dir(directory.path().join("state")).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

fn check_refused(path: &Path, expected: &str) {
    let before = fs::read(path).unwrap();
    let error = open(path).expect_err("this is not ours to open");
    assert_eq!(error.to_string(), expected.replace("FILE", &path.display().to_string()));
    assert!(fs::read(path).unwrap() == before, "a refused file is left as it was");
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other");
    for text in ["hello", &"no database ".repeat(1000)] {
        fs::write(&path, text).unwrap();
        check_refused(
            &path,
            "`FILE` is not a session database: it is no SQLite file; move it away or choose another path",
        );
    }
    fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE photos (name TEXT)").unwrap();
    check_refused(
        &path,
        "`FILE` is not a session database: its application id is 0x0 and its format 0; \
         move it away or choose another path",
    );
}

#[test]
fn a_file_of_a_later_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.db");
    drop(open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    check_refused(&path, "`FILE` has format 2, this version of cloakroom knows 1: use the newer one");
}

// Law 6; LG5, ST5: damage is an error, and never an absent session.
#[tokio::test]
async fn a_damaged_file_is_an_error_and_not_an_empty_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.db");
    let store = open(&path).unwrap();
    for n in 0..200 {
        create(&store, &key(n), entry(&"x".repeat(500))).await;
    }
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let store = open(&path).unwrap();
    let Err(StoreError::Unavailable { source, .. }) = store.load(&key(1), NOW).await else {
        panic!("a damaged page was read")
    };
    assert_eq!(source.to_string(), "database disk image is malformed");
    assert!(store.create(&key(1), entry(""), NOW).await.is_err());
    assert!(store.delete(&key(1)).await.is_err());
    assert!(store.sweep(later(11), 10).await.is_err());
}

// ST8
#[test]
fn each_way_to_sync_says_what_it_promises() {
    let promises: Vec<&str> = [Sync::Always, Sync::Interval, Sync::Never]
        .into_iter()
        .map(|sync| open_disk(tempfile::tempdir().unwrap().path(), sync).promise())
        .collect();
    assert!(promises.iter().all(|promise| promise.contains("survives a crash of the proxy")));
    assert!(promises[0].contains("and a loss of power"));
    assert!(promises[1].contains("at most the last second"));
    assert!(promises[2].contains("takes back what the system had not written yet"));
}
