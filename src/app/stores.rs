//! The stores of a configuration, opened: from the inside a client, its time limit, copies near it, and the store before.

use super::StartError;
use crate::config::{Config, StoreKind, StoreOptions};
use crate::store::Store;
use crate::store::disk::{DiskOptions, DiskStore};
use crate::store::guarded::Guarded;
use crate::store::memory::MemoryStore;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A store on this machine that has not answered by then is not going to.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);

/// A store that serves.
pub(super) struct Opened {
    /// Its name.
    pub(super) name: String,
    /// The store.
    pub(super) store: Arc<dyn Store>,
    /// Whether other servers sweep it, too.
    pub(super) is_shared: bool,
}

/// The stores that something uses.
pub(super) fn open_all(config: &Config) -> Result<Vec<Opened>, StartError> {
    config
        .stores
        .iter()
        .map(|options| {
            let store = open(options)?;
            Ok(Opened { name: options.name.clone(), store, is_shared: options.kind.is_shared() })
        })
        .collect()
}

/// One store alone, with its time limit: for commands.
///
/// # Errors
/// [`StartError::Store`] when it cannot be opened. Whether a server answers shows when it is asked.
pub fn open(options: &StoreOptions) -> Result<Arc<dyn Store>, StartError> {
    Ok(match &options.kind {
        StoreKind::Memory(limits) => Arc::new(MemoryStore::new(*limits)),
        StoreKind::Disk(disk) => Arc::new(Guarded::new(open_disk(&options.name, disk)?, "disk", DISK_TIMEOUT)),
        // INTEGRATION: the clients.
        StoreKind::Redis(_) | StoreKind::Memcached(_) | StoreKind::Postgres(_) => {
            return Err(cannot_open(&options.name, "this build has no client for it"));
        }
    })
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
