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
    #[error("cannot connect to the PostgreSQL server {server}")]
    Refused {
        /// Where it is.
        server: String,
        /// What it said, or the network.
        #[source]
        source: Said,
    },
    /// It accepts the connection and says nothing.
    #[error("the PostgreSQL server {server} did not answer within {limit:?} when it was called")]
    Silent {
        /// Where it is.
        server: String,
        /// The limit that passed.
        limit: Duration,
    },
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

/// What the server or the connection said, as a log may repeat it.
///
/// A server quotes whole rows in the details of an error, and whatever it likes in its words: the details are left out, and
/// of the words a line is kept.
#[derive(Debug, thiserror::Error)]
pub enum Said {
    /// The server did not do it.
    #[error("it says {code}: {words}")]
    Refusal {
        /// Which error it is, in five characters.
        code: String,
        /// Its words.
        words: String,
    },
    /// There was no answer, or none that makes sense.
    #[error(transparent)]
    Client(tokio_postgres::Error),
}

impl Said {
    /// More than this of a server's words is never shown.
    const LONGEST: usize = 160;

    /// What it says, where its number says nothing more.
    pub(super) fn into_words(self) -> String {
        match self {
            Self::Refusal { words, .. } => words,
            Self::Client(error) => error.to_string(),
        }
    }

    fn visible(text: &str) -> String {
        text.chars().filter(|c| matches!(c, ' '..='~')).take(Self::LONGEST).collect()
    }
}

impl From<tokio_postgres::Error> for Said {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => {
                Self::Refusal { code: Self::visible(said.code().code()), words: Self::visible(said.message()) }
            }
            None => Self::Client(error),
        }
    }
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
