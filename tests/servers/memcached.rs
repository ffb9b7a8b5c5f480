//! memcached, on a port or a Unix socket.

use super::{Daemon, PATIENCE, directory, free_port, program, until};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cloakroom::session::{OwnerKey, StoreKey};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// A memcached that runs.
pub struct Memcached {
    /// `None` only while it is started anew.
    daemon: Option<Daemon>,
    place: Place,
    directory: PathBuf,
    options: Vec<String>,
}

enum Place {
    Port(u16),
    Socket(PathBuf),
}

impl Memcached {
    /// On a port of this machine, with these options beside.
    pub fn on_port(options: &[&str]) -> Self {
        Self::start(directory("memcached"), Place::Port(free_port()), options)
    }

    /// On a Unix socket in its directory.
    pub fn on_socket() -> Self {
        let directory = directory("memcached");
        let socket = directory.join("socket");
        Self::start(directory, Place::Socket(socket), &[])
    }

    fn start(directory: PathBuf, place: Place, options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut memcached = Self { daemon: None, place, directory, options };
        memcached.start_again();
        memcached
    }

    /// Starts it where it was, with nothing in it.
    pub fn start_again(&mut self) {
        let memcached = program("memcached", &["/usr/bin", "/usr/local/bin"]);
        let mut arguments = vec![memcached, "-t".to_owned(), "2".to_owned()];
        match &self.place {
            Place::Port(port) => arguments.extend(["-l".into(), "127.0.0.1".into(), "-p".into(), port.to_string()]),
            Place::Socket(path) => {
                // What a killed one has left would be taken for the new one.
                std::fs::remove_file(path).ok();
                arguments.extend(["-s".into(), path.display().to_string()]);
            }
        }
        if rustix::process::geteuid().is_root() {
            arguments.extend(["-u".to_owned(), "root".to_owned()]);
        }
        arguments.extend(self.options.iter().cloned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ready = || match &self.place {
            Place::Port(port) => TcpStream::connect(("127.0.0.1", *port)).is_ok(),
            Place::Socket(path) => UnixStream::connect(path).is_ok(),
        };
        self.daemon = Some(Daemon::start(&self.directory, &arguments, ready));
    }

    /// As an operator names it.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Port(port) => format!("127.0.0.1:{port}"),
            Place::Socket(path) => format!("unix:{}", path.display()),
        }
    }

    pub fn kill(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    pub fn freeze(&self) {
        self.daemon.as_ref().unwrap().freeze();
    }

    pub fn thaw(&self) {
        self.daemon.as_ref().unwrap().thaw();
    }

    /// One line of its `stats`.
    pub fn stat(&self, name: &str) -> u64 {
        let wanted = format!("STAT {name} ");
        self.ask("stats", |line| line.strip_prefix(&wanted).map(|count| count.parse().unwrap()))
    }

    /// Waits until it has this many connections beside the one that asks.
    pub fn has_connections(&self, count: u64) -> bool {
        until(PATIENCE, || self.stat("curr_connections") == count + 1)
    }

    /// How long it keeps a session; `None`: without end.
    pub fn seconds_left(&self, prefix: &str, key: &StoreKey) -> Option<u64> {
        self.lifetime(&format!("{prefix}s:{}", URL_SAFE_NO_PAD.encode(key.as_bytes())))
    }

    /// How long it keeps an owner's list; `None`: without end.
    pub fn seconds_left_of_owner(&self, prefix: &str, owner: &OwnerKey) -> Option<u64> {
        self.lifetime(&format!("{prefix}o:{}", URL_SAFE_NO_PAD.encode(owner.as_bytes())))
    }

    fn lifetime(&self, name: &str) -> Option<u64> {
        self.ask(&format!("mg {name} t"), |line| Some(line.strip_prefix("HD t").unwrap().parse().ok()))
    }

    /// Sends a line, and reads lines until one is what was looked for.
    fn ask<T>(&self, question: &str, wanted: impl FnMut(String) -> Option<T>) -> T {
        let Place::Port(port) = self.place else { panic!("only asked over TCP") };
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{question}\r\n").as_bytes()).unwrap();
        BufReader::new(stream).lines().map(Result::unwrap).find_map(wanted).unwrap()
    }
}
