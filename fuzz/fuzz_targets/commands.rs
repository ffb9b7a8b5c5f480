//! The response headers of a backend: never a panic, and what was understood can be applied or is refused.
#![no_main]

use cloakroom::clock::Timestamp;
use cloakroom::session::{Keys, Limits, Lineage, Name, Picked, Record};
use cloakroom::wire::response::Commands;
use cloakroom::wire::{Charset, Dialect, HeaderOptions, Prefix};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<(String, Vec<u8>)>)| {
    let (choice, lines) = input;
    let mut options = HeaderOptions::new(Prefix::default());
    options.dialect = [Dialect::Form, Dialect::Json, Dialect::ModSession][usize::from(choice % 3)];
    let charsets = ["utf-8", "windows-1252", "shift_jis"];
    options.charset = Charset::parse(charsets[usize::from(choice / 3 % 3)]).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (verb, value) in &lines {
        let name = HeaderName::from_bytes(format!("x-session-{verb}").as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    if let Ok(Some(heard)) = Commands::new(&options).read(&headers) {
        let now = Timestamp::from_millis(1);
        let mut record = Record::new(Lineage::from_bytes([0; 12]), now);
        let _ = heard.batch.changes.apply(&mut record, &Keys::All, &Limits::default(), now);
        assert!(record.flashes.iter().all(|flash| flash.list().is_none_or(Name::is_valid)));
        let picked = heard.batch.flash_keep.iter().chain(&heard.batch.flash_read);
        for (picked, flash) in picked.flat_map(|picked| record.flashes.iter().map(move |flash| (picked, flash))) {
            assert!(picked.has(flash) || *picked != Picked::All);
        }
    }
});
