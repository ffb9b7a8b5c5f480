//! From options to working parts: stores are opened, upstreams looked up, policies given their managers.

use super::StartError;
use crate::codec::{AtRest, KeyRing};
use crate::config::{Config, StoreKind, StoreOptions};
use crate::manager::{Custody, Keep, SessionManager};
use crate::proxy::context::{Policy, Snapshot};
use crate::proxy::upstream::Upstream;
use crate::route::RouteTable;
use crate::store::Store;
use crate::store::disk::DiskStore;
use crate::store::guarded::Guarded;
use crate::store::memory::MemoryStore;
use crate::wire::Reserved;
use crate::wire::request::Voice;
use crate::wire::response::Commands;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A store on this machine that has not answered by then is not going to.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn snapshot(config: &Config, stores: &Stores, ring: &Arc<KeyRing>) -> Result<Snapshot, StartError> {
    let policies = config.policies.iter().map(|policy| {
        let custody = match &policy.options.keep {
            Keep::Browser(protection) => Custody::Browser { mode: (*protection).into(), revoked: None },
            Keep::Store(name) => {
                let store = stores.iter().find(|(opened, _)| opened == name).map(|(_, store)| Arc::clone(store));
                let unknown = || StartError::Store { store: name.clone(), source: "it is not configured".into() };
                let in_memory = config.stores.iter().any(|s| s.name == *name && matches!(s.kind, StoreKind::Memory(_)));
                let at_rest = if in_memory { AtRest::Plain } else { AtRest::Sealed };
                Custody::Server { store: store.ok_or_else(unknown)?, at_rest }
            }
        };
        Ok(Policy {
            manager: SessionManager::new(policy.options.clone(), custody, Arc::clone(ring))?,
            voice: Voice::new(policy.headers.clone()),
            commands: Commands::new(&policy.headers),
        })
    });
    let policies: Vec<Policy> = policies.collect::<Result<_, StartError>>()?;
    let routes = config.routes.iter().enumerate().map(|(index, route)| (route.matcher.clone(), index));
    Ok(Snapshot {
        routes: RouteTable::new(routes.collect()),
        targets: config.routes.clone(),
        upstreams: config.upstreams.iter().cloned().map(Upstream::new).collect::<Result<_, _>>()?,
        cookie_names: policies.iter().map(|policy| policy.manager.cookie_name().clone()).collect(),
        reserved: Reserved::new(config.policies.iter().map(|policy| &policy.headers)),
        options: config.proxy.clone(),
        policies,
    })
}

/// The open stores, by the names of the file.
pub(super) type Stores = Vec<(String, Arc<dyn Store>)>;

pub(super) fn open_stores(config: &Config) -> Result<Stores, StartError> {
    let open = |store: &StoreOptions| {
        let opened: Arc<dyn Store> = match &store.kind {
            StoreKind::Memory(limits) => Arc::new(MemoryStore::new(*limits)),
            StoreKind::Disk(options) => {
                if let Some(directory) = options.path.parent() {
                    private_directory(directory).map_err(|source| cannot_open(&store.name, source))?;
                }
                let disk = DiskStore::open(options.clone()).map_err(|source| cannot_open(&store.name, source))?;
                Arc::new(Guarded::new(Arc::new(disk), "disk", STORE_TIMEOUT))
            }
        };
        Ok((store.name.clone(), opened))
    };
    config.stores.iter().map(open).collect()
}

fn cannot_open(store: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StartError {
    StartError::Store { store: store.to_owned(), source: source.into() }
}

/// Makes a directory that nobody else may read.
pub(super) fn private_directory(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
