//! What a browser takes: the policy is refused here where a browser would refuse the cookie silently.

use crate::clock::Timestamp;
use cookie::Cookie;
use cookie::time::{Duration as Span, OffsetDateTime};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The most that browsers keep of name and value together (RFC 6265bis, section 5.6).
pub const MAX_COOKIE_BYTES: usize = 4096;

/// The longest attribute value that browsers read.
const MAX_ATTRIBUTE_BYTES: usize = 1024;

/// The longest life of a cookie: 400 days (RFC 6265bis, section 5.5; CK5).
pub const MAX_AGE: Duration = Duration::from_secs(34_560_000);

/// Prefixes of names that bind a browser to rules (RFC 6265bis, section 4.1.3, and its successor; CK12).
const NAME_PREFIXES: [&str; 4] = ["__Secure-", "__Host-", "__Http-", "__Host-Http-"];

/// A cookie policy that a browser would not accept: which setting, what is wrong, what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CookieProblem {
    /// The setting of `[sessions.<name>.cookie]` that is wrong.
    pub setting: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What would be right.
    pub remedy: String,
}

impl CookieProblem {
    fn new(setting: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { setting, message: message.into(), remedy: remedy.into() }
    }
}

/// The name of a cookie: a token of RFC 9110, compared octet for octet (CP2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CookieName(Box<str>);

impl CookieName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`CookieProblem`] for an empty name, a name that is no token, and a known prefix in other letter case (CK2).
    pub fn parse(text: &str) -> Result<Self, CookieProblem> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if text.is_empty() || text.len() > 128 || !text.bytes().all(token) {
            let message = format!("`{}` is not the name of a cookie", text.escape_default());
            return Err(CookieProblem::new(
                "name",
                message,
                "use letters, digits, `-` and `_`, such as `__Host-session`",
            ));
        }
        let misspelt = |prefix: &&str| {
            text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix) && start != *prefix)
        };
        if let Some(prefix) = NAME_PREFIXES.iter().find(|prefix| misspelt(prefix)) {
            let message = format!("`{text}` begins like `{prefix}` in other letters, and browsers refuse it");
            return Err(CookieProblem::new("name", message, format!("write the prefix as `{prefix}`")));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The `SameSite` attribute; always sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Sent with requests of the own site only.
    Strict,
    /// Also sent when a link leads here.
    #[default]
    Lax,
    /// Always sent; needs `Secure`.
    None,
}

/// `[sessions.<name>.cookie]`, resolved but not yet proven.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of its own in the standard")]
pub struct CookieOptions {
    /// The name.
    pub name: CookieName,
    /// `Path`.
    pub path: String,
    /// `Domain`; `None` binds the cookie to the host.
    pub domain: Option<String>,
    /// `Secure`.
    pub secure: bool,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `SameSite`.
    pub same_site: SameSite,
    /// `Partitioned` (CHIPS).
    pub partitioned: bool,
    /// Send `Max-Age`, so that the cookie outlives the browser.
    pub persistent: bool,
    /// Bytes of name and value in one cookie.
    pub max_bytes: usize,
    /// Into how many cookies one session may be cut.
    pub max_chunks: usize,
}

/// What one session changes about the cookie's attributes (`X-Session-Cookie`, `X-Session-Expire`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// Its own path.
    pub path: Option<&'a str>,
    /// Its own domain.
    pub domain: Option<&'a str>,
    /// Its own wish to outlive the browser.
    pub persistent: Option<bool>,
}

/// A cookie policy that browsers accept; issues and removes through one function.
#[derive(Clone, Debug)]
pub struct CookiePolicy {
    options: CookieOptions,
    /// The attributes of a session that has no wishes of its own.
    tail: Box<str>,
}

impl CookiePolicy {
    /// Proves the options against the rules of browsers (CK2, CK3).
    ///
    /// # Errors
    /// Every contradiction, each with its setting and remedy.
    pub fn new(options: CookieOptions) -> Result<Self, Vec<CookieProblem>> {
        let problems = contradictions(&options);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut policy = Self { options, tail: "".into() };
        policy.tail = policy.attributes(Attributes::default(), None).into();
        Ok(policy)
    }

    /// What was proven.
    #[must_use]
    pub const fn options(&self) -> &CookieOptions {
        &self.options
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &CookieName {
        &self.options.name
    }

    /// The `Set-Cookie` lines that hand out `value`; a cookie that outlives the browser does so until `deadline`.
    ///
    /// One line, or one for each chunk when the value is too large for one cookie. `None` when it is too large for all
    /// the chunks that the policy allows: then nothing may be sent, since a browser would drop it silently (CK3).
    #[must_use]
    pub fn issue(&self, value: &str, own: Attributes<'_>, deadline: Timestamp, now: Timestamp) -> Option<Vec<String>> {
        let persistent = own.persistent.unwrap_or(self.options.persistent);
        let tail: Cow<'_, str> = if own == Attributes::default() && !persistent {
            Cow::Borrowed(&self.tail)
        } else {
            let life = persistent.then(|| (now.until(deadline).min(MAX_AGE), now));
            Cow::Owned(self.attributes(own, life))
        };
        let name = self.name().as_str();
        if name.len() + value.len() <= self.options.max_bytes {
            return Some(vec![[name, "=", value, &tail].concat()]);
        }
        let room = self.options.max_bytes.saturating_sub(name.len() + ".0".len());
        let chunks: Vec<&[u8]> = value.as_bytes().chunks(room.max(1)).collect();
        (chunks.len() <= self.options.max_chunks).then(|| {
            let line = |(i, chunk): (usize, &&[u8])| format!("{name}.{i}={}{tail}", String::from_utf8_lossy(chunk));
            chunks.iter().enumerate().map(line).collect()
        })
    }

    /// The `Set-Cookie` line that removes a cookie of ours: the same attributes, no value, an end in the past (CK6).
    ///
    /// `chunk` names one piece of a session that was cut.
    #[must_use]
    pub fn remove(&self, chunk: Option<u8>, own: Attributes<'_>) -> String {
        let epoch = Timestamp::default();
        let tail = self.attributes(own, Some((Duration::ZERO, epoch)));
        match chunk {
            None => format!("{}={tail}", self.name()),
            Some(i) => format!("{}.{i}={tail}", self.name()),
        }
    }

    /// The attributes with their separators; `life` is the cookie's age and the moment from which it counts.
    fn attributes(&self, own: Attributes<'_>, life: Option<(Duration, Timestamp)>) -> String {
        let options = &self.options;
        let mut cookie = Cookie::build(("", ""))
            .path(own.path.unwrap_or(&options.path))
            .secure(options.secure)
            .http_only(options.http_only)
            .partitioned(options.partitioned)
            .same_site(match options.same_site {
                SameSite::Strict => cookie::SameSite::Strict,
                SameSite::Lax => cookie::SameSite::Lax,
                SameSite::None => cookie::SameSite::None,
            });
        if let Some(domain) = own.domain.or(options.domain.as_deref()) {
            cookie = cookie.domain(domain);
        }
        if let Some((age, from)) = life {
            let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            let end = i64::try_from(from.after(age).as_secs()).unwrap_or(i64::MAX);
            cookie = cookie.max_age(Span::seconds(seconds));
            if let Ok(end) = OffsetDateTime::from_unix_timestamp(end) {
                cookie = cookie.expires(end);
            }
        }
        // The crate writes `=` for the empty name and value; what follows are the attributes.
        cookie.build().to_string().trim_start_matches('=').to_owned()
    }
}

fn contradictions(options: &CookieOptions) -> Vec<CookieProblem> {
    let name = options.name.as_str();
    let begins = |prefix: &str| name.starts_with(prefix);
    let host = begins("__Host-");
    let http = begins("__Http-") || begins("__Host-Http-");
    let secure_name = host || http || begins("__Secure-");
    let attribute =
        |text: &str| text.len() <= MAX_ATTRIBUTE_BYTES && text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b';');
    let domain = options.domain.as_deref();
    let rules = [
        (
            host && domain.is_some(),
            "domain",
            format!("a cookie named `{name}` has no Domain, and browsers refuse it"),
            "remove `domain`, or choose a name without `__Host-`",
        ),
        (
            host && options.path != "/",
            "path",
            format!("a cookie named `{name}` has the path `/`, and browsers refuse it"),
            "set `path = \"/\"`, or choose a name without `__Host-`",
        ),
        (
            secure_name && !options.secure,
            "name",
            format!("a cookie named `{name}` must be Secure, and browsers refuse it"),
            "serve it over TLS (`secure = true`), or choose a name without the prefix, such as `session`",
        ),
        (
            http && !options.http_only,
            "http_only",
            format!("a cookie named `{name}` must be HttpOnly, and browsers refuse it"),
            "set `http_only = true`, or choose a name without `Http-`",
        ),
        (
            options.same_site == SameSite::None && !options.secure,
            "same_site",
            String::from("`SameSite=None` needs Secure, and browsers refuse it"),
            "serve it over TLS (`secure = true`), or set `same_site = \"lax\"`",
        ),
        (
            options.partitioned && !options.secure,
            "partitioned",
            String::from("`Partitioned` needs Secure, and browsers refuse it"),
            "serve it over TLS (`secure = true`), or set `partitioned = false`",
        ),
        (
            !options.path.starts_with('/') || !attribute(&options.path),
            "path",
            format!("`{}` is not a path: browsers would put another in its place", options.path.escape_default()),
            "begin it with `/`, without `;` or control characters, such as `/app`",
        ),
        (
            domain.is_some_and(|domain| !is_domain(domain)),
            "domain",
            format!("`{}` is not a domain", domain.unwrap_or_default().escape_default()),
            "write a host name of two labels or more, such as `example.org`, or leave it out",
        ),
        (
            options.max_bytes > MAX_COOKIE_BYTES || options.max_bytes < name.len() + 256,
            "max_bytes",
            format!(
                "`{}` bytes cannot be kept: browsers drop more than {MAX_COOKIE_BYTES}, and a ticket needs 256",
                options.max_bytes
            ),
            "choose a size between 512B and 4096B",
        ),
        (
            !(1..=10).contains(&options.max_chunks),
            "max_chunks",
            format!("`{}` cookies cannot be used", options.max_chunks),
            "choose a number between 1 and 10",
        ),
    ];
    rules
        .into_iter()
        .filter(|(broken, ..)| *broken)
        .map(|(_, setting, message, remedy)| CookieProblem::new(setting, message, remedy))
        .collect()
}

/// A host name of two labels or more, without a leading dot, or a single label such as `localhost`.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> CookieOptions {
        CookieOptions {
            name: CookieName::parse("__Host-session").unwrap(),
            path: "/".into(),
            domain: None,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
            persistent: false,
            max_bytes: 3800,
            max_chunks: 1,
        }
    }

    fn policy(options: CookieOptions) -> CookiePolicy {
        CookiePolicy::new(options).unwrap()
    }

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn the_default_cookie_is_hardened() {
        // CK1, CK8
        let lines = policy(options()).issue("abc", Attributes::default(), NOW, NOW).unwrap();
        assert_eq!(lines, ["__Host-session=abc; HttpOnly; SameSite=Lax; Secure; Path=/"]);
    }

    #[test]
    fn a_persistent_cookie_ends_with_the_session_and_within_400_days() {
        // CK5
        let policy = policy(CookieOptions { persistent: true, ..options() });
        let line = |life| policy.issue("a", Attributes::default(), NOW.after(life), NOW).unwrap().remove(0);
        assert!(line(Duration::from_secs(60)).contains("Max-Age=60; Expires=Tue, 14 Nov 2023 22:14:20 GMT"));
        assert!(line(Duration::MAX).contains("Max-Age=34560000;"));
    }

    #[test]
    fn removal_has_the_attributes_of_the_cookie_and_an_end_in_the_past() {
        // CK6
        let policy = policy(CookieOptions { partitioned: true, ..options() });
        let expected = "__Host-session=; HttpOnly; SameSite=Lax; Partitioned; Secure; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(policy.remove(None, Attributes::default()), expected);
        assert!(policy.remove(Some(1), Attributes::default()).starts_with("__Host-session.1=;"));
    }

    #[test]
    fn a_large_value_is_cut_or_refused_and_never_too_long_for_a_browser() {
        // CK3
        let value = "v".repeat(9000);
        assert!(policy(options()).issue(&value, Attributes::default(), NOW, NOW).is_none());
        let lines = policy(CookieOptions { max_chunks: 3, ..options() });
        let lines = lines.issue(&value, Attributes::default(), NOW, NOW).unwrap();
        let pairs: Vec<&str> = lines.iter().map(|line| line.split_once(';').unwrap().0).collect();
        assert!(pairs.iter().all(|pair| pair.len() <= MAX_COOKIE_BYTES));
        let joined: String = pairs.iter().map(|pair| pair.split_once('=').unwrap().1).collect();
        assert_eq!(joined, value);
    }

    #[test]
    fn a_policy_that_browsers_refuse_is_refused_at_start() {
        // CK2
        let name = |text| CookieName::parse(text).unwrap();
        let broken = [
            ("domain", CookieOptions { domain: Some("example.org".into()), ..options() }),
            ("path", CookieOptions { path: "/app".into(), ..options() }),
            ("name", CookieOptions { secure: false, ..options() }),
            ("name", CookieOptions { name: name("__Secure-s"), secure: false, ..options() }),
            ("http_only", CookieOptions { name: name("__Http-s"), http_only: false, ..options() }),
            ("same_site", CookieOptions { name: name("s"), secure: false, same_site: SameSite::None, ..options() }),
            ("partitioned", CookieOptions { name: name("s"), secure: false, partitioned: true, ..options() }),
            ("path", CookieOptions { name: name("s"), path: "app".into(), ..options() }),
            ("path", CookieOptions { name: name("s"), path: "/a;b".into(), ..options() }),
            ("domain", CookieOptions { name: name("s"), domain: Some("a b".into()), ..options() }),
            ("max_bytes", CookieOptions { max_bytes: 5000, ..options() }),
            ("max_chunks", CookieOptions { max_chunks: 0, ..options() }),
        ];
        for (setting, options) in broken {
            let problems = CookiePolicy::new(options.clone()).unwrap_err();
            assert_eq!(problems.iter().map(|problem| problem.setting).collect::<Vec<_>>(), [setting], "{options:?}");
        }
        for bad in ["", "a b", "a=b", "__host-session", "__SECURE-x", "\u{e4}"] {
            assert!(CookieName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_session_may_have_attributes_of_its_own() {
        let policy = policy(CookieOptions { name: CookieName::parse("s").unwrap(), ..options() });
        let own = Attributes { path: Some("/app"), domain: Some("example.org"), persistent: Some(true) };
        let line = policy.issue("v", own, NOW.after(Duration::from_secs(9)), NOW).unwrap().remove(0);
        assert!(line.contains("Path=/app; Domain=example.org; Max-Age=9;"), "{line}");
    }
}
