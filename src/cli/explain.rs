//! `cloakroom explain`: which route takes a request and why not the others, what is stripped, what is sent, what is set.
//!
//! Works offline: no backend is asked, and of the stores only the visitor's own cookie.

use super::picture;
use crate::app;
use crate::clock::{Clock as _, SystemClock};
use crate::codec::{Binding, csrf_token};
use crate::config::Config;
use crate::cookie::header::{Rest, split};
use crate::manager::{Keep, OnOutage};
use crate::proxy::options::{Goal, RouteOptions};
use crate::route::RouteTable;
use crate::session::{Handed, Keys, State, View};
use crate::wire::Allowance;
use crate::wire::Reserved;
use crate::wire::proof;
use crate::wire::request::{Fields, Live, Voice};
use http::{HeaderName, HeaderValue, Method, Uri};
use std::process::ExitCode;

/// A request as a person describes it.
pub(super) struct Request {
    /// The method.
    pub(super) method: Method,
    /// The address, with or without a host.
    pub(super) url: Uri,
    /// Headers.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The `Cookie` header.
    pub(super) cookie: Option<String>,
}

/// Prints the explanation.
pub(super) fn explain(config: &Config, request: &Request) -> ExitCode {
    let named =
        request.headers.iter().find(|(name, _)| *name == http::header::HOST).and_then(|(_, host)| host.to_str().ok());
    let host = named.or(request.url.authority().map(http::uri::Authority::as_str)).unwrap_or("localhost");
    let path = request.url.path();
    println!("request    {} {path} on {host}", request.method);

    let routes = config.routes.iter().enumerate().map(|(index, route)| (route.matcher.clone(), index));
    let table = RouteTable::new(routes.collect());
    for (index, verdict) in table.explain(host, path, &request.method) {
        println!("route      {}: {verdict}", config.routes[index].name);
    }
    let Some(route) = table.find(host, path, &request.method).map(|index| &config.routes[*index]) else {
        println!("answer     404: no route takes it");
        return ExitCode::FAILURE;
    };

    let reserved = Reserved::new(config.policies.iter().map(|policy| &policy.headers));
    for (name, _) in request.headers.iter().filter(|(name, _)| reserved.has(name.as_str())) {
        println!("strip      {name}: it belongs to a session policy once folded");
    }

    let cookie_names: Vec<_> = config.policies.iter().map(|policy| policy.options.cookie.name().clone()).collect();
    let cookies = split(request.cookie.iter().map(String::as_bytes), &cookie_names);
    match &cookies.rest {
        Rest::Untouched => {}
        Rest::Nothing => println!("cookie     ours is cut out, nothing is left"),
        Rest::Line(line) => println!("cookie     ours is cut out, left is: {}", line.escape_ascii()),
    }

    for rule in &route.cookies {
        println!("cookies    {}", picture::cookie_rule(config, route, rule));
    }
    let Goal::Upstream(upstream) = route.goal else {
        let of = route.sessions.first().map_or("-", |used| &config.policies[used.policy].options.name);
        println!("answer     the state of `{of}`, as JSON; no backend is asked, and nothing is extended");
        return ExitCode::SUCCESS;
    };
    let upstream = &config.upstreams[upstream];
    println!("upstream   {} (profile {})", upstream.name, upstream.profile.name);
    let mut allowance = Allowance::new(upstream.profile.budget, route.sessions.len());
    for used in route.sessions.iter().skip(1) {
        allowance.owe(Voice::new(config.policies[used.policy].headers.clone()).owed());
    }
    let ring = app::key_ring(config).ok();
    for used in &route.sessions {
        let policy = &config.policies[used.policy];
        let options = &policy.options;
        let came = cookies.ours.iter().find(|found| found.name == used.policy && found.chunk.is_none());
        let binding = Binding::new(options.cookie.name().as_str(), &options.name);
        let token = came.zip(ring.as_ref()).and_then(|(found, ring)| open(options, ring, &binding, found.value));
        let view = token.as_ref().and_then(|token| View::parse(&token.record).ok());
        let state = match (came, &view) {
            (None, _) => State::None,
            (Some(_), Some(_)) => State::Live,
            (Some(_), None) => State::Invalid,
        };
        if came.is_some() && matches!(options.keep, Keep::Store(_)) {
            println!(
                "session    {}: kept in a store, which is not asked here; see `cloakroom cookie inspect`",
                options.name
            );
            continue;
        }
        let live = view.as_ref().zip(token.as_ref()).map(|(view, token)| Live {
            view,
            deadline: token.deadline,
            absolute_deadline: options.expiry.absolute_deadline(view.head.started_at, view.head.absolute),
            handed: Handed::Free,
            csrf: ring
                .as_ref()
                .filter(|_| policy.headers.csrf)
                .map(|ring| csrf_token(ring, &binding, view.head.lineage, view.head.started_at)),
        });
        let mut fields = Fields::new();
        let voice = Voice::new(policy.headers.clone());
        if voice.needs_nonce()
            && let Ok(nonce) = proof::nonce()
        {
            voice.number(&mut fields, &mut allowance, &nonce);
        }
        let spoken = voice.speak(&mut fields, &mut allowance, state, live, &used.rights.read, SystemClock.now());
        if spoken.is_err() {
            println!("session    {}: the record cannot be read", options.name);
        }
        let rights = match (&used.rights.may_write, &used.rights.read) {
            (true, Keys::All) => "reads and writes",
            (true, Keys::Only(_)) => "reads some keys, writes",
            (false, _) => "reads only",
        };
        println!("session    {} ({rights}), state {}", options.name, state.as_str());
        for field in fields {
            println!(
                "send       {}: {}",
                String::from_utf8_lossy(&field.name),
                String::from_utf8_lossy(field.value.as_bytes())
            );
        }
        if policy.headers.proof_key.is_some() {
            println!("send       {}Proof: made of the request and these headers as it is sent", policy.headers.prefix);
        }
        println!("set        {} when the backend stores something", options.cookie.name());
    }
    conditions(config, route, &request.method);
    ExitCode::SUCCESS
}

/// What must hold for the request to reach the backend.
fn conditions(config: &Config, route: &RouteOptions, method: &Method) {
    if route.on_outage != OnOutage::Error
        && let Some((_, meaning)) = picture::outage(config, route)
    {
        println!("outage     {meaning}");
    }
    if let Some(session) = route.csrf {
        let policy = &config.policies[route.sessions[session].policy].options.name;
        let meaning = match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => "not asked for: the method changes nothing",
            _ => "403 from another site, and with a live session without its token",
        };
        println!("csrf       token of `{policy}`: {meaning}");
    }
    if let Some(session) = route.require {
        let policy = &config.policies[route.sessions[session].policy].options.name;
        println!("require    a live session of `{policy}`, else {:?}", route.on_missing);
    }
}

fn open(
    options: &crate::manager::PolicyOptions,
    ring: &crate::codec::KeyRing,
    binding: &Binding,
    value: &[u8],
) -> Option<crate::codec::OpenedToken> {
    use crate::codec::open_token;
    let mode = match options.keep {
        Keep::Browser(protection) => protection.into(),
        Keep::Store(_) => return None,
    };
    open_token(ring, binding, mode, value).ok()
}
