//! The disk store and real processes at work on one file, as the old and the new proxy during an upgrade.
//!
//! The test binary runs itself as the other process. A writing child says on its standard output what was acknowledged;
//! the parent compares that with what it finds in the file.

use crate::full::{Way, live_through};
use crate::support::{NOW, create, entry, key, keys_of, open_disk, owned, text};
use cloakroom::store::disk::{DiskStore, Sync};
use cloakroom::store::{Store, Written};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

const TASK: &str = "CLOAKROOM_TEST_CHILD_TASK";
const DIRECTORY: &str = "CLOAKROOM_TEST_CHILD_DIRECTORY";
const SYNC: &str = "CLOAKROOM_TEST_CHILD_SYNC";
pub const MODES: [Sync; 3] = [Sync::Never, Sync::Interval, Sync::Always];
const WRITERS: u64 = 16;
const INCREMENTS: u64 = 500;

/// The entry that every writing process counts up.
const SHARED: u64 = 999_999_999;

/// To whom the entries belong that are not counters.
const OWNER: &str = "ann";

/// Counters lie under few numbers from each child's first one on, other entries far above: every second of them is
/// deleted at once.
fn other(writer: u64, count: u64) -> u64 {
    (writer + 1) * 1_000_000_000 + count
}

/// This program as another process with a task.
pub fn child(task: &str, directory: &Path, mode: usize) -> Command {
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
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    if let Some(way) = Way::of_task(&task) {
        return live_through(way, &directory).await;
    }
    let mode: usize = std::env::var(SYNC).unwrap().parse().unwrap();
    let store: Arc<dyn Store> = Arc::new(open_disk(&directory, MODES[mode]));
    let Ok(first) = task.parse() else {
        return increment(&*store, INCREMENTS).await;
    };
    let mut writers = tokio::task::JoinSet::new();
    for writer in first..first + WRITERS {
        writers.spawn(write_for_ever(Arc::clone(&store), writer));
    }
    writers.spawn(count_for_ever(store));
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
        if count % 32 == 0 {
            create(&*store, &key(other(writer, count)), owned("other", OWNER)).await;
            println!("\ncreated {writer} {count} .");
        }
        if count % 64 == 0 {
            store.delete(&key(other(writer, count))).await.unwrap();
            println!("\ndeleted {writer} {count} .");
        }
    }
}

/// All processes count up the same entry.
async fn count_for_ever(store: Arc<dyn Store>) {
    store.create(&key(SHARED), entry("0"), NOW).await.unwrap();
    loop {
        increment(&*store, 1).await;
        println!("\ncounted 0 0 .");
    }
}

/// What a parent has heard.
#[derive(Default)]
pub struct Acknowledged {
    counters: BTreeMap<u64, u64>,
    kept: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    counted: u64,
    /// How many processes ended without a last word: ever, and since the last check.
    killed: u64,
    just_killed: u64,
}

impl Acknowledged {
    /// Whether the line is one of the child's.
    pub fn hear(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        // The full stop shows that the line is whole.
        let [verb @ ("replaced" | "created" | "deleted" | "counted"), writer, count, "."] = words[..] else {
            return false;
        };
        let (Ok(writer), Ok(count)) = (writer.parse(), count.parse()) else { return false };
        match verb {
            "replaced" => drop(self.counters.insert(writer, count)),
            "created" => drop(self.kept.insert(other(writer, count))),
            "counted" => self.counted += 1,
            _ => {
                self.kept.remove(&other(writer, count));
                self.deleted.insert(other(writer, count));
            }
        }
        true
    }

    /// Compares all of it with what is in the store, after every child has ended.
    pub async fn check(&mut self, store: &dyn Store, round: &str) {
        for (writer, count) in &mut self.counters {
            let found: u64 = text(store, &key(*writer), NOW).await.expect("it was acknowledged").parse().unwrap();
            // One more may have been committed that nobody heard of; the next child counts on from there.
            assert!((*count..=*count + 1).contains(&found), "{round}: {found} instead of {count}");
            *count = found;
        }
        let found: u64 = text(store, &key(SHARED), NOW).await.map_or(0, |text| text.parse().unwrap());
        let expected = self.counted..=self.counted + self.just_killed;
        assert!(expected.contains(&found), "{round}: {found} increments instead of {expected:?}");
        (self.counted, self.just_killed) = (found, 0);

        // The index tells of all others at once; what it lists beyond was created or deleted and not heard of.
        let listed = keys_of(store, OWNER, NOW).await;
        let is_listed = |n: &u64| listed.binary_search(&key(*n)).is_ok();
        // Every second one is deleted at once, and the child may have died between the deed and the word.
        let may_be_deleted = |n: &u64| (n % 1_000_000_000).is_multiple_of(64);
        assert!(self.kept.iter().all(|n| is_listed(n) || may_be_deleted(n)), "{round}: an entry is lost");
        assert!(!self.deleted.iter().any(is_listed), "{round}: a deleted entry came back");
        for listed in listed.iter().take(50) {
            assert_eq!(text(store, listed, NOW).await.as_deref(), Some("other"), "{round}");
        }
        self.kept.retain(is_listed);
        assert!(listed.len() <= self.kept.len() + usize::try_from(WRITERS * self.killed).unwrap(), "{round}");
    }

    pub fn is_full(&self) -> bool {
        !self.kept.is_empty() && !self.deleted.is_empty() && self.counted > 0
    }
}

/// A process that writes until it is killed.
pub struct Writer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Writer {
    /// Starts one; its counters begin at `first`.
    pub fn start(directory: &Path, mode: usize, first: u64) -> Self {
        let mut child = child(&first.to_string(), directory, mode).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Listens until it has said `count` things.
    pub fn hear(&mut self, acknowledged: &mut Acknowledged, count: u64) {
        let mut heard = 0;
        while heard < count {
            let line = self.lines.next().expect("the child ended by itself").unwrap();
            heard += u64::from(acknowledged.hear(&line));
        }
    }

    /// SIGKILL, at whatever it is doing; what it has said before is heard.
    pub fn kill(mut self, acknowledged: &mut Acknowledged) {
        self.child.kill().unwrap();
        for line in self.lines {
            acknowledged.hear(&line.unwrap());
        }
        self.child.wait().unwrap();
        acknowledged.killed += 1;
        acknowledged.just_killed += 1;
    }
}

/// What the engine itself finds when it looks through the whole file.
pub fn assert_whole(directory: &Path) {
    let database = rusqlite::Connection::open(directory.join("sessions.db")).unwrap();
    let found: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
}

async fn increment(store: &dyn Store, times: u64) {
    let counter = &key(SHARED);
    for _ in 0..times {
        loop {
            let (found, version) = store.load(counter, NOW).await.unwrap().unwrap();
            let count: u64 = std::str::from_utf8(&found.bytes).unwrap().parse().unwrap();
            match store.replace(counter, entry(&(count + 1).to_string()), version, NOW).await.unwrap() {
                Written::Done(_) => break,
                Written::Conflict => {}
                Written::Gone => panic!("nobody deletes it"),
            }
        }
    }
}

// Law 3; ST3, ST9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_may_write_one_file() {
    for (mode, sync) in MODES.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let store = open_disk(directory.path(), sync);
        create(&store, &key(SHARED), entry("0")).await;
        let mut child = child("increment", directory.path(), mode).stdout(Stdio::null()).spawn().unwrap();
        // This process was first and had the entry in memory; it sees the other's first write all the same.
        while text(&store, &key(SHARED), NOW).await.as_deref() == Some("0") {
            tokio::task::yield_now().await;
        }
        increment(&store, INCREMENTS).await;
        assert!(child.wait().unwrap().success());
        assert_eq!(text(&store, &key(SHARED), NOW).await, Some((2 * INCREMENTS).to_string()));
    }
}

// Laws 3 and 7; ST3, ST8, ST9: a chain of upgrades under load, in which the old process never ends well.
#[tokio::test]
async fn a_process_killed_while_it_hands_over_has_lost_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    let mut old = Writer::start(directory.path(), 0, 0);
    old.hear(&mut acknowledged, 200);
    for generation in 1..=6 {
        let mode = generation % MODES.len();
        // Alternating, so that a process takes over the counters of its predecessor's predecessor.
        let mut new = Writer::start(directory.path(), mode, 100 * (generation as u64 % 2));
        // At some time between the start of the new process and long after its first write.
        new.hear(&mut acknowledged, [0, 1, 40, 300, 2, 800][generation - 1]);
        old.kill(&mut acknowledged);
        // The new one goes on: it waits for nobody who is dead.
        new.hear(&mut acknowledged, 300);
        old = new;
    }
    old.kill(&mut acknowledged);
    let store: DiskStore = open_disk(directory.path(), Sync::Never);
    acknowledged.check(&store, "at the end").await;
    assert_whole(directory.path());
    assert!(acknowledged.is_full());
}
