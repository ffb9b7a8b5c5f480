//! What an answer asked of a session, without any value: the verbs, and the keys that they name.

use crate::session::{Batch, Changes, Name, Scope};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The verbs in the order of their bits, which outlives a release: a new one is added at the end.
const VERBS: [&str; 23] = [
    "Revert",
    "If",
    "Destroy",
    "Destroy: others",
    "Destroy: all",
    "Invalidate",
    "Replace",
    "Unset: *",
    "Unset",
    "Init",
    "Set",
    "Add",
    "Push",
    "Ttl",
    "Flash",
    "Login",
    "Regenerate",
    "Expire",
    "Touch",
    "Cookie",
    "Flash-Keep",
    "Flash-Read",
    "cookies of the backend",
];

const _: () = assert!(VERBS.len() <= u32::BITS as usize);

/// The verbs and keys of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub(super) verbs: u32,
    pub(super) keys: Vec<Name>,
    pub(super) more_keys: u16,
}

impl Asked {
    /// The most keys that are kept of one batch.
    pub const MAX_KEYS: usize = 16;

    /// The verbs as the protocol spells them; a bit that this release does not know is a verb of a newer one.
    pub fn verbs(&self) -> impl Iterator<Item = &'static str> + use<> {
        let verbs = self.verbs;
        (0..u32::BITS)
            .filter(move |bit| verbs & 1 << bit != 0)
            .map(|bit| VERBS.get(bit as usize).unwrap_or(&"?"))
            .copied()
    }

    /// The keys, in their order; at most [`Asked::MAX_KEYS`].
    #[must_use]
    pub fn keys(&self) -> &[Name] {
        &self.keys
    }

    /// How many more keys the batch named.
    #[must_use]
    pub const fn more_keys(&self) -> u16 {
        self.more_keys
    }

    /// Whether nothing was asked.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.verbs == 0
    }
}

impl From<&Batch> for Asked {
    fn from(batch: &Batch) -> Self {
        // Every field by its name, so that a new command cannot be forgotten here.
        let Batch {
            revert,
            conditions,
            destroy,
            invalidate,
            changes: Changes { replace, clear, unset, init, set, add, push, ttl, flash },
            login,
            regenerate,
            expire,
            touch,
            cookie,
            flash_keep,
            flash_read,
            held,
        } = batch;
        let given = [
            *revert,
            !conditions.is_empty(),
            *destroy == Some(Scope::This),
            *destroy == Some(Scope::Others),
            *destroy == Some(Scope::All),
            *invalidate,
            replace.is_some(),
            *clear,
            !unset.is_empty(),
            !init.is_empty(),
            !set.is_empty(),
            !add.is_empty(),
            !push.is_empty(),
            !ttl.is_empty(),
            !flash.is_empty(),
            login.is_some(),
            *regenerate,
            expire.is_some(),
            touch.is_some(),
            cookie.is_some(),
            flash_keep.is_some(),
            flash_read.is_some(),
            !held.is_empty(),
        ];
        let verbs = given.iter().enumerate().filter(|(_, is_given)| **is_given).map(|(bit, _)| 1 << bit).sum();
        let keys: BTreeSet<&Name> = (replace.iter().flat_map(BTreeMap::keys))
            .chain(unset)
            .chain(init.keys())
            .chain(set.keys())
            .chain(add.iter().map(|(name, _)| name))
            .chain(push.iter().map(|(name, _)| name))
            .chain(ttl.keys())
            .collect();
        let more_keys = u16::try_from(keys.len().saturating_sub(Self::MAX_KEYS)).unwrap_or(u16::MAX);
        Self { verbs, keys: keys.into_iter().take(Self::MAX_KEYS).cloned().collect(), more_keys }
    }
}

impl fmt::Display for Asked {
    /// The verbs, with commas between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, verb) in self.verbs().enumerate() {
            write!(f, "{}{verb}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Owner, SetTo, Value};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn verbs_and_keys_are_told_and_values_are_not() {
        let mut batch = Batch { login: Owner::parse("ada"), destroy: Some(Scope::Others), ..Batch::default() };
        batch.changes.set.insert(name("user"), SetTo::Value(Value::text("hunter2")));
        batch.changes.unset.extend([name("cart"), name("user")]);
        let asked = Asked::from(&batch);
        assert_eq!(asked.to_string(), "Destroy: others, Unset, Set, Login");
        assert_eq!(asked.keys(), [name("cart"), name("user")]);
        assert!(!format!("{asked:?}").contains("hunter2") && !format!("{asked:?}").contains("ada"));
        assert!(Asked::from(&Batch::default()).is_nothing());
    }

    #[test]
    fn many_keys_are_cut_and_counted() {
        let mut batch = Batch::default();
        batch.changes.unset = (10..60).map(|i| name(&format!("k{i}"))).collect();
        let asked = Asked::from(&batch);
        assert_eq!((asked.keys().len(), asked.more_keys()), (16, 34));
        assert_eq!((asked.keys()[0].as_str(), asked.keys()[15].as_str()), ("k10", "k25"));
    }

    #[test]
    fn a_verb_of_a_newer_release_is_one_all_the_same() {
        let asked = Asked { verbs: 1 << 31 | 1 << 10, ..Asked::default() };
        assert_eq!(asked.to_string(), "Set, ?");
    }
}
