//! Defects that a review found in what batches do to sessions, and in what backends are told of them.

mod support;

use std::thread;
use support::client::{SetCookie, get};
use support::message::Message;
use support::upstream::{Gate, Reply, ok, status};
use support::{Browser, Site, eventually};

fn store(name: &str) -> Site {
    Site::new(&format!("[sessions.main]\nstore = \"{name}\"\n"))
}

fn session<'s>(site: &'s Site, data: &str) -> Browser<'s> {
    let mut ada = site.browser();
    ada.visit(ok().say("Set", data));
    ada
}

/// The state of the session that a `Cookie` line leads to, and its data.
fn behind(site: &Site, cookie: &str) -> (String, String) {
    let seen = site.exchange(&get("/").with("Cookie", cookie), status(204)).seen;
    (seen.told("State"), seen.data())
}

#[test]
fn an_impossible_batch_of_one_policy_refuses_the_login_of_the_other() {
    // protocol, One response is one batch
    for (store, order) in
        [("memory", "\"main\", \"cart\""), ("memory", "\"cart\", \"main\""), ("disk", "\"main\", \"cart\"")]
    {
        let site = Site::new(&format!(
            "[sessions.main]\nstore = \"{store}\"\n\
             [sessions.cart]\nstore = \"{store}\"\ncookie = {{ name = \"__Host-cart\" }}\nheaders = {{ prefix = \"X-Cart-\" }}\n\
             [[routes]]\nupstream = \"app\"\nsessions = [{order}]\n"
        ));
        let mut ada = site.browser();
        ada.visit(ok().say("Set", "user=ada").with("X-Cart-Set", "item=tea"));
        let cookie = ada.cookie();
        for reply in [
            ok().say("Login", "ada").say("Set", "role=admin").with("X-Cart-Add", "item=1"),
            ok().say("Destroy", "1").with("X-Cart-Push", "item=1"),
            ok().say("Add", "user=1").with("X-Cart-Login", "ada"),
        ] {
            let got = ada.visit(reply.clone()).got;
            assert_eq!((got.status(), got.set_cookies()), (502, vec![]), "{store} {order} {reply:?}: {got:?}");
            let seen = site.exchange(&get("/").with("Cookie", &cookie), ok()).seen;
            let told = ["State", "Version", "User", "Data"].map(|name| seen.told(name));
            assert_eq!(told, ["live", "1", "", "user=ada"], "{store} {order} {reply:?}");
            let cart = ["State", "Version", "User", "Data"]
                .map(|name| seen.get(&format!("X-Cart-{name}")).unwrap_or_default());
            assert_eq!(cart, ["live", "1", "", "item=tea"], "{store} {order} {reply:?}");
        }
    }
}

#[test]
fn a_route_with_few_keys_asks_about_no_others_and_ends_no_session() {
    // protocol, Rights; HI8
    let site = Site::new(
        "[[routes]]\npath = \"/shop/*\"\nupstream = \"app\"\n\
         sessions = [{ use = \"main\", read = [\"cart\", \"lang\"], write = [\"cart\"] }]\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n",
    );
    let mut ada = session(&site, "user=ada&cart=3&lang=de");
    let shop = get("/shop/");
    for (verb, value) in [
        ("If", "user=ada"),
        ("If", "user=eve"),
        ("If", "!user"),
        ("If", "!nothing"),
        ("If", "cart=3&!user"),
        ("Invalidate", "1"),
        ("Destroy", "1"),
        ("Destroy", "others"),
        ("Destroy", "all"),
        ("Login", "ada"),
    ] {
        let got = ada.ask(&shop, ok().say(verb, value).say("Set", "cart=4")).got;
        assert_eq!((got.status(), got.set_cookies()), (502, vec![]), "{verb} {value}: {got:?}");
        let seen = ada.look();
        let told = ["State", "Version", "User", "Data"].map(|name| seen.told(name));
        assert_eq!(told, ["live", "1", "", "cart=3&lang=de&user=ada"], "{verb} {value}");
    }
    for (condition, expected) in [("cart=3&lang=de", 200), ("lang=en", 409), ("@version=2", 200)] {
        let got = ada.ask(&shop, ok().say("If", condition).say("Set", "cart=4")).got;
        assert_eq!(got.status(), expected, "{condition}");
    }
}

#[test]
fn what_one_person_left_is_not_handed_to_the_next() {
    // protocol, Login, logout and ids
    for kind in ["memory", "disk", "cookie"] {
        for (user, data, flashes) in [("eve", "lang=de", ""), ("ada", "cart=3&lang=de", "info=hi")] {
            let site = store(kind);
            let mut ada = site.browser();
            ada.visit(ok().say("Login", "ada").say("Set", "cart=3").say("Flash", "info=hi"));
            let old = ada.cookie();
            // A redirection consumes no message.
            let before = ada.visit(status(302).say("Login", user).say("Set", "lang=de")).seen;
            assert_eq!((before.told("User"), before.told("Flashes")), ("ada".into(), "info=hi".into()));
            let seen = ada.look();
            let told = ["State", "User", "Data", "Flashes"].map(|name| seen.told(name));
            assert_eq!(told, ["live", user, data, flashes], "{kind}");
            assert_eq!(seen.told("Ref") == before.told("Ref"), user == "ada", "{kind} {user}");
            if kind != "cookie" {
                assert_eq!(behind(&site, &old), ("expired".into(), String::new()), "{kind} {user}");
            }
        }
    }
}

#[test]
fn a_login_names_one_user() {
    // protocol, Grammar
    let site = Site::new("");
    let mut ada = session(&site, "a=1");
    for reply in [
        ok().say("Login", "ada,eve"),
        ok().say("Login", "ada, eve"),
        ok().say("Login", "ada&eve"),
        ok().say("Login", "ada").say("Login", "eve"),
    ] {
        let got = ada.visit(reply.clone()).got;
        assert_eq!((got.status(), got.set_cookies()), (502, vec![]), "{reply:?}: {got:?}");
        let stranger = site.browser().visit(reply.clone()).got;
        assert_eq!((stranger.status(), stranger.set_cookies()), (502, vec![]), "{reply:?}");
        assert_eq!((ada.look().told("Version"), ada.look().told("User")), ("1".into(), String::new()), "{reply:?}");
    }
    ada.visit(ok().say("Login", "ada%2Ceve"));
    assert_eq!(ada.look().told("User"), "ada%2Ceve");
}

#[test]
fn a_message_beyond_the_backends_line_stands_in_no_others_way() {
    // protocol, Flash messages; 6.4
    let site = Site::new("");
    let mut ada = session(&site, "a=1");
    ada.visit(status(302).say("Flash", "info=first"));
    // 1.5 KiB of text, and 4.5 KiB as it travels: more than a line of the profile `generic`.
    ada.visit(status(302).say("Flash", format!("info={}", "%20".repeat(1500))));
    let got = ada.visit(status(302).say("Flash", "info=later")).got;
    assert_eq!(got.status(), 302);
    let seen = ada.visit(ok()).seen;
    assert_eq!((seen.told("Flashes"), seen.data()), ("info=first&info=later".into(), "a=1".into()));
    assert!(seen.told("Omitted").split(',').any(|name| name.trim() == "Flashes"), "{seen:?}");
    ada.visit(status(302).say("Flash", "info=last"));
    assert_eq!(ada.look().told("Flashes"), "info=last");
}

#[test]
fn on_a_failed_answer_a_session_ends_whatever_else_cannot_be_read() {
    // protocol, Response commands
    for kind in ["memory", "disk"] {
        let site = store(kind);
        for (verb, value) in [("Set", "a=%"), ("Login", "a,b"), ("Add", "user=x"), ("Cookie", "path=/other")] {
            let mut ada = session(&site, "user=ada");
            let old = ada.cookie();
            let got = ada.visit(status(500).say("Destroy", "1").say(verb, value)).got;
            assert_eq!((got.status(), got.body_text().as_str()), (500, "<p>hello</p>"), "{kind} {verb}");
            assert_eq!(ada.jar.line(), None, "{kind} {verb}: the cookie is removed");
            assert_eq!(behind(&site, &old).0, "expired", "{kind} {verb}");
        }
    }
}

#[test]
fn on_a_failed_answer_a_condition_still_protects_the_session() {
    // protocol, Conditions
    let site = Site::new("");
    for condition in ["@version=9", "user=eve", "!user"] {
        let failed = || status(500).say("Destroy", "1").say("If", condition);
        for reply in [failed(), failed().say("Set", "a=1"), failed().say("Set", "a=%")] {
            let mut ada = session(&site, "user=ada");
            let got = ada.visit(reply.clone()).got;
            assert!(got.status() >= 400 && got.set_cookies().is_empty(), "{reply:?}: {got:?}");
            assert_eq!(behind(&site, &ada.cookie()), ("live".into(), "user=ada".into()), "{reply:?}");
        }
    }
    let mut ada = session(&site, "user=ada");
    let old = ada.cookie();
    ada.visit(status(500).say("Destroy", "1").say("If", "user=ada"));
    assert_eq!(behind(&site, &old).0, "expired", "a condition that holds");
}

#[test]
fn many_policies_stay_within_the_budget_together() {
    // protocol, 6.4
    const POLICIES: usize = 6;
    let prefixes: Vec<_> = (0..POLICIES).map(|n| format!("X-P{n}-")).collect();
    for forward in ["data", "each", "both"] {
        let policies: String = (0..POLICIES)
            .map(|n| {
                format!(
                    "[sessions.p{n}]\nstore = \"memory\"\ncookie = {{ name = \"__Host-p{n}\" }}\n\
                     headers = {{ prefix = \"X-P{n}-\", forward = \"{forward}\", clocks = true }}\n"
                )
            })
            .collect();
        let names: Vec<_> = (0..POLICIES).map(|n| format!("\"p{n}\"")).collect();
        let site = Site::new(&format!("{policies}[[routes]]\nupstream = \"app\"\nsessions = [{}]\n", names.join(", ")));
        for (keys, length) in [(1, 1000), (4, 400), (40, 20), (100, 1)] {
            let data: Vec<_> = (0..keys).map(|n| format!("some-longer-key-{n}={}", "x".repeat(length))).collect();
            let fill = |reply: Reply, prefix: &String| {
                let reply = reply.with(&format!("{prefix}Set"), data.join("&"));
                let reply = reply.with(&format!("{prefix}Flash"), format!("info={}", "y".repeat(length)));
                reply.with(&format!("{prefix}Login"), "u".repeat(200))
            };
            let mut ada = site.browser();
            assert_eq!(ada.visit(prefixes.iter().fold(ok(), fill)).got.status(), 200);
            let seen = ada.look();
            let ours = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
            let sent: Vec<_> = seen.fields().into_iter().filter(|(name, _)| ours(name)).collect();
            let bytes: usize = sent.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
            let case = format!("{forward}, {keys} keys of {length} bytes");
            assert!(sent.len() <= 32 && bytes <= 3072, "{case}: {} fields, {bytes} bytes: {seen:?}", sent.len());
            for prefix in &prefixes {
                assert_eq!(seen.get(&format!("{prefix}State")).as_deref(), Some("live"), "{case}: {seen:?}");
            }
        }
    }
}

#[test]
fn the_log_of_a_refused_batch_holds_no_part_of_a_value() {
    // LG1
    let site = Site::new("");
    let mut ada = session(&site, "user=ada");
    for (verb, value) in [
        ("Set", "card=SecretA,SecretB SecretC=ok"),
        ("Set", "card=SecretA&SecretB.SecretC=ok"),
        ("Init", "card=SecretA,SecretB SecretC"),
        ("Replace", "card=SecretA,%SecretB=ok"),
        ("Push", "card=SecretA, SecretB SecretC=ok"),
        ("Add", "card=SecretA,SecretB SecretC=ok"),
        ("Flash", "info=SecretA,SecretB SecretC=ok"),
        ("Flash", "info=SecretA;SecretB SecretC=ok"),
        ("If", "card=SecretA,SecretB SecretC=ok"),
        ("Login", "SecretA,SecretB SecretC"),
        ("Set", "card=4111,1111 2222 3333=ok"),
    ] {
        let before = site.proxy.log().len();
        assert_eq!(ada.visit(ok().say(verb, value)).got.status(), 502, "{verb} {value}");
        eventually("the refusal is logged", || {
            site.proxy.log()[before..].iter().any(|line| line.contains("\"reason\":"))
        });
        let log = site.proxy.log()[before..].join("\n");
        // Digits alone could be those of a port or of the time.
        let told = ["Secret", "4111,", "1111 2222", "2222 3333", "3333=ok"].iter().find(|part| log.contains(*part));
        assert_eq!(told, None, "{verb} {value}: {log}");
    }
}

#[test]
fn whichever_of_two_new_ids_the_browser_keeps_leads_to_the_session() {
    // SL3
    for kind in ["memory", "disk"] {
        let both = Gate::for_many(2);
        let config = format!("[sessions.main]\nstore = \"{kind}\"\nregenerate_grace = \"1s\"\n");
        let site = Site::answering(&config, move |request: &Message| {
            if request.target() == "/renew" {
                both.pass(); // so that each was sent with the same old id
                return ok().say("Regenerate", "1");
            }
            status(204)
        });
        let old = session(&site, "user=ada").cookie();
        let renew = || {
            let got = site.fetch(&get("/renew").with("Cookie", &old));
            assert_eq!(got.status(), 200);
            got.set_cookies()
        };
        let lines = thread::scope(|scope| {
            let sent = [scope.spawn(renew), scope.spawn(renew)];
            sent.map(|sent| sent.join().expect("an answer")).concat()
        });
        assert!(!lines.is_empty(), "{kind}");
        eventually("the grace is over", || behind(&site, &old).0 == "expired");
        for line in &lines {
            let kept = SetCookie::parse(line);
            let cookie = format!("{}={}", kept.name, kept.value);
            assert_eq!(behind(&site, &cookie), ("live".into(), "user=ada".into()), "{kind}: {line} of {lines:?}");
        }
    }
}
