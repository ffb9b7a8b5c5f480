//! Sessions in an outage: what stands in for a session whose store cannot answer, and what it may not do.
//!
//! Nothing is written for such a session and no cookie of it is touched, not even when the store has come back by the
//! time of the answer: what the backend decided, it decided without knowing the session.

use super::newest::{MAX_ALIASES, readable};
use super::{
    CommitError, Committed, Custody, OnRefused, Origin, Permit, Presented, Session, SessionError, SessionManager,
};
use crate::clock::Timestamp;
use crate::codec::AtRest;
use crate::session::{Batch, Refused, SessionId, Snapshot, State, Stored};
use crate::store::{Store, StoreError};

/// How far a route goes on while a store cannot answer (LG5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOutage {
    /// The request is answered by an error.
    #[default]
    Error,
    /// A copy of the session is shown, where there is one; otherwise the request is answered by an error.
    Cached,
    /// The backend is asked without any session.
    Anonymous,
}

impl SessionError {
    /// Whether the store did not answer: another request may fare no better for a while.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Unavailable { .. } | StoreError::Lost { .. } | StoreError::TimedOut { .. })
        )
    }
}

impl Session {
    /// Whether it only stands in for a session whose store could not answer.
    #[must_use]
    pub const fn is_degraded(&self) -> bool {
        matches!(self.origin, Origin::Unknown)
    }
}

impl SessionManager {
    /// The session of these cookies as far as it can be told without the store, which has just failed.
    ///
    /// `None` where the route cannot go on without the store's answer.
    #[must_use]
    pub fn stand_in(&self, presented: &Presented<'_>, rung: OnOutage, now: Timestamp) -> Option<Session> {
        let session = |state, origin, snapshot| Session::new(state, origin, snapshot, presented.pieces());
        if presented.is_empty() {
            return Some(session(State::None, Origin::Fresh, None));
        }
        let copy = match &self.custody {
            Custody::Server { store, at_rest } => {
                let Some((id, _)) = presented.ticket(&self.ring, &self.binding) else {
                    return Some(session(State::Invalid, Origin::Fresh, None));
                };
                (rung == OnOutage::Cached).then(|| self.copy(&**store, *at_rest, id, now)).flatten()
            }
            // What could not be asked is whether the session has been revoked, and no copy tells that.
            Custody::Browser { .. } => None,
        };
        match (rung, copy) {
            (OnOutage::Cached, Some(copy)) => Some(session(State::Degraded, Origin::Unknown, Some(copy))),
            (OnOutage::Anonymous, _) => Some(session(State::Degraded, Origin::Unknown, None)),
            (OnOutage::Error | OnOutage::Cached, _) => None,
        }
    }

    /// The copy of the session behind an id, and behind its aliases, unless the session has ended by our clock.
    fn copy(&self, store: &dyn Store, at_rest: AtRest, mut id: SessionId, now: Timestamp) -> Option<Snapshot> {
        for _ in 0..=MAX_ALIASES {
            let key = id.store_key();
            let (entry, _) = store.recall(&key, now).filter(|(entry, _)| !entry.deadline.has_passed(now))?;
            let bytes = at_rest.open(&id, &key, entry.bytes).ok()?;
            match Stored::kind(&bytes).ok()? {
                Stored::Record => {
                    let head = readable(&bytes).ok()?;
                    return (!self.is_over(&head, now)).then_some(Snapshot { bytes, deadline: entry.deadline });
                }
                Stored::Alias(newer) => id = newer,
                Stored::Tombstone | Stored::Lapsed => return None,
            }
        }
        None
    }

    /// What a batch comes to on a degraded session: nothing, or the page is withheld.
    ///
    /// # Errors
    /// [`CommitError::Refused`] for what is refused whatever the session holds, where the policy is loud about it;
    /// [`SessionError::Degraded`] for what would have to be written.
    pub(super) fn commit_degraded(
        &self,
        asked: Result<Option<&Batch>, Refused>,
        permit: Permit<'_>,
    ) -> Result<Committed, CommitError> {
        let asked = asked.and_then(|batch| batch.map_or(Ok(()), |batch| batch.check(permit.rights)).map(|()| batch));
        match asked {
            Err(refused) if self.loudness(&refused) == OnRefused::Error => Err(CommitError::Refused(refused)),
            // The next request cannot be told: that would have to be written, too.
            Err(refused) => Ok(Committed { refused: Some(refused), ..Committed::default() }),
            Ok(Some(batch)) if !may_stay_unwritten(batch) => Err(SessionError::Degraded.into()),
            Ok(_) => Ok(Committed::default()),
        }
    }
}

/// Whether a page may pass although its batch is not carried out: activity and read messages may stay unwritten.
///
/// A condition may not: whether it holds is not known.
fn may_stay_unwritten(batch: &Batch) -> bool {
    let Batch { revert, touch, flash_keep, flash_read, .. } = batch.clone();
    *batch == Batch { revert, touch, flash_keep, flash_read, ..Batch::default() }
}
