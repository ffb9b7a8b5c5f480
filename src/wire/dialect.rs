//! Other notations than pairs: JSON, and the names of Apache's `mod_session`.

/// The request header that a CGI reads as `HTTP_SESSION`, the variable of `SessionEnv On`.
pub const MOD_SESSION_REQUEST: &str = "Session";
/// The response header that `SessionHeader` names in Apache's own documentation.
pub const MOD_SESSION_REPLACE: &str = "X-Replace-Session";
