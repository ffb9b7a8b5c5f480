//! Sessions in this process: the fastest store, the model for the others, gone with the process.
//!
//! Three structures tell of one entry: the map of entries, the owner index and the order of deadlines. The lock of the
//! entry's shard is taken first and held while the other two are brought in line, so they agree whenever it is free.
//! Locks are taken in this order only, at most one of each kind: nothing here can deadlock.

mod deadlines;
mod owners;
mod room;
mod walk;

use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use crate::store::digest::ByDigest;
use crate::store::{Entry, Index, Scan, Store, StoreError, Version, Written};
use async_trait::async_trait;
use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry::{Occupied, Vacant};
use deadlines::{Deadlines, STRIPES};
use owners::Owners;
use room::{NoRoom, Room};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const NAME: &str = "memory";

/// Many shards keep each lock short, also while a shard's table grows.
const SHARDS: usize = 1024;

/// What an entry costs beside its bytes: its place in the map and among the deadlines, and what the allocator adds.
/// Measured at a million sessions, rounded up; `max_bytes` is meant to be true of the process.
const ENTRY_OVERHEAD: usize = 400;

/// What the owner index costs for an entry that has an owner.
const OWNER_OVERHEAD: usize = 180;

/// How many expired entries are removed before another task gets a turn.
const SLICE: usize = 64;

/// How much a [`MemoryStore`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// The most entries, live or not yet swept.
    pub max_entries: usize,
    /// The most bytes, everything included that an entry costs.
    pub max_bytes: usize,
}

impl Default for MemoryLimits {
    /// A million entries, 1 GiB.
    fn default() -> Self {
        Self { max_entries: 1_000_000, max_bytes: 1 << 30 }
    }
}

/// A [`Store`] in the memory of this process, bounded in entries and bytes.
///
/// A full store removes what has expired; when that is not enough it refuses new entries, and growth of old ones, with
/// [`StoreError::Full`]. No visitor can push out the live session of another (ST7).
pub struct MemoryStore {
    sessions: DashMap<StoreKey, Slot, ByDigest>,
    owners: Owners,
    deadlines: Deadlines,
    room: Room,
    versions: AtomicU64,
    /// The stripe of deadlines where the next slice of a sweep begins.
    cursor: AtomicUsize,
}

struct Slot {
    bytes: Bytes,
    deadline: Timestamp,
    version: Version,
    owner: Option<OwnerKey>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        Self {
            sessions: DashMap::with_capacity_and_hasher_and_shard_amount(0, ByDigest, SHARDS),
            owners: Owners::new(SHARDS),
            deadlines: Deadlines::new(),
            room: Room::new(limits),
            versions: AtomicU64::new(1),
            cursor: AtomicUsize::new(0),
        }
    }

    /// How many entries it holds, expired ones that were not swept yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.room.entries()
    }

    /// Whether it holds nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What its entries cost, as counted against [`MemoryLimits::max_bytes`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.room.bytes()
    }

    /// Never used twice in this process, so that no version fits an entry that was made anew under its key.
    fn next_version(&self) -> Version {
        Version(self.versions.fetch_add(1, Ordering::Relaxed))
    }

    fn try_create(&self, key: &StoreKey, entry: &Entry, now: Timestamp) -> Result<Written, NoRoom> {
        match self.sessions.entry(*key) {
            Occupied(found) if !found.get().deadline.has_passed(now) => Ok(Written::Conflict),
            Occupied(mut expired) => self.overwrite(*key, expired.get_mut(), entry).map(Written::Done),
            Vacant(free) => {
                self.room.take_entry(cost(entry))?;
                let slot = Slot::new(entry, self.next_version());
                let version = slot.version;
                self.list(*key, &slot);
                free.insert(slot);
                Ok(Written::Done(version))
            }
        }
    }

    fn try_replace(&self, key: &StoreKey, entry: &Entry, expected: Version, now: Timestamp) -> Result<Written, NoRoom> {
        let written = self.if_live(key, now, |slot| {
            if slot.version != expected {
                return Ok(Written::Conflict);
            }
            self.overwrite(*key, slot, entry).map(Written::Done)
        });
        written.unwrap_or(Ok(Written::Gone))
    }

    fn overwrite(&self, key: StoreKey, slot: &mut Slot, entry: &Entry) -> Result<Version, NoRoom> {
        self.room.resize(slot.cost(), cost(entry))?;
        self.deadlines.shift(key, slot.deadline, entry.deadline);
        if slot.owner != entry.owner {
            self.disown(&key, slot);
            self.own(key, entry.owner);
        }
        *slot = Slot::new(entry, self.next_version());
        Ok(slot.version)
    }

    /// Lets `act` work on the entry if it is alive, and removes it if it is not: what has been seen expired once stays
    /// so, though the clock step back (SL13).
    fn if_live<T>(&self, key: &StoreKey, now: Timestamp, act: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        loop {
            let mut slot = self.sessions.get_mut(key)?;
            if !slot.deadline.has_passed(now) {
                return Some(act(&mut slot));
            }
            drop(slot);
            if self.remove_if(key, |slot| slot.deadline.has_passed(now)) {
                return None;
            }
            // Somebody moved the deadline between the two locks: look again.
        }
    }

    /// The one way out of the store; the condition is asked under the lock.
    fn remove_if(&self, key: &StoreKey, condition: impl FnOnce(&Slot) -> bool) -> bool {
        let Occupied(found) = self.sessions.entry(*key) else { return false };
        if !condition(found.get()) {
            return false;
        }
        self.unlist(*key, found.get());
        self.room.give_entry(found.get().cost());
        found.remove();
        true
    }

    fn list(&self, key: StoreKey, slot: &Slot) {
        self.deadlines.add(key, slot.deadline);
        self.own(key, slot.owner);
    }

    fn unlist(&self, key: StoreKey, slot: &Slot) {
        self.deadlines.remove(key, slot.deadline);
        self.disown(&key, slot);
    }

    fn own(&self, key: StoreKey, owner: Option<OwnerKey>) {
        if let Some(owner) = owner {
            self.owners.add(owner, key);
        }
    }

    fn disown(&self, key: &StoreKey, slot: &Slot) {
        if let Some(owner) = slot.owner {
            self.owners.remove(owner, key);
        }
    }

    /// Removes up to `limit` expired entries, starting at the stripe where the last slice ended. None removed means
    /// that none is left: the slice went all the way round.
    fn sweep_slice(&self, now: Timestamp, limit: usize) -> usize {
        let start = self.cursor.load(Ordering::Relaxed);
        let mut removed = 0;
        for stripe in (start..start + STRIPES).map(|n| n % STRIPES) {
            let due = self.deadlines.due(stripe, now, limit - removed);
            removed += due.iter().filter(|key| self.remove_if(key, |slot| slot.deadline.has_passed(now))).count();
            if removed == limit {
                self.cursor.store(stripe, Ordering::Relaxed);
                break;
            }
        }
        removed
    }

    /// A store that looks full may hold expired entries: it sweeps as many slices as the write needs, and is full only
    /// when none of them is left.
    fn with_room(&self, now: Timestamp, write: impl Fn() -> Result<Written, NoRoom>) -> Result<Written, StoreError> {
        loop {
            match write() {
                Ok(written) => return Ok(written),
                Err(_) if self.sweep_slice(now, SLICE) > 0 => {}
                Err(limit) => return Err(StoreError::Full { store: NAME, limit: self.room.describe(limit) }),
            }
        }
    }

    fn check_size(&self, entry: &Entry) -> Result<(), StoreError> {
        let (size, overhead) = (entry.bytes.len(), cost(entry) - entry.bytes.len());
        let limit = self.room.limits().max_bytes.saturating_sub(overhead);
        if size > limit {
            return Err(StoreError::TooLarge { store: NAME, size, limit });
        }
        Ok(())
    }
}

impl Slot {
    /// Copies the bytes: the caller's may be a small part of a large buffer, which would live on uncounted.
    fn new(entry: &Entry, version: Version) -> Self {
        Self { bytes: Bytes::copy_from_slice(&entry.bytes), deadline: entry.deadline, version, owner: entry.owner }
    }

    fn to_entry(&self) -> Entry {
        Entry { bytes: self.bytes.clone(), deadline: self.deadline, owner: self.owner }
    }

    fn cost(&self) -> usize {
        cost_of(self.bytes.len(), self.owner.is_some())
    }
}

fn cost(entry: &Entry) -> usize {
    cost_of(entry.bytes.len(), entry.owner.is_some())
}

fn cost_of(bytes: usize, owned: bool) -> usize {
    bytes + ENTRY_OVERHEAD + if owned { OWNER_OVERHEAD } else { 0 }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} entries, {} bytes)", self.len(), self.bytes())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        // The usual case needs a shared lock only.
        match self.sessions.get(key) {
            None => return Ok(None),
            Some(slot) if !slot.deadline.has_passed(now) => return Ok(Some((slot.to_entry(), slot.version))),
            Some(_) => {}
        }
        Ok(self.if_live(key, now, |slot| (slot.to_entry(), slot.version)))
    }

    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        self.check_size(&entry)?;
        self.with_room(now, || self.try_create(key, &entry, now))
    }

    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        self.check_size(&entry)?;
        self.with_room(now, || self.try_replace(key, &entry, expected, now))
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.remove_if(key, |_| true);
        Ok(())
    }

    /// Works in slices and lets other tasks run between them; fewer than `limit` removed means that none is left.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut removed = 0;
        while removed < limit {
            let slice = self.sweep_slice(now, SLICE.min(limit - removed));
            if slice == 0 {
                break;
            }
            removed += slice;
            tokio::task::yield_now().await;
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
        "nothing: sessions end with the process"
    }
}

#[async_trait]
impl Index for MemoryStore {
    async fn keys_of(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, StoreError> {
        let mut keys = self.owners.keys_of(owner);
        // Looked up one by one, after the index let go of its lock: the order of locks is entries first.
        keys.retain(|key| {
            let slot = self.sessions.get(key);
            slot.is_some_and(|slot| slot.owner.as_ref() == Some(owner) && !slot.deadline.has_passed(now))
        });
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(n: u64) -> Timestamp {
        Timestamp::from_millis(n)
    }

    /// Entries, listed deadlines and owners.
    fn sizes(store: &MemoryStore) -> (usize, usize, usize) {
        assert_eq!(store.sessions.len(), store.len(), "the count is the map's");
        (store.len(), store.deadlines.len(), store.owners.len())
    }

    #[tokio::test]
    async fn the_map_the_deadlines_and_the_owners_tell_the_same() {
        let store = MemoryStore::new(MemoryLimits::default());
        let key = StoreKey::from_bytes([1; 32]);
        let entry = |name: Option<&str>, deadline| Entry {
            bytes: Bytes::from_static(b"bytes"),
            deadline: moment(deadline),
            owner: name.map(|name| OwnerKey::new("main", name)),
        };
        let replace = async |new: Entry, now| {
            let (_, version) = store.load(&key, moment(now)).await.unwrap().unwrap();
            store.replace(&key, new, version, moment(now)).await.unwrap();
            sizes(&store)
        };
        store.create(&key, entry(Some("ann"), 10), moment(0)).await.unwrap();
        assert_eq!(sizes(&store), (1, 1, 1));
        assert_eq!(replace(entry(Some("bob"), 20), 0).await, (1, 1, 1));
        assert_eq!(replace(entry(None, 20), 0).await, (1, 1, 0));
        assert_eq!(replace(entry(Some("ann"), 30), 0).await, (1, 1, 1));
        assert_eq!(replace(entry(Some("ann"), 40), 0).await, (1, 1, 1));
        store.create(&key, entry(Some("bob"), 60), moment(50)).await.unwrap();
        assert_eq!(sizes(&store), (1, 1, 1));
        assert!(store.load(&key, moment(70)).await.unwrap().is_none());
        assert_eq!(sizes(&store), (0, 0, 0));
        store.create(&key, entry(Some("bob"), 90), moment(80)).await.unwrap();
        store.delete(&key).await.unwrap();
        assert_eq!((sizes(&store), store.bytes()), ((0, 0, 0), 0));
    }

    #[tokio::test]
    async fn the_bytes_are_the_stores_own() {
        // ST7: a small entry must not hold on to the large buffer that it was cut from.
        let store = MemoryStore::new(MemoryLimits::default());
        let (key, buffer) = (StoreKey::from_bytes([1; 32]), Bytes::from(vec![7; 1 << 20]));
        let entry = Entry { bytes: buffer.slice(..4), deadline: moment(10), owner: None };
        store.create(&key, entry, moment(0)).await.unwrap();
        assert!(buffer.is_unique());
    }
}
