//! `scripts/setup`: it brings what is missing, and leaves alone what was here before.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

/// What the tests need; the script only looks whether it is there.
const PROGRAMS: [&str; 16] = [
    "cargo",
    "cmake",
    "cc",
    "php",
    "perl",
    "lighttpd",
    "python3",
    "node",
    "curl",
    "openssl",
    "postgres",
    "pgbouncer",
    "nginx",
    "varnishd",
    "chromium",
    "chromedriver",
];

/// Each call is written down; one that asks about a service is answered with no.
const SERVICE: &str = "echo \"${0##*/} $*\" >>\"$LOG\"; case $* in is-*|*status) exit 1;; esac";

/// A machine on which `redis-server` and `memcached` are missing.
struct Machine {
    place: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { place: tempfile::tempdir().unwrap() };
        for program in PROGRAMS {
            machine.program(program, "");
        }
        fs::write(machine.path().join("os-release"), "PRETTY_NAME=\"Debian\"\nID=debian\n").unwrap();
        for tool in ["bash", "cut", "paste", "sed", "grep", "env", "sleep", "chmod"] {
            let real = ["/usr/bin", "/bin"].iter().map(|place| Path::new(place).join(tool)).find(|path| path.exists());
            symlink(real.unwrap(), machine.path().join(tool)).unwrap();
        }
        machine.program("sudo", "[[ $1 != -n ]] || shift; exec \"$@\"");
        // Brings a program of the name of each package.
        let install = "echo \"apt-get $*\" >>\"$LOG\"; [[ $* == *' install '* ]] || exit 0; for word; do case $word in \
                       redis-server|memcached|chromium) : >\"$BIN/$word\"; chmod +x \"$BIN/$word\";; esac; done";
        machine.program("apt-get", install);
        machine.program("systemctl", SERVICE);
        machine.program("service", SERVICE);
        machine
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.path().join(name);
        fs::write(&file, format!("#!/usr/bin/env bash\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs the script: whether it succeeded, what it said, and what it called.
    fn set_up(&self) -> (bool, String, Vec<String>) {
        let (log, system) = (self.path().join("log"), self.path().join("os-release"));
        let done = Command::new(self.path().join("bash"))
            .args([concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup"), "test"])
            .env_clear()
            .envs([
                ("PATH", self.path()),
                ("HOME", self.path()),
                ("BIN", self.path()),
                ("LOG", &log),
                ("OS_RELEASE", &system),
            ])
            .output()
            .unwrap();
        let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let called = fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect();
        (done.status.success(), said, called)
    }
}

fn stops(called: &[String], service: &str) -> bool {
    let words = [format!("systemctl disable --now {service}"), format!("service {service} stop")];
    words.iter().any(|words| called.contains(words))
}

#[test]
fn what_is_missing_is_installed_and_its_service_is_stopped() {
    let machine = Machine::new();
    let (succeeded, said, called) = machine.set_up();
    assert!(succeeded && said.contains("everything for `make test` is here"), "{said}");
    assert!(called.iter().any(|call| call.ends_with(" redis-server memcached")), "{called:?}");
    assert!(stops(&called, "redis-server") && stops(&called, "memcached"), "{called:?}");
    let (succeeded, said, again) = machine.set_up();
    assert!(succeeded && again == called, "nothing is left to be done: {said}");
}

#[test]
fn a_service_that_was_here_before_is_not_stopped() {
    // It runs a program that is in nobody's PATH: under systemd, or by a script.
    for (manager, question) in [("systemctl", "is-active"), ("systemctl", "is-enabled"), ("service", "status")] {
        let machine = Machine::new();
        let knows = format!("case $* in *{question}*memcached*|*memcached*{question}*) exit 0;; esac; {SERVICE}");
        machine.program(manager, &knows);
        let (succeeded, said, called) = machine.set_up();
        assert!(succeeded, "{said}");
        assert!(stops(&called, "redis-server") && !stops(&called, "memcached"), "{question}: {called:?}");
    }
}

#[test]
fn who_cannot_install_is_told_what_is_missing() {
    let machine = Machine::new();
    fs::remove_file(machine.path().join("apt-get")).unwrap();
    let (succeeded, said, called) = machine.set_up();
    assert!(!succeeded && called.is_empty(), "{said}{called:?}");
    assert!(said.contains("cannot go on without: redis-server, memcached"), "{said}");
}

#[test]
fn the_browser_is_required_but_on_ubuntu() {
    // A program of its name that does not start is none: it asks for a snap.
    let machine = Machine::new();
    machine.program("chromium", "exit 1");
    let (succeeded, said, called) = machine.set_up();
    assert!(succeeded && !said.contains("SKIPPED"), "{said}");
    assert!(called.iter().any(|call| call.contains(" install ") && call.ends_with(" chromium")), "{called:?}");

    let machine = Machine::new();
    machine.program("chromium", "exit 1");
    fs::write(machine.path().join("os-release"), "NAME=\"Ubuntu\"\nID=ubuntu\n").unwrap();
    let (succeeded, said, called) = machine.set_up();
    assert!(succeeded && said.contains("TESTS WITH A BROWSER WILL BE SKIPPED"), "{said}");
    assert!(!called.iter().any(|call| call.contains("chromium")), "{called:?}");

    // Where there is one, it is used.
    machine.program("google-chrome", "");
    let (succeeded, said, _) = machine.set_up();
    assert!(succeeded && !said.contains("SKIPPED"), "{said}");
}
