//! A proxy in this process, by a clock that the test moves, in front of every application, over every store.

use crate::backends::{BACKENDS, LANGUAGES};
use crate::page::{Page, Saw, page};
use crate::servers::redis::text;
use crate::support::client::{Client, Jar, SetCookie, get};
use crate::support::message::Message;
use crate::support::{complete, eventually};
use cloakroom::app::Server;
use cloakroom::clock::{Clock as _, ManualClock, SystemClock, Timestamp};
use cloakroom::config::{Config, parse};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The stores that every row must work on.
pub const STORES: [&str; 3] = ["memory", "disk", "redis"];

/// The session that the browser keeps itself.
const COOKIE: &str = "cookie";

/// What one test configures beside what all have in common.
///
/// In all of it `@` stands for the name of the store, which is also that of the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Lines of every `[sessions.@]`, tables by dotted keys. Without `cookie.name` the cookie is called `@`.
    pub policy: &'static str,
    /// Lines of every `[[routes]]`.
    pub route: &'static str,
    /// Further tables for each store.
    pub tables: &'static str,
    /// Tables of which there is one.
    pub once: &'static str,
    /// Which sessions a route has; that of its store by default.
    pub sessions: Option<&'static str>,
    /// Also with sessions that the browser keeps.
    pub in_cookies_too: bool,
    /// With copies in front of Redis.
    pub near_cache: bool,
}

/// A set-up of which only the policy has lines.
pub fn policy(lines: &'static str) -> Setup {
    Setup { policy: lines, ..Setup::default() }
}

impl Setup {
    /// Lines of every route.
    pub fn route(self, lines: &'static str) -> Self {
        Self { route: lines, ..self }
    }

    /// Further tables for each store, after its policy.
    pub fn tables(self, lines: &'static str) -> Self {
        Self { tables: lines, ..self }
    }

    /// Tables of which there is one.
    pub fn once(self, lines: &'static str) -> Self {
        Self { once: lines, ..self }
    }

    /// The sessions of every route, as the file writes a list.
    pub fn sessions(self, list: &'static str) -> Self {
        Self { sessions: Some(list), ..self }
    }

    /// Also where the browser keeps the session.
    pub fn in_cookies_too(self) -> Self {
        Self { in_cookies_too: true, ..self }
    }

    /// With copies in front of Redis.
    pub fn near_cache(self) -> Self {
        Self { near_cache: true, ..self }
    }

    fn stores(&self) -> impl Iterator<Item = &'static str> {
        STORES.into_iter().chain(self.in_cookies_too.then_some(COOKIE))
    }

    /// The whole file, of a proxy that listens in this directory and keeps its sessions in that one.
    fn file(&self, own: &Path, kept: &Path) -> String {
        let prefix = prefix(kept);
        let mut file = format!(
            "[server]\nthreads = 1\nstate_dir = \"{}\"\nruntime_dir = \"{}\"\n[listeners.web]\naddress = \"unix:{}\"\nbehind_tls = true\n\
             [stores.redis]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:{}/0\"\nkey_prefix = \"{prefix}\"\n\
             timeout = \"5s\"\nconnections = 1\n",
            kept.join("state").display(),
            own.display(),
            own.join("web.sock").display(),
            BACKENDS.redis.port,
        );
        if self.near_cache {
            file += "near_cache = \"60s\"\n";
        }
        file += self.once;
        for (language, profile) in LANGUAGES {
            for (name, url) in [("", BACKENDS.url(language)), ("_held", BACKENDS.patient_url(language))] {
                writeln!(file, "[upstreams.{language}{name}]\nservers = [\"{url}\"]\nprofile = \"{profile}\"").unwrap();
            }
        }
        for store in self.stores() {
            let name = if self.policy.contains("cookie.name") { "" } else { "cookie.name = \"@\"\n" };
            let lines = format!("[sessions.@]\nstore = \"@\"\n{name}{}\n{}\n", self.policy, self.tables);
            file += &lines.replace('@', store);
        }
        for store in self.stores() {
            for (language, _) in LANGUAGES {
                for (path, held) in [("path = \"/held\"\n", "_held"), ("", "")] {
                    let sessions = self.sessions.unwrap_or("[\"@\"]");
                    let lines = format!("upstream = \"{language}{held}\"\nsessions = {sessions}\n{}\n", self.route);
                    let host = format!("host = \"{language}.{store}.example\"\n");
                    write!(file, "[[routes]]\n{host}{path}{}", lines.replace('@', store)).unwrap();
                }
            }
        }
        file
    }

    /// Runs a test once for each language and store. Without a policy of its own it shares the proxy with other tests, and
    /// must leave the clock alone.
    pub fn everywhere(self, test: impl Fn(&Place)) {
        if self.policy.is_empty() { World::shared(self).each(test) } else { World::of(self).each(test) }
    }
}

/// What the keys of a proxy in this directory begin with.
fn prefix(kept: &Path) -> String {
    format!("{}:", kept.file_name().unwrap_or_default().display())
}

/// Runs a test once for each language and store, with the defaults.
pub fn everywhere(test: impl Fn(&Place)) {
    Setup::default().everywhere(test);
}

/// A proxy that runs until the test program ends.
///
/// It is never ended before: pingora finds runtimes by the threads that ask, and would take that of a proxy which has ended
/// for that of one which began later.
pub struct World {
    setup: Setup,
    is_shared: bool,
    directory: PathBuf,
    /// Where the sessions lie.
    kept: PathBuf,
    /// The time.
    pub clock: Arc<ManualClock>,
    /// What is configured.
    pub config: Config,
}

impl World {
    /// Starts it.
    pub fn of(setup: Setup) -> Self {
        let directory = new_directory();
        // The store of the server removes what has ended by the server's own clock, so that ours begins at its time.
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        Self::start(setup, directory.clone(), directory, clock)
    }

    /// The one that all tests with this set-up share: each costs threads, and looks into its stores all the time.
    fn shared(setup: Setup) -> Arc<Self> {
        static SHARED: Mutex<Vec<Arc<World>>> = Mutex::new(Vec::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = shared.iter().find(|world| world.setup == setup) {
            return Arc::clone(world);
        }
        let world = Arc::new(Self { is_shared: true, ..Self::of(setup) });
        shared.push(Arc::clone(&world));
        world
    }

    /// The clock, for who has it alone.
    fn own_clock(&self) -> &ManualClock {
        assert!(!self.is_shared, "other tests go by this clock: give the test a world of its own");
        &self.clock
    }

    /// Starts another one over the same sessions, by the same clock.
    pub fn beside(&self, setup: Setup) -> Self {
        Self::start(setup, new_directory(), self.kept.clone(), Arc::clone(&self.clock))
    }

    fn start(setup: Setup, directory: PathBuf, kept: PathBuf, clock: Arc<ManualClock>) -> Self {
        let file = setup.file(&directory, &kept);
        let config = parse(&file, "rows.toml").unwrap_or_else(|problems| panic!("{problems}\n{file}"));
        let server = Server::start_at(config.clone(), Arc::<ManualClock>::clone(&clock)).unwrap();
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || server.run(std::future::pending(), move || ready.send(()).unwrap()));
        is_ready.recv().unwrap();
        Self { setup, is_shared: false, directory, kept, clock, config }
    }

    /// Runs a test once for each language and store.
    pub fn each(&self, test: impl Fn(&Place)) {
        self.places().for_each(|place| test(&place));
    }

    /// Each language over each store.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.setup.stores().flat_map(|store| LANGUAGES.map(|(language, _)| self.place(language, store)))
    }

    /// The application in this language over this store.
    pub fn place(&self, language: &str, store: &'static str) -> Place<'_> {
        Place { world: self, store, host: format!("{language}.{store}.example") }
    }

    /// A connection to the admin socket.
    pub fn operator(&self) -> Client {
        Client::unix(&self.directory.join("admin.sock"))
    }

    /// How many requests there are that have no answer yet.
    pub fn requests_under_way(&self) -> u64 {
        let status = self.operator().ask(&get("/v1/status"));
        serde_json::from_slice::<Value>(&status.body).unwrap()["requests"].as_u64().unwrap()
    }

    /// The directory of the disk store.
    pub fn state_dir(&self) -> PathBuf {
        self.kept.join("state")
    }

    /// What the Redis server keeps for it, by key.
    pub fn in_redis(&self) -> Vec<String> {
        let redis::Value::Array(keys) = BACKENDS.redis.run(&["KEYS", &format!("{}*", prefix(&self.kept))]) else {
            panic!("no list of keys")
        };
        keys.iter().map(text).collect()
    }

    /// A connection.
    pub fn client(&self) -> Client {
        Client::unix(&self.directory.join("web.sock"))
    }
}

fn new_directory() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let directory = BACKENDS.directory.join(format!("w{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir(&directory).unwrap();
    directory
}

/// What is wrong with a configuration; see `support::complete` for what it need not say.
pub fn problems(config: &str) -> String {
    let whole = complete(config, "http://127.0.0.1:9").replace("@web", "127.0.0.1:8080");
    parse(&whole, "rows.toml").expect_err("it should not start").to_string()
}

/// A configuration that is right, as it is meant.
pub fn resolved(config: &str) -> Config {
    let whole = complete(config, "http://127.0.0.1:9").replace("@web", "127.0.0.1:8080");
    parse(&whole, "rows.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

/// One application over one store.
pub struct Place<'w> {
    /// The proxy in front.
    pub world: &'w World,
    /// The store, and the policy.
    pub store: &'static str,
    host: String,
}

impl Place<'_> {
    /// Somebody without cookies.
    pub fn visitor(&self) -> Visitor<'_> {
        Visitor { place: self, jar: Jar::default() }
    }

    /// Somebody with these cookies.
    pub fn visitor_with(&self, jar: &Jar) -> Visitor<'_> {
        Visitor { place: self, jar: jar.clone() }
    }

    /// Moves the clock on.
    pub fn pass(&self, seconds: u64) {
        self.world.own_clock().advance(Duration::from_secs(seconds));
    }

    /// Moves the clock on by less than a second.
    pub fn pass_millis(&self, millis: u64) {
        self.world.own_clock().advance(Duration::from_millis(millis));
    }

    /// Puts the clock back.
    pub fn back(&self, seconds: u64) {
        let now = self.world.clock.now().as_millis();
        self.world.own_clock().set(Timestamp::from_millis(now - seconds * 1000));
    }

    /// The time, in seconds since 1970.
    pub fn now(&self) -> u64 {
        self.world.clock.now().as_secs()
    }

    /// Somebody whose session has this key.
    pub fn visitor_who_set(&self, key: &str, value: &str) -> Visitor<'_> {
        let mut visitor = self.visitor();
        assert_eq!(visitor.visit(&page().set(key, value)).got.set_cookies().len(), 1, "a session begins");
        visitor
    }

    /// Whether the browser keeps the session itself.
    pub fn is_in_cookie(&self) -> bool {
        self.store == COOKIE
    }

    /// The name of the session's cookie.
    pub fn cookie_name(&self) -> String {
        let policies = &self.world.config.policies;
        policies.iter().find(|policy| policy.options.name == self.store).unwrap().options.cookie.name().to_string()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- at {}", self.host);
        }
    }
}

/// Somebody with a cookie jar.
pub struct Visitor<'p> {
    place: &'p Place<'p>,
    /// The cookies.
    pub jar: Jar,
}

/// One exchange from both ends.
#[derive(Debug)]
pub struct Visit {
    /// The answer as the browser got it.
    pub got: Message,
    saw: Option<Saw>,
}

impl Visit {
    /// What the application saw.
    pub fn saw(&self) -> &Saw {
        self.saw.as_ref().unwrap_or_else(|| panic!("the application's page did not come: {:?}", self.got))
    }

    /// Whether the page of the application came.
    pub fn is_page(&self) -> bool {
        self.saw.is_some()
    }

    /// The only `Set-Cookie`.
    pub fn cookie(&self) -> SetCookie {
        SetCookie::only(&self.got)
    }

    /// Nothing was given to the browser.
    pub fn sets_no_cookie(&self) -> &Self {
        assert_eq!(self.got.set_cookies(), Vec::<String>::new());
        self
    }
}

impl<'p> Visitor<'p> {
    /// A request, and what became of it.
    pub fn visit(&mut self, page: &Page) -> Visit {
        let got = self.place.world.client().ask(&page.ask(&self.place.host, self.jar.line().as_deref()));
        self.keep(got)
    }

    fn keep(&mut self, got: Message) -> Visit {
        self.jar.keep(&got);
        Visit { saw: Saw::read(&got), got }
    }

    /// What the application sees now.
    pub fn look(&mut self) -> Saw {
        self.visit(&page()).saw().clone()
    }

    /// Sends a request whose application does not answer before [`Held::finish`]; it has it when this returns.
    pub fn begin(&self, page: Page) -> Held {
        let held = self.send(page);
        eventually("the application has the request", || held.has_come());
        held
    }

    /// Sends a request whose application does not answer before [`Held::finish`].
    pub fn send(&self, page: Page) -> Held {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = BACKENDS.directory.join(format!("hold{number}"));
        let ask = page.held_at(&path.display().to_string()).ask(&self.place.host, self.jar.line().as_deref());
        let mut client = self.place.world.client();
        let answer = thread::spawn(move || client.ask(&ask));
        Held { answer, path }
    }

    /// The value of the session's cookie.
    pub fn ticket(&self) -> String {
        self.jar.value(&self.place.cookie_name()).expect("a session cookie")
    }

    /// Somebody else with the same cookies.
    pub fn twin(&self) -> Visitor<'p> {
        Visitor { place: self.place, jar: self.jar.clone() }
    }
}

/// A request that an application holds back.
pub struct Held {
    answer: JoinHandle<Message>,
    path: PathBuf,
}

impl Held {
    /// Whether the application has the request.
    pub fn has_come(&self) -> bool {
        self.path.with_extension("here").exists()
    }

    /// Lets the application answer, to this visitor.
    pub fn finish(self, visitor: &mut Visitor<'_>) -> Visit {
        fs::write(self.path.with_extension("go"), "").unwrap();
        visitor.keep(self.answer.join().unwrap())
    }
}
