//! The roster of an owner: which sessions hold a seat, where an owner may have so many at a time.
//!
//! Layout, version 1, integers big-endian: version `1`, then for each seat the store key 32, the login u64, the claim u64
//! and a byte that is 1 for a seat that is being cleared. The bytes come from a store and are read strictly.

use super::id::StoreKey;
use super::view::Unreadable;
use crate::clock::Timestamp;
use std::collections::BTreeSet;

const VERSION: u8 = 1;
const SEAT_LEN: usize = 32 + 8 + 8 + 1;

/// One session of the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Where the session lies.
    pub key: StoreKey,
    /// When the owner logged in; [`Timestamp::default`] when nobody knows.
    pub login: Timestamp,
    /// When the seat was taken under this key: the session itself is written a moment later.
    pub claimed: Timestamp,
    /// The session has to make room; it is over as soon as its entry is deleted.
    pub is_leaving: bool,
}

/// The seats of one owner, in the order in which they were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// The seats.
    pub seats: Vec<Seat>,
}

impl Roster {
    /// The most seats of one roster, those that are being cleared included: 12.25 KiB.
    pub const MAX_SEATS: usize = 256;

    /// Reads a roster.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no roster: of another version, cut, too long, or with a key that comes twice.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let Some((&VERSION, seats)) = bytes.split_first() else { return Err(Unreadable) };
        let (seats, []) = seats.as_chunks::<SEAT_LEN>() else { return Err(Unreadable) };
        if seats.len() > Self::MAX_SEATS {
            return Err(Unreadable);
        }
        let seats: Vec<Seat> = seats.iter().map(seat).collect::<Result<_, _>>()?;
        let keys: BTreeSet<StoreKey> = seats.iter().map(|seat| seat.key).collect();
        if keys.len() == seats.len() { Ok(Self { seats }) } else { Err(Unreadable) }
    }

    /// The bytes of the roster.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.seats.len() * SEAT_LEN);
        bytes.push(VERSION);
        for seat in &self.seats {
            bytes.extend_from_slice(seat.key.as_bytes());
            bytes.extend_from_slice(&seat.login.as_millis().to_be_bytes());
            bytes.extend_from_slice(&seat.claimed.as_millis().to_be_bytes());
            bytes.push(u8::from(seat.is_leaving));
        }
        bytes
    }

    /// The seat of a session, unless it is being cleared.
    #[must_use]
    pub fn seat_of(&self, key: &StoreKey) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.key == *key && !seat.is_leaving)
    }

    /// The sessions that have to make room.
    pub fn leaving(&self) -> impl Iterator<Item = StoreKey> + use<'_> {
        self.seats.iter().filter(|seat| seat.is_leaving).map(|seat| seat.key)
    }

    /// Takes a seat away from a session.
    pub fn remove(&mut self, key: &StoreKey) -> Option<Seat> {
        let at = self.seats.iter().position(|seat| seat.key == *key)?;
        Some(self.seats.remove(at))
    }
}

fn seat(bytes: &[u8; SEAT_LEN]) -> Result<Seat, Unreadable> {
    let (key, rest) = bytes.split_first_chunk::<32>().ok_or(Unreadable)?;
    let (login, rest) = rest.split_first_chunk::<8>().ok_or(Unreadable)?;
    let (claimed, rest) = rest.split_first_chunk::<8>().ok_or(Unreadable)?;
    let is_leaving = match rest {
        [0] => false,
        [1] => true,
        _ => return Err(Unreadable),
    };
    let moment = |bytes: &[u8; 8]| Timestamp::from_millis(u64::from_be_bytes(*bytes));
    Ok(Seat { key: StoreKey::from_bytes(*key), login: moment(login), claimed: moment(claimed), is_leaving })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn roster(keys: &[u8]) -> Roster {
        let seat = |key: &u8| Seat {
            key: StoreKey::from_bytes([*key; 32]),
            login: Timestamp::from_millis(1000 + u64::from(*key)),
            claimed: Timestamp::from_millis(2000),
            is_leaving: *key > 2,
        };
        Roster { seats: keys.iter().map(seat).collect() }
    }

    #[test]
    fn a_roster_survives_its_bytes() {
        for keys in [&[][..], &[1], &[3, 2, 1]] {
            assert_eq!(Roster::decode(&roster(keys).encode()), Ok(roster(keys)));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(Roster::decode(&roster(&all).encode()), Ok(roster(&all)));
    }

    #[test]
    fn bytes_that_are_no_roster_are_refused() {
        // ST5
        let good = roster(&[1, 2]).encode();
        for end in (0..good.len()).filter(|end| *end != 1 && *end != 1 + SEAT_LEN) {
            assert_eq!(Roster::decode(&good[..end]), Err(Unreadable), "cut at {end}");
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Roster::decode(&bytes)
        };
        assert_eq!(with(0, 2), Err(Unreadable));
        assert_eq!(with(SEAT_LEN, 2), Err(Unreadable));
        assert_eq!(Roster::decode(&roster(&[1, 2, 1]).encode()), Err(Unreadable));
        let one_more = [good, vec![0; SEAT_LEN * Roster::MAX_SEATS]].concat();
        assert_eq!(Roster::decode(&one_more), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(roster) = Roster::decode(&bytes) { prop_assert_eq!(roster.encode(), bytes); }
        }
    }
}
