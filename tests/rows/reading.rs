//! R: finding a session and reading it.

use crate::backends::BACKENDS;
use crate::page::page;
use crate::place::{Place, World, everywhere, policy, problems};
use crate::support::client::{Jar, get, post};
use serde_json::Value;
use std::fs;
use std::path::Path;

// R1
#[test]
fn the_cookie_leads_to_the_session() {
    policy("").in_cookies_too().everywhere(|place| {
        let (mut ada, mut bob) = (place.visitor_who_set("name", "Ada"), place.visitor_who_set("name", "Bob"));
        assert_eq!(ada.look().key("name"), Some("Ada"));
        assert_eq!(bob.look().key("name"), Some("Bob"));
        assert_eq!(place.visitor().look().data, [].into());
    });
}

// R2
#[test]
fn a_session_that_is_not_used_costs_nothing_and_a_route_may_have_none() {
    let world = World::of(policy(""));
    world.each(|place| {
        let before = world.in_redis();
        for asked in [page(), page().status(404), page().by("HEAD"), page().posted()] {
            place.visitor().visit(&asked).sets_no_cookie();
        }
        assert_eq!(world.in_redis(), before);
    });
    policy("").sessions("[]").everywhere(|place| {
        let mut ada = place.visitor();
        let visit = ada.visit(&page().set("a", "1"));
        assert_eq!(visit.sets_no_cookie().saw().header("State"), None);
    });
}

/// A second session beside that of the store.
const CART: &str = "[sessions.cart-@]\nstore = \"@\"\ncookie.name = \"cart-@\"\nheaders.prefix = \"X-Cart-\"\n";

// R3
#[test]
fn several_sessions_go_by_several_cookies() {
    policy("").tables(CART).sessions("[\"@\", \"cart-@\"]").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        let both = ada.visit(&page().set("name", "Ada").header("X-Cart-Set", "items=3"));
        assert_eq!(both.got.set_cookies().len(), 2);
        let saw = ada.look();
        assert_eq!((saw.key("name"), saw.key("items")), (Some("Ada"), None));
        assert_eq!((saw.field("X-Cart-Data"), saw.field("X-Cart-Version")), (Some("items=3"), Some("1")));
        // The one ends, the other stays.
        ada.visit(&page().header("X-Cart-Destroy", "1"));
        let saw = ada.look();
        assert_eq!((saw.key("name"), saw.field("X-Cart-State")), (Some("Ada"), Some("none")));
    });
}

// R4
#[test]
fn sessions_of_several_stores_meet_in_one_request() {
    let told = problems(
        "[sessions.a]\nstore = \"disk\"\ncookie.name = \"s\"\n[sessions.b]\nstore = \"memory\"\ncookie.name = \"s\"\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"a\"]\n",
    );
    assert!(told.contains("cookie"), "two sessions cannot share a cookie: {told}");
    let beside = "[sessions.cart-@]\nstore = \"cookie\"\ncookie.name = \"cart-@\"\nheaders.prefix = \"X-Cart-\"\n";
    policy("").tables(beside).sessions("[\"@\", \"cart-@\"]").everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().set("name", "Ada").header("X-Cart-Set", "items=3"));
        assert_eq!(ada.ticket().len(), 68, "this one lies in the store");
        let carried = ada.jar.value(&format!("cart-{}", place.store)).unwrap();
        assert!(carried.len() > 68, "and that one in the browser: {carried}");
        let saw = ada.look();
        assert_eq!((saw.key("name"), saw.field("X-Cart-Data")), (Some("Ada"), Some("items=3")));
    });
}

// R5
#[test]
fn a_page_can_tell_a_new_session_from_one_that_exists() {
    policy("headers.clocks = true").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        // `session.new`, in the request that makes it: there is none yet.
        let began = ada.visit(&page().set("a", "1"));
        assert_eq!((began.saw().state.as_str(), began.saw().header("Version")), ("none", None));
        // In the next one it is there, and this is its first version.
        let saw = ada.look();
        assert_eq!((saw.state.as_str(), saw.number("Version")), ("live", 1));
        ada.visit(&page().set("a", "2"));
        assert_eq!(ada.look().number("Version"), 2);
    });
}

/// One character of a text, changed within its alphabet.
fn tampered(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

// R6
#[test]
fn a_bad_signature_is_no_session_and_its_cookie_goes_with_the_answer() {
    policy("").in_cookies_too().everywhere(|place| {
        let ada = place.visitor_who_set("a", "1");
        let forged = tampered(&ada.ticket(), ada.ticket().len() - 9);
        let mut thief = place.visitor_with(&Jar(vec![(place.cookie_name(), forged)]));
        let visit = thief.visit(&page());
        assert_eq!((visit.saw().state.as_str(), visit.saw().key("a")), ("invalid", None));
        assert_eq!((visit.cookie().value.as_str(), visit.cookie().attribute("Max-Age")), ("", Some("0")));
        // The next request says so no more: nothing warns for ever.
        assert_eq!(thief.look().state, "none");
        assert_eq!(place.visitor_with(&ada.jar).look().key("a"), Some("1"));
    });
}

/// Spoils every record of a world; `false` where nobody can reach it.
fn spoil(world: &World, store: &str) -> bool {
    match store {
        "redis" => {
            for key in world.in_redis() {
                let length = match BACKENDS.redis.run(&["STRLEN", &key]) {
                    redis::Value::Int(length) => length,
                    other => panic!("{other:?}"),
                };
                BACKENDS.redis.run(&["SETRANGE", &key, &(length - 3).to_string(), "xyz"]);
            }
            true
        }
        "disk" => {
            let file = rusqlite::Connection::open(world.state_dir().join("sessions.db")).unwrap();
            let changed = file.execute("UPDATE sessions SET bytes = zeroblob(length(bytes))", []).unwrap();
            changed > 0
        }
        _ => false,
    }
}

// R7
#[test]
fn a_corrupt_record_is_no_session_and_the_next_one_has_a_new_id() {
    for store in ["redis", "disk"] {
        for language in ["php", "perl", "python", "node"] {
            let first = World::of(policy(""));
            let ada = first.place(language, store).visitor_who_set("a", "1").jar;
            assert!(spoil(&first, store));
            // Another process, which has nothing of it in memory; both have the key of the directory.
            let world = first.beside(policy(""));
            let place = world.place(language, store);
            let mut ada = place.visitor_with(&ada);
            let old = ada.ticket();
            let visit = ada.visit(&page().set("b", "2"));
            assert_eq!((visit.got.status(), visit.saw().state.as_str(), visit.saw().key("a")), (200, "expired", None));
            assert_ne!(ada.ticket(), old);
            assert_eq!(ada.look().key("b"), Some("2"));
        }
    }
}

// R8
#[test]
fn an_id_that_nobody_issued_is_never_adopted() {
    everywhere(|place| {
        for planted in ["0123456789abcdef0123456789abcdef01234567", "A".repeat(68).as_str()] {
            let mut ada = place.visitor_with(&Jar(vec![(place.cookie_name(), planted.into())]));
            assert_eq!(ada.visit(&page().set("a", "1")).saw().state, "invalid");
            assert_ne!(ada.ticket(), planted);
            assert_eq!(ada.look().key("a"), Some("1"));
        }
    });
}

// R9
#[test]
fn an_id_is_judged_byte_by_byte_before_a_store_is_asked() {
    everywhere(|place| {
        let ticket = place.visitor_who_set("a", "1").ticket();
        let odd = [
            format!("{ticket}A"),
            ticket[..67].to_owned(),
            ticket.to_uppercase(),
            format!("{}\u{e9}", &ticket[..67]),
            format!("{ticket}="),
            format!("../{}", &ticket[3..]),
            String::new(),
        ];
        for value in odd {
            let saw = place.visitor().visit(&page().with("Cookie", &format!("{}={value}", place.cookie_name())));
            assert_eq!(saw.saw().state, "invalid", "{value:?}");
        }
    });
}

// R10
#[test]
fn other_cookies_never_matter_and_of_several_the_one_that_verifies_counts() {
    everywhere(|place| {
        let ada = place.visitor_who_set("a", "1");
        let own = format!("{}={}", place.cookie_name(), ada.ticket());
        let forged = format!("{}={}", place.cookie_name(), "A".repeat(68));
        let cases = [
            (format!("null;{own}"), "null"),
            (format!("x=a b; {own}; y=2"), "x=a b; y=2"),
            (format!("x={{\"k\":\"v w\"}}; {own}"), "x={\"k\":\"v w\"}"),
            (format!("x[y]=1; {own}"), "x[y]=1"),
            (format!("{forged}; {own}"), ""),
            (format!("{own}; {forged}"), ""),
            (format!("a=1; {own}; theme=dark"), "a=1; theme=dark"),
        ];
        for (line, left) in cases {
            let visit = place.visitor().visit(&page().with("Cookie", &line));
            let saw = visit.saw();
            assert_eq!((saw.state.as_str(), saw.key("a")), ("live", Some("1")), "{line}");
            assert_eq!(saw.field("Cookie").unwrap_or_default(), left, "{line}");
        }
    });
}

/// What the admin socket answers.
fn asked(world: &World, path: &str) -> Value {
    let got = world.operator().ask(&get(path));
    serde_json::from_slice(&got.body).unwrap_or_else(|error| panic!("{path}: {error}: {got:?}"))
}

// R11
#[test]
fn an_operator_finds_a_session_by_its_name_and_ends_it() {
    let world = World::of(policy(""));
    world.each(|place| {
        let mut ada = place.visitor_who_set("card", "4111-1111");
        let reference = ada.look().header("Ref").unwrap().to_owned();
        let shown = asked(&world, &format!("/v1/sessions/{reference}"));
        assert_eq!(shown["sessions"][0]["policy"], place.store, "{shown}");
        assert!(!shown.to_string().contains("4111") && !shown.to_string().contains(&ada.ticket()), "{shown}");
        world.operator().ask(&post("/v1/revocations", format!(r#"{{"reference":"{reference}"}}"#)));
        assert_eq!(ada.look().state, "expired");
    });
}

// R12
#[test]
fn an_operator_lists_sessions_without_their_values() {
    let world = World::of(policy(""));
    world.each(|place| {
        let known = place.visitor_who_set("card", "4111-1111").look().header("Ref").unwrap().to_owned();
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let page = asked(&world, &format!("/v1/sessions?policy={}&limit=2{after}", place.store));
            assert!(!page.to_string().contains("4111"), "{page}");
            let sessions = page["sessions"].as_array().unwrap();
            found.extend(sessions.iter().map(|session| session["reference"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert!(found.contains(&known), "{found:?}");
    });
}

// R13
#[test]
fn a_page_is_told_when_the_session_began() {
    policy("headers.clocks = true").in_cookies_too().everywhere(|place| {
        let began = place.now();
        let mut ada = place.visitor_who_set("a", "1");
        place.pass(100);
        ada.visit(&page().set("a", "2").say("Regenerate", "1"));
        place.pass(100);
        assert_eq!(ada.look().number("Created"), began, "whatever was saved since");
    });
}

// R14
#[test]
fn a_page_is_told_when_the_session_was_in_use_before() {
    policy("headers.clocks = true\ntouch_interval = \"1s\"").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let first = place.now();
        place.pass(500);
        assert_eq!(ada.look().number("Accessed"), first, "the previous time, not this one");
        let second = place.now();
        place.pass(500);
        assert_eq!(ada.look().number("Accessed"), second);
    });
}

// R15
#[test]
fn a_page_gets_a_name_for_the_session_and_never_its_id() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let ticket = ada.ticket();
        let saw = ada.look();
        let name = saw.header("Ref").unwrap().to_owned();
        assert_eq!((name.len(), saw.field("Cookie")), (16, None));
        assert!(!format!("{saw:?}").contains(&ticket), "{saw:?}");
        let taken = place.visitor_with(&Jar(vec![(place.cookie_name(), name.clone())])).look();
        assert_eq!(taken.state, "invalid", "it opens nothing");
        ada.visit(&page().say("Regenerate", "1"));
        assert_eq!(ada.look().header("Ref"), Some(name.as_str()), "it stays when the id changes");
    });
}

// R16
#[test]
fn no_key_of_the_application_collides_with_what_we_note_ourselves() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("user", "root");
        ada.visit(
            &page().set("flashes", "1").set("created", "2").set("id", "3").set("Version", "4").flash("info", "5"),
        );
        let saw = ada.look();
        assert_eq!((saw.user.as_str(), saw.number("Version")), ("", 2));
        assert_eq!(saw.flashes, [("info".to_owned(), "5".to_owned())]);
        assert_eq!((saw.key("user"), saw.key("flashes"), saw.key("id")), (Some("root"), Some("1"), Some("3")));
        for reserved in ["_flash", "_id", "_creation_time"] {
            assert_eq!(ada.visit(&page().set(reserved, "1")).got.status(), 502, "{reserved}");
        }
    });
}

// R17
#[test]
fn a_page_may_say_that_this_was_no_use_of_the_session() {
    policy("idle_timeout = \"10m\"").everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        place.pass(540);
        assert_eq!(ada.visit(&page().say("Touch", "0")).saw().state, "live");
        place.pass(61);
        assert_eq!(ada.look().state, "expired");
    });
}

// R18
#[test]
fn an_active_session_does_not_live_for_ever() {
    policy("idle_timeout = \"30m\"\nabsolute_timeout = \"2h\"").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        for _ in 0..6 {
            place.pass(1200);
            assert_eq!(ada.look().state, "live");
        }
        place.pass(1);
        assert_eq!(ada.look().state, "expired");
    });
}

// R19
#[test]
fn a_session_lives_at_the_exact_moment_of_its_end_and_not_after() {
    policy("idle_timeout = \"10m\"").in_cookies_too().everywhere(|place| {
        let (mut ada, mut bob) = (place.visitor_who_set("a", "1"), place.visitor_who_set("a", "1"));
        place.pass(600);
        assert_eq!(ada.look().state, "live");
        place.pass_millis(1);
        assert_eq!(bob.look().state, "expired");
    });
}

// R20
#[test]
fn a_session_from_the_future_is_refused_beyond_a_small_skew() {
    World::of(policy("").in_cookies_too()).each(|place| {
        place.pass(3600);
        let mut ada = place.visitor_who_set("a", "1");
        place.back(300);
        assert_eq!(ada.twin().look().state, "live");
        place.back(1);
        let kept = ada.jar.clone();
        assert_eq!(ada.look().state, "expired");
        // It may be our own clock that was wrong: nothing was taken away.
        place.pass(301);
        assert_eq!(place.visitor_with(&kept).look().key("a"), Some("1"));
    });
}

// R21
#[test]
fn a_cookie_is_good_under_its_own_name_only() {
    policy("").tables(CART).sessions("[\"@\", \"cart-@\"]").in_cookies_too().everywhere(|place| {
        let ada = place.visitor_who_set("a", "1");
        let mut thief = place.visitor_with(&Jar(vec![(format!("cart-{}", place.store), ada.ticket())]));
        let saw = thief.look();
        assert_eq!((saw.field("X-Cart-State"), saw.field("X-Cart-Data")), (Some("invalid"), None));
    });
}

const OLD: &str =
    "[[keys]]\nid = \"old\"\nsecret = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\"\n";
const BOTH: &str = "[[keys]]\nid = \"new\"\nsecret = \"7e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83c7\"\n\
                    [[keys]]\nid = \"old\"\nsecret = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\"\n";
const NEW: &str =
    "[[keys]]\nid = \"new\"\nsecret = \"7e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83c7\"\n";

// R22
#[test]
fn keys_rotate_without_logging_anybody_out() {
    let before = World::of(policy("").once(OLD).in_cookies_too());
    // Sessions in memory end with their process, and so does every need for an old key.
    for store in ["disk", "redis", "cookie"] {
        for language in ["php", "perl", "python", "node"] {
            let old = before.place(language, store).visitor_who_set("a", "1").jar;
            let during = before.beside(policy("").once(BOTH).in_cookies_too());
            let place = during.place(language, store);
            let mut ada = place.visitor_with(&old);
            let visit = ada.visit(&page());
            assert_eq!(visit.saw().key("a"), Some("1"));
            assert_eq!(visit.got.set_cookies().len(), 1, "it is issued again, under the new key");
            let after = during.beside(policy("").once(NEW).in_cookies_too());
            let place = after.place(language, store);
            assert_eq!(place.visitor_with(&ada.jar).look().key("a"), Some("1"));
            assert_eq!(place.visitor_with(&old).look().state, "invalid");
        }
    }
}

// R23
#[test]
fn signatures_are_compared_in_constant_time() {
    // What time a comparison takes cannot be shown by a test that may not measure any: who compares is looked up.
    for file in ["ticket.rs", "token.rs", "csrf.rs"] {
        let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/codec").join(file)).unwrap();
        let compares =
            source.contains("verify_truncated_left(") || source.contains("verify_slice(") || source.contains(".open_");
        assert!(compares, "{file} leaves it to the HMAC or the cipher");
        assert!(!source.contains("finalize().into_bytes() =="), "{file} compares by itself");
    }
    let every_character = |place: &Place| {
        let ticket = place.visitor_who_set("a", "1").ticket();
        for at in (0..ticket.len()).step_by(5) {
            let jar = Jar(vec![(place.cookie_name(), tampered(&ticket, at))]);
            assert_eq!(place.visitor_with(&jar).look().state, "invalid", "at {at}");
        }
    };
    everywhere(every_character);
}
