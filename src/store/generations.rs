//! A map that is bounded in bytes and keeps what is used: when its young half is full it becomes the old one, and the old
//! one is dropped.

use super::digest::ByDigest;
use crate::session::StoreKey;
use std::collections::HashMap;

/// What a value costs of the bound.
pub(super) trait Cost {
    /// In bytes, everything included; it does not change while the value is in the map.
    fn cost(&self) -> usize;
}

/// The map; one lock's part of a cache.
pub(super) struct Generations<V> {
    /// What one half may hold.
    limit: usize,
    young: HashMap<StoreKey, V, ByDigest>,
    young_bytes: usize,
    old: HashMap<StoreKey, V, ByDigest>,
}

impl<V: Cost> Generations<V> {
    /// An empty map of at most `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        Self { limit: bytes / 2, young: HashMap::default(), young_bytes: 0, old: HashMap::default() }
    }

    /// The value under `key`, which is young from now on.
    pub(super) fn get(&mut self, key: &StoreKey) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let value = self.old.remove(key)?;
            self.put(*key, value);
        }
        self.young.get_mut(key)
    }

    pub(super) fn put(&mut self, key: StoreKey, value: V) {
        self.remove(&key);
        let cost = value.cost();
        // One that fills a good part of a generation would push out hundreds.
        if cost > self.limit / 4 {
            return;
        }
        if self.young_bytes + cost > self.limit {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += cost;
        self.young.insert(key, value);
    }

    pub(super) fn remove(&mut self, key: &StoreKey) {
        if let Some(value) = self.young.remove(key) {
            self.young_bytes -= value.cost();
        }
        self.old.remove(key);
    }

    pub(super) fn clear(&mut self) {
        *self = Self { limit: self.limit, ..Self::new(0) };
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Cost for usize {
        fn cost(&self) -> usize {
            *self
        }
    }

    fn key(n: u32) -> StoreKey {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_ne_bytes());
        StoreKey::from_bytes(bytes)
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        // ST4
        let mut map = Generations::new(200_000);
        for n in 0..10_000 {
            map.put(key(n), 700_usize);
            assert!(map.get(&key(0)).is_some());
        }
        let bytes = |half: &HashMap<_, usize, _>| half.values().sum::<usize>();
        assert_eq!(bytes(&map.young), map.young_bytes);
        assert!(bytes(&map.young) <= 100_000 && bytes(&map.old) <= 100_000);
        assert!(map.len() > 140);
        map.clear();
        assert_eq!((map.len(), map.young_bytes), (0, 0));
        map.put(key(1), 700);
        assert!(map.get(&key(1)).is_some(), "it is as large as before");
    }

    #[test]
    fn a_giant_is_not_kept_and_what_it_replaces_is_gone() {
        let mut map = Generations::new(8_000);
        map.put(key(1), 1_000_usize);
        assert!(map.get(&key(1)).is_some());
        map.put(key(1), 1_001);
        assert!(map.get(&key(1)).is_none());
        assert_eq!(map.young_bytes, 0);
    }
}
