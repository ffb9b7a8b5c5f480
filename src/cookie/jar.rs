//! Whether a browser would keep a cookie of a backend, and which of those it keeps it would send (RFC 6265bis, sections 5.7
//! and 5.8). Where the cookies lie is for others to say.

use super::SameSite;
use super::set_cookie::SetCookie;
use crate::clock::Timestamp;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The request that a cookie comes from or goes to, as the browser knows it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The host, without a port, in small letters.
    host: Cow<'a, str>,
    /// The path, without a query.
    path: &'a str,
    /// It came over TLS.
    is_secure: bool,
    /// Who caused the request.
    company: Company,
}

/// Who caused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// The site itself, the person, or somebody whom the browser does not name.
    Own,
    /// Another site, by a link that the person followed.
    Link,
    /// Another site, in any other way, such as by a form that it had sent.
    Stranger,
}

impl<'a> Place<'a> {
    /// A place; `host` may have a port.
    #[must_use]
    pub fn new(host: &'a str, path: &'a str, is_secure: bool, company: Company) -> Self {
        let host = match host.strip_prefix('[') {
            Some(address) => address.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let is_small = !host.bytes().any(|byte| byte.is_ascii_uppercase());
        let host = if is_small { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) };
        Self { host, path, is_secure, company }
    }

    /// It came over TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The path for cookies that name none (RFC 6265bis, section 5.1.4).
    fn default_path(&self) -> &'a str {
        match self.path.rfind('/') {
            Some(last) if last > 0 && self.path.starts_with('/') => &self.path[..last],
            _ => "/",
        }
    }
}

/// A cookie as a browser keeps it; name, domain and path tell one from another.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept<'a> {
    /// The name, which may be empty.
    pub name: Cow<'a, [u8]>,
    /// The value.
    pub value: Cow<'a, [u8]>,
    /// The host or domain that it is for, in small letters.
    pub domain: Cow<'a, [u8]>,
    /// It is for that very host.
    pub host_only: bool,
    /// The path that it is for, and everything below.
    pub path: Cow<'a, [u8]>,
    /// It goes over TLS only.
    pub secure: bool,
    /// Whether it goes along with requests that other sites cause.
    pub same_site: Option<SameSite>,
    /// When it ends; `None` with the session.
    pub expires: Option<Timestamp>,
}

/// What a browser would keep of a `Set-Cookie` line that came from `place`; `None` where it would ignore it.
///
/// A cookie whose end has passed removes the one of its name, domain and path.
#[must_use]
pub fn receive<'a>(cookie: &SetCookie<'a>, place: &Place<'a>, now: Timestamp) -> Option<Kept<'a>> {
    let host = place.host.as_bytes();
    let domain = cookie.domain.map(<[u8]>::to_ascii_lowercase);
    let (domain, host_only) = match domain {
        None => (Cow::Owned(host.to_vec()), true),
        // Nobody owns `org`, and who is `localhost` has nobody below: more cannot be told without a list of suffixes.
        Some(domain) if !domain.contains(&b'.') => (domain == host).then_some((Cow::Owned(domain), true))?,
        Some(domain) => is_at_or_below(host, &domain).then_some((Cow::Owned(domain), false))?,
    };
    let kept = Kept {
        name: Cow::Borrowed(cookie.name),
        value: Cow::Borrowed(cookie.value),
        domain,
        host_only,
        path: Cow::Borrowed(cookie.path.unwrap_or(place.default_path().as_bytes())),
        secure: cookie.secure,
        same_site: cookie.same_site,
        expires: cookie.deadline(now),
    };
    let is_allowed = (place.is_secure || !cookie.secure) && keeps_its_promise(cookie, &kept);
    is_allowed.then_some(kept)
}

/// What a name promises by its prefix, in any letters, the cookie keeps (RFC 6265bis, section 5.7, and its successor); so
/// does the value of a cookie without a name, which a server may take for one.
fn keeps_its_promise(cookie: &SetCookie<'_>, kept: &Kept<'_>) -> bool {
    let shown = if cookie.name.is_empty() { cookie.value } else { cookie.name };
    let begins =
        |prefix: &str| shown.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()));
    let (secure, host) = (begins("__Secure-"), begins("__Host-"));
    let http = begins("__Http-") || begins("__Host-Http-");
    if cookie.name.is_empty() {
        return !(secure || host || http);
    }
    let is_bound = kept.host_only && cookie.domain.is_none() && cookie.path == Some(b"/");
    (cookie.secure || !(secure || host || http)) && (!host || is_bound) && (!http || cookie.http_only)
}

impl Kept<'_> {
    /// Whether `newer`, which came in the clear, would put itself in front of this one, which may not be seen there.
    #[must_use]
    pub fn is_overlaid_by(&self, newer: &Kept<'_>) -> bool {
        let meets = is_at_or_below(&self.domain, &newer.domain) || is_at_or_below(&newer.domain, &self.domain);
        self.secure && !newer.secure && self.name == newer.name && meets && is_path_of(&newer.path, &self.path)
    }

    /// Whether a browser would send it with a request.
    #[must_use]
    pub fn is_for(&self, place: &Place<'_>, now: Timestamp) -> bool {
        let host = place.host.as_bytes();
        let is_here = if self.host_only { *self.domain == *host } else { is_at_or_below(host, &self.domain) };
        let is_welcome = match (place.company, self.same_site) {
            (Company::Own, _) | (_, None | Some(SameSite::None)) | (Company::Link, Some(SameSite::Lax)) => true,
            (Company::Link | Company::Stranger, Some(_)) => false,
        };
        let is_over = self.expires.is_some_and(|end| end.has_passed(now));
        is_here
            && is_welcome
            && !is_over
            && (place.is_secure || !self.secure)
            && is_path_of(place.path.as_bytes(), &self.path)
    }
}

/// Appends cookies, which come in the order of their creation, in the order of browsers: the longest path first
/// (RFC 6265bis, section 5.8.3).
pub fn append(line: &mut Vec<u8>, mut cookies: Vec<Kept<'_>>) {
    cookies.sort_by_key(|cookie| Reverse(cookie.path.len()));
    for cookie in cookies {
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        if !cookie.name.is_empty() {
            line.extend_from_slice(&cookie.name);
            line.push(b'=');
        }
        line.extend_from_slice(&cookie.value);
    }
}

fn is_at_or_below(host: &[u8], domain: &[u8]) -> bool {
    host == domain || is_below(host, domain)
}

/// Whether a host lies in a domain; an address lies in none (RFC 6265bis, section 5.1.3).
fn is_below(host: &[u8], domain: &[u8]) -> bool {
    let text = std::str::from_utf8(host).unwrap_or_default();
    let is_address = text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok();
    !is_address && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with(b"."))
}

/// Whether a path is that of a cookie or below it, by segment (RFC 6265bis, section 5.1.4).
fn is_path_of(path: &[u8], cookie: &[u8]) -> bool {
    path.strip_prefix(cookie).is_some_and(|rest| rest.is_empty() || cookie.ends_with(b"/") || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn at<'a>(host: &'a str, path: &'a str) -> Place<'a> {
        Place::new(host, path, true, Company::Own)
    }

    /// Where a line from `https://app.example.org/shop/cart` is kept: domain, with a dot where hosts below count, and path.
    fn kept(line: &str) -> Option<String> {
        let cookie = SetCookie::parse(line.as_bytes()).unwrap();
        let kept = receive(&cookie, &at("App.Example.org:8443", "/shop/cart"), NOW)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Some(format!("{}{} {}", if kept.host_only { "" } else { "." }, text(&kept.domain), text(&kept.path)))
    }

    #[test]
    fn a_cookie_is_kept_for_its_host_or_domain_and_its_path() {
        for (line, expected) in [
            ("a=1", Some("app.example.org /shop")),
            ("a=1; Path=/", Some("app.example.org /")),
            ("a=1; Path=shop", Some("app.example.org /shop")),
            ("a=1; Domain=", Some("app.example.org /shop")),
            ("a=1; Domain=example.ORG; Path=/", Some(".example.org /")),
            ("a=1; Domain=.app.example.org; Path=/", Some(".app.example.org /")),
            ("a=1; Domain=org", None),
            ("a=1; Domain=other.example.org", None),
            ("a=1; Domain=x.app.example.org", None),
            ("a=1; Domain=ple.org", None),
        ] {
            assert_eq!(kept(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_name_keeps_what_its_prefix_promises() {
        for (line, expected) in [
            ("__Secure-a=1; Secure", true),
            ("__Secure-a=1", false),
            ("__SECURE-a=1", false),
            ("__Host-a=1; Secure; Path=/", true),
            ("__Host-a=1; Secure", false),
            ("__Host-a=1; Path=/", false),
            ("__host-a=1; Secure; Path=/; Domain=app.example.org", false),
            ("__Http-a=1; Secure; HttpOnly", true),
            ("__Http-a=1; Secure", false),
            ("__Host-Http-a=1; Secure; HttpOnly; Path=/", true),
            ("=__Host-a; Secure; Path=/", false),
            ("=__Secure-a=1; Secure", false),
            ("=a", true),
        ] {
            assert_eq!(kept(line).is_some(), expected, "{line}");
        }
    }

    #[test]
    fn what_is_secure_neither_comes_nor_goes_in_the_clear() {
        let open = Place::new("app.example.org", "/", false, Company::Own);
        let secure = SetCookie::parse(b"a=1; Secure; Path=/").unwrap();
        let plain = SetCookie::parse(b"a=2; Path=/x; Domain=example.org").unwrap();
        assert!(receive(&secure, &open, NOW).is_none());
        let secure = receive(&secure, &at("app.example.org", "/"), NOW).unwrap();
        let plain = receive(&plain, &open, NOW).unwrap();
        assert!(!secure.is_for(&open, NOW) && secure.is_for(&at("app.example.org", "/"), NOW));
        assert!(secure.is_overlaid_by(&plain) && !plain.is_overlaid_by(&secure));
    }

    #[test]
    fn a_cookie_goes_where_it_belongs() {
        let sent = |line: &str, host: &str, path: &str| {
            let cookie = SetCookie::parse(line.as_bytes()).unwrap();
            let kept = receive(&cookie, &at("app.example.org", "/shop/cart"), NOW).unwrap();
            kept.is_for(&at(host, path), NOW)
        };
        for (line, host, path, expected) in [
            ("a=1", "app.example.org", "/shop", true),
            ("a=1", "app.example.org", "/shop/x", true),
            ("a=1", "app.example.org", "/shopping", false),
            ("a=1", "app.example.org", "/", false),
            ("a=1; Path=/shop/", "app.example.org", "/shop", false),
            ("a=1; Path=/shop/", "app.example.org", "/shop/x", true),
            ("a=1; Path=/", "example.org", "/", false),
            ("a=1; Path=/", "x.app.example.org", "/", false),
            ("a=1; Path=/; Domain=example.org", "example.org", "/", true),
            ("a=1; Path=/; Domain=example.org", "x.example.org", "/", true),
            ("a=1; Path=/; Domain=example.org", "badexample.org", "/", false),
        ] {
            assert_eq!(sent(line, host, path), expected, "{line} to {host}{path}");
        }
    }

    #[test]
    fn addresses_have_no_domains() {
        let cookie = SetCookie::parse(b"a=1; Domain=0.0.1").unwrap();
        assert!(receive(&cookie, &at("127.0.0.1:80", "/"), NOW).is_none());
        let cookie = SetCookie::parse(b"a=1; Domain=::1").unwrap();
        assert!(receive(&cookie, &at("[::1]:80", "/"), NOW).unwrap().host_only);
    }

    #[test]
    fn a_cookie_ends_when_it_said() {
        let cookie = SetCookie::parse(b"a=1; Max-Age=60").unwrap();
        let kept = receive(&cookie, &at("a.b", "/"), NOW).unwrap();
        let later = |seconds| NOW.after(Duration::from_secs(seconds));
        assert!(kept.is_for(&at("a.b", "/"), later(60)) && !kept.is_for(&at("a.b", "/"), later(61)));
    }

    #[test]
    fn what_other_sites_cause_takes_along_what_may_go_there() {
        let sent = |attribute: &str, company| {
            let line = format!("a=1{attribute}");
            let cookie = SetCookie::parse(line.as_bytes()).unwrap();
            let kept = receive(&cookie, &at("a.b", "/"), NOW).unwrap();
            kept.is_for(&Place::new("a.b", "/", true, company), NOW)
        };
        for (attribute, expected) in [
            ("", [true, true, true]),
            ("; SameSite=None", [true, true, true]),
            ("; SameSite=Lax", [true, true, false]),
            ("; SameSite=Strict", [true, false, false]),
        ] {
            let seen = [Company::Own, Company::Link, Company::Stranger].map(|company| sent(attribute, company));
            assert_eq!(seen, expected, "{attribute}");
        }
    }

    #[test]
    fn the_longest_path_goes_first_and_then_the_oldest() {
        let lines = ["a=1; Path=/", "b=2; Path=/shop", "=3; Path=/", "d=4; Path=/shop", "e=; Path=/"];
        let parsed: Vec<_> = lines.iter().map(|line| SetCookie::parse(line.as_bytes()).unwrap()).collect();
        let place = at("a.b", "/shop/x");
        let cookies: Vec<_> = parsed.iter().map(|cookie| receive(cookie, &place, NOW).unwrap()).collect();
        let mut line = b"own=0".to_vec();
        append(&mut line, cookies);
        assert_eq!(line, b"own=0; b=2; d=4; a=1; 3; e=");
    }

    proptest! {
        #[test]
        fn whatever_is_kept_goes_back_to_where_it_came_from(
            line in "[a-z]{1,3}=[!-:<-~]{0,5}(; (Path=/[a-z/]{0,6}|Domain=[a-z.]{0,8}|Secure|Max-Age=[0-9]{1,3}|SameSite=(Lax|Strict|None)|[a-z]{0,3})){0,4}",
            host in "([a-z]{1,3}\\.){0,2}[a-z]{1,3}",
            path in "/([a-z]{0,3}/){0,2}[a-z]{0,3}",
        ) {
            let cookie = SetCookie::parse(line.as_bytes()).unwrap();
            let place = at(&host, &path);
            if let Some(kept) = receive(&cookie, &place, NOW) {
                let is_alive = kept.expires.is_none_or(|end| !end.has_passed(NOW));
                let reaches = cookie.path.is_none_or(|own| is_path_of(path.as_bytes(), own));
                prop_assert_eq!(kept.is_for(&place, NOW), is_alive && reaches, "{} {}{}", line, host, path);
            }
        }
    }
}
