//! The deadlines of the memory store in order, so that expiry costs by what is due and not by what is there.

use crate::clock::Timestamp;
use crate::session::StoreKey;
use parking_lot::Mutex;
use std::collections::BTreeSet;

/// In how many parts the deadlines lie, each under its own lock.
pub(super) const STRIPES: usize = 64;

/// Every entry's deadline with its key: exact, because a list that only grows until deadlines come would
/// let visitors fill the memory with sessions that ended long ago.
#[derive(Debug)]
pub(super) struct Deadlines {
    stripes: Box<[Mutex<InOrder>]>,
}

type InOrder = BTreeSet<(Timestamp, StoreKey)>;

impl Deadlines {
    pub(super) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }

    pub(super) fn add(&self, key: StoreKey, deadline: Timestamp) {
        self.stripe_of(&key).lock().insert((deadline, key));
    }

    pub(super) fn remove(&self, key: StoreKey, deadline: Timestamp) {
        self.stripe_of(&key).lock().remove(&(deadline, key));
    }

    pub(super) fn shift(&self, key: StoreKey, from: Timestamp, to: Timestamp) {
        if from == to {
            return;
        }
        let mut stripe = self.stripe_of(&key).lock();
        stripe.remove(&(from, key));
        stripe.insert((to, key));
    }

    /// Up to `limit` keys of one stripe that are due; they stay listed until they are removed.
    pub(super) fn due(&self, stripe: usize, now: Timestamp, limit: usize) -> Vec<StoreKey> {
        // With the least key there is: a deadline at `now` itself still holds.
        let end = (now, StoreKey::from_bytes([0; 32]));
        self.stripes[stripe].lock().range(..end).take(limit).map(|(_, key)| *key).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// By the last byte: the first ones choose the place in the map of entries.
    fn stripe_of(&self, key: &StoreKey) -> &Mutex<InOrder> {
        let [.., last] = key.as_bytes();
        &self.stripes[usize::from(*last) % STRIPES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stripes_together_hold_all_that_is_due_and_nothing_else() {
        let deadlines = Deadlines::new();
        let key = |n: u8| StoreKey::from_bytes([n; 32]);
        for n in 0..200 {
            deadlines.add(key(n), Timestamp::from_millis(u64::from(n)));
        }
        deadlines.shift(key(7), Timestamp::from_millis(7), Timestamp::from_millis(500));
        deadlines.remove(key(8), Timestamp::from_millis(8));
        let mut due: Vec<_> = (0..STRIPES).flat_map(|n| deadlines.due(n, Timestamp::from_millis(100), 10)).collect();
        due.sort();
        let expected: Vec<_> = (0..100).filter(|n| *n != 7 && *n != 8).map(key).collect();
        assert_eq!(due, expected);
        assert_eq!(deadlines.len(), 199);
    }
}
