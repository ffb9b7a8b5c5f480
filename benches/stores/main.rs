//! What a store costs by itself: CPU time of this process for each call, and how long the caller waits.
//!
//! ```text
//! cargo run --release --example stores -- disk              a million sessions of 500 bytes, some minutes
//! cargo run --profile quick --example stores -- memory 100000 --seconds 1
//! cargo run --profile quick --example stores -- near:redis://127.0.0.1:6379/0 100000
//! ```
//!
//! One thread calls, as one worker of the proxy does, with 64 calls under way at a time and then with 4: the more there
//! are, the more of them share a commit or a packet. CPU time is that of all threads of this process, so a server's own
//! is not in it. Reads and writes go through all sessions before any comes again, except the hot reads, which stay with
//! a thousand; what a store keeps in memory therefore helps the hot ones only. Each measurement is repeated, the table
//! shows the median; waiting is that of every eighth call.
//!
//! A server is to be started beforehand. What is left on it has a name that begins with `bench_`, and expires; of
//! PostgreSQL it is an empty table.
//!
//! A store on this machine is opened again afterwards, after a regular end and after SIGKILL in the midst of writing, and
//! at last everything expires.

#![expect(clippy::print_stdout, reason = "the table is the point")]

mod kinds;
mod load;
mod opening;

use bytes::Bytes;
use clap::Parser;
use cloakroom::clock::{Clock as _, SystemClock};
use kinds::Kind;
use load::{Load, Sessions};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The allocator of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How a bench ends that cannot go on.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// How many sessions are in use in the hot measurement.
const HOT: u64 = 1_000;

/// How many expired entries one call removes: as many as others ever wait for.
const SWEEP: usize = 128;

/// Measures one store.
#[derive(Parser)]
struct Args {
    /// `memory`, `disk` (every write synced), `disk:interval`, `disk:never`, `redis://127.0.0.1:6379`,
    /// `memcached://127.0.0.1:11211` or `postgres://user@127.0.0.1/database`; with `guarded:` before it inside of its time
    /// limit and breaker, with `near:` before it behind copies in memory too.
    store: Kind,
    /// How many sessions it holds.
    #[arg(default_value_t = 1_000_000)]
    sessions: u64,
    /// Length of one measurement.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Measurements of each kind.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only calls whose name begins so: `read`, `show`, `replace`.
    #[arg(long, default_value = "")]
    only: String,
    /// Every session belongs to a logged-in user of its own.
    #[arg(long)]
    owned: bool,
    /// Where a store on this machine lies; by default a new directory, which is removed at the end.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// What the runner tells the process that it will kill.
    #[arg(long, hide = true)]
    write_until_killed: bool,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let temporary = args.directory.is_none().then(tempfile::tempdir).transpose()?;
    let directory = args.directory.clone().or_else(|| Some(temporary.as_ref()?.path().to_owned())).unwrap_or_default();
    if args.write_until_killed {
        let store = args.store.open(&directory, &runtime)?;
        return runtime.block_on(opening::write_until_killed(store, args.sessions));
    }
    let sessions = Arc::new(Sessions::new(args.sessions, args.owned, SystemClock.now()));
    let mut store = args.store.open(&directory, &runtime)?;
    println!("{:34} {:>6} {:>10} {:>10} {:>10} {:>10}", "", "tasks", "CPU us", "p50 us", "p99 us", "calls/s");

    let before = load::resident();
    let filled = runtime.block_on(load::fill(&store, &sessions))?;
    println!("{filled}");
    println!(
        "{:34} {:>17} bytes",
        "resident memory, each session",
        load::resident().saturating_sub(before) / args.sessions.max(1)
    );
    for tasks in [64, 4] {
        for (load, title) in [
            (Load::Read { among: HOT }, "read, one of a thousand in use"),
            (Load::Read { among: args.sessions }, "read, each session in its turn"),
            (Load::Peek { among: HOT }, "show, one of a thousand in use"),
            (Load::Absent, "read, absent"),
            (Load::Replace, "replace"),
        ] {
            let is_another_read = matches!(load, Load::Peek { .. }) && !args.store.keeps_copies();
            if is_another_read || !title.starts_with(&args.only) {
                continue;
            }
            let mut lines = Vec::new();
            for _ in 0..args.rounds.max(1) {
                let limit = Duration::from_secs(args.seconds);
                lines.push(runtime.block_on(load::run(&store, &sessions, load, tasks, limit, title))?);
            }
            lines.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
            println!("{}", lines[lines.len() / 2]);
        }
    }
    if args.store.lies_here() {
        let size = opening::size(&directory)?;
        println!("{:34} {:>17} bytes", "files, each session", size / args.sessions.max(1));
        store = opening::measure(store, &args.store, &runtime, &directory, args.sessions)?;
    }
    runtime.block_on(async {
        let mut longest = Duration::ZERO;
        let (mut removed, cpu) = (0, load::cpu());
        loop {
            let start = Instant::now();
            let swept = store.sweep(sessions.end(), SWEEP).await?;
            longest = longest.max(start.elapsed());
            removed += swept as u64;
            if swept < SWEEP {
                break;
            }
        }
        if removed == 0 {
            // Its server removes what has expired by itself.
            return Ok(());
        }
        let each = load::each(load::cpu().saturating_sub(cpu), removed);
        println!("{:34} {:>17.2}", format!("sweep, each of {removed} expired"), each);
        println!("{:34} {:>17.2} ms", format!("longest sweep of {SWEEP}"), longest.as_secs_f64() * 1e3);
        Ok(())
    })
}

/// A session of this size, and of the look of a sealed one: nothing in it repeats.
fn body(seed: u64) -> Bytes {
    (0..500).map(|at| load::mix(seed, at).to_ne_bytes()[0]).collect()
}
