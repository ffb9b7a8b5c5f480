//! A shared cache in front: nobody is given what was made for another, and anonymous pages do come from the cache.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../servers/mod.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;

mod caches;

use caches::Cache;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use support::client::{Ask, Client, Jar, SetCookie, ask, get};
use support::message::Message;
use support::upstream::{Reply, ok, status};
use support::{Site, eventually};

const CONFIG: &str = r#"
[sessions.main]
store = "memory"
headers = { csrf = true }
[sessions.kept]
store = "cookie"
cookie = { name = "__Host-kept" }
headers = { prefix = "X-Kept-" }

[[routes]]
path = "/closed/*"
upstream = "app"
sessions = ["main"]
require = "main"
on_missing = { redirect = "/login?return={path_and_query}" }
[[routes]]
path = "/shut/*"
upstream = "app"
sessions = ["main"]
require = "main"
[[routes]]
path = "/kept/*"
upstream = "app"
sessions = ["kept"]
[[routes]]
path = "/held/*"
upstream = "app"
sessions = ["main"]
cookies = [{ name = "PHPSESSID", action = "hold" }]
[[routes]]
path = "/dropped/*"
upstream = "app"
sessions = ["main"]
cookies = [{ name = "*", action = "drop" }]
[[routes]]
path = "/edited/*"
upstream = "app"
sessions = ["main"]
response_headers.set = { "X-Accel-Expires" = "600", "Surrogate-Control" = "max-age=600" }
[[routes]]
upstream = "app"
sessions = ["main"]
"#;

/// What the backend says at each path; the body is [`page`].
type Pages = Arc<Mutex<BTreeMap<String, Reply>>>;

/// A site with a cache in front, and what must not be seen twice.
struct Place {
    site: Site,
    cache: Cache,
    pages: Pages,
    /// Cookies of ours that were handed out, and by which path.
    issued: Mutex<BTreeSet<String>>,
}

/// Somebody with cookies of his own, and a name once he has logged in.
struct Visitor<'p> {
    place: &'p Place,
    name: &'static str,
    jar: Jar,
}

/// The page shows whom it was made for, and the token of his forms.
fn page(request: &Message) -> String {
    let who = [request.data(), request.get("X-Kept-Data").unwrap_or_default()].concat();
    let held = request.all("Cookie").iter().any(|line| line.contains("PHPSESSID"));
    format!("<p>made for [{who}] token [{}] held [{held}]</p>", request.told("Csrf"))
}

/// Where the answer to a conditional request for `path` is found.
fn unchanged(path: &str) -> String {
    format!("unchanged {path}")
}

/// A session with this name in it, on every route.
fn named(reply: Reply, name: &str) -> Reply {
    reply.say("Set", format!("user={name}")).with("X-Kept-Set", format!("user={name}"))
}

impl Place {
    fn new(cache: impl FnOnce(SocketAddr) -> Cache) -> Self {
        let pages = Pages::default();
        let shown = Arc::clone(&pages);
        let site = Site::answering(CONFIG, move |request| {
            let shown = shown.lock().unwrap();
            let unchanged = shown.get(&unchanged(&request.target())).filter(|_| request.has("If-None-Match"));
            unchanged.or_else(|| shown.get(&request.target())).cloned().unwrap_or_else(ok).body(page(request))
        });
        let cache = cache(site.proxy.address());
        Self { site, cache, pages, issued: Mutex::default() }
    }

    /// From now on the backend says this there.
    fn shows(&self, path: &str, reply: Reply) {
        self.pages.lock().unwrap().insert(path.to_owned(), reply);
    }

    fn stranger(&self) -> Visitor<'_> {
        Visitor { place: self, name: "", jar: Jar::default() }
    }

    /// Somebody with a live session of each policy.
    fn member(&self, name: &'static str) -> Visitor<'_> {
        let mut visitor = Visitor { place: self, name: "", jar: Jar::default() };
        for path in ["/log-in", "/kept/log-in"] {
            self.site.upstream.will(named(ok(), name));
            visitor.get(&format!("{path}?{name}"));
        }
        visitor.name = name;
        visitor
    }

    /// How many requests for this target the backend has seen since the last question.
    fn asked(&self, path: &str) -> usize {
        self.site.upstream.take().iter().filter(|request| request.target() == path).count()
    }

    /// No cookie is ever handed out twice.
    fn note(&self, visitor: &str, got: &Message) {
        for cookie in got.set_cookies().iter().map(|line| SetCookie::parse(line)) {
            assert!(cookie.name.starts_with("__Host-"), "{}: {got:?}", self.cache.name);
            assert_eq!(got.get("Cache-Control").as_deref(), Some("no-store"), "{}: {got:?}", self.cache.name);
            if cookie.attribute("Max-Age") != Some("0") {
                let is_new = self.issued.lock().unwrap().insert(cookie.value);
                assert!(is_new, "{}: {visitor} is given a cookie of somebody else: {got:?}", self.cache.name);
            }
        }
    }
}

impl Visitor<'_> {
    fn get(&mut self, path: &str) -> Message {
        self.ask(&get(path))
    }

    /// Asks through the cache, and looks whether the answer is for this visitor.
    fn ask(&mut self, ask: &Ask) -> Message {
        let got = Client::tcp(self.place.cache.address).ask(&ask.clone().cookie(self.jar.line().as_deref()));
        self.place.note(self.name, &got);
        self.jar.keep(&got);
        got
    }

    /// The page, which was made for this visitor and for nobody else.
    fn sees_own(&mut self, path: &str) -> Message {
        let got = self.get(path);
        let (cache, body) = (self.place.cache.name, got.body_text());
        let own = if self.name.is_empty() { "[]".to_owned() } else { format!("[user={}]", self.name) };
        assert!(body.contains(&format!("made for {own}")), "{cache}: {path} for {:?}: {got:?}", self.name);
        assert!(!self.name.is_empty() || body.contains("token []"), "{cache}: {path}: {got:?}");
        got
    }

    fn sees_own_without_cookie(&mut self, path: &str) {
        let got = self.sees_own(path);
        assert!(got.set_cookies().is_empty(), "{}: {path}: {got:?}", self.place.cache.name);
    }
}

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
        let got = Visitor { jar, ..place.stranger() }.sees_own(&path);
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
