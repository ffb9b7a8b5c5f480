//! The questions about sessions, put to the managers. No answer loads more than a page, and none takes longer than a few
//! seconds: what is left is asked for again, from where the answer before says.

use super::Control;
use super::message::{Key, Listed, Revocation, Revoked, SessionSummary, Wanted};
use super::route::Answer;
use crate::clock::Timestamp;
use crate::manager::{CensusError, Glimpse, SessionManager};
use crate::session::{Lineage, Owner};
use crate::store::Cursor;
use hyper::StatusCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many sessions an answer has when nobody says.
const DEFAULT_LIMIT: usize = 100;

/// How many it has at most.
const MAX_LIMIT: usize = 1000;

/// How many entries of a store are looked at in one go.
const PAGE: usize = 256;

/// How long an answer looks for sessions.
const PATIENCE: Duration = Duration::from_secs(3);

/// A walk over the sessions of several policies, one after the other.
struct Walk {
    managers: Vec<Arc<SessionManager>>,
    at: usize,
    cursor: Option<Cursor>,
    until: Instant,
}

impl Walk {
    /// The walk over these policies, from the place that an earlier answer has told.
    fn new(managers: Vec<Arc<SessionManager>>, after: Option<&str>) -> Result<Self, Answer> {
        let until = Instant::now() + PATIENCE;
        let Some(after) = after else { return Ok(Self { managers, at: 0, cursor: None, until }) };
        let place = after.split_once(':').and_then(|(policy, cursor)| {
            let at = managers.iter().position(|manager| manager.options().name == policy)?;
            Some((at, (!cursor.is_empty()).then(|| Cursor(cursor.to_owned()))))
        });
        let (at, cursor) = place.ok_or_else(|| bad("`after` is no place that an answer has told"))?;
        Ok(Self { managers, at, cursor, until })
    }

    /// The next page, and whose it is; `None` when the walk is over.
    async fn step(
        &mut self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<(Arc<SessionManager>, Vec<Glimpse>)>, Answer> {
        let Some(manager) = self.managers.get(self.at).map(Arc::clone) else { return Ok(None) };
        let page = manager.page(self.cursor.as_ref(), limit.min(PAGE), now).await;
        let (seen, next) = page.map_err(|error| failed(&manager, &error))?;
        if next.is_none() {
            self.at += 1;
        }
        self.cursor = next;
        Ok(Some((manager, seen)))
    }

    /// Where to go on; `None` when the walk is over.
    fn place(&self) -> Option<String> {
        let manager = self.managers.get(self.at)?;
        let cursor = self.cursor.as_ref().map_or("", |cursor| &cursor.0);
        Some(format!("{}:{cursor}", manager.options().name))
    }

    fn has_time(&self) -> bool {
        Instant::now() < self.until
    }
}

/// A page of sessions.
pub(super) async fn list(control: &dyn Control, wanted: &Wanted) -> Result<Listed, Answer> {
    let now = control.now();
    let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let managers = chosen(control, wanted.policy.as_deref())?;
    if let Some(user) = &wanted.user {
        return list_of(&managers, &owner(user)?, limit, now).await;
    }
    let (listed, unlisted): (Vec<_>, Vec<_>) = managers.into_iter().partition(|manager| manager.lists());
    if let (Some(manager), true) = (unlisted.first(), listed.is_empty()) {
        return Err(failed(manager, &CensusError::NotListed));
    }
    let mut walk = Walk::new(listed, wanted.after.as_deref())?;
    let mut sessions = Vec::new();
    while sessions.len() < limit && walk.has_time() {
        let Some((manager, seen)) = walk.step(limit - sessions.len(), now).await? else { break };
        sessions.extend(seen.iter().map(|glimpse| summary(&manager, glimpse, now, false)));
    }
    Ok(Listed { sessions, next: walk.place(), unlisted: names(&unlisted) })
}

async fn list_of(
    managers: &[Arc<SessionManager>],
    owner: &Owner,
    limit: usize,
    now: Timestamp,
) -> Result<Listed, Answer> {
    let mut listed = Listed::default();
    for manager in managers {
        match manager.owned_by(owner, limit - listed.sessions.len(), now).await {
            Ok(seen) => listed.sessions.extend(seen.iter().map(|glimpse| summary(manager, glimpse, now, false))),
            Err(CensusError::NotFound) if managers.len() > 1 => listed.unlisted.push(manager.options().name.clone()),
            Err(error) => return Err(failed(manager, &error)),
        }
    }
    Ok(listed)
}

/// The session of a reference.
pub(super) async fn show(control: &dyn Control, reference: &str, after: Option<&str>) -> Result<Listed, Answer> {
    let (now, lineage) = (control.now(), lineage(reference)?);
    let (listed, unlisted): (Vec<_>, Vec<_>) = control.managers().into_iter().partition(|manager| manager.lists());
    let mut walk = Walk::new(listed, after)?;
    let unlisted = names(&unlisted);
    while walk.has_time() {
        let Some((manager, seen)) = walk.step(PAGE, now).await? else {
            return Err(Answer::fault(StatusCode::NOT_FOUND, no_such(reference, &unlisted)));
        };
        if let Some(glimpse) = seen.iter().find(|glimpse| glimpse.lineage == lineage) {
            return Ok(Listed { sessions: vec![summary(&manager, glimpse, now, true)], next: None, unlisted });
        }
    }
    Ok(Listed { sessions: Vec::new(), next: walk.place(), unlisted })
}

/// Ends sessions.
pub(super) async fn revoke(control: &dyn Control, which: &Revocation, after: Option<&str>) -> Result<Revoked, Answer> {
    let now = control.now();
    match which {
        Revocation::Reference(reference) => revoke_one(control, lineage(reference)?, reference, after).await,
        Revocation::User(user) => {
            let owner = owner(user)?;
            let mut revoked = Revoked::default();
            for manager in control.managers() {
                let name = manager.options().name.clone();
                match manager.end_owned_by(&owner, now).await {
                    Ok(()) => {
                        tracing::info!(target: "cloakroom::session", policy = name, "the operator has ended the sessions of a user");
                        revoked.policies.push(name);
                    }
                    Err(CensusError::NotFound | CensusError::OutOfReach) => revoked.beyond_reach.push(name),
                    Err(error) => return Err(failed(&manager, &error)),
                }
            }
            Ok(revoked)
        }
        Revocation::Policy(policy) => revoke_all(&chosen(control, Some(policy))?, now).await,
        Revocation::All => revoke_all(&control.managers(), now).await,
    }
}

async fn revoke_all(managers: &[Arc<SessionManager>], now: Timestamp) -> Result<Revoked, Answer> {
    let mut revoked = Revoked::default();
    for manager in managers {
        let name = manager.options().name.clone();
        match manager.end_all(now).await {
            Ok(()) => {
                tracing::info!(target: "cloakroom::session", policy = name, "the operator has ended all sessions");
                revoked.policies.push(name);
            }
            Err(CensusError::OutOfReach) => revoked.beyond_reach.push(name),
            Err(error) => return Err(failed(manager, &error)),
        }
    }
    Ok(revoked)
}

/// Looks for the session where sessions are listed. Elsewhere it is noted that it has ended, whether there is one or not.
async fn revoke_one(
    control: &dyn Control,
    lineage: Lineage,
    reference: &str,
    after: Option<&str>,
) -> Result<Revoked, Answer> {
    let now = control.now();
    let (listed, unlisted): (Vec<_>, Vec<_>) = control.managers().into_iter().partition(|manager| manager.lists());
    let (within, beyond): (Vec<_>, Vec<_>) = unlisted.into_iter().partition(|manager| manager.revokes());
    let mut walk = Walk::new(listed, after)?;
    let tell = |policy: &str| tracing::info!(target: "cloakroom::session", policy, reference, "the operator has ended a session");
    while walk.has_time() {
        let Some((manager, seen)) = walk.step(PAGE, now).await? else { break };
        if let Some(glimpse) = seen.iter().find(|glimpse| glimpse.lineage == lineage) {
            manager.end_seen(glimpse, now).await.map_err(|error| failed(&manager, &error))?;
            tell(&manager.options().name);
            return Ok(Revoked { policies: names(&[manager]), found: Some(1), ..Revoked::default() });
        }
    }
    let next = walk.place();
    if next.is_none() {
        for manager in &within {
            manager.end_unseen(lineage, now).await.map_err(|error| failed(manager, &error))?;
            tell(&manager.options().name);
        }
    }
    let policies = if next.is_none() { names(&within) } else { Vec::new() };
    Ok(Revoked { policies, beyond_reach: names(&beyond), found: Some(0), next })
}

/// The policy of a name, or all.
pub(super) fn chosen(control: &dyn Control, policy: Option<&str>) -> Result<Vec<Arc<SessionManager>>, Answer> {
    let mut managers = control.managers();
    let Some(policy) = policy else { return Ok(managers) };
    let all = names(&managers).join("`, `");
    managers.retain(|manager| manager.options().name == policy);
    if managers.is_empty() {
        let error = format!("there is no session policy `{}`: there are `{all}`", policy.escape_debug());
        return Err(Answer::fault(StatusCode::NOT_FOUND, error));
    }
    Ok(managers)
}

fn names(managers: &[Arc<SessionManager>]) -> Vec<String> {
    managers.iter().map(|manager| manager.options().name.clone()).collect()
}

pub(super) fn lineage(reference: &str) -> Result<Lineage, Answer> {
    Lineage::from_text(reference)
        .ok_or_else(|| bad("this is no reference: expected the 16 characters that logs and `X-Session-Ref` show"))
}

pub(super) fn owner(user: &str) -> Result<Owner, Answer> {
    let longest = Owner::MAX_LEN;
    Owner::parse(user).ok_or_else(|| bad(format!("a user has 1 to {longest} bytes, none of them a control character")))
}

pub(super) fn bad(error: impl Into<String>) -> Answer {
    Answer::fault(StatusCode::BAD_REQUEST, error)
}

fn no_such(reference: &str, unlisted: &[String]) -> String {
    let elsewhere = match unlisted {
        [] => String::new(),
        names => format!("; the sessions of `{}` cannot be listed", names.join("`, `")),
    };
    format!("there is no session `{reference}`, or it has ended{elsewhere}")
}

/// What a question to a policy came to. The store's causes are for the operator, who asks.
fn failed(manager: &SessionManager, error: &CensusError) -> Answer {
    let status = match error {
        CensusError::NotListed | CensusError::NotFound | CensusError::OutOfReach | CensusError::TooMany => {
            StatusCode::CONFLICT
        }
        CensusError::Contended { .. } | CensusError::Store(_) | CensusError::Session(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let mut text = format!("session policy `{}`: {error}", manager.options().name);
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Answer::fault(status, text)
}

fn summary(manager: &SessionManager, glimpse: &Glimpse, now: Timestamp, in_detail: bool) -> SessionSummary {
    let keys = glimpse.keys.as_ref().filter(|_| in_detail);
    let key = |(name, bytes): &(String, usize)| Key { name: name.clone(), bytes: *bytes };
    SessionSummary {
        reference: glimpse.lineage.as_text(),
        policy: manager.options().name.clone(),
        logged_in: glimpse.is_owned,
        began: glimpse.started_at.until(now).as_secs(),
        ends: now.until(glimpse.deadline).as_secs(),
        bytes: glimpse.size,
        keys: keys.map(|keys| keys.iter().map(key).collect()),
    }
}
