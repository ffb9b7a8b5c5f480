//! What moves with time: idle and absolute ends, touching, the cookie's own age.

mod support;

use cloakroom::clock::{Clock as _, SystemClock};
use support::client::{SetCookie, get};
use support::upstream::{ok, status};
use support::{Site, eventually};

/// `/poll` looks at the session without extending it.
const ROUTES: &str = "
[[routes]]
path = \"/poll\"
upstream = \"app\"
sessions = [\"main\"]
touch = false
[[routes]]
upstream = \"app\"
sessions = [\"main\"]
";

fn policy(settings: &str) -> String {
    format!("[sessions.main]\nstore = \"memory\"\n{settings}\n[sessions.main.headers]\nclocks = true\n{ROUTES}")
}

fn left(clock: &str, seen: &support::message::Message) -> u64 {
    seen.told(clock).parse().unwrap_or_else(|_| panic!("no {clock}: {seen:?}"))
}

#[test]
fn the_clocks_are_told_in_seconds() {
    let site = Site::new(&policy("idle_timeout = \"30m\"\nabsolute_timeout = \"12h\""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let seen = ada.look();
    assert!((1790..=1800).contains(&left("Idle-Left", &seen)), "{seen:?}");
    assert!((43_190..=43_200).contains(&left("Absolute-Left", &seen)), "{seen:?}");
    let none = site.browser().look();
    assert!(!none.has("X-Session-Idle-Left") && !none.has("X-Session-Absolute-Left"));
}

#[test]
fn an_idle_session_ends_and_its_cookie_is_removed() {
    // SL4, SL11
    let site = Site::new(&policy("idle_timeout = \"1s\"\ntouch_interval = \"100ms\""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let cookie = ada.cookie();
    let poll = get("/poll").with("Cookie", &cookie);
    eventually("the session ends", || site.exchange(&poll, ok()).seen.told("State") == "expired");
    let visit = site.exchange(&get("/").with("Cookie", &cookie), ok());
    assert_eq!((visit.seen.told("State"), visit.seen.data()), ("expired".into(), String::new()));
    assert_eq!(SetCookie::only(&visit.got).attribute("Max-Age"), Some("0"));
    // It is not revived by a command, and its id is not used again (SL2).
    let visit = site.exchange(&get("/").with("Cookie", &cookie), ok().say("Set", "b=2"));
    assert!(!visit.got.set_cookies().iter().any(|line| line.contains(&cookie)), "{:?}", visit.got);
}

#[test]
fn a_session_ends_at_its_absolute_limit_however_active_it_is() {
    // SL5
    let site = Site::new(&policy("idle_timeout = \"2s\"\nabsolute_timeout = \"2s\"\ntouch_interval = \"100ms\""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let cookie = ada.cookie();
    let visit = get("/").with("Cookie", &cookie);
    eventually("the session ends", || site.exchange(&visit, ok().say("Add", "n=1")).seen.told("State") == "expired");
}

#[test]
fn requests_extend_a_session_unless_the_route_or_the_backend_says_otherwise() {
    let site = Site::new(&policy("idle_timeout = \"5s\"\ntouch_interval = \"100ms\""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let poll = get("/poll");
    let wane = |ada: &mut support::Browser<'_>| {
        eventually("time passes", || left("Idle-Left", &ada.ask(&poll, ok()).seen) <= 3);
    };
    wane(&mut ada);
    ada.visit(ok().say("Touch", "0"));
    ada.visit(ok().say("Touch", "0").say("Set", "a=2"));
    ada.ask(&poll, ok().say("Set", "a=3"));
    assert!(left("Idle-Left", &ada.ask(&poll, ok()).seen) <= 3, "not extended");
    ada.visit(ok());
    assert!(left("Idle-Left", &ada.ask(&poll, ok()).seen) >= 4, "extended by a request");
    wane(&mut ada);
    ada.ask(&poll, ok().say("Touch", "1"));
    assert!(left("Idle-Left", &ada.ask(&poll, ok()).seen) >= 4, "extended by the backend");
    assert_eq!(ada.look().told("Version"), "3", "touching is no change");
}

#[test]
fn what_no_person_caused_extends_no_session() {
    // L8, R17
    let clocks = "idle_timeout = \"5s\"\ntouch_interval = \"100ms\"";
    let only_people =
        "[[routes]]\npath = \"/app\"\nupstream = \"app\"\nsessions = [\"main\"]\nbackground = \"ignore\"\n";
    let site = Site::new(&policy(clocks).replacen("[[routes]]", &format!("{only_people}[[routes]]"), 1));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let poll = get("/poll");
    let wane = |ada: &mut support::Browser<'_>| {
        eventually("time passes", || left("Idle-Left", &ada.ask(&poll, ok()).seen) <= 3);
    };
    wane(&mut ada);
    let script = get("/app").with("Sec-Fetch-Mode", "cors").with("Sec-Fetch-Dest", "empty");
    ada.ask(&get("/").with("Sec-Purpose", "prefetch;prerender"), ok());
    ada.ask(&get("/app").with("Purpose", "prefetch"), ok());
    ada.ask(&script, ok());
    assert!(left("Idle-Left", &ada.ask(&poll, ok()).seen) <= 3, "not extended");
    ada.ask(&get("/app").with("Sec-Fetch-Mode", "navigate").with("Sec-Fetch-Dest", "document"), ok());
    assert!(left("Idle-Left", &ada.ask(&poll, ok()).seen) >= 4, "extended by a person");
    wane(&mut ada);
    ada.ask(&get("/").with("Sec-Fetch-Dest", "empty"), ok());
    assert!(left("Idle-Left", &ada.ask(&poll, ok()).seen) >= 4, "extended by a script, where nobody minds");
    wane(&mut ada);
    ada.ask(&script, ok().say("Touch", "1"));
    assert!(left("Idle-Left", &ada.ask(&poll, ok()).seen) >= 4, "extended by the backend");
}

#[test]
fn activity_is_written_down_without_a_cookie() {
    // CK9
    let site = Site::new(&policy("idle_timeout = \"1h\"\ntouch_interval = \"1ms\""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    for _ in 0..5 {
        let visit = ada.visit(ok());
        assert_eq!((visit.got.set_cookies(), visit.got.all("Cache-Control")), (vec![], vec!["private".into()]));
    }
}

#[test]
fn a_backend_changes_the_clocks_within_the_operators_limits() {
    let site = Site::new(&policy("idle_timeout = \"30m\"\nmax_idle_timeout = \"1h\"\nabsolute_timeout = \"12h\""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    ada.visit(ok().say("Expire", "idle=3600&absolute=7200"));
    let seen = ada.look();
    assert!((3590..=3600).contains(&left("Idle-Left", &seen)), "{seen:?}");
    assert!((7190..=7200).contains(&left("Absolute-Left", &seen)), "{seen:?}");
    for beyond in ["idle=3601", "absolute=43201", "idle=60&absolute=43201"] {
        assert_eq!(ada.visit(ok().say("Expire", beyond).say("Set", "a=2")).got.status(), 502, "{beyond}");
        let seen = ada.look();
        assert_eq!(seen.data(), "a=1", "{beyond}");
        assert!(left("Idle-Left", &seen) > 3500, "{beyond}");
    }
}

#[test]
fn a_shorter_clock_ends_the_session_sooner() {
    let site = Site::new(&policy(""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1").say("Expire", "idle=1"));
    let poll = get("/poll").with("Cookie", ada.cookie());
    eventually("the session ends", || site.exchange(&poll, ok()).seen.told("State") == "expired");
}

#[test]
fn a_session_may_ask_to_outlive_the_browser() {
    // CK5, CK8
    let site = Site::new(&policy("absolute_timeout = \"12h\""));
    let mut ada = site.browser();
    let first = SetCookie::only(&ada.visit(ok().say("Set", "a=1")).got);
    assert_eq!((first.attribute("Max-Age"), first.attribute("Expires")), (None, None));
    let kept = SetCookie::only(&ada.visit(ok().say("Expire", "persist=1")).got);
    let age: u64 = kept.attribute("Max-Age").expect("an age").parse().expect("seconds");
    assert!((43_190..=43_200).contains(&age), "{kept:?}");
    assert_eq!(ada.look().data(), "a=1");
    let back = SetCookie::only(&ada.visit(ok().say("Expire", "persist=0")).got);
    assert_eq!((back.attribute("Max-Age"), ada.look().data().as_str()), (None, "a=1"));
}

#[test]
fn a_persistent_cookie_follows_the_absolute_end() {
    // CK5
    let site = Site::new(
        "[sessions.main]\nstore = \"memory\"\nabsolute_timeout = \"1h\"\n[sessions.main.cookie]\npersistent = true\n",
    );
    let got = site.browser().visit(status(302).say("Set", "a=1")).got;
    let age: u64 = SetCookie::only(&got).attribute("Max-Age").expect("an age").parse().expect("seconds");
    assert!((3590..=3600).contains(&age), "{got:?}");
}

#[test]
fn a_cookie_with_a_life_of_its_own_is_handed_out_again_in_time() {
    // C7, C9, C15, E2
    let site = Site::new(
        "[sessions.main]\nstore = \"memory\"\nabsolute_timeout = \"400d\"\nidle_timeout = \"60d\"\n\
         [sessions.main.cookie]\nmax_age = \"30d\"\nrenew_after = \"1s\"\n",
    );
    let mut ada = site.browser();
    let issued = |got: &_| SetCookie::only(got).attribute("Max-Age").map(str::to_owned);
    let month = Some("2592000".to_owned());
    assert_eq!(issued(&ada.visit(ok().say("Set", "a=1")).got), month);
    let mut got = ada.visit(ok()).got;
    eventually("a second passes", || {
        got = if got.set_cookies().is_empty() { ada.visit(ok()).got } else { got.clone() };
        !got.set_cookies().is_empty()
    });
    assert_eq!(issued(&got), month);
    assert_eq!(got.get("Cache-Control").as_deref(), Some("no-store"));
    assert_eq!(ada.look().data(), "a=1");
}

#[test]
fn the_moments_of_a_session_are_told_beside_its_clocks() {
    // R13, R14
    let site = Site::new(&policy(""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let seen = ada.look();
    let (created, accessed) = (left("Created", &seen), left("Accessed", &seen));
    let now = SystemClock.now().as_secs();
    assert!((now - 20..=now).contains(&created) && accessed == created, "{seen:?}");
    let none = site.browser().look();
    assert!(!none.has("X-Session-Created") && !none.has("X-Session-Accessed"));
}

#[test]
fn a_login_starts_the_absolute_clock_again() {
    let site = Site::new(&policy("absolute_timeout = \"1h\""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    eventually("time passes", || left("Absolute-Left", &ada.look()) <= 3598);
    ada.visit(ok().say("Login", "ada"));
    assert!(left("Absolute-Left", &ada.look()) >= 3599);
}

#[test]
fn a_session_in_the_cookie_is_extended_by_a_new_cookie() {
    // SL4, CK9
    let site = Site::new(
        &policy("idle_timeout = \"5s\"\ntouch_interval = \"1s\"").replace("store = \"memory\"", "store = \"cookie\""),
    );
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    assert_eq!(ada.visit(ok()).got.set_cookies(), [""; 0], "not before it is due");
    eventually("time passes", || left("Idle-Left", &ada.ask(&get("/poll"), ok()).seen) <= 2);
    let issued = SetCookie::only(&ada.visit(ok()).got);
    assert_eq!((issued.name.as_str(), issued.attribute("Max-Age")), ("__Host-session", None));
    let seen = ada.ask(&get("/poll"), ok()).seen;
    assert!(left("Idle-Left", &seen) >= 4 && seen.data() == "a=1", "{seen:?}");
}
