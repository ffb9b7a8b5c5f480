//! The owner index: lists that are written before the sessions they name.

use super::connection::{Answer, Ask, Request};
use super::failure::Failure;
use super::item::{Item, ttl};
use super::list::{MOST, OwnerList};
use super::recent::Known;
use super::{MemcachedStore, TRIES};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::session::{OwnerKey, StoreKey};
use crate::store::{Entry, Index, StoreError};
use async_trait::async_trait;
use std::collections::HashSet;

/// How many sessions are asked for at once.
const TOGETHER: usize = 64;

#[async_trait]
impl Index for MemcachedStore {
    async fn keys_of(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, StoreError> {
        self.find_keys(owner, now).await.map_err(|failure| failure.into_error(self.timeout))
    }
}

/// What became of the keys on a list.
#[derive(Default)]
struct Sorted {
    live: Vec<StoreKey>,
    /// Not there, or somebody else's. What has expired by our clock alone stays on the list.
    dead: HashSet<StoreKey>,
}

impl MemcachedStore {
    /// Makes sure that the owner's list names `key` for as long as `entry` may live, and says until when it does.
    ///
    /// The list is told a longer life than the entry has, so that a session in use enters it once in a while and not with
    /// every write.
    pub(super) async fn list(
        &self,
        key: &StoreKey,
        entry: &Entry,
        known: Option<&Known>,
        now: Timestamp,
    ) -> Result<Timestamp, Failure> {
        let Some(owner) = &entry.owner else { return Ok(Timestamp::default()) };
        if let Some(known) = known
            && known.owner == entry.owner
            && entry.deadline <= known.listed_until
        {
            return Ok(known.listed_until);
        }
        let until = entry.deadline.after(now.until(entry.deadline));
        self.enter(owner, key, until, now).await?;
        Ok(until)
    }

    async fn enter(&self, owner: &OwnerKey, key: &StoreKey, until: Timestamp, now: Timestamp) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let (mut list, unique) = match self.ask_owner(owner, Ask::Get).await.map_err(Failure::of_a_read)? {
                Answer::Found(value, unique) => (OwnerList::decode(owner, &value)?, Some(unique)),
                _ => (OwnerList::default(), None),
            };
            list.drop_passed(now);
            if list.is_full() && !list.names(key) {
                let sorted = self.sort_out(owner, &list, now).await?;
                list.drop_dead(&sorted.dead, now);
                if list.is_full() {
                    return Err(Failure::ListFull(MOST));
                }
            }
            list.enter(*key, until, now);
            let (value, ttl) = (list.encode(owner), ttl(list.until(), now, SystemClock.now()));
            let ask = unique.map_or(Ask::Create(value.clone(), ttl), |unique| Ask::Replace(unique, value, ttl));
            if let Answer::Done(_) = self.ask_owner(owner, ask).await? {
                return Ok(());
            }
        }
        Err(Failure::Crowded)
    }

    async fn find_keys(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, Failure> {
        let answer = self.ask_owner(owner, Ask::Get).await.map_err(Failure::of_a_read)?;
        let Answer::Found(value, unique) = answer else { return Ok(Vec::new()) };
        let mut list = OwnerList::decode(owner, &value)?;
        let sorted = self.sort_out(owner, &list, now).await?;
        if list.drop_dead(&sorted.dead, now) {
            let ttl = ttl(list.until(), now, SystemClock.now());
            // Whether it succeeds or not: the next one who looks tidies up as well.
            let _ = self.ask_owner(owner, Ask::Replace(unique, list.encode(owner), ttl)).await;
        }
        Ok(sorted.live)
    }

    /// Looks every session on the list up.
    async fn sort_out(&self, owner: &OwnerKey, list: &OwnerList, now: Timestamp) -> Result<Sorted, Failure> {
        let mut sorted = Sorted::default();
        let keys: Vec<StoreKey> = list.keys().collect();
        for keys in keys.chunks(TOGETHER) {
            let mut under_way = Vec::with_capacity(keys.len());
            for key in keys {
                let request = Request { key: self.names.session(key), ask: Ask::Get };
                let link = self.link(key.as_bytes())?;
                under_way.push((key, link, link.post(request.clone()).await, request));
            }
            for (key, link, pending, request) in under_way {
                match link.settle(pending, request).await.map_err(Failure::of_a_read)? {
                    Answer::Found(value, _) => {
                        let Item { entry, .. } = Item::decode(key, &value)?;
                        if entry.owner != Some(*owner) {
                            sorted.dead.insert(*key);
                        } else if !entry.deadline.has_passed(now) {
                            sorted.live.push(*key);
                        }
                    }
                    _ => drop(sorted.dead.insert(*key)),
                }
            }
        }
        Ok(sorted)
    }

    async fn ask_owner(&self, owner: &OwnerKey, ask: Ask) -> Result<Answer, Failure> {
        self.link(owner.as_bytes())?.ask(Request { key: self.names.owner(owner), ask }).await
    }
}
