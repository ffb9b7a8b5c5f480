//! Sessions in the visitor's own cookie: no store, no compare-and-swap; of two parallel answers the later one wins.

use super::cookies::attributes;
use super::{CommitError, Committed, Event, Origin, Session, SessionManager, Task, record_of};
use crate::clock::Timestamp;
use crate::codec::{OpenedToken, TokenMode, seal_token};
use crate::cookie::Attributes;
use crate::session::{Head, Plan, Record, Refusal, Refused, Situation, Snapshot, Step, View, plan};

impl SessionManager {
    /// The session of a token that verified; `None` when its time is over or it cannot be read.
    pub(super) fn carried(&self, token: OpenedToken, now: Timestamp) -> Option<Snapshot> {
        let head = Head::parse(&token.record).ok()?;
        let end = self.options.expiry.absolute_deadline(head.started_at, head.absolute);
        let alive = !token.deadline.has_passed(now) && !end.has_passed(now);
        alive.then_some(Snapshot { bytes: token.record, deadline: token.deadline })
    }

    pub(super) fn commit_to_browser(&self, mode: TokenMode, task: Task<'_>) -> Result<Committed, CommitError> {
        let Task { session, now, .. } = task;
        let record = session.snapshot.as_ref().and_then(|snapshot| record_of(&snapshot.bytes).ok());
        let deadline = session.snapshot.as_ref().map(|snapshot| snapshot.deadline);
        let situation = Situation {
            current: record.as_ref().zip(deadline),
            had_session: record.is_some(),
            shown: task.shown,
            remember: task.remember,
        };
        let chance = self.chance(task.may_begin(record.is_some()))?;
        let decided = plan(&situation, task.batch, &self.rules(task.permit), chance, now);
        let Plan { step, owners } = decided.map_err(CommitError::Refused)?;
        if owners.is_some() {
            let detail = "Destroy: sessions that browsers keep cannot be ended from afar";
            return Err(CommitError::Refused(Refused::new(Refusal::Rights, detail)));
        }
        let was = record.as_ref().map(attributes).unwrap_or_default();
        let ends = matches!(step, Step::End(_));
        let (cookies, event) = match step {
            Step::Nothing => return Ok(self.upkeep(session, now)),
            Step::Touch(deadline) => {
                let touched = record.as_ref().zip(session.snapshot.as_ref());
                let bytes = touched.map(|(record, snapshot)| (record, snapshot.bytes.clone()));
                let lines =
                    bytes.and_then(|(record, bytes)| self.token_lines(mode, record, &bytes, deadline, session, now));
                (lines.unwrap_or_default(), Event::Touched)
            }
            Step::End(None) => (self.removal_lines(session, was), Event::Destroyed),
            Step::Create(draft) | Step::Replace(draft) | Step::Move(draft, _) | Step::End(Some(draft)) => {
                let lines = self.token_lines(mode, &draft.record, &draft.bytes, draft.deadline, session, now);
                let lines = lines.ok_or_else(|| CommitError::Refused(self.too_large()))?;
                let is = attributes(&draft.record);
                let gone = match &record {
                    None => self.removal_everywhere(session, Some(is)),
                    Some(_) if (was.path, was.domain) != (is.path, is.domain) => self.removal_lines(session, was),
                    Some(_) => Vec::new(),
                };
                let event = match &record {
                    None => Event::Created,
                    Some(_) if ends => Event::Destroyed,
                    Some(_) => Event::Changed,
                };
                ([gone, lines].concat(), event)
            }
        };
        Ok(Committed { cookies, event: Some(event), ..Committed::default() })
    }

    /// The same session under today's key.
    pub(super) fn reissued(
        &self,
        view: &View<'_>,
        snapshot: &Snapshot,
        session: &Session,
        now: Timestamp,
    ) -> Option<Vec<String>> {
        let super::Custody::Browser(mode) = self.custody else { return None };
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
        let end = self.options.expiry.absolute_deadline(record.started_at, record.absolute);
        let own = attributes(record);
        let mut lines = self.policy().issue(&token, own, end, now)?;
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
