//! `tls.certificates` of a listener: read, and proven to be what they should be.

use super::super::file::{Certificate as Written, Listener};
use super::super::given::{At, Section};
use super::super::interpolate::Origin;
use super::super::problem::Problem;
use super::{Resolver, key};
use crate::proxy::options::Certificate;
use crate::secret::Secret;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What PEM text begins with; anything else names a file.
const PEM: &str = "-----BEGIN ";

pub(super) fn certificates(listener: &Listener, to: &mut Resolver<'_>) -> Vec<Certificate> {
    let Some(list) = listener.tls.certificates.at() else { return Vec::new() };
    if list.value.is_empty() {
        let problem = Problem::error("tls::certificate", "`certificates` is empty").at(list.span.clone());
        to.report(problem.help("list at least one, or leave `tls` out for plain HTTP"));
    }
    list.value.iter().filter_map(|written| certificate(written, to)).collect()
}

fn certificate(written: &At<Section<Written>>, to: &mut Resolver<'_>) -> Option<Certificate> {
    let (Some(cert), Some(key)) = (written.value.cert.at(), written.value.key.at()) else {
        let (there, missing) = if written.value.cert.is_given() { ("certificate", "key") } else { ("key", "cert") };
        to.missing(&["listeners"], || {
            Problem::error("tls::certificate", format!("a {there} without `{missing}`"))
                .at(written.span.clone())
                .help("write `{ cert = \"site.pem\", key = \"site.key\" }`")
        });
        return None;
    };
    let chain = text(cert, "certificate", to);
    let secret = text(key, "key", to);
    let (chain, secret) = (chain?, Secret::new(secret?));
    let leaf = match leaf(&chain) {
        Ok(leaf) => Some(leaf),
        Err(reason) => {
            let message = format!("`{}` holds no certificate: {reason}", name(cert));
            let problem = Problem::error("tls::certificate", message).at(cert.span.clone());
            to.report(problem.help("a chain is PEM text, the site's own certificate first"));
            None
        }
    };
    let private = match PrivateKeyDer::from_pem_slice(secret.expose()) {
        Ok(private) => Some(private),
        Err(error) => {
            let message = format!("`{}` holds no private key: {error}", name(key));
            let problem = Problem::error("tls::key", message).at(key.span.clone());
            to.report(problem.help("a key is PEM text that begins `-----BEGIN PRIVATE KEY-----`, without a password"));
            None
        }
    };
    if fits(&leaf?, &private?) == Some(false) {
        let problem =
            Problem::error("tls::mismatch", format!("the key does not belong to the certificate `{}`", name(cert)));
        to.report(
            problem
                .at(key.span.clone())
                .also(cert.span.clone(), "the certificate")
                .help("name the key that the certificate was requested with"),
        );
        return None;
    }
    Some(Certificate { chain, key: secret })
}

/// PEM text that stands in the file, or that of the file which is named.
fn text(given: &At<String>, what: &str, to: &mut Resolver<'_>) -> Option<Vec<u8>> {
    let path = to.around.path(&given.value);
    let is_readable = |origin: &Origin| matches!(origin, Origin::File(path) if key::is_world_readable(path));
    let (bytes, is_readable) = if given.value.contains(PEM) {
        (Ok(given.value.clone().into_bytes()), to.insertions().origins(&given.span).any(is_readable))
    } else {
        (std::fs::read(&path), key::is_world_readable(&path))
    };
    if what == "key" && is_readable {
        let problem = Problem::warning("tls::readable", "every user of this machine can read the private key");
        to.report(problem.at(given.span.clone()).help("take the permission away: `chmod o= FILE`"));
    }
    bytes
        .map_err(|error| {
            let message = format!("the {what} `{}` cannot be read: {error}", given.value);
            let problem = Problem::error(if what == "key" { "tls::key" } else { "tls::certificate" }, message);
            let help = "name a file of PEM text; relative paths begin in the directory of this file";
            to.report(problem.at(given.span.clone()).help(help));
        })
        .ok()
}

fn name(given: &At<String>) -> &str {
    if given.value.contains(PEM) { "PEM text" } else { &given.value }
}

fn leaf(chain: &[u8]) -> Result<CertificateDer<'static>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    match all {
        Ok(all) => all.into_iter().next().ok_or_else(|| "it has no `BEGIN CERTIFICATE`".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the public half of a key stands in the certificate; `None` for kinds of keys that we cannot read.
fn fits(leaf: &CertificateDer<'_>, key: &PrivateKeyDer<'_>) -> Option<bool> {
    let der = key.secret_der();
    let random = SystemRandom::new();
    let ecdsa = |algorithm| {
        EcdsaKeyPair::from_pkcs8(algorithm, der, &random).ok().map(|pair| pair.public_key().as_ref().to_vec())
    };
    let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok();
    let public = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)
        .or_else(|| ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING))
        .or_else(|| {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(|pair| pair.public_key().as_ref().to_vec())
        })
        .or_else(|| rsa().map(|pair| pair.public_key().as_ref().to_vec()))?;
    Some(leaf.windows(public.len()).any(|window| window == public))
}
