//! Sessions in one table of PostgreSQL.
//!
//! * `options`, `url`, `tls`: where the server is, and how we know it.
//! * `target`: making a connection, and checking what is at its other end.
//! * `link`: one connection, shared by all who ask.
//! * `lane`: a place for a connection: made on demand, replaced when it breaks, asked within a time limit.
//! * `rest`: what all lanes do when the server cannot be reached.
//! * `queries`, `value`: each operation in SQL, and what goes into it and comes out.
//! * `schema`: the table.
//! * `failure`: what an error means for the question that was asked.
//!
//! Connections are chosen by the key, so what is asked about one entry is answered in the order of asking.

mod failure;
mod lane;
mod link;
mod options;
mod queries;
mod rest;
mod schema;
mod target;
mod tls;
mod url;
mod value;

pub use failure::{ConnectError, Said};
pub use options::{NoTableName, PostgresOptions, TableName};
pub use schema::{Migration, SchemaError};
pub use tls::OpenError;
pub use url::{PostgresUrl, UrlError};

use super::disk::Sync;
use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey, random};
use crate::store::{Cursor, Entry, Index, Page, Scan, Store, StoreError, Version, Written};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use failure::{Failure, NAME, unavailable};
use lane::Lane;
use queries::{Queries, Query};
use std::fmt;
use std::sync::Arc;
use target::Target;
use tokio_postgres::Row;
use value::Value;

/// The largest entry it takes: far above any session, far below what would hold up others on the same connection.
const MAX_ENTRY: usize = 1 << 20;

/// How many expired entries go in one transaction.
const SLICE: usize = 256;

/// How many entries are read at once in a walk.
const MAX_PAGE: usize = 256;

/// Tables that seem smaller are counted row by row.
const SMALL: u64 = 10_000;

/// A [`Store`] in PostgreSQL, which many proxies share.
pub struct PostgresStore {
    target: Arc<Target>,
    lanes: Box<[Arc<Lane>]>,
}

impl PostgresStore {
    /// Sets the store up. It connects when it is first asked.
    ///
    /// # Errors
    /// [`OpenError`] when TLS is needed and there are no certificates to trust.
    pub fn open(options: PostgresOptions) -> Result<Self, OpenError> {
        let lanes = options.connections.max(1);
        let target = Arc::new(Target::new(options)?);
        let lanes = (0..lanes).map(|_| Arc::new(Lane::new(Arc::clone(&target)))).collect();
        Ok(Self { target, lanes })
    }

    /// Makes the table, or brings it to the format of this version. May be repeated, and run by several at once.
    ///
    /// # Errors
    /// [`SchemaError`] when the server is out of reach, refuses, or has something else in that place.
    pub async fn migrate(&self) -> Result<Migration, SchemaError> {
        schema::migrate(&self.target).await
    }

    /// Whether the table is there and has the format of this version. Every new connection of the store checks it too.
    ///
    /// # Errors
    /// [`SchemaError`] says what is missing and what to do.
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        self.target.connect().await?;
        Ok(())
    }

    fn queries(&self) -> &Queries {
        &self.target.queries
    }

    /// Asks on the connection that belongs to a key, which is a digest: any of its bytes is a good choice.
    async fn ask(&self, digest: &[u8; 32], query: &Query, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let [.., high, low] = *digest;
        let place = usize::from(u16::from_be_bytes([high, low])) % self.lanes.len();
        self.lanes[place].ask(query, values).await
    }

    /// Removes an entry that was met after its deadline, so that a clock that steps back does not revive it (SL13).
    async fn expire(&self, key: &StoreKey, now: Timestamp) -> Result<bool, StoreError> {
        let values = [Value::key(key), Value::moment(now)];
        Ok(!self.ask(key.as_bytes(), &self.queries().expire, &values).await?.is_empty())
    }

    async fn find(&self, key: &StoreKey) -> Result<Option<(Entry, Version)>, StoreError> {
        let rows = self.ask(key.as_bytes(), &self.queries().load, &[Value::key(key)]).await?;
        rows.first().map(value::read_entry).transpose().map_err(|malformed| unavailable(Failure::from(malformed)))
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresStore({:?})", self.target)
    }
}

fn check_size(entry: &Entry) -> Result<(), StoreError> {
    let size = entry.bytes.len();
    if size > MAX_ENTRY {
        return Err(StoreError::TooLarge { store: NAME, size, limit: MAX_ENTRY });
    }
    Ok(())
}

fn malformed<E: Into<Failure>>(error: E) -> StoreError {
    unavailable(error.into())
}

#[async_trait]
impl Store for PostgresStore {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        let found = self.find(key).await?;
        if found.as_ref().is_none_or(|(entry, _)| !entry.deadline.has_passed(now)) {
            return Ok(found);
        }
        if self.expire(key, now).await? {
            return Ok(None);
        }
        // Somebody was faster: removed it, or gave it a new deadline.
        Ok(self.find(key).await?.filter(|(entry, _)| !entry.deadline.has_passed(now)))
    }

    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        check_size(&entry)?;
        // Positive, and far from the end: it counts on from here.
        let first = u64::from_be_bytes(random().map_err(malformed)?) >> 2;
        let values = [
            Value::key(key),
            Value::version(Version(first)),
            Value::moment(entry.deadline),
            Value::bucket(entry.deadline),
            Value::Owner(entry.owner.as_ref()),
            Value::Bytes(&entry.bytes),
            Value::moment(now),
        ];
        let queries = self.queries();
        let query = if entry.owner.is_some() { &queries.create_owned } else { &queries.create };
        let rows = self.ask(key.as_bytes(), query, &values).await?;
        let version = rows.first().map(value::read_version).transpose().map_err(malformed)?;
        Ok(version.flatten().map_or(Written::Conflict, Written::Done))
    }

    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        check_size(&entry)?;
        let values = [
            Value::key(key),
            Value::version(expected),
            Value::moment(entry.deadline),
            Value::bucket(entry.deadline),
            Value::Owner(entry.owner.as_ref()),
            Value::Bytes(&entry.bytes),
            Value::moment(now),
        ];
        let rows = self.ask(key.as_bytes(), &self.queries().replace, &values).await?;
        let row = rows.first().ok_or_else(|| malformed(value::Malformed))?;
        if let Some(version) = value::read_version(row).map_err(malformed)? {
            return Ok(Written::Done(version));
        }
        match value::read_deadline(row, 1).map_err(malformed)? {
            None => Ok(Written::Gone),
            Some(deadline) if deadline.has_passed(now) && self.expire(key, now).await? => Ok(Written::Gone),
            Some(_) => Ok(Written::Conflict),
        }
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.ask(key.as_bytes(), &self.queries().delete, &[Value::key(key)]).await?;
        Ok(())
    }

    /// Works in slices, each its own transaction; fewer than `limit` removed means that none is left, or only such that
    /// somebody is just writing.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut removed = 0;
        while removed < limit {
            let slice = SLICE.min(limit - removed);
            let values = [Value::bucket(now), Value::moment(now), Value::Long(i64::try_from(slice).unwrap_or(0))];
            // The last connection, so that visitors on the others do not wait behind it.
            let last = &self.lanes[self.lanes.len() - 1];
            let rows = last.ask(&self.queries().sweep, &values).await?;
            let swept = rows.first().map_or(Ok(0), value::read_count).map_err(malformed)?;
            let swept = usize::try_from(swept).unwrap_or(slice).min(slice);
            removed += swept;
            if swept < slice {
                break;
            }
        }
        Ok(removed)
    }

    fn index(&self) -> Option<&dyn Index> {
        Some(self)
    }

    fn scan(&self) -> Option<&dyn Scan> {
        Some(self)
    }

    fn promise(&self) -> &'static str {
        match self.target.options.sync {
            Sync::Always => {
                "an acknowledged update survives a crash of the proxy and of the PostgreSQL server; a failover to a \
                 replica that is not synchronous may take back the last ones, and revive an ended session"
            }
            Sync::Interval => {
                "an acknowledged update survives a crash of the proxy; a crash of the PostgreSQL server takes back at \
                 most the last second (three times its wal_writer_delay), but no login and no logout; a failover to a \
                 replica that is not synchronous may take back more, and revive an ended session"
            }
            Sync::Never => {
                "an acknowledged update survives a crash of the proxy; a crash of the PostgreSQL server takes back at \
                 most the last second (three times its wal_writer_delay), logins and logouts included; a failover to a \
                 replica that is not synchronous may take back more"
            }
        }
    }
}

#[async_trait]
impl Index for PostgresStore {
    async fn keys_of(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, StoreError> {
        let values = [Value::Owner(Some(owner)), Value::moment(now)];
        let rows = self.ask(owner.as_bytes(), &self.queries().keys_of, &values).await?;
        rows.iter().map(|row| value::read_key(row, 0)).collect::<Result<_, _>>().map_err(malformed)
    }
}

#[async_trait]
impl Scan for PostgresStore {
    /// In the order of the keys, so nothing that stays is missed; the cursor is the last key of the page.
    async fn page(&self, from: Option<&Cursor>, limit: usize, now: Timestamp) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let from = from.map(read_cursor).transpose().map_err(unavailable)?;
        let size = Value::Long(i64::try_from(limit).unwrap_or(1));
        let last = &self.lanes[self.lanes.len() - 1];
        let rows = match &from {
            None => last.ask(&self.queries().first_page, &[Value::moment(now), size]).await?,
            Some(key) => last.ask(&self.queries().page, &[Value::moment(now), size, Value::key(key)]).await?,
        };
        let read = |row: &Row| Ok((value::read_key(row, 4)?, value::read_entry(row)?.0));
        let entries: Vec<_> = rows.iter().map(read).collect::<Result<_, value::Malformed>>().map_err(malformed)?;
        let end = entries.last().filter(|_| entries.len() >= limit);
        let next = end.map(|(key, _)| Cursor(URL_SAFE_NO_PAD.encode(key.as_bytes())));
        Ok(Page { entries, next })
    }

    /// What the server's statistics say, or the exact number where that is small.
    async fn count(&self) -> Result<u64, StoreError> {
        let last = &self.lanes[self.lanes.len() - 1];
        let name = self.target.options.table.quoted();
        let rows = last.ask(&self.queries().estimate, &[Value::Text(&name)]).await?;
        let estimate = rows.first().map_or(Ok(0), value::read_count).map_err(malformed)?;
        if estimate >= SMALL {
            return Ok(estimate);
        }
        let rows = last.ask(&self.queries().count, &[]).await?;
        rows.first().map_or(Ok(0), value::read_count).map_err(malformed)
    }
}

fn read_cursor(cursor: &Cursor) -> Result<StoreKey, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(&cursor.0).map_err(|_| Failure::NoCursor)?;
    bytes.try_into().map(StoreKey::from_bytes).map_err(|_| Failure::NoCursor)
}
