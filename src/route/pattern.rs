//! The patterns of a route: hosts, paths, methods, and what is wrong with one.

use super::reading::{self, Reading};
use http::Method;
use regex::bytes::{Regex, RegexBuilder};
use std::fmt;

/// The most bytes that a compiled `path_regex` may take: one expression must not take the memory of the proxy.
const REGEX_LIMIT: usize = 256 * 1024;

/// Why a text is no pattern, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternProblem {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: String,
}

fn problem<T>(message: impl Into<String>, remedy: impl Into<String>) -> Result<T, PatternProblem> {
    Err(PatternProblem { message: message.into(), remedy: remedy.into() })
}

/// A host name, or `*.` and the end of host names; compared without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `example.org`, or `.example.org` for a wildcard.
    name: Box<str>,
    wildcard: bool,
}

impl Host {
    /// Reads `apps.example.org`, `*.example.org` (any depth below, not `example.org` itself), `10.0.0.1` or `[::1]`.
    ///
    /// # Errors
    /// [`PatternProblem`] for a port, a misplaced `*`, and what is no host name.
    pub fn parse(text: &str) -> Result<Self, PatternProblem> {
        const SHAPE: &str = "write a name such as `apps.example.org`, or `*.example.org` for everything below it";
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return match inner.parse::<std::net::Ipv6Addr>() {
                Ok(_) => Ok(Self { name: text.to_ascii_lowercase().into(), wildcard: false }),
                Err(_) => problem(format!("`{text}` is not an IPv6 address"), "write it as `[::1]`"),
            };
        }
        if let Some((name, port)) = text.rsplit_once(':')
            && port.bytes().all(|b| b.is_ascii_digit())
        {
            return problem(format!("`{text}` has a port, and routes do not look at it"), format!("write `{name}`"));
        }
        let wildcard = text.starts_with("*.");
        let name = text.strip_prefix('*').filter(|_| wildcard).unwrap_or(text);
        if !name.is_ascii() {
            return problem(
                format!("`{text}` has letters outside ASCII"),
                "write the name in its encoded form, which begins with `xn--`",
            );
        }
        if name.contains('*') {
            return problem(format!("`{text}` has a `*` that does not stand for whole labels in front"), SHAPE);
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if !name.strip_prefix('.').unwrap_or(name).split('.').all(label) || (name.starts_with('.') && !wildcard) {
            return problem(format!("`{}` is not a host name", text.escape_default()), SHAPE);
        }
        Ok(Self { name: name.to_ascii_lowercase().into(), wildcard })
    }

    pub(super) fn matches(&self, host: &str) -> bool {
        let (ours, host) = (self.name.as_bytes(), host.as_bytes());
        if self.wildcard {
            host.len() > ours.len() && host[host.len() - ours.len()..].eq_ignore_ascii_case(ours)
        } else {
            host.eq_ignore_ascii_case(ours)
        }
    }

    /// Whether every host of `other` is one of this.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self == other || (self.wildcard && self.matches(&other.name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*" } else { "" }, self.name)
    }
}

/// The paths of a route, compared with what a backend reads, percent-decoded.
#[derive(Clone, Debug, Default)]
pub enum PathPattern {
    /// Every path.
    #[default]
    All,
    /// This path and no other.
    Exact(Box<str>),
    /// This path and everything below it; it does not end in a slash.
    Below(Box<str>),
    /// What the expression matches from the beginning of the path.
    Regex(Regex),
}

impl PathPattern {
    /// Reads `/x` (exactly this), `/x/*` (this and what is below, by segment) or `/*` (every path).
    ///
    /// # Errors
    /// [`PatternProblem`] for a path that no request can have, and for a `*` that does not end it.
    pub fn parse(text: &str) -> Result<Self, PatternProblem> {
        if !text.starts_with('/') {
            return problem(
                format!("`{}` does not begin with `/`", text.escape_default()),
                format!("write `/{}`", text.trim_start_matches("./")),
            );
        }
        let (path, below) = match text.strip_suffix("/*") {
            Some(path) => (path, true),
            None => (text, false),
        };
        if path.contains('*') {
            return problem(
                format!("`{text}` has a `*` that is not its last segment"),
                "write `/x/*` for everything below `/x`, or use `path_regex`",
            );
        }
        if path.contains(['?', '#']) || path.bytes().any(|b| b.is_ascii_control()) {
            return problem(
                format!("`{}` has a character that no path has", text.escape_default()),
                "routes look at the path only, not at the query",
            );
        }
        if path.is_empty() {
            return Ok(Self::All);
        }
        let read = match reading::read(path.as_bytes()) {
            Reading::Plain(_) => path.to_owned(),
            Reading::Ways(ways) => match ways.as_slice() {
                [way] => String::from_utf8_lossy(way).into_owned(),
                _ => {
                    return problem(
                        format!(
                            "`{text}` has an encoded slash, a backslash or a `;`, which backends read in different ways"
                        ),
                        "match the part in front of it, such as `/x/*`",
                    );
                }
            },
            Reading::Nothing => return problem(format!("`{text}` has a NUL"), "remove `%00`"),
        };
        // Encoded letters are welcome; `//`, `.` and `..` would never be met in what is compared.
        if read.split('/').count() != path.split('/').count() || has_dots(path) {
            return problem(
                format!("`{text}` has an empty segment, `.` or `..`, and is compared with paths that have none"),
                format!("write `{read}{}`", if below { "/*" } else { "" }),
            );
        }
        let read = if below { read.trim_end_matches('/') } else { &read };
        Ok(if below { Self::Below(read.into()) } else { Self::Exact(read.into()) })
    }

    /// Reads a regular expression, which is anchored at the start of the path and not at its end.
    ///
    /// # Errors
    /// [`PatternProblem`] for what is no expression, and for one that is too large.
    pub fn regex(text: &str) -> Result<Self, PatternProblem> {
        // First as it stands, so that a stray parenthesis is not balanced by ours.
        let build = |text: &str| RegexBuilder::new(text).size_limit(REGEX_LIMIT).dfa_size_limit(REGEX_LIMIT).build();
        match build(text).and_then(|_| build(&format!("^(?:{text})"))) {
            Ok(regex) => Ok(Self::Regex(regex)),
            Err(regex::Error::CompiledTooBig(_)) => problem(
                format!("`{text}` takes more than {} KiB when compiled", REGEX_LIMIT / 1024),
                "make its repetitions smaller, or use several routes",
            ),
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                problem(
                    format!("`{}` is not a regular expression: {reason}", text.escape_default()),
                    "the syntax is that of the Rust crate `regex`; in TOML write it between single quotes",
                )
            }
        }
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Exact(own) => own.as_bytes() == path,
            Self::Below(own) => {
                path.strip_prefix(own.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }

    /// Whether every path of `other` is one of this, as far as can be told without looking into expressions.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Exact(own), Self::Exact(other)) => own == other,
            (Self::Below(_), Self::Exact(other) | Self::Below(other)) => self.matches(other.as_bytes()),
            (Self::Exact(_) | Self::Below(_) | Self::Regex(_), _) => false,
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("/*"),
            Self::Exact(path) => f.write_str(path),
            Self::Below(path) => write!(f, "{path}/*"),
            Self::Regex(regex) => write!(f, "~ {regex}"),
        }
    }
}

fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Reads a method; methods are upper case and case-sensitive.
///
/// # Errors
/// [`PatternProblem`] for lower case and for what is no token.
pub fn parse_method(text: &str) -> Result<Method, PatternProblem> {
    let upper = text.to_ascii_uppercase();
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if upper == text => Ok(method),
        Ok(_) => problem(format!("`{text}` is not a method: methods are upper case"), format!("write `{upper}`")),
        Err(_) => problem(format!("`{}` is not a method", text.escape_default()), "write one such as `GET` or `POST`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_no_request_can_have_are_refused() {
        for (host, reason) in [
            ("", "not a host name"),
            ("example.org:80", "has a port"),
            ("a.*.org", "a `*`"),
            ("*", "a `*`"),
            ("*example.org", "a `*`"),
            (".example.org", "not a host name"),
            ("a..b", "not a host name"),
            ("a b", "not a host name"),
            ("b\u{fc}cher.example", "outside ASCII"),
            ("[::g]", "not an IPv6"),
        ] {
            assert!(Host::parse(host).unwrap_err().message.contains(reason), "{host}");
        }
        assert_eq!(Host::parse("*.Example.ORG").unwrap().to_string(), "*.example.org");
    }

    #[test]
    fn paths_that_no_request_can_have_are_refused_with_what_would_be_right() {
        for (path, remedy) in [
            ("x", "write `/x`"),
            ("/x*", "`/x/*`"),
            ("/*/x", "`path_regex`"),
            ("/x?y=1", "not at the query"),
            ("/a//b", "write `/a/b`"),
            ("/a/../b", "write `/b`"),
            ("/a/./b/*", "write `/a/b/*`"),
            ("/a%2Fb", "in front of it"),
            ("/a;b", "in front of it"),
            ("/a\\b", "in front of it"),
            ("/a%00", "%00"),
        ] {
            assert!(PathPattern::parse(path).unwrap_err().remedy.contains(remedy), "{path}");
        }
        for (path, shown) in
            [("/", "/"), ("/*", "/*"), ("/%61/*", "/a/*"), ("/caf\u{e9}", "/caf\u{e9}"), ("/x/", "/x/")]
        {
            assert_eq!(PathPattern::parse(path).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn expressions_are_checked_and_bounded() {
        for (regex, reason) in
            [("/(", "unclosed group"), ("a)(b", "unopened group"), ("(?:[a-z]{1000}){1000}", "more than 256 KiB")]
        {
            assert!(PathPattern::regex(regex).unwrap_err().message.contains(reason), "{regex}");
        }
    }

    #[test]
    fn methods_are_upper_case() {
        assert_eq!(parse_method("PROPFIND").unwrap().as_str(), "PROPFIND");
        assert_eq!(parse_method("get").unwrap_err().remedy, "write `GET`");
        assert!(parse_method("G T").is_err() && parse_method("").is_err());
    }
}
