//! Writers of one session in one process queue for each other, so that a burst costs one conflict and not n².

use crate::session::StoreKey;
use tokio::sync::{Mutex, MutexGuard};

/// Queues; sessions share one only when their digests collide here.
const QUEUES: usize = 1024;

/// The queues of one policy.
#[derive(Debug)]
pub(super) struct Writers(Box<[Mutex<()>]>);

impl Writers {
    pub(super) fn new() -> Self {
        Self((0..QUEUES).map(|_| Mutex::new(())).collect())
    }

    /// Waits for the turn of a writer of this session. The key is a digest, so nobody can aim at a queue.
    pub(super) async fn turn(&self, key: &StoreKey) -> MutexGuard<'_, ()> {
        let [high, low, ..] = *key.as_bytes();
        self.0[usize::from(u16::from_be_bytes([high, low])) % QUEUES].lock().await
    }
}
