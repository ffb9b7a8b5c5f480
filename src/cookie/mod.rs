//! Cookies: the session cookie with its policy and its `Set-Cookie` lines, finding it in `Cookie`, and what a browser
//! makes of the cookies of a backend. Knows nothing of sessions.

mod date;
mod hardening;
pub mod header;
pub mod jar;
mod pattern;
mod policy;
mod set_cookie;
pub mod strangers;

pub use hardening::Hardening;
pub use pattern::NamePattern;
pub use policy::{Attributes, CookieName, CookieOptions, CookiePolicy, CookieProblem, MAX_COOKIE_BYTES, SameSite};
pub use set_cookie::SetCookie;
