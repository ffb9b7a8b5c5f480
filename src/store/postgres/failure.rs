//! What went wrong, and what that means for the question that was asked.

use super::TableName;
use super::value::Malformed;
use crate::session::NoRandomness;
use crate::store::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// What the store is called in errors.
pub(super) const NAME: &str = "postgres";

/// Why there is no connection, or no usable one.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server cannot be reached, or does not let us in.
    #[error("cannot connect to the PostgreSQL server")]
    Refused(#[source] tokio_postgres::Error),
    /// It accepts the connection and says nothing.
    #[error("the PostgreSQL server did not answer within {0:?} when it was called")]
    Silent(Duration),
    /// The table is missing.
    #[error("there is no table `{table}` in the database: run `cloakroom store migrate NAME` for this store")]
    NoTable {
        /// The table.
        table: TableName,
    },
    /// The table was made by a later version.
    #[error(
        "the table `{table}` has format {found}, this version of cloakroom knows {known}: run `cloakroom store migrate \
         NAME` of the version that wrote it, or use that version"
    )]
    Newer {
        /// The table.
        table: TableName,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The table is one of somebody else's; it was left as it was.
    #[error("the table `{table}` is not a session table: expected the comment `{expected}` on it; choose another name")]
    Foreign {
        /// The table.
        table: TableName,
        /// What its comment begins with when it is ours.
        expected: &'static str,
    },
    /// The system has no randomness.
    #[error("no connection without randomness")]
    NoRandomness(#[source] NoRandomness),
}

/// Why a question was not answered, where the client crate does not say it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no connection")]
    NotConnected(#[source] Arc<ConnectError>),
    #[error("{0} questions wait for an answer already")]
    Crowded(u64),
    #[error("the connection was given up with its runtime")]
    Deserted,
    #[error("the place to go on from is none that this store gave: expected 43 characters of base64url")]
    NoCursor,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

pub(super) fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unavailable { store: NAME, source: source.into() }
}

pub(super) fn lost(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Lost { store: NAME, source: source.into() }
}

/// What an error says about the statement and about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was done, and asking again would not help.
    Refused,
    /// Nothing was done, for want of space.
    Full,
    /// Nothing was done, because another transaction was in the way.
    Contended,
    /// Nothing was done, and another connection may be luckier: this one leads to a server that takes no writes, or
    /// holds statements for a table that has changed.
    Stale,
    /// The connection is broken; the statement may have been done.
    Broken,
}

/// Judges an error of the client crate.
pub(super) fn judge(error: &tokio_postgres::Error) -> Verdict {
    let Some(refusal) = error.as_db_error() else { return Verdict::Broken };
    if !is_certain(refusal) {
        return Verdict::Broken;
    }
    match *refusal.code() {
        SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY => Verdict::Full,
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => Verdict::Contended,
        SqlState::READ_ONLY_SQL_TRANSACTION
        | SqlState::UNDEFINED_TABLE
        | SqlState::UNDEFINED_COLUMN
        | SqlState::INVALID_SCHEMA_NAME
        | SqlState::FEATURE_NOT_SUPPORTED
        | SqlState::INVALID_SQL_STATEMENT_NAME
        | SqlState::DUPLICATE_PSTATEMENT => Verdict::Stale,
        _ => Verdict::Refused,
    }
}

/// An error that leaves the connection alive has rolled the statement back. One that ends it may have come from a pooler
/// that lost its server in the middle, and says nothing about the statement.
fn is_certain(refusal: &DbError) -> bool {
    let is_error = match refusal.parsed_severity() {
        Some(severity) => severity == Severity::Error,
        None => refusal.severity() == "ERROR",
    };
    is_error && !refusal.code().code().starts_with("08")
}
