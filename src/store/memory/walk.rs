//! The walk over the memory store, in the order of the keys.
//!
//! The map has no order, so each page looks at every key: fine for a test, and for as few walks as a store has that ends
//! with its process.

use super::{MemoryStore, NAME};
use crate::clock::Timestamp;
use crate::session::StoreKey;
use crate::store::{Cursor, Entry, Page, Scan, StoreError, cursor};
use async_trait::async_trait;
use std::collections::BTreeMap;

#[async_trait]
impl Scan for MemoryStore {
    async fn page(&self, from: Option<&Cursor>, limit: usize, now: Timestamp) -> Result<Page, StoreError> {
        let (from, limit) = (from.map(|from| cursor::key_of(from, NAME)).transpose()?, limit.max(1));
        let mut lowest: BTreeMap<StoreKey, Entry> = BTreeMap::new();
        let mut is_last = true;
        for slot in &self.sessions {
            let key = slot.key();
            if from.is_some_and(|from| *key <= from) || slot.deadline.has_passed(now) {
                continue;
            }
            lowest.insert(*key, slot.to_entry());
            if lowest.len() > limit {
                lowest.pop_last();
                is_last = false;
            }
        }
        let last = lowest.last_key_value().map(|(key, _)| cursor::behind(key));
        Ok(Page { entries: lowest.into_iter().collect(), next: last.filter(|_| !is_last) })
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.len() as u64)
    }
}
