//! The stores of a configuration.

use crate::store::disk::{DiskOptions, Sync};
use crate::store::memcached::MemcachedOptions;
use crate::store::memory::MemoryLimits;
use crate::store::postgres::PostgresOptions;
use crate::store::redis::RedisOptions;
use std::time::Duration;

/// One `[stores.<name>]`, or one that exists without a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: StoreKind,
    /// The copies of its sessions in this process.
    pub near: NearCache,
    /// The store where sessions are looked for that it does not have yet.
    pub fallback: Option<String>,
}

/// Copies of sessions in this process, in front of a store on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearCache {
    /// How old a copy may be that a session is shown from; `None`: the store is asked each time.
    pub max_age: Option<Duration>,
    /// The most bytes of all copies.
    pub max_bytes: usize,
}

impl Default for NearCache {
    /// None, and 64 MiB where copies are kept for another reason.
    fn default() -> Self {
        Self { max_age: None, max_bytes: 64 << 20 }
    }
}

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In the memory of this process.
    Memory(MemoryLimits),
    /// In a file.
    Disk(DiskOptions),
    /// In Redis or Valkey.
    Redis(RedisOptions),
    /// In memcached.
    Memcached(MemcachedOptions),
    /// In PostgreSQL.
    Postgres(PostgresOptions),
}

impl StoreKind {
    /// Its `type` in the file.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Disk(_) => "disk",
            Self::Redis(_) => "redis",
            Self::Memcached(_) => "memcached",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Whether several servers can share it.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Redis(_) | Self::Memcached(_) | Self::Postgres(_))
    }

    /// What an acknowledged write survives, in a few words.
    #[must_use]
    pub const fn promise(&self) -> &'static str {
        match self {
            Self::Memory(_) => "lost when the process ends",
            Self::Disk(DiskOptions { sync: Sync::Always, .. }) => "nothing acknowledged is ever lost",
            Self::Disk(DiskOptions { sync: Sync::Interval, .. }) => "a power cut may lose the last second",
            Self::Disk(DiskOptions { sync: Sync::Never, .. }) => "a power cut may lose more than the last second",
            Self::Redis(_) => "as durable as its appendfsync; a failover may lose the last moment",
            Self::Memcached(_) => "lost when its server restarts, or needs the memory",
            Self::Postgres(PostgresOptions { sync: Sync::Always, .. }) => {
                "nothing acknowledged is ever lost, but for a failover to a replica that lags"
            }
            Self::Postgres(PostgresOptions { sync: Sync::Interval, .. }) => {
                "a crash of the server may lose the last moment, but no logout"
            }
            Self::Postgres(PostgresOptions { sync: Sync::Never, .. }) => {
                "a crash of the server may lose the last moment, logouts too"
            }
        }
    }
}
