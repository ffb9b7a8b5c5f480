//! The clocks of a session: idle, absolute, and how often reading is written down.

use super::id::Lineage;
use super::record::Record;
use crate::clock::Timestamp;
use std::time::Duration;

/// The operator's clocks for one session policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// A session ends this long after its last request (SL4).
    pub idle: Duration,
    /// A session ends this long after its creation or its last login, however active it is (SL5).
    pub absolute: Duration,
    /// Activity is written down at most this often; zero writes it down on every request.
    pub touch_interval: Duration,
    /// How long an old id works after `X-Session-Regenerate` (SL3).
    pub regenerate_grace: Duration,
    /// The longest idle time that `X-Session-Expire` may ask for.
    pub max_idle: Duration,
    /// The longest absolute time that `X-Session-Expire` may ask for.
    pub max_absolute: Duration,
    /// A session without an owner ends this long after its beginning, unless its cookie has come back by then: most of
    /// what bots begin is never asked for again.
    pub probation: Option<Duration>,
    /// The life that the cookie has in the browser, where it has one of its own.
    pub browser: Option<BrowserLife>,
}

/// The life of a cookie in the browser: neither the session's idle time nor its absolute time (C7, C9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowserLife {
    /// The browser drops the cookie so long after it got it.
    pub max_age: Duration,
    /// With the first request so long after that, it is handed out again (E2); zero does so with every answer (C15).
    pub renew_after: Duration,
}

/// What a session says about its own time, as its record has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// The session's lasting name.
    pub lineage: Lineage,
    /// When the session came into being.
    pub created_at: Timestamp,
    /// When the absolute clock started.
    pub started_at: Timestamp,
    /// The session's own idle limit.
    pub idle: Option<Duration>,
    /// The session's own absolute limit.
    pub absolute: Option<Duration>,
    /// Whether the cookie outlives the browser, where the session has its own wish.
    pub persistent: Option<bool>,
    /// When the browser drops the cookie that it has, where the cookie has a life of its own.
    pub kept_until: Option<Timestamp>,
}

/// Where the clocks of one session stand.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The deadline in the store.
    pub deadline: Timestamp,
    /// When it came into being.
    pub created_at: Timestamp,
    /// How long it may be idle.
    pub idle: Duration,
    /// When it ends however active it is.
    pub end: Timestamp,
    /// Chance from 0 to 255, the same each time these clocks are looked at: sessions that began together are not written
    /// together for ever.
    pub jitter: u8,
}

impl Clocks {
    /// Chance of a session's own at a deadline of its own.
    #[must_use]
    pub fn jitter(lineage: Lineage, deadline: Timestamp) -> u8 {
        let [.., last] = *lineage.as_bytes();
        last ^ deadline.as_millis().to_le_bytes()[0]
    }
}

impl Expiry {
    /// The idle limit of this session: its own wish, where it has one.
    #[must_use]
    pub fn idle_of(&self, age: Age) -> Duration {
        age.idle.unwrap_or(self.idle)
    }

    /// When the session ends even if it is never idle.
    #[must_use]
    pub fn absolute_deadline(&self, started_at: Timestamp, wish: Option<Duration>) -> Timestamp {
        started_at.after(wish.unwrap_or(self.absolute))
    }

    /// How long a session may last at most, with the longest wish that is granted.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.absolute.max(self.max_absolute)
    }

    /// The deadline of a record that is active `now`.
    #[must_use]
    pub fn deadline(&self, record: &Record, now: Timestamp) -> Timestamp {
        let age = record.age();
        now.after(self.idle_of(age)).min(self.end(age))
    }

    /// When a session ends however active it is: at its absolute end, or when the browser drops the cookie that it has.
    #[must_use]
    pub fn end(&self, age: Age) -> Timestamp {
        let absolute = self.absolute_deadline(age.started_at, age.absolute);
        absolute.min(age.kept_until.unwrap_or(Timestamp::NEVER))
    }

    /// Where the clocks of a session stand that has this deadline in its store.
    #[must_use]
    pub fn clocks(&self, age: Age, deadline: Timestamp) -> Clocks {
        let (idle, end) = (self.idle_of(age), self.end(age));
        Clocks { deadline, created_at: age.created_at, idle, end, jitter: Clocks::jitter(age.lineage, deadline) }
    }

    /// Until when the browser keeps a cookie that it gets `now`, where the cookie has a life of its own. A session may
    /// wish for a cookie that ends with the browser, or for one that does not.
    #[must_use]
    pub fn kept_until(&self, age: Age, now: Timestamp) -> Option<Timestamp> {
        let life = self.browser.filter(|_| age.persistent != Some(false))?;
        Some(now.after(life.max_age).min(self.absolute_deadline(age.started_at, age.absolute)))
    }

    /// Whether it is time to hand the cookie out again, so that a browser which is in use does not drop it.
    ///
    /// `renewed`: until when the browser would keep it then ([`Expiry::kept_until`]).
    #[must_use]
    pub fn renewal_due(&self, kept_until: Option<Timestamp>, renewed: Option<Timestamp>) -> bool {
        let (Some(life), Some(renewed)) = (self.browser, renewed) else { return false };
        kept_until.is_none_or(|kept| kept < renewed && kept.until(renewed) >= life.renew_after)
    }

    /// The deadline of a record for a visitor who had no session: it may be on probation.
    #[must_use]
    pub fn first_deadline(&self, record: &Record, now: Timestamp) -> Timestamp {
        let deadline = self.deadline(record, now);
        let probation = self.probation.filter(|_| record.owner.is_none());
        probation.map_or(deadline, |probation| deadline.min(record.created_at.after(probation)))
    }

    /// The deadline of a session whose cookie has come: with that its probation is over, and its idle clock holds.
    #[must_use]
    pub fn proven(&self, clocks: Clocks) -> Timestamp {
        if !self.is_on_probation(clocks) {
            return clocks.deadline;
        }
        clocks.created_at.after(clocks.idle).min(clocks.end).max(clocks.deadline)
    }

    /// Only a first deadline lies there: an idle time is longer than a probation. A shorter one that was asked for ends
    /// there by chance, and then this changes nothing for the worse.
    fn is_on_probation(&self, clocks: Clocks) -> bool {
        self.probation.is_some_and(|probation| clocks.deadline == clocks.created_at.after(probation))
    }

    /// The new deadline, if it is time to write down that the session is in use, or that its cookie came back.
    ///
    /// `extends`: this request is an activity.
    #[must_use]
    pub fn touch_due(&self, clocks: Clocks, extends: bool, now: Timestamp) -> Option<Timestamp> {
        let proven = self.proven(clocks);
        let extended = if extends { now.after(clocks.idle).min(clocks.end) } else { proven };
        let gained = clocks.deadline.until(extended);
        let is_time = gained >= self.interval(clocks.jitter) && extends;
        (!gained.is_zero() && (is_time || proven != clocks.deadline)).then_some(extended)
    }

    /// The interval between two writes of activity: `touch_interval`, and up to a quarter more by chance.
    fn interval(&self, jitter: u8) -> Duration {
        let more = self.touch_interval.as_millis() * u128::from(jitter) / 1024; // whole, as moments are
        self.touch_interval + Duration::from_millis(u64::try_from(more).unwrap_or(u64::MAX))
    }

    /// The longest time that an activity may not be written down.
    #[must_use]
    pub fn longest_interval(&self) -> Duration {
        self.interval(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn expiry() -> Expiry {
        Expiry {
            idle: 30 * MINUTE,
            absolute: 60 * MINUTE,
            touch_interval: MINUTE,
            regenerate_grace: Duration::from_secs(10),
            max_idle: 30 * MINUTE,
            max_absolute: 60 * MINUTE,
            probation: None,
            browser: None,
        }
    }

    fn clocks(deadline: Timestamp, end: Timestamp) -> Clocks {
        Clocks { deadline, created_at: Timestamp::default(), idle: 30 * MINUTE, end, jitter: 0 }
    }

    #[test]
    fn touching_waits_for_the_interval() {
        let start = Timestamp::from_millis(0);
        let (deadline, end) = (start.after(30 * MINUTE), start.after(60 * MINUTE));
        let due = |now: Timestamp| expiry().touch_due(clocks(deadline, end), true, now);
        assert_eq!(due(start.after(MINUTE / 2)), None);
        assert_eq!(due(start.after(MINUTE)), Some(start.after(31 * MINUTE)));
        assert_eq!(expiry().touch_due(clocks(deadline, end), false, start.after(20 * MINUTE)), None);
    }

    #[test]
    fn sessions_that_began_together_are_not_written_together() {
        let start = Timestamp::from_millis(0);
        let due = |jitter, now: Timestamp| {
            let clocks = Clocks { jitter, ..clocks(start.after(30 * MINUTE), start.after(60 * MINUTE)) };
            expiry().touch_due(clocks, true, now).is_some()
        };
        let late = start.after(expiry().longest_interval());
        assert!(late < start.after(MINUTE * 5 / 4), "a quarter more at the most");
        for jitter in [0, 1, 128, 255] {
            assert!(due(jitter, late) && !due(jitter, start.after(MINUTE * 59 / 60)), "{jitter}");
        }
        assert!(due(0, start.after(MINUTE)) && !due(128, start.after(MINUTE)));
        let lineages = (0..=255).map(|byte| Lineage::from_bytes([byte; 12]));
        let mut chances: Vec<u8> = lineages.map(|lineage| Clocks::jitter(lineage, start)).collect();
        chances.sort_unstable();
        chances.dedup();
        assert_eq!(chances.len(), 256);
    }

    #[test]
    fn a_cookie_with_a_life_of_its_own_is_renewed_in_time_and_never_past_the_end() {
        // C7, C9, C15, E2
        let life = BrowserLife { max_age: 20 * MINUTE, renew_after: 10 * MINUTE };
        let expiry = Expiry { browser: Some(life), ..expiry() };
        let start = Timestamp::from_millis(0);
        let mut record = Record::new(Lineage::from_bytes([1; 12]), start);
        let renewed = |record: &Record, now| expiry.kept_until(record.age(), now);
        assert_eq!(renewed(&record, start), Some(start.after(20 * MINUTE)));
        record.kept_until = renewed(&record, start);
        assert_eq!(expiry.deadline(&record, start), start.after(20 * MINUTE), "who has no cookie has no session");
        let due = |record: &Record, now| expiry.renewal_due(record.kept_until, renewed(record, now));
        assert!(!due(&record, start.after(9 * MINUTE)) && due(&record, start.after(10 * MINUTE)));
        record.kept_until = renewed(&record, start.after(45 * MINUTE));
        assert_eq!(record.kept_until, Some(start.after(60 * MINUTE)), "the absolute end is the end of the cookie, too");
        assert!(!due(&record, start.after(59 * MINUTE)), "nothing is gained by it");
        record.persistent = Some(false);
        assert_eq!(renewed(&record, start), None, "the session wishes for a cookie that ends with the browser");
        assert!(!due(&record, start.after(59 * MINUTE)));
    }

    #[test]
    fn a_cookie_that_comes_back_ends_the_probation() {
        let expiry = Expiry { probation: Some(5 * MINUTE), ..expiry() };
        let (start, end) = (Timestamp::from_millis(0), Timestamp::from_millis(0).after(60 * MINUTE));
        let (new, soon) = (clocks(start.after(5 * MINUTE), end), start.after(MINUTE / 2));
        assert_eq!(expiry.touch_due(new, true, soon), Some(soon.after(30 * MINUTE)));
        assert_eq!(expiry.touch_due(new, false, soon), Some(start.after(30 * MINUTE)), "a look proves it, too");
        let proven = clocks(start.after(30 * MINUTE), end);
        assert_eq!(expiry.touch_due(proven, true, soon), None);
        assert_eq!(expiry.touch_due(proven, false, soon), None);
    }

    #[test]
    fn touching_never_passes_the_absolute_end() {
        // SL5
        let start = Timestamp::from_millis(0);
        let (deadline, end) = (start.after(50 * MINUTE), start.after(60 * MINUTE));
        assert_eq!(expiry().touch_due(clocks(deadline, end), true, start.after(45 * MINUTE)), Some(end));
        assert_eq!(expiry().touch_due(clocks(end, end), true, start.after(59 * MINUTE)), None);
    }
}
