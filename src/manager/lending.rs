//! Messages are handed to one request at a time (F3).

use super::amend::Amendment;
use super::{Custody, Origin, Session, SessionError, SessionManager};
use crate::clock::Timestamp;
use crate::session::{Handed, LEASE, Lease, Record};

impl Session {
    /// Which of the waiting messages the request is handed.
    #[must_use]
    pub const fn handed(&self) -> Handed {
        self.handed
    }

    /// What the request held has been settled by its answer.
    pub const fn settle(&mut self) {
        self.handed = Handed::Nothing;
    }
}

impl SessionManager {
    /// Hands the messages that `fits` picks of a record to this request alone, for [`LEASE`] at most. A request that holds
    /// some already gives them back and picks again.
    ///
    /// Of a session that lies in no store, or whose store has not answered, nothing can be lent: there the request is
    /// handed whatever waits.
    ///
    /// # Errors
    /// [`SessionError`] when that could not be written: the request is handed nothing then, and the messages stay.
    pub async fn lend<T: IntoIterator<Item = u32>>(
        &self,
        session: &mut Session,
        now: Timestamp,
        fits: impl Fn(&Record) -> T,
    ) -> Result<(), SessionError> {
        if !matches!(self.custody, Custody::Server { .. }) || !matches!(session.origin, Origin::Stored { .. }) {
            return Ok(());
        }
        let before = session.handed.mark();
        session.handed = Handed::Nothing;
        let (mark, until) = (self.chance(false)?.mark, now.after(LEASE));
        let lent = self.amend(
            session,
            now,
            |record| {
                let was_lent = before.is_some_and(|mark| record.has_lent(mark));
                record.take_back(before, now);
                let flashes: Vec<u32> = fits(record).into_iter().collect();
                match (flashes.is_empty(), was_lent) {
                    (true, false) => Amendment::Leave(Handed::Nothing),
                    (true, true) => Amendment::Write(Handed::Nothing),
                    (false, _) => {
                        record.lend(Lease { mark, until, flashes });
                        Amendment::Write(Handed::Held(mark))
                    }
                }
            },
            |record| record.has_lent(mark),
        );
        session.handed = lent.await?.unwrap_or(Handed::Nothing);
        Ok(())
    }

    /// Gives back what a request holds whose answer never came, or was withheld.
    ///
    /// # Errors
    /// [`SessionError`] when that could not be written: then time gives it back.
    pub async fn give_back(&self, session: &mut Session, now: Timestamp) -> Result<(), SessionError> {
        let Some(mark) = session.handed.mark() else { return Ok(()) };
        session.handed = Handed::Nothing;
        let given_back = self.amend(
            session,
            now,
            |record| {
                if !record.has_lent(mark) {
                    return Amendment::Leave(());
                }
                record.take_back(Some(mark), now);
                Amendment::Write(())
            },
            |record| !record.has_lent(mark),
        );
        given_back.await.map(drop)
    }
}
