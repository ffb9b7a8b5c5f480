//! The end of an owner's other sessions, or of all of them, while they are in use and while the store fails.

use crate::support::{Browser, House, login, nothing, regenerate, set};
use crate::watched::Fault;
use cloakroom::session::{Batch, Scope};
use std::sync::Arc;

fn end(scope: Scope) -> Batch {
    Batch { destroy: Some(scope), ..nothing() }
}

async fn visitor(house: &House) -> Browser {
    let mut browser = Browser::default();
    browser.asks(house, Batch { login: login("ada").login, ..set(&[("a", "1")]) }).await;
    browser
}

/// One process ends the others of a session while another process gives that session a new id; `word` is the call that
/// waits while the other answer is made. What the browser sees that keeps both answers, and the other browser.
async fn ended_and_moved(house: &House, held_ends: bool, word: &'static str) -> (String, String) {
    let houses = [house.with_keys(&[1]), house.with_keys(&[1])].map(Arc::new);
    let (mut browser, other) = (visitor(house).await, visitor(house).await);
    let session = browser.resolve(house).await;
    let (first, second) = if held_ends {
        (end(Scope::Others), regenerate(nothing()))
    } else {
        (regenerate(nothing()), end(Scope::Others))
    };
    let mut held = house.store.hold(word);
    let slow = tokio::spawn({
        let house = Arc::clone(&houses[0]);
        async move { house.answer(&session, first).await }
    });
    held.reached().await;
    let session = browser.resolve(house).await;
    let quick = houses[1].answer(&session, second).await;
    held.go();
    browser.keep(&quick);
    browser.keep(&slow.await.unwrap());
    let looks = (browser.look(house).await, other.look(house).await);
    browser.asks(house, end(Scope::This)).await;
    looks
}

pub async fn the_end_of_the_others_spares_a_session_that_gets_a_new_id_elsewhere(house: House) {
    // SL8: before the others are listed, between the listing and the deletion, and before the old id leads to the new one
    for (held_ends, word) in [(true, "index"), (true, "delete"), (false, "create"), (false, "replace")] {
        let looks = ended_and_moved(&house, held_ends, word).await;
        assert_eq!(looks, ("live a=1".into(), "expired".into()), "{word}");
    }
}

pub async fn whoever_asked_in_vain_to_end_all_sessions_can_ask_again(house: House) {
    // SL8: who were logged out by half of it could not
    for others in 0..6 {
        let (mut own, other) = (visitor(&house).await, visitor(&house).await);
        let (copy, session) = (own.clone(), own.resolve(&house).await);
        house.store.fail(Fault::Lost, others);
        if let Ok(committed) = house.try_answer(&session, end(Scope::All)).await {
            own.keep(&committed);
        } else {
            assert_eq!(own.look(&house).await, "live a=1", "{others}");
            own.asks(&house, end(Scope::All)).await;
        }
        house.store.fail_no_more();
        assert_eq!((copy.look(&house).await, other.look(&house).await), ("expired".into(), "expired".into()));
        assert_eq!(own.look(&house).await, "none");
    }
}

pub async fn a_login_in_an_answer_that_ends_all_is_no_login_and_ends_nobody_elses_sessions(house: House) {
    // After `Destroy` only `Flash` counts
    let (mut own, other) = (visitor(&house).await, visitor(&house).await);
    let mut eve = Browser::default();
    eve.asks(&house, login("eve")).await;
    assert_eq!(own.asks(&house, Batch { login: login("eve").login, ..end(Scope::All) }).await, "-session");
    assert_eq!((other.look(&house).await, eve.look(&house).await), ("expired".into(), "live ".into()));
}
