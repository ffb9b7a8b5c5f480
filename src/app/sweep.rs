//! Expired sessions are removed in the background, a slice at a time.

use crate::clock::Clock;
use crate::session::random;
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;

/// How many entries are removed in one go.
const SLICE: usize = 1000;

/// How many full slices follow each other before there is a pause: what is left has time until the next turn.
const SLICES: usize = 100;

/// How often the store of one process is swept.
const OWN: Duration = Duration::from_secs(1);

/// How often a store is swept that several servers share: each of them does.
const SHARED: Duration = Duration::from_secs(10);

/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(60);

/// Sweeps a store for as long as the task lives.
pub(super) async fn sweep(name: String, store: Arc<dyn Store>, clock: Arc<dyn Clock>, is_shared: bool) {
    let interval = if is_shared { SHARED } else { OWN };
    let mut failures = 0;
    loop {
        tokio::time::sleep(pause(interval, failures, chance())).await;
        failures = match turn(&*store, &*clock).await {
            Ok(()) => 0,
            Err(error) => {
                // Once for a row of failures: the requests tell about the rest.
                if failures == 0 {
                    tracing::warn!(store = name, %error, "expired sessions are not removed");
                }
                failures.saturating_add(1)
            }
        };
    }
}

/// Removes slices until one is not full, or enough for one turn.
async fn turn(store: &dyn Store, clock: &dyn Clock) -> Result<(), crate::store::StoreError> {
    for _ in 0..SLICES {
        if store.sweep(clock.now(), SLICE).await? < SLICE {
            break;
        }
        // Others have their turn in between.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The interval, doubled with each failure in a row; a quarter more or less by chance, so that servers that started
/// together do not sweep together.
fn pause(interval: Duration, failures: u32, chance: u8) -> Duration {
    let doubled = interval.saturating_mul(1 << failures.min(6)).min(LONGEST);
    doubled.mul_f64(0.75 + f64::from(chance) / 512.0)
}

fn chance() -> u8 {
    // Without randomness the servers sweep together, which is no reason to stop.
    random::<1>().map_or(u8::MAX / 2, |[byte]| byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::session::StoreKey;
    use crate::store::{Entry, Index, StoreError, Version, Written};
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A store with so many slices of expired entries, which counts how often it is swept; with none it is broken.
    #[derive(Debug)]
    struct Dusty {
        slices: usize,
        swept: AtomicUsize,
    }

    impl Dusty {
        fn new(slices: usize) -> Arc<Self> {
            Arc::new(Self { slices, swept: AtomicUsize::new(0) })
        }

        fn broken() -> StoreError {
            StoreError::TimedOut { store: "dusty", limit: OWN }
        }
    }

    #[async_trait]
    impl Store for Dusty {
        async fn load(&self, _: &StoreKey, _: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
            Err(Self::broken())
        }
        async fn create(&self, _: &StoreKey, _: Entry, _: Timestamp) -> Result<Written, StoreError> {
            Err(Self::broken())
        }
        async fn replace(&self, _: &StoreKey, _: Entry, _: Version, _: Timestamp) -> Result<Written, StoreError> {
            Err(Self::broken())
        }
        async fn delete(&self, _: &StoreKey) -> Result<(), StoreError> {
            Err(Self::broken())
        }
        async fn sweep(&self, _: Timestamp, limit: usize) -> Result<usize, StoreError> {
            let swept = self.swept.fetch_add(1, Ordering::Relaxed);
            match self.slices {
                0 => Err(Self::broken()),
                slices => Ok(if swept < slices { limit } else { 0 }),
            }
        }
        fn index(&self) -> Option<&dyn Index> {
            None
        }
        fn promise(&self) -> &'static str {
            "nothing"
        }
    }

    #[test]
    fn no_two_servers_sweep_at_the_same_time_for_long() {
        assert_eq!(pause(SHARED, 0, 0), Duration::from_millis(7500));
        assert!(
            pause(SHARED, 0, 255) > Duration::from_secs(12) && pause(SHARED, 0, 255) < Duration::from_millis(12_500)
        );
    }

    #[test]
    fn a_store_that_fails_is_asked_less_and_less_often() {
        let pauses: Vec<u64> = (0..9).map(|failures| pause(OWN, failures, 128).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(SHARED, u32::MAX, 128), LONGEST);
    }

    #[tokio::test]
    async fn a_turn_goes_on_while_slices_are_full_and_ends_all_the_same() {
        let clock = ManualClock::default();
        for (slices, calls) in [(3, 4), (1_000_000, SLICES)] {
            let store = Dusty::new(slices);
            turn(&*store, &clock).await.unwrap();
            assert_eq!(store.swept.load(Ordering::Relaxed), calls);
        }
        let broken = Dusty::new(0);
        assert!(turn(&*broken, &clock).await.is_err());
        assert_eq!(broken.swept.load(Ordering::Relaxed), 1, "a failure ends the turn");
    }
}
