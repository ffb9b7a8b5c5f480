//! Words a session is made of: keys, values, owners, flash messages.

use crate::clock::Timestamp;
use std::borrow::Borrow;
use std::fmt;

/// The longest key, in bytes.
pub const MAX_NAME_LEN: usize = 64;

/// A key of the session's data: a letter or digit, then at most 63 letters, digits, `_` or `-`; case-sensitive.
///
/// No dot, because PHP rewrites dots in names (protocol, grammar of values).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// Reads a key; `None` when it breaks the grammar.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_valid(text).then(|| Self(text.into()))
    }

    /// Whether `text` is a key by the grammar.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        let bytes = text.as_bytes();
        bytes.len() <= MAX_NAME_LEN
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a key holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    /// The text, or compact JSON when `json` is set.
    pub text: String,
    /// The value was written as JSON that is not a string: a number, a list, an object, a truth value.
    pub json: bool,
    /// When this key dies by itself (`X-Session-Ttl`).
    pub deadline: Option<Timestamp>,
}

impl Value {
    /// Plain text without a deadline of its own.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), json: false, deadline: None }
    }

    /// A JSON value; a JSON string becomes plain text.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::String(text) => Self::text(text.clone()),
            other => Self { text: other.to_string(), json: true, deadline: None },
        }
    }

    /// Whether the key's own deadline has passed.
    #[must_use]
    pub fn is_dead(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline.has_passed(now))
    }
}

impl fmt::Debug for Value {
    /// Shows the length only (LG1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.text.len())
    }
}

/// Whose session it is, since `X-Session-Login`: 1 to 256 bytes of text without control characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Owner(Box<str>);

impl Owner {
    /// The longest owner, in bytes.
    pub const MAX_LEN: usize = 256;

    /// Reads an owner; `None` when it is empty, too long or has control characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_LEN && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into()))
    }

    /// The owner as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Owner {
    /// Names no person (LG1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner(..)")
    }
}

/// A message for the next page.
#[derive(Clone, PartialEq, Eq)]
pub struct Flash {
    /// Counts the flashes of this session; tells those a request was shown from those that came later.
    pub number: u32,
    /// `info`, `error`, or whatever word the application uses.
    pub level: Name,
    /// The message.
    pub text: String,
    /// Further fields, such as `title`, in the order in which they came.
    pub fields: Vec<(Name, String)>,
}

impl Flash {
    /// The field that names the list which a message is in.
    pub const LIST: &str = "list";

    /// The list which it is in, where it is in one.
    #[must_use]
    pub fn list(&self) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name.as_str() == Self::LIST).map(|(_, list)| list.as_str())
    }
}

impl fmt::Debug for Flash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flash {{ number: {}, level: {} }}", self.number, self.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_to_the_grammar() {
        for good in ["a", "Z9", "user_id", "x-y", &"k".repeat(64)] {
            assert!(Name::is_valid(good), "{good}");
        }
        for bad in ["", "_a", "-a", "a.b", "a b", "ä", "a=", "a\r", &"k".repeat(65)] {
            assert!(!Name::is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn an_owner_has_no_control_characters() {
        assert!(Owner::parse("ada@example.org").is_some());
        assert!(Owner::parse("").is_none());
        assert!(Owner::parse("a\r\nb").is_none());
        assert!(Owner::parse(&"a".repeat(257)).is_none());
    }

    #[test]
    fn debug_never_shows_data() {
        let shown = format!("{:?} {:?}", Value::text("hunter2"), Owner::parse("ada"));
        assert!(!shown.contains("hunter2") && !shown.contains("ada"));
    }
}
