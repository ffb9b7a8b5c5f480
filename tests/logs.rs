//! What is written about exchanges: enough to follow them, and nothing that opens a session.

mod support;

use serde_json::Value;
use support::client::{get, post};
use support::upstream::{Answer, ok, status};
use support::{Browser, Site, eventually};

/// Stands for every kind of secret: each has a number of its own.
const MARK: &str = "Zx9Secret";

fn secret(number: u32) -> String {
    format!("{MARK}{number:02}")
}

/// A whole life with a secret wherever one can be; answers the tickets that were in use.
fn whole_life(site: &Site) -> Vec<String> {
    let mut ada = site.browser();
    let mut tickets = Vec::new();
    let mut note = |browser: &Browser<'_>| tickets.extend(browser.jar.value("__Host-session"));
    ada.ask(&get(&format!("/first?token={}", secret(1))), ok().say("Set", format!("word={}", secret(2))));
    note(&ada);
    ada.ask(
        &post("/login", format!("password={}", secret(3)))
            .with("Authorization", format!("Bearer {}", secret(4)))
            .with("X-Session-Data", secret(5))
            .with("Referer", format!("http://x/?{}", secret(6))),
        status(302).say("Login", secret(7)).say("Flash", format!("info={}", secret(8))).with("Location", secret(9)),
    );
    note(&ada);
    ada.visit(ok().with("Set-Cookie", format!("PHPSESSID={}", secret(10))).say("Push", format!("l={}", secret(11))));
    ada.visit(ok().say("Add", "word=1"));
    ada.visit(ok().say("Set", format!("a={}%", secret(12))));
    ada.visit(ok().say("If", format!("word={}", secret(13))));
    ada.visit(ok().say("Cookie", format!("path=/{}", secret(14))));
    ada.visit(ok().say(&format!("Unknown-{}", secret(15)), secret(16)));
    ada.visit(ok().say("Regenerate", "1"));
    note(&ada);
    ada.visit(Answer::Last(format!("HTTP/1.1 200 OK\r\n{} \r\n\r\n", secret(17)).into_bytes()));
    ada.fetch(&get("/nowhere").with("Cookie", format!("other={}", secret(18))));
    for forged in [secret(19), format!("{}A", ada.cookie())] {
        site.fetch(&get("/first").with("Cookie", format!("__Host-session={forged}; x={}", secret(20))));
    }
    let mut client = site.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{} \r\n\r\n", secret(21)));
    client.rest();
    let mut client = site.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: {}\r\n\r\n", secret(22)));
    client.rest();
    ada.visit(ok().say("Invalidate", "1").say("Set", format!("b={}", secret(23))));
    note(&ada);
    ada.visit(ok().say("Destroy", "1"));
    tickets
}

const ROUTES: &str = r#"
[[routes]]
name = "all"
path_regex = "/(first|login|)$"
upstream = "app"
sessions = ["main"]
"#;

#[test]
fn a_whole_life_leaves_no_secret_in_the_log() {
    // LG1
    for (store, level) in [("memory", "info"), ("disk", "debug"), ("disk", "trace"), ("cookie", "trace")] {
        let site = Site::new(&format!("[log]\nlevel = \"{level}\"\n[sessions.main]\nstore = \"{store}\"\n{ROUTES}"));
        let tickets = whole_life(&site);
        assert!(tickets.len() >= 4, "{tickets:?}");
        site.proxy.stop();
        let log = site.proxy.log().join("\n");
        for number in 1..=23 {
            // Names of headers are logged in lower case.
            assert!(
                !log.to_lowercase().contains(&secret(number).to_lowercase()),
                "{store}, {level}: secret {number} in\n{log}"
            );
        }
        for ticket in &tickets {
            for part in [ticket.as_str(), &ticket[8..28]] {
                assert!(!log.contains(part), "{store}, {level}: a ticket in\n{log}");
            }
        }
    }
}

fn lines(site: &Site) -> Vec<Value> {
    let log = site.proxy.log().into_iter();
    // Which file was chosen is said before anything is known about the log.
    let log = log.filter(|line| !line.starts_with("configuration: "));
    log.map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn every_line_is_a_json_object() {
    // LG3: bytes of clients cannot break a line
    let site = Site::new("[log]\nlevel = \"debug\"\n");
    whole_life(&site);
    for target in ["/\u{7f}", "/%0d%0a{\"fake\":1}", "/\"}\n", "/\\u0000", "/\u{2028}\u{202e}"] {
        let mut client = site.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"));
        client.rest();
    }
    site.proxy.stop();
    for line in lines(&site) {
        assert!(line.is_object() && line.get("timestamp").is_some() && line.get("level").is_some(), "{line}");
        assert!(line.get("fake").is_none());
    }
}

fn access(site: &Site) -> Vec<Value> {
    lines(site)
        .into_iter()
        .filter(|line| line["target"] == "cloakroom::access" && line.get("method").is_some())
        .collect()
}

#[test]
fn a_request_is_one_line_that_says_what_became_of_it() {
    // LG2
    let site = Site::new(ROUTES);
    let mut ada = site.browser();
    ada.ask(&get("/first?token=x"), ok().say("Set", "a=1"));
    let reference = ada.look().told("Ref");
    ada.visit(ok().say("Set", "a=%"));
    ada.fetch(&get("/nowhere"));
    eventually("four lines", || access(&site).len() == 4);
    let lines = access(&site);
    let field = |line: usize, name: &str| lines[line][name].to_string();
    assert_eq!(
        (field(0, "path"), field(0, "status"), field(0, "route")),
        ("\"/first\"".into(), "200".into(), "\"all\"".into())
    );
    assert_eq!((field(0, "session"), field(0, "event")), ("\"none\"".into(), "\"created\"".into()));
    assert_eq!((field(0, "client"), field(0, "method")), ("\"127.0.0.1\"".into(), "\"GET\"".into()));
    assert_eq!((field(1, "session"), field(1, "reference")), ("\"live\"".into(), format!("\"{reference}\"")));
    assert_eq!((field(2, "status"), field(2, "reason")), ("502".into(), "\"batch_refused\"".into()));
    assert_eq!((field(3, "status"), field(3, "reason")), ("404".into(), "\"no_route\"".into()));
    assert!(lines.iter().all(|line| line["micros"].is_u64()));
}

#[test]
fn what_happens_to_sessions_is_told() {
    // LG2
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    ada.visit(ok().say("Login", "ada"));
    ada.visit(ok().say("Set", "%"));
    ada.visit(ok().say("Destroy", "1"));
    let told = || {
        let lines = lines(&site).into_iter().filter(|line| line["target"] == "cloakroom::session");
        lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    eventually("four lines", || told().len() == 4);
    assert_eq!(told(), ["created", "renewed", "commands refused: the page was withheld", "destroyed"]);
}

#[test]
fn the_access_log_can_be_turned_off() {
    let site = Site::new("[log.access]\nenabled = false\n");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    ada.visit(ok());
    site.proxy.stop();
    assert_eq!(access(&site), Vec::<Value>::new());
    assert!(site.proxy.has_logged("created"));
}

#[test]
fn ordinary_traffic_is_no_error() {
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let request = get("/").with("Cookie", ada.cookie());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = site.client();
                for _ in 0..500 {
                    assert_eq!(client.ask(&request).status(), 200);
                }
            });
        }
    });
    site.proxy.stop();
    let is_loud = |line: &Value| line["level"] == "ERROR" || line["level"] == "WARN";
    let loud: Vec<_> = lines(&site).into_iter().filter(is_loud).collect();
    assert_eq!(loud.first(), None, "{} such lines", loud.len());
}
