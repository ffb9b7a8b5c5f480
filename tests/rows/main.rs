//! One test for each feature of the five libraries that came before: tipfy, Beaker, Werkzeug, webapp2, secure-cookie.
//!
//! Each names the rows of `docs/from-the-libraries.md` that it proves in a comment before its `#[test]`. The applications are written in PHP,
//! Perl, Python and JavaScript, with the snippets that ship; the sessions lie in memory, on disk and in Redis; and no test
//! waits for a clock: it moves the clock.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod backends;
mod changing;
mod configuration;
mod cookies;
mod flashes;
mod life;
mod page;
mod place;
mod plugging;
mod reading;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod table;
