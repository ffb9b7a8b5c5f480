//! Asking a backend again: its `X-Session-If` did not hold, because a session is not any more what it was told.
//!
//! The answer is thrown away whole, and with it the connection that it came by. The next attempt begins with the newest
//! sessions, so that nothing of the one before is left but that it took place.

use super::context::Exchange;
use super::reply::Failure;
use http::Method;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use pingora::http::RequestHeader;

/// How often a request is sent again.
pub const MAX_REPLAYS: usize = 2;

/// Why a backend's page does not go to the visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    /// An error answers in its place.
    For(Failure),
    /// The backend is asked again.
    ToAskAgain,
}

impl From<Failure> for Withheld {
    fn from(failure: Failure) -> Self {
        Self::For(failure)
    }
}

/// Whether a request may be sent once more: one that changes nothing by itself and has nothing to be sent but its head.
pub(super) fn may_be_sent_again(request: &RequestHeader, exchange: &Exchange) -> bool {
    let is_safe = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let has_body = request.headers.contains_key(TRANSFER_ENCODING)
        || request
            .headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes().iter().any(|digit| *digit != b'0'));
    is_safe && !has_body && !request.headers.contains_key(UPGRADE) && exchange.replays < MAX_REPLAYS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookie::header::Rest;

    fn may(method: &str, fields: &[(&'static str, &str)], replays: usize) -> bool {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        for (name, value) in fields {
            request.insert_header(*name, *value).unwrap();
        }
        let exchange = Exchange { replays, ..Exchange::new(0, Rest::Untouched, true) };
        may_be_sent_again(&request, &exchange)
    }

    #[test]
    fn a_request_without_a_body_that_changes_nothing_is_sent_again_twice() {
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(may(method, &[], 0) && may(method, &[], 1), "{method}");
            assert!(may(method, &[("Content-Length", "0")], 0), "{method}");
            assert!(!may(method, &[], 2), "{method}");
            assert!(!may(method, &[("Content-Length", "10")], 0), "{method}");
            assert!(!may(method, &[("Transfer-Encoding", "chunked")], 0), "{method}");
            assert!(!may(method, &[("Upgrade", "websocket")], 0), "{method}");
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"] {
            assert!(!may(method, &[], 0), "{method}");
        }
    }
}
