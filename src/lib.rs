//! Cloakroom.
pub mod clock;
pub mod secret;
pub mod session;
pub mod store;
