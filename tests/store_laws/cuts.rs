//! Power fails at every point of the disk store's files (ST8): after each page of the log and within it, in the midst of
//! moving pages into the database, and while the log begins anew over an older one.
//!
//! SQLite's own tests do this from below; these look from above, at what a caller was told. A sequence of writes is
//! recorded with what the store holds after each; then files are made as they may lie after the cut, and the store has to
//! hold exactly what it held after the last write that is whole in them. A page may be torn or damaged: its checksum tells.

use crate::processes::assert_whole;
use crate::support::{NOW, create, entry, key, keys_of, later, move_deadline, open_disk, owned, text};
use cloakroom::store::disk::{DiskStore, Sync};
use cloakroom::store::{Store as _, Written};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The format of the log: a header with its salt, and frames that repeat the salt, a page in each.
const HEADER: usize = 32;
const FRAME: usize = 24 + PAGE;
const PAGE: usize = 4096;

/// Every key that the writes use.
const KEYS: Range<u64> = 0..40;

/// To whom some of the entries belong.
const OWNER: &str = "ann";

/// What a caller would find: the text, and whether it belongs to the owner.
type Contents = BTreeMap<u64, (String, bool)>;

/// The files of a store, as they lie on the disk.
#[derive(Clone)]
struct Files {
    database: Vec<u8>,
    log: Vec<u8>,
}

impl Files {
    fn read(directory: &Path) -> Self {
        let read = |name| fs::read(directory.join(name)).unwrap();
        Self { database: read("sessions.db"), log: read("sessions.db-wal") }
    }

    /// In a new directory.
    fn write(&self) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("sessions.db"), &self.database).unwrap();
        fs::write(directory.path().join("sessions.db-wal"), &self.log).unwrap();
        directory
    }

    /// How many bytes of the log are in use: those behind them are left from an earlier round of it.
    fn log_in_use(&self) -> usize {
        let salt = &self.log[16..24];
        let frames = self.log[HEADER..].chunks_exact(FRAME).take_while(|frame| frame[8..16] == *salt);
        HEADER + frames.count() * FRAME
    }
}

/// A store whose every write is remembered.
struct Recorder {
    directory: TempDir,
    store: DiskStore,
    contents: Contents,
    /// How much of the log was in use after a write, and what the store held then.
    history: Vec<(usize, Contents)>,
}

impl Recorder {
    /// Some sessions lie in the database itself, the log is empty.
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open_disk(directory.path(), Sync::Never);
        let mut recorder = Self { store, contents: Contents::new(), history: Vec::new(), directory };
        for n in 0..10 {
            recorder.put(n, &"first ".repeat(100), false).await;
        }
        drop(recorder.store);
        let store = open_disk(recorder.directory.path(), Sync::Never);
        Self { store, history: vec![(0, recorder.contents.clone())], ..recorder }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("sessions.db")
    }

    fn files(&self) -> Files {
        Files::read(self.directory.path())
    }

    fn record(&mut self) {
        let in_use = if self.directory.path().join("sessions.db-wal").exists() && self.files().log.len() > HEADER {
            self.files().log_in_use()
        } else {
            0
        };
        self.history.push((in_use, self.contents.clone()));
    }

    async fn put(&mut self, n: u64, text: &str, is_owned: bool) {
        let made = if is_owned { owned(text, OWNER) } else { entry(text) };
        let written = match self.store.load(&key(n), NOW).await.unwrap() {
            None => self.store.create(&key(n), made, NOW).await,
            Some((_, version)) => self.store.replace(&key(n), made, version, NOW).await,
        };
        assert!(matches!(written.unwrap(), Written::Done(_)));
        self.contents.insert(n, (text.to_owned(), is_owned));
        self.record();
    }

    async fn delete(&mut self, n: u64) {
        self.store.delete(&key(n)).await.unwrap();
        self.contents.remove(&n);
        self.record();
    }

    /// Writes of one page and of many, which split pages, free some and take them again.
    async fn work(&mut self, round: &str) {
        for n in 10..16 {
            self.put(n, &format!("created {round}"), n % 2 == 0).await;
        }
        self.put(16, &format!("large {round} ").repeat(2_500), true).await;
        for n in 0..8 {
            self.put(n, &format!("replaced {round}"), n % 3 == 0).await;
        }
        self.put(16, &format!("small {round}"), false).await;
        for n in (0..16).step_by(3) {
            self.delete(n).await;
        }
        for n in 20..26 {
            self.put(n, &format!("into freed pages {round} ").repeat(100), true).await;
            move_deadline(&self.store, &key(n), NOW, NOW).await;
            self.record();
        }
        // Many entries in one transaction: all of them go or none.
        assert_eq!(self.store.sweep(later(1), 100).await.unwrap(), 6);
        (20..26).for_each(|n| drop(self.contents.remove(&n)));
        self.record();
        for n in (0..16).step_by(3) {
            self.put(n, &format!("again {round}"), false).await;
        }
    }

    /// What the store held after the last write that lies in the first bytes of the log.
    fn held_after(&self, bytes: usize) -> &Contents {
        let (_, contents) = self.history.iter().rev().find(|(in_use, _)| *in_use <= bytes).unwrap();
        contents
    }
}

/// Opens the files as they were found after the cut.
async fn check(files: &Files, expected: &Contents, cut: &str) {
    let directory = files.write();
    let store = open_disk(directory.path(), Sync::Never);
    for n in KEYS {
        let expected = expected.get(&n).map(|(text, _)| text.clone());
        assert!(text(&store, &key(n), NOW).await == expected, "{cut}: entry {n} is not as it was");
    }
    let mut owned: Vec<_> = expected.iter().filter(|(_, (_, is_owned))| *is_owned).map(|(n, _)| key(*n)).collect();
    owned.sort();
    assert_eq!(keys_of(&store, OWNER, NOW).await, owned, "{cut}: the index does not agree");
    assert_whole(directory.path());

    // Life goes on, and is kept.
    create(&store, &key(1_000), entry("after the cut")).await;
    drop(store);
    let store = open_disk(directory.path(), Sync::Never);
    assert_eq!(text(&store, &key(1_000), NOW).await.as_deref(), Some("after the cut"), "{cut}");
}

#[tokio::test]
async fn a_log_cut_anywhere_holds_every_write_that_is_whole_in_it() {
    let mut recorder = Recorder::start().await;
    recorder.work("one").await;
    let whole = recorder.files();
    let end = whole.log_in_use();
    assert!(end == whole.log.len() && end > 60 * FRAME, "{end}");

    let mut cuts = vec![0, 1, HEADER - 1];
    for frame in (HEADER..=end).step_by(FRAME) {
        cuts.push(frame);
        // In its header, before and within its page, and a byte before its end.
        cuts.extend([7, 24, 24 + PAGE / 2, FRAME - 1].map(|torn| frame + torn).into_iter().filter(|cut| *cut < end));
    }
    for cut in cuts {
        let files = Files { log: whole.log[..cut].to_vec(), ..whole.clone() };
        check(&files, recorder.held_after(cut), &format!("cut at {cut} of {end}")).await;
    }
}

#[tokio::test]
async fn a_damaged_page_of_the_log_ends_it_there() {
    let mut recorder = Recorder::start().await;
    recorder.work("one").await;
    let whole = recorder.files();
    for (number, frame) in (HEADER..whole.log.len()).step_by(FRAME).enumerate() {
        // Another place in each, in the header and in the page.
        for at in [frame + number % 24, frame + 24 + number * 61 % PAGE] {
            let mut files = whole.clone();
            files.log[at] ^= 1 << (number % 8);
            check(&files, recorder.held_after(frame), &format!("byte {at} is damaged")).await;
        }
    }
}

#[tokio::test]
async fn a_log_that_began_anew_over_an_older_one_is_cut_in_two() {
    let mut recorder = Recorder::start().await;
    recorder.work("one").await;
    recorder.work("zero").await;
    let database = rusqlite::Connection::open(recorder.path()).unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(FULL)").unwrap();
    let older = recorder.files();
    // From here on the pages of the database are those of the older log.
    recorder.history = vec![(0, recorder.contents.clone())];
    recorder.work("two").await;
    let newer = recorder.files();
    let end = newer.log_in_use();
    assert!(older.database == newer.database && end > 60 * FRAME && end < newer.log.len() - 9 * FRAME);

    let mut cuts = vec![0, 1, HEADER - 1];
    cuts.extend((HEADER..=end).step_by(FRAME).flat_map(|frame| [frame, frame + 24 + PAGE / 2]));
    for cut in cuts.into_iter().filter(|cut| *cut <= end) {
        let log = [&newer.log[..cut], &older.log[cut..]].concat();
        let files = Files { log, ..newer.clone() };
        check(&files, recorder.held_after(cut), &format!("cut at {cut} of {end}")).await;
    }
}

#[tokio::test]
async fn a_cut_while_pages_move_into_the_database_loses_nothing() {
    let mut recorder = Recorder::start().await;
    recorder.work("one").await;
    let before = recorder.files();
    let copy = before.write();
    let database = rusqlite::Connection::open(copy.path().join("sessions.db")).unwrap();
    database.execute_batch("PRAGMA wal_checkpoint(FULL)").unwrap();
    let after = Files::read(copy.path()).database;
    assert!(after.len() > before.database.len());

    let mut moved = 0;
    let mut database = before.database.clone();
    // Pages move in their order; those that did not change are not touched.
    for (at, page) in (0..after.len()).step_by(PAGE).zip(after.chunks_exact(PAGE)) {
        if database.get(at..at + PAGE) == Some(page) {
            continue;
        }
        database.resize(database.len().max(at + PAGE / 2), 0);
        database[at..at + PAGE / 2].copy_from_slice(&page[..PAGE / 2]);
        let torn = Files { database: database.clone(), ..before.clone() };
        check(&torn, &recorder.contents, &format!("the page at {at} is torn")).await;
        database.resize(database.len().max(at + PAGE), 0);
        database[at..at + PAGE].copy_from_slice(page);
        let whole = Files { database: database.clone(), ..before.clone() };
        check(&whole, &recorder.contents, &format!("the page at {at} was the last that moved")).await;
        moved += 1;
    }
    assert!(moved > 8 && database == after, "{moved}");
}
