//! Sessions in a store: follow the ticket to the newest record, write by compare-and-swap, replay on conflict.

use super::cookies::attributes;
use super::{CommitError, Committed, Event, Origin, SessionError, SessionManager, Task, record_of};
use crate::clock::Timestamp;
use crate::codec::AtRest;
use crate::session::{
    Draft, Farewell, Head, Mark, OwnerKey, Plan, Record, Refusal, Refused, SessionId, Situation, Snapshot, Step,
    StoreKey, Stored, Unreadable, View, encode_alias, encode_tombstone, plan,
};
use crate::store::{Entry, Store, StoreError, Version, Written};
use bytes::Bytes;
use std::time::Duration;

/// How far an old id may be behind: each step is one `X-Session-Regenerate` within the grace, and a browser asks for up
/// to a hundred parts of a page at a time.
const MAX_ALIASES: usize = 100;

/// How often a batch is replayed. Writers in this process queue, so a conflict needs another process.
const MAX_ATTEMPTS: usize = 32;

/// How long a dead id is remembered after a login: requests that came with the old cookie may still be under way, and
/// their answers must not remove the browser's new one.
const TOMBSTONE_STAYS: Duration = Duration::from_secs(10);

/// What a ticket leads to.
pub(super) enum Newest {
    /// A live session, under its newest id.
    Live { id: SessionId, version: Version, snapshot: Snapshot },
    /// Nothing any more.
    Ended { moved: bool },
}

/// How an attempt to carry out a step ended.
enum Outcome {
    Done(Committed),
    /// Somebody else was faster: decide again on what is there now.
    Again,
}

impl SessionManager {
    /// Follows an id, and the aliases behind it, to the session as it is now.
    pub(super) async fn newest(
        &self,
        store: &dyn Store,
        at_rest: AtRest,
        mut id: SessionId,
        now: Timestamp,
    ) -> Result<Newest, StoreError> {
        let ended = Newest::Ended { moved: false };
        for _ in 0..=MAX_ALIASES {
            let key = id.store_key();
            let Some((entry, version)) = store.load(&key, now).await? else { return Ok(ended) };
            let opened = at_rest.open(&id, &key, entry.bytes);
            let kind = opened.as_ref().ok().map(|bytes| Stored::kind(bytes));
            match (opened, kind) {
                (Ok(bytes), Some(Ok(Stored::Record))) => {
                    let Ok(head) = readable(&bytes) else { return Ok(self.unreadable()) };
                    if self.options.expiry.absolute_deadline(head.started_at, head.absolute).has_passed(now) {
                        store.delete(&key).await?;
                        return Ok(ended);
                    }
                    let snapshot = Snapshot { bytes, deadline: entry.deadline };
                    return Ok(Newest::Live { id, version, snapshot });
                }
                (Ok(_), Some(Ok(Stored::Alias(newer)))) => id = newer,
                (Ok(_), Some(Ok(Stored::Tombstone))) => return Ok(Newest::Ended { moved: true }),
                _ => return Ok(self.unreadable()),
            }
        }
        // Too far behind to be followed; the browser has a newer cookie by now, which must stay.
        Ok(Newest::Ended { moved: true })
    }

    fn unreadable(&self) -> Newest {
        tracing::warn!(session = self.options.name, "a stored record cannot be read: treated as no session");
        Newest::Ended { moved: false }
    }

    /// Applies a batch to the newest record, as often as others are faster.
    ///
    /// The first decision is made on what resolving has read: if it writes, the store's compare-and-swap proves that it
    /// was the newest. A decision that writes nothing, or moves a deadline, proves nothing and is made again on the newest
    /// record, unless nothing was asked: most requests only read.
    pub(super) async fn commit_to_store(
        &self,
        store: &dyn Store,
        at_rest: AtRest,
        task: Task<'_>,
    ) -> Result<Committed, CommitError> {
        let (mut current, _turn) = match (&task.session.origin, &task.session.snapshot) {
            (Origin::Stored { id, version, .. }, Some(snapshot)) => {
                let turn = self.writers.turn(&id.store_key()).await;
                (Some((id.clone(), *version, snapshot.clone())), Some(turn))
            }
            _ => (None, None),
        };
        let mut is_newest = current.is_none();
        for _ in 0..MAX_ATTEMPTS {
            let decided = self.decide(current.as_ref(), task);
            let is_proven = match &decided {
                Ok((Plan { step: Step::Nothing, .. }, _)) => task.asks_nothing(),
                Ok((Plan { step: Step::Touch(_), .. }, _)) | Err(CommitError::Refused(_)) => false,
                _ => true,
            };
            if !is_proven && !is_newest {
                current = self.reload(store, at_rest, task).await?;
                is_newest = true;
                continue;
            }
            let (step, before) = decided?;
            let old = current.as_ref().map(|(id, version, _)| (id, *version));
            match self.carry_out(store, at_rest, step, before.as_ref(), old, task).await? {
                Outcome::Done(committed) => return Ok(committed),
                Outcome::Again => {
                    current = self.reload(store, at_rest, task).await?;
                    is_newest = true;
                }
            }
        }
        Err(SessionError::Contended { attempts: MAX_ATTEMPTS }.into())
    }

    async fn reload(
        &self,
        store: &dyn Store,
        at_rest: AtRest,
        task: Task<'_>,
    ) -> Result<Option<(SessionId, Version, Snapshot)>, CommitError> {
        let Origin::Stored { id, .. } = &task.session.origin else { return Ok(None) };
        Ok(match self.newest(store, at_rest, id.clone(), task.now).await? {
            Newest::Live { id, version, snapshot } => Some((id, version, snapshot)),
            Newest::Ended { .. } => None,
        })
    }

    fn decide(
        &self,
        current: Option<&(SessionId, Version, Snapshot)>,
        task: Task<'_>,
    ) -> Result<(Plan, Option<Record>), CommitError> {
        // A record that cannot be read was refused when it was resolved; one that turns so later counts as ended.
        let record = current.and_then(|(.., snapshot)| record_of(&snapshot.bytes).ok().map(|r| (r, snapshot.deadline)));
        let situation = Situation {
            current: record.as_ref().map(|(record, deadline)| (record, *deadline)),
            had_session: task.session.had_session(),
            shown: task.shown,
            remember: task.remember,
        };
        let chance = self.chance(task.may_begin(record.is_some()))?;
        let plan = plan(&situation, task.batch, &self.rules(task.permit), chance, task.now);
        Ok((plan.map_err(CommitError::Refused)?, record.map(|(record, _)| record)))
    }

    async fn carry_out(
        &self,
        store: &dyn Store,
        at_rest: AtRest,
        plan: Plan,
        before: Option<&Record>,
        old: Option<(&SessionId, Version)>,
        task: Task<'_>,
    ) -> Result<Outcome, CommitError> {
        let desk = Desk { store, at_rest, policy: &self.options.name, now: task.now };
        let done = |cookies, event| Outcome::Done(Committed { cookies, event, ..Committed::default() });
        let owner = task.batch.login.as_ref().or(before.and_then(|record| record.owner.as_ref()));
        let others = plan.owners.zip(owner).map(|(_, owner)| OwnerKey::new(&self.options.name, owner.as_str()));
        if plan.owners.is_some() && store.index().is_none() {
            let detail = "Destroy: this store cannot find the other sessions of an owner";
            return Err(CommitError::Refused(Refused::new(Refusal::Rights, detail)));
        }

        let unchanged = old.map(|(id, _)| id).zip(before);
        let mut own = old.map(|(id, _)| id.store_key());
        let step = match (plan.step, old) {
            // Of two answers that both regenerate the id, the browser may keep the cookie of either: one new id serves both.
            (Step::Move(draft, Farewell::Alias), Some((id, _))) if task.session.is_behind(id) => Step::Replace(draft),
            (step, _) => step,
        };
        let outcome = match (step, old) {
            (Step::Nothing, _) => done(self.cookies_as_before(unchanged, task), None),
            (Step::Create(draft), _) | (Step::Replace(draft) | Step::Move(draft, _), None) => {
                let id = desk.create(&draft).await?;
                own = Some(id.store_key());
                let cookies = self.cookies_of_new(&id, None, &draft, task);
                let began = Some(draft.record.lineage);
                Outcome::Done(Committed { cookies, event: Some(Event::Created), began, refused: None })
            }
            (Step::Touch(deadline), Some((id, _))) => {
                desk.store.touch(&id.store_key(), deadline, task.now).await?;
                done(self.cookies_as_before(unchanged, task), Some(Event::Touched))
            }
            (Step::Replace(draft), Some((id, version))) => match desk.replace(id, &draft, version).await? {
                Written::Done(_) => done(self.cookies_after_change(id, before, &draft, task), Some(Event::Changed)),
                Written::Conflict | Written::Gone => Outcome::Again,
            },
            (Step::Move(draft, farewell), Some((id, version))) => {
                match desk.renew(id, version, &draft, farewell, self.options.expiry.regenerate_grace).await? {
                    Some(new) => {
                        own = Some(new.store_key());
                        done(self.cookies_of_new(&new, before, &draft, task), Some(Event::Renewed))
                    }
                    None => Outcome::Again,
                }
            }
            (Step::End(successor), Some((id, version))) => {
                if !desk.end(id, version).await? {
                    return Ok(Outcome::Again);
                }
                let cookies = match successor {
                    Some(draft) => {
                        let new = desk.create(&draft).await?;
                        own = Some(new.store_key());
                        self.cookies_of_new(&new, before, &draft, task)
                    }
                    None => self.removal_lines(task.session, before.map(attributes).unwrap_or_default()),
                };
                done(cookies, Some(Event::Destroyed))
            }
            (Step::Touch(_) | Step::End(_), None) => done(Vec::new(), None),
        };
        if let (Outcome::Done(_), Some(owner)) = (&outcome, others) {
            desk.end_others(&owner, own).await?;
        }
        Ok(outcome)
    }

    /// A session that keeps its id and its cookie's attributes: only a ticket of an older key is issued again, for the id
    /// that the session has by now.
    fn cookies_as_before(&self, unchanged: Option<(&SessionId, &Record)>, task: Task<'_>) -> Vec<String> {
        match unchanged {
            Some((id, record)) if task.session.is_outdated() => self.issue_ticket(id, record, task.session, task.now),
            _ => self.upkeep(task.session, task.now).cookies,
        }
    }

    /// A change of data needs no cookie; a change of the cookie's own attributes does.
    fn cookies_after_change(
        &self,
        id: &SessionId,
        before: Option<&Record>,
        draft: &Draft,
        task: Task<'_>,
    ) -> Vec<String> {
        let (was, is) = (before.map(attributes).unwrap_or_default(), attributes(&draft.record));
        let clock = before.is_some_and(|record| record.absolute != draft.record.absolute);
        if was == is && !clock {
            return self.cookies_as_before(Some((id, &draft.record)), task);
        }
        self.cookies_of_new(id, before, draft, task)
    }

    /// A ticket that the browser does not have. One that came and lies in another place goes away: two that verify would
    /// count as none (CP4).
    fn cookies_of_new(&self, id: &SessionId, before: Option<&Record>, draft: &Draft, task: Task<'_>) -> Vec<String> {
        let is = attributes(&draft.record);
        let mut lines = match before.map(attributes) {
            None => self.removal_everywhere(task.session, Some(is)),
            Some(was) if (was.path, was.domain) != (is.path, is.domain) => vec![self.policy().remove(None, was)],
            Some(_) => Vec::new(),
        };
        lines.extend(self.issue_ticket(id, &draft.record, task.session, task.now));
        lines
    }
}

/// The head of a record, when every byte of it can be read.
fn readable(bytes: &[u8]) -> Result<Head, Unreadable> {
    let view = View::parse(bytes)?;
    view.flashes()?;
    Ok(view.head)
}

/// The counter where records are handed to the store.
struct Desk<'a> {
    store: &'a dyn Store,
    at_rest: AtRest,
    policy: &'a str,
    now: Timestamp,
}

impl Desk<'_> {
    fn entry(&self, id: &SessionId, key: &StoreKey, draft: &Draft) -> Result<Entry, SessionError> {
        let bytes = self.at_rest.seal(id, key, draft.bytes.clone())?;
        let owner = draft.record.owner.as_ref().map(|owner| OwnerKey::new(self.policy, owner.as_str()));
        Ok(Entry { bytes, deadline: draft.deadline, owner })
    }

    /// Writes a new record under a new id. An id of 256 random bits is never taken.
    async fn create(&self, draft: &Draft) -> Result<SessionId, SessionError> {
        let id = SessionId::generate()?;
        let key = id.store_key();
        let written = self.store.create(&key, self.entry(&id, &key, draft)?, self.now).await;
        match self.settled(&key, written, |bytes| self.bears(&id, &key, draft.record.mark, bytes)).await? {
            Written::Done(_) => Ok(id),
            Written::Conflict | Written::Gone => Err(SessionError::Contended { attempts: 1 }),
        }
    }

    async fn replace(&self, id: &SessionId, draft: &Draft, expected: Version) -> Result<Written, SessionError> {
        let key = id.store_key();
        let written = self.store.replace(&key, self.entry(id, &key, draft)?, expected, self.now).await;
        Ok(self.settled(&key, written, |bytes| self.bears(id, &key, draft.record.mark, bytes)).await?)
    }

    /// Writes the record under a new id first, then turns the old one into an alias or a tombstone, by compare-and-swap:
    /// when another writer was faster, the new record is taken back and the batch decided again.
    async fn renew(
        &self,
        old: &SessionId,
        expected: Version,
        draft: &Draft,
        farewell: Farewell,
        grace: Duration,
    ) -> Result<Option<SessionId>, SessionError> {
        let new = self.create(draft).await?;
        let (bytes, stay) = match farewell {
            Farewell::Alias if !grace.is_zero() => (encode_alias(&new), grace),
            Farewell::Alias | Farewell::Dead => (encode_tombstone(), TOMBSTONE_STAYS.max(grace)),
        };
        if self.retire(old, expected, bytes, stay).await? {
            return Ok(Some(new));
        }
        self.store.delete(&new.store_key()).await?;
        Ok(None)
    }

    /// Ends a session by compare-and-swap: one that has moved on since must end under its new id.
    async fn end(&self, id: &SessionId, expected: Version) -> Result<bool, SessionError> {
        let ended = self.retire(id, expected, encode_tombstone(), Duration::ZERO).await?;
        if ended {
            self.store.delete(&id.store_key()).await?;
        }
        Ok(ended)
    }

    /// Puts an alias or a tombstone in the place of the record; `false` when another writer was faster.
    async fn retire(
        &self,
        id: &SessionId,
        expected: Version,
        bytes: Vec<u8>,
        stay: Duration,
    ) -> Result<bool, SessionError> {
        let key = id.store_key();
        let bytes = self.at_rest.seal(id, &key, bytes)?;
        let entry = Entry { bytes: bytes.clone(), deadline: self.now.after(stay), owner: None };
        let written = self.store.replace(&key, entry, expected, self.now).await;
        let written = self.settled(&key, written, |found| *found == bytes).await?;
        Ok(matches!(written, Written::Done(_)))
    }

    /// A write of unknown outcome is looked up before it is reported: what lies there now tells whether it took place.
    async fn settled(
        &self,
        key: &StoreKey,
        written: Result<Written, StoreError>,
        is_ours: impl Fn(&Bytes) -> bool,
    ) -> Result<Written, StoreError> {
        if !written.as_ref().is_err_and(StoreError::is_unknown) {
            return written;
        }
        match self.store.load(key, self.now).await? {
            Some((entry, version)) if is_ours(&entry.bytes) => Ok(Written::Done(version)),
            _ => written,
        }
    }

    /// Whether this record was written by the attempt that left `mark` in it.
    fn bears(&self, id: &SessionId, key: &StoreKey, mark: Mark, bytes: &Bytes) -> bool {
        let opened = self.at_rest.open(id, key, bytes.clone());
        opened.is_ok_and(|bytes| Head::parse(&bytes).is_ok_and(|head| head.mark == mark))
    }

    async fn end_others(&self, owner: &OwnerKey, own: Option<StoreKey>) -> Result<(), StoreError> {
        let Some(index) = self.store.index() else { return Ok(()) };
        for key in index.keys_of(owner, self.now).await? {
            if Some(key) != own {
                self.store.delete(&key).await?;
            }
        }
        Ok(())
    }
}
