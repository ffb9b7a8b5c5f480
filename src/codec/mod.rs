//! Sealing: tickets for sessions in a store, records at rest, histories, whole sessions in a cookie. Bytes and keys, no I/O.
//!
//! Every format begins with a version. The key ring seals with its first key and opens with all.

mod at_rest;
mod csrf;
mod history;
mod imprint;
mod keyring;
mod salted;
mod ticket;
mod token;

pub use at_rest::{AtRest, Label};
pub use csrf::{CSRF_LEN, csrf_token, is_csrf_token};
pub use history::{open_history, seal_history};
pub use imprint::{imprint, is_imprint};
pub use keyring::{Binding, Freshness, Key, KeyRing, RingError};
pub use ticket::{TICKET_LEN, open_ticket, seal_ticket};
pub use token::{OpenedToken, TokenMode, open_token, seal_token};

/// The bytes were not written by us for this purpose. Says no more, so that nobody can learn from it (CP8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value was not issued here")]
pub struct NotOurs;
