//! The kinds of stores that can be measured: the one place to add another.

use crate::Outcome;
use cloakroom::session::StoreKey;
use cloakroom::store::Store;
use cloakroom::store::disk::{DiskOptions, DiskStore, Sync};
use cloakroom::store::guarded::Guarded;
use cloakroom::store::memcached::{MemcachedOptions, MemcachedServer, MemcachedStore};
use cloakroom::store::memory::{MemoryLimits, MemoryStore};
use cloakroom::store::near::{Near, NearEntries, NearOptions};
use cloakroom::store::postgres::{PostgresOptions, PostgresStore, PostgresUrl, TableName};
use cloakroom::store::redis::{Invalidate, RedisOptions, RedisStore, RedisUrl, Topology};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long an answer may take: longer than any that is worth a measurement.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is measured.
#[derive(Clone)]
pub struct Kind {
    /// How it is asked for on the command line.
    text: String,
    place: Place,
    /// With its time limit and breaker, as it serves in the proxy.
    guarded: bool,
    /// With copies in front of it.
    near: bool,
}

/// Where the sessions lie.
#[derive(Clone)]
enum Place {
    Memory,
    Disk(Sync),
    Redis(Box<RedisUrl>),
    Memcached(MemcachedServer),
    Postgres(Box<PostgresUrl>),
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (near, rest) = text.strip_prefix("near:").map_or((false, text), |rest| (true, rest));
        let (guarded, rest) = rest.strip_prefix("guarded:").map_or((near, rest), |rest| (true, rest));
        Ok(Self { text: text.to_owned(), place: rest.parse()?, guarded, near })
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |error: &dyn std::error::Error| error.to_string();
        Ok(match text {
            "memory" => Self::Memory,
            "disk" => Self::Disk(Sync::Always),
            "disk:interval" => Self::Disk(Sync::Interval),
            "disk:never" => Self::Disk(Sync::Never),
            _ => match text.split_once("://") {
                Some(("memcached", server)) => {
                    Self::Memcached(MemcachedServer::parse(server).map_err(|error| wrong(&error))?)
                }
                Some(("postgres", _)) => {
                    Self::Postgres(Box::new(PostgresUrl::parse(text).map_err(|error| wrong(&error))?))
                }
                Some(_) => Self::Redis(Box::new(RedisUrl::parse(text).map_err(|error| wrong(&error))?)),
                None => return Err("expected memory, disk, or the URL of a server".to_owned()),
            },
        })
    }
}

impl Kind {
    /// Opens the store, empty when its place is. Nothing of an earlier run is in the way: on servers each has a place of
    /// its own.
    pub fn open(&self, directory: &Path, runtime: &Runtime) -> Outcome<Arc<dyn Store>> {
        let copies = self.near.then(|| {
            let (fresh, recall) = (Duration::from_secs(3600), Duration::ZERO);
            Arc::new(NearEntries::new(NearOptions { fresh, recall, max_bytes: 64 << 20 }))
        });
        let (mut store, name) = self.place.open(directory, runtime, copies.as_ref())?;
        if self.guarded {
            store = Arc::new(match self.place {
                Place::Redis(_) | Place::Postgres(_) => Guarded::around_client(store, name, TIMEOUT),
                Place::Memory | Place::Disk(_) | Place::Memcached(_) => Guarded::new(store, name, TIMEOUT),
            });
        }
        if let Some(copies) = copies {
            store = Arc::new(Near::around(store, copies));
        }
        Ok(store)
    }

    /// Whether it lies in files of this machine, which can be opened again.
    pub fn lies_here(&self) -> bool {
        matches!(self.place, Place::Disk(_))
    }

    /// Whether showing a session is another thing than reading it.
    pub fn keeps_copies(&self) -> bool {
        self.near
    }

    /// How it is asked for on the command line.
    pub fn name(&self) -> &str {
        &self.text
    }
}

impl Place {
    fn open(
        &self,
        directory: &Path,
        runtime: &Runtime,
        copies: Option<&Arc<NearEntries>>,
    ) -> Outcome<(Arc<dyn Store>, &'static str)> {
        let timeout = TIMEOUT;
        // As many as the product has by default.
        let connections = if matches!(self, Self::Postgres(_)) { 4 } else { 2 };
        let own = format!("bench_{}", std::process::id());
        Ok(match self {
            Self::Memory => {
                let limits = MemoryLimits { max_entries: usize::MAX, max_bytes: usize::MAX };
                (Arc::new(MemoryStore::new(limits)), "memory")
            }
            Self::Disk(sync) => {
                let path = directory.join("sessions.db");
                (Arc::new(DiskStore::open(DiskOptions { path, sync: *sync })?), "disk")
            }
            Self::Redis(url) => {
                let topology = Topology::Single(url.as_ref().clone());
                let key_prefix = format!("{own}:");
                let options = RedisOptions { topology, ca: None, key_prefix, connections, timeout };
                let hears = copies.map(|copies| Arc::new(Hears(Arc::clone(copies))) as Arc<dyn Invalidate>);
                (Arc::new(RedisStore::open(options, hears)?), "redis")
            }
            Self::Memcached(server) => {
                let (servers, key_prefix) = (vec![server.clone()], format!("{own}:"));
                let options = MemcachedOptions { servers, key_prefix, connections, timeout };
                (Arc::new(MemcachedStore::open(options)), "memcached")
            }
            Self::Postgres(url) => {
                let (url, table) = (url.as_ref().clone(), TableName::parse(&own)?);
                let options = PostgresOptions { url, ca: None, table, sync: Sync::Always, connections, timeout };
                let store = PostgresStore::open(options)?;
                runtime.block_on(store.migrate())?;
                (Arc::new(store), "postgres")
            }
        })
    }
}

/// Copies that are told what others have changed, as in the product.
#[derive(Debug)]
struct Hears(Arc<NearEntries>);

impl Invalidate for Hears {
    fn forget(&self, key: &StoreKey) {
        self.0.forget(key);
    }

    fn forget_all(&self) {
        self.0.forget_all();
    }

    fn trust(&self, tracked: bool) {
        self.0.trust(tracked);
    }
}
