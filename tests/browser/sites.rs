//! Two sites: which requests that one causes carry the cookies of the other.

use super::application::Application;
use super::driver::{Browser, in_a_browser};
use super::support::eventually;
use super::support::message::Message;
use super::{mirror, page};

const THREE: &str = r#"
[sessions.lax]
store = "memory"
cookie = { name = "__Host-lax" }
headers = { prefix = "X-Lax-" }
[sessions.strict]
store = "memory"
cookie = { name = "__Host-strict", same_site = "strict" }
headers = { prefix = "X-Strict-" }
[sessions.none]
store = "memory"
cookie = { name = "__Host-none", same_site = "none" }
headers = { prefix = "X-None-" }
[[routes]]
upstream = "app"
sessions = ["lax", "strict", "none"]
"#;

/// The sessions that came with a request.
fn came(seen: &Message) -> Vec<&'static str> {
    let prefixes = [("lax", "X-Lax-State"), ("strict", "X-Strict-State"), ("none", "X-None-State")];
    let live = prefixes.into_iter().filter(|(_, name)| seen.get(name).as_deref() == Some("live"));
    live.map(|(name, _)| name).collect()
}

/// A bank with a visitor who has all three sessions, and the browser at another site, on a page with this inside.
fn lured(browser: &Browser, bank: &str, html: impl Fn(&dyn Fn(&str) -> String) -> String) -> Application {
    let application = Application::over_tls(THREE);
    let begun = mirror().with("X-Lax-Set", "a=1").with("X-Strict-Set", "a=1").with("X-None-Set", "a=1");
    application.shows("/begin", begun);
    application.shows("/account", mirror().with("Access-Control-Allow-Origin", "*"));
    application.shows("/lure", page(&html(&|path| application.at(bank, path))));
    browser.go(&application.at(bank, "/begin"));
    browser.go(&application.at(bank, "/account"));
    assert_eq!(came(&application.last("/account")), ["lax", "strict", "none"], "of its own accord");
    browser.go(&application.at("evil.test", "/lure"));
    application
}

#[test]
fn a_link_from_another_site_brings_lax_cookies_and_no_strict_ones() {
    // CK1
    in_a_browser(|browser| {
        let application = lured(browser, "link.example", |at| format!("<a href='{}'>win</a>", at("/account")));
        browser.click("a");
        eventually("the link is followed", || browser.address().ends_with("/account"));
        assert_eq!(came(&application.last("/account")), ["lax", "none"]);
        // From its own page on, all of them.
        browser.script("location.href = '/account?again'");
        eventually("the own link is followed", || browser.address().ends_with("?again"));
        assert_eq!(came(&application.last("/account")), ["lax", "strict", "none"]);
    });
}

#[test]
fn a_form_of_another_site_brings_no_lax_cookie() {
    // CK1
    in_a_browser(|browser| {
        let application = lured(browser, "form.example", |at| {
            format!("<form method=post action='{}'><button>win</button></form>", at("/account"))
        });
        browser.click("button");
        eventually("the form is sent", || browser.address().ends_with("/account"));
        let seen = application.last("/account");
        assert_eq!((seen.method().as_str(), came(&seen)), ("POST", vec!["none"]));
    });
}

#[test]
fn images_frames_and_scripts_of_another_site_bring_no_lax_cookie() {
    // CK1
    in_a_browser(|browser| {
        for element in ["<img src='{}'>", "<iframe src='{}'></iframe>", "<script src='{}'></script>"] {
            let host = format!("part{}.example", element.len());
            let application = lured(browser, &host, |at| element.replace("{}", &at("/account?lured")));
            eventually("it is loaded", || application.last("/account").target().ends_with("?lured"));
            assert_eq!(came(&application.last("/account")), ["none"], "{element}");
        }
        let application = lured(browser, "fetched.example", |_| String::new());
        let account = application.at("fetched.example", "/account?fetched");
        browser
            .script(&format!("return fetch('{account}', {{mode: 'no-cors', credentials: 'include'}}).then(() => 1)"));
        let seen = application.last("/account");
        assert_eq!((seen.target().as_str(), came(&seen)), ("/account?fetched", vec!["none"]));
    });
}

#[test]
fn a_partitioned_session_belongs_to_the_site_that_it_is_embedded_in() {
    // CK12
    in_a_browser(|browser| {
        let application = Application::over_tls(
            "[sessions.main]\nstore = \"memory\"\n\
             cookie = { name = \"__Host-chat\", same_site = \"none\", partitioned = true }\n",
        );
        application.shows("/chat", mirror().say("Init", "room=1"));
        let frame =
            |number: u8| format!("<iframe src='{}'></iframe>", application.at("chat.test", &format!("/chat?{number}")));
        application.shows("/page", page(&frame(1)));
        application.shows("/again", page(&frame(2)));
        let state = |url: &str, target: &str| {
            let before = application.requests("/chat").len();
            browser.go(url);
            eventually("the frame is loaded", || application.requests("/chat").len() > before);
            let seen = application.last("/chat");
            assert_eq!(seen.target(), target);
            seen.told("State")
        };
        assert_eq!(state(&application.at("one.test", "/page"), "/chat?1"), "none");
        assert_eq!(state(&application.at("one.test", "/again"), "/chat?2"), "live", "the frame has a session");
        assert_eq!(state(&application.at("two.test", "/page"), "/chat?1"), "none", "another one elsewhere");
        assert_eq!(state(&application.at("chat.test", "/chat?3"), "/chat?3"), "none", "and a third by itself");
        assert_eq!(state(&application.at("two.test", "/again"), "/chat?2"), "live");
    });
}
