//! The list of one owner's keys, as it lies in memcached: an item of its own, written by compare-and-swap.
//!
//! ```text
//! 1 format · 16 owner digest · for each key: 32 key · 8 until · 8 entered
//! ```
//!
//! A key stands on the list before its session is written, and until a moment that the session will not outlive without
//! entering it again. So the list may name keys that are gone, and never leaves out one that lives.

use super::item::{Foreign, SLACK};
use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use bytes::{BufMut as _, Bytes, BytesMut};
use std::collections::HashSet;
use std::time::Duration;

const FORMAT: u8 = 2;
const HEAD: usize = 17;
const MEMBER: usize = 48;

/// The most keys of one owner: 48 KB, which every server takes, and more than any visitor has browsers.
pub(super) const MOST: usize = 1000;

/// A key that entered the list so recently may belong to a session that is just being written.
const SETTLED: Duration = Duration::from_secs(60);

/// One owner's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnerList(Vec<Member>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    key: StoreKey,
    until: Timestamp,
    entered: Timestamp,
}

impl OwnerList {
    pub(super) fn keys(&self) -> impl ExactSizeIterator<Item = StoreKey> {
        self.0.iter().map(|member| member.key)
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    pub(super) fn names(&self, key: &StoreKey) -> bool {
        self.0.iter().any(|member| member.key == *key)
    }

    /// The last moment for which the list is needed.
    pub(super) fn until(&self) -> Timestamp {
        self.0.iter().map(|member| member.until).max().unwrap_or_default()
    }

    /// Puts a key on the list, or moves it on.
    pub(super) fn enter(&mut self, key: StoreKey, until: Timestamp, now: Timestamp) {
        match self.0.iter_mut().find(|member| member.key == key) {
            Some(member) => *member = Member { key, until: member.until.max(until), entered: now },
            None => self.0.push(Member { key, until, entered: now }),
        }
    }

    /// Takes off what memcached itself has let go by now.
    pub(super) fn drop_passed(&mut self, now: Timestamp) {
        self.0.retain(|member| !member.until.after(SLACK).has_passed(now));
    }

    /// Takes off the keys that were looked up and found `dead`, except for those that are perhaps just being written; says
    /// whether there were any.
    pub(super) fn drop_dead(&mut self, dead: &HashSet<StoreKey>, now: Timestamp) -> bool {
        let before = self.0.len();
        self.0.retain(|member| !(member.entered.after(SETTLED).has_passed(now) && dead.contains(&member.key)));
        self.0.len() < before
    }

    pub(super) fn encode(&self, owner: &OwnerKey) -> Bytes {
        let mut out = BytesMut::with_capacity(HEAD + self.0.len() * MEMBER);
        out.put_u8(FORMAT);
        out.put_slice(&owner.as_bytes()[..16]);
        for Member { key, until, entered } in &self.0 {
            out.put_slice(key.as_bytes());
            out.put_u64(until.as_millis());
            out.put_u64(entered.as_millis());
        }
        out.freeze()
    }

    pub(super) fn decode(owner: &OwnerKey, value: &[u8]) -> Result<Self, Foreign> {
        let (head, members) = value.split_first_chunk::<HEAD>().ok_or(Foreign)?;
        let (members, rest) = members.as_chunks::<MEMBER>();
        if head[0] != FORMAT || head[1..] != owner.as_bytes()[..16] || !rest.is_empty() || members.len() > MOST {
            return Err(Foreign);
        }
        members.iter().map(Member::decode).collect::<Option<_>>().map(Self).ok_or(Foreign)
    }
}

impl Member {
    fn decode(bytes: &[u8; MEMBER]) -> Option<Self> {
        let (key, moments) = bytes.split_first_chunk::<32>()?;
        let (until, entered) = moments.split_first_chunk::<8>()?;
        let moment = |bytes: &[u8; 8]| Timestamp::from_millis(u64::from_be_bytes(*bytes));
        Some(Self { key: StoreKey::from_bytes(*key), until: moment(until), entered: moment(entered.first_chunk()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn later(seconds: u64) -> Timestamp {
        NOW.after(Duration::from_secs(seconds))
    }

    fn key(n: u64) -> StoreKey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        StoreKey::from_bytes(bytes)
    }

    fn list(members: &[(u64, u64)]) -> OwnerList {
        let mut list = OwnerList::default();
        for (n, until) in members {
            list.enter(key(*n), later(*until), NOW);
        }
        list
    }

    fn keys(list: &OwnerList) -> Vec<StoreKey> {
        list.keys().collect()
    }

    #[test]
    fn a_key_stands_on_the_list_once_and_until_its_latest_moment() {
        let list = list(&[(1, 10), (2, 5), (1, 7)]);
        assert_eq!(keys(&list), [key(1), key(2)]);
        assert_eq!(list.until(), later(10));
        assert!(list.names(&key(2)) && !list.names(&key(3)));
    }

    #[test]
    fn what_memcached_has_let_go_leaves_the_list() {
        let mut list = list(&[(1, 10), (2, 20)]);
        list.drop_passed(later(70));
        assert_eq!(keys(&list), [key(1), key(2)]);
        list.drop_passed(later(71));
        assert_eq!(keys(&list), [key(2)]);
    }

    #[test]
    fn a_dead_key_leaves_the_list_unless_it_has_just_entered() {
        let mut list = list(&[(1, 500), (2, 500), (3, 500)]);
        list.enter(key(2), later(500), later(30));
        let dead = HashSet::from([key(1), key(2)]);
        assert!(!list.drop_dead(&dead, later(60)));
        assert!(list.drop_dead(&dead, later(61)));
        assert_eq!(keys(&list), [key(2), key(3)]);
    }

    #[test]
    fn a_list_has_an_end() {
        let members: Vec<_> = (0..MOST as u64).map(|n| (n, 10)).collect();
        let mut list = list(&members);
        assert!(list.is_full());
        let owner = OwnerKey::new("main", "ann");
        assert_eq!(OwnerList::decode(&owner, &list.encode(&owner)), Ok(list.clone()));
        list.enter(key(MOST as u64), later(10), NOW);
        assert_eq!(OwnerList::decode(&owner, &list.encode(&owner)), Err(Foreign), "longer than any that we write");
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_was_written(members: Vec<(u64, u32)>) {
            let members: Vec<_> = members.into_iter().map(|(n, until)| (n, until.into())).collect();
            let (list, owner) = (list(&members), OwnerKey::new("main", "ann"));
            let value = list.encode(&owner);
            prop_assert_eq!(OwnerList::decode(&owner, &value), Ok(list));
            prop_assert_eq!(OwnerList::decode(&OwnerKey::new("main", "bob"), &value), Err(Foreign));
            prop_assert_eq!(OwnerList::decode(&owner, &value[..value.len() - 1]), Err(Foreign));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = OwnerList::decode(&OwnerKey::new("main", "ann"), &bytes);
        }
    }
}
