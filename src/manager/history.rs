//! Writing histories: what answers did to sessions, kept where it outlives them (`history = …`).
//!
//! The history of a session is an entry of its own in the policy's store, listed there under a name of its owner that no
//! session has; logins and ends go into the owner's history, too, since of a session that another one ended only the key
//! was known. Both are written after the answer is durable, by compare-and-swap; that a history could not be written is
//! no reason to withhold a page.

use super::desk::twice_if_cut;
use super::{CommitError, Committed, Origin, Session, SessionError, SessionManager, record_of};
use crate::clock::Timestamp;
use crate::codec::{open_history, seal_history};
use crate::session::{
    Batch, Ended, Happening, History, Lineage, Owner, Passage, Record, Standing, Step, StoreKey, What,
};
use crate::store::{Entry, Store, StoreError, Version, Written};
use std::time::Duration;

/// How often a history is written again when others are faster. Writers of this process queue, so a conflict needs another
/// process.
const MAX_ATTEMPTS: usize = 8;

/// What is to be noted, where, and how long it is kept.
struct Note {
    key: StoreKey,
    until: Timestamp,
    standing: Option<Standing>,
    happening: Option<Happening>,
    /// A history may begin with it.
    begins: bool,
}

impl SessionManager {
    /// Notes what became of an answer in the histories of its session and of the session's owner; nothing at all where the
    /// policy keeps none. `asked` is what the answer asked for, as far as it could be read.
    ///
    /// # Errors
    /// [`SessionError`] when it could not be written; the session is as it was committed all the same.
    pub async fn remember(
        &self,
        session: &Session,
        asked: Option<&Batch>,
        outcome: Result<&Committed, &CommitError>,
        route: &str,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        if self.options.history.is_none() {
            return Ok(());
        }
        let unmoved;
        let (passage, refused) = match outcome {
            Ok(Committed { passage: Some(passage), refused, .. }) => (&**passage, refused.as_ref()),
            Err(CommitError::Refused(refused)) => {
                unmoved = self.unmoved(session);
                (&unmoved, Some(refused))
            }
            _ => return Ok(()),
        };
        let (nothing, refused) = (Batch::default(), refused.map(|refused| refused.reason));
        let notes = passage.notes(asked.unwrap_or(&nothing), refused, route, now);
        let lasts = passage.after.as_ref().or(passage.before.as_ref()).map(|standing| standing.deadline);
        for (standing, happening) in notes.sessions {
            self.note_session(standing, happening, now).await?;
        }
        for (owner, happening) in notes.owners {
            self.note_owner(&owner, happening, lasts.unwrap_or(now), now).await?;
        }
        Ok(())
    }

    /// Notes that no answer has ended a session, but this, where it has a history. It has ended all the same when that
    /// fails.
    pub(super) async fn remember_end(&self, lineage: Lineage, what: What, now: Timestamp) {
        let happening = Some(Happening::by_nobody(what, now));
        let key = lineage.history_key(&self.options.name);
        self.note_or_tell(Note { key, until: now, standing: None, happening, begins: false }, now).await;
    }

    /// Notes that the operator has ended these sessions of an owner.
    pub(super) async fn remember_owner_revoked(&self, owner: &Owner, ended: Ended, now: Timestamp) {
        let happening = Some(Happening { ended, ..Happening::by_nobody(What::Revoked, now) });
        let key = self.owner_key(owner).history_key();
        self.note_or_tell(Note { key, until: now, standing: None, happening, begins: true }, now).await;
    }

    async fn note_or_tell(&self, note: Note, now: Timestamp) {
        let Some(options) = self.options.history else { return };
        let note = Note { until: note.until.after(options.keeps), ..note };
        if let Err(error) = self.note(note, now).await {
            tracing::warn!(session = self.options.name, %error, "the history of a session lacks that it has been ended");
        }
    }

    /// What a step does to a session, where that is to be noted.
    pub(super) fn passage(
        &self,
        step: &Step,
        before: Option<(&Record, Timestamp)>,
        place: Option<StoreKey>,
    ) -> Option<Box<Passage>> {
        self.options.history?;
        let before = before.map(|(record, deadline)| self.standing(record, deadline, place));
        let after = match step {
            Step::Nothing => before.clone(),
            Step::Touch(deadline, _) | Step::GiveBack(_, deadline) => {
                before.clone().map(|before| Standing { deadline: *deadline, ..before })
            }
            Step::Create(draft) | Step::Replace(draft) | Step::Move(draft, _) | Step::End(Some(draft)) => {
                Some(self.standing(&draft.record, draft.deadline, place))
            }
            Step::End(None) | Step::Lapse => None,
        };
        Some(Box::new(Passage { before, after, ended: None }))
    }

    /// The session of a request as an answer left it that changed nothing.
    fn unmoved(&self, session: &Session) -> Passage {
        let standing = session.snapshot.as_ref().filter(|_| !session.is_degraded()).and_then(|snapshot| {
            let place = match &session.origin {
                Origin::Stored { id, .. } => Some(id.store_key()),
                _ => None,
            };
            Some(self.standing(&record_of(&snapshot.bytes).ok()?, snapshot.deadline, place))
        });
        Passage { before: standing.clone(), after: standing, ended: None }
    }

    fn standing(&self, record: &Record, deadline: Timestamp, place: Option<StoreKey>) -> Standing {
        Standing {
            lineage: record.lineage,
            owner: record.owner.clone(),
            revision: record.revision,
            started_at: record.started_at,
            deadline,
            end: self.options.expiry.end(record.age()),
            place,
        }
    }

    async fn note_session(
        &self,
        standing: Standing,
        happening: Option<Happening>,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        let Some(options) = self.options.history else { return Ok(()) };
        let is_over = happening.as_ref().is_some_and(|happening| happening.what.is_end());
        // Most of what bots begin is never seen again, and nobody will ask for it.
        let is_new = happening.as_ref().is_some_and(|happening| happening.what == What::Began);
        let stays = if is_new && standing.owner.is_none() { Duration::ZERO } else { options.keeps };
        let last = if is_over { now } else { standing.deadline.max(now) };
        let (key, until) = (standing.lineage.history_key(&self.options.name), last.after(stays));
        self.note(Note { key, until, standing: Some(standing), happening, begins: true }, now).await
    }

    /// `lasts`: until when there is a session that it may have been about.
    async fn note_owner(
        &self,
        owner: &Owner,
        happening: Happening,
        lasts: Timestamp,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        let Some(options) = self.options.history else { return Ok(()) };
        let until = lasts.max(now).after(options.keeps);
        let (key, happening) = (self.owner_key(owner).history_key(), Some(happening));
        self.note(Note { key, until, standing: None, happening, begins: true }, now).await
    }

    async fn note(&self, note: Note, now: Timestamp) -> Result<(), SessionError> {
        let Note { key, until, standing, happening, begins } = note;
        let (Some(store), Some(options)) = (self.revocation_store(), self.options.history) else { return Ok(()) };
        let _turn = self.writers.turn(&key).await;
        let mut is_unknown = false;
        for _ in 0..MAX_ATTEMPTS {
            let found = self.read_history(&**store, &key, now).await?;
            if found.is_none() && !begins {
                return Ok(());
            }
            let (mut history, before) =
                found.map_or_else(Default::default, |(history, before)| (history, Some(before)));
            let is_noted = happening.as_ref().is_none_or(|happening| history.has(happening));
            if is_unknown && is_noted {
                return Ok(());
            }
            if let Some(happening) = &happening {
                history.note(happening.clone(), options.most);
            }
            if let Some(standing) = &standing {
                history.stand(standing.clone());
            }
            let owner = history.standing.as_ref().and_then(|standing| standing.owner.as_ref());
            let entry = Entry {
                bytes: seal_history(&self.ring, &key, &history.encode())?,
                deadline: before.map_or(until, |(_, before)| until.max(before)),
                owner: owner.map(|owner| self.owner_key(owner).of_histories()),
            };
            let written = match before {
                None => store.create(&key, entry, now).await,
                Some((version, _)) => store.replace(&key, entry, version, now).await,
            };
            match written {
                Ok(Written::Done(_)) => return Ok(()),
                Ok(Written::Conflict | Written::Gone) => {}
                // Whether it took place is seen in the next round.
                Err(StoreError::Lost { .. }) => is_unknown = true,
                Err(error) => return Err(error.into()),
            }
        }
        Err(SessionError::Contended { attempts: MAX_ATTEMPTS })
    }

    /// What lies in the place of a history; one that cannot be read is begun anew.
    pub(super) async fn read_history(
        &self,
        store: &dyn Store,
        key: &StoreKey,
        now: Timestamp,
    ) -> Result<Option<(History, (Version, Timestamp))>, StoreError> {
        let Some((entry, version)) = twice_if_cut(|| store.load(key, now)).await? else { return Ok(None) };
        let opened = open_history(&self.ring, key, &entry.bytes).ok();
        let history = opened.and_then(|bytes| History::decode(&bytes).ok()).unwrap_or_else(|| {
            tracing::warn!(
                session = self.options.name,
                "a history cannot be read, perhaps for want of a key: it begins anew"
            );
            History::default()
        });
        Ok(Some((history, (version, entry.deadline))))
    }
}
