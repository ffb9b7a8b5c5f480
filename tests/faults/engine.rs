//! The networked stores as an operator runs them, each behind a wire that can break.

use crate::servers::memcached::Memcached;
use crate::servers::postgres::Postgres;
use crate::servers::relay::Relay;
use crate::servers::{PATIENCE, redis, until};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A server, the wire to it, and how a configuration names it.
pub struct Engine {
    /// The wire.
    pub wire: Relay,
    server: Mutex<Server>,
}

enum Server {
    Redis(redis::Server),
    Memcached(Memcached),
    Postgres(Postgres),
}

impl Engine {
    /// Redis that writes everything down before it acknowledges it.
    pub fn redis() -> Self {
        let server = redis::Server::with(&[("appendonly", "yes"), ("appendfsync", "always")]);
        Self { wire: Relay::to(server.port), server: Mutex::new(Server::Redis(server)) }
    }

    /// memcached, which keeps nothing.
    pub fn memcached() -> Self {
        let server = Memcached::on_port(&[]);
        let port = server.name().rsplit(':').next().and_then(|port| port.parse().ok()).expect("it has a port");
        Self { wire: Relay::to(port), server: Mutex::new(Server::Memcached(server)) }
    }

    /// PostgreSQL that really syncs.
    pub fn postgres() -> Self {
        let server = Postgres::start(&[]);
        let engine = Self { wire: Relay::to(server.port()), server: Mutex::new(Server::Postgres(server)) };
        engine.migrate();
        engine
    }

    /// The store `net`, and what every test needs beside it; more lines of its table may follow in `more`.
    pub fn config(&self, more: &str) -> String {
        let port = self.wire.port();
        let place = match &*self.server() {
            Server::Redis(_) => format!("type = \"redis\"\nurl = \"redis://127.0.0.1:{port}\""),
            Server::Memcached(_) => format!("type = \"memcached\"\nservers = [\"127.0.0.1:{port}\"]"),
            Server::Postgres(_) => {
                format!("type = \"postgres\"\nurl = \"postgres://postgres@127.0.0.1:{port}/postgres\"")
            }
        };
        let key = "id = \"test\"\nsecret = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\"";
        format!("[[keys]]\n{key}\n[stores.net]\n{place}\ntimeout = \"1s\"\n{more}\n[sessions.main]\nstore = \"net\"\n")
    }

    /// Whether what it acknowledged survives its death.
    pub fn is_durable(&self) -> bool {
        !matches!(&*self.server(), Server::Memcached(_))
    }

    /// It answers nothing, and its connections stay.
    pub fn freeze(&self) {
        match &*self.server() {
            Server::Redis(server) => server.daemon().freeze(),
            Server::Memcached(server) => server.freeze(),
            Server::Postgres(server) => server.freeze(),
        }
    }

    /// It goes on.
    pub fn thaw(&self) {
        match &*self.server() {
            Server::Redis(server) => server.daemon().thaw(),
            Server::Memcached(server) => server.thaw(),
            Server::Postgres(server) => server.thaw(),
        }
    }

    /// SIGKILL.
    pub fn kill(&self) {
        match &mut *self.server() {
            Server::Redis(server) => server.kill(),
            Server::Memcached(server) => server.kill(),
            Server::Postgres(server) => server.kill(),
        }
    }

    /// A new process on what the last one had written.
    pub fn restart(&self) {
        match &mut *self.server() {
            Server::Redis(server) => server.restart(),
            Server::Memcached(server) => server.start_again(),
            Server::Postgres(server) => server.resume(),
        }
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn migrate(&self) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("migrate.toml");
        let config = crate::support::complete(&self.config(""), "http://127.0.0.1:1").replace("@web", "127.0.0.1:1");
        std::fs::write(&file, config).unwrap();
        migrate(&file);
    }
}

/// Makes the table of the store `net` of a configuration; answers what the command said.
pub fn migrate(file: &Path) -> String {
    let mut migrate = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
    let done = migrate.args(["store", "migrate", "net", "-c"]).arg(file).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Waits until a server that was killed or frozen is used again.
pub fn recovers(what: &str, holds: impl FnMut() -> bool) {
    assert!(until(PATIENCE, holds), "{what}");
}
