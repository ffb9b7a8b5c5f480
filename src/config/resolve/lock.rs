//! `lock` of a session policy, and which routes it holds on.

use super::super::Policy;
use super::super::file::{File, Route, Session};
use super::super::given::{At, Span};
use super::super::problem::Problem;
use super::super::unit::Period;
use super::super::word::Locking;
use super::Resolver;
use crate::manager::{Keep, LockOptions, OnConflict};
use crate::proxy::options::{Goal, RouteOptions, SessionUse, UpstreamOptions};
use std::time::Duration;

/// How long a request waits for its turn, unless the file says otherwise.
const WAIT: Duration = Duration::from_secs(10);

/// How many wait for one session.
const WAITERS: usize = 16;

/// When a lock ends that is not given back.
const LEASE: Duration = Duration::from_secs(60);

pub(super) fn lock(
    name: &At<String>,
    session: &Session,
    keep: Option<&Keep>,
    to: &mut Resolver<'_>,
) -> Option<LockOptions> {
    let settings = [
        ("lock_wait", session.lock_wait.at().map(|at| at.span.clone())),
        ("lock_waiters", session.lock_waiters.at().map(|at| at.span.clone())),
        ("lock_lease", session.lock_lease.at().map(|at| at.span.clone())),
    ];
    if session.lock.value() == Locking::Off {
        for (setting, span) in settings {
            if let Some(span) = span {
                let message = format!("`{setting}` means nothing without `lock = \"exclusive\"`");
                let problem = Problem::error("session::lock", message).at(span);
                to.report(problem.help("add `lock = \"exclusive\"`, or remove it"));
            }
        }
        return None;
    }
    if matches!(keep, Some(Keep::Browser(_))) {
        let message = format!("`lock` means nothing to `{}`: what browsers keep cannot be locked", name.value);
        let problem = Problem::error("session::lock", message).at(session.lock.span_or(&name.span));
        to.report(problem.help("remove it, or choose a store"));
    }
    let second = Period(Duration::from_secs(1));
    let (minute, hour) = (Period(Duration::from_secs(60)), Period(Duration::from_secs(3600)));
    let moment = Period(Duration::from_millis(1));
    Some(LockOptions {
        wait: to.within("lock_wait", &session.lock_wait, Period(WAIT), moment..=minute).0,
        waiters: to.within("lock_waiters", &session.lock_waiters, WAITERS, 0..=1000),
        lease: to.within("lock_lease", &session.lock_lease, Period(LEASE), second..=hour).0,
    })
}

/// A session that nobody else can change has no conflicts that another look would resolve.
pub(super) fn replay(name: &At<String>, session: &Session, keep: Option<&Keep>, to: &mut Resolver<'_>) {
    let wants_replay = session.on_conflict.value() == OnConflict::Replay;
    if wants_replay && matches!(keep, Some(Keep::Browser(_))) {
        let message = format!(
            "`on_conflict` is `replay`, and the sessions of `{}` are kept by browsers: the next time they are no other",
            name.value
        );
        let problem = Problem::error("session::conflict", message).at(session.on_conflict.span_or(&name.span));
        to.report(problem.help("write `\"error\"` or `\"deliver\"`, or choose a store"));
    }
}

/// The sessions of a route that its requests have to themselves, in the order in which they are locked: that of the
/// policies in the file, whatever the route's own, so that no two routes wait for each other.
pub(super) fn locked(route: &Route, sessions: &[SessionUse], policies: &[Option<Policy>]) -> Vec<usize> {
    let locks = |used: &SessionUse| policies[used.policy].as_ref().is_some_and(|policy| policy.options.lock.is_some());
    let used = sessions.iter().enumerate().filter(|(_, used)| used.rights.may_write && locks(used));
    let mut locked: Vec<usize> = used.map(|(index, _)| index).filter(|_| route.lock.or(true)).collect();
    locked.sort_by_key(|index| sessions[*index].policy);
    locked
}

/// A lock that ends before an answer may have come protects nothing: the answer would be refused.
pub(super) fn leases(
    file: &File,
    policies: &[Option<Policy>],
    routes: &[Option<RouteOptions>],
    upstreams: &[Option<UpstreamOptions>],
    to: &mut Resolver<'_>,
) {
    for (index, policy) in policies.iter().enumerate() {
        let Some((policy, lock)) = policy.as_ref().and_then(|policy| Some((policy, policy.options.lock?))) else {
            continue;
        };
        let locks = |route: &&RouteOptions| route.locked.iter().any(|used| route.sessions[*used].policy == index);
        let asked = routes.iter().flatten().filter(locks).filter_map(|route| match route.goal {
            Goal::Upstream(upstream) => upstreams[upstream].as_ref(),
            Goal::Status => None,
        });
        let Some(slowest) = asked.max_by_key(|upstream| upstream.request_timeout) else { continue };
        if lock.lease >= slowest.request_timeout {
            continue;
        }
        let (Some((name, session)), Some(upstream)) = (file.sessions.iter().nth(index), named(file, &slowest.name))
        else {
            continue;
        };
        let message = format!(
            "`lock_lease` of `{}` is {}, and an answer of `{}` may take {}: by then the lock has passed to another request",
            policy.options.name,
            Period(lock.lease),
            slowest.name,
            Period(slowest.request_timeout)
        );
        let place: Span = session.lock_lease.span_or(&session.lock.span_or(&name.span));
        let help = format!(
            "set `lock_lease = \"{}\"` or more, or lower the `request_timeout`",
            Period(slowest.request_timeout)
        );
        to.report(Problem::error("session::lock", message).at(place).also(upstream, "the upstream").help(help));
    }
}

/// Where an upstream stands in the file.
fn named(file: &File, name: &str) -> Option<Span> {
    file.upstreams.iter().find(|(found, _)| found.value == name).map(|(found, _)| found.span.clone())
}
