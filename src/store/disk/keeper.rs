//! The thread that writes: many callers to a transaction, an answer to each after the commit.
//!
//! While one commit runs the next batch gathers by itself, so there is no delay to tune. A write that fails fails alone;
//! a commit that fails fails everything in it.

use super::Sync;
use super::hot::HotEntries;
use super::schema::{self, OpenError};
use super::sole::Sole;
use super::writer::{Effects, Failure, Job, Reply};
use rusqlite::{Connection, TransactionBehavior};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// How many writes share a transaction at most.
const BATCH: usize = 256;

/// How often the thread looks up from its queue.
const TICK: Duration = Duration::from_millis(100);

/// How often a process that shares the file looks whether it is alone by now.
const ALONE_EVERY: Duration = Duration::from_secs(1);

/// How often a process on a full disk tries to make room for itself.
const ROOM_EVERY: Duration = Duration::from_secs(1);

/// With [`Sync::Interval`]: how old an unsynced write may get. With a tick and the sync itself it stays under a second.
const SYNC_AFTER: Duration = Duration::from_millis(750);

/// What the thread owns.
pub(super) struct Keeper {
    // Fields are dropped in this order: the lock goes when nothing can be written any more.
    db: Connection,
    path: PathBuf,
    hot: Arc<HotEntries>,
    /// With [`Sync::Interval`]: the log, and since when it has unsynced writes.
    log: Option<File>,
    unsynced_since: Option<Instant>,
    /// [`schema::foreign_writes`] when this process was last known to be alone.
    seen: i64,
    next_look: Instant,
    next_try: Instant,
    next_room: Instant,
    sole: Sole,
}

impl Keeper {
    pub(super) fn open(path: &Path, sync: Sync, hot: Arc<HotEntries>) -> Result<Self, OpenError> {
        let mut db = schema::open_writer(path)?;
        schema::is_initialised(&db, path)?;
        let sole = Sole::enter(path, || schema::ring(&db, path))?;
        schema::initialise(&mut db, path, sync)?;
        let log = match sync {
            Sync::Interval => Some(open_log(path)?),
            Sync::Always | Sync::Never => None,
        };
        let now = Instant::now();
        let path = path.to_owned();
        let (next_look, next_try, next_room) = (now, now, now);
        let mut keeper =
            Self { db, path, hot, log, unsynced_since: None, seen: 0, next_look, next_try, next_room, sole };
        keeper.use_hot_entries();
        Ok(keeper)
    }

    /// Works until the store is dropped or cannot keep its promise any more.
    pub(super) fn work(&mut self, jobs: &mut mpsc::Receiver<Job>, runtime: &Runtime) -> Result<(), Failure> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let received =
                runtime.block_on(async { tokio::time::timeout(TICK, jobs.recv_many(&mut batch, BATCH)).await });
            match received {
                // Closing the connection puts the log away, unless another process still uses it.
                Ok(0) => return self.sync_as_promised(true),
                Ok(_) => self.commit(batch.drain(..))?,
                Err(_) => {}
            }
            self.look_up()?;
        }
    }

    /// One transaction. Its order is the promise: commit, sync, hot entries, answers.
    fn commit(&mut self, jobs: impl Iterator<Item = Job>) -> Result<(), Failure> {
        let mut effects = Effects::default();
        let mut replies = Vec::with_capacity(BATCH);
        let committed = transact(&mut self.db, jobs, &mut effects, &mut replies);
        let synced = match committed {
            Ok(()) => self.sync_as_promised(effects.sync_now),
            Err(_) => Ok(()),
        };
        let outcome = committed.and(synced.clone());
        match outcome {
            Ok(()) => self.hot.apply(effects.changes),
            Err(_) => self.hot.forget(&effects.changes),
        }
        if outcome.as_ref().is_err_and(Failure::is_full) {
            self.make_room();
        }
        for reply in replies {
            reply(outcome.clone());
        }
        synced
    }

    /// On a full disk: moves the pages of the log into the database, so that the next write starts at the log's beginning
    /// and needs no new room. Deletions and sweeps make room that way; where the database would have to grow, it fails.
    fn make_room(&mut self) {
        let now = Instant::now();
        if now >= self.next_room {
            self.next_room = now + ROOM_EVERY;
            // What cannot be moved stays in the log, whole.
            let _ = self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
    }

    fn sync_as_promised(&mut self, now: bool) -> Result<(), Failure> {
        let Some(log) = &self.log else { return Ok(()) };
        let since = *self.unsynced_since.get_or_insert_with(Instant::now);
        if now || since.elapsed() >= SYNC_AFTER {
            // One sync covers all that was written to the log, by whom ever and through whatever descriptor.
            log.sync_data().map_err(|error| Failure::NotSynced(Arc::new(error)))?;
            self.unsynced_since = None;
        }
        Ok(())
    }

    /// What has to be done now and then, busy or idle.
    fn look_up(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + TICK;
        if self.unsynced_since.is_some() {
            self.sync_as_promised(false)?;
        }
        let ring = || schema::ring(&self.db, &self.path);
        if self.sole.is_alone() {
            if schema::foreign_writes(&self.db).is_ok_and(|writes| writes == self.seen) {
                return Ok(());
            }
            // Somebody rings. The cache is empty before the lock is shared.
            self.hot.turn_off();
            self.next_try = now + ALONE_EVERY;
            self.sole.share(ring).map_err(not_locked)
        } else if now >= self.next_try {
            self.next_try = now + ALONE_EVERY;
            self.sole.try_alone(ring).map_err(not_locked)?;
            self.use_hot_entries();
            Ok(())
        } else {
            Ok(())
        }
    }

    fn use_hot_entries(&mut self) {
        if !self.sole.is_alone() {
            return;
        }
        // Without an answer the cache stays off, and the next look shares the lock.
        if let Ok(writes) = schema::foreign_writes(&self.db) {
            self.seen = writes;
            self.hot.turn_on();
        }
    }
}

impl Drop for Keeper {
    /// However the thread ends: the hot entries go before the lock that makes them true.
    fn drop(&mut self) {
        self.hot.turn_off();
    }
}

fn transact(
    db: &mut Connection,
    jobs: impl Iterator<Item = Job>,
    effects: &mut Effects,
    replies: &mut Vec<Reply>,
) -> Result<(), Failure> {
    // IMMEDIATE: the one wait for another process is here, before anything was done.
    let transaction = match db.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            let failure = Failure::from(error);
            replies.extend(jobs.map(|job| job(Err(failure.clone()))));
            return Err(failure);
        }
    };
    for job in jobs {
        // Some errors (a full disk, no memory) end the transaction; what follows must not run outside of it.
        let lost = transaction.is_autocommit();
        let stage = if lost { Err(Failure::RolledBack) } else { Ok((&*transaction, &mut *effects)) };
        replies.push(job(stage));
    }
    if transaction.is_autocommit() {
        return Err(Failure::RolledBack);
    }
    Ok(transaction.commit()?)
}

fn open_log(path: &Path) -> Result<File, OpenError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = Path::new(&log);
    OpenOptions::new().write(true).open(log).map_err(OpenError::io("open", log))
}

fn not_locked(error: io::Error) -> Failure {
    Failure::NotLocked(Arc::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::session::StoreKey;
    use crate::store::disk::{statements, writer};
    use crate::store::{Entry, Version};
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    type Answer = oneshot::Receiver<Result<(), Failure>>;

    /// A keeper whose thread is the test itself.
    fn keeper(sync: Sync) -> (Keeper, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        (open(&directory, sync), directory)
    }

    fn open(directory: &TempDir, sync: Sync) -> Keeper {
        let path = schema::place(&directory.path().join("sessions.db")).unwrap();
        Keeper::open(&path, sync, Arc::default()).unwrap()
    }

    fn job(work: fn(&Connection, &mut Effects) -> rusqlite::Result<()>) -> (Job, Answer) {
        let (reply, answer) = oneshot::channel();
        (writer::job(work, reply), answer)
    }

    fn key(n: u8) -> StoreKey {
        StoreKey::from_bytes([n; 32])
    }

    fn create(db: &Connection, n: u8, effects: &mut Effects) -> rusqlite::Result<()> {
        let entry = Entry { bytes: vec![n].into(), deadline: Timestamp::NEVER, owner: None };
        statements::create(db, &key(n), entry, Timestamp::default(), effects).map(drop)
    }

    fn find(keeper: &Keeper, n: u8) -> Option<(Entry, Version)> {
        let found = statements::find(&keeper.db, &key(n)).unwrap();
        let hot = keeper.hot.read(&key(n), || Ok(None)).unwrap();
        assert_eq!(hot, found, "the hot entries are those of the file");
        found
    }

    fn commit(keeper: &mut Keeper, jobs: Vec<(Job, Answer)>) -> (Result<(), Failure>, Vec<Result<(), Failure>>) {
        let (jobs, answers): (Vec<Job>, Vec<Answer>) = jobs.into_iter().unzip();
        let outcome = keeper.commit(jobs.into_iter());
        (outcome, answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect())
    }

    fn commit_one(keeper: &mut Keeper, work: fn(&Connection, &mut Effects) -> rusqlite::Result<()>) {
        let (outcome, answers) = commit(keeper, vec![job(work)]);
        outcome.and(answers[0].clone()).unwrap();
    }

    #[test]
    fn a_write_that_fails_fails_alone() {
        let (mut keeper, _directory) = keeper(Sync::Never);
        let jobs = vec![
            job(|db, effects| create(db, 1, effects)),
            job(|db, _| db.execute_batch("INSERT INTO sessions (key) VALUES (x'00')")),
            job(|db, effects| create(db, 2, effects)),
        ];
        let (outcome, answers) = commit(&mut keeper, jobs);
        assert!(outcome.is_ok() && answers[0].is_ok() && answers[2].is_ok());
        assert!(answers[1].as_ref().unwrap_err().to_string().contains("NOT NULL"), "{:?}", answers[1]);
        assert!(find(&keeper, 1).is_some() && find(&keeper, 2).is_some());
    }

    #[test]
    fn a_transaction_that_is_lost_is_lost_for_everybody_in_it() {
        let (mut keeper, _directory) = keeper(Sync::Never);
        commit_one(&mut keeper, |db, effects| create(db, 1, effects));
        let jobs = vec![
            job(|db, effects| create(db, 2, effects)),
            job(|db, effects| statements::delete(db, &key(1), effects)),
            // What the engine does by itself when the disk is full.
            job(|db, _| db.execute_batch("ROLLBACK")),
            job(|db, effects| create(db, 3, effects)),
        ];
        let (outcome, answers) = commit(&mut keeper, jobs);
        assert!(outcome.is_ok(), "the next one may be luckier");
        for answer in answers {
            assert!(matches!(answer, Err(Failure::RolledBack)), "{answer:?}");
        }
        assert!(statements::find(&keeper.db, &key(1)).unwrap().is_some());
        assert!(find(&keeper, 2).is_none() && find(&keeper, 3).is_none());
        commit_one(&mut keeper, |db, effects| create(db, 3, effects));
        assert!(find(&keeper, 3).is_some());
    }

    // ST8
    #[test]
    fn the_interval_syncs_deletions_at_once_and_the_rest_within_its_time() {
        let (mut keeper, _directory) = keeper(Sync::Interval);
        commit_one(&mut keeper, |db, effects| create(db, 1, effects));
        assert!(keeper.unsynced_since.is_some());
        commit_one(&mut keeper, |db, effects| statements::delete(db, &key(1), effects));
        assert!(keeper.unsynced_since.is_none());

        commit_one(&mut keeper, |db, effects| create(db, 1, effects));
        keeper.unsynced_since = keeper.unsynced_since.and_then(|since| since.checked_sub(SYNC_AFTER));
        keeper.next_look = Instant::now();
        keeper.look_up().unwrap();
        assert!(keeper.unsynced_since.is_none());
        assert!(SYNC_AFTER + TICK < Duration::from_secs(1));
    }

    // ST8
    #[test]
    fn what_cannot_be_synced_is_not_acknowledged_and_ends_the_writer() {
        let (mut keeper, _directory) = keeper(Sync::Interval);
        commit_one(&mut keeper, |db, effects| create(db, 1, effects));
        // A device that knows no sync.
        keeper.log = Some(File::open("/dev/null").unwrap());
        let (outcome, answers) = commit(&mut keeper, vec![job(|db, effects| statements::delete(db, &key(1), effects))]);
        assert!(matches!(answers[0], Err(Failure::NotSynced(_))), "{answers:?}");
        assert!(matches!(outcome, Err(Failure::NotSynced(_))), "{outcome:?}");
    }

    // ST9: an upgrade, with the old process in this thread and the new one in another.
    #[test]
    fn entries_are_hot_only_while_nobody_else_uses_the_file() {
        let (mut old, directory) = keeper(Sync::Never);
        assert!(old.hot.is_on());
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| open(&directory, Sync::Never));
            while !opening.is_finished() {
                assert!(old.hot.is_on() || !old.sole.is_alone());
                old.next_look = Instant::now();
                old.look_up().unwrap();
            }
            let mut new = opening.join().unwrap();
            assert!(!old.hot.is_on() && !new.hot.is_on());

            for _ in 0..3 {
                for keeper in [&mut old, &mut new] {
                    (keeper.next_look, keeper.next_try) = (Instant::now(), Instant::now());
                    keeper.look_up().unwrap();
                    assert!(!keeper.hot.is_on());
                }
            }
            drop(old);
            (new.next_look, new.next_try) = (Instant::now(), Instant::now());
            new.look_up().unwrap();
            assert!(new.hot.is_on());
        });
    }
}
