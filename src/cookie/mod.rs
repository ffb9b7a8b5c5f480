//! The session cookie: its policy, its `Set-Cookie` lines, and finding it in `Cookie`. Knows nothing of sessions.

pub mod header;
mod policy;

pub use policy::{Attributes, CookieName, CookieOptions, CookiePolicy, CookieProblem, MAX_COOKIE_BYTES, SameSite};
