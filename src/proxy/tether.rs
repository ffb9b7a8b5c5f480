//! What ties the exchange on a connection to its sessions, so that it can be ended while it lasts.
//!
//! A request pays for it with two turns of a lock that nobody else wants: when it is tied and when it is released. Only
//! what lasts is ever looked at, by `watch`.

use super::context::{Exchange, Snapshot, gate};
use super::{Downstream, route};
use crate::manager::{Trail, Whereabouts};
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep};

/// Connections are spread over so many lists: who looks through one holds up few who come and go.
const SHARDS: usize = 16;

/// An exchange that was told to end and has not done so by then is dropped, whatever it waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// One session that an exchange is tied to: the place of its policy in the snapshot, and where it is to be found.
pub(super) type Tie = (usize, Trail);

/// The tethers of all connections.
#[derive(Debug)]
pub struct Tethers {
    shards: [Mutex<HashMap<u64, Arc<Tether>>>; SHARDS],
    count: AtomicU64,
    origin: Instant,
}

impl Default for Tethers {
    fn default() -> Self {
        Self { shards: Default::default(), count: AtomicU64::new(0), origin: Instant::now() }
    }
}

/// An exchange that has lasted for a while.
pub(super) struct Lasting {
    pub(super) tether: Arc<Tether>,
    /// Which exchange of the connection it is.
    pub(super) turn: u64,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) ties: SmallVec<[Tie; 1]>,
}

impl Tethers {
    /// The tether of a new connection.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let tether = Arc::new(Tether::new(self.origin));
        self.shard(number).lock().insert(number, Arc::clone(&tether));
        Held { tether, number, all: Arc::clone(self) }
    }

    /// The exchanges that have been tied for this long.
    pub(super) fn lasting(&self, age: Duration) -> Vec<Lasting> {
        let mut found = Vec::new();
        for shard in &self.shards {
            found.extend(shard.lock().values().filter(|tether| tether.has_lasted(age)).filter_map(Tether::lasting));
        }
        found
    }

    fn shard(&self, number: u64) -> &Mutex<HashMap<u64, Arc<Tether>>> {
        let index = usize::try_from(number % SHARDS as u64).unwrap_or_default();
        &self.shards[index]
    }
}

/// A connection's tether; leaves the list on drop.
#[derive(Debug)]
pub(super) struct Held {
    tether: Arc<Tether>,
    number: u64,
    all: Arc<Tethers>,
}

impl Held {
    pub(super) const fn tether(&self) -> &Arc<Tether> {
        &self.tether
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.shard(self.number).lock().remove(&self.number);
    }
}

/// The tether of one connection.
#[derive(Debug)]
pub struct Tether {
    origin: Instant,
    /// When the exchange was tied, in milliseconds from `origin`, and one more: zero means that nothing is.
    since: AtomicU64,
    is_ended: AtomicBool,
    knot: Mutex<Knot>,
}

/// What is tied to what.
#[derive(Debug, Default)]
struct Knot {
    /// Counts the exchanges, so that what was found out about one ends no other.
    turn: u64,
    /// Of the task that serves the connection.
    waker: Option<Waker>,
    snapshot: Option<Arc<Snapshot>>,
    ties: SmallVec<[Tie; 1]>,
}

impl Knot {
    fn undo(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.snapshot = None;
        self.ties.clear();
    }
}

impl Tether {
    fn new(origin: Instant) -> Self {
        Self { origin, since: AtomicU64::new(0), is_ended: AtomicBool::new(false), knot: Mutex::default() }
    }

    /// Ties the exchange to these sessions; with none there is nothing that could end it.
    pub(super) fn tie(&self, waker: &Waker, snapshot: &Arc<Snapshot>, ties: SmallVec<[Tie; 1]>) {
        if ties.is_empty() {
            return self.release();
        }
        let mut knot = self.knot.lock();
        knot.undo();
        if knot.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            knot.waker = Some(waker.clone());
        }
        knot.snapshot = Some(Arc::clone(snapshot));
        knot.ties = ties;
        self.since.store(self.now(), Ordering::Relaxed);
    }

    /// Whether something could end the exchange.
    pub(super) fn is_tied(&self) -> bool {
        self.since.load(Ordering::Relaxed) != 0
    }

    /// From now on the exchange ends by itself only.
    pub(super) fn release(&self) {
        if self.is_tied() {
            self.since.store(0, Ordering::Relaxed);
            self.knot.lock().undo();
        }
    }

    /// A session of the exchange has ended, and so shall the exchange.
    pub(super) fn end(&self, turn: u64) {
        let mut knot = self.knot.lock();
        if knot.turn != turn || knot.ties.is_empty() {
            return;
        }
        knot.undo();
        self.since.store(0, Ordering::Relaxed);
        self.is_ended.store(true, Ordering::Release);
        if let Some(waker) = &knot.waker {
            waker.wake_by_ref();
        }
    }

    /// A session of the exchange has got a new id.
    pub(super) fn moved(&self, turn: u64, policy: usize, trail: &Trail) {
        let mut knot = self.knot.lock();
        if knot.turn == turn {
            knot.ties.iter_mut().filter(|(own, _)| *own == policy).for_each(|(_, own)| *own = trail.clone());
        }
    }

    /// Whether the exchange has to end.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Acquire)
    }

    /// The exchange may still be answered, by us.
    pub(super) fn pardon(&self) {
        self.is_ended.store(false, Ordering::Release);
    }

    /// Comes when an exchange that had to end has not done so.
    pub(super) async fn overdue(&self) {
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            if !self.is_ended() {
                timer = None;
                return Poll::Pending;
            }
            timer.get_or_insert_with(|| Box::pin(sleep(PATIENCE))).as_mut().poll(cx)
        })
        .await;
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn has_lasted(&self, age: Duration) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        since != 0 && u128::from(self.now().saturating_sub(since)) >= age.as_millis()
    }

    fn lasting(self: &Arc<Self>) -> Option<Lasting> {
        let knot = self.knot.lock();
        let snapshot = knot.snapshot.clone()?;
        Some(Lasting { tether: Arc::clone(self), turn: knot.turn, snapshot, ties: knot.ties.clone() })
    }
}

/// Ties a request to the sessions that it came with.
pub(super) async fn tie(downstream: &Downstream, snapshot: &Arc<Snapshot>, exchange: &Exchange) {
    let Some(gate) = gate(&downstream.downstream_session) else { return };
    let sessions = route(snapshot, exchange).sessions.iter().zip(&exchange.sessions).enumerate();
    let ties = sessions.filter_map(|(index, (used, session))| {
        let trail = match exchange.whereabouts.get(index) {
            None | Some(Whereabouts::AsBefore) => session.trail()?,
            Some(Whereabouts::At(trail)) => trail.clone(),
            Some(Whereabouts::Ended) => return None,
        };
        Some((used.policy, trail))
    });
    let mut ties = Some(ties.collect());
    poll_fn(|cx| {
        ties.take().into_iter().for_each(|ties| gate.tether().tie(cx.waker(), snapshot, ties));
        Poll::Ready(())
    })
    .await;
}

/// Ties an answer to the sessions as it has left them, unless it is tied as it should be.
pub(super) async fn retie(downstream: &Downstream, snapshot: &Arc<Snapshot>, exchange: &Exchange) {
    let is_tied = gate(&downstream.downstream_session).is_none_or(|gate| gate.tether().is_tied());
    if !is_tied && !has_ended(downstream) {
        tie(downstream, snapshot, exchange).await;
    }
}

/// From now on no session ends the exchange.
pub(super) fn release(downstream: &Downstream) {
    if let Some(gate) = gate(&downstream.downstream_session) {
        gate.tether().release();
    }
}

/// Whether the exchange has to end because a session has.
pub(super) fn has_ended(downstream: &Downstream) -> bool {
    gate(&downstream.downstream_session).is_some_and(|gate| gate.tether().is_ended())
}

/// Lets an exchange that has to end be answered by us.
pub(super) fn pardon(downstream: &Downstream) {
    if let Some(gate) = gate(&downstream.downstream_session) {
        gate.tether().pardon();
    }
}
