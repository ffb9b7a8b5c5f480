//! A place for one shared connection: made when it is needed, replaced when it breaks, never waited for without limit.

use super::failure::{ConnectError, Failure, NAME, Said, Verdict, judge, lost, unavailable};
use super::link::Link;
use super::queries::Query;
use super::target::Target;
use super::value::Value;
use crate::store::StoreError;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

/// How long a connection that let a question time out may stay silent before another one is made, and how many times
/// that may double: a table that is locked for an hour must not cost the server a connection every few seconds.
const SILENCE: Duration = Duration::from_secs(10);
const MAX_DOUBLINGS: u32 = 5;

/// A statement that another transaction stood in the way of is tried this many times.
const MAX_CONTENTION: usize = 8;

/// A connection, at some times.
pub(super) struct Lane {
    target: Arc<Target>,
    link: ArcSwapOption<Link>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The connection that is being made.
    coming: Option<watch::Receiver<Coming>>,
    /// Connections given up for their silence, since the last one that was not.
    silent: u32,
}

type Coming = Option<Result<Arc<Link>, Arc<ConnectError>>>;

impl Lane {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self { target, link: ArcSwapOption::empty(), state: Mutex::default() }
    }

    /// Asks, and asks once more on a fresh connection where that can do no harm.
    pub(super) async fn ask(self: &Arc<Self>, query: &Query, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let until = Instant::now() + self.target.options.timeout;
        // Whether an attempt that failed may have been done all the same.
        let mut in_doubt = false;
        let (mut contended, mut renewed) = (0, false);
        loop {
            let link = match self.link(until).await {
                Ok(link) => link,
                Err(failure) => return Err(unanswered(in_doubt, failure)),
            };
            let error = match self.try_once(&link, query, values, until).await? {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            let verdict = judge(&error);
            if matches!(verdict, Verdict::Stale | Verdict::Broken) {
                self.retire(&link, &error);
            }
            in_doubt |= verdict == Verdict::Broken && query.writes;
            match verdict {
                Verdict::Contended if contended < MAX_CONTENTION => contended += 1,
                Verdict::Stale if !renewed => renewed = true,
                Verdict::Broken if !renewed && query.repeats => renewed = true,
                Verdict::Full if query.writes => {
                    return Err(StoreError::Full { store: NAME, limit: Said::from(error).into_words() });
                }
                _ => return Err(unanswered(in_doubt, Said::from(error))),
            }
        }
    }

    /// Asks on this connection, unless too many wait there; the inner error is what the server or the connection said.
    async fn try_once(
        self: &Arc<Self>,
        link: &Arc<Link>,
        query: &Query,
        values: &[Value<'_>],
        until: Instant,
    ) -> Result<Result<Vec<Row>, tokio_postgres::Error>, StoreError> {
        if let Some(waiting) = link.crowd() {
            self.probe(link);
            return Err(unavailable(Failure::Crowded(waiting)));
        }
        let Ok(answer) = timeout_at(until, link.ask(query, values)).await else {
            self.probe(link);
            return Err(StoreError::TimedOut { store: NAME, limit: self.target.options.timeout });
        };
        Ok(answer)
    }

    /// A connection that is there, or the one that is being made.
    async fn link(self: &Arc<Self>, until: Instant) -> Result<Arc<Link>, Failure> {
        // More than once only where a runtime ended in the middle of connecting.
        for _ in 0..3 {
            if let Some(link) = self.link.load_full().filter(|link| !link.is_closed()) {
                return Ok(link);
            }
            let mut coming = self.coming()?;
            let Ok(outcome) = timeout_at(until, coming.wait_for(Option::is_some)).await else {
                return Err(Failure::NotConnected(Arc::new(self.target.silent())));
            };
            if let Ok(Some(made)) = outcome.as_deref() {
                return made.as_ref().map(Arc::clone).map_err(|error| Failure::NotConnected(Arc::clone(error)));
            }
        }
        Err(Failure::Deserted)
    }

    /// The outcome of connecting, which begins here unless it is under way or has just failed.
    ///
    /// Connecting is a task of its own: whoever waits for it may give up, and the next one finds it further on.
    fn coming(self: &Arc<Self>) -> Result<watch::Receiver<Coming>, Failure> {
        let mut state = self.state.lock();
        // One that lost its sender was given up with its runtime.
        if let Some(coming) = state.coming.as_ref().filter(|coming| coming.has_changed().is_ok()) {
            return Ok(coming.clone());
        }
        if let Some(error) = self.target.rest.reason(Instant::now()) {
            return Err(Failure::NotConnected(error));
        }
        let (sender, coming) = watch::channel(None);
        state.coming = Some(coming.clone());
        drop(state);
        let lane = Arc::clone(self);
        tokio::spawn(async move {
            let made = lane.target.connect().await.map(Arc::new).map_err(Arc::new);
            lane.settle(&made);
            sender.send(Some(made)).ok();
        });
        Ok(coming)
    }

    fn settle(&self, made: &Result<Arc<Link>, Arc<ConnectError>>) {
        let mut state = self.state.lock();
        state.coming = None;
        match made {
            Ok(link) => {
                self.target.rest.end();
                self.link.store(Some(Arc::clone(link)));
            }
            Err(error) => self.target.rest.begin(Instant::now(), error),
        }
    }

    /// Takes a connection out of use; what is under way on it may still be answered.
    fn retire(&self, link: &Arc<Link>, error: &tokio_postgres::Error) {
        if matches!(error.code(), Some(&SqlState::INVALID_SQL_STATEMENT_NAME | &SqlState::DUPLICATE_PSTATEMENT)) {
            self.target.suspect_pooler();
        }
        self.forget(link);
    }

    fn forget(&self, link: &Arc<Link>) {
        let _settling = self.state.lock();
        if self.link.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            self.link.store(None);
        }
    }

    /// Finds out whether a connection that did not answer in time answers at all, and gives it up if not. A server that
    /// is merely slow keeps its connection, and with it the order of what it was asked.
    fn probe(self: &Arc<Self>, link: &Arc<Link>) {
        if link.is_closed() {
            return;
        }
        let (lane, link) = (Arc::clone(self), Arc::clone(link));
        tokio::spawn(async move {
            let Some(probe) = link.begin_probe() else { return };
            let doublings = lane.state.lock().silent.min(MAX_DOUBLINGS);
            match timeout(SILENCE * 2_u32.pow(doublings), probe.wait()).await {
                Ok(Ok(())) => lane.state.lock().silent = 0,
                Ok(Err(_)) => lane.forget(&link),
                Err(_) => {
                    lane.state.lock().silent += 1;
                    lane.forget(&link);
                    link.cut();
                }
            }
        });
    }
}

/// A write that may have been done is not just unavailable.
fn unanswered(in_doubt: bool, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    if in_doubt { lost(source) } else { unavailable(source) }
}
