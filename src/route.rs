//! Which route takes a request.

/// Which requests a route takes.
#[derive(Clone, Debug)]
pub struct Matcher {}
