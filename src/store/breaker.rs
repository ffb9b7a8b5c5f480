//! A breaker: a store that fails again and again is left alone for a while, and takes none of the proxy's time.
//!
//! [`Circuit`] decides, by times that it is told; [`Breaker`] adds the clock, the lock and the log. While all is well a
//! call costs two loads of one flag.

use parking_lot::Mutex;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many failures in a row it takes.
const FAILURES: u32 = 5;

/// And how long there must have been no success: a burst of calls that fail in the same moment is one bad moment.
const SILENCE: Duration = Duration::from_millis(500);

/// The first pause; each failed probe doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause, and so how late a store that is back is noticed.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Why a call was not even tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAsked {
    /// The pause is not over.
    #[error("not asked: it failed {failures} times in a row; asked again in {again:?}")]
    Paused {
        /// How many calls failed, probes included.
        failures: u32,
        /// When the next call is let through.
        again: Duration,
    },
    /// The pause is over, and one call is enough to find out.
    #[error("not asked: it failed {failures} times in a row; one call is trying it now")]
    Probed {
        /// How many calls failed, probes included.
        failures: u32,
    },
}

/// The state of the breaker; moments count from its making.
#[derive(Debug, PartialEq, Eq)]
enum Circuit {
    /// Calls pass. `since` is when the first of the failures was seen.
    Closed { failures: u32, since: Duration },
    /// Calls fail at once.
    Open { failures: u32, pause: Duration, until: Duration },
    /// One call passes, all others fail at once.
    Probing { failures: u32, pause: Duration },
}

const CALM: Circuit = Circuit::Closed { failures: 0, since: Duration::ZERO };

impl Circuit {
    /// Whether a call may pass, and if so whether it is the probe.
    fn admit(&mut self, now: Duration) -> Result<bool, NotAsked> {
        match *self {
            Self::Closed { .. } => Ok(false),
            Self::Open { failures, pause, until } if now >= until => {
                *self = Self::Probing { failures, pause };
                Ok(true)
            }
            Self::Open { failures, until, .. } => Err(NotAsked::Paused { failures, again: until.saturating_sub(now) }),
            Self::Probing { failures, .. } => Err(NotAsked::Probed { failures }),
        }
    }

    /// Any success closes it, the probe's or that of a call that began before. Says whether it was open.
    fn succeeded(&mut self) -> bool {
        !matches!(std::mem::replace(self, CALM), Self::Closed { .. })
    }

    /// Counts a failure; says whether it opened. While it is open only the probe's counts: the others began before.
    fn failed(&mut self, was_probe: bool, now: Duration) -> bool {
        match *self {
            Self::Closed { failures, since } => {
                let (failures, since) = (failures.saturating_add(1), if failures == 0 { now } else { since });
                let opens = failures >= FAILURES && now.saturating_sub(since) >= SILENCE;
                *self = if opens { Self::open(failures, FIRST_PAUSE, now) } else { Self::Closed { failures, since } };
                opens
            }
            Self::Probing { failures, pause } if was_probe => {
                *self = Self::open(failures.saturating_add(1), (pause * 2).min(LAST_PAUSE), now);
                false
            }
            Self::Open { .. } | Self::Probing { .. } => false,
        }
    }

    /// A probe that was dropped has found nothing out: the next call is the probe.
    fn abandoned(&mut self, now: Duration) {
        if let Self::Probing { failures, pause } = *self {
            *self = Self::Open { failures, pause, until: now };
        }
    }

    /// The pause is up to a quarter shorter than it might be, so that many proxies do not ask in step.
    fn open(failures: u32, pause: Duration, now: Duration) -> Self {
        let chance = u32::try_from(RandomState::new().hash_one(failures) % 256).unwrap_or(0);
        Self::Open { failures, pause, until: now + pause.saturating_sub(pause / 4 * chance / 256) }
    }
}

/// The breaker of one store.
#[derive(Debug)]
pub(super) struct Breaker {
    store: &'static str,
    made: Instant,
    /// Whether the circuit is anything but [`CALM`]; changed under its lock only.
    troubled: AtomicBool,
    circuit: Mutex<Circuit>,
}

impl Breaker {
    /// A closed breaker; `store` is the name in the log.
    pub(super) fn new(store: &'static str) -> Self {
        Self { store, made: Instant::now(), troubled: AtomicBool::new(false), circuit: Mutex::new(CALM) }
    }

    /// Leave to call the store.
    pub(super) fn admit(&self) -> Result<Leave<'_>, NotAsked> {
        let is_probe = self.is_troubled() && self.circuit.lock().admit(self.made.elapsed())?;
        Ok(Leave { breaker: self, is_probe })
    }

    fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Acquire)
    }

    fn succeeded(&self) {
        if !self.is_troubled() {
            return;
        }
        let mut circuit = self.circuit.lock();
        let closed = circuit.succeeded();
        self.troubled.store(false, Ordering::Release);
        drop(circuit);
        if closed {
            tracing::info!(store = self.store, "the store answers again");
        }
    }

    fn failed(&self, was_probe: bool) {
        let mut circuit = self.circuit.lock();
        let opened = circuit.failed(was_probe, self.made.elapsed());
        self.troubled.store(true, Ordering::Release);
        drop(circuit);
        if opened {
            tracing::warn!(
                store = self.store,
                failures = FAILURES,
                "the store fails again and again: calls fail at once until it answers a trial"
            );
        }
    }
}

/// Leave for one call, to be given back with what came of it; dropping it says that nobody knows.
#[derive(Debug)]
pub(super) struct Leave<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl Leave<'_> {
    /// The store answered, whatever it said.
    pub(super) fn succeeded(mut self) {
        self.is_probe = false;
        self.breaker.succeeded();
    }

    /// The store did not answer.
    pub(super) fn failed(mut self) {
        self.breaker.failed(std::mem::take(&mut self.is_probe));
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.circuit.lock().abandoned(self.breaker.made.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A circuit that five failures opened, the last one at 600 ms.
    fn opened() -> Circuit {
        let mut circuit = CALM;
        for now in [0, 100, 200, 300] {
            assert!(!circuit.failed(false, at(now)));
        }
        assert!(circuit.failed(false, at(600)));
        circuit
    }

    #[test]
    fn it_takes_failures_in_a_row_and_half_a_second_without_success() {
        let mut circuit = CALM;
        assert!((0..100).all(|_| !circuit.failed(false, at(1000))), "one bad moment");
        assert!(!circuit.failed(false, at(1499)));
        assert!(circuit.failed(false, at(1500)));

        let mut circuit = CALM;
        for now in (0..10_000).step_by(400) {
            for _ in 0..10 {
                assert!(!circuit.failed(false, at(now)));
            }
            assert!(!circuit.succeeded());
        }

        let mut circuit = CALM;
        assert!((0..4).all(|n| !circuit.failed(false, at(n * 10_000))), "four are few");
        assert_eq!(circuit.admit(at(50_000)), Ok(false));
    }

    #[test]
    fn while_it_is_open_one_call_in_each_pause_is_let_through() {
        let mut circuit = opened();
        let mut now = at(600);
        for pause in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let (shortest, longest) = (now + at(pause * 3 / 4), now + at(pause));
            assert!(
                matches!(circuit.admit(shortest.saturating_sub(at(1))), Err(NotAsked::Paused { .. })),
                "{pause}: {circuit:?}"
            );
            assert_eq!(circuit.admit(longest), Ok(true), "{pause}");
            assert!(matches!(circuit.admit(longest), Err(NotAsked::Probed { .. })));
            assert!(!circuit.failed(false, longest), "a call that began before changes nothing");
            assert!(matches!(circuit.admit(longest + at(60_000)), Err(NotAsked::Probed { .. })));
            assert!(!circuit.failed(true, longest));
            now = longest;
        }
        assert_eq!(circuit.admit(now + LAST_PAUSE), Ok(true));
        assert!(circuit.succeeded());
        assert_eq!(circuit, CALM);
    }

    #[test]
    fn a_probe_that_is_dropped_leaves_its_turn_to_the_next_call() {
        let mut circuit = opened();
        assert_eq!(circuit.admit(at(700)), Ok(true));
        circuit.abandoned(at(701));
        assert_eq!(circuit.admit(at(701)), Ok(true));
        assert!(matches!(circuit.admit(at(701)), Err(NotAsked::Probed { .. })));

        // The same by the drop of the leave, which is what a request that is given up does.
        let breaker = Breaker::new("test");
        *breaker.circuit.lock() = Circuit::Open { failures: 5, pause: FIRST_PAUSE, until: Duration::ZERO };
        breaker.troubled.store(true, Ordering::Release);
        drop(breaker.admit().unwrap());
        let probe = breaker.admit().unwrap();
        assert!(matches!(breaker.admit(), Err(NotAsked::Probed { failures: 5 })));
        probe.succeeded();
        assert!(!breaker.is_troubled());
        assert!(!breaker.admit().unwrap().is_probe);
    }

    #[test]
    fn the_refusal_says_why_and_until_when() {
        let mut circuit = Circuit::Open { failures: 7, pause: FIRST_PAUSE, until: at(900) };
        let refusal = circuit.admit(at(820)).unwrap_err();
        assert_eq!(refusal.to_string(), "not asked: it failed 7 times in a row; asked again in 80ms");
        circuit.admit(at(900)).unwrap();
        let refusal = circuit.admit(at(900)).unwrap_err();
        assert_eq!(refusal.to_string(), "not asked: it failed 7 times in a row; one call is trying it now");
    }
}
