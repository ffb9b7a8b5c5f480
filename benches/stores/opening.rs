//! How long it takes to open a store again: after a regular end, and after SIGKILL in the midst of writing.

use crate::kinds::Kind;
use crate::{Outcome, body, load};
use cloakroom::clock::{Clock as _, SystemClock};
use cloakroom::store::{Entry, Store, Version, Written};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How often each is measured.
const TIMES: usize = 5;

/// A process is killed at the first, second, ... of these many writes.
const WRITES: usize = 10_000;

/// Closes the store, measures, and hands it back open.
pub fn measure(
    store: Arc<dyn Store>,
    kind: &Kind,
    runtime: &Runtime,
    directory: &Path,
    sessions: u64,
) -> Outcome<Arc<dyn Store>> {
    drop(store);
    let mut times = Vec::new();
    for _ in 0..TIMES {
        times.push(open_and_read(kind, runtime, directory)?);
    }
    report("opening, to the first read", times);
    let mut times = Vec::new();
    for writes in (1..=TIMES).map(|n| n * WRITES) {
        let mut child = Command::new(std::env::current_exe()?)
            .args([kind.name(), &sessions.to_string(), "--write-until-killed", "--directory"])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines);
        // One line for every hundred.
        let heard = lines.take(writes / 100).count();
        child.kill()?;
        child.wait()?;
        if heard != writes / 100 {
            return Err("the process ended before it was killed".into());
        }
        times.push(open_and_read(kind, runtime, directory)?);
    }
    report("the same after SIGKILL", times);
    kind.open(directory, runtime)
}

/// Until the first answer: some stores do part of the work when they are first asked.
fn open_and_read(kind: &Kind, runtime: &Runtime, directory: &Path) -> Outcome<Duration> {
    let start = Instant::now();
    let store = kind.open(directory, runtime)?;
    let found = runtime.block_on(store.load(&load::key(0), SystemClock.now()))?;
    let time = start.elapsed();
    found.map(|_| time).ok_or_else(|| "a session is lost".into())
}

fn report(title: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!("{title:34} {:>17.1} ms ({:.1} to {:.1})", millis(median), millis(least), millis(most));
}

/// The other process: replaces session after session and says so.
pub async fn write_until_killed(store: Arc<dyn Store>, sessions: u64) -> Outcome<()> {
    const TASKS: u64 = 64;
    let now = SystemClock.now();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for turn in 1_u64.. {
                let key = load::key((turn * TASKS + task).wrapping_mul(7_919) % sessions);
                let Ok(Some((found, version))) = store.load(&key, now).await else { return };
                if !replace(&*store, &key, found, version, now).await {
                    return;
                }
                if (turn * TASKS + task).is_multiple_of(100) {
                    println!("another hundred");
                }
            }
        });
    }
    tasks.join_all().await;
    Ok(())
}

async fn replace(
    store: &dyn Store,
    key: &cloakroom::session::StoreKey,
    found: Entry,
    version: Version,
    now: cloakroom::clock::Timestamp,
) -> bool {
    let entry = Entry { bytes: body(version.0), ..found };
    // Two tasks may meet at one session.
    matches!(store.replace(key, entry, version, now).await, Ok(Written::Done(_) | Written::Conflict))
}

/// Bytes of all files in the store's directory.
pub fn size(directory: &Path) -> Outcome<u64> {
    let mut size = 0;
    for file in std::fs::read_dir(directory)? {
        size += file?.metadata()?.len();
    }
    Ok(size)
}
