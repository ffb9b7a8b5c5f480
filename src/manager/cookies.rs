//! Which `Set-Cookie` lines an answer owes to the browser.

use super::{Committed, Origin, Session, SessionManager};
use crate::clock::Timestamp;
use crate::codec::{Freshness, seal_ticket};
use crate::cookie::Attributes;
use crate::session::{CookieChoices, Record, SessionId, State, View};
use std::iter;

impl SessionManager {
    /// What the answer owes to a session that does not change: a token under today's key, the removal of a dead cookie.
    pub(super) fn upkeep(&self, session: &Session, now: Timestamp) -> Committed {
        let cookies = match (&session.origin, &session.snapshot) {
            (Origin::Carried { freshness: Freshness::Outdated }, Some(snapshot)) => {
                let view = View::parse(&snapshot.bytes).ok();
                view.and_then(|view| self.reissued(&view, snapshot, session, now)).unwrap_or_default()
            }
            (Origin::Ended { moved: false }, _) => self.removal_everywhere(session, None),
            (Origin::Fresh, _) if session.state == State::Invalid => self.removal_everywhere(session, None),
            _ => Vec::new(),
        };
        Committed { cookies, ..Committed::default() }
    }

    /// Hands out the ticket of a session in a store; the pieces of a session that the browser kept before go away.
    pub(super) fn issue_ticket(
        &self,
        id: &SessionId,
        record: &Record,
        session: &Session,
        now: Timestamp,
    ) -> Vec<String> {
        let ticket = seal_ticket(&self.ring, &self.binding, id);
        let end = self.options.expiry.end(record.age());
        let mut lines = self.policy().issue(&ticket, attributes(record), end, now).unwrap_or_default();
        lines.extend(
            session.pieces.iter().flatten().map(|piece| self.policy().remove(Some(*piece), Attributes::default())),
        );
        lines
    }

    /// Removes every cookie of our name that came.
    pub(super) fn removal_lines(&self, session: &Session, own: Attributes<'_>) -> Vec<String> {
        session.pieces.iter().map(|piece| self.policy().remove(*piece, own)).collect()
    }

    /// Removes the cookies that came from every place that `X-Session-Cookie` may have chosen, but for the place of
    /// `spared`: which one it was is not known any more.
    pub(super) fn removal_everywhere(&self, session: &Session, spared: Option<Attributes<'_>>) -> Vec<String> {
        let CookieChoices { paths, domains } = &self.options.choices;
        let options = self.policy().options();
        let place = |path: Option<&str>, domain: Option<&str>| {
            (path.unwrap_or(&options.path).to_owned(), domain.or(options.domain.as_deref()).map(str::to_owned))
        };
        let spared = spared.map(|own| place(own.path, own.domain));
        let mut lines = Vec::new();
        for path in iter::once(None).chain(paths.iter().map(|path| Some(path.as_str()))) {
            for domain in iter::once(None).chain(domains.iter().map(|domain| Some(domain.as_str()))) {
                if spared != Some(place(path, domain)) {
                    lines.extend(self.removal_lines(session, Attributes { path, domain, persistent: None }));
                }
            }
        }
        lines
    }
}

/// What one session changes about its cookie.
pub(super) fn attributes(record: &Record) -> Attributes<'_> {
    Attributes { path: record.path.as_deref(), domain: record.domain.as_deref(), persistent: record.persistent }
}
