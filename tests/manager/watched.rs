//! A store that is watched: it writes down its calls, lets one of them fail or wait, and may show old copies.

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom::clock::Timestamp;
use cloakroom::session::{OwnerKey, StoreKey};
use cloakroom::store::memory::{MemoryLimits, MemoryStore};
use cloakroom::store::{Entry, Index, Store, StoreError, Version, Written};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// What goes wrong with one write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It took place, and was not answered in time.
    Late,
    /// It did not take place, and was not answered in time.
    Lost,
    /// It took place, and the connection broke before the answer came.
    CutAfter,
    /// The connection broke before it took place.
    CutBefore,
    /// The connection broke, and the write takes place before the next one does.
    CutAndFirst,
    /// The connection broke, and the write takes place after the next one.
    CutAndSecond,
}

/// A call that is made to wait.
#[derive(Debug)]
pub struct Held {
    reached: oneshot::Receiver<()>,
    go: oneshot::Sender<()>,
}

impl Held {
    /// Waits until the call is there.
    pub async fn reached(&mut self) {
        (&mut self.reached).await.unwrap();
    }

    /// Lets the call go on.
    pub fn go(self) {
        self.go.send(()).unwrap();
    }
}

#[derive(Debug)]
struct Hold {
    word: &'static str,
    others: usize,
    reached: oneshot::Sender<()>,
    go: oneshot::Receiver<()>,
}

type Write<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The store under watch: one in memory, unless another is given.
pub struct Watched {
    inner: Arc<dyn Store>,
    calls: Mutex<Vec<&'static str>>,
    keys: Mutex<Vec<StoreKey>>,
    fault: Mutex<Option<(usize, Fault)>>,
    hold: Mutex<Option<Hold>>,
    late: Mutex<Option<(Fault, Write<()>)>>,
    copies: Mutex<Option<BTreeMap<StoreKey, (Entry, Version)>>>,
    is_unreadable: AtomicBool,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watched({:?})", self.inner)
    }
}

impl Default for Watched {
    fn default() -> Self {
        Self::new(Arc::new(MemoryStore::new(MemoryLimits::default())))
    }
}

impl Watched {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            calls: Mutex::default(),
            keys: Mutex::default(),
            fault: Mutex::default(),
            hold: Mutex::default(),
            late: Mutex::default(),
            copies: Mutex::default(),
            is_unreadable: AtomicBool::new(false),
        }
    }

    /// The calls since the last time somebody asked.
    pub fn calls(&self) -> String {
        std::mem::take(&mut *self.calls.lock()).join(" ")
    }

    /// One write fails, after `others` that do not.
    pub fn fail(&self, fault: Fault, others: usize) {
        *self.fault.lock() = Some((others, fault));
    }

    /// No write fails any more.
    pub fn fail_no_more(&self) {
        *self.fault.lock() = None;
    }

    /// The next call of this name waits. A write that also fails has failed by then, and waits before it says so.
    pub fn hold(&self, word: &'static str) -> Held {
        self.hold_after(word, 0)
    }

    /// As [`Watched::hold`], after `others` calls of this name that do not wait.
    pub fn hold_after(&self, word: &'static str, others: usize) -> Held {
        let ((reached, at), (go, wait)) = (oneshot::channel(), oneshot::channel());
        *self.hold.lock() = Some(Hold { word, others, reached, go: wait });
        Held { reached: at, go }
    }

    /// From now on, or no longer, nothing can be read.
    pub fn refuse_reading(&self, refuse: bool) {
        self.is_unreadable.store(refuse, Ordering::SeqCst);
    }

    /// Changes the bytes of every record that was ever begun.
    pub async fn damage(&self, now: Timestamp, change: impl Fn(Bytes) -> Bytes) {
        for key in self.keys() {
            let Some((entry, version)) = self.inner.load(&key, now).await.unwrap() else { continue };
            let entry = Entry { bytes: change(entry.bytes.clone()), ..entry };
            self.inner.replace(&key, entry, version, now).await.unwrap();
        }
    }

    /// From now on, whoever asks for a copy is shown everything as it is now, until its deadline passes.
    pub async fn grow_old(&self, now: Timestamp) {
        let mut copies = BTreeMap::new();
        for key in self.keys() {
            copies.extend(self.inner.load(&key, now).await.unwrap().map(|found| (key, found)));
        }
        *self.copies.lock() = Some(copies);
    }

    /// From now on nobody is shown anything old.
    pub fn forget_copies(&self) {
        *self.copies.lock() = None;
    }

    /// Changes the copies only.
    pub fn damage_copies(&self, change: impl Fn(Bytes) -> Bytes) {
        for (entry, _) in self.copies.lock().iter_mut().flat_map(BTreeMap::values_mut) {
            entry.bytes = change(entry.bytes.clone());
        }
    }

    /// The keys that were ever written under.
    pub fn keys(&self) -> Vec<StoreKey> {
        self.keys.lock().clone()
    }

    /// Puts these bytes in the place of what lies under a key.
    pub async fn overwrite(&self, key: &StoreKey, bytes: &'static [u8], now: Timestamp) {
        let (entry, version) = self.inner.load(key, now).await.unwrap().unwrap();
        let entry = Entry { bytes: Bytes::from_static(bytes), ..entry };
        self.inner.replace(key, entry, version, now).await.unwrap();
    }

    async fn wait(&self, word: &'static str) {
        let hold = self.hold.lock().take_if(|hold| hold.word == word && hold.others == 0);
        if let Some(hold) = self.hold.lock().as_mut().filter(|hold| hold.word == word) {
            hold.others -= 1;
        }
        if let Some(Hold { reached, go, .. }) = hold {
            reached.send(()).unwrap();
            go.await.unwrap();
        }
    }

    async fn write<T: 'static>(&self, word: &'static str, write: Write<T>) -> Result<T, StoreError> {
        self.calls.lock().push(word);
        let due = self.fault.lock().take_if(|(others, _)| *others == 0).map(|(_, fault)| fault);
        if let Some((others, _)) = self.fault.lock().as_mut() {
            *others -= 1;
        }
        let timed_out = || Err(StoreError::TimedOut { store: "watched", limit: Duration::from_secs(1) });
        let cut = || Err(StoreError::Lost { store: "watched", source: "connection reset by peer".into() });
        let Some(fault) = due else {
            self.wait(word).await;
            let late = self.late.lock().take();
            return match late {
                None => write.await,
                Some((Fault::CutAndFirst, late)) => {
                    late.await.unwrap();
                    write.await
                }
                Some((_, late)) => {
                    let written = write.await;
                    late.await.unwrap();
                    written
                }
            };
        };
        if let Fault::Late | Fault::CutAfter = fault {
            write.await?;
        } else if let Fault::CutAndFirst | Fault::CutAndSecond = fault {
            *self.late.lock() = Some((fault, Box::pin(async { write.await.map(drop) })));
        }
        self.wait(word).await;
        if let Fault::Late | Fault::Lost = fault { timed_out() } else { cut() }
    }
}

#[async_trait]
impl Store for Watched {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        self.calls.lock().push("load");
        self.wait("load").await;
        if self.is_unreadable.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { store: "watched", source: "connection refused".into() });
        }
        self.inner.load(key, now).await
    }

    async fn peek(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        let copy = self.copies.lock().as_ref().and_then(|copies| copies.get(key).cloned());
        match copy.filter(|(entry, _)| !entry.deadline.has_passed(now)) {
            Some(copy) => Ok(Some(copy)),
            None => self.load(key, now).await,
        }
    }

    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        self.keys.lock().push(*key);
        let (inner, key) = (Arc::clone(&self.inner), *key);
        self.write("create", Box::pin(async move { inner.create(&key, entry, now).await })).await
    }

    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let (inner, key) = (Arc::clone(&self.inner), *key);
        self.write("replace", Box::pin(async move { inner.replace(&key, entry, expected, now).await })).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        let (inner, key) = (Arc::clone(&self.inner), *key);
        self.write("delete", Box::pin(async move { inner.delete(&key).await })).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.inner.sweep(now, limit).await
    }

    fn index(&self) -> Option<&dyn Index> {
        self.inner.index().map(|_| self as &dyn Index)
    }

    fn promise(&self) -> &'static str {
        self.inner.promise()
    }
}

#[async_trait]
impl Index for Watched {
    async fn keys_of(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, StoreError> {
        self.calls.lock().push("index");
        self.wait("index").await;
        self.inner.index().unwrap().keys_of(owner, now).await
    }
}
