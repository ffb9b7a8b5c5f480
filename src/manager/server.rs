//! Sessions in a store: follow the ticket to the newest record, write by compare-and-swap, replay on conflict.

use super::{CommitError, Committed, Event, Origin, SessionError, SessionManager, Task, attributes, record_of};
use crate::clock::Timestamp;
use crate::codec::AtRest;
use crate::session::{
    Draft, Farewell, Head, Mark, OwnerKey, Plan, Record, Refusal, Refused, SessionId, Situation, Snapshot, Step,
    StoreKey, Stored, encode_alias, encode_tombstone, plan,
};
use crate::store::{Entry, Store, StoreError, Version, Written};
use bytes::Bytes;
use std::time::Duration;

/// How far an old id may be behind: each step is one `X-Session-Regenerate` within the grace.
const MAX_ALIASES: usize = 4;

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
                    let Ok(head) = Head::parse(&bytes) else { break };
                    if self.options.expiry.absolute_deadline(head.started_at, head.absolute).has_passed(now) {
                        store.delete(&key).await?;
                        return Ok(ended);
                    }
                    let snapshot = Snapshot { bytes, deadline: entry.deadline };
                    return Ok(Newest::Live { id, version, snapshot });
                }
                (Ok(_), Some(Ok(Stored::Alias(newer)))) => id = newer,
                (Ok(_), Some(Ok(Stored::Tombstone))) => return Ok(Newest::Ended { moved: true }),
                _ => break,
            }
        }
        tracing::warn!(session = self.options.name, "a stored record cannot be read: treated as no session");
        Ok(ended)
    }

    /// Applies a batch to the newest record, as often as others are faster.
    ///
    /// The first decision is made on what resolving has read: if it writes, the store's compare-and-swap proves that it
    /// was the newest. A decision that writes nothing proves nothing and is made again on the newest record.
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
            let (step, before) = match self.decide(current.as_ref(), task) {
                Ok((Plan { step: Step::Nothing | Step::Touch(_), .. }, _)) | Err(CommitError::Refused(_))
                    if !is_newest && !task.batch.is_empty() =>
                {
                    current = self.reload(store, at_rest, task).await?;
                    is_newest = true;
                    continue;
                }
                decided => decided?,
            };
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
        let done = |cookies, event| Ok(Outcome::Done(Committed { cookies, event, refused: None }));
        let owner = before.and_then(|record| record.owner.as_ref());
        let others = plan.owners.zip(owner).map(|(_, owner)| OwnerKey::new(&self.options.name, owner.as_str()));
        if plan.owners.is_some() && store.index().is_none() {
            let detail = "Destroy: this store cannot find the other sessions of an owner";
            return Err(CommitError::Refused(Refused::new(Refusal::Rights, detail)));
        }

        let outcome = match (plan.step, old) {
            (Step::Nothing, _) => Outcome::Done(self.upkeep(task.session, task.now)?),
            (Step::Create(draft), _) | (Step::Replace(draft) | Step::Move(draft, _), None) => {
                let id = desk.create(&draft).await?;
                return done(self.issue_ticket(&id, &draft, task.session, task.now), Some(Event::Created));
            }
            (Step::Touch(deadline), Some((id, _))) => {
                desk.store.touch(&id.store_key(), deadline, task.now).await?;
                let upkeep = self.upkeep(task.session, task.now)?;
                Outcome::Done(Committed { event: Some(Event::Touched), ..upkeep })
            }
            (Step::Replace(draft), Some((id, version))) => match desk.replace(id, &draft, version).await? {
                Written::Done(_) => {
                    let cookies = self.cookies_after_change(id, before, &draft, task)?;
                    Outcome::Done(Committed { cookies, event: Some(Event::Changed), refused: None })
                }
                Written::Conflict | Written::Gone => Outcome::Again,
            },
            (Step::Move(draft, farewell), Some((id, version))) => {
                match desk.renew(id, version, &draft, farewell, self.options.expiry.regenerate_grace).await? {
                    Some(new) => {
                        let cookies = self.issue_ticket(&new, &draft, task.session, task.now);
                        Outcome::Done(Committed { cookies, event: Some(Event::Renewed), refused: None })
                    }
                    None => Outcome::Again,
                }
            }
            (Step::End(successor), Some((id, _))) => {
                desk.store.delete(&id.store_key()).await?;
                let cookies = match successor {
                    Some(draft) => {
                        let id = desk.create(&draft).await?;
                        self.issue_ticket(&id, &draft, task.session, task.now)
                    }
                    None => self.removal_lines(task.session, before.map(attributes).unwrap_or_default()),
                };
                Outcome::Done(Committed { cookies, event: Some(Event::Destroyed), refused: None })
            }
            (Step::Touch(_) | Step::End(_), None) => return done(Vec::new(), None),
        };
        if let (Outcome::Done(_), Some(owner)) = (&outcome, others) {
            desk.end_others(&owner, old.map(|(id, _)| id.store_key())).await?;
        }
        Ok(outcome)
    }

    /// A change of data needs no cookie; a change of the cookie's own attributes does.
    fn cookies_after_change(
        &self,
        id: &SessionId,
        before: Option<&Record>,
        draft: &Draft,
        task: Task<'_>,
    ) -> Result<Vec<String>, SessionError> {
        let (was, is) = (before.map(attributes).unwrap_or_default(), attributes(&draft.record));
        let clock = before.is_some_and(|record| record.absolute != draft.record.absolute);
        if was == is && !clock {
            return Ok(self.upkeep(task.session, task.now)?.cookies);
        }
        let moved = (was.path, was.domain) != (is.path, is.domain);
        let mut lines = if moved { vec![self.policy().remove(None, was)] } else { Vec::new() };
        lines.extend(self.issue_ticket(id, draft, task.session, task.now));
        Ok(lines)
    }
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
        match self.settled(&id, &key, draft.record.mark, written).await? {
            Written::Done(_) => Ok(id),
            Written::Conflict | Written::Gone => Err(SessionError::Contended { attempts: 1 }),
        }
    }

    async fn replace(&self, id: &SessionId, draft: &Draft, expected: Version) -> Result<Written, SessionError> {
        let key = id.store_key();
        let written = self.store.replace(&key, self.entry(id, &key, draft)?, expected, self.now).await;
        Ok(self.settled(id, &key, draft.record.mark, written).await?)
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
        let key = old.store_key();
        let (bytes, stay) = match farewell {
            Farewell::Alias if !grace.is_zero() => (encode_alias(&new), grace),
            Farewell::Alias | Farewell::Dead => (encode_tombstone(), TOMBSTONE_STAYS.max(grace)),
        };
        let bytes = self.at_rest.seal(old, &key, bytes)?;
        let entry = Entry { bytes, deadline: self.now.after(stay), owner: None };
        match self.store.replace(&key, entry, expected, self.now).await? {
            Written::Done(_) => Ok(Some(new)),
            Written::Conflict | Written::Gone => {
                self.store.delete(&new.store_key()).await?;
                Ok(None)
            }
        }
    }

    /// A write of unknown outcome is looked up before it is reported: the mark tells whether it took place.
    async fn settled(
        &self,
        id: &SessionId,
        key: &StoreKey,
        mark: Mark,
        written: Result<Written, StoreError>,
    ) -> Result<Written, StoreError> {
        let Err(StoreError::TimedOut { .. }) = written else { return written };
        let marked = |bytes: &Bytes| {
            self.at_rest
                .open(id, key, bytes.clone())
                .is_ok_and(|bytes| Head::parse(&bytes).is_ok_and(|head| head.mark == mark))
        };
        match self.store.load(key, self.now).await? {
            Some((entry, version)) if marked(&entry.bytes) => Ok(Written::Done(version)),
            _ => written,
        }
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
