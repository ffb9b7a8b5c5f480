//! The history of a session, or of an owner: its last changes, each with when, by which route, which verbs and which keys.
//! Never a value.
//!
//! It answers who ended a session, so it is kept apart from it and for longer. Of a session it also knows how it stood at
//! last: by that it can be told later whether a clock has ended it.

mod asked;
mod bytes;
mod passage;

pub use asked::Asked;
pub use passage::{Notes, Passage};

use super::batch::Refusal;
use super::id::{Lineage, StoreKey};
use super::name::Owner;
use crate::clock::Timestamp;

/// The last changes of one session, or the last logins and ends of one owner's sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How the session stood at last; `None` in the history of an owner.
    pub standing: Option<Standing>,
    /// What happened, the oldest first.
    pub happenings: Vec<Happening>,
    /// How many older happenings are kept no more.
    pub dropped: u32,
}

/// How a session stands after one of its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its lasting name.
    pub lineage: Lineage,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// The count of its changes.
    pub revision: u64,
    /// When its absolute clock started.
    pub started_at: Timestamp,
    /// When it ends unless it is used.
    pub deadline: Timestamp,
    /// When it ends however much it is used.
    pub end: Timestamp,
    /// Where it lies in its store, where it lies in one.
    pub place: Option<StoreKey>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When it happened first, where the same happened several times in a row.
    pub since: Timestamp,
    /// When it happened last.
    pub at: Timestamp,
    /// How many times it happened in a row.
    pub times: u32,
    /// What it was.
    pub what: What,
    /// The session whose answer did it; `None`: the operator.
    pub session: Option<Lineage>,
    /// The session that went before it, of one that began in its place; or the one that began, of one that gave way.
    pub other: Option<Lineage>,
    /// The route whose answer did it; empty where none did.
    pub route: RouteName,
    /// What that answer asked for.
    pub asked: Asked,
    /// Other sessions that ended by it.
    pub ended: Ended,
}

/// Kinds of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The session began.
    Began,
    /// Its data changed.
    Changed,
    /// Somebody logged in on it.
    LoggedIn,
    /// It got a new id.
    Renewed,
    /// It was ended by an answer to itself: a logout.
    Ended,
    /// It was ended by an answer to itself, and another began in its place.
    GaveWay,
    /// It ended other sessions of its owner.
    EndedOthers,
    /// A batch was refused.
    Refused(Refusal),
    /// The operator ended it.
    Revoked,
    /// It was ended because its visitor was another than the one whom it is bound to.
    Unrecognized,
    /// What a newer release knows.
    Unknown(u8, u8),
}

impl What {
    const fn code(self) -> (u8, u8) {
        match self {
            Self::Began => (1, 0),
            Self::Changed => (2, 0),
            Self::LoggedIn => (3, 0),
            Self::Renewed => (4, 0),
            Self::Ended => (5, 0),
            Self::GaveWay => (6, 0),
            Self::EndedOthers => (7, 0),
            Self::Refused(reason) => (8, reason.code()),
            Self::Revoked => (9, 0),
            Self::Unrecognized => (10, 0),
            Self::Unknown(code, argument) => (code, argument),
        }
    }

    fn of_code(code: u8, argument: u8) -> Self {
        match (code, argument, Refusal::from_code(argument)) {
            (1, 0, _) => Self::Began,
            (2, 0, _) => Self::Changed,
            (3, 0, _) => Self::LoggedIn,
            (4, 0, _) => Self::Renewed,
            (5, 0, _) => Self::Ended,
            (6, 0, _) => Self::GaveWay,
            (7, 0, _) => Self::EndedOthers,
            (8, _, Some(reason)) => Self::Refused(reason),
            (9, 0, _) => Self::Revoked,
            (10, 0, _) => Self::Unrecognized,
            (code, argument, _) => Self::Unknown(code, argument),
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Changed => "changed",
            Self::LoggedIn => "logged in",
            Self::Renewed => "got a new id",
            Self::Ended => "ended",
            Self::GaveWay => "gave way",
            Self::EndedOthers => "ended others",
            Self::Refused(_) => "refused",
            Self::Revoked => "revoked",
            Self::Unrecognized => "ended, its visitor was another",
            Self::Unknown(..) => "unknown to this release",
        }
    }

    /// Whether several in a row are told as one.
    const fn repeats(self) -> bool {
        matches!(self, Self::Changed | Self::Refused(_))
    }

    /// Whether the session whose history says so at last is over by it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Ended | Self::GaveWay | Self::Revoked | Self::Unrecognized)
    }
}

/// The name of a route, cut to what a history has room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteName(Box<str>);

impl RouteName {
    /// The longest, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name; of a long one its beginning, and a mark that there was more.
    #[must_use]
    pub fn cut(name: &str) -> Self {
        const MARK: &str = "…";
        if name.len() <= Self::MAX_LEN {
            return Self(name.into());
        }
        let end = name.floor_char_boundary(Self::MAX_LEN - MARK.len());
        Self([&name[..end], MARK].concat().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Sessions that an answer to another one ended. Only the store knew which, and only by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many; `None`: nobody counted, as of sessions that browsers keep.
    count: Option<u32>,
    /// The beginnings of their keys, as far as there is room.
    marks: Vec<[u8; Self::MARK_LEN]>,
}

impl Ended {
    const MARK_LEN: usize = 8;
    const MAX_MARKS: usize = 32;

    /// None at all.
    pub const NONE: Self = Self { count: Some(0), marks: Vec::new() };

    /// These.
    #[must_use]
    pub fn of(keys: &[StoreKey]) -> Self {
        let marks = keys.iter().take(Self::MAX_MARKS).map(Self::mark).collect();
        Self { count: Some(u32::try_from(keys.len()).unwrap_or(u32::MAX - 1)), marks }
    }

    /// However many there were.
    #[must_use]
    pub const fn uncounted() -> Self {
        Self { count: None, marks: Vec::new() }
    }

    fn mark(key: &StoreKey) -> [u8; Self::MARK_LEN] {
        *key.as_bytes().first_chunk().expect("a key is longer than its mark")
    }

    /// How many there were, where they were counted.
    #[must_use]
    pub const fn count(&self) -> Option<u32> {
        self.count
    }

    /// Whether the session at this place was among them; `None` when that is not known.
    #[must_use]
    pub fn has(&self, place: Option<&StoreKey>) -> Option<bool> {
        if place.is_some_and(|place| self.marks.contains(&Self::mark(place))) {
            return Some(true);
        }
        let all_are_known = self.count.is_some_and(|count| count as usize == self.marks.len());
        (all_are_known && (place.is_some() || self.marks.is_empty())).then_some(false)
    }
}

impl Happening {
    /// What no answer did: the operator, or the proxy itself.
    #[must_use]
    pub fn by_nobody(what: What, now: Timestamp) -> Self {
        Self {
            since: now,
            at: now,
            times: 1,
            what,
            session: None,
            other: None,
            route: RouteName::default(),
            asked: Asked::default(),
            ended: Ended::NONE,
        }
    }

    /// Whether it is the same but for when it happened.
    fn is_like(&self, other: &Self) -> bool {
        let Self { since: _, at: _, times: _, what, session, other: partner, route, asked, ended } = self;
        (what, session, partner, route, asked, ended)
            == (&other.what, &other.session, &other.other, &other.route, &other.asked, &other.ended)
    }
}

impl History {
    /// The most happenings of one history.
    pub const MAX: usize = 100;

    /// The most bytes of one history; the oldest happenings go first.
    pub const MAX_BYTES: usize = 32 * 1024;

    /// Adds what happened, in the order of time; of more than `most` the oldest are dropped.
    pub fn note(&mut self, happening: Happening, most: usize) {
        let at = self.happenings.partition_point(|earlier| earlier.at <= happening.at);
        match at.checked_sub(1).map(|before| &mut self.happenings[before]) {
            Some(before) if happening.what.repeats() && before.is_like(&happening) => {
                before.times = before.times.saturating_add(happening.times);
                before.at = before.at.max(happening.at);
            }
            _ => self.happenings.insert(at, happening),
        }
        let mut bytes: usize = self.happenings.iter().map(bytes::size).sum();
        while self.happenings.len() > most.clamp(1, Self::MAX) || bytes > Self::MAX_BYTES && self.happenings.len() > 1 {
            bytes -= bytes::size(&self.happenings.remove(0));
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Whether it has been noted already.
    #[must_use]
    pub fn has(&self, happening: &Happening) -> bool {
        let covers = |noted: &Happening| noted.since <= happening.at && happening.at <= noted.at;
        self.happenings.iter().any(|noted| noted.is_like(happening) && covers(noted))
    }

    /// Lets the session stand as it does now, unless more is known already. Answers that come at the same time may be
    /// noted in another order than the store has taken them in.
    pub fn stand(&mut self, now: Standing) {
        let order = |standing: &Standing| (standing.revision, standing.deadline);
        if self.standing.as_ref().is_none_or(|known| order(known) <= order(&now)) {
            self.standing = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Batch, Name};

    fn happening(at: u64, what: What, key: &str) -> Happening {
        let mut batch = Batch::default();
        batch.changes.unset.insert(Name::parse(key).unwrap());
        let at = Timestamp::from_millis(at);
        let session = Some(Lineage::from_bytes([1; 12]));
        let (route, asked) = (RouteName::cut("shop"), Asked::from(&batch));
        Happening { session, route, asked, ..Happening::by_nobody(what, at) }
    }

    fn told(history: &History) -> String {
        let words = history.happenings.iter().map(|happening| {
            let Happening { since, at, times, asked, .. } = happening;
            format!("{}-{} {}x{times}", since.as_millis(), at.as_millis(), asked.keys()[0])
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_same_several_times_in_a_row_is_one_happening() {
        let mut history = History::default();
        for (at, key) in [(1, "a"), (2, "a"), (5, "b"), (6, "a"), (4, "a")] {
            history.note(happening(at, What::Changed, key), 20);
        }
        assert_eq!(told(&history), "1-4 ax3, 5-5 bx1, 6-6 ax1");
        let mut logins = History::default();
        for at in [1, 2] {
            logins.note(happening(at, What::LoggedIn, "a"), 20);
        }
        assert_eq!(told(&logins), "1-1 ax1, 2-2 ax1", "each login counts for itself");
    }

    #[test]
    fn the_oldest_go_first() {
        let mut history = History::default();
        for at in 0..10 {
            history.note(happening(at, What::Changed, &format!("k{at}")), 3);
        }
        assert_eq!((told(&history).as_str(), history.dropped), ("7-7 k7x1, 8-8 k8x1, 9-9 k9x1", 7));
    }

    #[test]
    fn a_history_has_a_limit_in_bytes_whatever_its_happenings_say() {
        let mut history = History::default();
        let mut batch = Batch::default();
        batch.changes.unset = (10..99).map(|i| Name::parse(&format!("{}{i}", "k".repeat(60))).unwrap()).collect();
        for at in 0..100 {
            let asked = Asked::from(&batch);
            history.note(Happening { asked, ..happening(at, What::LoggedIn, "a") }, History::MAX);
        }
        let bytes = history.encode().len();
        assert!(bytes <= History::MAX_BYTES + 1024 && bytes > History::MAX_BYTES / 2, "{bytes}");
        assert_eq!(history.happenings.len() + history.dropped as usize, 100);
    }

    #[test]
    fn what_was_noted_is_known_again() {
        let mut history = History::default();
        for at in [1, 3] {
            history.note(happening(at, What::Changed, "a"), 20);
        }
        assert!(history.has(&happening(3, What::Changed, "a")) && history.has(&happening(1, What::Changed, "a")));
        assert!(!history.has(&happening(4, What::Changed, "a")) && !history.has(&happening(3, What::Changed, "b")));
    }

    #[test]
    fn a_long_name_of_a_route_is_cut_and_marked() {
        assert_eq!(RouteName::cut("shop").as_str(), "shop");
        let cut = RouteName::cut(&"ä".repeat(40));
        assert_eq!(cut.as_str(), format!("{}…", "ä".repeat(30)));
        assert!(cut.as_str().len() <= RouteName::MAX_LEN);
    }

    #[test]
    fn an_end_tells_whom_it_reached_where_that_is_known() {
        let key = |n: u8| StoreKey::from_bytes([n; 32]);
        let few = Ended::of(&[key(1), key(2)]);
        assert_eq!([few.has(Some(&key(2))), few.has(Some(&key(3))), few.has(None)], [Some(true), Some(false), None]);
        let many: Vec<StoreKey> = (0..40).map(key).collect();
        let many = Ended::of(&many);
        assert_eq!((many.count(), many.has(Some(&key(3))), many.has(Some(&key(39)))), (Some(40), Some(true), None));
        assert_eq!(Ended::uncounted().has(None), None);
        assert_eq!(Ended::NONE.has(None), Some(false));
    }

    #[test]
    fn of_two_answers_at_the_same_time_the_newer_change_says_how_the_session_stands() {
        let standing = |revision, deadline| Standing {
            lineage: Lineage::from_bytes([1; 12]),
            owner: None,
            revision,
            started_at: Timestamp::default(),
            deadline: Timestamp::from_millis(deadline),
            end: Timestamp::NEVER,
            place: None,
        };
        let mut history = History::default();
        for (revision, deadline, kept) in [(2, 50, (2, 50)), (1, 90, (2, 50)), (2, 60, (2, 60)), (3, 10, (3, 10))] {
            history.stand(standing(revision, deadline));
            assert_eq!(history.standing, Some(standing(kept.0, kept.1)));
        }
    }
}
