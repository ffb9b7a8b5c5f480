//! Who keeps a session, and what it survives.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use support::client::{SetCookie, get};
use support::upstream::ok;
use support::{Browser, Site};

const KEY: &str =
    "[[keys]]\nid = \"k\"\nsecret = \"3c1b9f0e7a52d84466e0b17f2ac95d83f1407e6bd2985ca31e7705c8bf94a62d\"\n";

fn kept_in(store: &str) -> String {
    format!("{KEY}[sessions.main]\nstore = \"{store}\"\n")
}

/// A session in the cookie, in up to three pieces, for a backend that takes large headers.
fn in_cookie(settings: &str) -> String {
    format!(
        "{KEY}[sessions.main]\nstore = \"cookie\"\n[sessions.main.cookie]\n{settings}\n\
         [upstreams.app]\nservers = [\"@app\"]\nprofile = \"wsgi\"\n"
    )
}

#[test]
fn sessions_in_memory_end_with_the_process() {
    let site = Site::new(&kept_in("memory"));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    site.restart(&kept_in("memory"));
    let visit = ada.visit(ok());
    assert_eq!((visit.seen.told("State").as_str(), visit.got.status()), ("expired", 200));
    assert_eq!(SetCookie::only(&visit.got).attribute("Max-Age"), Some("0")); // SL11
}

#[test]
fn sessions_on_disk_survive_a_restart_and_a_kill() {
    // ST8
    for config in [kept_in("disk"), "[sessions.main]\nstore = \"disk\"\n".into()] {
        let site = Site::new(&config);
        let mut ada = site.browser();
        ada.visit(ok().say("Set", "a=1").say("Login", "ada"));
        let reference = ada.look().told("Ref");
        site.restart(&config);
        assert_eq!(ada.look().data(), "a=1");
        ada.visit(ok().say("Set", "b=2"));
        site.proxy.kill();
        site.restart(&config);
        let visit = ada.visit(ok());
        assert_eq!((visit.seen.data(), visit.seen.told("User")), ("a=1&b=2".into(), "ada".into()));
        assert_eq!((visit.seen.told("Ref"), visit.got.set_cookies()), (reference, vec![]));
    }
}

#[test]
fn what_ended_before_a_kill_stays_ended() {
    // SL6, ST8
    let site = Site::new(&kept_in("disk"));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let cookie = ada.cookie();
    ada.visit(ok().say("Destroy", "1"));
    site.proxy.kill();
    site.restart(&kept_in("disk"));
    assert_eq!(site.exchange(&get("/").with("Cookie", cookie), ok()).seen.told("State"), "expired");
}

/// Every file below a directory, byte for byte.
fn everything_in(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        bytes.extend(fs::read(entry.path()).expect("a file"));
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_stolen_database_holds_neither_data_nor_tickets() {
    // ST1
    let site = Site::new(&kept_in("disk"));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "secretkey=SecretValue").say("Login", "SecretOwner").say("Flash", "info=SecretFlash"));
    let ticket = ada.jar.value("__Host-session").expect("a session");
    let dir = site.proxy.path("state");
    site.proxy.stop();
    let bytes = everything_in(&dir);
    assert!(bytes.len() > 4096);
    for secret in ["secretkey", "SecretValue", "SecretOwner", "SecretFlash", &ticket, &ticket[10..30]] {
        assert!(!holds(&bytes, secret), "{secret}");
    }
}

#[test]
fn what_lies_on_disk_is_for_the_owner_only() {
    // LG7
    let site = Site::new("[sessions.main]\nstore = \"disk\"\n");
    site.browser().visit(ok().say("Set", "a=1"));
    let dir = site.proxy.path("state");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = fs::read_dir(&dir).expect("a directory").flatten().map(|entry| entry.path()).collect();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
    }
}

#[test]
fn a_session_in_the_cookie_needs_nothing_but_the_key() {
    let site = Site::new(&kept_in("cookie"));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1").say("Login", "ada").say("Flash", "info=hi"));
    site.restart(&kept_in("cookie"));
    let seen = ada.look();
    assert_eq!((seen.data(), seen.told("User"), seen.told("Flashes")), ("a=1".into(), "ada".into(), "info=hi".into()));
    assert_eq!(ada.look().told("Flashes"), "");
    ada.visit(ok().say("Destroy", "1"));
    assert_eq!((ada.jar.0.len(), ada.look().told("State")), (0, "none".into()));
}

fn decoded(value: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(value).expect("base64url")
}

#[test]
fn a_sealed_cookie_shows_nothing_and_a_signed_one_everything() {
    let signed =
        format!("{KEY}[stores.open]\ntype = \"cookie\"\nprotection = \"signed\"\n[sessions.main]\nstore = \"open\"\n");
    for (config, is_shown) in [(kept_in("cookie"), false), (signed, true)] {
        let site = Site::new(&config);
        let mut ada = site.browser();
        ada.visit(ok().say("Set", "key=PlainValue"));
        let value = ada.jar.value("__Host-session").expect("a session");
        assert_eq!(holds(&decoded(&value), "PlainValue"), is_shown);
        // Neither can be changed (any bit of it).
        for at in (0..value.len()).step_by(5) {
            let mut forged = value.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("ASCII");
            let seen = site.exchange(&get("/").with("Cookie", format!("__Host-session={forged}")), ok()).seen;
            assert_eq!((seen.told("State").as_str(), seen.data().as_str()), ("invalid", ""), "byte {at}");
        }
        assert_eq!(ada.look().data(), "key=PlainValue");
    }
}

#[test]
fn a_signed_cookie_is_no_sealed_one() {
    let policy = |protection: &str| {
        format!(
            "{KEY}[stores.own]\ntype = \"cookie\"\nprotection = \"{protection}\"\n[sessions.main]\nstore = \"own\"\n"
        )
    };
    for (before, after) in [("signed", "sealed"), ("sealed", "signed")] {
        let site = Site::new(&policy(before));
        let mut ada = site.browser();
        ada.visit(ok().say("Set", "a=1"));
        site.restart(&policy(after));
        assert_eq!(ada.look().told("State"), "invalid", "{before} then {after}");
    }
}

#[test]
fn a_sealed_cookie_differs_each_time() {
    let site = Site::new(&kept_in("cookie"));
    let values: Vec<_> = (0..3)
        .map(|_| {
            let mut visitor = site.browser();
            visitor.visit(ok().say("Set", "a=1"));
            visitor.cookie()
        })
        .collect();
    assert!(values[0] != values[1] && values[1] != values[2] && values[0] != values[2]);
}

#[test]
fn a_logout_from_a_cookie_is_final_where_a_store_remembers_it() {
    let site = Site::new(&(kept_in("cookie") + "revocation = \"disk\"\n"));
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let stolen = get("/").with("Cookie", ada.cookie());
    assert_eq!(site.exchange(&stolen, ok()).seen.told("User"), "ada");
    ada.visit(ok().say("Destroy", "1"));
    let seen = site.exchange(&stolen, ok()).seen;
    assert!(seen.told("State") != "live" && !seen.has("X-Session-User"), "{seen:?}");
}

#[test]
fn sessions_that_browsers_keep_cannot_be_ended_from_afar() {
    // SL7
    let site = Site::new(&kept_in("cookie"));
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    for scope in ["others", "all"] {
        assert_eq!(ada.visit(ok().say("Destroy", scope)).got.status(), 502, "{scope}");
        assert_eq!(ada.look().told("User"), "ada", "{scope}");
    }
}

fn names(browser: &Browser<'_>) -> Vec<String> {
    let mut names: Vec<_> = browser.jar.0.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names
}

#[test]
fn a_large_session_is_cut_into_pieces_and_put_together_again() {
    // CK3
    let site = Site::new(&in_cookie("max_chunks = 3"));
    let mut ada = site.browser();
    let (a, b) = ("a".repeat(3000), "b".repeat(3000));
    let got = ada.visit(ok().say("Set", format!("a={a}&b={b}"))).got;
    for line in got.set_cookies() {
        let cookie = SetCookie::parse(&line);
        assert!(cookie.name.len() + cookie.value.len() <= 4096, "{}", cookie.name);
        assert_eq!(cookie.attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
    }
    assert_eq!(names(&ada), ["__Host-session.0", "__Host-session.1", "__Host-session.2"]);
    let visit = ada.visit(ok());
    assert_eq!(visit.seen.data(), format!("a={a}&b={b}"));
    assert_eq!((visit.seen.has("Cookie"), visit.got.set_cookies()), (false, vec![]));
    // In any order, among others.
    ada.jar.0.reverse();
    ada.jar.0.insert(1, ("z".into(), "1".into()));
    let seen = ada.look();
    assert_eq!((seen.told("State"), seen.all("Cookie")), ("live".into(), vec!["z=1".into()]));
}

#[test]
fn pieces_that_are_not_needed_any_more_are_removed() {
    let site = Site::new(&in_cookie("max_chunks = 3"));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", format!("a={0}&b={0}", "x".repeat(3000))));
    assert_eq!(names(&ada).len(), 3);
    ada.visit(ok().say("Unset", "b"));
    assert_eq!(names(&ada), ["__Host-session.0", "__Host-session.1"]);
    ada.visit(ok().say("Set", "a=1"));
    assert_eq!((names(&ada), ada.look().data()), (vec!["__Host-session".into()], "a=1".into()));
    ada.visit(ok().say("Set", format!("a={}", "x".repeat(3000))));
    assert_eq!(names(&ada), ["__Host-session.0", "__Host-session.1"]);
    ada.visit(ok().say("Destroy", "1"));
    assert_eq!(names(&ada), [""; 0]);
}

#[test]
fn a_session_with_a_piece_missing_is_none() {
    let site = Site::new(&in_cookie("max_chunks = 3"));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", format!("a={0}&b={0}", "x".repeat(3000))));
    for missing in 0..3 {
        let mut jar = ada.jar.clone();
        jar.0.remove(missing);
        let visit = site.exchange(&get("/").cookie(jar.line().as_deref()), ok());
        assert_eq!(visit.seen.told("State"), "invalid", "without {missing}");
        jar.keep(&visit.got);
        assert_eq!(jar.0, [], "what is left of it is removed");
    }
}

#[test]
fn a_session_that_does_not_fit_is_refused_and_the_old_one_kept() {
    // CK3, HI5
    for chunks in [1, 3] {
        let site = Site::new(&in_cookie(&format!("max_chunks = {chunks}")));
        let mut ada = site.browser();
        ada.visit(ok().say("Set", "a=1"));
        let big: Vec<_> = (0..chunks).map(|n| format!("b{n}={}&c{n}={0}", "x".repeat(2000))).collect();
        let got = ada.visit(ok().say("Set", big.join("&"))).got;
        assert_eq!((got.status(), got.set_cookies()), (502, vec![]));
        assert_eq!(ada.look().data(), "a=1");
        assert!(site.proxy.has_logged("\"limit\""), "{:?}", site.proxy.log());
    }
}

#[test]
fn a_full_store_forgets_nobody_for_the_sake_of_newcomers() {
    // ST7
    let site = Site::new("[stores.small]\ntype = \"memory\"\nmax_entries = 5\n[sessions.main]\nstore = \"small\"\n");
    let mut all: Vec<_> = (0..5)
        .map(|number| {
            let mut visitor = site.browser();
            visitor.visit(ok().say("Set", format!("n={number}")));
            visitor
        })
        .collect();
    for _ in 0..20 {
        let got = site.browser().visit(ok().say("Set", "n=6")).got;
        assert_eq!((got.status(), got.set_cookies()), (503, vec![]));
    }
    assert_eq!(site.browser().visit(ok()).got.status(), 200);
    for (number, visitor) in all.iter_mut().enumerate() {
        assert_eq!(visitor.look().data(), format!("n={number}"));
    }
    all[0].visit(ok().say("Destroy", "1"));
    assert_eq!(site.browser().visit(ok().say("Set", "n=6")).got.set_cookies().len(), 1, "there is room again");
}
