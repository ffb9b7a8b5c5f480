//! Keeping personal answers out of shared caches (protocol, 5.8; CA1).

use super::answer::Inspected;
use crate::wire::Reserved;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, ETAG, EXPIRES, HeaderName, LAST_MODIFIED, VARY};
use pingora::http::ResponseHeader;

/// What is personal about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personal {
    /// Nothing: its route has no session.
    No,
    /// It was made for a visitor without a session, on a route that has sessions: others get another answer.
    Anonymous,
    /// It was made with a live session in the request.
    Read,
    /// It carried a command or carries our `Set-Cookie`.
    Changed,
}

/// Whether a field speaks to one kind of cache only, past `Cache-Control` (RFC 9213, and what came before it).
#[must_use]
pub fn is_targeted(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("cdn-cache-control") || matches!(name, "surrogate-control" | "x-accel-expires" | "edge-control")
}

/// Marks an answer so that no shared cache gives it to another visitor.
///
/// # Errors
/// When a value cannot be a header; ours always can.
pub fn mark(
    response: &mut ResponseHeader,
    personal: Personal,
    inspected: Inspected,
    reserved: &Reserved,
) -> pingora::Result<()> {
    let varies = inspected.varies && tokens(response, &VARY).iter().any(|name| reserved.has(name));
    if varies {
        rewrite_vary(response, reserved)?;
    }
    if inspected.targeted && matches!(personal, Personal::Read | Personal::Changed) {
        let targeted: Vec<HeaderName> = response.headers.keys().filter(|name| is_targeted(name)).cloned().collect();
        for name in &targeted {
            response.remove_header(name);
        }
    }
    match personal {
        Personal::Changed => {
            response.insert_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
            response.remove_header(&EXPIRES);
        }
        Personal::Read if varies || may_be_shared(response) => {
            let kept = kept_directives(response);
            response.insert_header(CACHE_CONTROL, kept)?;
        }
        Personal::Anonymous | Personal::No if varies => {
            let kept = kept_directives(response);
            response.insert_header(CACHE_CONTROL, kept)?;
        }
        Personal::Anonymous if inspected.targeted || may_be_shared(response) => rewrite_vary(response, reserved)?,
        Personal::Read | Personal::Anonymous | Personal::No => {}
    }
    Ok(())
}

/// The items of a field, whatever bytes they hold.
fn tokens(response: &ResponseHeader, name: &HeaderName) -> Vec<String> {
    let lines = response.headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let split =
        |line: std::borrow::Cow<'_, str>| line.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>();
    lines.flat_map(split).filter(|item| !item.is_empty()).collect()
}

/// A cache in front of us never sees our headers; what differs for it is the cookie.
fn rewrite_vary(response: &mut ResponseHeader, reserved: &Reserved) -> pingora::Result<()> {
    let is_kept = |name: &String| name.is_ascii() && !reserved.has(name) && !name.eq_ignore_ascii_case("cookie");
    let kept: Vec<String> = tokens(response, &VARY).into_iter().filter(is_kept).chain(["Cookie".to_owned()]).collect();
    response.insert_header(VARY, kept.join(", "))
}

/// Whether a shared cache may keep the answer: because the backend says so, or because it says nothing and there is
/// something to guess by (RFC 9111, section 4.2.2).
fn may_be_shared(response: &ResponseHeader) -> bool {
    let mut may = [EXPIRES, LAST_MODIFIED, ETAG].iter().any(|name| response.headers.contains_key(name));
    for directive in tokens(response, &CACHE_CONTROL) {
        let directive = directive.to_ascii_lowercase();
        match directive.split('=').next().unwrap_or_default() {
            // `private="field"` keeps one field out of shared caches, not the answer.
            "private" if directive == "private" => return false,
            "no-store" => return false,
            "public" | "s-maxage" | "max-age" | "must-revalidate" | "immutable" | "stale-while-revalidate" => {
                may = true;
            }
            _ => {}
        }
    }
    may
}

/// `private`, with what the backend said to the browser's own cache.
fn kept_directives(response: &ResponseHeader) -> String {
    let for_browsers = |directive: &String| {
        let name = directive.split('=').next().unwrap_or_default();
        let shared = ["public", "s-maxage", "private", "proxy-revalidate"];
        directive.is_ascii() && !shared.iter().any(|other| name.eq_ignore_ascii_case(other))
    };
    let kept = tokens(response, &CACHE_CONTROL).into_iter().filter(for_browsers);
    ["private".to_owned()].into_iter().chain(kept).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HeaderOptions, Prefix};

    fn check(before: &[(&'static str, &'static str)], personal: Personal, after: &[(&str, &str)]) {
        let reserved = Reserved::new([&HeaderOptions::new(Prefix::default())]);
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in before {
            response.append_header(*name, *value).unwrap();
        }
        let targeted = response.headers.keys().any(is_targeted);
        let inspected = Inspected { varies: true, targeted };
        mark(&mut response, personal, inspected, &reserved).unwrap();
        let mut seen: Vec<_> =
            response.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        seen.sort_unstable();
        assert_eq!(seen, after, "{before:?} {personal:?}");
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
    }

    #[test]
    fn an_answer_made_with_a_session_is_private_if_it_would_be_shared() {
        // CA2
        let private = &[("cache-control", "private, max-age=60")];
        check(&[("Cache-Control", "public, max-age=60, s-maxage=600")], Personal::Read, private);
        check(&[("Cache-Control", "no-store")], Personal::Read, &[("cache-control", "no-store")]);
        check(&[], Personal::Read, &[]);
        check(&[("Cache-Control", "public")], Personal::No, &[("cache-control", "public")]);
        check(&[("Last-Modified", "x")], Personal::Read, &[("cache-control", "private"), ("last-modified", "x")]);
        check(&[("Cache-Control", "private=\"x\", max-age=60")], Personal::Read, private);
        check(&[("CDN-Cache-Control", "max-age=60")], Personal::Read, &[]);
    }

    #[test]
    fn a_shared_page_for_visitors_without_a_session_is_for_them_alone() {
        // CA2
        let after = &[("cache-control", "public"), ("vary", "Accept, Cookie")];
        check(&[("Cache-Control", "public"), ("Vary", "Accept")], Personal::Anonymous, after);
        check(&[], Personal::Anonymous, &[]);
    }

    #[test]
    fn varying_on_our_headers_becomes_varying_on_the_cookie() {
        let after = &[("cache-control", "private, max-age=5"), ("vary", "Accept, Cookie")];
        check(&[("Vary", "X-Session-Data, Accept"), ("Cache-Control", "max-age=5")], Personal::No, after);
        check(&[("Vary", "Accept")], Personal::No, &[("vary", "Accept")]);
    }
}
