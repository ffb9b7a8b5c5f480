//! What our keys are called, and which slot of a cluster they belong to.

use crate::session::{OwnerKey, StoreKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::Cmd;

/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

/// Characters of a digest in base64url.
const DIGEST: usize = 43;

/// Makes the names of keys: `<prefix>{<digest>}` for a session, `<prefix>o:{<digest>}` for the sessions of an owner.
///
/// The braces leave the digest alone to decide about the slot, so that an owner's set does not lie where his sessions do
/// but where there is room; and no session's name can be that of a set.
#[derive(Debug)]
pub(super) struct Names {
    prefix: String,
}

/// The name of a key, and where it lies.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: Vec<u8>,
    /// Which of several connections to a server carries it: always the same, so that its requests keep their order.
    pub(super) lane: usize,
}

impl Names {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    pub(super) fn session(&self, key: &StoreKey) -> Place {
        place(&self.prefix, "", key.as_bytes())
    }

    pub(super) fn owner(&self, owner: &OwnerKey) -> Place {
        place(&self.prefix, "o:", owner.as_bytes())
    }

    /// What the names of all sessions begin with, and no other name of ours.
    pub(super) fn sessions(&self) -> String {
        format!("{}{{", self.prefix)
    }

    /// The names of all sessions, as a pattern.
    pub(super) fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.prefix.len() + 3);
        for character in self.prefix.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push_str("{*}");
        pattern
    }

    /// The session that has this name.
    pub(super) fn key_of(&self, name: &[u8]) -> Option<StoreKey> {
        let digest = name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"{")?.strip_suffix(b"}")?;
        let mut bytes = [0; 32];
        let length = if digest.len() == DIGEST { URL_SAFE_NO_PAD.decode_slice(digest, &mut bytes).ok()? } else { 0 };
        (length == 32).then(|| StoreKey::from_bytes(bytes))
    }
}

fn place(prefix: &str, kind: &str, digest: &[u8; 32]) -> Place {
    let mut text = [0; DIGEST];
    // A digest always fills it; what is not encoded would only make another name.
    let _ = URL_SAFE_NO_PAD.encode_slice(digest, &mut text);
    let mut name = Vec::with_capacity(prefix.len() + kind.len() + DIGEST + 2);
    for part in [prefix.as_bytes(), kind.as_bytes(), b"{", &text, b"}"] {
        name.extend_from_slice(part);
    }
    Place { name, lane: usize::from(digest[31]) }
}

impl Place {
    /// Where a cluster keeps it; a prefix with braces of its own decides instead of the digest.
    pub(super) fn slot(&self) -> u16 {
        slot_of(&self.name)
    }

    /// Asks for the first bytes of what lies there: nothing when nothing does.
    pub(super) fn read(&self, bytes: usize) -> Cmd {
        let mut question = Cmd::with_capacity(4, self.name.len() + 24);
        question.arg("GETRANGE").arg(&self.name).arg(0).arg(bytes - 1);
        question
    }
}

/// The slot that a cluster puts a key in: that of what stands in its first braces, or of all of it.
fn slot_of(name: &[u8]) -> u16 {
    let tag = name.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &name[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(name)) % SLOTS
}

/// CRC-16/XMODEM, which the cluster specification prescribes.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| (crc << 8) ^ CRC[usize::from((crc >> 8) ^ u16::from(*byte))])
}

const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut value = 0_u16;
    while value < 256 {
        let (mut crc, mut bit) = (value << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[value as usize] = crc;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
    }

    #[test]
    fn a_name_leads_back_to_its_key() {
        let names = Names::new("cloak[room]:".into());
        let key = StoreKey::from_bytes([0xfb; 32]);
        let place = names.session(&key);
        assert_eq!(place.name, *b"cloak[room]:{-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s}");
        assert_eq!(names.key_of(&place.name), Some(key));
        assert_eq!(names.pattern(), r"cloak\[room\]:{*}");
        let owner = names.owner(&OwnerKey::from_bytes([0xfb; 32])).name;
        for other in [&owner[..], b"cloak[room]:{}", b"cloak[room]:{-_v7}", b"other", &place.name[1..]] {
            assert_eq!(names.key_of(other), None);
        }
    }
}
