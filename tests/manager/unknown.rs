//! Writes whose outcome is unknown: the connection broke, or the answer came too late.

use crate::support::{Browser, House, MINUTE, add, cookies, flash, login, nothing, regenerate};
use crate::watched::Fault;
use cloakroom::manager::{CommitError, Committed, Event, SessionError};
use cloakroom::session::{Batch, Scope};
use cloakroom::store::StoreError;
use std::sync::Arc;

const CUTS: [Fault; 4] = [Fault::CutBefore, Fault::CutAfter, Fault::CutAndFirst, Fault::CutAndSecond];

fn logout() -> Batch {
    Batch { destroy: Some(Scope::This), ..nothing() }
}

/// How many writes a batch takes.
async fn writes(house: &House, batch: &Batch) -> usize {
    let mut browser = Browser::visiting(house, &[("n", "0")]).await;
    house.store.calls();
    browser.asks(house, batch.clone()).await;
    let calls = house.store.calls();
    calls.split(' ').filter(|call| ["create", "replace", "delete"].contains(call)).count()
}

pub async fn a_cut_connection_costs_the_visitor_nothing(house: House) {
    let moving = |batch| [regenerate(add("n", 1)), batch];
    let batches = [add("n", 1)].into_iter().chain(moving(Batch { login: login("ada").login, ..add("n", 1) }));
    for batch in batches {
        for others in 0..writes(&house, &batch).await {
            for cut in CUTS {
                let mut browser = Browser::visiting(&house, &[("n", "1")]).await;
                house.store.fail(cut, others);
                browser.asks(&house, batch.clone()).await;
                assert_eq!(browser.asks(&house, add("n", 10)).await, "", "{cut:?} {others} {batch:?}");
                assert_eq!(browser.look(&house).await, "live n=12", "{cut:?} {others} {batch:?}");
            }
        }
    }
}

pub async fn a_session_begins_although_the_connection_was_cut(house: House) {
    for cut in CUTS {
        let mut browser = Browser::default();
        house.store.fail(cut, 0);
        assert_eq!(browser.asks(&house, add("n", 1)).await, "session", "{cut:?}");
        assert_eq!(browser.asks(&house, add("n", 1)).await, "", "{cut:?}");
        assert_eq!(browser.look(&house).await, "live n=2", "{cut:?}");
    }
}

pub async fn a_logout_ends_the_session_although_the_connection_was_cut(house: House) {
    for batch in [logout(), flash("bye", logout()), Batch { invalidate: true, ..nothing() }] {
        for others in 0..writes(&house, &batch).await {
            for cut in CUTS {
                let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
                let copy = browser.clone();
                house.store.fail(cut, others);
                let committed = house.answer(&browser.resolve(&house).await, batch.clone()).await;
                assert_eq!(committed.event, Some(Event::Destroyed), "{cut:?} {others} {batch:?}");
                browser.keep(&committed);
                assert_ne!(browser.look(&house).await, "live a=1", "{cut:?} {others} {batch:?}");
                assert_eq!(copy.look(&house).await, "expired", "{cut:?} {others} {batch:?}");
            }
        }
    }
}

pub async fn the_end_of_the_others_reaches_all_of_them_although_the_connection_was_cut(house: House) {
    for cut in [Fault::CutBefore, Fault::CutAfter] {
        for others in 0..2 {
            let mut browsers = [Browser::default(), Browser::default(), Browser::default()];
            for browser in &mut browsers {
                browser.asks(&house, login("ada")).await;
            }
            house.store.fail(cut, others);
            browsers[0].asks(&house, Batch { destroy: Some(Scope::Others), ..nothing() }).await;
            let [own, one, two] = &browsers;
            assert_eq!(own.look(&house).await, "live ", "{cut:?} {others}");
            assert_eq!((one.look(&house).await, two.look(&house).await), ("expired".into(), "expired".into()));
        }
    }
}

/// An answer of one process fails and waits, and meanwhile another process answers on the same session.
async fn overtaken(house: House, fault: Fault, other: Batch) -> (Result<Committed, CommitError>, String) {
    let house = Arc::new(house);
    let mut browser = Browser::visiting(&house, &[("n", "0")]).await;
    let session = browser.resolve(&house).await;
    house.store.fail(fault, 0);
    let mut held = house.store.hold("replace");
    let slow = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.try_answer(&session, add("n", 1)).await }
    });
    held.reached().await;
    browser.asks(&house.with_keys(&[1]), other).await;
    held.go();
    (slow.await.unwrap(), browser.look(&house).await)
}

pub async fn a_cut_write_that_was_overtaken_is_made_on_what_is_there_now(house: House) {
    let (answer, look) = overtaken(house, Fault::CutBefore, add("n", 10)).await;
    assert!(answer.is_ok());
    assert_eq!(look, "live n=11");
}

pub async fn a_late_write_that_cannot_take_place_any_more_is_made_on_what_is_there_now(house: House) {
    let (answer, look) = overtaken(house, Fault::Lost, add("n", 10)).await;
    assert!(answer.is_ok());
    assert_eq!(look, "live n=11");
}

pub async fn a_write_that_may_lie_under_another_is_neither_made_again_nor_acknowledged(house: House) {
    for fault in [Fault::CutAfter, Fault::Late] {
        let house = house.with_keys(&[1]);
        let (answer, look) = overtaken(house, fault, add("n", 10)).await;
        let error = answer.unwrap_err();
        assert!(matches!(error, CommitError::Session(SessionError::Store(_))), "{error}");
        assert_eq!(look, "live n=11", "{fault:?}");
    }
}

pub async fn a_cut_write_on_a_session_that_ended_meanwhile_revives_nothing(house: House) {
    let (answer, look) = overtaken(house, Fault::CutBefore, logout()).await;
    assert_eq!(cookies(&answer.unwrap()), "");
    assert_eq!(look, "none");
}

pub async fn a_write_answered_too_late_took_place_once(house: House) {
    let mut browser = Browser::default();
    house.store.fail(Fault::Late, 0);
    assert_eq!(browser.asks(&house, add("n", 1)).await, "session");
    house.store.fail(Fault::Late, 0);
    assert_eq!(browser.asks(&house, add("n", 1)).await, "");
    assert_eq!(browser.look(&house).await, "live n=2");
    for (others, moving) in [(0, regenerate(add("n", 1))), (1, regenerate(add("n", 1))), (1, login("ada"))] {
        house.store.fail(Fault::Late, others);
        assert_eq!(browser.asks(&house, moving).await, "session");
    }
    assert_eq!(browser.look(&house).await, "live n=4");
    let copy = browser.clone();
    house.store.fail(Fault::Late, 0);
    assert_eq!(browser.asks(&house, logout()).await, "-session");
    assert_eq!(copy.look(&house).await, "expired");
}

pub async fn a_write_of_unknown_outcome_is_an_error_if_anything_was_asked(house: House) {
    // After a time-out nothing is made again: the visitor has waited once
    let browser = Browser::visiting(&house, &[("n", "1")]).await;
    let session = browser.resolve(&house).await;
    house.store.fail(Fault::Lost, 0);
    house.store.calls();
    let error = house.try_answer(&session, add("n", 1)).await.unwrap_err();
    assert!(matches!(error, CommitError::Session(SessionError::Store(StoreError::TimedOut { .. }))), "{error}");
    assert_eq!(house.store.calls(), "replace load");
    assert_eq!(browser.look(&house).await, "live n=1");

    house.wait(MINUTE);
    let session = browser.resolve(&house).await;
    house.store.fail(Fault::Lost, 0);
    house.answer(&session, nothing()).await;
    assert_eq!(browser.look(&house).await, "live n=1");
}

pub async fn use_is_written_down_although_the_connection_was_cut(house: House) {
    for cut in CUTS {
        let browser = Browser::visiting(&house, &[("a", "1")]).await;
        house.wait(20 * MINUTE);
        let session = browser.resolve(&house).await;
        house.store.fail(cut, 0);
        assert_eq!(house.answer(&session, nothing()).await.event, Some(Event::Touched), "{cut:?}");
        house.wait(25 * MINUTE);
        assert_eq!(browser.look(&house).await, "live a=1", "{cut:?}");
    }
}

pub async fn no_login_under_way_survives_the_end_of_all(house: House) {
    // SL8: a session that is written after the others were listed
    let house = Arc::new(house);
    let (mut old, mut late) = (Browser::default(), Browser::default());
    old.asks(&house, login("ada")).await;
    Browser::default().asks(&house, login("ada")).await;
    let session = old.resolve(&house).await;
    let mut held = house.store.hold("delete");
    let ending = tokio::spawn({
        let house = Arc::clone(&house);
        let all = Batch { destroy: Some(Scope::Others), ..nothing() };
        async move { house.answer(&session, all).await }
    });
    held.reached().await;
    late.asks(&house, login("ada")).await;
    assert_eq!(late.look(&house).await, "live ");
    held.go();
    ending.await.unwrap();
    assert_eq!((old.look(&house).await, late.look(&house).await), ("live ".into(), "expired".into()));
}
