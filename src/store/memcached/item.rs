//! A session as it lies in memcached: what memcached cannot keep beside a value, then the bytes.
//!
//! ```text
//! 1 format · 1 flags · 16 key digest · 8 version · 8 deadline · 8 listed until · [32 owner] · bytes
//! ```
//!
//! The version is ours and not the unique number that memcached gives every write: a server that was started anew counts
//! from one again. A new entry draws its first version at random, so that none fits an entry made anew.

use super::wire::Ttl;
use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use crate::store::{Entry, Version};
use bytes::{BufMut as _, Bytes, BytesMut};
use std::time::Duration;

const FORMAT: u8 = 1;
const HAS_OWNER: u8 = 1;
const HEAD: usize = 42;
const OWNER: usize = 32;

/// How long memcached keeps what has expired: the clocks of several proxies need not agree to the second.
pub(super) const SLACK: Duration = Duration::from_secs(60);

/// Up to here memcached counts a lifetime from now on; more is a moment since 1970.
const RELATIVE: u64 = 30 * 24 * 60 * 60;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) entry: Entry,
    pub(super) version: Version,
    /// Until when the owner's list names the key, at least.
    pub(super) listed_until: Timestamp,
}

/// A value that none of our writes left there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what lies under the key was not written by cloakroom, or not by this version of it")]
pub(super) struct Foreign;

impl Item {
    pub(super) fn encode(&self, key: &StoreKey) -> Bytes {
        let Self { entry, version, listed_until } = self;
        let mut out = BytesMut::with_capacity(HEAD + OWNER + entry.bytes.len());
        out.put_u8(FORMAT);
        out.put_u8(if entry.owner.is_some() { HAS_OWNER } else { 0 });
        out.put_slice(&key.as_bytes()[..16]);
        out.put_u64(version.0);
        out.put_u64(entry.deadline.as_millis());
        out.put_u64(listed_until.as_millis());
        if let Some(owner) = &entry.owner {
            out.put_slice(owner.as_bytes());
        }
        out.put_slice(&entry.bytes);
        out.freeze()
    }

    /// Reads what lies under `key`; the bytes share the memory of `value`.
    pub(super) fn decode(key: &StoreKey, value: &Bytes) -> Result<Self, Foreign> {
        let (head, rest) = value.split_first_chunk::<HEAD>().ok_or(Foreign)?;
        let [FORMAT, flags @ (0 | HAS_OWNER), numbers @ ..] = head else { return Err(Foreign) };
        let (digest, numbers) = numbers.split_at(16);
        if digest != &key.as_bytes()[..16] {
            return Err(Foreign);
        }
        let (numbers, _) = numbers.as_chunks::<8>();
        let [version, deadline, listed_until] = numbers else { return Err(Foreign) };
        let (owner, size) = if *flags == HAS_OWNER {
            let owner = rest.first_chunk::<OWNER>().ok_or(Foreign)?;
            (Some(OwnerKey::from_bytes(*owner)), HEAD + OWNER)
        } else {
            (None, HEAD)
        };
        let moment = |bytes: &[u8; 8]| Timestamp::from_millis(u64::from_be_bytes(*bytes));
        Ok(Self {
            entry: Entry { bytes: value.slice(size..), deadline: moment(deadline), owner },
            version: Version(u64::from_be_bytes(*version)),
            listed_until: moment(listed_until),
        })
    }
}

/// How long memcached is to keep what is wanted until `deadline`.
///
/// `now` is the caller's clock. `wall` is the machine's: beyond thirty days memcached wants a moment, and thus a clock that
/// agrees with its own; a day more makes up for one that does not. A moment that memcached cannot count to (2038) becomes
/// a lifetime without end: our own deadline in the item still holds.
pub(super) fn ttl(deadline: Timestamp, now: Timestamp, wall: Timestamp) -> Ttl {
    let span = now.until(deadline).saturating_add(SLACK).as_secs();
    let seconds = if span <= RELATIVE { span } else { wall.as_secs().saturating_add(span).saturating_add(86_400) };
    Ttl(i32::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u8) -> StoreKey {
        StoreKey::from_bytes([n; 32])
    }

    proptest! {
        #[test]
        fn an_item_is_read_as_it_was_written(
            bytes: Vec<u8>, deadline: u64, version: u64, until: u64, owner: Option<[u8; 32]>,
        ) {
            let deadline = Timestamp::from_millis(deadline);
            let entry = Entry { bytes: bytes.into(), deadline, owner: owner.map(OwnerKey::from_bytes) };
            let item = Item { entry, version: Version(version), listed_until: Timestamp::from_millis(until) };
            let value = item.encode(&key(1));
            prop_assert_eq!(Item::decode(&key(2), &value), Err(Foreign));
            prop_assert_eq!(Item::decode(&key(1), &value), Ok(item));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Item::decode(&key(1), &bytes.into());
        }
    }

    /// A known answer: items outlive a release.
    #[test]
    fn an_item_of_this_release_is_read_by_the_next() {
        let mut value = vec![1, 1];
        value.extend([7; 16]);
        value.extend([0, 0, 0, 0, 0, 0, 0, 9]);
        value.extend([0, 0, 0, 0, 0, 0, 1, 0]);
        value.extend([0, 0, 0, 0, 0, 0, 2, 0]);
        value.extend([8; 32]);
        value.extend(b"bytes");
        let item = Item::decode(&key(7), &value.clone().into()).unwrap();
        assert_eq!((item.version, item.listed_until), (Version(9), Timestamp::from_millis(512)));
        assert_eq!((item.entry.deadline, &item.entry.bytes[..]), (Timestamp::from_millis(256), &b"bytes"[..]));
        assert_eq!(item.entry.owner, Some(OwnerKey::from_bytes([8; 32])));
        for (at, wrong) in [(0, 2), (1, 2), (2, 0)] {
            let mut value = value.clone();
            value[at] = wrong;
            assert_eq!(Item::decode(&key(7), &value.into()), Err(Foreign));
        }
        value.truncate(60);
        assert_eq!(Item::decode(&key(7), &value.into()), Err(Foreign), "the owner is cut off");
    }

    #[test]
    fn nothing_vanishes_before_its_deadline() {
        let wall = Timestamp::from_millis(1_795_000_000_000);
        let now = Timestamp::from_millis(5_000);
        let day = 86_400;
        for (seconds, expected) in [
            (0, 60),
            (10, 70),
            (30 * day - 60, RELATIVE),
            (30 * day - 59, 1_795_000_000 + 30 * day + 1 + day),
            (90 * day, 1_795_000_000 + 90 * day + 60 + day),
            (40 * 365 * day, 0),
        ] {
            let deadline = now.after(Duration::from_secs(seconds));
            assert_eq!(ttl(deadline, now, wall), Ttl(i32::try_from(expected).unwrap()), "{seconds} seconds");
        }
        assert_eq!(ttl(Timestamp::NEVER, now, wall), Ttl(0));
        assert_eq!(ttl(Timestamp::default(), now, wall), Ttl(60), "never 0, which is without end");
    }
}
