//! What this process knows of items that it read or wrote a moment ago: enough to write over one without asking again.
//!
//! It is only ever a guess. memcached checks it with the write: the unique number fits this very state of the item, or
//! nothing is written and the item is read anew.

use super::connection::Unique;
use super::item::Item;
use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use crate::store::Version;
use parking_lot::Mutex;

/// Requests that are between their read and their write; each place takes about 150 bytes.
const PLACES: usize = 8192;

/// The state of an item, apart from its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) unique: Unique,
    pub(super) version: Version,
    pub(super) deadline: Timestamp,
    pub(super) owner: Option<OwnerKey>,
    pub(super) listed_until: Timestamp,
}

impl Known {
    pub(super) fn of(item: &Item, unique: Unique) -> Self {
        let Item { entry, version, listed_until } = item;
        Self { unique, version: *version, deadline: entry.deadline, owner: entry.owner, listed_until: *listed_until }
    }
}

/// A table in which each key has one place, where the newest of all its keys stands.
pub(super) struct Recent(Box<[Place]>);

type Place = Mutex<Option<(StoreKey, Known)>>;

impl Recent {
    pub(super) fn new() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }

    pub(super) fn remember(&self, key: &StoreKey, known: Known) {
        *self.place(key).lock() = Some((*key, known));
    }

    pub(super) fn known(&self, key: &StoreKey) -> Option<Known> {
        self.place(key).lock().filter(|(other, _)| other == key).map(|(_, known)| known)
    }

    /// The end of the key is used for nothing else: its beginning decides the server.
    fn place(&self, key: &StoreKey) -> &Place {
        let [.., high, low] = key.as_bytes();
        &self.0[usize::from(u16::from_be_bytes([*high, *low])) % PLACES]
    }
}
