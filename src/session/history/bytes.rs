//! The bytes of a history, version 1; integers are big-endian.
//!
//! Version `1`, flags (1: it is a session's), the standing, the number of dropped happenings u32, the count of happenings
//! u16 and the happenings. A standing is lineage 12, revision u64, start u64, deadline u64, end u64, flags (1: an owner as
//! u16 length and text, 2: a place of 32). A happening is since u64, at u64, times u32, code u8, argument u8, flags (1: a
//! session of 12, 2: another of 12), the route as u8 length and text, verbs u32, the keys as u8 count and names, the number
//! of further keys u16, the number of ended sessions u32 (all ones: uncounted) and u8 count of their marks of 8.
//!
//! The bytes come from a store and are read strictly; a verb or a kind of change that is not known stays as it is, since
//! two releases may serve one store for a while.

use super::{Asked, Ended, Happening, History, RouteName, Standing, What};
use crate::clock::Timestamp;
use crate::session::id::{Lineage, StoreKey};
use crate::session::name::{Name, Owner};
use crate::session::parts::{Reader, Writer};
use crate::session::view::Unreadable;

const VERSION: u8 = 1;
const UNCOUNTED: u32 = u32::MAX;

/// Two parts that may be there.
const FIRST: u8 = 1;
const SECOND: u8 = 2;

impl History {
    /// The bytes of the history.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![VERSION, u8::from(self.standing.is_some())]);
        if let Some(standing) = &self.standing {
            write_standing(standing, &mut out);
        }
        out.u32(self.dropped);
        out.u16(self.happenings.len());
        for happening in &self.happenings {
            write(happening, &mut out);
        }
        out.0
    }

    /// Reads a history.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no history.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut input = Reader(bytes);
        let standing = match (input.u8()?, input.u8()?) {
            (VERSION, 0) => None,
            (VERSION, FIRST) => Some(read_standing(&mut input)?),
            _ => return Err(Unreadable),
        };
        let dropped = input.u32()?;
        let count = usize::from(input.u16()?);
        if count > Self::MAX {
            return Err(Unreadable);
        }
        let happenings: Vec<Happening> = (0..count).map(|_| read(&mut input)).collect::<Result<_, _>>()?;
        let is_in_order = happenings.is_sorted_by_key(|happening| happening.at);
        if input.0.is_empty() && is_in_order { Ok(Self { standing, happenings, dropped }) } else { Err(Unreadable) }
    }
}

/// How many bytes a happening takes.
pub(super) fn size(happening: &Happening) -> usize {
    let mut out = Writer(Vec::new());
    write(happening, &mut out);
    out.0.len()
}

fn flags(first: bool, second: bool) -> u8 {
    (if first { FIRST } else { 0 }) | (if second { SECOND } else { 0 })
}

fn write_standing(standing: &Standing, out: &mut Writer) {
    let Standing { lineage, owner, revision, started_at, deadline, end, place } = standing;
    out.0.extend_from_slice(lineage.as_bytes());
    out.u64(*revision);
    for moment in [started_at, deadline, end] {
        out.u64(moment.as_millis());
    }
    out.u8(flags(owner.is_some(), place.is_some()));
    if let Some(owner) = owner {
        out.text16(owner.as_str());
    }
    out.0.extend(place.iter().flat_map(|place| *place.as_bytes()));
}

fn read_standing(input: &mut Reader<'_>) -> Result<Standing, Unreadable> {
    let (lineage, revision) = (Lineage::from_bytes(input.array()?), input.u64()?);
    let mut moment = || input.u64().map(Timestamp::from_millis);
    let (started_at, deadline, end) = (moment()?, moment()?, moment()?);
    let flags = parts(input)?;
    let owner = input.text_if(flags & FIRST != 0)?;
    let owner = owner.map(|owner| Owner::parse(owner).ok_or(Unreadable)).transpose()?;
    let place = (flags & SECOND != 0).then(|| input.array().map(StoreKey::from_bytes)).transpose()?;
    Ok(Standing { lineage, owner, revision, started_at, deadline, end, place })
}

fn write(happening: &Happening, out: &mut Writer) {
    let Happening { since, at, times, what, session, other, route, asked, ended } = happening;
    out.u64(since.as_millis());
    out.u64(at.as_millis());
    out.u32(*times);
    let (code, argument) = what.code();
    out.u8(code);
    out.u8(argument);
    out.u8(flags(session.is_some(), other.is_some()));
    for lineage in session.iter().chain(other) {
        out.0.extend_from_slice(lineage.as_bytes());
    }
    out.text8(route.as_str());
    out.u32(asked.verbs);
    out.u8(u8::try_from(asked.keys.len()).unwrap_or(u8::MAX));
    for key in &asked.keys {
        out.name(key);
    }
    out.u16(asked.more_keys.into());
    out.u32(ended.count.unwrap_or(UNCOUNTED));
    out.u8(u8::try_from(ended.marks.len()).unwrap_or(u8::MAX));
    out.0.extend(ended.marks.iter().flatten());
}

fn read(input: &mut Reader<'_>) -> Result<Happening, Unreadable> {
    let (since, at) = (Timestamp::from_millis(input.u64()?), Timestamp::from_millis(input.u64()?));
    let times = input.u32()?;
    let what = What::of_code(input.u8()?, input.u8()?);
    let flags = parts(input)?;
    let mut lineage = |flag| (flags & flag != 0).then(|| input.array().map(Lineage::from_bytes)).transpose();
    let (session, other) = (lineage(FIRST)?, lineage(SECOND)?);
    let route = Some(input.text8()?).filter(|route| route.len() <= RouteName::MAX_LEN).ok_or(Unreadable)?;
    let verbs = input.u32()?;
    let count = at_most(input.u8()?, Asked::MAX_KEYS)?;
    let keys = (0..count).map(|_| Name::parse(input.text8()?).ok_or(Unreadable)).collect::<Result<_, _>>()?;
    let more_keys = input.u16()?;
    let ended = input.u32()?;
    let marks = at_most(input.u8()?, Ended::MAX_MARKS)?;
    let marks = (0..marks).map(|_| input.array()).collect::<Result<_, _>>()?;
    Ok(Happening {
        since,
        at,
        times,
        what,
        session,
        other,
        route: RouteName(route.into()),
        asked: Asked { verbs, keys, more_keys },
        ended: Ended { count: (ended != UNCOUNTED).then_some(ended), marks },
    })
}

fn parts(input: &mut Reader<'_>) -> Result<u8, Unreadable> {
    let flags = input.u8()?;
    if flags & !(FIRST | SECOND) == 0 { Ok(flags) } else { Err(Unreadable) }
}

fn at_most(count: u8, most: usize) -> Result<usize, Unreadable> {
    let count = usize::from(count);
    if count <= most { Ok(count) } else { Err(Unreadable) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Refusal;
    use proptest::prelude::*;

    fn lineage() -> impl Strategy<Value = Option<Lineage>> {
        prop::option::of(any::<[u8; 12]>().prop_map(Lineage::from_bytes))
    }

    fn moment() -> impl Strategy<Value = Timestamp> {
        any::<u64>().prop_map(Timestamp::from_millis)
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let asked = (any::<u32>(), prop::collection::vec("[a-zA-Z0-9][a-z_-]{0,63}", 0..=16), any::<u16>());
        let asked = asked.prop_map(|(verbs, keys, more_keys)| {
            let keys = keys.iter().map(|key| Name::parse(key).unwrap()).collect();
            Asked { verbs, keys, more_keys }
        });
        let ended = (prop::option::of(0..UNCOUNTED), prop::collection::vec(any::<[u8; 8]>(), 0..=32));
        let ended = ended.prop_map(|(count, marks)| Ended { count, marks });
        let what = any::<(u8, u8)>().prop_map(|(code, argument)| What::of_code(code, argument));
        let when = (moment(), moment(), any::<u32>());
        (when, what, lineage(), lineage(), ".{0,70}", asked, ended).prop_map(|fields| {
            let ((since, at, times), what, session, other, route, asked, ended) = fields;
            Happening { since, at, times, what, session, other, route: RouteName::cut(&route), asked, ended }
        })
    }

    fn standing() -> impl Strategy<Value = Standing> {
        let clocks = (moment(), moment(), moment());
        let place = prop::option::of(any::<[u8; 32]>().prop_map(StoreKey::from_bytes));
        (any::<[u8; 12]>(), prop::option::of("[a-z@ž]{1,20}"), any::<u64>(), clocks, place).prop_map(|fields| {
            let (lineage, owner, revision, (started_at, deadline, end), place) = fields;
            let (lineage, owner) = (Lineage::from_bytes(lineage), owner.and_then(|owner| Owner::parse(&owner)));
            Standing { lineage, owner, revision, started_at, deadline, end, place }
        })
    }

    proptest! {
        #[test]
        fn a_history_survives_its_bytes(
            standing in prop::option::of(standing()),
            mut happenings in prop::collection::vec(happening(), 0..6),
            dropped in any::<u32>(),
        ) {
            happenings.sort_by_key(|happening| happening.at);
            let history = History { standing, happenings, dropped };
            let bytes = history.encode();
            prop_assert_eq!(History::decode(&bytes), Ok(history));
            for end in 0..bytes.len() {
                prop_assert!(History::decode(&bytes[..end]).is_err(), "cut at {}", end);
            }
            prop_assert!(History::decode(&[&bytes[..], &[0]].concat()).is_err());
        }

        #[test]
        fn hostile_bytes_never_panic_and_what_is_read_is_written_again(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
            kind in 0..3_u8,
        ) {
            for (byte, value) in bytes.iter_mut().zip([VERSION, kind]) { *byte = value; }
            if let Ok(history) = History::decode(&bytes) {
                prop_assert_eq!(history.encode(), bytes);
            }
        }
    }

    /// Histories outlive a release: these bytes may never be read otherwise.
    #[test]
    fn a_history_of_the_first_release_still_reads() {
        let hex = "
            01 01 0909090909090909 09090909 0000000000000007 0000000000000001 0000000000000002 0000000000000003 03
            0003 616461 0505050505050505050505050505050505050505050505050505050505050505 00000004 0001
            0000000000000001 0000000000000002 00000003 08 05 01 070707070707070707070707 04 73686f70 00000400
            01 04 63617274 0002 00000001 01 0606060606060606";
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
        let history = History::decode(&bytes).unwrap();
        assert_eq!(history.encode(), bytes);
        let moment = Timestamp::from_millis;
        let standing = Standing {
            lineage: Lineage::from_bytes([9; 12]),
            owner: Owner::parse("ada"),
            revision: 7,
            started_at: moment(1),
            deadline: moment(2),
            end: moment(3),
            place: Some(StoreKey::from_bytes([5; 32])),
        };
        let happening = Happening {
            since: moment(1),
            at: moment(2),
            times: 3,
            what: What::Refused(Refusal::Rights),
            session: Some(Lineage::from_bytes([7; 12])),
            other: None,
            route: RouteName::cut("shop"),
            asked: Asked { verbs: 1 << 10, keys: vec![Name::parse("cart").unwrap()], more_keys: 2 },
            ended: Ended::of(&[StoreKey::from_bytes([6; 32])]),
        };
        assert_eq!(history, History { standing: Some(standing), happenings: vec![happening], dropped: 4 });
        assert_eq!(history.happenings[0].asked.to_string(), "Set");
    }
}
