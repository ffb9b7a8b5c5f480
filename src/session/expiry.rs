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

    /// The new deadline, if it is time to write down that the session is in use.
    ///
    /// `current` is the deadline in the store, `idle` and `absolute_deadline` those of the session.
    #[must_use]
    pub fn touch_due(
        &self,
        current: Timestamp,
        idle: Duration,
        absolute_deadline: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let extended = now.after(idle).min(absolute_deadline);
        let gained = current.until(extended);
        (!gained.is_zero() && gained >= self.touch_interval).then_some(extended)
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
        }
    }

    #[test]
    fn touching_waits_for_the_interval() {
        let start = Timestamp::from_millis(0);
        let (deadline, end) = (start.after(30 * MINUTE), start.after(60 * MINUTE));
        let due = |now: Timestamp| expiry().touch_due(deadline, 30 * MINUTE, end, now);
        assert_eq!(due(start.after(MINUTE / 2)), None);
        assert_eq!(due(start.after(MINUTE)), Some(start.after(31 * MINUTE)));
    }

    #[test]
    fn touching_never_passes_the_absolute_end() {
        // SL5
        let start = Timestamp::from_millis(0);
        let (deadline, end) = (start.after(50 * MINUTE), start.after(60 * MINUTE));
        assert_eq!(expiry().touch_due(deadline, 30 * MINUTE, end, start.after(45 * MINUTE)), Some(end));
        assert_eq!(expiry().touch_due(end, 30 * MINUTE, end, start.after(59 * MINUTE)), None);
    }
}
