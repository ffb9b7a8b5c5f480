//! What is remembered about sessions that their browsers keep and that have been ended: a token cannot be called back.
//!
//! The note of a lineage is its presence. The note of an owner, version 1: version `1`, the moment u64 big-endian, and
//! the twelve bytes of the lineage that was spared, if one was.

use super::id::Lineage;
use super::view::Unreadable;
use crate::clock::Timestamp;

const VERSION: u8 = 1;

/// The bytes of a lineage's note.
pub const ENDED: &[u8] = &[VERSION];

/// Which sessions of an owner are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedOwner {
    /// Those that did not log in after this moment.
    pub until: Timestamp,
    /// But for this one, which ended the others.
    pub spared: Option<Lineage>,
}

impl EndedOwner {
    /// Reads the note of an owner.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no such note.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let Some((&VERSION, rest)) = bytes.split_first() else { return Err(Unreadable) };
        let (until, spared) = rest.split_first_chunk::<8>().ok_or(Unreadable)?;
        let spared = match spared {
            [] => None,
            lineage => Some(Lineage::from_bytes(lineage.try_into().map_err(|_| Unreadable)?)),
        };
        Ok(Self { until: Timestamp::from_millis(u64::from_be_bytes(*until)), spared })
    }

    /// The bytes of the note.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.until.as_millis().to_be_bytes());
        bytes.extend(self.spared.iter().flat_map(|lineage| *lineage.as_bytes()));
        bytes
    }

    /// Whether a session is over that belongs to the owner since `login`.
    #[must_use]
    pub fn covers(&self, lineage: Lineage, login: Timestamp) -> bool {
        login <= self.until && self.spared != Some(lineage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNTIL: Timestamp = Timestamp::from_millis(1000);

    #[test]
    fn a_note_covers_whoever_did_not_log_in_after_it_but_for_one() {
        let [own, other] = [1, 2].map(|byte| Lineage::from_bytes([byte; 12]));
        let note = EndedOwner { until: UNTIL, spared: Some(own) };
        assert!(note.covers(other, UNTIL) && !note.covers(other, Timestamp::from_millis(1001)));
        assert!(!note.covers(own, UNTIL));
        assert!(EndedOwner { spared: None, ..note }.covers(own, UNTIL));
    }

    #[test]
    fn a_note_survives_its_bytes_and_nothing_else_is_one() {
        // ST5
        for spared in [None, Some(Lineage::from_bytes([7; 12]))] {
            let note = EndedOwner { until: UNTIL, spared };
            let bytes = note.encode();
            assert_eq!(EndedOwner::decode(&bytes), Ok(note));
            for end in (0..bytes.len()).filter(|end| *end != 9) {
                assert_eq!(EndedOwner::decode(&bytes[..end]), Err(Unreadable), "cut at {end}");
            }
            assert_eq!(EndedOwner::decode(&[&[2], &bytes[1..]].concat()), Err(Unreadable));
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(note) = EndedOwner::decode(&bytes) { prop_assert_eq!(note.encode(), bytes); }
        }
    }
}
