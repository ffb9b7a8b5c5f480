//! The file: where it lies, how it is marked, what is in it, and what is refused.

use super::Sync;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Marks the file as ours, for us and for `file(1)`: "Clkr".
const APPLICATION_ID: i32 = 0x436c_6b72;

/// The format that this version reads and writes.
const FORMAT: i32 = 1;

/// How long a writer waits for another process; its transactions take milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Readers wait for nobody in this journal mode, except for a moment while another process opens or closes the file.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// An ordinary table beside an index of keys, not `WITHOUT ROWID`: there whole records lie in the inner nodes of the
/// tree, six to a page. Measured with 200,000 sessions of 500 bytes, in microseconds of CPU: insert 12 instead of 29,
/// replace 22 instead of 32, read 2.9 instead of 4.5, and a smaller file; with 2,000 bytes the gap is twice as wide.
///
/// No `auto_vacuum`: pages of removed sessions are taken first for new ones, so the file stays as large as the most
/// sessions that ever lived at once, and nothing is paid for moving pages. `VACUUM` by hand makes it smaller.
const TABLES: &str = "
    CREATE TABLE sessions (
        key BLOB PRIMARY KEY NOT NULL,
        version INTEGER NOT NULL,
        deadline INTEGER NOT NULL,
        owner BLOB,
        bytes BLOB NOT NULL
    ) STRICT;
    CREATE INDEX sessions_by_deadline ON sessions (deadline);
    CREATE INDEX sessions_by_owner ON sessions (owner) WHERE owner IS NOT NULL;
";

/// The writer's connection: syncs that reach the medium (macOS), no functions called by a file that was tampered with,
/// a cache for the inner pages of a million sessions, a log that shrinks again after a peak, and checkpoints every 16 MiB
/// (against 4 MiB, which is usual, a sixth less CPU per write).
const PRAGMAS: &str = "
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA cache_size = -32768;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA wal_autocheckpoint = 4000;
";

/// Why a [`DiskStore`](super::DiskStore) cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its directory cannot be created or reached.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, in words.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is something else; it was left as it was.
    #[error("`{}` is not a session database: {found}; move it away or choose another path", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// The file was written by a later version; it was left as it was.
    #[error("`{}` has format {found}, this version of cloakroom knows {FORMAT}: use the newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i32,
    },
    /// The file system cannot hold a write-ahead log that processes share.
    #[error("no write-ahead log beside `{}` (journal mode `{mode}`): expected a local file system", path.display())]
    NoLog {
        /// The file.
        path: PathBuf,
        /// The journal mode that the engine offered instead.
        mode: String,
    },
    /// Another process has the file for itself and does not react.
    #[error("`{}` is in use by a process that does not answer: expected it to share or to end", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The engine refused; the file may be damaged.
    #[error("cannot open `{}`", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: rusqlite::Error,
    },
}

impl OpenError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn engine(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign { path, found: "it is no SQLite file".to_owned() },
            _ => Self::Engine { path, source },
        }
    }
}

/// Sees to it that the file is there, private when it is new, and says where it really is: SQLite puts its log beside
/// the file that a link points to.
pub(super) fn place(path: &Path) -> Result<PathBuf, OpenError> {
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let missing = directory.ancestors().take_while(|directory| !directory.exists()).count();
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).map_err(OpenError::io("create the directory", directory))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {
            // The new names survive a loss of power, as what will be written under them does.
            for directory in directory.ancestors().take(missing + 1) {
                let directory = if directory == Path::new("") { Path::new(".") } else { directory };
                let synced = File::open(directory).and_then(|directory| directory.sync_all());
                synced.map_err(OpenError::io("sync the directory", directory))?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(OpenError::io("create", path)(error)),
    }
    path.canonicalize().map_err(OpenError::io("find", path))
}

/// Whether the file is ours or still empty; everything else is refused before anything is written.
pub(super) fn is_initialised(db: &Connection, path: &Path) -> Result<bool, OpenError> {
    // One statement, so that all of it is seen at one moment: another process may be about to make the file.
    let mark = db.query_row(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)
         FROM pragma_application_id, pragma_user_version",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    );
    let (id, format, objects): (i32, i32, i64) = mark.map_err(OpenError::engine(path))?;
    match (id, format, objects) {
        (APPLICATION_ID, FORMAT, _) => Ok(true),
        (APPLICATION_ID, found, _) if found > FORMAT => Err(OpenError::Newer { path: path.to_owned(), found }),
        (0, 0, 0) => Ok(false),
        _ => {
            let found = format!("its application id is {id:#x} and its format {format}");
            Err(OpenError::Foreign { path: path.to_owned(), found })
        }
    }
}

/// The one connection that writes; [`initialise`] sets it up, when the file is known to be ours.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(OpenError::engine(path))?;
    db.busy_timeout(PATIENCE).map_err(OpenError::engine(path))?;
    Ok(db)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(OpenError::engine(path))?;
    db.busy_timeout(READER_PATIENCE).map_err(OpenError::engine(path))?;
    db.pragma_update(None, "trusted_schema", false).map_err(OpenError::engine(path))?;
    Ok(db)
}

/// Makes the file ours if it is empty, and sets the writer's connection up.
pub(super) fn initialise(db: &mut Connection, path: &Path, sync: Sync) -> Result<(), OpenError> {
    let failed = || OpenError::engine(path);
    let mode: String =
        db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(OpenError::engine(path))?;
    if mode != "wal" {
        return Err(OpenError::NoLog { path: path.to_owned(), mode });
    }
    // FULL syncs the log at each commit. NORMAL syncs it only before its pages move into the database, and the database
    // before the log starts anew: enough to stay whole, whatever happens. What `Interval` promises beyond that, the
    // writer does itself. OFF would gain little more, and a loss of power could destroy the file.
    let synchronous = match sync {
        Sync::Always => "FULL",
        Sync::Interval | Sync::Never => "NORMAL",
    };
    db.pragma_update(None, "synchronous", synchronous).map_err(failed())?;
    db.execute_batch(PRAGMAS).map_err(failed())?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed())?;
    if !is_initialised(&transaction, path)? {
        transaction.execute_batch(TABLES).map_err(failed())?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed())?;
        transaction.pragma_update(None, "user_version", FORMAT).map_err(failed())?;
    }
    transaction.commit().map_err(failed())
}

/// Rings at the process that holds the lock: a write that changes nothing, but shows in [`foreign_writes`]. A bell that
/// does not ring is rung again.
pub(super) fn ring(db: &Connection, path: &Path) {
    if let Ok(true) = is_initialised(db, path) {
        let _ = db.pragma_update(None, "user_version", FORMAT);
    }
}

/// A number that changes when another connection has written. (Nobody in this process but the writer writes.)
pub(super) fn foreign_writes(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}
