//! Sessions in one file on this machine: SQLite, one writer thread, readers in the request's own task.
//!
//! * `schema`: the file: its mark, its table, what is refused.
//! * `writer`: the queue of writes, and the answers that come back.
//! * `keeper`: the thread that writes, many callers to a commit.
//! * `statements`: each operation of [`Store`] in SQL.
//! * `readers`: read-only connections; a read of a cached page takes microseconds, so it happens where it is needed.
//! * `hot`: entries in memory in front of them, exact at any moment.
//! * `sole`: whether another process uses the file; if so, `hot` is off.
//! * `walk`: the walk over all entries, for moving them to another store.
//!
//! Two processes may use one file, as an old and a new proxy do during an upgrade.

mod hot;
mod keeper;
mod readers;
mod schema;
mod sole;
mod statements;
mod walk;
mod writer;

pub use schema::OpenError;

use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use crate::store::{Entry, Index, Scan, Store, StoreError, Version, Written};
use async_trait::async_trait;
use hot::HotEntries;
use readers::Readers;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use writer::{Effects, Failure, Writer};

const NAME: &str = "disk";

/// The largest entry it takes: far above any session, far below what would hold up the writer thread.
const MAX_ENTRY: usize = 1 << 20;

/// How many expired entries go in one transaction; other writes are let in between.
const SLICE: usize = 128;

/// When a write reaches the disk itself, and so what an acknowledged write survives (ST8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Before it is acknowledged: nothing acknowledged is ever lost.
    #[default]
    Always,
    /// Within a second, and deletions before they are acknowledged. A crash of the process loses nothing, a loss of
    /// power at most the last second; a session that was ended stays ended.
    Interval,
    /// When the system sees fit. A crash of the process loses nothing, a loss of power may lose more than a second;
    /// the file stays whole.
    Never,
}

/// Where a [`DiskStore`] lies and how carefully it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// The database; it and its directory are created, readable for the owner only, when they do not exist.
    pub path: PathBuf,
    /// When writes reach the disk.
    pub sync: Sync,
}

/// A [`Store`] in a file, which survives restarts.
///
/// Dropping it writes what is queued, and waits for that.
pub struct DiskStore {
    // Dropped before the writer: the last connection to close puts the log away, and only the writer's can.
    readers: Readers,
    hot: Arc<HotEntries>,
    writer: Writer,
    options: DiskOptions,
}

impl DiskStore {
    /// Opens the database, creating it if there is none, and starts the writer thread.
    ///
    /// To be called after the process has forked, if it does: neither thread nor connections cross a fork. Waits for a
    /// moment when another process uses the file.
    ///
    /// # Errors
    /// [`OpenError`] when the file is not ours, is newer than this version, or cannot be used.
    pub fn open(options: DiskOptions) -> Result<Self, OpenError> {
        let path = schema::place(&options.path)?;
        let hot = Arc::new(HotEntries::default());
        let writer = Writer::start(&path, options.sync, Arc::clone(&hot))?;
        let readers = Readers::open(&path)?;
        Ok(Self { readers, hot, writer, options })
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection, &mut Effects) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(work).await.map_err(no_answer)
    }
}

/// Why there is no answer. A full disk is told apart: nothing is broken, and it passes.
fn no_answer(failure: Failure) -> StoreError {
    if failure.is_full() {
        return StoreError::Full { store: NAME, limit: "no space is left on its disk".to_owned() };
    }
    StoreError::Unavailable { store: NAME, source: Box::new(failure) }
}

fn check_size(entry: &Entry) -> Result<(), StoreError> {
    let size = entry.bytes.len();
    if size > MAX_ENTRY {
        return Err(StoreError::TooLarge { store: NAME, size, limit: MAX_ENTRY });
    }
    Ok(())
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskStore({}, {:?})", self.options.path.display(), self.options.sync)
    }
}

#[async_trait]
impl Store for DiskStore {
    /// Reads in the caller's task; only an entry that has expired goes through the writer, which removes it, so that
    /// a clock that steps back does not revive it (SL13).
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        self.writer.check_alive().map_err(no_answer)?;
        let read = || self.readers.read(|db| statements::find(db, key));
        let found = self.hot.read(key, read).map_err(no_answer)?;
        if found.as_ref().is_none_or(|(entry, _)| !entry.deadline.has_passed(now)) {
            return Ok(found);
        }
        let key = *key;
        match self.write(move |db, effects| statements::expire(db, &key, now, effects)).await {
            // It has expired, though there is no room to write that down.
            Err(StoreError::Full { .. }) => Ok(None),
            answer => answer,
        }
    }

    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        check_size(&entry)?;
        let key = *key;
        self.write(move |db, effects| statements::create(db, &key, entry, now, effects)).await
    }

    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        check_size(&entry)?;
        let key = *key;
        self.write(move |db, effects| statements::replace(db, &key, entry, expected, now, effects)).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        let key = *key;
        self.write(move |db, effects| statements::delete(db, &key, effects)).await
    }

    /// Works in slices, between which other writes come to their turn; fewer than `limit` removed means that none is
    /// left.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut removed = 0;
        while removed < limit {
            let slice = SLICE.min(limit - removed);
            let swept = self.write(move |db, effects| statements::sweep(db, now, slice, effects)).await?;
            removed += swept;
            if swept < slice {
                break;
            }
        }
        Ok(removed)
    }

    fn index(&self) -> Option<&dyn Index> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn Scan> {
        Some(self)
    }

    fn promise(&self) -> &'static str {
        match self.options.sync {
            Sync::Always => "an acknowledged update survives a crash of the proxy and a loss of power",
            Sync::Interval => {
                "an acknowledged update survives a crash of the proxy; a loss of power takes back at most the last \
                 second, and revives no ended session"
            }
            Sync::Never => {
                "an acknowledged update survives a crash of the proxy; a loss of power takes back what the system had \
                 not written yet"
            }
        }
    }
}

#[async_trait]
impl Index for DiskStore {
    async fn keys_of(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, StoreError> {
        self.writer.check_alive().map_err(no_answer)?;
        self.readers.read(|db| statements::keys_of(db, owner, now)).map_err(no_answer)
    }
}
