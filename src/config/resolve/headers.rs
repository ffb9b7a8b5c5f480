//! `[sessions.<name>.headers]`, and names that get in each other's way.

use super::super::Policy;
use super::super::file::{File, Headers};
use super::super::given::{At, Short, Span};
use super::super::problem::Problem;
use super::super::word::Encoding;
use super::Resolver;
use crate::proxy::options::RouteOptions;
use crate::session::Name;
use crate::wire::dialect::{MOD_SESSION_REPLACE, MOD_SESSION_REQUEST};
use crate::wire::{Alias, Capture, Charset, Dialect, HeaderOptions, Prefix, fold};
use http::HeaderName;

/// Headers that carry the message itself or belong to the proxy: nothing of a session or of a route may stand in for them.
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
const MEANING: [&str; 30] = [
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
        let help = "choose `utf-8`, `windows-1252`, `iso-8859-15`, `shift_jis` or another label of the WHATWG Encoding Standard";
        to.report(Problem::error("headers::charset", message).at(given.span.clone()).help(help));
        Charset::default()
    })
}

fn alias(
    key: &At<String>,
    At { value: Short(exposure), span }: &At<Short<super::super::file::Exposure>>,
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

/// Something that a policy calls its own on the wire.
struct Claim {
    folded: Box<[u8]>,
    is_prefix: bool,
    shown: String,
    place: Span,
}

impl Claim {
    fn collides(&self, other: &Self) -> bool {
        let begins = |a: &Self, b: &Self| a.is_prefix && b.folded.starts_with(&a.folded);
        self.folded == other.folded || begins(self, other) || begins(other, self)
    }
}

/// No two names of ours may be one for a backend that folds them: within a policy, and among policies that meet on a route.
pub(super) fn across(file: &File, policies: &[Option<Policy>], routes: &[Option<RouteOptions>], to: &mut Resolver<'_>) {
    let written = file.sessions.iter().zip(policies);
    let claims: Vec<Vec<Claim>> = written
        .map(|((name, session), policy)| {
            policy.as_ref().map_or_else(Vec::new, |policy| claims(&name.span, &session.headers, policy))
        })
        .collect();
    let meet = |a: usize, b: usize| {
        let uses = |route: &RouteOptions, policy| route.sessions.iter().any(|used| used.policy == policy);
        routes.iter().flatten().find(|route| uses(route, a) && uses(route, b))
    };
    for (i, own) in claims.iter().enumerate() {
        for (j, claim) in own.iter().enumerate() {
            for other in own[..j].iter().filter(|other| other.collides(claim)) {
                collision(claim, other, "", to);
            }
            for (k, theirs) in claims[..i].iter().enumerate() {
                let Some(other) = theirs.iter().find(|other| other.collides(claim)) else { continue };
                if let Some(route) = meet(k, i) {
                    collision(claim, other, &format!(" on route `{}`", route.name), to);
                }
            }
        }
    }
}

fn claims(owner: &Span, written: &Headers, policy: &Policy) -> Vec<Claim> {
    let claim = |shown: &str, is_prefix, place: &Span| Claim {
        folded: fold(shown),
        is_prefix,
        shown: shown.into(),
        place: place.clone(),
    };
    let mut claims = vec![claim(policy.headers.prefix.as_str(), true, &written.prefix.span_or(owner))];
    let exposures = written.expose.iter().filter_map(|(key, exposure)| {
        let header = exposure.value.0.header.get()?;
        Some(claim(header, false, &exposure.value.0.header.span_or(&exposure.span))).filter(|_| !key.value.is_empty())
    });
    claims.extend(exposures);
    claims.extend(written.capture.iter().map(|(header, _)| claim(&header.value, false, &header.span)));
    if policy.headers.dialect == Dialect::ModSession {
        let place = written.dialect.span_or(owner);
        claims.extend([MOD_SESSION_REQUEST, MOD_SESSION_REPLACE].map(|name| claim(name, false, &place)));
    }
    claims
}

fn collision(claim: &Claim, other: &Claim, on: &str, to: &mut Resolver<'_>) {
    let message = format!("`{}` and `{}` collide{on}: some backends read them as one", other.shown, claim.shown);
    let problem = Problem::error("headers::collision", message)
        .at(claim.place.clone())
        .also(other.place.clone(), "the other one");
    to.report(
        problem
            .help("choose names that differ in letters and digits, and that do not begin with the prefix of the other"),
    );
}
