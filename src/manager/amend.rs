//! Bookkeeping in the record before the backend is asked: who has been handed what, who may write alone.
//!
//! It is no change of the session: the revision stays, since a backend that asks `X-Session-If: @version=…` means its own
//! changes, and so does the mark of the last change.

use super::newest::{Newest, Read};
use super::{Custody, Origin, Session, SessionError, SessionManager, record_of};
use crate::clock::Timestamp;
use crate::session::{Record, State, encode};

/// How often it is decided again when others are faster.
const MAX_ATTEMPTS: usize = 32;

/// What is made of the newest record.
pub(super) enum Amendment<T> {
    /// It was changed, and is to be written.
    Write(T),
    /// It stays as it is.
    Leave(T),
}

impl Session {
    /// The session has ended since the request came.
    pub(super) fn end(&mut self, moved: bool) {
        self.state = State::Expired;
        self.origin = Origin::Ended { moved };
        self.snapshot = None;
    }
}

impl SessionManager {
    /// Changes the newest record of a live session in a store, and lets `session` be that record from now on. `None` when
    /// there is none to be changed: no session, one that ended meanwhile, one that the browser keeps.
    ///
    /// The first decision is made on what resolving has read; one that writes is proven by compare-and-swap, one that
    /// leaves the record as it is was made on a copy, perhaps, and is made again on the newest record.
    ///
    /// `change` may be called several times, each time with another record. `is_ours` tells a record that has this change
    /// from one that was changed by somebody else.
    ///
    /// # Errors
    /// [`SessionError`] when the store cannot answer; nothing may be concluded from the session then.
    pub(super) async fn amend<T>(
        &self,
        session: &mut Session,
        now: Timestamp,
        change: impl Fn(&mut Record) -> Amendment<T>,
        is_ours: impl Fn(&Record) -> bool,
    ) -> Result<Option<T>, SessionError> {
        let Custody::Server { store, at_rest } = &self.custody else { return Ok(None) };
        let desk = self.desk(&**store, *at_rest, now);
        let mut is_newest = false;
        for _ in 0..MAX_ATTEMPTS {
            let (Origin::Stored { id, version, .. }, Some(snapshot)) = (&session.origin, &session.snapshot) else {
                return Ok(None);
            };
            let (id, version, deadline) = (id.clone(), *version, snapshot.deadline);
            let Ok(mut record) = record_of(&snapshot.bytes) else { return Ok(None) };
            match change(&mut record) {
                Amendment::Leave(told) if is_newest => return Ok(Some(told)),
                Amendment::Leave(_) => {}
                Amendment::Write(told) => {
                    let bytes = encode(&record);
                    let owner = record.owner.as_ref().map(|owner| self.owner_key(owner));
                    let _turn = self.writers.turn(&id.store_key()).await;
                    let says_so = |bytes: &[u8]| record_of(bytes).is_ok_and(|record| is_ours(&record));
                    let written = desk.annotate(&id, &bytes, owner, deadline, version, says_so).await?;
                    match (written, &mut session.origin, &mut session.snapshot) {
                        (Some(Some(written)), Origin::Stored { version, .. }, Some(snapshot)) => {
                            *version = written;
                            snapshot.bytes = bytes.into();
                            return Ok(Some(told));
                        }
                        (Some(_), ..) => {
                            self.renew(session, now).await?;
                            return Ok(session.snapshot.is_some().then_some(told));
                        }
                        (None, ..) => {}
                    }
                }
            }
            self.renew(session, now).await?;
            is_newest = true;
        }
        Err(SessionError::Contended { attempts: MAX_ATTEMPTS })
    }

    /// Reads a session in a store again: its newest record, under its newest id, or its end.
    ///
    /// # Errors
    /// [`SessionError`] when the store cannot answer; the session is then as it was.
    pub async fn renew(&self, session: &mut Session, now: Timestamp) -> Result<(), SessionError> {
        let Custody::Server { store, at_rest } = &self.custody else { return Ok(()) };
        let Origin::Stored { id, freshness, aliased, .. } = &session.origin else { return Ok(()) };
        let (came_with, freshness, was_aliased) = (id.clone(), *freshness, *aliased);
        match self.follow(&**store, *at_rest, Read::Newest, came_with.clone(), now).await? {
            Newest::Live { id, version, snapshot } => {
                let aliased = was_aliased || id != came_with;
                session.origin = Origin::Stored { id, version, freshness, aliased };
                session.snapshot = Some(snapshot);
            }
            Newest::Ended { moved } => session.end(moved),
            Newest::Lapsed => session.end(false),
        }
        Ok(())
    }
}
