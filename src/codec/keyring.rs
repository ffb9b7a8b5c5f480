//! Keys: the first seals, all open.
