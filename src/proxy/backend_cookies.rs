//! The backend's own cookies, by the rules of the route: what it gets to see of those that came, and what the browser
//! gets to see of those that it sets. Ours are cut out before.

use super::access::CookieLog;
use super::context::Snapshot;
use super::options::{CookieAction, CookieRule, RouteOptions};
use crate::clock::Timestamp;
use crate::codec::{Binding, KeyRing, TokenMode, open_token, seal_token};
use crate::cookie::header::Rest;
use crate::cookie::jar::{self, Company, Kept, Place};
use crate::cookie::strangers::{Fate, hidden, rewrite};
use crate::cookie::{Hardening, MAX_COOKIE_BYTES, SameSite, SetCookie};
use crate::manager::Session;
use crate::session::{CrossSite, Held, View};
use http::HeaderValue;
use http::header::SET_COOKIE;
use pingora::http::{RequestHeader, ResponseHeader};
use smallvec::SmallVec;

/// Cookies that sessions are to hold, each with the index of its session.
pub(super) type Received = SmallVec<[(usize, Held<'static>); 1]>;

impl CookieAction {
    /// Whether a client's word for such a cookie must not reach the backend, however it is spelled.
    const fn is_guarded(self) -> bool {
        match self {
            Self::Pass | Self::Harden(_) => false,
            Self::Protect(..) | Self::Hold(_) | Self::Drop => true,
        }
    }
}

impl RouteOptions {
    /// Whether sessions of the route hold cookies.
    pub(super) fn holds_cookies(&self) -> bool {
        self.cookies.iter().any(|rule| matches!(rule.action, CookieAction::Hold(_)))
    }
}

/// Where a request went, as its browser knows it.
pub(super) fn place<'a>(request: &'a RequestHeader, host: &'a str, is_secure: bool) -> Place<'a> {
    let is = |name: &str, value: &str| request.headers.get(name).is_some_and(|found| found == value);
    let company = match (is("sec-fetch-site", "cross-site"), is("sec-fetch-mode", "navigate")) {
        (false, _) => Company::Own,
        (true, true) if request.method.is_safe() => Company::Link,
        (true, _) => Company::Stranger,
    };
    Place::new(host, request.uri.path(), is_secure, company)
}

/// The counter where cookies of a backend change hands, for one request.
pub(super) struct Counter<'a> {
    route: &'a RouteOptions,
    ring: &'a KeyRing,
    /// Whose the cookies are: one backend's do not pass for another's.
    scope: &'a str,
    now: Timestamp,
}

impl<'a> Counter<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, target: usize, now: Timestamp) -> Self {
        let route = &snapshot.targets[target];
        let scope = snapshot.upstream(target).map_or("", |upstream| &upstream.options().name);
        Self { route, ring: &snapshot.ring, scope, now }
    }

    fn rule(&self, name: &[u8]) -> Option<&'a CookieRule> {
        self.route.cookies.iter().find(|rule| rule.names.matches(name))
    }

    /// Whether some backend may take `name` for a cookie that a client must not send.
    fn is_planted(&self, name: &[u8]) -> bool {
        match self.rule(name) {
            Some(rule) => rule.action.is_guarded(),
            None => self.route.cookies.iter().any(|rule| rule.action.is_guarded() && rule.names.resembles(name)),
        }
    }

    /// What the backend gets to see of `rest`, the cookies that are not ours; `line` is what came, where nothing was cut
    /// out.
    pub(super) fn forwarded(&self, line: Option<&HeaderValue>, rest: Rest) -> Rest {
        let came = match &rest {
            Rest::Untouched => line.map(HeaderValue::as_bytes),
            Rest::Nothing => None,
            Rest::Line(line) => Some(line.as_slice()),
        };
        match came.and_then(|line| rewrite(line, |name, value| self.fate(name, value))) {
            None => rest,
            Some(line) if line.trim_ascii().is_empty() => Rest::Nothing,
            Some(line) => Rest::Line(line),
        }
    }

    /// What becomes of a cookie that a client sent.
    fn fate(&self, name: &[u8], value: Option<&[u8]>) -> Fate {
        if let (Some(CookieAction::Protect(mode, _)), Some(value)) = (self.rule(name).map(|rule| rule.action), value) {
            return self.opened(name, value, mode).map_or(Fate::Remove, Fate::Replace);
        }
        let hides = value.is_some_and(|value| hidden(value).any(|name| self.is_planted(name)));
        if hides || self.is_planted(name) { Fate::Remove } else { Fate::Keep }
    }

    fn opened(&self, name: &[u8], value: &[u8], mode: TokenMode) -> Option<Vec<u8>> {
        let opened = open_token(self.ring, &Binding::of_backend(name, self.scope), mode, value).ok()?;
        (!opened.deadline.has_passed(self.now)).then(|| opened.record.into())
    }

    /// Appends the cookies that the sessions hold for this request.
    pub(super) fn with_held(
        &self,
        line: Option<&HeaderValue>,
        rest: Rest,
        sessions: &[Session],
        place: &Place<'_>,
    ) -> Rest {
        let mut cookies = Vec::new();
        for (index, session) in sessions.iter().enumerate() {
            let view = session.snapshot().and_then(|snapshot| View::parse(&snapshot.bytes).ok());
            // Rules may have changed since, and another route may have others.
            let is_held =
                |held: &Held<'_>| self.rule(&held.name).is_some_and(|rule| rule.action == CookieAction::Hold(index));
            let held = view.and_then(|view| view.held().ok()).into_iter().flatten().filter(is_held).map(kept);
            cookies.extend(held.filter(|cookie| cookie.is_for(place, self.now)));
        }
        if cookies.is_empty() {
            return rest;
        }
        let mut line = match rest {
            Rest::Untouched => line.map(|line| line.as_bytes().to_vec()).unwrap_or_default(),
            Rest::Nothing => Vec::new(),
            Rest::Line(line) => line,
        };
        jar::append(&mut line, cookies);
        Rest::Line(line)
    }

    /// Does to the `Set-Cookie` lines of an answer what the rules say; lines without a rule stay as they came.
    ///
    /// Returns what the sessions are to hold, each cookie with the index of its session.
    pub(super) fn receive(
        &self,
        response: &mut ResponseHeader,
        sessions: &[Session],
        place: &Place<'_>,
        log: &CookieLog,
    ) -> Received {
        let mut held = Received::new();
        let lines: Vec<HeaderValue> = response.headers.get_all(SET_COOKIE).iter().cloned().collect();
        response.remove_header(&SET_COOKIE);
        for line in lines {
            if let Some((session, cookie)) = self.to_hold(&line) {
                held.extend(self.held(&cookie, &sessions[session], place, log).map(|cookie| (session, cookie)));
            } else if let Some(line) = self.delivered(line, log) {
                // The value can be a header: it came as one, or has no other octets than one that did.
                drop(response.append_header(SET_COOKIE, line));
            }
        }
        held
    }

    /// A cookie that a session is to hold, and the index of that session.
    fn to_hold<'l>(&self, line: &'l HeaderValue) -> Option<(usize, SetCookie<'l>)> {
        let cookie = SetCookie::parse(line.as_bytes())?;
        match self.rule(cookie.name)?.action {
            CookieAction::Hold(session) => Some((session, cookie)),
            _ => None,
        }
    }

    /// The cookie as the session holds it; `None` where a browser would not keep it.
    fn held(
        &self,
        cookie: &SetCookie<'_>,
        session: &Session,
        place: &Place<'_>,
        log: &CookieLog,
    ) -> Option<Held<'static>> {
        let kept = jar::receive(cookie, place, self.now).filter(|kept| !is_overlay(kept, session, place));
        if kept.is_none() {
            log.report(&self.route.name, cookie.name, "a browser would not take it from here");
        }
        kept.map(owned)
    }

    /// The line that the browser gets.
    fn delivered(&self, line: HeaderValue, log: &CookieLog) -> Option<HeaderValue> {
        let Some(cookie) = SetCookie::parse(line.as_bytes()) else { return Some(line) };
        match self.rule(cookie.name).map_or(CookieAction::Pass, |rule| rule.action) {
            CookieAction::Pass => Some(line),
            CookieAction::Harden(hardening) => {
                HeaderValue::from_bytes(&hardening.apply(line.as_bytes(), &cookie, None)).ok()
            }
            CookieAction::Protect(mode, hardening) => match self.protected(line.as_bytes(), &cookie, mode, hardening) {
                Ok(line) => HeaderValue::from_bytes(&line).ok(),
                Err(reason) => {
                    log.report(&self.route.name, cookie.name, reason);
                    None
                }
            },
            CookieAction::Hold(_) | CookieAction::Drop => None,
        }
    }

    /// A line whose value nobody can change, and which ends when the cookie ends, whatever a browser does.
    fn protected(
        &self,
        line: &[u8],
        cookie: &SetCookie<'_>,
        mode: TokenMode,
        hardening: Hardening,
    ) -> Result<Vec<u8>, &'static str> {
        if cookie.name.is_empty() {
            return Err("without a name it cannot be bound to one");
        }
        let binding = Binding::of_backend(cookie.name, self.scope);
        let deadline = cookie.deadline(self.now).unwrap_or(Timestamp::NEVER);
        let token = seal_token(self.ring, &binding, mode, cookie.value, deadline).ok_or("there are no random bytes")?;
        if cookie.name.len() + token.len() > MAX_COOKIE_BYTES {
            return Err("protected it is larger than browsers take");
        }
        Ok(hardening.apply(line, cookie, Some(token.as_bytes())))
    }
}

/// What comes in the clear does not put itself in front of what is held for TLS.
fn is_overlay(newer: &Kept<'_>, session: &Session, place: &Place<'_>) -> bool {
    let view = session.snapshot().filter(|_| !place.is_secure()).and_then(|snapshot| View::parse(&snapshot.bytes).ok());
    let held = view.and_then(|view| view.held().ok());
    held.into_iter().flatten().any(|held| kept(held).is_overlaid_by(newer))
}

fn kept(held: Held<'_>) -> Kept<'_> {
    let Held { name, value, domain, host_only, path, secure, cross_site, expires } = held;
    let same_site = match cross_site {
        CrossSite::Unsaid => None,
        CrossSite::Always => Some(SameSite::None),
        CrossSite::Links => Some(SameSite::Lax),
        CrossSite::Never => Some(SameSite::Strict),
    };
    Kept { name, value, domain, host_only, path, secure, same_site, expires }
}

fn owned(kept: Kept<'_>) -> Held<'static> {
    let Kept { name, value, domain, host_only, path, secure, same_site, expires } = kept;
    let cross_site = match same_site {
        None => CrossSite::Unsaid,
        Some(SameSite::None) => CrossSite::Always,
        Some(SameSite::Lax) => CrossSite::Links,
        Some(SameSite::Strict) => CrossSite::Never,
    };
    Held { name, value, domain, host_only, path, secure, cross_site, expires }.into_owned()
}
