//! Pauses between attempts to reach a server: each twice as long as the one before it, up to a longest.

use crate::session::random;
use std::time::Duration;

/// How long to leave a server alone that was not reached.
pub(super) struct Pauses {
    /// After the first failure.
    pub(super) first: Duration,
    /// After many; and so how late a server that is back is noticed.
    pub(super) longest: Duration,
}

impl Pauses {
    /// The next one, when so many have been made since it last went well.
    pub(super) fn after(&self, made: u32) -> Duration {
        jittered(self.first.saturating_mul(2_u32.saturating_pow(made)).min(self.longest))
    }
}

/// Between half of it and all of it, so that many proxies do not come back at once.
pub(super) fn jittered(pause: Duration) -> Duration {
    let chance = random().map_or(0, u16::from_be_bytes);
    pause / 2 + pause / 2 * u32::from(chance) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_up_to_the_longest_and_no_further() {
        let pauses = Pauses { first: Duration::from_millis(50), longest: Duration::from_secs(1) };
        for made in [0, 1, 4, 5, 31, 32, u32::MAX] {
            let longest = (0.05 * 2_f64.powi(i32::try_from(made.min(20)).unwrap())).min(1.0);
            for _ in 0..100 {
                let pause = pauses.after(made).as_secs_f64();
                assert!((longest / 2.0..=longest).contains(&pause), "{pause} after {made}");
            }
        }
    }
}
