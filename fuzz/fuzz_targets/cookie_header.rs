//! The `Cookie` lines of a client: never a panic, and whatever comes, none of ours is left.
#![no_main]

use cloakroom::cookie::CookieName;
use cloakroom::cookie::header::{Rest, split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|lines: Vec<Vec<u8>>| {
    let names: Vec<_> = ["session", "cart"].iter().filter_map(|name| CookieName::parse(name).ok()).collect();
    if let Rest::Line(line) = split(lines.iter().map(Vec::as_slice), &names).rest {
        assert!(split([line.as_slice()], &names).ours.is_empty());
    }
});
