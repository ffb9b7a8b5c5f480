//! A `Set-Cookie` line of a backend, read as a browser reads it (RFC 6265bis, section 5.6).

use super::SameSite;
use super::date;
use super::policy::MAX_AGE;
use crate::clock::Timestamp;
use std::time::Duration;

/// Browsers read no longer value of an attribute.
const MAX_ATTRIBUTE_BYTES: usize = 1024;

/// What a line says; of each attribute the last counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie<'a> {
    /// The name, which may be empty.
    pub name: &'a [u8],
    /// The value, as it stands.
    pub value: &'a [u8],
    /// `Domain`, without a dot in front; `None` where it is missing or empty.
    pub domain: Option<&'a [u8]>,
    /// `Path`, where it is one.
    pub path: Option<&'a [u8]>,
    /// `Secure`.
    pub secure: bool,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `SameSite`, where it has a word that is known.
    pub same_site: Option<SameSite>,
    max_age: Option<Age>,
    expires: Option<Timestamp>,
}

/// `Max-Age`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Over,
    Left(Duration),
}

impl<'a> SetCookie<'a> {
    /// Reads a line; `None` for one that a browser ignores whatever it says.
    ///
    /// Its length is not judged here: who keeps it says what is too long.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        if line.iter().any(|byte| matches!(byte, 0..=8 | 0x0a..=0x1f | 0x7f)) {
            return None;
        }
        let mut parts = line.split(|byte| *byte == b';');
        let (name, value) = pair(parts.next().unwrap_or_default());
        let (name, value) = value.map_or((&b""[..], name), |value| (name, value));
        if name.is_empty() && value.is_empty() {
            return None;
        }
        let mut cookie = Self {
            name,
            value,
            domain: None,
            path: None,
            secure: false,
            http_only: false,
            same_site: None,
            max_age: None,
            expires: None,
        };
        for part in parts {
            let (name, value) = pair(part);
            cookie.attribute(name, value.unwrap_or_default());
        }
        Some(cookie)
    }

    fn attribute(&mut self, name: &[u8], value: &'a [u8]) {
        if value.len() > MAX_ATTRIBUTE_BYTES {
            return;
        }
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        if is("Expires") {
            self.expires = date::parse(value).or(self.expires);
        } else if is("Max-Age") {
            self.max_age = age(value).or(self.max_age);
        } else if is("Domain") {
            let domain = value.strip_prefix(b".").unwrap_or(value);
            self.domain = (!domain.is_empty()).then_some(domain);
        } else if is("Path") {
            self.path = value.starts_with(b"/").then_some(value);
        } else if is("Secure") {
            self.secure = true;
        } else if is("HttpOnly") {
            self.http_only = true;
        } else if is("SameSite") {
            self.same_site = same_site(value);
        }
    }

    /// When the cookie ends, within 400 days; `None` when it ends with the session. `Max-Age` counts over `Expires`.
    #[must_use]
    pub fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let latest = now.after(MAX_AGE);
        match self.max_age {
            Some(Age::Over) => Some(Timestamp::default()),
            Some(Age::Left(left)) => Some(now.after(left).min(latest)),
            None => self.expires.map(|moment| moment.min(latest)),
        }
    }
}

/// The word of `SameSite`.
pub(super) fn same_site(value: &[u8]) -> Option<SameSite> {
    let words = [("Strict", SameSite::Strict), ("Lax", SameSite::Lax), ("None", SameSite::None)];
    words.into_iter().find(|(word, _)| value.eq_ignore_ascii_case(word.as_bytes())).map(|(_, value)| value)
}

fn age(value: &[u8]) -> Option<Age> {
    let (is_negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if value.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // More digits than a number has are a long time.
    let seconds = std::str::from_utf8(digits).ok()?.parse().unwrap_or(if digits.is_empty() { 0 } else { u64::MAX });
    Some(if is_negative || seconds == 0 { Age::Over } else { Age::Left(Duration::from_secs(seconds)) })
}

/// A name and a value around the first `=`, without the blanks around each.
pub(super) fn pair(part: &[u8]) -> (&[u8], Option<&[u8]>) {
    match part.iter().position(|byte| *byte == b'=') {
        Some(equals) => (trim(&part[..equals]), Some(trim(&part[equals + 1..]))),
        None => (trim(part), None),
    }
}

/// Without SP and HTAB at either end.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn parse(line: &str) -> SetCookie<'_> {
        SetCookie::parse(line.as_bytes()).unwrap_or_else(|| panic!("{line}"))
    }

    fn text(bytes: Option<&[u8]>) -> Option<&str> {
        bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_line_is_a_name_a_value_and_attributes() {
        let cookie = parse(" id = a=b c ; Path=/app;domain=.Example.org; SECURE ;HttpOnly; samesite=STRICT; Foo=1");
        assert_eq!((cookie.name, cookie.value), (&b"id"[..], &b"a=b c"[..]));
        assert_eq!((text(cookie.path), text(cookie.domain)), (Some("/app"), Some("Example.org")));
        assert_eq!((cookie.secure, cookie.http_only, cookie.same_site), (true, true, Some(SameSite::Strict)));
        assert_eq!(cookie.deadline(NOW), None);
    }

    #[test]
    fn the_last_of_each_attribute_counts_and_a_broken_one_does_not() {
        let cookie =
            parse("a=1; Path=/x; Path=y; Domain=a.b; Domain=; SameSite=Lax; SameSite=Never; Max-Age=5; Max-Age=x");
        assert_eq!((cookie.path, cookie.domain, cookie.same_site), (None, None, None));
        assert_eq!(cookie.deadline(NOW), Some(NOW.after(Duration::from_secs(5))));
        let long = format!("a=1; Path=/; Path=/{}", "x".repeat(1024));
        assert_eq!(text(parse(&long).path), Some("/"));
    }

    #[test]
    fn a_cookie_may_have_no_name() {
        for (line, value) in [("x", "x"), ("=x", "x"), (" x ; Path=/", "x"), ("= a=b", "a=b")] {
            assert_eq!((parse(line).name, parse(line).value), (&b""[..], value.as_bytes()), "{line}");
        }
        for nothing in ["", "=", ";", " ; Path=/", "a\u{1}=b", "a=b; Path=/\u{7f}"] {
            assert_eq!(SetCookie::parse(nothing.as_bytes()), None, "{nothing:?}");
        }
        assert!(SetCookie::parse(b"a=\tb").is_some());
    }

    #[test]
    fn an_age_counts_over_a_date_and_neither_over_400_days() {
        let seconds = |attributes: &str| parse(&format!("a=1{attributes}")).deadline(NOW).map(Timestamp::as_secs);
        let most = NOW.after(MAX_AGE).as_secs();
        for (attributes, expected) in [
            ("", None),
            ("; Max-Age=60", Some(1_700_000_060)),
            ("; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", Some(1_700_000_060)),
            ("; Max-Age=0", Some(0)),
            ("; Max-Age=-1", Some(0)),
            ("; Max-Age=-", Some(0)),
            ("; Max-Age=+1", None),
            ("; Max-Age=", None),
            ("; Max-Age=99999999999999999999999", Some(most)),
            ("; Max-Age=-99999999999999999999999", Some(0)),
            ("; Expires=Tue, 14 Nov 2023 22:14:20 GMT", Some(1_700_000_060)),
            ("; Expires=Tue, 14 Nov 2999 22:14:20 GMT", Some(most)),
            ("; Expires=0", None),
        ] {
            assert_eq!(seconds(attributes), expected, "{attributes}");
        }
    }

    proptest! {
        #[test]
        fn hostile_lines_never_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(cookie) = SetCookie::parse(&line) {
                prop_assert!(cookie.deadline(NOW).is_none_or(|end| end <= NOW.after(MAX_AGE)));
                prop_assert!(!cookie.name.contains(&b';') && !cookie.value.contains(&b';') && !cookie.name.contains(&b'='));
            }
        }
    }
}
