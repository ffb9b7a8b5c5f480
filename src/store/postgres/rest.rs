//! When the server cannot be reached: nobody calls it for a while, and all are told why.

use super::failure::ConnectError;
use crate::store::pauses::Pauses;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the rests are.
const RESTS: Pauses = Pauses { first: Duration::from_millis(50), longest: Duration::from_secs(1) };

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
        state.until = Some((now + RESTS.after(state.failures), Arc::clone(error)));
        state.failures = state.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_side_by_side_count_once_and_a_success_ends_the_rest() {
        let (rest, now) = (Rest::default(), Instant::now());
        let error = Arc::new(ConnectError::Silent { server: String::new(), limit: RESTS.longest });
        assert!(rest.reason(now).is_none());
        for _ in 0..20 {
            rest.begin(now, &error);
        }
        assert!(rest.reason(now).is_some());
        assert!(rest.reason(now + RESTS.first).is_none(), "one failure, so the first rest");
        rest.begin(now + RESTS.first, &error);
        rest.end();
        assert!(rest.reason(now + RESTS.first).is_none());
    }
}
