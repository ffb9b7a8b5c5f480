//! The owner index: a sorted set for each owner, in which a session is listed before it is written.
//!
//! A set may list more than there is, never less. So it is verified entry by entry when it is read, and an entry leaves it
//! only when nothing can be there any more: when the session that carries its number was removed, or when the time has
//! passed until which it was listed. That time lies well behind the deadline, so that a deadline which moves does not
//! touch the set; what moves beyond it is listed anew first.

use super::RedisStore;
use super::entries::life;
use super::failure::Failure;
use super::layout::{self, Head, LONG, Listed, NoEntry};
use super::names::Place;
use super::scripts::ENLISTING;
use super::servers::{Request, unavailable};
use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey, random};
use crate::store::{Index, StoreError};
use async_trait::async_trait;
use redis::{Cmd, Pipeline, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A listing outlives the deadline by as much again, within these bounds.
const SHORTEST_MARGIN: Duration = Duration::from_secs(600);
const LONGEST_MARGIN: Duration = Duration::from_secs(30 * 86_400);

/// How long a listing stays after its time, in milliseconds, as clocks differ.
const AFTERWARDS: u64 = 60_000;

/// How much of a set, and how many sessions, are asked for at once.
const BATCH: usize = 256;

/// The largest number that a score holds exactly.
const LARGEST_SCORE: u64 = 1 << 53;

/// So often the sessions of an owner are looked at anew because they changed meanwhile.
const LOOKS: usize = 8;

/// A write that is done waits no longer than this for the end of a listing, which does no harm if it stays.
const PATIENCE: Duration = Duration::from_millis(100);

/// The key, and the number of the listing.
const MEMBER: usize = 40;

fn member(key: &StoreKey, number: [u8; 8]) -> [u8; MEMBER] {
    let mut member = [0; MEMBER];
    member[..32].copy_from_slice(key.as_bytes());
    member[32..].copy_from_slice(&number);
    member
}

impl RedisStore {
    /// Lists a key under an owner for at least as long as an entry with this deadline may live; under the number that it
    /// has there already, if it has one.
    pub(super) async fn enlist(
        &self,
        key: &StoreKey,
        owner: &OwnerKey,
        before: Option<Listed>,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Result<Listed, StoreError> {
        let number = match before {
            Some(before) => before.number,
            None => random().map_err(|_| unavailable(Failure::NoRandomness))?,
        };
        let until = deadline.after(now.until(deadline).clamp(SHORTEST_MARGIN, LONGEST_MARGIN));
        let cutoff = now.as_millis().min(LARGEST_SCORE).saturating_sub(AFTERWARDS).to_string();
        let score = until.as_millis().min(LARGEST_SCORE).to_string();
        let (ttl, member) = (life(until, now), member(key, number));
        let arguments = [cutoff.as_bytes(), score.as_bytes(), ttl.as_bytes(), &member];
        self.run(&ENLISTING, &self.names.owner(owner), layout::tag(owner.as_bytes()), &arguments).await?;
        Ok(Listed { owner: *owner, number, until })
    }

    /// Takes a key off a list on which nothing is any more. If that fails, or takes long, as the list may lie on a server
    /// that is in trouble, the listing goes when its time has passed: what was written is written all the same.
    pub(super) async fn strike(&self, key: &StoreKey, listed: Option<Listed>) {
        let Some(listed) = listed else { return };
        let place = self.names.owner(&listed.owner);
        let mut remove = Cmd::new();
        remove.arg("ZREM").arg(&place.name).arg(&member(key, listed.number)[..]);
        // Repeating it does no harm, so it counts as a read.
        let request = Request::read(remove);
        let _ = tokio::time::timeout(self.servers.limit().min(PATIENCE), self.ask(&place, &request)).await;
    }

    /// Who is listed, and whether all were seen in the same moment.
    async fn listed(&self, place: &Place) -> Result<(BTreeSet<StoreKey>, bool), StoreError> {
        let (mut listed, mut cursor, mut at_once) = (BTreeSet::new(), b"0".to_vec(), true);
        loop {
            let mut question = Cmd::new();
            question.arg("ZSCAN").arg(&place.name).arg(&cursor).arg("COUNT").arg(BATCH);
            let answer = self.ask(place, &Request::read(question)).await?;
            let Some((next, members)) = page(&answer.value) else { return Err(unavailable(answer.mixed())) };
            listed.extend(members);
            if next == b"0" {
                return Ok((listed, at_once));
            }
            (cursor, at_once) = (next, false);
        }
    }

    /// Which of the keys are those of live entries of the owner.
    async fn living(
        &self,
        keys: &BTreeSet<StoreKey>,
        owner: &OwnerKey,
        now: Timestamp,
    ) -> Result<Vec<StoreKey>, StoreError> {
        let lives = |head: Option<Head>| {
            head.is_some_and(|head| {
                head.listed.is_some_and(|listed| listed.owner == *owner) && !head.deadline.has_passed(now)
            })
        };
        let keys: Vec<StoreKey> = keys.iter().copied().collect();
        let mut live = Vec::with_capacity(keys.len());
        for some in keys.chunks(BATCH) {
            let heads = some.iter().zip(self.heads(some).await?);
            live.extend(heads.filter(|(_, head)| lives(*head)).map(|(key, _)| *key));
        }
        Ok(live)
    }

    /// The heads of entries, asked for server by server.
    async fn heads(&self, keys: &[StoreKey]) -> Result<Vec<Option<Head>>, StoreError> {
        let places: Vec<Place> = keys.iter().map(|key| self.names.session(key)).collect();
        let mut by_node = BTreeMap::new();
        for (at, place) in places.iter().enumerate() {
            let node = self.servers.holder(place).await?;
            by_node.entry(node.address.clone()).or_insert((node, Vec::new())).1.push(at);
        }
        let mut heads = vec![None; keys.len()];
        for (node, asked) in by_node.into_values() {
            let mut questions = Pipeline::with_capacity(asked.len());
            for at in &asked {
                questions.add_command(places[*at].read(LONG));
            }
            let mut answers = self.servers.ask_node(&node, &places[asked[0]], &questions, asked.len()).await?;
            for (at, answer) in asked.into_iter().zip(std::mem::take(&mut answers.values)) {
                // Alone, it is followed to wherever it went.
                let answer = match answer {
                    Value::ServerError(_) => self.ask(&places[at], &Request::read(places[at].read(LONG))).await?.value,
                    answer => answer,
                };
                heads[at] = read_head(&keys[at], &answer).map_err(|Mixed| unavailable(answers.mixed()))?;
            }
        }
        Ok(heads)
    }
}

/// An answer belongs to another request.
struct Mixed;

fn read_head(key: &StoreKey, answer: &Value) -> Result<Option<Head>, Mixed> {
    match answer {
        Value::Nil => Ok(None),
        Value::BulkString(value) => match Head::read(key, value) {
            Ok((head, _)) => Ok(Some(head)),
            Err(NoEntry::Foreign) => Ok(None),
            Err(NoEntry::Mixed) => Err(Mixed),
        },
        _ => Err(Mixed),
    }
}

#[async_trait]
impl Index for RedisStore {
    /// Looks again while what is seen changes. A session that gets another id is listed under the new one before it leaves
    /// the old one; so who finds nothing under the old one, or has read the list page by page, may have missed it, and
    /// would find it now.
    async fn keys_of(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, StoreError> {
        let (place, mut before) = (self.names.owner(owner), None);
        for _ in 0..LOOKS {
            let (listed, at_once) = self.listed(&place).await?;
            let live = self.living(&listed, owner, now).await?;
            if at_once && live.len() == listed.len() {
                return Ok(live);
            }
            let seen = (listed, live);
            if before.as_ref() == Some(&seen) {
                return Ok(seen.1);
            }
            before = Some(seen);
        }
        // They come and go faster than they can be looked at: whoever must find all of them looks again.
        Ok(before.map(|(_, live)| live).unwrap_or_default())
    }
}

/// The next cursor and the keys of a page of a set.
fn page(answer: &Value) -> Option<(Vec<u8>, Vec<StoreKey>)> {
    // The set has gone, or is none of ours.
    if *answer == Value::Nil {
        return Some((b"0".to_vec(), Vec::new()));
    }
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(next), Value::Array(members)] = &parts[..] else { return None };
    let keys = members.iter().step_by(2).filter_map(|member| match member {
        Value::BulkString(member) if member.len() == MEMBER => {
            member.first_chunk().map(|key| StoreKey::from_bytes(*key))
        }
        _ => None,
    });
    Some((next.clone(), keys.collect()))
}
