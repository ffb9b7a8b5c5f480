//! The admin socket: who may connect, what it bears, and what an operator learns and ends by it.

#[path = "../servers/mod.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;

mod history;
mod sessions;
mod shared;
mod socket;
