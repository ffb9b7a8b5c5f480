//! `type = "memcached"`: one or several servers, each with its share of the sessions.

use super::super::file::Store;
use super::super::given::At;
use super::super::problem::Problem;
use super::{Resolver, network};
use crate::store::memcached::{MemcachedOptions, MemcachedServer};
use std::time::Duration;

pub(super) fn options(name: &At<String>, store: &Store, to: &mut Resolver<'_>) -> Option<MemcachedOptions> {
    let servers = servers(name, store, to);
    let options = MemcachedOptions {
        key_prefix: network::key_prefix(store, to),
        connections: network::connections(store, 2, to),
        timeout: network::timeout(store, Duration::from_millis(250), to),
        servers: servers?,
    };
    let hosts = options.servers.iter().filter_map(|server| match server {
        MemcachedServer::Tcp { host, .. } => Some(host.as_str()),
        MemcachedServer::Unix(_) => None,
    });
    let help = "memcached talks no TLS here: keep it on a network of your own servers";
    network::exposed(name, hosts, false, store.servers.span_or(&name.span), help, to);
    Some(options)
}

fn servers(name: &At<String>, store: &Store, to: &mut Resolver<'_>) -> Option<Vec<MemcachedServer>> {
    let Some(written) = store.servers.at() else {
        network::missing(name, "servers", "[\"10.0.0.7:11211\"]", to);
        return None;
    };
    if written.value.is_empty() {
        network::empty(name, "servers", written.span.clone(), to);
        return None;
    }
    let mut servers = Vec::new();
    for server in &written.value {
        match MemcachedServer::parse(&server.value) {
            Err(error) => {
                network::no_address(name, "servers", &error.to_string(), &server.span, "10.0.0.7:11211", to);
            }
            // Twice in the list it would get two shares, and the limit of its memory would come sooner.
            Ok(known) if servers.contains(&known) => {
                let problem = Problem::error("store::servers", format!("store `{}` has {known} twice", name.value));
                to.report(problem.at(server.span.clone()).help("remove one of them"));
            }
            Ok(new) => servers.push(new),
        }
    }
    (servers.len() == written.value.len()).then_some(servers)
}
