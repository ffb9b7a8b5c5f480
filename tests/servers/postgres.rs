//! PostgreSQL and `PgBouncer`, each in a directory of its own; neither runs as root.

use super::{Daemon, PATIENCE, directory, free_port, program, until};
use cloakroom::store::disk::Sync;
use cloakroom::store::postgres::{PostgresOptions, PostgresStore, PostgresUrl, TableName};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Where Debian and others keep the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Becomes the server. A watch stays behind that removes the segment of shared memory that it leaves when it is killed:
/// the system keeps it for a next server in the same directory, and there are only 4,096. A next server that comes takes
/// care of it; the watch ends a minute after its own server in any case.
const SERVER: &str = r#"
    directory=$1; server=$$; shift
    (
        while kill -0 "$server" 2>/dev/null; do
            seen=$(awk 'NR == 7 { print $2 }' "$directory/data/postmaster.pid" 2>/dev/null) && segment=${seen:-$segment}
            sleep 0.3
        done
        rounds=200
        while [ -d "$directory" ] && [ "$rounds" -gt 0 ]; do
            rounds=$((rounds - 1))
            sleep 0.3
        done
        last=$(head -n 1 "$directory/data/postmaster.pid" 2>/dev/null)
        [ -z "$segment" ] || [ "${last:-$server}" != "$server" ] || ipcrm -m "$segment"
    ) >/dev/null 2>&1 &
    exec "$@"
"#;

/// A server, with a role `app` whose password is `hunter2`, and TLS under an authority of its own.
pub struct Postgres {
    daemon: Option<Daemon>,
    place: PathBuf,
    port: u16,
    settings: Vec<String>,
}

impl Postgres {
    /// The one that most tests share.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Postgres> = LazyLock::new(|| Postgres::start(&["fsync=off"]));
        &SHARED
    }

    /// Starts a server with these settings.
    pub fn start(settings: &[&str]) -> Self {
        let place = directory("postgres");
        let data = place.join("data").display().to_string();
        give_away(&place);
        run(&["initdb", "-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
        certificates(&place);
        fs::write(
            place.join("data/pg_hba.conf"),
            "local all all trust\nhost all app,app2 all scram-sha-256\nhost all all all trust\n",
        )
        .unwrap();
        let port = free_port();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Self { daemon: None, place, port, settings };
        server.resume();
        server.sql("CREATE ROLE app LOGIN PASSWORD 'hunter2'; GRANT ALL ON SCHEMA public TO app");
        server
    }

    /// Starts it again, with the data that are there.
    pub fn resume(&mut self) {
        let own = [
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.place.display()),
            format!("ssl_cert_file={}/server.pem", self.place.display()),
            format!("ssl_key_file={}/server.key", self.place.display()),
        ];
        let common = "listen_addresses=localhost ssl=on max_connections=400 shared_buffers=32MB";
        let mut arguments = vec!["-D".to_owned(), self.place.join("data").display().to_string()];
        let settings = common.split(' ').map(str::to_owned).chain(own).chain(self.settings.clone());
        arguments.extend(settings.flat_map(|setting| ["-c".to_owned(), setting]));
        let server = as_postgres(&find("postgres"));
        let place = self.place.display().to_string();
        let words = ["sh", "-c", SERVER, "server", &place].into_iter().map(str::to_owned);
        let words: Vec<String> = words.chain(server).chain(arguments).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (ready, port) = (find("pg_isready"), self.port.to_string());
        let is_ready = || {
            let answer = Command::new(&ready).args(["-q", "-h", &place, "-p", &port]).status().unwrap();
            answer.success()
        };
        self.daemon = Some(Daemon::start(&self.place, &words, is_ready));
    }

    /// SIGKILL to all of its processes at once, as when the machine's memory is gone.
    pub fn kill(&mut self) {
        let children = self.children();
        // First the parent, which would recover from the death of a child.
        self.daemon.take().unwrap().kill();
        for child in &children {
            kill_process(*child, Signal::KILL).ok();
        }
        let is_gone = |child: &Pid| !Path::new(&format!("/proc/{}", child.as_raw_pid())).exists();
        assert!(until(PATIENCE, || children.iter().all(is_gone)), "a process of the server does not end");
    }

    /// The end that breaks every connection and leaves nothing behind: SIGINT.
    pub fn stop(&mut self) {
        self.daemon.take().unwrap().stop(Signal::INT);
    }

    /// SIGSTOP to all of its processes.
    pub fn freeze(&self) {
        self.daemon.as_ref().unwrap().freeze();
        for child in self.children() {
            kill_process(child, Signal::STOP).ok();
        }
    }

    /// SIGSTOP to the one that writes the log in the background: nothing reaches the disk then but what a commit waits for.
    pub fn freeze_log_writer(&self) {
        let name =
            |child: &Pid| fs::read_to_string(format!("/proc/{}/cmdline", child.as_raw_pid())).unwrap_or_default();
        let writer = || self.children().into_iter().find(|child| name(child).contains("walwriter"));
        assert!(until(PATIENCE, || writer().is_some()), "the server has no log writer");
        kill_process(writer().unwrap(), Signal::STOP).unwrap();
    }

    /// SIGCONT to all of its processes.
    pub fn thaw(&self) {
        for child in self.children() {
            kill_process(child, Signal::CONT).ok();
        }
        self.daemon.as_ref().unwrap().thaw();
    }

    fn children(&self) -> Vec<Pid> {
        let lock = fs::read_to_string(self.place.join("data/postmaster.pid")).unwrap();
        let server = lock.lines().next().unwrap();
        let listed = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
        listed.split_whitespace().map(|child| Pid::from_raw(child.parse().unwrap()).unwrap()).collect()
    }

    /// Its port, on localhost.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The way to it, in the clear.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The way to it, with TLS.
    pub fn url_with_tls(&self) -> String {
        format!("postgres://app:hunter2@localhost:{}/postgres?sslmode=verify-full", self.port)
    }

    /// The authority behind its certificate.
    pub fn ca(&self) -> Vec<u8> {
        fs::read(self.place.join("ca.pem")).unwrap()
    }

    /// Runs SQL by `psql` and says what it answered.
    pub fn sql(&self, text: &str) -> String {
        let (place, port) = (self.place.display().to_string(), self.port.to_string());
        run(&["psql", "-h", &place, "-p", &port, "-U", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text])
    }
}

/// The watch looks every now and then only; a server that lived for a moment it may have missed.
impl Drop for Postgres {
    fn drop(&mut self) {
        let lock = fs::read_to_string(self.place.join("data/postmaster.pid")).unwrap_or_default();
        let segment = lock.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)).map(str::to_owned);
        drop(self.daemon.take());
        if let Some(segment) = segment {
            Command::new("ipcrm").args(["-m", &segment]).output().ok();
        }
    }
}

/// `PgBouncer` in transaction mode in front of a server, which it reaches by a few connections that all clients share.
pub struct PgBouncer {
    _daemon: Daemon,
    port: u16,
}

impl PgBouncer {
    /// The one in front of the shared server.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<PgBouncer> = LazyLock::new(|| PgBouncer::start(Postgres::shared().port()));
        &SHARED
    }

    fn start(server: u16) -> Self {
        let (place, port) = (directory("pgbouncer"), free_port());
        let shown = place.display();
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={server} dbname=postgres user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {shown}\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 5\nmax_client_conn = 400\n"
        );
        let file = place.join("pgbouncer.ini");
        fs::write(&file, text).unwrap();
        give_away(&place);
        let words = as_postgres(&find("pgbouncer")).into_iter().chain([file.display().to_string()]);
        let words: Vec<String> = words.collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let socket = place.join(format!(".s.PGSQL.{port}"));
        Self { _daemon: Daemon::start(&place, &words, || socket.exists()), port }
    }

    /// The way through it.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

/// Options for a table of its own at this URL.
pub fn options(url: &str, sync: Sync) -> PostgresOptions {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let table = format!("sessions_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    PostgresOptions {
        url: PostgresUrl::parse(url).unwrap(),
        ca: None,
        table: TableName::parse(&table).unwrap(),
        sync,
        connections: 3,
        timeout: Duration::from_secs(20),
    }
}

/// A store whose table is there.
pub fn open(options: PostgresOptions) -> PostgresStore {
    let store = PostgresStore::open(options).unwrap();
    // On a runtime that ends at once: no connection of the store may depend on it.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(store.migrate()).unwrap();
        });
    });
    store
}

/// Finds a program of PostgreSQL, of the newest version that is here.
fn find(name: &str) -> String {
    let versions =
        fs::read_dir(VERSIONS).into_iter().flatten().filter_map(|version| version.ok()?.file_name().into_string().ok());
    let mut versions: Vec<String> = versions.collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.parse().unwrap_or(0)));
    let places: Vec<String> = versions.iter().map(|version| format!("{VERSIONS}/{version}/bin")).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).chain(["/usr/sbin"]).collect();
    program(name, &places)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &str) -> Vec<String> {
    let change = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"];
    let change = if is_root() { &change[..] } else { &[] };
    change.iter().copied().chain([program]).map(str::to_owned).collect()
}

/// Lets the user that the server runs as have a directory.
fn give_away(place: &Path) {
    if is_root() {
        let done = Command::new("chown").args(["-R", "postgres"]).arg(place).status().unwrap();
        assert!(done.success());
    }
}

fn run(words: &[&str]) -> String {
    let change = as_postgres(&find(words[0]));
    let done = Command::new(&change[0]).args(&change[1..]).args(&words[1..]).current_dir("/").output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// An authority, and a certificate for localhost that it vouches for.
fn certificates(place: &Path) {
    let openssl = |words: &str| {
        let done = Command::new("openssl").args(words.split(' ')).current_dir(place).output().unwrap();
        assert!(done.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let fresh = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&format!("req -x509 {fresh} -subj /CN=authority -keyout ca.key -out ca.pem"));
    openssl(&format!("req {fresh} -subj /CN=localhost -keyout server.key -out server.csr"));
    fs::write(place.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\n").unwrap();
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem");
    fs::set_permissions(place.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    give_away(place);
}
