//! Keeping personal answers out of shared caches (protocol, 5.8; CA1, CA2).
//!
//! A cache may keep what says nothing about caches, too: by guessing (RFC 9111, section 4.2.2), or because its operator gave
//! it a time for such answers. So every answer on a route with sessions says whom it is for.

use crate::wire::Reserved;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, EXPIRES, HeaderName, VARY};
use pingora::http::ResponseHeader;

/// What is personal about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Personal {
    /// Nothing: its route has no session.
    No,
    /// It was made for a visitor without a session, on a route that has sessions: others get another answer.
    Anonymous,
    /// It was made for one visitor: with a live session in the request, or with a cookie that the browser is not shown.
    Read,
    /// It carried a command or carries our `Set-Cookie`.
    Changed,
}

/// Marks an answer so that no shared cache gives it to another visitor.
///
/// # Errors
/// When a value cannot be a header; ours always can.
pub fn mark(response: &mut ResponseHeader, personal: Personal, reserved: &Reserved) -> pingora::Result<()> {
    if response.status.is_informational() {
        return Ok(()); // what becomes a tunnel is kept nowhere
    }
    let varies = tokens(response, &VARY).iter().any(|name| reserved.has(name));
    match personal {
        Personal::No if varies => {
            vary_by_cookie(response, reserved)?;
            make_private(response)
        }
        Personal::Changed => {
            remove_targeted(response);
            response.remove_header(&EXPIRES);
            response.insert_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
            if varies { vary_by_cookie(response, reserved) } else { Ok(()) }
        }
        Personal::Read => {
            remove_targeted(response);
            match reach(response) {
                Reach::Everybody => make_private(response)?,
                Reach::Nobody if !varies => return Ok(()),
                Reach::Nobody | Reach::Browser => {}
            }
            vary_by_cookie(response, reserved)
        }
        Personal::Anonymous if varies || reach(response) != Reach::Nobody || targets(response).next().is_some() => {
            vary_by_cookie(response, reserved)
        }
        Personal::No | Personal::Anonymous => Ok(()),
    }
}

/// Fields that speak to one kind of cache only, past `Cache-Control` (RFC 9213, and what came before it).
fn targets(response: &ResponseHeader) -> impl Iterator<Item = &HeaderName> {
    response.headers.keys().filter(|name| {
        let name = name.as_str();
        name.ends_with("-cache-control") || matches!(name, "surrogate-control" | "x-accel-expires" | "edge-control")
    })
}

fn remove_targeted(response: &mut ResponseHeader) {
    let targets: Vec<HeaderName> = targets(response).cloned().collect();
    for name in &targets {
        response.remove_header(name);
    }
}

/// The names in a field, whatever bytes they hold.
fn tokens(response: &ResponseHeader, name: &HeaderName) -> Vec<String> {
    let lines = response.headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let split =
        |line: std::borrow::Cow<'_, str>| line.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>();
    lines.flat_map(split).filter(|item| !item.is_empty()).collect()
}

/// A cache in front of us never sees our headers; what differs for it is the cookie.
///
/// What varies by everything, `*`, says so and nothing else: caches know it only so.
fn vary_by_cookie(response: &mut ResponseHeader, reserved: &Reserved) -> pingora::Result<()> {
    if !response.headers.contains_key(VARY) {
        return response.insert_header(VARY, HeaderValue::from_static("Cookie"));
    }
    let names = tokens(response, &VARY);
    if names.iter().any(|name| name == "*") {
        return response.insert_header(VARY, HeaderValue::from_static("*"));
    }
    let is_kept = |name: &String| name.is_ascii() && !reserved.has(name) && !name.eq_ignore_ascii_case("cookie");
    let kept: Vec<String> = names.into_iter().filter(is_kept).chain(["Cookie".to_owned()]).collect();
    response.insert_header(VARY, kept.join(", "))
}

/// Who may be given what a cache has kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Nothing is kept.
    Nobody,
    /// The browser's own cache keeps it.
    Browser,
    /// Caches that many share may keep it, or guess that they may.
    Everybody,
}

fn reach(response: &ResponseHeader) -> Reach {
    let mut reach = Reach::Everybody;
    for directive in directives(response) {
        // `private="field"` keeps one field out of shared caches, not the answer.
        if directive.eq_ignore_ascii_case("no-store") {
            return Reach::Nobody;
        } else if directive.eq_ignore_ascii_case("private") {
            reach = Reach::Browser;
        }
    }
    reach
}

/// `private`, with what the backend said to the browser's own cache.
fn make_private(response: &mut ResponseHeader) -> pingora::Result<()> {
    let for_browsers = |directive: &String| {
        let name = directive.split('=').next().unwrap_or_default().trim();
        let shared = ["public", "s-maxage", "private", "proxy-revalidate"];
        directive.is_ascii() && !shared.iter().any(|other| name.eq_ignore_ascii_case(other))
    };
    let kept: Vec<String> = directives(response).into_iter().filter(for_browsers).collect();
    if kept.is_empty() {
        return response.insert_header(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    response.insert_header(CACHE_CONTROL, format!("private, {}", kept.join(", ")))
}

/// The directives of `Cache-Control`; a comma within quotes separates nothing.
fn directives(response: &ResponseHeader) -> Vec<String> {
    let mut found = Vec::new();
    for line in response.headers.get_all(CACHE_CONTROL) {
        let (mut quoted, mut escaped) = (false, false);
        let directives = line.as_bytes().split(|&byte| {
            let separates = byte == b',' && !quoted;
            quoted ^= byte == b'"' && !escaped;
            escaped = quoted && byte == b'\\' && !escaped;
            separates
        });
        let directives = directives.map(<[u8]>::trim_ascii).filter(|directive| !directive.is_empty());
        found.extend(directives.map(|directive| String::from_utf8_lossy(directive).into_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HeaderOptions, Prefix};
    use proptest::prelude::*;

    fn marked(before: &[(&'static str, &str)], personal: Personal) -> ResponseHeader {
        let reserved = Reserved::new([&HeaderOptions::new(Prefix::default())]);
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in before {
            response.append_header(*name, *value).unwrap();
        }
        mark(&mut response, personal, &reserved).unwrap();
        response
    }

    fn check(before: &[(&'static str, &'static str)], personal: Personal, after: &[(&str, &str)]) {
        let response = marked(before, personal);
        let mut seen: Vec<_> =
            response.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        seen.sort_unstable();
        assert_eq!(seen, after, "{before:?} {personal:?}");
    }

    /// What becomes of a `Cache-Control` on a page with a session.
    fn check_read(before: &'static str, after: &str) {
        let vary = ("vary", "Cookie");
        let expected = [("cache-control", after), vary];
        check(&[("Cache-Control", before)], Personal::Read, &expected[..if after == "no-store" { 1 } else { 2 }]);
    }

    #[test]
    fn an_answer_that_changed_a_session_is_never_stored() {
        // CA1
        check(
            &[("Cache-Control", "public, max-age=60"), ("Expires", "0")],
            Personal::Changed,
            &[("cache-control", "no-store")],
        );
        check(&[], Personal::Changed, &[("cache-control", "no-store")]);
        check(
            &[("Vary", "X-Session-Data"), ("X-Accel-Expires", "60")],
            Personal::Changed,
            &[("cache-control", "no-store"), ("vary", "Cookie")],
        );
    }

    #[test]
    fn an_answer_made_with_a_session_is_private_whatever_it_says() {
        // CA2
        check_read("public, max-age=60, s-maxage=600", "private, max-age=60");
        check_read("no-store", "no-store");
        check_read("no-cache", "private, no-cache");
        check_read("Private", "Private");
        check_read("private=\"x\", max-age=60", "private, max-age=60");
        check_read("private; max-age=60", "private, private; max-age=60");
        check_read("max-age=60, private=\"a, no-store, private, b\"", "private, max-age=60");
        check_read("x=\"a\\\", no-store\", public", "private, x=\"a\\\", no-store\"");
        check_read("x=\"open, no-store", "private, x=\"open, no-store");
        let own = ("cache-control", "private");
        check(&[], Personal::Read, &[own, ("vary", "Cookie")]);
        check(&[("Last-Modified", "x")], Personal::Read, &[own, ("last-modified", "x"), ("vary", "Cookie")]);
        for name in ["CDN-Cache-Control", "Acme-CDN-Cache-Control", "X-LiteSpeed-Cache-Control", "X-Accel-Expires"] {
            check(&[(name, "max-age=60")], Personal::Read, &[own, ("vary", "Cookie")]);
        }
    }

    #[test]
    fn a_page_for_visitors_without_a_session_is_for_them_alone() {
        // CA2
        let public = ("Cache-Control", "public");
        check(
            &[public, ("Vary", "Accept")],
            Personal::Anonymous,
            &[("cache-control", "public"), ("vary", "Accept, Cookie")],
        );
        check(&[public, ("Vary", "cookie")], Personal::Anonymous, &[("cache-control", "public"), ("vary", "Cookie")]);
        check(&[], Personal::Anonymous, &[("vary", "Cookie")]);
        check(&[("Cache-Control", "no-store")], Personal::Anonymous, &[("cache-control", "no-store")]);
        check(
            &[("Cache-Control", "no-store"), ("X-Accel-Expires", "60")],
            Personal::Anonymous,
            &[("cache-control", "no-store"), ("vary", "Cookie"), ("x-accel-expires", "60")],
        );
    }

    #[test]
    fn varying_on_our_headers_becomes_varying_on_the_cookie() {
        let both = [("Vary", "X-Session-Data, Accept"), ("Cache-Control", "max-age=5")];
        let private = [("cache-control", "private, max-age=5"), ("vary", "Accept, Cookie")];
        check(&both, Personal::No, &private);
        check(&both, Personal::Read, &private);
        check(&both, Personal::Anonymous, &[("cache-control", "max-age=5"), ("vary", "Accept, Cookie")]);
        check(&[("Vary", "Accept")], Personal::No, &[("vary", "Accept")]);
    }

    #[test]
    fn what_varies_by_everything_says_nothing_else() {
        // nginx and Varnish know `*` when it stands alone, and would keep `*, Cookie`.
        for personal in [Personal::Anonymous, Personal::Read] {
            for before in [&[("Vary", "*")][..], &[("Vary", "X-Session-Data"), ("Vary", "Accept, *")]] {
                assert_eq!(marked(before, personal).headers.get_all(VARY).iter().collect::<Vec<_>>(), ["*"]);
            }
        }
    }

    #[test]
    fn a_tunnel_is_not_marked() {
        let reserved = Reserved::new([&HeaderOptions::new(Prefix::default())]);
        for personal in [Personal::Anonymous, Personal::Read, Personal::Changed] {
            let mut response = ResponseHeader::build(101, None).unwrap();
            mark(&mut response, personal, &reserved).unwrap();
            assert!(response.headers.is_empty());
        }
    }

    #[test]
    fn a_route_without_sessions_keeps_what_it_says() {
        let said = [("cache-control", "public"), ("x-accel-expires", "60")];
        check(&[("Cache-Control", "public"), ("X-Accel-Expires", "60")], Personal::No, &said);
    }

    proptest! {
        #[test]
        fn nothing_that_a_backend_says_makes_a_personal_answer_public(value in "[a-z=\", \\\\*-]{0,40}", read: bool) {
            // CA1, CA2
            let personal = if read { Personal::Read } else { Personal::Changed };
            let response = marked(&[("Cache-Control", &value), ("Vary", &value), ("X-Accel-Expires", &value)], personal);
            prop_assert!(reach(&response) != Reach::Everybody, "{response:?}");
            prop_assert!(!response.headers.contains_key("x-accel-expires"));
        }
    }
}
