//! The file exactly as it is written: every setting optional and with its place, unknown ones refused.
//!
//! These types say what a setting looks like; what it means beside the others is decided in `resolve`. Their
//! documentation is the documentation in the JSON schema.

mod route;
mod session;
mod store;

pub use route::{CookieRule, HeaderEdits, Route, SessionUse};
pub use session::{Cookie, Exposure, Headers, Session};
pub use store::Store;

use super::given::{At, Given, Named, Section, Short, Shorthand};
use super::moment::Moment;
use super::unit::{MaxRate, Period, Size};
use super::word::{Choice, LogFormat};
use crate::manager::OnOutage;
use crate::proxy::options::AliasHeaders;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use tracing::level_filters::LevelFilter;

/// The configuration of Cloakroom.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Cloakroom")]
pub struct File {
    /// The version of this format: 1.
    pub config_version: Given<u64>,
    /// The process.
    pub server: Section<Server>,
    /// The socket for `cloakroom status`, `reload` and `sessions`.
    pub admin: Section<Admin>,
    /// Where requests come in.
    pub listeners: Named<Section<Listener>>,
    /// Where they go.
    pub upstreams: Named<Section<Upstream>>,
    /// Keys for cookies and tokens: the first seals, all open.
    pub keys: Vec<At<Section<Key>>>,
    /// Where sessions are kept; `memory`, `disk` and `cookie` exist without a table.
    pub stores: Named<Section<Store>>,
    /// Session policies.
    pub sessions: Named<Section<Session>>,
    /// Which request goes where, with which sessions: the first match wins.
    pub routes: Vec<At<Section<Route>>>,
    /// What happens when something is not as it should be.
    pub failure: Section<Failure>,
    /// Bounds for all requests together.
    pub limits: Section<Limits>,
    /// What is written about it.
    pub log: Section<Log>,
}

/// The process.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Worker threads; 0 is one for each core.
    pub threads: Given<usize>,
    /// The directory of the disk stores.
    pub state_dir: Given<String>,
    /// The directory of the admin socket.
    pub runtime_dir: Given<String>,
    /// Sessions of any policy that began before this moment have ended, as after a leak.
    pub not_before: Given<Moment>,
    /// After SIGTERM, running requests have this long.
    pub shutdown_timeout: Given<Period>,
    /// Addresses and networks whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<At<String>>,
}

/// The socket for `cloakroom status`, `reload` and `sessions`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Its path; a relative one begins in `runtime_dir`. Nothing, `""`, is no socket.
    pub socket: Given<String>,
}

/// Where requests come in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// `127.0.0.1:8080`, `[::]:443` or `unix:/run/cloakroom/http.sock`.
    pub address: Given<String>,
    /// TLS ends in front of this listener: what comes here came over TLS.
    pub behind_tls: Given<bool>,
    /// The most bytes of a request's header section.
    pub max_header_bytes: Given<Size>,
    /// The most header fields of a request.
    pub max_headers: Given<usize>,
    /// The whole header section must arrive within this time from its first byte.
    pub header_timeout: Given<Period>,
    /// An idle connection is closed after this time.
    pub keepalive_timeout: Given<Period>,
    /// TLS that ends here.
    pub tls: Section<Tls>,
}

/// TLS that ends here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificates, chosen by the name that the client asks for; the first where none fits.
    pub certificates: Given<Vec<At<Section<Certificate>>>>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Certificate {
    /// The file of the chain, leaf first, or the PEM text itself.
    pub cert: Given<String>,
    /// The file of the private key, or the PEM text itself, as `${cred:tls-key}` gives it.
    pub key: Given<String>,
}

/// A group of backend servers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// The servers.
    pub servers: Given<Vec<At<Short<Backend>>>>,
    /// What kind of backend it is: `cloakroom profiles` lists them.
    pub profile: Given<String>,
    /// The `Host` that the backend is sent: `preserve` the client's, `upstream` for the server's own, or a fixed one.
    pub host_header: Given<String>,
    /// A connection must stand within this time.
    pub connect_timeout: Given<Period>,
    /// The longest silence of a backend while we wait for its answer.
    pub request_timeout: Given<Period>,
    /// A pooled connection is closed after this time without use; below the backend's own keep-alive.
    pub idle_timeout: Given<Period>,
    /// How often an idempotent request is sent again after a failure that cannot have reached the application.
    pub retries: Given<usize>,
}

/// One backend server; its short form is its `url`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "UpstreamServer")]
pub struct Backend {
    /// `http://10.0.0.11:8080`, `https://backend.example.org` or `unix:/run/app.sock`.
    pub url: Given<String>,
    /// Its share of the requests.
    pub weight: Given<u32>,
    /// Asked only when no other server can be reached.
    pub backup: Given<bool>,
}

impl Shorthand for Backend {
    fn from_text(text: String) -> Self {
        Self { url: Given::placeless(text), ..Self::default() }
    }
}

/// A key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Key {
    /// Its name, to tell keys apart.
    pub id: Given<String>,
    /// 32 bytes as base64, base64url or hexadecimal: `cloakroom keygen` makes one.
    pub secret: Given<String>,
    /// From this day on nothing should need it.
    pub retire_after: Given<Day>,
}

/// A day, as `2026-12-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub toml::value::Date);

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        toml::value::Date::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Day {
    fn schema_name() -> Cow<'static, str> {
        "Day".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "date" })
    }
}

/// What happens when something is not as it should be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Failure {
    /// What a visitor whose session's store cannot answer gets: an error (503); a copy of the session that is read and
    /// not written, or else the error; or a page made without any session.
    pub store_unavailable: Given<Choice<OnOutage>>,
    /// How old such a copy may be.
    pub cached_max_age: Given<Period>,
    /// What happens to a client's header in our name space: it is removed, or its request is answered 400.
    pub alias_headers: Given<Choice<AliasHeaders>>,
    /// Own pages for error statuses: the file of each.
    pub error_pages: Named<At<String>>,
}

/// Bounds for all requests together.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at one time, all listeners together.
    pub max_connections: Given<usize>,
    /// How many sessions one address may begin without a login, as `60/min`; or `off`.
    pub sessions_created_per_ip: Given<MaxRate>,
    /// Bytes of a request's body.
    pub max_body_bytes: Given<Size>,
}

/// What is written about it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// From which level on.
    pub level: Given<Choice<LevelFilter>>,
    /// `auto` is text on a terminal and JSON elsewhere.
    pub format: Given<Choice<LogFormat>>,
    /// The access log.
    pub access: Section<AccessLog>,
}

/// The access log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// Whether there is one.
    pub enabled: Given<bool>,
}
