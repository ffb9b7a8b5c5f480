//! The file of an operator: never a panic, whatever it holds.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = cloakroom::config::parse(text, "fuzz").map_err(|problems| problems.to_string());
});
