//! The cookie of a session that lies in a store: an id and proof that we issued it (decision 2 of the design).
//!
//! Version `1`, key hint 2, id 32, truncated HMAC-SHA-256 16; as base64url 68 characters. A forged ticket is refused here
//! in less than a microsecond and never costs a store call.

use super::NotOurs;
use super::keyring::{Binding, Freshness, HINT_LEN, HmacSha256, Key, KeyRing};
use crate::session::{ID_LEN, SessionId};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;

const VERSION: u8 = 1;
const MAC_LEN: usize = 16;
const BYTES: usize = 1 + HINT_LEN + ID_LEN + MAC_LEN;

/// The length of a ticket as text.
pub const TICKET_LEN: usize = 68;

const _: () = assert!(BYTES * 4 == TICKET_LEN * 3, "a ticket needs no padding");

/// Writes the ticket of `id` with the key that seals.
#[must_use]
pub fn seal_ticket(ring: &KeyRing, binding: &Binding, id: &SessionId) -> String {
    let key = ring.sealing();
    let mut bytes = [0; BYTES];
    bytes[0] = VERSION;
    bytes[1..=HINT_LEN].copy_from_slice(&key.hint());
    bytes[1 + HINT_LEN..BYTES - MAC_LEN].copy_from_slice(id.expose());
    let tag = mac(key, binding, id.expose()).finalize().into_bytes();
    bytes[BYTES - MAC_LEN..].copy_from_slice(&tag[..MAC_LEN]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a ticket.
///
/// # Errors
/// [`NotOurs`] for everything that was not issued with a key of the ring under this binding.
pub fn open_ticket(ring: &KeyRing, binding: &Binding, text: &[u8]) -> Result<(SessionId, Freshness), NotOurs> {
    let mut bytes = [0; BYTES];
    if text.len() != TICKET_LEN || URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(BYTES) || bytes[0] != VERSION {
        return Err(NotOurs);
    }
    let (head, tag) = bytes.split_at(BYTES - MAC_LEN);
    let (hint, id) = head[1..].split_first_chunk::<HINT_LEN>().ok_or(NotOurs)?;
    let id: [u8; ID_LEN] = id.try_into().map_err(|_| NotOurs)?;
    let (key, freshness) = ring.opening(*hint).ok_or(NotOurs)?;
    mac(key, binding, &id).verify_truncated_left(tag).map_err(|_| NotOurs)?;
    Ok((SessionId::from_bytes(id), freshness))
}

fn mac(key: &Key, binding: &Binding, id: &[u8; ID_LEN]) -> HmacSha256 {
    let mut mac = key.ticket();
    mac.update(&[VERSION]);
    mac.update(binding.as_bytes());
    mac.update(id);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn key(byte: u8) -> Key {
        Key::new(format!("key-{byte}"), &Secret::new([byte; 32]))
    }

    fn ring(bytes: &[u8]) -> KeyRing {
        KeyRing::new(bytes.iter().map(|byte| key(*byte)).collect()).unwrap()
    }

    fn binding() -> Binding {
        Binding::new("session", "main")
    }

    #[test]
    fn a_ticket_opens_with_every_key_of_the_ring() {
        let id = SessionId::from_bytes([7; 32]);
        let text = seal_ticket(&ring(&[1]), &binding(), &id);
        assert_eq!(text.len(), TICKET_LEN);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')); // CK4
        assert_eq!(open_ticket(&ring(&[1]), &binding(), text.as_bytes()), Ok((id.clone(), Freshness::Current)));
        assert_eq!(open_ticket(&ring(&[2, 1]), &binding(), text.as_bytes()), Ok((id, Freshness::Outdated)));
        assert_eq!(open_ticket(&ring(&[2]), &binding(), text.as_bytes()), Err(NotOurs));
    }

    #[test]
    fn a_ticket_of_the_first_release_still_opens() {
        let text = "ATDjBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwd-Of2IYSbNhuFDF4EY91G8";
        let id = SessionId::from_bytes([7; 32]);
        assert_eq!(seal_ticket(&ring(&[1]), &binding(), &id), text);
    }

    #[test]
    fn a_ticket_opens_under_its_own_name_only() {
        // R21
        let text = seal_ticket(&ring(&[1]), &binding(), &SessionId::from_bytes([7; 32]));
        for other in [Binding::new("cart", "main"), Binding::new("session", "other"), Binding::new("sessionm", "ain")] {
            assert_eq!(open_ticket(&ring(&[1]), &other, text.as_bytes()), Err(NotOurs));
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = seal_ticket(&ring(&[1]), &binding(), &SessionId::from_bytes([7; 32]));
        for at in 0..text.len() {
            for other in [b'A', b'w', b'=', b'%', b' ', b'"', 0xff] {
                let mut bytes = text.clone().into_bytes();
                if bytes[at] != other {
                    bytes[at] = other;
                    assert_eq!(open_ticket(&ring(&[1]), &binding(), &bytes), Err(NotOurs), "at {at}");
                }
            }
            assert_eq!(open_ticket(&ring(&[1]), &binding(), &text.as_bytes()[..at]), Err(NotOurs));
        }
    }
}
