//! The operations of [`Store`]: one round trip each, but for the first write under an owner and an entry that has expired.

use super::failure::Failure;
use super::layout::{self, Head, LONG, Listed, NoEntry};
use super::names::Place;
use super::scripts::{CREATING, DELETING, EXPIRING, Lua, REPLACING};
use super::servers::{Answer, Request, unavailable};
use super::{MAX_ENTRY, NAME, RedisStore};
use crate::clock::Timestamp;
use crate::session::{StoreKey, random};
use crate::store::{Entry, Index, Scan, Store, StoreError, Version, Written};
use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use std::time::Duration;

/// How long the server keeps an entry after its deadline, so that a clock of its own that runs fast ends nothing early.
const SLACK: Duration = Duration::from_secs(60);

/// The longest time to live that a server is told; a century is never.
const LONGEST_LIFE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// So often a write begins anew because the entry came under another owner meanwhile.
const ROUNDS: usize = 8;

/// A letter and the tag: what every answer of a script begins with.
const TAGGED: usize = 17;

/// What a script has answered.
pub(super) struct Verdict {
    letter: u8,
    /// What follows the letter and the tag.
    rest: Bytes,
}

impl Verdict {
    /// Under whom the entry is, or was, listed.
    fn listed(&self) -> Option<Listed> {
        Listed::from_bytes(&self.rest)
    }
}

/// For how long the server keeps what is to live until `deadline`, in milliseconds as text.
pub(super) fn life(deadline: Timestamp, now: Timestamp) -> String {
    (now.until(deadline).min(LONGEST_LIFE) + SLACK).as_millis().to_string()
}

fn mixed(answer: &Answer) -> StoreError {
    unavailable(answer.mixed())
}

fn fresh_version() -> Result<Version, StoreError> {
    let bytes = random().map_err(|_| unavailable(Failure::NoRandomness))?;
    // Drawn anew for each entry, so that no version fits the entry that comes after it; with room to count up.
    Ok(Version(u64::from_be_bytes(bytes) >> 2))
}

impl RedisStore {
    /// Runs a script; its answer must be about this very key.
    pub(super) async fn run(
        &self,
        script: &'static Lua,
        place: &Place,
        tag: &[u8],
        arguments: &[&[u8]],
    ) -> Result<Verdict, StoreError> {
        let mut all = Vec::with_capacity(arguments.len() + 1);
        all.push(tag);
        all.extend_from_slice(arguments);
        let mut answer = self.ask(place, &Request::write(script, place, &all)).await?;
        match std::mem::take(&mut answer.value) {
            Value::BulkString(said) if said.get(1..TAGGED) == Some(tag) => {
                Ok(Verdict { letter: said[0], rest: Bytes::from(said).slice(TAGGED..) })
            }
            // The script has run, or another one has: nobody knows.
            _ => Err(StoreError::Lost { store: NAME, source: Box::new(answer.mixed()) }),
        }
    }

    /// Removes an entry that was seen expired, so that a clock that steps back does not revive it (SL13); unless it was
    /// extended meanwhile.
    async fn expire(
        &self,
        key: &StoreKey,
        place: &Place,
        now: Timestamp,
    ) -> Result<Option<(Entry, Version)>, StoreError> {
        let verdict = self.run(&EXPIRING, place, layout::tag(key.as_bytes()), &[&clock(now)]).await?;
        if verdict.letter == b'V' {
            return Ok(layout::entry(key, verdict.rest.into()).ok());
        }
        self.strike(key, verdict.listed()).await;
        Ok(None)
    }
}

fn clock(at: Timestamp) -> [u8; 8] {
    at.as_millis().to_be_bytes()
}

fn check_size(entry: &Entry) -> Result<(), StoreError> {
    let size = entry.bytes.len();
    if size > MAX_ENTRY {
        return Err(StoreError::TooLarge { store: NAME, size, limit: MAX_ENTRY });
    }
    Ok(())
}

fn strange() -> StoreError {
    unavailable(Failure::Mixed)
}

#[async_trait]
impl Store for RedisStore {
    /// A value that is no entry of ours reads as none, and is written over: no version of this program wrote it (ST5).
    /// The entry of another key is an error, as then the answers of the connection are not to be believed.
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        let place = self.names.session(key);
        // Not `GET`: a value that somebody else put there may be of any size.
        let mut answer = self.ask(&place, &Request::read(place.read(layout::LONGEST + 1))).await?;
        let value = match std::mem::take(&mut answer.value) {
            Value::Nil => return Ok(None),
            Value::BulkString(value) if value.is_empty() => return Ok(None),
            Value::BulkString(value) => value,
            _ => return Err(mixed(&answer)),
        };
        match layout::entry(key, value) {
            Ok((entry, _)) if entry.deadline.has_passed(now) => self.expire(key, &place, now).await,
            Ok(found) => Ok(Some(found)),
            Err(NoEntry::Foreign) => Ok(None),
            Err(NoEntry::Mixed) => Err(mixed(&answer)),
        }
    }

    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        check_size(&entry)?;
        let (place, version) = (self.names.session(key), fresh_version()?);
        let listed = match &entry.owner {
            Some(owner) => Some(self.enlist(key, owner, None, entry.deadline, now).await?),
            None => None,
        };
        let (value, life) = (layout::value(key, version, listed, &entry), life(entry.deadline, now));
        let arguments = [&clock(now)[..], life.as_bytes(), &value];
        let written = self.run(&CREATING, &place, layout::tag(key.as_bytes()), &arguments).await?;
        match written.letter {
            b'D' => Ok(Written::Done(version)),
            b'C' => {
                self.strike(key, listed).await;
                Ok(Written::Conflict)
            }
            _ => Err(strange()),
        }
    }

    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        check_size(&entry)?;
        let (place, version) = (self.names.session(key), Version(expected.0.wrapping_add(1)));
        let (beginning, deadline) = (Head::beginning(key, version, entry.deadline), clock(entry.deadline));
        let life = life(entry.deadline, now);
        let owner = entry.owner.as_ref().map_or(&[][..], |owner| owner.as_bytes());
        let (mut listed, mut anew): (Option<Listed>, Option<Listed>) = (None, None);
        for _ in 0..ROUNDS {
            let listing = listed.map(Listed::to_bytes);
            let listing = listing.as_ref().map_or(&[][..], |bytes| &bytes[32..]);
            let (now_bytes, expected) = (clock(now), expected.0.to_be_bytes());
            let arguments: [&[u8]; 8] =
                [&now_bytes, life.as_bytes(), &expected, &beginning, &deadline, owner, listing, &entry.bytes];
            let verdict = self.run(&REPLACING, &place, layout::tag(key.as_bytes()), &arguments).await?;
            match (verdict.letter, &entry.owner) {
                (b'D', _) => {
                    self.strike(key, verdict.listed()).await;
                    return Ok(Written::Done(version));
                }
                (b'L', Some(owner)) => {
                    let before = verdict.listed().filter(|before| before.owner == *owner);
                    listed = Some(self.enlist(key, owner, before, entry.deadline, now).await?);
                    anew = listed.filter(|_| before.is_none());
                }
                (letter, _) => {
                    // Nothing was written, so what was listed for it lists nothing.
                    self.strike(key, anew).await;
                    self.strike(key, verdict.listed()).await;
                    return match letter {
                        b'C' => Ok(Written::Conflict),
                        b'G' => Ok(Written::Gone),
                        _ => Err(strange()),
                    };
                }
            }
        }
        Ok(Written::Conflict)
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        let verdict = self.run(&DELETING, &self.names.session(key), layout::tag(key.as_bytes()), &[]).await?;
        self.strike(key, verdict.listed()).await;
        Ok(())
    }

    /// The server removes what has expired by itself.
    async fn sweep(&self, _now: Timestamp, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }

    fn index(&self) -> Option<&dyn Index> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn Scan> {
        Some(self)
    }

    fn promise(&self) -> &'static str {
        "an acknowledged update survives a crash of the proxy; what a crash of the server takes back is decided by its \
         `appendfsync`, and a failover may take back what the new primary had not received yet"
    }
}

const _: () = assert!(LONG == 82 && layout::LONGEST == 1_048_658, "the scripts name these numbers");
