//! The words of the meta protocol that are needed here: commands written, replies read.
//!
//! Each command asks the server to repeat its key and a number of ours in the reply. A reply that shows others is not the
//! answer to that command, whatever its place in the stream; errors alone carry neither.

use bytes::{BufMut as _, Bytes, BytesMut};
use std::fmt;

/// No line of a reply to our commands is longer.
const LINE: usize = 1024;

/// A command about one key.
#[derive(Clone)]
pub enum Command {
    /// Asks for the value and its unique number.
    Get,
    /// Writes a value.
    Set {
        /// Over what it may be written.
        over: Over,
        /// How long the server keeps it.
        ttl: Ttl,
        /// The value.
        value: Bytes,
    },
    /// Removes the item, where `Some` only if it still has this unique number.
    Delete(Option<u64>),
}

/// What a value may be written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing: there must be no item.
    Nothing,
    /// The item with this unique number.
    Unique(u64),
}

/// A lifetime as the server understands it: `0` is without end, up to thirty days are seconds from now, more is a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl(pub i32);

impl Command {
    /// Appends the command about `key`, numbered `number`.
    pub fn write(&self, out: &mut BytesMut, key: &[u8], number: u32) {
        let mut digits = Digits::default();
        match self {
            Self::Get => {
                put(out, &[b"mg ", key, b" v c k O", digits.of(number.into()), b"\r\n"]);
            }
            Self::Set { over, ttl, value } => {
                out.reserve(value.len() + key.len() + 96);
                put(out, &[b"ms ", key, b" ", digits.of(value.len() as u64)]);
                put(out, &[b" c k O", digits.of(number.into())]);
                put(out, &[b" T", digits.of(u64::from(ttl.0.unsigned_abs()))]);
                match over {
                    Over::Nothing => put(out, &[b" ME\r\n"]),
                    Over::Unique(unique) => put(out, &[b" C", digits.of(*unique), b"\r\n"]),
                }
                put(out, &[value, b"\r\n"]);
            }
            Self::Delete(unique) => {
                put(out, &[b"md ", key, b" k O", digits.of(number.into())]);
                if let Some(unique) = unique {
                    put(out, &[b" C", digits.of(*unique)]);
                }
                put(out, &[b"\r\n"]);
            }
        }
    }
}

fn put(out: &mut BytesMut, parts: &[&[u8]]) {
    for part in parts {
        out.put_slice(part);
    }
}

/// Room to write a number in decimal.
#[derive(Default)]
struct Digits([u8; 20]);

impl Digits {
    fn of(&mut self, mut number: u64) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return &self.0[at..];
            }
        }
    }
}

/// What a server answered to one command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// What became of the command.
    pub outcome: Outcome<'a>,
    /// The key that the server repeats; errors have none.
    pub key: Option<&'a [u8]>,
    /// Our number that the server repeats; errors have none.
    pub number: Option<u32>,
    /// The item's unique number, where the command asked for it.
    pub unique: Option<u64>,
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The value that was asked for.
    Value(&'a [u8]),
    /// It is done.
    Done,
    /// There is no such item.
    Missing,
    /// The item has another unique number.
    Exists,
    /// There is an item already.
    NotStored,
    /// The value is larger than the server takes; it has removed what was there before.
    TooLarge,
    /// The server has no memory left for it; it has removed what was there before.
    OutOfMemory,
    /// The server failed, and says so in words that are not for us.
    Failed,
}

impl fmt::Debug for Reply<'_> {
    /// Shows neither the key nor the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, bytes) = match self.outcome {
            Outcome::Value(value) => ("a value", value.len()),
            Outcome::Done => ("done", 0),
            Outcome::Missing => ("missing", 0),
            Outcome::Exists => ("exists", 0),
            Outcome::NotStored => ("not stored", 0),
            Outcome::TooLarge => ("too large", 0),
            Outcome::OutOfMemory => ("out of memory", 0),
            Outcome::Failed => ("failed", 0),
        };
        write!(f, "Reply({word}, {bytes} bytes, number {:?}, unique {:?})", self.number, self.unique)
    }
}

/// What a buffer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A whole reply of this many bytes.
    Whole(Reply<'a>, usize),
    /// The beginning of a reply of at least this many bytes.
    Part(usize),
}

/// Why bytes are no reply; never shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A line does not end.
    #[error("its reply has a line that does not end")]
    Line,
    /// It begins with none of the words of the protocol.
    #[error("its reply is none of the meta protocol")]
    Word,
    /// A flag that was not asked for, or twice the same, or a number that is none.
    #[error("its reply has a flag that was not asked for")]
    Flag,
    /// A value that is longer than any that was ever written.
    #[error("its reply announces a value that is too long")]
    Long,
    /// A value that does not end where it should.
    #[error("its reply has a value of another length than announced")]
    End,
    /// `ERROR` or `CLIENT_ERROR`: what follows may be taken for commands.
    #[error("it does not understand our commands: memcached 1.6 or later is needed, without a password")]
    Refused,
}

/// Reads the reply at the beginning of `buffer`, whose value has at most `limit` bytes.
///
/// # Errors
/// [`Malformed`] when no continuation of the bytes is a reply; the stream has lost its meaning.
pub fn parse(buffer: &[u8], limit: usize) -> Result<Parsed<'_>, Malformed> {
    let Some(end) = buffer.iter().take(LINE).position(|byte| *byte == b'\n') else {
        return if buffer.len() < LINE { Ok(Parsed::Part(buffer.len() + 1)) } else { Err(Malformed::Line) };
    };
    let line = buffer[..end].strip_suffix(b"\r").ok_or(Malformed::Line)?;
    let length = end + 1;
    let (word, rest) = split(line);
    let outcome = match word {
        b"VA" => {
            let (size, flags) = split(rest);
            let size = number(size).and_then(|size| usize::try_from(size).ok()).ok_or(Malformed::Flag)?;
            if size > limit {
                return Err(Malformed::Long);
            }
            let whole = length + size + 2;
            if buffer.len() < whole {
                return Ok(Parsed::Part(whole));
            }
            if &buffer[length + size..whole] != b"\r\n" {
                return Err(Malformed::End);
            }
            let reply = with_flags(Outcome::Value(&buffer[length..length + size]), flags)?;
            return Ok(Parsed::Whole(reply, whole));
        }
        b"HD" => Outcome::Done,
        b"EN" | b"NF" => Outcome::Missing,
        b"EX" => Outcome::Exists,
        b"NS" => Outcome::NotStored,
        b"SERVER_ERROR" => {
            let outcome = if rest.starts_with(b"object too large") {
                Outcome::TooLarge
            } else if rest.starts_with(b"out of memory") {
                Outcome::OutOfMemory
            } else {
                Outcome::Failed
            };
            return Ok(Parsed::Whole(Reply { outcome, key: None, number: None, unique: None }, length));
        }
        b"ERROR" | b"CLIENT_ERROR" => return Err(Malformed::Refused),
        _ => return Err(Malformed::Word),
    };
    Ok(Parsed::Whole(with_flags(outcome, rest)?, length))
}

/// What stands before the first space, and what behind it.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b' ');
    end.map_or((text, &[]), |end| (&text[..end], &text[end + 1..]))
}

fn with_flags<'a>(outcome: Outcome<'a>, mut flags: &'a [u8]) -> Result<Reply<'a>, Malformed> {
    let mut reply = Reply { outcome, key: None, number: None, unique: None };
    while !flags.is_empty() {
        let (flag, rest) = split(flags);
        flags = rest;
        let is_new = match flag {
            [b'k', key @ ..] if !key.is_empty() => reply.key.replace(key).is_none(),
            [b'O', text @ ..] => {
                let number = number(text).and_then(|number| u32::try_from(number).ok()).ok_or(Malformed::Flag)?;
                reply.number.replace(number).is_none()
            }
            [b'c', text @ ..] => reply.unique.replace(number(text).ok_or(Malformed::Flag)?).is_none(),
            // Somebody marked the item as stale; it is the item all the same.
            b"W" | b"X" | b"Z" => true,
            _ => false,
        };
        if !is_new {
            return Err(Malformed::Flag);
        }
    }
    Ok(reply)
}

/// A decimal number, and nothing else.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(command: &Command) -> String {
        let mut out = BytesMut::new();
        command.write(&mut out, b"key", 7);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn commands_are_written_as_the_protocol_has_them() {
        assert_eq!(written(&Command::Get), "mg key v c k O7\r\n");
        let set = |over| Command::Set { over, ttl: Ttl(60), value: Bytes::from_static(b"a\r\n") };
        assert_eq!(written(&set(Over::Nothing)), "ms key 3 c k O7 T60 ME\r\na\r\n\r\n");
        assert_eq!(written(&set(Over::Unique(u64::MAX))), "ms key 3 c k O7 T60 C18446744073709551615\r\na\r\n\r\n");
        assert_eq!(written(&Command::Delete(None)), "md key k O7\r\n");
        assert_eq!(written(&Command::Delete(Some(0))), "md key k O7 C0\r\n");
    }

    #[test]
    fn replies_are_read_as_memcached_writes_them() {
        let bare = |outcome| Reply { outcome, key: None, number: None, unique: None };
        let full = |outcome, unique| Reply { key: Some(b"key"), number: Some(7), unique, outcome };
        for (text, reply) in [
            ("VA 3 c9 kkey O7\r\na\r\n\r\n", full(Outcome::Value(b"a\r\n"), Some(9))),
            ("VA 0 c9 kkey O7 W X\r\n\r\n", full(Outcome::Value(b""), Some(9))),
            ("HD c9 kkey O7\r\n", full(Outcome::Done, Some(9))),
            ("EN kkey O7\r\n", full(Outcome::Missing, None)),
            ("NF O7 kkey\r\n", full(Outcome::Missing, None)),
            ("EX kkey O7\r\n", full(Outcome::Exists, None)),
            ("NS c0 O7 kkey\r\n", full(Outcome::NotStored, Some(0))),
            ("SERVER_ERROR object too large for cache\r\n", bare(Outcome::TooLarge)),
            ("SERVER_ERROR out of memory storing object\r\n", bare(Outcome::OutOfMemory)),
            ("SERVER_ERROR busy\r\n", bare(Outcome::Failed)),
        ] {
            let stream = format!("{text}HD k");
            assert_eq!(parse(stream.as_bytes(), 10), Ok(Parsed::Whole(reply, text.len())), "{text:?}");
            for end in 0..text.len() {
                let part = parse(&text.as_bytes()[..end], 10);
                assert!(matches!(part, Ok(Parsed::Part(least)) if least > end && least <= text.len()), "{part:?}");
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for (text, why) in [
            ("HD kkey\n", Malformed::Line),
            ("\r\n", Malformed::Word),
            ("VALUE key 0 3\r\nabc\r\n", Malformed::Word),
            ("hd kkey\r\n", Malformed::Word),
            ("HD kkey kkey\r\n", Malformed::Flag),
            ("HD k\r\n", Malformed::Flag),
            ("HD  kkey\r\n", Malformed::Flag),
            ("HD q\r\n", Malformed::Flag),
            ("HD c+1\r\n", Malformed::Flag),
            ("HD c18446744073709551616\r\n", Malformed::Flag),
            ("HD O4294967296\r\n", Malformed::Flag),
            ("VA x kkey\r\n", Malformed::Flag),
            ("VA 11 kkey\r\n", Malformed::Long),
            ("VA 18446744073709551615\r\n", Malformed::Long),
            ("VA 3 kkey\r\nabcde", Malformed::End),
            ("ERROR\r\n", Malformed::Refused),
            ("CLIENT_ERROR unauthenticated\r\n", Malformed::Refused),
        ] {
            assert_eq!(parse(text.as_bytes(), 10), Err(why), "{text:?}");
        }
        assert_eq!(parse(&[b'H'; LINE], 10), Err(Malformed::Line));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(
            word in "(VA|HD|EN|SERVER_ERROR|)",
            text in proptest::collection::vec(prop_oneof![Just(b' '), Just(b'\r'), Just(b'\n'), b'0'..=b'9', any::<u8>()], 0..80),
        ) {
            let bytes = [word.as_bytes(), &text].concat();
            match parse(&bytes, 20) {
                Ok(Parsed::Whole(_, length)) => prop_assert!(length <= bytes.len()),
                Ok(Parsed::Part(least)) => prop_assert!(least > bytes.len() && least <= LINE + 22),
                Err(_) => {}
            }
        }

        #[test]
        fn every_number_is_read_as_it_was_written(value: u64) {
            prop_assert_eq!(number(Digits::default().of(value)), Some(value));
        }
    }
}
