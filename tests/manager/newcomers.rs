//! Visitors who come for the first time, and most of them for the last.

use crate::support::{Browser, House, MINUTE, SECOND, flash, login, nothing, set};
use cloakroom::manager::Consent;
use cloakroom::session::{Batch, Scope};

fn on_probation(house: &House) -> House {
    house.with_options(|options| options.expiry.probation = Some(5 * MINUTE))
}

pub async fn who_comes_back_is_written_down_once_and_no_newcomer_any_more(house: House) {
    let house = on_probation(&house);
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    house.store.calls();
    assert_eq!(browser.asks(&house, nothing()).await, "");
    assert_eq!(house.store.calls(), "load replace");
    for _ in 0..3 {
        assert_eq!(browser.asks(&house, nothing()).await, "");
        assert_eq!(house.store.calls(), "load");
    }
    house.wait(29 * MINUTE);
    assert_eq!(browser.look(&house).await, "live a=1");
}

pub async fn a_change_by_who_comes_back_is_the_only_write(house: House) {
    let house = on_probation(&house);
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    house.store.calls();
    browser.asks(&house, set(&[("a", "2")])).await;
    assert_eq!(house.store.calls(), "load replace");
    browser.asks(&house, nothing()).await;
    assert_eq!(house.store.calls(), "load");
    house.wait(29 * MINUTE);
    assert_eq!(browser.look(&house).await, "live a=2");
}

pub async fn who_does_not_come_back_is_forgotten_soon(house: House) {
    let house = on_probation(&house);
    let browser = Browser::visiting(&house, &[("a", "1")]).await;
    let mut owner = Browser::default();
    owner.asks(&house, login("ada")).await;
    house.wait(5 * MINUTE + SECOND);
    assert_eq!(browser.look(&house).await, "expired");
    assert!(owner.look(&house).await.starts_with("live"));
}

pub async fn consent_is_asked_for_once(house: House) {
    let house = house.with_options(|options| options.consent = Some(Consent::Key(crate::support::name("ok"))));
    let mut browser = Browser::default();
    for batch in [set(&[("a", "1")]), flash("hello", nothing()), login("ada")] {
        assert_eq!(browser.asks(&house, batch).await, "");
    }
    assert_eq!(house.store.calls(), "");
    assert_eq!(browser.asks(&house, set(&[("ok", "1"), ("a", "1")])).await, "session");
    assert_eq!(browser.asks(&house, Batch { destroy: Some(Scope::This), ..flash("bye", nothing()) }).await, "session");
    assert_ne!(browser.look(&house).await, "none", "a farewell is heard by who had consented");
}
