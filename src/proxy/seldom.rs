//! What happens with many requests is told once in a while, not with every request.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How many things are remembered.
const MEMORY: usize = 1024;

/// Which things were told lately.
#[derive(Debug)]
pub(super) struct Seldom<K> {
    interval: Duration,
    known: Mutex<HashMap<K, Told>>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    last: Instant,
    /// How often it has happened since.
    since: u64,
}

impl<K: Eq + Hash> Seldom<K> {
    /// Each thing is told at most once in `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, known: Mutex::default() }
    }

    /// `None`: it was told lately. Otherwise it is to be told now, with how often it has happened since the last time.
    pub(super) fn due(&self, thing: K, now: Instant) -> Option<u64> {
        let mut known = self.known.lock();
        let lately = |told: &Told| now.duration_since(told.last) < self.interval;
        if let Some(told) = known.get_mut(&thing) {
            if lately(told) {
                told.since = told.since.saturating_add(1);
                return None;
            }
            let missed = told.since;
            *told = Told { last: now, since: 0 };
            return Some(missed);
        }
        if known.len() >= MEMORY {
            known.retain(|_, told| lately(told));
        }
        if known.len() >= MEMORY {
            return None;
        }
        known.insert(thing, Told { last: now, since: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    #[test]
    fn a_thing_is_told_once_in_an_interval_with_what_was_missed() {
        let (seldom, start) = (Seldom::new(INTERVAL), Instant::now());
        assert_eq!(seldom.due("a", start), Some(0));
        assert_eq!(seldom.due("b", start), Some(0), "another thing is told for itself");
        for second in 1..=5 {
            assert_eq!(seldom.due("a", start + Duration::from_secs(second)), None);
        }
        assert_eq!(seldom.due("a", start + INTERVAL), Some(5));
        assert_eq!(seldom.due("a", start + INTERVAL), None);
        assert_eq!(seldom.due("a", start + INTERVAL * 2), Some(1));
    }

    #[test]
    fn many_things_neither_fill_the_memory_nor_the_log() {
        let (seldom, start) = (Seldom::new(INTERVAL), Instant::now());
        let told = (0..MEMORY * 2).filter(|thing| seldom.due(*thing, start).is_some()).count();
        assert_eq!((told, seldom.known.lock().len()), (MEMORY, MEMORY));
        assert_eq!(seldom.due(usize::MAX, start + INTERVAL), Some(0), "old ones make room");
    }
}
