//! Telling a cache in front of the store which entries others have changed (`CLIENT TRACKING`, broadcast mode).
//!
//! One connection to each primary listens. The cache may trust what it holds only while all of them do; as soon as one
//! is lost, or somebody else holds the entries, it is told to trust nothing and to forget everything.

use super::dial::Dialer;
use super::link::PAUSES;
use super::names::Names;
use super::route::in_time;
use super::servers::{Servers, unavailable};
use super::wire::Wire;
use crate::session::StoreKey;
use crate::store::StoreError;
use parking_lot::Mutex;
use redis::aio::{AsyncPushSender, SendError};
use redis::{Cmd, PushInfo, PushKind, Value};
use std::error::Error;
use std::fmt::{self, Debug};
use std::iter::successors;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often the connections are asked whether they are still there.
const PULSE: Duration = Duration::from_secs(1);

/// A cache of entries that can be told what is no longer true.
pub trait Invalidate: Debug + Send + Sync {
    /// The entry was changed.
    fn forget(&self, key: &StoreKey);

    /// Any entry may have been changed.
    fn forget_all(&self);

    /// Whether changes are reported from now on, as they happen.
    fn trust(&self, tracked: bool);
}

/// Keeps listening, as long as the store is used.
#[derive(Debug)]
pub(super) struct Tracking(Arc<Shared>);

struct Shared {
    near: Arc<dyn Invalidate>,
    names: Names,
    servers: Arc<Servers>,
    dialer: Arc<Dialer>,
    told: Mutex<Told>,
    /// There is something to look at, before the next pulse.
    look: Notify,
    runs: AtomicBool,
}

/// What the cache is told.
#[derive(Debug, Default)]
struct Told {
    /// For which state of the servers; `None`: it trusts nothing.
    of: Option<u64>,
    /// How often something was lost: what was begun before is not to be trusted.
    losses: u64,
    /// The operator knows that nobody listens.
    is_lamented: bool,
}

impl Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:?})", self.told.lock())
    }
}

impl Tracking {
    pub(super) fn new(near: Arc<dyn Invalidate>, names: Names, servers: Arc<Servers>, dialer: Arc<Dialer>) -> Self {
        // Nobody listens yet, and perhaps nobody ever can.
        near.trust(false);
        let (told, look, runs) = (Mutex::default(), Notify::new(), AtomicBool::default());
        Self(Arc::new(Shared { near, names, servers, dialer, told, look, runs }))
    }

    /// Starts to listen if nobody does, and ends the trust if somebody else turns out to hold the entries.
    pub(super) fn keep_up(&self) {
        let shared = &self.0;
        let told = shared.told.lock().of;
        if told.is_some_and(|told| told != shared.servers.changes()) {
            shared.distrust();
        }
        if !shared.runs.swap(true, Ordering::AcqRel) {
            let runs = Runs(Arc::clone(shared));
            tokio::spawn(async move { runs.listen().await });
        }
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        self.0.runs.store(false, Ordering::Release);
        self.0.look.notify_one();
    }
}

impl Shared {
    fn distrust(&self) {
        let mut told = self.told.lock();
        told.losses += 1;
        if told.of.take().is_some() {
            self.near.trust(false);
            self.near.forget_all();
        }
        drop(told);
        self.look.notify_one();
    }

    /// Whether the cache is told, and of the servers as they are now.
    fn is_told(&self, changes: u64) -> bool {
        self.told.lock().of == Some(changes) && self.servers.changes() == changes
    }

    /// From now on the cache is told, unless something was lost or has changed since the servers were asked for it.
    fn trust(&self, changes: u64, losses: u64) {
        let mut told = self.told.lock();
        if self.servers.changes() == changes && told.losses == losses {
            // What was read before may be old already.
            self.near.forget_all();
            self.near.trust(true);
            (told.of, told.is_lamented) = (Some(changes), false);
        }
    }

    /// Tells the operator once why nothing is read from the cache.
    fn lament(&self, cause: &(dyn Error + 'static)) {
        if !std::mem::replace(&mut self.told.lock().is_lamented, true) {
            let causes: Vec<String> =
                successors(Some(cause), |cause| Error::source(*cause)).map(ToString::to_string).collect();
            tracing::warn!(
                reason = causes.join(": "),
                "redis does not tell what others change: until it does, every session is read from it"
            );
        }
    }
}

/// The task that listens; when it ends, because its runtime does, the next request starts another.
struct Runs(Arc<Shared>);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.distrust();
        self.0.runs.store(false, Ordering::Release);
    }
}

impl Runs {
    async fn listen(self) {
        let mut attempts = 0;
        while self.0.runs.load(Ordering::Acquire) {
            let began = Instant::now();
            if let Err(cause) = self.attend().await {
                self.0.lament(&cause);
            }
            self.0.distrust();
            if began.elapsed() > PULSE {
                attempts = 0;
            }
            tokio::time::sleep(PAUSES.after(attempts)).await;
            attempts = attempts.saturating_add(1);
        }
    }

    /// Listens to all primaries until one is lost, or cannot be reached.
    async fn attend(&self) -> Result<(), StoreError> {
        let shared = &self.0;
        let losses = shared.told.lock().losses;
        shared.servers.primaries(Duration::ZERO).await?;
        // In this order: what changes in between is noticed.
        let changes = shared.servers.changes();
        let nodes = shared.servers.primaries(Duration::MAX).await?;
        let mut ears = Ears(Vec::with_capacity(nodes.len()));
        for node in nodes {
            let url = node.route.find().await.map_err(unavailable)?;
            let wire = shared.dialer.listen(&url, Ear(Arc::clone(shared))).await.map_err(unavailable)?;
            ears.0.push(wire.clone());
            let prefix = shared.names.sessions();
            let words = ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", &prefix];
            let mut question = Cmd::new();
            for word in words {
                question.arg(word);
            }
            in_time(&wire, &question, &url, shared.dialer.limit).await.map_err(unavailable)?;
        }
        shared.trust(changes, losses);
        while shared.runs.load(Ordering::Acquire) && shared.is_told(changes) && ears.answer(shared).await {
            tokio::select! {
                () = tokio::time::sleep(PULSE) => {}
                () = shared.look.notified() => {}
            }
        }
        Ok(())
    }
}

/// The connections that listen; they close together.
struct Ears(Vec<Wire>);

impl Ears {
    async fn answer(&self, shared: &Shared) -> bool {
        let ping = Cmd::new().arg("PING").to_owned();
        for wire in &self.0 {
            let answer = tokio::time::timeout(shared.dialer.limit, wire.send(&ping)).await;
            if !wire.is_open() || !matches!(answer, Ok(Ok(Value::SimpleString(_)))) {
                return false;
            }
        }
        true
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.0.iter().for_each(Wire::cut);
    }
}

/// Hears what a server says of itself.
struct Ear(Arc<Shared>);

impl AsyncPushSender for Ear {
    fn send(&self, said: PushInfo) -> Result<(), SendError> {
        match said.kind {
            PushKind::Invalidate => match said.data.first() {
                Some(Value::Array(names)) => {
                    for name in names {
                        match name {
                            Value::BulkString(name) => {
                                self.0.names.key_of(name).iter().for_each(|key| self.0.near.forget(key));
                            }
                            _ => self.0.near.forget_all(),
                        }
                    }
                }
                // The server was emptied, or says something that we do not understand.
                _ => self.0.near.forget_all(),
            },
            PushKind::Disconnection => self.0.distrust(),
            _ => {}
        }
        Ok(())
    }
}

impl Drop for Ear {
    /// The connection went without a word.
    fn drop(&mut self) {
        self.0.distrust();
    }
}
