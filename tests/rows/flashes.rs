//! F: messages for the next page.

use crate::page::{Page, page};
use crate::place::{everywhere, policy};
use crate::support::client::Jar;

fn pairs(flashes: &[(&str, &str)]) -> Vec<(String, String)> {
    flashes.iter().map(|(level, text)| ((*level).to_owned(), (*text).to_owned())).collect()
}

/// A look that consumes nothing.
fn peek() -> Page {
    page().with("Sec-Purpose", "prefetch")
}

// F1
#[test]
fn a_message_is_added_with_its_level() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().flash("success", "Saved: 100 % café & tea; 1=1").status(303));
        assert_eq!(ada.look().flashes, pairs(&[("success", "Saved: 100 % café & tea; 1=1")]));
    });
}

// F2
#[test]
fn a_message_is_gone_once_a_page_has_shown_it() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().flash("info", "hi").status(303));
        let hi = pairs(&[("info", "hi")]);
        let not_shown = [
            page().status(302),
            page().status(404),
            page().media("application/json"),
            page().with("X-Requested-With", "XMLHttpRequest"),
            page().with("Sec-Fetch-Dest", "image"),
            peek(),
            page().say("Flash-Keep", "1"),
        ];
        for asked in not_shown {
            assert_eq!(ada.visit(&asked).saw().flashes, hi, "{asked:?}");
        }
        assert_eq!(ada.look().flashes, hi);
        assert_eq!(ada.look().flashes, []);
    });
    policy("flash.consume = \"acknowledge\"").everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().flash("info", "hi"));
        assert_eq!(ada.look().flashes, pairs(&[("info", "hi")]));
        assert_eq!(ada.visit(&page().say("Flash-Read", "1")).saw().flashes, pairs(&[("info", "hi")]));
        assert_eq!(ada.look().flashes, []);
    });
}

// F3
#[test]
fn of_two_pages_at_the_same_time_one_shows_the_message() {
    everywhere(|place| {
        let mut ada = place.visitor();
        let hi = pairs(&[("info", "hi")]);
        ada.visit(&page().set("a", "1").flash("info", "hi").status(303));
        let first = ada.begin(page());
        assert_eq!(ada.look().flashes, []);
        assert_eq!(first.finish(&mut ada).saw().flashes, hi);
        assert_eq!(ada.look().flashes, []);
        // An answer that shows nothing gives it back.
        ada.visit(&page().flash("info", "hi").status(303));
        let first = ada.begin(page().status(302));
        assert_eq!(ada.look().flashes, []);
        assert_eq!(first.finish(&mut ada).saw().flashes, hi);
        assert_eq!(ada.look().flashes, hi);
    });
}

// F4
#[test]
fn a_level_is_a_field_of_its_own_and_may_repeat() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().flash("info", "one").flash("error", "two").flash("info", "three"));
        assert_eq!(ada.look().flashes, pairs(&[("info", "one"), ("error", "two"), ("info", "three")]));
    });
}

// F5
#[test]
fn to_look_for_messages_where_there_are_none_changes_nothing() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        assert_eq!(ada.visit(&page().say("Flash-Read", "1")).sets_no_cookie().saw().flashes, []);
        ada.visit(&page().set("a", "1"));
        ada.visit(&page().say("Flash-Read", "1")).sets_no_cookie();
        assert_eq!(ada.look().number("Version"), 1);
    });
}

// F6
#[test]
fn each_part_of_an_application_has_a_list_of_messages_of_its_own() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().set("a", "1").flash("info", "for all").say("Flash", "info=added;list=cart").status(303));
        let cart = page().showing("cart").say("Flash-Keep", "list=");
        assert_eq!(ada.visit(&cart).saw().flashes, pairs(&[("info", "added")]));
        assert_eq!(ada.visit(&cart).saw().flashes, []);
        assert_eq!(ada.visit(&page().showing("")).saw().flashes, pairs(&[("info", "for all")]));
        assert_eq!(ada.look().flashes, []);
    });
}

// F7
#[test]
fn messages_travel_with_the_session_wherever_it_is_kept() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let given = ada.visit(&page().flash("info", "hi")).got.set_cookies();
        assert_eq!(given.len(), usize::from(place.is_in_cookie()), "there is no cookie of their own");
        assert_eq!(ada.jar.0.len(), 1);
        assert_eq!(ada.look().flashes, pairs(&[("info", "hi")]));
    });
}

// F8
#[test]
fn all_messages_come_in_the_order_in_which_they_were_left() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        for text in ["one", "two", "three"] {
            ada.visit(&page().flash("info", text).status(303));
        }
        assert_eq!(ada.look().flashes, pairs(&[("info", "one"), ("info", "two"), ("info", "three")]));
    });
}

// F9
#[test]
fn a_message_has_title_life_and_fields_of_your_own() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().say("Flash", "error=Not%20saved;title=Oh%20no;life=5;field=e-mail"));
        let saw = ada.look();
        assert_eq!(saw.header("Flashes"), Some("error=Not%20saved;title=Oh%20no;life=5;field=e-mail"));
        assert_eq!(saw.flashes, pairs(&[("error", "Not saved")]));
        let fields = [("title", "Oh no"), ("life", "5"), ("field", "e-mail")];
        assert_eq!(saw.fields, [fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()]);
    });
}

// F11
#[test]
fn a_message_is_seen_from_the_next_request_on() {
    everywhere(|place| {
        let mut ada = place.visitor();
        assert_eq!(ada.visit(&page().flash("info", "first")).saw().flashes, []);
        assert_eq!(ada.visit(&page().flash("info", "second")).saw().flashes, pairs(&[("info", "first")]));
        assert_eq!(ada.look().flashes, pairs(&[("info", "second")]));
    });
}

// F12
#[test]
fn nobody_can_forge_a_message() {
    policy("").in_cookies_too().once("[stores.cookie]\ntype = \"cookie\"\nprotection = \"signed\"\n").everywhere(
        |place| {
            let mut ada = place.visitor();
            ada.visit(&page().flash("info", "pay at once"));
            let told = page().with("X-Session-Flashes", "info=pay%20me").with("X_Session_Flashes", "info=pay%20me");
            assert_eq!(ada.twin().visit(&told).saw().flashes, pairs(&[("info", "pay at once")]));
            let mut forged = ada.ticket().into_bytes();
            let middle = forged.len() / 2;
            forged[middle] = if forged[middle] == b'x' { b'y' } else { b'x' };
            let jar = Jar(vec![(place.cookie_name(), String::from_utf8(forged).unwrap())]);
            let saw = place.visitor_with(&jar).look();
            assert_eq!((saw.state.as_str(), saw.flashes.as_slice()), ("invalid", [].as_slice()));
        },
    );
}
