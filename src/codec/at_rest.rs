//! A record in a store: sealed under a key that only the visitor's cookie leads to (ST1).
//!
//! Version `1`, nonce 12, ciphertext, tag 16: AES-256-GCM, key by HKDF from the session id, the store key as associated
//! data, so that no record passes for another's even if a store hands out the wrong one. One session's record is written
//! far less than 2^32 times under its id, so random nonces are safe.

use super::NotOurs;
use super::keyring::{derive, keyed};
use crate::session::{NoRandomness, SessionId, StoreKey, random};
use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroize as _;

const VERSION: u8 = 1;
const TAG_LEN: usize = 16;
const HEAD: usize = 1 + NONCE_LEN;

/// How the records of a policy lie in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRest {
    /// As they are: for a store in our own memory.
    Plain,
    /// Sealed.
    Sealed,
}

impl AtRest {
    /// Makes a record ready for the store.
    ///
    /// # Errors
    /// [`NoRandomness`] when there is no nonce to be had.
    pub fn seal(self, id: &SessionId, key: &StoreKey, record: Vec<u8>) -> Result<Bytes, NoRandomness> {
        if self == Self::Plain {
            return Ok(record.into());
        }
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut bytes = Vec::with_capacity(HEAD + record.len() + TAG_LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&record);
        let cipher = cipher(id).ok_or(NoRandomness)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(key.as_bytes()), &mut bytes[HEAD..]);
        bytes.extend_from_slice(tag.map_err(|_| NoRandomness)?.as_ref());
        Ok(bytes.into())
    }

    /// Reads what the store held.
    ///
    /// # Errors
    /// [`NotOurs`] when it was not sealed under this id for this key.
    pub fn open(self, id: &SessionId, key: &StoreKey, bytes: Bytes) -> Result<Bytes, NotOurs> {
        if self == Self::Plain {
            return Ok(bytes);
        }
        let (&[version, ref nonce @ ..], sealed) = bytes.split_first_chunk::<HEAD>().ok_or(NotOurs)?;
        if version != VERSION {
            return Err(NotOurs);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotOurs)?;
        let mut record = sealed.to_vec();
        let cipher = cipher(id).ok_or(NotOurs)?;
        let opened = cipher.open_in_place(nonce, Aad::from(key.as_bytes()), &mut record).map_err(|_| NotOurs)?;
        let length = opened.len();
        record.truncate(length);
        Ok(record.into())
    }
}

/// The cipher of one session; `None` never happens, since the derived key has the right length.
fn cipher(id: &SessionId) -> Option<LessSafeKey> {
    let mut key = derive(&keyed(id.expose()), b"cloakroom record at rest 1");
    let cipher = UnboundKey::new(&AES_256_GCM, &key).ok().map(LessSafeKey::new);
    key.zeroize();
    cipher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_record_opens_under_its_own_id_and_key_only() {
        let (id, other) = (SessionId::from_bytes([1; 32]), SessionId::from_bytes([2; 32]));
        let key = id.store_key();
        let sealed = AtRest::Sealed.seal(&id, &key, b"secret data".to_vec()).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(AtRest::Sealed.open(&id, &key, sealed.clone()).unwrap(), "secret data");
        assert_eq!(AtRest::Sealed.open(&other, &key, sealed.clone()), Err(NotOurs));
        assert_eq!(AtRest::Sealed.open(&id, &other.store_key(), sealed), Err(NotOurs));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        // ST5
        let id = SessionId::from_bytes([1; 32]);
        let sealed = AtRest::Sealed.seal(&id, &id.store_key(), b"data".to_vec()).unwrap();
        for at in 0..sealed.len() {
            let mut bytes = sealed.to_vec();
            bytes[at] ^= 1;
            assert!(AtRest::Sealed.open(&id, &id.store_key(), bytes.into()).is_err(), "{at}");
            assert!(AtRest::Sealed.open(&id, &id.store_key(), sealed.slice(..at)).is_err(), "{at}");
        }
    }
}
