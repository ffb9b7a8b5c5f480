//! What becomes of the old id of a session in a store: after a login, after `Regenerate`, under a new key.

use crate::support::{Browser, House, INSTANT, MINUTE, SECOND, add, cookies, login, nothing, regenerate, set};
use cloakroom::session::{Batch, Scope};
use std::time::Duration;

pub async fn a_login_renews_the_id_and_the_old_one_is_dead_at_once(house: House) {
    // SL3
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let old = browser.clone();
    assert_eq!(browser.asks(&house, Batch { login: login("ada").login, ..set(&[("b", "2")]) }).await, "session");
    assert_eq!(browser.look(&house).await, "live a=1&b=2");
    assert_eq!(old.look(&house).await, "expired");
}

pub async fn a_late_answer_leaves_the_cookie_of_a_login_alone(house: House) {
    // SL3: it came with the old cookie, and the browser has a newer one by now
    let late = [
        nothing(),
        set(&[("b", "2")]),
        regenerate(nothing()),
        Batch { destroy: Some(Scope::This), ..nothing() },
        Batch { invalidate: true, ..set(&[("b", "2")]) },
    ];
    for batch in late {
        let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
        let before = browser.resolve(&house).await;
        let old = browser.clone();
        house.wait(MINUTE);
        browser.asks(&house, login("ada")).await;
        let during = old.resolve(&house).await;
        assert_eq!(cookies(&house.answer(&before, batch.clone()).await), "", "{batch:?}");
        assert_eq!(cookies(&house.answer(&during, batch.clone()).await), "", "{batch:?}");
        assert_eq!(browser.look(&house).await, "live a=1", "{batch:?}");
        assert_eq!(old.look(&house).await, "expired", "{batch:?}");
    }
}

pub async fn an_old_id_leads_to_the_new_one_for_the_grace(house: House) {
    // SL3
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let mut old = browser.clone();
    let before = old.resolve(&house).await;
    assert_eq!(browser.asks(&house, regenerate(set(&[("b", "2")]))).await, "session");
    assert_eq!(old.look(&house).await, "live a=1&b=2");
    assert_eq!(old.asks(&house, set(&[("c", "3")])).await, "");
    assert_eq!(cookies(&house.answer(&before, set(&[("d", "4")])).await), "");
    assert_eq!(browser.look(&house).await, "live a=1&b=2&c=3&d=4");
    house.wait(10 * SECOND);
    assert_eq!(old.look(&house).await, "live a=1&b=2&c=3&d=4");
    house.wait(INSTANT);
    assert_eq!(old.look(&house).await, "expired");
    assert_eq!(browser.look(&house).await, "live a=1&b=2&c=3&d=4");
}

pub async fn no_answer_prolongs_the_grace(house: House) {
    // SL3
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let old = browser.clone();
    let before = old.resolve(&house).await;
    house.wait(2 * MINUTE);
    browser.asks(&house, regenerate(nothing())).await;
    assert_eq!(cookies(&house.answer(&before, nothing()).await), "");
    house.wait(10 * SECOND + INSTANT);
    assert_eq!(old.look(&house).await, "expired");
    assert_eq!(browser.look(&house).await, "live a=1");
}

pub async fn two_changes_of_the_id_within_the_grace_are_a_chain(house: House) {
    // SL3
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let mut first = browser.clone();
    browser.asks(&house, regenerate(nothing())).await;
    let second = browser.clone();
    house.wait(6 * SECOND);
    browser.asks(&house, regenerate(nothing())).await;
    assert_eq!(first.asks(&house, set(&[("b", "2")])).await, "");
    assert_eq!(browser.look(&house).await, "live a=1&b=2");
    house.wait(4 * SECOND + INSTANT);
    assert_eq!(first.look(&house).await, "expired");
    assert_eq!(second.look(&house).await, "live a=1&b=2");
    house.wait(6 * SECOND);
    assert_eq!(second.look(&house).await, "expired");
    assert_eq!(browser.look(&house).await, "live a=1&b=2");
}

pub async fn a_page_whose_every_part_changes_the_id_loses_nothing(house: House) {
    // SL3, ST3
    let mut browser = Browser::visiting(&house, &[("n", "0")]).await;
    let old = browser.clone();
    let session = old.resolve(&house).await;
    for _ in 0..50 {
        browser.keep(&house.answer(&session, regenerate(add("n", 1))).await);
    }
    assert_eq!(browser.look(&house).await, "live n=50");
    assert_eq!(old.look(&house).await, "live n=50");
}

pub async fn without_grace_the_old_id_is_dead_at_once(house: House) {
    // SL3
    let house = house.with_options(|options| options.expiry.regenerate_grace = Duration::ZERO);
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let old = browser.clone();
    browser.asks(&house, regenerate(nothing())).await;
    assert_eq!(browser.look(&house).await, "live a=1");
    assert_eq!(old.look(&house).await, "expired");
}

pub async fn a_logout_through_the_old_id_ends_the_session(house: House) {
    // SL6
    let logout = || Batch { destroy: Some(Scope::This), ..nothing() };
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let before = browser.resolve(&house).await;
    browser.asks(&house, regenerate(nothing())).await;
    assert_eq!(cookies(&house.answer(&before, logout()).await), "-session");
    assert_eq!(browser.look(&house).await, "expired");

    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let mut old = browser.clone();
    browser.asks(&house, regenerate(nothing())).await;
    assert_eq!(old.asks(&house, logout()).await, "-session");
    assert_eq!(browser.look(&house).await, "expired");
}

pub async fn a_ticket_of_an_older_key_is_issued_again_on_sight(house: House) {
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let old = browser.clone();
    let both = house.with_keys(&[2, 1]);
    assert_eq!(browser.asks(&both, nothing()).await, "session");
    assert_eq!(browser.asks(&both, nothing()).await, "");
    assert_eq!(old.clone().asks(&both, set(&[("b", "2")])).await, "session");
    let new = house.with_keys(&[2]);
    assert_eq!(browser.look(&new).await, "live a=1&b=2");
    assert_eq!(old.look(&new).await, "invalid");
    assert_eq!(old.look(&both).await, "live a=1&b=2");
}

pub async fn a_late_answer_under_an_older_key_hands_out_the_newest_id_or_none(house: House) {
    // SL3
    let both = house.with_keys(&[2, 1]);
    for late in [nothing(), set(&[("a", "1")]), set(&[("a", "2")])] {
        let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
        let before = browser.resolve(&both).await;
        browser.asks(&both, regenerate(nothing())).await;
        assert_eq!(browser.keep(&both.answer(&before, late.clone()).await), "session", "{late:?}");
        both.wait(10 * SECOND + INSTANT);
        assert!(browser.look(&both).await.starts_with("live"), "{late:?}");

        for end in [login("ada"), Batch { destroy: Some(Scope::This), ..nothing() }] {
            let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
            let before = browser.resolve(&both).await;
            browser.asks(&both, end).await;
            assert_eq!(cookies(&both.answer(&before, late.clone()).await), "", "{late:?}");
        }
    }
}
