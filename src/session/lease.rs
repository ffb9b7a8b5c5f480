//! Messages that are handed to one request alone (F3).
//!
//! Of two pages that are under way at once only one shows a message: the record says which request holds it. The answer
//! consumes the messages or gives them back; where none comes, time gives them back.

use super::name::Flash;
use super::parts::{Reader, Writer};
use super::record::{Mark, Record};
use super::view::Unreadable;
use crate::clock::Timestamp;
use std::time::Duration;

/// How long a request may hold messages. A page that takes longer still consumes what it was shown, but others may show
/// it, too.
pub const LEASE: Duration = Duration::from_secs(30);

/// What one request holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Names the request; no two have the same.
    pub mark: Mark,
    /// After this moment it counts for nothing.
    pub until: Timestamp,
    /// The numbers of the messages.
    pub flashes: Vec<u32>,
}

/// Which of the waiting messages a request is handed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handed {
    /// Those that no request holds: this one does not take them from the others.
    #[default]
    Free,
    /// Those that it holds under this mark.
    Held(Mark),
    /// None.
    Nothing,
}

impl Handed {
    /// The mark under which the request holds messages.
    #[must_use]
    pub const fn mark(self) -> Option<Mark> {
        match self {
            Self::Held(mark) => Some(mark),
            Self::Free | Self::Nothing => None,
        }
    }

    /// Whether it has the message with this number, when the others have what `leases` says.
    pub(super) fn has(self, number: u32, leases: &[Lease], now: Timestamp) -> bool {
        let lent = |lease: &&Lease| lease.flashes.contains(&number);
        match self {
            Self::Free => !leases.iter().filter(lent).any(|lease| !lease.until.has_passed(now)),
            Self::Held(mark) => leases.iter().filter(lent).any(|lease| lease.mark == mark),
            Self::Nothing => false,
        }
    }
}

impl Record {
    /// Hands messages to one request.
    pub fn lend(&mut self, lease: Lease) {
        self.leases.push(lease);
    }

    /// Whether messages are held under this mark.
    #[must_use]
    pub fn has_lent(&self, mark: Mark) -> bool {
        self.leases.iter().any(|lease| lease.mark == mark)
    }

    /// Ends the lease of this mark, those whose time is over, and what leases say of messages that are no more.
    pub fn take_back(&mut self, mark: Option<Mark>, now: Timestamp) {
        let flashes = &self.flashes;
        let waits = |number: &u32| flashes.iter().any(|flash: &Flash| flash.number == *number);
        self.leases.retain_mut(|lease| {
            lease.flashes.retain(waits);
            Some(lease.mark) != mark && !lease.until.has_passed(now) && !lease.flashes.is_empty()
        });
    }
}

/// The bytes of the leases: u16 count; each mark 8, u64 end, u16 count and u32 numbers.
pub(super) fn bytes(leases: &[Lease]) -> Vec<u8> {
    let mut own = Writer(Vec::new());
    own.u16(leases.len());
    for lease in leases {
        own.0.extend_from_slice(&lease.mark);
        own.u64(lease.until.as_millis());
        own.u16(lease.flashes.len());
        lease.flashes.iter().for_each(|number| own.u32(*number));
    }
    own.0
}

/// Reads what [`bytes`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Lease>, Unreadable> {
    let mut input = Reader(bytes);
    let count = input.u16()?;
    let mut leases = Vec::with_capacity(usize::from(count).min(32));
    for _ in 0..count {
        let (mark, until) = (input.array()?, Timestamp::from_millis(input.u64()?));
        let numbers = (0..input.u16()?).map(|_| input.u32());
        leases.push(Lease { mark, until, flashes: numbers.collect::<Result<_, _>>()? });
    }
    if input.0.is_empty() { Ok(leases) } else { Err(Unreadable) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::id::Lineage;
    use crate::session::name::Name;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn lease(mark: u8, flashes: &[u32]) -> Lease {
        Lease { mark: [mark; 8], until: NOW.after(LEASE), flashes: flashes.to_vec() }
    }

    #[test]
    fn what_one_request_holds_is_free_for_no_other_until_its_time_is_over() {
        let leases = [lease(1, &[1, 2])];
        let has = |handed: Handed, now| [1, 2, 3].map(|number| handed.has(number, &leases, now));
        assert_eq!(has(Handed::Free, NOW), [false, false, true]);
        assert_eq!(has(Handed::Held([1; 8]), NOW), [true, true, false]);
        assert_eq!(has(Handed::Held([2; 8]), NOW), [false; 3]);
        assert_eq!(has(Handed::Nothing, NOW), [false; 3]);
        let later = NOW.after(LEASE + Duration::from_millis(1));
        assert_eq!(has(Handed::Free, later), [true; 3]);
    }

    #[test]
    fn a_record_forgets_leases_that_mean_nothing_any_more() {
        let mut record = Record::new(Lineage::from_bytes([1; 12]), NOW);
        for number in [2, 3, 4] {
            let level = Name::parse("info").unwrap();
            record.flashes.push(Flash { number, level, text: String::new(), fields: vec![] });
        }
        let over = Lease { until: Timestamp::from_millis(1), ..lease(3, &[4]) };
        record.leases = vec![lease(1, &[2]), lease(2, &[1, 3]), over, lease(4, &[1])];
        record.take_back(Some([1; 8]), NOW);
        assert_eq!(record.leases, [lease(2, &[3])]);
        record.take_back(Some([2; 8]), NOW);
        assert_eq!(record.leases, []);
    }

    proptest! {
        #[test]
        fn leases_survive_their_bytes(
            leases in prop::collection::vec((any::<Mark>(), any::<u64>(), prop::collection::vec(any::<u32>(), 0..4)), 0..5)
        ) {
            let leases: Vec<Lease> = leases
                .into_iter()
                .map(|(mark, until, flashes)| Lease { mark, until: Timestamp::from_millis(until), flashes })
                .collect();
            let encoded = bytes(&leases);
            prop_assert_eq!(decode(&encoded), Ok(leases));
            for end in 0..encoded.len() {
                prop_assert!(decode(&encoded[..end]).is_err());
            }
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(decode(&bytes));
        }
    }
}
