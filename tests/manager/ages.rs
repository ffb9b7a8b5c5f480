//! A cookie with a life of its own in the browser, and when a session was in use before.

use crate::support::{Browser, House, INSTANT, MINUTE, flash, login, nothing, regenerate, set, shown};
use cloakroom::clock::Timestamp;
use cloakroom::manager::Committed;
use cloakroom::session::{Batch, BrowserLife, ExpireWish, View};
use std::time::Duration;

/// Cookies live twenty minutes and are renewed after ten; sessions may be idle for 30 minutes and last for 60.
fn aged(house: &House) -> House {
    house.with_options(|options| {
        options.expiry.browser = Some(BrowserLife { max_age: 20 * MINUTE, renew_after: 10 * MINUTE });
        let mut cookie = options.cookie.options().clone();
        cookie.persistent = true;
        options.cookie = cloakroom::cookie::CookiePolicy::new(cookie).unwrap();
    })
}

/// The minutes for which a browser keeps the only cookie of an answer; `None` when it gets none.
fn minutes(committed: &Committed) -> Option<u64> {
    let [line] = committed.cookies.as_slice() else { return None };
    let age = line.split("; ").find_map(|attribute| attribute.strip_prefix("Max-Age="))?;
    Some(age.parse::<u64>().unwrap() / 60)
}

async fn visit(browser: &mut Browser, house: &House, batch: Batch) -> Option<u64> {
    let committed = house.answer(&browser.resolve(house).await, batch).await;
    browser.keep(&committed);
    minutes(&committed)
}

pub async fn the_browser_gets_its_cookie_again_before_it_drops_it(house: House) {
    // C7, C9, E2
    let house = aged(&house);
    let mut browser = Browser::default();
    assert_eq!(visit(&mut browser, &house, set(&[("a", "1")])).await, Some(20));
    house.wait(11 * MINUTE);
    assert_eq!(visit(&mut browser, &house, nothing()).await, Some(20), "half of its life is over");
    house.wait(19 * MINUTE);
    assert_eq!(browser.look(&house).await, "live a=1", "although it is dropped after 20 minutes");
    assert_eq!(visit(&mut browser, &house, nothing()).await, Some(20));
    house.wait(15 * MINUTE);
    assert_eq!(visit(&mut browser, &house, nothing()).await, Some(15), "never beyond the absolute end (SL5)");
}

pub async fn a_cookie_that_the_browser_should_have_dropped_is_refused(house: House) {
    // C8, CK8: whatever the browser does
    let house = aged(&house);
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    house.wait(20 * MINUTE + INSTANT);
    assert_eq!(browser.look(&house).await, "expired", "although it may be idle for 30 minutes");
    assert_eq!(browser.asks(&house, nothing()).await, "-session");
}

pub async fn a_session_may_wish_for_a_cookie_that_ends_with_the_browser(house: House) {
    // C6, S19
    let house = aged(&house);
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let persist =
        |wish| Batch { expire: Some(ExpireWish { persist: Some(wish), ..ExpireWish::default() }), ..nothing() };
    let committed = house.answer(&browser.resolve(&house).await, persist(false)).await;
    browser.keep(&committed);
    assert!(!committed.cookies[0].contains("Max-Age"), "{:?}", committed.cookies);
    house.wait(25 * MINUTE);
    assert_eq!(browser.look(&house).await, "live a=1");
    assert_eq!(visit(&mut browser, &house, persist(true)).await, Some(20));
}

pub async fn with_every_answer_the_cookie_is_renewed_where_the_policy_says_so(house: House) {
    // C15
    let house = aged(&house).with_options(|options| {
        options.expiry.browser = Some(BrowserLife { max_age: 20 * MINUTE, renew_after: Duration::ZERO });
    });
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    for _ in 0..3 {
        house.wait(INSTANT);
        assert_eq!(visit(&mut browser, &house, nothing()).await, Some(20));
    }
    house.wait(INSTANT);
    let still = Batch { touch: Some(false), ..nothing() };
    assert_eq!(visit(&mut browser, &house, still).await, None, "what does not extend the session renews no cookie");
}

pub async fn sessions_from_before_the_setting_get_a_cookie_that_lasts(house: House) {
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    assert_eq!(visit(&mut browser, &aged(&house), nothing()).await, Some(20));
    assert_eq!(visit(&mut browser, &aged(&house), nothing()).await, None);
}

/// The moment of the last use that a request is told.
async fn accessed(browser: &Browser, house: &House) -> Option<Timestamp> {
    let session = browser.resolve(house).await;
    assert!(shown(&session).starts_with("live"), "{}", shown(&session));
    View::parse(&session.snapshot().unwrap().bytes).unwrap().seen_at()
}

pub async fn the_moment_of_the_last_use_is_kept_where_it_is_told(house: House) {
    // R14: that of the request before, as exactly as use is written down
    let house = house.with_options(|options| options.notes_use = true);
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let began = house.now();
    assert_eq!(accessed(&browser, &house).await, Some(began));
    house.wait(2 * MINUTE);
    assert_eq!(accessed(&browser, &house).await, Some(began), "the use before this one");
    browser.asks(&house, nothing()).await;
    let used = house.now();
    house.wait(10 * MINUTE);
    assert_eq!(accessed(&browser, &house).await, Some(used), "touching writes it down");
    let still = Batch { touch: Some(false), ..set(&[("a", "2")]) };
    browser.asks(&house, still).await;
    assert_eq!(accessed(&browser, &house).await, Some(used), "what does not extend the session is no use of it");
    for batch in [regenerate(nothing()), login("ada"), flash("hi", nothing())] {
        house.wait(MINUTE / 2);
        browser.asks(&house, batch).await;
        assert_eq!(accessed(&browser, &house).await, Some(house.now()));
    }
}
