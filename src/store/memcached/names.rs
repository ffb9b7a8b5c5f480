//! The keys of items: a prefix of the operator's, and a digest.

use crate::session::{OwnerKey, StoreKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

/// memcached takes keys of 250 bytes.
const LONGEST: usize = 250;

/// A kind, a colon, and 32 bytes in base64.
const REST: usize = 2 + DIGEST;
const DIGEST: usize = 43;

/// Makes keys.
pub(super) struct Names {
    prefix: Box<[u8]>,
}

impl Names {
    /// A prefix that memcached would not take in a key is replaced by its digest.
    pub(super) fn new(prefix: &str) -> Self {
        let fits = prefix.len() + REST <= LONGEST && prefix.bytes().all(|byte| byte.is_ascii_graphic());
        let prefix =
            if fits { prefix.to_owned() } else { URL_SAFE_NO_PAD.encode(Sha256::digest(prefix.as_bytes())) + ":" };
        Self { prefix: prefix.into_bytes().into() }
    }

    pub(super) fn session(&self, key: &StoreKey) -> Bytes {
        self.key(b"s:", key.as_bytes())
    }

    pub(super) fn owner(&self, owner: &OwnerKey) -> Bytes {
        self.key(b"o:", owner.as_bytes())
    }

    fn key(&self, kind: &[u8], digest: &[u8; 32]) -> Bytes {
        let mut text = [0; DIGEST];
        let length = URL_SAFE_NO_PAD.encode_slice(digest, &mut text).unwrap_or_default();
        let mut key = BytesMut::with_capacity(self.prefix.len() + REST);
        key.put_slice(&self.prefix);
        key.put_slice(kind);
        key.put_slice(&text[..length]);
        key.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_prefix_a_kind_and_a_digest() {
        let names = Names::new("shop:");
        let (session, owner) = (StoreKey::from_bytes([255; 32]), OwnerKey::from_bytes([0; 32]));
        assert_eq!(names.session(&session), format!("shop:s:{}8", "_".repeat(42)));
        assert_eq!(names.owner(&owner), format!("shop:o:{}", "A".repeat(43)));
    }

    #[test]
    fn no_prefix_makes_a_key_that_memcached_would_not_take() {
        for prefix in ["", "two words", "line\r\n", "ä", &"x".repeat(300), &"x".repeat(LONGEST - REST)] {
            let key = Names::new(prefix).session(&StoreKey::from_bytes([1; 32]));
            assert!(key.len() <= LONGEST && key.iter().all(u8::is_ascii_graphic), "{key:?}");
        }
        let key = |prefix| Names::new(prefix).session(&StoreKey::from_bytes([1; 32]));
        assert_ne!(key("one prefix"), key("other prefix"));
    }
}
