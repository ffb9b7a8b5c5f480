//! A history in a store: sealed under the operator's keys, since it must be read when no visitor comes any more.
//!
//! Version `1`, key hint 2, salt 24, ciphertext, tag 16: AES-256-GCM under a key of its own, derived from the salt. The
//! associated data binds version, key hint and store key, so that no history passes for another's.

use super::NotOurs;
use super::keyring::{HINT_LEN, KeyRing};
use super::salted::{SALT_LEN, TAG_LEN, cipher, nonce};
use crate::session::{NoRandomness, StoreKey, random};
use bytes::Bytes;
use ring::aead::Aad;

const VERSION: u8 = 1;
const HEAD: usize = 1 + HINT_LEN;

/// Seals a history with the key that seals, for the place where it is to lie.
///
/// # Errors
/// [`NoRandomness`] when there is no salt to be had.
pub fn seal_history(ring: &KeyRing, place: &StoreKey, history: &[u8]) -> Result<Bytes, NoRandomness> {
    let key = ring.sealing();
    let salt: [u8; SALT_LEN] = random()?;
    let mut bytes = Vec::with_capacity(HEAD + SALT_LEN + history.len() + TAG_LEN);
    bytes.push(VERSION);
    bytes.extend_from_slice(&key.hint());
    let bound = Aad::from([&bytes, &place.as_bytes()[..]].concat());
    bytes.extend_from_slice(&salt);
    bytes.extend_from_slice(history);
    let cipher = cipher(&key.history(), &salt).ok_or(NoRandomness)?;
    let tag = cipher.seal_in_place_separate_tag(nonce(), bound, &mut bytes[HEAD + SALT_LEN..]);
    bytes.extend_from_slice(tag.map_err(|_| NoRandomness)?.as_ref());
    Ok(bytes.into())
}

/// Reads what lies in this place.
///
/// # Errors
/// [`NotOurs`] when no key of the ring has sealed it for this place.
pub fn open_history(ring: &KeyRing, place: &StoreKey, bytes: &[u8]) -> Result<Vec<u8>, NotOurs> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(NotOurs)?;
    let (salt, sealed) = rest.split_first_chunk::<SALT_LEN>().ok_or(NotOurs)?;
    let &[version, high, low] = head;
    if version != VERSION {
        return Err(NotOurs);
    }
    let (key, _) = ring.opening([high, low]).ok_or(NotOurs)?;
    let bound = Aad::from([&head[..], place.as_bytes()].concat());
    let mut history = sealed.to_vec();
    let cipher = cipher(&key.history(), salt).ok_or(NotOurs)?;
    let length = cipher.open_in_place(nonce(), bound, &mut history).map_err(|_| NotOurs)?.len();
    history.truncate(length);
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Key;
    use crate::secret::Secret;
    use proptest::prelude::*;

    const PLACE: StoreKey = StoreKey::from_bytes([7; 32]);

    fn ring(bytes: &[u8]) -> KeyRing {
        let key = |byte: &u8| Key::new(format!("key-{byte}"), &Secret::new([*byte; 32]));
        KeyRing::new(bytes.iter().map(key).collect()).unwrap()
    }

    #[test]
    fn a_history_opens_under_any_key_of_the_ring_and_in_its_own_place_only() {
        let sealed = seal_history(&ring(&[1]), &PLACE, b"login shop").unwrap();
        assert!(!sealed.windows(4).any(|window| window == b"shop"));
        for keys in [&[1][..], &[2, 1]] {
            assert_eq!(open_history(&ring(keys), &PLACE, &sealed).unwrap(), b"login shop");
        }
        assert_eq!(open_history(&ring(&[2]), &PLACE, &sealed), Err(NotOurs));
        assert_eq!(open_history(&ring(&[1]), &StoreKey::from_bytes([8; 32]), &sealed), Err(NotOurs));
        assert_ne!(seal_history(&ring(&[1]), &PLACE, b"login shop").unwrap(), sealed);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        // ST5
        let sealed = seal_history(&ring(&[1]), &PLACE, b"login").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            for bytes in [&changed[..], &sealed[..at]] {
                assert_eq!(open_history(&ring(&[1]), &PLACE, bytes), Err(NotOurs), "{at}");
            }
        }
    }

    /// The bytes were made by another implementation, from the description at the top of this file.
    #[test]
    fn histories_of_the_first_release_still_open() {
        let text = "0130e3090909090909090909090909090909090909090909090909af3c30903ac6f84b199638b0bf4941d97f0fa51cee941f3650ff";
        let bytes: Vec<u8> = text.as_bytes().chunks(2).map(hex).collect();
        assert_eq!(open_history(&ring(&[1]), &PLACE, &bytes).unwrap(), b"login shop");
    }

    fn hex(pair: &[u8]) -> u8 {
        u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(open_history(&ring(&[1]), &PLACE, &bytes).is_err());
        }
    }
}
