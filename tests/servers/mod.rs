//! Real servers for the tests: each on ports of its own, in a directory of its own, and gone with the test.
//!
//! A server hangs on a leash: a shell that waits for the end of its standard input, which is a pipe from the test
//! program. However that program ends, the pipe closes, and the shell kills the server and removes its directory.

#![allow(dead_code, reason = "each test program uses some of them")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

pub mod fake_memcached;
pub mod memcached;
pub mod postgres;
pub mod redis;
pub mod relay;

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// No server takes longer to start, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Starts what follows its first argument, says its process id, and kills it when its own input ends.
const LEASH: &str = r#"
    directory=$1; shift
    "$@" </dev/null >>"$directory/log" 2>&1 &
    server=$!
    echo "$server"
    cat >/dev/null
    kill -KILL "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    # The children of a browser write a moment longer.
    [ -e "$directory/keep" ] || rm -rf "$directory" || { sleep 1; rm -rf "$directory"; }
"#;

/// A server that runs.
pub struct Daemon {
    leash: Child,
    /// Closing it kills the server.
    hold: Option<ChildStdin>,
    server: Pid,
    directory: PathBuf,
}

impl Daemon {
    /// Starts a server, whose log and data lie in `directory`, and waits until it is `ready`.
    pub fn start(directory: &Path, program: &[&str], ready: impl FnMut() -> bool) -> Self {
        let mut leash = Command::new("sh")
            .args(["-c", LEASH, "leash"])
            .arg(directory)
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(leash.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let server = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        let hold = leash.stdin.take();
        let daemon = Self { leash, hold, server, directory: directory.to_owned() };
        if !until(PATIENCE, ready) {
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            panic!("{} does not start:\n{log}", program.join(" "));
        }
        daemon
    }

    /// Where it keeps its things.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// SIGSTOP: it answers nothing, and its connections stay open.
    pub fn freeze(&self) {
        kill_process(self.server, Signal::STOP).unwrap();
        // Each of its threads stops by itself, a moment after the signal.
        let threads = format!("/proc/{}/task", self.server.as_raw_pid());
        let stands = |stat: PathBuf| fs::read_to_string(stat).map_or(true, |stat| stat.contains(") T "));
        let all_stand = || fs::read_dir(&threads).unwrap().all(|thread| stands(thread.unwrap().path().join("stat")));
        assert!(until(PATIENCE, all_stand), "it does not stop");
    }

    /// SIGCONT: it goes on where it stood.
    pub fn thaw(&self) {
        kill_process(self.server, Signal::CONT).unwrap();
    }

    /// SIGKILL; its directory stays for the next one.
    pub fn kill(mut self) {
        fs::write(self.directory.join("keep"), "").unwrap();
        self.end();
        fs::remove_file(self.directory.join("keep")).unwrap();
    }

    /// A regular end, by this signal; its directory stays for the next one.
    pub fn stop(self, signal: Signal) {
        kill_process(self.server, signal).unwrap();
        self.leave();
    }

    /// Waits for its own end, when it was asked for in another way; its directory stays for the next one.
    pub fn leave(mut self) {
        fs::write(self.directory.join("keep"), "").unwrap();
        let stat = format!("/proc/{}/stat", self.server.as_raw_pid());
        let has_ended = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        assert!(until(PATIENCE, has_ended), "it does not end");
        self.end();
        fs::remove_file(self.directory.join("keep")).unwrap();
    }

    fn end(&mut self) {
        drop(self.hold.take());
        self.leash.wait().ok();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// A new directory, which the leash of its server removes.
pub fn directory(name: &str) -> PathBuf {
    let directory = tempfile::Builder::new().prefix(&format!("cloakroom-{name}-")).tempdir().unwrap();
    directory.keep()
}

/// A port that nobody listens on, and that no other test of this machine is given within the next minute.
///
/// Below the range from which the system hands out ports to clients, so that no connection takes it meanwhile. A lock file
/// tells other test programs that it is taken: its port is free again when that program has ended.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let from = 12_000 + u16::try_from(std::process::id() % 9_000).unwrap();
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < 10_000, "no port is free, or no file can be made in the directory for temporary ones");
        let port = 12_000 + (from - 12_000 + step) % 10_000;
        // A cluster's nodes also listen on the port 10,000 above.
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if !is_free(port) || !is_free(port + 10_000) {
            continue;
        }
        // One that belongs to another user cannot be opened.
        let lock = fs::File::create(std::env::temp_dir().join(format!("cloakroom-port-{port}")));
        let Ok(lock) = lock else { continue };
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Held until this program ends.
            std::mem::forget(lock);
            return port;
        }
    }
}

/// Waits for a condition; `false` when it does not come true in time.
pub fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Finds a program that Debian keeps out of everybody's `PATH`.
pub fn program(name: &str, places: &[&str]) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').chain(places.iter().copied()).map(|place| format!("{place}/{name}"));
    found
        .into_iter()
        .find(|file| Path::new(file).is_file())
        .unwrap_or_else(|| panic!("{name}: run `scripts/setup test`"))
}
