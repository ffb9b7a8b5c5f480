//! `cloakroom demo` as a person uses it: started, walked through in every language, ended, and nothing left behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes longer on a slow machine that works.
const LIMIT: Duration = Duration::from_secs(60);

struct Demo {
    process: Child,
    port: u16,
    screen: String,
    directory: tempfile::TempDir,
}

impl Demo {
    /// Starts the demo with this PATH and waits until its screen is complete.
    fn start(path: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
        command.args(["demo", "--port", &port.to_string()]).env("TMPDIR", directory.path()).stdout(Stdio::piped());
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let mut process = command.spawn().unwrap();
        let mut screen = String::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        while !screen.contains("Ctrl-C") {
            assert_ne!(lines.read_line(&mut screen).unwrap(), 0, "the demo ended early:\n{screen}");
        }
        // The port may have been taken in between: the screen tells which one it is.
        let shown = screen.split("http://127.0.0.1:").nth(1).unwrap().split('/').next().unwrap();
        Self { process, port: shown.parse().unwrap(), screen, directory }
    }

    /// Presses Ctrl-C and checks that nothing is left.
    fn stop(mut self) {
        let interrupted = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status().unwrap();
        assert!(interrupted.success());
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(asked.elapsed() < LIMIT, "Ctrl-C does not end the demo");
            std::thread::yield_now();
        };
        assert!(status.success(), "{status}");
        let left: Vec<_> = fs::read_dir(self.directory.path()).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let processes = processes_of(self.directory.path());
        assert!(processes.is_empty(), "still running: {processes:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // After a failed assertion the demo is asked to end its applications, too.
        Command::new("kill").args(["-INT", &self.process.id().to_string()]).stderr(Stdio::null()).status().ok();
        self.process.wait().ok();
    }
}

/// Processes whose environment names the directory.
fn processes_of(directory: &Path) -> Vec<String> {
    let mark = format!("GUESTBOOK_DIR={}", directory.display());
    let environment = |entry: &fs::DirEntry| fs::read(entry.path().join("environ")).unwrap_or_default();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ours = entries.filter(|entry| String::from_utf8_lossy(&environment(entry)).contains(&mark));
    ours.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

struct Page {
    status: u16,
    head: String,
    body: String,
}

/// A person's browser: keeps cookies, follows nothing by itself.
struct Browser {
    port: u16,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new(port: u16) -> Self {
        Self { port, cookies: BTreeMap::new() }
    }

    fn get(&mut self, path: &str) -> Page {
        self.ask("GET", path, "")
    }

    /// Sends a form, and follows the redirection to the page as browsers do.
    fn submit(&mut self, application: &str, form: &str, fields: &str) -> (Page, Page) {
        let answer = self.ask("POST", &format!("{application}{form}"), fields);
        assert_eq!(answer.status, 303, "{}", answer.head);
        assert!(answer.head.contains("location: ./"), "{}", answer.head);
        let page = self.get(application);
        (answer, page)
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> Page {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{cookies}Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        for line in head.lines().filter_map(|line| line.strip_prefix("Set-Cookie: ")) {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Page { status, head: head.to_ascii_lowercase(), body: body.into() }
    }
}

/// Login, cart, book, flash, logout: what every guest book must do.
fn walk(port: u16, application: &str) {
    let mut browser = Browser::new(port);
    let page = browser.get(application);
    assert_eq!(page.status, 200, "{application}: {}", page.head);
    assert!(page.head.contains("set-cookie: session=") && !page.head.contains("x-session"), "{}", page.head);
    assert!(
        page.body.contains("X-Session-State: none") && page.body.contains("X-Session-Add: visits=1"),
        "{}",
        page.body
    );

    let (_, page) = browser.submit(application, "login", "user=ada&password=wrong");
    assert!(page.body.contains("Wrong user or password."), "{}", page.body);
    let anonymous = browser.cookies.clone();
    let (answer, page) = browser.submit(application, "login", "user=ada&password=coat");
    assert!(answer.head.contains("set-cookie: session=") && !answer.head.contains("x-session"), "{}", answer.head);
    assert_ne!(browser.cookies, anonymous, "a login renews the id");
    assert!(page.body.contains("Hello, ada") && page.body.contains("Welcome, ada"), "{}", page.body);
    assert!(page.body.contains("X-Session-User: ada") && page.body.contains("X-Session-Login: ada"), "{}", page.body);

    for _ in 0..2 {
        browser.submit(application, "cart", "item=tea");
    }
    let page = browser.get(application);
    assert!(page.body.contains("tea: <b>2</b>"), "{}", page.body);
    assert!(!page.body.contains("One tea for you"), "a message is shown once");
    let (_, page) = browser.submit(application, "empty", "");
    assert!(page.body.contains("tea: <b>0</b>"), "{}", page.body);
    let (_, page) = browser.submit(application, "sign", "name=Ada&message=Gr%C3%BC%C3%9Fe+%3Cb%3E");
    assert!(page.body.contains("Thank you") && page.body.contains("Grüße &lt;b&gt;"), "{}", page.body);

    let before = browser.cookies.clone();
    let (_, page) = browser.submit(application, "logout", "");
    assert!(page.body.contains("You are logged out.") && !page.body.contains("Hello, ada"), "{}", page.body);
    let mut stolen = Browser { port, cookies: before };
    let page = stolen.get(application);
    assert!(page.body.contains("X-Session-State: expired"), "a logout is final: {}", page.body);
}

#[test]
fn the_guest_book_works_in_php_perl_and_python() {
    let demo = Demo::start(None);
    for application in ["/php/", "/perl/", "/python/", "/"] {
        assert!(application == "/" || demo.screen.contains(application), "not on the screen:\n{}", demo.screen);
        walk(demo.port, application);
    }
    demo.stop();
}

#[test]
fn one_session_is_shared_by_three_languages() {
    let demo = Demo::start(None);
    let mut browser = Browser::new(demo.port);
    browser.submit("/php/", "login", "user=grace&password=coat");
    for application in ["/perl/", "/python/"] {
        assert!(browser.get(application).body.contains("Hello, grace"), "{application}");
    }
    browser.submit("/python/", "logout", "");
    assert!(!browser.get("/php/").body.contains("Hello, grace"));
    demo.stop();
}

#[test]
fn a_machine_without_interpreters_gets_the_built_in_guest_book() {
    let demo = Demo::start(Some("/nonexistent"));
    assert!(demo.screen.contains("no php on this machine"), "{}", demo.screen);
    walk(demo.port, "/book/");
    demo.stop();
}
