//! From options to working parts: upstreams are looked up, policies given their managers and their stores.

use super::StartError;
use super::stores::Opened;
use crate::codec::{AtRest, KeyRing};
use crate::config::{Config, StoreKind};
use crate::manager::{Creations, Custody, Keep, Revocations, SessionManager};
use crate::proxy::context::{Policy, Snapshot};
use crate::proxy::upstream::Upstream;
use crate::route::RouteTable;
use crate::store::Store;
use crate::wire::Reserved;
use crate::wire::request::Voice;
use crate::wire::response::Commands;
use std::sync::Arc;

/// What a configuration comes to. What goes on from the snapshot `before` is taken over from it.
pub(super) fn snapshot(
    config: &Config,
    stores: &[Opened],
    ring: &Arc<KeyRing>,
    before: Option<&Snapshot>,
) -> Result<Snapshot, StartError> {
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
        let manager = SessionManager::new(policy.options.clone(), custody, Arc::clone(ring))?;
        let name = &policy.options.name;
        let before =
            before.and_then(|before| before.policies.iter().find(|policy| policy.manager.options().name == *name));
        Ok(Policy {
            manager: Arc::new(settled(manager, before.map(|policy| &*policy.manager))),
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
        creations: creations(config, before),
        options: config.proxy.clone(),
        policies,
    })
}

/// The manager with what the operator has ended, and with what goes on from the one before.
fn settled(mut manager: SessionManager, before: Option<&SessionManager>) -> SessionManager {
    if let Some(store) = manager.revocation_store().cloned() {
        let known = before.and_then(SessionManager::revocations).filter(|known| known.lies_in(&store));
        let revocations = known.map_or_else(|| Arc::new(Revocations::new(store, &manager.options().name)), Arc::clone);
        manager = manager.heeding(revocations);
    }
    match before {
        Some(before) => manager.succeeding(before),
        None => manager,
    }
}

/// The budgets of addresses: a reload that does not change them does not refill them.
fn creations(config: &Config, before: Option<&Snapshot>) -> Option<Arc<Creations>> {
    let rate = config.proxy.sessions_created_per_ip?;
    let same = before.filter(|before| before.options.sessions_created_per_ip == Some(rate));
    same.and_then(|before| before.creations.clone()).or_else(|| Some(Arc::new(Creations::new(rate))))
}

fn find(stores: &[Opened], name: &str) -> Result<Arc<dyn Store>, StartError> {
    let found = stores.iter().find(|opened| opened.name() == name).map(|opened| Arc::clone(&opened.store));
    found.ok_or_else(|| StartError::Store { store: name.to_owned(), source: "it is not configured".into() })
}
