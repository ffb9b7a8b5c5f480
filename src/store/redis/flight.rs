//! Work that many wait for and one does.

use parking_lot::Mutex;
use tokio::sync::watch;

/// Starts a piece of work unless it is under way; all wait for the same end.
///
/// The work runs in a task of its own, so that it goes on when the request that started it is dropped; when its runtime
/// ends, those who wait see that it has ended, and start it again on theirs.
#[derive(Debug, Default)]
pub(super) struct Flight(Mutex<Option<watch::Receiver<()>>>);

impl Flight {
    /// Begins the work that `work` makes, unless it is under way, and says when it has ended.
    pub(super) fn join<F>(&self, work: impl FnOnce() -> F) -> Landing
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut current = self.0.lock();
        if let Some(landing) = current.as_ref().filter(|landing| landing.has_changed().is_ok()) {
            return Landing(landing.clone());
        }
        let (under_way, landing) = watch::channel(());
        let work = work();
        tokio::spawn(async move {
            // Closed when the task ends, however it ends.
            let _under_way = under_way;
            work.await;
        });
        *current = Some(landing.clone());
        Landing(landing)
    }
}

/// The end of some work.
pub(super) struct Landing(watch::Receiver<()>);

impl Landing {
    pub(super) async fn wait(mut self) {
        // Nothing is ever sent: the only news is that the other side is gone.
        let _ = self.0.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn one_does_it_and_all_wait() {
        let (flight, go, done) = (Flight::default(), Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let (go, done) = (Arc::clone(&go), Arc::clone(&done));
            async move {
                go.notified().await;
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        let (first, second) = (flight.join(work), flight.join(work));
        go.notify_one();
        first.wait().await;
        second.wait().await;
        assert_eq!(done.load(Ordering::SeqCst), 1);
        go.notify_one();
        flight.join(work).wait().await;
        assert_eq!(done.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn work_whose_runtime_ended_is_begun_anew() {
        let flight = Flight::default();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let first = runtime();
        let stuck = first.block_on(async { flight.join(std::future::pending) });
        drop(first);
        runtime().block_on(async {
            stuck.wait().await;
            flight.join(|| std::future::ready(())).wait().await;
        });
    }
}
