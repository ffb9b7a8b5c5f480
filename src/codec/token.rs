//! The cookie of a session that the browser keeps: the whole record, sealed or signed (decision 3 of the design). Values
//! of a backend's own cookies travel in the same form, under bindings of their own.
//!
//! Version `2`, mode, key hint 2, then sealed: salt 24, ciphertext, tag 16; signed: body, HMAC-SHA-256 32. The body is the
//! deadline as u64 and the record. Each sealed token has a key of its own, derived from the salt by HKDF, so the number of
//! tokens under one key of the operator is not limited by the 96-bit nonce, which is constant. The associated data binds
//! version, mode, key hint, cookie name and policy. A session cut into several cookies is one message.

use super::NotOurs;
use super::keyring::{Binding, Freshness, HINT_LEN, HmacSha256, Key, KeyRing};
use super::salted::{SALT_LEN, TAG_LEN, cipher, nonce};
use crate::clock::Timestamp;
use crate::session::random;
use base64::engine::general_purpose::NO_PAD;
use base64::engine::{Engine as _, Simd};
use bytes::Bytes;
use hmac::Mac as _;
use ring::aead::Aad;
use std::ops::Range;
use std::sync::LazyLock;

const VERSION: u8 = 2;
const HEAD: usize = 2 + HINT_LEN;
const SIGNATURE_LEN: usize = 32;

/// How a session that the browser keeps is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenMode {
    /// Nobody but us can read or change it.
    Sealed,
    /// Anybody can read it, nobody but us can change it.
    Signed,
}

impl TokenMode {
    const fn byte(self) -> u8 {
        match self {
            Self::Sealed => 1,
            Self::Signed => 2,
        }
    }
}

/// A session that the browser brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedToken {
    /// The record.
    pub record: Bytes,
    /// When the session ends unless it is extended.
    pub deadline: Timestamp,
    /// Whether the key is the one that seals today.
    pub freshness: Freshness,
}

/// Writes a session with the key that seals, as base64url.
///
/// `None` when the system has no random bytes.
#[must_use]
pub fn seal_token(
    ring: &KeyRing,
    binding: &Binding,
    mode: TokenMode,
    record: &[u8],
    deadline: Timestamp,
) -> Option<String> {
    let key = ring.sealing();
    let mut token = Vec::with_capacity(HEAD + SALT_LEN + 8 + record.len() + SIGNATURE_LEN);
    token.extend_from_slice(&[VERSION, mode.byte()]);
    token.extend_from_slice(&key.hint());
    match mode {
        TokenMode::Sealed => {
            let salt: [u8; SALT_LEN] = random().ok()?;
            let aad = Aad::from([&token, binding.as_bytes()].concat());
            token.extend_from_slice(&salt);
            body(&mut token, record, deadline);
            let cipher = cipher(&key.token(), &salt)?;
            let tag = cipher.seal_in_place_separate_tag(nonce(), aad, &mut token[HEAD + SALT_LEN..]);
            token.extend_from_slice(tag.ok()?.as_ref());
        }
        TokenMode::Signed => {
            body(&mut token, record, deadline);
            let signature = signature(key, binding, &token).finalize().into_bytes();
            token.extend_from_slice(&signature);
        }
    }
    Some(TEXT.encode(token))
}

/// Tokens are long: the vector instructions of the processor read and write them four times as fast. The engine holds
/// tables, so it is made once.
static TEXT: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));

/// Reads a session. A token of the other mode is not ours: a policy that seals accepts nothing signed (no fallback).
///
/// # Errors
/// [`NotOurs`] for everything that was not issued with a key of the ring under this binding and mode.
pub fn open_token(ring: &KeyRing, binding: &Binding, mode: TokenMode, text: &[u8]) -> Result<OpenedToken, NotOurs> {
    let mut token = TEXT.decode(text).map_err(|_| NotOurs)?;
    let &[version, is, high, low] = token.first_chunk::<HEAD>().ok_or(NotOurs)?;
    if version != VERSION || is != mode.byte() {
        return Err(NotOurs);
    }
    let (key, freshness) = ring.opening([high, low]).ok_or(NotOurs)?;
    let body = match mode {
        TokenMode::Sealed => unseal(key, binding, &mut token),
        TokenMode::Signed => verify(key, binding, &token),
    };
    let body = body.ok_or(NotOurs)?;
    let deadline = token[body.clone()].first_chunk::<8>().ok_or(NotOurs)?;
    let deadline = Timestamp::from_millis(u64::from_be_bytes(*deadline));
    Ok(OpenedToken { record: Bytes::from(token).slice(body.start + 8..body.end), deadline, freshness })
}

fn body(token: &mut Vec<u8>, record: &[u8], deadline: Timestamp) {
    token.extend_from_slice(&deadline.as_millis().to_be_bytes());
    token.extend_from_slice(record);
}

/// Opens the body where it lies and says where that is; the token is of no more use when it does not open.
fn unseal(key: &Key, binding: &Binding, token: &mut [u8]) -> Option<Range<usize>> {
    let (head, rest) = token.split_first_chunk_mut::<HEAD>()?;
    let (salt, sealed) = rest.split_first_chunk_mut::<SALT_LEN>()?;
    let aad = Aad::from([&head[..], binding.as_bytes()].concat());
    let length = cipher(&key.token(), salt)?.open_in_place(nonce(), aad, sealed).ok()?.len();
    Some(HEAD + SALT_LEN..HEAD + SALT_LEN + length)
}

fn verify(key: &Key, binding: &Binding, token: &[u8]) -> Option<Range<usize>> {
    let end = token.len().checked_sub(SIGNATURE_LEN).filter(|end| *end >= HEAD)?;
    let (signed, tag) = token.split_at(end);
    signature(key, binding, signed).verify_slice(tag).ok()?;
    Some(HEAD..end)
}

fn signature(key: &Key, binding: &Binding, signed: &[u8]) -> HmacSha256 {
    let mut mac = key.signature();
    mac.update(binding.as_bytes());
    mac.update(signed);
    mac
}

const _: () = assert!(TAG_LEN <= SIGNATURE_LEN);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;

    fn ring(bytes: &[u8]) -> KeyRing {
        let key = |byte: &u8| Key::new(format!("key-{byte}"), &Secret::new([*byte; 32]));
        KeyRing::new(bytes.iter().map(key).collect()).unwrap()
    }

    fn binding() -> Binding {
        Binding::new("session", "main")
    }

    const DEADLINE: Timestamp = Timestamp::from_millis(42);
    const MODES: [TokenMode; 2] = [TokenMode::Sealed, TokenMode::Signed];

    fn seal(mode: TokenMode) -> String {
        seal_token(&ring(&[1]), &binding(), mode, b"user=ada", DEADLINE).unwrap()
    }

    #[test]
    fn a_token_comes_back_as_it_went_out() {
        for mode in MODES {
            let text = seal(mode);
            let open = |keys: &[u8]| open_token(&ring(keys), &binding(), mode, text.as_bytes());
            let opened = |freshness| Ok(OpenedToken { record: "user=ada".into(), deadline: DEADLINE, freshness });
            assert_eq!(open(&[1]), opened(Freshness::Current));
            assert_eq!(open(&[2, 1]), opened(Freshness::Outdated));
            assert_eq!(open(&[2]), Err(NotOurs));
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')); // CK4
        }
        assert_ne!(seal(TokenMode::Sealed), seal(TokenMode::Sealed));
    }

    /// The values were made by another implementation, from the description at the top of this file.
    #[test]
    fn tokens_of_the_first_release_still_open() {
        let signed = "AgIw4wAAAAAAAAAqdXNlcj1hZGFsr6GSKSSnMw1AgKkeAZ8ggrISci6Bbskkd7uJCZ3GNQ";
        let sealed = "AgEw4wkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCe_Xifa0ioWUjhnlmztmLSL6vJtwMz4fNcFAFCXtbFuP";
        for (mode, text) in [(TokenMode::Signed, signed), (TokenMode::Sealed, sealed)] {
            let opened = open_token(&ring(&[1]), &binding(), mode, text.as_bytes()).unwrap();
            assert_eq!((&opened.record[..], opened.deadline), (&b"user=ada"[..], DEADLINE), "{mode:?}");
        }
    }

    #[test]
    fn a_mode_accepts_no_token_of_the_other() {
        // CVE-2026-39324: no "try the next format"
        let [sealed, signed] = MODES.map(seal);
        assert!(open_token(&ring(&[1]), &binding(), TokenMode::Signed, sealed.as_bytes()).is_err());
        assert!(open_token(&ring(&[1]), &binding(), TokenMode::Sealed, signed.as_bytes()).is_err());
    }

    #[test]
    fn a_token_opens_under_its_own_name_only() {
        for mode in MODES {
            let text = seal(mode);
            for other in [Binding::new("cart", "main"), Binding::of_backend(b"session", "main")] {
                assert_eq!(open_token(&ring(&[1]), &other, mode, text.as_bytes()), Err(NotOurs));
            }
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        for mode in MODES {
            let bytes = TEXT.decode(seal(mode)).unwrap();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                for text in [TEXT.encode(&changed), TEXT.encode(&bytes[..at])] {
                    assert_eq!(open_token(&ring(&[1]), &binding(), mode, text.as_bytes()), Err(NotOurs), "{at}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text in "[A-Za-z0-9_=%\\-]{0,120}") {
            for mode in MODES {
                prop_assert!(open_token(&ring(&[1]), &binding(), mode, text.as_bytes()).is_err());
            }
        }
    }
}
