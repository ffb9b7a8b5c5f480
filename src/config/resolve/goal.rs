//! Who answers the requests of a route: an upstream, or we ourselves.

use super::super::file::{File, Route};
use super::super::given::{At, Span};
use super::super::nearest::suggestion;
use super::super::problem::Problem;
use super::super::word::Csrf;
use super::{Resolver, rights};
use crate::proxy::background::Background;
use crate::proxy::options::{Goal, SessionUse};
use crate::session::{Keys, Rights};
use std::collections::BTreeSet;

/// Where the requests of a route go.
pub(super) fn goal(route: &Route, span: &Span, file: &File, to: &mut Resolver<'_>) -> Option<Goal> {
    if route.status.is_given() {
        return Some(Goal::Status);
    }
    upstream(route, span, file, to).map(Goal::Upstream)
}

fn upstream(route: &Route, span: &Span, file: &File, to: &mut Resolver<'_>) -> Option<usize> {
    let Some(name) = route.upstream.at() else {
        to.missing(&["routes", "upstream"], || {
            let names = file.upstreams.names().next().unwrap_or("app");
            Problem::error("config::missing", "a route has no upstream")
                .at(span.clone())
                .help(format!("add `upstream = \"{names}\"`"))
        });
        return None;
    };
    let position = file.upstreams.position(&name.value);
    if position.is_none() {
        to.missing(&["upstreams", &name.value], || {
            let help = suggestion(
                &name.value,
                file.upstreams.names(),
                "add `[upstreams.app]` with `servers = [\"http://127.0.0.1:9000\"]`",
            );
            Problem::error("config::unknown_upstream", format!("there is no upstream `{}`", name.value))
                .at(name.span.clone())
                .help(help)
        });
    }
    position
}

/// The session policies of a route: those that the backend may use, or the one whose state is told.
pub(super) fn sessions(route: &Route, file: &File, to: &mut Resolver<'_>) -> Option<Vec<SessionUse>> {
    let Some(status) = route.status.at() else { return rights::sessions(route, file, to) };
    alone(route, status, to);
    let policy = file.sessions.position(&status.value);
    if policy.is_none() {
        to.missing(&["sessions", &status.value], || {
            let help =
                suggestion(&status.value, file.sessions.names(), "add `[sessions.main]` with `store = \"memory\"`");
            Problem::error("config::unknown_session", format!("there is no session policy `{}`", status.value))
                .at(status.span.clone())
                .help(help)
        });
    }
    let none = || Keys::Only(BTreeSet::new());
    Some(vec![SessionUse { policy: policy?, rights: Rights { may_write: false, read: none(), write: none() } }])
}

/// Where we answer ourselves nothing goes to a backend.
fn alone(route: &Route, status: &At<String>, to: &mut Resolver<'_>) {
    let edits = &route.request_headers;
    let others = [
        ("upstream", route.upstream.is_given()),
        ("sessions", !route.sessions.is_empty()),
        ("require", route.require.is_given()),
        ("on_missing", route.on_missing.is_given()),
        ("strip_prefix", route.strip_prefix.is_given()),
        ("csrf", route.csrf.value() == Csrf::Enforce),
        ("cookies", !route.cookies.is_empty()),
        ("store_unavailable", route.store_unavailable.is_given()),
        ("touch", !route.touch.or(true)),
        ("background", route.background.value() == Background::Ignore),
        ("end_with_session", route.end_with_session.is_given()),
        ("close_code", route.close_code.is_given()),
        ("request_headers", edits.set.iter().next().is_some() || !edits.remove.is_empty()),
    ];
    for (setting, _) in others.into_iter().filter(|(_, is_given)| *is_given) {
        let message = format!("`{setting}` means nothing beside `status`: no backend is asked on such a route");
        let problem = Problem::error("route::status", message).at(status.span.clone());
        to.report(problem.help("remove one of them"));
    }
}
