//! Certificates by the name that a client asks for (SNI).

use super::options::Certificate;
use pingora::listeners::tls::TlsSettings;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// A certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text has no certificate or no key.
    #[error("the certificate or its key is not PEM")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// The key is of a kind that TLS does not use, or does not belong to the certificate.
    #[error("the key does not fit the certificate")]
    Key(#[from] rustls::Error),
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Certificate,
    /// The TLS library refuses to serve.
    #[error("TLS cannot be set up")]
    Settings(#[source] pingora::BError),
}

/// The certificates of one listener; the first answers for names that none has.
#[derive(Debug)]
pub struct Certificates(Vec<(Vec<String>, Arc<CertifiedKey>)>);

impl Certificates {
    /// Reads the certificates and proves that each fits its key.
    ///
    /// # Errors
    /// [`TlsError`] for the first that does not.
    pub fn new(certificates: &[Certificate]) -> Result<Self, TlsError> {
        certificates.iter().map(certified).collect::<Result<_, _>>().map(Self)
    }

    /// Settings for a listener that serves them over TLS 1.2 and 1.3, HTTP/1.1 only.
    ///
    /// # Errors
    /// [`TlsError::Settings`] when pingora makes none.
    pub fn into_settings(self) -> Result<TlsSettings, TlsError> {
        let mut settings = TlsSettings::with_callbacks(Box::new(NoCallbacks)).map_err(TlsError::Settings)?;
        settings.set_cert_resolver(Arc::new(self));
        Ok(settings)
    }
}

struct NoCallbacks;

impl pingora::listeners::TlsAccept for NoCallbacks {}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let wanted = hello.server_name().unwrap_or_default();
        let fits = |(names, _): &&(Vec<String>, _)| names.iter().any(|name| covers(name, wanted));
        self.0.iter().find(fits).or(self.0.first()).map(|(_, key)| Arc::clone(key))
    }
}

/// Whether a name of a certificate, which may begin with `*.`, covers a host.
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
        None => name.eq_ignore_ascii_case(host),
    }
}

fn certified(certificate: &Certificate) -> Result<(Vec<String>, Arc<CertifiedKey>), TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate.chain).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.expose())?;
    let names = names(chain.first().ok_or(TlsError::Certificate)?)?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
    Ok((names, Arc::new(key)))
}

fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, TlsError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| TlsError::Certificate)?;
    let extension = parsed.subject_alternative_name().map_err(|_| TlsError::Certificate)?;
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(covers("*.example.org", "a.example.org") && covers("Example.org", "example.ORG"));
        assert!(!covers("*.example.org", "a.b.example.org") && !covers("*.example.org", "example.org"));
    }
}
