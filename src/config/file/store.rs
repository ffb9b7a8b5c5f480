//! `[stores.<name>]` as it is written.

use super::super::given::{At, Given};
use super::super::unit::{MaxAge, Period, Size};
use super::super::word::{Choice, StoreType};
use crate::manager::Protection;
use crate::store::disk::Sync;
use schemars::JsonSchema;
use serde::Deserialize;

/// Where sessions are kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Given<Choice<StoreType>>,
    /// Of a memory store: the most sessions.
    pub max_entries: Given<usize>,
    /// Of a memory store: the most bytes of all sessions.
    pub max_bytes: Given<Size>,
    /// Of a disk store: its file, in `state_dir`.
    pub path: Given<String>,
    /// Of a disk or postgres store, when writes reach the disk. `always`: before they are acknowledged, nothing is ever
    /// lost; `interval`: within a second, a power cut may lose the last one; `never`: when the system sees fit.
    pub sync: Given<Choice<Sync>>,
    /// Of a cookie store: whether the visitor can read the session.
    pub protection: Given<Choice<Protection>>,
    /// Of a redis or postgres store: the server, as `rediss://user:password@host:6379/0`, `redis+unix:///run/redis.sock`
    /// or `postgres://user:password@host:5432/database`.
    pub url: Given<String>,
    /// Of a redis store: the Sentinels to ask for the primary, as `redis://10.0.0.5:26379`; the host of `url` is the name
    /// that they know it by.
    pub sentinels: Given<Vec<At<String>>>,
    /// Of a redis store, in place of `url`: some nodes of a cluster.
    pub cluster: Given<Vec<At<String>>>,
    /// Of a memcached store: the servers, as `10.0.0.7:11211` or `unix:/run/memcached.sock`.
    pub servers: Given<Vec<At<String>>>,
    /// Of a redis or postgres store: the file of the authorities that may vouch for the server, or the PEM text itself;
    /// without it those of the system.
    pub ca: Given<String>,
    /// Of a redis or memcached store: what every key begins with.
    pub key_prefix: Given<String>,
    /// Of a postgres store: its table.
    pub table: Given<String>,
    /// Of a store on the network: shared connections to each server.
    pub connections: Given<usize>,
    /// Of a store on the network: how long an answer may take.
    pub timeout: Given<Period>,
    /// Of a store on the network: `off`, or how old a copy may be that a session is shown from.
    pub near_cache: Given<MaxAge>,
    /// Of a store on the network: the most bytes of the copies.
    pub near_cache_bytes: Given<Size>,
    /// The store where sessions are looked for that are not here yet: the one that was used before.
    pub fallback: Given<String>,
}
