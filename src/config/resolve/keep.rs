//! Where the sessions of a policy are kept, with what its operator should know about that.

use super::super::StoreKind;
use super::super::file::Session;
use super::super::given::{At, Span};
use super::super::nearest::suggestion;
use super::super::problem::Problem;
use super::Resolver;
use super::store::{Kept, Stores};
use crate::manager::{Keep, Protection};

pub(super) fn keep(policy: &At<String>, session: &Session, stores: &Stores, to: &mut Resolver<'_>) -> Option<Keep> {
    let name = session.store.or("disk".into());
    let place = session.store.span_or(&policy.span);
    let warn = |to: &mut Resolver<'_>, code, message: String, help: &str| {
        to.report(Problem::warning(code, message).at(place.clone()).help(help));
    };
    match find(&name, &place, stores, to)? {
        Kept::Store(store) => {
            if matches!(store.kind, StoreKind::Memory(_)) {
                let message = format!("sessions of `{}` are lost when the process ends", policy.value);
                warn(to, "store::memory", message, "a disk store keeps them: `store = \"disk\"`");
            }
            Some(Keep::Store(name))
        }
        Kept::Browser(protection) => {
            if !session.revocation.is_given() {
                let message = format!(
                    "a logout from `{}` clears the browser only: a copy of the cookie works until it expires",
                    policy.value
                );
                let help = "name a store that remembers which sessions have ended: `revocation = \"disk\"`";
                warn(to, "store::cookie", message, help);
            }
            if *protection == Protection::Signed {
                let message = format!("everybody who has a cookie of `{}` can read the session in it", policy.value);
                warn(to, "store::signed", message, "set `protection = \"sealed\"`, unless nothing in it is private");
            }
            Some(Keep::Browser(*protection))
        }
    }
}

/// The store that remembers which sessions of a cookie have ended.
pub(super) fn revocation(
    policy: &At<String>,
    session: &Session,
    keep: Option<&Keep>,
    stores: &Stores,
    to: &mut Resolver<'_>,
) -> Option<String> {
    let name = session.revocation.at()?;
    let report = |problem: Problem, help: &str, to: &mut Resolver<'_>| {
        to.report(problem.at(name.span.clone()).help(help));
    };
    if matches!(keep, Some(Keep::Store(_))) {
        let message = format!("`revocation` means nothing to `{}`: its store ends sessions itself", policy.value);
        report(Problem::error("store::revocation", message), "remove it; it is for sessions in a cookie", to);
        return None;
    }
    match find(&name.value, &name.span, stores, to)? {
        Kept::Browser(_) => {
            let message = format!("`{}` remembers nothing: it is the visitor's cookie", name.value);
            report(Problem::error("store::revocation", message), "name a store of ours, such as `\"disk\"`", to);
            return None;
        }
        Kept::Store(store) if matches!(store.kind, StoreKind::Memory(_)) => {
            let message =
                format!("sessions of `{}` that have ended work again when the process has ended", policy.value);
            report(
                Problem::warning("store::memory", message),
                "a disk store remembers them: `revocation = \"disk\"`",
                to,
            );
        }
        Kept::Store(_) => {}
    }
    Some(name.value.clone())
}

fn find<'a>(name: &str, place: &Span, stores: &'a Stores, to: &mut Resolver<'_>) -> Option<&'a Kept> {
    let Some((_, kept)) = stores.iter().find(|(own, _)| own == name) else {
        let names = stores.iter().map(|(name, _)| name.as_str());
        let problem = Problem::error("config::unknown_store", format!("there is no store `{name}`"));
        to.report(problem.at(place.clone()).help(suggestion(name, names, "")));
        return None;
    };
    kept.as_ref()
}
