//! All orders in which the steps of two tasks can follow each other.
//!
//! A [`Stepping`] store gives way before each of its calls, as a store does that lies behind a network. [`every_order`] runs two tasks on such stores once for each order of their steps.

use async_trait::async_trait;
use cloakroom::clock::Timestamp;
use cloakroom::session::{OwnerKey, StoreKey};
use cloakroom::store::{Entry, Index, Store, StoreError, Version, Written};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A store each of whose calls is a step of its own.
#[derive(Debug)]
pub struct Stepping(pub Arc<dyn Store>);

/// Lets others go first, this many times.
pub async fn give_way(mut times: usize) {
    poll_fn(|context| {
        let Some(left) = times.checked_sub(1) else { return Poll::Ready(()) };
        times = left;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn step<T>(call: impl Future<Output = T>) -> T {
    give_way(1).await;
    call.await
}

#[async_trait]
impl Store for Stepping {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        step(self.0.load(key, now)).await
    }
    async fn peek(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        step(self.0.peek(key, now)).await
    }
    fn recall(&self, key: &StoreKey, now: Timestamp) -> Option<(Entry, Version)> {
        self.0.recall(key, now)
    }
    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        step(self.0.create(key, entry, now)).await
    }
    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        step(self.0.replace(key, entry, expected, now)).await
    }
    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        step(self.0.delete(key)).await
    }
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        step(self.0.sweep(now, limit)).await
    }
    fn index(&self) -> Option<&dyn Index> {
        Some(self)
    }
    fn promise(&self) -> &'static str {
        self.0.promise()
    }
}

#[async_trait]
impl Index for Stepping {
    async fn keys_of(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, StoreError> {
        step(self.0.index().unwrap().keys_of(owner, now)).await
    }
}

/// A task of one run.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs two tasks once for each order of their steps, on what `set_up` makes anew each time, and checks what is left.
/// Says how many orders there were.
pub async fn every_order<S, C: Future<Output = ()>>(
    set_up: impl AsyncFn() -> (S, [Task; 2]),
    check: impl Fn(S, String) -> C,
) -> usize {
    // The choices of the run, each with whether the other one is still to be tried.
    let mut choices: Vec<(usize, bool)> = Vec::new();
    for run in 1.. {
        assert!(run < 100_000, "these tasks have too many orders");
        let (scene, mut tasks) = set_up().await;
        let mut ended = [false; 2];
        let mut at = 0;
        while ended != [true; 2] {
            let free = ended == [false; 2];
            if at == choices.len() {
                choices.push((usize::from(ended[0]), free));
            }
            let (turn, _) = choices[at];
            at += 1;
            let mut context = Context::from_waker(Waker::noop());
            ended[turn] = tasks[turn].as_mut().poll(&mut context).is_ready();
        }
        let order: String = choices.iter().map(|(turn, _)| if *turn == 0 { 'a' } else { 'b' }).collect();
        check(scene, order).await;
        while choices.last().is_some_and(|(_, open)| !open) {
            choices.pop();
        }
        match choices.last_mut() {
            Some(choice) => *choice = (1, false),
            None => return run,
        }
    }
    unreachable!("the orders come to an end")
}
