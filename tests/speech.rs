//! How a session is handed to a backend: forms, aliases, charsets, dialects, and no more than it takes.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use support::client::get;
use support::message::Message;
use support::upstream::ok;
use support::{Browser, Site};

fn speaking(headers: &str) -> Site {
    Site::new(&format!("[sessions.main]\nstore = \"memory\"\n[sessions.main.headers]\n{headers}\n"))
}

fn session<'s>(site: &'s Site, what: &str) -> Browser<'s> {
    let mut ada = site.browser();
    let got = ada.visit(ok().say("Set", what)).got;
    assert_eq!(got.status(), 200, "{got:?}");
    ada
}

/// The names under the prefix that carry data, and their values.
fn data(seen: &Message) -> Vec<(String, String)> {
    seen.fields().into_iter().filter(|(name, _)| name.starts_with("X-Session-Data")).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_data_is_forwarded_as_the_policy_says() {
    for (forward, expected) in [
        ("data", pairs(&[("X-Session-Data", "cart-id=3&user=a%20b")])),
        ("each", pairs(&[("X-Session-Data-cart-id", "3"), ("X-Session-Data-user", "a%20b")])),
        (
            "both",
            pairs(&[
                ("X-Session-Data-cart-id", "3"),
                ("X-Session-Data-user", "a%20b"),
                ("X-Session-Data", "cart-id=3&user=a%20b"),
            ]),
        ),
        ("none", Vec::new()),
    ] {
        let site = speaking(&format!("forward = \"{forward}\""));
        let seen = session(&site, "user=a%20b&cart-id=3").look();
        let mut found = data(&seen);
        let mut expected = expected;
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{forward}");
        assert_eq!(seen.told("State"), "live");
    }
}

#[test]
fn keys_that_a_backend_would_fold_into_one_are_sent_together_only() {
    // HI4
    let site = speaking("forward = \"each\"");
    let seen = session(&site, "a_b=1&a-b=2&c=3&C=4&d_e=5").look();
    assert_eq!(data(&seen), pairs(&[("X-Session-Data-d-e", "5")]));
    let mut omitted: Vec<_> = seen.told("Omitted").split(',').map(str::to_owned).collect();
    omitted.sort();
    assert_eq!(omitted, ["C", "a-b", "a_b", "c"]);
    let site = speaking("forward = \"both\"");
    let seen = session(&site, "a_b=1&a-b=2&d_e=5").look();
    assert_eq!((seen.data().as_str(), seen.told("Omitted").as_str()), ("a-b=2&a_b=1&d_e=5", ""));
}

#[test]
fn a_key_is_exposed_under_a_name_of_its_own() {
    let site = speaking(
        "forward = \"none\"\nexpose = { user = \"X-Remote-User\", name = { header = \"X-Name\", encoding = \"raw\" } }",
    );
    let seen = session(&site, "user=a%20b%C3%A9&name=Ada%20L.&secret=1").look();
    assert_eq!(seen.get("X-Remote-User").as_deref(), Some("a%20b%C3%A9"));
    assert_eq!(seen.get("X-Name").as_deref(), Some("Ada L."));
    assert!(!seen.mentions("secret"));
    let none = site.browser().look();
    assert!(!none.has("X-Remote-User") && !none.has("X-Name"));
}

#[test]
fn what_cannot_be_sent_raw_is_left_out_and_named() {
    // HI4, CWE-113
    let site = speaking("forward = \"none\"\nexpose = { v = { header = \"X-Raw\", encoding = \"raw\" } }");
    for value in ["%0D%0AX-Evil:%201", "a%0Ab", "a%00b", "caf%C3%A9", "%20a", "a%20", "a%09b", "%7F"] {
        let seen = session(&site, &format!("v={value}")).look();
        assert!(!seen.has("X-Raw") && !seen.has("X-Evil"), "{value}: {seen:?}");
        assert_eq!(seen.told("Omitted"), "v", "{value}");
    }
}

#[test]
fn no_value_breaks_a_header_in_any_form() {
    // HI4
    let site = speaking("forward = \"both\"\nexpose = { v = \"X-V\" }");
    let nasty = "%0D%0AX-Evil:%201%0D%0A%0D%0A%00%7F%80".replace("%80", "%C2%80");
    let seen = session(&site, &format!("v={nasty}")).look();
    assert!(!seen.has("X-Evil"), "{seen:?}");
    let encoded = "%0D%0AX-Evil%3A%201%0D%0A%0D%0A%00%7F%C2%80";
    assert_eq!(seen.get("X-V").as_deref(), Some(encoded));
    assert_eq!(seen.data(), format!("v={encoded}"));
    assert!(seen.head.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0x20..=0x7e)), "{seen:?}");
}

#[test]
fn a_header_that_the_backend_sends_anyway_sets_a_key() {
    let site = speaking("capture = { \"X-Auth-User\" = \"user\" }");
    let mut ada = site.browser();
    let got = ada.visit(ok().with("X-Auth-User", "Ada L.")).got;
    assert!(!got.has("X-Auth-User"), "{got:?}");
    assert_eq!(ada.look().data(), "user=Ada%20L.");
}

#[test]
fn text_is_in_the_charset_of_the_backend() {
    let policy = |charset: &str| {
        format!("[sessions.main]\nstore = \"disk\"\n[sessions.main.headers]\ncharset = \"{charset}\"\n")
    };
    let site = Site::new(&policy("windows-1252"));
    let mut ada = session(&site, "v=caf%E9%20%80");
    assert_eq!(ada.look().data(), "v=caf%E9%20%80");
    site.restart(&policy("utf-8"));
    assert_eq!(ada.look().data(), "v=caf%C3%A9%20%E2%82%AC");
    ada.visit(ok().say("Set", "w=%E6%97%A5%E6%9C%AC"));
    site.restart(&policy("shift_jis"));
    let seen = ada.look();
    assert_eq!((seen.data().as_str(), seen.told("Omitted").as_str()), ("w=%93%FA%96%7B", "v"));
    // What is no text in the charset is refused (HI5).
    assert_eq!(ada.visit(ok().say("Set", "x=%93")).got.status(), 502);
}

fn json(seen: &Message) -> serde_json::Value {
    let bytes = URL_SAFE_NO_PAD.decode(seen.data()).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn the_json_dialect_speaks_json_both_ways() {
    let site = speaking("dialect = \"json\"");
    let mut ada = session(&site, r#"{"user":"ad\u00e9","n":4,"tags":["a"],"o":{"x":1,"y":2}}"#);
    let expected = serde_json::json!({"user": "ad\u{e9}", "n": 4, "tags": ["a"], "o": {"x": 1, "y": 2}});
    assert_eq!(json(&ada.look()), expected);
    // A merge patch: `null` removes, objects are merged, everything else is put in place (RFC 7396).
    let patch = URL_SAFE_NO_PAD.encode(r#"{"n":null,"tags":"b","o":{"x":null,"z":3}}"#);
    ada.visit(ok().say("Set", patch));
    let expected = serde_json::json!({"user": "ad\u{e9}", "tags": "b", "o": {"y": 2, "z": 3}});
    assert_eq!(json(&ada.look()), expected);
    for bad in ["a=1", "[1]", "{", r#"{"a":1} x"#, r#"{"a.b":1}"#] {
        assert_eq!(ada.visit(ok().say("Set", bad)).got.status(), 502, "{bad}");
    }
    assert_eq!(json(&ada.look()), expected);
}

#[test]
fn the_mod_session_dialect_speaks_as_apache_does() {
    let site = speaking("dialect = \"mod_session\"");
    let mut ada = site.browser();
    let got = ada.visit(ok().with("X-Replace-Session", "user=ada&cart=3")).got;
    assert!(!got.has("X-Replace-Session"), "{got:?}");
    let seen = ada.look();
    assert_eq!(seen.get("Session").as_deref(), Some("cart=3&user=ada"));
    assert!(!seen.has("X-Session-Data"));
    // As Apache reads it: keys are set, a key without a value is removed, the others stay.
    ada.visit(ok().with("X-Replace-Session", "user=bob&cart=&lang=de"));
    assert_eq!(ada.look().get("Session").as_deref(), Some("lang=de&user=bob"));
    let spoofed = site.exchange(&get("/").with("Session", "user=SPOOF").with("X_Replace_Session", "SPOOF"), ok()).seen;
    assert!(!spoofed.mentions("SPOOF"), "{spoofed:?}");
}

/// What we added to a request, in bytes as the backend counts them.
fn injected(seen: &Message) -> usize {
    let ours = seen.fields().into_iter().filter(|(name, _)| name.starts_with("X-Session-"));
    ours.map(|(name, value)| name.len() + value.len() + 4).sum()
}

#[test]
fn no_request_is_made_larger_than_its_backend_takes() {
    // HI5, protocol 6.4
    for (profile, line, total) in
        [("generic", 3072, 3072), ("lighttpd", 4096, 4096), ("uwsgi", 1536, 1536), ("apache-cis", 960, 8192)]
    {
        for forward in ["data", "each", "both"] {
            let site = Site::new(&format!(
                "[sessions.main]\nstore = \"memory\"\n[sessions.main.headers]\nforward = \"{forward}\"\npriority = [\"z\", \"y\"]\n\
                 [upstreams.app]\nservers = [\"@app\"]\nprofile = \"{profile}\"\n"
            ));
            let mut ada = site.browser();
            for key in 'a'..='z' {
                ada.visit(ok().say("Set", format!("{key}={}", "x".repeat(300))));
            }
            let seen = ada.look();
            assert!(injected(&seen) <= total, "{profile} {forward}: {}", injected(&seen));
            let longest = seen.fields().iter().map(|(name, value)| name.len() + value.len() + 4).max();
            assert!(longest <= Some(line), "{profile} {forward}: {longest:?}");
            assert!(!seen.told("Omitted").is_empty(), "{profile} {forward}");
            assert_eq!((seen.told("State").as_str(), seen.told("Version").as_str()), ("live", "26"));
        }
    }
}

#[test]
fn the_least_important_keys_are_left_out_whole_and_named() {
    // protocol, 6.4
    let site = Site::new(
        "[sessions.main]\nstore = \"memory\"\n[sessions.main.headers]\npriority = [\"z\", \"m\"]\n\
         [upstreams.app]\nservers = [\"@app\"]\nprofile = \"lighttpd\"\n",
    );
    let mut ada = site.browser();
    let value = "v".repeat(1000);
    for key in ["a", "b", "m", "z"] {
        ada.visit(ok().say("Set", format!("{key}={value}")));
    }
    ada.visit(ok().say("Set", format!("large={}", "x".repeat(2049))));
    let seen = ada.look();
    let mut omitted: Vec<_> = seen.told("Omitted").split(',').map(str::to_owned).collect();
    omitted.sort();
    assert_eq!(omitted, ["b", "large"], "the largest alone is too large, `b` is the last without a priority");
    assert_eq!(seen.data(), format!("a={value}&m={value}&z={value}"));
    // What was left out is still there.
    ada.visit(ok().say("Unset", "a,m,z,large"));
    assert_eq!(ada.look().data(), format!("b={value}"));
}

#[test]
fn a_prefix_of_ones_own_serves_both_ways() {
    let site = speaking("prefix = \"My-App-\"");
    let mut ada = site.browser();
    let got = ada.visit(ok().with("My-App-Set", "a=1").say("Set", "b=2")).got;
    assert!(!got.has("My-App-Set"));
    assert_eq!(got.get("X-Session-Set").as_deref(), Some("b=2"), "a stranger's header now");
    let seen = ada.look();
    assert_eq!((seen.get("My-App-Data").as_deref(), seen.has("X-Session-State")), (Some("a=1"), false));
}

#[test]
fn every_key_has_one_line_however_often_it_was_set() {
    // HI3
    let site = speaking("forward = \"both\"");
    let mut ada = session(&site, "a=1");
    ada.visit(ok().say("Set", "a=2").say("Set", "a=3"));
    let seen = ada.look();
    let names: Vec<_> = seen.fields().into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(names.len(), unique.len(), "{seen:?}");
}
