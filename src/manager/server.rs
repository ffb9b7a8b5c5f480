//! Sessions in a store: write by compare-and-swap, replay on conflict.

use super::cookies::attributes;
use super::desk::Desk;
use super::newest::{Newest, Read};
use super::seats::{Claim, Newcomer};
use super::trail::{Trail, Whereabouts};
use super::{CommitError, Committed, Event, Origin, SessionError, SessionManager, Task, record_of};
use crate::codec::AtRest;
use crate::session::{
    Draft, Ended, Farewell, Owner, OwnerKey, Plan, Record, Refusal, Refused, Scope, SessionId, Situation, Snapshot,
    Step, StoreKey, plan,
};
use crate::store::{Store, StoreError, Version};

/// How often a batch is replayed. Writers in this process queue, so a conflict needs another process.
const MAX_ATTEMPTS: usize = 32;

/// The session that a decision is made on.
type Current = (SessionId, Version, Snapshot);

/// A session that was begun under a new id.
struct Begun {
    id: SessionId,
    claim: Option<Claim>,
}

impl Begun {
    /// Who had to make room for it.
    fn evicted(&self) -> &[StoreKey] {
        self.claim.as_ref().map_or(&[], Claim::evicted)
    }
}

/// How an attempt to carry out a step ended.
enum Outcome {
    Done(Committed),
    /// Somebody else was faster: decide again on what is there now.
    Again,
}

impl SessionManager {
    /// Applies a batch to the newest record, as often as others are faster.
    ///
    /// The first decision is made on what resolving has read, which may be a copy of some age. If it writes over that
    /// record, the store's compare-and-swap proves that it was the newest: a copy bears the version that it was made of.
    /// A decision that writes nothing, or refuses, proves nothing and is made again on the newest record, unless nothing
    /// was asked: most requests only read. Nothing is begun in the place of a session on the word of a copy.
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
        let mut had_session = task.session.had_session();
        let desk = self.desk(store, at_rest, task.now);
        // Across attempts: what one has ended, no other will find.
        let mut ended = Vec::new();
        for _ in 0..MAX_ATTEMPTS {
            let decided = self.decide(current.as_ref(), had_session, task);
            let is_proven = match &decided {
                // Nobody is refused a seat, or loses one, for a session that is not there any more.
                Ok(_) if self.seats.is_some() && task.batch.login.is_some() => false,
                // The others end before this session proves anything; what was refused here may fit the newest record.
                Ok((Plan { owners: Some(Scope::All), .. }, _)) | Err(CommitError::Refused(_)) => false,
                Ok((Plan { step: Step::Nothing, .. }, _)) => task.asks_nothing(),
                _ => true,
            };
            if !is_proven && !is_newest {
                (current, had_session) = self.reload(store, at_rest, task).await?;
                is_newest = true;
                continue;
            }
            let (plan, before) = decided?;
            let plan = self.consented(plan, task);
            Self::within_budget(&plan, task)?;
            match self.carry_out(&desk, plan, before.as_ref(), current.as_ref(), task, &mut ended).await? {
                Outcome::Done(committed) => return Ok(committed),
                Outcome::Again => {
                    (current, had_session) = self.reload(store, at_rest, task).await?;
                    is_newest = true;
                }
            }
        }
        Err(SessionError::Contended { attempts: MAX_ATTEMPTS }.into())
    }

    /// The newest record, and whether the visitor counts as one with a session: not when it ended for want of anything to
    /// keep. There is nothing in such an end that must not be undone.
    async fn reload(
        &self,
        store: &dyn Store,
        at_rest: AtRest,
        task: Task<'_>,
    ) -> Result<(Option<Current>, bool), CommitError> {
        let had_session = task.session.had_session();
        let Origin::Stored { id, .. } = &task.session.origin else { return Ok((None, had_session)) };
        Ok(match self.follow(store, at_rest, Read::Newest, id.clone(), task.now).await? {
            Newest::Live { id, version, snapshot } => (Some((id, version, snapshot)), had_session),
            Newest::Ended { .. } => (None, had_session),
            Newest::Lapsed => (None, false),
        })
    }

    fn decide(
        &self,
        current: Option<&Current>,
        had_session: bool,
        task: Task<'_>,
    ) -> Result<(Plan, Option<Record>), CommitError> {
        // A record that cannot be read was refused when it was resolved; one that turns so later counts as ended.
        let record = current.and_then(|(.., snapshot)| record_of(&snapshot.bytes).ok().map(|r| (r, snapshot.deadline)));
        let situation = Situation {
            current: record.as_ref().map(|(record, deadline)| (record, *deadline)),
            had_session,
            shown: task.shown,
            lent: task.session.handed.mark(),
            holds: task.session.holds(),
            remember: task.remember,
        };
        let chance = self.chance(task.may_begin(record.is_some()))?;
        let plan = plan(&situation, task.batch, &self.rules(task.session, task.permit), chance, task.now);
        Ok((plan.map_err(CommitError::Refused)?, record.map(|(record, _)| record)))
    }

    /// `ended` gets the keys of other sessions that end by it.
    async fn carry_out(
        &self,
        desk: &Desk<'_>,
        plan: Plan,
        before: Option<&Record>,
        old: Option<&Current>,
        task: Task<'_>,
        ended: &mut Vec<StoreKey>,
    ) -> Result<Outcome, CommitError> {
        let done = |cookies, event| Committed { cookies, event, ..Committed::default() };
        if plan.owners.is_some() && desk.store.index().is_none() {
            let detail = "Destroy: this store cannot find the other sessions of an owner";
            return Err(CommitError::Refused(Refused::new(Refusal::Rights, detail)));
        }
        let owner = plan.whose(task.batch, before).map(|owner| self.owner_key(owner));
        let mut own = old.map(|(id, ..)| id.clone());
        let was = before.zip(old.map(|(.., snapshot)| snapshot.deadline));
        let passage = self.passage(&plan.step, was, own.as_ref().map(SessionId::store_key));
        // Whoever ends all ends the others first: when that fails he is still logged in and can ask for it again.
        if let (Some(Scope::All), Some(owner)) = (plan.owners, &owner) {
            ended.extend(self.end_others(desk, owner, own.clone()).await?);
        }

        let unchanged = old.map(|(id, ..)| id).zip(before);
        let (step, moved) = match (plan.step, old) {
            // Of two answers that both regenerate the id, the browser may keep the cookie of either: one new id serves both.
            (Step::Move(draft, Farewell::Alias), Some((id, ..))) if task.session.is_behind(id) => {
                (Step::Replace(draft), Event::Changed)
            }
            // The successor is there before the session ends: a write that fails costs the visitor neither.
            (Step::End(Some(draft)), Some(_)) => (Step::Move(draft, Farewell::Dead), Event::Destroyed),
            (step, _) => (step, Event::Renewed),
        };
        let committed = match (step, old) {
            (Step::Nothing, _) => done(self.cookies_as_before(unchanged, task), None),
            (Step::Create(draft), _) | (Step::Replace(draft) | Step::Move(draft, _), None) => {
                let begun = self.begin(desk, &draft, None, task).await?;
                ended.extend(begun.evicted());
                let new = begun.id;
                own = Some(new.clone());
                let cookies = self.cookies_of_new(&new, None, &draft, task);
                let lineage = Some(draft.record.lineage);
                let whereabouts = Whereabouts::At(Trail::of_ticket(new));
                Committed { cookies, event: Some(Event::Created), began: lineage, whereabouts, ..Committed::default() }
            }
            (Step::Touch(deadline, noted), Some((id, version, snapshot))) => {
                let owner = before.and_then(|record| record.owner.as_ref()).map(|owner| self.owner_key(owner));
                let bytes = noted.as_deref().unwrap_or(&snapshot.bytes);
                if !desk.prolong(id, bytes, owner, deadline, *version).await? {
                    return Ok(Outcome::Again);
                }
                done(self.cookies_as_before(unchanged, task), Some(Event::Touched))
            }
            (Step::GiveBack(bytes, deadline), Some((id, version, snapshot))) => {
                let owner = before.and_then(|record| record.owner.as_ref()).map(|owner| self.owner_key(owner));
                let lent = task.session.handed.mark();
                let is_given_back =
                    |bytes: &[u8]| record_of(bytes).is_ok_and(|record| !lent.is_some_and(|mark| record.has_lent(mark)));
                if desk.annotate(id, &bytes, owner, deadline, *version, is_given_back).await?.is_none() {
                    return Ok(Outcome::Again);
                }
                let touched = (deadline != snapshot.deadline).then_some(Event::Touched);
                done(self.cookies_as_before(unchanged, task), touched)
            }
            (Step::Replace(draft), Some((id, version, _))) => {
                if !desk.replace(id, &draft, *version).await? {
                    return Ok(Outcome::Again);
                }
                done(self.cookies_after_change(id, before, &draft, task), Some(Event::Changed))
            }
            (Step::Move(draft, farewell), Some(old)) => {
                let Some(begun) = self.move_on(desk, &draft, farewell, old, before, task).await? else {
                    return Ok(Outcome::Again);
                };
                ended.extend(begun.evicted());
                let new = begun.id;
                own = Some(new.clone());
                let cookies = self.cookies_of_new(&new, before, &draft, task);
                Committed { whereabouts: Whereabouts::At(Trail::of_ticket(new)), ..done(cookies, Some(moved)) }
            }
            (Step::End(_), Some((id, version, _))) => {
                if !desk.end(id, *version).await? {
                    return Ok(Outcome::Again);
                }
                self.vacate(desk, before, id).await;
                let cookies = self.removal_lines(task.session, before.map(attributes).unwrap_or_default());
                Committed { whereabouts: Whereabouts::Ended, ..done(cookies, Some(Event::Destroyed)) }
            }
            (Step::Lapse, Some((id, version, _))) => {
                if !desk.lapse(id, *version).await? {
                    return Ok(Outcome::Again);
                }
                let cookies = self.removal_lines(task.session, before.map(attributes).unwrap_or_default());
                Committed { whereabouts: Whereabouts::Ended, ..done(cookies, Some(Event::Emptied)) }
            }
            (Step::Touch(..) | Step::GiveBack(..) | Step::End(_) | Step::Lapse, None) => done(Vec::new(), None),
        };
        if let (Some(Scope::Others), Some(owner)) = (plan.owners, &owner) {
            ended.extend(self.end_others(desk, owner, own.clone()).await?);
        }
        let passage = passage.map(|mut passage| {
            passage.ended = Some(Ended::of(ended));
            if let Some(after) = &mut passage.after {
                after.place = own.as_ref().map(SessionId::store_key);
            }
            passage
        });
        Ok(Outcome::Done(Committed { passage, ..committed }))
    }

    /// Writes a record under a new id, on a seat of its owner's where there are only so many. `old` is the session that
    /// goes on under the new id, or makes way for it.
    async fn begin(
        &self,
        desk: &Desk<'_>,
        draft: &Draft,
        old: Option<(&SessionId, &Record)>,
        task: Task<'_>,
    ) -> Result<Begun, CommitError> {
        let id = SessionId::generate()?;
        let owner = draft.record.owner.as_ref();
        let Some((seats, owner)) = self.seats.as_ref().zip(owner) else {
            desk.create(&id, draft).await?;
            return Ok(Begun { id, claim: None });
        };
        let newcomer = Newcomer {
            owner: self.owner_key(owner),
            key: id.store_key(),
            old: old.filter(|(_, record)| record.owner.as_ref() == Some(owner)).map(|(id, _)| id.store_key()),
            login: draft.record.started_at,
            is_limited: task.batch.login.is_some() && task.batch.destroy != Some(Scope::Others),
        };
        let claim = seats.claim(desk, &newcomer).await?;
        let begun = match desk.create(&id, draft).await {
            Ok(()) => seats.confirm(desk, &claim).await.map_err(SessionError::from),
            Err(error) => Err(error),
        };
        match begun {
            Ok(()) => Ok(Begun { id, claim: Some(claim) }),
            Err(error) => {
                // Its cookie never leaves, so nobody misses it; the error that counts is the first.
                self.take_back(desk, Begun { id, claim: Some(claim) }).await.ok();
                Err(error.into())
            }
        }
    }

    async fn take_back(&self, desk: &Desk<'_>, begun: Begun) -> Result<(), StoreError> {
        let deleted = desk.delete(&begun.id.store_key()).await;
        if let Some((seats, claim)) = self.seats.as_ref().zip(begun.claim) {
            seats.give_back(desk, claim).await;
        }
        deleted
    }

    /// Writes the record under a new id first, then turns the old one into an alias or a tombstone, by compare-and-swap:
    /// when another writer was faster, the new record is taken back and the batch decided again.
    ///
    /// When it cannot be told whether the old id was turned, the new record stays: the old id may lead to it.
    async fn move_on(
        &self,
        desk: &Desk<'_>,
        draft: &Draft,
        farewell: Farewell,
        (old, version, _): &Current,
        before: Option<&Record>,
        task: Task<'_>,
    ) -> Result<Option<Begun>, CommitError> {
        let begun = self.begin(desk, draft, Some(old).zip(before), task).await?;
        let retired = desk.retire(old, *version, &begun.id, farewell, self.options.expiry.regenerate_grace).await;
        if let (Err(_), Some(seats), Some(claim)) = (&retired, &self.seats, &begun.claim) {
            seats.keep_both(desk, claim).await;
        }
        if !retired? {
            self.take_back(desk, begun).await?;
            return Ok(None);
        }
        if before.is_some_and(|before| before.owner != draft.record.owner) {
            self.vacate(desk, before, old).await;
        }
        Ok(Some(begun))
    }

    /// Frees the seat of a session that has ended.
    pub(super) async fn vacate(&self, desk: &Desk<'_>, record: Option<&Record>, id: &SessionId) {
        let owner = record.and_then(|record| record.owner.as_ref());
        if let Some((seats, owner)) = self.seats.as_ref().zip(owner) {
            seats.vacate(desk, &self.owner_key(owner), &[id.store_key()]).await;
        }
    }

    pub(super) fn owner_key(&self, owner: &Owner) -> OwnerKey {
        OwnerKey::new(&self.options.name, owner.as_str())
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
        let ends = |record: &Record| (record.absolute, record.kept_until);
        let clock = before.is_some_and(|record| ends(record) != ends(&draft.record));
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
