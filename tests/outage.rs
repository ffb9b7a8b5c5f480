//! The store fails while the proxy runs: nobody is logged in by it, nobody is logged out by it, and it passes.

mod support;

use rusqlite::Connection;
use support::client::{Ask, get};
use support::upstream::ok;
use support::{Site, eventually};

const CONFIG: &str = r#"
[sessions.main]
store = "disk"
touch_interval = "1s"
[[routes]]
path = "/plain"
upstream = "app"
[[routes]]
upstream = "app"
sessions = ["main"]
"#;

/// The same policy on routes that go on without the store.
const LADDER: &str = r#"
[sessions.main]
store = "disk"
touch_interval = "1s"
[failure]
store_unavailable = "anonymous"
[[routes]]
path = "/members"
upstream = "app"
sessions = ["main"]
store_unavailable = "error"
[[routes]]
path = "/account"
upstream = "app"
sessions = ["main"]
require = "main"
on_missing = { redirect = "/login" }
[[routes]]
upstream = "app"
sessions = ["main"]
"#;

/// The database, as another program on this machine may open it.
fn database(site: &Site) -> Connection {
    let path = site.proxy.path("state/sessions.db");
    let database = Connection::open(path).expect("the proxy's own database");
    database.busy_timeout(support::LIMIT).expect("a connection");
    database
}

/// Takes the table away, and waits until the proxy has noticed.
fn break_store(site: &Site, cookie: &str) -> Connection {
    break_store_of(site, &get("/").with("Cookie", cookie))
}

/// The same; `ask` is a request that is answered 503 when the proxy has noticed.
fn break_store_of(site: &Site, ask: &Ask) -> Connection {
    let database = database(site);
    database.execute_batch("ALTER TABLE sessions RENAME TO hidden").expect("the table is there");
    eventually("the proxy notices", || site.fetch(ask).status() == 503);
    site.upstream.take();
    database
}

#[test]
fn while_the_store_fails_nobody_is_logged_in_and_nobody_is_logged_out() {
    // LG5
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada").say("Set", "a=1"));
    let cookie = ada.cookie();
    let database = break_store(&site, &cookie);

    let with_cookie = get("/").with("Cookie", &cookie);
    for _ in 0..5 {
        let got = site.fetch(&with_cookie);
        assert_eq!((got.status(), got.set_cookies()), (503, vec![]));
        assert!(got.get("Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{got:?}");
        let page = got.body_text().to_lowercase();
        assert!(!["store", "session", "sql", "disk"].iter().any(|word| page.contains(word)), "{page}"); // LG4
    }
    assert_eq!(site.upstream.take(), [], "the backend is not asked");

    let visit = site.exchange(&get("/"), ok());
    assert_eq!((visit.got.status(), visit.seen.told("State").as_str()), (200, "none"));
    let visit = site.exchange(&get("/").with("Cookie", "__Host-session=forged"), ok());
    assert_eq!((visit.got.status(), visit.seen.told("State").as_str()), (200, "invalid"));
    assert_eq!(site.exchange(&get("/plain").with("Cookie", &cookie), ok()).got.status(), 200);

    database.execute_batch("ALTER TABLE hidden RENAME TO sessions").expect("the table is there");
    eventually("the proxy recovers", || site.fetch(&with_cookie).status() == 200);
    site.upstream.take();
    let seen = ada.look();
    assert_eq!((seen.told("State"), seen.told("User"), seen.data()), ("live".into(), "ada".into(), "a=1".into()));
    ada.visit(ok().say("Set", "b=2"));
    assert_eq!(ada.look().data(), "a=1&b=2");
    assert!(site.proxy.is_alive());
}

#[test]
fn a_page_whose_update_cannot_be_stored_is_withheld() {
    // LG5, protocol 5.2
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let database = break_store(&site, &ada.cookie());
    let got = site.exchange(&get("/"), ok().say("Set", "b=2")).got;
    assert_eq!((got.status(), got.set_cookies()), (503, vec![]));
    assert!(got.has("Retry-After") && !got.body_text().contains("hello"), "{got:?}");
    assert_eq!(site.exchange(&get("/"), ok()).got.status(), 200, "a page without an update is not");
    database.execute_batch("ALTER TABLE hidden RENAME TO sessions").expect("the table is there");
    eventually("the proxy recovers", || site.browser().visit(ok().say("Set", "b=2")).got.status() == 200);
}

#[test]
fn a_failure_in_the_midst_of_an_exchange_loses_no_session() {
    // LG5
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    // Whoever writes at the same time holds the proxy's writes up; reading goes on.
    let database = database(&site);
    database.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    let visit = ada.visit(ok().say("Set", "a=2"));
    assert_eq!((visit.seen.data().as_str(), visit.got.status()), ("a=1", 503));
    assert!(visit.got.has("Retry-After") && visit.got.set_cookies().is_empty());
    database.execute_batch("ROLLBACK").expect("its own transaction");
    eventually("the proxy recovers", || ada.visit(ok().say("Set", "a=3")).got.status() == 200);
    assert_eq!(ada.look().data(), "a=3");
}

#[test]
fn failures_are_told_to_the_operator_without_secrets() {
    // LG1, LG2
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "word=SecretWord"));
    let cookie = ada.cookie();
    let _database = break_store(&site, &cookie);
    eventually("it is logged", || site.proxy.has_logged("session store failed"));
    let log = site.proxy.log().join("\n");
    assert!(!log.contains("SecretWord") && !log.contains(&cookie), "{log}");
}

#[test]
fn a_route_that_goes_on_without_the_store_says_so_and_changes_nothing() {
    // LG5
    let site = Site::new(LADDER);
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada").say("Set", "a=1"));
    let cookie = ada.cookie();
    let database = break_store_of(&site, &get("/members").with("Cookie", &cookie));

    let visit = ada.visit(ok());
    assert_eq!((visit.got.status(), visit.seen.told("State").as_str()), (200, "degraded"));
    assert!(!visit.seen.has("X-Session-Data") && !visit.seen.has("X-Session-User"), "{:?}", visit.seen);
    for (verb, value) in [("Set", "a=2"), ("Login", "eve"), ("Destroy", "1")] {
        let got = ada.visit(ok().say(verb, value)).got;
        assert_eq!((got.status(), got.set_cookies()), (503, vec![]), "{verb}");
        assert!(got.has("Retry-After"), "{verb}");
    }
    let got = ada.fetch(&get("/account"));
    assert_eq!((got.status(), got.get("Location")), (503, None), "unknown is not missing");
    assert_eq!(site.browser().fetch(&get("/account")).status(), 302);
    site.upstream.take();

    database.execute_batch("ALTER TABLE hidden RENAME TO sessions").expect("the table is there");
    eventually("the proxy recovers", || site.fetch(&get("/members").with("Cookie", &cookie)).status() == 200);
    site.upstream.take();
    let seen = ada.look();
    assert_eq!((seen.told("State"), seen.told("User"), seen.data()), ("live".into(), "ada".into(), "a=1".into()));
    assert_eq!(ada.cookie(), cookie);
}

#[test]
fn an_outage_is_told_once_and_not_with_every_request() {
    // LG2
    let site = Site::new(LADDER);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let cookie = ada.cookie();
    let _database = break_store_of(&site, &get("/members").with("Cookie", &cookie));
    for _ in 0..50 {
        assert_eq!(ada.visit(ok()).got.status(), 200);
    }
    let count = |text: &str| site.proxy.log().iter().filter(|line| line.contains(text)).count();
    eventually("every request is in the access log", || count("\"session\":\"degraded\"") >= 50);
    // One more for each ten seconds that a slow machine may take.
    let told = count("session store failed");
    assert!((1..=3).contains(&told), "{told} lines:\n{}", site.proxy.log().join("\n"));
}
