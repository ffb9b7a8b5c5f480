//! Sessions that the browser keeps, and a store that remembers which of them have ended.

use crate::support::{Browser, House, INSTANT, MINUTE, add, cookies, flash, login, nothing, regenerate, set};
use crate::watched::Fault;
use cloakroom::manager::CommitError;
use cloakroom::session::{Batch, OwnerKey, Scope};
use std::sync::Arc;

fn end(scope: Scope) -> Batch {
    Batch { destroy: Some(scope), ..nothing() }
}

async fn visitor(house: &House, owner: &str) -> Browser {
    let mut browser = Browser::default();
    browser.asks(house, Batch { login: login(owner).login, ..set(&[("of", owner)]) }).await;
    browser
}

pub async fn no_copy_of_the_cookie_of_a_session_that_ended_works(house: House) {
    // SL6, SL7
    let ends =
        [end(Scope::This), flash("bye", end(Scope::This)), Batch { invalidate: true, ..nothing() }, login("eve")];
    for ending in ends {
        let mut browser = visitor(&house, "ada").await;
        let older = browser.clone();
        browser.asks(&house, set(&[("a", "1")])).await;
        browser.asks(&house, regenerate(nothing())).await;
        let mut copy = browser.clone();
        browser.asks(&house, ending.clone()).await;
        assert_eq!(older.look(&house).await, "expired", "{ending:?}");
        assert_eq!(copy.look(&house).await, "expired", "{ending:?}");
        assert!(!browser.look(&house).await.contains("of=ada"), "{ending:?}");
        assert_eq!(copy.asks(&house, nothing()).await, "-session");
        house.wait(59 * MINUTE);
        assert_ne!(older.look(&house).await, "live of=ada");
    }
}

pub async fn reading_asks_the_store_and_writes_nothing(house: House) {
    let mut browser = Browser::default();
    assert_eq!(browser.asks(&house, set(&[("a", "1")])).await, "session");
    assert_eq!(house.store.calls(), "");
    assert_eq!(browser.asks(&house, nothing()).await, "");
    assert_eq!(house.store.calls(), "load");
    browser.asks(&house, set(&[("b", "2")])).await;
    assert_eq!(house.store.calls(), "load load");
    assert_eq!(browser.look(&house).await, "live a=1&b=2");
}

pub async fn an_owner_ends_the_others_or_all(house: House) {
    // SL8
    for (scope, own) in [(Scope::Others, "live of=ada"), (Scope::All, "none")] {
        let mut browsers = [visitor(&house, "ada").await, visitor(&house, "ada").await, visitor(&house, "eve").await];
        let copy = browsers[0].clone();
        house.wait(MINUTE);
        browsers[0].asks(&house, end(scope)).await;
        assert_eq!(browsers[0].look(&house).await, own);
        assert_eq!(browsers[1].look(&house).await, "expired");
        assert_eq!(browsers[2].look(&house).await, "live of=eve");
        assert_eq!(copy.look(&house).await, own.replace("none", "expired"));
        assert_eq!(visitor(&house, "ada").await.look(&house).await, "live of=ada");
        house.wait(INSTANT);
        assert_eq!(visitor(&house, "ada").await.look(&house).await, "live of=ada");
    }
}

pub async fn whoever_ends_the_others_last_is_the_one_who_is_left(house: House) {
    let mut browsers = [visitor(&house, "ada").await, visitor(&house, "ada").await];
    let late = browsers[1].resolve(&house).await;
    browsers[0].asks(&house, end(Scope::Others)).await;
    assert_eq!(cookies(&house.answer(&late, end(Scope::Others)).await), "");
    assert_eq!(browsers[0].look(&house).await, "live of=ada");
    house.wait(INSTANT);
    browsers[1] = visitor(&house, "ada").await;
    house.wait(INSTANT);
    browsers[1].asks(&house, Batch { destroy: Some(Scope::Others), ..login("ada") }).await;
    assert_eq!(
        (browsers[0].look(&house).await, browsers[1].look(&house).await),
        ("expired".into(), "live of=ada".into())
    );
}

pub async fn of_two_that_end_each_other_at_once_neither_is_left(house: House) {
    // Whose session was ended by the other one's answer keeps nothing by an answer that was under way
    let house = Arc::new(house);
    let [mut late, mut quick] = [visitor(&house, "ada").await, visitor(&house, "ada").await];
    let session = late.resolve(&house).await;
    let mut held = house.store.hold("create");
    let ending = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.answer(&session, end(Scope::Others)).await }
    });
    held.reached().await;
    quick.asks(&house, end(Scope::Others)).await;
    held.go();
    late.keep(&ending.await.unwrap());
    assert_eq!((late.look(&house).await, quick.look(&house).await), ("expired".into(), "expired".into()));
}

pub async fn a_late_answer_hands_out_no_cookie_of_a_session_that_ended(house: House) {
    // S13
    let ends = [end(Scope::This), end(Scope::All)];
    let late = [set(&[("a", "1")]), regenerate(nothing()), add("n", 1), end(Scope::This), end(Scope::All), nothing()];
    for (ending, late) in ends.iter().flat_map(|end| late.clone().map(|late| (end, late))) {
        let mut browser = visitor(&house, "ada").await;
        let copy = browser.clone();
        let before = copy.resolve(&house).await;
        house.wait(2 * MINUTE);
        browser.asks(&house, ending.clone()).await;
        assert_eq!(cookies(&house.answer(&before, late.clone()).await), "", "{late:?}");
        assert_eq!(copy.look(&house).await, "expired", "{late:?}");
    }
}

pub async fn a_late_login_begins_a_session_of_its_own(house: House) {
    // S13
    for ending in [end(Scope::This), end(Scope::All)] {
        let mut browser = visitor(&house, "ada").await;
        let before = browser.resolve(&house).await;
        browser.asks(&house, ending).await;
        let late = house.answer(&before, Batch { login: login("ada").login, ..set(&[("b", "2")]) }).await;
        assert_eq!(browser.keep(&late), "session");
        assert_eq!(browser.look(&house).await, "live b=2");
    }
}

pub async fn a_store_that_cannot_answer_neither_ends_nor_admits_a_session(house: House) {
    // LG5
    let mut browser = visitor(&house, "ada").await;
    let copy = browser.clone();
    for batch in [end(Scope::This), end(Scope::Others), Batch { invalidate: true, ..nothing() }] {
        let session = browser.resolve(&house).await;
        house.store.fail(Fault::Lost, 0);
        let error = house.try_answer(&session, batch).await.unwrap_err();
        assert!(matches!(error, CommitError::Session(_)), "{error}");
    }
    house.store.refuse_reading(true);
    assert!(browser.try_resolve(&house).await.is_err());
    house.store.refuse_reading(false);
    assert_eq!(browser.look(&house).await, "live of=ada");
    for cut in [Fault::CutBefore, Fault::CutAfter] {
        house.store.fail(cut, 0);
        browser.asks(&house, end(Scope::Others)).await;
        assert_eq!(browser.look(&house).await, "live of=ada");
    }
    house.store.fail(Fault::CutAfter, 0);
    assert_eq!(browser.asks(&house, end(Scope::This)).await, "-session");
    assert_eq!(copy.look(&house).await, "expired");
}

pub async fn a_note_that_cannot_be_read_ends_what_it_may_have_meant_and_no_later_login(house: House) {
    // ST5
    let mut browser = visitor(&house, "ada").await;
    browser.asks(&house, end(Scope::Others)).await;
    let note = OwnerKey::new("main", "ada").ended_key();
    for bytes in [&b""[..], b"\x80\x04\x95 a pickle"] {
        house.store.overwrite(&note, bytes, house.now()).await;
        assert_eq!(browser.look(&house).await, "expired");
        let next = visitor(&house, "ada").await;
        assert_eq!(next.look(&house).await, "live of=ada");
        browser = next;
    }
}

pub async fn a_login_on_a_machine_whose_clock_is_behind_counts(house: House) {
    let mut browser = visitor(&house, "ada").await;
    browser.asks(&house, end(Scope::All)).await;
    house.step_back(30 * INSTANT);
    assert_eq!(visitor(&house, "ada").await.look(&house).await, "live of=ada");
}

pub async fn a_session_outlives_no_note(house: House) {
    // SL7: the note is there for as long as the longest session may last, whichever of its cookies comes
    let house = house.with_options(|options| options.expiry.idle = 60 * MINUTE);
    let mut browser = visitor(&house, "ada").await;
    let before = browser.resolve(&house).await;
    house.wait(59 * MINUTE);
    let mut again = browser.clone();
    again.keep(&house.answer(&before, login("ada")).await);
    browser.asks(&house, end(Scope::This)).await;
    house.wait(60 * MINUTE);
    assert_eq!(again.look(&house).await, "expired");
}
