//! Bots and floods: what does not return its cookie, begins too much, or has not consented.

mod support;

use rusqlite::Connection;
use support::client::{Ask, SetCookie, get};
use support::upstream::ok;
use support::{Site, eventually};

/// A proxy that believes the tests about the addresses of visitors.
const TRUSTING: &str = "[server]\nthreads = 2\nstate_dir = \"state\"\ntrusted_proxies = [\"127.0.0.1\"]\n";

fn from(address: &str) -> Ask {
    get("/").with("X-Forwarded-For", address)
}

/// How many sessions the disk store holds.
fn kept(site: &Site) -> i64 {
    let database = Connection::open(site.proxy.path("state/sessions.db")).expect("the proxy's own database");
    database.busy_timeout(support::LIMIT).expect("a connection");
    database.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).expect("a count")
}

#[test]
fn an_address_begins_so_many_sessions_and_no_more() {
    let limits = "[limits]\nsessions_created_per_ip = \"3/h\"\n";
    let site = Site::new(&format!("{TRUSTING}{limits}[sessions.main]\nstore = \"disk\"\n"));
    let (mut ada, mut early) = (site.browser(), site.browser());
    ada.ask(&from("10.0.0.1"), ok().say("Login", "ada"));
    early.ask(&from("10.0.0.1"), ok().say("Set", "a=1"));
    for _ in 0..2 {
        assert_eq!(site.exchange(&from("10.0.0.1"), ok().say("Set", "a=1")).got.set_cookies().len(), 1);
    }
    for _ in 0..5 {
        let got = site.exchange(&from("10.0.0.1"), ok().say("Flash", "info=hello")).got;
        assert_eq!((got.status(), got.set_cookies()), (429, vec![]));
        assert!(got.has("Retry-After") && !got.body_text().contains("<p>hello</p>"), "{got:?}");
    }
    assert_eq!(kept(&site), 4);
    assert!(site.proxy.has_logged("too_many_sessions"));
    let told = site.proxy.log().iter().filter(|line| line.contains("begins more sessions")).count();
    assert_eq!(told, 1, "a flood does not fill the log");
    // Who has a session goes on, who logs in gets one, who only looks is let look, and others have budgets of their own.
    assert_eq!(ada.ask(&from("10.0.0.1"), ok().say("Set", "b=1")).got.status(), 200);
    assert_eq!(early.ask(&from("10.0.0.1"), ok().say("Regenerate", "1")).got.status(), 200);
    assert_eq!(site.exchange(&from("10.0.0.1"), ok().say("Login", "bob")).got.set_cookies().len(), 1);
    assert_eq!(site.exchange(&from("10.0.0.1"), ok()).got.status(), 200);
    assert_eq!(site.exchange(&from("10.0.0.2"), ok().say("Set", "a=1")).got.set_cookies().len(), 1);
}

#[test]
fn nobody_gets_a_budget_by_what_he_claims() {
    // HI10
    let site = Site::new("[limits]\nsessions_created_per_ip = \"2/h\"\n");
    let status = |address| site.exchange(&from(address), ok().say("Set", "a=1")).got.status();
    assert_eq!(["1.1.1.1", "2.2.2.2", "3.3.3.3"].map(status), [200, 200, 429]);
}

#[test]
fn a_page_may_be_delivered_to_a_flood_without_a_session() {
    let site = Site::new(
        "[limits]\nsessions_created_per_ip = \"1/h\"\n[sessions.main]\nstore = \"memory\"\non_refused = \"deliver\"\n",
    );
    let begin = || site.exchange(&get("/"), ok().say("Set", "a=1")).got;
    assert_eq!(begin().set_cookies().len(), 1);
    let got = begin();
    assert_eq!((got.status(), got.body_text().as_str(), got.set_cookies()), (200, "<p>hello</p>", vec![]));
}

#[test]
fn a_session_whose_cookie_never_comes_back_ends_early() {
    let site = Site::new(
        "[sessions.main]\nstore = \"disk\"\nprobation = \"2s\"\n\
         [[routes]]\nupstream = \"app\"\npath = \"/poll\"\nsessions = [\"main\"]\ntouch = false\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n",
    );
    let (mut bot, mut ada, mut bob, mut eve) = (site.browser(), site.browser(), site.browser(), site.browser());
    bot.visit(ok().say("Set", "a=1"));
    ada.visit(ok().say("Set", "a=2"));
    bob.visit(ok().say("Set", "a=3"));
    eve.visit(ok().say("Login", "eve"));
    ada.look();
    bob.ask(&get("/poll"), ok());
    eventually("the bot's session goes", || kept(&site) == 3);
    assert_eq!((ada.look().data(), bob.look().data()), ("a=2".into(), "a=3".into()));
    assert_eq!(eve.look().told("User"), "eve");
    assert_eq!(bot.look().told("State"), "expired");
}

#[test]
fn nobody_gets_a_session_before_a_cookie_says_that_he_consents() {
    let site = Site::new("[sessions.main]\nstore = \"disk\"\ncookie.consent = { cookie = \"cookies-ok\" }\n");
    for answer in [ok().say("Set", "a=1"), ok().say("Login", "ada"), ok().say("Flash", "info=hello")] {
        for cookie in ["", "cookies-ok=", "xcookies-ok=1", "cookies-ok.0=1"] {
            let got = site.exchange(&get("/").with("Cookie", cookie), answer.clone()).got;
            assert_eq!((got.status(), got.set_cookies()), (200, vec![]), "{cookie}");
        }
    }
    assert_eq!(kept(&site), 0);
    let consenting = get("/").with("Cookie", "lang=en; cookies-ok=1");
    let visit = site.exchange(&consenting, ok().say("Set", "a=1"));
    assert_eq!(visit.seen.get("Cookie").as_deref(), Some("lang=en; cookies-ok=1"), "the backend sees it, too");
    // It was asked for once: who has a session keeps it.
    let mut ada = site.browser();
    ada.jar.keep(&visit.got);
    assert_eq!(ada.visit(ok().say("Set", "b=2")).got.status(), 200);
    assert_eq!(ada.look().data(), "a=1&b=2");
    assert_eq!(SetCookie::only(&ada.visit(ok().say("Login", "ada")).got).name, "__Host-session");
}

#[test]
fn nobody_gets_a_session_before_the_application_says_that_he_consents() {
    for store in ["memory", "cookie"] {
        let site =
            Site::new(&format!("[sessions.main]\nstore = \"{store}\"\ncookie.consent = {{ key = \"consent\" }}\n"));
        let mut ada = site.browser();
        let visit = ada.visit(ok().say("Login", "ada"));
        assert_eq!((visit.got.status(), visit.got.set_cookies()), (200, vec![]));
        assert_eq!(ada.visit(ok().say("Set", "a=1")).got.set_cookies(), Vec::<String>::new());
        assert_eq!(ada.visit(ok().say("Set", "consent=yes&a=2")).got.set_cookies().len(), 1);
        assert_eq!(ada.visit(ok().say("Unset", "consent")).seen.data(), "a=2&consent=yes");
        assert_eq!(ada.look().data(), "a=2");
    }
}
