//! Cookies of the backend that a session keeps in the browser's place.

use super::batch::{Refusal, Refused};
use super::parts::{Reader, Writer};
use super::view::Unreadable;
use crate::clock::Timestamp;
use std::borrow::Cow;
use std::fmt;

/// Cookies in one session; browsers keep about as many for one site.
const MAX_COOKIES: usize = 50;

/// Bytes of one cookie's name and value: what browsers take (RFC 6265bis, section 5.6).
const MAX_COOKIE_BYTES: usize = 4096;

/// Bytes of all of them, with their domains and paths.
const MAX_BYTES: usize = 16 * 1024;

/// Whether a cookie goes along with requests that other sites cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrossSite {
    /// The backend has not said.
    #[default]
    Unsaid,
    /// Always.
    Always,
    /// When a person followed a link.
    Links,
    /// Never.
    Never,
}

impl CrossSite {
    const ALL: [Self; 4] = [Self::Unsaid, Self::Always, Self::Links, Self::Never];

    pub(super) const fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn from_code(code: u8) -> Self {
        Self::ALL[usize::from(code % 4)]
    }
}

/// A cookie of the backend; its `Debug` has no value (LG1).
#[derive(Clone, PartialEq, Eq)]
pub struct Held<'a> {
    /// The name.
    pub name: Cow<'a, [u8]>,
    /// The value.
    pub value: Cow<'a, [u8]>,
    /// The host or domain that it is for.
    pub domain: Cow<'a, [u8]>,
    /// It is for that very host.
    pub host_only: bool,
    /// The path that it is for.
    pub path: Cow<'a, [u8]>,
    /// It goes over TLS only.
    pub secure: bool,
    /// Whether it goes along with requests that other sites cause.
    pub cross_site: CrossSite,
    /// When it ends; `None` with the session.
    pub expires: Option<Timestamp>,
}

impl Held<'_> {
    /// The cookie as owned data.
    #[must_use]
    pub fn into_owned(self) -> Held<'static> {
        let own = |text: Cow<'_, [u8]>| Cow::Owned(text.into_owned());
        let Self { host_only, secure, cross_site, expires, .. } = self;
        let [name, value, domain, path] = [self.name, self.value, self.domain, self.path].map(own);
        Held { name, value, domain, host_only, path, secure, cross_site, expires }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end.has_passed(now))
    }

    /// Whether the one takes the place of the other.
    fn is_same(&self, other: &Self) -> bool {
        let Self { name, domain, host_only, path, .. } = self;
        (name, domain, *host_only, path) == (&other.name, &other.domain, other.host_only, &other.path)
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.value.len() + self.domain.len() + self.path.len()
    }
}

const HOST_ONLY: u8 = 1;
const SECURE: u8 = 2;
const EXPIRES: u8 = 4;
const CROSS_SITE: u8 = 3;

/// The bytes of the held cookies.
pub(super) fn bytes(held: &[Held<'_>]) -> Vec<u8> {
    let mut own = Writer(Vec::new());
    own.u16(held.len());
    for cookie in held {
        let bit = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = bit(cookie.host_only, HOST_ONLY) | bit(cookie.secure, SECURE);
        own.u8(flags | bit(cookie.expires.is_some(), EXPIRES) | cookie.cross_site.code() << CROSS_SITE);
        for text in [&cookie.name, &cookie.value, &cookie.domain, &cookie.path] {
            own.bytes16(text);
        }
        cookie.expires.iter().for_each(|end| own.u64(end.as_millis()));
    }
    own.0
}

/// Reads what [`bytes`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Held<'_>>, Unreadable> {
    let mut input = Reader(bytes);
    let count = input.u16()?;
    let mut held = Vec::with_capacity(usize::from(count).min(MAX_COOKIES));
    for _ in 0..count {
        let flags = input.u8()?;
        let mut text = || input.bytes16().map(Cow::Borrowed);
        let (name, value, domain, path) = (text()?, text()?, text()?, text()?);
        let expires = (flags & EXPIRES != 0).then(|| input.u64().map(Timestamp::from_millis)).transpose()?;
        let (host_only, secure) = (flags & HOST_ONLY != 0, flags & SECURE != 0);
        let cross_site = CrossSite::from_code(flags >> CROSS_SITE);
        if ![&name, &value].into_iter().all(|text| text.iter().all(|byte| is_octet(*byte))) {
            return Err(Unreadable);
        }
        held.push(Held { name, value, domain, host_only, path, secure, cross_site, expires });
    }
    if input.0.is_empty() { Ok(held) } else { Err(Unreadable) }
}

/// An octet that stands within one cookie of a header.
const fn is_octet(byte: u8) -> bool {
    !matches!(byte, 0..=8 | 0x0a..=0x1f | b';' | 0x7f)
}

impl fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({})", self.name.escape_ascii())
    }
}

/// Puts cookies to those that are held, which stay in the order of their creation; one that is over removes the one whose
/// place it takes.
///
/// # Errors
/// [`Refusal::Limit`] when there would be too many, or too large ones.
pub(super) fn hold(held: &mut Vec<Held<'static>>, newer: &[Held<'static>], now: Timestamp) -> Result<(), Refused> {
    held.retain(|cookie| !cookie.is_over(now));
    for cookie in newer {
        let place = held.iter().position(|other| other.is_same(cookie));
        match (place, cookie.is_over(now)) {
            (Some(place), true) => drop(held.remove(place)),
            (Some(place), false) => held[place] = cookie.clone(),
            (None, true) => {}
            (None, false) => held.push(cookie.clone()),
        }
    }
    if newer.is_empty() { Ok(()) } else { within(held) }
}

fn within(held: &[Held<'_>]) -> Result<(), Refused> {
    let too_much = |what: String| Err(Refused::new(Refusal::Limit, what));
    if held.len() > MAX_COOKIES {
        return too_much(format!("the session would hold {} cookies, the limit is {MAX_COOKIES}", held.len()));
    }
    if let Some(cookie) = held.iter().find(|cookie| cookie.name.len() + cookie.value.len() > MAX_COOKIE_BYTES) {
        let (name, size) = (cookie.name.get(..64).unwrap_or(&cookie.name), cookie.name.len() + cookie.value.len());
        return too_much(format!(
            "the cookie `{}` has {size} bytes, the limit is {MAX_COOKIE_BYTES}",
            name.escape_ascii()
        ));
    }
    let bytes: usize = held.iter().map(Held::bytes).sum();
    if bytes > MAX_BYTES {
        return too_much(format!("the held cookies would have {bytes} bytes, the limit is {MAX_BYTES}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn cookie(name: &'static str, value: &str) -> Held<'static> {
        Held {
            name: Cow::Borrowed(name.as_bytes()),
            value: Cow::Owned(value.into()),
            domain: Cow::Borrowed(b"a.b"),
            host_only: true,
            path: Cow::Borrowed(b"/"),
            secure: false,
            cross_site: CrossSite::Unsaid,
            expires: None,
        }
    }

    fn after(held: &mut Vec<Held<'static>>, newer: &[Held<'static>], now: Timestamp) -> String {
        hold(held, newer, now).unwrap();
        let pairs = held.iter().map(|c| format!("{}={}", c.name.escape_ascii(), c.value.escape_ascii()));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_cookie_keeps_its_turn_when_its_value_changes() {
        let mut held = Vec::new();
        assert_eq!(after(&mut held, &[cookie("a", "1"), cookie("b", "1")], NOW), "a=1 b=1");
        assert_eq!(after(&mut held, &[cookie("a", "2")], NOW), "a=2 b=1");
        let elsewhere = Held { path: Cow::Borrowed(b"/x"), ..cookie("a", "3") };
        assert_eq!(after(&mut held, &[elsewhere], NOW), "a=2 b=1 a=3");
    }

    #[test]
    fn a_cookie_that_is_over_goes_and_takes_the_one_in_its_place_along() {
        let mut held = vec![cookie("a", "1"), cookie("b", "1")];
        let dead = Held { expires: Some(Timestamp::default()), ..cookie("a", "") };
        assert_eq!(after(&mut held, std::slice::from_ref(&dead), NOW), "b=1");
        assert_eq!(after(&mut held, &[dead], NOW), "b=1");
        let brief = Held { expires: Some(NOW.after(Duration::from_secs(5))), ..cookie("c", "1") };
        assert_eq!(after(&mut held, &[brief], NOW), "b=1 c=1");
        assert_eq!(after(&mut held, &[], NOW.after(Duration::from_secs(6))), "b=1");
    }

    #[test]
    fn they_are_bounded_in_number_and_size() {
        let refused = |newer: &[Held<'static>]| hold(&mut Vec::new(), newer, NOW).map_err(|refused| refused.reason);
        let many = |count: usize| -> Vec<_> {
            (0..count).map(|i| Held { path: Cow::Owned(format!("/{i}").into()), ..cookie("a", "1") }).collect()
        };
        assert_eq!(refused(&many(MAX_COOKIES)), Ok(()));
        assert_eq!(refused(&many(MAX_COOKIES + 1)), Err(Refusal::Limit));
        assert_eq!(refused(&[cookie("a", &"x".repeat(4095))]), Ok(()));
        assert_eq!(refused(&[cookie("a", &"x".repeat(4096))]), Err(Refusal::Limit));
        let large = |count: usize| -> Vec<_> {
            many(count).into_iter().map(|held| Held { value: Cow::Owned(vec![b'x'; 4000]), ..held }).collect()
        };
        assert_eq!((refused(&large(4)), refused(&large(5))), (Ok(()), Err(Refusal::Limit)));
    }

    #[test]
    fn what_would_be_another_header_or_cookie_is_unreadable() {
        let read = |value: &str| decode(&bytes(&[cookie("a", value)])).map(|held| held.len());
        assert_eq!(read("x, \"y\"\t=\u{e9}"), Ok(1));
        for bad in ["x; b=1", "x\r\nX-Evil: 1", "\0", "\u{7f}"] {
            assert_eq!(read(bad), Err(Unreadable), "{bad:?}");
        }
    }

    #[test]
    fn a_cookie_is_never_printed_with_its_value() {
        assert_eq!(format!("{:?}", cookie("a", "secret")), "Held(a)");
    }
}
