//! The end of sessions that browsers keep: their cookies cannot be called back, so a store remembers which are over.
//!
//! Two kinds of notes, each kept for as long as a session may last at most: that of a lineage, whichever of its cookies
//! comes, and that of an owner, which covers everybody who did not log in after it. A note is never taken back.

use super::desk::twice_if_cut;
use super::newest::Read;
use super::{MARGIN, SessionError, SessionManager};
use crate::clock::Timestamp;
use crate::session::{ENDED, EndedOwner, Lineage, Owner, OwnerKey, Snapshot, StoreKey, View};
use crate::store::{Entry, Store, StoreError, Version, Written};
use std::time::Duration;

/// How often the note of an owner is written again when others are faster.
const MAX_ATTEMPTS: usize = 32;

/// How far another machine's clock may be ahead for a login still to come after the note that it made.
const MAX_SKEW: Duration = Duration::from_secs(60);

/// The notes of one policy, for one attempt.
pub(super) struct Endings<'a> {
    store: &'a dyn Store,
    policy: &'a str,
    stays: Duration,
    now: Timestamp,
}

/// What lies in the place of an owner's note.
enum Found {
    Nothing,
    Note(EndedOwner, Version, Timestamp),
    Unreadable(Version, Timestamp),
}

impl SessionManager {
    pub(super) fn endings<'a>(&'a self, store: &'a dyn Store, now: Timestamp) -> Endings<'a> {
        let stays = self.options.expiry.longest().saturating_add(MARGIN);
        Endings { store, policy: &self.options.name, stays, now }
    }
}

impl Endings<'_> {
    /// Whether the session of a token has been ended. There are no copies of absence (law 9): only the moment of an
    /// owner's note that is known already may be as old as the store's copies are.
    pub(super) async fn cover(&self, snapshot: &Snapshot, read: Read) -> Result<bool, StoreError> {
        let Ok(view) = View::parse(&snapshot.bytes) else { return Ok(false) };
        let lineage = view.head.lineage;
        let of_lineage = async {
            let found = self.read(&lineage.ended_key(self.policy), read).await?;
            Ok::<_, StoreError>(found.is_some())
        };
        let of_owner = async {
            let Some(owner) = view.owner else { return Ok(false) };
            Ok(match self.of_owner(&OwnerKey::new(self.policy, owner), read).await? {
                Found::Nothing => false,
                Found::Note(note, ..) => note.covers(lineage, view.head.started_at),
                // Somebody ended sessions of this owner, and it cannot be told which: better one login more.
                Found::Unreadable(..) => true,
            })
        };
        let (of_lineage, of_owner) = tokio::try_join!(of_lineage, of_owner)?;
        Ok(of_lineage || of_owner)
    }

    /// Ends a session, with every copy of its cookie.
    pub(super) async fn end(&self, lineage: Lineage) -> Result<(), StoreError> {
        let (key, entry) = (lineage.ended_key(self.policy), self.entry(ENDED.to_vec(), Timestamp::default()));
        // There already: it has been ended before.
        twice_if_cut(|| self.store.create(&key, entry.clone(), self.now)).await.map(drop)
    }

    /// Ends all sessions of an owner but for one, by its lineage and its login. Nobody is spared whose session has been
    /// ended by another of the owner's meanwhile: that one may have meant just this session.
    pub(super) async fn end_owner(
        &self,
        owner: &Owner,
        spared: Option<(Lineage, Timestamp)>,
    ) -> Result<(), SessionError> {
        let owner = OwnerKey::new(self.policy, owner.as_str());
        let key = owner.ended_key();
        for _ in 0..MAX_ATTEMPTS {
            let found = self.of_owner(&owner, Read::Newest).await?;
            let spared = spared.filter(|(lineage, login)| match &found {
                Found::Note(note, ..) => !note.covers(*lineage, *login),
                Found::Nothing | Found::Unreadable(..) => true,
            });
            let spared = spared.map(|(lineage, _)| lineage);
            let (until, version, before) = match found {
                Found::Nothing => (self.now, None, Timestamp::default()),
                // Of two proxies whose clocks differ, the later moment covers what the other meant, too.
                Found::Note(note, version, deadline) => (self.now.max(note.until), Some(version), deadline),
                Found::Unreadable(version, deadline) => (self.now, Some(version), deadline),
            };
            let entry = self.entry(EndedOwner { until, spared }.encode(), before);
            let written = match version {
                None => self.store.create(&key, entry, self.now).await,
                Some(version) => self.store.replace(&key, entry, version, self.now).await,
            };
            match written {
                Ok(Written::Done(_)) => return Ok(()),
                // Written twice it comes to the same.
                Ok(Written::Conflict | Written::Gone) | Err(StoreError::Lost { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(SessionError::Contended { attempts: MAX_ATTEMPTS })
    }

    /// The moment that counts as the present for a login of this owner: after the note, which another machine may have
    /// made by a clock that is ahead.
    pub(super) async fn moment_of_login(&self, owner: &Owner) -> Result<Timestamp, SessionError> {
        let until = match self.of_owner(&OwnerKey::new(self.policy, owner.as_str()), Read::Newest).await? {
            Found::Nothing => return Ok(self.now),
            Found::Note(note, ..) => note.until,
            Found::Unreadable(..) => {
                self.end_owner(owner, None).await?;
                self.now
            }
        };
        let after = until.after(Duration::from_millis(1));
        Ok(if self.now.until(after) <= MAX_SKEW { self.now.max(after) } else { self.now })
    }

    async fn of_owner(&self, owner: &OwnerKey, read: Read) -> Result<Found, StoreError> {
        let Some((entry, version)) = self.read(&owner.ended_key(), read).await? else { return Ok(Found::Nothing) };
        Ok(match EndedOwner::decode(&entry.bytes) {
            Ok(note) => Found::Note(note, version, entry.deadline),
            Err(error) => {
                tracing::warn!(session = self.policy, %error, "which sessions of an owner are over cannot be read: all are");
                Found::Unreadable(version, entry.deadline)
            }
        })
    }

    async fn read(&self, key: &StoreKey, read: Read) -> Result<Option<(Entry, Version)>, StoreError> {
        match read {
            Read::Copy => twice_if_cut(|| self.store.peek(key, self.now)).await,
            Read::Newest => twice_if_cut(|| self.store.load(key, self.now)).await,
        }
    }

    fn entry(&self, bytes: Vec<u8>, at_least: Timestamp) -> Entry {
        Entry { bytes: bytes.into(), deadline: self.now.after(self.stays).max(at_least), owner: None }
    }
}
