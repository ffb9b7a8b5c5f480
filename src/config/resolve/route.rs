//! `[[routes]]`: what a request must look like, where it goes, and what happens on the way.

use super::super::Policy;
use super::super::file::{File, HeaderEdits as Edits, Route};
use super::super::given::{At, Section, Span};
use super::super::problem::Problem;
use super::cookie::Transport;
use super::{Resolver, cookie_rules, goal, headers, lock, rights};
use crate::manager::OnOutage;
use crate::proxy::background::Background;
use crate::proxy::options::{HeaderEdits, OnMissing, RouteOptions};
use crate::route::{self, Host, Matcher, PathPattern, PatternProblem, RouteTable};
use crate::wire::Reserved;
use http::{HeaderValue, Method};

/// What the target of a redirection may quote.
const PLACEHOLDER: &str = "{path_and_query}";

/// What a WebSocket is closed with whose session has ended: no code is registered for it.
const CLOSE_CODE: u16 = 4401;

pub(super) fn routes(file: &File, policies: &[Option<Policy>], to: &mut Resolver<'_>) -> Vec<Option<RouteOptions>> {
    let reserved = Reserved::new(policies.iter().flatten().map(|policy| &policy.headers));
    let transport = Transport::of(file);
    let matchers: Vec<_> = file.routes.iter().map(|route| matcher(&route.value, to)).collect();
    names(file, to);
    order(file, &matchers, to);
    let routes: Vec<_> = file
        .routes
        .iter()
        .zip(matchers)
        .enumerate()
        .map(|(index, (written, matcher))| {
            let route = one(name(index, written), written, matcher, file, policies, &reserved, to);
            let sessions = route.as_ref().map(|route| route.sessions.as_slice());
            let cookies = cookie_rules::rules(&written.value, sessions, file, policies, &transport, to);
            route.map(|route| RouteOptions { cookies, ..route })
        })
        .collect();
    loops(file, &routes, to);
    unused(file, to);
    routes
}

/// The name of a route, or else its number.
fn name(index: usize, written: &At<Section<Route>>) -> String {
    written.value.name.or((index + 1).to_string())
}

fn one(
    name: String,
    written: &At<Section<Route>>,
    matcher: Option<Matcher>,
    file: &File,
    policies: &[Option<Policy>],
    reserved: &Reserved,
    to: &mut Resolver<'_>,
) -> Option<RouteOptions> {
    let route: &Route = &written.value;
    let goal = goal::goal(route, &written.span, file, to);
    let sessions = goal::sessions(route, file, to);
    let require = rights::require(route, sessions.as_deref(), file, to);
    let csrf = rights::csrf(route, sessions.as_deref(), require, policies, to);
    let options = RouteOptions {
        name,
        csrf,
        strip_prefix: strip_prefix(route, matcher.as_ref(), to),
        on_missing: on_missing(route, to),
        on_outage: on_outage(route, file, to),
        cookies: Vec::new(),
        touch: route.touch.or(true),
        background: background(route, to),
        ends_with_session: route.end_with_session.or(true),
        close_code: close_code(route, to),
        request_headers: edits(&route.request_headers, reserved, to),
        response_headers: edits(&route.response_headers, reserved, to),
        locked: lock::locked(route, sessions.as_deref().unwrap_or_default(), policies),
        matcher: matcher?,
        goal: goal?,
        sessions: sessions?,
        require,
    };
    Some(options)
}

fn matcher(route: &Route, to: &mut Resolver<'_>) -> Option<Matcher> {
    let hosts = route.host.at().map(At::each).unwrap_or_default();
    let hosts: Vec<_> = hosts.iter().map(|host| pattern(Host::parse(&host.value), &host.span, to)).collect();
    let methods = route.methods.get().map_or(&[][..], Vec::as_slice);
    let methods: Vec<_> =
        methods.iter().map(|method| pattern(route::parse_method(&method.value), &method.span, to)).collect();
    let lists = [
        ("host", route.host.at().map(|at| at.span.clone()), hosts.len()),
        ("methods", route.methods.at().map(|at| at.span.clone()), methods.len()),
    ];
    for (setting, place, _) in lists.into_iter().filter(|(_, _, items)| *items == 0) {
        if let Some(place) = place {
            let problem =
                Problem::error("route::empty", format!("`{setting}` is empty, and nothing would match")).at(place);
            to.report(problem.help("leave it out to match everything"));
        }
    }
    let path = match (route.path.at(), route.path_regex.at()) {
        (None, None) => Some(PathPattern::default()),
        (Some(path), None) => pattern(PathPattern::parse(&path.value), &path.span, to),
        (None, Some(regex)) => pattern(PathPattern::regex(&regex.value), &regex.span, to),
        (Some(path), Some(regex)) => {
            let problem =
                Problem::error("route::path", "a route has either `path` or `path_regex`").at(regex.span.clone());
            to.report(problem.also(path.span.clone(), "the other one").help("remove one of them, or make two routes"));
            None
        }
    };
    let (hosts, methods): (Option<_>, Option<_>) = (hosts.into_iter().collect(), methods.into_iter().collect());
    Some(Matcher::new(hosts?, path?, methods?))
}

fn pattern<T>(result: Result<T, PatternProblem>, span: &Span, to: &mut Resolver<'_>) -> Option<T> {
    result
        .map_err(|PatternProblem { message, remedy }| {
            to.report(Problem::error("route::pattern", message).at(span.clone()).help(remedy));
        })
        .ok()
}

fn strip_prefix(route: &Route, matcher: Option<&Matcher>, to: &mut Resolver<'_>) -> Option<String> {
    let prefix = route.strip_prefix.at()?;
    let text = prefix.value.as_str();
    let own = match PathPattern::parse(text) {
        Ok(PathPattern::Exact(own)) if !text.ends_with('/') => own,
        Ok(_) => {
            let problem = Problem::error("route::strip_prefix", format!("`{text}` is not a prefix to cut off"));
            to.report(
                problem
                    .at(prefix.span.clone())
                    .help("write the segments without a `/` or `*` at the end, such as `/reports`"),
            );
            return None;
        }
        Err(problem) => return pattern(Err(problem), &prefix.span, to),
    };
    let within = |path: &str| path.strip_prefix(&*own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some(PathPattern::Exact(path) | PathPattern::Below(path)) = matcher.map(Matcher::path)
        && !within(path)
    {
        let problem = Problem::error("route::strip_prefix", format!("no path of this route begins with `{text}`"));
        to.report(
            problem
                .at(prefix.span.clone())
                .also(route.path.span_or(&prefix.span), "its paths")
                .help("cut off a prefix of `path`"),
        );
    }
    Some(text.to_owned())
}

fn on_missing(route: &Route, to: &mut Resolver<'_>) -> OnMissing {
    let Some(written) = route.on_missing.at() else { return OnMissing::Status(401) };
    let report = |problem: Problem, to: &mut Resolver<'_>| to.report(problem.at(written.span.clone()));
    if !route.require.is_given() {
        let problem = Problem::error("route::on_missing", "`on_missing` means nothing without `require`");
        report(problem.help("add `require` with the session that must be live, or remove it"), to);
    }
    match (written.value.redirect.at(), written.value.status.at()) {
        (Some(redirect), None) => {
            if let Err(reason) = check_redirect(&redirect.value) {
                let message = format!("`{}` is no target of a redirection: {reason}", redirect.value.escape_default());
                let problem = Problem::error("route::on_missing", message).at(redirect.span.clone());
                to.report(problem.help("write a path such as `/login?return={path_and_query}`, or an `https://` URL"));
            }
            OnMissing::Redirect(redirect.value.clone())
        }
        (None, Some(status)) => {
            if !(400..=599).contains(&status.value) {
                let problem =
                    Problem::error("route::on_missing", format!("`status` is {}: expected 400 to 599", status.value));
                to.report(
                    problem
                        .at(status.span.clone())
                        .help("write 401, or 403 or 404; a redirection is `redirect = \"/login\"`"),
                );
            }
            OnMissing::Status(status.value)
        }
        (None, None) => OnMissing::Status(401),
        (Some(_), Some(_)) => {
            let problem = Problem::error("route::on_missing", "`on_missing` has one of `redirect` and `status`");
            report(problem.help("write `{ redirect = \"/login\" }` or `{ status = 401 }`"), to);
            OnMissing::Status(401)
        }
    }
}

/// Codes that a server may send of its own will (RFC 6455, section 7.4).
fn close_code(route: &Route, to: &mut Resolver<'_>) -> u16 {
    let Some(code) = route.close_code.at() else { return CLOSE_CODE };
    if !matches!(code.value, 1000 | 1001 | 1008 | 1011..=1013 | 3000..=4999) {
        let message = format!("`close_code` is {}: no WebSocket may be closed with that", code.value);
        let problem = Problem::error("route::close_code", message).at(code.span.clone());
        to.report(problem.help(format!("choose one of 4000 to 4999, such as {CLOSE_CODE}, or 1000, 1001 or 1008")));
    }
    code.value
}

fn on_outage(route: &Route, file: &File, to: &mut Resolver<'_>) -> OnOutage {
    if route.status.is_given() {
        return OnOutage::Anonymous; // it tells so
    }
    let Some(own) = route.store_unavailable.at() else { return file.failure.store_unavailable.value() };
    if route.sessions.is_empty() {
        let message = "`store_unavailable` means nothing on a route without sessions";
        let problem = Problem::error("route::store_unavailable", message).at(own.span.clone());
        to.report(problem.help("remove it, or name the sessions of this route in `sessions`"));
    }
    own.value.0
}

fn background(route: &Route, to: &mut Resolver<'_>) -> Background {
    let Some(written) = route.background.at() else { return Background::default() };
    if written.value.0 == Background::Ignore && !route.touch.or(true) {
        let message = "`background = \"ignore\"` means nothing with `touch = false`: no request extends the sessions";
        to.report(Problem::error("route::background", message).at(written.span.clone()).help("remove one of them"));
    }
    written.value.0
}

fn check_redirect(target: &str) -> Result<(), &'static str> {
    let plain = target.replace(PLACEHOLDER, "");
    if plain.contains(['{', '}']) {
        Err("the only placeholder is `{path_and_query}`")
    } else if !plain.bytes().all(|b| b.is_ascii_graphic()) {
        Err("it has characters that no URL has")
    } else if plain.starts_with("http://")
        || plain.starts_with("https://")
        || (plain.starts_with('/') && !plain.starts_with("//"))
    {
        // A target that begins with the placeholder would let the visitor choose where to go.
        Ok(())
    } else {
        Err("it is neither a path nor a URL")
    }
}

fn edits(written: &Edits, reserved: &Reserved, to: &mut Resolver<'_>) -> HeaderEdits {
    let name = |header: &At<String>, to: &mut Resolver<'_>| {
        let name = headers::free_header(header, to)?;
        if reserved.has(name.as_str()) {
            let message = format!("`{}` belongs to a session policy", header.value);
            to.report(
                Problem::error("headers::protected", message)
                    .at(header.span.clone())
                    .help("choose another name: routes edit strangers' headers only"),
            );
            return None;
        }
        Some(name)
    };
    let set = written.set.iter().filter_map(|(header, value)| {
        let name = name(header, to);
        let text = HeaderValue::from_str(&value.value).ok();
        if text.is_none() {
            let problem = Problem::error(
                "headers::value",
                format!("the value of `{}` has characters that no header has", header.value),
            );
            to.report(problem.at(value.span.clone()).help("use visible ASCII and spaces"));
        }
        Some((name?, text?))
    });
    let set = set.collect();
    HeaderEdits { set, remove: written.remove.iter().filter_map(|header| name(header, to)).collect() }
}

fn names(file: &File, to: &mut Resolver<'_>) {
    let named: Vec<_> = file.routes.iter().filter_map(|route| route.value.name.at()).collect();
    for (index, name) in named.iter().enumerate() {
        if name.value.is_empty() || name.value.chars().any(char::is_control) {
            let problem = Problem::error("route::name", "a route has an empty name, or one that cannot be printed");
            to.report(problem.at(name.span.clone()).help("leave it out, or choose one that logs can show"));
        } else if let Some(other) = named[..index].iter().find(|other| other.value == name.value) {
            let problem = Problem::error("route::duplicate", format!("two routes are named `{}`", name.value));
            to.report(problem.at(name.span.clone()).also(other.span.clone(), "taken here").help("choose another name"));
        }
    }
}

/// Routes that can never match.
fn order(file: &File, matchers: &[Option<Matcher>], to: &mut Resolver<'_>) {
    let routes = matchers.iter().zip(&file.routes).enumerate();
    let known: Vec<_> = routes.filter_map(|(i, (matcher, written))| Some((i, matcher.as_ref()?, written))).collect();
    let matchers: Vec<&Matcher> = known.iter().map(|(_, matcher, _)| *matcher).collect();
    for (later, earlier) in route::shadowed(&matchers) {
        let ((hidden, _, at), (hiding, matcher, by)) = (known[later], known[earlier]);
        let (hidden, hiding) = (name(hidden, at), name(hiding, by));
        let place = |route: &At<Section<Route>>| route.value.path.span_or(&route.value.path_regex.span_or(&route.span));
        let takes = match matcher.path() {
            PathPattern::All => "takes everything first".to_owned(),
            PathPattern::Below(path) => format!("takes everything below {path} first"),
            path => format!("takes {path} first"),
        };
        let problem = Problem::error("route::shadowed", format!("route `{hidden}` can never match"));
        let help = format!("move `{hidden}` above `{hiding}`: the first match in the file wins");
        to.report(problem.at(place(at)).also(place(by), takes).help(help));
    }
}

/// Redirections that lead back to the route that they come from.
fn loops(file: &File, routes: &[Option<RouteOptions>], to: &mut Resolver<'_>) {
    let matchers: Option<Vec<_>> =
        routes.iter().enumerate().map(|(i, route)| Some((route.as_ref()?.matcher.clone(), i))).collect();
    let Some(table) = matchers.map(RouteTable::new) else { return };
    for (index, (route, written)) in routes.iter().flatten().zip(&file.routes).enumerate() {
        let OnMissing::Redirect(target) = &route.on_missing else { continue };
        let hosts = written.value.host.at().map(At::each).unwrap_or_default();
        let host = hosts.first().map_or(String::new(), |host| host.value.replacen('*', "any", 1));
        let path = target.split(['?', '#']).next().unwrap_or_default();
        if table.find(&host, path, &Method::GET) == Some(&index) {
            let problem = Problem::error(
                "route::loop",
                format!("`{path}` leads back to this route: a visitor without a session would go in circles"),
            );
            to.report(
                problem
                    .at(written.value.on_missing.span_or(&written.span))
                    .help(format!("add a route for `{path}` without `require` above this one")),
            );
        }
    }
}

/// Tables that nothing refers to are mostly slips of the pen.
fn unused(file: &File, to: &mut Resolver<'_>) {
    let routes = || file.routes.iter().map(|route| &*route.value);
    let upstream = |name: &str| routes().any(|route| route.upstream.get().is_some_and(|used| used == name));
    let policy = |name: &str| {
        routes()
            .flat_map(|route| &route.sessions)
            .any(|used| used.value.0.policy.get().is_some_and(|used| used == name))
    };
    let upstreams =
        file.upstreams.iter().filter(|(name, _)| !upstream(&name.value)).map(|(name, _)| ("upstream", name));
    let policies =
        file.sessions.iter().filter(|(name, _)| !policy(&name.value)).map(|(name, _)| ("session policy", name));
    for (what, name) in upstreams.chain(policies) {
        let help = if what == "upstream" {
            "name it in `upstream` of a route, or remove it"
        } else {
            "name it in `sessions` of a route, or remove it"
        };
        to.report(
            Problem::warning("config::unused", format!("no route uses the {what} `{}`", name.value))
                .at(name.span.clone())
                .help(help),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_lead_where_the_operator_said() {
        for good in ["/login", "/login?return={path_and_query}", "https://sso.example.org/?to={path_and_query}"] {
            assert_eq!(check_redirect(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "login",
            "//evil.example",
            "{path_and_query}",
            "/{path}",
            "/a b",
            "/a\r\nb",
            "/caf\u{e9}",
            "javascript:alert(1)",
        ] {
            assert!(check_redirect(bad).is_err(), "{bad}");
        }
    }
}
