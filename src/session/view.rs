//! The bytes of a record: [`encode`] writes them, [`View`] reads them without building maps.
//!
//! Layout, version 1, integers big-endian: version `1`, lineage 12, revision u64, created u64, started u64, mark 8,
//! flags u8, then what the flags announce (idle u32, absolute u32 in seconds, path, domain, owner as u16 length and text,
//! refusal u8), next flash u32, count u16 of values (u8 length and name, u8 flags, u64 deadline where flagged, u32 length
//! and text), count u16 of flashes (u32 number, u8 length and level, u16 length and text, u8 count of fields, each u8
//! length and name, u16 length and text). A first byte of `2` is an alias: the 32 bytes of the session's newer id. A
//! first byte of `3` is a tombstone: the session moved to an id that this one may not lead to. A first byte of `4` is a
//! record that holds cookies of the backend: as version 1, and between the values and the flashes u32 length and the
//! cookies (count u16; each u8 flags, name, value, domain and path with a u16 length, u64 end where flagged).
//! A first byte of `5` is a record with tagged parts in the place of those cookies, which are one of them (`extras`).
//! Records without any are written as ever, so that an earlier release can read them. A first byte of `6` stands where a
//! session ended for want of anything to keep.

use super::batch::Refusal;
use super::expiry::Age;
use super::extras::{self, Extras};
use super::held::{self, Held};
use super::id::{ID_LEN, Lineage, SessionId};
use super::imprint::Imprint;
use super::lease::{self, Handed, Lease};
use super::name::{Flash, Name, Owner, Value};
use super::parts::{Reader, Writer};
use super::record::{Mark, Record, Turn};
use crate::clock::Timestamp;
use smallvec::SmallVec;
use std::time::Duration;

const RECORD: u8 = 1;
const ALIAS: u8 = 2;
const TOMBSTONE: u8 = 3;
const HOLDER: u8 = 4;
const EXTENDED: u8 = 5;
const LAPSED: u8 = 6;

const IDLE: u8 = 1;
const ABSOLUTE: u8 = 2;
const PERSISTENT_SET: u8 = 4;
const PERSISTENT: u8 = 8;
const PATH: u8 = 16;
const DOMAIN: u8 = 32;
const OWNER: u8 = 64;
const REFUSAL: u8 = 128;

const VALUE_JSON: u8 = 1;
const VALUE_DEADLINE: u8 = 2;

/// The bytes are no record of a version we know; whoever wrote them, it was not this program (ST5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored bytes are not what we write")]
pub struct Unreadable;

/// What the bytes under a store key turn out to be.
#[derive(Clone, Debug)]
pub enum Stored {
    /// A session.
    Record,
    /// The session goes on under this newer id, for a short grace.
    Alias(SessionId),
    /// The session went on under an id that the holder of this one must not learn (a login).
    Tombstone,
    /// The session had nothing left to keep.
    Lapsed,
}

impl Stored {
    /// Tells the kinds apart by the first byte.
    ///
    /// # Errors
    /// [`Unreadable`] for a first byte we do not know or an alias of the wrong length.
    pub fn kind(bytes: &[u8]) -> Result<Self, Unreadable> {
        match bytes.split_first() {
            Some((&(RECORD | HOLDER | EXTENDED), _)) => Ok(Self::Record),
            Some((&TOMBSTONE, [])) => Ok(Self::Tombstone),
            Some((&LAPSED, [])) => Ok(Self::Lapsed),
            Some((&ALIAS, id)) => {
                <[u8; ID_LEN]>::try_from(id).map(|id| Self::Alias(SessionId::from_bytes(id))).map_err(|_| Unreadable)
            }
            _ => Err(Unreadable),
        }
    }
}

/// The bytes of an alias that leads to `id`.
#[must_use]
pub fn encode_alias(id: &SessionId) -> Vec<u8> {
    [&[ALIAS][..], id.expose()].concat()
}

/// The bytes of a tombstone.
#[must_use]
pub fn encode_tombstone() -> Vec<u8> {
    vec![TOMBSTONE]
}

/// The bytes of a session that had nothing left to keep.
#[must_use]
pub fn encode_lapsed() -> Vec<u8> {
    vec![LAPSED]
}

/// Writes a record.
#[must_use]
pub fn encode(record: &Record) -> Vec<u8> {
    let text: usize = record.values.iter().map(|(name, value)| name.as_str().len() + value.text.len() + 14).sum();
    let mut out = Writer(Vec::with_capacity(64 + text));
    let kind = Kind::of(record);
    out.u8(kind as u8);
    out.0.extend_from_slice(record.lineage.as_bytes());
    out.u64(record.revision);
    out.u64(record.created_at.as_millis());
    out.u64(record.started_at.as_millis());
    out.0.extend_from_slice(&record.mark);
    out.u8(flags(record));
    record.idle.iter().chain(&record.absolute).for_each(|limit| out.u32(clamp(limit.as_secs())));
    record.path.iter().chain(&record.domain).for_each(|text| out.text16(text));
    record.owner.iter().for_each(|owner| out.text16(owner.as_str()));
    record.refusal.iter().for_each(|refusal| out.u8(refusal.code()));
    out.u32(record.next_flash);
    out.u16(record.values.len());
    for (name, value) in &record.values {
        out.name(name);
        out.u8(u8::from(value.json) * VALUE_JSON + u8::from(value.deadline.is_some()) * VALUE_DEADLINE);
        value.deadline.iter().for_each(|deadline| out.u64(deadline.as_millis()));
        out.text32(&value.text);
    }
    match kind {
        Kind::Plain => {}
        Kind::Holder => out.bytes32(&held::bytes(&record.held)),
        Kind::Extended => extras::encode(record, &mut out),
    }
    out.u16(record.flashes.len());
    for flash in &record.flashes {
        out.u32(flash.number);
        out.name(&flash.level);
        out.text16(&flash.text);
        out.u8(u8::try_from(flash.fields.len()).unwrap_or(u8::MAX));
        for (name, text) in flash.fields.iter().take(usize::from(u8::MAX)) {
            out.name(name);
            out.text16(text);
        }
    }
    out.0
}

/// What lies between the values and the flashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Plain = RECORD,
    Holder = HOLDER,
    Extended = EXTENDED,
}

impl Kind {
    fn of(record: &Record) -> Self {
        if extras::has_more_than_held(record) {
            Self::Extended
        } else if record.held.is_empty() {
            Self::Plain
        } else {
            Self::Holder
        }
    }
}

fn flags(record: &Record) -> u8 {
    let bit = |present: bool, flag: u8| if present { flag } else { 0 };
    bit(record.idle.is_some(), IDLE)
        | bit(record.absolute.is_some(), ABSOLUTE)
        | bit(record.persistent.is_some(), PERSISTENT_SET)
        | bit(record.persistent == Some(true), PERSISTENT)
        | bit(record.path.is_some(), PATH)
        | bit(record.domain.is_some(), DOMAIN)
        | bit(record.owner.is_some(), OWNER)
        | bit(record.refusal.is_some(), REFUSAL)
}

fn clamp(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// One key as it lies in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The key.
    pub name: &'a str,
    /// The value.
    pub text: &'a str,
    /// The value is JSON that is not a string.
    pub json: bool,
    /// When the key dies by itself.
    pub deadline: Option<Timestamp>,
}

/// A flash as it lies in the bytes.
#[derive(Clone, Debug)]
pub struct FlashItem<'a> {
    /// The number of the flash.
    pub number: u32,
    /// Its level.
    pub level: &'a str,
    /// Its message.
    pub text: &'a str,
    /// Its further fields.
    pub fields: SmallVec<[(&'a str, &'a str); 2]>,
}

/// The fixed part of a record: enough to decide whether the session lives.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// The session's lasting name.
    pub lineage: Lineage,
    /// The count of changes.
    pub revision: u64,
    /// When the session came into being.
    pub created_at: Timestamp,
    /// When the absolute clock started.
    pub started_at: Timestamp,
    /// The mark of the last write.
    pub mark: Mark,
    /// The session's own idle limit.
    pub idle: Option<Duration>,
    /// The session's own absolute limit.
    pub absolute: Option<Duration>,
    flags: u8,
    kind: Kind,
}

impl Head {
    /// What the fixed part says about the session's time: nothing about its cookie.
    #[must_use]
    pub const fn age(&self) -> Age {
        let Self { lineage, created_at, started_at, idle, absolute, .. } = *self;
        Age { lineage, created_at, started_at, idle, absolute, persistent: None, kept_until: None }
    }

    /// Reads the fixed part only.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no record.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        Self::read(&mut Reader(bytes))
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let kind = match input.u8()? {
            RECORD => Kind::Plain,
            HOLDER => Kind::Holder,
            EXTENDED => Kind::Extended,
            _ => return Err(Unreadable),
        };
        let lineage = Lineage::from_bytes(input.array()?);
        let revision = input.u64()?;
        let created_at = Timestamp::from_millis(input.u64()?);
        let started_at = Timestamp::from_millis(input.u64()?);
        let mark = input.array()?;
        let flags = input.u8()?;
        let mut seconds =
            |flag| (flags & flag != 0).then(|| input.u32().map(|s| Duration::from_secs(s.into()))).transpose();
        let (idle, absolute) = (seconds(IDLE)?, seconds(ABSOLUTE)?);
        Ok(Self { lineage, revision, created_at, started_at, mark, idle, absolute, flags, kind })
    }
}

/// A record, read where it lies.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The fixed part.
    pub head: Head,
    /// The cookie's own path.
    pub path: Option<&'a str>,
    /// The cookie's own domain.
    pub domain: Option<&'a str>,
    /// Whose session it is.
    pub owner: Option<&'a str>,
    /// Why the previous batch was refused.
    pub refusal: Option<Refusal>,
    /// The number of the next flash.
    pub next_flash: u32,
    /// The data, sorted by key; keys whose own deadline has passed are still there.
    pub values: SmallVec<[Item<'a>; 12]>,
    extras: Extras<'a>,
    flashes: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads a record, every byte of it except for the held cookies, the flashes and who holds those, which
    /// [`View::held`], [`View::flashes`] and [`View::leases`] read.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no record.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut input = Reader(bytes);
        let head = Head::read(&mut input)?;
        let path = input.text_if(head.flags & PATH != 0)?;
        let domain = input.text_if(head.flags & DOMAIN != 0)?;
        let owner = input.text_if(head.flags & OWNER != 0)?;
        let refusal = match head.flags & REFUSAL {
            0 => None,
            _ => Some(Refusal::from_code(input.u8()?).ok_or(Unreadable)?),
        };
        let next_flash = input.u32()?;
        let count = input.u16()?;
        let mut values = SmallVec::with_capacity(usize::from(count).min(128));
        for _ in 0..count {
            let name = input.name()?;
            let flags = input.u8()?;
            let deadline = match flags & VALUE_DEADLINE {
                0 => None,
                _ => Some(Timestamp::from_millis(input.u64()?)),
            };
            let length = input.u32()? as usize;
            values.push(Item { name, text: input.text(length)?, json: flags & VALUE_JSON != 0, deadline });
        }
        let extras = match head.kind {
            Kind::Plain => Extras::default(),
            Kind::Holder => Extras { held: Some(input.bytes32()?), ..Extras::default() },
            Kind::Extended => Extras::parse(input.bytes32()?)?,
        };
        Ok(Self { head, path, domain, owner, refusal, next_flash, values, extras, flashes: input.0 })
    }

    /// Whether the cookie outlives the browser, where the session has its own wish.
    #[must_use]
    pub const fn persistent(&self) -> Option<bool> {
        if self.head.flags & PERSISTENT_SET == 0 { None } else { Some(self.head.flags & PERSISTENT != 0) }
    }

    /// What the record says about its own time.
    #[must_use]
    pub const fn age(&self) -> Age {
        Age { persistent: self.persistent(), kept_until: self.kept_until(), ..self.head.age() }
    }

    /// When the session was in use before, where that is kept.
    #[must_use]
    pub const fn seen_at(&self) -> Option<Timestamp> {
        self.extras.seen_at
    }

    /// When the browser drops the cookie that it has, where the cookie has a life of its own.
    #[must_use]
    pub const fn kept_until(&self) -> Option<Timestamp> {
        self.extras.kept_until
    }

    /// What the session is bound to, where its policy binds sessions.
    #[must_use]
    pub const fn imprint(&self) -> Option<Imprint> {
        self.extras.imprint
    }

    /// Who may write alone at the moment.
    #[must_use]
    pub const fn turn(&self) -> Option<Turn> {
        self.extras.turn
    }

    /// The cookies of the backend that the session holds, in the order of their creation.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no record.
    pub fn held(&self) -> Result<Vec<Held<'a>>, Unreadable> {
        self.extras.held.map_or(Ok(Vec::new()), held::decode)
    }

    /// Which of the messages requests under way hold.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no record.
    pub fn leases(&self) -> Result<Vec<Lease>, Unreadable> {
        self.extras.leases.map_or(Ok(Vec::new()), lease::decode)
    }

    /// The flash messages that a request is handed, in the order in which they came.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no record.
    pub fn handed(&self, handed: Handed, now: Timestamp) -> Result<SmallVec<[FlashItem<'a>; 2]>, Unreadable> {
        let (mut flashes, leases) = (self.flashes()?, self.leases()?);
        flashes.retain(|flash| handed.has(flash.number, &leases, now));
        Ok(flashes)
    }

    /// The flash messages, in the order in which they came.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no record.
    pub fn flashes(&self) -> Result<SmallVec<[FlashItem<'a>; 2]>, Unreadable> {
        let mut input = Reader(self.flashes);
        let count = input.u16()?;
        let mut flashes = SmallVec::with_capacity(usize::from(count).min(128));
        for _ in 0..count {
            let (number, level) = (input.u32()?, input.name()?);
            let length = input.u16()?;
            let text = input.text(length.into())?;
            let mut fields = SmallVec::new();
            for _ in 0..input.u8()? {
                let name = input.name()?;
                let length = input.u16()?;
                fields.push((name, input.text(length.into())?));
            }
            flashes.push(FlashItem { number, level, text, fields });
        }
        if input.0.is_empty() { Ok(flashes) } else { Err(Unreadable) }
    }

    /// The record as owned data, for a batch to be applied to.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no record.
    pub fn to_record(&self) -> Result<Record, Unreadable> {
        let name = |text: &str| Name::parse(text).ok_or(Unreadable);
        let values = self.values.iter().map(|item| {
            let value = Value { text: item.text.to_owned(), json: item.json, deadline: item.deadline };
            Ok((name(item.name)?, value))
        });
        let flashes = self.flashes()?;
        let flashes = flashes.iter().map(|flash| {
            let fields = flash.fields.iter().map(|(key, text)| Ok((name(key)?, (*text).to_owned())));
            Ok(Flash {
                number: flash.number,
                level: name(flash.level)?,
                text: flash.text.to_owned(),
                fields: fields.collect::<Result<_, Unreadable>>()?,
            })
        });
        Ok(Record {
            lineage: self.head.lineage,
            revision: self.head.revision,
            created_at: self.head.created_at,
            started_at: self.head.started_at,
            mark: self.head.mark,
            idle: self.head.idle,
            absolute: self.head.absolute,
            persistent: self.persistent(),
            path: self.path.map(str::to_owned),
            domain: self.domain.map(str::to_owned),
            owner: self.owner.map(|owner| Owner::parse(owner).ok_or(Unreadable)).transpose()?,
            seen_at: self.seen_at(),
            kept_until: self.kept_until(),
            imprint: self.imprint().unwrap_or_default(),
            turn: self.turn(),
            refusal: self.refusal,
            values: values.collect::<Result<_, Unreadable>>()?,
            flashes: flashes.collect::<Result<_, Unreadable>>()?,
            held: self.held()?.into_iter().map(Held::into_owned).collect(),
            leases: self.leases()?,
            next_flash: self.next_flash,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::held::CrossSite;
    use proptest::prelude::*;

    const FIRST_RELEASE: &str = "
        01 09 09 09 09 09 09 09 09 09 09 09 09 00 00 00 00 00 00 00 07 00 00 00 00 00 00 04 d2 00 00 00
        00 00 00 04 d2 00 00 00 00 00 00 00 00 ff 00 00 00 3c 00 00 02 58 00 04 2f 61 70 70 00 0b 65 78
        61 6d 70 6c 65 2e 6f 72 67 00 03 61 64 61 03 00 00 00 02 00 02 04 63 61 72 74 03 ff ff ff ff ff
        ff ff ff 00 00 00 01 33 04 75 73 65 72 00 00 00 00 0a c5 be 6f 66 69 65 20 e2 82 ac 00 01 00 00
        00 01 04 69 6e 66 6f 00 05 68 65 6c 6c 6f 01 05 74 69 74 6c 65 00 01 54";

    fn full() -> Record {
        let name = |text| Name::parse(text).unwrap();
        let mut record = Record::new(Lineage::from_bytes([9; 12]), Timestamp::from_millis(1234));
        record.revision = 7;
        record.idle = Some(Duration::from_secs(60));
        record.absolute = Some(Duration::from_secs(600));
        record.persistent = Some(true);
        record.path = Some("/app".into());
        record.domain = Some("example.org".into());
        record.owner = Owner::parse("ada");
        record.refusal = Some(Refusal::Limit);
        record.values.insert(name("cart"), Value { text: "3".into(), json: true, deadline: Some(Timestamp::NEVER) });
        record.values.insert(name("user"), Value::text("žofie €"));
        record.flashes.push(Flash {
            number: 1,
            level: name("info"),
            text: "hello".into(),
            fields: vec![(name("title"), "T".into())],
        });
        record.next_flash = 2;
        record
    }

    fn holder() -> Record {
        let mut record = full();
        let cookie = Held {
            name: b"PHPSESSID".into(),
            value: b"\xff\"x".into(),
            domain: b"app.example".into(),
            host_only: true,
            path: b"/".into(),
            secure: true,
            cross_site: CrossSite::Links,
            expires: Some(Timestamp::from_millis(99)),
        };
        let other =
            Held { host_only: false, secure: false, cross_site: CrossSite::Never, expires: None, ..cookie.clone() };
        record.held = vec![cookie, other];
        record
    }

    fn extended() -> Record {
        let (seen_at, kept_until) = (Some(Timestamp::from_millis(5)), Some(Timestamp::NEVER));
        let leases = vec![Lease { mark: [7; 8], until: Timestamp::from_millis(6), flashes: vec![1] }];
        let turn = Some(Turn { token: [8; 8], until: Timestamp::from_millis(7) });
        Record { seen_at, kept_until, turn, leases, ..holder() }
    }

    #[test]
    fn a_record_survives_its_bytes() {
        let unkept = Record { held: Vec::new(), kept_until: None, ..extended() };
        let lent = Record { leases: extended().leases, ..full() };
        for record in [full(), holder(), extended(), unkept, lent] {
            let bytes = encode(&record);
            assert!(matches!(Stored::kind(&bytes), Ok(Stored::Record)));
            assert_eq!(View::parse(&bytes).unwrap().to_record().unwrap(), record);
        }
    }

    /// The bytes were written by the first release, which knew of no held cookies.
    #[test]
    fn a_record_of_the_first_release_still_reads_and_is_still_written() {
        let bytes = FIRST_RELEASE.split_ascii_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap());
        let bytes: Vec<u8> = bytes.collect();
        assert_eq!(View::parse(&bytes).unwrap().to_record().unwrap(), full());
        assert_eq!(encode(&full()), bytes);
        assert_eq!(encode(&holder())[0], HOLDER);
    }

    #[test]
    fn a_cut_record_is_unreadable_and_never_a_panic() {
        // ST5
        for bytes in [full(), holder(), extended()].map(|record| encode(&record)) {
            for end in 0..bytes.len() {
                let read = View::parse(&bytes[..end]).and_then(|view| view.to_record());
                assert!(read.is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn aliases_and_tombstones_are_told_apart() {
        let id = SessionId::from_bytes([5; 32]);
        assert!(matches!(Stored::kind(&encode_alias(&id)), Ok(Stored::Alias(to)) if to == id));
        assert!(matches!(Stored::kind(&encode_tombstone()), Ok(Stored::Tombstone)));
        assert!(Stored::kind(&[2, 0]).is_err() && Stored::kind(&[]).is_err() && Stored::kind(&[9]).is_err());
    }

    #[test]
    fn parts_of_a_newer_release_or_out_of_order_are_unreadable() {
        let tagged = |bytes: &[u8]| Extras::parse(bytes).is_ok();
        assert!(tagged(&[]) && tagged(&[2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]));
        assert!(!tagged(&[200, 0, 0, 0, 0]), "a tag that nobody knows");
        assert!(!tagged(&[2, 0, 0, 0, 1, 0]), "a moment of one byte");
        assert!(!tagged(&[5, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "a turn without its end");
        assert!(!tagged(&[1, 0, 0, 0, 0, 1, 0, 0, 0, 0]), "a tag that came before");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            kind in prop::sample::select(vec![RECORD, HOLDER, EXTENDED]),
        ) {
            if let Some(first) = bytes.first_mut() { *first = kind; }
            if let Ok(view) = View::parse(&bytes) { drop(view.to_record()); }
        }
    }
}
