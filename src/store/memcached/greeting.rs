//! What is asked of a server on a new connection: whether it speaks our language, and what it takes.

use super::failure::End;
use super::wire::{Malformed, number};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const QUESTION: &[u8] = b"mn\r\nstats settings\r\nstats\r\n";

/// Far more than any server has to say about itself.
const MOST: usize = 64 << 10;

/// What memcached adds to a value: its own head, the key and its end. Rounded up.
const OVERHEAD: usize = 512;

/// No value is larger, whatever the server takes: a session is not.
const LARGEST: usize = 8 << 20;

/// What a server said about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    /// The largest value that fits.
    pub(super) value_max: usize,
    /// Whether it makes room by pushing out what is live; else it refuses writes, and drops what they were to replace.
    pub(super) evicts: bool,
    /// How many live items it has pushed out so far.
    pub(super) evictions: u64,
}

impl Greeting {
    /// Asks, and reads the answer to its end.
    pub(super) async fn ask(
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Self, End> {
        writer.write_all(QUESTION).await?;
        let mut buffer = BytesMut::with_capacity(4096);
        loop {
            if reader.read_buf(&mut buffer).await? == 0 {
                return Err(End::Closed);
            }
            if let Some(greeting) = Self::parse(&buffer)? {
                return Ok(greeting);
            }
            if buffer.len() > MOST {
                return Err(Malformed::Long.into());
            }
        }
    }

    /// `None` while the end is missing.
    fn parse(text: &[u8]) -> Result<Option<Self>, End> {
        let mut greeting = Self { value_max: (1 << 20) - OVERHEAD, evicts: true, evictions: 0 };
        let Some((whole, _)) = text.iter().rposition(|byte| *byte == b'\n').map(|end| text.split_at(end + 1)) else {
            return Ok(None);
        };
        let mut lines = whole.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        match lines.next() {
            Some(b"MN") => {}
            Some(line) if line.starts_with(b"ERROR Too many open connections") => return Err(End::TooMany),
            _ => return Err(Malformed::Refused.into()),
        }
        let mut ends = 0;
        for line in lines {
            let mut words = line.split(|byte| *byte == b' ');
            match (words.next(), words.next(), words.next()) {
                (Some(b"STAT"), Some(b"item_size_max"), Some(size)) => {
                    let size = number(size).and_then(|size| usize::try_from(size).ok()).ok_or(Malformed::Flag)?;
                    greeting.value_max = size.saturating_sub(OVERHEAD).min(LARGEST);
                }
                // The word has two meanings: `on` or `off` among the settings, a number among the counters.
                (Some(b"STAT"), Some(b"evictions"), Some(b"off")) => greeting.evicts = false,
                (Some(b"STAT"), Some(b"evictions"), Some(count)) => {
                    greeting.evictions = number(count).unwrap_or_default();
                }
                (Some(b"END"), None, _) => ends += 1,
                // Other statistics, and what follows the last end of line.
                (Some(b"STAT"), Some(_), _) | (Some(b""), None, _) => {}
                _ => return Err(Malformed::Word.into()),
            }
        }
        Ok((ends == 2).then_some(greeting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "MN\r\nSTAT maxbytes 67108864\r\nSTAT evictions off\r\nSTAT item_size_max 2097152\r\n\
                          STAT domain_socket /a b\r\nEND\r\nSTAT pid 7\r\nSTAT evictions 12\r\nEND\r\n";

    fn refused(text: &str) -> String {
        Greeting::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_server_says_what_it_takes() {
        let expected = Greeting { value_max: (2 << 20) - OVERHEAD, evicts: false, evictions: 12 };
        assert_eq!(Greeting::parse(ANSWER.as_bytes()).unwrap(), Some(expected));
        for end in 0..ANSWER.len() {
            assert_eq!(Greeting::parse(&ANSWER.as_bytes()[..end]).unwrap(), None, "{}", &ANSWER[..end]);
        }
    }

    #[test]
    fn a_server_of_another_kind_is_refused() {
        for text in ["ERROR\r\n", "-ERR unknown command\r\n", "CLIENT_ERROR unauthenticated\r\n", "\r\n"] {
            assert_eq!(refused(text), Malformed::Refused.to_string());
        }
        assert_eq!(refused("ERROR Too many open connections\r\n"), End::TooMany.to_string());
        assert_eq!(refused("MN\r\nERROR\r\n"), Malformed::Word.to_string());
        assert_eq!(refused("MN\r\nSTAT item_size_max x\r\n"), Malformed::Flag.to_string());
    }

    #[test]
    fn a_giant_item_size_is_not_believed() {
        let text = "MN\r\nSTAT item_size_max 18446744073709551615\r\nEND\r\nEND\r\n";
        assert_eq!(Greeting::parse(text.as_bytes()).unwrap().unwrap().value_max, LARGEST);
    }
}
