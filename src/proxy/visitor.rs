//! Who the visitor is to a route: the session of each of its policies, or what stands in for one in an outage.

use super::access::OutageLog;
use super::context::{Context, Policy};
use super::reply::Failure;
use super::{Downstream, Proxy, forwarding};
use crate::clock::Timestamp;
use crate::cookie::header::Found;
use crate::manager::{Keep, Looks, OnOutage, Presented, Session, SessionError};
use http::HeaderValue;
use http::header::USER_AGENT;
use smallvec::SmallVec;

/// The visitor of one request.
pub(super) struct Visitor<'a> {
    cookies: &'a [Found<'a>],
    on_outage: OnOutage,
    outages: &'a OutageLog,
    now: Timestamp,
    /// Stores that have failed this request: a store that hangs may cost it one time limit, not one for each session.
    failed: SmallVec<[&'a str; 1]>,
}

impl<'a> Visitor<'a> {
    /// A visitor with these cookies of ours, on a route that goes on so far while a store cannot answer.
    pub(super) fn new(cookies: &'a [Found<'a>], on_outage: OnOutage, outages: &'a OutageLog, now: Timestamp) -> Self {
        Self { cookies, on_outage, outages, now, failed: SmallVec::new() }
    }

    /// The visitor's session of the policy with this index.
    ///
    /// # Errors
    /// [`Failure::SessionUnknown`] when its store cannot answer and the request cannot go on without it: a session that
    /// the route requires is then neither there nor missing.
    pub(super) async fn session(
        &mut self,
        policy: &'a Policy,
        index: usize,
        is_required: bool,
    ) -> Result<Session, Failure> {
        let options = policy.manager.options();
        let store = match &options.keep {
            Keep::Store(store) => Some(store.as_str()),
            Keep::Browser(_) => None,
        };
        if store.is_none_or(|store| !self.failed.contains(&store)) {
            match policy.manager.resolve(Presented::of(self.cookies, index), self.now).await {
                Ok(session) => return Ok(session),
                Err(error) => self.is_told(policy, &error)?,
            }
        }
        self.without_store(policy, index, is_required)
    }

    /// Notes that the store of this policy has failed.
    ///
    /// # Errors
    /// [`Failure::SessionUnknown`] when it is no outage, which the request could go on in.
    pub(super) fn is_told(&mut self, policy: &'a Policy, error: &SessionError) -> Result<(), Failure> {
        let options = policy.manager.options();
        self.outages.report(options, error);
        if let Keep::Store(store) = &options.keep {
            self.failed.push(store);
        }
        if error.is_outage() { Ok(()) } else { Err(Failure::SessionUnknown) }
    }

    /// What stands in for the session of a policy whose store has failed.
    ///
    /// # Errors
    /// As [`Visitor::session`].
    pub(super) fn without_store(&self, policy: &Policy, index: usize, is_required: bool) -> Result<Session, Failure> {
        let presented = Presented::of(self.cookies, index);
        let stand_in = policy.manager.stand_in(&presented, self.on_outage, self.now).ok_or(Failure::SessionUnknown)?;
        let is_unknown = stand_in.is_degraded() && stand_in.snapshot().is_none();
        if is_required && is_unknown { Err(Failure::SessionUnknown) } else { Ok(stand_in) }
    }
}

impl Proxy {
    /// Holds the visitor against what his session is bound to (SL14).
    pub(super) async fn recognize(
        &self,
        policy: &Policy,
        session: &mut Session,
        downstream: &Downstream,
        ctx: &Context,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let (client, headers) = (Self::client(downstream, ctx), &downstream.req_header().headers);
        let trusted = &ctx.snapshot.options.trusted_proxies;
        let looks = Looks {
            is_secure: client.is_secure,
            user_agent: headers.get(USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes),
            address: client.address.map(|peer| forwarding::visitor(peer, headers, trusted)),
        };
        policy.manager.recognize(session, looks, now).await.map_err(|error| {
            self.outages.report(policy.manager.options(), &error);
            Failure::SessionUnknown
        })?;
        if let Some(changed) = session.changed().words().filter(|_| session.snapshot().is_some()) {
            self.strangers.report(policy.manager.options(), session, changed);
        }
        Ok(())
    }
}
