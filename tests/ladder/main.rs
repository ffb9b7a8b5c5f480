//! A store cannot answer: what each route of the ladder makes of it, and that nobody is logged in, logged out or changed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod changes;
mod fickle;
mod place;
#[path = "../support/mod.rs"]
mod support;

use cloakroom::manager::OnOutage;
use fickle::{LIMIT, Trouble};
use place::{Place, Visitor};
use std::time::{Duration, Instant};
use support::message::Message;
use support::upstream::{ok, status};

const MINUTE: Duration = Duration::from_secs(60);

/// One policy, and a route for each rung; idle after 30 minutes, over after 60.
const CONFIG: &str = r#"
[stores.far]
type = "disk"
[sessions.main]
store = "far"
absolute_timeout = "60m"
flash.consume = "always"
[[routes]]
path = "/error/*"
upstream = "app"
sessions = ["main"]
[[routes]]
path = "/cached/*"
upstream = "app"
sessions = ["main"]
store_unavailable = "cached"
[[routes]]
path = "/anonymous/*"
upstream = "app"
sessions = ["main"]
store_unavailable = "anonymous"
[[routes]]
path = "/members/cached"
upstream = "app"
sessions = ["main"]
require = "main"
on_missing = { redirect = "/login" }
store_unavailable = "cached"
[[routes]]
path = "/members/anonymous"
upstream = "app"
sessions = ["main"]
require = "main"
on_missing = { redirect = "/login" }
store_unavailable = "anonymous"
"#;

const OUTAGES: [Trouble; 3] = [Trouble::Gone, Trouble::Cut, Trouble::Frozen];

/// A visitor who is logged in, with data and a message that waits.
fn ada(place: &Place) -> Visitor<'_> {
    let mut ada = place.visitor();
    ada.visit("/error/", ok().say("Login", "ada").say("Set", "a=1").say("Flash", "info=Hi"));
    place.store("far").calls();
    ada
}

/// State, user, data and messages, as the backend is told.
fn told(seen: &Message) -> String {
    ["State", "User", "Data", "Flashes"]
        .map(|name| seen.get(&format!("X-Session-{name}")).unwrap_or_default())
        .join(" ")
}

/// An error that says nothing of the session: neither logged out nor anonymous.
fn is_withheld(got: &Message) -> bool {
    got.status() == 503 && got.has("Retry-After") && got.set_cookies().is_empty() && !got.body_text().contains("hello")
}

#[test]
fn each_route_goes_as_far_as_its_rung() {
    // LG5
    let place = Place::new(CONFIG);
    for outage in OUTAGES {
        let mut ada = ada(&place);
        let cookie = ada.cookie();
        place.store("far").meets(outage);
        assert!(is_withheld(&ada.is_turned_away("/error/")), "{outage:?}");
        assert_eq!(told(&ada.look("/cached/")), "degraded ada a=1 info=Hi", "{outage:?}");
        assert_eq!(told(&ada.look("/anonymous/")), "degraded   ", "{outage:?}");
        place.store("far").meets(Trouble::None);
        assert_eq!(told(&ada.look("/error/")), "live ada a=1 info=Hi", "{outage:?}: what was shown is not consumed");
        assert_eq!(ada.cookie(), cookie, "{outage:?}");
    }
}

#[test]
fn held_cookies_go_as_far_as_their_session() {
    let rule = "[[routes.cookies]]\nname = \"id\"\naction = \"hold\"\n[[routes]]";
    let place =
        Place::new(&(CONFIG.replace("[[routes]]", rule).replacen(rule, "[[routes]]", 1) + &rule[..rule.len() - 10]));
    for outage in OUTAGES {
        let mut ada = place.visitor();
        ada.visit("/error/", ok().with("Set-Cookie", "id=1; Path=/"));
        place.store("far").meets(outage);
        assert_eq!(ada.look("/cached/").get("Cookie").as_deref(), Some("id=1"), "{outage:?}");
        assert_eq!(ada.look("/anonymous/").get("Cookie"), None, "{outage:?}");
        for path in ["/cached/", "/anonymous/"] {
            let got = ada.visit(path, ok().with("Set-Cookie", "id=2; Path=/")).got;
            assert!(is_withheld(&got), "{outage:?}: what cannot be kept is not said to be");
        }
        place.store("far").meets(Trouble::None);
        assert_eq!(ada.look("/error/").get("Cookie").as_deref(), Some("id=1"), "{outage:?}");
    }
}

#[test]
fn who_has_no_session_notices_no_outage_until_something_is_stored() {
    let place = Place::new(CONFIG);
    place.store("far").meets(Trouble::Gone);
    for path in ["/error/", "/cached/", "/anonymous/"] {
        let mut eve = place.visitor();
        place.store("far").calls();
        assert_eq!(told(&eve.look(path)), "none   ", "{path}");
        assert_eq!(place.store("far").calls(), 0, "{path}");
        assert!(is_withheld(&eve.visit(path, ok().say("Set", "a=1")).got), "{path}");
    }
    let forged = support::client::get("/cached/").with("Cookie", "__Host-session=forged");
    assert_eq!(told(&place.visitor().ask(&forged, ok()).seen), "invalid   ");
}

#[test]
fn a_copy_is_shown_with_everything_that_belongs_to_it() {
    let place = Place::new(CONFIG);
    let mut ada = ada(&place);
    let live = ada.visit("/error/", status(204).say("Flash-Keep", "1")).seen;
    place.store("far").meets(Trouble::Gone);
    let copy = ada.look("/cached/");
    for name in ["Version", "Ref", "User", "Data"] {
        assert_eq!(copy.told(name), live.told(name), "{name}");
    }
}

#[test]
fn without_a_copy_nobody_becomes_anonymous() {
    // LG5
    let place = Place::new(CONFIG);
    let mut ada = ada(&place);
    place.store("far").meets(Trouble::Gone);
    place.store("far").forgets();
    assert!(is_withheld(&ada.is_turned_away("/cached/")));
    assert!(is_withheld(&ada.is_turned_away("/members/cached")));
}

#[test]
fn a_copy_ends_by_the_clocks_of_its_session() {
    // SL4, SL5
    let place = Place::new(CONFIG);
    let mut idle = ada(&place);
    place.store("far").meets(Trouble::Gone);
    place.clock.advance(30 * MINUTE);
    assert_eq!(idle.look("/cached/").told("State"), "degraded", "it holds at the very moment");
    place.clock.advance(Duration::from_millis(1));
    assert!(is_withheld(&idle.is_turned_away("/cached/")), "a copy is not extended by being read");

    place.store("far").meets(Trouble::None);
    let mut active = ada(&place);
    for _ in 0..3 {
        place.clock.advance(20 * MINUTE);
        assert_eq!(active.look("/error/").told("State"), "live");
    }
    place.store("far").meets(Trouble::Gone);
    assert_eq!(active.look("/cached/").told("State"), "degraded");
    place.clock.advance(Duration::from_millis(1));
    assert!(is_withheld(&active.is_turned_away("/cached/")));
}

#[test]
fn an_older_id_leads_to_the_copy_under_the_newer_one() {
    let place = Place::new(CONFIG);
    let mut first = ada(&place);
    let mut late = place.visitor();
    late.keep_cookies_of(&first);
    first.visit("/error/", ok().say("Regenerate", "1").say("Set", "a=2"));
    assert_ne!(first.cookie(), late.cookie());
    place.store("far").meets(Trouble::Gone);
    assert_eq!(late.look("/cached/").data(), "a=2");
    place.clock.advance(Duration::from_secs(11));
    assert!(is_withheld(&late.is_turned_away("/cached/")), "the grace is over");
    assert_eq!(first.look("/cached/").data(), "a=2");
}

#[test]
fn who_logged_out_is_not_brought_back_by_an_outage() {
    let place = Place::new(CONFIG);
    let mut ada = ada(&place);
    let mut thief = place.visitor();
    thief.keep_cookies_of(&ada);
    ada.visit("/error/", ok().say("Login", "ada"));
    place.store("far").meets(Trouble::Gone);
    assert!(is_withheld(&thief.is_turned_away("/cached/")), "an id that a login has ended");
    place.store("far").meets(Trouble::None);
    let mut copy = place.visitor();
    copy.keep_cookies_of(&ada);
    ada.visit("/error/", ok().say("Destroy", "1"));
    place.store("far").meets(Trouble::Gone);
    assert!(is_withheld(&copy.is_turned_away("/cached/")));
}

#[test]
fn a_required_session_that_is_unknown_is_not_missing() {
    // LG5
    let place = Place::new(CONFIG);
    let mut ada = ada(&place);
    place.store("far").meets(Trouble::Gone);
    assert_eq!(told(&ada.look("/members/cached")), "degraded ada a=1 info=Hi", "a copy is what the operator chose");
    assert!(is_withheld(&ada.is_turned_away("/members/anonymous")));
    for path in ["/members/cached", "/members/anonymous"] {
        let got = place.visitor().is_turned_away(path);
        assert_eq!((got.status(), got.get("Location").as_deref()), (302, Some("/login")), "{path}: nobody came");
    }
}

#[test]
fn a_page_that_an_outage_made_is_for_one_visitor_only() {
    // CA2
    let place = Place::new(CONFIG);
    let mut ada = ada(&place);
    place.store("far").meets(Trouble::Gone);
    for path in ["/cached/", "/anonymous/"] {
        let got = ada.visit(path, ok().with("Cache-Control", "public, max-age=60")).got;
        assert_eq!(got.get("Cache-Control").as_deref(), Some("private, max-age=60"), "{path}");
    }
}

/// A second policy in the same store, on the same routes.
fn with_basket() -> String {
    CONFIG.replace("sessions = [\"main\"]", "sessions = [\"main\", \"basket\"]")
        + "[sessions.basket]\nstore = \"far\"\ncookie.name = \"__Host-basket\"\nheaders.prefix = \"X-Basket-\"\n"
}

#[test]
fn what_needs_no_store_is_told_in_an_outage_as_ever() {
    let place = Place::new(&with_basket());
    let mut ada = ada(&place);
    place.store("far").meets(Trouble::Gone);
    let states = |seen: &Message| (seen.told("State"), seen.get("X-Basket-State").unwrap());
    assert_eq!(states(&ada.look("/cached/")), ("degraded".into(), "none".into()));
    let line = format!("{}; __Host-basket=forged", ada.cookie().unwrap());
    for path in ["/cached/", "/anonymous/"] {
        let seen = place.visitor().ask(&support::client::get(path).with("Cookie", &line), ok()).seen;
        assert_eq!(states(&seen), ("degraded".into(), "invalid".into()), "{path}");
    }
}

#[test]
fn a_frozen_store_costs_each_request_its_limit_once() {
    // ST4
    let place = Place::new(&with_basket());
    let mut ada = ada(&place);
    ada.visit("/error/", ok().with("X-Basket-Set", "n=1"));
    place.store("far").meets(Trouble::Frozen);
    place.store("far").calls();
    for path in ["/error/", "/cached/", "/anonymous/"] {
        let start = Instant::now();
        let expected = if path == "/error/" { 503 } else { 200 };
        place.upstream.forget();
        assert_eq!(ada.fetch(path).status(), expected, "{path}");
        assert!(start.elapsed() >= LIMIT, "{path}");
        assert_eq!(place.store("far").calls(), 1, "{path}: whoever hangs is not asked twice");
    }
    let seen = ada.look("/cached/");
    assert_eq!((seen.data().as_str(), seen.get("X-Basket-Data").as_deref()), ("a=1", Some("n=1")));
}

/// Two policies in two stores, on one route.
const TWO: &str = r#"
[stores.far]
type = "disk"
[stores.near]
type = "disk"
path = "near.db"
[sessions.main]
store = "far"
[sessions.basket]
store = "near"
cookie.name = "__Host-basket"
headers.prefix = "X-Basket-"
[failure]
store_unavailable = "cached"
[[routes]]
path = "/error"
upstream = "app"
sessions = ["basket", "main"]
store_unavailable = "error"
[[routes]]
upstream = "app"
sessions = ["basket", "main"]
"#;

#[test]
fn of_several_sessions_each_is_known_or_not_for_itself() {
    let place = Place::new(TWO);
    let mut ada = place.visitor();
    ada.visit("/", ok().say("Login", "ada").with("X-Basket-Set", "n=1"));
    place.store("far").meets(Trouble::Gone);
    let seen = ada.visit("/", ok().with("X-Basket-Add", "n=1")).seen;
    assert_eq!((seen.told("State").as_str(), seen.get("X-Basket-State").as_deref()), ("degraded", Some("live")));
    assert_eq!(ada.look("/").get("X-Basket-Data").as_deref(), Some("n=2"), "the other session is written as ever");
    assert!(is_withheld(&ada.is_turned_away("/error")), "a route's own word counts");

    // One batch that may not be carried out withholds the page, and then nothing of it counts.
    let got = ada.visit("/", ok().say("Set", "a=1").with("X-Basket-Add", "n=1")).got;
    assert!(is_withheld(&got), "{got:?}");
    assert_eq!(ada.look("/").get("X-Basket-Data").as_deref(), Some("n=2"));
    place.store("far").meets(Trouble::None);
    assert_eq!(told(&ada.look("/")), "live ada  ");
}

#[tokio::test]
async fn a_copy_ends_by_the_clocks_of_today() {
    // SL5: somebody has shortened the absolute limit since the copy was made.
    let place = Place::new(CONFIG);
    let cookie = ada(&place).cookie().unwrap();
    place.clock.advance(10 * MINUTE);
    for (limit, expected) in [(10 * MINUTE, true), (9 * MINUTE, false)] {
        let manager = place.manager(|options| options.expiry.absolute = limit);
        let copy = place.stand_in(&manager, &cookie, OnOutage::Cached);
        assert_eq!(copy.is_some(), expected, "{limit:?}");
    }
}
