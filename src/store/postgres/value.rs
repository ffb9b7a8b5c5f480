//! Values on the way to the server and back.

use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use crate::store::{Entry, Version};
use bytes::{Bytes, BytesMut};
use std::error::Error;
use std::fmt;
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// How long a bucket of the sweep's index is: what expires within it shares one value, so that most updates change no
/// indexed column. Short, because a sweep looks through the bucket of the present moment row by row.
const BUCKET_MILLIS: i64 = 10 * 60 * 1000;

/// A value for a statement.
///
/// Its `Debug` shows nothing: the client crate writes parameters into its log.
pub(super) enum Value<'a> {
    Bytes(&'a [u8]),
    Owner(Option<&'a OwnerKey>),
    Long(i64),
    Int(i32),
    Text(&'a str),
}

impl<'a> Value<'a> {
    pub(super) fn key(key: &'a StoreKey) -> Self {
        Self::Bytes(key.as_bytes())
    }

    pub(super) fn moment(moment: Timestamp) -> Self {
        Self::Long(to_sql(moment))
    }

    /// In which bucket of the sweep's index a moment lies.
    pub(super) fn bucket(moment: Timestamp) -> Self {
        Self::Int(i32::try_from(to_sql(moment) / BUCKET_MILLIS).unwrap_or(i32::MAX))
    }

    pub(super) fn version(version: Version) -> Self {
        Self::Long(version.0.cast_signed())
    }

    pub(super) const fn kind(&self) -> Type {
        match self {
            Self::Bytes(_) | Self::Owner(_) => Type::BYTEA,
            Self::Long(_) => Type::INT8,
            Self::Int(_) => Type::INT4,
            Self::Text(_) => Type::TEXT,
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(..)")
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Bytes(bytes) => bytes.to_sql(kind, out),
            Self::Owner(owner) => owner.map(|owner| &owner.as_bytes()[..]).to_sql(kind, out),
            Self::Long(number) => number.to_sql(kind, out),
            Self::Int(number) => number.to_sql(kind, out),
            Self::Text(text) => text.to_sql(kind, out),
        }
    }

    fn accepts(_kind: &Type) -> bool {
        true // the statements and what they are given stand side by side in this store
    }

    to_sql_checked!();
}

/// A row that we would not have written.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a row of the table is not as it was written: expected a key of 32 bytes, an owner of 32 or none")]
pub(super) struct Malformed;

/// `ver, expires, owner, data`.
pub(super) fn read_entry(row: &Row) -> Result<(Entry, Version), Malformed> {
    let version: i64 = get(row, 0)?;
    let owner: Option<&[u8]> = get(row, 2)?;
    let owner = owner.map(|owner| owner.try_into().map(OwnerKey::from_bytes)).transpose().map_err(|_| Malformed)?;
    let bytes = Bytes::copy_from_slice(get(row, 3)?);
    Ok((Entry { bytes, deadline: from_sql(get(row, 1)?), owner }, Version(version.cast_unsigned())))
}

/// A version, if the first column has one.
pub(super) fn read_version(row: &Row) -> Result<Option<Version>, Malformed> {
    let version: Option<i64> = get(row, 0)?;
    Ok(version.map(|version| Version(version.cast_unsigned())))
}

/// A deadline, if this column has one.
pub(super) fn read_deadline(row: &Row, column: usize) -> Result<Option<Timestamp>, Malformed> {
    let millis: Option<i64> = get(row, column)?;
    Ok(millis.map(from_sql))
}

/// A key in this column.
pub(super) fn read_key(row: &Row, column: usize) -> Result<StoreKey, Malformed> {
    let bytes: &[u8] = get(row, column)?;
    bytes.try_into().map(StoreKey::from_bytes).map_err(|_| Malformed)
}

/// A number that counts something.
pub(super) fn read_count(row: &Row) -> Result<u64, Malformed> {
    get(row, 0).map(|count: i64| u64::try_from(count).unwrap_or(0))
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Malformed> {
    row.try_get(column).map_err(|_| Malformed)
}

/// PostgreSQL's integers are signed: what lies beyond them is the end of time.
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

    #[test]
    fn no_value_shows_in_a_log() {
        let key = StoreKey::from_bytes([7; 32]);
        assert_eq!(format!("{:?}", [Value::key(&key), Value::Text("ann")]), "[Value(..), Value(..)]");
    }
}
