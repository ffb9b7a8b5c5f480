//! What the hooks of one request share, and the snapshot of the configuration that they all see.

use super::admission::Survey;
use super::gate::Gated;
use super::options::{Goal, ListenerOptions, ProxyOptions, RouteOptions};
use super::reply::Failure;
use super::site_data::Forgotten;
use super::upstream::Upstream;
use crate::codec::KeyRing;
use crate::cookie::CookieName;
use crate::cookie::header::Rest;
use crate::manager::{Creations, Event, Session, SessionManager, Whereabouts};
use crate::route::RouteTable;
use crate::wire::Reserved;
use crate::wire::request::{Fields, Told, Voice};
use crate::wire::response::Commands;
use http::HeaderValue;
use pingora::protocols::http::ServerSession;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// One session policy at work: who keeps its sessions, how it speaks, how it listens.
#[derive(Debug)]
pub struct Policy {
    /// Keeps its sessions.
    pub manager: Arc<SessionManager>,
    /// Writes its request headers.
    pub voice: Voice,
    /// Reads its response headers.
    pub commands: Commands,
}

/// Everything that a reload may change; taken once for each request.
#[derive(Debug)]
pub struct Snapshot {
    /// The routes, each with its place in `targets`.
    pub routes: RouteTable<usize>,
    /// What the routes lead to.
    pub targets: Vec<RouteOptions>,
    /// The upstreams.
    pub upstreams: Vec<Upstream>,
    /// The session policies.
    pub policies: Vec<Policy>,
    /// The cookie names of the policies, in the same order.
    pub cookie_names: Vec<CookieName>,
    /// The operator's keys, for the cookies of backends.
    pub ring: Arc<KeyRing>,
    /// Every header name that belongs to us.
    pub reserved: Reserved,
    /// How many sessions an address may begin, where that is limited.
    pub creations: Option<Arc<Creations>>,
    /// What holds for every request.
    pub options: ProxyOptions,
}

impl Snapshot {
    /// The upstream of a route; none where we answer ourselves.
    #[must_use]
    pub fn upstream(&self, target: usize) -> Option<&Upstream> {
        match self.targets[target].goal {
            Goal::Upstream(upstream) => Some(&self.upstreams[upstream]),
            Goal::Status => None,
        }
    }
}

/// Counts the requests that are being answered.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// How many are being answered now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn enter(&self) -> Entered {
        self.0.fetch_add(1, Ordering::AcqRel);
        Entered(Arc::clone(&self.0))
    }
}

/// One request that is being answered; leaves the count on drop.
#[derive(Debug)]
pub(super) struct Entered(Arc<AtomicUsize>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What one session adds to a request.
#[derive(Debug)]
pub struct Portion {
    /// Where its headers end among those to be injected; they begin where those of the session before it end.
    pub end: usize,
    /// The nonce that was sent.
    pub nonce: Option<HeaderValue>,
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No final answer has come.
    Asking,
    /// One has been heard: no other is.
    Answered,
    /// It was heard in vain: the sessions are to be read again, and the backend is asked once more.
    Outdated,
}

/// What a routed request carries from the request to the answer.
#[derive(Debug)]
pub struct Exchange {
    /// The route, by its place in the snapshot.
    pub target: usize,
    /// The request target for the backend, where the route cuts a prefix off.
    pub cut_target: Option<Vec<u8>>,
    /// The request extends the sessions, unless the backend says otherwise.
    pub is_use: bool,
    /// The sessions of the route, in the order of the file.
    pub sessions: SmallVec<[Session; 1]>,
    /// What the backend was told about each.
    pub told: SmallVec<[Told; 1]>,
    /// What of `inject` belongs to each, and the nonce that its answer may owe.
    pub portions: SmallVec<[Portion; 1]>,
    /// The headers to inject, made once and used on every attempt.
    pub inject: Fields,
    /// `Cookie` without our own.
    pub cookies: Rest,
    /// We have told the client to go on with its body.
    pub continued: bool,
    /// Servers that could not be reached, and last the one that is asked.
    pub tried: SmallVec<[usize; 2]>,
    /// How often the request was sent again after it may have been sent before.
    pub resent: usize,
    /// How often the backend was asked again because a session was not what it had been told.
    pub replays: usize,
    /// How far it has come.
    pub stage: Stage,
    /// Where each session is to be found since then, in their order; empty when nothing was committed.
    pub whereabouts: SmallVec<[Whereabouts; 1]>,
    /// `Set-Cookie` lines that the answer must carry.
    pub set_cookies: SmallVec<[String; 1]>,
    /// What the browser is to forget, since a session of its was ended.
    pub forgotten: Forgotten,
    /// What happened to the first session, for the log.
    pub event: Option<Event>,
}

impl Exchange {
    /// A request that has found its route.
    #[must_use]
    pub fn new(target: usize, cookies: Rest, is_use: bool) -> Self {
        Self {
            target,
            cut_target: None,
            is_use,
            sessions: SmallVec::new(),
            told: SmallVec::new(),
            portions: SmallVec::new(),
            inject: Fields::new(),
            cookies,
            continued: false,
            tried: SmallVec::new(),
            resent: 0,
            replays: 0,
            stage: Stage::Asking,
            whereabouts: SmallVec::new(),
            set_cookies: SmallVec::new(),
            forgotten: Forgotten::new(),
            event: None,
        }
    }

    /// Whether others wait for a session until the request gives it back.
    pub(super) fn is_locked(&self) -> bool {
        self.sessions.iter().any(Session::is_locked)
    }

    /// Forgets what the backend was told and what it has answered; the sessions, and what could not be reached, stay.
    pub(super) fn begin_again(&mut self) {
        self.told.clear();
        self.portions.clear();
        self.inject.clear();
        self.tried.pop(); // it could be reached
        self.replays += 1;
        self.stage = Stage::Asking;
        self.whereabouts.clear();
        self.set_cookies.clear();
        self.event = None;
    }
}

/// One request.
#[derive(Debug)]
pub struct Context {
    /// The configuration as it was when the request came.
    pub snapshot: Arc<Snapshot>,
    /// When the request came.
    pub started: Instant,
    /// The listener that it came by.
    pub listener: Option<Arc<ListenerOptions>>,
    /// Set once a route has been found and its sessions are known. Boxed: the hooks' futures are moved around a lot.
    pub exchange: Option<Box<Exchange>>,
    /// What the fields of the request tell at a glance.
    pub survey: Survey,
    /// Bytes of the body that have come.
    pub body_bytes: u64,
    /// Why we answer ourselves.
    pub failure: Option<Failure>,
    pub(super) _in_flight: Entered,
}

impl Context {
    /// Remembers why we answer ourselves, as the error that ends the hook.
    pub fn fail(&mut self, failure: Failure) -> pingora::BError {
        self.failure = Some(failure);
        failure.error()
    }
}

/// The gate of the connection that a request came by; HTTP/1 only.
pub fn gate(downstream: &ServerSession) -> Option<&Gated> {
    downstream.as_http1().and_then(|http| Gated::of(http.stream()))
}
