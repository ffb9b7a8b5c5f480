//! Which sessions of a policy the operator has ended: all that began before a moment, and single ones by their lineage.
//!
//! Layout, version 1, integers big-endian: version `1`, the moment u64, then for each lineage its 12 bytes and the moment
//! u64 until which it is remembered. The bytes come from a store and are read strictly.
//!
//! A list only grows: of two, [`RevocationList::merge`] makes the one that ends whatever either does. So it makes no
//! difference in which order proxies write, nor whether a store loses what they wrote.

use super::id::Lineage;
use super::view::Unreadable;
use crate::clock::Timestamp;
use std::collections::BTreeMap;

const VERSION: u8 = 1;
const LINEAGE_LEN: usize = 12 + 8;

/// Which sessions of a policy are over by the operator's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationList {
    /// Those whose absolute clock began before this moment.
    pub before: Timestamp,
    /// And these, each with the moment from which on its session cannot live anyway.
    pub lineages: BTreeMap<Lineage, Timestamp>,
}

impl RevocationList {
    /// The most lineages of one list: 20 KB, which every proxy reads twice a second.
    pub const MAX_LINEAGES: usize = 1000;

    /// Whether a session is over.
    #[must_use]
    pub fn covers(&self, lineage: Lineage, started_at: Timestamp) -> bool {
        started_at < self.before || (!self.lineages.is_empty() && self.lineages.contains_key(&lineage))
    }

    /// Adds what another list ends.
    pub fn merge(&mut self, other: &Self) {
        self.before = self.before.max(other.before);
        for (lineage, until) in &other.lineages {
            let known = self.lineages.entry(*lineage).or_insert(*until);
            *known = (*known).max(*until);
        }
    }

    /// Forgets lineages whose sessions have run out by themselves.
    pub fn drop_passed(&mut self, now: Timestamp) {
        self.lineages.retain(|_, until| !until.has_passed(now));
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no list: of another version, cut, or too long.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let Some((&VERSION, rest)) = bytes.split_first() else { return Err(Unreadable) };
        let (before, lineages) = rest.split_first_chunk::<8>().ok_or(Unreadable)?;
        let (lineages, []) = lineages.as_chunks::<LINEAGE_LEN>() else { return Err(Unreadable) };
        if lineages.len() > Self::MAX_LINEAGES {
            return Err(Unreadable);
        }
        let moment = |bytes: [u8; 8]| Timestamp::from_millis(u64::from_be_bytes(bytes));
        let one = |bytes: &[u8; LINEAGE_LEN]| {
            let (lineage, until) = bytes.split_first_chunk::<12>()?;
            Some((Lineage::from_bytes(*lineage), moment(until.try_into().ok()?)))
        };
        let lineages = lineages.iter().map(one).collect::<Option<_>>().ok_or(Unreadable)?;
        Ok(Self { before: moment(*before), lineages })
    }

    /// The bytes of the list.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(9 + self.lineages.len() * LINEAGE_LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.before.as_millis().to_be_bytes());
        for (lineage, until) in &self.lineages {
            bytes.extend_from_slice(lineage.as_bytes());
            bytes.extend_from_slice(&until.as_millis().to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn lists() -> impl Strategy<Value = RevocationList> {
        let lineage = any::<[u8; 12]>().prop_map(Lineage::from_bytes);
        let until = any::<u64>().prop_map(Timestamp::from_millis);
        let lineages = prop::collection::btree_map(lineage, until, 0..5);
        (any::<u64>(), lineages).prop_map(|(before, lineages)| RevocationList { before: at(before), lineages })
    }

    #[test]
    fn a_list_covers_what_began_before_its_moment_and_single_sessions() {
        let [own, other] = [1, 2].map(|byte| Lineage::from_bytes([byte; 12]));
        let list = RevocationList { before: at(1000), lineages: [(own, at(5000))].into() };
        assert!(list.covers(other, at(999)) && !list.covers(other, at(1000)));
        assert!(list.covers(own, at(2000)), "a login does not save it");
        let mut later = list.clone();
        later.drop_passed(at(5000));
        assert!(later.covers(own, at(2000)));
        later.drop_passed(at(5001));
        assert!(!later.covers(own, at(2000)) && later.covers(own, at(0)));
    }

    proptest! {
        #[test]
        fn a_list_survives_its_bytes(list in lists()) {
            prop_assert_eq!(RevocationList::decode(&list.encode()), Ok(list));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            // ST5
            if let Ok(list) = RevocationList::decode(&bytes) { prop_assert!(list.encode().len() <= bytes.len()); }
        }

        #[test]
        fn merging_ends_whatever_either_ends_in_any_order(one in lists(), other in lists(), start in any::<u64>()) {
            let (mut a, mut b) = (one.clone(), other.clone());
            a.merge(&other);
            b.merge(&one);
            prop_assert_eq!(&a, &b);
            for lineage in one.lineages.keys().chain(other.lineages.keys()) {
                prop_assert!(a.covers(*lineage, Timestamp::NEVER));
            }
            let unknown = Lineage::from_bytes([0xaa; 12]);
            let either = one.covers(unknown, at(start)) || other.covers(unknown, at(start));
            prop_assert_eq!(a.covers(unknown, at(start)), either);
        }
    }
}
