//! Stores that belong together, and stores that must not: `fallback`, and two that would be one.

use super::super::StoreKind;
use super::super::file::{File, Store};
use super::super::given::{At, Span};
use super::super::nearest::suggestion;
use super::super::problem::Problem;
use super::Resolver;
use super::store::{Kept, Stores};
use crate::store::redis::{Address, RedisUrl, Topology};

pub(super) fn check(file: &File, stores: &Stores, to: &mut Resolver<'_>) {
    for (name, store) in file.stores.iter() {
        fallback(name, store, file, stores, to);
    }
    same_places(file, stores, to);
}

/// A fallback is asked for what is not here: it must outlive this process, and end the search.
fn fallback(name: &At<String>, store: &Store, file: &File, stores: &Stores, to: &mut Resolver<'_>) {
    let Some(fallback) = store.fallback.at() else { return };
    let other = fallback.value.as_str();
    let report = |message: String, help: String, to: &mut Resolver<'_>| {
        to.report(Problem::error("store::fallback", message).at(fallback.span.clone()).help(help));
    };
    let Some((_, kept)) = stores.iter().find(|(own, _)| own == other) else {
        let names = stores.iter().map(|(own, _)| own.as_str()).filter(|own| *own != name.value);
        let problem = Problem::error("config::unknown_store", format!("there is no store `{other}`"));
        to.report(problem.at(fallback.span.clone()).help(suggestion(other, names, "")));
        return;
    };
    let next = file.stores.iter().find(|(own, _)| own.value == other).and_then(|(_, store)| store.fallback.get());
    let lies_in = match kept {
        Some(Kept::Browser(_)) => Some("the visitors' browsers"),
        Some(Kept::Store(store)) if matches!(store.kind, StoreKind::Memory(_)) => {
            Some("the memory of a process that has ended")
        }
        _ => None,
    };
    if other == name.value {
        let help = "name the store that held the sessions before, or remove `fallback`".into();
        report(format!("store `{other}` is its own fallback"), help, to);
    } else if let Some(next) = next {
        let help = format!("copy first (`cloakroom store copy --from {next} --to {other}`), then remove that one");
        report(format!("the fallback `{other}` has a fallback itself, `{next}`"), help, to);
    } else if let Some(lies_in) = lies_in {
        let help = "name a disk, redis, postgres or memcached store".into();
        report(format!("no session can be fetched from `{other}`: it lies in {lies_in}"), help, to);
    }
}

/// Two stores cannot lie in one place. One that exists without a table counts when something uses it.
fn same_places(file: &File, stores: &Stores, to: &mut Resolver<'_>) {
    let mut taken: Vec<(String, Span)> = Vec::new();
    let is_used = |name: &str| {
        let is = |given: Option<&String>| given.is_some_and(|own| own == name);
        file.sessions.iter().any(|(_, s)| s.store.or("disk".into()) == name || is(s.revocation.get()))
            || file.stores.iter().any(|(_, store)| is(store.fallback.get()))
    };
    // Those without a table come first: they have no place at which to complain.
    for (name, kept) in stores.iter().rev() {
        let Some(Kept::Store(options)) = kept else { continue };
        let table = file.stores.iter().find(|(own, _)| own.value == *name);
        if table.is_none() && !is_used(name) {
            continue;
        }
        let Some(lies_in) = lies_in(&options.kind, table.map(|(_, store)| &**store)) else { continue };
        let place = table.map_or(0..0, |(own, store)| {
            let servers = store.cluster.span_or(&store.servers.span_or(&own.span));
            store.path.span_or(&store.url.span_or(&servers))
        });
        let (message, help) = match &options.kind {
            StoreKind::Disk(_) => ("writes to the file of another one", "a `path`"),
            StoreKind::Postgres(_) => ("writes to the table of another one", "a `table`"),
            _ => ("writes over the keys of another one", "a `key_prefix`"),
        };
        match taken.iter().find(|(other, _)| *other == lies_in) {
            Some((_, other)) => to.report(
                Problem::error("store::duplicate", format!("store `{name}` {message}"))
                    .at(place)
                    .also(other.clone(), "the other one")
                    .help(format!("give each {help} of its own, or let the policies share one store")),
            ),
            None => taken.push((lies_in, place)),
        }
    }
}

/// Where a store lies, to be compared and never shown: it may hold a password.
fn lies_in(kind: &StoreKind, table: Option<&Store>) -> Option<String> {
    let sorted = |mut servers: Vec<String>| {
        servers.sort();
        servers.join(" ")
    };
    Some(match kind {
        StoreKind::Memory(_) => return None,
        StoreKind::Disk(options) => format!("file {}", options.path.display()),
        StoreKind::Postgres(options) => {
            format!("table {} {}", options.table.as_str(), table?.url.get().map_or("", String::as_str))
        }
        StoreKind::Memcached(options) => {
            let servers = options.servers.iter().map(ToString::to_string).collect();
            format!("memcached {} {}", options.key_prefix, sorted(servers))
        }
        StoreKind::Redis(options) => {
            let (what, servers) = match &options.topology {
                Topology::Single(server) => ("server", vec![address(server)]),
                Topology::Sentinel { primary, .. } => ("primary", vec![address(primary)]),
                Topology::Cluster(nodes) => ("cluster", nodes.iter().map(address).collect()),
            };
            format!("redis {what} {} {}", options.key_prefix, sorted(servers))
        }
    })
}

fn address(server: &RedisUrl) -> String {
    match &server.address {
        Address::Tcp { host, port, .. } => format!("{host}:{port}/{}", server.database),
        Address::Unix(path) => format!("{}/{}", path.display(), server.database),
    }
}
