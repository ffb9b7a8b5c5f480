//! The walk over all sessions: `SCAN`, one server after the other.
//!
//! The order of a walk is that of one process's memory, so a cursor names the process (its run id), and who holds which
//! slot: when either is another, what was walked is walked again. An entry may be seen twice, never not at all. A slot
//! that is moved during the walk is the exception: what has left a server before it is walked, for one that is walked
//! already, is seen only if the move ends before the walk does.

use super::RedisStore;
use super::layout;
use super::names::Place;
use super::node::Node;
use super::servers::{Request, unavailable};
use crate::clock::Timestamp;
use crate::session::StoreKey;
use crate::store::{Cursor, Entry, Page, Scan, StoreError};
use async_trait::async_trait;
use redis::{Cmd, Pipeline, Value};
use std::sync::Arc;
use std::time::Duration;

/// Entries that are fetched at once.
const FETCHED: usize = 64;

/// The longest page.
const LONGEST: usize = 1000;

/// For so long a walk believes what it knows about who holds what: to ask before each page would take most of its time.
const RECENT: Duration = Duration::from_secs(1);

/// Where a walk is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Position {
    /// Who held what when it began.
    fingerprint: u64,
    /// Which server, in the order of the addresses.
    server: usize,
    /// The process there; none before it was asked.
    run: Option<String>,
    /// The server's own cursor.
    cursor: u64,
}

impl Position {
    const fn start(fingerprint: u64) -> Self {
        Self { fingerprint, server: 0, run: None, cursor: 0 }
    }

    fn read(cursor: &Cursor) -> Option<Self> {
        let mut parts = cursor.0.split(':');
        let fingerprint = u64::from_str_radix(parts.next()?, 16).ok()?;
        let server = parts.next()?.parse().ok()?;
        let run = Some(parts.next()?.to_owned()).filter(|run| !run.is_empty());
        let cursor = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { fingerprint, server, run, cursor })
    }

    fn write(&self) -> Cursor {
        let run = self.run.as_deref().unwrap_or_default();
        Cursor(format!("{:x}:{}:{run}:{}", self.fingerprint, self.server, self.cursor))
    }
}

/// A place whose lane is the first, for questions that no key belongs to.
fn nowhere() -> Place {
    Place { name: Vec::new(), lane: 0 }
}

fn run_id(info: &Value) -> Option<String> {
    let text = match info {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?,
        Value::VerbatimString { text, .. } => text,
        _ => return None,
    };
    let run = text.lines().find_map(|line| line.strip_prefix("run_id:"))?.trim();
    run.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| run.to_owned())
}

impl RedisStore {
    /// The names on one page of one server, and where it goes on there.
    async fn names_from(
        &self,
        node: &Node,
        position: &mut Position,
        limit: usize,
    ) -> Result<(Vec<StoreKey>, u64), StoreError> {
        loop {
            let mut questions = Pipeline::with_capacity(2);
            questions.add_command(Cmd::new().arg("INFO").arg("SERVER").to_owned());
            let pattern = self.names.pattern();
            let scan = ["SCAN", &position.cursor.to_string(), "MATCH", &pattern, "COUNT", &limit.to_string()];
            let mut question = Cmd::new();
            for word in scan {
                question.arg(word);
            }
            questions.add_command(question);
            let answers = self.servers.ask_node(node, &nowhere(), &questions, 2).await?.all()?;
            let mixed = || unavailable(answers.mixed());
            let [info, Value::Array(page)] = &answers.values[..] else { return Err(mixed()) };
            let run = run_id(info).ok_or_else(mixed)?;
            if position.run.as_ref().is_some_and(|known| *known != run) && position.cursor != 0 {
                // Another process, another order.
                *position = Position { run: Some(run), cursor: 0, ..position.clone() };
                continue;
            }
            position.run = Some(run);
            let [Value::BulkString(next), Value::Array(names)] = &page[..] else { return Err(mixed()) };
            let next = std::str::from_utf8(next).ok().and_then(|next| next.parse().ok()).ok_or_else(mixed)?;
            let keys = names.iter().filter_map(|name| match name {
                Value::BulkString(name) => self.names.key_of(name),
                _ => None,
            });
            return Ok((keys.collect(), next));
        }
    }

    /// The live entries among these keys.
    async fn fetch(
        &self,
        node: &Node,
        keys: &[StoreKey],
        now: Timestamp,
    ) -> Result<Vec<(StoreKey, Entry)>, StoreError> {
        let mut entries = Vec::with_capacity(keys.len());
        for some in keys.chunks(FETCHED) {
            let places: Vec<Place> = some.iter().map(|key| self.names.session(key)).collect();
            let mut questions = Pipeline::with_capacity(some.len());
            for place in &places {
                questions.add_command(place.read(layout::LONGEST + 1));
            }
            let mut answers = self.servers.ask_node(node, &nowhere(), &questions, some.len()).await?;
            for ((key, place), answer) in some.iter().zip(&places).zip(std::mem::take(&mut answers.values)) {
                let answer = match answer {
                    // It has moved since, and is followed.
                    Value::ServerError(_) => {
                        self.ask(place, &Request::read(place.read(layout::LONGEST + 1))).await?.value
                    }
                    answer => answer,
                };
                let Value::BulkString(value) = answer else { continue };
                match layout::entry(key, value) {
                    Ok((entry, _)) if !entry.deadline.has_passed(now) => entries.push((*key, entry)),
                    Ok(_) | Err(layout::NoEntry::Foreign) => {}
                    Err(layout::NoEntry::Mixed) => return Err(unavailable(answers.mixed())),
                }
            }
        }
        Ok(entries)
    }
}

#[async_trait]
impl Scan for RedisStore {
    async fn page(&self, from: Option<&Cursor>, limit: usize, now: Timestamp) -> Result<Page, StoreError> {
        let servers: Vec<Arc<Node>> = self.servers.primaries(RECENT).await?;
        let fingerprint = self.servers.fingerprint();
        let start = || Position::start(fingerprint);
        let mut position =
            from.and_then(Position::read).filter(|at| at.fingerprint == fingerprint).unwrap_or_else(start);
        let Some(node) = servers.get(position.server) else {
            return Ok(Page { entries: Vec::new(), next: None });
        };
        let (keys, next) = self.names_from(node, &mut position, limit.clamp(1, LONGEST)).await?;
        let entries = self.fetch(node, &keys, now).await?;
        let next = match next {
            0 if position.server + 1 == servers.len() => None,
            0 => Some(Position { server: position.server + 1, run: None, cursor: 0, fingerprint }),
            cursor => Some(Position { cursor, ..position }),
        };
        Ok(Page { entries, next: next.map(|position| position.write()) })
    }

    /// All keys of the servers, ours or not.
    async fn count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for node in self.servers.primaries(RECENT).await? {
            let mut question = Pipeline::with_capacity(1);
            question.add_command(Cmd::new().arg("DBSIZE").to_owned());
            let answers = self.servers.ask_node(&node, &nowhere(), &question, 1).await?.all()?;
            match &answers.values[..] {
                [Value::Int(keys)] => count += u64::try_from(*keys).unwrap_or_default(),
                _ => return Err(unavailable(answers.mixed())),
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let position = Position { fingerprint: 0xabc, server: 2, run: Some("f00".into()), cursor: u64::MAX };
        assert_eq!(Position::read(&position.write()), Some(position));
        assert_eq!(Position::read(&Position::start(7).write()), Some(Position::start(7)));
        for text in ["", "1", "1:2:3", "1:2:r:4:5", "x:0::0", "1:2:r:-4"] {
            assert_eq!(Position::read(&Cursor(text.into())), None, "{text}");
        }
    }
}
