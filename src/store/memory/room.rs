//! What the memory store holds, counted exactly, and never above its limits (ST7).

use super::MemoryLimits;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Space is taken before an entry is written and given back when it is removed.
///
/// The two counters are exact on their own and publish nothing else, so relaxed ordering does.
#[derive(Debug)]
pub(super) struct Room {
    limits: MemoryLimits,
    entries: AtomicUsize,
    bytes: AtomicUsize,
}

/// The limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    Entries,
    Bytes,
}

impl Room {
    pub(super) fn new(limits: MemoryLimits) -> Self {
        Self { limits, entries: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    pub(super) fn limits(&self) -> MemoryLimits {
        self.limits
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.load(Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Takes space for one more entry, all or nothing.
    pub(super) fn take_entry(&self, bytes: usize) -> Result<(), NoRoom> {
        take(&self.entries, 1, self.limits.max_entries).map_err(|()| NoRoom::Entries)?;
        self.take_bytes(bytes).inspect_err(|_| {
            self.entries.fetch_sub(1, Relaxed);
        })
    }

    /// Gives back what [`Room::take_entry`] took.
    pub(super) fn give_entry(&self, bytes: usize) {
        self.entries.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Adjusts an entry that was `old` bytes large and becomes `new`; nothing changes when it would not fit.
    pub(super) fn resize(&self, old: usize, new: usize) -> Result<(), NoRoom> {
        if new > old {
            return self.take_bytes(new - old);
        }
        self.bytes.fetch_sub(old - new, Relaxed);
        Ok(())
    }

    fn take_bytes(&self, bytes: usize) -> Result<(), NoRoom> {
        take(&self.bytes, bytes, self.limits.max_bytes).map_err(|()| NoRoom::Bytes)
    }

    /// What the operator reads when `limit` was reached.
    pub(super) fn describe(&self, limit: NoRoom) -> String {
        match limit {
            NoRoom::Entries => format!("it may hold {} entries", self.limits.max_entries),
            NoRoom::Bytes => format!("it may hold {} bytes", self.limits.max_bytes),
        }
    }
}

fn take(counter: &AtomicUsize, amount: usize, limit: usize) -> Result<(), ()> {
    let fits = |used: usize| used.checked_add(amount).filter(|sum| *sum <= limit);
    counter.fetch_update(Relaxed, Relaxed, fits).map(drop).map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let room = Room::new(MemoryLimits { max_entries: 2, max_bytes: 100 });
        assert_eq!(room.take_entry(60), Ok(()));
        assert_eq!(room.take_entry(41), Err(NoRoom::Bytes));
        assert_eq!((room.entries(), room.bytes()), (1, 60));
        assert_eq!(room.take_entry(40), Ok(()));
        assert_eq!(room.take_entry(0), Err(NoRoom::Entries));
        assert_eq!(room.resize(40, 41), Err(NoRoom::Bytes));
        assert_eq!(room.take_entry(usize::MAX), Err(NoRoom::Entries));
        assert_eq!((room.entries(), room.bytes()), (2, 100));
    }

    #[test]
    fn all_that_is_taken_can_be_given_back() {
        let room = Room::new(MemoryLimits { max_entries: 1, max_bytes: 100 });
        room.take_entry(10).unwrap();
        room.resize(10, 100).unwrap();
        room.resize(100, 7).unwrap();
        room.give_entry(7);
        assert_eq!((room.entries(), room.bytes()), (0, 0));
    }
}
