//! `[sessions.<name>.cookie]`: what browsers take (CK2, CK13), and cookies that get in each other's way.

use super::super::Policy;
use super::super::file::{Cookie, File, Session};
use super::super::given::{At, Given, Span};
use super::super::problem::Problem;
use super::super::word::{Choice, Secure};
use super::{Resolver, headers};
use crate::cookie::{CookieName, CookieOptions, CookiePolicy, CookieProblem};
use crate::manager::{Consent, Keep};
use crate::session::CookieChoices;

/// What a stock nginx in front of us takes of an answer's headers.
const STOCK_NGINX: usize = 3800;

/// Whether requests reach us over TLS, and where not.
pub(super) struct Transport {
    /// The listeners without TLS: name and place.
    plain: Vec<(String, Span)>,
    is_known: bool,
}

impl Transport {
    pub(super) fn of(file: &File) -> Self {
        let plain = file
            .listeners
            .iter()
            .filter(|(_, listener)| !listener.tls.certificates.is_given() && !listener.behind_tls.or(false));
        let plain = plain.map(|(name, listener)| (name.value.clone(), listener.address.span_or(&name.span))).collect();
        Self { plain, is_known: !file.listeners.0.is_empty() }
    }

    fn is_secure(&self) -> bool {
        self.plain.is_empty()
    }

    fn remedy(&self) -> String {
        let it = if self.plain.len() == 1 { "it" } else { "them" };
        let names: Vec<String> = self.plain.iter().map(|(name, _)| format!("[listeners.{name}]")).collect();
        format!(
            "set `behind_tls = true` in {} if TLS ends in front of {it}, or give {it} `tls.certificates`",
            names.join(" and ")
        )
    }

    /// Whether `secure` makes a cookie `Secure`.
    pub(super) fn secure(
        &self,
        given: &Given<Choice<Secure>>,
        subject: &str,
        owner: &Span,
        to: &mut Resolver<'_>,
    ) -> bool {
        match given.value() {
            Secure::Auto => self.is_secure(),
            Secure::Off => false,
            Secure::On => {
                if let Some((listener, place)) = self.plain.first() {
                    let message = format!(
                        "{subject} is Secure, and listener `{listener}` is plain HTTP: browsers would not send it"
                    );
                    let problem = Problem::error("cookie::plain_listener", message).at(given.span_or(owner));
                    to.report(problem.also(place.clone(), "plain HTTP").help(self.remedy()));
                }
                true
            }
        }
    }

    /// Says once that cookies travel in the clear, or for each policy that they do without need.
    pub(super) fn warn(&self, file: &File, policies: &[Option<Policy>], to: &mut Resolver<'_>) {
        let open =
            |policy: &&Option<Policy>| policy.as_ref().is_some_and(|policy| !policy.options.cookie.options().secure);
        let is_open = policies.iter().any(|policy| open(&policy));
        if let (true, true, Some((name, place))) = (self.is_known, is_open, self.plain.first()) {
            let message = format!("session cookies are not Secure, because listener `{name}` is plain HTTP");
            to.report(Problem::warning("cookie::not_secure", message).at(place.clone()).help(self.remedy()));
        } else if is_open {
            for (name, session) in
                file.sessions.iter().filter(|(_, session)| session.cookie.secure.value() == Secure::Off)
            {
                let message = format!(
                    "the cookie of `{}` is not Secure, although every listener is reached over TLS",
                    name.value
                );
                let problem =
                    Problem::warning("cookie::not_secure", message).at(session.cookie.secure.span_or(&name.span));
                to.report(problem.help("remove `secure = false`"));
            }
        }
    }
}

pub(super) fn cookie(
    name: &At<String>,
    session: &Session,
    transport: &Transport,
    to: &mut Resolver<'_>,
) -> Option<CookiePolicy> {
    let cookie = &session.cookie;
    let subject = format!("the cookie of `{}`", name.value);
    let secure = transport.secure(&cookie.secure, &subject, &name.span, to);
    let default = if secure { "__Host-session" } else { "session" };
    let chosen = match CookieName::parse(cookie.name.get().map_or(default, String::as_str)) {
        Ok(chosen) => chosen,
        Err(problem) => {
            report(&problem, name, cookie, to);
            return None;
        }
    };
    let options = CookieOptions {
        name: chosen,
        path: cookie.path.or("/".into()),
        domain: cookie.domain.get().filter(|domain| !domain.is_empty()).cloned(),
        secure,
        http_only: cookie.http_only.or(true),
        same_site: cookie.same_site.value(),
        partitioned: cookie.partitioned.or(false),
        persistent: cookie.persistent.or(false) || cookie.max_age.get().is_some_and(|max_age| max_age.0.is_some()),
        max_bytes: usize::try_from(cookie.max_bytes.get().map_or(3800, |size| size.0)).unwrap_or(usize::MAX),
        max_chunks: cookie.max_chunks.or(1),
    };
    match CookiePolicy::new(options) {
        Ok(policy) => Some(policy),
        Err(problems) => {
            for problem in &problems {
                report(problem, name, cookie, to);
            }
            None
        }
    }
}

/// A problem of the cookie at the setting that it names.
fn report(problem: &CookieProblem, policy: &At<String>, cookie: &Cookie, to: &mut Resolver<'_>) {
    fn place<T>(given: &Given<T>, or: &Span) -> Span {
        given.span_or(or)
    }
    let owner = &policy.span;
    let place = match problem.setting {
        "name" => place(&cookie.name, owner),
        "path" => place(&cookie.path, owner),
        "domain" => place(&cookie.domain, owner),
        "http_only" => place(&cookie.http_only, owner),
        "same_site" => place(&cookie.same_site, owner),
        "partitioned" => place(&cookie.partitioned, owner),
        "max_bytes" => place(&cookie.max_bytes, owner),
        "max_chunks" => place(&cookie.max_chunks, owner),
        _ => owner.clone(),
    };
    let message = format!("`{}` in [sessions.{}.cookie]: {}", problem.setting, policy.value, problem.message);
    to.report(Problem::error("cookie::refused", message).at(place).help(problem.remedy.as_str()));
}

/// What shows that a visitor has consented.
pub(super) fn consent(session: &Session, policy: Option<&CookiePolicy>, to: &mut Resolver<'_>) -> Option<Consent> {
    let written = session.cookie.consent.at()?;
    let problem = |message: String, place: &Span| Problem::error("cookie::consent", message).at(place.clone());
    match (written.value.cookie.at(), written.value.key.at()) {
        (Some(cookie), None) => match CookieName::parse(&cookie.value) {
            Ok(name) if policy.is_some_and(|policy| *policy.name() == name) => {
                let message =
                    format!("`{}` is the cookie of the session itself, which nobody would get", name.as_str());
                to.report(problem(message, &cookie.span).help("name the cookie that your consent banner sets"));
                None
            }
            Ok(name) => Some(Consent::Cookie(name)),
            Err(CookieProblem { message, remedy, .. }) => {
                to.report(problem(message, &cookie.span).help(remedy));
                None
            }
        },
        (None, Some(key)) => headers::name(key, to).map(Consent::Key),
        _ => {
            let message = "`consent` has one of `cookie` and `key`".to_owned();
            to.report(
                problem(message, &written.span).help("write `{ cookie = \"consent\" }` or `{ key = \"consent\" }`"),
            );
            None
        }
    }
}

/// The paths and domains that a backend may choose: each must make a cookie that browsers take.
pub(super) fn choices(session: &Session, policy: &CookiePolicy, to: &mut Resolver<'_>) -> CookieChoices {
    let bound = policy.name().as_str().starts_with("__Host-");
    let check = |choice: &At<String>, setting: &str, options: CookieOptions, to: &mut Resolver<'_>| {
        let problem = match CookiePolicy::new(options) {
            Ok(_) => return,
            Err(_) if bound => Problem::error(
                "cookie::refused",
                format!(
                    "a cookie named `{}` has the path `/` and no Domain: there is nothing to choose",
                    policy.name()
                ),
            )
            .help(format!("remove `{setting}`, or choose a `cookie.name` without `__Host-`")),
            Err(problems) => {
                Problem::error("cookie::refused", problems[0].message.clone()).help(problems[0].remedy.as_str())
            }
        };
        to.report(problem.at(choice.span.clone()));
    };
    let (paths, domains) = (&session.cookie.allow_paths, &session.cookie.allow_domains);
    for path in paths {
        check(path, "allow_paths", CookieOptions { path: path.value.clone(), ..policy.options().clone() }, to);
    }
    for domain in domains {
        let options = CookieOptions { domain: Some(domain.value.clone()), ..policy.options().clone() };
        check(domain, "allow_domains", options, to);
    }
    let values = |list: &[At<String>]| list.iter().map(|item| item.value.clone()).collect();
    CookieChoices { paths: values(paths), domains: values(domains) }
}

/// Cookies of several policies: a browser must be able to tell them apart, and so must we.
pub(super) fn across(file: &File, policies: &[Option<Policy>], to: &mut Resolver<'_>) {
    let all: Vec<_> =
        file.sessions.iter().zip(policies).filter_map(|(written, policy)| Some((written, policy.as_ref()?))).collect();
    for (index, ((name, session), policy)) in all.iter().enumerate() {
        let ours = policy.options.cookie.name().as_str();
        let place = session.cookie.name.span_or(&name.span);
        for ((other_name, other_session), other) in &all[..index] {
            let theirs = other.options.cookie.name().as_str();
            let is_chunk = |a: &str, b: &str| {
                a.strip_prefix(b)
                    .and_then(|rest| rest.strip_prefix('.'))
                    .is_some_and(|rest| matches!(rest.as_bytes(), [b'0'..=b'9']))
            };
            let message = if ours == theirs {
                format!("policies `{}` and `{}` have the same cookie `{ours}`", other_name.value, name.value)
            } else if is_chunk(ours, theirs) || is_chunk(theirs, ours) {
                format!("the cookies `{theirs}` and `{ours}` collide: `.0` to `.9` number the pieces of a cookie")
            } else {
                continue;
            };
            let prefix = if policy.options.cookie.options().secure { "__Host-" } else { "" };
            let problem = Problem::error("cookie::duplicate", message).at(place.clone());
            let problem = problem.also(other_session.cookie.name.span_or(&other_name.span), "the other one");
            to.report(problem.help(format!("set `cookie.name` in each, such as `\"{prefix}{}\"`", name.value)));
        }
        large(name, session, policy, to);
    }
}

fn large(name: &At<String>, session: &Session, policy: &Policy, to: &mut Resolver<'_>) {
    let options = policy.options.cookie.options();
    if matches!(policy.options.keep, Keep::Browser(_)) && options.max_bytes * options.max_chunks > STOCK_NGINX {
        let message = format!(
            "cookies of `{}` may have more than {STOCK_NGINX} bytes, which an nginx in front of us would answer with 502",
            name.value
        );
        let place = session.cookie.max_chunks.span_or(&session.cookie.max_bytes.span_or(&name.span));
        to.report(
            Problem::warning("cookie::large", message)
                .at(place)
                .help("if there is one, set `proxy_buffer_size 16k; proxy_buffers 8 16k;` in it"),
        );
    }
}
