//! The clocks of a session: idle, absolute, and how often reading is written down.

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
}

impl Expiry {
    /// The idle limit of this session: its own wish, where it has one.
    #[must_use]
    pub fn idle_of(&self, record: &Record) -> Duration {
        record.idle.unwrap_or(self.idle)
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
        let idle = now.after(self.idle_of(record));
        idle.min(self.absolute_deadline(record.started_at, record.absolute))
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
        let is_time = gained >= self.touch_interval && extends;
        (!gained.is_zero() && (is_time || proven != clocks.deadline)).then_some(extended)
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
        }
    }

    fn clocks(deadline: Timestamp, end: Timestamp) -> Clocks {
        Clocks { deadline, created_at: Timestamp::default(), idle: 30 * MINUTE, end }
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
