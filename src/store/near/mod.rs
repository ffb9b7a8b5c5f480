//! Copies in memory in front of a store that is far away: fresh ones spare a round trip, older ones bridge an outage.
//!
//! * [`Store::peek`] is answered by a copy that is young enough, [`Store::load`] never is: what decides about a write is
//!   always the store's own answer.
//! * [`Store::recall`] gives the last copy while the store cannot answer, up to an age of its own. It is the caller's
//!   decision to use it, and to show it as what it is.
//! * Absence is never remembered, and nothing is invented: a copy is what a read or an acknowledged write has shown.
//!
//! `entries` holds the copies, and the rules by which they go.

mod entries;

pub use entries::{NearEntries, NearOptions};

use super::{Entry, Index, Scan, Store, StoreError, Version, Written};
use crate::clock::Timestamp;
use crate::session::StoreKey;
use async_trait::async_trait;
use std::sync::Arc;

/// A store with copies of what it was asked for.
#[derive(Debug)]
pub struct Near {
    inner: Arc<dyn Store>,
    entries: Arc<NearEntries>,
}

impl Near {
    /// Keeps copies in front of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, options: NearOptions) -> Self {
        Self::around(inner, Arc::new(NearEntries::new(options)))
    }

    /// The same with entries that were made before, because `inner` tells them what has changed.
    #[must_use]
    pub fn around(inner: Arc<dyn Store>, entries: Arc<NearEntries>) -> Self {
        Self { inner, entries }
    }

    /// The copies, for those who hear of changes.
    #[must_use]
    pub fn entries(&self) -> Arc<NearEntries> {
        Arc::clone(&self.entries)
    }
}

#[async_trait]
impl Store for Near {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        let asked = self.entries.ask(key);
        let found = self.inner.load(key, now).await?;
        match &found {
            Some((entry, version)) => self.entries.keep(key, asked, entry, *version),
            None => self.entries.absent(key, asked),
        }
        Ok(found)
    }

    async fn peek(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        match self.entries.fresh(key, now) {
            Some(copy) => Ok(Some(copy)),
            None => self.load(key, now).await,
        }
    }

    fn recall(&self, key: &StoreKey, now: Timestamp) -> Option<(Entry, Version)> {
        self.entries.recall(key, now)
    }

    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        let writing = self.entries.write(key, entry.deadline);
        let written = self.inner.create(key, entry.clone(), now).await?;
        writing.ended(written, &entry);
        Ok(written)
    }

    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let writing = self.entries.write(key, entry.deadline);
        let written = self.inner.replace(key, entry.clone(), expected, now).await?;
        writing.ended(written, &entry);
        Ok(written)
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        // No entry lives until then: there is nothing that may be shown any more, whatever comes of the call.
        let writing = self.entries.write(key, Timestamp::default());
        self.inner.delete(key).await?;
        writing.deleted();
        Ok(())
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.inner.sweep(now, limit).await
    }

    fn index(&self) -> Option<&dyn Index> {
        self.inner.index()
    }

    fn scan(&self) -> Option<&dyn Scan> {
        self.inner.scan()
    }

    fn promise(&self) -> &'static str {
        self.inner.promise()
    }
}
