//! A record in a store: sealed under a key that only the visitor's cookie leads to (ST1).
//!
//! Version `1`, nonce 12, ciphertext, tag 16: AES-256-GCM, key by HKDF from the session id, the store key as associated
//! data, so that no record passes for another's even if a store hands out the wrong one. One session's record is written
//! far less than 2^32 times under its id, so random nonces are safe.
//!
//! Version `2` is the record of a session under a [`Label`], which stands in the clear between version and nonce and is
//! associated data, too: the tag of the policy 4, the lineage 12, when the absolute clock began u64 big-endian. By it an
//! operator finds a session whose record nobody but its visitor can open. In a store that may read what it holds, the
//! letter `P` and the tag of the policy stand in front of a session's record, which tells the rest; no record begins so.

use super::NotOurs;
use super::keyring::{derive, keyed};
use crate::clock::Timestamp;
use crate::session::{Head, Lineage, NoRandomness, PolicyTag, SessionId, StoreKey, random};
use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroize as _;

const BARE: u8 = 1;
const LABELLED: u8 = 2;
const PLAIN: u8 = b'P';

const TAG_LEN: usize = 16;
const LABEL_LEN: usize = 4 + 12 + 8;
const PLAIN_HEAD: usize = 1 + 4;

/// How the records of a policy lie in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRest {
    /// As they are: for a store in our own memory.
    Plain,
    /// Sealed.
    Sealed,
}

/// What a store may know about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Whose session it is.
    pub policy: PolicyTag,
    /// The session's lasting name.
    pub lineage: Lineage,
    /// When its absolute clock began.
    pub started_at: Timestamp,
}

impl Label {
    fn of(policy: PolicyTag, record: &[u8]) -> Option<Self> {
        let head = Head::parse(record).ok()?;
        Some(Self { policy, lineage: head.lineage, started_at: head.started_at })
    }

    fn encode(&self) -> [u8; LABEL_LEN] {
        let mut bytes = [0; LABEL_LEN];
        bytes[..4].copy_from_slice(self.policy.as_bytes());
        bytes[4..16].copy_from_slice(self.lineage.as_bytes());
        bytes[16..].copy_from_slice(&self.started_at.as_millis().to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; LABEL_LEN]) -> Option<Self> {
        let (policy, rest) = bytes.split_first_chunk::<4>()?;
        let (lineage, started_at) = rest.split_first_chunk::<12>()?;
        let started_at = Timestamp::from_millis(u64::from_be_bytes(started_at.try_into().ok()?));
        Some(Self { policy: PolicyTag::from_bytes(*policy), lineage: Lineage::from_bytes(*lineage), started_at })
    }
}

impl AtRest {
    /// Makes a record ready for the store, or what stands in the place of one: that bears no label.
    ///
    /// # Errors
    /// [`NoRandomness`] when there is no nonce to be had.
    pub fn seal(
        self,
        id: &SessionId,
        key: &StoreKey,
        policy: PolicyTag,
        record: Vec<u8>,
    ) -> Result<Bytes, NoRandomness> {
        let label = Label::of(policy, &record);
        if self == Self::Plain {
            return Ok(match label {
                Some(_) => [&[PLAIN][..], policy.as_bytes(), &record].concat().into(),
                None => record.into(),
            });
        }
        let nonce: [u8; NONCE_LEN] = random()?;
        let label = label.map(|label| label.encode());
        let label = label.as_ref().map_or(&[][..], |label| label);
        let head = 1 + label.len() + NONCE_LEN;
        let mut bytes = Vec::with_capacity(head + record.len() + TAG_LEN);
        bytes.push(if label.is_empty() { BARE } else { LABELLED });
        bytes.extend_from_slice(label);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&record);
        let cipher = cipher(id).ok_or(NoRandomness)?;
        let (nonce, bound) = (Nonce::assume_unique_for_key(nonce), Bound::new(key, label));
        let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(bound.as_bytes()), &mut bytes[head..]);
        bytes.extend_from_slice(tag.map_err(|_| NoRandomness)?.as_ref());
        Ok(bytes.into())
    }

    /// Reads what the store held.
    ///
    /// # Errors
    /// [`NotOurs`] when it was not sealed under this id for this key.
    pub fn open(self, id: &SessionId, key: &StoreKey, bytes: Bytes) -> Result<Bytes, NotOurs> {
        if self == Self::Plain {
            return Ok(if bytes.first() == Some(&PLAIN) && bytes.len() > PLAIN_HEAD {
                bytes.slice(PLAIN_HEAD..)
            } else {
                bytes
            });
        }
        let (&version, rest) = bytes.split_first().ok_or(NotOurs)?;
        let (label, rest) = match version {
            BARE => (&[][..], rest),
            LABELLED => rest.split_at_checked(LABEL_LEN).ok_or(NotOurs)?,
            _ => return Err(NotOurs),
        };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(NotOurs)?;
        let mut record = sealed.to_vec();
        let cipher = cipher(id).ok_or(NotOurs)?;
        let (nonce, bound) = (Nonce::assume_unique_for_key(*nonce), Bound::new(key, label));
        let opened = cipher.open_in_place(nonce, Aad::from(bound.as_bytes()), &mut record).map_err(|_| NotOurs)?;
        let length = opened.len();
        record.truncate(length);
        Ok(record.into())
    }

    /// What the bytes in a store tell about a session; `None` when they are none's, or were written before there were
    /// labels. Whether it is true shows when the visitor comes.
    #[must_use]
    pub fn label(self, bytes: &[u8]) -> Option<Label> {
        match (self, bytes.split_first()?) {
            (Self::Sealed, (&LABELLED, rest)) => Label::decode(rest.first_chunk()?),
            (Self::Plain, (&PLAIN, rest)) => {
                let (policy, record) = rest.split_first_chunk()?;
                Label::of(PolicyTag::from_bytes(*policy), record)
            }
            _ => None,
        }
    }

    /// The record in a store that may read it; `None` where it is sealed.
    #[must_use]
    pub fn readable(self, bytes: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Plain if bytes.first() == Some(&PLAIN) => bytes.get(PLAIN_HEAD..),
            _ => None,
        }
    }
}

/// What a sealed record is bound to: the store key, and the label if it bears one.
struct Bound {
    bytes: [u8; 32 + LABEL_LEN],
    length: usize,
}

impl Bound {
    fn new(key: &StoreKey, label: &[u8]) -> Self {
        let mut bytes = [0; 32 + LABEL_LEN];
        bytes[..32].copy_from_slice(key.as_bytes());
        let length = 32 + label.len();
        bytes[32..length].copy_from_slice(label);
        Self { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
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
    use crate::session::{Record, encode, encode_tombstone};

    const MAIN: [u8; 4] = *b"main";

    fn policy() -> PolicyTag {
        PolicyTag::from_bytes(MAIN)
    }

    fn seal(id: &SessionId, record: &[u8]) -> Bytes {
        AtRest::Sealed.seal(id, &id.store_key(), policy(), record.to_vec()).unwrap()
    }

    /// A record, and the label that it is to bear.
    fn record() -> (Vec<u8>, Label) {
        let (lineage, started_at) = (Lineage::from_bytes([7; 12]), Timestamp::from_millis(1_700_000_000_000));
        (encode(&Record::new(lineage, started_at)), Label { policy: policy(), lineage, started_at })
    }

    #[test]
    fn a_sealed_record_opens_under_its_own_id_and_key_only() {
        let (id, other) = (SessionId::from_bytes([1; 32]), SessionId::from_bytes([2; 32]));
        let key = id.store_key();
        for record in [b"secret data".to_vec(), record().0] {
            let sealed = seal(&id, &record);
            assert!(!sealed.windows(6).any(|window| window == b"secret"));
            assert_eq!(AtRest::Sealed.open(&id, &key, sealed.clone()).unwrap(), record);
            assert_eq!(AtRest::Sealed.open(&other, &key, sealed.clone()), Err(NotOurs));
            assert_eq!(AtRest::Sealed.open(&id, &other.store_key(), sealed), Err(NotOurs));
        }
    }

    #[test]
    fn damaged_bytes_are_refused() {
        // ST5
        let id = SessionId::from_bytes([1; 32]);
        for sealed in [seal(&id, b"data"), seal(&id, &record().0)] {
            for at in 0..sealed.len() {
                let mut bytes = sealed.to_vec();
                bytes[at] ^= 1;
                assert!(AtRest::Sealed.open(&id, &id.store_key(), bytes.into()).is_err(), "{at}");
                assert!(AtRest::Sealed.open(&id, &id.store_key(), sealed.slice(..at)).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn a_session_bears_a_label_and_nothing_else_does() {
        let (id, (record, label)) = (SessionId::from_bytes([1; 32]), record());
        for at_rest in [AtRest::Plain, AtRest::Sealed] {
            let kept = |bytes: Vec<u8>| at_rest.seal(&id, &id.store_key(), policy(), bytes).unwrap();
            let (session, tombstone) = (kept(record.clone()), kept(encode_tombstone()));
            assert_eq!((at_rest.label(&session), at_rest.label(&tombstone)), (Some(label), None));
            assert_eq!(at_rest.open(&id, &id.store_key(), session.clone()).unwrap(), record);
            assert_eq!(at_rest.open(&id, &id.store_key(), tombstone).unwrap(), encode_tombstone());
            for end in 0..LABEL_LEN {
                assert_eq!(at_rest.label(&session[..end]), None, "cut at {end}");
            }
            let shown = at_rest.readable(&session).map(<[u8]>::to_vec);
            assert_eq!(shown, (at_rest == AtRest::Plain).then(|| record.clone()));
        }
    }

    #[test]
    fn what_an_earlier_release_has_sealed_still_opens() {
        let (id, (record, _)) = (SessionId::from_bytes([1; 32]), record());
        let (nonce, key) = ([9; NONCE_LEN], id.store_key());
        let mut sealed = record.clone();
        let cipher = cipher(&id).unwrap();
        let aad = Aad::from(key.as_bytes());
        cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).unwrap();
        let bytes = [&[1][..], &nonce, &sealed].concat();
        assert_eq!(AtRest::Sealed.label(&bytes), None);
        assert_eq!(AtRest::Sealed.open(&id, &key, bytes.into()).unwrap(), record);
    }
}
