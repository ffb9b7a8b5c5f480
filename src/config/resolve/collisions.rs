//! Names of ours on the wire that get in each other's way: some backends read them as one.

use super::super::Policy;
use super::super::file::{File, Session};
use super::super::given::{At, Span};
use super::super::problem::Problem;
use super::Resolver;
use crate::proxy::options::RouteOptions;
use crate::wire::dialect::{MOD_SESSION_REPLACE, MOD_SESSION_REQUEST};
use crate::wire::{Dialect, fold};

/// Something that a policy calls its own.
struct Claim {
    folded: Box<[u8]>,
    is_prefix: bool,
    shown: String,
    policy: String,
    place: Span,
}

impl Claim {
    fn collides(&self, other: &Self) -> bool {
        let begins = |a: &Self, b: &Self| a.is_prefix && b.folded.starts_with(&a.folded);
        self.folded == other.folded || begins(self, other) || begins(other, self)
    }
}

/// Holds the names within each policy against each other, and those of policies that meet on a route: policies that
/// never meet may speak alike.
pub(super) fn across(file: &File, policies: &[Option<Policy>], routes: &[Option<RouteOptions>], to: &mut Resolver<'_>) {
    let claims: Vec<Vec<Claim>> = file
        .sessions
        .iter()
        .zip(policies)
        .map(|((name, session), policy)| policy.as_ref().map_or_else(Vec::new, |policy| claims(name, session, policy)))
        .collect();
    let meet = |a: usize, b: usize| {
        let uses = |route: &RouteOptions, policy| route.sessions.iter().any(|used| used.policy == policy);
        routes.iter().flatten().find(|route| uses(route, a) && uses(route, b))
    };
    for (i, own) in claims.iter().enumerate() {
        for (j, claim) in own.iter().enumerate() {
            if let Some(other) = own[..j].iter().find(|other| other.collides(claim)) {
                collision(claim, other, None, to);
                continue;
            }
            let elsewhere = claims[..i].iter().enumerate().find_map(|(k, theirs)| {
                let other = theirs.iter().find(|other| other.collides(claim))?;
                Some((other, meet(k, i)?))
            });
            if let Some((other, route)) = elsewhere {
                collision(claim, other, Some(&route.name), to);
            }
        }
    }
}

fn claims(name: &At<String>, session: &Session, policy: &Policy) -> Vec<Claim> {
    let written = &session.headers;
    let claim = |shown: &str, is_prefix, place: &Span| Claim {
        folded: fold(shown),
        is_prefix,
        shown: shown.into(),
        policy: name.value.clone(),
        place: place.clone(),
    };
    let mut claims = vec![claim(policy.headers.prefix.as_str(), true, &written.prefix.span_or(&name.span))];
    claims.extend(written.expose.iter().filter_map(|(_, exposure)| {
        let header = &exposure.value.0.header;
        Some(claim(header.get()?, false, &header.span_or(&exposure.span)))
    }));
    claims.extend(written.capture.iter().map(|(header, _)| claim(&header.value, false, &header.span)));
    if policy.headers.dialect == Dialect::ModSession {
        let place = written.dialect.span_or(&name.span);
        claims.extend([MOD_SESSION_REQUEST, MOD_SESSION_REPLACE].map(|name| claim(name, false, &place)));
    }
    claims
}

fn collision(claim: &Claim, other: &Claim, route: Option<&str>, to: &mut Resolver<'_>) {
    let place = match route {
        Some(route) => format!("of policies `{}` and `{}` collide on route `{route}`", other.policy, claim.policy),
        None => format!("of policy `{}` collide", claim.policy),
    };
    let message = if claim.shown == other.shown {
        format!("two `{}` {place}", claim.shown)
    } else {
        format!("`{}` and `{}` {place}: some backends read them as one", other.shown, claim.shown)
    };
    let help = match (claim.is_prefix, other.is_prefix) {
        (true, true) => {
            format!("give each a `headers.prefix` of its own, such as `\"X-{}-\"`", capitalised(&claim.policy))
        }
        (true, false) | (false, true) => "choose a name that does not begin with the prefix".into(),
        (false, false) => "choose names that differ in their letters and digits".into(),
    };
    let problem = Problem::error("headers::collision", message).at(claim.place.clone());
    to.report(problem.also(other.place.clone(), "the other one").help(help));
}

/// The name of a policy as a part of the name of a header.
fn capitalised(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let (first, rest) = plain.split_at(plain.len().min(1));
    first.to_ascii_uppercase() + rest
}
