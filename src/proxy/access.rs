//! What is told to the operator: never an id, a token, a value, a cookie or a query string (LG1, LG3).

use super::Downstream;
use super::context::Context;
use super::reply::Failure;
use super::seldom::Seldom;
use crate::manager::{Committed, Event, Keep, PolicyOptions, Session, SessionError};
use crate::session::{Head, Refused};
use crate::store::StoreError;
use http::HeaderName;
use pingora::Error;
use std::error::Error as _;
use std::mem::{self, Discriminant};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Writes the access line of a request.
pub(super) fn log(downstream: &Downstream, error: Option<&Error>, ctx: &Context) {
    if !ctx.snapshot.options.access_log {
        if let Some(error) = error.filter(|_| ctx.failure.is_none()) {
            tracing::warn!(error = %error.etype().as_str(), "a request failed");
        }
        return;
    }
    let request = downstream.req_header();
    let status = downstream.response_written().map_or(0, |response| response.status.as_u16());
    let exchange = ctx.exchange.as_ref();
    let route = exchange.map(|exchange| &ctx.snapshot.targets[exchange.target]);
    let upstream = exchange.and_then(|exchange| {
        let asked = exchange.tried.last().zip(ctx.snapshot.upstream(exchange.target));
        asked.map(|(server, upstream)| upstream.label(*server))
    });
    let session = exchange.and_then(|exchange| exchange.sessions.first());
    let reason = ctx.failure.map(Failure::as_str).or(error.map(|error| error.etype().as_str()));
    tracing::info!(
        target: "cloakroom::access",
        client = %client(downstream),
        method = %request.method,
        path = %printable(request.uri.path()),
        status,
        route = route.map_or("-", |route| route.name.as_str()),
        upstream = upstream.unwrap_or("-"),
        session = session.map_or("-", |session| session.state().as_str()),
        reference = session.and_then(reference),
        event = exchange.and_then(|exchange| exchange.event).map(Event::as_str),
        replays = exchange.map(|exchange| exchange.replays).filter(|replays| *replays > 0),
        spoofed = (!ctx.survey.spoofed.is_empty()).then_some(ctx.survey.spoofed.len()),
        reason,
        bytes = downstream.body_bytes_sent(),
        micros = u64::try_from(ctx.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request"
    );
}

/// Tells what happened to a session (LG2).
pub(super) fn report_event(policy: &PolicyOptions, session: &Session, committed: &Committed) {
    let Some(event @ (Event::Created | Event::Renewed | Event::Destroyed | Event::Emptied)) = committed.event else {
        return;
    };
    let reference = committed.began.map(|lineage| lineage.to_string()).or_else(|| reference(session));
    tracing::info!(target: "cloakroom::session", policy = policy.name, reference, "{}", event.as_str());
}

/// Tells why a backend's commands were refused.
pub(super) fn report_refused(policy: &PolicyOptions, route: &str, refused: &Refused, outcome: &str) {
    let reason = refused.reason.as_str();
    tracing::warn!(target: "cloakroom::session", policy = policy.name, route, reason, detail = refused.detail, "commands refused: {outcome}");
}

/// Tells that a backend is asked again, since what it was told does not hold any more.
pub(super) fn report_replay(policy: &PolicyOptions, route: &str, refused: &Refused) {
    let detail = &refused.detail;
    tracing::debug!(target: "cloakroom::session", policy = policy.name, route, detail, "the request is sent again with the newest session");
}

/// Tells that a backend used names that are no commands.
pub(super) fn report_unknown_commands(policy: &PolicyOptions, route: &str, count: usize) {
    tracing::debug!(target: "cloakroom::session", policy = policy.name, route, count, "headers that are no command were removed");
}

/// How often one client is named for headers in our name space.
const SPOOF_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Who was named lately for headers in our name space.
#[derive(Debug)]
pub(super) struct SpoofLog(Seldom<Option<IpAddr>>);

impl Default for SpoofLog {
    fn default() -> Self {
        Self(Seldom::new(SPOOF_LOG_INTERVAL))
    }
}

impl SpoofLog {
    /// Tells that a client sent headers in our name space: once a minute for each client.
    pub(super) fn report(&self, downstream: &Downstream, names: &[HeaderName]) {
        let address = downstream.client_addr().and_then(|address| address.as_inet()).map(std::net::SocketAddr::ip);
        if self.0.due(address, Instant::now()).is_some() {
            let (header, count) = (names.first().map_or("", HeaderName::as_str), names.len());
            tracing::warn!(client = %client(downstream), header, count, "a client's headers in our name space were removed");
        }
    }
}

/// How often the same refusal on the same route is told.
const CSRF_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Which refusals of requests without their token were told lately: the route, and why.
#[derive(Debug)]
pub(super) struct CsrfLog(Seldom<(String, Failure)>);

impl Default for CsrfLog {
    fn default() -> Self {
        Self(Seldom::new(CSRF_LOG_INTERVAL))
    }
}

impl CsrfLog {
    /// Tells that a request was refused, and how many were since it was told last: once a minute for each route.
    pub(super) fn report(&self, downstream: &Downstream, route: &str, failure: Failure) {
        if let Some(missed) = self.0.due((route.to_owned(), failure), Instant::now()) {
            let (reason, missed) = (failure.as_str(), (missed > 0).then_some(missed));
            tracing::warn!(client = %client(downstream), route, reason, missed, "a request was refused that another site may have caused");
        }
    }
}

/// How often the same trouble with a store is told.
const OUTAGE_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Which troubles with which stores were told lately: a store that fails does so for every request.
#[derive(Debug)]
pub(super) struct OutageLog(Seldom<Trouble>);

/// What is told apart: the store, what it said, and whether a visitor was turned away for it.
type Trouble = (String, Discriminant<SessionError>, Option<Discriminant<StoreError>>, bool);

impl Default for OutageLog {
    fn default() -> Self {
        Self(Seldom::new(OUTAGE_LOG_INTERVAL))
    }
}

impl OutageLog {
    /// Tells that a session's fate is unknown.
    pub(super) fn report(&self, policy: &PolicyOptions, error: &SessionError) {
        if let Some((store, missed)) = self.due(policy, error, true) {
            let cause = causes(error);
            tracing::error!(target: "cloakroom::session", policy = policy.name, store, missed, "{error}{cause}");
        }
    }

    /// Tells that a session's activity was not written down.
    pub(super) fn report_unwritten(&self, policy: &PolicyOptions, error: &SessionError) {
        if let Some((store, missed)) = self.due(policy, error, false) {
            let cause = causes(error);
            tracing::warn!(
                target: "cloakroom::session",
                policy = policy.name,
                store,
                missed,
                "the session's activity was not written down: {error}{cause}"
            );
        }
    }

    /// Tells that what happened to a session could not be noted in its history.
    pub(super) fn report_forgotten(&self, policy: &PolicyOptions, error: &SessionError) {
        if let Some((store, missed)) = self.due(policy, error, false) {
            let cause = causes(error);
            tracing::warn!(
                target: "cloakroom::session",
                policy = policy.name,
                store,
                missed,
                "the history of a session lacks what happened: {error}{cause}"
            );
        }
    }

    /// Where it happened, and how often since it was told last, when it is to be told again.
    fn due<'p>(
        &self,
        policy: &'p PolicyOptions,
        error: &SessionError,
        is_felt: bool,
    ) -> Option<(&'p str, Option<u64>)> {
        let store = match &policy.keep {
            Keep::Store(store) => store,
            Keep::Browser(_) => &policy.name,
        };
        let said = match error {
            SessionError::Store(said) => Some(mem::discriminant(said)),
            _ => None,
        };
        let missed = self.0.due((store.clone(), mem::discriminant(error), said, is_felt), Instant::now())?;
        Some((store, (missed > 0).then_some(missed)))
    }
}

/// How often it is told that the same cookie was withheld.
const COOKIE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Which cookies of backends were withheld lately, by route and name.
#[derive(Debug)]
pub(super) struct CookieLog(Seldom<(String, String)>);

impl Default for CookieLog {
    fn default() -> Self {
        Self(Seldom::new(COOKIE_LOG_INTERVAL))
    }
}

impl CookieLog {
    /// Tells that a cookie could not be protected, and so did not go to the browser.
    pub(super) fn report(&self, route: &str, name: &[u8], reason: &str) {
        let cookie: String = name.escape_ascii().take(128).map(char::from).collect();
        if self.0.due((route.to_owned(), cookie.clone()), Instant::now()).is_some() {
            tracing::warn!(target: "cloakroom::cookies", route, cookie, "a cookie of the backend was withheld: {reason}");
        }
    }
}

/// How often a session is named whose visitor has changed.
const STRANGER_LOG_INTERVAL: Duration = Duration::from_secs(600);

/// Which sessions were named lately since their visitor has changed, and what had.
#[derive(Debug)]
pub(super) struct StrangerLog(Seldom<(Option<String>, &'static str)>);

impl Default for StrangerLog {
    fn default() -> Self {
        Self(Seldom::new(STRANGER_LOG_INTERVAL))
    }
}

impl StrangerLog {
    /// Tells that a session is used by who does not look like the one that it is bound to (SL14).
    pub(super) fn report(&self, policy: &PolicyOptions, session: &Session, changed: &'static str) {
        let reference = reference(session);
        if self.0.due((reference.clone(), changed), Instant::now()).is_some() {
            tracing::warn!(target: "cloakroom::session", policy = policy.name, reference, changed, "the visitor of a session has changed");
        }
    }
}

/// What lies behind an error, as the rest of its sentence.
fn causes(error: &SessionError) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

fn reference(session: &Session) -> Option<String> {
    Head::parse(&session.snapshot()?.bytes).ok().map(|head| head.lineage.to_string())
}

fn client(downstream: &Downstream) -> String {
    let address = downstream.client_addr().and_then(|address| address.as_inet());
    address.map_or_else(|| String::from("unix"), |address| address.ip().to_string())
}

/// A client's bytes as they may stand in a log (LG3), and not too many of them.
fn printable(text: &str) -> String {
    text.chars().take(512).flat_map(char::escape_default).collect()
}
