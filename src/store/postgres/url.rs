//! Where a PostgreSQL server is: `postgres://user:password@host:5432/database`.
//!
//! Several hosts, `host1:5432,host2:5432`, are tried in turn until one takes writes: so a failover is followed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, SslNegotiation, TargetSessionAttrs};

/// Where servers listen unless told otherwise.
const PORT: u16 = 5432;

/// What tokio-postgres keeps idle connections for before it asks whether the other side is still there.
const KEEPALIVE_OF_THE_CRATE: Duration = Duration::from_secs(2 * 60 * 60);

/// A host that vanishes without a word is noticed after about this time, with or without a question on the way.
const SILENCE: Duration = Duration::from_secs(15);

/// Servers, a user and a database. Its `Debug` shows no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresUrl {
    /// One for each host, so that each has its own time limit; at least one.
    pub(super) servers: Vec<Config>,
}

/// Why a text is no [`PostgresUrl`]; never shows the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL of PostgreSQL.
    #[error("it is not a URL such as postgres://user:password@host:5432/database")]
    Form,
    /// There are two `@`.
    #[error("it has more than one @: in a user or a password it is written %40, / is %2F, ? is %3F")]
    At,
    /// It names no host.
    #[error("it names no host; a Unix socket is written postgres:///database?host=/run/postgresql")]
    Host,
    /// Its TLS would not keep out somebody in between.
    #[error(
        "sslmode={0} may talk in the clear or to anybody: leave it out or write verify-full, which is what is always \
         done, or disable where nobody can listen"
    )]
    Weak(&'static str),
    /// TLS through a Unix socket.
    #[error("sslmode asks for TLS, which a Unix socket has not: leave it out")]
    Socket,
    /// The authorities are given elsewhere.
    #[error("sslrootcert belongs into the setting `ca` of the store")]
    Ca,
    /// It asks for a server that takes no writes.
    #[error("target_session_attrs can only be read-write: sessions are written")]
    ReadOnly,
    /// Something in it means nothing.
    #[error("it has a part that means nothing: {0}")]
    Setting(String),
}

impl PostgresUrl {
    /// Reads a URL.
    ///
    /// TLS, with a certificate that is valid for the host, is required unless every host is this machine or
    /// `sslmode=disable` is given.
    ///
    /// # Errors
    /// [`UrlError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or(UrlError::Form)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if rest.matches('@').count() > 1 || query.contains('@') {
            return Err(UrlError::At);
        }
        let (user, rest) = rest.split_once('@').map_or(("", rest), |(user, rest)| (user, rest));
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (tls, query) = settings(query)?;
        let at = if user.is_empty() { "" } else { "@" };
        let mut servers = Vec::new();
        for host in hosts.split(',') {
            let config: Config =
                format!("postgres://{user}{at}{host}/{database}?{query}").parse().map_err(|error| setting(&error))?;
            servers.push(config);
        }
        for config in &servers {
            if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
                return Err(UrlError::Host);
            }
        }
        let is_local = servers.iter().all(is_local);
        let has_socket = servers.iter().flat_map(Config::get_hosts).any(|host| matches!(host, Host::Unix(_)));
        let tls = tls.unwrap_or(!is_local);
        if tls && has_socket {
            return Err(UrlError::Socket);
        }
        for config in &mut servers {
            config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
            if config.get_application_name().is_none() {
                config.application_name("cloakroom");
            }
            if config.get_keepalives_idle() == KEEPALIVE_OF_THE_CRATE {
                config.keepalives_idle(SILENCE / 2).keepalives_interval(SILENCE / 6).keepalives_retries(3);
            }
            if config.get_tcp_user_timeout().is_none() {
                config.tcp_user_timeout(SILENCE);
            }
            // A server in recovery would take our questions and refuse our writes.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { servers })
    }

    /// Where the servers are: each as `host:port`, or the directory of its socket.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        self.servers.iter().map(place_of).collect()
    }

    /// The servers beyond this machine that are talked to in the clear, as [`PostgresUrl::places`] names them.
    #[must_use]
    pub fn exposed(&self) -> Vec<String> {
        let exposed = |config: &&Config| config.get_ssl_mode() == SslMode::Disable && !is_local(config);
        self.servers.iter().filter(exposed).map(place_of).collect()
    }

    /// Whether there is a password for anybody to listen to.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.servers.iter().any(|config| config.get_password().is_some())
    }

    /// Whether certificates are needed.
    pub(super) fn tls(&self) -> bool {
        self.servers.iter().any(|config| config.get_ssl_mode() == SslMode::Require)
    }

    /// Whether TLS begins with the first byte, without being asked for.
    pub(super) fn tls_is_direct(&self) -> bool {
        self.servers.iter().any(|config| config.get_ssl_negotiation() == SslNegotiation::Direct)
    }
}

/// Where a server is, in words.
pub(super) fn place_of(server: &Config) -> String {
    let port = server.get_ports().first().copied().unwrap_or(PORT);
    match (server.get_hosts().first(), server.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) if name.contains(':') => format!("[{name}]:{port}"),
        (Some(Host::Tcp(name)), _) => format!("{name}:{port}"),
        (Some(Host::Unix(directory)), _) => directory.display().to_string(),
        (None, Some(address)) => SocketAddr::new(*address, port).to_string(),
        // No URL is read without either.
        (None, None) => String::new(),
    }
}

/// Takes out of the query what we decide ourselves: whether TLS is demanded or forbidden, and the rest.
fn settings(query: &str) -> Result<(Option<bool>, String), UrlError> {
    let mut tls = None;
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("sslmode", "require" | "verify-full") => tls = Some(true),
            ("sslmode", "disable") => tls = Some(false),
            ("sslmode", "allow") => return Err(UrlError::Weak("allow")),
            ("sslmode", "prefer") => return Err(UrlError::Weak("prefer")),
            ("sslmode", "verify-ca") => return Err(UrlError::Weak("verify-ca")),
            ("sslrootcert", _) => return Err(UrlError::Ca),
            ("target_session_attrs", "any" | "read-write" | "primary") => {}
            ("target_session_attrs", _) => return Err(UrlError::ReadOnly),
            _ => rest.push(pair),
        }
    }
    Ok((tls, rest.join("&")))
}

/// What the parser says, which names settings and never shows their values.
fn setting(error: &tokio_postgres::Error) -> UrlError {
    let source = std::error::Error::source(error);
    UrlError::Setting(source.map_or_else(|| error.to_string(), ToString::to_string))
}

/// Whether the way to the server stays on this machine.
fn is_local(config: &Config) -> bool {
    let hosts = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
    });
    // An address goes before the name.
    match config.get_hostaddrs() {
        [] => hosts,
        addresses => addresses.iter().all(IpAddr::is_loopback),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_encrypted_is_known() {
        let exposed = |text: &str| PostgresUrl::parse(text).unwrap().exposed();
        assert_eq!(exposed("postgres://app:word@a,b:5433/web?sslmode=disable"), ["a:5432", "b:5433"]);
        assert_eq!(exposed("postgres://app@[2001:db8::1]/web?sslmode=disable"), ["[2001:db8::1]:5432"]);
        for text in
            ["postgres://app@a/web", "postgres://app@localhost/web", "postgres:///web?host=/run/postgresql&user=app"]
        {
            assert_eq!(exposed(text), [""; 0], "{text}");
        }
        let socket = PostgresUrl::parse("postgres:///web?host=/run/postgresql&user=app").unwrap();
        assert_eq!((socket.places(), socket.has_password()), (vec!["/run/postgresql".into()], false));
    }

    #[test]
    fn tls_is_required_unless_the_server_is_this_machine_or_the_url_says_so() {
        for (text, tls) in [
            ("postgres://app:word@db.internal/web", true),
            ("postgresql://app@192.0.2.7:5433/web?sslmode=require", true),
            ("postgres://app@db/web?sslmode=verify-full&connect_timeout=3", true),
            ("postgres://app@localhost/web?sslmode=verify-full", true),
            ("postgres://app@one,localhost/web", true),
            ("postgres://app@localhost?hostaddr=192.0.2.7", true),
            ("postgres://app@db.internal/web?sslmode=disable", false),
            ("postgres://app@localhost/web", false),
            ("postgres://app@127.0.0.1:5433,[::1]/web", false),
            ("postgres:///web?host=/run/postgresql&user=app", false),
            ("postgres://app@%2Frun%2Fpostgresql/web", false),
        ] {
            assert_eq!(PostgresUrl::parse(text).map(|url| url.tls()), Ok(tls), "{text}");
        }
    }

    #[test]
    fn each_host_is_a_server_of_its_own() {
        let url = PostgresUrl::parse("postgres://app:p%40ss@one:5433,two/web").unwrap();
        let seen: Vec<_> = url.servers.iter().map(|config| (config.get_hosts(), config.get_ports())).collect();
        assert_eq!(
            seen,
            [(&[Host::Tcp("one".into())][..], &[5433][..]), (&[Host::Tcp("two".into())][..], &[5432][..])]
        );
        for config in &url.servers {
            assert_eq!((config.get_user(), config.get_dbname()), (Some("app"), Some("web")));
            assert_eq!(config.get_password(), Some(&b"p@ss"[..]));
            assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        }
    }

    #[test]
    fn what_is_no_safe_server_is_refused() {
        let meaningless = |what: &str| UrlError::Setting(what.into());
        for (text, error) in [
            ("db.internal", UrlError::Form),
            ("mysql://db.internal", UrlError::Form),
            ("postgres:///web", UrlError::Host),
            ("postgres://app:p@ss@host/web", UrlError::At),
            ("postgres://app:p@ss?@host/web", UrlError::At),
            ("postgres://host/web?sslmode=prefer", UrlError::Weak("prefer")),
            ("postgres://localhost/web?sslmode=allow", UrlError::Weak("allow")),
            ("postgres://host/web?sslmode=verify-ca", UrlError::Weak("verify-ca")),
            ("postgres:///web?host=/run&sslmode=require", UrlError::Socket),
            ("postgres://host/web?sslrootcert=ca.pem", UrlError::Ca),
            ("postgres://host/web?target_session_attrs=read-only", UrlError::ReadOnly),
            ("postgres://host/web?sslmode=no", meaningless("invalid value for option `sslmode`")),
            ("postgres://host/web?colour=red", meaningless("unknown option `colour`")),
            ("postgres://host:secret/web", meaningless("invalid value for option `port`")),
        ] {
            assert_eq!(PostgresUrl::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn debug_never_shows_the_password() {
        let url = PostgresUrl::parse("postgres://app:hunter2@one,two/web").unwrap();
        let shown = format!("{url:?}");
        assert!(shown.contains("one") && !shown.contains("hunter2"), "{shown}");
        for text in ["postgres://app:hunter2/web", "postgres://app:hunter2", "postgres://app:hunter2@h/web?hunter2"] {
            let shown = format!("{:?}", PostgresUrl::parse(text).map(|_| ()));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
