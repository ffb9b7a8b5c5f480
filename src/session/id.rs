//! Names of one session: the id in the visitor's cookie, the key in the store, the reference in logs.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};
use std::fmt;
use zeroize::Zeroize;

/// Bytes of randomness in a session id: 256 bits (SL1).
pub const ID_LEN: usize = 32;

/// The system's random source failed; no session can be made without it.
#[derive(Debug, thiserror::Error)]
#[error("the system's random source gave nothing")]
pub struct NoRandomness;

/// `N` fresh bytes from the system's generator.
///
/// # Errors
/// [`NoRandomness`] when the system has none to give; nothing weaker is ever used.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// The bearer secret of a session, known to the visitor's browser only.
///
/// It never reaches a store, a log or a backend; it has no `Display`, and its `Debug` shows nothing (LG1).
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId([u8; ID_LEN]);

impl SessionId {
    /// A new id from the system's generator.
    ///
    /// # Errors
    /// [`NoRandomness`] when the system's generator fails.
    pub fn generate() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    /// An id read back from a ticket whose authentication code was right, or from our own alias record.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ID_LEN]) -> Self {
        Self(bytes)
    }

    /// The secret bytes, for the ticket and for key derivation.
    #[must_use]
    pub const fn expose(&self) -> &[u8; ID_LEN] {
        &self.0
    }

    /// The name under which the store knows this session (ST1): it does not lead back to the id.
    #[must_use]
    pub fn store_key(&self) -> StoreKey {
        let mut digest = Sha256::new();
        digest.update(b"cloakroom store key 1");
        digest.update(self.0);
        StoreKey(digest.finalize().into())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

impl Drop for SessionId {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The digest of a session id: what stores use as their key. Always 32 bytes (ST6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey([u8; 32]);

impl StoreKey {
    /// A key read back from a store's index.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key of something that is no session: no label begins like another, so no two of them meet.
    fn labelled(label: &[u8], policy: &[u8], rest: &[u8]) -> Self {
        let mut digest = Sha256::new();
        digest.update(label);
        digest.update((policy.len() as u64).to_be_bytes());
        digest.update(policy);
        digest.update(rest);
        Self(digest.finalize().into())
    }
}

impl fmt::Debug for StoreKey {
    /// Four bytes: enough to tell two keys apart in a test, too few to look one up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKey({:02x}{:02x}{:02x}{:02x}..)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// The digest of an owner's name, for the store's owner index; the name itself stays in the sealed record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerKey([u8; 32]);

impl OwnerKey {
    /// The index key of `owner` within one session policy.
    #[must_use]
    pub fn new(policy: &str, owner: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"cloakroom owner key 1");
        digest.update((policy.len() as u64).to_be_bytes());
        digest.update(policy.as_bytes());
        digest.update(owner.as_bytes());
        Self(digest.finalize().into())
    }

    /// A key read back from a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl OwnerKey {
    /// Where the roster of this owner lies, where the owner may have so many sessions at a time.
    #[must_use]
    pub fn roster_key(&self) -> StoreKey {
        StoreKey::labelled(b"cloakroom roster key 1", b"", &self.0)
    }

    /// Where it is remembered that this owner ended sessions that browsers keep.
    #[must_use]
    pub fn ended_key(&self) -> StoreKey {
        StoreKey::labelled(b"cloakroom ended owner key 1", b"", &self.0)
    }

    /// Where it is kept who logged in as this owner, and who ended sessions of his.
    #[must_use]
    pub fn history_key(&self) -> StoreKey {
        StoreKey::labelled(b"cloakroom owner history key 1", b"", &self.0)
    }

    /// Under which owner the index lists the histories of this owner's sessions: they are none of his sessions.
    #[must_use]
    pub fn of_histories(&self) -> Self {
        Self(StoreKey::labelled(b"cloakroom history owner key 1", b"", &self.0).0)
    }
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerKey({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// The name a session keeps through every change of its id; safe in headers and logs, useless as a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lineage([u8; 12]);

impl Lineage {
    /// A new lineage.
    ///
    /// # Errors
    /// [`NoRandomness`] when the system's generator fails.
    pub fn generate() -> Result<Self, NoRandomness> {
        random().map(Self)
    }

    /// A lineage read back from a record.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the record.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

impl Lineage {
    /// Sixteen characters of base64url: the `X-Session-Ref` of the protocol.
    #[must_use]
    pub fn as_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl Lineage {
    /// Reads what [`Lineage::as_text`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Where it is remembered that this session has ended, in a policy whose sessions browsers keep.
    #[must_use]
    pub fn ended_key(&self, policy: &str) -> StoreKey {
        StoreKey::labelled(b"cloakroom ended lineage key 1", policy.as_bytes(), &self.0)
    }

    /// Where the history of this session lies.
    #[must_use]
    pub fn history_key(&self, policy: &str) -> StoreKey {
        StoreKey::labelled(b"cloakroom history key 1", policy.as_bytes(), &self.0)
    }
}

/// Four bytes of a digest of a policy's name: they tell an operator's list whose session lies in a store that several
/// policies share, and nothing is decided by them alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyTag([u8; 4]);

impl PolicyTag {
    /// The tag of a policy.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        let StoreKey([a, b, c, d, ..]) = StoreKey::labelled(b"cloakroom policy tag 1", policy.as_bytes(), b"");
        Self([a, b, c, d])
    }

    /// A tag read back from a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl StoreKey {
    /// Where the [`RevocationList`](super::RevocationList) of a policy lies.
    #[must_use]
    pub fn of_revocations(policy: &str) -> Self {
        Self::labelled(b"cloakroom revocations key 1", policy.as_bytes(), b"")
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_never_print() {
        let (a, b) = (SessionId::generate().unwrap(), SessionId::generate().unwrap());
        assert_ne!(a.store_key(), b.store_key());
        assert_eq!(format!("{a:?}"), "SessionId(..)"); // LG1
    }

    #[test]
    fn the_store_key_is_a_known_digest() {
        // Sessions outlive a release: this value may never change.
        let key = SessionId::from_bytes([7; 32]).store_key();
        assert_eq!(
            format!("{key:?}"),
            format!("{:?}", StoreKey(Sha256::digest([b"cloakroom store key 1".as_slice(), &[7; 32]].concat()).into()))
        );
    }

    #[test]
    fn owners_of_two_policies_are_strangers() {
        assert_ne!(OwnerKey::new("a", "bc"), OwnerKey::new("ab", "c"));
    }

    #[test]
    fn what_is_kept_about_an_owner_or_a_lineage_lies_under_keys_of_its_own() {
        let (owner, lineage) = (OwnerKey::new("main", "ada"), Lineage::from_bytes([7; 12]));
        let revocations = StoreKey::of_revocations("main");
        let keys = [
            owner.roster_key(),
            owner.ended_key(),
            lineage.ended_key("main"),
            lineage.ended_key("other"),
            lineage.history_key("main"),
            owner.history_key(),
            StoreKey::from_bytes(*owner.of_histories().as_bytes()),
            StoreKey::from_bytes(*owner.as_bytes()),
            revocations,
        ];
        let distinct: std::collections::BTreeSet<StoreKey> = keys.into();
        assert_eq!(distinct.len(), keys.len());
        // They outlive a release: these values may never change.
        let digest = |parts: &[&[u8]]| StoreKey(Sha256::digest(parts.concat()).into());
        assert_eq!(keys[0], digest(&[b"cloakroom roster key 1", &[0; 8], owner.as_bytes()]));
        assert_eq!(keys[1], digest(&[b"cloakroom ended owner key 1", &[0; 8], owner.as_bytes()]));
        assert_eq!(keys[2], digest(&[b"cloakroom ended lineage key 1", &4_u64.to_be_bytes(), b"main", &[7; 12]]));
        assert_eq!(revocations, digest(&[b"cloakroom revocations key 1", &4_u64.to_be_bytes(), b"main"]));
        assert_eq!(keys[4], digest(&[b"cloakroom history key 1", &4_u64.to_be_bytes(), b"main", &[7; 12]]));
        assert_eq!(keys[5], digest(&[b"cloakroom owner history key 1", &[0; 8], owner.as_bytes()]));
        assert_eq!(keys[6], digest(&[b"cloakroom history owner key 1", &[0; 8], owner.as_bytes()]));
    }

    #[test]
    fn a_lineage_is_sixteen_safe_characters() {
        let text = Lineage::from_bytes([0xff; 12]).to_string();
        assert_eq!(text, "________________");
        assert_eq!(Lineage::from_text(&text), Some(Lineage::from_bytes([0xff; 12])));
        for text in ["", "_", "_______________", "_________________", "___________\u{e9}___", "________________\n"] {
            assert_eq!(Lineage::from_text(text), None, "{text:?}");
        }
    }
}
