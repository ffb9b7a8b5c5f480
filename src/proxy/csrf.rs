//! Whether a request that may change something comes from a page of the site: its origin, and the token of its forms.
//!
//! The token is looked for in `X-CSRF-Token`, and else in the field `csrf_token` of a URL-encoded body. The body is held
//! back for that, before a backend is chosen: of a request that is refused no backend ever sees a byte. What was read is
//! in the buffer from which pingora repeats bodies, and takes its ordinary way from there.

use super::context::{self, Context};
use super::forwarding::asks_for_websocket;
use super::reply::Failure;
use super::{Downstream, Proxy};
use crate::manager::{Session, SessionManager};
use crate::wire::form::Search;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HOST, HeaderName, ORIGIN};
use http::{HeaderValue, Method};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType};
use std::time::Duration;

/// The header of the token, as scripts send it. One in our own name space is never accepted from a client.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// The field of the token.
const TOKEN_FIELD: &[u8] = b"csrf_token";

/// The field must come within this much of the body: as much as pingora's buffer holds, or the body could not go on.
const MAX_HELD: usize = 64 * 1024;

/// And within this time.
const HOLD_TIMEOUT: Duration = Duration::from_secs(60);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Decides about a request on a route that asks for the token of its session with this index.
///
/// # Errors
/// Of the outer result: the client is gone, or takes too long. Of the inner one: why the request is refused.
pub(super) async fn check(
    downstream: &mut Downstream,
    ctx: &mut Context,
    index: usize,
) -> pingora::Result<Result<(), Failure>> {
    let request = downstream.req_header();
    let is_safe = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    let is_tunnel = asks_for_websocket(request);
    if is_safe && !is_tunnel {
        return Ok(Ok(()));
    }
    let believed = Proxy::client(downstream, ctx).is_trusted;
    if is_foreign(request, believed) {
        return Ok(Err(Failure::CsrfOrigin));
    }
    let Some(exchange) = ctx.exchange.as_mut() else { return Ok(Ok(())) };
    let session = &exchange.sessions[index];
    // Without a session there is nothing that another site could borrow. A handshake has no place for a token.
    if is_tunnel || session.snapshot().is_none() {
        return Ok(Ok(()));
    }
    let manager = &ctx.snapshot.policies[ctx.snapshot.targets[exchange.target].sessions[index].policy].manager;
    let mut tokens = request.headers.get_all(TOKEN_HEADER).iter().peekable();
    if tokens.peek().is_some() {
        let right = tokens.any(|token| manager.knows_csrf_token(session, token.as_bytes()));
        return Ok(if right { Ok(()) } else { Err(Failure::CsrfWrong) });
    }
    if !is_form(request) {
        return Ok(Err(Failure::CsrfMissing));
    }
    if request.headers.contains_key(EXPECT) {
        // The client sends nothing before somebody tells it to; then the backend must not tell it again.
        downstream.write_continue_response().await?;
        exchange.continued = true;
    }
    let held = tokio::time::timeout(HOLD_TIMEOUT, find(downstream, manager, &exchange.sessions[index])).await;
    limit_reads(downstream, usize::MAX);
    let slow = || Err(Error::explain(ErrorType::ReadTimedout, "the token of a form took too long"));
    let found = held.unwrap_or_else(|_elapsed| slow()).map_err(Error::into_down)?;
    Ok(if found { Ok(()) } else { Err(Failure::CsrfMissing) })
}

/// Reads the body until the token has come; `false` when it does not within [`MAX_HELD`].
async fn find(downstream: &mut Downstream, manager: &SessionManager, session: &Session) -> pingora::Result<bool> {
    let is_token = |value: &[u8]| manager.knows_csrf_token(session, value);
    let mut search = Search::new(TOKEN_FIELD);
    let mut held = 0;
    downstream.enable_retry_buffering();
    while held < MAX_HELD {
        // One piece too many, and the buffer would forget all of them.
        limit_reads(downstream, MAX_HELD - held);
        let Some(piece) = downstream.read_request_body().await? else { break };
        held += piece.len();
        if search.feed(&piece, &is_token) {
            return Ok(!downstream.retry_buffer_truncated());
        }
        if downstream.is_body_done() {
            break;
        }
    }
    // What is held ends here, even where the end of the body, or of the field, has not come yet.
    Ok(search.end(&is_token) && !downstream.retry_buffer_truncated())
}

fn limit_reads(downstream: &Downstream, most: usize) {
    if let Some(gate) = context::gate(&downstream.downstream_session) {
        gate.limit_reads(most);
    }
}

/// Whether the body is a URL-encoded form that can be read as it comes.
fn is_form(request: &RequestHeader) -> bool {
    let kind = request.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") && !request.headers.contains_key(CONTENT_ENCODING)
}

/// Whether a browser says that a page of another site sent this. What says nothing is no browser of these days.
///
/// `believed`: the other end is a proxy whose word about the host is taken.
pub(super) fn is_foreign(request: &RequestHeader, believed: bool) -> bool {
    let mut sites = request.headers.get_all(SEC_FETCH_SITE).iter().map(HeaderValue::as_bytes).peekable();
    if sites.peek().is_some() {
        return !sites.all(|site| matches!(site, b"same-origin" | b"none"));
    }
    let hosts = |name: HeaderName| request.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let is_own = |origin: &[u8]| {
        let forwarded = hosts(X_FORWARDED_HOST).filter(|_| believed).flat_map(|line| line.split(|byte| *byte == b','));
        hosts(HOST).chain(forwarded).any(|host| is_origin_of(origin, host.trim_ascii()))
    };
    !request.headers.get_all(ORIGIN).iter().all(|origin| is_own(origin.as_bytes()))
}

/// Whether an origin is that of a host. The scheme says nothing: TLS may end in front of us.
fn is_origin_of(origin: &[u8], host: &[u8]) -> bool {
    [(&b"https://"[..], &b":443"[..]), (b"http://", b":80")].iter().any(|(scheme, port)| {
        let own = origin.strip_prefix(*scheme).map(|authority| authority.strip_suffix(*port).unwrap_or(authority));
        own.is_some_and(|own| own.eq_ignore_ascii_case(host.strip_suffix(*port).unwrap_or(host)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("POST", b"/", None).unwrap();
        for (name, value) in lines {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    #[test]
    fn a_page_of_another_site_is_told_by_its_browser() {
        #[rustfmt::skip]
        let table: &[(bool, &[(&str, &str)])] = &[
            (false, &[]),
            (false, &[("Sec-Fetch-Site", "same-origin")]),
            (false, &[("Sec-Fetch-Site", "none")]),
            (true, &[("Sec-Fetch-Site", "same-site")]),
            (true, &[("Sec-Fetch-Site", "cross-site")]),
            (true, &[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")]),
            (false, &[("Sec-Fetch-Site", "same-origin"), ("Origin", "null")]),
            (true, &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://app.example")]),
            (false, &[("Origin", "https://app.example")]),
            (false, &[("Origin", "http://APP.example:80")]),
            (true, &[("Origin", "https://app.example:8443")]),
            (true, &[("Origin", "https://evil.example")]),
            (true, &[("Origin", "https://app.example.evil.example")]),
            (true, &[("Origin", "https://xapp.example")]),
            (true, &[("Origin", "app.example")]),
            (true, &[("Origin", "null")]),
            (true, &[("Origin", "")]),
            (true, &[("Origin", "https://app.example"), ("Origin", "https://evil.example")]),
            (true, &[("Origin", "https://www.example"), ("X-Forwarded-Host", "www.example")]),
        ];
        for (expected, lines) in table {
            let lines = [&[("Host", "app.example")][..], lines].concat();
            assert_eq!(is_foreign(&request(&lines), false), *expected, "{lines:?}");
        }
    }

    #[test]
    fn a_listed_proxy_says_for_which_host_it_asks() {
        let lines =
            [("Host", "10.0.0.1:8080"), ("X-Forwarded-Host", "a, www.example:443"), ("Origin", "https://www.example")];
        assert!(!is_foreign(&request(&lines), true) && is_foreign(&request(&lines), false));
    }

    #[test]
    fn only_a_plain_url_encoded_body_is_read() {
        for (expected, lines) in [
            (true, &[("Content-Type", "application/x-www-form-urlencoded")][..]),
            (true, &[("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=utf-8")]),
            (false, &[("Content-Type", "multipart/form-data; boundary=a")]),
            (false, &[("Content-Type", "application/x-www-form-urlencoded"), ("Content-Encoding", "gzip")]),
            (false, &[("Content-Type", "text/plain")]),
            (false, &[]),
        ] {
            assert_eq!(is_form(&request(lines)), expected, "{lines:?}");
        }
    }
}
