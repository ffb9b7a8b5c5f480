//! Which server holds which item: rendezvous hashing.
//!
//! Every server has a seed, the beginning of a digest of its name. A key's score at a server is a mix of that seed and the
//! first eight bytes of the key, and the server with the highest score holds the key. So the order of the servers in the
//! file does not matter; when one of N is taken away only its keys move, evenly to the others; when one is added it takes
//! its share evenly from all. A server that is down keeps its share: sessions are never looked for where they are not.

use super::server::MemcachedServer;
use sha2::{Digest as _, Sha256};

/// The servers' seeds, in the order of the servers.
pub(super) struct Ring(Vec<u64>);

impl Ring {
    pub(super) fn new(servers: &[MemcachedServer]) -> Self {
        Self(servers.iter().map(seed).collect())
    }

    /// The number of the server that holds what is kept under `digest`.
    pub(super) fn place(&self, digest: &[u8; 32]) -> usize {
        let key = number(digest);
        let scores = self.0.iter().map(|seed| (mix(seed ^ key), seed));
        scores.enumerate().max_by_key(|(_, score)| *score).map_or(0, |(place, _)| place)
    }
}

/// From the name alone, as it is written in errors: `10.0.0.7:11211`.
fn seed(server: &MemcachedServer) -> u64 {
    let mut digest = Sha256::new();
    digest.update(b"cloakroom memcached ring 1");
    digest.update(server.to_string());
    number(&digest.finalize().into())
}

fn number(digest: &[u8; 32]) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// The finaliser of splitmix64: every bit of the outcome depends on every bit that goes in.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(names: &[&str]) -> Vec<MemcachedServer> {
        names.iter().map(|name| MemcachedServer::parse(name).unwrap()).collect()
    }

    fn keys() -> impl Iterator<Item = [u8; 32]> {
        (0..10_000_u32).map(|n| Sha256::digest(n.to_be_bytes()).into())
    }

    /// The server of each key, by name.
    fn places(names: &[&str]) -> Vec<String> {
        let servers = servers(names);
        let ring = Ring::new(&servers);
        keys().map(|key| servers[ring.place(&key)].to_string()).collect()
    }

    #[test]
    fn every_server_holds_its_share() {
        let names = ["10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211", "unix:/run/memcached.sock"];
        let places = places(&names);
        for name in names {
            let share = places.iter().filter(|place| *place == name).count();
            assert!((2200..2800).contains(&share), "{name} holds {share} of 10000");
        }
    }

    #[test]
    fn the_order_of_the_servers_does_not_matter() {
        assert_eq!(places(&["a", "b", "c"]), places(&["c", "a", "b"]));
    }

    #[test]
    fn only_the_share_of_a_removed_server_moves() {
        let (before, after) = (places(&["a", "b", "c", "d"]), places(&["a", "b", "d"]));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(moved.iter().all(|(before, _)| *before == "c:11211"));
        for heir in ["a:11211", "b:11211", "d:11211"] {
            let share = moved.iter().filter(|(_, after)| *after == heir).count();
            assert!((600..1100).contains(&share), "{heir} takes {share} of {}", moved.len());
        }
    }

    /// A known answer: another release must find what this one wrote.
    #[test]
    fn the_places_are_the_same_in_every_release() {
        let ring = Ring::new(&servers(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]));
        let places: Vec<usize> = keys().take(12).map(|key| ring.place(&key)).collect();
        assert_eq!(places, [0, 1, 2, 2, 1, 2, 0, 2, 2, 2, 2, 1]);
    }
}
