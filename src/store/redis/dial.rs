//! Making a connection: TCP, TLS or a Unix socket, the login, and a first answer.

use super::failure::{Failure, while_connecting};
use super::url::{Address, RedisUrl};
use super::wire::Wire;
use super::{OpenError, RedisOptions, Topology};
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError, Value};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Requests that may wait to be written to one connection; the others wait for their turn, as long as they have time.
const QUEUE: usize = 256;

/// Makes connections.
pub(super) struct Dialer {
    tls: Option<TlsConnector>,
    /// How long one may take to make.
    pub(super) limit: Duration,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({:?}, {})", self.limit, if self.tls.is_some() { "TLS" } else { "plain" })
    }
}

impl Dialer {
    pub(super) fn new(options: &RedisOptions) -> Result<Self, OpenError> {
        let servers: Vec<&RedisUrl> = match &options.topology {
            Topology::Single(url) => vec![url],
            Topology::Sentinel { sentinels, primary } => sentinels.iter().chain([primary]).collect(),
            Topology::Cluster(nodes) => nodes.iter().collect(),
        };
        let wants_tls = servers.iter().any(|url| matches!(url.address, Address::Tcp { tls: true, .. }));
        let tls = if wants_tls { Some(connector(options.ca.as_deref())?) } else { None };
        Ok(Self { tls, limit: options.timeout })
    }

    #[cfg(test)]
    pub(super) fn plain(limit: Duration) -> Self {
        Self { tls: None, limit }
    }

    /// A connection that has answered.
    pub(super) async fn dial(&self, url: &RedisUrl) -> Result<Wire, Failure> {
        self.in_time(url, self.connect(url, AsyncConnectionConfig::new(), ProtocolVersion::RESP2)).await
    }

    /// A connection on which the server may speak first.
    pub(super) async fn listen(&self, url: &RedisUrl, ear: impl AsyncPushSender) -> Result<Wire, Failure> {
        let config = AsyncConnectionConfig::new().set_push_sender(ear);
        self.in_time(url, self.connect(url, config, ProtocolVersion::RESP3)).await
    }

    async fn in_time(
        &self,
        url: &RedisUrl,
        connecting: impl Future<Output = Result<Wire, Failure>>,
    ) -> Result<Wire, Failure> {
        let Ok(outcome) = tokio::time::timeout(self.limit, connecting).await else {
            return Err(Failure::Slow { server: url.to_string(), limit: self.limit });
        };
        outcome
    }

    async fn connect(
        &self,
        url: &RedisUrl,
        config: AsyncConnectionConfig,
        protocol: ProtocolVersion,
    ) -> Result<Wire, Failure> {
        let broken = |source| Failure::Connect { server: url.to_string(), source };
        let login = login(url, protocol);
        let wire = match &url.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(broken)?;
                greet(&login, stream, config).await
            }
            Address::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(broken)?;
                stream.set_nodelay(true).map_err(broken)?;
                match &self.tls {
                    Some(connector) if *tls => {
                        let name = ServerName::try_from(host.clone()).map_err(io::Error::other).map_err(broken)?;
                        let stream = connector.connect(name, stream).await.map_err(broken)?;
                        greet(&login, stream, config).await
                    }
                    _ => greet(&login, stream, config).await,
                }
            }
        };
        let wire = wire.map_err(|error| while_connecting(url.to_string(), &error))?;
        Ok(wire)
    }
}

/// Logs in, and waits for an answer: a server that accepts connections need not be able to work.
async fn greet<S>(login: &RedisConnectionInfo, stream: S, config: AsyncConnectionConfig) -> Result<Wire, RedisError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Each request has a limit of its own, which covers more than the wait for the answer.
    let config = config.set_response_timeout(None).set_pipeline_buffer_size(QUEUE);
    let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
    let wire = Wire::start(connection, driver);
    match wire.send(&Cmd::new().arg("PING").to_owned()).await?.extract_error()? {
        Value::SimpleString(word) if word == "PONG" => Ok(wire),
        _ => Err(RedisError::from((ErrorKind::UnexpectedReturnType, "it does not answer PING with PONG"))),
    }
}

fn login(url: &RedisUrl, protocol: ProtocolVersion) -> RedisConnectionInfo {
    let mut login =
        RedisConnectionInfo::default().set_protocol(protocol).set_db(i64::from(url.database)).set_skip_set_lib_name();
    if let Some(name) = &url.username {
        login = login.set_username(name);
    }
    if let Some(password) = &url.password {
        login = login.set_password(password.expose());
    }
    login
}

/// Reads the authorities once: the files of the system are not touched while requests run.
fn connector(ca: Option<&[u8]>) -> Result<TlsConnector, OpenError> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = ca {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| OpenError::Authority)?;
            roots.add(certificate).map_err(|_| OpenError::Authority)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err(if ca.is_some() { OpenError::Authority } else { OpenError::NoAuthorities });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(OpenError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
