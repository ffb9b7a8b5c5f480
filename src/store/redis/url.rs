//! Where a Redis server is: `redis://user:password@host:6379/0`, `rediss://…` with TLS, `redis+unix:///run/redis.sock?db=0`.

use crate::secret::Secret;
use std::fmt;
use std::path::PathBuf;
use url::Url;

/// The port that Redis listens on unless told otherwise.
const PORT: u16 = 6379;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host and a port.
    Tcp {
        /// The host, or what stands in its place for Sentinels.
        host: String,
        /// The port.
        port: u16,
        /// Talk TLS, and verify the server's certificate.
        tls: bool,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// A server, and how to log in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// Where it listens.
    pub address: Address,
    /// The ACL user; `None`: the default one.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret<String>>,
    /// The database; a cluster has only 0.
    pub database: u32,
}

/// Why a text is no [`RedisUrl`]; never shows the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL at all.
    #[error("it is not a URL such as redis://user:password@host:6379/0")]
    Form,
    /// It is a URL of something else.
    #[error("its scheme is not redis, rediss or redis+unix")]
    Scheme,
    /// It names no host or no socket.
    #[error("it names no host")]
    Host,
    /// What follows the host is no number of a database.
    #[error("its path is not the number of a database, as in /0")]
    Database,
}

impl RedisUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`UrlError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|_| UrlError::Form)?;
        let (is_unix, tls) = match url.scheme() {
            "redis" => (false, false),
            "rediss" => (false, true),
            "redis+unix" | "unix" => (true, false),
            _ => return Err(UrlError::Scheme),
        };
        let (address, database) = if is_unix {
            let path = decoded(url.path());
            if !path.starts_with('/') || path == "/" {
                return Err(UrlError::Host);
            }
            let database = url.query_pairs().find(|(name, _)| name == "db").map(|(_, number)| number.into_owned());
            (Address::Unix(path.into()), database.unwrap_or_default())
        } else {
            let host = url.host_str().filter(|host| !host.is_empty()).ok_or(UrlError::Host)?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            (Address::Tcp { host, port: url.port().unwrap_or(PORT), tls }, url.path().trim_matches('/').to_owned())
        };
        let database = if database.is_empty() { 0 } else { database.parse().map_err(|_| UrlError::Database)? };
        let username = Some(decoded(url.username())).filter(|name| !name.is_empty());
        let password = url.password().map(|word| Secret::new(decoded(word)));
        Ok(Self { address, username, password, database })
    }

    /// Another server that is reached in the same way.
    pub(super) fn at(&self, host: String, port: u16) -> Self {
        let tls = matches!(self.address, Address::Tcp { tls: true, .. });
        Self { address: Address::Tcp { host, port, tls }, ..self.clone() }
    }
}

impl fmt::Display for RedisUrl {
    /// Where it is, without how to log in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> Address {
        Address::Tcp { host: host.into(), port, tls }
    }

    #[test]
    fn a_url_names_a_server_and_a_user() {
        let url = RedisUrl::parse("rediss://app:p%40ss@valkey.internal:6380/2").unwrap();
        assert_eq!((url.address, url.database), (tcp("valkey.internal", 6380, true), 2));
        assert_eq!(url.username.as_deref(), Some("app"));
        assert_eq!(url.password.unwrap().expose(), "p@ss");
        let url = RedisUrl::parse("redis://:word@[::1]").unwrap();
        assert_eq!((url.address, url.database, url.username), (tcp("::1", 6379, false), 0, None));
        let url = RedisUrl::parse("redis+unix:///run/redis/redis.sock?db=3").unwrap();
        assert_eq!((url.address, url.database), (Address::Unix("/run/redis/redis.sock".into()), 3));
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for (text, error) in [
            ("valkey.internal", UrlError::Form),
            ("http://valkey.internal", UrlError::Scheme),
            ("redis:///0", UrlError::Host),
            ("redis+unix:", UrlError::Host),
            ("redis://a/b", UrlError::Database),
        ] {
            assert_eq!(RedisUrl::parse(text).unwrap_err(), error, "{text}");
        }
    }
}
