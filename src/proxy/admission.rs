//! What pingora's parser lets through and a backend must never see: refused here, before a backend is chosen.

use super::background::{self, Cause};
use super::options::ListenerOptions;
use super::reply::Failure;
use crate::wire::{Reserved, fold_byte};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Version};
use pingora::http::RequestHeader;
use smallvec::SmallVec;

/// The longest request target.
const MAX_TARGET_BYTES: usize = 8 * 1024;

/// The most names that `Connection` may nominate.
const MAX_CONNECTION_TOKENS: usize = 9;

/// Fields that a client may not have removed by naming them in `Connection`.
const PROTECTED: [&str; 7] =
    ["host", "content-length", "transfer-encoding", "content-type", "cookie", "authorization", "via"];

/// What one pass over the fields of a request tells; look-ups in the map cost more than the whole pass.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each tells of another field")]
pub struct Survey {
    hosts: usize,
    lengths: usize,
    codings: usize,
    connections: usize,
    /// The client claims something about itself: `Forwarded`, `X-Forwarded-*`, `X-Real-IP`.
    pub claims: bool,
    /// An invitation to HTTP/2 came, or a content length that must be collapsed.
    pub needs_repair: bool,
    /// It has `Authorization`.
    pub authorizes: bool,
    /// It has `Upgrade`.
    pub upgrades: bool,
    /// What caused it, as far as it says.
    pub cause: Cause,
    /// Names in our name space.
    pub spoofed: SmallVec<[HeaderName; 1]>,
}

impl Survey {
    /// Looks at every field once.
    #[must_use]
    pub fn of(request: &RequestHeader, reserved: &Reserved) -> Self {
        let mut survey = Self::default();
        for (name, value) in &request.headers {
            if *name == HOST {
                survey.hosts += 1;
            } else if *name == CONTENT_LENGTH {
                survey.lengths += 1;
                survey.needs_repair |= survey.lengths > 1 || value.as_bytes().contains(&b',');
            } else if *name == TRANSFER_ENCODING {
                survey.codings += 1;
            } else if *name == CONNECTION {
                survey.connections += 1;
            } else if *name == AUTHORIZATION {
                survey.authorizes = true;
            } else if *name == UPGRADE {
                survey.upgrades = true;
            } else if reserved.has(name.as_str()) {
                if !survey.spoofed.contains(name) {
                    survey.spoofed.push(name.clone());
                }
            } else {
                let name = name.as_str();
                survey.claims |= is_claim(name);
                if background::may_tell(name) {
                    survey.cause.note(name, value.as_bytes());
                }
                survey.needs_repair |= matches!(name, "http2-settings" | "proxy");
            }
        }
        survey.needs_repair |= has_absolute_target(request);
        survey
    }
}

/// Whether the target came in the absolute form; `OPTIONS *` has a form of its own (RFC 9112, section 3.2).
#[must_use]
pub fn has_absolute_target(request: &RequestHeader) -> bool {
    !matches!(request.raw_path(), [b'/', ..] | b"*")
}

/// Whether a field is a client's word about itself, in any spelling that a backend folds into one (HI10).
#[must_use]
pub fn is_claim(name: &str) -> bool {
    let folds_to = |wanted: &[u8], name: &[u8]| {
        wanted.len() == name.len() && wanted.iter().zip(name).all(|(want, have)| *want == fold_byte(*have))
    };
    let name = name.as_bytes();
    match name.first() {
        Some(b'x') => {
            name.get(..12).is_some_and(|start| folds_to(b"X_FORWARDED_", start)) || folds_to(b"X_REAL_IP", name)
        }
        Some(b'f') => folds_to(b"FORWARDED", name),
        _ => false,
    }
}

/// Decides whether a request may be forwarded; `header_bytes` is the size of its header section.
///
/// # Errors
/// The status that refuses it.
pub fn check(
    request: &RequestHeader,
    survey: &Survey,
    header_bytes: usize,
    listener: &ListenerOptions,
    max_body_bytes: u64,
) -> Result<(), Failure> {
    let refuse = |status| Err(Failure::BadRequest(status));
    let headers = &request.headers;
    if header_bytes > listener.max_header_bytes || headers.len() > listener.max_headers {
        return refuse(431); // HF10
    }
    if request.raw_path().len() > MAX_TARGET_BYTES {
        return refuse(414); // HF10
    }
    if matches!(request.method, Method::TRACE | Method::CONNECT) {
        return refuse(405); // HF9
    }
    let connection = survey.connections == 0 || has_valid_connection(headers);
    if !has_valid_target(request)
        || !has_valid_host(request, survey)
        || !has_valid_framing(request, survey)
        || !connection
    {
        return refuse(400);
    }
    match (survey.lengths > 0).then(|| content_length(headers)).flatten() {
        Some(length) if length > max_body_bytes => refuse(413),
        _ => Ok(()),
    }
}

/// HF1: a path, `OPTIONS *`, or the absolute form of a path here: its authority is that of `Host`.
fn has_valid_target(request: &RequestHeader) -> bool {
    match request.raw_path() {
        [b'/', ..] => true,
        b"*" => request.method == Method::OPTIONS,
        target => {
            let rest = ["http://", "https://"].iter().find_map(|scheme| {
                let (start, rest) = target.split_at_checked(scheme.len())?;
                start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
            });
            let host = request.headers.get(HOST).map_or(&b""[..], http::HeaderValue::as_bytes);
            rest.is_some_and(|rest| {
                let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
                !host.is_empty() && rest[..end].eq_ignore_ascii_case(host)
            })
        }
    }
}

/// HF1: one `Host` with the characters of a host and a port; HTTP/1.0 may have none.
fn has_valid_host(request: &RequestHeader, survey: &Survey) -> bool {
    match survey.hosts {
        0 => request.version == Version::HTTP_10,
        1 => request.headers.get(HOST).is_some_and(|host| is_authority(host.as_bytes())),
        _ => false,
    }
}

/// A host, or an address in brackets, and perhaps a port (RFC 3986, section 3.2, without user information).
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (address, after) = rest.split_at(end);
            let good = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if address.is_empty() || !address.iter().all(good) {
                return false;
            }
            (&b"v6"[..], &after[1..])
        }
        _ => text.split_at(text.iter().position(|byte| *byte == b':').unwrap_or(text.len())),
    };
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
    let port = port.is_empty() || matches!(port, [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit));
    !host.is_empty() && host.iter().all(good) && port
}

/// HF2: `Transfer-Encoding` is exactly `chunked` and stands alone, or there is one content length.
fn has_valid_framing(request: &RequestHeader, survey: &Survey) -> bool {
    let headers = &request.headers;
    match (survey.codings, survey.lengths) {
        (0, 0) => true,
        (0, _) => content_length(headers).is_some(),
        (1, 0) => {
            let coding = headers.get(TRANSFER_ENCODING).map_or(&b""[..], |coding| coding.as_bytes().trim_ascii());
            coding.eq_ignore_ascii_case(b"chunked") && request.version != Version::HTTP_10
        }
        _ => false,
    }
}

/// The length that all `Content-Length` lines and lists agree on.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut agreed = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        for number in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let digits = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
            let number = digits.then(|| std::str::from_utf8(number).ok()?.parse::<u64>().ok()).flatten()?;
            if agreed.is_some_and(|agreed| agreed != number) {
                return None;
            }
            agreed = Some(number);
        }
    }
    agreed
}

/// HF4: few plain tokens, none of a field that the backend relies on.
fn has_valid_connection(headers: &HeaderMap) -> bool {
    let mut count = 0;
    headers.get_all(CONNECTION).iter().all(|line| {
        line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).all(|token| {
            count += 1;
            let plain = token.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b));
            let protected = PROTECTED.iter().any(|name| token.eq_ignore_ascii_case(name.as_bytes()));
            count <= MAX_CONNECTION_TOKENS && plain && !protected
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::options::ListenAddress;
    use crate::wire::{HeaderOptions, Prefix};
    use std::time::Duration;

    fn listener() -> ListenerOptions {
        ListenerOptions {
            name: "web".into(),
            address: ListenAddress::Tcp(([127, 0, 0, 1], 80).into()),
            certificates: Vec::new(),
            behind_tls: false,
            max_header_bytes: 32 * 1024,
            max_headers: 20,
            header_timeout: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(75),
        }
    }

    fn admit(request: &RequestHeader, header_bytes: usize) -> Result<(), Failure> {
        let reserved = Reserved::new([&HeaderOptions::new(Prefix::default())]);
        check(request, &Survey::of(request, &reserved), header_bytes, &listener(), 1000)
    }

    /// Status, method, version, header lines.
    type Row<'a> = (u16, &'a str, Version, &'a [(&'a str, &'a str)]);

    fn status(method: &str, path: &str, version: Version, lines: &[(&str, &str)]) -> u16 {
        let mut request = RequestHeader::build(method, path.as_bytes(), None).unwrap();
        request.set_version(version);
        for (name, value) in lines {
            request.append_header((*name).to_owned(), *value).unwrap();
        }
        admit(&request, 100).err().map_or(200, Failure::status)
    }

    #[test]
    fn requests_that_a_backend_must_not_see_are_refused() {
        let host = ("Host", "a.example");
        #[rustfmt::skip]
        let table: &[Row<'_>] = &[
            (200, "GET", Version::HTTP_11, &[host]),
            (200, "GET", Version::HTTP_10, &[]),
            (405, "TRACE", Version::HTTP_11, &[host]),                                                     // HF9
            (400, "GET", Version::HTTP_11, &[]),                                                           // HF1
            (400, "GET", Version::HTTP_11, &[host, host]),
            (400, "GET", Version::HTTP_11, &[("Host", "a/b")]),
            (400, "GET", Version::HTTP_11, &[("Host", "")]),
            (200, "GET", Version::HTTP_11, &[("Host", "[::1]:8080")]),
            (400, "GET", Version::HTTP_11, &[("Host", "[")]),
            (400, "GET", Version::HTTP_11, &[("Host", "a:b:c")]),
            (400, "GET", Version::HTTP_11, &[("Host", ":80")]),
            (200, "POST", Version::HTTP_11, &[host, ("Transfer-Encoding", "chunked")]),                    // HF2
            (400, "POST", Version::HTTP_11, &[host, ("Transfer-Encoding", "gzip, chunked")]),
            (400, "POST", Version::HTTP_11, &[host, ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")]),
            (400, "POST", Version::HTTP_11, &[host, ("Transfer-Encoding", "chunked"), ("Content-Length", "3")]),
            (400, "POST", Version::HTTP_10, &[("Transfer-Encoding", "chunked")]),
            (200, "POST", Version::HTTP_11, &[host, ("Content-Length", "3"), ("Content-Length", "3")]),
            (200, "POST", Version::HTTP_11, &[host, ("Content-Length", "3, 3")]),
            (400, "POST", Version::HTTP_11, &[host, ("Content-Length", "3, 4")]),
            (400, "POST", Version::HTTP_11, &[host, ("Content-Length", "+3")]),
            (400, "POST", Version::HTTP_11, &[host, ("Content-Length", "")]),
            (413, "POST", Version::HTTP_11, &[host, ("Content-Length", "1001")]),
            (400, "GET", Version::HTTP_11, &[host, ("Connection", "close, host")]),                        // HF4
            (400, "GET", Version::HTTP_11, &[host, ("Connection", "\"x\"")]),
            (400, "GET", Version::HTTP_11, &[host, ("Connection", "a,b,c,d,e,f,g,h,i,j")]),
            (200, "GET", Version::HTTP_11, &[host, ("Connection", "close, X-Session-User")]),
        ];
        for (expected, method, version, lines) in table {
            assert_eq!(status(method, "/", *version, lines), *expected, "{method} {version:?} {lines:?}");
        }
    }

    #[test]
    fn a_target_is_a_path_here() {
        // HF1
        let host = ("Host", "a.example");
        for (expected, method, target) in [
            (200, "GET", "/x"),
            (200, "OPTIONS", "*"),
            (400, "GET", "*"),
            (200, "GET", "http://A.example/x"),
            (200, "GET", "HTTPS://a.example?x"),
            (400, "GET", "http://b.example/x"),
            (400, "GET", "foo://a.example/x"),
            (400, "GET", "admin/x"),
            (400, "GET", "?a=b"),
        ] {
            assert_eq!(status(method, target, Version::HTTP_11, &[host]), expected, "{method} {target}");
        }
        assert_eq!(status("GET", "http://a.example/", Version::HTTP_10, &[]), 400);
    }

    #[test]
    fn claims_are_known_in_every_spelling() {
        // HI10
        for name in ["x-forwarded-for", "x_forwarded_for", "x.forwarded-proto", "x-real-ip", "x_real_ip", "forwarded"] {
            assert!(is_claim(name), "{name}");
        }
        for name in ["x-forwarded", "forwarded-for", "x-requested-with", "from", ""] {
            assert!(!is_claim(name), "{name}");
        }
    }

    #[test]
    fn sizes_have_limits() {
        // HF10
        let host = ("Host", "a.example");
        assert_eq!(status("GET", &format!("/{}", "a".repeat(9000)), Version::HTTP_11, &[host]), 414);
        let many: Vec<_> = (0..20).map(|_| ("X-A", "1")).chain([host]).collect();
        assert_eq!(status("GET", "/", Version::HTTP_11, &many), 431);
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        request.insert_header("Host", "a").unwrap();
        assert_eq!(admit(&request, 40_000), Err(Failure::BadRequest(431)));
    }
}
