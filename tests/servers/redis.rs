//! Redis servers: one, one with everything that can be switched on, a primary with Sentinels, a cluster.

use super::{Daemon, PATIENCE, directory, free_port, program, until};
use redis::{Client, Cmd, Value};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The user that may do what a store needs, and nothing else.
pub const USER: &str = "app";

/// The password of [`USER`].
pub const PASSWORD: &str = "correct horse";

/// What a store may do to keys that begin with this, `app:`.
const RIGHTS: &str = "+getrange +set +del +pexpire +pttl +zadd +zrem +zscore +zrangebyscore +zscan \
                      +evalsha +script|load +ping +info +role +scan +dbsize +client|tracking +cluster|slots +asking";

/// One server.
pub struct Server {
    daemon: Option<Daemon>,
    directory: PathBuf,
    arguments: Vec<String>,
    pub port: u16,
}

impl Server {
    /// Starts one that keeps nothing on disk.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with these settings, each a name and a value.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        Self::within(directory("redis"), settings)
    }

    /// In a directory that goes with it.
    fn within(directory: PathBuf, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let (port_text, place) = (port.to_string(), directory.display().to_string());
        let usual = [("port", port_text.as_str()), ("bind", "127.0.0.1"), ("dir", &place), ("save", "")];
        let arguments =
            usual.iter().chain(settings).flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]);
        let mut server = Self { daemon: None, arguments: arguments.collect(), directory, port };
        server.restart();
        server
    }

    /// Starts it again with what it left behind.
    pub fn restart(&mut self) {
        let redis = program("redis-server", &["/usr/bin"]);
        let line: Vec<&str> = [redis.as_str()].into_iter().chain(self.arguments.iter().map(String::as_str)).collect();
        let port = self.port;
        self.daemon = Some(Daemon::start(&self.directory, &line, || is_ready(port)));
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    /// Runs a command as the administrator.
    pub fn run(&self, words: &[&str]) -> Value {
        try_run(self.port, words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Waits until each of so many replicas has all that was written here.
    pub fn until_copied(&self, replicas: usize) {
        let is_copied = || {
            let state = text(&self.run(&["INFO", "replication"]));
            let own =
                state.lines().find_map(|line| line.strip_prefix("master_repl_offset:")).unwrap().trim().to_owned();
            state.matches(&format!("state=online,offset={own},")).count() == replicas
        };
        assert!(until(PATIENCE, is_copied), "the replicas do not follow");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.daemon.take());
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn try_run(port: u16, words: &[&str]) -> redis::RedisResult<Value> {
    let client = Client::open(format!("redis://127.0.0.1:{port}/"))?;
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query(&mut connection)
}

fn is_ready(port: u16) -> bool {
    // One that wants a password is ready too.
    try_run(port, &["PING"]).is_ok_and(|said| text(&said) == "PONG")
        || try_run(port, &["PING"]).is_err_and(|error| error.code() == Some("NOAUTH"))
}

/// The text of an answer.
pub fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        other => format!("{other:?}"),
    }
}

/// A server with a user of few rights, TLS and a socket.
pub struct Guarded {
    pub server: Server,
    pub tls_port: u16,
    pub ca: Vec<u8>,
    pub socket: PathBuf,
}

impl Guarded {
    fn start() -> Self {
        let place = directory("redis");
        let file = |name: &str| place.join(name).display().to_string();
        let conf = "[req]\ndistinguished_name = dn\nx509_extensions = ext\nprompt = no\n[dn]\nCN = test\n[ext]\n\
                    subjectAltName = IP:127.0.0.1,DNS:localhost\nbasicConstraints = critical, CA:FALSE\n";
        fs::write(place.join("conf"), conf).unwrap();
        let made = Command::new("openssl")
            .current_dir(&place)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-config", "conf", "-keyout", "key", "-out", "cert"])
            .output()
            .unwrap();
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        let (tls_port, socket) = (free_port(), place.join("socket"));
        let server = Server::within(
            place.clone(),
            &[
                ("tls-port", &tls_port.to_string()),
                ("tls-cert-file", &file("cert")),
                ("tls-key-file", &file("key")),
                ("tls-auth-clients", "no"),
                ("unixsocket", &file("socket")),
            ],
        );
        let password = format!(">{PASSWORD}");
        let mut user = vec!["ACL", "SETUSER", USER, "on", &password, "~app:*", "resetchannels"];
        user.extend(RIGHTS.split_whitespace());
        server.run(&user);
        Self { server, tls_port, ca: fs::read(place.join("cert")).unwrap(), socket }
    }

    /// The one that all tests share, each under a prefix of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Guarded> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }
}

/// The name under which the Sentinels know the primary.
pub const PRIMARY: &str = "sessions";

/// A primary with two replicas, and three Sentinels that watch it.
pub struct Watched {
    pub servers: Vec<Server>,
    pub sentinels: Vec<Server>,
}

impl Watched {
    pub fn start() -> Self {
        // A replica that was just made primary begins where the old one was, and not with a copy that takes seconds.
        let quick = [("repl-diskless-sync-delay", "0"), ("repl-ping-replica-period", "1")];
        let mut servers = vec![Server::with(&quick)];
        let primary = servers[0].port.to_string();
        for _ in 0..2 {
            let replica = Server::with(&quick);
            replica.run(&["REPLICAOF", "127.0.0.1", &primary]);
            servers.push(replica);
        }
        let watched = || text(&servers[0].run(&["INFO", "replication"])).matches("state=online").count() == 2;
        assert!(until(PATIENCE, watched), "the replicas do not come");
        let sentinels = (0..3).map(|_| sentinel(&primary)).collect();
        let all = Self { servers, sentinels };
        let agree = || {
            all.sentinels.iter().all(|sentinel| {
                let seen = try_run(sentinel.port, &["SENTINEL", "CKQUORUM", PRIMARY])
                    .map(|said| text(&said))
                    .unwrap_or_default();
                let replicas = sentinel.run(&["SENTINEL", "REPLICAS", PRIMARY]);
                seen.contains("OK 3") && matches!(replicas, Value::Array(replicas) if replicas.len() == 2)
            })
        };
        assert!(until(PATIENCE, agree), "the Sentinels do not agree");
        all
    }

    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Watched> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Which of the servers is the primary; none while they have not agreed.
    pub fn primary(&self) -> Option<usize> {
        let role = |server: &Server| try_run(server.port, &["ROLE"]).ok();
        let is_primary = |value: Value| matches!(value, Value::Array(parts) if text(&parts[0]) == "master");
        self.servers.iter().position(|server| server.daemon.is_some() && role(server).is_some_and(is_primary))
    }
}

/// A Sentinel writes down what it learns in its own configuration.
fn sentinel(primary: &str) -> Server {
    let (port, place) = (free_port(), directory("sentinel"));
    let conf = place.join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {PRIMARY} 127.0.0.1 {primary} 2\n\
         sentinel down-after-milliseconds {PRIMARY} 1000\nsentinel failover-timeout {PRIMARY} 3000\n",
        place.display()
    );
    fs::write(&conf, text).unwrap();
    let arguments = vec![conf.display().to_string(), "--sentinel".to_owned()];
    let mut server = Server { daemon: None, directory: place, arguments, port };
    server.restart();
    server
}

/// Six nodes: three primaries, each with a replica.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    pub fn start() -> Self {
        let settings = [
            ("cluster-enabled", "yes"),
            ("cluster-node-timeout", "1500"),
            ("cluster-replica-validity-factor", "0"),
            ("repl-diskless-sync-delay", "0"),
            ("repl-ping-replica-period", "1"),
        ];
        let nodes: Vec<Server> = (0..6).map(|_| Server::with(&settings)).collect();
        for (n, range) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")].into_iter().enumerate() {
            nodes[n].run(&["CLUSTER", "ADDSLOTSRANGE", range.0, range.1]);
        }
        for (n, node) in nodes.iter().enumerate() {
            node.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
            if n > 0 {
                node.run(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]);
            }
        }
        let knows = |node: &Server, count| text(&node.run(&["CLUSTER", "NODES"])).lines().count() == count;
        assert!(until(PATIENCE, || nodes.iter().all(|node| knows(node, 6))), "the nodes do not meet");
        for n in 3..6 {
            let primary = text(&nodes[n - 3].run(&["CLUSTER", "MYID"]));
            let follows = || try_run(nodes[n].port, &["CLUSTER", "REPLICATE", &primary]).is_ok();
            assert!(until(PATIENCE, follows), "a node does not become a replica");
        }
        let is_whole = |node: &Server| {
            let state = text(&node.run(&["CLUSTER", "INFO"]));
            let replication = text(&node.run(&["INFO", "replication"]));
            let slots = node.run(&["CLUSTER", "SLOTS"]);
            let has_replicas = matches!(slots, Value::Array(ranges) if ranges.len() == 3
                && ranges.iter().all(|range| matches!(range, Value::Array(parts) if parts.len() == 4)));
            let is_linked = replication.contains("master_link_status:up") || replication.contains("state=online");
            state.contains("cluster_state:ok") && has_replicas && is_linked
        };
        assert!(until(PATIENCE, || nodes.iter().all(is_whole)), "the cluster does not come together");
        Self { nodes }
    }

    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Gives a slot to the next primary, as `redis-cli --cluster reshard` does.
    pub fn move_slot(&self, slot: &str) {
        let nodes = &self.nodes[..3];
        let ids: Vec<String> = nodes.iter().map(|node| text(&node.run(&["CLUSTER", "MYID"]))).collect();
        let owns = |n: usize| {
            let Value::Array(ranges) = nodes[n].run(&["CLUSTER", "SLOTS"]) else { panic!("no slots") };
            let number: i64 = slot.parse().unwrap();
            ranges.iter().any(|range| {
                let Value::Array(parts) = range else { return false };
                let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &parts[..] else { return false };
                (*first..=*last).contains(&number) && primary[1] == Value::Int(nodes[n].port.into())
            })
        };
        let from = (0..3).find(|n| owns(*n)).unwrap();
        let to = (from + 1) % 3;
        nodes[to].run(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &ids[from]]);
        nodes[from].run(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &ids[to]]);
        loop {
            let Value::Array(names) = nodes[from].run(&["CLUSTER", "GETKEYSINSLOT", slot, "10"]) else {
                panic!("no keys")
            };
            // Writers come in between, and are sent from one to the other.
            std::thread::sleep(Duration::from_millis(5));
            if names.is_empty() {
                break;
            }
            let names: Vec<String> = names.iter().map(text).collect();
            let port = nodes[to].port.to_string();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(names.iter().map(String::as_str));
            nodes[from].run(&words);
        }
        for n in [to, from, 3 - from - to] {
            nodes[n].run(&["CLUSTER", "SETSLOT", slot, "NODE", &ids[to]]);
        }
        assert!(until(PATIENCE, || owns(to)), "the slot did not move");
    }
}
