//! Telling a cache in front of the store which entries others have changed (`CLIENT TRACKING`, broadcast mode).
//!
//! One connection to each primary listens. The cache may trust what it holds only while all of them do; as soon as one
//! is lost, or somebody else holds the entries, it is told to trust nothing and to forget everything.

use super::dial::Dialer;
use super::link::jittered;
use super::names::Names;
use super::servers::Servers;
use super::wire::Wire;
use crate::session::StoreKey;
use parking_lot::Mutex;
use redis::aio::{AsyncPushSender, SendError};
use redis::{Cmd, PushInfo, PushKind, Value};
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often the connections are asked whether they are still there.
const PULSE: Duration = Duration::from_secs(1);

/// The pauses between attempts to listen.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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
    /// For which state of the servers the cache is told; `None`: it trusts nothing.
    told: Mutex<Option<u64>>,
    /// There is something to look at, before the next pulse.
    look: Notify,
    runs: AtomicBool,
}

impl Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:?})", self.told.lock())
    }
}

impl Tracking {
    pub(super) fn new(near: Arc<dyn Invalidate>, names: Names, servers: Arc<Servers>, dialer: Arc<Dialer>) -> Self {
        let (told, look, runs) = (Mutex::default(), Notify::new(), AtomicBool::default());
        Self(Arc::new(Shared { near, names, servers, dialer, told, look, runs }))
    }

    /// Starts to listen if nobody does, and ends the trust if somebody else turns out to hold the entries.
    pub(super) fn keep_up(&self) {
        let shared = &self.0;
        if shared.told.lock().is_some_and(|told| told != shared.servers.changes()) {
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
        if told.take().is_some() {
            self.near.trust(false);
            self.near.forget_all();
        }
        drop(told);
        self.look.notify_one();
    }

    /// Whether the cache is told, and of the servers as they are now.
    fn is_told(&self, changes: u64) -> bool {
        *self.told.lock() == Some(changes) && self.servers.changes() == changes
    }

    fn trust(&self, changes: u64) {
        let mut told = self.told.lock();
        if self.servers.changes() == changes {
            // What was read before may be old already.
            self.near.forget_all();
            self.near.trust(true);
            *told = Some(changes);
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
        let mut pause = FIRST_PAUSE;
        while self.0.runs.load(Ordering::Acquire) {
            let began = Instant::now();
            self.attend().await;
            self.0.distrust();
            if began.elapsed() > PULSE {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Listens to all primaries until one is lost, or cannot be reached.
    async fn attend(&self) -> Option<()> {
        let shared = &self.0;
        let nodes = shared.servers.primaries().await.ok()?;
        let changes = shared.servers.changes();
        let mut ears = Ears(Vec::with_capacity(nodes.len()));
        for node in nodes {
            let url = node.route.find().await.ok()?;
            let wire = shared.dialer.listen(&url, Ear(Arc::clone(shared))).await.ok()?;
            ears.0.push(wire.clone());
            let prefix = shared.names.sessions();
            let words = ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", &prefix];
            let mut question = Cmd::new();
            for word in words {
                question.arg(word);
            }
            let answer = tokio::time::timeout(shared.dialer.limit, wire.send(&question)).await.ok()?;
            if answer.ok()? != Value::Okay {
                return None;
            }
        }
        shared.trust(changes);
        while shared.runs.load(Ordering::Acquire) && shared.is_told(changes) && ears.answer(shared).await {
            tokio::select! {
                () = tokio::time::sleep(PULSE) => {}
                () = shared.look.notified() => {}
            }
        }
        Some(())
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
