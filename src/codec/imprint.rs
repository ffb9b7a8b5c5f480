//! Digests of what a visitor looks like: HMAC-SHA-256 over the policy, the property and its text, cut to 8 bytes. Without
//! the operator's key nobody can try addresses until one fits.

use super::keyring::{Binding, HmacSha256, Key, KeyRing};
use crate::session::{Digest, Trait};
use hmac::Mac as _;

/// The digest of a property, under the key that seals.
#[must_use]
pub fn imprint(ring: &KeyRing, binding: &Binding, which: Trait, text: &[u8]) -> Digest {
    let tag = mac(ring.sealing(), binding, which, text).finalize().into_bytes();
    let mut digest = Digest::default();
    digest.copy_from_slice(&tag[..8]);
    digest
}

/// Whether a digest is that of a property, under any key of the ring: a session may be older than the newest key.
#[must_use]
pub fn is_imprint(ring: &KeyRing, binding: &Binding, which: Trait, text: &[u8], digest: Digest) -> bool {
    ring.all().any(|key| mac(key, binding, which, text).verify_truncated_left(&digest).is_ok())
}

fn mac(key: &Key, binding: &Binding, which: Trait, text: &[u8]) -> HmacSha256 {
    let mut mac = key.imprint();
    mac.update(binding.as_bytes());
    mac.update(&[which as u8]);
    mac.update(text);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn ring(bytes: &[u8]) -> KeyRing {
        let key = |byte: &u8| Key::new(format!("key-{byte}"), &Secret::new([*byte; 32]));
        KeyRing::new(bytes.iter().map(key).collect()).unwrap()
    }

    #[test]
    fn a_digest_is_of_one_property_one_policy_and_the_operators_keys() {
        let binding = Binding::new("session", "main");
        let digest = imprint(&ring(&[1]), &binding, Trait::Address, b"10.0.0.0");
        let is =
            |keys: &[u8], binding: &Binding, which, text: &[u8]| is_imprint(&ring(keys), binding, which, text, digest);
        assert!(is(&[1], &binding, Trait::Address, b"10.0.0.0") && is(&[2, 1], &binding, Trait::Address, b"10.0.0.0"));
        assert!(!is(&[2], &binding, Trait::Address, b"10.0.0.0"));
        assert!(!is(&[1], &binding, Trait::Address, b"10.0.1.0"));
        assert!(!is(&[1], &binding, Trait::UserAgent, b"10.0.0.0"));
        assert!(!is(&[1], &Binding::new("session", "shop"), Trait::Address, b"10.0.0.0"));
    }
}
