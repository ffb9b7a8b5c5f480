//! What happens to a backend's answer between its arrival and the client: hear, strip, commit.

use super::caching::Personal;
use super::context::{Exchange, Snapshot};
use super::options::RouteOptions;
use super::reply::Failure;
use super::{Downstream, access, route};
use crate::clock::Timestamp;
use crate::manager::{CommitError, Consume, Permit};
use crate::session::{Reading, Refusal, Refused, Shown, State};
use crate::wire::response::Heard;
use http::header::{CONTENT_TYPE, HeaderName, SET_COOKIE};
use http::{HeaderValue, Method};
use pingora::http::{RequestHeader, ResponseHeader};
use smallvec::SmallVec;

/// What each session of the route was asked by an answer, or why it could not be understood.
pub(super) type HeardAll = SmallVec<[Result<Heard, Refused>; 1]>;

/// Reads the batches of an answer, one for each session of the route.
pub(super) fn hear(snapshot: &Snapshot, exchange: &Exchange, response: &ResponseHeader) -> HeardAll {
    let failed = response.status.is_server_error();
    let sessions = &route(snapshot, exchange).sessions;
    let hear = |policy: usize| {
        let policy = &snapshot.policies[policy];
        let options = policy.manager.options();
        match policy.commands.read(&response.headers) {
            Ok(heard) if failed && !options.apply_on_error_status => {
                let batch = heard.batch.destroy_only();
                Ok(Heard { spoke: heard.spoke && !batch.is_empty(), batch, ..heard })
            }
            // The page is an error already; a batch that would be ignored need not be understood.
            Err(_) if failed && !options.apply_on_error_status => Ok(Heard::default()),
            heard => heard,
        }
    };
    sessions.iter().map(|used| hear(used.policy)).collect()
}

/// Removes every name of ours, and every `Set-Cookie` of a name of ours (HI7, CK7).
pub(super) fn strip(snapshot: &Snapshot, response: &mut ResponseHeader) {
    let ours: SmallVec<[HeaderName; 4]> =
        response.headers.keys().filter(|name| snapshot.reserved.has(name.as_str())).cloned().collect();
    for name in &ours {
        response.remove_header(name);
    }
    let is_ours = |line: &HeaderValue| {
        let name = line.as_bytes().split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default().trim_ascii();
        snapshot.cookie_names.iter().any(|cookie| match name.strip_prefix(cookie.as_str().as_bytes()) {
            Some([] | [b'.', b'0'..=b'9']) => true,
            Some(_) | None => false,
        })
    };
    if response.headers.get_all(SET_COOKIE).iter().any(is_ours) {
        let kept: Vec<HeaderValue> =
            response.headers.get_all(SET_COOKIE).iter().filter(|line| !is_ours(line)).cloned().collect();
        response.remove_header(&SET_COOKIE);
        for line in kept {
            // The value came as a header and can be one again.
            drop(response.append_header(SET_COOKIE, line));
        }
    }
}

/// Applies what was heard to each session; durable when it returns.
///
/// Nothing is written when any batch could not be understood and its policy is loud about it.
pub(super) async fn commit(
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    heard: HeardAll,
    downstream: &Downstream,
    response: &ResponseHeader,
    now: Timestamp,
) -> Result<Personal, Failure> {
    let route = route(snapshot, exchange);
    let spoke = heard.iter().any(|heard| heard.as_ref().map_or(true, |heard| heard.spoke));
    let refused_aloud = |(used, heard): &(&super::options::SessionUse, &Result<Heard, Refused>)| {
        let options = snapshot.policies[used.policy].manager.options();
        heard.is_err() && options.on_refused == crate::manager::OnRefused::Error
    };
    if let Some((used, Err(refused))) = route.sessions.iter().zip(&heard).find(refused_aloud) {
        access::report_refused(
            snapshot.policies[used.policy].manager.options(),
            &route.name,
            refused,
            "the page was withheld",
        );
        return Err(failure_of(refused));
    }

    for (index, (used, heard)) in route.sessions.iter().zip(heard).enumerate() {
        let manager = &snapshot.policies[used.policy].manager;
        let told = exchange.told[index];
        let qualifies = match manager.options().consume {
            Consume::Document => told.flashes > 0 && shows_a_document(downstream.req_header(), response),
            Consume::Acknowledge => false,
            Consume::Always => true,
        };
        let shown = Shown {
            flashes: told.flashes,
            reading: if qualifies { Reading::All } else { Reading::Acknowledged },
            refusal: told.refusal,
        };
        if let Ok(heard) = &heard
            && heard.unknown > 0
        {
            access::report_unknown_commands(manager.options(), &route.name, heard.unknown);
        }
        let asked = match &heard {
            Ok(heard) => Ok(heard.spoke.then_some(&heard.batch)),
            Err(refused) => Err(refused.clone()),
        };
        let permit = Permit { rights: &used.rights, touch: route.touch };
        let committed = manager.commit(&exchange.sessions[index], asked, permit, shown, now).await;
        let committed = committed.map_err(|error| match error {
            CommitError::Refused(refused) => {
                access::report_refused(manager.options(), &route.name, &refused, "the page was withheld");
                failure_of(&refused)
            }
            CommitError::Session(error) => {
                access::report_unknown_session(manager.options(), &error);
                Failure::SessionUnknown
            }
        })?;
        if let Some(refused) = &committed.refused {
            access::report_refused(manager.options(), &route.name, refused, "the page was delivered");
        }
        access::report_event(manager.options(), &exchange.sessions[index], committed.event);
        exchange.event = exchange.event.or(committed.event);
        exchange.set_cookies.extend(committed.cookies);
    }

    let live = exchange.sessions.iter().any(|session| session.state() == State::Live);
    Ok(if spoke || !exchange.set_cookies.is_empty() {
        Personal::Changed
    } else if live {
        Personal::Read
    } else {
        Personal::No
    })
}

fn failure_of(refused: &Refused) -> Failure {
    match refused.reason {
        Refusal::Condition => Failure::ConditionFailed,
        _ => Failure::BatchRefused,
    }
}

/// Whether the answer puts a page before a person: a successful HTML answer to a navigation, no prefetch, no script's
/// own request.
fn shows_a_document(request: &RequestHeader, response: &ResponseHeader) -> bool {
    let header = |name: &str| request.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let html = response.headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        kind.eq_ignore_ascii_case(b"text/html") || kind.eq_ignore_ascii_case(b"application/xhtml+xml")
    });
    let navigates = matches!(header("sec-fetch-dest"), b"" | b"document" | b"iframe" | b"frame");
    let prefetch = [header("sec-purpose"), header("purpose")].iter().any(|purpose| purpose.starts_with(b"prefetch"));
    let scripted = header("x-requested-with").eq_ignore_ascii_case(b"xmlhttprequest");
    let method = matches!(request.method, Method::GET | Method::POST);
    response.status.is_success() && html && navigates && !prefetch && !scripted && method
}

/// Cuts the route's prefix from the path; the rest, and the query, stay as they came (HF6).
pub(super) fn strip_prefix(request: &mut RequestHeader, route: &RouteOptions) -> pingora::Result<()> {
    let Some(prefix) = &route.strip_prefix else { return Ok(()) };
    let target = request.raw_path();
    let Some(rest) = target.strip_prefix(prefix.as_bytes()) else { return Ok(()) };
    let target = match rest.first() {
        Some(b'/') => rest.to_vec(),
        None | Some(b'?') => [b"/", rest].concat(),
        Some(_) => return Ok(()), // `/appendix` does not begin with the segment `/app`
    };
    request.set_raw_path(&target)
}

/// The address of a redirection; `{path_and_query}` stands for the request's own, percent-encoded.
pub(super) fn location(template: &str, request: &RequestHeader) -> String {
    let target = String::from_utf8_lossy(request.raw_path());
    let mut encoded = Vec::new();
    let _always = crate::wire::grammar::print(&mut encoded, &target, crate::wire::Charset::default());
    template.replace("{path_and_query}", &String::from_utf8_lossy(&encoded))
}
