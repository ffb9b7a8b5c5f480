//! Sessions that are bound to what their visitor looks like (SL14).

mod support;

use support::client::{Ask, get};
use support::upstream::ok;
use support::{Site, eventually};

/// A visitor with this address, as a listed proxy tells it, and this browser.
fn from(address: &str, browser: &str) -> Ask {
    get("/").with("X-Forwarded-For", address).with("User-Agent", browser)
}

const FIREFOX: &str = "Mozilla/5.0 Firefox/145.0";
const NEWER: &str = "Mozilla/5.0 Firefox/146.0.1";

fn site(store: &str, binding: &str) -> Site {
    let server = "[server]\nthreads = 2\nstate_dir = \"state\"\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let policy = format!("[sessions.main]\n{store}\n[sessions.main.binding]\n{binding}\n");
    Site::new(&format!("{server}{policy}"))
}

/// Each way to keep sessions.
const KEPT: [&str; 4] =
    ["store = \"memory\"", "store = \"disk\"", "store = \"cookie\"", "store = \"cookie\"\nrevocation = \"disk\""];

#[test]
fn the_backend_is_told_what_has_changed_until_the_session_is_bound_anew() {
    // SL14
    for store in KEPT {
        let site = site(store, "user_agent = \"flag\"\naddress = \"flag\"");
        let mut ada = site.browser();
        let changed = |ada: &mut support::Browser<'_>, ask: &Ask| {
            let seen = ada.ask(ask, ok()).seen;
            assert_eq!(seen.told("State"), "live", "{store}");
            seen.told("Changed")
        };
        ada.ask(&from("10.1.2.3", FIREFOX), ok().say("Login", "ada"));
        assert_eq!(changed(&mut ada, &from("10.1.2.99", NEWER)), "", "{store}");
        assert_eq!(changed(&mut ada, &from("10.1.9.3", FIREFOX)), "address", "{store}");
        assert_eq!(changed(&mut ada, &from("10.1.2.3", "curl/8.0")), "user_agent", "{store}");
        let stranger = from("2001:db8::1", "curl/8.0");
        assert_eq!(changed(&mut ada, &stranger), "user_agent, address", "{store}");
        ada.ask(&stranger, ok().say("Set", "a=1"));
        assert_eq!(changed(&mut ada, &stranger), "user_agent, address", "{store}: a write is no proof");
        assert_eq!(changed(&mut ada, &from("10.1.2.3", FIREFOX)), "", "{store}");
        ada.ask(&stranger, ok().say("Login", "ada"));
        assert_eq!(changed(&mut ada, &stranger), "", "{store}");
        assert_eq!(changed(&mut ada, &from("10.1.2.3", FIREFOX)), "user_agent, address", "{store}");
        ada.ask(&from("10.1.2.3", FIREFOX), ok().say("Regenerate", "1"));
        assert_eq!(changed(&mut ada, &from("10.1.2.3", FIREFOX)), "", "{store}");
        eventually("it is logged", || site.proxy.has_logged("the visitor of a session has changed"));
        assert!(!site.proxy.has_logged("curl/8.0") && !site.proxy.has_logged("2001:db8"), "{:?}", site.proxy.log());
    }
}

#[test]
fn a_session_ends_when_its_visitor_is_another() {
    // SL14, SL11
    for store in KEPT {
        let site = site(store, "user_agent = \"flag\"\naddress = \"end\"");
        let mut ada = site.browser();
        ada.ask(&from("10.1.2.3", FIREFOX), ok().say("Login", "ada").say("Set", "a=1"));
        let cookie = ada.cookie();
        let thief = from("10.66.6.6", "curl/8.0").with("Cookie", &cookie);
        let visit = site.exchange(&thief, ok());
        assert_eq!(
            (visit.seen.told("State"), visit.seen.told("Changed")),
            ("expired".into(), String::new()),
            "{store}"
        );
        assert!(!visit.seen.has("X-Session-User") && !visit.seen.has("X-Session-Data"), "{store}: {:?}", visit.seen);
        assert!(visit.got.set_cookies()[0].contains("Max-Age=0"), "{store}: {:?}", visit.got);
        let ends_for_all = store != "store = \"cookie\"";
        let seen = ada.ask(&from("10.1.2.3", FIREFOX), ok()).seen;
        assert_eq!(seen.told("State"), if ends_for_all { "expired" } else { "live" }, "{store}");
        eventually("it is logged", || site.proxy.has_logged("a session ended: its visitor is another"));
    }
}

#[test]
fn an_old_id_leads_to_what_the_newest_is_bound_to() {
    // SL14, SL3
    let site = site("store = \"memory\"", "address = \"end\"");
    let mut ada = site.browser();
    ada.ask(&from("10.1.2.3", FIREFOX), ok().say("Set", "a=1"));
    let old = ada.cookie();
    ada.ask(&from("10.1.2.3", FIREFOX), ok().say("Regenerate", "1"));
    let late = site.exchange(&from("10.1.2.4", FIREFOX).with("Cookie", &old), ok()).seen;
    assert_eq!(late.told("State"), "live");
    let thief = site.exchange(&from("10.66.6.6", FIREFOX).with("Cookie", &old), ok()).seen;
    assert_eq!(thief.told("State"), "expired");
    assert_eq!(ada.ask(&from("10.1.2.3", FIREFOX), ok()).seen.told("State"), "expired");
}

#[test]
fn a_session_from_before_the_setting_is_bound_by_its_next_write() {
    // SL14
    let site = site("store = \"disk\"", "user_agent = \"off\"");
    let mut ada = site.browser();
    ada.ask(&from("10.1.2.3", FIREFOX), ok().say("Set", "a=1"));
    let server = "[server]\nthreads = 2\nstate_dir = \"state\"\ntrusted_proxies = [\"127.0.0.1\"]\n";
    site.restart(&format!("{server}[sessions.main]\nstore = \"disk\"\nbinding.address = \"flag\"\n"));
    let changed =
        |ada: &mut support::Browser<'_>, address: &str| ada.ask(&from(address, FIREFOX), ok()).seen.told("Changed");
    assert_eq!(changed(&mut ada, "10.9.9.9"), "");
    ada.ask(&from("10.1.2.3", FIREFOX), ok().say("Set", "a=2"));
    assert_eq!((changed(&mut ada, "10.9.9.9"), changed(&mut ada, "10.1.2.3")), ("address".into(), String::new()));
    assert_eq!(ada.ask(&from("10.1.2.3", FIREFOX), ok()).seen.data(), "a=2");
}

#[test]
fn nobody_says_for_himself_where_he_comes_from() {
    // HI10
    let site = Site::new("[sessions.main]\nstore = \"memory\"\nbinding.address = \"end\"\n");
    let mut ada = site.browser();
    ada.ask(&from("10.1.2.3", FIREFOX), ok().say("Set", "a=1"));
    assert_eq!(ada.ask(&from("10.66.6.6", FIREFOX), ok()).seen.told("State"), "live", "both come from here");
}

#[test]
fn no_store_holds_an_address() {
    // LG1
    let site = site("store = \"disk\"", "user_agent = \"flag\"\naddress = \"flag\"");
    site.browser().ask(&from("203.0.113.77", "Curious/Browser"), ok().say("Set", "a=1"));
    site.proxy.stop();
    for entry in std::fs::read_dir(site.proxy.path("state")).expect("the store") {
        let bytes = std::fs::read(entry.expect("a file").path()).unwrap_or_default();
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|part| part == what);
        assert!(!holds(&[203, 0, 113, 0]) && !holds(b"203.0.113") && !holds(b"Curious"), "an address or a name");
    }
}
