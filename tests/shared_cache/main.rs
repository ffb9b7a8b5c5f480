//! A shared cache in front: nobody is given what was made for another, and anonymous pages do come from the cache.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../servers/mod.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;

mod caches;
mod place;

use caches::Cache;
use place::{Place, named, unchanged};
use std::net::SocketAddr;
use support::client::{Jar, SetCookie, ask, get};
use support::eventually;
use support::upstream::{Reply, ok, status};

/// What a backend may say about caches, and whether a page with it comes from the cache the second time.
fn sayings() -> Vec<(&'static str, Reply, bool)> {
    let long = "Thu, 01 Jan 2037 00:00:00 GMT";
    let past = "Thu, 01 Jan 2015 00:00:00 GMT";
    vec![
        ("nothing", ok(), true),
        ("public", ok().with("Cache-Control", "public, max-age=600"), true),
        ("max-age", ok().with("Cache-Control", "max-age=600"), true),
        ("s-maxage", ok().with("Cache-Control", "s-maxage=600"), true),
        ("expires", ok().with("Expires", long), true),
        ("last-modified", ok().with("Last-Modified", past), true),
        ("etag", ok().with("ETag", "\"a\""), true),
        ("x-accel-expires", ok().with("X-Accel-Expires", "600"), true),
        ("surrogate-control", ok().with("Surrogate-Control", "max-age=600"), true),
        ("cdn-cache-control", ok().with("CDN-Cache-Control", "max-age=600").with("Cache-Control", "max-age=600"), true),
        ("stale", ok().with("Cache-Control", "max-age=600, stale-while-revalidate=60, stale-if-error=60"), true),
        ("vary-ours", ok().with("Cache-Control", "public, max-age=600").with("Vary", "X-Session-User"), true),
        ("vary-both", ok().with("Cache-Control", "max-age=600").with("Vary", "Accept, X-Session-Data"), true),
        ("vary-accept", ok().with("Cache-Control", "max-age=600").with("Vary", "Accept-Language"), true),
        ("vary-cookie", ok().with("Cache-Control", "max-age=600").with("Vary", "Cookie"), true),
        ("vary-two-lines", ok().with("Vary", "X-Session-Data").with("Vary", "Accept"), true),
        ("vary-all", ok().with("Cache-Control", "max-age=600").with("Vary", "*"), false),
        ("vary-all-and-ours", ok().with("Vary", "X-Session-Data").with("Vary", "*"), false),
        ("private", ok().with("Cache-Control", "private, max-age=600"), false),
        ("no-store", ok().with("Cache-Control", "no-store"), false),
        ("quoted", ok().with("Cache-Control", "max-age=600, private=\"x-a, x-b\""), false),
        ("moved", status(301).with("Location", "/elsewhere"), true),
        ("not-found", status(404), true),
        ("gone", status(410), true),
        ("found", status(302).with("Location", "/elsewhere").with("Cache-Control", "max-age=600"), true),
    ]
}

/// Anonymous pages come from the cache where they may; a session is never shown one of them, nor a stranger a personal one.
fn everybody_sees_his_own_page(cache: impl FnOnce(SocketAddr) -> Cache) {
    // CA1, CA2, E11
    let place = Place::new(cache);
    let (mut ada, mut bob) = (place.member("ada"), place.member("bob"));
    for prefix in ["", "/kept"] {
        for (name, reply, is_shared) in sayings() {
            let path = format!("{prefix}/stranger-first/{name}");
            place.shows(&path, reply.clone());
            place.stranger().sees_own_without_cookie(&path);
            place.stranger().sees_own_without_cookie(&path);
            let asked = place.asked(&path);
            assert_eq!(asked, if is_shared { 1 } else { 2 }, "{}: {path} for strangers", place.cache.name);
            ada.sees_own_without_cookie(&path);
            bob.sees_own_without_cookie(&path);
            ada.sees_own_without_cookie(&path);
            assert_eq!(place.asked(&path), 3, "{}: {path} for members", place.cache.name);
            place.stranger().sees_own_without_cookie(&path);
            assert_eq!(place.asked(&path), usize::from(!is_shared), "{}: {path} again", place.cache.name);

            let path = format!("{prefix}/member-first/{name}");
            place.shows(&path, reply);
            ada.sees_own_without_cookie(&path);
            place.stranger().sees_own_without_cookie(&path);
            bob.sees_own_without_cookie(&path);
            place.stranger().sees_own_without_cookie(&path);
            let expected = if is_shared { 3 } else { 4 };
            assert_eq!(place.asked(&path), expected, "{}: {path}", place.cache.name);
        }
    }
}

#[test]
fn behind_nginx_everybody_sees_his_own_page() {
    everybody_sees_his_own_page(Cache::nginx);
}

#[test]
fn behind_varnish_everybody_sees_his_own_page() {
    everybody_sees_his_own_page(Cache::varnish);
}

#[test]
fn behind_a_varnish_that_ignores_cookies_everybody_sees_his_own_page() {
    everybody_sees_his_own_page(Cache::varnish_for_all);
}

#[test]
fn behind_the_nginx_of_the_documentation_everybody_sees_his_own_page() {
    the_documentation_holds(Cache::nginx_of_the_docs, None);
}

#[test]
fn behind_the_varnish_of_the_documentation_everybody_sees_his_own_page() {
    the_documentation_holds(Cache::varnish_of_the_docs, Some("_ga=GA1.2.3; _pk_id.1=4"));
}

/// Strangers share a page, also those with a cookie that makes no difference; members have their own.
fn the_documentation_holds(cache: impl FnOnce(SocketAddr) -> Cache, irrelevant: Option<&str>) {
    let place = Place::new(cache);
    let (mut ada, mut bob) = (place.member("ada"), place.member("bob"));
    let public = || ok().with("Cache-Control", "public, max-age=600");
    for (path, reply) in [("/public", public()), ("/silent", ok()), ("/kept/public", public()), ("/kept/silent", ok())]
    {
        place.shows(path, reply);
        ada.sees_own_without_cookie(path);
        for line in [None, irrelevant, None] {
            let got = place.stranger().ask(&get(path).cookie(line));
            assert!(got.body_text().contains("made for []"), "{}: {path}: {got:?}", place.cache.name);
        }
        bob.sees_own_without_cookie(path);
        ada.sees_own_without_cookie(path);
        assert_eq!(place.asked(path), 4, "{}: {path}", place.cache.name);
        // With the cookie of the page's own script beside it a session is still a session.
        let line = format!("_ga=GA1.2.3; {}", ada.jar.line().unwrap());
        let got = place.stranger().ask(&get(path).with("Cookie", line));
        assert!(got.body_text().contains("made for [user=ada]"), "{}: {path}: {got:?}", place.cache.name);
    }
}

/// Whatever begins, changes or ends a session, and what that says about caches, is for one visitor.
fn what_changes_a_session_is_never_kept(cache: impl FnOnce(SocketAddr) -> Cache) {
    // CA1, SL10
    let place = Place::new(cache);
    for prefix in ["", "/kept", "/held", "/edited"] {
        for (name, reply, is_shared) in sayings() {
            let path = format!("{prefix}/begins/{name}");
            place.shows(&path, reply.clone());
            for visitor in ["eve", "mallory"] {
                place.site.upstream.will(named(reply.clone(), visitor));
                let got = place.stranger().get(&path);
                assert_eq!(got.set_cookies().len(), 1, "{}: {path}: {got:?}", place.cache.name);
            }
            assert_eq!(place.asked(&path), 2, "{}: {path}", place.cache.name);
            place.stranger().sees_own_without_cookie(&path);
            place.stranger().sees_own_without_cookie(&path);
            let expected = if is_shared && prefix != "/edited" { 1 } else { 2 };
            let asked = place.asked(&path);
            assert!(asked == expected || prefix == "/edited", "{}: {path} was asked {asked} times", place.cache.name);
        }
    }
    let public = || ok().with("Cache-Control", "public, max-age=600").with("X-Accel-Expires", "600");
    for (number, command) in
        [("Regenerate", "1"), ("Destroy", "1"), ("Flash", "info=hi"), ("Set", "a=1")].iter().enumerate()
    {
        let path = format!("/changes/{number}");
        place.shows(&path, public());
        let mut ada = place.member("ada");
        place.site.upstream.will(public().say(command.0, command.1));
        ada.get(&path);
        place.stranger().sees_own_without_cookie(&path);
        place.stranger().sees_own_without_cookie(&path);
        assert_eq!(place.asked(&path), 2, "{}: {command:?}", place.cache.name);
    }
}

#[test]
fn behind_nginx_what_changes_a_session_is_never_kept() {
    what_changes_a_session_is_never_kept(Cache::nginx);
}

#[test]
fn behind_varnish_what_changes_a_session_is_never_kept() {
    what_changes_a_session_is_never_kept(Cache::varnish);
}

#[test]
fn behind_a_varnish_that_ignores_cookies_what_changes_a_session_is_never_kept() {
    what_changes_a_session_is_never_kept(Cache::varnish_for_all);
}

/// An answer that takes a dead cookie away, and those that a visitor without a session gets in place of a page.
fn what_belongs_to_one_visitor_is_never_kept(cache: impl FnOnce(SocketAddr) -> Cache) {
    // CA1, CA2
    let place = Place::new(cache);
    let public = || ok().with("Cache-Control", "public, max-age=600").with("X-Accel-Expires", "600");
    let name = place.cache.name;

    // A cookie that nobody issued, and one whose session has ended.
    let mut ada = place.member("ada");
    let ended = ada.jar.clone();
    place.site.upstream.will(ok().say("Destroy", "1"));
    ada.get("/log-out");
    let forged = Jar(vec![("__Host-session".into(), "forged".into())]);
    for (number, jar) in [forged, ended].into_iter().enumerate() {
        let path = format!("/cookie/{number}");
        place.shows(&path, public());
        let got = place.bearer(jar).sees_own(&path);
        assert_eq!(SetCookie::only(&got).attribute("Max-Age"), Some("0"), "{name}: {got:?}");
        place.stranger().sees_own_without_cookie(&path);
        place.stranger().sees_own_without_cookie(&path);
        assert_eq!(place.asked(&path), 2, "{name}: {path}");
    }

    // Who may not come in is told so by us; the next one may.
    for (path, status) in [("/closed/room", 302), ("/shut/room", 401)] {
        place.shows(path, public());
        assert_eq!(place.stranger().get(path).status(), status, "{name}");
        place.member("bob").sees_own_without_cookie(path);
        assert_eq!(place.stranger().get(path).status(), status, "{name}");
        place.member("eve").sees_own_without_cookie(path);
        assert_eq!(place.asked(path), 2, "{name}: {path}");
    }

    // A page that was withheld.
    place.shows("/refused", public());
    place.site.upstream.will(public().say("Set", "no pairs"));
    assert_eq!(place.stranger().get("/refused").status(), 502, "{name}");
    place.stranger().sees_own_without_cookie("/refused");

    // A cookie of the backend that the browser is not shown made its page no page for everybody.
    let with_cookie = |path: &str| place.shows(path, public().with("Set-Cookie", "PHPSESSID=1; Path=/"));
    with_cookie("/dropped/page");
    for _ in 0..2 {
        place.stranger().sees_own_without_cookie("/dropped/page");
    }
    assert_eq!(place.asked("/dropped/page"), 2, "{name}");
    with_cookie("/held/page");
    for _ in 0..2 {
        let mut visitor = place.stranger();
        assert_eq!(visitor.sees_own("/held/page").set_cookies().len(), 1, "{name}");
        assert!(visitor.get("/held/page").body_text().contains("held [true]"), "{name}");
    }
    assert_eq!(place.asked("/held/page"), 4, "{name}");

    // Parts of a page, and heads without a page.
    place.shows("/part", public().with("Accept-Ranges", "bytes"));
    let mut bob = place.member("bob");
    let part = get("/part").with("Range", "bytes=0-19");
    for visitor in [&mut bob, &mut place.stranger()] {
        let own = if visitor.name.is_empty() { "[]" } else { "[user=b" };
        assert!(visitor.ask(&part).body_text().contains(own), "{name}");
        assert_eq!(visitor.ask(&ask("HEAD", "/part")).status(), 200, "{name}");
        visitor.sees_own_without_cookie("/part");
    }
}

#[test]
fn behind_nginx_what_belongs_to_one_visitor_is_never_kept() {
    what_belongs_to_one_visitor_is_never_kept(Cache::nginx);
}

#[test]
fn behind_varnish_what_belongs_to_one_visitor_is_never_kept() {
    what_belongs_to_one_visitor_is_never_kept(Cache::varnish);
}

#[test]
fn behind_a_varnish_that_ignores_cookies_what_belongs_to_one_visitor_is_never_kept() {
    what_belongs_to_one_visitor_is_never_kept(Cache::varnish_for_all);
}

/// A 304 that begins a session tells the cache that its page is still good; the page stays a page for everybody.
fn a_page_found_unchanged_stays_a_page_for_everybody(cache: impl FnOnce(SocketAddr) -> Cache) {
    // CA1, CA2
    let place = Place::new(cache);
    let valid = |reply: Reply| reply.with("Cache-Control", "max-age=1").with("ETag", "\"a\"");
    place.shows("/news", valid(ok()));
    place.stranger().sees_own_without_cookie("/news");
    for command in [("Set", "user=eve"), ("Flash", "info=hi"), ("Touch", "1")] {
        place.shows(&unchanged("/news"), valid(status(304).say(command.0, command.1)));
        place.asked("/news");
        // The page must have grown old before that.
        eventually("the cache asks whether its page is still good", || {
            place.stranger().sees_own("/news");
            place.site.upstream.take().iter().any(|request| request.has("If-None-Match"))
        });
        place.shows(&unchanged("/news"), valid(status(304)));
        for _ in 0..3 {
            place.stranger().sees_own_without_cookie("/news");
        }
    }
}

#[test]
fn behind_nginx_a_page_found_unchanged_stays_a_page_for_everybody() {
    a_page_found_unchanged_stays_a_page_for_everybody(Cache::nginx);
}

#[test]
fn behind_varnish_a_page_found_unchanged_stays_a_page_for_everybody() {
    a_page_found_unchanged_stays_a_page_for_everybody(Cache::varnish);
}
