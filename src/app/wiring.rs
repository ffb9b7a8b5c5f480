//! From options to working parts: upstreams are looked up, policies given their managers and their stores.

use super::StartError;
use super::stores::Opened;
use crate::codec::{AtRest, KeyRing};
use crate::config::{Config, StoreKind};
use crate::manager::{Creations, Custody, Keep, SessionManager};
use crate::proxy::context::{Policy, Snapshot};
use crate::proxy::upstream::Upstream;
use crate::route::RouteTable;
use crate::store::Store;
use crate::wire::Reserved;
use crate::wire::request::Voice;
use crate::wire::response::Commands;
use std::sync::Arc;

pub(super) fn snapshot(config: &Config, stores: &[Opened], ring: &Arc<KeyRing>) -> Result<Snapshot, StartError> {
    let policies = config.policies.iter().map(|policy| {
        let custody = match &policy.options.keep {
            Keep::Browser(protection) => {
                let revoked = policy.revocation.as_ref().map(|name| find(stores, name)).transpose()?;
                Custody::Browser { mode: (*protection).into(), revoked }
            }
            Keep::Store(name) => {
                let in_memory = config.store(name).is_some_and(|store| matches!(store.kind, StoreKind::Memory(_)));
                let at_rest = if in_memory { AtRest::Plain } else { AtRest::Sealed };
                Custody::Server { store: find(stores, name)?, at_rest }
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
        ring: Arc::clone(ring),
        reserved: Reserved::new(config.policies.iter().map(|policy| &policy.headers)),
        creations: config.proxy.sessions_created_per_ip.map(Creations::new),
        options: config.proxy.clone(),
        policies,
    })
}

fn find(stores: &[Opened], name: &str) -> Result<Arc<dyn Store>, StartError> {
    let found = stores.iter().find(|opened| opened.name == name).map(|opened| Arc::clone(&opened.store));
    found.ok_or_else(|| StartError::Store { store: name.to_owned(), source: "it is not configured".into() })
}
