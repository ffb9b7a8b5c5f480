//! Answers that we write ourselves: error kind to status in one table, pages without a product's name (CK10, LG4).

use super::Downstream;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::{BError, Error, ErrorSource, ErrorType};

/// Why a request is answered by us and not by the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No route takes the request.
    NoRoute,
    /// The request breaks a rule of HTTP or of ours; the status says which kind.
    BadRequest(u16),
    /// The route requires a session that the visitor has not.
    SessionMissing(u16),
    /// The visitor's address begins too many sessions.
    Flood,
    /// The session ended while the visitor waited for an answer.
    SessionEnded,
    /// A page of another site sent the request.
    CsrfOrigin,
    /// The token of the session's forms is missing, or is not where it is looked for.
    CsrfMissing,
    /// The token is that of another session, or of none.
    CsrfWrong,
    /// The session store cannot answer.
    SessionUnknown,
    /// Other requests of the same session did not end in time, or too many wait for it.
    SessionBusy,
    /// The request took so long that its lock on the session has passed to another one.
    LockLost,
    /// The backend's commands were refused.
    BatchRefused,
    /// The backend's `X-Session-If` did not hold.
    ConditionFailed,
    /// The backend switched protocols although nobody had asked for it.
    UnaskedUpgrade,
}

impl Failure {
    /// The status that the visitor sees.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::NoRoute => 404,
            Self::BadRequest(status) | Self::SessionMissing(status) => status,
            Self::Flood => 429,
            Self::SessionEnded => 401,
            Self::CsrfOrigin | Self::CsrfMissing | Self::CsrfWrong => 403,
            Self::SessionUnknown | Self::SessionBusy => 503,
            Self::BatchRefused | Self::UnaskedUpgrade => 502,
            Self::ConditionFailed | Self::LockLost => 409,
        }
    }

    /// The word in the access log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::BadRequest(_) => "bad_request",
            Self::SessionMissing(_) => "session_missing",
            Self::Flood => "too_many_sessions",
            Self::SessionEnded => "session_ended",
            Self::CsrfOrigin => "csrf_origin",
            Self::CsrfMissing => "csrf_missing",
            Self::CsrfWrong => "csrf_wrong",
            Self::SessionUnknown => "session_unknown",
            Self::SessionBusy => "session_busy",
            Self::LockLost => "lock_lost",
            Self::BatchRefused => "batch_refused",
            Self::ConditionFailed => "condition_failed",
            Self::UnaskedUpgrade => "unasked_upgrade",
        }
    }

    /// The failure as the error that ends a hook.
    #[must_use]
    pub fn error(self) -> BError {
        Error::explain(ErrorType::HTTPStatus(self.status()), self.as_str())
    }
}

/// The status of an error that pingora met; `None` when nobody is left to answer.
#[must_use]
pub fn status_of_error(error: &Error) -> Option<u16> {
    use ErrorType as E;
    match (error.esource(), error.etype()) {
        (_, E::HTTPStatus(status)) => Some(*status),
        (ErrorSource::Upstream, E::ConnectTimedout | E::TLSHandshakeTimedout | E::ReadTimedout | E::WriteTimedout) => {
            Some(504)
        }
        (ErrorSource::Upstream, _) => Some(502),
        (ErrorSource::Downstream, E::ReadTimedout) => Some(408),
        (ErrorSource::Downstream, E::WriteError | E::WriteTimedout | E::ReadError | E::ConnectionClosed) => None,
        (ErrorSource::Downstream, _) => Some(400),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(500),
    }
}

/// The status in the first line of an answer.
#[must_use]
pub fn status_of(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// The operator's own pages, by status.
pub type Pages = Vec<(u16, Bytes)>;

/// Writes an error page, with `cookies` as its `Set-Cookie` lines.
///
/// # Errors
/// When the client is gone.
pub async fn page(downstream: &mut Downstream, status: u16, pages: &Pages, cookies: &[String]) -> pingora::Result<()> {
    let own = pages.iter().find(|(of, _)| *of == status).map(|(_, page)| page.clone());
    let body = own.unwrap_or_else(|| Bytes::from(built_in(status)));
    let mut header = ResponseHeader::build(status, Some(6))?;
    header.insert_header(CONTENT_TYPE, "text/html; charset=utf-8")?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    if matches!(status, 429 | 503) {
        header.insert_header("Retry-After", "5")?;
    }
    write(downstream, header, body, cookies).await
}

/// Writes a redirection, with `cookies` as its `Set-Cookie` lines.
///
/// # Errors
/// When the client is gone.
pub async fn redirect(downstream: &mut Downstream, location: &str, cookies: &[String]) -> pingora::Result<()> {
    let mut header = ResponseHeader::build(302, Some(6))?;
    header.insert_header(LOCATION, location)?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    write(downstream, header, Bytes::new(), cookies).await
}

/// Writes an answer of our own, with `cookies` as its `Set-Cookie` lines.
///
/// # Errors
/// When the client is gone.
pub(super) async fn write(
    downstream: &mut Downstream,
    mut header: ResponseHeader,
    body: Bytes,
    cookies: &[String],
) -> pingora::Result<()> {
    header.insert_header(CONTENT_LENGTH, body.len())?;
    for line in cookies {
        header.append_header(SET_COOKIE, line.as_str())?;
    }
    let bodiless = downstream.req_header().method == Method::HEAD || body.is_empty();
    downstream.write_response_header(Box::new(header), bodiless).await?;
    if bodiless { Ok(()) } else { downstream.write_response_body(Some(body), true).await }
}

/// A whole answer as bytes, for a client whose request could not be read.
#[must_use]
pub fn raw(status: u16) -> Vec<u8> {
    let body = built_in(status);
    let reason = reason(status);
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error")
}

/// One page for all faults of a status: it tells a visitor what to do and an attacker nothing (LG4).
fn built_in(status: u16) -> String {
    let advice = match status {
        401 => "Please log in first.",
        403 => "This was refused. Please go back, reload the page, log in if you are asked to, and try again.",
        404 => "There is nothing at this address.",
        409 => "Somebody else changed this in the meantime. Please go back, reload and try again.",
        413 | 414 | 431 => "The request is too large.",
        502..=504 => "The service cannot answer at the moment. Please try again in a little while.",
        400..500 => "The request cannot be understood.",
        _ => "Something is wrong on our side. Please try again in a little while.",
    };
    let reason = reason(status);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{status} {reason}</title><style>body{{font:1rem/1.5 system-ui,sans-serif;\
         max-width:32rem;margin:20vh auto;padding:0 1rem;color-scheme:light dark}}</style><h1>{status} {reason}</h1>\
         <p>{advice}</p></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(kind: ErrorType, source: ErrorSource) -> Option<u16> {
        let mut error = Error::new(kind);
        error.esource = source;
        status_of_error(&error)
    }

    #[test]
    fn a_slow_backend_is_504_and_a_dead_one_502() {
        assert_eq!(status(ErrorType::ConnectTimedout, ErrorSource::Upstream), Some(504));
        assert_eq!(status(ErrorType::ReadTimedout, ErrorSource::Upstream), Some(504));
        assert_eq!(status(ErrorType::ConnectRefused, ErrorSource::Upstream), Some(502));
        assert_eq!(status(ErrorType::InvalidHTTPHeader, ErrorSource::Upstream), Some(502));
        assert_eq!(status(ErrorType::InvalidHTTPHeader, ErrorSource::Downstream), Some(400));
        assert_eq!(status(ErrorType::WriteError, ErrorSource::Downstream), None);
        assert_eq!(status(ErrorType::InternalError, ErrorSource::Internal), Some(500));
    }

    #[test]
    fn no_page_names_a_product() {
        // CK10
        for status in [400, 404, 405, 413, 431, 500, 502, 503, 504] {
            let answer = String::from_utf8(raw(status)).unwrap().to_ascii_lowercase();
            assert!(!answer.contains("pingora") && !answer.contains("cloakroom") && !answer.contains("server:"));
            assert_eq!(status_of(answer.as_bytes()), Some(status));
        }
    }
}
