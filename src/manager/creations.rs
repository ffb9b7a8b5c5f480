//! How many sessions an address may begin: a flood of visitors without cookies must not fill a store.
//!
//! A table of fixed size, by the generic cell rate algorithm: what is remembered of an address is the moment at which its
//! budget is whole again. Where more addresses come than the table has room for, those are forgotten whose budget is whole
//! the soonest: then one of them may begin some more, and nobody is refused for what others did.

use crate::clock::Timestamp;
use parking_lot::Mutex;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So many addresses share a lock, and push out each other only.
const WAYS: usize = 4;

/// With [`WAYS`] in each, 65,536 addresses are remembered, in one MiB.
const SETS: u64 = 1 << 14;

/// How often it is told that an address was refused, in milliseconds.
const TOLD_EVERY: u64 = 60_000;

/// So many in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
}

/// What each address has begun of late.
#[derive(Debug)]
pub struct Creations {
    /// What one session costs, and the whole budget, in microseconds.
    step: u64,
    whole: u64,
    /// Keyed by chance, so that nobody can choose addresses that share a set.
    hasher: RandomState,
    /// When it was told last that an address was refused, in milliseconds.
    told_at: AtomicU64,
    sets: Box<[Mutex<[Budget; WAYS]>]>,
}

/// What is left to an address.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    network: u64,
    /// When it is whole again, in microseconds; zero is a place that nobody has taken.
    whole_at: u64,
}

/// The part of an address in the budget of all.
#[derive(Clone, Copy, Debug)]
pub struct Share<'a> {
    /// The budget of all.
    pub creations: &'a Creations,
    /// The visitor's address.
    pub address: IpAddr,
}

impl Share<'_> {
    pub(super) fn take(&self, now: Timestamp) -> bool {
        let is_within = self.creations.take(self.address, now);
        if !is_within && self.creations.is_to_be_told(now) {
            let address = self.address;
            tracing::warn!(%address, "an address begins more sessions than `sessions_created_per_ip` lets it; others may, too");
        }
        is_within
    }
}

impl Creations {
    /// A budget of this size for each address.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let whole = u64::try_from(rate.period.as_micros()).unwrap_or(u64::MAX);
        let step = (whole / u64::from(rate.count.get())).max(1);
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Self { step, whole, hasher: RandomState::new(), told_at: AtomicU64::new(0), sets }
    }

    /// A flood must not fill the log either.
    fn is_to_be_told(&self, now: Timestamp) -> bool {
        let told = self.told_at.load(Ordering::Relaxed);
        let is_due = now.as_millis().abs_diff(told) >= TOLD_EVERY;
        is_due && self.told_at.compare_exchange(told, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether this address may begin one more session now; it has, then.
    #[must_use]
    pub fn take(&self, address: IpAddr, now: Timestamp) -> bool {
        let (network, now) = (network(address), now.as_millis().saturating_mul(1000));
        let index = usize::try_from(self.hasher.hash_one(network) % SETS).unwrap_or_default();
        let mut set = self.sets[index].lock();
        let known = set.iter().position(|budget| budget.network == network && budget.whole_at != 0);
        let place = known.or_else(|| (0..WAYS).min_by_key(|place| set[*place].whole_at)).unwrap_or_default();
        let before = if known.is_some() { set[place].whole_at } else { 0 };
        let limit = now.saturating_add(self.whole);
        // No budget is owed for longer than it takes to become whole: the clock was put back.
        let before = before.clamp(now, limit);
        let after = before.saturating_add(self.step);
        let is_within = after <= limit;
        set[place] = Budget { network, whole_at: if is_within { after } else { before } };
        is_within
    }
}

/// What stands for one customer of a provider: an address of IPv4, or the first 64 bits of one of IPv6.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        // No visitor comes from `ffff::/16`.
        IpAddr::V4(address) => 0xffff << 48 | u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn creations(count: u32) -> Creations {
        Creations::new(Rate { count: NonZeroU32::new(count).unwrap(), period: MINUTE })
    }

    fn taken(creations: &Creations, address: &str, now: Timestamp) -> usize {
        (0..1000).take_while(|_| creations.take(address.parse().unwrap(), now)).count()
    }

    #[test]
    fn an_address_has_its_budget_and_gets_it_back_bit_by_bit() {
        let creations = creations(60);
        assert_eq!(taken(&creations, "10.0.0.1", NOW), 60);
        assert_eq!(taken(&creations, "10.0.0.2", NOW), 60);
        assert_eq!(taken(&creations, "::ffff:10.0.0.1", NOW), 0, "the same address");
        let later = NOW.after(Duration::from_secs(5));
        assert_eq!(taken(&creations, "10.0.0.1", later), 5);
        assert_eq!(taken(&creations, "10.0.0.1", later.after(3 * MINUTE)), 60);
    }

    #[test]
    fn a_network_of_ipv6_is_one_customer() {
        let creations = creations(10);
        assert_eq!(taken(&creations, "2001:db8:1:2::1", NOW), 10);
        assert_eq!(taken(&creations, "2001:db8:1:2:ffff::9", NOW), 0);
        assert_eq!(taken(&creations, "2001:db8:1:3::1", NOW), 10);
    }

    #[test]
    fn a_clock_that_is_put_back_costs_nobody_more_than_one_budget() {
        let creations = creations(60);
        assert_eq!(taken(&creations, "10.0.0.1", NOW.after(1000 * MINUTE)), 60);
        assert_eq!(taken(&creations, "10.0.0.1", NOW), 0);
        assert_eq!(taken(&creations, "10.0.0.1", NOW.after(MINUTE)), 60);
    }

    #[test]
    fn many_addresses_take_no_more_room_and_cost_nobody_his_budget() {
        let creations = creations(10);
        for address in 0..200_000_u32 {
            assert!(creations.take(IpAddr::V4(address.into()), NOW));
        }
        assert_eq!(creations.sets.len() * WAYS, 65_536);
    }
}
