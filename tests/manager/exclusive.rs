//! `lock = "exclusive"`: one request at a time for each session; two houses are two processes on one store.

use crate::support::{Browser, House, SECOND, add, login, nothing, regenerate, set, shown};
use cloakroom::manager::{CommitError, LockError, LockOptions, OnRefused, Session};
use cloakroom::session::{Batch, Refusal, Scope, View};
use std::sync::Arc;
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(60);

/// Longer than anything takes here: whoever waits so long, waits for somebody who has to come.
const LONG: Duration = Duration::from_secs(60);

/// What is waited for in vain.
const SHORT: Duration = Duration::from_millis(50);

fn locking(house: &House, wait: Duration, waiters: usize) -> House {
    house.with_options(|options| options.lock = Some(LockOptions { wait, waiters, lease: LEASE }))
}

/// A request that has the session to itself.
async fn locked(house: &House, browser: &Browser) -> Session {
    let mut session = browser.resolve(house).await;
    house.lock(&mut session).await.unwrap();
    session
}

async fn is_busy(house: &House, browser: &Browser) -> bool {
    let mut session = browser.resolve(house).await;
    matches!(house.lock(&mut session).await, Err(LockError::TimedOut(_) | LockError::Crowded))
}

fn revision(session: &Session) -> u64 {
    View::parse(&session.snapshot().unwrap().bytes).unwrap().head.revision
}

pub async fn a_session_is_one_requests_alone_in_every_process(house: House) {
    // S14
    let browser = Browser::visiting(&house, &[("n", "0")]).await;
    let here = locking(&house, SHORT, 16);
    let there = locking(&house, SHORT, 16);
    let mut session = locked(&here, &browser).await;
    assert!(is_busy(&here, &browser).await && is_busy(&there, &browser).await);
    here.answer(&session, set(&[("n", "1")])).await;
    session.let_go();
    assert_eq!(shown(&locked(&there, &browser).await), "live n=1", "the newest record");
}

pub async fn what_an_answer_writes_ends_its_lock(house: House) {
    let browser = Browser::visiting(&house, &[("n", "0")]).await;
    let house = locking(&house, SHORT, 16);
    house.store.calls();
    let session = locked(&house, &browser).await;
    house.answer(&session, set(&[("n", "1")])).await;
    assert_eq!(house.store.calls(), "load replace replace", "one write more than without a lock");
    drop(session);
    let mut next = locked(&house, &browser).await;
    house.store.calls();
    house.answer(&next, nothing()).await;
    house.unlock(&mut next).await;
    assert_eq!(house.store.calls(), "replace", "who writes nothing gives it back");
    assert!(!is_busy(&house, &browser).await);
}

pub async fn a_lock_is_no_change_of_the_session(house: House) {
    let browser = Browser::visiting(&house, &[("n", "0")]).await;
    let house = locking(&house, SHORT, 16);
    let mut session = locked(&house, &browser).await;
    assert_eq!(revision(&session), 1);
    house.unlock(&mut session).await;
    assert_eq!(revision(&browser.resolve(&house).await), 1);
}

pub async fn the_lock_of_a_process_that_died_ends_by_its_clock(house: House) {
    let browser = Browser::visiting(&house, &[("n", "0")]).await;
    let (dead, alive) = (locking(&house, SHORT, 16), locking(&house, SHORT, 16));
    drop(locked(&dead, &browser).await); // nothing is given back
    assert!(is_busy(&alive, &browser).await);
    house.wait(LEASE);
    assert!(is_busy(&alive, &browser).await, "it holds at the very moment");
    house.wait(SECOND);
    assert_eq!(shown(&locked(&alive, &browser).await), "live n=0");
}

pub async fn an_answer_whose_lock_has_passed_to_another_writes_nothing(house: House) {
    let browser = Browser::visiting(&house, &[("n", "0")]).await;
    for on_refused in [OnRefused::Error, OnRefused::Deliver] {
        let house = house.with_options(|options| options.on_refused = on_refused);
        let (slow, quick) = (locking(&house, SHORT, 16), locking(&house, SHORT, 16));
        let late = locked(&slow, &browser).await;
        house.wait(LEASE + SECOND);
        let mut session = locked(&quick, &browser).await;
        for batch in [add("n", 100), login("eve"), Batch { destroy: Some(Scope::This), ..nothing() }] {
            let refused = slow.try_answer(&late, batch).await;
            assert!(
                matches!(&refused, Err(CommitError::Refused(refused)) if refused.reason == Refusal::Lock),
                "{refused:?}"
            );
        }
        quick.answer(&session, add("n", 1)).await;
        session.let_go();
        // Nor when the other one is done.
        assert!(slow.try_answer(&late, add("n", 100)).await.is_err());
        assert!(slow.try_answer(&late, nothing()).await.is_ok(), "who asks for nothing does no harm");
    }
    assert_eq!(browser.look(&house).await, "live n=2");
}

pub async fn a_lease_that_nobody_took_is_still_its_holders(house: House) {
    let browser = Browser::visiting(&house, &[("n", "0")]).await;
    let house = locking(&house, SHORT, 16);
    let late = locked(&house, &browser).await;
    house.wait(LEASE + SECOND);
    house.answer(&late, add("n", 1)).await;
    assert_eq!(browser.look(&house).await, "live n=1");
}

pub async fn what_others_write_on_routes_without_a_lock_leaves_it_in_place(house: House) {
    let browser = Browser::visiting(&house, &[("n", "0")]).await;
    let locking = locking(&house, SHORT, 16);
    let mut session = locked(&locking, &browser).await;
    let free = browser.resolve(&house).await;
    house.answer(&free, add("n", 1)).await;
    assert!(is_busy(&locking, &browser).await);
    locking.answer(&session, add("n", 1)).await;
    session.let_go();
    assert!(!is_busy(&locking, &browser).await);
    assert_eq!(browser.look(&house).await, "live n=2");
}

pub async fn who_waits_follows_the_session_to_its_new_id_or_its_end(house: House) {
    let house = Arc::new(locking(&house, LONG, 16));
    let ends = [
        (regenerate(set(&[("n", "1")])), "live n=1"),
        (login("ada"), "expired"),
        (Batch { destroy: Some(Scope::This), ..nothing() }, "expired"),
        (Batch { invalidate: true, ..set(&[("m", "1")]) }, "expired"),
    ];
    for (batch, expected) in ends {
        let browser = Arc::new(Browser::visiting(&house, &[("n", "0")]).await);
        let mut session = locked(&house, &browser).await;
        let mut waiting = browser.resolve(&house).await;
        let waiter = tokio::spawn({
            let house = Arc::clone(&house);
            async move {
                house.lock(&mut waiting).await.unwrap();
                shown(&waiting)
            }
        });
        house.answer(&session, batch).await;
        session.let_go();
        assert_eq!(waiter.await.unwrap(), expected);
    }
}

pub async fn no_more_wait_than_may(house: House) {
    let browser = Browser::visiting(&house, &[("n", "0")]).await;
    let patient = Arc::new(locking(&house, LONG, 1));
    let mut session = locked(&patient, &browser).await;
    let mut waiting = browser.resolve(&patient).await;
    let waiter = tokio::spawn({
        let patient = Arc::clone(&patient);
        async move { patient.lock(&mut waiting).await.is_ok() }
    });
    // Either this one waits or the other one; somebody is turned away at once.
    let mut third = browser.resolve(&patient).await;
    tokio::select! {
        turned_away = patient.lock(&mut third) => assert!(matches!(turned_away, Err(LockError::Crowded))),
        is_served = waiter => assert!(!is_served.unwrap()),
    }
    patient.unlock(&mut session).await;
}

pub async fn in_one_process_the_next_comes_when_the_one_before_leaves(house: House) {
    let browser = Arc::new(Browser::visiting(&house, &[("n", "0")]).await);
    let house = Arc::new(locking(&house, LONG, 100));
    let requests = (0..50).map(|_| {
        let (house, browser) = (Arc::clone(&house), Arc::clone(&browser));
        tokio::spawn(async move {
            let mut session = locked(&house, &browser).await;
            let before: u64 = shown(&session).trim_start_matches("live n=").parse().unwrap();
            house.answer(&session, set(&[("n", &(before + 1).to_string())])).await;
            session.let_go();
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
    assert_eq!(browser.look(&house).await, "live n=50");
}

pub async fn who_has_no_session_locks_nothing(house: House) {
    let house = locking(&house, SHORT, 0);
    house.store.calls();
    for browser in [Browser::default(), Browser::with("session", "forged")] {
        let mut session = browser.resolve(&house).await;
        house.lock(&mut session).await.unwrap();
        assert!(!session.is_locked());
    }
    assert_eq!(house.store.calls(), "");
}
