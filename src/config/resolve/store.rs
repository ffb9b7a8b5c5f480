//! `[stores.<name>]`, and those that exist without a table.

use super::super::file::{File, Store};
use super::super::given::{At, Given, Span};
use super::super::nearest::suggestion;
use super::super::problem::Problem;
use super::super::word::StoreType;
use super::super::{Policy, StoreKind, StoreOptions};
use super::Resolver;
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
    Store(StoreKind),
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
            let kept = settle(kind, &Store::default(), state_dir, to);
            stores.push((name.into(), Some(kept)));
        }
    }
    same_files(file, &stores, to);
    stores
}

/// Two stores cannot share one file. One that exists without a table counts when a policy uses it.
fn same_files(file: &File, stores: &Stores, to: &mut Resolver<'_>) {
    let mut taken: Vec<(&Path, Span)> = Vec::new();
    let is_used = |name: &str| file.sessions.iter().any(|(_, session)| session.store.or("disk".into()) == name);
    // Those without a table come first: they have no place at which to complain.
    for (name, kept) in stores.iter().rev() {
        let Some(Kept::Store(StoreKind::Disk(options))) = kept else { continue };
        let table = file.stores.iter().find(|(own, _)| own.value == *name);
        let place = table.map_or(0..0, |(own, store)| store.path.span_or(&own.span));
        if table.is_none() && !is_used(name) {
            continue;
        }
        match taken.iter().find(|(path, _)| *path == options.path) {
            Some((_, other)) => to.report(
                Problem::error("store::duplicate", format!("store `{name}` writes to the file of another one"))
                    .at(place)
                    .also(other.clone(), "the other one")
                    .help("give each a `path` of its own, or let the policies share one store"),
            ),
            None => taken.push((&options.path, place)),
        }
    }
}

fn one(name: &At<String>, store: &Store, state_dir: &Path, to: &mut Resolver<'_>) -> Option<Kept> {
    let built_in = BUILT_IN.iter().find(|(own, _)| *own == name.value).map(|(_, kind)| *kind);
    let Some(kind) = store.kind.get().map(|choice| choice.0).or(built_in) else {
        to.missing(&["stores", &name.value, "type"], || {
            Problem::error("config::missing", format!("store `{}` has no type", name.value))
                .at(name.span.clone())
                .help("add `type = \"disk\"`, or `memory` or `cookie`")
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
    let settings = [
        ("max_entries", store.max_entries.is_given(), StoreType::Memory, store.max_entries.span_or(&name.span)),
        ("max_bytes", store.max_bytes.is_given(), StoreType::Memory, store.max_bytes.span_or(&name.span)),
        ("path", store.path.is_given(), StoreType::Disk, store.path.span_or(&name.span)),
        ("sync", store.sync.is_given(), StoreType::Disk, store.sync.span_or(&name.span)),
        ("protection", store.protection.is_given(), StoreType::Cookie, store.protection.span_or(&name.span)),
    ];
    for (setting, _, owner, place) in settings.into_iter().filter(|(_, is_given, owner, _)| *is_given && *owner != kind)
    {
        let message = format!("`{setting}` means nothing to a {} store", word(kind));
        let problem = Problem::error("store::setting", message).at(place);
        to.report(problem.help(format!("remove it, or set `type = \"{}\"`", word(owner))));
    }
    Some(settle(kind, store, state_dir, to))
}

fn settle(kind: StoreType, store: &Store, state_dir: &Path, to: &mut Resolver<'_>) -> Kept {
    let limits = MemoryLimits::default();
    match kind {
        StoreType::Memory => Kept::Store(StoreKind::Memory(MemoryLimits {
            max_entries: to.within("max_entries", &store.max_entries, limits.max_entries, 1..=1_000_000_000),
            max_bytes: to.size("max_bytes", &store.max_bytes, limits.max_bytes as u64, 64 << 10..=1 << 40),
        })),
        StoreType::Disk => {
            let path = state_dir.join(store.path.or("sessions.db".into()));
            Kept::Store(StoreKind::Disk(DiskOptions { path, sync: store.sync.value() }))
        }
        StoreType::Cookie => Kept::Browser(store.protection.value()),
    }
}

/// Where a policy keeps its sessions, with what its operator should know about that.
pub(super) fn keep(given: &Given<String>, policy: &At<String>, stores: &Stores, to: &mut Resolver<'_>) -> Option<Keep> {
    let name = given.or("disk".into());
    let place = given.span_or(&policy.span);
    let Some((_, kept)) = stores.iter().find(|(own, _)| *own == name) else {
        let names = stores.iter().map(|(name, _)| name.as_str());
        let problem = Problem::error("config::unknown_store", format!("there is no store `{name}`")).at(place);
        to.report(problem.help(suggestion(&name, names, "")));
        return None;
    };
    let warn = |to: &mut Resolver<'_>, code, message: String, help: &str| {
        to.report(Problem::warning(code, message).at(place.clone()).help(help));
    };
    match kept.as_ref()? {
        Kept::Store(kind) => {
            if matches!(kind, StoreKind::Memory(_)) {
                let message = format!("sessions of `{}` are lost when the process ends", policy.value);
                warn(to, "store::memory", message, "a disk store keeps them: `store = \"disk\"`");
            }
            Some(Keep::Store(name))
        }
        Kept::Browser(protection) => {
            let message = format!(
                "a logout from `{}` clears the browser only: a copy of the cookie works until it expires",
                policy.value
            );
            warn(to, "store::cookie", message, "a memory or disk store ends sessions at once");
            if *protection == Protection::Signed {
                let message = format!("everybody who has a cookie of `{}` can read the session in it", policy.value);
                warn(to, "store::signed", message, "set `protection = \"sealed\"`, unless nothing in it is private");
            }
            Some(Keep::Browser(*protection))
        }
    }
}

/// The stores that a policy uses, each once.
pub(super) fn used(stores: Stores, policies: &[Option<Policy>]) -> Vec<StoreOptions> {
    let wanted = |name: &str| policies.iter().flatten().any(|policy| policy.options.keep == Keep::Store(name.into()));
    let used = stores.into_iter().filter(|(name, _)| wanted(name));
    used.filter_map(|(name, kept)| match kept {
        Some(Kept::Store(kind)) => Some(StoreOptions { name, kind }),
        _ => None,
    })
    .collect()
}

const fn word(kind: StoreType) -> &'static str {
    match kind {
        StoreType::Memory => "memory",
        StoreType::Disk => "disk",
        StoreType::Cookie => "cookie",
    }
}
