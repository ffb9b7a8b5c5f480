//! The applications and the Redis server that all tests share, each started once and gone with the test program.

use crate::servers::redis::Server;
use crate::servers::{Daemon, directory, free_port, program};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The languages, each with the upstream's profile.
pub const LANGUAGES: [(&str, &str); 4] =
    [("php", "php-dev"), ("perl", "lighttpd"), ("python", "wsgi"), ("node", "node")];

/// What all tests of this program use.
pub struct Backends {
    /// By language.
    applications: Vec<(&'static str, Application)>,
    /// The second PHP: one process serves one request at a time, and a test may hold one back.
    patient: Application,
    /// The Redis server.
    pub redis: Server,
    /// Where the tests keep their things.
    pub directory: PathBuf,
}

struct Application {
    port: u16,
    /// It ends with the program.
    daemon: Daemon,
}

/// The only ones.
pub static BACKENDS: LazyLock<Backends> = LazyLock::new(|| {
    let start = |language: &'static str| (language, Application::start(language));
    let applications: Vec<_> = LANGUAGES.iter().map(|(language, _)| start(language)).collect();
    let patient = Application::start("php");
    // It goes with an application, since that goes with the program, however it ends.
    let shared = patient.daemon.directory().join("tests");
    fs::create_dir(&shared).unwrap();
    Backends { applications, patient, redis: Server::start(), directory: shared }
});

impl Backends {
    /// The URL of the application in this language.
    pub fn url(&self, language: &str) -> String {
        let (_, application) = self.applications.iter().find(|(own, _)| *own == language).unwrap();
        application.url()
    }

    /// The URL of one that may be held back while another request goes on.
    pub fn patient_url(&self, language: &str) -> String {
        if language == "php" { self.patient.url() } else { self.url(language) }
    }
}

impl Application {
    fn start(language: &str) -> Self {
        let (port, place) = (free_port(), directory("rows"));
        let extension = match language {
            "perl" => "pl",
            "python" => "py",
            "node" => "js",
            own => own,
        };
        let source = format!("{}/tests/rows/apps/application.{extension}", env!("CARGO_MANIFEST_DIR"));
        let script = place.join(format!("application.{extension}"));
        fs::copy(source, &script).unwrap();
        fs::write(place.join(format!("session.{extension}")), snippet(language)).unwrap();
        let arguments = match language {
            "php" => vec![program("php", &[]), "-S".into(), format!("127.0.0.1:{port}"), text(&script)],
            "perl" => vec![program("lighttpd", &["/usr/sbin"]), "-D".into(), "-f".into(), lighttpd(&place, port)],
            "python" => vec![program("python3", &[]), "-B".into(), text(&script), port.to_string()],
            _ => vec![program("node", &[]), text(&script), port.to_string()],
        };
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        Self { port, daemon: Daemon::start(&place, &words, listens) }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// What `cloakroom snippet` gives for a language, without the page that shows its use.
fn snippet(language: &str) -> String {
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["snippet", language]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let whole = String::from_utf8(run.stdout).unwrap();
    match whole.find("\n// ---- A page").or_else(|| whole.find("\n# ---- A page")) {
        // A Perl file that another one reads must end in what is true.
        Some(end) => whole[..end].to_owned() + if language == "perl" { "\n1;\n" } else { "\n" },
        // Here the page is a function that nobody calls.
        None => whole,
    }
}

/// The settings of a server that runs the Perl script for every path.
fn lighttpd(place: &Path, port: u16) -> String {
    let settings = place.join("lighttpd.conf");
    let lines = [
        "server.bind = \"127.0.0.1\"".to_owned(),
        format!("server.port = {port}"),
        format!("server.document-root = \"{}\"", place.display()),
        "server.modules = (\"mod_rewrite\", \"mod_cgi\")".to_owned(),
        "url.rewrite-once = (\"^/[^?]*(.*)$\" => \"/application.pl$1\")".to_owned(),
        format!("cgi.assign = (\".pl\" => \"{}\")", program("perl", &[])),
    ];
    fs::write(&settings, lines.join("\n")).unwrap();
    text(&settings)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
