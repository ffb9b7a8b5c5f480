//! The session manager, one for each `[sessions.<name>]`: the only place where cookie, codec, store and clocks meet.
//!
//! [`SessionManager::resolve`] turns the visitor's cookie into a session, [`SessionManager::commit`] applies what the
//! backend asked for, [`SessionManager::remember`] notes what became of it. Where sessions lie is decided once, by
//! [`Custody`]: `server` keeps them in a store, `browser` in the visitor's cookie.

mod account;
mod amend;
mod bond;
mod browser;
mod census;
mod cookies;
mod creations;
mod csrf;
mod degraded;
mod desk;
mod exclusive;
mod history;
mod lending;
mod newest;
mod options;
mod others;
mod outcome;
mod presented;
mod queue;
mod revocation;
mod revocations;
mod seats;
mod server;
mod trail;
mod writers;

pub use account::{Account, Fate, HistoryError, Row, RunOut, Subject, Told};
pub use bond::{Bond, Looks, OnChange};
pub use census::{CensusError, Glimpse};
pub use creations::{Creations, Rate, Share};
pub use degraded::OnOutage;
pub use exclusive::LockError;
pub use options::{
    Consent, Consume, HistoryOptions, Keep, LockOptions, OnConflict, OnRefused, OwnerCap, PolicyOptions, Protection,
    SiteData, WhenFull,
};
pub use outcome::{CommitError, Committed, Event, Permit, SessionError};
pub use presented::Presented;
pub use revocations::{REVOCATIONS_EVERY, Revocations};
pub use trail::{Trail, Whereabouts};

use crate::clock::Timestamp;
use crate::codec::{AtRest, Binding, Freshness, KeyRing, TokenMode};
use crate::cookie::{CookieName, CookiePolicy};
use crate::session::{
    Batch, Chance, Changed, Handed, Head, Imprint, Lineage, Mark, NoRandomness, Plan, PolicyTag, Reading, Record,
    Refusal, Refused, Rules, SessionId, Shown, Situation, Snapshot, State, Step, Unreadable, View, plan, random,
};
use crate::store::{Store, StoreError, Version};
use exclusive::Lock;
use newest::{Newest, Read};
use queue::Queues;
use seats::Seats;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use writers::Writers;

/// What says that a session has ended is kept longer than any session: its answer may have been under way when it was
/// written.
const MARGIN: Duration = Duration::from_secs(600);

/// Who keeps the sessions of a policy.
#[derive(Debug)]
pub enum Custody {
    /// A store of ours; the cookie is a ticket.
    Server {
        /// The store.
        store: Arc<dyn Store>,
        /// Whether it may read what it holds.
        at_rest: AtRest,
    },
    /// The visitor's browser; the cookie is the session.
    Browser {
        /// How the cookie is protected.
        mode: TokenMode,
        /// Where it is remembered which sessions have ended; without it an old copy of a cookie works until it expires,
        /// and nobody can end the sessions of other browsers.
        revoked: Option<Arc<dyn Store>>,
    },
}

/// Where a session comes from.
#[derive(Debug)]
enum Origin {
    /// The visitor has none.
    Fresh,
    /// A store, under this id (the newer one, where the visitor came with an alias).
    ///
    /// `aliased`: the visitor came with an older id, which `X-Session-Regenerate` has replaced a moment ago.
    Stored { id: SessionId, version: Version, freshness: Freshness, aliased: bool },
    /// The visitor's cookie.
    Carried { freshness: Freshness },
    /// A session of ours that has ended. `moved`: by a login in another tab, whose newer cookie must not be removed.
    Ended { moved: bool },
    /// A store that could not answer: it may have a session, and it may have none.
    Unknown,
}

/// The visitor's session for the time of one request.
#[derive(Debug)]
pub struct Session {
    state: State,
    origin: Origin,
    snapshot: Option<Snapshot>,
    /// Which of the waiting messages the request is handed.
    handed: Handed,
    /// The cookies of our name that came: whole ones, or numbered pieces.
    pieces: presented::Pieces,
    /// What keeps others away from it.
    lock: Option<Lock>,
    /// What the visitor looks like, where the policy binds its sessions.
    imprint: Imprint,
    /// What has changed about him since the session was bound to him.
    changed: Changed,
}

impl Session {
    fn new(state: State, origin: Origin, snapshot: Option<Snapshot>, pieces: presented::Pieces) -> Self {
        let (handed, imprint, changed) = (Handed::Free, Imprint::default(), Changed::default());
        Self { state, origin, snapshot, handed, pieces, lock: None, imprint, changed }
    }

    /// What the visitor's cookie turned out to be.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The visitor came with a session: a batch must not begin another in its place.
    const fn had_session(&self) -> bool {
        self.snapshot.is_some() || matches!(self.origin, Origin::Ended { moved: true } | Origin::Unknown)
    }

    /// The ticket that came is of an older key. It is issued again on the newest record only: the id may have changed.
    const fn is_outdated(&self) -> bool {
        matches!(self.origin, Origin::Stored { freshness: Freshness::Outdated, .. })
    }

    /// Whether the session has got a newer id than the visitor came with: by now it is `id`.
    fn is_behind(&self, id: &SessionId) -> bool {
        matches!(&self.origin, Origin::Stored { id: known, aliased, .. } if *aliased || known != id)
    }

    /// The live session as it was when the request came, or the copy that stands in for it.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }
}

/// One session policy at work.
#[derive(Debug)]
pub struct SessionManager {
    options: PolicyOptions,
    custody: Custody,
    ring: Arc<KeyRing>,
    binding: Binding,
    tag: PolicyTag,
    writers: Arc<Writers>,
    /// Who waits for a session to be his alone.
    queues: Queues,
    /// What the operator has ended, where a store can remember it.
    revocations: Option<Arc<Revocations>>,
    /// The seats of owners, where they may have so many sessions at a time.
    seats: Option<Seats>,
    /// Where the marks of this process begin; with a count they never repeat.
    first_mark: u64,
    marks: AtomicU64,
}

impl SessionManager {
    /// A manager for one policy.
    ///
    /// # Errors
    /// [`NoRandomness`] when the system's generator fails.
    pub fn new(options: PolicyOptions, custody: Custody, ring: Arc<KeyRing>) -> Result<Self, NoRandomness> {
        let binding = Binding::new(options.cookie.name().as_str(), &options.name);
        let first_mark = u64::from_be_bytes(random()?);
        let (writers, tag) = (Arc::new(Writers::new()), PolicyTag::new(&options.name));
        let capped = options.max_sessions_per_owner.filter(|_| matches!(custody, Custody::Server { .. }));
        let seats = capped.map(|cap| Seats::new(cap, options.expiry.longest(), options.not_before));
        let (queues, revocations, marks) = (Queues::default(), None, AtomicU64::new(0));
        Ok(Self { options, custody, ring, binding, tag, writers, queues, revocations, seats, first_mark, marks })
    }

    /// The same manager, which heeds what the operator ends.
    #[must_use]
    pub fn heeding(mut self, revocations: Arc<Revocations>) -> Self {
        if let Some(seats) = &mut self.seats {
            seats.heed(Arc::clone(&revocations));
        }
        self.revocations = Some(revocations);
        self
    }

    /// The same manager in the place of another of its policy, as after a reload: their writers share the queues, for
    /// exchanges that began before go on with the other.
    #[must_use]
    pub fn succeeding(mut self, before: &Self) -> Self {
        self.writers = Arc::clone(&before.writers);
        self.queues = before.queues.clone();
        if let (Some(seats), Some(before)) = (&mut self.seats, &before.seats) {
            seats.succeed(before);
        }
        self
    }

    /// What the operator has ended, where a store can remember it.
    #[must_use]
    pub const fn revocations(&self) -> Option<&Arc<Revocations>> {
        self.revocations.as_ref()
    }

    /// Makes sure that what the operator has ended is known well enough for what is about to be read.
    async fn keep_up(&self, read: Read, now: Timestamp) -> Result<(), StoreError> {
        match &self.revocations {
            Some(revocations) => revocations.keep_up(read, now).await,
            None => Ok(()),
        }
    }

    /// The policy.
    #[must_use]
    pub const fn options(&self) -> &PolicyOptions {
        &self.options
    }

    /// The name of its cookie.
    #[must_use]
    pub const fn cookie_name(&self) -> &CookieName {
        self.options.cookie.name()
    }

    /// The store that keeps the sessions, where one does.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<dyn Store>> {
        match &self.custody {
            Custody::Server { store, .. } => Some(store),
            Custody::Browser { .. } => None,
        }
    }

    /// Finds the session of the cookies that the visitor brought.
    ///
    /// A bad cookie is no error: whatever is wrong with it, the visitor is anonymous (CP8). Without a cookie that we
    /// issued no store is asked.
    ///
    /// # Errors
    /// [`SessionError`] when the store cannot answer.
    pub async fn resolve(&self, presented: Presented<'_>, now: Timestamp) -> Result<Session, SessionError> {
        let session = |state, origin, snapshot| Session::new(state, origin, snapshot, presented.pieces());
        if presented.is_empty() {
            return Ok(session(State::None, Origin::Fresh, None));
        }
        match &self.custody {
            Custody::Server { store, at_rest } => {
                let Some((id, freshness)) = presented.ticket(&self.ring, &self.binding) else {
                    return Ok(session(State::Invalid, Origin::Fresh, None));
                };
                let read = if self.options.holds_cookies { Read::Newest } else { Read::Copy };
                Ok(match self.follow(&**store, *at_rest, read, id.clone(), now).await? {
                    Newest::Live { id: newest, version, snapshot } => {
                        let aliased = newest != id;
                        session(State::Live, Origin::Stored { id: newest, version, freshness, aliased }, Some(snapshot))
                    }
                    Newest::Ended { moved } => session(State::Expired, Origin::Ended { moved }, None),
                    Newest::Lapsed => session(State::Expired, Origin::Ended { moved: false }, None),
                })
            }
            Custody::Browser { mode, revoked } => {
                let Some(token) = presented.token(&self.ring, &self.binding, *mode) else {
                    return Ok(session(State::Invalid, Origin::Fresh, None));
                };
                let freshness = token.freshness;
                self.keep_up(Read::Copy, now).await?;
                let mut carried = self.carried(token, now);
                if let (Some(store), Some(snapshot)) = (revoked, &carried)
                    && self.endings(&**store, now).cover(snapshot, Read::Copy).await?
                {
                    carried = None;
                }
                Ok(match carried {
                    Some(snapshot) => session(State::Live, Origin::Carried { freshness }, Some(snapshot)),
                    None => session(State::Expired, Origin::Ended { moved: false }, None),
                })
            }
        }
    }

    /// When the session of this view ends however active it is.
    #[must_use]
    pub fn absolute_deadline(&self, view: &View<'_>) -> Timestamp {
        self.options.expiry.absolute_deadline(view.head.started_at, view.head.absolute)
    }

    /// Whether an answer without any command leaves this session as it is and owes the browser no cookie.
    #[must_use]
    pub fn is_settled(&self, session: &Session, permit: Permit<'_>, now: Timestamp) -> bool {
        let owes_nothing = match session.origin {
            Origin::Fresh => session.state != State::Invalid,
            Origin::Stored { freshness, .. } | Origin::Carried { freshness } => freshness == Freshness::Current,
            Origin::Ended { moved } => moved,
            Origin::Unknown => return true,
        };
        owes_nothing && session.handed.mark().is_none() && !self.is_touch_due(session, permit, now)
    }

    /// The `Set-Cookie` lines of an answer that we write ourselves: a dead cookie is removed there, too (SL11).
    #[must_use]
    pub fn farewell(&self, session: &Session, now: Timestamp) -> Vec<String> {
        self.upkeep(session, now).cookies
    }

    /// Applies what the backend asked for, and says which cookies the answer must carry.
    ///
    /// `asked` is the batch, or why it could not be read; `None` when the answer carried no command. When it returns,
    /// everything is as durable as the store promises.
    ///
    /// # Errors
    /// [`CommitError::Refused`] when the batch cannot be applied whole and the policy wants that to be loud; nothing was
    /// changed then. [`CommitError::Session`] when the store cannot answer.
    pub async fn commit(
        &self,
        session: &Session,
        asked: Result<Option<&Batch>, Refused>,
        permit: Permit<'_>,
        shown: Shown<'_>,
        now: Timestamp,
    ) -> Result<Committed, CommitError> {
        if session.is_degraded() {
            return self.commit_degraded(asked, permit);
        }
        let asked = asked.and_then(|batch| batch.map_or(Ok(()), |batch| batch.check(permit.rights)).map(|()| batch));
        let refused = match asked {
            Ok(None)
                if (shown.flashes.is_empty() || shown.reading != Reading::All)
                    && session.handed.mark().is_none()
                    && !shown.refusal
                    && !session.is_outdated()
                    && !self.is_touch_due(session, permit, now) =>
            {
                return Ok(self.upkeep(session, now));
            }
            Ok(batch) => {
                let quiet = batch.is_none();
                let batch = batch.cloned().unwrap_or_default();
                match self.attempt(session, &batch, permit, shown, None, now).await {
                    Err(CommitError::Refused(refused)) => refused,
                    // There is no session to remember it in.
                    Err(CommitError::Flood(_)) if self.options.on_refused == OnRefused::Deliver => {
                        return Ok(self.upkeep(session, now));
                    }
                    // The backend asked for nothing: that activity or a read message is not written down is no reason
                    // to withhold its page.
                    Err(CommitError::Session(error)) if quiet => {
                        return Ok(Committed { unwritten: Some(error), ..self.upkeep(session, now) });
                    }
                    done => return done,
                }
            }
            Err(refused) => refused,
        };
        if self.loudness(&refused) == OnRefused::Error {
            return Err(CommitError::Refused(refused));
        }
        let remember = Some(refused.reason);
        let committed = self.attempt(session, &Batch::default(), permit, shown, remember, now).await?;
        Ok(Committed { refused: Some(refused), ..committed })
    }

    /// Whether a batch is within the route's rights and could be applied to the session as it was when the request came;
    /// writes nothing.
    ///
    /// # Errors
    /// As [`SessionManager::commit`], as far as that can be told without the store.
    pub fn rehearse(
        &self,
        session: &Session,
        batch: &Batch,
        permit: Permit<'_>,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        if session.is_degraded() {
            return self.commit_degraded(Ok(Some(batch)), permit).map(drop);
        }
        let record = session.snapshot.as_ref().and_then(|snapshot| record_of(&snapshot.bytes).ok());
        let situation = Situation {
            current: record.as_ref().zip(session.snapshot.as_ref().map(|snapshot| snapshot.deadline)),
            had_session: session.had_session(),
            shown: Shown::NOTHING,
            lent: None,
            holds: None,
            remember: None,
        };
        let chance = Chance { lineage: Lineage::from_bytes([0; 12]), mark: [0; 8] };
        let decided = batch.check(permit.rights);
        match decided.and_then(|()| plan(&situation, batch, &self.rules(session, permit), chance, now)) {
            Err(refused) if self.loudness(&refused) == OnRefused::Error => Err(CommitError::Refused(refused)),
            _ => Ok(()),
        }
    }

    /// Without consent nothing begins, whatever the backend asked for.
    fn consented(&self, plan: Plan, task: Task<'_>) -> Plan {
        let Step::Create(draft) = &plan.step else { return plan };
        let consents = match &self.options.consent {
            None => true,
            Some(Consent::Cookie(_)) => task.permit.consents,
            Some(Consent::Key(key)) => draft.record.values.contains_key(key),
        };
        if consents {
            return plan;
        }
        tracing::debug!(session = self.options.name, "a batch was ignored: the visitor has not consented to a session");
        Plan { step: Step::Nothing, owners: None }
    }

    /// Takes what a plan begins from the budget of the visitor's address. Who logs in has shown who he is.
    fn within_budget(plan: &Plan, task: Task<'_>) -> Result<(), CommitError> {
        match (&plan.step, task.permit.share) {
            (Step::Create(draft), Some(share)) if draft.record.owner.is_none() && !share.take(task.now) => {
                let detail = "the visitor's address has begun as many sessions as it may for now";
                Err(CommitError::Flood(Refused::new(Refusal::Limit, detail)))
            }
            _ => Ok(()),
        }
    }

    /// What the policy wants to happen to the page when a batch is refused.
    const fn loudness(&self, refused: &Refused) -> OnRefused {
        match refused.reason {
            Refusal::Condition => match self.options.on_conflict {
                OnConflict::Deliver => OnRefused::Deliver,
                OnConflict::Error | OnConflict::Replay => OnRefused::Error,
            },
            // What another request has overtaken does not pass as if it counted, whatever the policy says of the rest.
            Refusal::Lock => OnRefused::Error,
            _ => self.options.on_refused,
        }
    }

    /// Whether the backend shall be asked again whose batch was refused for this reason. A session that nobody else can
    /// change is no other the next time.
    #[must_use]
    pub fn wants_replay(&self, session: &Session, refused: &Refused) -> bool {
        let may_be_another = matches!(session.origin, Origin::Stored { .. });
        refused.reason == Refusal::Condition && self.options.on_conflict == OnConflict::Replay && may_be_another
    }

    async fn attempt(
        &self,
        session: &Session,
        batch: &Batch,
        permit: Permit<'_>,
        shown: Shown<'_>,
        remember: Option<Refusal>,
        now: Timestamp,
    ) -> Result<Committed, CommitError> {
        let task = Task { session, batch, permit, shown, remember, now };
        match &self.custody {
            Custody::Server { store, at_rest } => self.commit_to_store(&**store, *at_rest, task).await,
            Custody::Browser { mode, revoked } => self.commit_to_browser(*mode, revoked.as_deref(), task).await,
        }
    }

    /// Whether it is time to write down that the session is in use, or to hand its cookie out again.
    fn is_touch_due(&self, session: &Session, permit: Permit<'_>, now: Timestamp) -> bool {
        let expiry = &self.options.expiry;
        let may_be_due = permit.touch || expiry.probation.is_some();
        let Some(snapshot) = session.snapshot.as_ref().filter(|_| may_be_due) else { return false };
        // Beyond its fixed part a record is read only where the cookie's own life may be in it.
        let age = match expiry.browser {
            None => Head::parse(&snapshot.bytes).map(|head| head.age()),
            Some(_) => View::parse(&snapshot.bytes).map(|view| view.age()),
        };
        age.is_ok_and(|age| {
            let renewed = expiry.kept_until(age, now).filter(|_| permit.touch);
            expiry.touch_due(expiry.clocks(age, snapshot.deadline), permit.touch, now).is_some()
                || expiry.renewal_due(age.kept_until, renewed)
        })
    }

    fn rules<'a>(&'a self, session: &Session, permit: Permit<'a>) -> Rules<'a> {
        let PolicyOptions { expiry, limits, choices, .. } = &self.options;
        let PolicyOptions { notes_use, hands_out_tokens, .. } = self.options;
        let keys = &permit.rights.write;
        let imprint = session.imprint;
        Rules { expiry, limits, choices, keys, touch: permit.touch, notes_use, hands_out_tokens, imprint }
    }

    /// Chance for one attempt; a lineage is drawn only where a session may begin.
    fn chance(&self, begins: bool) -> Result<Chance, NoRandomness> {
        let lineage = if begins { Lineage::generate()? } else { Lineage::from_bytes([0; 12]) };
        Ok(Chance { lineage, mark: self.mark() })
    }

    /// A mark that no other write has.
    fn mark(&self) -> Mark {
        let count = self.marks.fetch_add(1, Ordering::Relaxed);
        self.first_mark.wrapping_add(count).to_be_bytes()
    }

    const fn policy(&self) -> &CookiePolicy {
        &self.options.cookie
    }
}

/// One attempt to commit.
#[derive(Clone, Copy)]
struct Task<'a> {
    session: &'a Session,
    batch: &'a Batch,
    permit: Permit<'a>,
    shown: Shown<'a>,
    remember: Option<Refusal>,
    now: Timestamp,
}

impl Task<'_> {
    /// Neither the backend nor the browser is owed anything that depends on the newest record.
    fn asks_nothing(&self) -> bool {
        self.batch.is_empty() && self.remember.is_none() && !self.session.is_outdated()
    }

    /// Whether the batch may begin a session, and so needs a lineage.
    fn may_begin(&self, has_current: bool) -> bool {
        !has_current || self.batch.invalidate || self.batch.destroy.is_some() || self.batch.login.is_some()
    }
}

/// The record of bytes that resolving has read before.
fn record_of(bytes: &[u8]) -> Result<Record, Unreadable> {
    View::parse(bytes)?.to_record()
}
