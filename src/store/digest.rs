//! Hashing for maps whose keys are digests already: a few bytes of the key are as good a hash as any.

use std::hash::{BuildHasher, Hasher};

/// Takes the first eight bytes of a [`StoreKey`](crate::session::StoreKey) as its hash.
///
/// Nobody can choose keys that collide: a store key is the digest of an id that we drew ourselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ByDigest;

impl BuildHasher for ByDigest {
    type Hasher = FirstBytes;

    fn build_hasher(&self) -> FirstBytes {
        FirstBytes(0)
    }
}

/// The hasher of [`ByDigest`].
#[derive(Debug)]
pub(super) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// The length that goes before an array is the same for all keys.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::StoreKey;

    #[test]
    fn the_hash_is_the_beginning_of_the_key() {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&77_u64.to_ne_bytes());
        assert_eq!(ByDigest.hash_one(StoreKey::from_bytes(bytes)), 77);
    }
}
