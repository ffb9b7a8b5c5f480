//! `[stores.<name>]`, and those that exist without a table.

use super::super::file::{File, Store};
use super::super::given::{At, Span};
use super::super::nearest::list;
use super::super::problem::Problem;
use super::super::word::{StoreType, Word as _};
use super::super::{NearCache, Policy, StoreKind, StoreOptions};
use super::{Resolver, fallback, memcached, network, postgres, redis};
use crate::manager::{Keep, Protection};
use crate::store::disk::DiskOptions;
use crate::store::memory::MemoryLimits;
use std::path::Path;

/// The names that exist without a table.
const BUILT_IN: [(&str, StoreType); 3] =
    [("memory", StoreType::Memory), ("disk", StoreType::Disk), ("cookie", StoreType::Cookie)];

/// Where the sessions of a policy can be kept.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    /// In a store.
    Store(Box<StoreOptions>),
    /// By the browser.
    Browser(Protection),
}

/// All stores by name.
pub(super) type Stores = Vec<(String, Option<Kept>)>;

pub(super) fn stores(file: &File, state_dir: &Path, to: &mut Resolver<'_>) -> Stores {
    let mut stores = Stores::new();
    for (name, store) in file.stores.iter() {
        let kept = one(name, store, state_dir, to);
        stores.push((name.value.clone(), kept));
    }
    for (name, kind) in BUILT_IN {
        if file.stores.position(name).is_none() {
            let name = At { value: name.to_owned(), span: 0..0 };
            let kept = settle(kind, &name, &Store::default(), state_dir, to);
            stores.push((name.value, kept));
        }
    }
    fallback::check(file, &stores, to);
    stores
}

fn one(name: &At<String>, store: &Store, state_dir: &Path, to: &mut Resolver<'_>) -> Option<Kept> {
    let built_in = BUILT_IN.iter().find(|(own, _)| *own == name.value).map(|(_, kind)| *kind);
    let Some(kind) = store.kind.get().map(|choice| choice.0).or(built_in) else {
        to.missing(&["stores", &name.value, "type"], || {
            Problem::error("config::missing", format!("store `{}` has no type", name.value))
                .at(name.span.clone())
                .help("add `type = \"disk\"`, or `redis`, `postgres`, `memcached`, `memory` or `cookie`")
        });
        return None;
    };
    if built_in.is_some_and(|built_in| built_in != kind) {
        let message = format!("`{}` is the name of another kind of store", name.value);
        to.report(
            Problem::error("store::type", message)
                .at(store.kind.span_or(&name.span))
                .help("choose another name for this store"),
        );
        return None;
    }
    for (setting, place, owners) in settings(name, store) {
        if let Some(place) = place.filter(|_| !owners.contains(&kind)) {
            let message = format!("`{setting}` means nothing to a {} store", kind.word());
            let problem = Problem::error("store::setting", message).at(place);
            let owners: Vec<String> = owners.iter().map(|owner| format!("type = \"{}\"", owner.word())).collect();
            let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
            to.report(problem.help(format!("remove it, or set {}", list(&owners))));
        }
    }
    settle(kind, name, store, state_dir, to)
}

/// Each setting with its place, where it is given, and the types that it means something to.
fn settings(name: &At<String>, store: &Store) -> [(&'static str, Option<Span>, &'static [StoreType]); 17] {
    use StoreType::{Cookie, Disk, Memcached, Memory, Postgres, Redis};
    macro_rules! setting {
        ($setting:ident, $($owner:ident)+) => {
            (
                stringify!($setting),
                store.$setting.is_given().then(|| store.$setting.span_or(&name.span)),
                &[$($owner),+],
            )
        };
    }
    [
        setting!(max_entries, Memory),
        setting!(max_bytes, Memory),
        setting!(path, Disk),
        setting!(sync, Disk Postgres),
        setting!(protection, Cookie),
        setting!(url, Redis Postgres),
        setting!(sentinels, Redis),
        setting!(cluster, Redis),
        setting!(servers, Memcached),
        setting!(ca, Redis Postgres),
        setting!(key_prefix, Redis Memcached),
        setting!(table, Postgres),
        setting!(connections, Redis Postgres Memcached),
        setting!(timeout, Redis Postgres Memcached),
        setting!(near_cache, Redis Postgres Memcached),
        setting!(near_cache_bytes, Redis Postgres Memcached),
        setting!(fallback, Disk Redis Postgres Memcached),
    ]
}

fn settle(kind: StoreType, name: &At<String>, store: &Store, state_dir: &Path, to: &mut Resolver<'_>) -> Option<Kept> {
    let limits = MemoryLimits::default();
    let kind = match kind {
        StoreType::Memory => Some(StoreKind::Memory(MemoryLimits {
            max_entries: to.within("max_entries", &store.max_entries, limits.max_entries, 1..=1_000_000_000),
            max_bytes: to.size("max_bytes", &store.max_bytes, limits.max_bytes as u64, 64 << 10..=1 << 40),
        })),
        StoreType::Disk => {
            let path = state_dir.join(store.path.or("sessions.db".into()));
            Some(StoreKind::Disk(DiskOptions { path, sync: store.sync.value() }))
        }
        StoreType::Redis => redis::options(name, store, to).map(StoreKind::Redis),
        StoreType::Memcached => memcached::options(name, store, to).map(StoreKind::Memcached),
        StoreType::Postgres => postgres::options(name, store, to).map(StoreKind::Postgres),
        StoreType::Cookie => return Some(Kept::Browser(store.protection.value())),
    };
    let near = network::near_cache(store, to);
    let near = if kind.as_ref().is_some_and(StoreKind::is_shared) { near } else { NearCache::default() };
    let fallback = store.fallback.get().cloned();
    Some(Kept::Store(Box::new(StoreOptions { name: name.value.clone(), kind: kind?, near, fallback })))
}

/// The stores that something uses, and the others, which only commands open.
pub(super) fn sorted(stores: Stores, policies: &[Option<Policy>]) -> (Vec<StoreOptions>, Vec<StoreOptions>) {
    let stores: Vec<StoreOptions> = stores
        .into_iter()
        .filter_map(|(_, kept)| match kept {
            Some(Kept::Store(store)) => Some(*store),
            _ => None,
        })
        .collect();
    let by_policy = |name: &str| {
        policies.iter().flatten().any(|policy| {
            policy.options.keep == Keep::Store(name.to_owned()) || policy.revocation.as_deref() == Some(name)
        })
    };
    // A fallback has none of its own, so that one step finds them all.
    let in_use: Vec<&StoreOptions> = stores.iter().filter(|store| by_policy(&store.name)).collect();
    let fallbacks = in_use.iter().filter_map(|store| store.fallback.clone());
    let used: Vec<String> = in_use.iter().map(|store| store.name.clone()).chain(fallbacks).collect();
    stores.into_iter().partition(|store| used.contains(&store.name))
}
