//! The real binary, with a configuration of the test's own.

use super::LIMIT;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How often another port is tried, when somebody was faster.
const ATTEMPTS: usize = 5;

struct Running {
    child: Child,
    address: SocketAddr,
    readers: Vec<JoinHandle<()>>,
}

/// `cloakroom run`, its directory and everything it has written on its standard streams.
///
/// In the configuration `@web` stands for the address that it listens on. A second listener, `ready.sock`, is added: once it
/// accepts, every socket is bound, and the port is this proxy's and not that of another test.
pub struct Proxy {
    dir: TempDir,
    running: Mutex<Option<Running>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts it; the test fails when it does not accept connections.
    pub fn start(dir: TempDir, config: &str) -> Self {
        let proxy = Self { dir, running: Mutex::new(None), log: Arc::default() };
        proxy.restart(config);
        proxy
    }

    /// Ends it, by SIGTERM, and starts it again in the same directory.
    pub fn restart(&self, config: &str) {
        self.stop();
        for _ in 0..ATTEMPTS {
            match self.launch(config) {
                Ok(running) => {
                    *lock(&self.running) = Some(running);
                    return;
                }
                Err(status) if self.has_logged("cannot listen") => eprintln!("another port is tried after {status}"),
                Err(status) => panic!("the proxy ended with {status}:\n{}", self.log().join("\n")),
            }
        }
        panic!("no port in {ATTEMPTS} attempts:\n{}", self.log().join("\n"));
    }

    /// Writes another configuration for the proxy that runs, which does not know it yet.
    pub fn write(&self, config: &str) {
        self.write_for(config, self.address());
    }

    fn write_for(&self, config: &str, address: SocketAddr) {
        let listener = "[listeners.zz_ready]\naddress = \"unix:ready.sock\"\nbehind_tls = true\n";
        // Proxies of many tests run at once, and there is one default place for an admin socket.
        let is_said = config.contains("[admin]") || config.contains("runtime_dir");
        let admin = if is_said { "" } else { "[admin]\nsocket = \"\"\n" };
        let config = format!("{}\n{listener}{admin}", config.replace("@web", &address.to_string()));
        fs::write(self.path("cloakroom.toml"), config).expect("a file in the test's own directory");
    }

    fn launch(&self, config: &str) -> Result<Running, ExitStatus> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let ready = self.path("ready.sock");
        drop(fs::remove_file(&ready));
        self.write_for(config, address);
        // Past a limit for its files a write shall fail; the signal would end the process.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_cloakroom"), "run", "-c"])
            .arg(self.path("cloakroom.toml"))
            .env_remove("RUST_LOG")
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let readers = vec![self.listen(child.stdout.take()), self.listen(child.stderr.take())];
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = child.try_wait().expect("its own child") {
                join(readers);
                return Err(status);
            }
            if UnixStream::connect(&ready).is_ok() {
                return Ok(Running { child, address, readers });
            }
            if Instant::now() > until {
                drop(child.kill());
                panic!("the proxy does not listen within {LIMIT:?}:\n{}", self.log().join("\n"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn listen(&self, stream: Option<impl Read + Send + 'static>) -> JoinHandle<()> {
        let log = Arc::clone(&self.log);
        let stream = stream.expect("a piped stream");
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { return };
                lock(&log).push(String::from_utf8_lossy(&line).into_owned());
            }
        })
    }

    /// The TCP address.
    pub fn address(&self) -> SocketAddr {
        lock(&self.running).as_ref().expect("a running proxy").address
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Everything that it has written so far, line by line.
    pub fn log(&self) -> Vec<String> {
        lock(&self.log).clone()
    }

    /// Whether a line has this text.
    pub fn has_logged(&self, text: &str) -> bool {
        self.log().iter().any(|line| line.contains(text))
    }

    /// Ends it by SIGTERM, and by force when it takes too long; answers its status.
    pub fn stop(&self) -> Option<ExitStatus> {
        self.signal("TERM");
        self.ended()
    }

    /// Waits for its end, which comes by force when it takes too long; answers its status.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut running = lock(&self.running).take()?;
        let until = Instant::now() + LIMIT;
        let status = loop {
            match running.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
                _ => {
                    drop(running.child.kill());
                    break running.child.wait().expect("its own child");
                }
            }
        };
        join(running.readers);
        Some(status)
    }

    /// Ends it at once, by SIGKILL.
    pub fn kill(&self) {
        if let Some(mut running) = lock(&self.running).take() {
            drop(running.child.kill());
            drop(running.child.wait());
            join(running.readers);
        }
    }

    /// Whether the process lives.
    pub fn is_alive(&self) -> bool {
        lock(&self.running).as_mut().is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Lets no file of it grow beyond this size from now on, as on a full disk; `None` ends that.
    pub fn limit_files(&self, size: Option<u64>) {
        let running = lock(&self.running);
        let child = &running.as_ref().expect("a running proxy").child;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let maximum = getrlimit(Resource::Fsize).maximum;
        prlimit(pid, Resource::Fsize, Rlimit { current: size.or(maximum), maximum }).expect("its own child");
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        if let Some(running) = lock(&self.running).as_ref() {
            signal(&running.child, name);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            eprintln!("--- the proxy wrote at last:\n{}\n---", log[log.len().saturating_sub(30)..].join("\n"));
        }
        self.stop();
    }
}

/// Waits until everything that was written has been read.
fn join(readers: Vec<JoinHandle<()>>) {
    for reader in readers {
        drop(reader.join());
    }
}

/// The shell's own `kill`: no program is needed for it.
fn signal(child: &Child, name: &str) {
    drop(Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
