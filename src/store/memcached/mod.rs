//! Sessions in memcached: one or several servers, spoken to in the meta protocol.
//!
//! A session is one item, its owner's list another; both are written by compare-and-swap. A read is one round trip, and so
//! is a write that follows a read in this process. Each key has one server (see `ring.rs`) and one connection to it, so
//! that its commands keep their order.
//!
//! memcached cannot be walked reliably (its crawler is a debugging aid, and misses what moves), so there is no
//! [`Scan`](crate::store::Scan). It removes by itself what has expired, so there is nothing to sweep.

mod connection;
mod failure;
mod greeting;
mod index;
mod item;
mod link;
mod list;
mod names;
mod recent;
mod ring;
mod server;
pub mod wire;

pub use server::{MemcachedServer, NoServer};

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::session::{StoreKey, random};
use crate::store::{Entry, Index, Store, StoreError, Version, Written};
use async_trait::async_trait;
use connection::{Answer, Ask, Request, Unique};
use failure::Failure;
use item::{Item, ttl};
use link::{Link, Server};
use names::Names;
use recent::{Known, Recent};
use ring::Ring;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often a write is tried again because the item has changed under it.
const TRIES: usize = 64;

/// Where a memcached store lies and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemcachedOptions {
    /// The servers, at least one; each holds its share of the sessions.
    pub servers: Vec<MemcachedServer>,
    /// What every key begins with.
    pub key_prefix: String,
    /// Shared connections to each server, at least one.
    pub connections: usize,
    /// How long an answer, and a connection, may take.
    pub timeout: Duration,
}

/// A [`Store`] in memcached.
pub struct MemcachedStore {
    ring: Ring,
    /// The connections to each server of the ring.
    links: Vec<Vec<Link>>,
    names: Names,
    recent: Recent,
    timeout: Duration,
}

/// What became of an item that was put.
enum Put {
    Done(Version),
    /// There is no item to write over.
    Missing,
    /// There is another than was expected.
    Other,
}

impl MemcachedStore {
    /// A store that connects when it is asked for the first time.
    #[must_use]
    pub fn open(options: MemcachedOptions) -> Self {
        let MemcachedOptions { servers, key_prefix, connections, timeout } = options;
        let ring = Ring::new(&servers);
        let links = servers.into_iter().map(|address| {
            let server = Arc::new(Server::new(address, timeout));
            (0..connections.max(1)).map(|_| Link::new(Arc::clone(&server))).collect()
        });
        Self { ring, links: links.collect(), names: Names::new(&key_prefix), recent: Recent::new(), timeout }
    }

    /// The one connection for what is kept under `digest`.
    fn link(&self, digest: &[u8; 32]) -> Result<&Link, Failure> {
        let links = self.links.get(self.ring.place(digest)).ok_or(Failure::NoServer)?;
        links.get(usize::from(digest[16]) % links.len()).ok_or(Failure::NoServer)
    }

    async fn ask(&self, key: &StoreKey, ask: Ask) -> Result<Answer, Failure> {
        self.link(key.as_bytes())?.ask(Request { key: self.names.session(key), ask }).await
    }

    /// What lies under the key, expired or not.
    async fn look(&self, key: &StoreKey) -> Result<Option<(Item, Unique)>, Failure> {
        match self.ask(key, Ask::Get).await.map_err(Failure::of_a_read)? {
            Answer::Found(value, unique) => Ok(Some((Item::decode(key, &value)?, unique))),
            _ => Ok(None),
        }
    }

    /// What lives under the key; what has expired is removed, so that no clock brings it back (SL13).
    async fn look_live(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Item, Unique)>, Failure> {
        for _ in 0..TRIES {
            let Some((item, unique)) = self.look(key).await? else { return Ok(None) };
            if !item.entry.deadline.has_passed(now) {
                return Ok(Some((item, unique)));
            }
            // Only a change since then is a reason to look again: a removal that failed does not make it live.
            let removed = self.ask(key, Ask::DeleteIf(unique)).await;
            if !matches!(removed, Ok(Answer::Other)) {
                return Ok(None);
            }
        }
        Err(Failure::Crowded)
    }

    async fn put(&self, key: &StoreKey, item: &Item, over: Option<Unique>, now: Timestamp) -> Result<Put, Failure> {
        let (value, ttl) = (item.encode(key), ttl(item.entry.deadline, now, SystemClock.now()));
        let ask = match over {
            None => Ask::Create(value, ttl),
            Some(unique) => Ask::Replace(unique, value, ttl),
        };
        Ok(match self.ask(key, ask).await? {
            Answer::Done(unique) => {
                if let Some(unique) = unique {
                    self.recent.remember(key, Known::of(item, unique));
                }
                Put::Done(item.version)
            }
            Answer::Missing => Put::Missing,
            Answer::Other | Answer::Found(..) => Put::Other,
        })
    }

    async fn try_load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, Failure> {
        let Some((item, unique)) = self.look_live(key, now).await? else { return Ok(None) };
        self.recent.remember(key, Known::of(&item, unique));
        Ok(Some((item.entry, item.version)))
    }

    async fn try_create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, Failure> {
        let first = random().map_err(|error| Failure::NoRandomness(Arc::new(error)))?;
        // Half of all numbers are left to count on.
        let version = Version(u64::from_be_bytes(first) >> 1);
        let listed_until = self.list(key, &entry, None, now).await?;
        let item = Item { entry, version, listed_until };
        let mut over = None;
        for _ in 0..TRIES {
            if let Put::Done(version) = self.put(key, &item, over, now).await? {
                return Ok(Written::Done(version));
            }
            over = match self.look(key).await? {
                Some((found, _)) if !found.entry.deadline.has_passed(now) => return Ok(Written::Conflict),
                Some((_, unique)) => Some(unique),
                None => None,
            };
        }
        Err(Failure::Crowded)
    }

    async fn try_replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, Failure> {
        let mut item = Item { entry, version: Version(expected.0.wrapping_add(1)), listed_until: Timestamp::default() };
        let fits = |known: &Known| known.version == expected && !known.deadline.has_passed(now);
        let mut recent = self.recent.known(key).filter(fits);
        for _ in 0..TRIES {
            let known = match recent.take() {
                Some(known) => known,
                None => match self.look_live(key, now).await? {
                    Some((found, unique)) => Known::of(&found, unique),
                    None => return Ok(Written::Gone),
                },
            };
            if known.version != expected {
                return Ok(Written::Conflict);
            }
            item.listed_until = self.list(key, &item.entry, Some(&known), now).await?;
            match self.put(key, &item, Some(known.unique), now).await? {
                Put::Done(version) => return Ok(Written::Done(version)),
                Put::Missing => return Ok(Written::Gone),
                // Another writer, or only another connection since: what lies there now tells.
                Put::Other => {}
            }
        }
        Err(Failure::Crowded)
    }

    fn told<T>(&self, answer: Result<T, Failure>) -> Result<T, StoreError> {
        answer.map_err(|failure| failure.into_error(self.timeout))
    }
}

#[async_trait]
impl Store for MemcachedStore {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        self.told(self.try_load(key, now).await)
    }

    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        self.told(self.try_create(key, entry, now).await)
    }

    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        self.told(self.try_replace(key, entry, expected, now).await)
    }

    /// Final against writers who are under way: they write over a unique number that is no more.
    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.told(self.ask(key, Ask::Delete).await.map(drop))
    }

    async fn sweep(&self, _now: Timestamp, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }

    fn index(&self) -> Option<&dyn Index> {
        Some(self)
    }

    fn promise(&self) -> &'static str {
        "survives a restart of the proxy; a restart of memcached ends every session on that server, and memcached may push \
         out live ones when its memory is full"
    }
}

impl fmt::Debug for MemcachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemcachedStore({} servers)", self.links.len())
    }
}
