//! What a configuration means, on one screen: who listens, where requests go, and what is kept of sessions.

use crate::codec::TokenMode;
use crate::config::{Config, KeyOptions, Period, Policy, StoreKind, StoreOptions};
use crate::cookie::{Hardening, SameSite};
use crate::manager::{Keep, OnOutage, Protection};
use crate::proxy::options::{
    CookieAction, CookieRule, Goal, HostHeader, ListenerOptions, OnMissing, RouteOptions, ServerAddress, ServerOptions,
    SessionUse, UpstreamOptions,
};
use crate::session::Keys;
use crate::store::redis::{Address, RedisUrl, Topology};
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
    let sections = sections.into_iter().filter(|(_, rows)| !rows.is_empty());
    sections.map(|(title, rows)| format!("{title}\n{}", table(&rows))).collect()
}

/// All stores, also those that nothing uses.
pub(super) fn stores(config: &Config) -> String {
    let spare = config.spare_stores.iter().map(|spare| {
        let [name, place, more] = store(spare);
        [name, place, format!("{more}; not in use")]
    });
    table(&config.stores.iter().map(store).chain(spare).collect::<Vec<_>>())
}

fn table(rows: &[[String; 3]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let row = |[name, what, more]: &[String; 3]| {
        format!("  {name:first$}  {what:second$}  {more}").trim_end().to_owned() + "\n"
    };
    rows.iter().map(row).collect()
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
            "upstream": upstream_of(config, each),
            "status": each.sessions.first().filter(|_| each.goal == Goal::Status).map(|used| policy(config, used)),
            "sessions": each.sessions.iter().map(|used| policy(config, used)).collect::<Vec<_>>(),
            "store_unavailable": outage(config, each).map(|(word, _)| word),
            "csrf": each.csrf.map(|session| policy(config, &each.sessions[session])),
            "cookies": each.cookies.iter().map(|rule| cookie_rule_json(config, each, rule)).collect::<Vec<_>>(),
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
            "revocation": each.revocation,
            "lock": if options.lock.is_some() { "exclusive" } else { "off" },
            "max_sessions_per_owner": options.max_sessions_per_owner.map(|cap| cap.limit),
            "history": options.history.map(|history| history.most),
            "cookie": options.cookie.name().as_str(),
            "secure": options.cookie.options().secure,
            "prefix": each.headers.prefix.as_str(),
            "csrf": each.headers.csrf,
            "proof": each.headers.proof_key.is_some(),
            "nonce": if each.headers.nonce { "required" } else { "off" },
            "idle_seconds": expiry.idle.as_secs(),
            "absolute_seconds": expiry.absolute.as_secs(),
        })
    };
    json!({
        "listeners": config.listeners.iter().map(listener).collect::<Vec<_>>(),
        "routes": config.routes.iter().map(route).collect::<Vec<_>>(),
        "upstreams": config.upstreams.iter().map(upstream).collect::<Vec<_>>(),
        "sessions": config.policies.iter().map(session).collect::<Vec<_>>(),
        "stores": config.stores.iter().map(store_json).collect::<Vec<_>>(),
        "keys": config.keys.iter().map(|key| &key.id).collect::<Vec<_>>(),
    })
}

/// A store for programs.
pub(super) fn store_json(store: &StoreOptions) -> Json {
    json!({
        "name": store.name,
        "type": store.kind.as_str(),
        "place": place(&store.kind),
        "promise": store.kind.promise(),
        "near_cache_seconds": store.near.max_age.map(|age| age.as_secs_f64()),
        "fallback": store.fallback,
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

fn upstream_of<'a>(config: &'a Config, route: &RouteOptions) -> Option<&'a str> {
    match route.goal {
        Goal::Upstream(upstream) => Some(&config.upstreams[upstream].name),
        Goal::Status => None,
    }
}

fn route(config: &Config, route: &RouteOptions) -> [String; 3] {
    let Some(target) = upstream_of(config, route) else {
        let of = route.sessions.first().map_or("-", |used| policy(config, used));
        return [route.name.clone(), route.matcher.to_string(), format!("answers the state of {of}, extends nothing")];
    };
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
        if route.csrf == Some(index) {
            shown += " (csrf token)";
        }
        shown
    });
    let sessions: Vec<String> = sessions.collect();
    let target = format!("→ {target}");
    let with = if sessions.is_empty() { String::new() } else { format!("  with {}", sessions.join(", ")) };
    // What everybody expects needs no words.
    let outage = outage(config, route).filter(|_| route.on_outage != OnOutage::Error);
    let outage = outage.map_or(String::new(), |(_, meaning)| format!("; {meaning}"));
    let rules: Vec<String> = route.cookies.iter().map(|rule| cookie_rule(config, route, rule)).collect();
    let cookies = if rules.is_empty() { String::new() } else { format!("; cookies: {}", rules.join(", ")) };
    let more = format!("{target}{with}{cookies}{outage}");
    [route.name.clone(), route.matcher.to_string(), more]
}

/// What happens to cookies of the backend, in a few words.
pub(super) fn cookie_rule(config: &Config, route: &RouteOptions, rule: &CookieRule) -> String {
    let attributes = |hardening: &Hardening| {
        let same_site = match hardening.same_site {
            SameSite::Strict => "SameSite=Strict",
            SameSite::Lax => "SameSite=Lax",
            SameSite::None => "SameSite=None",
        };
        let set = [(hardening.secure, "Secure"), (hardening.http_only, "HttpOnly"), (true, same_site)];
        set.iter().filter(|(is_set, _)| *is_set).map(|(_, attribute)| *attribute).collect::<Vec<_>>().join(" ")
    };
    let what = match &rule.action {
        CookieAction::Pass => "as they are".into(),
        CookieAction::Harden(hardening) => format!("with {}", attributes(hardening)),
        CookieAction::Protect(TokenMode::Signed, hardening) => format!("signed, with {}", attributes(hardening)),
        CookieAction::Protect(TokenMode::Sealed, hardening) => format!("encrypted, with {}", attributes(hardening)),
        CookieAction::Hold(session) => format!("held in {}", policy(config, &route.sessions[*session])),
        CookieAction::Drop => "dropped".into(),
    };
    format!("{} {what}", rule.names.as_str())
}

/// A rule for cookies, for programs.
fn cookie_rule_json(config: &Config, route: &RouteOptions, rule: &CookieRule) -> Json {
    let action = match &rule.action {
        CookieAction::Pass => "pass",
        CookieAction::Harden(_) => "harden",
        CookieAction::Protect(TokenMode::Signed, _) => "sign",
        CookieAction::Protect(TokenMode::Sealed, _) => "encrypt",
        CookieAction::Hold(_) => "hold",
        CookieAction::Drop => "drop",
    };
    let session = match rule.action {
        CookieAction::Hold(session) => Some(policy(config, &route.sessions[session])),
        _ => None,
    };
    json!({ "name": rule.names.as_str(), "action": action, "session": session })
}

/// What happens on a route while the store of a session cannot answer, as a word of the file and as half a sentence.
pub(super) fn outage(config: &Config, route: &RouteOptions) -> Option<(&'static str, String)> {
    let age = Period(config.cached_max_age);
    let (word, meaning) = match route.on_outage {
        _ if route.sessions.is_empty() => return None,
        OnOutage::Error => ("error", "503 when the store fails".into()),
        OnOutage::Cached => ("cached", format!("copies of at most {age} when the store fails, read-only, else 503")),
        OnOutage::Anonymous => ("anonymous", "without a session when the store fails".into()),
    };
    Some((word, meaning))
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
    let keep = policy.revocation.as_ref().map_or(keep.clone(), |store| format!("{keep}, ends in store {store}"));
    let (idle, absolute) = (Period(options.expiry.idle), Period(options.expiry.absolute));
    let more =
        format!("cookie {}, headers {}, {idle} idle, {absolute} at most", options.cookie.name(), policy.headers.prefix);
    let cap = options.max_sessions_per_owner.map_or(String::new(), |cap| format!(", {} an owner", cap.limit));
    let history = options
        .history
        .map_or(String::new(), |history| format!(", {} changes kept for {}", history.most, Period(history.keeps)));
    let headers = &policy.headers;
    let extras = [
        (options.lock.is_some(), ", one request at a time"),
        (headers.csrf, ", csrf token"),
        (headers.proof_key.is_some(), ", proven requests"),
        (headers.nonce, ", nonce required"),
    ];
    let extras: String = extras.into_iter().filter(|(is_on, _)| *is_on).map(|(_, words)| words).collect();
    [options.name.clone(), keep, more + &cap + &history + &extras]
}

fn store(store: &StoreOptions) -> [String; 3] {
    let near = store.near.max_age.map(|age| format!("; shown from copies of up to {}", Period(age)));
    let fallback = store.fallback.as_ref().map(|other| format!("; what it lacks is fetched from {other}"));
    let more = [Some(store.kind.promise().to_owned()), near, fallback].into_iter().flatten().collect();
    [store.name.clone(), place(&store.kind), more]
}

/// Where a store lies, without its user and its password.
fn place(kind: &StoreKind) -> String {
    match kind {
        StoreKind::Memory(_) => "memory".into(),
        StoreKind::Disk(options) => options.path.display().to_string(),
        StoreKind::Redis(options) => match &options.topology {
            Topology::Single(server) => redis(server),
            Topology::Sentinel { sentinels, primary } => {
                let name = if let Address::Tcp { host, .. } = &primary.address { host } else { "" };
                format!("redis primary {name} by {}", sentinels.iter().map(redis).collect::<Vec<_>>().join(" "))
            }
            Topology::Cluster(nodes) => {
                format!("cluster of {}", nodes.iter().map(redis).collect::<Vec<_>>().join(" "))
            }
        },
        StoreKind::Memcached(options) => {
            let servers: Vec<String> = options.servers.iter().map(ToString::to_string).collect();
            format!("memcached {}", servers.join(" "))
        }
        StoreKind::Postgres(options) => {
            format!("postgres {} table {}", options.url.places().join(" "), options.table.as_str())
        }
    }
}

fn redis(server: &RedisUrl) -> String {
    match &server.address {
        Address::Tcp { host, port, tls } => {
            let scheme = if *tls { "rediss" } else { "redis" };
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            format!("{scheme}://{host}:{port}")
        }
        Address::Unix(path) => format!("redis+unix://{}", path.display()),
    }
}

fn keys(keys: &[KeyOptions]) -> Vec<[String; 3]> {
    if keys.is_empty() {
        let more = "`cloakroom keygen` makes one to share or to rotate";
        return vec![["(none)".into(), "this server makes one of its own".into(), more.into()]];
    }
    let each = |(index, key): (usize, &KeyOptions)| {
        let use_ = if index == 0 { "seals and opens" } else { "opens" };
        let more = key.retire_after.map_or(String::new(), |last| format!("until {last}"));
        [key.id.clone(), use_.into(), more]
    };
    keys.iter().enumerate().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_route_shows_what_happens_to_the_cookies_of_its_backend() {
        let text = "[listeners.web]\naddress = \"127.0.0.1:1\"\n[upstreams.app]\nservers = [\"http://127.0.0.1:2\"]\n\
            [sessions.main]\n[[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n\
            [[routes.cookies]]\nname = \"sid\"\naction = \"hold\"\n\
            [[routes.cookies]]\nname = \"PHPSESSID\"\naction = \"harden\"\n\
            [[routes.cookies]]\nname = \"ads_*\"\naction = \"drop\"\n\
            [[routes.cookies]]\nname = \"user\"\naction = \"encrypt\"\nhttp_only = false\n\
            [[routes.cookies]]\nname = \"*\"\naction = \"pass\"\n";
        let config = parse(text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"));
        let expected = "→ app  with main; cookies: sid held in main, PHPSESSID with HttpOnly SameSite=Lax, ads_* dropped, \
            user encrypted, with SameSite=Lax, * as they are";
        assert_eq!(route(&config, &config.routes[0])[2], expected);
        let first = json!({ "name": "sid", "action": "hold", "session": "main" });
        assert_eq!(json(&config)["routes"][0]["cookies"][0], first);
    }

    #[test]
    fn a_route_shows_how_far_it_goes_in_an_outage() {
        let text = "[listeners.web]\naddress = \"127.0.0.1:1\"\n[upstreams.app]\nservers = [\"http://127.0.0.1:2\"]\n\
            [sessions.main]\n[failure]\nstore_unavailable = \"cached\"\ncached_max_age = \"90s\"\n\
            [[routes]]\npath = \"/plain\"\nupstream = \"app\"\n\
            [[routes]]\npath = \"/pay\"\nupstream = \"app\"\nsessions = [\"main\"]\nstore_unavailable = \"error\"\n\
            [[routes]]\npath = \"/news\"\nupstream = \"app\"\nsessions = [\"main\"]\nstore_unavailable = \"anonymous\"\n\
            [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n";
        let config = parse(text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"));
        let shown: Vec<String> = config.routes.iter().map(|each| route(&config, each)[2].clone()).collect();
        let expected = [
            "→ app",
            "→ app  with main",
            "→ app  with main; without a session when the store fails",
            "→ app  with main; copies of at most 90s when the store fails, read-only, else 503",
        ];
        assert_eq!(shown, expected);
        let words: Vec<Json> =
            json(&config)["routes"].as_array().unwrap().iter().map(|each| each["store_unavailable"].clone()).collect();
        assert_eq!(words, [Json::Null, "error".into(), "anonymous".into(), "cached".into()]);
    }

    #[test]
    fn a_route_that_is_answered_here_leads_to_no_upstream() {
        let text = "[listeners.web]\naddress = \"127.0.0.1:1\"\n[upstreams.app]\nservers = [\"http://127.0.0.1:2\"]\n\
            [sessions.main]\n[[routes]]\npath = \"/s\"\nstatus = \"main\"\n\
            [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n";
        let config = parse(text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(route(&config, &config.routes[0])[2], "answers the state of main, extends nothing");
        let json = json(&config);
        assert_eq!((&json["routes"][0]["status"], &json["routes"][0]["upstream"]), (&"main".into(), &Json::Null));
        assert_eq!((&json["routes"][1]["status"], &json["routes"][1]["upstream"]), (&Json::Null, &"app".into()));
    }

    #[test]
    fn what_protects_a_session_is_shown_with_it() {
        let text = "[listeners.web]\naddress = \"127.0.0.1:1\"\n[upstreams.app]\nservers = [\"http://127.0.0.1:2\"]\n\
            [sessions.main]\nheaders = { csrf = true, nonce = \"required\", \
            proof_key = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\" }\n\
            [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\nrequire = \"main\"\ncsrf = \"enforce\"\n";
        let config = parse(text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(route(&config, &config.routes[0])[2], "→ app  with main (required) (csrf token)");
        let shown = session(&config.policies[0])[2].clone();
        assert!(shown.ends_with(", csrf token, proven requests, nonce required"), "{shown}");
        let json = json(&config);
        assert_eq!((&json["routes"][0]["csrf"], &json["sessions"][0]["csrf"]), (&"main".into(), &true.into()));
        assert_eq!((&json["sessions"][0]["proof"], &json["sessions"][0]["nonce"]), (&true.into(), &"required".into()));
    }
}
