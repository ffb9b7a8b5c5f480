//! Keeping personal answers out of shared caches (protocol, 5.8; CA1).

use crate::wire::Reserved;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, EXPIRES, VARY};
use pingora::http::ResponseHeader;

/// What is personal about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personal {
    /// Nothing: it was made without a session.
    No,
    /// It was made with a live session in the request.
    Read,
    /// It carried a command or carries our `Set-Cookie`.
    Changed,
}

/// Marks an answer so that no shared cache gives it to another visitor.
///
/// # Errors
/// When a value cannot be a header; ours always can.
pub fn mark(response: &mut ResponseHeader, personal: Personal, reserved: &Reserved) -> pingora::Result<()> {
    let varies = varies_on_ours(response, reserved);
    if varies {
        rewrite_vary(response, reserved)?;
    }
    match personal {
        Personal::Changed => {
            response.insert_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
            response.remove_header(&EXPIRES);
        }
        Personal::Read | Personal::No if varies || (personal == Personal::Read && invites_shared_caches(response)) => {
            let kept = kept_directives(response);
            response.insert_header(CACHE_CONTROL, kept)?;
        }
        Personal::Read | Personal::No => {}
    }
    Ok(())
}

fn tokens<'a>(response: &'a ResponseHeader, name: &http::HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = response.headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn varies_on_ours(response: &ResponseHeader, reserved: &Reserved) -> bool {
    response.headers.contains_key(VARY) && tokens(response, &VARY).any(|name| reserved.has(name))
}

/// A cache in front of us never sees our headers; what differs for it is the cookie.
fn rewrite_vary(response: &mut ResponseHeader, reserved: &Reserved) -> pingora::Result<()> {
    let kept = tokens(response, &VARY).filter(|name| !reserved.has(name) && !name.eq_ignore_ascii_case("cookie"));
    let vary = kept.chain(["Cookie"]).collect::<Vec<_>>().join(", ");
    response.insert_header(VARY, vary)
}

/// Whether a shared cache may keep the answer because the backend says so.
fn invites_shared_caches(response: &ResponseHeader) -> bool {
    let mut invited = response.headers.contains_key(EXPIRES);
    for directive in tokens(response, &CACHE_CONTROL) {
        let name = directive.split('=').next().unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "private" | "no-store" => return false,
            "public" | "s-maxage" | "max-age" | "must-revalidate" | "immutable" => invited = true,
            _ => {}
        }
    }
    invited
}

/// `private`, with what the backend said to the browser's own cache.
fn kept_directives(response: &ResponseHeader) -> String {
    let for_browsers = |directive: &&str| {
        let name = directive.split('=').next().unwrap_or_default();
        !["public", "s-maxage", "private", "proxy-revalidate"].iter().any(|other| name.eq_ignore_ascii_case(other))
    };
    ["private"].into_iter().chain(tokens(response, &CACHE_CONTROL).filter(for_browsers)).collect::<Vec<_>>().join(", ")
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
        mark(&mut response, personal, &reserved).unwrap();
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
    }

    #[test]
    fn varying_on_our_headers_becomes_varying_on_the_cookie() {
        let after = &[("cache-control", "private, max-age=5"), ("vary", "Accept, Cookie")];
        check(&[("Vary", "X-Session-Data, Accept"), ("Cache-Control", "max-age=5")], Personal::No, after);
        check(&[("Vary", "Accept")], Personal::No, &[("vary", "Accept")]);
    }
}
