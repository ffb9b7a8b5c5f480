//! S: changing a session and saving it.

use crate::page::{at, page};
use crate::place::{Place, everywhere, policy};
use crate::support::client::SetCookie;
use crate::support::eventually;
use serde_json::Value;

// S1
#[test]
fn keys_are_set_read_deleted_and_emptied_as_in_a_dictionary() {
    everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().set("name", "Ada & Byron = café €").set("lang", "de").set("n", "1"));
        assert_eq!(ada.look().key("name"), Some("Ada & Byron = café €"));
        ada.visit(&page().unset("lang").set("n", "2"));
        let saw = ada.look();
        assert_eq!((saw.key("lang"), saw.key("n")), (None, Some("2")));
        ada.visit(&page().say("Init", "n=3&m=4"));
        let saw = ada.look();
        assert_eq!((saw.key("n"), saw.key("m")), (Some("2"), Some("4")), "setdefault");
        ada.visit(&page().say("Unset", "*").set("kept", "1"));
        assert_eq!(ada.look().data, [("kept".to_owned(), "1".to_owned())].into());
    });
}

// S2
#[test]
fn setting_what_is_there_is_no_change() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        for same in [page().set("a", "1"), page().say("Init", "a=2"), page().unset("b"), page().say("Replace", "a=1")] {
            ada.visit(&same).sets_no_cookie();
        }
        assert_eq!(ada.look().number("Version"), 1);
    });
}

// S3
#[test]
fn lists_and_counters_change_in_place() {
    policy("max_list_items = 3").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        for seen in ["tea", "cake", "a%2Cb", "tea"] {
            ada.visit(&page().say("Push", &format!("seen={seen}")).add("n", 2));
        }
        let saw = ada.look();
        assert_eq!((saw.key("seen"), saw.key("n")), (Some(r#"["cake","a,b","tea"]"#), Some("8")));
    });
}

// S4
#[test]
fn only_what_is_modified_is_saved() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        for _ in 0..3 {
            ada.visit(&page()).sets_no_cookie();
        }
        assert_eq!(ada.look().number("Version"), 1);
        ada.visit(&page().set("a", "2"));
        assert_eq!(ada.look().number("Version"), 2);
    });
}

// S5
#[test]
fn a_change_is_saved_before_the_answer_goes_on() {
    everywhere(|place| {
        let mut ada = place.visitor_who_set("n", "0");
        for n in 1..4 {
            // Who follows a redirect at once, in another connection, finds it.
            ada.visit(&page().set("n", &n.to_string()).status(303));
            assert_eq!(ada.twin().look().key("n"), Some(n.to_string().as_str()));
        }
    });
}

// S6
#[test]
fn a_request_that_only_reads_never_writes_back_what_it_read() {
    policy("touch_interval = \"1s\"").everywhere(|place| {
        let mut ada = place.visitor_who_set("cart", "1");
        place.pass(60);
        let reads = ada.begin(page());
        ada.visit(&page().set("cart", "2"));
        place.pass(60);
        assert_eq!(reads.finish(&mut ada).saw().key("cart"), Some("1"));
        assert_eq!(ada.look().key("cart"), Some("2"));
    });
}

// S8
#[test]
fn a_page_may_take_back_all_that_it_said() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        ada.visit(&page().set("a", "2").login("ada").flash("info", "x").say("Revert", "1")).sets_no_cookie();
        let saw = ada.look();
        assert_eq!((saw.key("a"), saw.user.as_str(), saw.number("Version")), (Some("1"), "", 1));
        assert_eq!(saw.flashes, []);
    });
}

// S9
#[test]
fn commands_count_in_the_head_of_the_answer_only() {
    everywhere(|place| {
        let mut ada = place.visitor();
        // The body repeats the address, and one of the applications sends trailers.
        let visit = ada.visit(&at("/x-session-set:%20a=1").trailer("a=1"));
        assert_eq!(visit.sets_no_cookie().got.status(), 200);
        assert!(!visit.got.text().to_lowercase().contains("x-session"));
        assert_eq!(ada.look().state, "none");
    });
}

// S10
#[test]
fn all_commands_of_an_answer_are_one_write_or_none() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let many = page().set("a", "2").set("b", "3").add("n", 4).say("Push", "l=5").flash("info", "6");
        ada.visit(&many);
        let saw = ada.look();
        assert_eq!((saw.number("Version"), saw.key("a"), saw.key("n")), (2, Some("2"), Some("4")));
        assert_eq!(ada.visit(&page().set("a", "7").say("Add", "b=word")).got.status(), 502);
        let saw = ada.look();
        assert_eq!((saw.key("a"), saw.key("b")), (Some("2"), Some("3")));
    });
}

// S11
#[test]
fn redirects_and_client_errors_save_and_server_errors_do_not() {
    let after = |place: &Place, status: u16| {
        let mut ada = place.visitor_who_set("a", "0");
        ada.visit(&page().set("a", "1").status(status));
        ada.look().key("a") == Some("1")
    };
    policy("").in_cookies_too().everywhere(|place| {
        for status in [200, 204, 302, 303, 400, 403, 404] {
            assert!(after(place, status), "{status}");
        }
        for status in [500, 503] {
            assert!(!after(place, status), "{status}");
        }
        // The session of a redirect gets its cookie.
        let mut bob = place.visitor();
        assert_eq!(bob.visit(&page().set("a", "1").status(302)).got.set_cookies().len(), 1);
    });
    policy("apply_on_error_status = true").everywhere(|place| assert!(after(place, 500)));
}

// S12
#[test]
fn parallel_requests_do_not_lose_each_others_changes() {
    everywhere(|place| {
        let mut ada = place.visitor_who_set("n", "1");
        let slow = ada.begin(page().set("slow", "1").add("n", 1));
        ada.visit(&page().set("fast", "2").add("n", 1));
        slow.finish(&mut ada);
        let saw = ada.look();
        assert_eq!((saw.key("slow"), saw.key("fast"), saw.key("n")), (Some("1"), Some("2"), Some("3")));
    });
}

// S13
#[test]
fn a_late_write_does_not_bring_a_session_back_after_its_logout() {
    everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().login("ada").set("cart", "1"));
        let old = ada.jar.clone();
        let late = ada.begin(page().set("cart", "2").add("n", 1));
        ada.visit(&page().destroy());
        late.finish(&mut ada).sets_no_cookie();
        for jar in [&old, &ada.jar] {
            let saw = place.visitor_with(jar).look();
            assert_eq!((saw.user.as_str(), saw.key("cart")), ("", None), "{}", saw.state);
        }
    });
}

// S14
#[test]
fn with_a_lock_requests_have_their_session_to_themselves() {
    policy("lock = \"exclusive\"").everywhere(|place| {
        let mut ada = place.visitor_who_set("n", "1");
        let (first, second) = (ada.begin(page().set("n", "2")), ada.send(page().set("m", "3")));
        eventually("both are under way", || place.world.requests_under_way() == 2);
        assert!(!second.has_come(), "it waits for its turn");
        assert_eq!(first.finish(&mut ada).saw().key("n"), Some("1"));
        assert_eq!(second.finish(&mut ada).saw().key("n"), Some("2"), "it is shown what the first one wrote");
        // A lock ends with its request; there is none to forget.
        assert_eq!(ada.look().key("m"), Some("3"));
    });
    // By default nobody waits.
    everywhere(|place| {
        let mut ada = place.visitor_who_set("n", "1");
        let first = ada.begin(page().set("n", "2"));
        assert_eq!(ada.visit(&page().set("m", "3")).saw().key("n"), Some("1"));
        first.finish(&mut ada);
    });
}

// S15
#[test]
fn a_failed_write_is_an_error_and_the_page_that_wanted_it_is_withheld() {
    // Nobody listens there.
    let gone = "[stores.gone-@]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:1/0\"\nkey_prefix = \"@:\"\n[sessions.lost-@]\n\
                store = \"gone-@\"\ncookie.name = \"lost-@\"\n";
    policy("").tables(gone).sessions("[\"lost-@\"]").everywhere(|place| {
        let mut ada = place.visitor();
        let visit = ada.visit(&page().set("a", "1"));
        assert_eq!((visit.got.status(), visit.is_page()), (503, false));
        visit.sets_no_cookie();
        assert_eq!(ada.look().state, "none", "who needs no store is served");
    });
}

// S16
#[test]
fn a_number_a_text_a_truth_and_nothing_stay_apart() {
    policy("headers.dialect = \"json\"").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        let typed = r#"{"number":1,"text":"1","truth":true,"list":[1,"1",true,null,{"k":"v"}],"empty":"","real":1.5}"#;
        ada.visit(&page().say("Set", typed));
        let meant: Value = serde_json::from_str(typed).unwrap();
        assert_eq!(ada.look().json, meant);
        // `null` deletes, objects are merged.
        ada.visit(&page().say("Set", r#"{"number":null,"map":{"a":1}}"#));
        ada.visit(&page().say("Set", r#"{"map":{"b":"2"}}"#));
        let saw = ada.look();
        assert_eq!(saw.json["map"], serde_json::json!({"a": 1, "b": "2"}));
        assert_eq!(saw.json.get("number"), None);
    });
}

// S17
#[test]
fn what_is_too_large_is_refused_and_the_session_stays_as_it_was() {
    policy("max_session_bytes = \"1KiB\"").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let large = "x".repeat(1100);
        assert_eq!(ada.visit(&page().set("b", &large).posted()).got.status(), 502);
        let saw = ada.look();
        assert_eq!((saw.key("a"), saw.key("b")), (Some("1"), None));
    });
    policy("max_session_bytes = \"1KiB\"\non_refused = \"deliver\"").everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let large = "x".repeat(1100);
        assert!(ada.visit(&page().set("b", &large).posted()).is_page(), "the page comes all the same");
        assert_eq!(ada.look().header("Error"), Some("limit"), "and the application is told");
        assert_eq!(ada.look().header("Error"), None, "once");
    });
}

// S18
#[test]
fn a_session_is_replaced_as_a_whole() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        ada.visit(&page().set("b", "2"));
        ada.visit(&page().say("Replace", "c=3&d=4"));
        let data = ada.look().data;
        assert_eq!(data, [("c".to_owned(), "3".to_owned()), ("d".to_owned(), "4".to_owned())].into());
    });
}

// S19
#[test]
fn the_cookie_arguments_of_a_session_change_later_and_stay_changed() {
    policy("cookie.allow_paths = [\"/shop\"]").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        ada.visit(&page().say("Expire", "persist=1").say("Cookie", "path=/shop"));
        let next = ada.visit(&page().say("Regenerate", "1").set("b", "2"));
        let lines = next.got.set_cookies();
        let given = SetCookie::parse(&lines[0]);
        assert_eq!(given.attribute("Path"), Some("/shop"), "{lines:?}");
        assert!(given.attribute("Max-Age").is_some(), "{lines:?}");
    });
}
