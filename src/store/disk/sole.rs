//! Whether this process has the file for itself.
//!
//! The rule: **a process writes sessions only while it holds the lock beside the file, shared or exclusive, and keeps hot
//! entries only while it holds it exclusively.** So while the cache is on nobody else can write, and the cache of a
//! process is empty before another one's first write. A process that dies loses its lock by the system's hand.
//!
//! A newcomer that finds the lock taken rings: it writes something without meaning into the database, which the holder
//! notices within a tenth of a second ([`super::schema::foreign_writes`]) and then shares. Correctness does not hang on
//! the bell, only the newcomer's patience does.
//!
//! The lock lies in a file of its own, because closing any descriptor of the database would drop SQLite's locks.

use super::schema::{OpenError, PATIENCE};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a newcomer tries, and rings.
const RETRY: Duration = Duration::from_millis(5);

/// The lock beside the database.
#[derive(Debug)]
pub(super) struct Sole {
    file: File,
    alone: bool,
}

impl Sole {
    /// Waits until the file may be used, alone or with others.
    pub(super) fn enter(database: &Path, ring: impl Fn()) -> Result<Self, OpenError> {
        let mut path = database.as_os_str().to_owned();
        path.push("-lock");
        let path = Path::new(&path);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut sole = Self { file: file.map_err(OpenError::io("create", path))?, alone: false };
        match sole.share(&ring).and_then(|()| sole.try_alone(ring)) {
            Ok(()) => Ok(sole),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(OpenError::InUse { path: database.to_owned() })
            }
            Err(error) => Err(OpenError::io("lock", path)(error)),
        }
    }

    /// Whether no other process can write.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Lets others in, or gets in beside them. Between giving up one lock and getting the other nothing is held: the
    /// caller writes nothing before this has returned.
    pub(super) fn share(&mut self, ring: impl Fn()) -> io::Result<()> {
        self.alone = false;
        self.file.unlock()?;
        let patient_until = Instant::now() + PATIENCE;
        loop {
            match self.file.try_lock_shared() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() > patient_until => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(TryLockError::WouldBlock) => {
                    ring();
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    /// Takes the file for this process if nobody else uses it.
    pub(super) fn try_alone(&mut self, ring: impl Fn()) -> io::Result<()> {
        self.file.unlock()?;
        match self.file.try_lock() {
            Ok(()) => {
                self.alone = true;
                Ok(())
            }
            Err(TryLockError::WouldBlock) => self.share(ring),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
