//! The life of a session, as a browser and a backend see it: it begins, it changes, it ends.

mod support;

use support::Site;
use support::client::{SetCookie, ask, get, post};
use support::upstream::{Reply, ok, status};

/// The value is a ticket: unquoted, base64url without padding (CK4).
fn is_ticket(value: &str) -> bool {
    value.len() > 40 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn size_of(dir: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("a directory").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

#[test]
fn a_visitor_for_whom_nothing_is_stored_gets_no_cookie_and_costs_no_store() {
    // SL10
    let site = Site::new("[sessions.main]\nstore = \"disk\"\n");
    let before = size_of(&site.proxy.path("state"));
    for _ in 0..30 {
        let visit = site.browser().visit(ok());
        assert_eq!(visit.seen.told("State"), "none");
        let ours: Vec<_> = visit.seen.fields().into_iter().filter(|(name, _)| name.starts_with("X-Session-")).collect();
        assert_eq!(ours, [("X-Session-State".to_owned(), "none".to_owned())]);
        assert_eq!(visit.got.set_cookies(), [""; 0]);
        assert!(!visit.got.has("Cache-Control"), "{:?}", visit.got);
    }
    assert_eq!(size_of(&site.proxy.path("state")), before);
}

#[test]
fn a_session_begins_with_the_first_value_that_is_stored() {
    // CK1, CK4, CK7, CK8, CA1
    let site = Site::new("");
    let mut ada = site.browser();
    let got = ada.visit(ok().say("Set", "user=ada")).got;
    let cookie = SetCookie::only(&got);
    assert_eq!(cookie.name, "__Host-session");
    assert!(is_ticket(&cookie.value), "{cookie:?}");
    assert_eq!(cookie.attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
    assert_eq!(got.get("Cache-Control").as_deref(), Some("no-store"));
    assert!(!got.mentions("X-Session-"));
}

#[test]
fn the_next_request_carries_the_session_and_its_answer_no_cookie() {
    // CK9, CP6
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada%20l&cart=3&b=&A=%C3%A9"));
    let visit = ada.visit(ok());
    assert_eq!(visit.seen.told("State"), "live");
    assert_eq!(visit.seen.data(), "A=%C3%A9&b=&cart=3&user=ada%20l"); // sorted, space as %20
    assert_eq!(visit.seen.told("Version"), "1");
    assert_eq!(visit.seen.told("Ref").len(), 16);
    assert!(!visit.seen.has("Cookie"));
    assert_eq!(visit.got.set_cookies(), [""; 0]);
    let again = ada.look();
    assert_eq!((again.told("Version"), again.told("Ref")), ("1".into(), visit.seen.told("Ref")));
}

#[test]
fn the_reference_is_no_cookie() {
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada"));
    let reference = ada.look().told("Ref");
    let seen = site.exchange(&get("/").with("Cookie", format!("__Host-session={reference}")), ok()).seen;
    assert_eq!((seen.told("State"), seen.data()), ("invalid".into(), String::new()));
}

/// Sets `before`, answers with the commands, and checks the data afterwards.
#[track_caller]
fn check(site: &Site, before: &str, commands: &[(&str, &str)], after: &str) {
    let mut visitor = site.browser();
    visitor.visit(ok().say("Set", before));
    let reply = commands.iter().fold(ok(), |reply, (verb, value)| reply.say(verb, value));
    let got = visitor.visit(reply).got;
    assert_eq!(got.status(), 200, "{commands:?}: {got:?}");
    assert_eq!(visitor.look().data(), after, "{before} {commands:?}");
}

/// The data before, the commands, the data afterwards.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn every_verb_of_the_data_does_what_the_protocol_says() {
    let site = Site::new("");
    #[rustfmt::skip]
    let table: &[Row<'_>] = &[
        ("a=1",     &[("Set", "b=2")],                                          "a=1&b=2"),
        ("a=1",     &[("Set", "a=2")],                                          "a=2"),
        ("a=1",     &[("Set", "a=2&a=3")],                                      "a=3"),
        ("a=1",     &[("Set", "a=")],                                           "a="),
        ("a=1",     &[("Set", "b=1%2B1+x")],                                    "a=1&b=1%2B1%20x"),
        ("a=1",     &[("Init", "a=2&b=3")],                                     "a=1&b=3"),
        ("a=1&b=2", &[("Unset", "a")],                                          "b=2"),
        ("a=1&b=2", &[("Unset", "a,c")],                                        "b=2"),
        ("a=1&b=2", &[("Unset", "*")],                                          ""),
        ("a=1",     &[("Unset", "*"), ("Set", "b=2")],                          "b=2"),
        ("a=1",     &[("Unset", "a"), ("Set", "a=2")],                          "a=2"),
        ("a=1",     &[("Set", "a=2"), ("Unset", "a")],                          "a=2"),
        ("a=1&b=2", &[("Replace", "c=3")],                                      "c=3"),
        ("a=1&b=2", &[("Replace", "")],                                         ""),
        ("a=1",     &[("Replace", "b=1"), ("Init", "b=2&c=3"), ("Add", "b=5")], "b=6&c=3"),
        ("n=1",     &[("Add", "n=2&m=-3")],                                     "m=-3&n=3"),
        ("n=1",     &[("Add", "n=2&n=2")],                                      "n=5"),
        ("a=1",     &[("Push", "l=x&l=y")],                                     "a=1&l=%5B%22x%22%2C%22y%22%5D"),
        ("a=1&b=2", &[("Ttl", "a=0")],                                          "b=2"),
        ("a=1&b=2", &[("Ttl", "a=3600&c=5")],                                   "a=1&b=2"),
        ("a=1",     &[("Set", "a=2"), ("Revert", "1")],                         "a=1"),
        ("a=1",     &[("Revert", "1"), ("Destroy", "1")],                       "a=1"),
        ("a=1",     &[("If", "@version=1"), ("Set", "a=2")],                    "a=2"),
        ("a=1",     &[("If", "a=1,!b"), ("Set", "a=2")],                        "a=2"),
        ("a=1",     &[("Nonsense", "a=2")],                                     "a=1"),
    ];
    for (before, commands, after) in table {
        check(&site, before, commands, after);
    }
}

#[test]
fn a_repeated_header_and_a_joined_one_mean_the_same() {
    let site = Site::new("");
    for reply in [
        ok().say("Set", "a=1&b=2"),
        ok().say("Set", "a=1,b=2"),
        ok().say("Set", "a=1, b=2"),
        ok().say("Set", "a=1").say("Set", "b=2"),
        ok().with("x-session-set", "a=1").with("X-SESSION-SET", "b=2"),
    ] {
        let mut visitor = site.browser();
        visitor.visit(reply.clone());
        assert_eq!(visitor.look().data(), "a=1&b=2", "{reply:?}");
    }
}

#[test]
fn a_list_keeps_the_newest_items() {
    let site = Site::new("[sessions.main]\nstore = \"memory\"\nmax_list_items = 2\n");
    let mut ada = site.browser();
    for item in ["x", "y", "z"] {
        ada.visit(ok().say("Push", format!("l={item}")));
    }
    assert_eq!(ada.look().data(), "l=%5B%22y%22%2C%22z%22%5D");
}

#[test]
fn a_key_dies_by_itself() {
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "code=1234&user=ada").say("Ttl", "code=1"));
    support::eventually("the code is gone", || ada.look().data() == "user=ada");
}

#[test]
fn commands_count_on_every_final_status_below_500() {
    let site = Site::new("");
    for code in [200, 201, 204, 206, 301, 302, 303, 304, 400, 401, 403, 404, 410, 422, 429] {
        let mut visitor = site.browser();
        let got = visitor.visit(status(code).say("Set", "a=1")).got;
        assert_eq!((got.status(), got.set_cookies().len()), (code, 1), "{got:?}");
        assert_eq!(visitor.look().data(), "a=1", "{code}");
    }
    let mut visitor = site.browser();
    visitor.ask(&ask("HEAD", "/"), ok().say("Set", "a=1"));
    assert_eq!(visitor.look().data(), "a=1", "HEAD");
}

#[test]
fn commands_on_a_server_error_are_ignored_but_for_destroy() {
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    for code in [500, 502, 503] {
        let got = ada.visit(status(code).say("Set", "a=2").say("Login", "eve").say("Unset", "%%%")).got;
        assert_eq!((got.status(), got.set_cookies()), (code, vec![]), "{got:?}");
        assert_eq!(ada.look().data(), "a=1");
    }
    let got = ada.visit(status(500).say("Destroy", "1").say("Set", "a=2")).got;
    assert_eq!((got.status(), SetCookie::only(&got).attribute("Max-Age")), (500, Some("0")), "{got:?}");
    assert_eq!(ada.look().told("State"), "none");
}

#[test]
fn commands_on_a_server_error_count_where_the_policy_says_so() {
    let site = Site::new("[sessions.main]\nstore = \"memory\"\napply_on_error_status = true\n");
    let mut ada = site.browser();
    ada.visit(status(500).say("Set", "a=1"));
    assert_eq!(ada.look().data(), "a=1");
}

#[test]
fn informational_answers_are_passed_on_without_commands() {
    // CK9, HF17
    let site = Site::new("");
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-Session-Set: a=1\r\nX-Session-Login: eve\r\n\r\n";
    site.upstream.will([early.as_bytes(), &ok().bytes("GET")].concat().as_slice());
    let mut client = site.client();
    let got = client.ask(&get("/"));
    assert_eq!(got.set_cookies(), [""; 0]);
    assert_eq!(client.interim.len(), 1);
    assert_eq!(client.interim[0].get("Link").as_deref(), Some("</a.css>"));
    assert!(!client.interim[0].mentions("X-Session-") && !client.interim[0].has("Set-Cookie"));
}

#[test]
fn a_form_is_posted_and_its_body_arrives() {
    let site = Site::new("");
    let mut ada = site.browser();
    let visit = ada.ask(&post("/form?q=1", "name=ada"), status(303).with("Location", "/").say("Set", "user=ada"));
    assert_eq!(
        (visit.seen.first_line().as_str(), visit.seen.body_text().as_str()),
        ("POST /form?q=1 HTTP/1.1", "name=ada")
    );
    assert_eq!((visit.got.status(), visit.got.get("Location").as_deref()), (303, Some("/")));
    assert_eq!(ada.look().data(), "user=ada");
}

/// The old cookie, presented once more.
fn with_old_cookie(site: &Site, cookie: &str, reply: Reply) -> support::Visit {
    site.exchange(&get("/").with("Cookie", cookie), reply)
}

#[test]
fn login_binds_an_owner_to_a_new_id_and_kills_the_old_one_at_once() {
    // SL3, ASVS 7.2.4
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "cart=3"));
    let (old, reference) = (ada.cookie(), ada.look().told("Ref"));
    let got = ada.visit(status(302).say("Login", "ada%40example.org").say("Set", "role=admin")).got;
    assert!(is_ticket(&SetCookie::only(&got).value));
    assert_ne!(ada.cookie(), old);
    let seen = ada.look();
    assert_eq!((seen.told("User"), seen.data()), ("ada%40example.org".into(), "cart=3&role=admin".into()));
    assert_eq!(seen.told("Ref"), reference);
    let dead = with_old_cookie(&site, &old, ok().say("Set", "x=1"));
    assert_eq!((dead.seen.told("State"), dead.seen.data()), ("expired".into(), String::new()));
    assert!(dead.got.set_cookies().iter().all(|line| line.contains("Max-Age=0")), "{:?}", dead.got);
    assert_eq!(ada.look().data(), "cart=3&role=admin");
}

#[test]
fn a_login_needs_no_session_before_it() {
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let seen = ada.look();
    assert_eq!((seen.told("State"), seen.told("User"), seen.data()), ("live".into(), "ada".into(), String::new()));
}

#[test]
fn regenerating_gives_a_new_id_and_the_old_one_works_for_a_short_grace() {
    // SL3
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let old = ada.cookie();
    let got = ada.visit(ok().say("Regenerate", "1")).got;
    assert!(is_ticket(&SetCookie::only(&got).value));
    assert_ne!(ada.cookie(), old);
    assert_eq!(ada.look().data(), "a=1");
    let late = with_old_cookie(&site, &old, ok().say("Set", "late=1"));
    assert_eq!((late.seen.told("State"), late.seen.data()), ("live".into(), "a=1".into()));
    assert_eq!(ada.look().data(), "a=1&late=1");
}

#[test]
fn an_old_id_is_dead_when_its_grace_is_over() {
    // SL3
    let site = Site::new("[sessions.main]\nstore = \"memory\"\nregenerate_grace = \"1s\"\n");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let old = ada.cookie();
    ada.visit(ok().say("Regenerate", "1"));
    support::eventually("the grace ends", || with_old_cookie(&site, &old, ok()).seen.told("State") == "expired");
    assert_eq!(ada.look().data(), "a=1");
}

#[test]
fn destroy_ends_the_session_and_removes_its_cookie() {
    // CK6, CA1
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let old = ada.cookie();
    let got = ada.visit(ok().say("Destroy", "1").say("Set", "b=1")).got;
    let removal = SetCookie::only(&got);
    assert_eq!((removal.name.as_str(), removal.value.as_str()), ("__Host-session", ""));
    let expected =
        ["Expires=Thu, 01 Jan 1970 00:00:00 GMT", "HttpOnly", "Max-Age=0", "Path=/", "SameSite=Lax", "Secure"];
    assert_eq!(removal.attributes, expected);
    assert_eq!(got.get("Cache-Control").as_deref(), Some("no-store"));
    let dead = with_old_cookie(&site, &old, ok());
    assert_eq!((dead.seen.told("State"), dead.seen.data()), ("expired".into(), String::new()));
    assert_eq!(SetCookie::only(&dead.got), removal); // SL11
}

#[test]
fn a_farewell_message_survives_destroy_in_a_fresh_session() {
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1").say("Login", "ada"));
    let (old, reference) = (ada.cookie(), ada.look().told("Ref"));
    ada.visit(status(302).say("Destroy", "1").say("Flash", "info=Bye").say("Set", "b=2"));
    assert_ne!(ada.cookie(), old);
    let seen = ada.look();
    assert_eq!(
        (seen.told("Flashes"), seen.data(), seen.told("User")),
        ("info=Bye".into(), String::new(), String::new())
    );
    assert_ne!(seen.told("Ref"), reference);
    assert_eq!(with_old_cookie(&site, &old, ok()).seen.told("State"), "expired");
}

/// Three browsers logged in as ada, and one as bob; says `scope` in the first and shows who is still live.
fn live_after(store: &str, scope: &str) -> [bool; 4] {
    let site = Site::new(&format!("[sessions.main]\nstore = \"{store}\"\n"));
    let mut all = ["ada", "ada", "ada", "bob"].map(|owner| {
        let mut browser = site.browser();
        browser.visit(ok().say("Login", owner).say("Set", "a=1"));
        browser
    });
    let cookies = [0, 1, 2, 3].map(|index: usize| all[index].cookie());
    all[0].visit(ok().say("Destroy", scope));
    cookies.map(|cookie| with_old_cookie(&site, &cookie, ok()).seen.told("State") == "live")
}

#[test]
fn destroy_reaches_the_other_sessions_of_the_same_owner() {
    // SL6, ASVS 7.4.3
    for store in ["memory", "disk"] {
        assert_eq!(live_after(store, "1"), [false, true, true, true], "{store}");
        assert_eq!(live_after(store, "others"), [true, false, false, true], "{store}");
        assert_eq!(live_after(store, "all"), [false, false, false, true], "{store}");
    }
}

#[test]
fn a_login_may_end_the_owners_other_sessions_at_once() {
    // ASVS 7.4.3: "log me in here and out everywhere else"
    let site = Site::new("");
    let mut others = ["ada", "bob"].map(|owner| {
        let mut browser = site.browser();
        browser.visit(ok().say("Login", owner));
        browser
    });
    for before in [None, Some("cart=3")] {
        let mut ada = site.browser();
        if let Some(cart) = before {
            ada.visit(ok().say("Set", cart));
        }
        ada.visit(ok().say("Login", "ada").say("Destroy", "others"));
        let seen = ada.look();
        assert_eq!((seen.told("User"), seen.data()), ("ada".into(), before.unwrap_or_default().into()));
        assert_eq!(others.each_mut().map(|other| other.look().told("User")), ["", "bob"]);
        others[0] = ada;
    }
}

#[test]
fn invalidate_begins_an_empty_session_to_which_the_rest_applies() {
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1&b=2").say("Login", "ada"));
    let (old, reference) = (ada.cookie(), ada.look().told("Ref"));
    let got = ada.visit(ok().say("Invalidate", "1").say("Set", "c=3")).got;
    assert_eq!(got.set_cookies().len(), 1, "{got:?}"); // CK7
    let seen = ada.look();
    assert_eq!((seen.data(), seen.told("User")), ("c=3".into(), String::new()));
    assert_ne!(seen.told("Ref"), reference);
    assert_eq!(with_old_cookie(&site, &old, ok()).seen.told("State"), "expired");
}

#[test]
fn nothing_but_a_message_outlives_destroy() {
    let site = Site::new("");
    for before in ["", "a=1"] {
        let mut ada = site.browser();
        ada.visit(ok().say("Set", before));
        let got = ada.visit(ok().say("Destroy", "1").say("Login", "eve").say("Set", "b=2").say("Invalidate", "1")).got;
        assert_eq!(got.status(), 200);
        assert_eq!(ada.look().told("State"), "none", "{before}");
    }
}
