//! A store that can be made to fail, and that keeps copies for that time as the near cache does.

use async_trait::async_trait;
use cloakroom::clock::Timestamp;
use cloakroom::session::StoreKey;
use cloakroom::store::memory::{MemoryLimits, MemoryStore};
use cloakroom::store::{Entry, Index, Store, StoreError, Version, Written};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a call may take: a limit of its own, so that each call meets the trouble and no breaker spares it that.
pub const LIMIT: Duration = Duration::from_millis(400);

/// What goes wrong with every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// It cannot be reached.
    Gone,
    /// The connection breaks.
    Cut,
    /// There is no answer within [`LIMIT`].
    Frozen,
}

/// Works, or does not.
#[derive(Debug)]
pub struct Fickle {
    inner: MemoryStore,
    trouble: Mutex<Trouble>,
    copies: Mutex<HashMap<StoreKey, (Entry, Version)>>,
    calls: AtomicUsize,
}

impl Default for Fickle {
    fn default() -> Self {
        let inner = MemoryStore::new(MemoryLimits::default());
        Self { inner, trouble: Mutex::new(Trouble::None), copies: Mutex::default(), calls: AtomicUsize::new(0) }
    }
}

impl Fickle {
    /// From now on every call meets this.
    pub fn meets(&self, trouble: Trouble) {
        *self.trouble.lock() = trouble;
    }

    /// Its copies have grown too old.
    pub fn forgets(&self) {
        self.copies.lock().clear();
    }

    /// How often it was called since the last time somebody asked.
    pub fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::SeqCst)
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let trouble = *self.trouble.lock();
        match trouble {
            Trouble::None => call.await,
            Trouble::Gone => Err(StoreError::Unavailable { store: "fickle", source: "nobody listens".into() }),
            Trouble::Cut => Err(StoreError::Lost { store: "fickle", source: "reset by peer".into() }),
            Trouble::Frozen => {
                tokio::time::sleep(LIMIT).await;
                Err(StoreError::TimedOut { store: "fickle", limit: LIMIT })
            }
        }
    }

    fn keep(&self, key: &StoreKey, entry: &Entry, written: Written) {
        if let Written::Done(version) = written {
            self.copies.lock().insert(*key, (entry.clone(), version));
        }
    }
}

#[async_trait]
impl Store for Fickle {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        let found = self.call(self.inner.load(key, now)).await?;
        if let Some(found) = &found {
            self.copies.lock().insert(*key, found.clone());
        }
        Ok(found)
    }

    /// Older than its own deadline, too: whoever asks has to look at it.
    fn recall(&self, key: &StoreKey, _: Timestamp) -> Option<(Entry, Version)> {
        self.copies.lock().get(key).cloned()
    }

    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        let written = self.call(self.inner.create(key, entry.clone(), now)).await?;
        self.keep(key, &entry, written);
        Ok(written)
    }

    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let written = self.call(self.inner.replace(key, entry.clone(), expected, now)).await?;
        self.keep(key, &entry, written);
        Ok(written)
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.call(self.inner.delete(key)).await?;
        self.copies.lock().remove(key);
        Ok(())
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.inner.sweep(now, limit).await
    }

    fn index(&self) -> Option<&dyn Index> {
        self.inner.index()
    }

    fn promise(&self) -> &'static str {
        "nothing that can be relied on"
    }
}
