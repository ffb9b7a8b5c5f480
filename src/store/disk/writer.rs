//! The callers' side of the thread that writes: a bounded queue of writes, each with a way back for its answer.

use super::Sync;
use super::hot::HotEntries;
use super::keeper::Keeper;
use super::schema::OpenError;
use crate::session::StoreKey;
use crate::store::{Entry, Version};
use rusqlite::{Connection, ErrorCode};
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// How many writes may wait; when it is full, callers wait to queue.
const QUEUE: usize = 1024;

/// Why a write has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The engine's own words.
    #[error(transparent)]
    Engine(Arc<rusqlite::Error>),
    /// A failure of another write took the whole transaction with it.
    #[error("the engine rolled the transaction back because of another write in it")]
    RolledBack,
    /// Written, but perhaps not kept: the thread ends, because what a failed sync has lost is never known.
    #[error("the log cannot be synced to the disk")]
    NotSynced(#[source] Arc<io::Error>),
    /// The lock beside the file is lost.
    #[error("the lock beside the database cannot be kept")]
    NotLocked(#[source] Arc<io::Error>),
    /// There is nobody to ask.
    #[error("the writer thread has ended")]
    Ended,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(Arc::new(error))
    }
}

impl Failure {
    /// Whether there was no room on the disk.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Engine(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

/// What a committed write means to the hot entries.
pub(super) enum Change {
    Put(Entry, Version),
    Gone,
}

/// What the writes of one transaction bring about beside their answers.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) changes: Vec<(StoreKey, Change)>,
    pub(super) sync_now: bool,
}

impl Effects {
    pub(super) fn push(&mut self, key: StoreKey, change: Change) {
        self.changes.push((key, change));
    }

    /// This write is not left to the interval: an ended session must not come back with the power.
    pub(super) fn sync_now(&mut self) {
        self.sync_now = true;
    }
}

/// One queued write; given a transaction it writes, and leaves the answer to be sent.
pub(super) type Job = Box<dyn FnOnce(Stage<'_>) -> Reply + Send>;
/// The transaction, or the reason why there is none.
pub(super) type Stage<'a> = Result<(&'a Connection, &'a mut Effects), Failure>;
/// To be called with the outcome of the commit.
pub(super) type Reply = Box<dyn FnOnce(Result<(), Failure>)>;

/// Ties `work` to the way back for its answer.
pub(super) fn job<T: Send + 'static>(
    work: impl FnOnce(&Connection, &mut Effects) -> rusqlite::Result<T> + Send + 'static,
    reply: oneshot::Sender<Result<T, Failure>>,
) -> Job {
    Box::new(move |stage| {
        let done = stage.and_then(|(db, effects)| Ok(work(db, effects)?));
        Box::new(move |committed| {
            // Nobody listens when the client has gone; the write stands.
            let _ = reply.send(done.and_then(|done| committed.map(|()| done)));
        })
    })
}

/// The handle to the thread; dropping it lets the thread finish its queue and waits for it.
pub(super) struct Writer {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    cause: Arc<OnceLock<Failure>>,
}

impl Writer {
    /// Opens the file for writing and starts the thread.
    pub(super) fn start(path: &Path, sync: Sync, hot: Arc<HotEntries>) -> Result<Self, OpenError> {
        let failed = || OpenError::io("start the writer of", path);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed())?;
        let mut keeper = Keeper::open(path, sync, hot)?;
        let (queue, mut jobs) = mpsc::channel(QUEUE);
        let cause = Arc::new(OnceLock::new());
        let last_words = Arc::clone(&cause);
        let run = move || {
            if let Err(failure) = keeper.work(&mut jobs, &runtime) {
                // Before the queue closes, so that whoever finds it closed finds the cause too.
                let _ = last_words.set(failure);
            }
        };
        let thread = std::thread::Builder::new().name("disk-store".to_owned()).spawn(run).map_err(failed())?;
        Ok(Self { queue: Some(queue), thread: Some(thread), cause })
    }

    /// Queues `work` and waits for the commit that it is part of.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &mut Effects) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let Some(queue) = &self.queue else { return Err(self.cause_of_end()) };
        queue.send(job(work, reply)).await.map_err(|_| self.cause_of_end())?;
        answer.await.unwrap_or_else(|_| Err(self.cause_of_end()))
    }

    /// Without the writer nothing here may be trusted: neither the hot entries nor the lock beside the file.
    pub(super) fn check_alive(&self) -> Result<(), Failure> {
        match &self.queue {
            Some(queue) if !queue.is_closed() => Ok(()),
            _ => Err(self.cause_of_end()),
        }
    }

    fn cause_of_end(&self) -> Failure {
        self.cause.get().cloned().unwrap_or(Failure::Ended)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already told every caller.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::Timestamp;
    use crate::session::{OwnerKey, StoreKey};
    use crate::store::disk::{DiskOptions, DiskStore, Sync};
    use crate::store::{Entry, Index as _, Store as _, StoreError, Version};

    // Law 6; LG5
    #[tokio::test]
    async fn without_its_thread_every_call_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let options = DiskOptions { path: directory.path().join("sessions.db"), sync: Sync::Never };
        let store = DiskStore::open(options).unwrap();
        let (key, now) = (StoreKey::from_bytes([1; 32]), Timestamp::from_millis(1));
        let entry = Entry { bytes: vec![1].into(), deadline: now, owner: None };
        store.create(&key, entry.clone(), now).await.unwrap();
        assert!(store.load(&key, now).await.unwrap().is_some());

        check(store.write(|_, _| -> rusqlite::Result<()> { panic!("a defect") }).await);
        // The answer is lost a moment before the queue closes.
        while store.writer.check_alive().is_ok() {
            tokio::task::yield_now().await;
        }
        check(store.load(&key, now).await);
        check(store.load(&StoreKey::from_bytes([2; 32]), now).await);
        check(store.create(&key, entry.clone(), now).await);
        check(store.replace(&key, entry, Version(1), now).await);
        check(store.delete(&key).await);
        check(store.sweep(now, 1).await);
        check(store.keys_of(&OwnerKey::new("main", "ann"), now).await);
    }

    fn check<T>(answer: Result<T, StoreError>) {
        let Some(StoreError::Unavailable { store: "disk", source }) = answer.err() else {
            panic!("a store without a writer cannot answer")
        };
        assert_eq!(source.to_string(), "the writer thread has ended");
    }
}
