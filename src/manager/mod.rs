//! Session manager.
pub mod options;
pub use options::{Consume, Keep, OnRefused, PolicyOptions, Protection};
