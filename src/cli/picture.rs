//! What a configuration means, on one screen: who listens, where requests go, and what is kept of sessions.

use crate::config::{Config, KeyOptions, Period, Policy, StoreKind, StoreOptions};
use crate::manager::{Keep, Protection};
use crate::proxy::options::{
    HostHeader, ListenerOptions, OnMissing, RouteOptions, ServerAddress, ServerOptions, SessionUse, UpstreamOptions,
};
use crate::session::Keys;
use crate::store::disk::Sync;
use serde_json::{Value as Json, json};

/// The picture for people.
#[must_use]
pub fn text(config: &Config) -> String {
    let sections: [(&str, Vec<[String; 3]>); 6] = [
        ("listeners", config.listeners.iter().map(listener).collect()),
        ("routes", config.routes.iter().map(|each| route(config, each)).collect()),
        ("upstreams", config.upstreams.iter().map(upstream).collect()),
        ("sessions", config.policies.iter().map(session).collect()),
        ("stores", config.stores.iter().map(store).collect()),
        ("keys", keys(&config.keys)),
    ];
    let mut text = String::new();
    for (title, rows) in sections.into_iter().filter(|(_, rows)| !rows.is_empty()) {
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (first, second) = (width(0), width(1));
        text += title;
        text.push('\n');
        for [name, what, more] in &rows {
            text += format!("  {name:first$}  {what:second$}  {more}").trim_end();
            text.push('\n');
        }
    }
    text
}

/// The picture for programs.
#[must_use]
pub fn json(config: &Config) -> Json {
    let listener = |each: &ListenerOptions| {
        let (tls, behind_tls) = (!each.certificates.is_empty(), each.behind_tls);
        json!({ "name": each.name, "address": each.address.to_string(), "tls": tls, "behind_tls": behind_tls })
    };
    let route = |each: &RouteOptions| {
        json!({
            "name": each.name,
            "takes": each.matcher.to_string(),
            "upstream": config.upstreams[each.upstream].name,
            "sessions": each.sessions.iter().map(|used| policy(config, used)).collect::<Vec<_>>(),
            "requires": each.require.map(|required| policy(config, &each.sessions[required])),
        })
    };
    let upstream = |each: &UpstreamOptions| {
        let servers: Vec<String> = each.servers.iter().map(server).collect();
        json!({ "name": each.name, "servers": servers, "profile": each.profile.name })
    };
    let session = |each: &Policy| {
        let (options, expiry) = (&each.options, &each.options.expiry);
        json!({
            "name": options.name,
            "store": match &options.keep { Keep::Store(name) => name, Keep::Browser(_) => "cookie" },
            "cookie": options.cookie.name().as_str(),
            "secure": options.cookie.options().secure,
            "prefix": each.headers.prefix.as_str(),
            "idle_seconds": expiry.idle.as_secs(),
            "absolute_seconds": expiry.absolute.as_secs(),
        })
    };
    let store = |each: &StoreOptions| {
        let [name, place, promise] = store(each);
        json!({ "name": name, "place": place, "promise": promise })
    };
    json!({
        "listeners": config.listeners.iter().map(listener).collect::<Vec<_>>(),
        "routes": config.routes.iter().map(route).collect::<Vec<_>>(),
        "upstreams": config.upstreams.iter().map(upstream).collect::<Vec<_>>(),
        "sessions": config.policies.iter().map(session).collect::<Vec<_>>(),
        "stores": config.stores.iter().map(store).collect::<Vec<_>>(),
        "keys": config.keys.iter().map(|key| &key.id).collect::<Vec<_>>(),
    })
}

fn listener(listener: &ListenerOptions) -> [String; 3] {
    let is_tls = !listener.certificates.is_empty();
    let scheme = if is_tls { "https" } else { "http" };
    let more = match (is_tls, listener.behind_tls) {
        (true, _) if listener.certificates.len() == 1 => "1 certificate".into(),
        (true, _) => format!("{} certificates", listener.certificates.len()),
        (false, true) => "behind TLS".into(),
        (false, false) => String::new(),
    };
    [listener.name.clone(), format!("{scheme}://{}", listener.address), more]
}

fn policy<'a>(config: &'a Config, used: &SessionUse) -> &'a str {
    &config.policies[used.policy].options.name
}

fn route(config: &Config, route: &RouteOptions) -> [String; 3] {
    let sessions = route.sessions.iter().enumerate().map(|(index, used)| {
        let mut shown = policy(config, used).to_owned();
        if !used.rights.may_write {
            shown += " (read)";
        } else if used.rights.read != Keys::All || used.rights.write != Keys::All {
            shown += " (some keys)";
        }
        if route.require == Some(index) {
            shown += match &route.on_missing {
                OnMissing::Status(_) => " (required)",
                OnMissing::Redirect(_) => " (required, else redirected)",
            };
        }
        shown
    });
    let sessions: Vec<String> = sessions.collect();
    let target = format!("→ {}", config.upstreams[route.upstream].name);
    let more = if sessions.is_empty() { target } else { format!("{target}  with {}", sessions.join(", ")) };
    [route.name.clone(), route.matcher.to_string(), more]
}

fn upstream(upstream: &UpstreamOptions) -> [String; 3] {
    let servers: Vec<String> = upstream.servers.iter().map(server).collect();
    let host = match &upstream.host_header {
        HostHeader::Preserve => String::new(),
        HostHeader::Upstream => ", its own Host".into(),
        HostHeader::Fixed(host) => format!(", Host {}", host.to_str().unwrap_or_default()),
    };
    [upstream.name.clone(), servers.join(" "), format!("profile {}{host}", upstream.profile.name)]
}

fn server(server: &ServerOptions) -> String {
    let scheme = if server.tls_name.is_some() { "https" } else { "http" };
    let address = match &server.address {
        ServerAddress::Tcp { host, port } if host.contains(':') => format!("{scheme}://[{host}]:{port}"),
        ServerAddress::Tcp { host, port } => format!("{scheme}://{host}:{port}"),
        ServerAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    if server.backup { format!("{address} (backup)") } else { address }
}

fn session(policy: &Policy) -> [String; 3] {
    let options = &policy.options;
    let keep = match &options.keep {
        Keep::Store(name) => format!("in store {name}"),
        Keep::Browser(Protection::Sealed) => "in the visitor's cookie, sealed".into(),
        Keep::Browser(Protection::Signed) => "in the visitor's cookie, readable".into(),
    };
    let (idle, absolute) = (Period(options.expiry.idle), Period(options.expiry.absolute));
    let more =
        format!("cookie {}, headers {}, {idle} idle, {absolute} at most", options.cookie.name(), policy.headers.prefix);
    [options.name.clone(), keep, more]
}

fn store(store: &StoreOptions) -> [String; 3] {
    let (what, promise) = match &store.kind {
        StoreKind::Memory(_) => ("memory".into(), "lost when the process ends"),
        StoreKind::Disk(options) => {
            let promise = match options.sync {
                Sync::Always => "nothing acknowledged is ever lost",
                Sync::Interval => "a power cut may lose the last second",
                Sync::Never => "a power cut may lose more than the last second",
            };
            (options.path.display().to_string(), promise)
        }
    };
    [store.name.clone(), what, promise.into()]
}

fn keys(keys: &[KeyOptions]) -> Vec<[String; 3]> {
    let each = |(index, key): (usize, &KeyOptions)| {
        let use_ = if index == 0 { "seals and opens" } else { "opens" };
        let more = key.retire_after.map_or(String::new(), |last| format!("until {last}"));
        [key.id.clone(), use_.into(), more]
    };
    keys.iter().enumerate().map(each).collect()
}
