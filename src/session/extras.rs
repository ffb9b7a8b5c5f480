//! The tagged part of a record: what only some sessions have.
//!
//! A sequence of u8 tag, u32 length and the bytes, tags in ascending order and each at most once. A tag that this release
//! does not know makes the record unreadable: whoever dropped it in silence would undo what a newer release has written.

use super::imprint::Imprint;
use super::parts::{Reader, Writer};
use super::record::{Record, Turn};
use super::view::Unreadable;
use super::{held, lease};
use crate::clock::Timestamp;

const HELD: u8 = 1;
const SEEN: u8 = 2;
const KEPT: u8 = 3;
const LENT: u8 = 4;
const TURN: u8 = 5;
const IMPRINT: u8 = 16;

/// The tagged parts where they lie.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extras<'a> {
    /// The cookies of the backend; [`held::decode`] reads them.
    pub(super) held: Option<&'a [u8]>,
    /// [`Record::seen_at`].
    pub(super) seen_at: Option<Timestamp>,
    /// [`Record::kept_until`].
    pub(super) kept_until: Option<Timestamp>,
    /// Who holds which messages; [`lease::decode`] reads it.
    pub(super) leases: Option<&'a [u8]>,
    /// [`Record::imprint`].
    pub(super) imprint: Option<Imprint>,
    /// [`Record::turn`].
    pub(super) turn: Option<Turn>,
}

/// Whether a record has any tagged part but held cookies, which have a form of their own when they are alone.
pub(super) fn has_more_than_held(record: &Record) -> bool {
    record.seen_at.is_some()
        || record.kept_until.is_some()
        || !record.leases.is_empty()
        || record.turn.is_some()
        || !record.imprint.is_empty()
}

/// Writes the tagged parts, with the length of all of them in front.
pub(super) fn encode(record: &Record, out: &mut Writer) {
    let mut own = Writer(Vec::new());
    let mut part = |tag: u8, write: &dyn Fn(&mut Writer)| {
        let mut bytes = Writer(Vec::new());
        write(&mut bytes);
        own.u8(tag);
        own.bytes32(&bytes.0);
    };
    if !record.held.is_empty() {
        part(HELD, &|out| out.0.extend(held::bytes(&record.held)));
    }
    if let Some(moment) = record.seen_at {
        part(SEEN, &|out| out.u64(moment.as_millis()));
    }
    if let Some(moment) = record.kept_until {
        part(KEPT, &|out| out.u64(moment.as_millis()));
    }
    if !record.leases.is_empty() {
        part(LENT, &|out| out.0.extend(lease::bytes(&record.leases)));
    }
    if let Some(Turn { token, until }) = record.turn {
        part(TURN, &|out| {
            out.0.extend_from_slice(&token);
            out.u64(until.as_millis());
        });
    }
    if !record.imprint.is_empty() {
        part(IMPRINT, &|out| out.0.extend(record.imprint.encode()));
    }
    out.bytes32(&own.0);
}

impl<'a> Extras<'a> {
    /// Reads what [`encode`] wrote behind the length.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let (mut input, mut extras, mut last) = (Reader(bytes), Self::default(), 0);
        while !input.0.is_empty() {
            let tag = input.u8()?;
            let part = input.bytes32()?;
            if tag <= last {
                return Err(Unreadable);
            }
            last = tag;
            match tag {
                HELD => extras.held = Some(part),
                SEEN => extras.seen_at = Some(moment(part)?),
                KEPT => extras.kept_until = Some(moment(part)?),
                LENT => extras.leases = Some(part),
                TURN => extras.turn = Some(turn(part)?),
                IMPRINT => extras.imprint = Some(Imprint::decode(part)?),
                _ => return Err(Unreadable),
            }
        }
        Ok(extras)
    }
}

fn turn(bytes: &[u8]) -> Result<Turn, Unreadable> {
    let (token, until) = bytes.split_first_chunk().ok_or(Unreadable)?;
    Ok(Turn { token: *token, until: moment(until)? })
}

fn moment(bytes: &[u8]) -> Result<Timestamp, Unreadable> {
    let bytes = bytes.try_into().map_err(|_| Unreadable)?;
    Ok(Timestamp::from_millis(u64::from_be_bytes(bytes)))
}
