//! What a visitor looked like when a session was bound to him: short keyed digests, never the address itself (SL14).

use super::parts::Reader;
use super::view::Unreadable;

/// A property of a visitor that a session can be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trait {
    /// Whether he comes over TLS.
    Scheme,
    /// His browser, whatever its version.
    UserAgent,
    /// The network that he comes from.
    Address,
}

impl Trait {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Scheme, Self::UserAgent, Self::Address];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The digest of one property.
pub type Digest = [u8; 8];

/// The digests of those properties that the session is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imprint([Option<Digest>; 3]);

impl Imprint {
    /// Bound to nothing.
    pub const NONE: Self = Self([None; 3]);

    /// An imprint of what `digest` tells of each property.
    #[must_use]
    pub fn new(digest: impl FnMut(Trait) -> Option<Digest>) -> Self {
        Self(Trait::ALL.map(digest))
    }

    /// The digest of a property.
    #[must_use]
    pub const fn of(&self, which: Trait) -> Option<Digest> {
        self.0[which as usize]
    }

    /// Whether the session is bound to nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// This, and of `other` what is missing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::new(|which| self.of(which).or(other.of(which)))
    }

    /// The bytes of a record: u8 of bits, and the digests that they announce.
    pub(super) fn encode(&self) -> Vec<u8> {
        let bits = Trait::ALL.into_iter().filter(|which| self.of(*which).is_some()).map(Trait::bit).sum();
        let mut bytes: Vec<u8> = vec![bits];
        bytes.extend(self.0.iter().flatten().flatten());
        bytes
    }

    /// Reads what [`Imprint::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut input = Reader(bytes);
        let bits = input.u8()?;
        let mut imprint = Self::default();
        for which in Trait::ALL.into_iter().filter(|which| bits & which.bit() != 0) {
            imprint.0[which as usize] = Some(input.array()?);
        }
        if input.0.is_empty() && bits < 8 && !imprint.is_empty() { Ok(imprint) } else { Err(Unreadable) }
    }
}

/// The properties that are others than those that the session is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed(u8);

impl Changed {
    /// The longest of the words.
    pub const MAX_LEN: usize = "scheme, user_agent, address".len();

    /// Adds a property.
    pub const fn add(&mut self, which: Trait) {
        self.0 |= which.bit();
    }

    /// Whether a property has changed.
    #[must_use]
    pub const fn has(self, which: Trait) -> bool {
        self.0 & which.bit() != 0
    }

    /// The words of the protocol; `None` when nothing has changed.
    #[must_use]
    pub const fn words(self) -> Option<&'static str> {
        match self.0 {
            1 => Some("scheme"),
            2 => Some("user_agent"),
            3 => Some("scheme, user_agent"),
            4 => Some("address"),
            5 => Some("scheme, address"),
            6 => Some("user_agent, address"),
            7 => Some("scheme, user_agent, address"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imprint_survives_its_bytes_and_nothing_else_is_one() {
        for bits in 1..8_u8 {
            let imprint = Imprint::new(|which| (bits & which.bit() != 0).then_some([which as u8 + 1; 8]));
            let bytes = imprint.encode();
            assert_eq!(Imprint::decode(&bytes), Ok(imprint));
            assert_eq!(Imprint::decode(&bytes[..bytes.len() - 1]), Err(Unreadable));
            assert_eq!(Imprint::decode(&[&bytes[..], &[0]].concat()), Err(Unreadable));
        }
        for bytes in [&[][..], &[0], &[8], &[1]] {
            assert_eq!(Imprint::decode(bytes), Err(Unreadable), "{bytes:?}");
        }
    }

    #[test]
    fn every_change_has_its_words() {
        for bits in 0..8_u8 {
            let mut changed = Changed::default();
            let named: Vec<_> = Trait::ALL.into_iter().filter(|which| bits & which.bit() != 0).collect();
            for which in &named {
                changed.add(*which);
            }
            let words = changed.words().unwrap_or_default();
            assert!(words.len() <= Changed::MAX_LEN);
            assert_eq!(words.split(", ").filter(|word| !word.is_empty()).count(), named.len(), "{words}");
            assert_eq!(words.contains("address"), changed.has(Trait::Address));
        }
    }
}
