//! The counter where records are handed to the store, and where a write of unknown outcome is settled.
//!
//! A broken connection leaves open whether a write took place. What lies under the key now tells, by the version that was
//! to be written over and by the mark that each write leaves in its record. When ours is not there the write is made once
//! more, which compare-and-swap makes safe:
//!
//! * The first write never arrived: the second takes its place.
//! * The first arrives between the two: the second finds another version, and the mark says that it was us.
//! * The first arrives after the second: it finds another version and changes nothing. A late `create` finds the entry,
//!   or it would have to be held up for longer than the visitor needs for the next exchange, which ends the session.
//! * Somebody else wrote in between: the record counts its changes, so one that has come no further than ours would have,
//!   without our mark, proves that ours lost. One that has come further may have been made from ours: that stays unknown.
//!
//! After a time-out nothing is made again: the visitor has waited once already.

use super::SessionError;
use crate::clock::Timestamp;
use crate::codec::AtRest;
use crate::session::{
    Draft, Farewell, Head, OwnerKey, PolicyTag, SessionId, Snapshot, StoreKey, encode_alias, encode_lapsed,
    encode_tombstone,
};
use crate::store::{Entry, Store, StoreError, Version, Written};
use bytes::Bytes;
use std::time::Duration;

/// How long a dead id is remembered: requests that came with the old cookie may still be under way, and their answers
/// must not remove the browser's new one. A store whose connection broke is asked about it, too.
const TOMBSTONE_STAYS: Duration = Duration::from_secs(10);

/// What lies under a key after a write of unknown outcome.
enum Found {
    /// What we wrote.
    Ours,
    /// What we meant to write over: ours did not arrive, or not yet.
    Before,
    /// What somebody else wrote over it: ours cannot take place any more.
    Beaten,
    /// Whether ours took place cannot be told.
    Unclear,
}

/// How a write ended that is known to have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// It took place, under this version where the store could still say so.
    Done(Option<Version>),
    /// Another writer was faster.
    Beaten,
}

impl Settled {
    const fn is_done(self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// The counter for one attempt.
pub(super) struct Desk<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) at_rest: AtRest,
    pub(super) policy: &'a str,
    pub(super) tag: PolicyTag,
    pub(super) now: Timestamp,
}

impl Desk<'_> {
    fn entry(&self, id: &SessionId, key: &StoreKey, draft: &Draft) -> Result<Entry, SessionError> {
        let bytes = self.at_rest.seal(id, key, self.tag, draft.bytes.clone())?;
        let owner = draft.record.owner.as_ref().map(|owner| OwnerKey::new(self.policy, owner.as_str()));
        Ok(Entry { bytes, deadline: draft.deadline, owner })
    }

    /// Writes a new record under a new id. An id of 256 random bits is never taken.
    pub(super) async fn create(&self, id: &SessionId, draft: &Draft) -> Result<(), SessionError> {
        let key = id.store_key();
        let entry = self.entry(id, &key, draft)?;
        let create = || self.store.create(&key, entry.clone(), self.now);
        let judge = |found: Option<(&Bytes, Version)>| match found {
            None => Found::Before,
            Some((bytes, _)) => match self.head(id, &key, bytes) {
                Some(head) if head.mark == draft.record.mark => Found::Ours,
                _ => Found::Beaten,
            },
        };
        if self.settled(&key, create, judge).await?.is_done() {
            Ok(())
        } else {
            Err(SessionError::Contended { attempts: 1 })
        }
    }

    /// Writes over the record that the decision was made on; `false` when another writer was faster.
    pub(super) async fn replace(&self, id: &SessionId, draft: &Draft, expected: Version) -> Result<bool, SessionError> {
        let key = id.store_key();
        let entry = self.entry(id, &key, draft)?;
        let replace = || self.store.replace(&key, entry.clone(), expected, self.now);
        let judge = |found: Option<(&Bytes, Version)>| match found {
            // Ended by somebody: whether ours took place before that makes no difference to anybody.
            None => Found::Beaten,
            Some((_, version)) if version == expected => Found::Before,
            Some((bytes, _)) => match self.head(id, &key, bytes) {
                Some(head) if head.mark == draft.record.mark => Found::Ours,
                Some(head) if head.revision <= draft.record.revision => Found::Beaten,
                _ => Found::Unclear,
            },
        };
        Ok(self.settled(&key, replace, judge).await?.is_done())
    }

    /// Moves the deadline of the record that the decision was made on; `false` when another writer was faster.
    ///
    /// By compare-and-swap: the id may have become an alias since, whose grace must not be prolonged (SL3). So a version
    /// tells the deadline, too, and a copy of it cannot shorten a session's life.
    pub(super) async fn prolong(
        &self,
        id: &SessionId,
        record: &[u8],
        owner: Option<OwnerKey>,
        deadline: Timestamp,
        expected: Version,
    ) -> Result<bool, SessionError> {
        // Whoever wrote, the session was in use.
        self.rewrite(id, record, owner, deadline, expected, true).await
    }

    /// Writes over a record what it says already, so that no write that was decided on it before takes place any more;
    /// `false` when another writer was faster.
    pub(super) async fn write_again(
        &self,
        id: &SessionId,
        snapshot: &Snapshot,
        owner: Option<OwnerKey>,
        expected: Version,
    ) -> Result<bool, SessionError> {
        self.rewrite(id, &snapshot.bytes, owner, snapshot.deadline, expected, false).await
    }

    /// Writes bookkeeping into the record that the decision was made on: neither its revision nor its mark changes, so
    /// that a write of unknown outcome which lies under this one is still found. The new version, where the store said
    /// it; `None` when another writer was faster.
    ///
    /// `is_ours` knows what was written by what it says: only a record that says so is this write.
    pub(super) async fn annotate(
        &self,
        id: &SessionId,
        record: &[u8],
        owner: Option<OwnerKey>,
        deadline: Timestamp,
        expected: Version,
        is_ours: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Option<Version>>, SessionError> {
        let key = id.store_key();
        let entry = Entry { bytes: self.at_rest.seal(id, &key, self.tag, record.to_vec())?, deadline, owner };
        let write = || self.store.replace(&key, entry.clone(), expected, self.now);
        let judge = |found: Option<(&Bytes, Version)>| match found {
            None => Found::Beaten,
            Some((_, version)) if version == expected => Found::Before,
            Some((bytes, _)) => match self.at_rest.open(id, &key, bytes.clone()) {
                Ok(opened) if is_ours(&opened) => Found::Ours,
                _ => Found::Beaten,
            },
        };
        Ok(match self.settled(&key, write, judge).await? {
            Settled::Done(version) => Some(version),
            Settled::Beaten => None,
        })
    }

    /// The same record under the next version. Nothing in it tells whose write it was: `serves`, whether another's does.
    async fn rewrite(
        &self,
        id: &SessionId,
        record: &[u8],
        owner: Option<OwnerKey>,
        deadline: Timestamp,
        expected: Version,
        serves: bool,
    ) -> Result<bool, SessionError> {
        let key = id.store_key();
        let entry = Entry { bytes: self.at_rest.seal(id, &key, self.tag, record.to_vec())?, deadline, owner };
        let write = || self.store.replace(&key, entry.clone(), expected, self.now);
        let judge = |found: Option<(&Bytes, Version)>| match found {
            Some((_, version)) if version == expected => Found::Before,
            _ if serves => Found::Ours,
            _ => Found::Beaten,
        };
        Ok(self.settled(&key, write, judge).await?.is_done())
    }

    /// Puts an alias or a tombstone in the place of a record that has got a new id; `false` when another writer was
    /// faster: then the new record must be taken back.
    pub(super) async fn retire(
        &self,
        old: &SessionId,
        expected: Version,
        new: &SessionId,
        farewell: Farewell,
        grace: Duration,
    ) -> Result<bool, SessionError> {
        match farewell {
            Farewell::Alias if !grace.is_zero() => {
                self.write_over(old, expected, encode_alias(new), grace, Found::Unclear).await
            }
            Farewell::Alias | Farewell::Dead => self.bury(old, expected, TOMBSTONE_STAYS.max(grace)).await,
        }
    }

    /// Ends a session that has nothing left to keep, by compare-and-swap, and remembers for a while that this was why.
    pub(super) async fn lapse(&self, id: &SessionId, expected: Version) -> Result<bool, SessionError> {
        self.write_over(id, expected, encode_lapsed(), TOMBSTONE_STAYS, Found::Ours).await
    }

    /// Ends a session by compare-and-swap: one that has moved on since must end under its new id.
    pub(super) async fn end(&self, id: &SessionId, expected: Version) -> Result<bool, SessionError> {
        let ended = self.bury(id, expected, TOMBSTONE_STAYS).await?;
        if ended && let Err(error) = self.delete(&id.store_key()).await {
            tracing::debug!(session = self.policy, %error, "the entry of an ended session stays until it expires");
        }
        Ok(ended)
    }

    async fn bury(&self, id: &SessionId, expected: Version, stay: Duration) -> Result<bool, SessionError> {
        // An id that leads nowhere is as dead as one under a tombstone.
        self.write_over(id, expected, encode_tombstone(), stay, Found::Ours).await
    }

    /// Nobody writes over an alias or a tombstone: what lies there when its time is not over is ours or another's.
    async fn write_over(
        &self,
        id: &SessionId,
        expected: Version,
        bytes: Vec<u8>,
        stay: Duration,
        absent: Found,
    ) -> Result<bool, SessionError> {
        let key = id.store_key();
        let bytes = self.at_rest.seal(id, &key, self.tag, bytes)?;
        let entry = Entry { bytes: bytes.clone(), deadline: self.now.after(stay), owner: None };
        let write = || self.store.replace(&key, entry.clone(), expected, self.now);
        let judge = |found: Option<(&Bytes, Version)>| match found {
            Some((found, _)) if *found == bytes => Found::Ours,
            Some((_, version)) if version == expected => Found::Before,
            Some(_) => Found::Beaten,
            None if matches!(absent, Found::Ours) => Found::Ours,
            None => Found::Unclear,
        };
        Ok(self.settled(&key, write, judge).await?.is_done())
    }

    pub(super) async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        twice_if_cut(|| self.store.delete(key)).await
    }

    /// Writes, and finds out what came of it.
    async fn settled<F: Future<Output = Result<Written, StoreError>>>(
        &self,
        key: &StoreKey,
        write: impl Fn() -> F,
        judge: impl Fn(Option<(&Bytes, Version)>) -> Found,
    ) -> Result<Settled, StoreError> {
        let unknown = match write().await {
            Ok(Written::Done(version)) => return Ok(Settled::Done(Some(version))),
            Ok(Written::Conflict | Written::Gone) => return Ok(Settled::Beaten),
            Err(error) if error.is_unknown() => error,
            Err(error) => return Err(error),
        };
        match self.look(key, &judge).await? {
            (Found::Ours, version) => return Ok(Settled::Done(version)),
            (Found::Beaten, _) => return Ok(Settled::Beaten),
            (Found::Before, _) if matches!(unknown, StoreError::Lost { .. }) => {}
            (Found::Before | Found::Unclear, _) => return Err(unknown),
        }
        let unknown = match write().await {
            Ok(Written::Done(version)) => return Ok(Settled::Done(Some(version))),
            Ok(Written::Conflict | Written::Gone) => unknown,
            Err(error) if error.is_unknown() => error,
            Err(error) => return Err(error),
        };
        match self.look(key, &judge).await? {
            (Found::Ours, version) => Ok(Settled::Done(version)),
            (Found::Beaten, _) => Ok(Settled::Beaten),
            (Found::Before | Found::Unclear, _) => Err(unknown),
        }
    }

    /// What lies under the key, judged, and its version.
    async fn look(
        &self,
        key: &StoreKey,
        judge: &impl Fn(Option<(&Bytes, Version)>) -> Found,
    ) -> Result<(Found, Option<Version>), StoreError> {
        let found = twice_if_cut(|| self.store.load(key, self.now)).await?;
        let found = found.as_ref().map(|(entry, version)| (&entry.bytes, *version));
        Ok((judge(found), found.map(|(_, version)| version)))
    }

    /// The fixed part of the record that lies under a key, if it is one.
    fn head(&self, id: &SessionId, key: &StoreKey, bytes: &Bytes) -> Option<Head> {
        let opened = self.at_rest.open(id, key, bytes.clone()).ok()?;
        Head::parse(&opened).ok()
    }
}

/// Makes a call that does no harm twice once more when the connection broke.
pub(super) async fn twice_if_cut<T, F: Future<Output = Result<T, StoreError>>>(
    call: impl Fn() -> F,
) -> Result<T, StoreError> {
    match call().await {
        Err(StoreError::Lost { .. }) => call().await,
        done => done,
    }
}
