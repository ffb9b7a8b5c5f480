//! What a real browser makes of our cookies, messages and pages: Chromium, steered by `ChromeDriver`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../servers/mod.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;

mod application;
mod attributes;
mod driver;
mod messages;
mod sites;
mod visits;

use support::upstream::{Reply, ok, status};

/// A page with this inside.
fn page(html: &str) -> Reply {
    ok().body(format!("<!doctype html><title>page</title>{html}"))
}

/// What the application is told, as a page.
fn mirror() -> Reply {
    page("<pre>state={state} data={data} flashes={flashes}</pre>")
}

/// A redirection after a form.
fn see_other(path: &str) -> Reply {
    status(303).with("Location", path).body("")
}
