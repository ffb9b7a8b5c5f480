//! `lock = "exclusive"`: one request at a time for each session, on every machine that shares the store (S14).
//!
//! In this process requests stand in line ([`Queues`](super::queue::Queues)); who is at the head takes the lease that lies
//! in the session's own record, and asks for it again and again while another process has it. So it is the record itself
//! that tells who may write: an answer is applied to the newest record, and finds there whether the lease is still its
//! request's own. What an answer writes ends the lease with the same write.

use super::amend::Amendment;
use super::queue::Place;
use super::{Origin, Session, SessionError, SessionManager};
use crate::clock::{Clock, Timestamp};
use crate::session::{Head, Lineage, Mark, Turn};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long the head of a line waits before it looks again whether another process is done: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// But not longer.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A request did not get the session for itself.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// As many wait for it as may.
    #[error("too many requests wait for the session")]
    Crowded,
    /// Those before it took too long.
    #[error("the session was not free within {0:?}")]
    TimedOut(Duration),
    /// The session's fate is unknown.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The session is this request's alone; when it is dropped, the next of this process has its turn.
#[derive(Debug)]
pub(super) struct Lock {
    token: Mark,
    _place: Place,
}

impl Session {
    /// The lease that the request has been given.
    pub(super) fn holds(&self) -> Option<Mark> {
        self.lock.as_ref().map(|lock| lock.token)
    }

    /// Whether the request keeps others away from the session.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// The session's lasting name, where it lies in a store.
    fn stored_lineage(&self) -> Option<Lineage> {
        let (Origin::Stored { .. }, Some(snapshot)) = (&self.origin, &self.snapshot) else { return None };
        Head::parse(&snapshot.bytes).ok().map(|head| head.lineage)
    }

    /// The answer has written to the session, and with that its lease has ended: the next may come.
    pub fn let_go(&mut self) {
        self.lock = None;
    }
}

impl SessionManager {
    /// Waits until the session is this request's alone, and lets it be the newest record.
    ///
    /// Nothing is locked where the policy does not want it, nor for a visitor without a live session, nor one whose store
    /// has not answered; one that has ended meanwhile is expired then.
    ///
    /// # Errors
    /// [`LockError`] says why it is not to be had. A store that fails while it is asked may keep a lease that nobody has,
    /// which ends by itself.
    pub async fn lock(&self, session: &mut Session, clock: &dyn Clock) -> Result<(), LockError> {
        let (Some(lock), Some(lineage)) = (self.options.lock, session.stored_lineage()) else { return Ok(()) };
        let end = Instant::now() + lock.wait;
        let mut place = self.queues.join(lineage);
        if !place.is_first() {
            if !place.may_wait(lock.waiters) {
                return Err(LockError::Crowded);
            }
            timeout_at(end, place.turn()).await.map_err(|_elapsed| LockError::TimedOut(lock.wait))?;
        }
        let (token, mut pause) = (self.mark(), FIRST_PAUSE);
        loop {
            let now = clock.now();
            let turn = Turn { token, until: now.after(lock.lease) };
            match self.take_turn(session, turn, now).await? {
                None => return Ok(()),
                Some(true) => break,
                Some(false) if !place.may_wait(lock.waiters) => return Err(LockError::Crowded),
                Some(false) => {}
            }
            // Only between the calls of the store: one that is given up half-way may leave a lease behind.
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LockError::TimedOut(lock.wait));
            }
            sleep(pause.min(left)).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        place.is_served();
        session.lock = Some(Lock { token, _place: place });
        Ok(())
    }

    /// Writes the lease into the newest record, unless somebody else has one; `None` when the session has ended.
    async fn take_turn(&self, session: &mut Session, turn: Turn, now: Timestamp) -> Result<Option<bool>, SessionError> {
        let is_own = |found: &Turn| found.token == turn.token;
        self.amend(
            session,
            now,
            |record| match &record.turn {
                Some(found) if !is_own(found) && !found.until.has_passed(now) => Amendment::Leave(false),
                _ => {
                    record.turn = Some(turn);
                    Amendment::Write(true)
                }
            },
            |record| record.turn.as_ref().is_some_and(is_own),
        )
        .await
    }

    /// Gives back what [`SessionManager::lock`] has taken and no answer has ended: the next may come.
    ///
    /// # Errors
    /// [`SessionError`] when the store cannot answer; the lease then ends by itself.
    pub async fn unlock(&self, session: &mut Session, now: Timestamp) -> Result<(), SessionError> {
        let Some(lock) = session.lock.take() else { return Ok(()) };
        let is_own = |found: Option<Turn>| found.is_some_and(|found| found.token == lock.token);
        let given_back = self.amend(
            session,
            now,
            |record| {
                if !is_own(record.turn) {
                    return Amendment::Leave(());
                }
                record.turn = None;
                Amendment::Write(())
            },
            |record| !is_own(record.turn),
        );
        // The next of this process must not come before.
        given_back.await.map(|_was_there| ())
    }
}
