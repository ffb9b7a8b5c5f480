//! `[sessions.<name>]`: the clocks, the limits, and how many.

use super::super::Policy;
use super::super::file::{File, Session};
use super::super::given::{At, Given};
use super::super::moment::Moment;
use super::super::problem::Problem;
use super::super::unit::{Period, Size};
use super::super::word::Word as _;
use super::store::Stores;
use super::{Resolver, bond, cookie, headers, history, keep, lock};
use crate::clock::Timestamp;
use crate::cookie::{CookieOptions, CookiePolicy};
use crate::manager::{Keep, OwnerCap, PolicyOptions, SiteData};
use crate::session::{BrowserLife, Expiry, Limits};
use crate::wire::HeaderOptions;
use std::num::NonZeroU32;
use std::time::Duration;

/// The largest session of all (architecture: numbers).
const MAX_SESSION: u64 = 64 << 10;

/// The longest life of a persistent cookie: 400 days (CK5).
const MAX_PERSISTENT: Duration = Duration::from_secs(34_560_000);

/// What a token in a cookie needs beside the record, before base64: versions, names, clocks, salt and seal.
const TOKEN_OVERHEAD: usize = 160;

pub(super) fn policies(file: &File, stores: &Stores, to: &mut Resolver<'_>) -> Vec<Option<Policy>> {
    let secure = cookie::Transport::of(file);
    let everywhere = not_before(&file.server.not_before, to);
    let sessions = file.sessions.iter();
    let policies: Vec<_> =
        sessions.map(|(name, session)| one(name, session, stores, &secure, everywhere, to)).collect();
    secure.warn(file, &policies, to);
    cookie::across(file, &policies, to);
    policies
}

fn one(
    name: &At<String>,
    session: &Session,
    stores: &Stores,
    secure: &cookie::Transport,
    everywhere: Option<Timestamp>,
    to: &mut Resolver<'_>,
) -> Option<Policy> {
    let keep = keep::keep(name, session, stores, to);
    let revocation = keep::revocation(name, session, keep.as_ref(), stores, to);
    let max_sessions_per_owner = owner_cap(name, session, keep.as_ref(), to);
    let history = history::history(name, session, keep.as_ref(), to);
    let not_before = not_before(&session.not_before, to).max(everywhere);
    let lock = lock::lock(name, session, keep.as_ref(), to);
    lock::replay(name, session, keep.as_ref(), to);
    let expiry = expiry(name, session, keep.as_ref(), to);
    let cookie = cookie::cookie(name, session, secure, to);
    let consent = cookie::consent(session, cookie.as_ref(), to);
    let choices = cookie.as_ref().map(|cookie| cookie::choices(session, cookie, to));
    let browser = matches!(keep, Some(Keep::Browser(_)));
    let limits = limits(name, session, cookie.as_ref().filter(|_| browser).map(CookiePolicy::options), to);
    let bond = bond::bond(session, to);
    let headers =
        headers::headers(&session.headers, to).map(|headers| HeaderOptions { changes: bond.is_some(), ..headers });
    let options = PolicyOptions {
        name: name.value.clone(),
        keep: keep?,
        expiry,
        not_before,
        holds_cookies: false,
        notes_use: session.headers.clocks.or(false),
        hands_out_tokens: session.headers.csrf.or(false),
        max_sessions_per_owner,
        history,
        limits,
        choices: choices?,
        on_refused: session.on_refused.value(),
        on_conflict: session.on_conflict.value(),
        lock,
        apply_on_error_status: session.apply_on_error_status.or(false),
        consume: session.flash.consume.value(),
        clear_site_data: clear_site_data(session, cookie.as_ref(), to),
        consent,
        bond,
        cookie: cookie?,
    };
    Some(Policy { options, headers: headers?, revocation })
}

/// Over plain HTTP browsers do not obey it, and it is not sent.
fn clear_site_data(session: &Session, cookie: Option<&CookiePolicy>, to: &mut Resolver<'_>) -> Vec<SiteData> {
    let named = &session.clear_site_data;
    for (index, kind) in named.iter().enumerate() {
        if named[..index].iter().any(|other| other.value.0 == kind.value.0) {
            let message = format!("`clear_site_data` names `{}` twice", kind.value.0.word());
            to.report(
                Problem::error("session::clear_site_data", message).at(kind.span.clone()).help("remove one of them"),
            );
        }
    }
    if let Some(first) = named.first().filter(|_| cookie.is_some_and(|cookie| !cookie.options().secure)) {
        let message = "`clear_site_data` is obeyed over TLS only, and the session cookie is not Secure";
        let problem = Problem::warning("session::clear_site_data", message).at(first.span.clone());
        to.report(problem.help("set `behind_tls = true` on the listeners if TLS ends in front of them, or remove it"));
    }
    named.iter().map(|kind| kind.value.0).collect()
}

fn owner_cap(name: &At<String>, session: &Session, keep: Option<&Keep>, to: &mut Resolver<'_>) -> Option<OwnerCap> {
    let limit = to.within("max_sessions_per_owner", &session.max_sessions_per_owner, 0, 0..=OwnerCap::MAX_LIMIT);
    let limit = NonZeroU32::new(limit);
    if let Some(when_full) = session.when_full.at().filter(|_| limit.is_none()) {
        let problem = Problem::error("session::owner", "`when_full` means nothing without `max_sessions_per_owner`");
        to.report(problem.at(when_full.span.clone()).help("add `max_sessions_per_owner = 5`, or remove it"));
    }
    if let (Some(cap), Some(_), Some(Keep::Browser(_))) = (session.max_sessions_per_owner.at(), limit, keep) {
        let message =
            format!("`max_sessions_per_owner` means nothing to `{}`: nobody counts what browsers keep", name.value);
        let problem = Problem::error("session::owner", message).at(cap.span.clone());
        to.report(problem.help("remove it, or choose a store"));
    }
    limit.map(|limit| OwnerCap { limit, when_full: session.when_full.value() })
}

/// What is to come would end every session at once, and each new one too.
fn not_before(given: &Given<Moment>, to: &mut Resolver<'_>) -> Option<Timestamp> {
    let moment = given.at()?;
    if moment.value.timestamp > to.around.now {
        let message = format!("`not_before` is {}, which is to come: no session could begin until then", moment.value);
        let problem = Problem::error("session::not_before", message).at(moment.span.clone());
        to.report(problem.help("write the present moment: what began before it has ended"));
    }
    Some(moment.value.timestamp)
}

fn expiry(name: &At<String>, session: &Session, keep: Option<&Keep>, to: &mut Resolver<'_>) -> Expiry {
    const MINUTE: Duration = Duration::from_secs(60);
    let long = Period(Duration::from_secs(20 * 365 * 86_400));
    let clock = |to: &mut Resolver<'_>, setting, given, default| {
        to.within(setting, given, Period(default), Period(Duration::from_secs(1))..=long).0
    };
    let idle = clock(to, "idle_timeout", &session.idle_timeout, 30 * MINUTE);
    let absolute = clock(to, "absolute_timeout", &session.absolute_timeout, 12 * 60 * MINUTE);
    if absolute < idle {
        let message = format!(
            "sessions of `{}` end after {} although they may be idle for {}",
            name.value,
            Period(absolute),
            Period(idle)
        );
        let place = session.absolute_timeout.span_or(&session.idle_timeout.span_or(&name.span));
        to.report(
            Problem::warning("session::clocks", message)
                .at(place)
                .help(format!("set `absolute_timeout` to {} or more", Period(idle))),
        );
    }
    if absolute > MAX_PERSISTENT && session.cookie.persistent.or(false) {
        let message =
            format!("`absolute_timeout` is {}: browsers keep a cookie for 400 days at most", Period(absolute));
        let place = session.absolute_timeout.span_or(&name.span);
        let problem = Problem::error("session::clocks", message).at(place);
        to.report(
            problem
                .also(session.cookie.persistent.span_or(&name.span), "the cookie is meant to last as long")
                .help("write `\"400d\"` or less, or set `persistent = false`"),
        );
    }
    // A short idle time brings a short interval along, unless somebody chose one.
    let touch = session.touch_interval.get().map_or(MINUTE.min(idle / 4), |period| period.0);
    // By chance an interval is a quarter longer.
    if touch + touch / 4 >= idle {
        let message = format!(
            "`touch_interval` is {}, and by chance a quarter more: sessions end after {} without a request, before it is \
             written down",
            Period(touch),
            Period(idle)
        );
        let problem = Problem::error("session::clocks", message).at(session.touch_interval.span_or(&name.span));
        to.report(problem.help(format!("choose a fraction of `idle_timeout`, such as `\"{}\"`", Period(idle / 10))));
    }
    let ten = Duration::from_secs(10);
    let grace =
        to.within("regenerate_grace", &session.regenerate_grace, Period(ten), Period(Duration::ZERO)..=Period(ten));
    let max_idle = to.within("max_idle_timeout", &session.max_idle_timeout, Period(idle), Period(idle)..=long);
    let max_absolute =
        to.within("max_absolute_timeout", &session.max_absolute_timeout, Period(absolute), Period(absolute)..=long);
    Expiry {
        idle,
        absolute,
        touch_interval: touch,
        regenerate_grace: grace.0,
        max_idle: max_idle.0,
        max_absolute: max_absolute.0,
        probation: probation(name, session, keep, idle, to),
        browser: browser(name, session, absolute, to),
    }
}

/// The life of the cookie in the browser, where it has one of its own.
fn browser(name: &At<String>, session: &Session, absolute: Duration, to: &mut Resolver<'_>) -> Option<BrowserLife> {
    let cookie = &session.cookie;
    let max_age = cookie.max_age.at().and_then(|given| given.value.0.map(|max_age| (given, max_age)));
    let Some((given, max_age)) = max_age else {
        if let Some(renew) = cookie.renew_after.at() {
            let problem = Problem::error("session::max_age", "`renew_after` means nothing without `max_age`");
            to.report(problem.at(renew.span.clone()).help("add `max_age`, such as `\"30d\"`, or remove it"));
        }
        return None;
    };
    let problem = |message: String| Problem::error("session::max_age", message).at(given.span.clone());
    if max_age < Duration::from_secs(1) || max_age > MAX_PERSISTENT {
        let message = format!("`max_age` is {}: browsers keep a cookie for 400 days at most", Period(max_age));
        to.report(problem(message).help("write a time from `\"1s\"` to `\"400d\"`"));
    } else if max_age > absolute {
        let message = format!(
            "`max_age` is {}: sessions of `{}` end after {} in any case",
            Period(max_age),
            name.value,
            Period(absolute)
        );
        to.report(
            problem(message).help("raise `absolute_timeout`, or write `persistent = true` in the place of `max_age`"),
        );
    }
    if let Some(persistent) = cookie.persistent.at().filter(|persistent| !persistent.value) {
        let message = "a cookie with a `max_age` outlives the browser".to_owned();
        let problem = problem(message).also(persistent.span.clone(), "the cookie is not meant to");
        to.report(problem.help("remove one of the two"));
    }
    let renew_after = cookie.renew_after.get().map_or(max_age / 2, |period| period.0);
    Some(BrowserLife { max_age, renew_after })
}

/// What lies in no store is no burden to it; and who is idle for shorter needs no probation.
fn probation(
    name: &At<String>,
    session: &Session,
    keep: Option<&Keep>,
    idle: Duration,
    to: &mut Resolver<'_>,
) -> Option<Duration> {
    let given = session.probation.at()?;
    let probation = given.value.0?;
    let problem = |message: String| Problem::error("session::probation", message).at(given.span.clone());
    if matches!(keep, Some(Keep::Browser(_))) {
        let message = format!("`probation` means nothing to `{}`: what browsers keep fills no store", name.value);
        to.report(problem(message).help("remove it, or choose a store"));
    } else if probation >= idle {
        let message = format!(
            "`probation` is {}: sessions end after {} without a request anyway",
            Period(probation),
            Period(idle)
        );
        to.report(
            problem(message).help(format!("choose less than `idle_timeout`, such as `\"{}\"`", Period(idle / 6))),
        );
    }
    Some(probation)
}

/// `cookie` is the cookie that the whole session must fit into, where the browser keeps it.
fn limits(name: &At<String>, session: &Session, cookie: Option<&CookieOptions>, to: &mut Resolver<'_>) -> Limits {
    let defaults = Limits::default();
    let room = cookie.map(room);
    let largest = room.map_or(defaults.session_bytes, |room| room.min(defaults.session_bytes)) as u64;
    let session_bytes = to.size("max_session_bytes", &session.max_session_bytes, largest, 256..=MAX_SESSION);
    if let Some(room) = room.filter(|room| *room < session_bytes) {
        let message = format!(
            "sessions of `{}` may have {}, and their cookie has room for {room}B",
            name.value,
            Size(session_bytes as u64)
        );
        let problem = Problem::error("session::size", message).at(session.max_session_bytes.span_or(&name.span));
        to.report(
            problem.help(format!("write `\"{room}B\"` or less, raise `max_chunks` of the cookie, or choose a store")),
        );
    }
    let value_default = defaults.value_bytes.min(session_bytes) as u64;
    let value_bytes = to.size("max_value_bytes", &session.max_value_bytes, value_default, 16..=MAX_SESSION);
    if value_bytes > session_bytes {
        let message = format!(
            "`max_value_bytes` is {}: no value is larger than its session, which has {}",
            Size(value_bytes as u64),
            Size(session_bytes as u64)
        );
        let problem = Problem::error("session::size", message).at(session.max_value_bytes.span_or(&name.span));
        to.report(
            problem.help(format!("write `\"{}\"` or less, or raise `max_session_bytes`", Size(session_bytes as u64))),
        );
    }
    Limits {
        keys: to.within("max_keys", &session.max_keys, defaults.keys, 1..=1024),
        value_bytes,
        session_bytes,
        list_items: to.within("max_list_items", &session.max_list_items, defaults.list_items, 1..=10_000),
        flashes: to.within("max_flashes", &session.max_flashes, defaults.flashes, 0..=1000),
    }
}

/// The bytes of a record that fit into a cookie with all its chunks, once sealed and in base64.
fn room(cookie: &CookieOptions) -> usize {
    let name = cookie.name.as_str().len() + if cookie.max_chunks > 1 { ".0".len() } else { 0 };
    let characters = cookie.max_bytes.saturating_sub(name) * cookie.max_chunks;
    (characters / 4 * 3).saturating_sub(TOKEN_OVERHEAD)
}
