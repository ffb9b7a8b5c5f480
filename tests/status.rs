//! The state of a session, told by the proxy itself to a page's script.

mod support;

use support::client::{Ask, ask, get, post};
use support::message::Message;
use support::upstream::ok;
use support::{Browser, Site, eventually};

const ROUTES: &str = "
[[routes]]
path = \"/session-status\"
status = \"main\"
[routes.response_headers]
set = { \"X-Frame-Options\" = \"DENY\" }
[[routes]]
upstream = \"app\"
sessions = [\"main\"]
";

fn site(settings: &str) -> Site {
    let clocks = "[sessions.main.headers]\nclocks = true\n";
    Site::new(&format!("[sessions.main]\n{settings}\n{clocks}{ROUTES}"))
}

fn status() -> Ask {
    get("/session-status")
}

/// The word, and how many seconds are left.
fn told(got: &Message) -> (String, Option<u64>, Option<u64>) {
    let json: serde_json::Value = serde_json::from_str(&got.body_text()).unwrap_or_else(|_| panic!("no JSON: {got:?}"));
    (json["state"].as_str().expect("a state").to_owned(), json["idle_left"].as_u64(), json["absolute_left"].as_u64())
}

#[test]
fn a_page_is_told_what_is_left_and_nothing_is_extended() {
    // R16, WCAG 2.2.1
    for store in ["memory", "cookie"] {
        let clocks = "idle_timeout = \"5s\"\ntouch_interval = \"100ms\"\nabsolute_timeout = \"1h\"";
        let site = site(&format!("store = \"{store}\"\n{clocks}"));
        let mut ada = site.browser();
        assert_eq!(told(&ada.fetch(&status())), ("none".into(), None, None), "{store}");
        ada.visit(ok().say("Login", "ada"));
        site.upstream.take();
        let got = ada.fetch(&status());
        let (state, idle, absolute) = told(&got);
        assert_eq!((got.status(), state.as_str()), (200, "live"), "{store}");
        assert!(idle.is_some_and(|left| (4..=5).contains(&left)), "{got:?}");
        assert!(absolute.is_some_and(|left| (3590..=3600).contains(&left)), "{got:?}");
        assert_eq!(got.get("Content-Type").as_deref(), Some("application/json"));
        assert_eq!(got.get("Cache-Control").as_deref(), Some("no-store"));
        assert_eq!(got.get("X-Frame-Options").as_deref(), Some("DENY"));
        assert!(!got.has("Access-Control-Allow-Origin") && got.set_cookies().is_empty(), "{got:?}");
        eventually("time passes", || told(&ada.fetch(&status())).1.is_some_and(|left| left <= 2));
        assert_eq!(site.upstream.take(), [], "no backend is asked");
    }
}

#[test]
fn a_session_that_ended_is_told_so_until_a_page_hears_of_it() {
    // SL11
    let site = site("store = \"memory\"\nidle_timeout = \"1s\"\ntouch_interval = \"100ms\"");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    eventually("the session ends", || told(&ada.fetch(&status())).0 == "expired");
    let got = ada.fetch(&status());
    assert_eq!((told(&got).0, got.set_cookies()), ("expired".into(), vec![]));
    let visit = ada.visit(ok());
    assert_eq!((visit.seen.told("State"), visit.got.set_cookies().len()), ("expired".into(), 1));
    assert_eq!(told(&ada.fetch(&status())).0, "none");
    let forged = site.fetch(&status().with("Cookie", "__Host-session=forged"));
    assert_eq!((told(&forged).0, forged.set_cookies()), ("invalid".into(), vec![]));
}

#[test]
fn only_pages_of_the_site_may_look() {
    let site = site("store = \"memory\"");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    site.upstream.take();
    let state = |ada: &mut Browser<'_>, ask: Ask| ada.fetch(&ask).status();
    for (name, value, expected) in [
        ("Sec-Fetch-Site", "same-origin", 200),
        ("Sec-Fetch-Site", "none", 200),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Origin", "https://app.example", 200),
        ("Origin", "https://evil.example", 403),
        ("Origin", "null", 403),
    ] {
        assert_eq!(state(&mut ada, status().with(name, value)), expected, "{name}: {value}");
    }
    for asked in [post("/session-status", "a=1"), ask("DELETE", "/session-status"), ask("OPTIONS", "/session-status")] {
        let got = ada.fetch(&asked);
        assert_eq!((got.status(), got.get("Allow").as_deref()), (405, Some("GET, HEAD")), "{asked:?}");
    }
    let head = ada.fetch(&ask("HEAD", "/session-status"));
    assert_eq!((head.status(), head.body_text().as_str()), (200, ""));
    let length = head.get("Content-Length").and_then(|length| length.parse::<usize>().ok());
    assert_eq!(length, Some(ada.fetch(&status()).body_text().len()));
    assert_eq!(site.upstream.take(), [], "no backend is asked");
}

#[test]
fn a_store_that_cannot_answer_is_told_so() {
    // LG5
    let site = site("store = \"disk\"");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let database = rusqlite::Connection::open(site.proxy.path("state/sessions.db")).expect("the proxy's own database");
    database.busy_timeout(support::LIMIT).expect("a connection");
    database.execute_batch("ALTER TABLE sessions RENAME TO hidden").expect("the table is there");
    eventually("the proxy notices", || ada.fetch(&status()).status() == 503);
    let got = ada.fetch(&status());
    assert_eq!((told(&got), got.set_cookies()), (("degraded".into(), None, None), vec![]));
    assert!(got.has("Retry-After"));
    assert_eq!(told(&site.fetch(&status())).0, "none", "who has no cookie has no session");
    database.execute_batch("ALTER TABLE hidden RENAME TO sessions").expect("the table is there");
    eventually("the proxy recovers", || told(&ada.fetch(&status())).0 == "live");
}
