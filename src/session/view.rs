//! The bytes of a record: [`encode`] writes them, [`View`] reads them without building maps.
//!
//! Layout, version 1, integers big-endian: version `1`, lineage 12, revision u64, created u64, started u64, mark 8,
//! flags u8, then what the flags announce (idle u32, absolute u32 in seconds, path, domain, owner as u16 length and text,
//! refusal u8), next flash u32, count u16 of values (u8 length and name, u8 flags, u64 deadline where flagged, u32 length
//! and text), count u16 of flashes (u32 number, u8 length and level, u16 length and text, u8 count of fields, each u8
//! length and name, u16 length and text). A first byte of `2` is an alias: the 32 bytes of the session's newer id. A
//! first byte of `3` is a tombstone: the session moved to an id that this one may not lead to.

use super::batch::Refusal;
use super::id::{ID_LEN, Lineage, SessionId};
use super::name::{Flash, Name, Owner, Value};
use super::record::{Mark, Record};
use crate::clock::Timestamp;
use smallvec::SmallVec;
use std::time::Duration;

const RECORD: u8 = 1;
const ALIAS: u8 = 2;
const TOMBSTONE: u8 = 3;

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
}

impl Stored {
    /// Tells the kinds apart by the first byte.
    ///
    /// # Errors
    /// [`Unreadable`] for a first byte we do not know or an alias of the wrong length.
    pub fn kind(bytes: &[u8]) -> Result<Self, Unreadable> {
        match bytes.split_first() {
            Some((&RECORD, _)) => Ok(Self::Record),
            Some((&TOMBSTONE, [])) => Ok(Self::Tombstone),
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

/// Writes a record.
#[must_use]
pub fn encode(record: &Record) -> Vec<u8> {
    let text: usize = record.values.iter().map(|(name, value)| name.as_str().len() + value.text.len() + 14).sum();
    let mut out = Writer(Vec::with_capacity(64 + text));
    out.u8(RECORD);
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

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, n: u8) {
        self.0.push(n);
    }
    /// A count. The limits of a policy keep it far below 65,536; the reader refuses what does not add up.
    fn u16(&mut self, n: usize) {
        self.0.extend_from_slice(&u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes());
    }
    fn u32(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    fn u64(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    fn name(&mut self, name: &Name) {
        self.u8(u8::try_from(name.as_str().len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(name.as_str().as_bytes());
    }
    fn text16(&mut self, text: &str) {
        self.u16(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }
    fn text32(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(text.as_bytes());
    }
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
}

impl Head {
    /// Reads the fixed part only.
    ///
    /// # Errors
    /// [`Unreadable`] when the bytes are no record.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        Self::read(&mut Reader(bytes))
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Unreadable> {
        if input.u8()? != RECORD {
            return Err(Unreadable);
        }
        let lineage = Lineage::from_bytes(input.array()?);
        let revision = input.u64()?;
        let created_at = Timestamp::from_millis(input.u64()?);
        let started_at = Timestamp::from_millis(input.u64()?);
        let mark = input.array()?;
        let flags = input.u8()?;
        let mut seconds =
            |flag| (flags & flag != 0).then(|| input.u32().map(|s| Duration::from_secs(s.into()))).transpose();
        let (idle, absolute) = (seconds(IDLE)?, seconds(ABSOLUTE)?);
        Ok(Self { lineage, revision, created_at, started_at, mark, idle, absolute, flags })
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
    flashes: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads a record, every byte of it except for the flashes, which [`View::flashes`] reads.
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
        Ok(Self { head, path, domain, owner, refusal, next_flash, values, flashes: input.0 })
    }

    /// Whether the cookie outlives the browser, where the session has its own wish.
    #[must_use]
    pub const fn persistent(&self) -> Option<bool> {
        if self.head.flags & PERSISTENT_SET == 0 { None } else { Some(self.head.flags & PERSISTENT != 0) }
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
            refusal: self.refusal,
            values: values.collect::<Result<_, Unreadable>>()?,
            flashes: flashes.collect::<Result<_, Unreadable>>()?,
            next_flash: self.next_flash,
        })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*taken)
    }
    fn u8(&mut self) -> Result<u8, Unreadable> {
        self.array::<1>().map(|[n]| n)
    }
    fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(u16::from_be_bytes)
    }
    fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_be_bytes)
    }
    fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_be_bytes)
    }
    fn text(&mut self, length: usize) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.take(length)?).map_err(|_| Unreadable)
    }
    fn name(&mut self) -> Result<&'a str, Unreadable> {
        let length = self.u8()?;
        self.text(length.into())
    }
    fn text_if(&mut self, present: bool) -> Result<Option<&'a str>, Unreadable> {
        if !present {
            return Ok(None);
        }
        let length = self.u16()?;
        self.text(length.into()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn a_record_survives_its_bytes() {
        let record = full();
        let bytes = encode(&record);
        assert!(matches!(Stored::kind(&bytes), Ok(Stored::Record)));
        assert_eq!(View::parse(&bytes).unwrap().to_record().unwrap(), record);
    }

    #[test]
    fn a_cut_record_is_unreadable_and_never_a_panic() {
        // ST5
        let bytes = encode(&full());
        for end in 0..bytes.len() {
            let read = View::parse(&bytes[..end]).and_then(|view| view.to_record());
            assert!(read.is_err(), "cut at {end}");
        }
    }

    #[test]
    fn aliases_and_tombstones_are_told_apart() {
        let id = SessionId::from_bytes([5; 32]);
        assert!(matches!(Stored::kind(&encode_alias(&id)), Ok(Stored::Alias(to)) if to == id));
        assert!(matches!(Stored::kind(&encode_tombstone()), Ok(Stored::Tombstone)));
        assert!(Stored::kind(&[2, 0]).is_err() && Stored::kind(&[]).is_err() && Stored::kind(&[9]).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(first) = bytes.first_mut() { *first = RECORD; }
            if let Ok(view) = View::parse(&bytes) { drop(view.to_record()); }
        }
    }
}
