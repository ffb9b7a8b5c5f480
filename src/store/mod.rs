//! A store is a versioned map of bytes with deadlines. It knows nothing of records, cookies or HTTP.
//!
//! # The laws
//!
//! Every implementation keeps them; `tests/store_laws` holds one test for each law and runs all of them on every store.
//!
//! 1. [`Store::load`] answers `None` for absent and for expired alike.
//! 2. [`Store::create`] never overwrites a live entry.
//! 3. [`Store::replace`] writes only over the version it was given.
//! 4. A deadline moves by [`Store::replace`] alone, which never brings an entry back: after `delete`, and after the
//!    deadline, it is [`Written::Gone`].
//! 5. [`Store::delete`] of an absent entry succeeds.
//! 6. An error means *unknown*, never *absent*.
//! 7. What [`Written::Done`] reported survives a restart, where the store claims durability.
//! 8. The index lists only live keys.
//! 9. [`Store::peek`] may answer with a copy, never older than the store states; `load` never does. There are no copies of
//!    absence: `None` is the word of the store itself.
//! 10. A walk by [`Scan`] sees every entry that lives through all of it.

mod breaker;
pub mod copy;
mod cursor;
mod digest;
pub mod disk;
mod generations;
pub mod guarded;
pub mod memcached;
pub mod memory;
pub mod moving;
pub mod near;
mod pauses;
pub mod postgres;
pub mod redis;

use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::time::Duration;

/// What lies under a key: opaque bytes until a deadline.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The record, sealed or plain; the store never looks inside.
    pub bytes: Bytes,
    /// When the entry is no more; every entry has one (ST2).
    pub deadline: Timestamp,
    /// Under which owner the index lists the key.
    pub owner: Option<OwnerKey>,
}

impl Debug for Entry {
    /// Never shows the bytes: in a store that does not seal they are the visitor's data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({} bytes until {})", self.bytes.len(), self.deadline.as_millis())
    }
}

/// Counts the writes of one entry, for compare-and-swap. Never reused while the entry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64);

/// How a conditional write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is done, under this version.
    Done(Version),
    /// Somebody else wrote first; nothing was changed.
    Conflict,
    /// There is no live entry to write over; nothing was changed.
    Gone,
}

/// The store could not answer. The state of the entry is *unknown* (law 6).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or refuses to work.
    #[error("{store} store is unavailable")]
    Unavailable {
        /// The name of the store in the configuration.
        store: &'static str,
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke while a write was under way; it may or may not have taken place.
    #[error("{store} store broke the connection before it answered")]
    Lost {
        /// The name of the store in the configuration.
        store: &'static str,
        /// What the connection said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time; a write may or may not have taken place.
    #[error("{store} store did not answer within {limit:?}")]
    TimedOut {
        /// The name of the store in the configuration.
        store: &'static str,
        /// The limit that passed.
        limit: Duration,
    },
    /// The store has no room for a new entry, and will not push out a live one.
    #[error("{store} store is full: {limit}")]
    Full {
        /// The name of the store in the configuration.
        store: &'static str,
        /// Which limit was reached, in words.
        limit: String,
    },
    /// The entry is larger than this store takes.
    #[error("{store} store takes entries of at most {limit} bytes, this one has {size}")]
    TooLarge {
        /// The name of the store in the configuration.
        store: &'static str,
        /// The size of the entry.
        size: usize,
        /// What the store takes.
        limit: usize,
    },
}

impl StoreError {
    /// Whether a write that ended so may have taken place all the same: it must be looked up before it is repeated.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::TimedOut { .. })
    }
}

/// A versioned map of bytes with deadlines; see the [laws](self#the-laws).
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// The live entry under `key`, if there is one.
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError>;

    /// As [`Store::load`], but a copy of the store's stated age will do: to show a session, not to decide about it.
    async fn peek(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        self.load(key, now).await
    }

    /// The copy of an entry that was kept for times when the store cannot answer, where copies are kept.
    fn recall(&self, _key: &StoreKey, _now: Timestamp) -> Option<(Entry, Version)> {
        None
    }

    /// Writes a new entry; [`Written::Conflict`] when a live one is there.
    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError>;

    /// Writes over the version that the caller has read. To move the deadline is a write like any other.
    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError>;

    /// Ends an entry at once and for good.
    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError>;

    /// Removes at most `limit` expired entries and says how many it removed.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// The owner index, where the store can keep one.
    fn index(&self) -> Option<&dyn Index>;

    /// The walk over all entries, where the store can be walked.
    fn scan(&self) -> Option<&dyn Scan> {
        None
    }

    /// What an acknowledged write survives, in words for the operator (ST8).
    fn promise(&self) -> &'static str;
}

/// Which live sessions belong to one owner.
#[async_trait]
pub trait Index: Debug + Send + Sync {
    /// The keys of the owner's live entries, in no order.
    async fn keys_of(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, StoreError>;
}

/// A walk over all live entries, for moving them to another store.
#[async_trait]
pub trait Scan: Debug + Send + Sync {
    /// About `limit` live entries from `from` on; the walk begins with `None` and ends with a page that has no `next`.
    ///
    /// A page may be empty and not the last one; an entry may be seen twice (law 10).
    async fn page(&self, from: Option<&Cursor>, limit: usize, now: Timestamp) -> Result<Page, StoreError>;

    /// About how many entries there are, for a progress bar.
    async fn count(&self) -> Result<u64, StoreError>;
}

/// Where a walk goes on: a word of the store's own, of visible ASCII, that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

/// A part of a walk.
#[derive(Debug)]
pub struct Page {
    /// The entries.
    pub entries: Vec<(StoreKey, Entry)>,
    /// Where the walk goes on; `None` when it is over.
    pub next: Option<Cursor>,
}
