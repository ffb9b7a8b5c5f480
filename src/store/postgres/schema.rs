//! The table: how it is made, how it is recognised, and what is refused.

use super::TableName;
use super::failure::{ConnectError, Said};
use super::target::Target;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// The format that this version reads and writes.
const FORMAT: u32 = 1;

/// The table's comment marks it as ours, for us and for whoever looks into the database; the format follows.
const MARK: &str = "sessions of cloakroom, format ";

/// How long a migration may take: it waits for locks for half of that at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// What [`PostgresStore::migrate`](super::PostgresStore::migrate) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// It made the table.
    Created,
    /// Nothing: the table has the format of this version.
    Current,
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => write!(f, "made the table, format {FORMAT}"),
            Self::Current => write!(f, "nothing to do: the table has format {FORMAT}"),
        }
    }
}

/// Why the table cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// There is no usable server or table.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused to make it.
    #[error(
        "cannot make the table `{table}`: its schema must be there, and the user must have the right to create in it"
    )]
    Refused {
        /// The table.
        table: TableName,
        /// What the server said.
        #[source]
        source: Said,
    },
}

/// Whether a table is one that this version can use.
pub(super) fn judge(table: &TableName, is_there: bool, comment: Option<&str>) -> Result<(), ConnectError> {
    if !is_there {
        return Err(ConnectError::NoTable { table: table.clone() });
    }
    let format = comment.and_then(|comment| comment.strip_prefix(MARK)).and_then(|format| format.parse().ok());
    match format {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(ConnectError::Newer { table: table.clone(), found, known: FORMAT }),
        None => Err(ConnectError::Foreign { table: table.clone(), expected: MARK }),
    }
}

/// Makes the table unless it is there. Of several that do so at once, one does it and the others wait for it.
pub(super) async fn migrate(target: &Target) -> Result<Migration, SchemaError> {
    let client = target.connect_unchecked().await?;
    let table = &target.options.table;
    let migration = timeout(PATIENCE, in_transaction(&client, table)).await;
    // A server that does not answer this would not answer a farewell either.
    let Ok(migration) = migration else {
        let server = target.options.url.places().join(",");
        return Err(ConnectError::Silent { server, limit: PATIENCE }.into());
    };
    if migration.is_err() {
        // Nothing was done; a pooler must not get the connection back in the middle of a transaction.
        timeout(target.options.timeout, client.batch_execute("ROLLBACK")).await.ok();
    }
    migration
}

async fn in_transaction(client: &Client, table: &TableName) -> Result<Migration, SchemaError> {
    let refused = |error: Error| SchemaError::Refused { table: table.clone(), source: error.into() };
    // The lock ends with the transaction, so it holds through a pooler too. Nobody waits for long on a table in use.
    client.batch_execute("BEGIN; SET LOCAL lock_timeout = '30s'").await.map_err(refused)?;
    let name = table.quoted();
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('cloakroom ' || $1, 0))";
    client.query_typed(lock, &[(&name, Type::TEXT)]).await.map_err(refused)?;
    let found = "SELECT obj_description(to_regclass($1), 'pg_class') WHERE to_regclass($1) IS NOT NULL";
    let found = client.query_typed_opt(found, &[(&name, Type::TEXT)]).await.map_err(refused)?;
    let migration = if let Some(row) = found {
        judge(table, true, row.try_get(0).map_err(refused)?)?;
        Migration::Current
    } else {
        client.batch_execute(&definition(table)).await.map_err(refused)?;
        Migration::Created
    };
    client.batch_execute("COMMIT").await.map_err(refused)?;
    Ok(migration)
}

/// No index holds a column that every write changes, and pages keep room for new versions of their rows: so updates stay
/// within their page, and no index is written (measured: 100 per cent of them, against 26 with an index on `expires`).
/// `bucket` counts ten minutes, and changes with every twentieth write or so.
///
/// What is sealed does not shrink, so nobody tries. The limits are the store's own, against whoever else writes here.
fn definition(table: &TableName) -> String {
    let (name, by_bucket, by_owner) = (table.quoted(), table.index("by_bucket"), table.index("by_owner"));
    format!(
        "CREATE TABLE {name} (
            id bytea PRIMARY KEY CHECK (octet_length(id) = 32),
            ver bigint NOT NULL,
            expires bigint NOT NULL,
            bucket integer NOT NULL,
            owner bytea CHECK (octet_length(owner) = 32),
            data bytea NOT NULL CHECK (octet_length(data) <= 1048576)
        ) WITH (
            fillfactor = 70,
            autovacuum_vacuum_scale_factor = 0.02,
            autovacuum_vacuum_threshold = 1000,
            autovacuum_analyze_scale_factor = 0.05,
            autovacuum_vacuum_cost_limit = 2000
        );
        ALTER TABLE {name} ALTER COLUMN data SET STORAGE EXTERNAL;
        CREATE INDEX {by_bucket} ON {name} (bucket);
        CREATE INDEX {by_owner} ON {name} (owner) WHERE owner IS NOT NULL;
        COMMENT ON TABLE {name} IS '{MARK}{FORMAT}';"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_ours_by_its_comment() {
        let table = TableName::default();
        let check = |is_there, comment| judge(&table, is_there, comment).map_err(|error| error.to_string());
        assert_eq!(check(true, Some("sessions of cloakroom, format 1")), Ok(()));
        for (is_there, comment, message) in [
            (false, None, "there is no table `cloakroom_sessions` in the database: run `cloakroom store migrate NAME`"),
            (true, None, "the table `cloakroom_sessions` is not a session table"),
            (true, Some("photos"), "the table `cloakroom_sessions` is not a session table"),
            (true, Some("sessions of cloakroom, format x"), "the table `cloakroom_sessions` is not a session table"),
            (true, Some("sessions of cloakroom, format 2"), "the table `cloakroom_sessions` has format 2"),
        ] {
            let error = check(is_there, comment).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
