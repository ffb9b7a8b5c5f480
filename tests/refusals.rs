//! Batches that are refused: whole, with a reason, and with nothing changed.

mod support;

use support::upstream::{Reply, ok, status};
use support::{Browser, Site, eventually};

/// A reason, and commands that are refused for it.
fn table() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let one = |verb: &'static str, value: &str| vec![(verb, value.to_owned())];
    let many: Vec<_> = (0..129).map(|n| format!("k{n}=1")).collect();
    vec![
        ("escape", one("Set", "a=%")),
        ("escape", one("Set", "a=%4")),
        ("escape", one("Set", "a=%zz")),
        ("escape", one("Set", "a=b=c")),
        ("escape", one("Set", "a=b c")),
        ("escape", one("Set", "a=b\tc")),
        ("key", one("Set", "cart")),
        ("key", one("Set", "=1")),
        ("key", one("Set", "a.b=1")),
        ("key", one("Set", "a[]=1")),
        ("key", one("Set", "-a=1")),
        ("key", one("Set", "a=1&")),
        ("key", one("Set", &format!("{}=1", "k".repeat(65)))),
        ("key", one("Unset", "a.b")),
        ("key", one("Unset", "*,a.b")),
        ("key", one("Expire", "never=1")),
        ("charset", one("Set", "a=%FF")),
        ("charset", one("Set", "a=%C3")),
        ("limit", one("Set", &format!("a={}", "x".repeat(4097)))),
        ("limit", one("Set", &many.join("&"))),
        ("limit", one("Add", "max=1")),
        ("limit", one("Expire", "idle=999999")),
        ("type", one("Add", "user=1")),
        ("type", one("Add", "n=one")),
        ("type", one("Add", "n=9223372036854775808")),
        ("type", one("Push", "user=x")),
        ("type", one("Ttl", "user=-1")),
        ("type", one("Ttl", "user=1.5")),
        ("type", one("Login", "")),
        ("type", one("Login", "a%0Ab")),
        ("type", one("Regenerate", "yes")),
        ("type", one("Destroy", "everything")),
        ("type", one("Touch", "2")),
        ("type", one("If", "@version=new")),
        ("rights", one("Cookie", "path=/app")),
        ("type", vec![("Set", "a=1".into()), ("Add", "user=1".into())]),
        ("key", vec![("Login", "eve".into()), ("Destroy", "1".into()), ("Unset", "%".into())]),
    ]
}

fn reply(commands: &[(&str, String)]) -> Reply {
    commands.iter().fold(ok(), |reply, (verb, value)| reply.say(verb, value))
}

fn session<'s>(site: &'s Site, what: &str) -> Browser<'s> {
    let mut ada = site.browser();
    ada.visit(ok().say("Set", what));
    ada
}

#[test]
fn a_refused_batch_withholds_the_page_and_changes_nothing() {
    // protocol, 5.7
    let site = Site::new("");
    let mut ada = session(&site, "user=ada&max=9223372036854775807");
    for (reason, commands) in table() {
        let before = site.proxy.log().len();
        let got = ada.visit(reply(&commands)).got;
        assert_eq!((got.status(), got.set_cookies()), (502, vec![]), "{reason} {commands:?}");
        assert!(!got.body_text().contains("hello") && !got.mentions("session"), "{commands:?}: {got:?}");
        let seen = ada.look();
        assert_eq!(seen.told("Version"), "1", "{commands:?}");
        assert_eq!(seen.data(), "max=9223372036854775807&user=ada", "{commands:?}");
        let told = format!("\"reason\":\"{reason}\"");
        eventually(&format!("{reason} is logged for {commands:?}"), || {
            site.proxy.log()[before..].iter().any(|line| line.contains(&told))
        });
    }
    assert!(site.proxy.is_alive());
}

#[test]
fn a_refused_batch_is_told_to_the_backend_once_where_the_policy_says_so() {
    // protocol, 5.7
    let site = Site::new("[sessions.main]\nstore = \"memory\"\non_refused = \"deliver\"\n");
    let mut ada = session(&site, "user=ada&max=9223372036854775807");
    for (reason, commands) in table() {
        let got = ada.visit(reply(&commands)).got;
        assert_eq!((got.status(), got.body_text().as_str()), (200, "<p>hello</p>"), "{reason} {commands:?}");
        assert_eq!(got.set_cookies(), [""; 0], "{commands:?}");
        let seen = ada.look();
        assert_eq!(seen.told("Error"), reason, "{commands:?}");
        assert_eq!(seen.data(), "max=9223372036854775807&user=ada", "{commands:?}");
        assert!(!ada.look().has("X-Session-Error"), "{commands:?}");
    }
}

#[test]
fn a_refused_batch_begins_no_session() {
    // SL10
    for policy in ["error", "deliver"] {
        let site = Site::new(&format!("[sessions.main]\nstore = \"memory\"\non_refused = \"{policy}\"\n"));
        let got = site.browser().visit(ok().say("Set", "a=1&b=%")).got;
        assert_eq!((got.status(), got.set_cookies()), (if policy == "error" { 502 } else { 200 }, vec![]));
    }
}

#[test]
fn no_value_of_a_refused_batch_is_logged() {
    // LG1
    let site = Site::new("");
    let mut ada = session(&site, "word=SecretWord");
    for (verb, value) in [("Set", "a=SecretA%"), ("Add", "word=1"), ("If", "word=SecretB"), ("Login", "SecretC%00")] {
        ada.visit(ok().say(verb, value));
    }
    assert!(!site.proxy.has_logged("Secret"), "{:?}", site.proxy.log());
}

#[test]
fn commands_of_a_reader_are_refused() {
    // protocol, 6.3
    let site = Site::new(
        "[[routes]]\npath = \"/read\"\nupstream = \"app\"\nsessions = [{ use = \"main\", access = \"read\" }]\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n",
    );
    let mut ada = session(&site, "user=ada");
    let read = support::client::get("/read");
    assert_eq!(ada.ask(&read, ok()).seen.data(), "user=ada");
    for (verb, value) in [
        ("Set", "a=1"),
        ("Unset", "*"),
        ("Login", "eve"),
        ("Destroy", "1"),
        ("Destroy", "all"),
        ("Regenerate", "1"),
        ("Invalidate", "1"),
        ("Flash", "info=x"),
        ("Expire", "idle=60"),
    ] {
        let got = ada.ask(&read, ok().say(verb, value)).got;
        assert_eq!((got.status(), got.set_cookies()), (502, vec![]), "{verb}");
        assert_eq!(ada.look().told("Version"), "1", "{verb}");
    }
    // What the backend itself takes back is no command.
    assert_eq!(ada.ask(&read, ok().say("Set", "a=1").say("Revert", "1")).got.status(), 200);
    // On an error page only `Destroy` would count, and that is refused too.
    assert_eq!(ada.ask(&read, status(500).say("Set", "a=1")).got.status(), 500);
}

#[test]
fn a_route_sees_and_changes_its_own_keys_only() {
    // protocol, 6.3; HI8
    let site = Site::new(
        "[[routes]]\npath = \"/shop/*\"\nupstream = \"app\"\n\
         sessions = [{ use = \"main\", read = [\"lang\", \"cart\"], write = [\"cart\", \"coupon\"] }]\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n",
    );
    let shop = support::client::get("/shop/");
    let mut ada = session(&site, "lang=de&cart=3&user=ada");
    assert_eq!(ada.ask(&shop, ok()).seen.data(), "cart=3&lang=de");
    for (verb, value) in [
        ("Set", "user=eve"),
        ("Set", "cart=1&lang=en"),
        ("Init", "new=1"),
        ("Unset", "user"),
        ("Add", "points=1"),
        ("Push", "seen=1"),
        ("Ttl", "user=1"),
        ("Replace", "user=eve"),
    ] {
        let got = ada.ask(&shop, ok().say(verb, value)).got;
        assert_eq!(got.status(), 502, "{verb} {value}");
        assert_eq!(ada.look().data(), "cart=3&lang=de&user=ada", "{verb} {value}");
    }
    ada.ask(&shop, ok().say("Set", "cart=4&coupon=x"));
    assert_eq!(ada.look().data(), "cart=4&coupon=x&lang=de&user=ada");
    ada.ask(&shop, ok().say("Replace", "cart=5"));
    assert_eq!(ada.look().data(), "cart=5&lang=de&user=ada");
    ada.ask(&shop, ok().say("Unset", "*"));
    assert_eq!(ada.look().data(), "lang=de&user=ada");
}

const TWO: &str = r#"
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

#[test]
fn each_policy_of_a_route_has_its_own_batch() {
    let site = Site::new(TWO);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada").with("X-Cart-Set", "item=7"));
    ada.visit(ok().say("Set", "lang=de").with("X-Cart-Unset", "item"));
    let seen = ada.look();
    assert_eq!((seen.data(), seen.get("X-Cart-Data")), ("lang=de&user=ada".into(), None));
}

#[test]
fn a_batch_that_cannot_be_read_refuses_the_batches_of_the_other_policies_too() {
    let site = Site::new(TWO);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada").with("X-Cart-Set", "item=tea"));
    for reply in [ok().say("Set", "a=1").with("X-Cart-Set", "b=%"), ok().say("Set", "a=%").with("X-Cart-Set", "b=1")] {
        assert_eq!(ada.visit(reply).got.status(), 502);
        let seen = ada.look();
        assert_eq!((seen.data(), seen.get("X-Cart-Data")), ("user=ada".into(), Some("item=tea".into())));
    }
}

#[test]
fn rights_of_one_policy_are_judged_before_another_is_written() {
    let site = Site::new(&TWO.replace("\"cart\"]", "{ use = \"cart\", access = \"read\" }]"));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada"));
    let got = ada.visit(ok().say("Login", "ada").with("X-Cart-Set", "item=1")).got;
    assert_eq!((got.status(), got.set_cookies()), (502, vec![]));
    let seen = ada.look();
    assert_eq!((seen.told("Version"), seen.told("User")), ("1".into(), String::new()));
}

#[test]
fn a_batch_that_cannot_be_applied_costs_the_visitor_no_other_session() {
    // The login of one policy beside an impossible addition of the other: whatever is withheld, the visitor's browser and
    // the store must agree afterwards.
    let site = Site::new(TWO);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada").with("X-Cart-Set", "item=tea"));
    let got = ada.visit(ok().say("Login", "ada").with("X-Cart-Add", "item=1")).got;
    assert_eq!(got.status(), 502);
    let seen = ada.look();
    assert_eq!((seen.told("State").as_str(), seen.data().as_str()), ("live", "user=ada"));
    assert_eq!(seen.get("X-Cart-Data").as_deref(), Some("item=tea"));
}

#[test]
fn conditions_hold_or_the_whole_batch_is_refused_with_409() {
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "cart=3"));
    for condition in ["@version=2", "cart=4", "!cart", "@version=1&!cart", "user=ada"] {
        let got = ada.visit(ok().say("If", condition).say("Set", "cart=9").say("Login", "eve")).got;
        assert_eq!((got.status(), got.set_cookies()), (409, vec![]), "{condition}: {got:?}");
        assert!(!got.body_text().contains("hello"), "the page is withheld");
        let seen = ada.look();
        assert_eq!((seen.data(), seen.told("Version")), ("cart=3".into(), "1".into()), "{condition}");
    }
}

#[test]
fn conditions_on_a_visitor_without_a_session_are_decided_too() {
    let site = Site::new("");
    for (condition, expected) in
        [("!user", 200), ("@version=0", 200), ("@version=1", 409), ("user=ada", 409), ("!a&user=", 409)]
    {
        let got = site.browser().visit(ok().say("If", condition).say("Set", "a=1")).got;
        assert_eq!((got.status(), got.set_cookies().len()), (expected, usize::from(expected == 200)), "{condition}");
    }
}

#[test]
fn a_failed_condition_is_told_to_the_backend_where_the_policy_says_so() {
    let site = Site::new("[sessions.main]\nstore = \"memory\"\non_conflict = \"deliver\"\n");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "cart=3"));
    let got = ada.visit(ok().say("If", "cart=4").say("Set", "cart=9")).got;
    assert_eq!((got.status(), got.body_text().as_str()), (200, "<p>hello</p>"));
    let seen = ada.look();
    assert_eq!((seen.told("Error"), seen.data()), ("condition".into(), "cart=3".into()));
    assert_eq!(ada.look().told("Error"), "");
    // Every other refusal is still loud.
    assert_eq!(ada.visit(ok().say("Set", "a=%")).got.status(), 502);
}
