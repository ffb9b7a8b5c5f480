//! A pool of backends: which server is asked, and with which time limits.

use super::options::{HostHeader, ServerAddress, UpstreamOptions};
use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;
use std::net::ToSocketAddrs as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A backend cannot be used as it is written.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The name has no address.
    #[error("upstream `{upstream}`: `{host}` has no address")]
    Lookup {
        /// The upstream.
        upstream: String,
        /// The host.
        host: String,
        /// What the resolver said.
        #[source]
        source: std::io::Error,
    },
    /// The path cannot be the name of a socket.
    #[error("upstream `{upstream}`: `{path}` cannot be a socket")]
    Socket {
        /// The upstream.
        upstream: String,
        /// The path.
        path: String,
    },
}

/// One server, ready to be asked.
#[derive(Debug)]
struct Server {
    peer: HttpPeer,
    host: Option<HeaderValue>,
    label: String,
}

/// One `[upstreams.<name>]` at work.
#[derive(Debug)]
pub struct Upstream {
    options: UpstreamOptions,
    servers: Vec<Server>,
    /// The order in which servers are asked, each as often as its weight.
    schedule: Vec<usize>,
    turn: AtomicUsize,
}

impl Upstream {
    /// Looks the servers up.
    ///
    /// # Errors
    /// [`UpstreamError`] names the server that cannot be found.
    pub fn new(options: UpstreamOptions) -> Result<Self, UpstreamError> {
        let servers = (0..options.servers.len()).map(|index| server(&options, index)).collect::<Result<_, _>>()?;
        let weights: Vec<(usize, u32)> = options
            .servers
            .iter()
            .enumerate()
            .filter(|(_, server)| !server.backup)
            .map(|(index, server)| (index, server.weight))
            .collect();
        let schedule = schedule(&weights);
        Ok(Self { options, servers, schedule, turn: AtomicUsize::new(0) })
    }

    /// The options it was made of.
    #[must_use]
    pub const fn options(&self) -> &UpstreamOptions {
        &self.options
    }

    /// The server to be asked next: the one whose turn it is, then the others, then those that are backups.
    ///
    /// `tried` are those that could not be reached for this request; `None` when all were tried.
    pub fn choose(&self, tried: &[usize]) -> Option<usize> {
        let turn = if tried.is_empty() {
            self.turn.fetch_add(1, Ordering::Relaxed)
        } else {
            self.turn.load(Ordering::Relaxed)
        };
        let (after, before) = self.schedule.split_at(turn.checked_rem(self.schedule.len()).unwrap_or(0));
        let backups = (0..self.servers.len()).filter(|index| self.options.servers[*index].backup);
        before.iter().chain(after).copied().chain(backups).find(|index| !tried.contains(index))
    }

    /// How to reach a server.
    #[must_use]
    pub fn peer(&self, server: usize) -> Box<HttpPeer> {
        Box::new(self.servers[server].peer.clone())
    }

    /// The `Host` for a server; `None` keeps the client's.
    #[must_use]
    pub fn host(&self, server: usize) -> Option<&HeaderValue> {
        self.servers[server].host.as_ref()
    }

    /// The server's address, for the log.
    #[must_use]
    pub fn label(&self, server: usize) -> &str {
        &self.servers[server].label
    }

    /// How many servers there are, backups included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether there is no server at all; the configuration refuses that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
}

fn server(options: &UpstreamOptions, index: usize) -> Result<Server, UpstreamError> {
    let server = &options.servers[index];
    let tls = server.tls_name.is_some();
    let sni = server.tls_name.clone().unwrap_or_default();
    let (mut peer, label) = match &server.address {
        ServerAddress::Tcp { host, port } => {
            let lookup = |source| UpstreamError::Lookup { upstream: options.name.clone(), host: host.clone(), source };
            let mut found = (host.as_str(), *port).to_socket_addrs().map_err(lookup)?;
            let address = found.next().ok_or_else(|| lookup(std::io::ErrorKind::NotFound.into()))?;
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            (HttpPeer::new(address, tls, sni), format!("{host}:{port}"))
        }
        ServerAddress::Unix(path) => {
            let path = path.to_string_lossy();
            let socket = |_| UpstreamError::Socket { upstream: options.name.clone(), path: path.to_string() };
            (HttpPeer::new_uds(&path, tls, sni).map_err(socket)?, format!("unix:{path}"))
        }
    };
    let host = match &options.host_header {
        HostHeader::Preserve => None,
        HostHeader::Fixed(host) => Some(host.clone()),
        HostHeader::Upstream => {
            HeaderValue::try_from(label.strip_prefix("unix:").map_or(&*label, |_| "localhost")).ok()
        }
    };
    let time = &mut peer.options;
    time.connection_timeout = Some(options.connect_timeout);
    time.total_connection_timeout = Some(options.connect_timeout + Duration::from_secs(5));
    time.read_timeout = Some(options.request_timeout);
    time.write_timeout = Some(Duration::from_secs(30));
    // Below the backend's own keep-alive, or a POST meets a connection that is just being closed.
    time.idle_timeout = Some(options.idle_timeout);
    Ok(Server { peer, host, label })
}

/// Smooth weighted round robin, written out once: every server as often as its weight, spread as evenly as can be.
fn schedule(weights: &[(usize, u32)]) -> Vec<usize> {
    let shared = weights.iter().map(|(_, weight)| *weight).fold(0, gcd).max(1);
    let weights: Vec<(usize, i64)> =
        weights.iter().map(|(index, weight)| (*index, i64::from(weight / shared))).collect();
    let total: i64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut credit: Vec<i64> = vec![0; weights.len()];
    let mut schedule = Vec::new();
    for _ in 0..total.min(10_000) {
        credit.iter_mut().zip(&weights).for_each(|(credit, (_, weight))| *credit += weight);
        let Some(best) = (0..credit.len()).rev().max_by_key(|at| credit[*at]) else { break };
        credit[best] -= total;
        schedule.push(weights[best].0);
    }
    schedule
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::options::ServerOptions;
    use crate::wire::Profile;

    fn upstream(servers: &[(u32, bool)]) -> Upstream {
        let server = |(weight, backup): &(u32, bool)| ServerOptions {
            address: ServerAddress::Tcp { host: "127.0.0.1".into(), port: 9 },
            tls_name: None,
            weight: *weight,
            backup: *backup,
        };
        Upstream::new(UpstreamOptions {
            name: "app".into(),
            servers: servers.iter().map(server).collect(),
            profile: Profile::generic(),
            host_header: HostHeader::Upstream,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(4),
            retries: 1,
        })
        .unwrap()
    }

    #[test]
    fn servers_are_asked_by_weight_and_evenly() {
        assert_eq!(schedule(&[(0, 1), (1, 1)]), [0, 1]);
        assert_eq!(schedule(&[(0, 2), (1, 1)]), [0, 1, 0]);
        assert_eq!(schedule(&[(0, 100), (1, 50)]), [0, 1, 0]);
        let upstream = upstream(&[(3, false), (1, false)]);
        let turns: Vec<_> = (0..8).filter_map(|_| upstream.choose(&[])).collect();
        assert_eq!(turns.iter().filter(|server| **server == 0).count(), 6);
    }

    #[test]
    fn a_backup_is_asked_when_no_other_server_can_be_reached() {
        let upstream = upstream(&[(1, false), (1, true), (1, false)]);
        let first = upstream.choose(&[]).unwrap();
        let second = upstream.choose(&[first]).unwrap();
        assert_ne!(first, second);
        assert_eq!(upstream.choose(&[first, second]), Some(1));
        assert_eq!(upstream.choose(&[0, 1, 2]), None);
    }

    #[test]
    fn the_host_is_the_servers_own_where_the_file_says_so() {
        assert_eq!(upstream(&[(1, false)]).host(0).unwrap(), "127.0.0.1:9");
    }
}
