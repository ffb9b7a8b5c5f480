//! What goes on in the background for as long as a configuration is served: expired sessions are removed, and what
//! operators have ended elsewhere is read.

use super::house::House;
use super::stores::Opened;
use super::sweep;
use crate::clock::Clock;
use crate::manager::{REVOCATIONS_EVERY, Revocations};
use crate::proxy::context::Snapshot;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked whether a store can be closed.
const CLOSE_EVERY: Duration = Duration::from_secs(1);

/// What is looked after.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    stores: Vec<Opened>,
    revocations: Vec<Arc<Revocations>>,
}

impl Kept {
    pub(super) fn of(stores: &[Opened], snapshot: &Snapshot) -> Self {
        let revocations = snapshot.policies.iter().filter_map(|policy| policy.manager.revocations().map(Arc::clone));
        Self { stores: stores.to_vec(), revocations: revocations.collect() }
    }

    fn tasks(self, clock: &Arc<dyn Clock>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for opened in &self.stores {
            let (name, store) = (opened.name().to_owned(), Arc::clone(&opened.store));
            tasks.spawn(sweep::sweep(name, store, Arc::clone(clock), opened.is_shared()));
        }
        for revocations in self.revocations {
            tasks.spawn(learn(revocations, Arc::clone(clock)));
        }
        tasks
    }
}

/// Looks after what is served, for as long as the task lives.
pub(super) async fn upkeep(house: Arc<House>, mut kept: watch::Receiver<Kept>) {
    let mut tick = interval(CLOSE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let tasks = kept.borrow_and_update().clone().tasks(&house.clock);
        loop {
            tokio::select! {
                // The house, which tells it, is held here.
                _ = kept.changed() => break,
                _ = tick.tick() => house.close_unused(),
            }
        }
        drop(tasks); // and with them the old ones end
    }
}

/// Reads what operators have ended. A store that cannot answer is asked again; its requests tell about it.
async fn learn(revocations: Arc<Revocations>, clock: Arc<dyn Clock>) {
    let mut tick = interval(REVOCATIONS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = revocations.learn(clock.now()).await {
            tracing::debug!(%error, "what operators have ended is not known");
        }
    }
}
