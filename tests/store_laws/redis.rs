//! What only the Redis store promises, against real servers and against scripted ones.

mod faults;
mod index;
mod scripted;
mod tracking;

use crate::servers::redis::{Cluster, Guarded, PASSWORD, PRIMARY, Server, USER, Watched};
use cloakroom::store::redis::{RedisOptions, RedisStore, RedisUrl, Topology};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// No answer takes longer, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(10);

/// A prefix that no other test of this program uses; `app:` is where the user of few rights may write.
fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("app:{}:", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn url(text: &str) -> RedisUrl {
    RedisUrl::parse(text).unwrap()
}

fn at(port: u16) -> RedisUrl {
    url(&format!("redis://127.0.0.1:{port}"))
}

fn options(topology: Topology) -> RedisOptions {
    RedisOptions { topology, ca: None, key_prefix: prefix(), connections: 2, timeout: LIMIT }
}

fn open(options: RedisOptions) -> RedisStore {
    RedisStore::open(options, None).unwrap()
}

pub fn plain() -> RedisStore {
    open(options(Topology::Single(at(Guarded::shared().server.port))))
}

pub fn over_a_socket() -> RedisStore {
    let socket = format!("redis+unix://{}", Guarded::shared().socket.display());
    open(options(Topology::Single(url(&socket))))
}

pub fn over_tls_as_a_user() -> RedisStore {
    let server = Guarded::shared();
    let password = PASSWORD.replace(' ', "%20");
    let topology = Topology::Single(url(&format!("rediss://{USER}:{password}@127.0.0.1:{}", server.tls_port)));
    open(RedisOptions { ca: Some(server.ca.clone()), ..options(topology) })
}

pub fn by_sentinels() -> RedisStore {
    open(options(watched(Watched::shared())))
}

fn watched(servers: &Watched) -> Topology {
    let sentinels = servers.sentinels.iter().map(|sentinel: &Server| at(sentinel.port)).collect();
    Topology::Sentinel { sentinels, primary: url(&format!("redis://{PRIMARY}")) }
}

pub fn in_a_cluster() -> RedisStore {
    open(options(cluster(Cluster::shared())))
}

fn cluster(servers: &Cluster) -> Topology {
    Topology::Cluster(servers.nodes[..2].iter().map(|node| at(node.port)).collect())
}
