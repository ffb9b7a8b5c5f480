//! Whole exchanges: a scripted upstream, the real binary between, a raw client.
//!
//! Everything that is waited for is waited for at most [`LIMIT`]; everything listens on loopback addresses or on sockets in
//! the test's own directory.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

pub mod client;
pub mod lasting;
pub mod message;
pub mod operator;
pub mod proxy;
pub mod tls;
pub mod upstream;

use client::{Ask, Client, Jar, get};
use message::Message;
use operator::Operator;
use proxy::Proxy;
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};
use upstream::{Answer, Upstream};

/// Nothing here takes longer, unless something is wrong.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A stream of bytes in both directions, with a limit for each wait.
pub trait Stream: Read + Write + Send {
    /// Limits each wait.
    fn limit(&self, limit: Duration);
    /// Ends the sending half.
    fn end_of_sending(&mut self);
}

impl Stream for TcpStream {
    fn limit(&self, limit: Duration) {
        drop(self.set_nodelay(true));
        drop(self.set_read_timeout(Some(limit)));
        drop(self.set_write_timeout(Some(limit)));
    }
    fn end_of_sending(&mut self) {
        client::end_tcp(self);
    }
}

impl Stream for UnixStream {
    fn limit(&self, limit: Duration) {
        drop(self.set_read_timeout(Some(limit)));
        drop(self.set_write_timeout(Some(limit)));
    }
    fn end_of_sending(&mut self) {
        drop(self.shutdown(std::net::Shutdown::Write));
    }
}

/// An upstream behind the proxy.
pub struct Site {
    /// The backend.
    pub upstream: Upstream,
    /// The proxy.
    pub proxy: Proxy,
}

impl Site {
    /// A backend that says what it is told, behind a proxy of this configuration; see [`complete`].
    pub fn new(config: &str) -> Self {
        Self::with(Upstream::new(), config)
    }

    /// A backend that answers by a script.
    pub fn answering<A: Into<Answer>>(config: &str, script: impl Fn(&Message) -> A + Send + Sync + 'static) -> Self {
        Self::with(Upstream::answering(script), config)
    }

    fn with(upstream: Upstream, config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory of its own");
        let proxy = Proxy::start(dir, &complete(config, &upstream.url()));
        Self { upstream, proxy }
    }

    /// Starts the proxy again with this configuration, over the same directory.
    pub fn restart(&self, config: &str) {
        self.proxy.restart(&complete(config, &self.upstream.url()));
    }

    /// Writes another configuration for the proxy, which does not know it yet.
    pub fn write(&self, config: &str) {
        self.proxy.write(&complete(config, &self.upstream.url()));
    }

    /// An operator at the machine.
    pub fn operator(&self) -> Operator<'_> {
        Operator(&self.proxy)
    }

    /// A connection to the proxy.
    pub fn client(&self) -> Client {
        Client::tcp(self.proxy.address())
    }

    /// Sends one request on a connection of its own.
    pub fn fetch(&self, ask: &Ask) -> Message {
        self.client().ask(ask)
    }

    /// One request and what the backend saw of it.
    pub fn exchange(&self, ask: &Ask, answer: impl Into<Answer>) -> Visit {
        self.upstream.take();
        self.upstream.will(answer);
        let got = self.fetch(ask);
        Visit { seen: self.upstream.only(), got }
    }

    /// A visitor without cookies.
    pub fn browser(&self) -> Browser<'_> {
        Browser { site: self, jar: Jar::default() }
    }
}

/// One exchange from both ends.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The request as the backend saw it.
    pub seen: Message,
    /// The answer as the client got it.
    pub got: Message,
}

/// A visitor with a cookie jar.
pub struct Browser<'s> {
    site: &'s Site,
    /// The cookies.
    pub jar: Jar,
}

impl Browser<'_> {
    /// `GET /`, which the backend answers with this.
    pub fn visit(&mut self, answer: impl Into<Answer>) -> Visit {
        self.ask(&get("/"), answer)
    }

    /// A request, which the backend answers with this.
    pub fn ask(&mut self, ask: &Ask, answer: impl Into<Answer>) -> Visit {
        let visit = self.site.exchange(&ask.clone().cookie(self.jar.line().as_deref()), answer);
        self.jar.keep(&visit.got);
        visit
    }

    /// A request, whatever the backend does about it.
    pub fn fetch(&mut self, ask: &Ask) -> Message {
        let got = self.site.fetch(&ask.clone().cookie(self.jar.line().as_deref()));
        self.jar.keep(&got);
        got
    }

    /// What the backend is told about the session now.
    pub fn look(&mut self) -> Message {
        self.visit(upstream::ok()).seen
    }

    /// The `Cookie` line.
    pub fn cookie(&self) -> String {
        self.jar.line().expect("a cookie")
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Site")
    }
}

/// A configuration with what every test needs and this one has not said: a listener, an upstream, a session policy
/// `main`, a route.
///
/// `@web` is the address of the proxy, `@app` the URL of the backend.
pub fn complete(config: &str, upstream: &str) -> String {
    let parts = [
        ("[server]", "[server]\nthreads = 2\nstate_dir = \"state\"\n"),
        ("[listeners.web]", "[listeners.web]\naddress = \"@web\"\nbehind_tls = true\n"),
        ("[upstreams.", "[upstreams.app]\nservers = [\"@app\"]\n"),
        ("[sessions.", "[sessions.main]\nstore = \"memory\"\n"),
        ("[[routes]]", "[[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n"),
    ];
    let missing = parts.iter().filter(|(mark, _)| !config.contains(mark)).map(|(_, part)| *part);
    missing.fold(format!("{config}\n"), |whole, part| whole + part).replace("@app", upstream)
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < until, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
