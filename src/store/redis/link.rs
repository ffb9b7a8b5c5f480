//! A shared connection that comes back: made when it is first needed, and again when it broke.

use super::failure::Failure;
use super::flight::Flight;
use super::route::Route;
use super::wire::Wire;
use crate::store::pauses::Pauses;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The pauses after attempts that failed.
pub(super) const PAUSES: Pauses = Pauses { first: Duration::from_millis(10), longest: Duration::from_secs(1) };

/// A place for one connection to one server.
#[derive(Debug)]
pub(super) struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    route: Arc<Route>,
    wire: ArcSwapOption<Wire>,
    attempt: Flight,
    outage: Mutex<Option<Outage>>,
}

/// A series of attempts that failed.
#[derive(Clone, Debug)]
struct Outage {
    since: Instant,
    next: Instant,
    attempts: u32,
    cause: Arc<Failure>,
}

/// No connection could be had.
#[derive(Debug)]
pub(super) struct Unconnected {
    /// Why not.
    pub(super) cause: Arc<Failure>,
    /// When it is worth while to ask again; `None`: the outage lasts too long to wait for its end.
    pub(super) again: Option<Instant>,
}

impl Link {
    pub(super) fn new(route: Arc<Route>) -> Self {
        let inner = Inner { route, wire: ArcSwapOption::empty(), attempt: Flight::default(), outage: Mutex::default() };
        Self(Arc::new(inner))
    }

    /// The connection, made if need be: by one of those who wait for it.
    pub(super) async fn wire(&self) -> Result<Arc<Wire>, Unconnected> {
        if let Some(wire) = self.0.open() {
            return Ok(wire);
        }
        self.0.check_pause()?;
        let inner = Arc::clone(&self.0);
        self.0.attempt.join(|| async move { inner.connect().await }).wait().await;
        if let Some(wire) = self.0.open() {
            return Ok(wire);
        }
        self.0.check_pause()?;
        // It was made and is gone already, or its runtime ended while it was being made.
        let again = Some(Instant::now() + PAUSES.first);
        Err(Unconnected { cause: Arc::new(Failure::Gone), again })
    }
}

impl Inner {
    fn open(&self) -> Option<Arc<Wire>> {
        self.wire.load_full().filter(|wire| wire.is_open() && self.route.holds_for(wire))
    }

    /// While an outage is young, its end is worth waiting for: a server that restarts is not noticed at all.
    fn check_pause(&self) -> Result<(), Unconnected> {
        let outage = self.outage.lock();
        let Some(outage) = outage.as_ref() else { return Ok(()) };
        let now = Instant::now();
        if now >= outage.next {
            return Ok(());
        }
        let is_young = now.duration_since(outage.since) < self.route.limit() && outage.cause.may_pass();
        Err(Unconnected { cause: Arc::clone(&outage.cause), again: is_young.then_some(outage.next) })
    }

    async fn connect(&self) {
        if self.open().is_some() {
            return;
        }
        match self.route.connect().await {
            Ok(wire) => {
                self.wire.store(Some(Arc::new(wire)));
                *self.outage.lock() = None;
            }
            Err(cause) => {
                self.wire.store(None);
                self.note(Arc::new(cause));
            }
        }
    }

    fn note(&self, cause: Arc<Failure>) {
        let now = Instant::now();
        let mut outage = self.outage.lock();
        let (since, made) = outage.as_ref().map_or((now, 0), |last| (last.since, last.attempts));
        *outage = Some(Outage { since, next: now + PAUSES.after(made), attempts: made.saturating_add(1), cause });
    }
}
