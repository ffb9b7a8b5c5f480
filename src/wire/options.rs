//! How one session policy speaks: `[sessions.<name>.headers]`, resolved.

use super::fold;
use crate::secret::Secret;
use crate::session::Name;
use http::HeaderName;
use std::fmt;

/// The shortest prefix: shorter ones would swallow everyday headers.
const MIN_PREFIX_LEN: usize = 5;

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixProblem {
    /// Too short.
    #[error("`{0}` is too short: a prefix has at least {MIN_PREFIX_LEN} characters, such as `X-Session-`")]
    Short(String),
    /// A character that is no letter, digit or hyphen, or a first character that is no letter.
    #[error(
        "`{0}` is no prefix: it begins with a letter and has only letters, digits and hyphens, such as `X-Session-`"
    )]
    Character(String),
    /// No hyphen at the end.
    #[error("`{0}` must end in a hyphen, such as `X-Session-`")]
    End(String),
}

/// What the names of one policy's headers begin with, such as `X-Session-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(Box<str>);

impl Prefix {
    /// Reads a prefix.
    ///
    /// # Errors
    /// [`PrefixProblem`] says what a prefix looks like.
    pub fn parse(text: &str) -> Result<Self, PrefixProblem> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if !text.bytes().all(good) || !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            Err(PrefixProblem::Character(text.into()))
        } else if text.len() < MIN_PREFIX_LEN {
            Err(PrefixProblem::Short(text.into()))
        } else if !text.ends_with('-') {
            Err(PrefixProblem::End(text.into()))
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The prefix as it is spelled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the names of one could be taken for names of the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (fold(&self.0), fold(&other.0));
        a.starts_with(&b) || b.starts_with(&a)
    }

    /// Whether a header of this name belongs to the prefix, once folded.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        fold(name).starts_with(&fold(&self.0))
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("X-Session-".into())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the data reaches the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    /// All keys in one `X-Session-Data`.
    #[default]
    Data,
    /// One header for each key.
    Each,
    /// Both.
    Both,
    /// Only the aliases of `expose`.
    None,
}

/// The notation of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// URL-encoded pairs.
    #[default]
    Form,
    /// base64url JSON out, JSON merge patch in.
    Json,
    /// The names of Apache's `mod_session`.
    ModSession,
}

/// The charset of the backend's text, by its label in the WHATWG Encoding Standard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Charset(pub(super) &'static encoding_rs::Encoding);

impl Charset {
    /// The charset of a label such as `utf-8`, `windows-1252` or `shift_jis`; `None` for labels nobody knows and for
    /// UTF-16 and the replacement encoding, in which nothing can be written.
    #[must_use]
    pub fn parse(label: &str) -> Option<Self> {
        let encoding = encoding_rs::Encoding::for_label(label.as_bytes())?;
        (encoding.output_encoding() == encoding).then_some(Self(encoding))
    }

    /// The standard's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

impl Default for Charset {
    fn default() -> Self {
        Self(encoding_rs::UTF_8)
    }
}

impl fmt::Debug for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charset({})", self.name())
    }
}

/// A key that the backend also gets under a name of its own (`expose`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The key.
    pub key: Name,
    /// The request header.
    pub header: HeaderName,
    /// Printable ASCII as it is, instead of percent-encoded; a value that has anything else is left out.
    pub raw: bool,
}

/// A response header that the backend sends anyway and that sets a key (`capture`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The response header.
    pub header: HeaderName,
    /// The key.
    pub key: Name,
}

/// Everything about the headers of one session policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct HeaderOptions {
    /// What the names begin with.
    pub prefix: Prefix,
    /// How the data reaches the backend.
    pub forward: Forward,
    /// The notation of values.
    pub dialect: Dialect,
    /// The charset of the backend's text.
    pub charset: Charset,
    /// Keys under names of their own.
    pub expose: Vec<Alias>,
    /// Response headers that set keys.
    pub capture: Vec<Capture>,
    /// Send `Idle-Left` and `Absolute-Left`, `Created` and `Accessed`.
    pub clocks: bool,
    /// Send `Csrf`.
    pub csrf: bool,
    /// Send `Changed` when it must be said.
    pub changes: bool,
    /// Send `Nonce` and `Proof`, made with this key.
    pub proof_key: Option<Secret<String>>,
    /// Send `Nonce`, and obey an answer only with the same `Nonce`.
    pub nonce: bool,
    /// The keys that matter most when the budget is short, most important first.
    pub priority: Vec<Name>,
}

impl HeaderOptions {
    /// The defaults under a prefix.
    #[must_use]
    pub fn new(prefix: Prefix) -> Self {
        Self {
            prefix,
            forward: Forward::default(),
            dialect: Dialect::default(),
            charset: Charset::default(),
            expose: Vec::new(),
            capture: Vec::new(),
            clocks: false,
            csrf: false,
            changes: false,
            proof_key: None,
            nonce: false,
            priority: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_long_plain_and_ends_in_a_hyphen() {
        assert!(Prefix::parse("X-Session-").is_ok());
        for bad in ["", "X-S-", "X-Session", "X_Session-", "X.Session-", "1-Session-", "X-Sess\u{f6}-"] {
            assert!(Prefix::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_that_fold_into_one_another_overlap() {
        let prefix = |text| Prefix::parse(text).unwrap();
        assert!(prefix("X-Session-").overlaps(&prefix("x-session-")));
        assert!(prefix("X-Session-").overlaps(&prefix("X-Session-Cart-")));
        assert!(!prefix("X-Session-").overlaps(&prefix("X-Cart-")));
    }

    #[test]
    fn charsets_can_be_written_as_well_as_read() {
        assert_eq!(Charset::parse("latin1").unwrap().name(), "windows-1252");
        assert!(Charset::parse("shift_jis").is_some());
        assert!(Charset::parse("utf-16").is_none() && Charset::parse("klingon").is_none());
    }
}
