//! The applications behind the demo: found, started, waited for, ended.

use super::{Failure, builtin, named};
use crate::session::random;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// An interpreter that does not listen by then is left out.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// An application that does not end by then is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// A directory of our own that goes when the demo ends.
#[derive(Debug)]
pub(super) struct Workspace(PathBuf);

impl Workspace {
    pub(super) fn new() -> Result<Self, Failure> {
        let [a, b, c, d] = random::<4>()?;
        let path = std::env::temp_dir().join(format!("cloakroom-demo-{a:02x}{b:02x}{c:02x}{d:02x}"));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(named("the temporary directory"))?;
        let workspace = Self(path);
        for (name, text) in FILES {
            fs::write(workspace.0.join(name), text).map_err(named(name))?;
        }
        Ok(workspace)
    }

    /// Where the sessions are kept.
    pub(super) fn state_dir(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

const FILES: [(&str, &str); 5] = [
    ("guestbook.php", include_str!("apps/guestbook.php")),
    ("guestbook.pl", include_str!("apps/guestbook.pl")),
    ("guestbook.py", include_str!("apps/guestbook.py")),
    ("lighttpd.conf", include_str!("apps/lighttpd.conf")),
    ("style.css", builtin::STYLE),
];

/// A guest book that listens.
#[derive(Debug)]
pub(super) struct Application {
    /// The name in the configuration and in the path.
    pub(super) name: &'static str,
    /// What a person calls it.
    pub(super) what: &'static str,
    /// Where it listens.
    pub(super) address: SocketAddr,
    process: Option<Child>,
}

impl Application {
    #[cfg(test)]
    pub(super) fn named_only(name: &'static str) -> Self {
        Self { name, what: name, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), process: None }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // Some servers have children of their own: the whole group goes, politely first.
        let Some(process) = &mut self.process else { return };
        let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let signal = |signal| group.map(|group| kill_process_group(group, signal));
        signal(Signal::TERM);
        let asked = Instant::now();
        while matches!(process.try_wait(), Ok(None)) && asked.elapsed() < STOP_TIMEOUT {
            thread::sleep(Duration::from_millis(10));
        }
        signal(Signal::KILL);
        process.wait().ok();
    }
}

/// The guest books that run, and those left out with the reason.
type Found = (Vec<Application>, Vec<(&'static str, &'static str)>);

/// Starts every guest book that this machine has an interpreter for; the built-in one where there is none.
pub(super) fn start_all(workspace: &Workspace) -> Result<Found, Failure> {
    let dir = &workspace.0;
    let mut applications = Vec::new();
    let mut missing = Vec::new();
    for (name, what, command) in [
        ("php", "PHP, php -S", php as fn(&Path, u16) -> Result<Command, &'static str>),
        ("perl", "Perl CGI, lighttpd", perl),
        ("python", "Python WSGI, wsgiref", python),
    ] {
        match start(name, what, dir, command) {
            Ok(application) => applications.push(application),
            Err(needs) => missing.push((what, needs)),
        }
    }
    if applications.is_empty() {
        let address = builtin::start(dir.join("guestbook.txt")).map_err(named("the built-in guest book"))?;
        applications.push(Application { name: "book", what: "built in, Rust", address, process: None });
    }
    Ok((applications, missing))
}

fn start(
    name: &'static str,
    what: &'static str,
    dir: &Path,
    command: fn(&Path, u16) -> Result<Command, &'static str>,
) -> Result<Application, &'static str> {
    let address = free_address().ok_or("no port is free")?;
    let mut command = command(dir, address.port())?;
    command.current_dir(dir).env("GUESTBOOK_DIR", dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: Ctrl-C reaches us alone, and we end the applications.
    let process = command.process_group(0).spawn().map_err(|_| "it cannot be started")?;
    let mut application = Application { name, what, address, process: Some(process) };
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        let ended = application.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
        if ended || started.elapsed() > START_TIMEOUT {
            return Err("it did not start");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(application)
}

fn free_address() -> Option<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).ok()
}

fn php(_: &Path, port: u16) -> Result<Command, &'static str> {
    let mut command = Command::new(find("php").ok_or("no php on this machine")?);
    command.args(["-S", &format!("127.0.0.1:{port}"), "guestbook.php"]).env("PHP_CLI_SERVER_WORKERS", "4");
    Ok(command)
}

fn python(_: &Path, port: u16) -> Result<Command, &'static str> {
    let python = find("python3").ok_or("no python3 on this machine")?;
    let has_wsgiref = Command::new(&python).args(["-c", "import wsgiref.simple_server"]).stderr(Stdio::null()).status();
    if !has_wsgiref.is_ok_and(|status| status.success()) {
        return Err("this python3 has no wsgiref");
    }
    let mut command = Command::new(python);
    command.args(["-B", "guestbook.py", &port.to_string()]);
    Ok(command)
}

fn perl(dir: &Path, port: u16) -> Result<Command, &'static str> {
    let (perl, lighttpd) = (find("perl").ok_or("no perl on this machine")?, find("lighttpd").ok_or("no lighttpd")?);
    let settings = include_str!("apps/lighttpd.conf")
        .replace("@PORT@", &port.to_string())
        .replace("@DIR@", &dir.to_string_lossy())
        .replace("@PERL@", &perl.to_string_lossy());
    fs::write(dir.join("lighttpd.conf"), settings).map_err(|_| "its settings cannot be written")?;
    let mut command = Command::new(lighttpd);
    command.args([OsStr::new("-D"), OsStr::new("-f"), dir.join("lighttpd.conf").as_os_str()]);
    Ok(command)
}

/// A program by name; servers live in `sbin`, which a person's PATH may not have.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join(program)).find(|candidate| candidate.is_file())
}
