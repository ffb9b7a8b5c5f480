//! The replies of a memcached server: never a panic, and a reply is the same however it arrives.
#![no_main]

use cloakroom::store::memcached::wire::{Parsed, parse};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Parsed::Whole(reply, length)) = parse(bytes, LIMIT) else { return };
    assert_eq!(parse(&bytes[..length], LIMIT), Ok(Parsed::Whole(reply, length)), "what follows does not matter");
    for end in 0..length {
        match parse(&bytes[..end], LIMIT) {
            Ok(Parsed::Part(least)) => assert!(end < least && least <= length),
            other => panic!("{other:?} of the first {end} bytes"),
        }
    }
});
