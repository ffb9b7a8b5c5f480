//! Why a request did not get an answer, in words for the operator.

use redis::{RedisError, ServerError};
use std::fmt;
use std::io;
use std::time::Duration;

/// What stands behind a [`StoreError`](crate::store::StoreError) of this store.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{server} cannot be reached")]
    Connect {
        server: String,
        #[source]
        source: io::Error,
    },
    #[error("{server} did not accept a connection within {limit:?}")]
    Slow { server: String, limit: Duration },
    #[error("{server} refuses the connection")]
    Login {
        server: String,
        #[source]
        source: Refusal,
    },
    #[error("{server} is a replica; the Sentinels have not agreed on another primary yet")]
    Replica { server: String },
    #[error("no Sentinel knows a primary by the name of `{name}`")]
    NoPrimary { name: String },
    #[error("no node of the cluster says which of them holds which sessions")]
    NoSlots,
    #[error("the server did not do it")]
    Refused(#[source] Refusal),
    #[error("the connection broke")]
    Broken(#[source] Quiet),
    #[error("an answer belongs to another request; the connection was closed")]
    Mixed,
    #[error("the connection was gone again before it could be used")]
    Gone,
    #[error("there was no connection within {limit:?}")]
    Waited { limit: Duration },
    #[error("the system's random source gave nothing")]
    NoRandomness,
}

impl Failure {
    /// Whether it may be over in a moment, so that waiting for that is worth while.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Login { source, .. } => source.code == "LOADING",
            _ => true,
        }
    }
}

/// What a server said instead of doing it.
///
/// Servers quote what they do not understand, and that may be a password or a key: their words are cut before that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The first word, such as `NOPERM`.
    pub(super) code: String,
    detail: String,
}

impl Refusal {
    /// More than this of a server's words is never shown.
    const LONGEST: usize = 160;

    pub(super) fn new(error: &ServerError) -> Self {
        Self::of(error.code(), error.details())
    }

    fn of(code: &str, detail: Option<&str>) -> Self {
        let detail = detail.unwrap_or_default();
        let detail = detail.split("with args").next().unwrap_or_default().trim_end_matches([',', ' ']);
        let visible = |text: &str| text.chars().filter(|c| matches!(c, ' '..='~')).take(Self::LONGEST).collect();
        Self { code: visible(code), detail: visible(detail) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it says {}", self.code)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl std::error::Error for Refusal {}

/// An error of the client, without what a server may have quoted in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Quiet {
    #[error(transparent)]
    Io(io::Error),
    #[error(transparent)]
    Said(Refusal),
    #[error("{0}")]
    Other(String),
}

impl From<&RedisError> for Quiet {
    fn from(error: &RedisError) -> Self {
        if let Some(code) = error.code() {
            return Self::Said(Refusal::of(code, error.detail()));
        }
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
        match source {
            Some(source) => Self::Io(io::Error::new(source.kind(), source.to_string())),
            None => Self::Other(error.category().to_owned()),
        }
    }
}

/// What went wrong while a connection was set up with `server`.
pub(super) fn while_connecting(server: String, error: &RedisError) -> Failure {
    match Quiet::from(error) {
        Quiet::Said(source) => Failure::Login { server, source },
        Quiet::Io(source) => Failure::Connect { server, source },
        Quiet::Other(category) if category == "authentication failed" => {
            let source = Refusal::of("WRONGPASS", Some("the user or the password is wrong"));
            Failure::Login { server, source }
        }
        Quiet::Other(category) => Failure::Connect { server, source: io::Error::other(category) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_quotes_is_not_repeated() {
        let quoted = "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'app' 'hunter2' ";
        let refusal = Refusal::of("ERR", Some(quoted));
        assert_eq!(refusal.to_string(), "it says ERR: unknown command 'HELLO'");
        assert_eq!(Refusal::of("NO\nPE", Some(&"x".repeat(1000))).to_string().len(), "it says NOPE: ".len() + 160);
    }
}
