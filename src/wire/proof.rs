//! The proof that a request came through the proxy, and when: what a backend checks that others can reach, too.
//!
//! ```text
//! X-Session-Nonce: 32 hexadecimal digits, new for each request
//! X-Session-Proof: t=1795118400,v1=<64 hexadecimal digits>
//! v1   = HMAC-SHA-256(key, text)                                     ; key: the text of `proof_key` as it stands
//! text = "v1" LF t LF method LF host LF target *( LF name ":" value )
//! ```
//!
//! Method, `Host` and target are those of the request that the backend gets. The further lines are the headers of the
//! policy, the nonce among them, by their names as CGI has them (`X_SESSION_DATA`), sorted as bytes. None of it can hold
//! a line feed, so no two requests have the same text.

use super::request::Field;
use crate::secret::Secret;
use crate::session::{NoRandomness, random};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderValue;
use sha2::Sha256;
use std::fmt;

/// The length of a nonce as text.
pub const NONCE_LEN: usize = 32;

/// The length of a proof as text, for the next few thousand years.
pub const PROOF_LEN: usize = "t=1795118400,v1=".len() + 64;

/// The key of proofs: the backend has the same, and no other of ours.
#[derive(Clone)]
pub struct ProofKey(Hmac<Sha256>);

impl ProofKey {
    /// The key of a text, which the backend uses as it stands, so that nobody has to agree on a notation.
    #[must_use]
    pub fn new(text: &Secret<String>) -> Self {
        // A key longer than a block is its digest (RFC 2104, section 2).
        let digest;
        let bytes = match text.expose().as_bytes() {
            long if long.len() > 64 => {
                digest = sha2::Digest::finalize(<Sha256 as sha2::Digest>::new_with_prefix(long));
                &digest[..]
            }
            short => short,
        };
        let mut block = [0; 64];
        block[..bytes.len()].copy_from_slice(bytes);
        let key = Self(Hmac::new(&block.into()));
        zeroize::Zeroize::zeroize(&mut block);
        key
    }

    /// The proof of a request with these headers of ours.
    #[must_use]
    pub fn prove(&self, request: Proven<'_>, fields: &[Field]) -> Option<HeaderValue> {
        let mut lines: Vec<Vec<u8>> = fields.iter().map(line).collect();
        lines.sort_unstable();
        let time = request.seconds.to_string();
        let mut mac = self.0.clone();
        mac.update(b"v1");
        for part in [time.as_bytes(), request.method, request.host, request.target] {
            mac.update(b"\n");
            mac.update(part);
        }
        for line in &lines {
            mac.update(b"\n");
            mac.update(line);
        }
        let mut text = format!("t={time},v1=").into_bytes();
        text.extend(mac.finalize().into_bytes().iter().flat_map(|byte| digits(*byte)));
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(..)")
    }
}

/// What is proven of a request beside our headers.
#[derive(Clone, Copy, Debug)]
pub struct Proven<'a> {
    /// When it is sent, in seconds since 1970.
    pub seconds: u64,
    /// Its method.
    pub method: &'a [u8],
    /// Its `Host`; empty without one.
    pub host: &'a [u8],
    /// Its path and query, as the backend gets them.
    pub target: &'a [u8],
}

/// A new nonce.
///
/// # Errors
/// [`NoRandomness`] when the system's generator fails.
pub fn nonce() -> Result<HeaderValue, NoRandomness> {
    let text: Vec<u8> = random::<{ NONCE_LEN / 2 }>()?.iter().flat_map(|byte| digits(*byte)).collect();
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).map_err(|_| NoRandomness)
}

fn line(field: &Field) -> Vec<u8> {
    let name = field.name.iter().copied().map(super::fold_byte);
    name.chain([b':']).chain(field.value.as_bytes().iter().copied()).collect()
}

fn digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn prove(key: &str, request: Proven<'_>, fields: &[(&'static str, &'static str)]) -> String {
        let fields: Vec<Field> = fields
            .iter()
            .map(|(name, value)| Field {
                name: Bytes::from_static(name.as_bytes()),
                value: HeaderValue::from_static(value),
            })
            .collect();
        let proof = ProofKey::new(&Secret::new(key.into())).prove(request, &fields).unwrap();
        proof.to_str().unwrap().to_owned()
    }

    const REQUEST: Proven<'_> =
        Proven { seconds: 1_795_118_400, method: b"POST", host: b"app.example", target: b"/a?b=%20" };
    const FIELDS: [(&str, &str); 3] =
        [("X-Session-State", "live"), ("X-Session-Data", "a=1"), ("X-Session-Data-b1", "2")];

    #[test]
    fn a_proof_is_what_backends_compute() {
        let proof = prove("0123456789abcdef0123456789abcdef", REQUEST, &FIELDS);
        assert_eq!(proof, "t=1795118400,v1=f502459c7a0e36f6d27817c0ac9f75bc9e2fbfd38e46d57d21743bd07051d832");
        assert_eq!(proof.len(), PROOF_LEN);
        assert_eq!(
            prove(&"k".repeat(100), REQUEST, &[]),
            "t=1795118400,v1=90cd4e62f574f321fbaa16d5147d15a3972de3a72e75e24324113c4d85282339"
        );
    }

    #[test]
    fn every_part_of_the_request_is_proven() {
        let key = "0123456789abcdef0123456789abcdef";
        let mut proofs = vec![
            prove(key, REQUEST, &FIELDS),
            prove("another key of the same length...", REQUEST, &FIELDS),
            prove(key, Proven { seconds: 1_795_118_401, ..REQUEST }, &FIELDS),
            prove(key, Proven { method: b"GET", ..REQUEST }, &FIELDS),
            prove(key, Proven { host: b"app.example:80", ..REQUEST }, &FIELDS),
            prove(key, Proven { target: b"/a?b=+", ..REQUEST }, &FIELDS),
            prove(key, REQUEST, &FIELDS[1..]),
            prove(key, REQUEST, &[FIELDS[0], FIELDS[1], ("X-Session-Data-b1", "3")]),
            prove(key, REQUEST, &[FIELDS[0], FIELDS[1], ("X-Session-Data-b2", "2")]),
        ];
        let all = proofs.len();
        proofs.sort();
        proofs.dedup();
        assert_eq!(proofs.len(), all);
        let reversed = [FIELDS[2], FIELDS[1], FIELDS[0]];
        assert_eq!(prove(key, REQUEST, &reversed), prove(key, REQUEST, &FIELDS), "the order on the wire means nothing");
    }

    #[test]
    fn nonces_differ_and_keys_never_print() {
        let (a, b) = (nonce().unwrap(), nonce().unwrap());
        assert!(a != b && a.len() == NONCE_LEN && a.as_bytes().iter().all(u8::is_ascii_hexdigit));
        assert_eq!(format!("{:?}", ProofKey::new(&Secret::new("hunter2".into()))), "ProofKey(..)");
    }
}
