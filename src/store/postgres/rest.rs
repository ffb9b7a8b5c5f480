//! When the server cannot be reached: nobody calls it for a while, and all are told why.

use super::failure::ConnectError;
use crate::session::random;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the rest is after a first failure, and at most; in between it doubles.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// What the lanes of a store know of their server: what one of them finds out holds for all.
#[derive(Default)]
pub(super) struct Rest(Mutex<State>);

#[derive(Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// Until when nobody calls, and why.
    until: Option<(Instant, Arc<ConnectError>)>,
}

impl Rest {
    /// Why nobody is to call now.
    pub(super) fn reason(&self, now: Instant) -> Option<Arc<ConnectError>> {
        let state = self.0.lock();
        state.until.as_ref().filter(|(until, _)| now < *until).map(|(_, error)| Arc::clone(error))
    }

    /// The server was reached: whoever wants to call may do so at once.
    pub(super) fn end(&self) {
        *self.0.lock() = State::default();
    }

    /// The server was called and not reached. Calls that fail side by side count as one.
    pub(super) fn begin(&self, now: Instant, error: &Arc<ConnectError>) {
        let mut state = self.0.lock();
        if state.until.as_ref().is_some_and(|(until, _)| now < *until) {
            return;
        }
        state.until = Some((now + length(state.failures), Arc::clone(error)));
        state.failures = state.failures.saturating_add(1);
    }
}

/// Between half of it and all of it, so that proxies do not come back all at once.
fn length(failures: u32) -> Duration {
    let longest = FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST);
    let chance = random().map_or(0, u16::from_be_bytes);
    longest / 2 + (longest / 2) * u32::from(chance) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_grows_to_a_second_and_no_further() {
        for failures in [0, 1, 4, 5, 31, 32, u32::MAX] {
            let length = length(failures);
            let longest = (0.05 * 2_f64.powi(i32::try_from(failures.min(20)).unwrap())).min(1.0);
            assert!((longest / 2.0..=longest).contains(&length.as_secs_f64()), "{length:?} after {failures}");
        }
    }

    #[test]
    fn failures_side_by_side_count_once_and_a_success_ends_the_rest() {
        let (rest, now) = (Rest::default(), Instant::now());
        let error = Arc::new(ConnectError::Silent { server: String::new(), limit: LONGEST });
        assert!(rest.reason(now).is_none());
        for _ in 0..20 {
            rest.begin(now, &error);
        }
        assert!(rest.reason(now).is_some());
        assert!(rest.reason(now + FIRST).is_none(), "one failure, so the first rest");
        rest.begin(now + FIRST, &error);
        rest.end();
        assert!(rest.reason(now + FIRST).is_none());
    }
}
