//! The disk store's files stay as large as the most that ever lived at once (ST4): sessions come, change, expire and are
//! swept, and the room that they leave is taken again.

use crate::processes::assert_whole;
use crate::support::{NOW, key, later, open_disk, owned};
use cloakroom::clock::Timestamp;
use cloakroom::store::disk::{DiskStore, Sync};
use cloakroom::store::{Entry, Index as _, Store as _, Written};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sessions that come in each round, and leave in the next.
const EACH: u64 = 400;

/// Before its checkpoint the log has this many pages, and a transaction more.
const LOG: u64 = 4_000 * 4_120;

fn size(directory: &Path, name: &str) -> u64 {
    std::fs::metadata(directory.join(name)).map_or(0, |file| file.len())
}

/// Half a kilobyte, and now and then much more.
fn body(n: u64) -> Vec<u8> {
    vec![n.to_ne_bytes()[0]; if n.is_multiple_of(50) { 20_000 } else { 500 }]
}

/// One generation comes, is written once more, and the one before it is swept. Each key is a new one.
async fn round(store: &Arc<DiskStore>, round: u64) {
    let (now, deadline) = (later(10 * round), later(10 * round + 9));
    let mut visits = tokio::task::JoinSet::new();
    for n in round * EACH..(round + 1) * EACH {
        let store = Arc::clone(store);
        visits.spawn(async move {
            let made = Entry { bytes: body(n).into(), deadline, ..owned("", &format!("owner {}", n % 30)) };
            let Written::Done(version) = store.create(&key(n), made.clone(), now).await.unwrap() else {
                panic!("it is a new one")
            };
            store.replace(&key(n), made, version, now).await.unwrap();
            if n.is_multiple_of(7) {
                store.delete(&key(n)).await.unwrap();
            }
        });
    }
    visits.join_all().await;
    while store.sweep(now, 100).await.unwrap() == 100 {}
}

// ST4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_makes_the_files_no_larger() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open_disk(directory.path(), Sync::Never));
    // Somebody always reads: readers must not keep the log from beginning anew.
    let is_over = Arc::new(AtomicBool::new(false));
    let (reader, ended) = (Arc::clone(&store), Arc::clone(&is_over));
    let reading = tokio::spawn(async move {
        let mut n = 0;
        while !ended.load(Ordering::Relaxed) {
            reader.load(&key(n % (60 * EACH)), NOW).await.unwrap();
            n += 1;
            tokio::task::yield_now().await;
        }
    });
    let mut database_then = 0;
    let mut log_at_most = 0;
    for n in 0..40 {
        round(&store, n).await;
        log_at_most = log_at_most.max(size(directory.path(), "sessions.db-wal"));
        if n == 15 {
            database_then = size(directory.path(), "sessions.db");
        }
    }
    is_over.store(true, Ordering::Relaxed);
    reading.await.unwrap();
    assert!(log_at_most > LOG / 2 && log_at_most < 2 * LOG, "the log had {log_at_most} bytes");
    let database = size(directory.path(), "sessions.db");
    assert!(database_then > 0 && database < database_then * 5 / 4, "{database} bytes after {database_then}");

    // Everything expires. The file does not shrink, and the next ones find room in it.
    while store.sweep(Timestamp::NEVER, 100).await.unwrap() == 100 {}
    drop(store);
    let empty = size(directory.path(), "sessions.db");
    assert!(empty <= database.max(database_then) * 5 / 4, "sweeping made it larger: {empty}");
    let store = Arc::new(open_disk(directory.path(), Sync::Never));
    assert_eq!(store.keys_of(&crate::support::owner("owner 1"), NOW).await.unwrap(), []);
    round(&store, 100).await;
    drop(store);
    assert_eq!(size(directory.path(), "sessions.db"), empty);
    assert_eq!(size(directory.path(), "sessions.db-wal"), 0, "the log was put away");
    assert_whole(directory.path());
}
