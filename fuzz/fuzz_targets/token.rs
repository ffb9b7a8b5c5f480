//! The cookies of a browser: never a panic, and nothing that we did not issue opens.
#![no_main]

use cloakroom::codec::{Binding, Key, KeyRing, TokenMode, open_ticket, open_token};
use cloakroom::secret::Secret;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(ring) = KeyRing::new(vec![Key::new("k", &Secret::new([1; 32]))]) else { return };
    let binding = Binding::new("session", "main");
    assert!(open_ticket(&ring, &binding, text).is_err());
    for mode in [TokenMode::Sealed, TokenMode::Signed] {
        assert!(open_token(&ring, &binding, mode, text).is_err());
    }
});
