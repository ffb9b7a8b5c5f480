//! What the proxy is told by the file, resolved: listeners, upstreams, routes, limits.

use super::background::Background;
use crate::codec::TokenMode;
use crate::cookie::{Hardening, NamePattern};
use crate::manager::{OnOutage, Rate};
use crate::route::Matcher;
use crate::secret::Secret;
use crate::session::Rights;
use crate::wire::Profile;
use http::{HeaderName, HeaderValue};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A certificate chain with its key, both as PEM text that has been read and proven to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub chain: Vec<u8>,
    /// The private key.
    pub key: Secret<Vec<u8>>,
}

/// One `[listeners.<name>]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// The name in the file.
    pub name: String,
    /// Where it listens.
    pub address: ListenAddress,
    /// The certificates, chosen by SNI, the first where none fits; empty means plain HTTP.
    pub certificates: Vec<Certificate>,
    /// TLS ends before us: what comes here came over TLS (CK13).
    pub behind_tls: bool,
    /// The most bytes of a request's header section; more is 431.
    pub max_header_bytes: usize,
    /// The most header fields of a request; more is 431.
    pub max_headers: usize,
    /// The whole header section must arrive within this time from its first byte.
    pub header_timeout: Duration,
    /// An idle connection is closed after this time.
    pub keepalive_timeout: Duration,
}

/// Where a backend listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// A host name or address with a port; names are looked up at start.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Where it listens.
    pub address: ServerAddress,
    /// `https://`: TLS with this server name, verified.
    pub tls_name: Option<String>,
    /// Its share of the requests, at least 1.
    pub weight: u32,
    /// Asked only when no other server can be reached.
    pub backup: bool,
}

/// The `Host` that the backend is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    Preserve,
    /// The server's own address.
    Upstream,
    /// This one.
    Fixed(HeaderValue),
}

/// One `[upstreams.<name>]`.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// The name in the file.
    pub name: String,
    /// The servers, at least one that is no backup.
    pub servers: Vec<ServerOptions>,
    /// What the servers take.
    pub profile: &'static Profile,
    /// The `Host` they are sent.
    pub host_header: HostHeader,
    /// A connection must stand within this time.
    pub connect_timeout: Duration,
    /// The longest silence of a backend while we wait for its answer.
    pub request_timeout: Duration,
    /// A pooled connection is closed after this time without use.
    pub idle_timeout: Duration,
    /// How often an idempotent request is sent again after a failure that cannot have reached the application.
    pub retries: usize,
}

/// A session policy on a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionUse {
    /// The index of the policy in the configuration.
    pub policy: usize,
    /// What the route may do with it.
    pub rights: Rights,
}

/// What a visitor without the required session is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// An error page of this status.
    Status(u16),
    /// A redirection; `{path_and_query}` in it stands for the request's own, percent-encoded.
    Redirect(String),
}

/// Headers to set and to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// To be set, in place of all of the name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// To be removed.
    pub remove: Vec<HeaderName>,
}

/// One `[[routes.cookies]]`: what happens to cookies of the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieRule {
    /// Whose names it has.
    pub names: NamePattern,
    /// What happens to them.
    pub action: CookieAction,
}

/// What happens to a cookie of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieAction {
    /// It stays as it is.
    Pass,
    /// Attributes are forced onto it.
    Harden(Hardening),
    /// Its value is sealed or signed on the way out, and opened or verified on the way in.
    Protect(TokenMode, Hardening),
    /// The session with this index, within the sessions of the route, keeps it in the browser's place.
    Hold(usize),
    /// It is removed both ways.
    Drop,
}

/// Who answers the requests of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The upstream with this index in the configuration.
    Upstream(usize),
    /// We ourselves: how long the only session of the route has left.
    Status,
}

/// One `[[routes]]`.
#[derive(Clone, Debug)]
pub struct RouteOptions {
    /// The name in the file, or its number.
    pub name: String,
    /// Which requests it takes.
    pub matcher: Matcher,
    /// Cut from the front of the path before the backend sees it.
    pub strip_prefix: Option<String>,
    /// Who answers.
    pub goal: Goal,
    /// The session policies of the route.
    pub sessions: Vec<SessionUse>,
    /// The index, within `sessions`, of the one that must be live.
    pub require: Option<usize>,
    /// What a visitor without it is answered.
    pub on_missing: OnMissing,
    /// The index, within `sessions`, of the one whose token an unsafe request must bring; `None` asks for no token.
    pub csrf: Option<usize>,
    /// How far it goes on while the store of a session cannot answer.
    pub on_outage: OnOutage,
    /// What happens to the backend's own cookies: the first rule that has a name counts.
    pub cookies: Vec<CookieRule>,
    /// Whether a request extends the sessions.
    pub touch: bool,
    /// Whether one of a script does.
    pub background: Background,
    /// The indices, within `sessions`, of those that a request has to itself, in the order in which they are locked.
    pub locked: Vec<usize>,
    /// Whether an exchange that lasts ends when one of its sessions does.
    pub ends_with_session: bool,
    /// What a WebSocket that ends so is told.
    pub close_code: u16,
    /// Edits to the request.
    pub request_headers: HeaderEdits,
    /// Edits to the response.
    pub response_headers: HeaderEdits,
}

/// What happens to a request with a header in our name space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AliasHeaders {
    /// The header is removed and counted.
    #[default]
    Strip,
    /// The request is answered 400.
    Reject,
}

/// A range of addresses, as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub bits: u8,
}

impl Network {
    /// Whether the address lies in the range.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let shift = width.saturating_sub(u32::from(self.bits));
            shift >= 128 || a >> shift == b >> shift
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

/// What holds for every request.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Whose `Forwarded` and `X-Forwarded-*` is believed (HI10).
    pub trusted_proxies: Vec<Network>,
    /// What happens to a header in our name space.
    pub alias_headers: AliasHeaders,
    /// Own pages for error statuses: HTML that is sent as it stands.
    pub error_pages: Vec<(u16, bytes::Bytes)>,
    /// Connections at one time, all listeners together.
    pub max_connections: usize,
    /// How many sessions an address may begin; `None` is no limit.
    pub sessions_created_per_ip: Option<Rate>,
    /// Bytes of a request's body; more is 413.
    pub max_body_bytes: u64,
    /// Write an access log.
    pub access_log: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses() {
        let network = |address: &str, bits| Network { address: address.parse().unwrap(), bits };
        let has = |network: Network, address: &str| network.has(address.parse().unwrap());
        assert!(has(network("10.0.0.0", 8), "10.200.0.1") && !has(network("10.0.0.0", 8), "11.0.0.1"));
        assert!(has(network("10.0.0.0", 8), "::ffff:10.1.1.1"));
        assert!(has(network("0.0.0.0", 0), "1.2.3.4") && !has(network("0.0.0.0", 0), "::1"));
        assert!(has(network("fd00::", 8), "fd12::1") && has(network("::", 0), "::1"));
    }
}
