//! A time limit and a breaker around a store that may wait: no request hangs because a disk or a network does, and one
//! that is dead is not asked again by every request.

use super::breaker::Breaker;
use super::{Entry, Index, Scan, Store, StoreError, Version, Written};
use crate::clock::Timestamp;
use crate::session::{OwnerKey, StoreKey};
use async_trait::async_trait;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Passes every call on and gives up on it after the limit, with [`StoreError::TimedOut`].
///
/// A write that was given up may still take place. The limit works where the inner store waits, not where it computes;
/// a store in memory needs no guard.
///
/// After several failures in a row, and half a second without success, calls fail at once with
/// [`StoreError::Unavailable`] for a pause; then one call tries. The pause grows from 100 ms to five seconds, and ends
/// with the first success.
#[derive(Debug)]
pub struct Guarded {
    inner: Arc<dyn Store>,
    store: &'static str,
    limit: Duration,
    /// Whether each single wait of the inner store ends by itself within the limit.
    ends_waits: bool,
    breaker: Breaker,
}

impl Guarded {
    /// Gives each call to `inner` at most `limit`; `store` is its name in errors.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, store: &'static str, limit: Duration) -> Self {
        Self { inner, store, limit, ends_waits: false, breaker: Breaker::new(store) }
    }

    /// The same around a client whose callers set a timer of their own for each wait, none longer than `limit`.
    ///
    /// Nearly every call waits once, for one answer. A second timer for that wait would say nothing new, and costs every
    /// call as much as a tenth of its work; so the limit is watched from the end of the first wait on.
    #[must_use]
    pub fn around_client(inner: Arc<dyn Store>, store: &'static str, limit: Duration) -> Self {
        Self { ends_waits: true, ..Self::new(inner, store, limit) }
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let refused = |source| StoreError::Unavailable { store: self.store, source: Box::new(source) };
        let leave = self.breaker.admit().map_err(refused)?;
        let in_time = self.within_limit(call).await;
        let answer = in_time.unwrap_or(Err(StoreError::TimedOut { store: self.store, limit: self.limit }));
        match &answer {
            Ok(_) | Err(StoreError::Full { .. } | StoreError::TooLarge { .. }) => leave.succeeded(),
            Err(StoreError::Unavailable { .. } | StoreError::Lost { .. } | StoreError::TimedOut { .. }) => {
                leave.failed();
            }
        }
        answer
    }

    async fn within_limit<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        if !self.ends_waits {
            return timeout(self.limit, call).await.ok();
        }
        let (mut call, mut has_waited) = (pin!(call), false);
        let until = Instant::now() + self.limit;
        let first_wait = poll_fn(|context| match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if has_waited => Poll::Ready(None),
            Poll::Pending => {
                has_waited = true;
                Poll::Pending
            }
        });
        match first_wait.await {
            Some(answer) => Some(answer),
            None => timeout_at(until, call).await.ok(),
        }
    }
}

#[async_trait]
impl Store for Guarded {
    async fn load(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        self.in_time(self.inner.load(key, now)).await
    }

    async fn peek(&self, key: &StoreKey, now: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
        self.in_time(self.inner.peek(key, now)).await
    }

    fn recall(&self, key: &StoreKey, now: Timestamp) -> Option<(Entry, Version)> {
        self.inner.recall(key, now)
    }

    async fn create(&self, key: &StoreKey, entry: Entry, now: Timestamp) -> Result<Written, StoreError> {
        self.in_time(self.inner.create(key, entry, now)).await
    }

    async fn replace(
        &self,
        key: &StoreKey,
        entry: Entry,
        expected: Version,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        self.in_time(self.inner.replace(key, entry, expected, now)).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.in_time(self.inner.delete(key)).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.in_time(self.inner.sweep(now, limit)).await
    }

    fn index(&self) -> Option<&dyn Index> {
        self.inner.index().map(|_| self as &dyn Index)
    }

    /// Nobody waits for a walk, so it is not limited.
    fn scan(&self) -> Option<&dyn Scan> {
        self.inner.scan()
    }

    fn promise(&self) -> &'static str {
        self.inner.promise()
    }
}

#[async_trait]
impl Index for Guarded {
    async fn keys_of(&self, owner: &OwnerKey, now: Timestamp) -> Result<Vec<StoreKey>, StoreError> {
        // Handed out only where the inner store has an index: `None` would mean that it lost it since.
        let Some(index) = self.inner.index() else { return Ok(Vec::new()) };
        self.in_time(index.keys_of(owner, now)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::future::pending;

    /// A disk that hangs.
    #[derive(Debug)]
    enum Hanging {
        /// In one wait that never ends.
        Once,
        /// In waits that all end, but for the last.
        AgainAndAgain,
    }

    impl Hanging {
        async fn hang<T>(&self) -> T {
            match self {
                Self::Once => pending().await,
                Self::AgainAndAgain => loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                },
            }
        }
    }

    #[async_trait]
    impl Store for Hanging {
        async fn load(&self, _: &StoreKey, _: Timestamp) -> Result<Option<(Entry, Version)>, StoreError> {
            self.hang().await
        }
        async fn create(&self, _: &StoreKey, _: Entry, _: Timestamp) -> Result<Written, StoreError> {
            self.hang().await
        }
        async fn replace(&self, _: &StoreKey, _: Entry, _: Version, _: Timestamp) -> Result<Written, StoreError> {
            self.hang().await
        }
        async fn delete(&self, _: &StoreKey) -> Result<(), StoreError> {
            self.hang().await
        }
        async fn sweep(&self, _: Timestamp, _: usize) -> Result<usize, StoreError> {
            self.hang().await
        }
        fn index(&self) -> Option<&dyn Index> {
            Some(self)
        }
        fn promise(&self) -> &'static str {
            "nothing"
        }
    }

    #[async_trait]
    impl Index for Hanging {
        async fn keys_of(&self, _: &OwnerKey, _: Timestamp) -> Result<Vec<StoreKey>, StoreError> {
            self.hang().await
        }
    }

    const LIMIT: Duration = Duration::from_millis(5);

    fn check<T>(answer: Result<T, StoreError>) {
        let error = answer.err().expect("a store that hangs has no answer");
        assert_eq!(error.to_string(), "disk store did not answer within 5ms");
    }

    /// Each call has a guard of its own, which has not seen the others fail.
    async fn check_all(store: impl Fn() -> Guarded) {
        let (key, now) = (StoreKey::from_bytes([1; 32]), Timestamp::from_millis(1));
        let entry = Entry { bytes: Bytes::new(), deadline: now, owner: None };
        check(store().load(&key, now).await);
        check(store().peek(&key, now).await);
        check(store().create(&key, entry.clone(), now).await);
        check(store().replace(&key, entry, Version(1), now).await);
        check(store().delete(&key).await);
        check(store().sweep(now, 1).await);
        let owner = OwnerKey::new("main", "ann");
        check(store().index().expect("the inner store has one").keys_of(&owner, now).await);
    }

    #[tokio::test]
    async fn no_call_waits_longer_than_its_limit() {
        // ST4
        check_all(|| Guarded::new(Arc::new(Hanging::Once), "disk", LIMIT)).await;
        check_all(|| Guarded::new(Arc::new(Hanging::AgainAndAgain), "disk", LIMIT)).await;
    }

    #[tokio::test]
    async fn a_call_that_goes_on_after_its_first_wait_has_no_more_time_for_that() {
        let begun = Instant::now();
        check_all(|| Guarded::around_client(Arc::new(Hanging::AgainAndAgain), "disk", LIMIT)).await;
        assert!(begun.elapsed() >= LIMIT * 7, "seven calls, and each had its time");
    }
}
