//! The visitor's session.
pub mod id;
pub use id::{Lineage, NoRandomness, OwnerKey, SessionId, StoreKey};
