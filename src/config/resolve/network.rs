//! What the stores on a network have in common.

use super::super::NearCache;
use super::super::file::Store;
use super::super::given::{At, Given, Span};
use super::super::interpolate::Origin;
use super::super::password;
use super::super::problem::Problem;
use super::super::unit::Period;
use super::{Resolver, key};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::net::IpAddr;
use std::time::Duration;

/// What keys begin with, unless told otherwise.
const PREFIX: &str = "cloakroom:";

/// What PEM text begins with; anything else names a file.
const PEM: &str = "-----BEGIN ";

/// A near cache that is older than this shows logouts too late to be called one.
const MAX_AGE: Duration = Duration::from_secs(60);

pub(super) fn connections(store: &Store, default: usize, to: &mut Resolver<'_>) -> usize {
    to.within("connections", &store.connections, default, 1..=64)
}

pub(super) fn timeout(store: &Store, default: Duration, to: &mut Resolver<'_>) -> Duration {
    let range = Period(Duration::from_millis(10))..=Period(Duration::from_secs(60));
    to.within("timeout", &store.timeout, Period(default), range).0
}

/// Letters that mean nothing to a pattern of keys, and to the slots of a cluster.
pub(super) fn key_prefix(store: &Store, to: &mut Resolver<'_>) -> String {
    let Some(prefix) = store.key_prefix.at() else { return PREFIX.into() };
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'/');
    if !(1..=64).contains(&prefix.value.len()) || !prefix.value.bytes().all(good) {
        let message = format!("`{}` is no prefix of keys", prefix.value.escape_default());
        let problem = Problem::error("store::key_prefix", message).at(prefix.span.clone());
        to.report(problem.help("use at most 64 letters, digits, `:`, `-`, `_`, `.` and `/`, such as `\"cloakroom:\"`"));
    }
    prefix.value.clone()
}

pub(super) fn near_cache(store: &Store, to: &mut Resolver<'_>) -> NearCache {
    let default = NearCache::default();
    let max_age = store.near_cache.get().and_then(|age| age.0);
    if let Some(age) = max_age.filter(|age| *age > MAX_AGE) {
        let message = format!("`near_cache` is {}: expected at most {}", Period(age), Period(MAX_AGE));
        let problem = Problem::error("config::out_of_range", message).at(store.near_cache.span_or(&(0..0)));
        to.report(
            problem.help("a page may show a session that has ended meanwhile for so long; without it, it is off"),
        );
    }
    let max_bytes = to.size("near_cache_bytes", &store.near_cache_bytes, default.max_bytes as u64, 64 << 10..=1 << 40);
    NearCache { max_age, max_bytes }
}

/// The authorities that may vouch for a server: PEM text, or the file of it.
pub(super) fn authorities(given: &Given<String>, to: &mut Resolver<'_>) -> Option<Vec<u8>> {
    let given = given.at()?;
    let is_text = given.value.contains(PEM);
    let bytes = if is_text { Ok(given.value.clone().into()) } else { std::fs::read(to.around.path(&given.value)) };
    let name = if is_text { "PEM text" } else { &given.value };
    let fault = match bytes {
        Err(error) => format!("the authorities `{name}` cannot be read: {error}"),
        Ok(bytes) => {
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            match certificates {
                Ok(found) if !found.is_empty() => return Some(bytes),
                _ => format!("`{name}` holds no certificate of an authority"),
            }
        }
    };
    let help = "name a file of PEM text; relative paths begin in the directory of this file";
    to.report(Problem::error("store::ca", fault).at(given.span.clone()).help(help));
    None
}

/// A store without its servers is none.
pub(super) fn missing(name: &At<String>, setting: &str, example: &str, to: &mut Resolver<'_>) {
    to.missing(&["stores", &name.value, setting], || {
        Problem::error("config::missing", format!("store `{}` has no `{setting}`", name.value))
            .at(name.span.clone())
            .help(format!("add `{setting} = {example}`"))
    });
}

/// What is wrong with an address. It does not show the text, which may hold a password.
pub(super) fn no_address(
    name: &At<String>,
    setting: &str,
    reason: &str,
    place: &Span,
    example: &str,
    to: &mut Resolver<'_>,
) {
    let message = format!("`{setting}` of store `{}` cannot be used: {reason}", name.value);
    to.report(Problem::error("store::url", message).at(place.clone()).help(format!("write `{example}`")));
}

/// A list that names nobody.
pub(super) fn empty(name: &At<String>, setting: &str, place: Span, to: &mut Resolver<'_>) {
    let message = format!("`{setting}` of store `{}` is empty", name.value);
    to.report(Problem::error("store::servers", message).at(place).help("name at least one server"));
}

/// Warns when what goes to a store can be listened to: records are sealed, what is around them is not.
pub(super) fn exposed<'a>(
    name: &At<String>,
    mut hosts: impl Iterator<Item = &'a str>,
    with_password: bool,
    place: Span,
    help: &str,
    to: &mut Resolver<'_>,
) {
    let Some(host) = hosts.find(|host| !is_this_machine(host)) else { return };
    let password = if with_password { ", and the password" } else { "" };
    let message = format!(
        "sessions of store `{}` travel to {host} without TLS: what is in them is sealed, but who listens sees their keys \
         and sizes{password}",
        name.value
    );
    to.report(Problem::warning("store::plain", message).at(place).help(help));
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Warns when everybody on this machine can read a URL with its password.
pub(super) fn readable(url: &At<String>, to: &mut Resolver<'_>) {
    if password::places(&url.value).is_empty() {
        return;
    }
    let origins: Vec<_> = to.insertions().origins(&url.span).cloned().collect();
    let is_open = |origin: &Origin| matches!(origin, Origin::File(path) if key::is_world_readable(path));
    let what = if origins.iter().any(is_open) {
        "the file of the password of this store"
    } else if origins.is_empty() && to.path.is_some_and(key::is_world_readable) {
        "this file, and the password in it"
    } else {
        return;
    };
    let problem = Problem::warning("store::readable", format!("every user of this machine can read {what}"));
    to.report(problem.at(url.span.clone()).help(
        "take the permission away (`chmod o= FILE`), or insert the password by `${file:PATH}`, `${env:NAME}` or \
         `${cred:NAME}`",
    ));
}
