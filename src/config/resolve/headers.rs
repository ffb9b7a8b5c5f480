//! `[sessions.<name>.headers]`, and which names nobody may take.

use super::super::file::{Exposure, Headers};
use super::super::given::{At, Short};
use super::super::problem::Problem;
use super::super::word::{Echo, Encoding};
use super::{Resolver, key};
use crate::session::Name;
use crate::wire::{Alias, Capture, Charset, HeaderOptions, Prefix, fold};
use http::HeaderName;

/// Headers that carry the message itself or belong to the proxy: nothing of a session or a route stands in for them.
const FRAMING: [&str; 21] = [
    "Host",
    "Cookie",
    "Cookie2",
    "Set-Cookie",
    "Set-Cookie2",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
];

/// Headers with a meaning of their own: they would be taken away from every request and every answer.
const MEANING: [&str; 31] = [
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Accept-Ranges",
    "Access-Control-Allow-Origin",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
    "Content-Range",
    "Content-Security-Policy",
    "Content-Type",
    "Date",
    "ETag",
    "Expires",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "Last-Modified",
    "Location",
    "Origin",
    "Range",
    "Referer",
    "Sec-Fetch-Mode",
    "Server",
    "Strict-Transport-Security",
    "User-Agent",
    "Vary",
    "X-CSRF-Token",
];

pub(super) fn headers(written: &Headers, to: &mut Resolver<'_>) -> Option<HeaderOptions> {
    let prefix = prefix(written, to);
    let charset = charset(written, to);
    let expose = written.expose.iter().filter_map(|(key, exposure)| alias(key, exposure, to)).collect();
    let capture = written.capture.iter().filter_map(|(header, key)| capture(header, key, to)).collect();
    let priority = written.priority.iter().filter_map(|key| name(key, to)).collect();
    Some(HeaderOptions {
        prefix: prefix?,
        forward: written.forward.value(),
        dialect: written.dialect.value(),
        charset,
        expose,
        capture,
        clocks: written.clocks.or(false),
        csrf: written.csrf.or(false),
        changes: false, // as the policy's `binding` says
        proof_key: key::proof(&written.proof_key, to),
        nonce: written.nonce.value() == Echo::Required,
        priority,
    })
}

fn prefix(written: &Headers, to: &mut Resolver<'_>) -> Option<Prefix> {
    let Some(given) = written.prefix.at() else { return Some(Prefix::default()) };
    let prefix = match Prefix::parse(&given.value) {
        Ok(prefix) => prefix,
        Err(problem) => {
            to.report(Problem::error("headers::prefix", problem.to_string()).at(given.span.clone()));
            return None;
        }
    };
    match FRAMING.iter().chain(&MEANING).find(|name| prefix.covers(name)) {
        Some(name) => {
            let message = format!("the prefix `{prefix}` would swallow `{name}`");
            to.report(
                Problem::error("headers::protected", message)
                    .at(given.span.clone())
                    .help("choose one of your own, such as `X-Session-`"),
            );
            None
        }
        None => Some(prefix),
    }
}

fn charset(written: &Headers, to: &mut Resolver<'_>) -> Charset {
    let Some(given) = written.charset.at() else { return Charset::default() };
    Charset::parse(&given.value).unwrap_or_else(|| {
        let message = format!("`{}` is not a charset that can be written", given.value.escape_default());
        let help = "choose `utf-8`, `windows-1252`, `shift_jis` or another label of the WHATWG Encoding Standard";
        to.report(Problem::error("headers::charset", message).at(given.span.clone()).help(help));
        Charset::default()
    })
}

fn alias(
    key: &At<String>,
    At { value: Short(exposure), span }: &At<Short<Exposure>>,
    to: &mut Resolver<'_>,
) -> Option<Alias> {
    let key = name(key, to);
    let Some(header) = exposure.header.get() else {
        to.missing(&["sessions"], || {
            Problem::error("config::missing", "an exposed key has no `header`")
                .at(span.clone())
                .help("write `{ header = \"X-Remote-User\" }`")
        });
        return None;
    };
    let header = At { value: header.clone(), span: exposure.header.span_or(span) };
    Some(Alias { header: own_header(&header, to)?, key: key?, raw: exposure.encoding.value() == Encoding::Raw })
}

fn capture(header: &At<String>, key: &At<String>, to: &mut Resolver<'_>) -> Option<Capture> {
    let (header, key) = (own_header(header, to), name(key, to));
    Some(Capture { header: header?, key: key? })
}

/// A key of session data.
pub(super) fn name(key: &At<String>, to: &mut Resolver<'_>) -> Option<Name> {
    let name = Name::parse(&key.value);
    if name.is_none() {
        let message = format!("`{}` is not the name of a key", key.value.escape_default());
        let help = "use at most 64 letters, digits, `-` and `_`, beginning with a letter or digit";
        to.report(Problem::error("headers::key", message).at(key.span.clone()).help(help));
    }
    name
}

/// A header that is to be ours alone.
fn own_header(header: &At<String>, to: &mut Resolver<'_>) -> Option<HeaderName> {
    let name = header_name(header, to)?;
    let is = |protected: &&&str| fold(protected) == fold(name.as_str());
    if let Some(protected) = FRAMING.iter().chain(&MEANING).find(is) {
        let message =
            format!("`{}` cannot be a name of ours: every `{protected}` of a client would be removed", header.value);
        to.report(
            Problem::error("headers::protected", message)
                .at(header.span.clone())
                .help("choose another name, such as `X-Remote-User`"),
        );
        return None;
    }
    Some(name)
}

/// A header that a route may set or remove.
pub(super) fn free_header(header: &At<String>, to: &mut Resolver<'_>) -> Option<HeaderName> {
    let name = header_name(header, to)?;
    let is = |protected: &&&str| fold(protected) == fold(name.as_str());
    if let Some(protected) = FRAMING.iter().find(is) {
        let message = format!("`{protected}` carries the message itself and cannot be edited");
        let help = if *protected == "Host" { "use `host_header` of the upstream" } else { "leave it out" };
        to.report(Problem::error("headers::protected", message).at(header.span.clone()).help(help));
        return None;
    }
    Some(name)
}

fn header_name(header: &At<String>, to: &mut Resolver<'_>) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(header.value.as_bytes()).ok();
    if name.is_none() {
        let message = format!("`{}` is not the name of a header", header.value.escape_default());
        to.report(
            Problem::error("headers::name", message)
                .at(header.span.clone())
                .help("use letters, digits and `-`, such as `X-Remote-User`"),
        );
    }
    name
}
