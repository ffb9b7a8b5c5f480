//! One response's commands as one value: what the backend wants changed, and why it may be refused.

use super::held::Held;
use super::name::{Flash, Name, Owner, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Why a batch was refused: one word for the metric, the log and `X-Session-Error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A broken percent-escape, or a raw byte that must be escaped.
    Escape,
    /// A key that breaks the grammar.
    Key,
    /// Bytes that are no text in the route's charset.
    Charset,
    /// Too large, too many, or beyond what the operator allows.
    Limit,
    /// A value of the wrong kind, such as `X-Session-Add` on a word.
    Type,
    /// The route may not do this.
    Rights,
    /// An `X-Session-If` that does not hold.
    Condition,
    /// The nonce of the request is missing from its answer.
    Nonce,
    /// Another request has taken the lock of this one over.
    Lock,
}

impl Refusal {
    const ALL: [Self; 9] = [
        Self::Escape,
        Self::Key,
        Self::Charset,
        Self::Limit,
        Self::Type,
        Self::Rights,
        Self::Condition,
        Self::Nonce,
        Self::Lock,
    ];

    /// The word of the protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Escape => "escape",
            Self::Key => "key",
            Self::Charset => "charset",
            Self::Limit => "limit",
            Self::Type => "type",
            Self::Rights => "rights",
            Self::Condition => "condition",
            Self::Nonce => "nonce",
            Self::Lock => "lock",
        }
    }

    /// The number under which a record remembers it.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The refusal that a record remembers.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// A refusal, and what exactly was wrong, for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    /// The word of the protocol.
    pub reason: Refusal,
    /// A sentence without any value or id in it (LG1).
    pub detail: String,
}

impl Refused {
    /// A refusal with its sentence.
    pub fn new(reason: Refusal, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// A set of keys, or all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// Every key.
    #[default]
    All,
    /// These keys.
    Only(BTreeSet<Name>),
}

impl Keys {
    /// Whether the set has `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// What a route may do with a session (protocol, trust).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// `access = "write"`: commands are obeyed; otherwise each is refused.
    pub may_write: bool,
    /// The keys that the backend is shown.
    pub read: Keys,
    /// The keys that the backend may change.
    pub write: Keys,
}

impl Default for Rights {
    fn default() -> Self {
        Self { may_write: true, read: Keys::All, write: Keys::All }
    }
}

/// What `X-Session-Set` gives to one key.
#[derive(Clone, Debug, PartialEq)]
pub enum SetTo {
    /// This value as it stands.
    Value(Value),
    /// A JSON object to be merged into what is there (RFC 7396).
    Merge(serde_json::Map<String, serde_json::Value>),
}

/// A flash as the backend wrote it; it gets its number when it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFlash {
    /// The level.
    pub level: Name,
    /// The message.
    pub text: String,
    /// Further fields.
    pub fields: Vec<(Name, String)>,
}

/// The changes to the data, in the order of their effects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// `Replace`: the data becomes exactly this.
    pub replace: Option<BTreeMap<Name, Value>>,
    /// `Unset: *`.
    pub clear: bool,
    /// `Unset`.
    pub unset: BTreeSet<Name>,
    /// `Init`.
    pub init: BTreeMap<Name, Value>,
    /// `Set`.
    pub set: BTreeMap<Name, SetTo>,
    /// `Add`: several items of one key add up.
    pub add: Vec<(Name, i64)>,
    /// `Push`: several items of one key are appended in turn.
    pub push: Vec<(Name, String)>,
    /// `Ttl`.
    pub ttl: BTreeMap<Name, Duration>,
    /// `Flash`.
    pub flash: Vec<NewFlash>,
}

/// `X-Session-If`: what must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `@version=17`.
    Version(u64),
    /// `key=value`.
    Equals(Name, String),
    /// `!key`.
    Absent(Name),
}

/// `X-Session-Destroy`: whose sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This one.
    This,
    /// All others of this session's owner.
    Others,
    /// This one and all others of its owner.
    All,
}

/// Which of the messages that a request was shown are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picked {
    /// `1`: every one.
    All,
    /// Those of one of these levels, and those in one of these lists; `None` is for those in no list.
    Only {
        /// The levels.
        levels: BTreeSet<Name>,
        /// The lists.
        lists: BTreeSet<Option<Name>>,
    },
}

impl Picked {
    /// Whether this message is meant.
    #[must_use]
    pub fn has(&self, flash: &Flash) -> bool {
        match self {
            Self::All => true,
            Self::Only { levels, lists } => {
                let list = flash.list();
                levels.contains(&flash.level) || lists.iter().any(|named| named.as_ref().map(Name::as_str) == list)
            }
        }
    }
}

/// `X-Session-Expire`: the clocks a backend asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireWish {
    /// End after this long without a request.
    pub idle: Option<Duration>,
    /// End this long after the absolute clock started.
    pub absolute: Option<Duration>,
    /// Keep the cookie when the browser closes.
    pub persist: Option<bool>,
}

/// `X-Session-Cookie`: attributes for this session's cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieWish {
    /// The `Path`.
    pub path: Option<String>,
    /// The `Domain`.
    pub domain: Option<String>,
}

/// Everything that one response asks of one session. Applied whole or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// `Revert`: forget every other command.
    pub revert: bool,
    /// `If`.
    pub conditions: Vec<Condition>,
    /// `Destroy`.
    pub destroy: Option<Scope>,
    /// `Invalidate`.
    pub invalidate: bool,
    /// The changes to the data, and new flashes.
    pub changes: Changes,
    /// `Login`.
    pub login: Option<Owner>,
    /// `Regenerate`.
    pub regenerate: bool,
    /// `Expire`.
    pub expire: Option<ExpireWish>,
    /// `Touch`.
    pub touch: Option<bool>,
    /// `Cookie`.
    pub cookie: Option<CookieWish>,
    /// `Flash-Keep`.
    pub flash_keep: Option<Picked>,
    /// `Flash-Read`.
    pub flash_read: Option<Picked>,
    /// No command: cookies of the backend that the session keeps in the browser's place.
    pub held: Vec<Held<'static>>,
}

impl Batch {
    /// Whether nothing at all is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what the route may not do.
    ///
    /// `Replace` and `Unset: *` need no right of their own: they act on the keys that the route may change.
    ///
    /// # Errors
    /// [`Refusal::Rights`], naming the key.
    pub fn check(&self, rights: &Rights) -> Result<(), Refused> {
        if !rights.may_write && (Self { revert: false, ..self.clone() }) != Self::default() {
            return Err(Refused::new(Refusal::Rights, "this route has read access only"));
        }
        if rights.write != Keys::All && (self.invalidate || self.destroy.is_some() || self.login.is_some()) {
            let detail = "a route that may change some keys only may not log in, end or begin a session";
            return Err(Refused::new(Refusal::Rights, detail));
        }
        let asked = self.conditions.iter().filter_map(|condition| match condition {
            Condition::Equals(name, _) | Condition::Absent(name) => Some(name),
            Condition::Version(_) => None,
        });
        if let Some(name) = asked.into_iter().find(|name| !rights.read.has(name.as_str())) {
            return Err(Refused::new(Refusal::Rights, format!("this route may not ask about the key `{name}`")));
        }
        let Changes { replace, unset, init, set, add, push, ttl, .. } = &self.changes;
        let mut named = (replace.iter().flat_map(BTreeMap::keys))
            .chain(unset)
            .chain(init.keys())
            .chain(set.keys())
            .chain(add.iter().map(|(name, _)| name))
            .chain(push.iter().map(|(name, _)| name))
            .chain(ttl.keys());
        match named.find(|name| !rights.write.has(name.as_str())) {
            Some(name) => Err(Refused::new(Refusal::Rights, format!("this route may not change the key `{name}`"))),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::This => "1",
            Self::Others => "others",
            Self::All => "all",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_refusal_survives_its_code() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
        }
        assert_eq!(Refusal::from_code(200), None);
    }

    #[test]
    fn a_route_changes_its_own_keys_only() {
        let only = Keys::Only([name("lang")].into());
        let rights = Rights { write: only, ..Rights::default() };
        let set = |key: &str| {
            let mut batch = Batch::default();
            batch.changes.set.insert(name(key), SetTo::Value(Value::text("x")));
            batch
        };
        assert_eq!(set("lang").check(&rights), Ok(()));
        assert_eq!(set("user").check(&rights).unwrap_err().reason, Refusal::Rights);
        let reader = Rights { may_write: false, ..Rights::default() };
        assert_eq!(set("lang").check(&reader).unwrap_err().reason, Refusal::Rights);
        assert_eq!(Batch::default().check(&reader), Ok(()));
        let own = Keys::Only([name("lang")].into());
        let limited = Rights { may_write: true, read: own.clone(), write: own };
        let refused = |batch: Batch| batch.check(&limited).is_err_and(|refused| refused.reason == Refusal::Rights);
        assert!(refused(Batch { invalidate: true, ..Batch::default() }));
        assert!(refused(Batch { destroy: Some(Scope::This), ..Batch::default() }));
        assert!(refused(Batch { login: Owner::parse("eve"), ..Batch::default() }));
        assert!(refused(Batch { conditions: vec![Condition::Absent(name("user"))], ..Batch::default() }));
        assert!(!refused(Batch { conditions: vec![Condition::Absent(name("lang"))], ..Batch::default() }));
    }
}
