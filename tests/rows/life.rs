//! L: how a session begins, moves and ends.

use crate::page::page;
use crate::place::{World, everywhere, policy};
use crate::servers::{PATIENCE, until};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeSet;

// L1
#[test]
fn a_session_begins_with_a_change_and_never_with_a_look() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        for idle in ["Regenerate", "Touch", "Flash-Read", "Invalidate", "Destroy"] {
            ada.visit(&page().say(idle, "1")).sets_no_cookie();
        }
        ada.visit(&page().unset("a").say("Expire", "idle=60")).sets_no_cookie();
        assert_eq!(ada.look().state, "none");
        assert_eq!(ada.visit(&page().set("a", "1")).got.set_cookies().len(), 1);
    });
}

// L2
#[test]
fn an_id_is_random_and_its_store_does_not_know_it() {
    let world = World::of(policy(""));
    world.each(|place| {
        let mut ids = BTreeSet::new();
        for _ in 0..3 {
            let bytes = URL_SAFE_NO_PAD.decode(place.visitor_who_set("a", "1").ticket()).unwrap();
            let id = bytes[3..35].to_vec();
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            let encoded = URL_SAFE_NO_PAD.encode(&id);
            let stored = world.in_redis().concat();
            assert!(!stored.contains(&hex) && !stored.contains(&encoded), "it lies under a digest: {stored}");
            ids.insert(id);
        }
        assert_eq!(ids.len(), 3, "256 bits never repeat");
    });
}

// L3
#[test]
fn delete_ends_the_session_on_both_sides() {
    let world = World::of(policy(""));
    world.each(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let (old, before) = (ada.jar.clone(), world.in_redis().len());
        let gone = ada.visit(&page().destroy()).cookie();
        assert_eq!(
            (gone.value.as_str(), gone.attribute("Max-Age"), gone.attribute("Path")),
            ("", Some("0"), Some("/"))
        );
        assert_eq!(ada.look().state, "none");
        let thief = place.visitor_with(&old).look();
        assert_eq!((thief.state.as_str(), thief.key("a")), ("expired", None));
        if place.store == "redis" {
            assert_eq!(world.in_redis().len(), before - 1, "the record is gone");
        }
    });
}

// L4
#[test]
fn invalidate_begins_an_empty_session_under_a_new_id_and_ends_the_old_one() {
    everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().login("ada").set("a", "1"));
        let old = ada.jar.clone();
        ada.visit(&page().say("Invalidate", "1").set("b", "2"));
        let saw = ada.look();
        assert_eq!((saw.state.as_str(), saw.user.as_str(), saw.key("a"), saw.key("b")), ("live", "", None, Some("2")));
        let thief = place.visitor_with(&old).look();
        assert_eq!((thief.state.as_str(), thief.key("a"), thief.key("b")), ("expired", None, None));
    });
}

// L5
#[test]
fn a_new_id_keeps_the_data_and_the_old_one_is_good_for_a_short_grace() {
    World::of(policy("")).each(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let old = ada.jar.clone();
        assert_eq!(ada.visit(&page().say("Regenerate", "1")).got.set_cookies().len(), 1);
        assert_ne!(ada.jar.value(&place.cookie_name()), old.value(&place.cookie_name()));
        assert_eq!(ada.look().key("a"), Some("1"));
        // What the browser had under way before.
        place.pass(10);
        assert_eq!(place.visitor_with(&old).look().key("a"), Some("1"));
        place.pass(1);
        assert_eq!(place.visitor_with(&old).look().state, "expired");
        assert_eq!(ada.look().key("a"), Some("1"));
        // A login leaves no grace at all.
        let old = ada.jar.clone();
        ada.visit(&page().login("ada"));
        assert_eq!(place.visitor_with(&old).look().state, "expired");
        assert_eq!(ada.look().user, "ada");
    });
}

// L6
#[test]
fn a_page_chooses_when_its_session_ends_within_the_operators_limits() {
    policy("idle_timeout = \"30m\"\nabsolute_timeout = \"2h\"").in_cookies_too().everywhere(|place| {
        let (mut ada, mut bob) = (place.visitor(), place.visitor_who_set("a", "1"));
        ada.visit(&page().set("a", "1").say("Expire", "idle=120&absolute=300"));
        assert_eq!(ada.visit(&page().set("a", "2").say("Expire", "absolute=7201")).got.status(), 502);
        for _ in 0..3 {
            place.pass(100);
            assert_eq!(ada.look().state, "live");
        }
        place.pass(1);
        assert_eq!(ada.look().state, "expired");
        assert_eq!(bob.look().state, "live");
    });
}

// L7
#[test]
fn a_page_can_tell_that_the_session_was_begun_anew() {
    everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().login("ada").set("a", "1"));
        ada.visit(&page().set("a", "2"));
        let before = ada.look();
        ada.visit(&page().say("Invalidate", "1").set("b", "3"));
        let after = ada.look();
        assert_ne!(after.header("Ref"), before.header("Ref"), "another session");
        assert_eq!((before.number("Version"), after.number("Version")), (2, 1), "and this is its first version");
        ada.visit(&page().say("Regenerate", "1"));
        let renewed = ada.look();
        assert_eq!(
            (renewed.header("Ref"), renewed.number("Version")),
            (after.header("Ref"), 2),
            "the same, under a new id"
        );
    });
}

// L8
#[test]
fn a_session_that_timed_out_is_told_once_and_its_cookie_goes() {
    policy("idle_timeout = \"10m\"").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        place.pass(601);
        let visit = ada.visit(&page());
        assert_eq!((visit.saw().state.as_str(), visit.saw().key("a")), ("expired", None));
        assert_eq!(visit.cookie().attribute("Max-Age"), Some("0"));
        assert_eq!(ada.visit(&page()).sets_no_cookie().saw().state, "none");
    });
}

// L9
#[test]
fn what_has_ended_is_swept_away() {
    let world =
        World::of(policy("idle_timeout = \"10m\"").once("[stores.memory]\ntype = \"memory\"\nmax_entries = 4\n"));
    world.each(|place| drop(place.visitor_who_set("a", "1")));
    let file = rusqlite::Connection::open(world.state_dir().join("sessions.db")).unwrap();
    let count = || file.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(), 4);
    let full = world.place("php", "memory");
    assert_eq!(full.visitor().visit(&page().set("a", "1")).got.status(), 503, "a live session is never dropped");
    full.pass(601);
    assert!(until(PATIENCE, || count() == 0), "the proxy sweeps by itself");
    full.visitor_who_set("a", "1");
    // Redis has been told the time, see C25.
}

// L10
#[test]
fn a_session_that_was_emptied_ends() {
    policy("").in_cookies_too().everywhere(|place| {
        for empties in [page().unset("*"), page().unset("a"), page().say("Ttl", "a=0")] {
            let mut ada = place.visitor_who_set("a", "1");
            let old = ada.jar.clone();
            assert_eq!(ada.visit(&empties).cookie().attribute("Max-Age"), Some("0"), "{empties:?}");
            assert_eq!(ada.look().state, "none");
            if !place.is_in_cookie() {
                assert_eq!(place.visitor_with(&old).look().state, "expired");
            }
        }
        // Who has logged in stays so.
        let mut bob = place.visitor();
        bob.visit(&page().login("bob").set("a", "1"));
        bob.visit(&page().unset("*"));
        assert_eq!(bob.look().user, "bob");
    });
}

// L11
#[test]
fn all_sessions_of_a_user_end_together() {
    everywhere(|place| {
        let user = format!("ada-{}", place.cookie_name());
        let mut browsers: Vec<_> = (0..3).map(|_| place.visitor()).collect();
        for browser in &mut browsers {
            browser.visit(&page().login(&user));
        }
        let mut bob = place.visitor();
        bob.visit(&page().login("bob"));
        browsers[0].visit(&page().say("Destroy", "others"));
        assert_eq!(browsers[0].look().user, user);
        assert_eq!(browsers[1].look().state, "expired");
        browsers[1].visit(&page().login(&user));
        browsers[0].visit(&page().say("Destroy", "all"));
        assert_eq!(browsers[1].look().state, "expired");
        assert_eq!(browsers[2].look().state, "expired");
        assert_eq!(bob.look().user, "bob");
    });
}
