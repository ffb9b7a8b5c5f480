//! What it takes to find a session again later, while an exchange lasts: an old copy of it tells nothing by then.

use super::newest::{Newest, Read};
use super::{Custody, Origin, Session, SessionError, SessionManager};
use crate::clock::Timestamp;
use crate::session::{Head, SessionId, Snapshot, StoreKey};
use std::fmt;

/// By what a session is found again. Its `Debug` shows nothing: it holds what the visitor's cookie holds (LG1).
#[derive(Clone)]
pub struct Trail(Mark);

#[derive(Clone)]
enum Mark {
    /// The id under which a store keeps it.
    Ticket(SessionId),
    /// The session as the cookie carried it.
    Token(Snapshot),
}

/// Where a session is to be found once an answer has been committed.
#[derive(Clone, Debug, Default)]
pub enum Whereabouts {
    /// Where it was when the request came.
    #[default]
    AsBefore,
    /// Elsewhere: it has begun, or has got a new id.
    At(Trail),
    /// Nowhere: the answer has ended it.
    Ended,
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trail(..)")
    }
}

impl Trail {
    pub(super) const fn of_ticket(id: SessionId) -> Self {
        Self(Mark::Ticket(id))
    }

    pub(super) const fn of_token(snapshot: Snapshot) -> Self {
        Self(Mark::Token(snapshot))
    }

    /// A name that two trails share when they lead to the same session by the same clocks: one look answers for both.
    #[must_use]
    pub fn name(&self, policy: &str) -> Option<(StoreKey, Timestamp)> {
        match &self.0 {
            Mark::Ticket(id) => Some((id.store_key(), Timestamp::NEVER)),
            Mark::Token(snapshot) => {
                let head = Head::parse(&snapshot.bytes).ok()?;
                Some((head.lineage.ended_key(policy), snapshot.deadline))
            }
        }
    }
}

impl Session {
    /// The trail of a live session; there is none of a session that only stands in for an unknown one.
    #[must_use]
    pub fn trail(&self) -> Option<Trail> {
        match (&self.origin, &self.snapshot) {
            (Origin::Stored { id, .. }, Some(_)) => Some(Trail::of_ticket(id.clone())),
            (Origin::Carried { .. }, Some(snapshot)) => Some(Trail::of_token(snapshot.clone())),
            _ => None,
        }
    }
}

impl SessionManager {
    /// Follows a trail to where the session is now; `None` when it has ended, or when somebody has logged in on it.
    ///
    /// Never on the word of a copy. A session in a cookie ends by the clocks of the cookie that came: nobody can tell
    /// whether the browser has got a newer one.
    ///
    /// # Errors
    /// [`SessionError`] when the store cannot answer, which is not the end of any session.
    pub async fn find(&self, trail: &Trail, now: Timestamp) -> Result<Option<Trail>, SessionError> {
        match (&self.custody, &trail.0) {
            (Custody::Server { store, at_rest }, Mark::Ticket(id)) => {
                Ok(match self.follow(&**store, *at_rest, Read::Newest, id.clone(), now).await? {
                    Newest::Live { id, .. } => Some(Trail::of_ticket(id)),
                    Newest::Ended { .. } | Newest::Lapsed => None,
                })
            }
            (Custody::Browser { revoked, .. }, Mark::Token(snapshot)) => {
                if snapshot.deadline.has_passed(now) || self.is_known_to_be_over(snapshot, now).await? {
                    return Ok(None);
                }
                if let Some(store) = revoked
                    && self.endings(&**store, now).cover(snapshot, Read::Newest).await?
                {
                    return Ok(None);
                }
                Ok(Some(trail.clone()))
            }
            // The trail of another policy leads nowhere here.
            _ => Ok(None),
        }
    }
}
