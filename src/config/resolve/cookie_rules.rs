//! `[[routes.cookies]]`: what happens to the backend's own cookies.

use super::super::Policy;
use super::super::file::{CookieRule as Rule, File, Route};
use super::super::given::{At, Section};
use super::super::nearest::suggestion;
use super::super::problem::Problem;
use super::super::word::{CookieDeed, Word as _};
use super::Resolver;
use super::cookie::Transport;
use crate::codec::TokenMode;
use crate::cookie::{Hardening, NamePattern, SameSite};
use crate::proxy::options::{CookieAction, CookieRule, RouteOptions, SessionUse};

pub(super) fn rules(
    route: &Route,
    sessions: Option<&[SessionUse]>,
    file: &File,
    policies: &[Option<Policy>],
    transport: &Transport,
    to: &mut Resolver<'_>,
) -> Vec<CookieRule> {
    let mut rules: Vec<CookieRule> = Vec::new();
    for written in &route.cookies {
        let names = names(written, policies, to);
        let action = action(written, sessions, file, transport, to);
        let Some((names, action)) = names.zip(action) else { continue };
        if let Some(first) = rules.iter().find(|rule| rule.names.covers(&names)) {
            let message = format!("the rule for cookies named `{}` can never apply", names.as_str());
            let help = format!("move it above the rule for `{}`: the first that has a name wins", first.names.as_str());
            to.report(
                Problem::error("route::cookies", message).at(written.value.name.span_or(&written.span)).help(help),
            );
        }
        rules.push(CookieRule { names, action });
    }
    rules
}

fn names(written: &At<Section<Rule>>, policies: &[Option<Policy>], to: &mut Resolver<'_>) -> Option<NamePattern> {
    let Some(name) = written.value.name.at() else {
        to.missing(&["routes", "cookies", "name"], || {
            Problem::error("config::missing", "a rule for cookies has no name")
                .at(written.span.clone())
                .help("add `name`, such as `name = \"PHPSESSID\"`, or `\"*\"` for all")
        });
        return None;
    };
    let names = match NamePattern::parse(&name.value) {
        Ok(names) => names,
        Err(problem) => {
            let found = Problem::error("route::cookies", problem.message).at(name.span.clone());
            to.report(found.help(problem.remedy));
            return None;
        }
    };
    // A name with a star may have ours: those are taken out before any rule is asked.
    let ours = policies.iter().flatten().find(|policy| {
        let rest = name.value.strip_prefix(policy.options.cookie.name().as_str());
        rest.is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'.', b'0'..=b'9']))
    });
    if let Some(policy) = ours {
        let message = format!("`{}` is the cookie of the session policy `{}`", name.value, policy.options.name);
        let problem = Problem::error("route::cookies", message).at(name.span.clone());
        let help = format!(
            "if the backend has a cookie of this name, set another `cookie.name` in [sessions.{}]",
            policy.options.name
        );
        to.report(problem.help(help));
    }
    Some(names)
}

fn action(
    written: &At<Section<Rule>>,
    sessions: Option<&[SessionUse]>,
    file: &File,
    transport: &Transport,
    to: &mut Resolver<'_>,
) -> Option<CookieAction> {
    let rule = &written.value;
    let Some(deed) = rule.action.get().map(|deed| deed.0) else {
        to.missing(&["routes", "cookies", "action"], || {
            Problem::error("config::missing", "a rule for cookies has no action")
                .at(written.span.clone())
                .help("add `action`, such as `action = \"harden\"`")
        });
        return None;
    };
    if matches!(deed, CookieDeed::Pass | CookieDeed::Hold | CookieDeed::Drop) {
        without_attributes(written, deed, to);
    }
    if let Some(session) = rule.session.at().filter(|_| deed != CookieDeed::Hold) {
        let message = format!("`session` means nothing beside `action = \"{}\"`", deed.word());
        let problem = Problem::error("route::cookies", message).at(session.span.clone());
        to.report(problem.help("remove it, or choose `action = \"hold\"`"));
    }
    Some(match deed {
        CookieDeed::Pass => CookieAction::Pass,
        CookieDeed::Drop => CookieAction::Drop,
        CookieDeed::Hold => CookieAction::Hold(holder(written, sessions, file, to)?),
        CookieDeed::Sign => CookieAction::Protect(TokenMode::Signed, hardening(written, transport, to)),
        CookieDeed::Encrypt => CookieAction::Protect(TokenMode::Sealed, hardening(written, transport, to)),
        CookieDeed::Harden => CookieAction::Harden(hardening(written, transport, to)),
    })
}

/// The index, within the sessions of the route, of the one that holds a cookie.
fn holder(
    written: &At<Section<Rule>>,
    sessions: Option<&[SessionUse]>,
    file: &File,
    to: &mut Resolver<'_>,
) -> Option<usize> {
    let (sessions, wanted) = (sessions?, written.value.session.at());
    let name_of = |used: &SessionUse| file.sessions.0.get(used.policy).map_or("", |(name, _)| name.value.as_str());
    let place = written.value.session.span_or(&written.value.name.span_or(&written.span));
    let index = match wanted {
        None => (!sessions.is_empty()).then_some(0),
        Some(wanted) => sessions.iter().position(|used| name_of(used) == wanted.value),
    };
    let Some(index) = index else {
        let (message, help) = match wanted {
            None => (
                "a cookie is held by a session, and this route has none".to_owned(),
                "add `sessions = [\"main\"]`".to_owned(),
            ),
            Some(wanted) => (
                format!("`{}` is not one of the sessions of this route", wanted.value),
                suggestion(&wanted.value, sessions.iter().map(name_of), "name it in `sessions` of this route"),
            ),
        };
        to.report(Problem::error("route::cookies", message).at(place).help(help));
        return None;
    };
    if !sessions[index].rights.may_write {
        let message = format!("`{}` cannot hold a cookie: the route may only read it", name_of(&sessions[index]));
        let problem = Problem::error("route::cookies", message).at(place);
        to.report(problem.help("set `access = \"write\"`, or choose another session"));
    }
    Some(index)
}

/// Tells the policies in whose sessions cookies are held.
pub(super) fn mark(policies: &mut [Option<Policy>], routes: &[Option<RouteOptions>]) {
    for route in routes.iter().flatten() {
        for rule in &route.cookies {
            let CookieAction::Hold(session) = rule.action else { continue };
            if let Some(policy) = &mut policies[route.sessions[session].policy] {
                policy.options.holds_cookies = true;
            }
        }
    }
}

/// The attributes that are forced onto a cookie.
fn hardening(written: &At<Section<Rule>>, transport: &Transport, to: &mut Resolver<'_>) -> Hardening {
    let rule = &written.value;
    let secure = transport.secure(&rule.secure, "a cookie of the backend", &written.span, to);
    let hardening = Hardening { secure, http_only: rule.http_only.or(true), same_site: rule.same_site.value() };
    if hardening.same_site == SameSite::None && !secure {
        let problem = Problem::error("cookie::refused", "`SameSite=None` needs Secure, and browsers refuse it");
        let help = "serve it over TLS (`secure = true`), or set `same_site = \"lax\"`";
        to.report(problem.at(rule.same_site.span_or(&written.span)).help(help));
    }
    hardening
}

/// What the browser never sees, or what stays as it came, has no attributes of ours.
fn without_attributes(written: &At<Section<Rule>>, deed: CookieDeed, to: &mut Resolver<'_>) {
    let rule = &written.value;
    let given = [
        ("secure", rule.secure.at().map(|at| &at.span)),
        ("http_only", rule.http_only.at().map(|at| &at.span)),
        ("same_site", rule.same_site.at().map(|at| &at.span)),
    ];
    for (setting, place) in given {
        if let Some(place) = place {
            let message = format!("`{setting}` means nothing beside `action = \"{}\"`", deed.word());
            let problem = Problem::error("route::cookies", message).at(place.clone());
            to.report(problem.help("remove it, or choose `action = \"harden\"`"));
        }
    }
}
