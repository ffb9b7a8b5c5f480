//! The disk store and real processes: one that is killed, and two at work on one file.
//!
//! The test binary runs itself as the child. To be killed, the child writes and says on its standard output what was
//! acknowledged; the parent kills it after a random number of lines and looks into the file (ST8).

use crate::support::{NOW, create, entry, key, open_disk, text};
use cloakroom::store::disk::Sync;
use cloakroom::store::{Store, Written};
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const TASK: &str = "CLOAKROOM_TEST_CHILD_TASK";
const DIRECTORY: &str = "CLOAKROOM_TEST_CHILD_DIRECTORY";
const SYNC: &str = "CLOAKROOM_TEST_CHILD_SYNC";
const MODES: [Sync; 3] = [Sync::Never, Sync::Interval, Sync::Always];
const ROUNDS: usize = 12;
const WRITERS: u64 = 16;
const INCREMENTS: u64 = 500;

/// Counters lie under 0..WRITERS, other entries far above: every second of them is deleted at once.
fn other(writer: u64, count: u64) -> u64 {
    (writer + 1) * 1_000_000_000 + count
}

fn child(task: &str, directory: &Path, mode: usize) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "processes::the_child_does_its_task", "--nocapture"])
        .env(TASK, task)
        .env(DIRECTORY, directory)
        .env(SYNC, mode.to_string());
    child
}

/// The child's life; as a test of its own it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_does_its_task() {
    let Ok(task) = std::env::var(TASK) else { return };
    let mode: usize = std::env::var(SYNC).unwrap().parse().unwrap();
    let store = Arc::new(open_disk(std::env::var_os(DIRECTORY).unwrap().as_ref(), MODES[mode]));
    if task == "increment" {
        return increment(&*store).await;
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write_for_ever(Arc::clone(&store) as Arc<dyn Store>, writer));
    }
    writers.join_all().await;
}

async fn write_for_ever(store: Arc<dyn Store>, writer: u64) {
    let (mut count, mut version) = match store.load(&key(writer), NOW).await.unwrap() {
        Some((found, version)) => (std::str::from_utf8(&found.bytes).unwrap().parse().unwrap(), version),
        None => (0, create(&*store, &key(writer), entry("0")).await),
    };
    loop {
        count += 1;
        let next = entry(&count.to_string());
        let Written::Done(written) = store.replace(&key(writer), next, version, NOW).await.unwrap() else {
            panic!("each writer has its own key")
        };
        version = written;
        println!("\nreplaced {writer} {count} .");
        if count % 8 == 0 {
            create(&*store, &key(other(writer, count)), entry("other")).await;
            println!("\ncreated {writer} {count} .");
        }
        if count % 16 == 0 {
            store.delete(&key(other(writer, count))).await.unwrap();
            println!("\ndeleted {writer} {count} .");
        }
    }
}

/// What the parent has heard.
#[derive(Default)]
struct Acknowledged {
    counters: BTreeMap<u64, u64>,
    kept: Vec<u64>,
    deleted: Vec<u64>,
}

impl Acknowledged {
    fn hear(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        // The full stop shows that the line is whole.
        let [verb @ ("replaced" | "created" | "deleted"), writer, count, "."] = words[..] else { return false };
        let (Ok(writer), Ok(count)) = (writer.parse(), count.parse()) else { return false };
        match verb {
            "replaced" => drop(self.counters.insert(writer, count)),
            "deleted" => self.deleted.push(other(writer, count)),
            _ if count % 16 != 0 => self.kept.push(other(writer, count)),
            _ => {}
        }
        true
    }
}

// Law 7; ST8, ST9
#[tokio::test]
async fn a_killed_process_has_lost_nothing_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        let mode = round % MODES.len();
        let mut child = child("write", directory.path(), mode).stdout(Stdio::piped()).spawn().unwrap();
        // Any moment: after the first acknowledgements, or after some transactions and checkpoints.
        let patience = RandomState::new().hash_one(round) % 3_000;
        let mut heard = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            heard += u64::from(acknowledged.hear(&line.unwrap()));
            if heard == patience + 1 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(heard > patience, "round {round}: the child ended by itself");

        let store = open_disk(directory.path(), MODES[mode]);
        for (writer, count) in &mut acknowledged.counters {
            let found: u64 = text(&store, &key(*writer), NOW).await.expect("it was acknowledged").parse().unwrap();
            // One more may have been committed that nobody heard of; the next child counts on from there.
            assert!((*count..=*count + 1).contains(&found), "round {round}: {found} instead of {count}");
            *count = found;
        }
        for key in acknowledged.kept.iter().copied().map(key) {
            assert_eq!(text(&store, &key, NOW).await.as_deref(), Some("other"), "round {round}");
        }
        for key in acknowledged.deleted.iter().copied().map(key) {
            assert_eq!(text(&store, &key, NOW).await, None, "round {round}: a deleted entry came back");
        }
    }
    assert!(!acknowledged.kept.is_empty() && !acknowledged.deleted.is_empty());
}

async fn increment(store: &dyn Store) {
    for _ in 0..INCREMENTS {
        loop {
            let (found, version) = store.load(&key(0), NOW).await.unwrap().unwrap();
            let count: u64 = std::str::from_utf8(&found.bytes).unwrap().parse().unwrap();
            match store.replace(&key(0), entry(&(count + 1).to_string()), version, NOW).await.unwrap() {
                Written::Done(_) => break,
                Written::Conflict => {}
                Written::Gone => panic!("nobody deletes it"),
            }
        }
    }
}

// Law 3; ST3, ST9: as the old and the new proxy during an upgrade.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_may_write_one_file() {
    for (mode, sync) in MODES.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let store = open_disk(directory.path(), sync);
        create(&store, &key(0), entry("0")).await;
        let mut child = child("increment", directory.path(), mode).stdout(Stdio::null()).spawn().unwrap();
        // This process was first and had the entry in memory; it sees the other's first write all the same.
        while text(&store, &key(0), NOW).await.as_deref() == Some("0") {
            tokio::task::yield_now().await;
        }
        increment(&store).await;
        assert!(child.wait().unwrap().success());
        assert_eq!(text(&store, &key(0), NOW).await, Some((2 * INCREMENTS).to_string()));
    }
}
