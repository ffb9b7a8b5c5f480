//! Sessions in the visitor's own cookie: no store, no compare-and-swap; of two parallel answers the later one wins.

use super::cookies::attributes;
use super::newest::Read;
use super::revocation::Endings;
use super::trail::{Trail, Whereabouts};
use super::{CommitError, Committed, Event, Origin, Session, SessionManager, Task, record_of};
use crate::clock::Timestamp;
use crate::codec::{OpenedToken, TokenMode, seal_token};
use crate::cookie::Attributes;
use crate::session::{Ended, Head, Plan, Record, Refusal, Refused, Scope, Situation, Snapshot, Step, View, plan};
use crate::store::{Store, StoreError};
use bytes::Bytes;

impl SessionManager {
    /// The session of a token that verified; `None` when its time is over or it cannot be read.
    pub(super) fn carried(&self, token: OpenedToken, now: Timestamp) -> Option<Snapshot> {
        let head = Head::parse(&token.record).ok()?;
        let alive = !token.deadline.has_passed(now) && !self.is_over(&head, now);
        alive.then_some(Snapshot { bytes: token.record, deadline: token.deadline })
    }

    /// Whether a session is over by its clocks, or by the operator's newest word.
    pub(super) async fn is_known_to_be_over(&self, snapshot: &Snapshot, now: Timestamp) -> Result<bool, StoreError> {
        self.keep_up(Read::Newest, now).await?;
        Ok(!Head::parse(&snapshot.bytes).is_ok_and(|head| !self.is_over(&head, now)))
    }

    /// Applies a batch to the session that came with the request.
    ///
    /// With a memory for ended sessions, what writes is decided on a session that still lives by now: an answer that was
    /// under way when the session ended elsewhere hands out no cookie. Endings are made before the cookies leave, so a
    /// logout that did not take place does not look like one.
    pub(super) async fn commit_to_browser(
        &self,
        mode: TokenMode,
        revoked: Option<&dyn Store>,
        task: Task<'_>,
    ) -> Result<Committed, CommitError> {
        let endings = revoked.map(|store| self.endings(store, task.now));
        let mut task = task;
        if let (Some(endings), Some(owner)) = (&endings, &task.batch.login) {
            task.now = endings.moment_of_login(owner).await?;
        }
        let mut record = task.session.snapshot.as_ref().and_then(|snapshot| record_of(&snapshot.bytes).ok());
        let mut plan = self.plan_for_browser(record.as_ref(), task)?;
        let is_quiet = matches!(plan, Plan { step: Step::Nothing, owners: None });
        if let (Some(endings), Some(snapshot), false) = (&endings, &task.session.snapshot, is_quiet)
            && (self.is_known_to_be_over(snapshot, task.now).await? || endings.cover(snapshot, Read::Newest).await?)
        {
            record = None;
            plan = self.plan_for_browser(None, task)?;
        }
        let plan = self.consented(plan, task);
        let was = record.as_ref().zip(task.session.snapshot.as_ref().map(|snapshot| snapshot.deadline));
        let passage = self.passage(&plan.step, was, None).map(|mut passage| {
            // Nobody counts what browsers keep.
            passage.ended = plan.owners.map(|_| Ended::uncounted());
            passage
        });
        let committed = self.tokens(mode, plan.step.clone(), record.as_ref(), task)?;
        self.note_ended(endings.as_ref(), &plan, record.as_ref(), task).await?;
        Ok(Committed { passage, ..committed })
    }

    fn plan_for_browser(&self, record: Option<&Record>, task: Task<'_>) -> Result<Plan, CommitError> {
        let deadline = task.session.snapshot.as_ref().map(|snapshot| snapshot.deadline);
        let situation = Situation {
            current: record.zip(deadline),
            had_session: task.session.had_session(),
            shown: task.shown,
            lent: task.session.handed.mark(),
            holds: None,
            remember: task.remember,
        };
        let chance = self.chance(task.may_begin(record.is_some()))?;
        plan(&situation, task.batch, &self.rules(task.session, task.permit), chance, task.now)
            .map_err(CommitError::Refused)
    }

    /// Remembers which sessions are over by this plan.
    async fn note_ended(
        &self,
        endings: Option<&Endings<'_>>,
        plan: &Plan,
        record: Option<&Record>,
        task: Task<'_>,
    ) -> Result<(), CommitError> {
        let Some(endings) = endings else {
            if plan.owners.is_some() {
                let detail = "Destroy: sessions that browsers keep cannot be ended from afar";
                return Err(CommitError::Refused(Refused::new(Refusal::Rights, detail)));
            }
            return Ok(());
        };
        if let Some(owner) = plan.whose(task.batch, record) {
            let own = match &plan.step {
                Step::Create(draft) | Step::Replace(draft) | Step::Move(draft, _) => Some(&draft.record),
                Step::End(successor) => successor.as_ref().map(|draft| &draft.record),
                Step::Nothing | Step::Touch(..) | Step::GiveBack(..) => record,
                Step::Lapse => None,
            };
            let spared = own.filter(|_| plan.owners == Some(Scope::Others));
            endings.end_owner(owner, spared.map(|record| (record.lineage, record.started_at))).await?;
        }
        if let (Step::End(_), Some(record)) = (&plan.step, record) {
            endings.end(record.lineage).await?;
        }
        Ok(())
    }

    /// What a step does to the cookies.
    fn tokens(
        &self,
        mode: TokenMode,
        step: Step,
        record: Option<&Record>,
        task: Task<'_>,
    ) -> Result<Committed, CommitError> {
        let Task { session, now, .. } = task;
        let was = record.map(attributes).unwrap_or_default();
        let ends = matches!(step, Step::End(_));
        let at = |bytes: &[u8], deadline| {
            Whereabouts::At(Trail::of_token(Snapshot { bytes: Bytes::copy_from_slice(bytes), deadline }))
        };
        let (cookies, event, whereabouts) = match step {
            Step::Nothing if record.is_none() && session.snapshot.is_some() => return Ok(Committed::default()),
            // Nothing of a session in a cookie is ever lent.
            Step::Nothing | Step::GiveBack(..) => return Ok(self.upkeep(session, now)),
            Step::Touch(deadline, noted) => {
                let bytes = |snapshot: &'_ Snapshot| noted.map_or_else(|| snapshot.bytes.clone(), Bytes::from);
                let touched = record.zip(session.snapshot.as_ref().map(bytes));
                let lines = touched
                    .as_ref()
                    .and_then(|(record, bytes)| self.token_lines(mode, record, bytes, deadline, session, now));
                let whereabouts = touched.map(|(_, bytes)| at(&bytes, deadline)).unwrap_or_default();
                (lines.unwrap_or_default(), Event::Touched, whereabouts)
            }
            Step::End(None) => (self.removal_lines(session, was), Event::Destroyed, Whereabouts::Ended),
            // No note is made of it: an old copy of the cookie is worth what it was worth before.
            Step::Lapse => (self.removal_lines(session, was), Event::Emptied, Whereabouts::Ended),
            Step::Create(draft) | Step::Replace(draft) | Step::Move(draft, _) | Step::End(Some(draft)) => {
                let lines = self.token_lines(mode, &draft.record, &draft.bytes, draft.deadline, session, now);
                let lines = lines.ok_or_else(|| CommitError::Refused(self.too_large()))?;
                let is = attributes(&draft.record);
                let gone = match record {
                    None => self.removal_everywhere(session, Some(is)),
                    Some(_) if (was.path, was.domain) != (is.path, is.domain) => self.removal_lines(session, was),
                    Some(_) => Vec::new(),
                };
                let event = match record {
                    None => Event::Created,
                    Some(_) if ends => Event::Destroyed,
                    Some(_) => Event::Changed,
                };
                ([gone, lines].concat(), event, at(&draft.bytes, draft.deadline))
            }
        };
        Ok(Committed { cookies, event: Some(event), whereabouts, ..Committed::default() })
    }

    /// The same session under today's key.
    pub(super) fn reissued(
        &self,
        view: &View<'_>,
        snapshot: &Snapshot,
        session: &Session,
        now: Timestamp,
    ) -> Option<Vec<String>> {
        let super::Custody::Browser { mode, .. } = self.custody else { return None };
        let record = view.to_record().ok()?;
        self.token_lines(mode, &record, &snapshot.bytes, snapshot.deadline, session, now)
    }

    /// The `Set-Cookie` lines that carry a session; pieces that came and are not written over are removed.
    fn token_lines(
        &self,
        mode: TokenMode,
        record: &Record,
        bytes: &[u8],
        deadline: Timestamp,
        session: &Session,
        now: Timestamp,
    ) -> Option<Vec<String>> {
        let token = seal_token(&self.ring, &self.binding, mode, bytes, deadline)?;
        let own = attributes(record);
        let mut lines = self.policy().issue(&token, own, self.options.expiry.end(record.age()), now)?;
        let written = |piece: Option<u8>| match piece {
            None => lines.len() == 1,
            Some(number) => lines.len() > 1 && usize::from(number) < lines.len(),
        };
        let stale: Vec<_> = session.pieces.iter().copied().filter(|piece| !written(*piece)).collect();
        let was = if matches!(session.origin, Origin::Carried { .. }) { own } else { Attributes::default() };
        lines.extend(stale.into_iter().map(|piece| self.policy().remove(piece, was)));
        Some(lines)
    }

    fn too_large(&self) -> Refused {
        let options = self.policy().options();
        let room = options.max_bytes * options.max_chunks;
        Refused::new(Refusal::Limit, format!("the session does not fit into its cookie of {room} bytes"))
    }
}
