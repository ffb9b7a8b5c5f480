//! Sessions that end because nothing is left in them.

use crate::support::{
    Browser, House, MINUTE, SECOND, add, cookies, flash, login, name, nothing, regenerate, set, shown,
};
use cloakroom::manager::{Event, OnRefused};
use cloakroom::session::{Batch, Condition, Keys, Reading, Refusal, Refused, Shown};

/// `Unset: *`.
fn clear() -> Batch {
    let mut batch = nothing();
    batch.changes.clear = true;
    batch
}

/// A request that showed the first message and a page that puts it before a person.
const READ: Shown<'static> = Shown { flashes: &[1], reading: Reading::All, refusal: false };

pub async fn a_session_that_is_emptied_ends_and_its_cookie_goes(house: House) {
    // L10
    let mut browser = Browser::visiting(&house, &[("a", "1"), ("b", "2")]).await;
    let mut unset = nothing();
    unset.changes.unset.insert(name("a"));
    browser.asks(&house, unset.clone()).await;
    assert_eq!(browser.look(&house).await, "live b=2");
    let session = browser.resolve(&house).await;
    let committed = house.answer(&session, clear()).await;
    assert_eq!((browser.keep(&committed).as_str(), committed.event), ("-session", Some(Event::Emptied)));
    assert_eq!(browser.look(&house).await, "none");
    assert_eq!(browser.asks(&house, set(&[("c", "3")])).await, "session");
    assert_eq!(browser.look(&house).await, "live c=3");
}

pub async fn an_emptied_session_is_over_for_every_copy_of_its_cookie(house: House) {
    // L10, SL2
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let mut copy = browser.clone();
    browser.asks(&house, clear()).await;
    for _ in 0..2 {
        assert_eq!(copy.clone().look(&house).await, "expired");
        house.wait(11 * SECOND); // whether it is remembered why, or not
    }
    assert_eq!(copy.asks(&house, set(&[("b", "2")])).await, "session");
    assert_eq!(copy.look(&house).await, "live b=2");
}

pub async fn the_session_of_an_owner_outlives_its_data(house: House) {
    // L10
    let mut browser = Browser::default();
    browser.asks(&house, Batch { login: login("ada").login, ..set(&[("a", "1")]) }).await;
    browser.asks(&house, clear()).await;
    assert_eq!(browser.look(&house).await, "live ");
}

pub async fn a_session_of_nothing_but_a_message_ends_when_it_is_read(house: House) {
    // L10, F5
    let mut browser = Browser::default();
    browser.asks(&house, flash("hi", nothing())).await;
    browser.asks(&house, nothing()).await;
    assert_eq!(browser.look(&house).await, "live ");
    let committed = house.commit(&browser.resolve(&house).await, Ok(None), READ).await.unwrap();
    assert_eq!(browser.keep(&committed), "-session");
    assert_eq!(browser.look(&house).await, "none");
}

pub async fn a_page_that_bears_a_token_does_not_outlive_its_session(house: House) {
    // L10
    let house = house.with_options(|options| options.hands_out_tokens = true);
    let mut browser = Browser::default();
    browser.asks(&house, flash("hi", nothing())).await;
    let committed = house.commit(&browser.resolve(&house).await, Ok(None), READ).await.unwrap();
    browser.keep(&committed);
    assert_eq!(browser.look(&house).await, "live ");
    house.wait(2 * MINUTE);
    browser.asks(&house, nothing()).await;
    assert_eq!(browser.look(&house).await, "live ", "nothing was taken away since");
}

pub async fn a_refusal_is_told_before_an_empty_session_ends(house: House) {
    // L10
    let house = house.with_options(|options| options.on_refused = OnRefused::Deliver);
    let mut browser = Browser::default();
    browser.asks(&house, flash("hi", nothing())).await;
    let unreadable = Err(Refused::new(Refusal::Escape, "a broken escape"));
    let committed = house.commit(&browser.resolve(&house).await, unreadable, READ).await.unwrap();
    browser.keep(&committed);
    assert_eq!(browser.look(&house).await, "live ");
    let told = Shown { flashes: &[], refusal: true, ..READ };
    let committed = house.commit(&browser.resolve(&house).await, Ok(None), told).await.unwrap();
    assert_eq!(browser.keep(&committed), "-session");
}

pub async fn a_key_that_died_is_nothing_to_keep(house: House) {
    // L10
    let mut browser = Browser::default();
    let mut batch = set(&[("code", "1")]);
    batch.changes.ttl.insert(name("code"), 5 * SECOND);
    browser.asks(&house, batch).await;
    house.wait(2 * MINUTE);
    assert_eq!(browser.asks(&house, nothing()).await, "-session");
    assert_eq!(browser.look(&house).await, "none");
}

pub async fn what_a_route_may_not_change_keeps_the_session(house: House) {
    // L10
    let mut browser = Browser::visiting(&house, &[("a", "1"), ("b", "2")]).await;
    let rights = cloakroom::session::Rights { write: Keys::Only([name("a")].into()), ..Default::default() };
    let session = browser.resolve(&house).await;
    let committed = house.commit_with(&session, &clear(), &rights).await.unwrap();
    assert!(!browser.keep(&committed).contains("-session"), "{committed:?}");
    assert_eq!(browser.look(&house).await, "live b=2");
}

pub async fn an_answer_under_way_begins_another_session(house: House) {
    // L10: two answers that change different keys both count, and nobody was logged out
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let late = browser.resolve(&house).await;
    let idle = browser.resolve(&house).await;
    assert_eq!(browser.asks(&house, clear()).await, "-session");
    assert_eq!(cookies(&house.answer(&idle, nothing()).await), "");
    assert_eq!(cookies(&house.answer(&idle, clear()).await), "");
    let committed = house.answer(&late, set(&[("b", "2")])).await;
    assert_eq!((browser.keep(&committed).as_str(), committed.event), ("session", Some(Event::Created)));
    assert_eq!(browser.look(&house).await, "live b=2");
}

pub async fn a_condition_counts_for_what_is_left(house: House) {
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let late = browser.resolve(&house).await;
    browser.asks(&house, clear()).await;
    let batch = Batch { conditions: vec![Condition::Equals(name("a"), "1".into())], ..set(&[("b", "2")]) };
    let error = house.try_answer(&late, batch).await.unwrap_err();
    assert_eq!(error.to_string(), "refused (condition): the condition on `a` does not hold");
    assert_eq!(browser.look(&house).await, "none");
}

pub async fn nothing_revives_a_session_that_was_ended_in_truth(house: House) {
    // 5.4: an end that was asked for is one
    let browser = Browser::visiting(&house, &[("a", "1")]).await;
    let late = browser.resolve(&house).await;
    let destroy = Batch { destroy: Some(cloakroom::session::Scope::This), ..nothing() };
    house.answer(&browser.resolve(&house).await, destroy).await;
    assert_eq!(cookies(&house.answer(&late, set(&[("b", "2")])).await), "");
    assert_eq!(shown(&browser.resolve(&house).await), "expired");
}

pub async fn a_session_that_changed_meanwhile_is_not_emptied(house: House) {
    // L10: decided on the newest record
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let late = browser.resolve(&house).await;
    browser.asks(&house, add("n", 1)).await;
    let mut unset = nothing();
    unset.changes.unset.insert(name("a"));
    assert_eq!(cookies(&house.answer(&late, unset).await), "");
    assert_eq!(browser.look(&house).await, "live n=1");
    let late = browser.resolve(&house).await;
    browser.asks(&house, regenerate(nothing())).await;
    assert_eq!(browser.keep(&house.answer(&late, clear()).await), "-session");
    assert_eq!(browser.look(&house).await, "none");
}
