//! One connection, shared: questions go out one behind the other, and answers come back in the same order.

use super::queries::{self, Query};
use super::value::Value;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

/// More questions than this do not wait on one connection: behind a server that hangs they would only eat memory.
const MAX_WAITING: u64 = 1024;

/// A connection that works, or has worked.
pub(super) struct Link {
    client: Client,
    /// The task that moves the bytes; it lives on the runtime that made the connection.
    driver: AbortHandle,
    /// Statements are prepared when they are first used; `false` behind a pooler.
    named: bool,
    statements: [OnceCell<Statement>; queries::COUNT],
    /// How many questions went out, and the last one that is known to have been answered. Answers come in order, so all
    /// before it have been answered too, also those that nobody waited for any more.
    asked: AtomicU64,
    answered: AtomicU64,
    probed: AtomicBool,
}

impl Link {
    pub(super) fn new(client: Client, driver: AbortHandle) -> Self {
        let (asked, answered) = (AtomicU64::new(0), AtomicU64::new(0));
        let statements = std::array::from_fn(|_| OnceCell::new());
        Self { client, driver, named: false, statements, asked, answered, probed: AtomicBool::new(false) }
    }

    pub(super) fn with_names(self, named: bool) -> Self {
        Self { named, ..self }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// How many questions wait, if they are too many.
    pub(super) fn crowd(&self) -> Option<u64> {
        let waiting = self.asked.load(Ordering::Relaxed).saturating_sub(self.answered.load(Ordering::Relaxed));
        (waiting >= MAX_WAITING).then_some(waiting)
    }

    /// Ends the connection; who waits for an answer learns that there is none.
    pub(super) fn cut(&self) {
        self.driver.abort();
    }

    pub(super) async fn ask(&self, query: &Query, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let rows = if self.named {
            self.by_name(query, values).await
        } else {
            self.client.query_typed(&query.sql, &typed(values)).await
        };
        if rows.as_ref().err().is_none_or(|error| error.as_db_error().is_some()) {
            self.answered.fetch_max(number, Ordering::Relaxed);
        }
        rows
    }

    /// Asks for one row by a statement that is not used again.
    pub(super) async fn once(&self, sql: &str, values: &[Value<'_>]) -> Result<Row, Error> {
        self.client.query_typed_one(sql, &typed(values)).await
    }

    async fn by_name(&self, query: &Query, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let prepare = || async {
            let kinds: SmallVec<[Type; 8]> = values.iter().map(Value::kind).collect();
            self.client.prepare_typed(&query.sql, &kinds).await
        };
        let statement = self.statements[query.index].get_or_try_init(prepare).await?;
        let values: SmallVec<[&(dyn ToSql + Sync); 8]> = values.iter().map(|value| value as _).collect();
        self.client.query(statement, &values).await
    }

    /// Takes the right to probe; `None` while somebody else does.
    pub(super) fn begin_probe(&self) -> Option<Probe<'_>> {
        (!self.probed.swap(true, Ordering::AcqRel)).then_some(Probe(self))
    }
}

fn typed<'a>(values: &'a [Value<'_>]) -> SmallVec<[(&'a (dyn ToSql + Sync), Type); 8]> {
    values.iter().map(|value| (value as &(dyn ToSql + Sync), value.kind())).collect()
}

/// The right to find out whether a connection still answers; gone with its owner, whatever happens to that.
pub(super) struct Probe<'a>(&'a Link);

impl Probe<'_> {
    /// Waits until everything that was asked before has been answered.
    pub(super) async fn wait(&self) -> Result<(), Error> {
        let number = self.0.asked.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.client.check_connection().await?;
        self.0.answered.fetch_max(number, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.probed.store(false, Ordering::Release);
    }
}
