//! Cloakroom.
pub mod clock;
pub mod codec;
pub mod cookie;
pub mod manager;
pub mod proxy;
pub mod route;
pub mod secret;
pub mod session;
pub mod store;
pub mod wire;
