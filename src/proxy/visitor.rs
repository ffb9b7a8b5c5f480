//! Who the visitor is to a route: the session of each of its policies, or what stands in for one in an outage.

use super::access::OutageLog;
use super::context::Policy;
use super::reply::Failure;
use crate::clock::Timestamp;
use crate::cookie::header::Found;
use crate::manager::{Keep, OnOutage, Presented, Session};
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
                Err(error) => {
                    self.outages.report(options, &error);
                    if !error.is_outage() {
                        return Err(Failure::SessionUnknown);
                    }
                    self.failed.extend(store);
                }
            }
        }
        let presented = Presented::of(self.cookies, index);
        let stand_in = policy.manager.stand_in(&presented, self.on_outage, self.now).ok_or(Failure::SessionUnknown)?;
        let is_unknown = stand_in.is_degraded() && stand_in.snapshot().is_none();
        if is_required && is_unknown { Err(Failure::SessionUnknown) } else { Ok(stand_in) }
    }
}
