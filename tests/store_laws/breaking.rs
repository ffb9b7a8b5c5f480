//! A store that fails again and again is left alone, and found again when it is back.

use crate::near::Far;
use crate::support::{Fixture, NOW, create, entry, key};
use bytes::Bytes;
use cloakroom::store::guarded::Guarded;
use cloakroom::store::{Entry, Store as _, StoreError};
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls until an answer is of the kind that is waited for.
async fn until(store: &Guarded, mut is_right: impl FnMut(Result<(), StoreError>) -> bool) {
    let begun = Instant::now();
    while !is_right(store.load(&key(1), NOW).await.map(drop)) {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not happen");
        tokio::task::yield_now().await;
    }
}

// ST4
#[tokio::test]
async fn a_dead_store_is_left_alone_and_found_again_when_it_is_back() {
    let far = Arc::new(Far::new(Fixture::memory().store()));
    create(&*far, &key(1), entry("one")).await;
    let store = Guarded::new(Arc::clone(&far) as _, "far", Duration::from_secs(20));
    far.mute(true);
    until(&store, |answer| {
        let Err(StoreError::Unavailable { store: "far", source }) = answer else { return false };
        source.to_string().starts_with("not asked: it failed ")
    })
    .await;

    let (asked, begun, mut calls) = (far.loads(), Instant::now(), 0);
    while begun.elapsed() < Duration::from_millis(300) {
        assert!(store.load(&key(1), NOW).await.is_err());
        calls += 1;
    }
    assert!(far.loads() - asked < 6, "{} of {calls} calls arrived", far.loads() - asked);
    assert!(calls > 100, "only {calls} calls were made: they are not refused at once");

    far.mute(false);
    until(&store, |answer| answer.is_ok()).await;
    let asked = far.loads();
    for n in 1..10 {
        assert!(store.load(&key(1), NOW).await.is_ok());
        assert_eq!(far.loads(), asked + n);
    }
}

#[tokio::test]
async fn a_store_that_refuses_what_is_too_large_is_not_dead() {
    let store = Guarded::new(Fixture::memory().store(), "near", Duration::from_secs(20));
    let giant = Entry { bytes: Bytes::from(vec![0; 9 << 20]), ..entry("") };
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(800) {
        let refused = store.create(&key(1), giant.clone(), NOW).await.unwrap_err();
        assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}: {:?}", refused.source());
    }
}
