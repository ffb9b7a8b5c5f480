//! A site with a cache in front, and visitors who look whether what they get is meant for them.

use super::caches::Cache;
use super::support::Site;
use super::support::client::{Ask, Client, Jar, SetCookie, get};
use super::support::message::Message;
use super::support::upstream::{Reply, ok};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

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
pub struct Place {
    /// The backend and the proxy.
    pub site: Site,
    /// In front of them.
    pub cache: Cache,
    pages: Pages,
    /// Cookies of ours that were handed out.
    issued: Mutex<BTreeSet<String>>,
}

/// Somebody with cookies of his own, and a name once he has logged in.
pub struct Visitor<'p> {
    place: &'p Place,
    /// The name in his session; empty without one.
    pub name: &'static str,
    /// His cookies.
    pub jar: Jar,
}

/// The page shows whom it was made for, and the token of his forms.
fn page(request: &Message) -> String {
    let who = [request.data(), request.get("X-Kept-Data").unwrap_or_default()].concat();
    let held = request.all("Cookie").iter().any(|line| line.contains("PHPSESSID"));
    format!("<p>made for [{who}] token [{}] held [{held}]</p>", request.told("Csrf"))
}

/// Where the answer to a conditional request for `path` is found.
pub fn unchanged(path: &str) -> String {
    format!("unchanged {path}")
}

/// A session with this name in it, on every route.
pub fn named(reply: Reply, name: &str) -> Reply {
    reply.say("Set", format!("user={name}")).with("X-Kept-Set", format!("user={name}"))
}

impl Place {
    pub fn new(cache: impl FnOnce(SocketAddr) -> Cache) -> Self {
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
    pub fn shows(&self, path: &str, reply: Reply) {
        self.pages.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub fn stranger(&self) -> Visitor<'_> {
        Visitor { place: self, name: "", jar: Jar::default() }
    }

    /// Somebody with these cookies.
    pub fn bearer(&self, jar: Jar) -> Visitor<'_> {
        Visitor { jar, ..self.stranger() }
    }

    /// Somebody with a live session of each policy.
    pub fn member(&self, name: &'static str) -> Visitor<'_> {
        let mut visitor = Visitor { place: self, name: "", jar: Jar::default() };
        for path in ["/log-in", "/kept/log-in"] {
            self.site.upstream.will(named(ok(), name));
            visitor.get(&format!("{path}?{name}"));
        }
        visitor.name = name;
        visitor
    }

    /// How many requests for this target the backend has seen since the last question.
    pub fn asked(&self, path: &str) -> usize {
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
    pub fn get(&mut self, path: &str) -> Message {
        self.ask(&get(path))
    }

    /// Asks through the cache, and looks whether the answer is for this visitor.
    pub fn ask(&mut self, ask: &Ask) -> Message {
        let got = Client::tcp(self.place.cache.address).ask(&ask.clone().cookie(self.jar.line().as_deref()));
        self.place.note(self.name, &got);
        self.jar.keep(&got);
        got
    }

    /// The page, which was made for this visitor and for nobody else.
    pub fn sees_own(&mut self, path: &str) -> Message {
        let got = self.get(path);
        let (cache, body) = (self.place.cache.name, got.body_text());
        let own = if self.name.is_empty() { "[]".to_owned() } else { format!("[user={}]", self.name) };
        assert!(body.contains(&format!("made for {own}")), "{cache}: {path} for {:?}: {got:?}", self.name);
        assert!(!self.name.is_empty() || body.contains("token []"), "{cache}: {path}: {got:?}");
        got
    }

    pub fn sees_own_without_cookie(&mut self, path: &str) {
        let got = self.sees_own(path);
        assert!(got.set_cookies().is_empty(), "{}: {path}: {got:?}", self.place.cache.name);
    }
}
