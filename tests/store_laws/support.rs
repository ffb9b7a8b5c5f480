//! What the tests of all stores share.

use crate::moves::FromOld;
use crate::redis;
use crate::servers::memcached::Memcached;
use crate::servers::postgres::{self, PgBouncer, Postgres};
use bytes::Bytes;
use cloakroom::clock::Timestamp;
use cloakroom::session::{OwnerKey, StoreKey};
use cloakroom::store::disk::{DiskOptions, DiskStore, Sync};
use cloakroom::store::guarded::Guarded;
use cloakroom::store::memcached::{MemcachedOptions, MemcachedServer, MemcachedStore};
use cloakroom::store::memory::{MemoryLimits, MemoryStore};
use cloakroom::store::moving::Moving;
use cloakroom::store::near::{Near, NearOptions};
use cloakroom::store::postgres::PostgresOptions;
use cloakroom::store::{Entry, Store, Version, Written};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;

/// A store to be tested, empty, and what has to live as long as it.
pub struct Fixture {
    store: Arc<dyn Store>,
    _second: Option<DiskStore>,
    _directory: Option<TempDir>,
}

impl Fixture {
    pub fn memory() -> Self {
        // Small enough that an oversized entry is easy to make.
        let limits = MemoryLimits { max_entries: 100_000, max_bytes: 8 << 20 };
        Self::alone(MemoryStore::new(limits))
    }

    pub fn disk_sync_always() -> Self {
        Self::disk(Sync::Always, false)
    }

    pub fn disk_sync_interval() -> Self {
        Self::disk(Sync::Interval, false)
    }

    pub fn disk_sync_never() -> Self {
        Self::disk(Sync::Never, false)
    }

    /// Another process (here: another store, the lock sees no difference) uses the file too, so no entries are hot.
    pub fn disk_shared() -> Self {
        Self::disk(Sync::Never, true)
    }

    pub fn disk_guarded() -> Self {
        let disk = Self::disk(Sync::Never, false);
        let guarded = Guarded::new(disk.store(), "disk", Duration::from_secs(20));
        Self { store: Arc::new(guarded), ..disk }
    }

    /// Its copies are good for a day.
    pub fn near_memory() -> Self {
        let day = Duration::from_secs(86_400);
        let options = NearOptions { fresh: day, recall: day, max_bytes: 8 << 20 };
        Self::alone(Near::new(Self::memory().store(), options))
    }

    /// Both stores are empty.
    pub fn moving_memory() -> Self {
        Self::alone(Moving::new(Self::memory().store(), Self::memory().store()))
    }

    /// Every session was made in the old store.
    pub fn moving_from_old() -> Self {
        Self::alone(FromOld::new(Self::memory().store(), Self::memory().store()))
    }

    pub fn memcached() -> Self {
        static SERVER: OnceLock<Memcached> = OnceLock::new();
        let server = SERVER.get_or_init(|| Memcached::on_port(&[]));
        Self::alone(open_memcached(&[server]))
    }

    /// Three servers, one of them on a Unix socket.
    pub fn memcached_ring() -> Self {
        static SERVERS: OnceLock<[Memcached; 3]> = OnceLock::new();
        let start = || [Memcached::on_port(&[]), Memcached::on_port(&[]), Memcached::on_socket()];
        Self::alone(open_memcached(&SERVERS.get_or_init(start).each_ref()))
    }

    pub fn postgres() -> Self {
        Self::in_postgres(postgres::options(&Postgres::shared().url(), Sync::Interval))
    }

    /// Many clients share a few connections to the server, and hold one for a transaction only.
    pub fn postgres_pooler() -> Self {
        // The pooler's server is the shared one.
        Self::in_postgres(postgres::options(&PgBouncer::shared().url(), Sync::Never))
    }

    pub fn postgres_tls() -> Self {
        let server = Postgres::shared();
        let options = postgres::options(&server.url_with_tls(), Sync::Always);
        Self::in_postgres(PostgresOptions { ca: Some(server.ca()), ..options })
    }

    fn in_postgres(options: PostgresOptions) -> Self {
        Self::alone(postgres::open(options))
    }

    fn disk(sync: Sync, shared: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let second = shared.then(|| open_disk(directory.path(), sync));
        let store = Arc::new(open_disk(directory.path(), sync));
        Self { store, _second: second, _directory: Some(directory) }
    }

    pub fn redis() -> Self {
        Self::alone(redis::plain())
    }

    pub fn redis_unix() -> Self {
        Self::alone(redis::over_a_socket())
    }

    pub fn redis_tls_acl() -> Self {
        Self::alone(redis::over_tls_as_a_user())
    }

    pub fn redis_sentinel() -> Self {
        Self::alone(redis::by_sentinels())
    }

    pub fn redis_cluster() -> Self {
        Self::alone(redis::in_a_cluster())
    }

    fn alone(store: impl Store) -> Self {
        Self { store: Arc::new(store), _second: None, _directory: None }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }
}

pub fn open_disk(directory: &Path, sync: Sync) -> DiskStore {
    DiskStore::open(DiskOptions { path: directory.join("sessions.db"), sync }).unwrap()
}

/// A store on these servers, in which no other store of this program sees anything.
pub fn open_memcached(servers: &[&Memcached]) -> MemcachedStore {
    MemcachedStore::open(memcached_options(servers))
}

pub fn memcached_options(servers: &[&Memcached]) -> MemcachedOptions {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    MemcachedOptions {
        servers: servers.iter().map(|server| MemcachedServer::parse(&server.name()).unwrap()).collect(),
        key_prefix: format!("test{}:", COUNT.fetch_add(1, Ordering::Relaxed)),
        connections: 2,
        timeout: Duration::from_secs(20),
    }
}

/// The present of most tests.
pub const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

pub fn key(n: u64) -> StoreKey {
    let mut bytes = [0; 32];
    for (i, part) in bytes.chunks_mut(8).enumerate() {
        // Spread like a digest: stores cut their keys in parts.
        let part_of_digest = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(13 * u32::try_from(i).unwrap());
        part.copy_from_slice(&part_of_digest.to_be_bytes());
    }
    StoreKey::from_bytes(bytes)
}

pub fn owner(name: &str) -> OwnerKey {
    OwnerKey::new("main", name)
}

/// An entry that lives for ten seconds from [`NOW`].
pub fn entry(text: &str) -> Entry {
    Entry { bytes: Bytes::copy_from_slice(text.as_bytes()), deadline: later(10), owner: None }
}

pub fn owned(text: &str, name: &str) -> Entry {
    Entry { owner: Some(owner(name)), ..entry(text) }
}

pub async fn create(store: &dyn Store, key: &StoreKey, entry: Entry) -> Version {
    match store.create(key, entry, NOW).await.unwrap() {
        Written::Done(version) => version,
        other => panic!("expected a new entry, got {other:?}"),
    }
}

/// Gives a live entry another deadline: what it says is written again, under the next version.
pub async fn move_deadline(store: &dyn Store, key: &StoreKey, deadline: Timestamp, now: Timestamp) -> Version {
    let (found, version) = store.load(key, now).await.unwrap().expect("it lives");
    match store.replace(key, Entry { deadline, ..found }, version, now).await.unwrap() {
        Written::Done(version) => version,
        other => panic!("the version was right, got {other:?}"),
    }
}

pub async fn text(store: &dyn Store, key: &StoreKey, now: Timestamp) -> Option<String> {
    let found = store.load(key, now).await.unwrap();
    found.map(|(entry, _)| String::from_utf8(entry.bytes.to_vec()).unwrap())
}

pub async fn keys_of(store: &dyn Store, name: &str, now: Timestamp) -> Vec<StoreKey> {
    let mut keys = store.index().expect("this store has an index").keys_of(&owner(name), now).await.unwrap();
    keys.sort();
    keys
}
