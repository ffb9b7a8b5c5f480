//! The kinds of stores that can be measured: the one place to add another.

use crate::Outcome;
use cloakroom::store::Store;
use cloakroom::store::disk::{DiskOptions, DiskStore, Sync};
use cloakroom::store::memory::{MemoryLimits, MemoryStore};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// What is measured.
#[derive(Clone)]
pub enum Kind {
    Memory,
    Disk(Sync),
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "memory" => Ok(Self::Memory),
            "disk" => Ok(Self::Disk(Sync::Always)),
            "disk:interval" => Ok(Self::Disk(Sync::Interval)),
            "disk:never" => Ok(Self::Disk(Sync::Never)),
            _ => Err("expected memory, disk, disk:interval or disk:never".to_owned()),
        }
    }
}

impl Kind {
    /// Opens the store, empty when its place is.
    pub fn open(&self, directory: &Path) -> Outcome<Arc<dyn Store>> {
        Ok(match self {
            Self::Memory => {
                let limits = MemoryLimits { max_entries: usize::MAX, max_bytes: usize::MAX };
                Arc::new(MemoryStore::new(limits))
            }
            Self::Disk(sync) => {
                let path = directory.join("sessions.db");
                Arc::new(DiskStore::open(DiskOptions { path, sync: *sync })?)
            }
        })
    }

    /// Whether it lies in files of this machine, which can be opened again.
    pub fn lies_here(&self) -> bool {
        matches!(self, Self::Disk(_))
    }

    /// How it is asked for on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk(Sync::Always) => "disk",
            Self::Disk(Sync::Interval) => "disk:interval",
            Self::Disk(Sync::Never) => "disk:never",
        }
    }
}
