//! The bytes of a store: never a panic, and what is read is written again as it was.
#![no_main]

use cloakroom::session::{EndedOwner, Roster, Stored, View, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Stored::kind(bytes);
    if let Ok(roster) = Roster::decode(bytes) {
        assert_eq!(roster.encode(), bytes);
    }
    if let Ok(note) = EndedOwner::decode(bytes) {
        assert_eq!(note.encode(), bytes);
    }
    if let Ok(record) = View::parse(bytes).and_then(|view| view.to_record()) {
        let written = encode(&record);
        let read = View::parse(&written).and_then(|view| view.to_record());
        assert_eq!(read.as_ref(), Ok(&record));
    }
});
