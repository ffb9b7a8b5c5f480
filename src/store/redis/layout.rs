//! What lies under the key of a session.
//!
//! ```text
//!  0  format: 1
//!  1  the first half of the store key, repeated: an answer to another request is noticed
//! 17  version, 25 deadline: eight bytes each, most significant first
//! 33  0: nobody's · 1: followed by the owner (32), the number of the listing (8) and until when it is listed (8)
//! 34  or 82: the entry's bytes
//! ```

use super::MAX_ENTRY;
use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use crate::store::{Entry, Version};
use bytes::Bytes;

const FORMAT: u8 = 1;
const TAG: usize = 16;
const VERSION: usize = 1 + TAG;
const DEADLINE: usize = VERSION + 8;
const FLAG: usize = DEADLINE + 8;
const SHORT: usize = FLAG + 1;

/// The longest head; reading as much of a value tells all but its bytes.
pub(super) const LONG: usize = SHORT + Listed::LEN;

/// Under whom an entry is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) owner: OwnerKey,
    /// Distinguishes the listings of one key, so that the end of one does not take away another.
    pub(super) number: [u8; 8],
    /// Until when the owner's set keeps it; never before the entry's deadline.
    pub(super) until: Timestamp,
}

impl Listed {
    pub(super) const LEN: usize = 48;

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..32].copy_from_slice(self.owner.as_bytes());
        bytes[32..40].copy_from_slice(&self.number);
        bytes[40..].copy_from_slice(&self.until.as_millis().to_be_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (owner, rest) = bytes.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let until = Timestamp::from_millis(u64::from_be_bytes(rest.try_into().ok()?));
        Some(Self { owner: OwnerKey::from_bytes(*owner), number: *number, until })
    }
}

/// All that is known of an entry without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: Version,
    pub(super) deadline: Timestamp,
    pub(super) listed: Option<Listed>,
}

/// The longest value that can be an entry; no more of a value is ever asked for than shows that it is longer.
pub(super) const LONGEST: usize = LONG + MAX_ENTRY;

/// Why a value is no entry of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoEntry {
    /// It is no value of ours: whoever wrote it, there is no session.
    Foreign,
    /// It is the entry of another key.
    Mixed,
}

/// What of a key is repeated in its value.
pub(super) fn tag(key: &[u8; 32]) -> &[u8] {
    &key[..TAG]
}

impl Head {
    /// Reads the head of the entry of `key`, and says how long it is.
    pub(super) fn read(key: &StoreKey, value: &[u8]) -> Result<(Self, usize), NoEntry> {
        if value.len() < SHORT || value[0] != FORMAT {
            return Err(NoEntry::Foreign);
        }
        if value[1..VERSION] != *tag(key.as_bytes()) {
            return Err(NoEntry::Mixed);
        }
        let number = |at: usize| value[at..].first_chunk().copied().map(u64::from_be_bytes).ok_or(NoEntry::Foreign);
        let (version, deadline) = (Version(number(VERSION)?), Timestamp::from_millis(number(DEADLINE)?));
        let (listed, length) = match value[FLAG] {
            0 => (None, SHORT),
            1 => {
                let listed = value.get(SHORT..LONG).and_then(Listed::from_bytes).ok_or(NoEntry::Foreign)?;
                (Some(listed), LONG)
            }
            _ => return Err(NoEntry::Foreign),
        };
        Ok((Self { version, deadline, listed }, length))
    }

    /// The part that does not depend on the owner.
    pub(super) fn beginning(key: &StoreKey, version: Version, deadline: Timestamp) -> [u8; FLAG] {
        let mut bytes = [0; FLAG];
        bytes[0] = FORMAT;
        bytes[1..VERSION].copy_from_slice(tag(key.as_bytes()));
        bytes[VERSION..DEADLINE].copy_from_slice(&version.0.to_be_bytes());
        bytes[DEADLINE..].copy_from_slice(&deadline.as_millis().to_be_bytes());
        bytes
    }
}

/// The whole value of an entry.
pub(super) fn value(key: &StoreKey, version: Version, listed: Option<Listed>, entry: &Entry) -> Vec<u8> {
    let mut value = Vec::with_capacity(LONG + entry.bytes.len());
    value.extend_from_slice(&Head::beginning(key, version, entry.deadline));
    value.push(u8::from(listed.is_some()));
    if let Some(listed) = listed {
        value.extend_from_slice(&listed.to_bytes());
    }
    value.extend_from_slice(&entry.bytes);
    value
}

/// Reads an entry; its bytes stay where they are.
pub(super) fn entry(key: &StoreKey, value: Vec<u8>) -> Result<(Entry, Version), NoEntry> {
    let (head, length) = Head::read(key, &value)?;
    if value.len() > LONGEST {
        return Err(NoEntry::Foreign);
    }
    let bytes = Bytes::from(value).slice(length..);
    let owner = head.listed.map(|listed| listed.owner);
    Ok((Entry { bytes, deadline: head.deadline, owner }, head.version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: StoreKey = StoreKey::from_bytes([7; 32]);

    #[test]
    fn what_others_wrote_is_no_entry() {
        let whole = Entry { bytes: Bytes::from_static(b"x"), deadline: Timestamp::NEVER, owner: None };
        let good = value(&KEY, Version(5), None, &whole);
        assert!(entry(&KEY, good.clone()).is_ok());
        assert_eq!(entry(&StoreKey::from_bytes([8; 32]), good.clone()), Err(NoEntry::Mixed));
        let changed = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            bad
        };
        let foreign = [vec![], b"hello".to_vec(), good[..SHORT - 1].to_vec(), changed(0, 2), changed(FLAG, 2)];
        for bad in foreign.into_iter().chain([changed(FLAG, 1)]) {
            assert_eq!(entry(&KEY, bad), Err(NoEntry::Foreign));
        }
    }

    #[test]
    fn an_entry_of_the_first_format_stays_readable() {
        let owner = OwnerKey::from_bytes([9; 32]);
        let listed = Listed { owner, number: [1; 8], until: Timestamp::from_millis(0x0203) };
        let whole =
            Entry { bytes: Bytes::from_static(b"body"), deadline: Timestamp::from_millis(0x0102), owner: Some(owner) };
        let known: Vec<u8> = [
            &[1][..],
            &[7; 16],
            &[0, 0, 0, 0, 0, 0, 0, 5],
            &[0, 0, 0, 0, 0, 0, 1, 2],
            &[1],
            &[9; 32],
            &[1; 8],
            &[0, 0, 0, 0, 0, 0, 2, 3],
            b"body",
        ]
        .concat();
        assert_eq!(value(&KEY, Version(5), Some(listed), &whole), known);
        assert_eq!(entry(&KEY, known.clone()), Ok((whole, Version(5))));
        assert_eq!(Head::read(&KEY, &known).unwrap().0.listed, Some(listed));
    }

    proptest! {
        #[test]
        fn no_value_panics(value: Vec<u8>) {
            let _ = entry(&KEY, value);
        }
    }
}
