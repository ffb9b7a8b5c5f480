//! Looks after exchanges that last: WebSockets, event streams, long polls end when their session does, on any node.
//!
//! A session is looked up at most once a second, whatever the number of exchanges that it has, and only once one
//! of them has lasted that long. A store that cannot answer ends nothing.

use super::context::Snapshot;
use super::tether::{Lasting, Tether, Tethers};
use crate::clock::{Clock, Timestamp};
use crate::manager::Trail;
use crate::session::StoreKey;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How often a session is looked up, and how long an exchange lasts before it is looked after.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often it is seen to what is due.
const TICK: Duration = Duration::from_millis(250);

/// How many sessions are looked up at one time; the others wait for their turn.
const MAX_LOOKS: usize = 256;

/// A session of a policy of one configuration.
type Subject = (usize, usize, StoreKey, Timestamp);

/// A session, and the exchanges that are tied to it.
struct Look {
    snapshot: Arc<Snapshot>,
    policy: usize,
    trail: Trail,
    tied: Vec<(Arc<Tether>, u64)>,
}

/// Ends exchanges whose sessions have ended, for as long as the task lives.
pub async fn watch(tethers: Arc<Tethers>, clock: Arc<dyn Clock>) {
    let room = Arc::new(Semaphore::new(MAX_LOOKS));
    let mut looks = JoinSet::new();
    let mut looked: HashMap<Subject, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(TICK).await;
        while looks.try_join_next().is_some() {}
        let began = Instant::now();
        looked.retain(|_, last| began.duration_since(*last) < INTERVAL);
        for (subject, look) in due(tethers.lasting(INTERVAL), &looked) {
            // Nobody closes it.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            looked.insert(subject, began);
            let now = clock.now();
            looks.spawn(async move {
                look.carry_out(now).await;
                drop(place);
            });
        }
    }
}

/// The sessions to be looked up now.
fn due(lasting: Vec<Lasting>, looked: &HashMap<Subject, Instant>) -> HashMap<Subject, Look> {
    let mut due: HashMap<Subject, Look> = HashMap::new();
    for Lasting { tether, turn, snapshot, ties } in lasting {
        for (policy, trail) in ties {
            let name = trail.name(&snapshot.policies[policy].manager.options().name);
            let Some((key, deadline)) = name else { continue };
            let subject = (Arc::as_ptr(&snapshot) as usize, policy, key, deadline);
            if looked.contains_key(&subject) {
                continue;
            }
            let look = || Look { snapshot: Arc::clone(&snapshot), policy, trail, tied: Vec::new() };
            due.entry(subject).or_insert_with(look).tied.push((Arc::clone(&tether), turn));
        }
    }
    due
}

impl Look {
    async fn carry_out(self, now: Timestamp) {
        let manager = &self.snapshot.policies[self.policy].manager;
        match manager.find(&self.trail, now).await {
            Ok(None) => self.tied.iter().for_each(|(tether, turn)| tether.end(*turn)),
            Ok(Some(trail)) => {
                let policy = &manager.options().name;
                if trail.name(policy) != self.trail.name(policy) {
                    self.tied.iter().for_each(|(tether, turn)| tether.moved(*turn, self.policy, &trail));
                }
            }
            Err(error) => {
                tracing::debug!(policy = manager.options().name, %error, "a session that is in use cannot be looked up");
            }
        }
    }
}
