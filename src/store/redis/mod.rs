//! Sessions in Redis or Valkey: one server, a primary that Sentinels name, or a cluster.

mod url;

pub use url::{Address, RedisUrl, UrlError};

use std::time::Duration;

/// Which servers hold the sessions.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
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
