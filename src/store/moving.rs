//! A live cut-over from one store to another: sessions move when they are used, nobody is logged out and nobody revived.
//!
//! Each entry goes one way: it lies in the old store; then a copy lies in the new one as well; the first write takes it
//! away from the old one; its end leaves a marker in the new one. Readers ask in the same direction.
//!
//! # Why nobody is logged out
//!
//! A reader asks the new store, the old one, and the new one again. An entry leaves the old store only when its copy lies
//! in the new one (whoever writes has loaded it, which copies it) or its end does. So what the first two questions
//! missed, because it moved between them, the third one finds. What one of the two cannot answer is unknown, never absent.
//!
//! # Why nobody is revived
//!
//! * A write takes the entry away from the old store *before* it writes: what expires in the new store afterwards has
//!   nothing behind it that could come back.
//! * An end puts its marker into the new store *before* it takes the entry away from the old one. Whoever still holds
//!   what they read in the old store, another proxy or the copying command, creates it in the new one and meets the
//!   marker: `create` never overwrites. A copy that came before the marker is overwritten by it.
//! * A marker stays a minute longer than the entry would have lived. Only where that is not known, because the entry had
//!   left the old store before, is a late copy possible, if it is later than a minute; after a login, whose farewell to the
//!   old id is shorter, ten seconds. So who took longer than `SLOW` for a copy looks again: if the entry has left the old
//!   store meanwhile, nobody knows why, and the copy is taken back, unless it was written over.

use super::{Entry, Index, Scan, Store, StoreError, Version, Written};
use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What lies in the place of an ended entry. No record looks like it, sealed or plain.
const ENDED: &[u8] = b"\0cloakroom: ended while it moved";

/// How much longer a marker lives than what it marks.
const MARKER_STAYS: Duration = Duration::from_secs(60);

/// A copy that took longer has met a store that hangs, or a process that stood still.
const SLOW: Duration = Duration::from_secs(5);

/// How often a call begins again because others changed the entry meanwhile; each time needs another writer.
const ATTEMPTS: usize = 64;

type Found = Option<(Entry, Version)>;

/// Two stores as one, while sessions move from `old` to `new`.
///
/// Everybody who writes either store must do so through a `Moving` of the same pair.
#[derive(Debug)]
pub struct Moving {
    new: Arc<dyn Store>,
    old: Arc<dyn Store>,
    /// The time that was told last, for [`Store::delete`], which is told none.
    latest: AtomicU64,
    slow: Duration,
}

impl Moving {
    /// Moves each entry of `old` to `new` when it is used.
    #[must_use]
    pub fn new(new: Arc<dyn Store>, old: Arc<dyn Store>) -> Self {
        Self { new, old, latest: AtomicU64::new(0), slow: SLOW }
    }

    fn hear(&self, now: Timestamp) {
        self.latest.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Asks the old store for what the new one does not have, and copies what it finds.
    async fn fetch(&self, key: &StoreKey, now: Timestamp) -> Result<Found, StoreError> {
        for _ in 0..ATTEMPTS {
            let begun = Instant::now();
            let Some((entry, old_version)) = self.old.load(key, now).await? else {
                // It may have moved, between the two questions.
                return Ok(living(self.new.load(key, now).await?));
            };
            if let Written::Done(version) = self.new.create(key, entry.clone(), now).await? {
                if begun.elapsed() < self.slow || self.is_in_old(key, old_version, now).await? {
                    return Ok(Some((entry, version)));
                }
                self.new.replace(key, marker(entry.deadline), version, now).await?;
            }
            // Somebody else was faster.
            if let Some(found) = self.new.load(key, now).await? {
                return Ok(living(Some(found)));
            }
        }
        Err(contended())
    }

    async fn is_in_old(&self, key: &StoreKey, version: Version, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.old.load(key, now).await?.is_some_and(|(_, found)| found == version))
    }
}

/// The entry, unless it is the marker of an end.
fn living(found: Found) -> Found {
    found.filter(|(entry, _)| !is_marker(entry))
}

fn is_marker(entry: &Entry) -> bool {
    entry.bytes == ENDED
}

fn marker(deadline: Timestamp) -> Entry {
    Entry { bytes: Bytes::from_static(ENDED), deadline: deadline.after(MARKER_STAYS), owner: None }
}

fn contended() -> StoreError {
    let source = format!("others changed the entry {ATTEMPTS} times while it moved");
    StoreError::Unavailable { store: "moving", source: source.into() }
}

#[async_trait]
impl Store for Moving {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Found, StoreError> {
        self.hear(now);
        match self.new.load(key, now).await? {
            None => self.fetch(key, now).await,
            found => Ok(living(found)),
        }
    }

    async fn peek(&self, key: &StoreKey, now: Timestamp) -> Result<Found, StoreError> {
        self.hear(now);
        match self.new.peek(key, now).await? {
            None => self.load(key, now).await,
            found => Ok(living(found)),
        }
    }

    fn recall(&self, key: &StoreKey, now: Timestamp) -> Found {
        match self.new.recall(key, now) {
            None => self.old.recall(key, now),
            found => living(found),
        }
    }

    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        self.hear(now);
        for _ in 0..ATTEMPTS {
            // The new store is asked first: what it says of an end outweighs what is still to be taken away from the old one.
            match self.new.load(key, now).await? {
                Some((found, version)) if is_marker(&found) => {
                    match self.new.replace(key, entry.clone(), version, now).await? {
                        Written::Done(version) => return Ok(Written::Done(version)),
                        Written::Conflict | Written::Gone => {}
                    }
                }
                Some(_) => return Ok(Written::Conflict),
                None if self.old.load(key, now).await?.is_some() => return Ok(Written::Conflict),
                None => match self.new.create(key, entry.clone(), now).await? {
                    Written::Done(version) => return Ok(Written::Done(version)),
                    Written::Conflict | Written::Gone => {}
                },
            }
        }
        Err(contended())
    }

    /// The version is the new store's, so the entry has been copied: the old one is not needed any more.
    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        self.hear(now);
        self.old.delete(key).await?;
        match self.new.replace(key, entry, expected, now).await? {
            // Only the marker is there: nothing that could be written over.
            Written::Conflict if self.new.load(key, now).await?.is_none_or(|(found, _)| is_marker(&found)) => {
                Ok(Written::Gone)
            }
            written => Ok(written),
        }
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        let now = Timestamp::from_millis(self.latest.load(Ordering::Relaxed));
        for _ in 0..ATTEMPTS {
            let (new, old) = (self.new.load(key, now).await?, self.old.load(key, now).await?);
            let deadlines = [&new, &old].into_iter().flatten().map(|(entry, _)| entry.deadline);
            let marker = marker(deadlines.fold(now, Timestamp::max));
            let written = match new {
                Some((_, version)) => self.new.replace(key, marker, version, now).await?,
                None => self.new.create(key, marker, now).await?,
            };
            if let Written::Done(_) = written {
                return self.old.delete(key).await;
            }
        }
        Err(contended())
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.hear(now);
        let removed = self.new.sweep(now, limit).await?;
        Ok(removed + self.old.sweep(now, limit.saturating_sub(removed)).await?)
    }

    /// Only where both have one: sessions that are not found are not ended either.
    fn index(&self) -> Option<&dyn Index> {
        self.new.index().and(self.old.index()).map(|_| self as &dyn Index)
    }

    /// A walk over the one would miss what lies in the other, and entries move while it lasts.
    fn scan(&self) -> Option<&dyn Scan> {
        None
    }

    fn promise(&self) -> &'static str {
        self.new.promise()
    }
}

#[async_trait]
impl Index for Moving {
    async fn keys_of(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, StoreError> {
        self.hear(now);
        // Handed out only where both stores have an index.
        let (Some(new), Some(old)) = (self.new.index(), self.old.index()) else { return Ok(Vec::new()) };
        // The old one is asked first: what moves between the two questions is in both answers.
        let left = old.keys_of(owner, now).await?;
        let mut keys: HashSet<StoreKey> = new.keys_of(owner, now).await?.into_iter().collect();
        let mut have_changed = false;
        for key in left {
            if keys.contains(&key) {
                continue;
            }
            // What the new store has under the key is newer: an end, another owner, or a copy that came this moment.
            let newer = self.new.load(&key, now).await?;
            if newer.is_none_or(|(entry, _)| entry.owner.as_ref() == Some(owner)) {
                keys.insert(key);
            } else {
                have_changed = true;
            }
        }
        if have_changed {
            // A session that got another id since the new store was asked lies there under that one.
            keys.extend(new.keys_of(owner, now).await?);
        }
        Ok(keys.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::{MemoryLimits, MemoryStore};
    use std::sync::atomic::AtomicUsize;

    /// An old store that loses its entries after some questions, as when another proxy ends a session.
    #[derive(Debug)]
    struct Losing {
        inner: MemoryStore,
        questions: AtomicUsize,
    }

    #[async_trait]
    impl Store for Losing {
        async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Found, StoreError> {
            if self.questions.fetch_sub(1, Ordering::Relaxed) == 0 {
                self.inner.delete(key).await?;
            }
            self.inner.load(key, now).await
        }
        async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
            self.inner.create(key, entry, now).await
        }
        async fn replace(&self, _: &StoreKey, _: Entry, _: Version, _: Timestamp) -> Result<Written, StoreError> {
            Ok(Written::Gone)
        }
        async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
            self.inner.delete(key).await
        }
        async fn sweep(&self, _: Timestamp, _: usize) -> Result<usize, StoreError> {
            Ok(0)
        }
        fn index(&self) -> Option<&dyn Index> {
            None
        }
        fn promise(&self) -> &'static str {
            "nothing"
        }
    }

    async fn check(slow: Duration, questions: usize, is_found: bool) {
        let (key, now) = (StoreKey::from_bytes([1; 32]), Timestamp::from_millis(1000));
        let memory = || MemoryStore::new(MemoryLimits::default());
        let old = Losing { inner: memory(), questions: AtomicUsize::new(questions) };
        let entry = Entry { bytes: vec![1].into(), deadline: now.after(MARKER_STAYS), owner: None };
        old.create(&key, entry.clone(), now).await.unwrap();
        let moving = Moving { slow, ..Moving::new(Arc::new(memory()), Arc::new(old)) };
        assert_eq!(moving.load(&key, now).await.unwrap().is_some(), is_found);
        assert_eq!(moving.load(&key, now).await.unwrap().is_some(), is_found);
        if !is_found {
            assert_eq!(moving.new.create(&key, entry, now).await.unwrap(), Written::Conflict, "nor another late copy");
        }
    }

    #[tokio::test]
    async fn a_late_copy_of_what_has_left_the_old_store_is_taken_back() {
        check(Duration::ZERO, 1, false).await;
        check(Duration::ZERO, 2, true).await;
        check(SLOW, 1, true).await;
    }
}
