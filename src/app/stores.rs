//! The stores of a configuration, opened: from the inside a client, its time limit, the store before, and copies near it.

use super::StartError;
use crate::config::{Config, StoreKind, StoreOptions};
use crate::session::StoreKey;
use crate::store::Store;
use crate::store::disk::{DiskOptions, DiskStore};
use crate::store::guarded::Guarded;
use crate::store::memcached::MemcachedStore;
use crate::store::memory::MemoryStore;
use crate::store::moving::Moving;
use crate::store::near::{Near, NearEntries, NearOptions};
use crate::store::postgres::PostgresStore;
use crate::store::redis::{Invalidate, RedisStore};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A store on this machine that has not answered by then is not going to.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);

/// What a call may take beyond the time limit of its client, which knows better what went wrong.
const LENIENCE: Duration = Duration::from_millis(50);

/// A store that serves. Clones are the same store.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// What it was opened by.
    options: StoreOptions,
    /// The copies that are kept in front of it, and how it was asked to keep them.
    copies: Option<(NearOptions, Arc<NearEntries>)>,
    client: Arc<dyn Store>,
    /// The client of the store before.
    before: Option<Arc<dyn Store>>,
    /// The store as it serves.
    pub(super) store: Arc<dyn Store>,
}

impl Opened {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.options.name
    }

    /// Whether other servers sweep it, too.
    pub(super) const fn is_shared(&self) -> bool {
        self.options.kind.is_shared()
    }

    /// Whether it is the same store.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store, &other.store)
    }

    /// Whether something else than its list still holds it.
    pub(super) fn is_in_use(&self) -> bool {
        // The store that serves may be the client itself.
        let own = if Arc::ptr_eq(&self.store, &self.client) { 2 } else { 1 };
        Arc::strong_count(&self.store) > own
    }
}

/// A client on its way to become a store that serves.
struct Found {
    options: StoreOptions,
    copies: Option<(NearOptions, Arc<NearEntries>)>,
    client: Arc<dyn Store>,
}

/// The stores that something uses. What `open` has already is kept: a store whose options are the same is the same store,
/// with everything that lies in it.
pub(super) fn open_all(config: &Config, open: &[Opened]) -> Result<Vec<Opened>, StartError> {
    let clients = config.stores.iter().map(|options| {
        let near = copies(config, options);
        let is_same = |opened: &&Opened| {
            let copies = opened.copies.as_ref().map(|(options, _)| *options);
            (&opened.options.name, &opened.options.kind, copies) == (&options.name, &options.kind, near)
        };
        let options = options.clone();
        if let Some(Opened { copies, client, .. }) = open.iter().find(is_same) {
            return Ok(Found { options, copies: copies.clone(), client: Arc::clone(client) });
        }
        let copies = near.map(|near| (near, Arc::new(NearEntries::new(near))));
        let client = client(&options, copies.as_ref().map(|(_, entries)| entries))?;
        Ok(Found { options, copies, client })
    });
    let clients: Vec<_> = clients.collect::<Result<_, StartError>>()?;
    let client_of = |name: &String| clients.iter().find(|own| own.options.name == *name).map(|own| &own.client);
    let served = clients.iter().map(|Found { options, copies, client }| {
        let before = options.fallback.as_ref().and_then(client_of).cloned();
        let same = |one: &Option<Arc<dyn Store>>| match (one, &before) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if let Some(opened) = open.iter().find(|own| Arc::ptr_eq(&own.client, client) && same(&own.before)) {
            return Opened { options: options.clone(), ..opened.clone() };
        }
        let mut store = Arc::clone(client);
        if let Some(before) = &before {
            store = Arc::new(Moving::new(store, Arc::clone(before)));
        }
        // Outermost, so that sessions which still lie in the store before are remembered, too.
        if let Some((_, copies)) = copies {
            store = Arc::new(Near::around(store, Arc::clone(copies)));
        }
        let (options, copies, client) = (options.clone(), copies.clone(), Arc::clone(client));
        Opened { options, copies, client, before, store }
    });
    Ok(served.collect())
}

/// One store alone, with its time limit: for commands.
///
/// # Errors
/// [`StartError::Store`] when it cannot be opened. Whether a server answers shows when it is asked.
pub fn open(options: &StoreOptions) -> Result<Arc<dyn Store>, StartError> {
    client(options, None)
}

/// The copies that are kept in front of a store: to show sessions, to show them when the store cannot answer, or none.
fn copies(config: &Config, store: &StoreOptions) -> Option<NearOptions> {
    let recall = config.keeps_copies(&store.name);
    store.near.max_age.or(recall)?;
    let (fresh, recall) = (store.near.max_age.unwrap_or_default(), recall.unwrap_or_default());
    Some(NearOptions { fresh, recall, max_bytes: store.near.max_bytes })
}

/// The client of a store with its time limit; `copies` hear what others change, where the store tells.
fn client(options: &StoreOptions, copies: Option<&Arc<NearEntries>>) -> Result<Arc<dyn Store>, StartError> {
    let StoreOptions { name, kind, .. } = options;
    let store = kind.as_str();
    let guarded = match kind {
        // It waits for nobody.
        StoreKind::Memory(limits) => return Ok(Arc::new(MemoryStore::new(*limits))),
        StoreKind::Disk(disk) => Guarded::new(open_disk(name, disk)?, store, DISK_TIMEOUT),
        StoreKind::Redis(redis) => {
            let hears = copies.map(|copies| Arc::new(Hears(Arc::clone(copies))) as Arc<dyn Invalidate>);
            let client = RedisStore::open(redis.clone(), hears).map_err(|source| cannot_open(name, source))?;
            Guarded::around_client(Arc::new(client), store, redis.timeout + LENIENCE)
        }
        // Its limits are kept by the tasks of its connections, not by those who wait for an answer.
        StoreKind::Memcached(memcached) => {
            Guarded::new(Arc::new(MemcachedStore::open(memcached.clone())), store, memcached.timeout + LENIENCE)
        }
        StoreKind::Postgres(postgres) => {
            let client = PostgresStore::open(postgres.clone()).map_err(|source| cannot_open(name, source))?;
            Guarded::around_client(Arc::new(client), store, postgres.timeout + LENIENCE)
        }
    };
    Ok(Arc::new(guarded))
}

/// Copies that a Redis store tells what others have changed.
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

fn open_disk(name: &str, options: &DiskOptions) -> Result<Arc<dyn Store>, StartError> {
    if let Some(directory) = options.path.parent() {
        private_directory(directory).map_err(|source| cannot_open(name, source))?;
    }
    let disk = DiskStore::open(options.clone()).map_err(|source| cannot_open(name, source))?;
    Ok(Arc::new(disk))
}

fn cannot_open(store: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StartError {
    StartError::Store { store: store.to_owned(), source: source.into() }
}

/// Makes a directory that nobody else may read.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
