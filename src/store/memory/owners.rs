//! The owner index of the memory store: from an owner to the keys of their entries.

use crate::session::{OwnerKey, StoreKey};
use crate::store::digest::ByDigest;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry::{Occupied, Vacant};
use std::collections::HashSet;
use std::hash::RandomState;

/// Seeded hashing, unlike the map of entries: visitors choose the names of owners, and could search for names that collide.
#[derive(Debug)]
pub(super) struct Owners(DashMap<OwnerKey, Keys, RandomState>);

/// Nearly every owner has one session, which then costs no allocation.
#[derive(Debug)]
enum Keys {
    One(StoreKey),
    Many(HashSet<StoreKey, ByDigest>),
}

impl Owners {
    pub(super) fn new(shards: usize) -> Self {
        Self(DashMap::with_capacity_and_hasher_and_shard_amount(0, RandomState::new(), shards))
    }

    /// Lists `key` under `owner`.
    pub(super) fn add(&self, owner: OwnerKey, key: StoreKey) {
        match self.0.entry(owner) {
            Vacant(free) => drop(free.insert(Keys::One(key))),
            Occupied(mut listed) => listed.get_mut().add(key),
        }
    }

    /// Takes `key` off the list of `owner`, and the owner off the index with their last key.
    pub(super) fn remove(&self, owner: OwnerKey, key: &StoreKey) {
        if let Occupied(mut listed) = self.0.entry(owner)
            && listed.get_mut().remove(key)
        {
            listed.remove();
        }
    }

    /// A copy of the owner's keys, so that no lock is held while the caller looks them up.
    pub(super) fn keys_of(&self, owner: &OwnerKey) -> Vec<StoreKey> {
        match self.0.get(owner).as_deref() {
            None => Vec::new(),
            Some(Keys::One(key)) => vec![*key],
            Some(Keys::Many(keys)) => keys.iter().copied().collect(),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Keys {
    fn add(&mut self, key: StoreKey) {
        match self {
            Self::Many(keys) => drop(keys.insert(key)),
            Self::One(other) if *other == key => {}
            Self::One(other) => *self = Self::Many(HashSet::from_iter([*other, key])),
        }
    }

    /// Says whether nothing is left.
    fn remove(&mut self, key: &StoreKey) -> bool {
        match self {
            Self::One(other) => other == key,
            Self::Many(keys) => {
                keys.remove(key);
                let mut left = keys.iter().copied();
                if let (Some(last), None) = (left.next(), left.next()) {
                    *self = Self::One(last);
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> StoreKey {
        StoreKey::from_bytes([n; 32])
    }

    fn sorted(owners: &Owners, owner: &OwnerKey) -> Vec<StoreKey> {
        let mut keys = owners.keys_of(owner);
        keys.sort();
        keys
    }

    #[test]
    fn an_owner_gains_and_loses_keys_and_leaves_with_the_last() {
        let (owners, owner) = (Owners::new(2), OwnerKey::new("main", "ann"));
        for n in [1, 2, 3, 2] {
            owners.add(owner, key(n));
        }
        assert_eq!(sorted(&owners, &owner), [key(1), key(2), key(3)]);
        owners.remove(owner, &key(2));
        owners.remove(owner, &key(9));
        assert_eq!(sorted(&owners, &owner), [key(1), key(3)]);
        owners.remove(owner, &key(1));
        owners.remove(owner, &key(1));
        assert_eq!(sorted(&owners, &owner), [key(3)]);
        owners.remove(owner, &key(3));
        assert_eq!((sorted(&owners, &owner), owners.len()), (vec![], 0));
        owners.remove(owner, &key(3));
    }
}
