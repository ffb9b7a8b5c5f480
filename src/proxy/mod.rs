//! Proxy.
pub mod options;
