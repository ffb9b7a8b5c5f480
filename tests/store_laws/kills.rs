//! A process that writes to the disk store is killed at random moments, again and again (ST8).
//!
//! `CLOAKROOM_KILLS=1000 cargo test --test store_laws kills -- --nocapture` kills it so often, instead of twenty times, and
//! says how long it took to open the file afterwards.

use crate::processes::{Acknowledged, MODES, Writer, assert_whole};
use crate::support::open_disk;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// How often, unless the environment says otherwise.
const KILLS: usize = 20;

// Law 7; ST8, ST9
#[tokio::test]
async fn a_killed_process_has_lost_nothing_it_acknowledged() {
    let kills = std::env::var("CLOAKROOM_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    let mut openings = Vec::new();
    for round in 0..kills {
        let mode = round % MODES.len();
        let random = RandomState::new().hash_one(round);
        let mut child = Writer::start(directory.path(), mode, 0);
        if round % 5 == 4 {
            // While it starts, opens the file and puts right what the last one left behind.
            std::thread::sleep(Duration::from_micros(random % 40_000));
        } else {
            // After the first acknowledgements, or after some transactions and checkpoints.
            child.hear(&mut acknowledged, random % 3_000 + 1);
        }
        child.kill(&mut acknowledged);

        let start = Instant::now();
        let store = open_disk(directory.path(), MODES[mode]);
        openings.push(start.elapsed());
        acknowledged.check(&store, &format!("round {round}, {:?}", MODES[mode])).await;
        assert_whole(directory.path());
    }
    assert!(acknowledged.is_full());
    openings.sort_unstable();
    let (least, median, most) = (openings[0], openings[kills / 2], openings[kills - 1]);
    println!("{kills} kills; opened within {least:?} to {most:?}, median {median:?}");
}
