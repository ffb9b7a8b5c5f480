//! Sessions that are shown from a copy of some age: nothing is decided on it, and it logs nobody out.

use crate::support::{Browser, House, INSTANT, MINUTE, SECOND, add, cookies, login, name, nothing, regenerate, set};
use cloakroom::session::{Batch, Condition, Scope};

fn logout() -> Batch {
    Batch { destroy: Some(Scope::This), ..nothing() }
}

/// A visitor whose session says `n=1`, a copy that says so, and then the session itself says `n=2`.
async fn behind(house: &House) -> Browser {
    let mut browser = Browser::visiting(house, &[("n", "1")]).await;
    house.store.grow_old(house.now()).await;
    browser.asks(house, set(&[("n", "2")])).await;
    assert_eq!(browser.look(house).await, "live n=1");
    browser
}

async fn truth(browser: &Browser, house: &House) -> String {
    let newest = house.with_keys(&[1]);
    newest.store.forget_copies();
    browser.look(&newest).await
}

pub async fn a_batch_on_an_old_copy_is_applied_to_the_newest_record(house: House) {
    // ST3
    let mut browser = behind(&house).await;
    assert_eq!(browser.asks(&house, add("n", 10)).await, "");
    assert_eq!(truth(&browser, &house).await, "live n=12");

    let mut browser = behind(&house).await;
    assert_eq!(browser.asks(&house, regenerate(add("n", 10))).await, "session");
    assert_eq!(truth(&browser, &house).await, "live n=12");

    let mut browser = behind(&house).await;
    assert_eq!(browser.asks(&house, set(&[("n", "1")])).await, "");
    assert_eq!(truth(&browser, &house).await, "live n=1");
}

pub async fn a_condition_that_holds_for_an_old_copy_only_is_refused(house: House) {
    let when = |n: &str, batch| Batch { conditions: vec![Condition::Equals(name("n"), n.into())], ..batch };
    for batch in [set(&[("a", "1")]), regenerate(nothing()), logout(), login("ada")] {
        let browser = behind(&house).await;
        let session = browser.resolve(&house).await;
        house.try_answer(&session, when("1", batch.clone())).await.unwrap_err();
        house.try_answer(&session, when("2", batch)).await.unwrap();
    }
}

pub async fn an_old_copy_of_a_session_that_ended_revives_nothing(house: House) {
    // S13: and begins none in its place
    let end = [logout(), Batch { invalidate: true, ..nothing() }];
    for (end, late) in end.iter().flat_map(|end| {
        [nothing(), set(&[("n", "1")]), add("n", 1), regenerate(nothing()), logout()].map(|late| (end, late))
    }) {
        let mut browser = Browser::visiting(&house, &[("n", "1")]).await;
        let copy = browser.clone();
        house.store.grow_old(house.now()).await;
        browser.asks(&house, end.clone()).await;
        assert_eq!(copy.look(&house).await, "live n=1");
        assert_eq!(cookies(&house.answer(&copy.resolve(&house).await, late.clone()).await), "", "{late:?}");
        assert_eq!(truth(&copy, &house).await, "expired", "{late:?}");
    }
}

pub async fn a_login_on_an_old_copy_of_an_ended_session_begins_a_new_one(house: House) {
    let mut browser = Browser::visiting(&house, &[("n", "1")]).await;
    let mut copy = browser.clone();
    house.store.grow_old(house.now()).await;
    browser.asks(&house, logout()).await;
    assert_eq!(copy.asks(&house, Batch { login: login("ada").login, ..set(&[("a", "2")]) }).await, "session");
    assert_eq!(truth(&copy, &house).await, "live a=2");
}

pub async fn an_old_copy_under_an_old_id_leads_to_the_newest_record(house: House) {
    // SL3
    let mut browser = Browser::visiting(&house, &[("n", "1")]).await;
    let copy = browser.clone();
    house.store.grow_old(house.now()).await;
    browser.asks(&house, regenerate(nothing())).await;
    assert_eq!(cookies(&house.answer(&copy.resolve(&house).await, add("n", 1)).await), "");
    assert_eq!(truth(&browser, &house).await, "live n=2");
    house.wait(10 * SECOND + INSTANT);
    assert_eq!(truth(&copy, &house).await, "expired");
}

pub async fn a_copy_is_not_believed_when_it_speaks_against_the_session(house: House) {
    let cut = |bytes: bytes::Bytes| bytes.slice(..bytes.len() - 3);
    let empty = |_| bytes::Bytes::new();
    let damages: [&dyn Fn(bytes::Bytes) -> bytes::Bytes; 2] = [&cut, &empty];
    for damage in damages {
        let mut browser = Browser::visiting(&house, &[("n", "1")]).await;
        house.store.grow_old(house.now()).await;
        house.store.damage_copies(damage);
        assert_eq!(browser.look(&house).await, "live n=1");
        assert_eq!(browser.asks(&house, add("n", 1)).await, "");
        assert_eq!(truth(&browser, &house).await, "live n=2");
    }
}

pub async fn an_old_copy_shortens_no_session(house: House) {
    // SL4: it does not know that the session was used since
    let browser = Browser::visiting(&house, &[("n", "1")]).await;
    house.store.grow_old(house.now()).await;
    house.wait(20 * MINUTE);
    house.answer(&browser.resolve(&house).await, nothing()).await;
    let still = Batch { touch: Some(false), ..add("n", 1) };
    house.answer(&browser.resolve(&house).await, still).await;
    house.wait(25 * MINUTE);
    assert_eq!(truth(&browser, &house).await, "live n=2");
}

pub async fn a_session_that_holds_cookies_is_never_shown_from_a_copy(house: House) {
    let browser = behind(&house).await;
    let holder = house.with_options(|options| options.holds_cookies = true);
    assert_eq!(browser.look(&holder).await, "live n=2");
}
