//! A client of TLS, and certificates for the proxy to show it.

use super::Stream;
use super::client::Client;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// A certificate that vouches for itself, and its key.
pub struct SelfSigned {
    /// The certificate.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl SelfSigned {
    /// Makes one for a host by `openssl`, in this directory.
    pub fn new(dir: &Path, host: &str) -> Self {
        let (cert, key, conf) = (format!("{host}.pem"), format!("{host}.key"), format!("{host}.conf"));
        let text = format!(
            "[req]\ndistinguished_name = dn\nx509_extensions = ext\nprompt = no\n[dn]\nCN = {host}\n[ext]\n\
             subjectAltName = DNS:{host}\nbasicConstraints = critical, CA:FALSE\n"
        );
        fs::write(dir.join(&conf), text).expect("a file in the test's own directory");
        let made = Command::new("openssl")
            .current_dir(dir)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-config", &conf, "-keyout", &key, "-out", &cert])
            .output()
            .expect("`openssl` is installed: scripts/setup test");
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        Self { cert: dir.join(cert), key: dir.join(key) }
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

impl Stream for Tls {
    fn limit(&self, limit: Duration) {
        self.sock.limit(limit);
    }
    fn end_of_sending(&mut self) {
        self.conn.send_close_notify();
        drop(self.conn.complete_io(&mut self.sock));
    }
}

/// Connects with TLS and proves that the certificate for `host` is this one; `None` when it is another.
pub fn connect(address: SocketAddr, host: &str, expected: &SelfSigned) -> Option<Client> {
    let cert = CertificateDer::from_pem_file(&expected.cert).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(cert).expect("a certificate that vouches for itself");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the usual versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).expect("a host name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut socket = TcpStream::connect(address).expect("the proxy listens");
    socket.limit(super::LIMIT);
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).ok()?;
    }
    Some(Client::over(Box::new(StreamOwned::new(connection, socket))))
}
