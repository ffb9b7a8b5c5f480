//! The token that a session's forms carry: whoever can read a page of the session knows it, nobody else can guess it.
//!
//! HMAC-SHA-256 over the policy, the session's lineage and the moment of its last login, cut to 16 bytes, as 32
//! hexadecimal digits: no encoder of forms touches one of them. It is the same in every request of a login session, so
//! that a backend can compare it without knowing any key; it changes with the login, as the cheat sheet of OWASP asks
//! for, and lives on through a new id, so that forms in other tabs stay valid.

use super::keyring::{Binding, HmacSha256, Key, KeyRing};
use crate::clock::Timestamp;
use crate::session::Lineage;
use hmac::Mac as _;

/// The length of a token as text.
pub const CSRF_LEN: usize = 32;

/// The token of a session, under the key that seals.
#[must_use]
pub fn csrf_token(ring: &KeyRing, binding: &Binding, lineage: Lineage, started_at: Timestamp) -> [u8; CSRF_LEN] {
    let tag = mac(ring.sealing(), binding, lineage, started_at).finalize().into_bytes();
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let mut text = [0; CSRF_LEN];
    for (pair, byte) in text.chunks_exact_mut(2).zip(tag) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    text
}

/// Whether a text is the token of a session under any key of the ring: a form may be older than the newest key.
#[must_use]
pub fn is_csrf_token(ring: &KeyRing, binding: &Binding, lineage: Lineage, started_at: Timestamp, text: &[u8]) -> bool {
    if text.len() != CSRF_LEN {
        return false;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut tag = [0; CSRF_LEN / 2];
    for (byte, pair) in tag.iter_mut().zip(text.chunks_exact(2)) {
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return false };
        *byte = high << 4 | low;
    }
    ring.all().any(|key| mac(key, binding, lineage, started_at).verify_truncated_left(&tag).is_ok())
}

fn mac(key: &Key, binding: &Binding, lineage: Lineage, started_at: Timestamp) -> HmacSha256 {
    let mut mac = key.csrf();
    mac.update(binding.as_bytes());
    mac.update(lineage.as_bytes());
    mac.update(&started_at.as_millis().to_be_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const LINEAGE: Lineage = Lineage::from_bytes([7; 12]);
    const LOGIN: Timestamp = Timestamp::from_millis(1000);

    fn ring(bytes: &[u8]) -> KeyRing {
        let key = |byte: &u8| Key::new(format!("key-{byte}"), &Secret::new([*byte; 32]));
        KeyRing::new(bytes.iter().map(key).collect()).unwrap()
    }

    fn binding() -> Binding {
        Binding::new("session", "main")
    }

    #[test]
    fn a_token_is_known_under_every_key_of_the_ring() {
        let token = csrf_token(&ring(&[1]), &binding(), LINEAGE, LOGIN);
        for keys in [&[1][..], &[2, 1]] {
            assert!(is_csrf_token(&ring(keys), &binding(), LINEAGE, LOGIN, &token));
        }
        assert!(!is_csrf_token(&ring(&[2]), &binding(), LINEAGE, LOGIN, &token));
    }

    #[test]
    fn a_token_is_of_one_session_one_login_and_one_policy() {
        let ring = ring(&[1]);
        let token = csrf_token(&ring, &binding(), LINEAGE, LOGIN);
        let later = Timestamp::from_millis(1001);
        assert!(!is_csrf_token(&ring, &binding(), Lineage::from_bytes([8; 12]), LOGIN, &token));
        assert!(!is_csrf_token(&ring, &binding(), LINEAGE, later, &token));
        assert!(!is_csrf_token(&ring, &Binding::new("session", "shop"), LINEAGE, LOGIN, &token));
    }

    #[test]
    fn a_token_outlives_a_release_in_open_forms() {
        let token = csrf_token(&ring(&[1]), &binding(), LINEAGE, LOGIN);
        assert_eq!(std::str::from_utf8(&token), Ok("f979eb3d238833a2fd46f7cd310d16a0"));
    }

    #[test]
    fn nothing_else_is_a_token() {
        let ring = ring(&[1]);
        let token = csrf_token(&ring, &binding(), LINEAGE, LOGIN);
        let is = |text: &[u8]| is_csrf_token(&ring, &binding(), LINEAGE, LOGIN, text);
        for end in 0..token.len() {
            assert!(!is(&token[..end]), "{end} digits");
            let mut other = token;
            other[end] = if other[end] == b'0' { b'1' } else { b'0' };
            assert!(!is(&other) && !is(&[&other[..end], b"g", &other[end + 1..]].concat()));
        }
        assert!(is(&token.to_ascii_uppercase()) && !is(&[&token[..], b"0"].concat()) && !is(b""));
    }
}
