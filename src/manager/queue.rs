//! The requests of this process that want a session for themselves: one has its turn, the others wait in a line.

use crate::session::Lineage;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// The lines of one policy; one that nobody is in does not exist.
#[derive(Clone, Debug, Default)]
pub(super) struct Queues(Arc<Mutex<HashMap<Lineage, Queue>>>);

#[derive(Debug, Default)]
struct Queue {
    /// Whose turn it is; fair, in the order of arrival.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Requests that have a place, also at the head.
    places: usize,
    /// Those of them that wait.
    waiting: usize,
}

/// A place in a line; left on drop, and with it the next has its turn.
#[derive(Debug)]
pub(super) struct Place {
    queues: Queues,
    session: Lineage,
    turn: Option<OwnedMutexGuard<()>>,
    is_waiting: bool,
}

impl Queues {
    /// A place at the end of the line for a session. A changed id makes no other line: the lineage stays.
    pub(super) fn join(&self, session: Lineage) -> Place {
        self.0.lock().entry(session).or_default().places += 1;
        Place { queues: self.clone(), session, turn: None, is_waiting: false }
    }

    /// How many lines there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Place {
    /// Whether it is this one's turn at once.
    pub(super) fn is_first(&mut self) -> bool {
        let turn = self.queues.0.lock().get(&self.session).map(|queue| Arc::clone(&queue.turn));
        self.turn = turn.and_then(|turn| turn.try_lock_owned().ok());
        self.turn.is_some()
    }

    /// Comes when it is this one's turn.
    pub(super) async fn turn(&mut self) {
        let turn = self.queues.0.lock().get(&self.session).map(|queue| Arc::clone(&queue.turn));
        if let Some(turn) = turn {
            self.turn = Some(turn.lock_owned().await);
        }
    }

    /// Counts this one among those who wait; `false` when there are `most` already.
    pub(super) fn may_wait(&mut self, most: usize) -> bool {
        let mut queues = self.queues.0.lock();
        match queues.get_mut(&self.session) {
            Some(queue) if !self.is_waiting && queue.waiting < most => {
                queue.waiting += 1;
                self.is_waiting = true;
            }
            _ => {}
        }
        self.is_waiting
    }

    /// Waits no more.
    pub(super) fn is_served(&mut self) {
        if std::mem::take(&mut self.is_waiting)
            && let Some(queue) = self.queues.0.lock().get_mut(&self.session)
        {
            queue.waiting -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.is_served();
        self.turn = None;
        let mut queues = self.queues.0.lock();
        if let Some(queue) = queues.get_mut(&self.session) {
            queue.places -= 1;
            if queue.places == 0 {
                queues.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Lineage = Lineage::from_bytes([1; 12]);
    const EVE: Lineage = Lineage::from_bytes([2; 12]);

    #[tokio::test]
    async fn one_has_its_turn_and_the_next_comes_when_it_leaves() {
        let queues = Queues::default();
        let (mut first, mut second, mut other) = (queues.join(ADA), queues.join(ADA), queues.join(EVE));
        assert!(first.is_first() && !second.is_first() && other.is_first());
        drop(first);
        second.turn().await;
        assert!(!queues.join(ADA).is_first());
        drop((second, other));
        assert_eq!(queues.len(), 0, "an empty line is forgotten");
    }

    #[test]
    fn no_more_wait_than_may() {
        let queues = Queues::default();
        let mut places: Vec<_> = (0..4).map(|_| queues.join(ADA)).collect();
        assert!(places[0].is_first());
        assert!(places[1].may_wait(2) && places[1].may_wait(2), "counted once");
        assert!(places[2].may_wait(2) && !places[3].may_wait(2));
        places[1].is_served();
        assert!(places[3].may_wait(2));
        drop(places.remove(2));
        assert!(queues.join(ADA).may_wait(2));
        assert!(!queues.join(EVE).may_wait(0));
    }
}
