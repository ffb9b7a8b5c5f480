//! Where a memcached server listens, as operators write it.

use std::fmt;
use std::path::PathBuf;

/// Where a memcached server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MemcachedServer {
    /// A host and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// The port that memcached listens on unless told otherwise.
const PORT: u16 = 11_211;

/// Why a text is no [`MemcachedServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a server such as 10.0.0.7:11211 or unix:/run/memcached.sock")]
pub struct NoServer;

impl MemcachedServer {
    /// Reads `host`, `host:port`, `[v6]:port` or `unix:/path`.
    ///
    /// # Errors
    /// [`NoServer`] when it is none of them.
    pub fn parse(text: &str) -> Result<Self, NoServer> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(NoServer) };
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(NoServer)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| NoServer)?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(NoServer)?) })
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err(NoServer);
        }
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| NoServer))?;
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for MemcachedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_and_written_alike() {
        for (text, written) in [
            ("10.0.0.7:11212", "10.0.0.7:11212"),
            ("cache", "cache:11211"),
            ("[::1]:1", "[::1]:1"),
            ("[::1]", "[::1]:11211"),
            ("unix:/run/memcached.sock", "unix:/run/memcached.sock"),
        ] {
            assert_eq!(MemcachedServer::parse(text).unwrap().to_string(), written);
        }
        for text in ["", ":11211", "a:b", "a b", "http://a", "[::1", "[x]:1", "[::1]x", "unix:relative", "a:1:2"] {
            assert_eq!(MemcachedServer::parse(text), Err(NoServer), "{text}");
        }
    }
}
