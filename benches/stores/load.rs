//! Calls to a store, counted and timed.

use crate::{Outcome, body};
use bytes::Bytes;
use cloakroom::clock::Timestamp;
use cloakroom::session::{OwnerKey, StoreKey};
use cloakroom::store::{Entry, Store, Version, Written};
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How many writes are under way while the store is filled.
const FILLERS: u64 = 256;

/// Every how many calls one is timed, and the clock is looked at.
const TIMED: u64 = 8;

/// A prime far above any number of sessions: steps of this size go through all of them, in no order of theirs.
const STRIDE: u64 = 2_147_483_647;

/// The sessions of a store: their keys, and what was written last.
pub struct Sessions {
    now: Timestamp,
    owned: bool,
    versions: Vec<AtomicU64>,
    /// Where the next measurement goes on.
    turn: AtomicU64,
}

impl Sessions {
    pub fn new(count: u64, owned: bool, now: Timestamp) -> Self {
        Self { now, owned, versions: (0..count).map(|_| AtomicU64::new(0)).collect(), turn: AtomicU64::new(0) }
    }

    /// When all of them have expired.
    pub fn end(&self) -> Timestamp {
        self.now.after(Duration::from_secs(10_000))
    }

    fn version(&self, n: u64) -> &AtomicU64 {
        &self.versions[usize::try_from(n).unwrap_or(usize::MAX)]
    }

    /// One to two hours from now.
    fn deadline(&self, seed: u64) -> Timestamp {
        self.now.after(Duration::from_millis(3_600_000 + seed % 3_600_000))
    }

    fn entry(&self, n: u64, bytes: Bytes) -> Entry {
        let owner = self.owned.then(|| OwnerKey::from_bytes(spread(n, 1)));
        Entry { bytes, deadline: self.deadline(mix(n, 9)), owner }
    }
}

/// What a measurement calls.
#[derive(Clone, Copy)]
pub enum Load {
    /// `load`, of the first `among` sessions.
    Read { among: u64 },
    /// `peek`, of the first `among` sessions.
    Peek { among: u64 },
    /// `load`, of what is not there.
    Absent,
    /// `replace`, under the right version and with another deadline, as sessions in use are written.
    Replace,
}

/// A row of the table.
pub struct Line {
    title: String,
    tasks: u64,
    pub cpu_us: f64,
    p50: Duration,
    p99: Duration,
    rate: f64,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        write!(
            f,
            "{:34} {:>6} {:>10.2} {:>10.1} {:>10.1} {:>10.0}",
            self.title,
            self.tasks,
            self.cpu_us,
            micros(self.p50),
            micros(self.p99),
            self.rate
        )
    }
}

/// Writes every session for the first time.
pub async fn fill(store: &Arc<dyn Store>, sessions: &Arc<Sessions>) -> Outcome<Line> {
    let count = sessions.versions.len() as u64;
    let meter = Meter::start();
    let mut tasks = JoinSet::new();
    for task in 0..FILLERS {
        let (store, sessions) = (Arc::clone(store), Arc::clone(sessions));
        tasks.spawn(async move {
            let (mut times, bytes) = (Vec::new(), body(task));
            let mut n = task;
            while n < count {
                let entry = sessions.entry(n, Bytes::copy_from_slice(&bytes));
                let start = Instant::now();
                let written = store.create(&key(n), entry, sessions.now).await.map_err(|error| error.to_string())?;
                times.push(start.elapsed());
                let Written::Done(version) = written else { return Err("the store was not empty".to_owned()) };
                sessions.version(n).store(version.0, Relaxed);
                n += FILLERS;
            }
            Ok((times.len() as u64, times))
        });
    }
    meter.finish("create", FILLERS, tasks).await
}

/// One measurement.
pub async fn run(
    store: &Arc<dyn Store>,
    sessions: &Arc<Sessions>,
    load: Load,
    tasks: u64,
    limit: Duration,
    title: &str,
) -> Outcome<Line> {
    let meter = Meter::start();
    let end = Instant::now() + limit;
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let (store, sessions) = (Arc::clone(store), Arc::clone(sessions));
        running.spawn(async move {
            let (mut calls, mut times, bytes) = (0, Vec::new(), body(task));
            loop {
                let start = Instant::now();
                if start > end {
                    return Ok((calls, times));
                }
                call(&*store, &sessions, load, &bytes).await?;
                times.push(start.elapsed());
                for _ in 1..TIMED {
                    call(&*store, &sessions, load, &bytes).await?;
                }
                calls += TIMED;
                // Between calls that do not wait, others have their turn.
                tokio::task::yield_now().await;
            }
        });
    }
    meter.finish(title, tasks, running).await
}

async fn call(store: &dyn Store, sessions: &Sessions, load: Load, bytes: &[u8]) -> Result<(), String> {
    let count = sessions.versions.len() as u64;
    let turn = sessions.turn.fetch_add(1, Relaxed);
    let among = if let Load::Read { among } | Load::Peek { among } = load { among } else { count };
    let n = turn.wrapping_mul(STRIDE) % among;
    let failed = |error: cloakroom::store::StoreError| error.to_string();
    let as_meant = match load {
        Load::Read { .. } => store.load(&key(n), sessions.now).await.map_err(failed)?.is_some(),
        Load::Peek { .. } => store.peek(&key(n), sessions.now).await.map_err(failed)?.is_some(),
        Load::Absent => store.load(&key(n + count), sessions.now).await.map_err(failed)?.is_none(),
        Load::Replace => {
            let expected = Version(sessions.version(n).load(Relaxed));
            let deadline = sessions.deadline(turn);
            let entry = Entry { deadline, ..sessions.entry(n, Bytes::copy_from_slice(bytes)) };
            match store.replace(&key(n), entry, expected, sessions.now).await.map_err(failed)? {
                Written::Done(version) => {
                    sessions.version(n).store(version.0, Relaxed);
                    true
                }
                Written::Conflict | Written::Gone => false,
            }
        }
    };
    if as_meant { Ok(()) } else { Err(format!("session {n} is not as it was left")) }
}

/// Number of calls, and how long some of them took.
type Done = (u64, Vec<Duration>);

/// From the beginning to the end of a measurement.
struct Meter {
    cpu: Duration,
    start: Instant,
}

impl Meter {
    fn start() -> Self {
        Self { cpu: cpu(), start: Instant::now() }
    }

    async fn finish(self, title: &str, tasks: u64, mut running: JoinSet<Result<Done, String>>) -> Outcome<Line> {
        let (mut calls, mut times) = (0, Vec::new());
        while let Some(ended) = running.join_next().await {
            let (its_calls, its_times) = ended??;
            calls += its_calls;
            times.extend(its_times);
        }
        let (cpu, wall) = (cpu().saturating_sub(self.cpu), self.start.elapsed());
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        Ok(Line {
            title: title.to_owned(),
            tasks,
            cpu_us: each(cpu, calls),
            p50: at(50),
            p99: at(99),
            rate: 1e6 / each(wall, calls),
        })
    }
}

/// Microseconds for each of `count`.
pub fn each(time: Duration, count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "nobody counts that far")]
    let count = count.max(1) as f64;
    time.as_secs_f64() * 1e6 / count
}

/// CPU time of this process, all its threads, user and system.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Resident memory of this process in bytes; zero where there is no `/proc`.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// The key of a session, spread like a digest.
pub fn key(n: u64) -> StoreKey {
    StoreKey::from_bytes(spread(n, 0))
}

fn spread(n: u64, salt: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (part, at) in bytes.chunks_exact_mut(8).zip(0..) {
        part.copy_from_slice(&mix(n, salt * 4 + at).to_be_bytes());
    }
    bytes
}

/// Two numbers well mixed (splitmix64).
pub fn mix(n: u64, salt: u64) -> u64 {
    let mut z = n.wrapping_mul(64).wrapping_add(salt).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
