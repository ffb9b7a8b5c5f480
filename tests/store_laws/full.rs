//! The disk of the disk store is full (ST5, LG5): writes are refused and change nothing, reads go on, deletions go through
//! while the log has a page to spare, and when there is room again all goes on by itself.
//!
//! The child process has a file system of its own, of eight megabytes in memory; where the system lets nobody make one,
//! a limit for the size of files stands in for it.

use crate::processes::{assert_whole, child};
use crate::support::{NOW, create, entry, key, later, open_disk, text};
use cloakroom::store::disk::{DiskStore, Sync};
use cloakroom::store::{Entry, Store as _, StoreError, Written};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How the child's disk gets full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// Something else takes what is left of a small file system.
    NoSpace,
    /// The process may not make its files any larger.
    Limit,
}

impl Way {
    fn task(self) -> &'static str {
        match self {
            Self::NoSpace => "no space",
            Self::Limit => "limit",
        }
    }

    pub fn of_task(task: &str) -> Option<Self> {
        [Self::NoSpace, Self::Limit].into_iter().find(|way| way.task() == task)
    }

    fn fill(self, directory: &Path) {
        match self {
            Self::NoSpace => {
                // The last write fails, having taken what there was.
                let mut taken = fs::File::create(directory.join("ballast")).unwrap();
                while std::io::Write::write_all(&mut taken, &[0; 512]).is_ok() {}
            }
            Self::Limit => {
                let log = fs::metadata(directory.join("sessions.db-wal")).unwrap().len();
                setrlimit(Resource::Fsize, Rlimit { current: Some(log), ..getrlimit(Resource::Fsize) }).unwrap();
            }
        }
    }

    fn make_room(self, directory: &Path) {
        match self {
            Self::NoSpace => fs::remove_file(directory.join("ballast")).unwrap(),
            Self::Limit => {
                let limit = getrlimit(Resource::Fsize);
                setrlimit(Resource::Fsize, Rlimit { current: limit.maximum, ..limit }).unwrap();
            }
        }
    }

    fn assert_refused<T: std::fmt::Debug>(self, answer: Result<T, StoreError>) {
        let error = answer.expect_err("there is no room");
        match self {
            Self::NoSpace => assert_eq!(error.to_string(), "disk store is full: no space is left on its disk"),
            // The engine cannot tell this from a broken disk.
            Self::Limit => assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}"),
        }
    }
}

/// What the child does.
pub async fn live_through(way: Way, directory: &Path) {
    let mut store = open_disk(directory, Sync::Always);
    let mut held = BTreeMap::new();
    for n in 0..300 {
        create(&store, &key(n), entry(&"x".repeat(500))).await;
        held.insert(n, "x".repeat(500));
    }
    for n in 100..300 {
        store.delete(&key(n)).await.unwrap();
        held.remove(&n);
    }
    create(&store, &key(999), Entry { deadline: NOW, ..entry("expires soon") }).await;
    drop(store);
    // There are free pages in the database, and the log is short.
    store = open_disk(directory, Sync::Always);
    for n in 0..10 {
        assert!(replace(&store, n, "before").await.is_ok());
        held.insert(n, "before".into());
    }
    way.fill(directory);

    way.assert_refused(replace(&store, 20, &"larger ".repeat(1_000)).await);
    assert_eq!(text(&store, &key(20), NOW).await, held.get(&20).cloned(), "the old one is whole");
    assert!(store.load(&key(999), later(1)).await.is_ok_and(|found| found.is_none()) || way == Way::Limit);
    if way == Way::NoSpace {
        for n in 30..40 {
            eventually("an entry can be deleted", async || store.delete(&key(n)).await.is_ok()).await;
            held.remove(&n);
        }
    }
    // Until nothing goes in any more.
    let mut n = 1_000;
    loop {
        let body = n.to_string().repeat(200);
        match store.create(&key(n), entry(&body), NOW).await {
            Ok(written) => assert!(matches!(written, Written::Done(_)) && held.insert(n, body).is_none()),
            refused => break way.assert_refused(refused),
        }
        n += 1;
    }
    way.assert_refused(store.create(&key(n), entry(&"large".repeat(4_000)), NOW).await);
    check(&store, &held).await;
    assert_eq!(text(&store, &key(n), NOW).await, None, "what was refused is not there");

    way.make_room(directory);
    eventually("writes go on", async || store.create(&key(n), entry("room"), NOW).await.is_ok()).await;
    held.insert(n, "room".into());
    for n in 0..20 {
        assert!(replace(&store, n, "after").await.is_ok());
        held.insert(n, "after".into());
    }
    check(&store, &held).await;
    drop(store);
    check(&open_disk(directory, Sync::Always), &held).await;
    assert_whole(directory);
    println!("\nlived through it");
}

async fn replace(store: &DiskStore, n: u64, text: &str) -> Result<(), StoreError> {
    let (_, version) = store.load(&key(n), NOW).await?.unwrap();
    let written = store.replace(&key(n), entry(text), version, NOW).await?;
    assert!(matches!(written, Written::Done(_)));
    Ok(())
}

async fn check(store: &DiskStore, held: &BTreeMap<u64, String>) {
    for (n, held) in held {
        assert!(text(store, &key(*n), NOW).await.as_ref() == Some(held), "entry {n} was acknowledged");
    }
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a script before the child, in which `"$@"` is the child and `$0` its directory.
fn run(shell: &[&str], script: &str, way: Way) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let child = child(way.task(), directory.path(), 0);
    let mut command = Command::new(shell[0]);
    command
        .args(&shell[1..])
        .args(["-c", script])
        .arg(directory.path())
        .arg(child.get_program())
        .args(child.get_args());
    command.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if said.contains("no file system of our own") {
        return Err(said.into_owned());
    }
    assert!(output.status.success() && said.contains("lived through it"), "{said}");
    Ok(())
}

#[test]
fn a_full_disk_refuses_writes_and_passes() {
    let unshare: &[&str] =
        if rustix::process::geteuid().is_root() { &["unshare", "-m", "sh"] } else { &["unshare", "-rm", "sh"] };
    let script = r#"mount -t tmpfs -o size=8m none "$0" || { echo "no file system of our own"; exit; }; exec "$@""#;
    if let Err(reason) = run(unshare, script, Way::NoSpace) {
        println!("a limit stands in for a full disk: {reason}");
        a_limit_of_the_file_size_refuses_writes_and_passes();
    }
}

#[test]
fn a_limit_of_the_file_size_refuses_writes_and_passes() {
    run(&["sh"], r#"trap '' XFSZ; exec "$@""#, Way::Limit).unwrap();
}
