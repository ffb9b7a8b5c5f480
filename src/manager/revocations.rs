//! What the operator has ended of a policy, as its store remembers it for every proxy that shares it.
//!
//! One entry of the store holds the [`RevocationList`]. Every proxy reads it twice a second, so that no request asks for
//! it: what is known lies in memory. Two rules close the gaps:
//!
//! * Nobody is shown a session before the list has been read once; nothing is decided on a list that is older than a
//!   second, as after an outage, before it is read again.
//! * A list only grows. Whoever reads one that lacks what is known writes it again: a cache may lose it, a failover may
//!   undo it, and both come to nothing.

use super::newest::Read;
use super::{CensusError, MARGIN, SessionManager};
use crate::clock::Timestamp;
use crate::session::{Lineage, RevocationList, StoreKey};
use crate::store::{Entry, Store, StoreError, Version, Written};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How often the list is to be read, for an end to be known everywhere within a second.
pub const REVOCATIONS_EVERY: Duration = Duration::from_millis(500);

/// How old what is known may be when something is decided.
const MAX_AGE: Duration = Duration::from_secs(1);

/// How long a list is kept at least: the clocks of a policy may be lengthened, and must not bring back who has ended.
const STAYS: Duration = Duration::from_secs(400 * 86_400);

/// How often the list is written again when others are faster.
const MAX_ATTEMPTS: usize = 32;

/// The list of one policy in its store, and what is known of it.
#[derive(Debug)]
pub struct Revocations {
    store: Arc<dyn Store>,
    key: StoreKey,
    policy: String,
    known: ArcSwap<RevocationList>,
    /// When it was read last, in milliseconds from `origin`, and one more: zero is never.
    read_at: AtomicU64,
    origin: Instant,
    /// Of those who read because what is known is too old, one asks and the others wait.
    turn: Mutex<()>,
}

impl Revocations {
    /// The list of a policy in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, policy: &str) -> Self {
        Self {
            store,
            key: StoreKey::of_revocations(policy),
            policy: policy.to_owned(),
            known: ArcSwap::default(),
            read_at: AtomicU64::new(0),
            origin: Instant::now(),
            turn: Mutex::default(),
        }
    }

    /// Whether it lies in this very store, so that it can go on after a reload.
    #[must_use]
    pub fn lies_in(&self, store: &Arc<dyn Store>) -> bool {
        Arc::ptr_eq(&self.store, store)
    }

    /// Whether a session is over, by what is known.
    pub(super) fn covers(&self, lineage: Lineage, started_at: Timestamp) -> bool {
        self.known.load().covers(lineage, started_at)
    }

    /// From which moment on sessions must have begun, by what is known.
    pub(super) fn before(&self) -> Timestamp {
        self.known.load().before
    }

    /// Makes sure that what is known is good enough for what is about to be read.
    pub(super) async fn keep_up(&self, read: Read, now: Timestamp) -> Result<(), StoreError> {
        if self.is_fresh(read) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        if self.is_fresh(read) { Ok(()) } else { self.learn(now).await }
    }

    fn is_fresh(&self, read: Read) -> bool {
        match (self.read_at.load(Ordering::Acquire), read) {
            (0, _) => false,
            (_, Read::Copy) => true,
            (at, Read::Newest) => u128::from(self.elapsed().saturating_sub(at)) <= MAX_AGE.as_millis(),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Reads the list, and writes it again when it lacks what is known.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    pub async fn learn(&self, now: Timestamp) -> Result<(), StoreError> {
        let begun = self.elapsed();
        let (found, before) = self.read(now).await?;
        let mut all = RevocationList::clone(&self.known.load());
        all.drop_passed(now);
        all.merge(&found);
        if all != found {
            let written = self.write(all.clone(), before, now).await;
            match written {
                Ok(true) => {
                    tracing::warn!(
                        session = self.policy,
                        "the store had lost which sessions were ended: it is told again"
                    );
                }
                // What is known holds here all the same, and it is tried again.
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(session = self.policy, %error, "the store is not told again which sessions were ended");
                }
            }
        }
        self.note(&all, now);
        self.read_at.fetch_max(begun, Ordering::AcqRel);
        Ok(())
    }

    /// Ends what `change` ends, for every proxy.
    pub(super) async fn add(
        &self,
        change: &RevocationList,
        stays: Duration,
        now: Timestamp,
    ) -> Result<(), CensusError> {
        for _ in 0..MAX_ATTEMPTS {
            let (mut list, before) = self.read(now).await?;
            list.merge(&self.known.load());
            list.merge(change);
            list.drop_passed(now);
            if list.lineages.len() > RevocationList::MAX_LINEAGES {
                return Err(CensusError::TooMany);
            }
            let before = before.map(|(version, deadline)| (version, deadline.max(now.after(stays))));
            match self.write(list.clone(), before, now).await {
                Ok(true) => {
                    self.note(&list, now);
                    return Ok(());
                }
                // Written twice it comes to the same.
                Ok(false) | Err(StoreError::Lost { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CensusError::Contended { attempts: MAX_ATTEMPTS })
    }

    async fn read(&self, now: Timestamp) -> Result<(RevocationList, Option<(Version, Timestamp)>), StoreError> {
        let found = super::desk::twice_if_cut(|| self.store.load(&self.key, now)).await?;
        let Some((entry, version)) = found else { return Ok((RevocationList::default(), None)) };
        let list = RevocationList::decode(&entry.bytes).unwrap_or_else(|error| {
            // Somebody ended sessions, and it cannot be told which: better one login more.
            tracing::warn!(session = self.policy, %error, "which sessions were ended cannot be read: all are");
            RevocationList { before: now, ..RevocationList::default() }
        });
        Ok((list, Some((version, entry.deadline))))
    }

    async fn write(
        &self,
        list: RevocationList,
        before: Option<(Version, Timestamp)>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let deadline = before.map_or(Timestamp::default(), |(_, deadline)| deadline).max(now.after(STAYS));
        let entry = Entry { bytes: list.encode().into(), deadline, owner: None };
        let written = match before {
            None => self.store.create(&self.key, entry, now).await?,
            Some((version, _)) => self.store.replace(&self.key, entry, version, now).await?,
        };
        Ok(matches!(written, Written::Done(_)))
    }

    fn note(&self, list: &RevocationList, now: Timestamp) {
        self.known.rcu(|known| {
            let mut all = RevocationList::clone(known);
            all.drop_passed(now);
            all.merge(list);
            all
        });
    }
}

impl SessionManager {
    /// Ends every session that has begun by now, on every proxy that shares the store, and for good.
    ///
    /// # Errors
    /// [`CensusError`] when that cannot be, or when the store did not say that it is so.
    pub async fn end_all(&self, now: Timestamp) -> Result<(), CensusError> {
        // Those of this millisecond have begun, too.
        let before = now.after(Duration::from_millis(1));
        self.revoke(&RevocationList { before, ..RevocationList::default() }, now).await
    }

    /// Ends a session wherever it lies, and whatever id it has got meanwhile.
    pub(super) async fn end_lineage(&self, lineage: Lineage, now: Timestamp) -> Result<(), CensusError> {
        let until = now.after(self.options.expiry.longest().saturating_add(MARGIN));
        self.revoke(&RevocationList { lineages: [(lineage, until)].into(), ..RevocationList::default() }, now).await
    }

    async fn revoke(&self, change: &RevocationList, now: Timestamp) -> Result<(), CensusError> {
        let revocations = self.revocations.as_ref().ok_or(CensusError::OutOfReach)?;
        revocations.add(change, self.options.expiry.longest().saturating_add(MARGIN), now).await
    }
}
