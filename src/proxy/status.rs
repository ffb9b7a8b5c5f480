//! What is left of a session, answered by ourselves: a page's script warns a person before a timeout with it.
//!
//! To ask is no use of the session: nothing is extended, nothing written, no cookie set or removed. So a session that has
//! ended stays `expired` until a page hears of it.

use super::context::{Context, Exchange, Snapshot};
use super::reply::{self, Failure};
use super::{Downstream, Proxy, csrf, forwarding, route};
use crate::clock::Timestamp;
use crate::session::{State, View};
use http::Method;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use pingora::http::ResponseHeader;

/// How long a live session has left, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    /// If nobody uses it.
    idle: u64,
    /// However active it is.
    absolute: u64,
}

/// Answers a request for the state of a session, or refuses it.
///
/// # Errors
/// When the client is gone.
pub(super) async fn answer(downstream: &mut Downstream, ctx: &mut Context, now: Timestamp) -> pingora::Result<()> {
    super::discard_body(downstream).await;
    let Some(exchange) = &ctx.exchange else { return Err(super::unrouted()) };
    let request = downstream.req_header();
    if !matches!(request.method, Method::GET | Method::HEAD) {
        ctx.failure = Some(Failure::BadRequest(405));
        let mut header = ResponseHeader::build(405, Some(4))?;
        header.insert_header(ALLOW, "GET, HEAD")?;
        header.insert_header(CACHE_CONTROL, "no-store")?;
        return reply::write(downstream, header, "".into(), &[]).await;
    }
    if csrf::is_foreign(request, Proxy::client(downstream, ctx).is_trusted) {
        ctx.failure = Some(Failure::CsrfOrigin);
        return reply::page(downstream, 403, &ctx.snapshot.options.error_pages, &[]).await;
    }
    let (state, left) = look(&ctx.snapshot, exchange, now);
    let is_unknown = state == State::Degraded;
    let mut header = ResponseHeader::build(if is_unknown { 503 } else { 200 }, Some(8))?;
    header.insert_header(CONTENT_TYPE, "application/json")?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    header.insert_header("X-Content-Type-Options", "nosniff")?;
    header.insert_header("Cross-Origin-Resource-Policy", "same-origin")?;
    if is_unknown {
        header.insert_header("Retry-After", "5")?;
        ctx.failure = Some(Failure::SessionUnknown);
    }
    forwarding::edit_response(&mut header, &route(&ctx.snapshot, exchange).response_headers)?;
    reply::write(downstream, header, body(state, left).into(), &[]).await
}

/// The state of the route's only session.
fn look(snapshot: &Snapshot, exchange: &Exchange, now: Timestamp) -> (State, Option<Left>) {
    let used = route(snapshot, exchange).sessions.first();
    let Some((session, used)) = exchange.sessions.first().zip(used) else { return (State::None, None) };
    let view = session.snapshot().map(|found| (View::parse(&found.bytes), found.deadline));
    match view {
        Some((Ok(view), deadline)) if session.state() == State::Live => {
            let absolute = snapshot.policies[used.policy].manager.absolute_deadline(&view);
            let left = Left { idle: now.until(deadline).as_secs(), absolute: now.until(absolute).as_secs() };
            (State::Live, Some(left))
        }
        Some((Err(_), _)) => (State::Expired, None),
        _ => (session.state(), None),
    }
}

/// The answer's JSON, which needs no escapes.
fn body(state: State, left: Option<Left>) -> String {
    let state = state.as_str();
    match left {
        Some(Left { idle, absolute }) => {
            format!("{{\"state\":\"{state}\",\"idle_left\":{idle},\"absolute_left\":{absolute}}}\n")
        }
        None => format!("{{\"state\":\"{state}\"}}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_json() {
        let read = |state, left| serde_json::from_str::<serde_json::Value>(&body(state, left)).unwrap();
        let live = read(State::Live, Some(Left { idle: 1234, absolute: 40_000 }));
        assert_eq!(live, serde_json::json!({ "state": "live", "idle_left": 1234, "absolute_left": 40_000 }));
        for state in [State::None, State::Expired, State::Invalid, State::Degraded] {
            assert_eq!(read(state, None), serde_json::json!({ "state": state.as_str() }));
        }
    }
}
