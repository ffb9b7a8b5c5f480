//! `expired` is told once: the answer removes the cookie, whatever kind of answer it is.

mod support;

use std::thread;
use support::client::{Ask, SetCookie, ask, get, post};
use support::upstream::{Reply, ok, status};
use support::{Browser, Site, eventually};

fn site(store: &str) -> Site {
    Site::new(&format!(
        "[sessions.main]\n{store}\nidle_timeout = \"1s\"\ntouch_interval = \"100ms\"\n\
         [[routes]]\npath = \"/look\"\nupstream = \"app\"\nsessions = [{{ use = \"main\", access = \"read\" }}]\ntouch = false\n\
         [[routes]]\npath = \"/members\"\nupstream = \"app\"\nsessions = [\"main\"]\nrequire = \"main\"\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n"
    ))
}

/// Browsers whose sessions have ended by themselves.
fn late(site: &Site, count: usize) -> Vec<Browser<'_>> {
    let begin = |_| {
        let mut browser = site.browser();
        browser.visit(ok().say("Login", "ada"));
        browser
    };
    let browsers: Vec<_> = (0..count).map(begin).collect();
    for browser in &browsers {
        let look = get("/look").with("Cookie", browser.cookie());
        eventually("the session ends", || site.exchange(&look, ok()).seen.told("State") == "expired");
    }
    browsers
}

const STORES: [&str; 3] = ["store = \"memory\"", "store = \"disk\"", "store = \"cookie\""];

#[test]
fn the_end_is_told_once_by_whatever_answer() {
    // SL11, CK9
    let answers: [(Ask, Reply); 8] = [
        (get("/"), ok()),
        (get("/"), status(302).with("Location", "/login")),
        (get("/"), status(304)),
        (get("/"), status(404)),
        (get("/"), status(500)),
        (ask("HEAD", "/"), ok()),
        (post("/", "a=1"), status(204)),
        (get("/"), ok().say("Unset", "a")),
    ];
    for store in STORES {
        let site = site(store);
        let mut browsers = late(&site, answers.len());
        for (browser, (asked, reply)) in browsers.iter_mut().zip(&answers) {
            let visit = browser.ask(asked, reply.clone());
            let case = format!("{store}: {asked:?} {reply:?}");
            assert_eq!(visit.seen.told("State"), "expired", "{case}");
            assert_eq!(SetCookie::only(&visit.got).attribute("Max-Age"), Some("0"), "{case}");
            assert_eq!(visit.got.get("Cache-Control").as_deref(), Some("no-store"), "{case}");
            let next = browser.visit(ok());
            assert_eq!((next.seen.told("State").as_str(), next.got.set_cookies().len()), ("none", 0), "{case}");
        }
    }
}

#[test]
fn requests_at_once_are_all_told_and_all_remove_the_cookie() {
    // SL11
    for store in STORES {
        let site = site(store);
        let mut browsers = late(&site, 1);
        let cookie = browsers[0].cookie();
        site.upstream.take();
        let answers: Vec<_> = thread::scope(|scope| {
            let fetch = || site.fetch(&get("/").with("Cookie", &cookie));
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(fetch)).collect();
            threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
        });
        let seen = site.upstream.take();
        assert!(seen.len() == 8 && seen.iter().all(|seen| seen.told("State") == "expired"), "{store}: {seen:?}");
        for got in &answers {
            assert_eq!(SetCookie::only(got).attribute("Max-Age"), Some("0"), "{store}");
        }
        browsers[0].jar.keep(&answers[0]);
        assert_eq!(browsers[0].look().told("State"), "none", "{store}");
    }
}

#[test]
fn an_answer_of_our_own_removes_it_too() {
    // SL11
    let site = site("store = \"memory\"");
    let mut ada = late(&site, 1).remove(0);
    site.upstream.take();
    let got = ada.fetch(&get("/members"));
    assert_eq!((got.status(), SetCookie::only(&got).attribute("Max-Age")), (401, Some("0")));
    assert_eq!(site.upstream.take(), []);
    assert_eq!(ada.look().told("State"), "none");
}

#[test]
fn a_copy_of_the_cookie_outlives_no_clock_of_ours() {
    // C7, C8, C9, C16, C17: the browser may keep it as long as it likes, and set its clock as it likes
    for (clocks, cookie) in [
        ("idle_timeout = \"1s\"", "persistent = true"),
        ("absolute_timeout = \"1s\"\nidle_timeout = \"1s\"", "persistent = true"),
        ("idle_timeout = \"1h\"", "max_age = \"1s\""),
    ] {
        for store in STORES {
            let site = Site::new(&format!(
                "[sessions.main]\n{store}\n{clocks}\ntouch_interval = \"100ms\"\ncookie.{cookie}\n\
                 [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\ntouch = false\n"
            ));
            let mut ada = site.browser();
            ada.visit(ok().say("Login", "ada"));
            let copy = get("/").with("Cookie", ada.cookie());
            let case = format!("{clocks} {cookie} {store}");
            eventually(&case, || site.exchange(&copy, ok()).seen.told("State") == "expired");
            let visit = site.exchange(&copy, ok().say("Set", "a=1"));
            assert!(!visit.seen.has("X-Session-User"), "{case}: {:?}", visit.seen);
        }
    }
}
