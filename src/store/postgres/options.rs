//! Where a PostgreSQL store lies and how it is asked.

use super::PostgresUrl;
use crate::store::disk::Sync;
use std::fmt;
use std::time::Duration;

/// Where a PostgreSQL store lies and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The servers, the user and the database.
    pub url: PostgresUrl,
    /// The authorities that may vouch for the server, as PEM text; `None`: those of the system.
    pub ca: Option<Vec<u8>>,
    /// The table.
    pub table: TableName,
    /// When the server acknowledges a write.
    pub sync: Sync,
    /// Shared connections, at least one.
    pub connections: usize,
    /// How long an answer, and a connection, may take.
    pub timeout: Duration,
}

/// The name of a table, perhaps with its schema: it needs no quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName(String);

/// Why a text is no [`TableName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a name of lower-case letters, digits and underscores, at most 40 long, such as cloakroom_sessions")]
pub struct NoTableName;

impl TableName {
    /// Reads a name, or `schema.name`.
    ///
    /// # Errors
    /// [`NoTableName`] when it would need quotes, or leaves no room for the names of its indexes.
    pub fn parse(text: &str) -> Result<Self, NoTableName> {
        let is_name = |part: &str| {
            let rest = part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            rest && part.len() <= 40 && part.bytes().next().is_some_and(|first| !first.is_ascii_digit())
        };
        let parts = text.split('.').count();
        if parts > 2 || !text.split('.').all(is_name) {
            return Err(NoTableName);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name, with its schema if it has one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it stands in a statement: in quotes all the same, for a name may be a word of SQL, such as `user`.
    pub(super) fn quoted(&self) -> String {
        self.0.split('.').map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".")
    }

    /// The name of what belongs to the table and lies in its schema.
    pub(super) fn index(&self, what: &str) -> String {
        let name = self.0.rsplit('.').next().unwrap_or(&self.0);
        format!("\"{name}_{what}\"")
    }
}

impl Default for TableName {
    fn default() -> Self {
        Self("cloakroom_sessions".into())
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_needs_no_quotes() {
        for text in ["cloakroom_sessions", "web.sessions", "_a1"] {
            assert_eq!(TableName::parse(text).unwrap().as_str(), text);
        }
        for text in ["", "A", "1a", "a b", "a;b", "a.b.c", ".a", "a.", "\"a\"", &"a".repeat(41)] {
            assert_eq!(TableName::parse(text), Err(NoTableName), "{text}");
        }
    }

    #[test]
    fn a_word_of_sql_is_a_name_like_any_other() {
        let table = TableName::parse("web.user").unwrap();
        assert_eq!((table.quoted(), table.index("owner")), ("\"web\".\"user\"".into(), "\"user_owner\"".into()));
    }
}
