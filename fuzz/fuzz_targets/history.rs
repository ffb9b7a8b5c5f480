//! The history of a session as a store hands it back, sealed and opened: never a panic, what is read is written again as it
//! was, and what happens next still fits.
#![no_main]

use cloakroom::clock::Timestamp;
use cloakroom::codec::{Key, KeyRing, open_history};
use cloakroom::secret::Secret;
use cloakroom::session::{Happening, History, StoreKey, What};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static RING: LazyLock<KeyRing> =
    LazyLock::new(|| KeyRing::new(vec![Key::new("k", &Secret::new([1; 32]))]).expect("one key is a ring"));

fuzz_target!(|bytes: &[u8]| {
    assert!(open_history(&RING, &StoreKey::from_bytes([7; 32]), bytes).is_err(), "nobody guesses a seal");
    let Ok(mut history) = History::decode(bytes) else { return };
    assert_eq!(history.encode(), bytes);
    let _ = history.happenings.iter().map(|happening| happening.asked.to_string()).count();
    history.note(Happening::by_nobody(What::Revoked, Timestamp::NEVER), 20);
    assert!(history.happenings.len() <= 20);
    assert_eq!(History::decode(&history.encode()).as_ref(), Ok(&history));
});
