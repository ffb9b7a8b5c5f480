//! Each operation of the store in SQL: one statement decides and writes, in one round trip and one transaction.
//!
//! All of them hold at READ COMMITTED, where a statement sees what was committed when it began, and an update or delete
//! that waited for another one looks at the row again.

use super::TableName;
use crate::store::disk::Sync;

/// A statement.
#[derive(Debug)]
pub(super) struct Query {
    /// Its place in [`Queries::all`].
    pub index: usize,
    /// Its text.
    pub sql: String,
    /// Whether it writes.
    pub writes: bool,
    /// Whether it may run twice without harm.
    pub repeats: bool,
}

/// All statements on one table.
#[derive(Debug)]
pub(super) struct Queries {
    pub load: Query,
    /// For an entry with an owner: a login.
    pub create_owned: Query,
    pub create: Query,
    pub replace: Query,
    pub delete: Query,
    /// Removes an entry if it has expired.
    pub expire: Query,
    pub sweep: Query,
    pub keys_of: Query,
    pub first_page: Query,
    pub page: Query,
    pub estimate: Query,
    pub count: Query,
}

impl Queries {
    /// The statements for a table whose writes are to be as durable as `sync` says.
    pub(super) fn new(table: &TableName, sync: Sync) -> Self {
        let mut index = 0;
        let mut query = |sql: String, writes: bool, repeats: bool| {
            let query = Query { index, sql, writes, repeats };
            index += 1;
            query
        };
        let table = table.quoted();
        let update = durable(sync == Sync::Always);
        let end = durable(sync != Sync::Never);
        Self {
            load: query(format!("SELECT ver, expires, owner, data FROM {table} WHERE id = $1"), false, true),
            create_owned: query(create(&table, &end), true, false),
            create: query(create(&table, &update), true, false),
            replace: query(replace(&table, sync), true, false),
            delete: query(format!("DELETE FROM {table} WHERE id = $1 RETURNING {end}"), true, true),
            expire: query(format!("DELETE FROM {table} WHERE id = $1 AND expires < $2 RETURNING {update}"), true, true),
            sweep: query(sweep(&table), true, true),
            keys_of: query(format!("SELECT id FROM {table} WHERE owner = $1 AND expires >= $2"), false, true),
            first_page: query(page(&table, "expires >= $1 ORDER BY id LIMIT $2"), false, true),
            page: query(page(&table, "expires >= $1 AND id > $3 ORDER BY id LIMIT $2"), false, true),
            estimate: query(
                "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass($1)".to_owned(),
                false,
                true,
            ),
            count: query(format!("SELECT count(*) FROM {table}"), false, true),
        }
    }

    /// All of them, in the order of their places.
    pub(super) fn all(&self) -> [&Query; 12] {
        // Taken apart, so that none is forgotten.
        let Self {
            load,
            create_owned,
            create,
            replace,
            delete,
            expire,
            sweep,
            keys_of,
            first_page,
            page,
            estimate,
            count,
        } = self;
        [load, create_owned, create, replace, delete, expire, sweep, keys_of, first_page, page, estimate, count]
    }
}

/// Whether the server waits for its log to reach the disk before it acknowledges: set for this transaction alone, so
/// that no pooler can hand it to somebody else. It is read when the transaction commits, after this was evaluated.
///
/// Where the server is set to wait for more than its own disk, that stays.
fn durable(waits: bool) -> String {
    if waits {
        "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' \
         ELSE current_setting('synchronous_commit') END, true)"
            .to_owned()
    } else {
        "set_config('synchronous_commit', 'off', true)".to_owned()
    }
}

/// Answers with the version, or with nothing when a live entry is there. Versions begin at random, so that none fits an
/// entry that was made anew under its key.
fn create(table: &str, durable: &str) -> String {
    format!(
        "INSERT INTO {table} AS s (id, ver, expires, bucket, owner, data) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (id) DO UPDATE SET ver = excluded.ver, expires = excluded.expires, bucket = excluded.bucket, \
         owner = excluded.owner, data = excluded.data WHERE s.expires < $7 RETURNING ver, {durable}"
    )
}

/// Answers with the new version, or without one when nothing was written; and with the deadline of the row, if there
/// was one, when the statement began.
///
/// So `Done` is certain, and a row that was there throughout is never called gone. A row that was removed while the
/// statement waited for it is called a conflict: whoever reads again finds it gone.
///
/// With `interval`, a write that changes the owner (a login) waits for the disk and others do not; the setting is taken
/// back where the newest row turns out to be another one.
fn replace(table: &str, sync: Sync) -> String {
    let durable = match sync {
        Sync::Always => durable(true),
        Sync::Never => durable(false),
        Sync::Interval => {
            format!("CASE WHEN owner IS NOT DISTINCT FROM $5 THEN {} ELSE {} END", durable(false), durable(true))
        }
    };
    format!(
        "WITH written AS (UPDATE {table} SET ver = ver + 1, expires = $3, bucket = $4, owner = $5, data = $6 \
         WHERE id = $1 AND ver = $2 AND expires >= $7 AND {durable} <> '' RETURNING ver) \
         SELECT (SELECT ver FROM written), (SELECT expires FROM {table} WHERE id = $1)"
    )
}

/// Removes at most `$3` and says how many. Rows that somebody is just writing are left for the next time. It need not
/// wait for the disk: what comes back after a crash has expired all the same.
fn sweep(table: &str) -> String {
    format!(
        "WITH gone AS (DELETE FROM {table} WHERE id = ANY (ARRAY(SELECT id FROM {table} \
         WHERE bucket <= $1 AND expires < $2 ORDER BY bucket LIMIT $3 FOR UPDATE SKIP LOCKED)) AND expires < $2 \
         RETURNING 1) SELECT count(*), {} FROM gone",
        durable(false)
    )
}

fn page(table: &str, condition: &str) -> String {
    format!("SELECT ver, expires, owner, data, id FROM {table} WHERE {condition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_stands_in_its_place() {
        let queries = Queries::new(&TableName::default(), Sync::Always);
        for (place, query) in queries.all().into_iter().enumerate() {
            assert_eq!(query.index, place, "{query:?}");
        }
    }
}
