//! One connection, shared: questions go out one behind the other, and answers come back in the same order.

use super::queries::{Queries, Query};
use super::value::Value;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    /// All statements in their order; none behind a pooler, where each may run on another connection of its own.
    statements: Box<[Statement]>,
    /// How many questions went out, and the last one that is known to have been answered. Answers come in order, so all
    /// before it have been answered too, also those that nobody waited for any more.
    asked: AtomicU64,
    answered: AtomicU64,
    probed: AtomicBool,
}

impl Link {
    pub(super) fn new(client: Client, driver: AbortHandle) -> Self {
        let (asked, answered) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { client, driver, statements: Box::default(), asked, answered, probed: AtomicBool::new(false) }
    }

    /// Prepares all statements, so that from then on each takes one round trip and no planning.
    pub(super) async fn prepare(&mut self, queries: &Queries) -> Result<(), Error> {
        let mut statements = Vec::new();
        for query in queries.all() {
            statements.push(self.counted(self.client.prepare(&query.sql)).await?);
        }
        self.statements = statements.into();
        Ok(())
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
        match self.statements.get(query.index) {
            Some(statement) => self.counted(self.client.query(statement, &untyped(values))).await,
            None => self.counted(self.client.query_typed(&query.sql, &typed(values))).await,
        }
    }

    /// Asks for one row by a statement that is not used again.
    pub(super) async fn once(&self, sql: &str, values: &[Value<'_>]) -> Result<Row, Error> {
        self.counted(self.client.query_typed_one(sql, &typed(values))).await
    }

    async fn counted<T>(&self, question: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let answer = question.await;
        if answer.as_ref().err().is_none_or(|error| error.as_db_error().is_some()) {
            self.answered.fetch_max(number, Ordering::Relaxed);
        }
        answer
    }

    /// Takes the right to probe; `None` while somebody else does.
    pub(super) fn begin_probe(&self) -> Option<Probe<'_>> {
        (!self.probed.swap(true, Ordering::AcqRel)).then_some(Probe(self))
    }
}

impl Drop for Link {
    /// The driver says goodbye when its client is gone, but only after the last answer: nobody waits for that here.
    fn drop(&mut self) {
        if self.asked.get_mut() > self.answered.get_mut() {
            self.driver.abort();
        }
    }
}

fn untyped<'a>(values: &'a [Value<'_>]) -> SmallVec<[&'a (dyn ToSql + Sync); 8]> {
    values.iter().map(|value| value as _).collect()
}

fn typed<'a>(values: &'a [Value<'_>]) -> SmallVec<[(&'a (dyn ToSql + Sync), Type); 8]> {
    values.iter().map(|value| (value as &(dyn ToSql + Sync), value.kind())).collect()
}

/// The right to find out whether a connection still answers; gone with its owner, whatever happens to that.
pub(super) struct Probe<'a>(&'a Link);

impl Probe<'_> {
    /// Waits until everything that was asked before has been answered.
    pub(super) async fn wait(&self) -> Result<(), Error> {
        self.0.counted(self.0.client.check_connection()).await
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.probed.store(false, Ordering::Release);
    }
}
