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
use crate::store::digest::ByDigest;
use crate::store::{Entry, Version};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most that the cache holds.
const CAPACITY: usize = 64 << 20;
const STRIPES: usize = 64;

/// Half of a stripe: when the young half is full it becomes the old one, and the old one is dropped.
const GENERATION: usize = CAPACITY / STRIPES / 2;

/// What an entry costs beside its bytes.
const OVERHEAD: usize = 300;

type Found = (Entry, Version);

/// The cache; off until [`HotEntries::turn_on`].
pub(super) struct HotEntries {
    on: AtomicBool,
    stripes: Box<[Mutex<Stripe>]>,
}

#[derive(Default)]
struct Stripe {
    young: HashMap<StoreKey, Found, ByDigest>,
    young_bytes: usize,
    old: HashMap<StoreKey, Found, ByDigest>,
}

impl Default for HotEntries {
    fn default() -> Self {
        Self { on: AtomicBool::new(false), stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
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
            return Ok(Some(found));
        }
        let found = read()?;
        // Asked again, under the lock: after `turn_off` has passed this stripe nothing may come in.
        if let Some(found) = &found
            && self.is_on()
        {
            stripe.put(key, found.clone());
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
                    stripe.put(&key, (entry, version));
                }
                Change::Moved(deadline) => {
                    if let Some((entry, version)) = stripe.get(&key) {
                        stripe.put(&key, (Entry { deadline, ..entry }, version));
                    }
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
            *stripe.lock() = Stripe::default();
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    fn stripe_of(&self, key: &StoreKey) -> &Mutex<Stripe> {
        let [.., last] = key.as_bytes();
        &self.stripes[usize::from(*last) % STRIPES]
    }
}

impl Stripe {
    fn get(&mut self, key: &StoreKey) -> Option<Found> {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let found = self.old.remove(key)?;
        self.put(key, found.clone());
        Some(found)
    }

    fn put(&mut self, key: &StoreKey, found: Found) {
        self.remove(key);
        let cost = cost(&found);
        // One that fills a good part of a generation would push out hundreds.
        if cost > GENERATION / 4 {
            return;
        }
        if self.young_bytes + cost > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += cost;
        self.young.insert(*key, found);
    }

    fn remove(&mut self, key: &StoreKey) {
        if let Some(found) = self.young.remove(key) {
            self.young_bytes -= cost(&found);
        }
        self.old.remove(key);
    }
}

fn cost((entry, _): &Found) -> usize {
    entry.bytes.len() + OVERHEAD
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
        hot.apply(vec![(key(1), Change::Moved(Timestamp::from_millis(20)))]);
        let (entry, _) = hot.read(&key(1), || Ok(None)).unwrap().unwrap();
        assert_eq!(entry.deadline, Timestamp::from_millis(20));
        hot.apply(vec![(key(1), Change::Gone)]);
        assert!(!has(&hot, &key(1)));
        hot.apply(vec![(key(1), Change::Moved(Timestamp::from_millis(20)))]);
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

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        // ST4
        let hot = HotEntries::default();
        hot.turn_on();
        for n in 0..10_000 {
            hot.apply(vec![(key(n), Change::Put(found(700).0, Version(1)))]);
            assert!(has(&hot, &key(0)));
        }
        let stripe = hot.stripe_of(&key(0)).lock();
        let bytes = |half: &HashMap<_, Found, _>| half.values().map(cost).sum::<usize>();
        assert_eq!(bytes(&stripe.young), stripe.young_bytes);
        assert!(bytes(&stripe.young) <= GENERATION && bytes(&stripe.old) <= GENERATION);
        assert!(stripe.young.len() + stripe.old.len() > 500);
    }

    #[test]
    fn a_giant_is_not_kept() {
        let hot = HotEntries::default();
        hot.turn_on();
        hot.apply(vec![(key(1), Change::Put(found(GENERATION / 4).0, Version(1)))]);
        assert!(!has(&hot, &key(1)));
    }
}
