//! Chromium on a leash, and `ChromeDriver` that steers it: `WebDriver` is JSON over HTTP, so a few lines suffice.

use super::servers::{Daemon, PATIENCE, directory, free_port};
use super::support::Stream as _;
use super::support::message::{Framing, Message, Reader};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nobody but us is reached, whatever name a page says.
const ARGUMENTS: [&str; 15] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-features=HttpsUpgrades",
    "--password-store=basic",
    "--ignore-certificate-errors",
    "--host-resolver-rules=MAP * 127.0.0.1",
    "--remote-debugging-port=0",
    "about:blank",
];

/// The names under which the two programs come.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const DRIVERS: [&str; 2] = ["chromedriver", "chromium.chromedriver"];

/// A browser with one profile, and the driver that steers it.
pub struct Browser {
    chromium: Option<Daemon>,
    profile: PathBuf,
    driver: Option<Driver>,
}

struct Driver {
    port: u16,
    session: String,
    _daemon: Daemon,
}

/// A cookie as the browser keeps it.
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of its own in the standard")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub name: String,
    pub value: String,
    pub domain: String,
    pub path: String,
    pub http_only: bool,
    pub secure: bool,
    /// It ends with the browser.
    pub ends_with_browser: bool,
    pub same_site: String,
    pub partitioned: bool,
}

/// Lends the browser that all tests share to one of them, with a new tab; cookies are kept apart by the names of hosts.
///
/// Nothing happens where there can be no browser.
pub fn in_a_browser(test: impl FnOnce(&mut Browser)) {
    static SHARED: Mutex<Option<Browser>> = Mutex::new(None);
    let mut shared: MutexGuard<'_, Option<Browser>> = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.is_none() {
        *shared = Browser::start();
    }
    let Some(browser) = shared.as_mut() else { return };
    let before = browser.tab();
    let tab = browser.open_tab();
    test(browser);
    for other in browser.tabs() {
        if other != before {
            browser.switch_to(&other);
            browser.command("DELETE", "window", &Value::Null);
        }
    }
    assert!(tab != before, "a tab of its own");
    browser.switch_to(&before);
}

/// A program under one of its names.
fn program(names: &[&str]) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let files = names.iter().flat_map(|name| path.split(':').map(move |place| format!("{place}/{name}")));
    // On Ubuntu the package leaves a script that asks for a snap; where snaps are, it works.
    files.into_iter().find(|file| Path::new(file).is_file() && starts(file))
}

fn starts(file: &str) -> bool {
    std::process::Command::new(file).arg("--version").output().is_ok_and(|done| done.status.success())
}

/// The browser and its driver.
///
/// Ubuntu has no packages of them that work without snaps, so there the tests stand back; everywhere else they fail.
fn programs() -> Option<(String, String)> {
    if let (Some(browser), Some(driver)) = (program(&BROWSERS), program(&DRIVERS)) {
        return Some((browser, driver));
    }
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is_ubuntu = system.lines().any(|line| line.trim_end() == "ID=ubuntu");
    assert!(is_ubuntu, "a browser is needed, Chromium and ChromeDriver: run `scripts/setup test`");
    // Past the capture of the test harness: this must be seen.
    drop(writeln!(
        std::io::stderr(),
        "SKIPPED: no Chromium with ChromeDriver on this Ubuntu; nothing was tested in a browser"
    ));
    None
}

impl Browser {
    /// A browser with a new profile; `None` where there can be none.
    pub fn start() -> Option<Self> {
        let (chromium, driver) = programs()?;
        let profile = directory("chromium");
        // Cookies of other sites are not blocked altogether: what keeps ours back shall be their own attributes.
        let preferences = json!({ "profile": { "block_third_party_cookies": false, "cookie_controls_mode": 0 } });
        fs::create_dir(profile.join("Default")).unwrap();
        fs::write(profile.join("Default/Preferences"), preferences.to_string()).unwrap();
        let mut browser = Self { chromium: None, profile, driver: None };
        browser.launch(&chromium, &driver);
        Some(browser)
    }

    /// Quits it as a user does, and starts it again with the same profile.
    pub fn restart(&mut self) {
        let (chromium, driver) = programs().unwrap();
        // A signal would leave its cookies unwritten. Whether the driver still sees an answer is a race.
        let path = format!("/session/{}/goog/cdp/execute", self.driver.as_ref().unwrap().session);
        let close = json!({ "cmd": "Browser.close", "params": {} });
        drop(try_call(self.driver.as_ref().unwrap().port, "POST", &path, &close));
        self.chromium.take().unwrap().leave();
        self.driver = None;
        self.launch(&chromium, &driver);
    }

    fn launch(&mut self, chromium: &str, driver: &str) {
        let port_file = self.profile.join("DevToolsActivePort");
        drop(fs::remove_file(&port_file));
        let (home, data) =
            (format!("HOME={}", self.profile.display()), format!("--user-data-dir={}", self.profile.display()));
        let command = [&["env", &home, chromium, &data], ARGUMENTS.as_slice()].concat();
        let debugger = || fs::read_to_string(&port_file).ok()?.lines().next()?.parse::<u16>().ok();
        self.chromium = Some(Daemon::start(&self.profile, &command, || debugger().is_some()));

        let (own, port) = (directory("chromedriver"), free_port());
        let command = [driver, &format!("--port={port}")];
        let daemon = Daemon::start(&own, &command, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let options = json!({ "debuggerAddress": format!("127.0.0.1:{}", debugger().unwrap()) });
        let wishes = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let made = call(port, "POST", "/session", &wishes);
        self.driver = Some(Driver { port, session: made["sessionId"].as_str().unwrap().to_owned(), _daemon: daemon });
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let driver = self.driver.as_ref().unwrap();
        call(driver.port, method, &format!("/session/{}/{path}", driver.session), body)
    }

    /// Goes to an address, as if it was typed.
    pub fn go(&self, url: &str) {
        self.command("POST", "url", &json!({ "url": url }));
    }

    /// Where it is.
    pub fn address(&self) -> String {
        self.command("GET", "url", &Value::Null).as_str().unwrap().to_owned()
    }

    /// The button that goes back.
    pub fn back(&self) {
        self.command("POST", "back", &json!({}));
    }

    /// The button that loads the page again.
    pub fn reload(&self) {
        self.command("POST", "refresh", &json!({}));
    }

    /// Clicks on what this selector finds.
    pub fn click(&self, selector: &str) {
        let found = self.command("POST", "element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().unwrap().values().next().unwrap().as_str().unwrap();
        self.command("POST", &format!("element/{id}/click"), &json!({}));
    }

    /// What the page shows.
    pub fn text(&self) -> String {
        self.script("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// What a script of the page returns; a promise is waited for.
    pub fn script(&self, script: &str) -> Value {
        self.command("POST", "execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The tab in front.
    pub fn tab(&self) -> String {
        self.command("GET", "window", &Value::Null).as_str().unwrap().to_owned()
    }

    fn tabs(&self) -> Vec<String> {
        let tabs = self.command("GET", "window/handles", &Value::Null);
        tabs.as_array().unwrap().iter().map(|tab| tab.as_str().unwrap().to_owned()).collect()
    }

    /// Opens a tab and goes there.
    pub fn open_tab(&self) -> String {
        let opened = self.command("POST", "window/new", &json!({ "type": "tab" }));
        let tab = opened["handle"].as_str().unwrap().to_owned();
        self.switch_to(&tab);
        tab
    }

    /// Brings a tab to the front.
    pub fn switch_to(&self, tab: &str) {
        self.command("POST", "window", &json!({ "handle": tab }));
    }

    /// The cookies that it would send to this address, also those that no script can read.
    pub fn cookies(&self, url: &str) -> Vec<Kept> {
        let body = json!({ "cmd": "Network.getCookies", "params": { "urls": [url] } });
        let found = self.command("POST", "goog/cdp/execute", &body);
        let text = |cookie: &Value, name: &str| cookie[name].as_str().unwrap_or_default().to_owned();
        let kept = found["cookies"].as_array().unwrap().iter().map(|cookie| Kept {
            name: text(cookie, "name"),
            value: text(cookie, "value"),
            domain: text(cookie, "domain"),
            path: text(cookie, "path"),
            http_only: cookie["httpOnly"] == true,
            secure: cookie["secure"] == true,
            ends_with_browser: cookie["session"] == true,
            same_site: text(cookie, "sameSite"),
            partitioned: !cookie["partitionKey"].is_null(),
        });
        let mut kept: Vec<Kept> = kept.collect();
        kept.sort_by(|a, b| a.name.cmp(&b.name));
        kept
    }
}

/// One command of `WebDriver`.
fn call(port: u16, method: &str, path: &str, body: &Value) -> Value {
    try_call(port, method, path, body).unwrap_or_else(|answer| panic!("{method} {path} {body}: {answer:#}"))
}

fn try_call(port: u16, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
    let body = if method == "POST" { body.to_string() } else { String::new() };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.limit(PATIENCE);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut reader = Reader::new(stream);
    let mut message = Message::new(reader.head().unwrap().expect("an answer"), 0);
    message.body = reader.body(Framing::of_response(&message, method)).unwrap();
    let mut answer: Value = serde_json::from_slice(&message.body).unwrap();
    if message.status() == 200 { Ok(answer["value"].take()) } else { Err(answer) }
}
