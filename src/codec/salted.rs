//! A key for each message, derived from a salt: the number of messages under one key of the operator is not limited by the
//! 96-bit nonce, which is constant.

use super::keyring::{HmacSha256, derive};
use ring::aead::{AES_256_GCM, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroize as _;

/// From the system for each message: a machine restored from a snapshot must not repeat a salt, and with it a key.
pub(super) const SALT_LEN: usize = 24;

pub(super) const TAG_LEN: usize = 16;

/// The cipher of one message; `None` never happens, since the derived key has the right length.
pub(super) fn cipher(purpose: &HmacSha256, salt: &[u8; SALT_LEN]) -> Option<LessSafeKey> {
    let mut derived = derive(purpose, salt);
    let cipher = UnboundKey::new(&AES_256_GCM, &derived).ok().map(LessSafeKey::new);
    derived.zeroize();
    cipher
}

/// One key seals one message, so its nonce need not vary.
pub(super) fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}
