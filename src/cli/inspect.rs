//! `cloakroom cookie inspect`: what a cookie of ours is, offline, with the keys of the file.

use crate::app;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::codec::{Binding, Freshness, KeyRing, TokenMode, open_ticket, open_token};
use crate::config::Config;
use crate::manager::Keep;
use crate::session::View;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Says what `value` is under each session policy of the file; never what the session holds.
pub(super) fn inspect(config: &Config, value: &str) -> ExitCode {
    let ring = match app::key_ring(config) {
        Ok(ring) => ring,
        Err(error) => {
            super::print_error(&error);
            return ExitCode::FAILURE;
        }
    };
    // A person pastes what the browser shows: with the name, or without.
    let value = value.trim();
    let bare = value.split_once('=').map_or(value, |(_, bare)| bare);
    let bare = bare.split(';').next().unwrap_or_default().trim();
    let found = config.policies.iter().find_map(|policy| describe(policy, &ring, bare, SystemClock.now()));
    let Some(text) = found else {
        eprintln!("no key of the file opens this: it was issued elsewhere, under another name, or changed");
        return ExitCode::FAILURE;
    };
    print!("{text}");
    ExitCode::SUCCESS
}

fn describe(policy: &crate::config::Policy, ring: &KeyRing, value: &str, now: Timestamp) -> Option<String> {
    let options = &policy.options;
    let binding = Binding::new(options.cookie.name().as_str(), &options.name);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "policy     {}\ncookie     {}", options.name, options.cookie.name());
    let mode = match options.keep {
        Keep::Store(_) => {
            let (id, freshness) = open_ticket(ring, &binding, value.as_bytes()).ok()?;
            let _ = writeln!(text, "kind       a ticket for a session in a store\n{}", key_line(freshness));
            let _ = writeln!(text, "store key  {}", hex(id.store_key().as_bytes()));
            return Some(text);
        }
        Keep::Browser(protection) => TokenMode::from(protection),
    };
    let token = open_token(ring, &binding, mode, value.as_bytes()).ok()?;
    let view = View::parse(&token.record).ok()?;
    let end = options.expiry.absolute_deadline(view.head.started_at, view.head.absolute);
    let _ = writeln!(text, "kind       a session that the browser keeps, {mode:?}\n{}", key_line(token.freshness));
    let _ = writeln!(text, "reference  {}\nversion    {}", view.head.lineage, view.head.revision);
    let _ = writeln!(text, "keys       {} ({} bytes in all)", view.values.len(), token.record.len());
    let _ = writeln!(text, "created    {} seconds ago", view.head.created_at.until(now).as_secs());
    let state = if token.deadline.has_passed(now) || end.has_passed(now) { "expired" } else { "live" };
    let _ = writeln!(text, "idle left  {} seconds", now.until(token.deadline).as_secs());
    let _ = writeln!(text, "ends in    {} seconds\nstate      {state}", now.until(end).as_secs());
    Some(text)
}

fn key_line(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Current => "key        the one that seals today",
        Freshness::Outdated => "key        an older one; the next answer issues the cookie again",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
