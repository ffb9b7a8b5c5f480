//! Why a server gave no answer, and what that means to the caller of the store.

use super::item::Foreign;
use super::wire::Malformed;
use crate::session::NoRandomness;
use crate::store::StoreError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The name of this store in errors.
pub(super) const NAME: &str = "memcached";

/// Why there is no answer. One cause may end many commands, so it can be cloned.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No connection came about.
    #[error("no connection to {server}")]
    Unreachable {
        server: Arc<str>,
        #[source]
        end: End,
    },
    /// The last try was a moment ago.
    #[error("{server} could not be reached a moment ago; it is tried again soon")]
    Resting { server: Arc<str> },
    /// The connection ended before the answer came.
    #[error("the connection to {server} ended")]
    Ended {
        server: Arc<str>,
        /// Whether the command, or a part of it, may have reached the server.
        sent: bool,
        #[source]
        end: End,
    },
    /// Refused without asking: memcached drops the old item when it refuses a new one.
    #[error("{server} takes values of at most {limit} bytes")]
    TooLarge { server: Arc<str>, size: usize, limit: usize },
    /// The server has no memory left.
    #[error("{server} is out of memory")]
    OutOfMemory { server: Arc<str> },
    /// The server failed by its own account.
    #[error("{server} reports an error of its own")]
    Failed { server: Arc<str> },
    /// An answer that does not belong to such a command.
    #[error("{server} gave an answer that makes no sense")]
    Senseless { server: Arc<str> },
    /// Somebody else left something there.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// Others write the same item without end.
    #[error("too many writers at one item")]
    Crowded,
    /// An owner has as many sessions as a list can name.
    #[error("one owner may have {0} sessions")]
    ListFull(usize),
    /// There is no server at all.
    #[error("no server is configured")]
    NoServer,
    /// No first version could be drawn.
    #[error(transparent)]
    NoRandomness(Arc<NoRandomness>),
}

/// How a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the network failed")]
    Broken(#[source] Arc<io::Error>),
    #[error("the server closed it")]
    Closed,
    /// It said so, as it does with `-o maxconns_fast`.
    #[error("the server has as many connections as it takes (-c)")]
    TooMany,
    #[error("the server did not answer in time")]
    TimedOut,
    /// Everything that follows might be somebody else's session.
    #[error("a reply belonged to another command")]
    Slipped,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its task is gone, with the runtime that it lived on.
    #[error("its task has ended")]
    Dropped,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(Arc::new(error))
    }
}

impl Failure {
    /// Whether another connection may well do better, and at once.
    pub(super) fn is_worth_repeating(&self, is_harmless_twice: bool) -> bool {
        match self {
            Self::Ended { end: End::TimedOut, .. } => false,
            Self::Ended { sent, .. } => is_harmless_twice || !sent,
            _ => false,
        }
    }

    /// A read that was cut off has changed nothing.
    pub(super) fn of_a_read(self) -> Self {
        match self {
            Self::Ended { server, end, .. } => Self::Ended { server, sent: false, end },
            other => other,
        }
    }

    /// What the store's caller is told; `limit` is the time that an answer may take.
    pub(super) fn into_error(self, limit: Duration) -> StoreError {
        match self {
            Self::Ended { end: End::TimedOut, .. } | Self::Unreachable { end: End::TimedOut, .. } => {
                StoreError::TimedOut { store: NAME, limit }
            }
            Self::Ended { sent: true, .. } => StoreError::Lost { store: NAME, source: self.into() },
            Self::TooLarge { size, limit, .. } => StoreError::TooLarge { store: NAME, size, limit },
            Self::OutOfMemory { .. } | Self::ListFull(_) => StoreError::Full { store: NAME, limit: self.to_string() },
            _ => StoreError::Unavailable { store: NAME, source: self.into() },
        }
    }
}
