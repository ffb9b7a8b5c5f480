//! E: the cookies that go out.

use crate::page::page;
use crate::place::{everywhere, policy};
use crate::support::client::SetCookie;

const DAY: u64 = 86_400;

// E1
#[test]
fn the_cookie_is_sent_when_the_browsers_copy_must_change_and_never_otherwise() {
    everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page()).sets_no_cookie();
        assert_eq!(ada.visit(&page().set("a", "1")).got.set_cookies().len(), 1, "it begins");
        for _ in 0..2 {
            ada.visit(&page()).sets_no_cookie();
            ada.visit(&page().add("n", 1).flash("info", "x")).sets_no_cookie();
        }
        for new in [page().say("Regenerate", "1"), page().login("ada"), page().say("Invalidate", "1").set("a", "1")] {
            assert_eq!(ada.visit(&new).got.set_cookies().len(), 1, "{new:?}");
        }
        assert_eq!(ada.visit(&page().destroy()).got.set_cookies().len(), 1, "it ends");
        ada.visit(&page()).sets_no_cookie();
    });
}

// E2
#[test]
fn a_cookie_in_use_is_handed_out_again_when_half_of_its_life_is_over() {
    policy("idle_timeout = \"90d\"\nabsolute_timeout = \"90d\"\ncookie.max_age = \"30d\"").in_cookies_too().everywhere(
        |place| {
            let mut ada = place.visitor_who_set("a", "1");
            place.pass(14 * DAY);
            ada.visit(&page()).sets_no_cookie();
            for _ in 0..3 {
                place.pass(15 * DAY);
                assert_eq!(ada.visit(&page()).cookie().attribute("Max-Age"), Some("2592000"));
                ada.visit(&page()).sets_no_cookie();
            }
        },
    );
}

// E3
#[test]
fn a_cookie_that_moves_to_another_path_leaves_none_behind() {
    policy("cookie.allow_paths = [\"/shop\"]").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let lines = ada.visit(&page().say("Cookie", "path=/shop")).got.set_cookies();
        let cookies: Vec<_> = lines.iter().map(|line| SetCookie::parse(line)).collect();
        let at = |path: &str| cookies.iter().find(|cookie| cookie.attribute("Path") == Some(path)).expect(path);
        assert_eq!(at("/").attribute("Max-Age"), Some("0"), "the old one goes: {lines:?}");
        assert!(!at("/shop").value.is_empty());
    });
}

// E4
#[test]
fn a_deletion_has_no_value_an_end_in_the_past_and_the_same_place() {
    policy("cookie.path = \"/shop\"\ncookie.domain = \"example.org\"").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let gone = ada.visit(&page().destroy()).cookie();
        assert_eq!(gone.value, "");
        let attributes = [
            "Domain=example.org",
            "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "HttpOnly",
            "Max-Age=0",
            "Path=/shop",
            "SameSite=Lax",
            "Secure",
        ];
        assert_eq!(gone.attributes, attributes);
    });
}

// E5
#[test]
fn plain_cookies_of_the_application_pass_and_none_takes_our_name() {
    everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let name = place.cookie_name();
        let told = page()
            .header("Set-Cookie", "theme=dark; Path=/; Expires=Wed, 15-Nov-2033 00:13:20 GMT")
            .header("Set-Cookie", &format!("{name}=planted; Path=/"));
        let visit = ada.visit(&told);
        assert_eq!(visit.got.set_cookies(), ["theme=dark; Path=/; Expires=Wed, 15-Nov-2033 00:13:20 GMT"]);
        let saw = ada.look();
        assert_eq!((saw.field("Cookie"), saw.key("a")), (Some("theme=dark"), Some("1")));
    });
}

// E6
#[test]
fn the_application_deletes_its_plain_cookies_itself() {
    everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().header("Set-Cookie", "theme=dark; Path=/"));
        assert_eq!(ada.look().field("Cookie"), Some("theme=dark"));
        let line = "theme=; Path=/; Max-Age=0";
        assert_eq!(ada.visit(&page().header("Set-Cookie", line)).got.set_cookies(), [line]);
        assert_eq!(ada.look().field("Cookie"), None);
    });
}

// E7
#[test]
fn the_application_signs_cookies_by_naming_them() {
    let rules = "[[routes.cookies]]\nname = \"prefs\"\naction = \"sign\"\n";
    policy("").route(rules).everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().header("Set-Cookie", "prefs=lang-de; Path=/"));
        let signed = ada.jar.value("prefs").unwrap();
        assert_ne!(signed, "lang-de");
        assert_eq!(ada.look().field("Cookie"), Some("prefs=lang-de"), "the application gets what it gave");
        // Loading one that is not there sends nothing.
        place.visitor().visit(&page()).sets_no_cookie();
        let other = if signed.starts_with('b') { "c" } else { "b" };
        for forged in ["lang-fr".into(), other.to_owned() + &signed[1..], format!("{signed}A"), signed[1..].into()] {
            let mut eve = place.visitor();
            eve.jar.0.push(("prefs".into(), forged));
            assert_eq!(eve.look().field("Cookie"), None);
        }
    });
}

// E8
#[test]
fn the_value_is_a_token_that_is_never_quoted() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        let given = ada.visit(&page().set("a", "ü \"quoted\"; 1,2+3%")).got.text();
        let value = ada.ticket();
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{value}");
        assert!(given.contains(&format!("{}={value};", place.cookie_name())), "{given}");
    });
}

// E9
#[test]
fn dates_are_written_as_the_standard_says() {
    policy("cookie.persistent = true").in_cookies_too().everywhere(|place| {
        let cookie = place.visitor().visit(&page().set("a", "1")).cookie();
        let date = cookie.attribute("Expires").unwrap();
        // Wed, 15 Nov 2023 00:13:20 GMT
        let form = regex::Regex::new("^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$")
            .unwrap();
        assert!(form.is_match(date), "{date}");
    });
}

// E10
#[test]
fn each_cookie_has_a_line_of_its_own() {
    everywhere(|place| {
        let told = page()
            .set("a", "1")
            .header("Set-Cookie", "one=1; Expires=Wed, 15 Nov 2033 00:13:20 GMT")
            .header("Set-Cookie", "two=2");
        let lines = place.visitor().visit(&told).got.set_cookies();
        let names: Vec<_> = lines.iter().map(|line| line.split('=').next().unwrap()).collect();
        assert_eq!(names.len(), 3, "{lines:?}");
        for name in ["one", "two", &place.cookie_name()] {
            assert!(names.contains(&name), "{lines:?}");
        }
    });
}

// E11
#[test]
fn no_cache_gives_the_page_of_one_visitor_to_another() {
    everywhere(|place| {
        let shared = || page().header("Cache-Control", "public, max-age=60");
        let says = |visit: &crate::place::Visit, name: &str| visit.got.text().to_lowercase().contains(name);
        let mut ada = place.visitor();
        let anonymous = ada.visit(&shared());
        assert!(says(&anonymous, "cache-control: public, max-age=60") && says(&anonymous, "vary: cookie"));
        let began = ada.visit(&shared().set("a", "1"));
        assert!(says(&began, "cache-control: no-store") && !says(&began, "public"), "{:?}", began.got);
        let read = ada.visit(&shared());
        assert!(says(&read, "private") && !says(&read, "public"), "{:?}", read.got);
    });
}
