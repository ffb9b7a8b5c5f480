//! What an operator may know about sessions, and how he ends them.
//!
//! A record in a store is sealed, and nobody has its key but the visitor. Its label is not: by that a walk over the store
//! finds a session, and tells whose policy it is. Where a store cannot be walked its sessions are found by their owner
//! only; where browsers keep them they are not found at all.

use super::desk::{Desk, twice_if_cut};
use super::{Custody, SessionError, SessionManager};
use crate::clock::Timestamp;
use crate::codec::AtRest;
use crate::session::{Ended, Head, Lineage, Owner, OwnerKey, StoreKey, View, What};
use crate::store::{Cursor, Entry, Store, StoreError};
use std::sync::Arc;

/// Why a question about sessions has no answer, or sessions have not been ended.
#[derive(Debug, thiserror::Error)]
pub enum CensusError {
    /// The store cannot be walked, or there is none.
    #[error("its sessions cannot be listed one by one")]
    NotListed,
    /// The store cannot find the sessions of an owner, or there is none.
    #[error("the sessions of a user cannot be found there")]
    NotFound,
    /// Browsers keep the sessions, and no store remembers which have ended.
    #[error(
        "its sessions lie in the browsers and cannot be ended from here: give it a `revocation` store, or set `not_before`"
    )]
    OutOfReach,
    /// The list of ended sessions is full.
    #[error("too many single sessions have been ended of late: end all of a user, or all of the policy")]
    TooMany,
    /// Others were always faster.
    #[error("the store was busy: others were faster {attempts} times")]
    Contended {
        /// How often it was tried.
        attempts: usize,
    },
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session could not be ended.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// What may be known about one session in a store.
#[derive(Clone, Debug)]
pub struct Glimpse {
    /// The name that it keeps; its reference.
    pub lineage: Lineage,
    /// Somebody is logged in.
    pub is_owned: bool,
    /// When its absolute clock began.
    pub started_at: Timestamp,
    /// When it ends unless it is used.
    pub deadline: Timestamp,
    /// The bytes that it takes in the store.
    pub size: usize,
    /// The names of its keys with the lengths of their values, where the store may read what it holds.
    pub keys: Option<Vec<(String, usize)>>,
    key: StoreKey,
    owner: Option<OwnerKey>,
}

impl SessionManager {
    /// Whether the sessions can be listed one by one.
    #[must_use]
    pub fn lists(&self) -> bool {
        self.store().is_some_and(|store| store.scan().is_some())
    }

    /// Whether the sessions of an owner can be found.
    #[must_use]
    pub fn finds_owners(&self) -> bool {
        self.store().is_some_and(|store| store.index().is_some())
    }

    /// Whether sessions can be ended that did not come with a request.
    #[must_use]
    pub const fn revokes(&self) -> bool {
        self.revocations.is_some()
    }

    /// The sessions on about so many entries of the store, and where the walk goes on.
    ///
    /// # Errors
    /// [`CensusError::NotListed`], or [`CensusError::Store`] when the store cannot answer.
    pub async fn page(
        &self,
        from: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<(Vec<Glimpse>, Option<Cursor>), CensusError> {
        let Custody::Server { store, at_rest } = &self.custody else { return Err(CensusError::NotListed) };
        let scan = store.scan().ok_or(CensusError::NotListed)?;
        let page = scan.page(from, limit, now).await?;
        let seen = page.entries.iter().filter_map(|(key, entry)| self.glimpse(*at_rest, key, entry, now));
        Ok((seen.collect(), page.next))
    }

    /// At most so many sessions of an owner.
    ///
    /// # Errors
    /// [`CensusError::NotFound`], or [`CensusError::Store`] when the store cannot answer.
    pub async fn owned_by(&self, owner: &Owner, limit: usize, now: Timestamp) -> Result<Vec<Glimpse>, CensusError> {
        let Custody::Server { store, at_rest } = &self.custody else { return Err(CensusError::NotFound) };
        let index = store.index().ok_or(CensusError::NotFound)?;
        let owner = self.owner_key(owner);
        let mut seen = Vec::new();
        for key in twice_if_cut(|| index.keys_of(&owner, now)).await? {
            if seen.len() == limit {
                break;
            }
            if let Some((entry, _)) = twice_if_cut(|| store.load(&key, now)).await? {
                seen.extend(self.glimpse(*at_rest, &key, &entry, now));
            }
        }
        Ok(seen)
    }

    /// Ends a session that was seen, under whatever id it goes on by now.
    ///
    /// # Errors
    /// [`CensusError`] when it may go on.
    pub async fn end_seen(&self, seen: &Glimpse, now: Timestamp) -> Result<(), CensusError> {
        let Custody::Server { store, at_rest } = &self.custody else { return Err(CensusError::OutOfReach) };
        match self.end_lineage(seen.lineage, now).await {
            // Nobody loses by it but who changes his id at this very moment.
            Ok(()) | Err(CensusError::TooMany) => {}
            Err(error) => return Err(error),
        }
        let desk = self.desk(&**store, *at_rest, now);
        desk.delete(&seen.key).await?;
        if let Some((seats, owner)) = self.seats.as_ref().zip(seen.owner) {
            seats.vacate(&desk, &owner, &[seen.key]).await;
        }
        self.remember_end(seen.lineage, What::Revoked, now).await;
        Ok(())
    }

    /// Ends the session of a lineage where it cannot be looked for; nobody can tell whether there was one.
    ///
    /// # Errors
    /// [`CensusError`] when it may go on.
    pub async fn end_unseen(&self, lineage: Lineage, now: Timestamp) -> Result<(), CensusError> {
        match &self.custody {
            Custody::Browser { revoked: Some(store), .. } => self.endings(&**store, now).end(lineage).await?,
            _ => self.end_lineage(lineage, now).await?,
        }
        self.remember_end(lineage, What::Revoked, now).await;
        Ok(())
    }

    /// Ends all sessions of an owner.
    ///
    /// # Errors
    /// [`CensusError`] when some may go on.
    pub async fn end_owned_by(&self, owner: &Owner, now: Timestamp) -> Result<(), CensusError> {
        let ended = match &self.custody {
            Custody::Server { store, at_rest } if store.index().is_some() => {
                let desk = self.desk(&**store, *at_rest, now);
                Ended::of(&self.end_others(&desk, &self.owner_key(owner), None).await?)
            }
            Custody::Server { .. } => return Err(CensusError::NotFound),
            Custody::Browser { revoked: Some(store), .. } => {
                self.endings(&**store, now).end_owner(owner, None).await?;
                Ended::uncounted()
            }
            Custody::Browser { revoked: None, .. } => return Err(CensusError::OutOfReach),
        };
        self.remember_owner_revoked(owner, ended, now).await;
        Ok(())
    }

    /// What an entry tells about a live session of this policy.
    fn glimpse(&self, at_rest: AtRest, key: &StoreKey, entry: &Entry, now: Timestamp) -> Option<Glimpse> {
        let label = at_rest.label(&entry.bytes).filter(|label| label.policy == self.tag)?;
        let record = at_rest.readable(&entry.bytes);
        let is_over = match record.and_then(|record| Head::parse(record).ok()) {
            Some(head) => self.is_over(&head, now),
            // Of a sealed record it is not known whether its absolute clock is its own: it may be shown for longer.
            None => self.is_revoked(label.lineage, label.started_at),
        };
        let keys = record
            .and_then(|record| View::parse(record).ok())
            .map(|view| view.values.iter().map(|item| (item.name.to_owned(), item.text.len())).collect());
        (!is_over).then(|| Glimpse {
            lineage: label.lineage,
            is_owned: entry.owner.is_some(),
            started_at: label.started_at,
            deadline: entry.deadline,
            size: entry.bytes.len(),
            keys,
            key: *key,
            owner: entry.owner,
        })
    }

    pub(super) fn desk<'a>(&'a self, store: &'a dyn Store, at_rest: AtRest, now: Timestamp) -> Desk<'a> {
        Desk { store, at_rest, policy: &self.options.name, tag: self.tag, now }
    }

    /// The store that remembers what has ended, where one does.
    #[must_use]
    pub fn revocation_store(&self) -> Option<&Arc<dyn Store>> {
        match &self.custody {
            Custody::Server { store, .. } => Some(store),
            Custody::Browser { revoked, .. } => revoked.as_ref(),
        }
    }
}
