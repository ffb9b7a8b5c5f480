//! Which cookies are believed, and what is said about those that are not.

mod support;

use support::client::{Jar, SetCookie, get};
use support::message::Message;
use support::upstream::ok;
use support::{Site, eventually};

/// Two random keys, made for these tests.
const FIRST: &str = "3c1b9f0e7a52d84466e0b17f2ac95d83f1407e6bd2985ca31e7705c8bf94a62d";
const SECOND: &str = "9ad04c7723eb61f85b02c8de4f9317a06d85e2b9407cf3116a28d95e03b7c4f1";

fn keys(secrets: &[(&str, &str)]) -> String {
    let key = |(id, secret): &(&str, &str)| format!("[[keys]]\nid = \"{id}\"\nsecret = \"{secret}\"\n");
    secrets.iter().map(key).collect()
}

const TWO_POLICIES: &str = r#"
[sessions.main]
store = "memory"
[sessions.cart]
store = "memory"
cookie = { name = "__Host-cart" }
headers = { prefix = "X-Cart-" }
[[routes]]
upstream = "app"
sessions = ["main", "cart"]
"#;

/// A ticket of this site that is live.
fn ticket(site: &Site) -> String {
    let mut visitor = site.browser();
    visitor.visit(ok().say("Set", "user=ada"));
    visitor.jar.value("__Host-session").expect("a session")
}

fn with(line: &str) -> support::client::Ask {
    get("/").with("Cookie", line)
}

fn state(site: &Site, line: &str) -> String {
    site.exchange(&with(line), ok()).seen.told("State")
}

/// An answer without the moment it was made.
fn timeless(got: &Message) -> String {
    got.text().lines().filter(|line| !line.starts_with("Date:")).collect::<Vec<_>>().join("\n") + &got.body_text()
}

#[test]
fn every_malformed_ticket_is_answered_alike() {
    // CP8, CVE-2016-0736
    let site = Site::new(TWO_POLICIES);
    let good = ticket(&site);
    let flipped = |at: usize| {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("ASCII")
    };
    let last = good.len() - 1;
    let mut other = site.browser();
    other.visit(ok().with("X-Cart-Set", "a=1"));
    let foreign = Site::new("");
    let mut forged: Vec<String> =
        ["", "x", "0", "null", "%00", "..%2f..%2fetc%2fpasswd", "' OR 1=1 --", "AAAA", "=", "==", "{}", "$Version=1"]
            .map(String::from)
            .into();
    forged.extend((0..=last).step_by(7).map(flipped));
    forged.extend([flipped(last), good[..last].into(), good[1..].into(), format!("{good}A"), format!("{good}=")]);
    forged.extend([format!("\"{good}\""), format!("{good},{good}"), good.to_ascii_lowercase(), "A".repeat(68)]);
    forged.extend(["A".repeat(5000), "\u{e9}".repeat(40), good.replace('_', "%5F") + "%20"]);
    forged.push(other.jar.value("__Host-cart").expect("a cart")); // of another policy
    forged.push(ticket(&foreign)); // under a key that nobody here has
    let mut answers = Vec::new();
    for value in &forged {
        let visit = site.exchange(&with(&format!("__Host-session={value}")), ok());
        assert_eq!((visit.seen.told("State").as_str(), visit.seen.data().as_str()), ("invalid", ""), "{value}");
        assert!(!visit.seen.has("Cookie"), "{value}");
        assert_eq!(SetCookie::only(&visit.got).attribute("Max-Age"), Some("0"), "{value}");
        answers.push(timeless(&visit.got));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_eq!(state(&site, &format!("__Host-session={good}")), "live");
}

#[test]
fn an_id_that_nobody_issued_is_never_used() {
    // SL2: the same key, so that the ticket verifies; another store, so that nobody knows it
    let config = keys(&[("first", FIRST)]);
    let (elsewhere, site) = (Site::new(&config), Site::new(&config));
    let strange = ticket(&elsewhere);
    let mut visitor = site.browser();
    visitor.jar = Jar(vec![("__Host-session".into(), strange.clone())]);
    assert_eq!(visitor.visit(ok().say("Set", "a=1")).seen.told("State"), "expired");
    let own = visitor.jar.value("__Host-session").expect("a session of its own");
    assert_ne!(own, strange);
    assert_eq!(visitor.look().data(), "a=1");
    assert_eq!(state(&site, &format!("__Host-session={strange}")), "expired");
}

#[test]
fn the_cookie_of_another_letter_case_is_another_cookie() {
    // CP2
    let site = Site::new("");
    let good = ticket(&site);
    for name in ["__host-session", "__HOST-SESSION", "__Host-Session", "__Host-session ", "__Host_session", "session"] {
        let expected = if name.ends_with(' ') { "live" } else { "none" };
        assert_eq!(state(&site, &format!("{name}={good}")), expected, "{name}");
    }
}

#[test]
fn the_only_one_that_verifies_counts_wherever_it_stands() {
    // CP4
    let site = Site::new("");
    let good = format!("__Host-session={}", ticket(&site));
    let bad = "__Host-session=forged";
    for line in [
        format!("{good}; {bad}"),
        format!("{bad}; {good}"),
        format!("{good}; {good}"),
        format!("a=1; {bad}; b=2; {good}; {bad}2; c=3"),
    ] {
        assert_eq!(state(&site, &line), "live", "{line}");
    }
    let two_lines = get("/").with("Cookie", bad).with("Cookie", &good);
    assert_eq!(site.exchange(&two_lines, ok()).seen.told("State"), "live");
}

#[test]
fn of_two_different_ones_that_both_verify_neither_counts() {
    // CP4
    let site = Site::new("");
    let (one, two) = (ticket(&site), ticket(&site));
    for (a, b) in [(&one, &two), (&two, &one)] {
        let visit = site.exchange(&with(&format!("__Host-session={a}; __Host-session={b}")), ok());
        assert_eq!((visit.seen.told("State").as_str(), visit.seen.data().as_str()), ("invalid", ""));
        assert_eq!(visit.got.status(), 200);
    }
    eventually("it is told", || site.proxy.has_logged("two cookies"));
}

#[test]
fn more_than_four_candidates_are_anonymous_in_any_order() {
    // CP4, CP5
    let site = Site::new("");
    let good = format!("__Host-session={}", ticket(&site));
    for place in 0..5 {
        let mut all: Vec<_> = (0..4).map(|number| format!("__Host-session=forged{number}")).collect();
        all.insert(place, good.clone());
        assert_eq!(state(&site, &all.join("; ")), "invalid", "in place {place}");
    }
}

#[test]
fn a_flood_of_cookies_is_no_failure() {
    // CP5
    let site = Site::new("[listeners.web]\naddress = \"@web\"\nbehind_tls = true\nmax_header_bytes = \"64KiB\"\n");
    let line = "__Host-session=x; ".repeat(3000);
    let visit = site.exchange(&with(&line), ok());
    assert_eq!((visit.got.status(), visit.seen.told("State").as_str()), (200, "invalid"));
}

/// Takes a session through a change of keys.
fn rotate(store: &str) {
    let config = |secrets: &[(&str, &str)]| format!("{}[sessions.main]\nstore = \"{store}\"\n", keys(secrets));
    let site = Site::new(&config(&[("first", FIRST)]));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada"));
    let old = ada.cookie();

    site.restart(&config(&[("second", SECOND), ("first", FIRST)]));
    let visit = ada.visit(ok());
    assert_eq!((visit.seen.told("State").as_str(), visit.seen.data().as_str()), ("live", "user=ada"), "{store}");
    let issued = SetCookie::only(&visit.got);
    assert_eq!(issued.attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
    assert_eq!(visit.got.get("Cache-Control").as_deref(), Some("no-store")); // CA1
    assert_ne!(ada.cookie(), old);
    assert_eq!(ada.visit(ok()).got.set_cookies(), [""; 0], "once is enough");
    assert_eq!(state(&site, &old), "live", "the old one is still believed");

    site.restart(&config(&[("second", SECOND)]));
    assert_eq!(ada.look().data(), "user=ada", "{store}");
    assert_eq!(state(&site, &old), "invalid");
}

#[test]
fn a_session_outlives_the_key_that_its_cookie_was_made_with() {
    rotate("disk");
}

#[test]
fn a_session_in_a_cookie_outlives_its_key() {
    rotate("cookie");
}

#[test]
fn on_plain_http_the_cookie_is_neither_secure_nor_named_so() {
    // CK2, CK13
    let site = Site::new("[listeners.web]\naddress = \"@web\"\n");
    let cookie = SetCookie::only(&site.exchange(&get("/"), ok().say("Set", "a=1")).got);
    assert_eq!(
        (cookie.name.as_str(), cookie.attributes),
        ("session", ["HttpOnly", "Path=/", "SameSite=Lax"].map(String::from).into())
    );
}

#[test]
fn issue_and_removal_have_the_attributes_of_the_policy() {
    // CK6, CK12
    let site = Site::new(
        "[sessions.main]\nstore = \"memory\"\n[sessions.main.cookie]\nname = \"sid\"\npath = \"/app\"\n\
         domain = \"example.org\"\nsame_site = \"none\"\npartitioned = true\nhttp_only = false\n",
    );
    let mut ada = site.browser();
    let issued = SetCookie::only(&ada.visit(ok().say("Set", "a=1")).got);
    let common = ["Domain=example.org", "Partitioned", "Path=/app", "SameSite=None", "Secure"];
    assert_eq!((issued.name.as_str(), issued.attributes), ("sid", common.map(String::from).into()));
    let removal = SetCookie::only(&ada.visit(ok().say("Destroy", "1")).got);
    let mut expected: Vec<_> =
        common.iter().copied().chain(["Expires=Thu, 01 Jan 1970 00:00:00 GMT", "Max-Age=0"]).collect();
    expected.sort_unstable();
    assert_eq!(
        (removal.name.as_str(), removal.value.as_str(), removal.attributes),
        ("sid", "", expected.into_iter().map(String::from).collect())
    );
}

#[test]
fn a_backend_chooses_the_cookies_place_from_the_operators_list() {
    let site = Site::new(
        "[sessions.main]\nstore = \"memory\"\n[sessions.main.cookie]\nname = \"sid\"\nallow_paths = [\"/app\"]\n\
         allow_domains = [\"example.org\"]\n",
    );
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let value = ada.jar.value("sid").expect("a session");
    for beyond in ["path=/evil", "domain=evil.example", "path=/app&domain=evil.example", "path=/app/"] {
        assert_eq!(ada.visit(ok().say("Cookie", beyond).say("Set", "a=2")).got.status(), 502, "{beyond}");
    }
    assert_eq!(ada.look().data(), "a=1");
    let got = ada.visit(ok().say("Cookie", "path=%2Fapp&domain=example.org")).got;
    let lines: Vec<_> = got.set_cookies().iter().map(|line| SetCookie::parse(line)).collect();
    assert_eq!(lines.len(), 2, "{got:?}");
    assert_eq!(
        (lines[0].attribute("Max-Age"), lines[0].attribute("Path"), lines[0].attribute("Domain")),
        (Some("0"), Some("/"), None)
    );
    assert_eq!(
        (lines[1].attribute("Max-Age"), lines[1].attribute("Path"), lines[1].attribute("Domain")),
        (None, Some("/app"), Some("example.org"))
    );
    assert_eq!(lines[1].value, value, "the id stays");
    // From now on, everything about it has its own place.
    let removal = SetCookie::only(&ada.visit(ok().say("Destroy", "1")).got);
    assert_eq!((removal.attribute("Path"), removal.attribute("Domain")), (Some("/app"), Some("example.org")));
}

#[test]
fn two_policies_have_two_cookies() {
    let site = Site::new(TWO_POLICIES);
    let mut ada = site.browser();
    let got = ada.visit(ok().say("Set", "user=ada").with("X-Cart-Set", "item=7")).got;
    assert_eq!(got.set_cookies().len(), 2);
    let seen = ada.look();
    assert_eq!((seen.data(), seen.get("X-Cart-Data")), ("user=ada".into(), Some("item=7".into())));
    ada.visit(ok().with("X-Cart-Destroy", "1"));
    let seen = ada.look();
    assert_eq!((seen.data(), seen.get("X-Cart-State")), ("user=ada".into(), Some("none".into())));
}
