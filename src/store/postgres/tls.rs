//! TLS to the server: its certificate must be valid for the host and come from an authority that we know.

use super::PostgresOptions;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Why a [`PostgresStore`](super::PostgresStore) cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `ca` holds no certificate.
    #[error("`ca` holds no certificate: expected PEM text with -----BEGIN CERTIFICATE-----")]
    NoCa,
    /// A certificate in `ca` cannot be used.
    #[error("a certificate in `ca` cannot be used")]
    Ca(#[source] rustls::Error),
    /// This system has none of its own.
    #[error("this system names no certificate authorities: install the package ca-certificates, or set `ca`")]
    NoRoots,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// What connects with TLS; where the URL wants none, it is never asked to.
pub(super) fn connector(options: &PostgresOptions) -> Result<MakeRustlsConnect, OpenError> {
    let roots = match &options.ca {
        _ if !options.url.tls() => RootCertStore::empty(),
        Some(pem) => given(pem)?,
        None => system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(OpenError::Tls)?.with_root_certificates(roots).with_no_client_auth();
    if options.url.tls_is_direct() {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

fn given(pem: &[u8]) -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| OpenError::NoCa)?).map_err(OpenError::Ca)?;
    }
    if roots.is_empty() { Err(OpenError::NoCa) } else { Ok(roots) }
}

/// A system's list may hold some that nobody can read any more; those that can be read count.
fn system() -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(OpenError::NoRoots) } else { Ok(roots) }
}
