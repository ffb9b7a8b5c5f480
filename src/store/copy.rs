//! Copying all sessions from one store to another, page by page, so that it can be stopped and resumed anywhere.
//!
//! What is in the target already stays as it is: it is the same entry, or a newer one. So nothing is lost by copying a
//! page twice, and a copy that was killed goes on at the last place that it told.

use super::{Cursor, Entry, Page, Scan, Store, StoreError, Written};
use crate::clock::Timestamp;
use crate::session::StoreKey;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How many entries are asked for at a time.
const PAGE: usize = 256;

/// How old a page may get before what is left of it is read again: an entry that was ended meanwhile must not come back
/// from it. Far less than the time for which [`Moving`](super::moving::Moving) remembers an end.
const PAGE_LASTS: Duration = Duration::from_secs(5);

/// What has become of the entries so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Written to the target.
    pub copied: u64,
    /// In the target already.
    pub there: u64,
    /// Expired before their turn came.
    pub skipped: u64,
    /// Larger than the target takes: these sessions stay behind.
    pub too_large: u64,
}

/// Told after every page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What has become of the entries, since this call began.
    pub summary: Summary,
    /// Where to go on after a break; `None` when all is done.
    pub next: Option<Cursor>,
}

/// Why a copy has stopped. What was copied is copied; it goes on at `next`.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source cannot be read.
    #[error("the store that is copied cannot be read")]
    From {
        /// Where to go on; `None` for the beginning.
        next: Option<Cursor>,
        /// What it said.
        #[source]
        source: StoreError,
    },
    /// The target cannot be written.
    #[error("the store that is copied to cannot be written")]
    To {
        /// Where to go on; `None` for the beginning.
        next: Option<Cursor>,
        /// What it said.
        #[source]
        source: StoreError,
    },
    /// The source gives the same place again and again.
    #[error("the walk over the store that is copied does not get beyond `{}`", at.0)]
    Stuck {
        /// The place.
        at: Cursor,
    },
}

/// Copies every live entry of `from` to `to`, from `start` or the beginning on; overwrites nothing.
///
/// # Errors
/// [`CopyError`] at the first page that cannot be read or written; it says where to go on.
pub async fn copy(
    from: &dyn Scan,
    to: &dyn Store,
    start: Option<Cursor>,
    now: impl Fn() -> Timestamp,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Summary, CopyError> {
    let mut summary = Summary::default();
    let mut place = start;
    // What is settled of a page that has to be read again.
    let mut settled = HashSet::new();
    let mut length = PAGE;
    loop {
        let read_at = Instant::now();
        let Page { mut entries, next } = from
            .page(place.as_ref(), length, now())
            .await
            .map_err(|source| CopyError::From { next: place.clone(), source })?;
        entries.retain(|(key, _)| !settled.contains(key));
        let batch = Batch {
            to,
            left: Mutex::new(entries),
            done: Mutex::new((summary, std::mem::take(&mut settled))),
            until: read_at + PAGE_LASTS,
        };
        batch.write(&now).await.map_err(|source| CopyError::To { next: place.clone(), source })?;
        let is_written = batch.left.lock().is_empty();
        (summary, settled) = batch.done.into_inner();
        if !is_written {
            // A source may be so slow that a whole page is old when it comes.
            length = (length / 2).max(1);
            continue;
        }
        length = PAGE;
        settled.clear();
        if let (Some(at), true) = (&place, place == next) {
            return Err(CopyError::Stuck { at: at.clone() });
        }
        progress(&Progress { summary, next: next.clone() });
        if next.is_none() {
            return Ok(summary);
        }
        place = next;
    }
}

/// The entries of one page on their way.
struct Batch<'a> {
    to: &'a dyn Store,
    left: Mutex<Vec<(StoreKey, Entry)>>,
    done: Mutex<(Summary, HashSet<StoreKey>)>,
    until: Instant,
}

impl Batch<'_> {
    /// A few writes at a time, as many as keep a connection busy and leave room for the proxy's.
    async fn write(&self, now: &impl Fn() -> Timestamp) -> Result<(), StoreError> {
        let lane = || self.write_one_by_one(now);
        tokio::try_join!(lane(), lane(), lane(), lane(), lane(), lane(), lane(), lane())?;
        Ok(())
    }

    async fn write_one_by_one(&self, now: &impl Fn() -> Timestamp) -> Result<(), StoreError> {
        while let Some((key, entry)) = self.take() {
            let now = now();
            let outcome =
                if entry.deadline.has_passed(now) { None } else { Some(self.to.create(&key, entry, now).await) };
            let (summary, settled) = &mut *self.done.lock();
            match outcome {
                None => summary.skipped += 1,
                Some(Ok(Written::Done(_))) => summary.copied += 1,
                Some(Ok(Written::Conflict | Written::Gone)) => summary.there += 1,
                Some(Err(StoreError::TooLarge { .. })) => summary.too_large += 1,
                Some(Err(error)) => return Err(error),
            }
            settled.insert(key);
        }
        Ok(())
    }

    /// The next entry, while the page is young enough.
    fn take(&self) -> Option<(StoreKey, Entry)> {
        let mut left = self.left.lock();
        if Instant::now() < self.until { left.pop() } else { None }
    }
}
