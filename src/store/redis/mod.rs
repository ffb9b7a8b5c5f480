//! Sessions in Redis or Valkey: one server, a primary that Sentinels name, or a cluster.
//!
//! * `url`, `dial`, `wire`: where a server is, how a connection is made, and what it is.
//! * `flight`, `link`, `node`: one connection for many requests, which comes back when it broke.
//! * `route`, `cluster`: who is the primary, and who holds which slot.
//! * `servers`: one request, one answer, whatever the servers are up to.
//! * `names`, `layout`, `scripts`: what is written where.
//! * `entries`, `owners`, `walk`: the operations of [`Store`](super::Store), [`Index`](super::Index) and [`Scan`](super::Scan).
//! * `tracking`: tells a cache what others have changed. `checks`: what an operator should know.
//!
//! An entry is one string. It is read with one command and written with one script, which compares its version first.
//! The server never decides that an entry has expired: its own time to live comes a minute after the deadline.

mod checks;
mod cluster;
mod dial;
mod entries;
mod failure;
mod flight;
mod layout;
mod link;
mod names;
mod node;
mod owners;
mod route;
mod scripts;
mod servers;
mod tracking;
mod url;
mod walk;
mod wire;

pub use tracking::Invalidate;
pub use url::{Address, RedisUrl, UrlError};

use crate::store::StoreError;
use checks::Checks;
use dial::Dialer;
use names::{Names, Place};
use servers::{Answer, Request, Servers};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tracking::Tracking;

const NAME: &str = "redis";

/// The largest entry it takes: far above any session, far below what would hold up the server.
const MAX_ENTRY: usize = 1 << 20;

/// The longest prefix of keys.
const MAX_PREFIX: usize = 128;

/// Which servers hold the sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single(RedisUrl),
    /// The primary that Sentinels name: the host of `primary` is the name that they know it by, its user, password,
    /// database and TLS are those of the servers.
    Sentinel {
        /// Where the Sentinels listen, at least one.
        sentinels: Vec<RedisUrl>,
        /// How the primary is reached.
        primary: RedisUrl,
    },
    /// A cluster, by some of its nodes, at least one.
    Cluster(Vec<RedisUrl>),
}

/// Where a Redis store lies and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// The servers.
    pub topology: Topology,
    /// The authorities that may vouch for the servers, as PEM text; `None`: those of the system.
    pub ca: Option<Vec<u8>>,
    /// What every key begins with.
    pub key_prefix: String,
    /// Shared connections to each server, at least one.
    pub connections: usize,
    /// How long an answer, and a connection, may take.
    pub timeout: Duration,
}

/// Why a [`RedisStore`] cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nobody to ask.
    #[error("the redis store names no server: name at least one Sentinel or one node of the cluster")]
    NoServers,
    /// The prefix of the keys is too long for every key to carry it.
    #[error("the key prefix has {0} bytes: expected at most {MAX_PREFIX}")]
    Prefix(usize),
    /// The file of authorities holds no certificate, or one that cannot vouch for anything.
    #[error("the authorities of the redis store are no certificates: expected PEM text with at least one")]
    Authority,
    /// The system has no authorities.
    #[error("this system trusts no authority: name one for the redis store with `ca`")]
    NoAuthorities,
    /// TLS cannot be used at all.
    #[error("TLS cannot be set up for the redis store")]
    Tls(#[source] rustls::Error),
}

/// A [`Store`](super::Store) in Redis or Valkey.
pub struct RedisStore {
    names: Names,
    servers: Arc<Servers>,
    tracking: Option<Tracking>,
    checks: Checks,
}

impl RedisStore {
    /// Opens the store, without a word to any server: connections are made when they are needed.
    ///
    /// `near` is told which entries others have changed.
    ///
    /// # Errors
    /// [`OpenError`] when the options cannot work.
    pub fn open(options: RedisOptions, near: Option<Arc<dyn Invalidate>>) -> Result<Self, OpenError> {
        if options.key_prefix.len() > MAX_PREFIX {
            return Err(OpenError::Prefix(options.key_prefix.len()));
        }
        let dialer = Arc::new(Dialer::new(&options)?);
        let servers = Arc::new(Servers::new(&options, &dialer).ok_or(OpenError::NoServers)?);
        let tracking = near.map(|near| {
            Tracking::new(near, Names::new(options.key_prefix.clone()), Arc::clone(&servers), Arc::clone(&dialer))
        });
        Ok(Self { names: Names::new(options.key_prefix), servers, tracking, checks: Checks::default() })
    }

    async fn ask(&self, place: &Place, request: &Request) -> Result<Answer, StoreError> {
        if let Some(tracking) = &self.tracking {
            tracking.keep_up();
        }
        let answer = self.servers.ask(place, request).await?;
        if let Some(tracking) = &self.tracking {
            // The answer may have come from a server that nobody listened to until now.
            tracking.keep_up();
        }
        self.checks.begin(&self.servers);
        Ok(answer)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStore({})", self.names.sessions().trim_end_matches('{'))
    }
}
