//! What a proxy owes to the next hop: names of the client, `Via`, no hop-by-hop fields (HF4, HF5, HF11, HI10).

use super::admission::{has_absolute_target, is_claim};
use super::options::{HeaderEdits, Network};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRAILER, UPGRADE};
use http::{HeaderMap, HeaderValue, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// A CGI reads it as `HTTP_PROXY`, which many libraries take for the proxy of their own requests (httpoxy).
const PROXY: HeaderName = HeaderName::from_static("proxy");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Fields that end at the next hop.
const ONE_HOP: [HeaderName; 5] = [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRAILER, UPGRADE];

/// Whether a field of an answer ends here.
#[must_use]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    ONE_HOP.contains(name)
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The address of the connection's other end; `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// The other end is a proxy whose word is taken.
    pub is_trusted: bool,
    /// The connection came over TLS, here or at a proxy that is listed.
    pub is_secure: bool,
}

impl Client {
    /// What is known about the other end of a connection.
    #[must_use]
    pub fn new(address: Option<IpAddr>, is_secure: bool, trusted: &[Network]) -> Self {
        let is_trusted = address.is_some_and(|address| trusted.iter().any(|network| network.has(address)));
        Self { address, is_trusted, is_secure }
    }
}

/// Tells the backend who asks. What a client claims about itself is removed, unless it is a listed proxy (HI10).
///
/// `claims`: the request has such claims at all.
///
/// # Errors
/// When a value cannot be a header; ours always can.
pub fn announce(request: &mut RequestHeader, client: Client, claims: bool) -> pingora::Result<()> {
    let believed = claims && client.is_trusted;
    if claims {
        remove_claims(request, believed);
    }
    if let Some(address) = client.address {
        let address = address.to_canonical();
        let mut chain = address.to_string();
        if believed {
            // Every line counts, in order: a proxy that adds a line of its own means it to be the last word.
            let lines = request.headers.get_all(X_FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
            chain = lines.chain([chain.as_str()]).collect::<Vec<_>>().join(", ");
        }
        request.insert_header("X-Forwarded-For", chain)?;
    }
    if !(believed && request.headers.contains_key(X_FORWARDED_PROTO)) {
        let scheme = if client.is_secure { "https" } else { "http" };
        request.insert_header("X-Forwarded-Proto", HeaderValue::from_static(scheme))?;
    }
    if !(believed && request.headers.contains_key(X_FORWARDED_HOST))
        && let Some(host) = request.headers.get(HOST).cloned()
    {
        request.insert_header("X-Forwarded-Host", host)?;
    }
    // A pseudonym, as RFC 9110, section 7.6.3, allows: it names no product (CK10).
    request.append_header("Via", HeaderValue::from_static("1.1 proxy"))?;
    Ok(())
}

/// The visitor's address: the connection's other end, or what the listed proxies say, each of the one before it.
#[must_use]
pub fn visitor(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.has(address));
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev().map(|line| line.to_str().unwrap_or_default());
    let mut chain = lines.flat_map(|line| line.rsplit(','));
    let mut known = peer;
    while is_trusted(known) {
        let Some(before) = chain.next().and_then(address) else { break };
        known = before;
    }
    known
}

/// An address as proxies write it, with its port or without.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let plain = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip())).or_else(plain)
}

/// A listed proxy's word is kept where it is spelled as it should be: another spelling would reach a CGI beside ours.
fn remove_claims(request: &mut RequestHeader, believed: bool) {
    let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_removed = |name: &&HeaderName| is_claim(name.as_str()) && !(believed && is_plain(name.as_str()));
    let claims: Vec<HeaderName> = request.headers.keys().filter(is_removed).cloned().collect();
    for name in &claims {
        request.remove_header(name);
    }
}

/// Repairs what pingora would forward as it came: repeated content lengths, invitations to HTTP/2.
///
/// # Errors
/// When a value cannot be a header; what came can.
pub fn repair(request: &mut RequestHeader) -> pingora::Result<()> {
    let mut lengths = request.headers.get_all(CONTENT_LENGTH).iter();
    if let Some(first) = lengths.next() {
        let single = first.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        if lengths.next().is_some() || single.len() != first.len() {
            let single = HeaderValue::from_bytes(single).unwrap_or_else(|_| HeaderValue::from_static("0"));
            request.insert_header(CONTENT_LENGTH, single)?; // HF2: equal lengths collapse to one
        }
    }
    for name in [HTTP2_SETTINGS, PROXY] {
        if request.headers.contains_key(&name) {
            request.remove_header(&name);
        }
    }
    if has_absolute_target(request) {
        // It becomes the origin form (RFC 9112, section 3.2.2): pingora keeps the path in `uri`, and writes that when it
        // is set. `Host` says the same as the target did, or the request was refused.
        request.set_uri(request.uri.clone());
    }
    Ok(())
}

/// Whether a request asks for a WebSocket: the only upgrade that is passed on (HF11).
#[must_use]
pub fn asks_for_websocket(request: &RequestHeader) -> bool {
    let upgrade = request.headers.get(UPGRADE).map_or(&b""[..], |upgrade| upgrade.as_bytes().trim_ascii());
    request.version == Version::HTTP_11 && upgrade.eq_ignore_ascii_case(b"websocket")
}

/// Whether a request logs its connection in, as NTLM and Negotiate do (RFC 4559, section 6): such a connection to the
/// backend may serve no other client.
#[must_use]
pub fn logs_its_connection_in(request: &RequestHeader) -> bool {
    request.headers.get_all(AUTHORIZATION).iter().any(|credentials| {
        let scheme = credentials.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    })
}

/// Removes the fields of one hop from an answer (HF4); what a 101 needs stays.
pub fn remove_hop_by_hop(response: &mut ResponseHeader) {
    if response.status == http::StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let nominated: Vec<HeaderName> = (response.headers.get_all(CONNECTION).iter())
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| {
            !matches!(name.as_str(), "transfer-encoding" | "content-length" | "set-cookie" | "cache-control")
        })
        .collect();
    for name in nominated.iter().chain(&ONE_HOP) {
        if response.headers.contains_key(name) {
            response.remove_header(name);
        }
    }
}

/// Applies the operator's edits to a request.
///
/// # Errors
/// When a value cannot be a header; the configuration has proven them.
pub fn edit_request(request: &mut RequestHeader, edits: &HeaderEdits) -> pingora::Result<()> {
    for name in &edits.remove {
        request.remove_header(name);
    }
    edits.set.iter().try_for_each(|(name, value)| request.insert_header(name, value.clone()).map(drop))
}

/// Applies the operator's edits to an answer.
///
/// # Errors
/// When a value cannot be a header; the configuration has proven them.
pub fn edit_response(response: &mut ResponseHeader, edits: &HeaderEdits) -> pingora::Result<()> {
    for name in &edits.remove {
        response.remove_header(name);
    }
    edits.set.iter().try_for_each(|(name, value)| response.insert_header(name, value.clone()).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in lines {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn client(trusted: &[Network]) -> Client {
        Client::new(Some("10.0.0.9".parse().unwrap()), false, trusted)
    }

    #[test]
    fn what_a_client_claims_about_itself_is_replaced() {
        // HI10, HF5
        let mut request = request(&[
            ("Host", "a.example"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X-Forwarded-Prefix", "/x"),
            ("Forwarded", "for=1.2.3.4"),
            ("X-Real-IP", "1.2.3.4"),
        ]);
        announce(&mut request, client(&[]), true).unwrap();
        let get = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(get("x-forwarded-for"), Some("10.0.0.9"));
        assert_eq!(get("x-forwarded-proto"), Some("http"));
        assert_eq!(get("x-forwarded-host"), Some("a.example"));
        assert_eq!(get("via"), Some("1.1 proxy"));
        assert_eq!((get("forwarded"), get("x-real-ip"), get("x-forwarded-prefix")), (None, None, None));
    }

    #[test]
    fn a_listed_proxy_is_believed() {
        let mut request = request(&[("Host", "a"), ("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https")]);
        announce(&mut request, client(&[Network { address: "10.0.0.0".parse().unwrap(), bits: 8 }]), true).unwrap();
        assert_eq!(request.headers.get("x-forwarded-for").unwrap(), "1.2.3.4, 10.0.0.9");
        assert_eq!(request.headers.get("x-forwarded-proto").unwrap(), "https");
    }

    #[test]
    fn the_visitor_is_whom_the_last_listed_proxy_names() {
        // HI10
        let trusted = [Network { address: "10.0.0.0".parse().unwrap(), bits: 8 }];
        let visitor = |peer: &str, lines: &[&'static str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("X-Forwarded-For", *line)).collect();
            visitor(peer.parse().unwrap(), &request(&lines).headers, &trusted).to_string()
        };
        assert_eq!(visitor("10.0.0.9", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(visitor("10.0.0.9", &["6.6.6.6, 1.2.3.4, 10.0.0.8"]), "1.2.3.4", "6.6.6.6 is a claim");
        assert_eq!(visitor("10.0.0.9", &["6.6.6.6", "1.2.3.4"]), "1.2.3.4");
        assert_eq!(visitor("10.0.0.9", &["[2001:db8::1]:99"]), "2001:db8::1");
        assert_eq!(visitor("10.0.0.9", &["1.2.3.4:99", " 10.0.0.8 "]), "1.2.3.4");
        assert_eq!(visitor("9.9.9.9", &["1.2.3.4"]), "9.9.9.9", "nobody believes him");
        for nothing in [&[][..], &["unknown"], &["", "10.0.0.9"], &["1.2.3.4, x"]] {
            assert!(visitor("10.0.0.9", nothing).starts_with("10."), "{nothing:?}");
        }
    }

    #[test]
    fn repeated_equal_lengths_collapse() {
        let mut twice = request(&[("Content-Length", "3"), ("Content-Length", "3")]);
        repair(&mut twice).unwrap();
        assert_eq!(twice.headers.get_all(CONTENT_LENGTH).iter().count(), 1);
        let mut list = request(&[("Content-Length", "3, 3"), ("HTTP2-Settings", "AA")]);
        repair(&mut list).unwrap();
        assert_eq!(list.headers.get(CONTENT_LENGTH).unwrap(), "3");
        assert!(!list.headers.contains_key("http2-settings")); // HF11
    }

    #[test]
    fn fields_of_one_hop_end_here() {
        // HF4
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in
            [("Connection", "X-Secret, close"), ("X-Secret", "1"), ("Keep-Alive", "5"), ("X-Kept", "1")]
        {
            response.append_header(name, value).unwrap();
        }
        remove_hop_by_hop(&mut response);
        let names: Vec<_> = response.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-kept"]);
    }
}
