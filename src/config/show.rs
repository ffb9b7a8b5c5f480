//! Placeholder.

/// x
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(super::file::File).into()
}
/// x
pub fn show() {}
