//! `type = "redis"`: one server, a primary that Sentinels name, or a cluster.

use super::super::file::Store;
use super::super::given::{At, Given};
use super::super::problem::Problem;
use super::{Resolver, network};
use crate::store::redis::{Address, RedisOptions, RedisUrl, Topology};
use std::time::Duration;
use url::Url;

/// Where Sentinels listen unless told otherwise.
const SENTINEL_PORT: u16 = 26_379;

const URL: &str = "\"rediss://user:${env:PASSWORD}@valkey.internal:6379/0\"";
const NODE: &str = "redis://10.0.0.5:6379";
const SENTINEL: &str = "redis://10.0.0.5:26379";

pub(super) fn options(name: &At<String>, store: &Store, to: &mut Resolver<'_>) -> Option<RedisOptions> {
    let topology = topology(name, store, to);
    let ca = network::authorities(&store.ca, to);
    let options = RedisOptions {
        ca,
        key_prefix: network::key_prefix(store, to),
        connections: network::connections(store, 2, to),
        timeout: network::timeout(store, Duration::from_millis(250), to),
        topology: topology?,
    };
    let place = store.url.span_or(&store.cluster.span_or(&name.span));
    if let Some(ca) = store.ca.at().filter(|_| !servers(&options.topology).any(is_tls)) {
        let problem = Problem::error("store::ca", "`ca` means nothing to a server that does not talk TLS");
        to.report(
            problem.at(ca.span.clone()).also(place.clone(), "the server").help("write `rediss://`, or remove `ca`"),
        );
    }
    let is_plain = |server: &&RedisUrl| !is_tls(server);
    let has_login = |server: &RedisUrl| server.password.is_some();
    let primary = if let Topology::Sentinel { primary, .. } = &options.topology { has_login(primary) } else { false };
    let has_password = primary || servers(&options.topology).filter(is_plain).any(has_login);
    let hosts = servers(&options.topology).filter(is_plain).filter_map(|server| host(server));
    network::exposed(name, hosts, has_password, place, "write `rediss://` if the server talks TLS", to);
    Some(options)
}

fn topology(name: &At<String>, store: &Store, to: &mut Resolver<'_>) -> Option<Topology> {
    let together = |one: &str, other: &str, place, to: &mut Resolver<'_>| {
        let message = format!("store `{}` has `{one}` and `{other}`", name.value);
        let problem = Problem::error("store::servers", message).at(place);
        to.report(problem.help("`url` is one server, with `sentinels` the name of a primary; `cluster` stands alone"));
        None
    };
    match (store.url.at(), store.sentinels.at(), store.cluster.at()) {
        (Some(url), _, Some(_)) => together("url", "cluster", url.span.clone(), to),
        (_, Some(sentinels), Some(_)) => together("sentinels", "cluster", sentinels.span.clone(), to),
        (None, _, None) => {
            network::missing(name, "url", URL, to);
            None
        }
        (None, None, Some(_)) => cluster(name, &store.cluster, to),
        (Some(url), None, None) => server(name, "url", url, to).map(Topology::Single),
        (Some(url), Some(_), None) => {
            let primary = server(name, "url", url, to);
            let sentinels = sentinels(name, &store.sentinels, to)?;
            let primary = primary?;
            if host(&primary).is_none() {
                let reason = "Sentinels know no sockets";
                network::no_address(name, "url", reason, &url.span, "redis://name-of-the-primary", to);
                return None;
            }
            Some(Topology::Sentinel { sentinels, primary })
        }
    }
}

fn server(name: &At<String>, setting: &str, url: &At<String>, to: &mut Resolver<'_>) -> Option<RedisUrl> {
    network::readable(url, to);
    match RedisUrl::parse(&url.value) {
        Ok(server) => Some(server),
        Err(error) => {
            let example = match setting {
                "url" => URL.trim_matches('"'),
                "cluster" => NODE,
                _ => SENTINEL,
            };
            network::no_address(name, setting, &error.to_string(), &url.span, example, to);
            None
        }
    }
}

fn sentinels(name: &At<String>, given: &Given<Vec<At<String>>>, to: &mut Resolver<'_>) -> Option<Vec<RedisUrl>> {
    let written = list(name, "sentinels", given, to)?;
    let sentinels = written.iter().map(|url| {
        let mut sentinel = server(name, "sentinels", url, to)?;
        let has_port = Url::parse(&url.value).is_ok_and(|url| url.port().is_some());
        match &mut sentinel.address {
            Address::Tcp { port, .. } if sentinel.database == 0 => {
                if !has_port {
                    *port = SENTINEL_PORT;
                }
                Some(sentinel)
            }
            _ => {
                let reason = "a Sentinel has a host, and no database";
                network::no_address(name, "sentinels", reason, &url.span, SENTINEL, to);
                None
            }
        }
    });
    sentinels.collect::<Vec<_>>().into_iter().collect()
}

/// The other nodes are known from these: all are logged into in the same way.
fn cluster(name: &At<String>, given: &Given<Vec<At<String>>>, to: &mut Resolver<'_>) -> Option<Topology> {
    let written = list(name, "cluster", given, to)?;
    let nodes: Vec<_> = written.iter().map(|url| server(name, "cluster", url, to)).collect();
    let nodes: Vec<RedisUrl> = nodes.into_iter().collect::<Option<_>>()?;
    let first = nodes.first()?;
    let login = |node: &RedisUrl| (node.username.clone(), node.password.clone(), is_tls(node));
    for (node, url) in nodes.iter().zip(written) {
        let reason = if host(node).is_none() || node.database != 0 {
            "a node of a cluster has a host, and no database"
        } else if login(node) != login(first) {
            "all nodes of a cluster have one user, one password, and all talk TLS or none"
        } else {
            continue;
        };
        network::no_address(name, "cluster", reason, &url.span, NODE, to);
        return None;
    }
    Some(Topology::Cluster(nodes))
}

fn list<'a>(
    name: &At<String>,
    setting: &str,
    given: &'a Given<Vec<At<String>>>,
    to: &mut Resolver<'_>,
) -> Option<&'a [At<String>]> {
    let list = given.at()?;
    if list.value.is_empty() {
        network::empty(name, setting, list.span.clone(), to);
        return None;
    }
    Some(&list.value)
}

/// Every server that is named by an address; the primary that Sentinels name has none.
fn servers(topology: &Topology) -> Box<dyn Iterator<Item = &RedisUrl> + '_> {
    match topology {
        Topology::Single(server) => Box::new(std::iter::once(server)),
        // Servers without TLS stand beside their Sentinels; those with TLS are what matters.
        Topology::Sentinel { primary, .. } if is_tls(primary) => Box::new(std::iter::once(primary)),
        Topology::Sentinel { sentinels, .. } => Box::new(sentinels.iter()),
        Topology::Cluster(nodes) => Box::new(nodes.iter()),
    }
}

fn is_tls(server: &RedisUrl) -> bool {
    matches!(server.address, Address::Tcp { tls: true, .. })
}

fn host(server: &RedisUrl) -> Option<&str> {
    match &server.address {
        Address::Tcp { host, .. } => Some(host),
        Address::Unix(_) => None,
    }
}
