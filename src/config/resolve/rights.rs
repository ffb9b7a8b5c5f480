//! `sessions` and `require` of a route: which policies it uses, and what it may do with them.

use super::super::Policy;
use super::super::file::{File, Route, SessionUse as Use};
use super::super::given::{At, Given, Short};
use super::super::nearest::suggestion;
use super::super::problem::Problem;
use super::super::word::{Access, Csrf};
use super::{Resolver, headers};
use crate::proxy::options::SessionUse;
use crate::session::{Keys, Rights};

pub(super) fn sessions(route: &Route, file: &File, to: &mut Resolver<'_>) -> Option<Vec<SessionUse>> {
    let mut used = Vec::new();
    let mut complete = true;
    for written in &route.sessions {
        let Some(session) = session(written, file, to) else {
            complete = false;
            continue;
        };
        if used.iter().any(|other: &SessionUse| other.policy == session.policy) {
            let problem = Problem::error("route::sessions", "a route uses the same session policy twice");
            to.report(problem.at(written.value.0.policy.span_or(&written.span)).help("remove one of them"));
        }
        used.push(session);
    }
    complete.then_some(used)
}

fn session(At { value: Short(used), span }: &At<Short<Use>>, file: &File, to: &mut Resolver<'_>) -> Option<SessionUse> {
    let Some(name) = used.policy.get() else {
        to.missing(&["routes", "sessions"], || {
            Problem::error("config::missing", "a session on a route has no `use`")
                .at(span.clone())
                .help("write `{ use = \"main\", access = \"read\" }`")
        });
        return None;
    };
    let position = file.sessions.position(name);
    if position.is_none() {
        to.missing(&["sessions", name], || {
            let help = suggestion(name, file.sessions.names(), "add `[sessions.main]` with `store = \"memory\"`");
            Problem::error("config::unknown_session", format!("there is no session policy `{name}`"))
                .at(used.policy.span_or(span))
                .help(help)
        });
    }
    let may_write = used.access.value() == Access::Write;
    if !may_write && used.write.is_given() {
        let problem =
            Problem::error("route::sessions", "`write` lists keys, and `access = \"read\"` lets none be written");
        to.report(problem.at(used.write.span_or(span)).help("remove one of them"));
    }
    let rights = Rights { may_write, read: keys(&used.read, to), write: keys(&used.write, to) };
    Some(SessionUse { policy: position?, rights })
}

fn keys(list: &Given<Vec<At<String>>>, to: &mut Resolver<'_>) -> Keys {
    match list.get() {
        None => Keys::All,
        Some(list) => Keys::Only(list.iter().filter_map(|key| headers::name(key, to)).collect()),
    }
}

/// The index, within the sessions of the route, of the one that must be live.
pub(super) fn require(
    route: &Route,
    sessions: Option<&[SessionUse]>,
    file: &File,
    to: &mut Resolver<'_>,
) -> Option<usize> {
    let name = route.require.at()?;
    let policy = file.sessions.position(&name.value);
    let found = sessions?.iter().position(|used| Some(used.policy) == policy);
    if found.is_none() {
        let names = route.sessions.iter().filter_map(|used| used.value.0.policy.get().map(String::as_str));
        let help = suggestion(&name.value, names, "name it in `sessions` of this route");
        let message = format!("`{}` is not one of the sessions of this route", name.value);
        to.report(Problem::error("route::require", message).at(name.span.clone()).help(help));
    }
    found
}

/// The index, within the sessions of the route, of the one whose token its forms carry, where the proxy looks after that:
/// the one that must be live, or else the first that has a token.
pub(super) fn csrf(
    route: &Route,
    sessions: Option<&[SessionUse]>,
    require: Option<usize>,
    policies: &[Option<Policy>],
    to: &mut Resolver<'_>,
) -> Option<usize> {
    let written = route.csrf.at().filter(|written| written.value.0 == Csrf::Enforce)?;
    let sessions = sessions?;
    // Nothing can be said of a policy that could not be read.
    let used: Option<Vec<&Policy>> = sessions.iter().map(|used| policies.get(used.policy)?.as_ref()).collect();
    let has_token: Vec<bool> = used?.iter().map(|policy| policy.headers.csrf).collect();
    let found = require.filter(|required| has_token[*required]).or(has_token.iter().position(|has| *has));
    if found.is_none() {
        let message = "`csrf = \"enforce\"` needs a token, and no session of this route has one";
        let problem = Problem::error("route::csrf", message).at(written.span.clone());
        to.report(problem.help("set `csrf = true` in the `headers` of a session of this route"));
    }
    found
}
