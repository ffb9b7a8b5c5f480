//! Entries in memory in front of the file, so that a session in use costs no engine call.
//!
//! # Why it is exact
//!
//! 1. A reader that misses reads the file *while it holds the stripe's lock*, and puts in what it found.
//! 2. The writer thread commits first, then changes the entry here under the same lock, and only then acknowledges.
//!
//! So what a reader puts in is either newer than the commit, or is put in before the writer's change and corrected by
//! it; nobody sees an older state after a newer one. (It also makes parallel misses of one key read the file once.)
//!
//! That holds for the writes of this process. While another process may write the file the cache is off and empty: it
//! is on only for the holder of the exclusive lock of [`super::sole`].

use super::writer::{Change, Failure};
use crate::session::StoreKey;
use crate::store::generations::{Cost, Generations};
use crate::store::{Entry, Version};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most that the cache holds.
const CAPACITY: usize = 64 << 20;
const STRIPES: usize = 64;

/// What an entry costs beside its bytes.
const OVERHEAD: usize = 300;

type Found = (Entry, Version);

/// The cache; off until [`HotEntries::turn_on`].
pub(super) struct HotEntries {
    on: AtomicBool,
    stripes: Box<[Mutex<Generations<Found>>]>,
}

impl Default for HotEntries {
    fn default() -> Self {
        Self { on: AtomicBool::new(false), stripes: (0..STRIPES).map(|_| stripe()).collect() }
    }
}

impl HotEntries {
    /// The entry under `key`, from here or else by `read`; absent ones are not remembered.
    pub(super) fn read(
        &self,
        key: &StoreKey,
        read: impl FnOnce() -> Result<Option<Found>, Failure>,
    ) -> Result<Option<Found>, Failure> {
        if !self.is_on() {
            return read();
        }
        let mut stripe = self.stripe_of(key).lock();
        if let Some(found) = stripe.get(key) {
            return Ok(Some(found.clone()));
        }
        let found = read()?;
        // Asked again, under the lock: after `turn_off` has passed this stripe nothing may come in.
        if let Some(found) = &found
            && self.is_on()
        {
            stripe.put(*key, found.clone());
        }
        Ok(found)
    }

    /// What was committed; called before it is acknowledged.
    pub(super) fn apply(&self, changes: Vec<(StoreKey, Change)>) {
        if !self.is_on() {
            return;
        }
        for (key, change) in changes {
            let mut stripe = self.stripe_of(&key).lock();
            match change {
                Change::Put(entry, version) => {
                    // Copied, because the caller's bytes may be a small part of a large buffer.
                    let entry = Entry { bytes: Bytes::copy_from_slice(&entry.bytes), ..entry };
                    stripe.put(key, (entry, version));
                }
                Change::Gone => stripe.remove(&key),
            }
        }
    }

    /// What may or may not have been committed: the file knows.
    pub(super) fn forget(&self, changes: &[(StoreKey, Change)]) {
        for (key, _) in changes {
            self.stripe_of(key).lock().remove(key);
        }
    }

    /// To be called only while no other process can write the file.
    pub(super) fn turn_on(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    /// When this returns, no reader finds anything here any more.
    pub(super) fn turn_off(&self) {
        self.on.store(false, Ordering::SeqCst);
        for stripe in &self.stripes {
            stripe.lock().clear();
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    fn stripe_of(&self, key: &StoreKey) -> &Mutex<Generations<Found>> {
        let [.., last] = key.as_bytes();
        &self.stripes[usize::from(*last) % STRIPES]
    }
}

/// An empty stripe.
fn stripe() -> Mutex<Generations<Found>> {
    Mutex::new(Generations::new(CAPACITY / STRIPES))
}

impl Cost for Found {
    fn cost(&self) -> usize {
        self.0.bytes.len() + OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    /// All in one stripe.
    fn key(n: u32) -> StoreKey {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_ne_bytes());
        StoreKey::from_bytes(bytes)
    }

    fn found(size: usize) -> Found {
        let entry = Entry { bytes: vec![1; size].into(), deadline: Timestamp::from_millis(9), owner: None };
        (entry, Version(1))
    }

    /// Whether the cache has the key: whether reading it asks the file.
    fn has(hot: &HotEntries, key: &StoreKey) -> bool {
        hot.read(key, || Ok(None)).unwrap().is_some()
    }

    #[test]
    fn a_miss_reads_once_and_a_change_replaces_what_was_read() {
        let hot = HotEntries::default();
        hot.turn_on();
        hot.read(&key(1), || Ok(Some(found(10)))).unwrap();
        assert!(has(&hot, &key(1)));
        let moved = Entry { deadline: Timestamp::from_millis(20), ..found(10).0 };
        hot.apply(vec![(key(1), Change::Put(moved.clone(), Version(2)))]);
        assert_eq!(hot.read(&key(1), || Ok(None)).unwrap(), Some((moved, Version(2))));
        hot.apply(vec![(key(1), Change::Gone)]);
        assert!(!has(&hot, &key(1)));
        hot.apply(vec![(key(1), Change::Put(found(10).0, Version(3)))]);
        hot.forget(&[(key(1), Change::Gone)]);
        assert!(!has(&hot, &key(1)));
    }

    #[test]
    fn a_miss_reads_the_file_under_the_lock() {
        // A commit between the reading and the remembering would leave an old entry here for good.
        let hot = HotEntries::default();
        hot.turn_on();
        let read = || {
            assert!(hot.stripe_of(&key(1)).try_lock().is_none());
            Ok(Some(found(10)))
        };
        assert!(hot.read(&key(1), read).unwrap().is_some());
    }

    #[test]
    fn while_it_is_off_nothing_comes_in() {
        let hot = HotEntries::default();
        hot.turn_on();
        hot.apply(vec![(key(1), Change::Put(found(10).0, Version(3)))]);
        hot.turn_off();
        hot.apply(vec![(key(2), Change::Put(found(10).0, Version(3)))]);
        hot.read(&key(3), || Ok(Some(found(10)))).unwrap();
        hot.turn_on();
        assert!((1..=3).all(|n| !has(&hot, &key(n))));
    }
}
