//! The walk over the file, in the order of the keys: it ends however many sessions come and go meanwhile.

use super::statements;
use super::{DiskStore, NAME, no_answer};
use crate::clock::Timestamp;
use crate::store::{Cursor, Page, Scan, StoreError, cursor};
use async_trait::async_trait;

/// The most rows of a page, so that a reader is soon free again.
const MAX_PAGE: usize = 1000;

#[async_trait]
impl Scan for DiskStore {
    async fn page(&self, from: Option<&Cursor>, limit: usize, now: Timestamp) -> Result<Page, StoreError> {
        self.writer.check_alive().map_err(no_answer)?;
        let from = from.map(|from| cursor::key_of(from, NAME)).transpose()?;
        let limit = limit.clamp(1, MAX_PAGE);
        let mut entries = self.readers.read(|db| statements::page(db, from.as_ref(), limit)).map_err(no_answer)?;
        let next = if entries.len() < limit { None } else { entries.last().map(|(key, _)| cursor::behind(key)) };
        // After the cut, so that a page of expired ones is short work too.
        entries.retain(|(_, entry)| !entry.deadline.has_passed(now));
        Ok(Page { entries, next })
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.writer.check_alive().map_err(no_answer)?;
        self.readers.read(statements::count).map_err(no_answer)
    }
}
