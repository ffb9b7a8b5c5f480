//! Keys: the first seals, all open.

use crate::secret::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;

/// HMAC-SHA-256, keyed once and cloned for each use.
pub(super) type HmacSha256 = Hmac<Sha256>;

/// Bytes by which a sealed value names its key.
pub(super) const HINT_LEN: usize = 2;

/// Whether a value was sealed with the key that seals today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It was.
    Current,
    /// It was sealed with an older key, and is to be sealed again on sight.
    Outdated,
}

/// Keys that make no ring.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// There is none.
    #[error("a key ring needs at least one key")]
    Empty,
    /// A sealed value could not tell the two apart. One pair in 65,536 is so unlucky, unless it is the same key twice.
    #[error("the keys `{0}` and `{1}` have the same mark: make another with `cloakroom keygen`")]
    Alike(String, String),
}

/// One secret of the operator, and the keys derived from it for each purpose.
#[derive(Clone)]
pub struct Key {
    id: String,
    hint: [u8; HINT_LEN],
    ticket: HmacSha256,
    token: HmacSha256,
    signature: HmacSha256,
    csrf: HmacSha256,
    imprint: HmacSha256,
    history: HmacSha256,
}

impl Key {
    /// A key of 256 bits; `id` is the operator's name for it.
    #[must_use]
    pub fn new(id: impl Into<String>, secret: &Secret<[u8; 32]>) -> Self {
        let master = keyed(secret.expose());
        let derive = |purpose: &[u8]| Secret::new(derive(&master, purpose));
        let purpose = |name: &[u8]| keyed(derive(name).expose());
        let hint = derive(b"cloakroom key hint 1");
        Self {
            id: id.into(),
            hint: [hint.expose()[0], hint.expose()[1]],
            ticket: purpose(b"cloakroom ticket 1"),
            token: purpose(b"cloakroom token 1"),
            signature: purpose(b"cloakroom signature 1"),
            csrf: purpose(b"cloakroom csrf 1"),
            imprint: purpose(b"cloakroom imprint 1"),
            history: purpose(b"cloakroom history 1"),
        }
    }

    /// The operator's name for the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) const fn hint(&self) -> [u8; HINT_LEN] {
        self.hint
    }

    pub(super) fn ticket(&self) -> HmacSha256 {
        self.ticket.clone()
    }

    pub(super) fn token(&self) -> HmacSha256 {
        self.token.clone()
    }

    pub(super) fn signature(&self) -> HmacSha256 {
        self.signature.clone()
    }

    pub(super) fn csrf(&self) -> HmacSha256 {
        self.csrf.clone()
    }

    pub(super) fn imprint(&self) -> HmacSha256 {
        self.imprint.clone()
    }

    pub(super) fn history(&self) -> HmacSha256 {
        self.history.clone()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// HKDF-Expand of one block (RFC 5869, section 2.3): the keys we derive from are uniformly random already.
pub(super) fn derive(key: &HmacSha256, info: &[u8]) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(info);
    mac.update(&[1]);
    mac.finalize().into_bytes().into()
}

pub(super) fn keyed(key: &[u8; 32]) -> HmacSha256 {
    // HMAC pads keys shorter than a block with zeros (RFC 2104, section 2).
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    HmacSha256::new(&block.into())
}

/// What a sealed value is bound to: it opens under this cookie name and this session policy only (R21).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding(Box<[u8]>);

impl Binding {
    /// The binding of one policy's cookie.
    #[must_use]
    pub fn new(cookie_name: &str, policy: &str) -> Self {
        let length = |text: &str| (text.len() as u64).to_be_bytes();
        let parts: [&[u8]; 4] = [&length(cookie_name), cookie_name.as_bytes(), &length(policy), policy.as_bytes()];
        Self(parts.concat().into())
    }

    /// The binding of a cookie of the backend; `scope` says whose.
    #[must_use]
    pub fn of_backend(cookie_name: &[u8], scope: &str) -> Self {
        // No name of a policy's cookie is so long: what was sealed for a backend never passes for a session.
        let length = (cookie_name.len() as u64).to_be_bytes();
        let parts: [&[u8]; 4] = [&[0xff; 8], &length, cookie_name, scope.as_bytes()];
        Self(parts.concat().into())
    }

    pub(super) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The operator's keys, newest first.
#[derive(Debug)]
pub struct KeyRing(Vec<Key>);

impl KeyRing {
    /// A ring in the order of the file.
    ///
    /// # Errors
    /// [`RingError`] for no key, and for two that cannot be told apart.
    pub fn new(keys: Vec<Key>) -> Result<Self, RingError> {
        for (index, key) in keys.iter().enumerate() {
            if let Some(other) = keys[..index].iter().find(|other| other.hint == key.hint) {
                return Err(RingError::Alike(other.id.clone(), key.id.clone()));
            }
        }
        if keys.is_empty() { Err(RingError::Empty) } else { Ok(Self(keys)) }
    }

    /// The key that seals.
    pub(super) fn sealing(&self) -> &Key {
        &self.0[0] // proven by `new`
    }

    /// Every key, for what does not name the one that made it.
    pub(super) fn all(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The key that sealed a value with this hint, and whether it is the one that seals today.
    pub(super) fn opening(&self, hint: [u8; HINT_LEN]) -> Option<(&Key, Freshness)> {
        let index = self.0.iter().position(|key| key.hint == hint)?;
        Some((&self.0[index], if index == 0 { Freshness::Current } else { Freshness::Outdated }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_has_keys_and_they_can_be_told_apart() {
        let key = |id: &str, byte| Key::new(id, &Secret::new([byte; 32]));
        assert!(matches!(KeyRing::new(vec![]), Err(RingError::Empty)));
        let twice = KeyRing::new(vec![key("a", 1), key("b", 2), key("c", 1)]);
        assert!(matches!(twice, Err(RingError::Alike(first, second)) if first == "a" && second == "c"));
    }
}
