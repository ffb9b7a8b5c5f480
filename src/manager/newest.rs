//! From the ticket to the session: follows the aliases that a changed id leaves behind.

use super::desk::twice_if_cut;
use super::{SessionManager, Unreadable};
use crate::clock::Timestamp;
use crate::codec::AtRest;
use crate::session::{Head, Lineage, SessionId, Snapshot, Stored, View};
use crate::store::{Store, StoreError, Version};
use std::time::Duration;

/// How far an old id may be behind: each step is one `X-Session-Regenerate` within the grace, and a browser asks for up
/// to a hundred parts of a page at a time.
pub(super) const MAX_ALIASES: usize = 100;

/// A session that began later than this from now did not: some clock is wrong, or somebody's word (R20).
const MAX_SKEW: Duration = Duration::from_secs(300);

/// What a ticket leads to.
pub(super) enum Newest {
    /// A live session, under its newest id.
    Live { id: SessionId, version: Version, snapshot: Snapshot },
    /// Nothing any more.
    Ended { moved: bool },
    /// Nothing any more, since the session had nothing left to keep: nobody is logged out by that.
    Lapsed,
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A copy of bounded age will do, to show the session ([`Store::peek`]).
    Copy,
    /// What lies in the store now, to decide about the session ([`Store::load`]).
    Newest,
}

impl SessionManager {
    /// Follows an id, and the aliases behind it, to the session.
    ///
    /// A copy is believed where it speaks for the session: that it lives, or under which id it goes on. What it says
    /// against the session is looked up, since the newest record may have longer clocks. Nor can age make two other
    /// answers wrong: there are no copies of absence (law 9), and nobody writes over an alias or a tombstone.
    pub(super) async fn follow(
        &self,
        store: &dyn Store,
        at_rest: AtRest,
        mut read: Read,
        mut id: SessionId,
        now: Timestamp,
    ) -> Result<Newest, StoreError> {
        self.keep_up(read, now).await?;
        // One turn more than there may be ids: a copy that is not believed costs one.
        for _ in 0..=MAX_ALIASES + 1 {
            let key = id.store_key();
            let found = match read {
                Read::Copy => twice_if_cut(|| store.peek(&key, now)).await?,
                Read::Newest => twice_if_cut(|| store.load(&key, now)).await?,
            };
            let Some((entry, version)) = found else { return Ok(Newest::Ended { moved: false }) };
            let opened = at_rest.open(&id, &key, entry.bytes);
            let kind = opened.as_ref().ok().map(|bytes| Stored::kind(bytes));
            match (opened, kind) {
                (Ok(bytes), Some(Ok(Stored::Record))) => match readable(&bytes) {
                    Ok(head) if !self.is_over(&head, now) => {
                        let snapshot = Snapshot { bytes, deadline: entry.deadline };
                        return Ok(Newest::Live { id, version, snapshot });
                    }
                    _ if read == Read::Copy => read = Read::Newest,
                    // It may be our own clock that is wrong: what others may still use stays.
                    Ok(head) if begins_later(&head, now) => return Ok(Newest::Ended { moved: false }),
                    Ok(_) => {
                        // That it is over is known without the store.
                        if let Err(error) = twice_if_cut(|| store.delete(&key)).await {
                            tracing::debug!(session = self.options.name, %error, "the entry of a session that is over stays");
                        }
                        return Ok(Newest::Ended { moved: false });
                    }
                    Err(Unreadable) => return Ok(self.unreadable()),
                },
                (Ok(_), Some(Ok(Stored::Alias(newer)))) => id = newer,
                (Ok(_), Some(Ok(Stored::Tombstone))) => return Ok(Newest::Ended { moved: true }),
                (Ok(_), Some(Ok(Stored::Lapsed))) => return Ok(Newest::Lapsed),
                _ if read == Read::Copy => read = Read::Newest,
                _ => return Ok(self.unreadable()),
            }
        }
        // Too far behind to be followed; the browser has a newer cookie by now, which must stay.
        Ok(Newest::Ended { moved: true })
    }

    /// Whether a session is over by the operator's clocks, however active it is, or has not even begun.
    pub(super) fn is_over(&self, head: &Head, now: Timestamp) -> bool {
        let end = self.options.expiry.absolute_deadline(head.started_at, head.absolute);
        end.has_passed(now) || begins_later(head, now) || self.is_revoked(head.lineage, head.started_at)
    }

    /// Whether a session is over by the operator's word, in the file or since.
    pub(super) fn is_revoked(&self, lineage: Lineage, started_at: Timestamp) -> bool {
        self.options.not_before.is_some_and(|moment| started_at < moment)
            || self.revocations.as_ref().is_some_and(|revocations| revocations.covers(lineage, started_at))
    }

    fn unreadable(&self) -> Newest {
        tracing::warn!(session = self.options.name, "a stored record cannot be read: treated as no session");
        Newest::Ended { moved: false }
    }
}

fn begins_later(head: &Head, now: Timestamp) -> bool {
    now.until(head.started_at) > MAX_SKEW
}

/// The head of a record, when every byte of it can be read.
pub(super) fn readable(bytes: &[u8]) -> Result<Head, Unreadable> {
    let view = View::parse(bytes)?;
    view.held()?;
    view.flashes()?;
    view.leases()?;
    Ok(view.head)
}
