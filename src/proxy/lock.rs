//! Sessions that a request has to itself (`lock = "exclusive"`): taken before the backend is asked, given back as soon as
//! its answer has been applied, for then it can say no more to them.

use super::access::OutageLog;
use super::context::{Exchange, Snapshot};
use super::reply::Failure;
use super::visitor::Visitor;
use super::{Downstream, route};
use crate::clock::{Clock, Timestamp};
use crate::cookie::header::split;
use crate::manager::LockError;
use http::HeaderValue;
use http::header::COOKIE;

/// Waits until the sessions that the route locks are this request's alone; they are the newest then.
///
/// # Errors
/// [`Failure::SessionBusy`] when one is not to be had in time; [`Failure::SessionUnknown`] when its store fails, and the
/// route does not go on without it. What was locked before stays so until it is given back.
pub(super) async fn take(
    downstream: &Downstream,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    clock: &dyn Clock,
    outages: &OutageLog,
) -> Result<(), Failure> {
    let route = route(snapshot, exchange);
    for &index in &route.locked {
        let used = &route.sessions[index];
        let policy = &snapshot.policies[used.policy];
        let error = match policy.manager.lock(&mut exchange.sessions[index], clock).await {
            Ok(()) => continue,
            Err(LockError::Session(error)) => error,
            Err(busy @ (LockError::Crowded | LockError::TimedOut(_))) => {
                tracing::debug!(target: "cloakroom::session", policy = policy.manager.options().name, route = route.name, "{busy}");
                return Err(Failure::SessionBusy);
            }
        };
        // The store has failed since the session was read.
        let lines = downstream.req_header().headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let cookies = split(lines, &snapshot.cookie_names);
        let mut visitor = Visitor::new(&cookies.ours, route.on_outage, outages, clock.now());
        visitor.is_told(policy, &error)?;
        exchange.sessions[index] = visitor.without_store(policy, used.policy, route.require == Some(index))?;
    }
    Ok(())
}

/// Gives back what no answer has given back by what it wrote. Where that fails, it ends by itself.
pub(super) async fn give_back(snapshot: &Snapshot, exchange: &mut Exchange, outages: &OutageLog, now: Timestamp) {
    let route = route(snapshot, exchange);
    for (used, session) in route.sessions.iter().zip(&mut exchange.sessions) {
        let manager = &snapshot.policies[used.policy].manager;
        if let Err(error) = manager.unlock(session, now).await {
            outages.report_unwritten(manager.options(), &error);
        }
    }
}
