//! The words on the wire: names that belong to us, values both ways, headers out, batches in.
//!
//! `wire` knows `http` types and sessions; it knows nothing of pingora, cookies or stores.

pub mod budget;
pub mod dialect;
pub mod form;
pub mod grammar;
pub mod options;
pub mod profile;
pub mod proof;
pub mod request;
pub mod response;
mod speech;
mod verbs;

pub use budget::{Allowance, Budget, Owed};
pub use options::{Alias, Capture, Charset, Dialect, Forward, HeaderOptions, Prefix, PrefixProblem};
pub use profile::{PROFILES, Profile};

/// How a CGI-like server sees a byte of a header name: letters in upper case, digits, everything else as `_`.
///
/// lighttpd folds every character that is no letter or digit; nothing folds more.
#[must_use]
pub const fn fold_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' }
}

/// A header name as a CGI-like server sees it.
#[must_use]
pub fn fold(name: &str) -> Box<[u8]> {
    name.bytes().map(fold_byte).collect()
}

/// Every name that belongs to us, folded: no client may send one, no client may be sent one (HI1, HI2, HI7).
///
/// One set serves requests and responses of all routes, so there is no route on which it is open.
#[derive(Debug)]
pub struct Reserved {
    prefixes: Vec<Box<[u8]>>,
    names: Vec<Box<[u8]>>,
    first: [bool; 256],
}

impl Reserved {
    /// The names of all session policies together.
    pub fn new<'a>(policies: impl IntoIterator<Item = &'a HeaderOptions>) -> Self {
        let (mut prefixes, mut names) = (Vec::new(), Vec::new());
        for policy in policies {
            prefixes.push(fold(policy.prefix.as_str()));
            names.extend(policy.expose.iter().map(|alias| fold(alias.header.as_str())));
            names.extend(policy.capture.iter().map(|capture| fold(capture.header.as_str())));
            if policy.dialect == Dialect::ModSession {
                names.extend([fold(dialect::MOD_SESSION_REQUEST), fold(dialect::MOD_SESSION_REPLACE)]);
            }
        }
        let mut first = [false; 256];
        for folded in prefixes.iter().chain(&names) {
            first[usize::from(folded[0])] = true;
        }
        Self { prefixes, names, first }
    }

    /// Whether `name` folds to one of ours or begins with one of our prefixes.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let bytes = name.as_bytes();
        let Some(&first) = bytes.first() else { return false };
        if !self.first[usize::from(fold_byte(first))] {
            return false;
        }
        let starts = |folded: &[u8]| {
            bytes.len() >= folded.len() && folded.iter().zip(bytes).all(|(want, have)| *want == fold_byte(*have))
        };
        self.prefixes.iter().any(|prefix| starts(prefix))
            || self.names.iter().any(|name| name.len() == bytes.len() && starts(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Name;
    use http::HeaderName;

    fn reserved() -> Reserved {
        let mut options = HeaderOptions::new(Prefix::default());
        let key = Name::parse("user").unwrap();
        options.expose.push(Alias { key: key.clone(), header: HeaderName::from_static("x-remote-user"), raw: false });
        options.capture.push(Capture { header: HeaderName::from_static("x-auth-user"), key });
        Reserved::new([&options])
    }

    #[test]
    fn every_spelling_that_a_backend_folds_to_ours_is_ours() {
        // HI1: what lighttpd, php -S and cheroot fold into one variable
        for name in [
            "x-session-data",
            "X_Session_Data",
            "x.session.data",
            "x!session#data",
            "x-session-",
            "x~session~anything",
            "x_remote.user",
            "X-Auth-User",
        ] {
            assert!(reserved().has(name), "{name}");
        }
    }

    #[test]
    fn strangers_pass() {
        for name in ["x-session", "x-sessions", "cookie", "x-remote-user-agent", "xx-session-data", ""] {
            assert!(!reserved().has(name), "{name}");
        }
    }
}
