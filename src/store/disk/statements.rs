//! Each operation of the store in SQL: one statement decides and writes, whoever else writes the file.
//!
//! Statements are prepared once per connection. An entry that is met after its deadline is removed.

use super::writer::{Change, Effects};
use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use crate::store::{Entry, Version, Written};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

/// The entry under `key`, expired or not.
pub(super) fn find(db: &Connection, key: &StoreKey) -> Result<Option<(Entry, Version)>> {
    let mut select = db.prepare_cached("SELECT version, deadline, owner, bytes FROM sessions WHERE key = ?1")?;
    select.query_row([key.as_bytes()], read_entry).optional()
}

/// The keys of the owner's live entries.
pub(super) fn keys_of(db: &Connection, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>> {
    let mut select = db.prepare_cached("SELECT key FROM sessions WHERE owner = ?1 AND deadline >= ?2")?;
    select.query_map(params![owner.as_bytes(), to_sql(now)], read_key)?.collect()
}

/// Up to `limit` entries behind the key `from`, expired or not, in the order of their keys.
pub(super) fn page(db: &Connection, from: Option<&StoreKey>, limit: usize) -> Result<Vec<(StoreKey, Entry)>> {
    let mut select = db.prepare_cached(
        "SELECT version, deadline, owner, bytes, key FROM sessions WHERE key > ?1 ORDER BY key LIMIT ?2",
    )?;
    // No key is as short as the empty one, which comes before all others.
    let from: &[u8] = from.map_or(&[], |key| key.as_bytes());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let read = |row: &Row<'_>| Ok((StoreKey::from_bytes(row.get(4)?), read_entry(row)?.0));
    select.query_map(params![from, limit], read)?.collect()
}

/// How many entries there are, expired ones included.
pub(super) fn count(db: &Connection) -> Result<u64> {
    let count: i64 = db.prepare_cached("SELECT count(*) FROM sessions")?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Versions begin at random and count on from there, so that none fits an entry that was made anew under its key; a
/// stored counter would cost every commit another page.
pub(super) fn create(
    db: &Connection,
    key: &StoreKey,
    entry: Entry,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<Written> {
    let mut insert = db.prepare_cached(
        "INSERT INTO sessions (key, version, deadline, owner, bytes)
         VALUES (?1, random() & 0x3fffffffffffffff, ?2, ?3, ?4)
         ON CONFLICT (key) DO UPDATE
         SET version = version + 1, deadline = excluded.deadline, owner = excluded.owner, bytes = excluded.bytes
         WHERE deadline < ?5
         RETURNING version",
    )?;
    let owner = entry.owner.as_ref().map(OwnerKey::as_bytes);
    let values = params![key.as_bytes(), to_sql(entry.deadline), owner, &entry.bytes[..], to_sql(now)];
    let Some(version) = insert.query_row(values, read_version).optional()? else {
        return Ok(Written::Conflict);
    };
    effects.push(*key, Change::Put(entry, version));
    Ok(Written::Done(version))
}

pub(super) fn replace(
    db: &Connection,
    key: &StoreKey,
    entry: Entry,
    expected: Version,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<Written> {
    // What is set is written into its index again, though it be the same: nearly always the owner stays.
    const SAME_OWNER: &str = "UPDATE sessions SET version = version + 1, deadline = ?2, bytes = ?4
         WHERE key = ?1 AND version = ?5 AND deadline >= ?6 AND owner IS ?3
         RETURNING version";
    const OTHER_OWNER: &str = "UPDATE sessions SET version = version + 1, deadline = ?2, owner = ?3, bytes = ?4
         WHERE key = ?1 AND version = ?5 AND deadline >= ?6
         RETURNING version";
    let owner = entry.owner.as_ref().map(OwnerKey::as_bytes);
    let expected = expected.0.cast_signed();
    for statement in [SAME_OWNER, OTHER_OWNER] {
        let mut update = db.prepare_cached(statement)?;
        let values = params![key.as_bytes(), to_sql(entry.deadline), owner, &entry.bytes[..], expected, to_sql(now)];
        if let Some(version) = update.query_row(values, read_version).optional()? {
            effects.push(*key, Change::Put(entry, version));
            return Ok(Written::Done(version));
        }
    }
    match expire(db, key, now, effects)? {
        Some(_) => Ok(Written::Conflict),
        None => Ok(Written::Gone),
    }
}

pub(super) fn delete(db: &Connection, key: &StoreKey, effects: &mut Effects) -> Result<()> {
    db.prepare_cached("DELETE FROM sessions WHERE key = ?1")?.execute([key.as_bytes()])?;
    effects.push(*key, Change::Gone);
    effects.sync_now();
    Ok(())
}

/// Removes the entry if it has expired; otherwise it is the answer.
pub(super) fn expire(
    db: &Connection,
    key: &StoreKey,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<Option<(Entry, Version)>> {
    let mut delete = db.prepare_cached("DELETE FROM sessions WHERE key = ?1 AND deadline < ?2")?;
    if delete.execute(params![key.as_bytes(), to_sql(now)])? > 0 {
        effects.push(*key, Change::Gone);
        return Ok(None);
    }
    find(db, key)
}

pub(super) fn sweep(db: &Connection, now: Timestamp, limit: usize, effects: &mut Effects) -> Result<usize> {
    let mut delete = db.prepare_cached(
        "DELETE FROM sessions
         WHERE rowid IN (SELECT rowid FROM sessions WHERE deadline < ?1 ORDER BY deadline LIMIT ?2)
         RETURNING key",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut removed = 0;
    for key in delete.query_map([to_sql(now), limit], read_key)? {
        effects.push(key?, Change::Gone);
        removed += 1;
    }
    Ok(removed)
}

fn read_entry(row: &Row<'_>) -> Result<(Entry, Version)> {
    let owner: Option<[u8; 32]> = row.get(2)?;
    let bytes = Bytes::copy_from_slice(row.get_ref(3)?.as_blob()?);
    let entry = Entry { bytes, deadline: from_sql(row.get(1)?), owner: owner.map(OwnerKey::from_bytes) };
    Ok((entry, read_version(row)?))
}

fn read_version(row: &Row<'_>) -> Result<Version> {
    row.get(0).map(|version: i64| Version(version.cast_unsigned()))
}

fn read_key(row: &Row<'_>) -> Result<StoreKey> {
    row.get(0).map(StoreKey::from_bytes)
}

/// SQLite's integers are signed: what lies beyond them is the end of time.
fn to_sql(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)
}

fn from_sql(millis: i64) -> Timestamp {
    match millis {
        i64::MAX => Timestamp::NEVER,
        // A negative one was not written by us; it has passed, whatever it means.
        millis => Timestamp::from_millis(u64::try_from(millis).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back_as_they_went() {
        for millis in [0, 1, 1_800_000_000_000, i64::MAX as u64 - 1, u64::MAX] {
            let moment = Timestamp::from_millis(millis);
            assert_eq!(from_sql(to_sql(moment)), moment);
        }
        assert_eq!(to_sql(Timestamp::from_millis(i64::MAX as u64 + 7)), i64::MAX);
        assert_eq!(from_sql(-1), Timestamp::from_millis(0));
    }
}
