//! Read-only connections, shared by all tasks.

use super::schema::{self, OpenError};
use super::writer::Failure;
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A few connections: a read holds one for microseconds.
pub(super) struct Readers {
    connections: Box<[Mutex<Connection>]>,
    turn: AtomicUsize,
}

impl Readers {
    /// Opens one connection per processor, within reason.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let count = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let connections = (0..count).map(|_| schema::open_reader(path).map(Mutex::new)).collect::<Result<_, _>>()?;
        Ok(Self { connections, turn: AtomicUsize::new(0) })
    }

    /// Runs `read` on a free connection, in this thread. The first ones are preferred: their pages are warm.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Failure> {
        let free = self.connections.iter().find_map(Mutex::try_lock);
        let connection = free.unwrap_or_else(|| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            self.connections[turn % self.connections.len()].lock()
        });
        Ok(read(&connection)?)
    }
}
