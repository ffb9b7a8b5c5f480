//! Reading histories: what happened to a session, or to the sessions of an owner, and what became of each.
//!
//! The end of a session that no answer to it caused stands in no history of its own: another session ended it, or the
//! operator, and its owner's history tells; or a clock did, and how it stood at last tells. Nothing is written here.

use super::desk::twice_if_cut;
use super::newest::Read;
use super::{Custody, SessionManager};
use crate::clock::Timestamp;
use crate::session::{Happening, History, Lineage, Owner, Standing};
use crate::store::{Store, StoreError};

/// Whose history is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// That of the session with this reference.
    Session(Lineage),
    /// That of the sessions of an owner.
    Owner(Owner),
}

/// What can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The sessions, and what became of them.
    pub sessions: Vec<Told>,
    /// What happened, the oldest first.
    pub rows: Vec<Row>,
    /// How many older happenings are kept no more.
    pub dropped: u64,
    /// There are more sessions than are told of.
    pub is_cut: bool,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// How it stood at last.
    pub standing: Standing,
    /// What became of it.
    pub fate: Fate,
}

/// One happening, in the history where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The session in whose history it stands; `None`: its owner's.
    pub of: Option<Lineage>,
    /// What happened.
    pub happening: Happening,
}

/// What became of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lives until this moment, unless it is used.
    Live(Timestamp),
    /// It may live until then: only the visitor's browser knows.
    MayLive(Timestamp),
    /// This ended it: an answer to it, one to another session of its owner, or the operator.
    Ended(Box<Happening>),
    /// One of its clocks ended it.
    Expired(Timestamp, RunOut),
    /// The operator ended all that began before this moment (`not_before`, `sessions revoke`).
    NotBefore(Timestamp),
    /// The operator ended it; nobody noted when.
    Revoked,
    /// It is not in its store, although nothing that is known has ended it.
    Missing,
}

/// Which clock ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOut {
    /// It was not used for so long.
    Idle,
    /// It may not last longer, however much it is used, or its cookie may not.
    Absolute,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Nothing is kept.
    #[error("no history is kept of its sessions: say how much with `history`, such as `history = 20`")]
    NotKept,
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a store says about a session.
#[derive(Clone, Copy)]
enum Seen {
    There(Timestamp),
    Gone,
    /// It lies in no store.
    Unseen,
}

impl SessionManager {
    /// The most sessions of one owner that are told of.
    pub const MAX_TOLD: usize = 200;

    /// Whether anything is kept.
    #[must_use]
    pub const fn keeps_history(&self) -> bool {
        self.options.history.is_some()
    }

    /// What is known about a session, or about the sessions of an owner. Where the store has no index, of those only what
    /// their owner's own history says.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn history(&self, subject: &Subject, now: Timestamp) -> Result<Account, HistoryError> {
        let Some(store) = self.revocation_store().filter(|_| self.keeps_history()) else {
            return Err(HistoryError::NotKept);
        };
        self.keep_up(Read::Newest, now).await?;
        Ok(match subject {
            Subject::Session(lineage) => self.account_of_session(&**store, *lineage, now).await?,
            Subject::Owner(owner) => self.account_of_owner(&**store, owner, now).await?,
        })
    }

    async fn account_of_session(
        &self,
        store: &dyn Store,
        lineage: Lineage,
        now: Timestamp,
    ) -> Result<Account, StoreError> {
        let Some(own) = self.history_of(store, lineage, now).await? else { return Ok(Account::default()) };
        let owner = own.standing.as_ref().and_then(|standing| standing.owner.as_ref());
        let owners = match owner {
            Some(owner) => self.history_of_owner(store, owner, now).await?,
            None => History::default(),
        };
        self.account(store, &[own], &owners, now).await.map(|account| Account {
            // What its owner's other sessions did concerns it only where it ended by it.
            rows: account
                .rows
                .into_iter()
                .filter(|row| row.of.is_some() || account.sessions.iter().any(|told| told.ended_by(row)))
                .collect(),
            ..account
        })
    }

    async fn account_of_owner(&self, store: &dyn Store, owner: &Owner, now: Timestamp) -> Result<Account, StoreError> {
        let owners = self.history_of_owner(store, owner, now).await?;
        let listing = self.owner_key(owner).of_histories();
        let listed = match store.index() {
            Some(index) => twice_if_cut(|| index.keys_of(&listing, now)).await?,
            None => Vec::new(),
        };
        let mut histories = Vec::new();
        for key in listed.iter().take(Self::MAX_TOLD) {
            histories.extend(self.read_history(store, key, now).await?.map(|(history, _)| history));
        }
        let account = self.account(store, &histories, &owners, now).await?;
        Ok(Account { is_cut: listed.len() > Self::MAX_TOLD, ..account })
    }

    async fn history_of(
        &self,
        store: &dyn Store,
        lineage: Lineage,
        now: Timestamp,
    ) -> Result<Option<History>, StoreError> {
        let found = self.read_history(store, &lineage.history_key(&self.options.name), now).await?;
        Ok(found.map(|(history, _)| history))
    }

    async fn history_of_owner(&self, store: &dyn Store, owner: &Owner, now: Timestamp) -> Result<History, StoreError> {
        let found = self.read_history(store, &self.owner_key(owner).history_key(), now).await?;
        Ok(found.map(|(history, _)| history).unwrap_or_default())
    }

    /// Puts the histories of sessions and that of their owner together.
    async fn account(
        &self,
        store: &dyn Store,
        histories: &[History],
        owners: &History,
        now: Timestamp,
    ) -> Result<Account, StoreError> {
        let mut account = Account { dropped: owners.dropped.into(), ..Account::default() };
        for history in histories {
            account.dropped += u64::from(history.dropped);
            let of = history.standing.as_ref().map(|standing| standing.lineage);
            account.rows.extend(history.happenings.iter().cloned().map(|happening| Row { of, happening }));
            if let Some(standing) = &history.standing {
                let seen = self.look_for(store, standing, now).await?;
                let fate = fate(history, standing, owners, seen, self.word_of_operator(standing), now);
                account.sessions.push(Told { standing: standing.clone(), fate });
            }
        }
        let is_told = |happening: &Happening| account.rows.iter().any(|row| row.tells(happening));
        let more = owners.happenings.iter().filter(|happening| !is_told(happening)).cloned();
        let more: Vec<Row> = more.map(|happening| Row { of: None, happening }).collect();
        account.rows.extend(more);
        account.rows.sort_by_key(|row| row.happening.at);
        account.sessions.sort_by_key(|told| told.standing.started_at);
        Ok(account)
    }

    /// What the operator has said of a session, in the file or since.
    fn word_of_operator(&self, standing: &Standing) -> Option<Fate> {
        let listed = self.revocations.as_ref().map(|revocations| revocations.before());
        let moment = self.options.not_before.max(listed).filter(|moment| standing.started_at < *moment);
        let is_revoked = self.is_revoked(standing.lineage, standing.started_at);
        moment.map(Fate::NotBefore).or(is_revoked.then_some(Fate::Revoked))
    }

    async fn look_for(&self, store: &dyn Store, standing: &Standing, now: Timestamp) -> Result<Seen, StoreError> {
        let (Custody::Server { .. }, Some(place)) = (&self.custody, &standing.place) else { return Ok(Seen::Unseen) };
        let found = twice_if_cut(|| store.load(place, now)).await?;
        Ok(found.map_or(Seen::Gone, |(entry, _)| Seen::There(entry.deadline)))
    }
}

impl Told {
    fn ended_by(&self, row: &Row) -> bool {
        matches!(&self.fate, Fate::Ended(by) if **by == row.happening)
    }
}

impl Row {
    /// Whether this happening, from an owner's history, stands here already.
    fn tells(&self, happening: &Happening) -> bool {
        let Happening { since, at, session, asked, .. } = &self.happening;
        *session == happening.session && *asked == happening.asked && *since <= happening.at && happening.at <= *at
    }
}

/// What became of a session, by its own history and its owner's.
fn fate(own: &History, standing: &Standing, owners: &History, seen: Seen, word: Option<Fate>, now: Timestamp) -> Fate {
    if let Some(end) = own.happenings.iter().rfind(|happening| happening.what.is_end()) {
        return Fate::Ended(Box::new(end.clone()));
    }
    if let Some(word) = word {
        return word;
    }
    if let Seen::There(until) = seen {
        return Fate::Live(until);
    }
    let last = own.happenings.last().map_or(standing.started_at, |happening| happening.at);
    let reaches = |happening: &&Happening| {
        let is_others = happening.session != Some(standing.lineage);
        let lived = last.max(standing.started_at) <= happening.at && happening.at <= standing.deadline;
        match happening.ended.has(standing.place.as_ref()) {
            Some(reached) => is_others && reached,
            None => is_others && lived,
        }
    };
    match (owners.happenings.iter().find(reaches), seen) {
        (Some(end), _) => Fate::Ended(Box::new(end.clone())),
        (None, _) if standing.deadline.has_passed(now) => {
            let clock = if standing.deadline == standing.end { RunOut::Absolute } else { RunOut::Idle };
            Fate::Expired(standing.deadline, clock)
        }
        (None, Seen::Unseen) => Fate::MayLive(standing.deadline),
        (None, _) => Fate::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Ended, StoreKey, What};

    const fn moment(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn standing() -> Standing {
        Standing {
            lineage: Lineage::from_bytes([1; 12]),
            owner: Owner::parse("ada"),
            revision: 1,
            started_at: moment(100),
            deadline: moment(500),
            end: moment(900),
            place: Some(StoreKey::from_bytes([1; 32])),
        }
    }

    fn by(session: u8, what: What, at: u64, ended: Ended) -> Happening {
        let session = Some(Lineage::from_bytes([session; 12]));
        Happening { session, ended, ..Happening::by_nobody(what, moment(at)) }
    }

    fn history(happenings: &[Happening]) -> History {
        History { happenings: happenings.to_vec(), ..History::default() }
    }

    fn told(own: &[Happening], owners: &[Happening], seen: Seen, now: u64) -> String {
        match fate(&history(own), &standing(), &history(owners), seen, None, moment(now)) {
            Fate::Live(until) => format!("live until {}", until.as_millis()),
            Fate::MayLive(until) => format!("may live until {}", until.as_millis()),
            Fate::Ended(by) => format!("{} at {}", by.what.as_str(), by.at.as_millis()),
            Fate::Expired(at, clock) => format!("{clock:?} at {}", at.as_millis()),
            Fate::NotBefore(_) | Fate::Revoked => "the operator's word".into(),
            Fate::Missing => "missing".into(),
        }
    }

    #[test]
    fn what_became_of_a_session_is_told_by_what_is_known() {
        let began = by(1, What::Began, 100, Ended::NONE);
        let changed = by(1, What::Changed, 200, Ended::NONE);
        let logout = by(1, What::Ended, 300, Ended::NONE);
        let key = |n: u8| StoreKey::from_bytes([n; 32]);
        let reached = by(2, What::EndedOthers, 250, Ended::of(&[key(9), key(1)]));
        let missed = by(2, What::EndedOthers, 250, Ended::of(&[key(9)]));
        let uncounted = by(2, What::EndedOthers, 250, Ended::uncounted());
        let early = by(2, What::EndedOthers, 150, Ended::uncounted());
        let own = [began.clone(), changed];
        assert_eq!(told(&[began.clone(), logout], &[], Seen::Gone, 400), "ended at 300");
        assert_eq!(told(&own, &[], Seen::There(moment(600)), 400), "live until 600");
        assert_eq!(told(&own, &[], Seen::Gone, 501), "Idle at 500");
        assert_eq!(told(&own, &[], Seen::Gone, 400), "missing");
        assert_eq!(told(&own, &[], Seen::Unseen, 400), "may live until 500");
        assert_eq!(told(&own, &[missed.clone(), reached], Seen::Gone, 800), "ended others at 250");
        assert_eq!(told(&own, &[missed], Seen::Gone, 400), "missing");
        assert_eq!(told(&own, std::slice::from_ref(&uncounted), Seen::Unseen, 800), "ended others at 250");
        assert_eq!(told(&own, &[early], Seen::Unseen, 400), "may live until 500", "it was changed after that");
        assert_eq!(told(&own, std::slice::from_ref(&uncounted), Seen::There(moment(600)), 400), "live until 600");
        assert_eq!(
            told(&[by(1, What::EndedOthers, 250, Ended::uncounted())], &[uncounted], Seen::Unseen, 400),
            "ended others at 250"
        );
        assert_eq!(
            told(&[began], &[by(1, What::LoggedIn, 250, Ended::uncounted())], Seen::Unseen, 400),
            "may live until 500"
        );
    }

    #[test]
    fn the_word_of_the_operator_holds_wherever_the_session_lies() {
        let (own, now) = (History::default(), moment(400));
        let fate = |word| fate(&own, &standing(), &own, Seen::There(moment(600)), word, now);
        assert_eq!([fate(Some(Fate::Revoked)), fate(None)], [Fate::Revoked, Fate::Live(moment(600))]);
    }

    #[test]
    fn the_clock_that_ran_out_is_named() {
        let own = History::default();
        let standing = Standing { deadline: moment(900), ..standing() };
        let fate = fate(&own, &standing, &own, Seen::Gone, None, moment(901));
        assert_eq!(fate, Fate::Expired(moment(900), RunOut::Absolute));
    }
}
