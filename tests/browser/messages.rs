//! Messages for the next page, and what else a browser asks for before it shows that page.

use super::application::Application;
use super::driver::in_a_browser;
use super::support::eventually;
use super::support::upstream::ok;
use super::{mirror, page, see_other};

const FORM: &str = "<form method=post action=/save><button>save</button></form>";

fn saved() -> super::Reply {
    see_other("/list").say("Flash", "success=Saved")
}

#[test]
fn a_message_is_shown_once_after_a_redirect() {
    // F2, F11
    in_a_browser(|browser| {
        let application = Application::over_tls("");
        application.shows("/form", page(FORM));
        application.shows("/save", saved());
        application.shows("/list", mirror());
        browser.go(&application.at("once.example", "/form"));
        browser.click("button");
        eventually("the list is shown", || browser.address().ends_with("/list"));
        assert!(browser.text().contains("flashes=success=Saved"), "{}", browser.text());
        assert_eq!(application.last("/save").told("Flashes"), "", "not before");
        browser.reload();
        // Nothing was left to keep, so that the session has ended and its cookie is gone (L10).
        assert!(browser.text().contains("state=none") && !browser.text().contains("Saved"), "{}", browser.text());
        assert_eq!(browser.cookies(&application.at("once.example", "/list")).len(), 0);
    });
}

#[test]
fn images_scripts_and_frames_without_pages_do_not_eat_a_message() {
    // F2, F3
    in_a_browser(|browser| {
        let application = Application::over_tls("");
        application.shows("/form", page(FORM));
        application.shows("/save", saved());
        application.shows("/list", mirror());
        application.shows("/logo", ok().but("Content-Type", "image/png"));
        application.shows("/style", ok().but("Content-Type", "text/css"));
        application.shows("/api", mirror()); // HTML, but nobody is shown it
        application.shows("/gone", see_other("/api"));
        browser.go(&application.at("parts.example", "/form"));
        browser.script(
            "const loaded = element => new Promise(done => {
                 element.onload = element.onerror = done;
                 document.body.append(element);
             });
             const made = (name, fields) => Object.assign(document.createElement(name), fields);
             return (async () => {
                 await fetch('/save', {method: 'POST', redirect: 'manual'});
                 await loaded(made('img', {src: '/logo'}));
                 await loaded(made('script', {src: '/api?script'}));
                 await loaded(made('link', {rel: 'stylesheet', href: '/style'}));
                 await fetch('/api?fetch');
                 await fetch('/gone');
                 await new Promise(done => {
                     const request = new XMLHttpRequest();
                     request.onloadend = done;
                     request.open('GET', '/api?xhr');
                     request.send();
                 });
             })()",
        );
        for (path, many) in [("/save", 1), ("/logo", 1), ("/style", 1), ("/api", 4), ("/gone", 1)] {
            assert_eq!(application.requests(path).len(), many, "{path}");
        }
        browser.go(&application.at("parts.example", "/list"));
        assert!(browser.text().contains("flashes=success=Saved"), "{}", browser.text());
        browser.reload();
        assert!(!browser.text().contains("Saved"), "{}", browser.text());
    });
}

#[test]
fn a_page_that_is_fetched_ahead_does_not_eat_a_message() {
    // F2, F3
    in_a_browser(|browser| {
        let application = Application::over_tls("");
        application.shows("/form", page(FORM));
        application.shows("/save", saved());
        for path in ["/list", "/hint", "/prefetch", "/prerender"] {
            application.shows(path, mirror());
        }
        browser.go(&application.at("ahead.example", "/form"));
        browser.script("return fetch('/save', {method: 'POST', redirect: 'manual'}).then(() => 1)");
        browser.script(
            "const hint = Object.assign(document.createElement('link'), {rel: 'prefetch', href: '/hint'});
             const rules = Object.assign(document.createElement('script'), {type: 'speculationrules'});
             const ahead = path => [{urls: [path], eagerness: 'immediate'}];
             rules.textContent = JSON.stringify({prefetch: ahead('/prefetch'), prerender: ahead('/prerender')});
             document.head.append(hint, rules);",
        );
        for path in ["/hint", "/prefetch", "/prerender"] {
            eventually(path, || !application.requests(path).is_empty());
            let seen = application.last(path);
            assert!(seen.get("Sec-Purpose").is_some_and(|purpose| purpose.starts_with("prefetch")), "{seen:?}");
        }
        browser.go(&application.at("ahead.example", "/list"));
        assert!(browser.text().contains("flashes=success=Saved"), "{}", browser.text());
        browser.reload();
        assert!(!browser.text().contains("Saved"), "{}", browser.text());
    });
}
