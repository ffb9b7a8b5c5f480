//! Sessions that the browser keeps: the cookie is the session, whole or in pieces.

use crate::support::{Browser, House, INSTANT, MINUTE, SECOND, flash, login, nothing, regenerate, set, to_path};
use cloakroom::manager::{Event, OnRefused};
use cloakroom::session::{Batch, Refusal, Scope};

/// Text that makes a session of `n` cookies.
fn text(n: usize) -> String {
    "v".repeat([0, 400, 1000, 2000][n])
}

pub async fn a_session_is_a_cookie_and_no_store_is_asked(house: House) {
    // CK9
    let mut browser = Browser::default();
    assert_eq!(browser.asks(&house, nothing()).await, "");
    assert_eq!(browser.asks(&house, set(&[("a", "1")])).await, "session");
    assert_eq!(browser.asks(&house, set(&[("b", "2")])).await, "session");
    assert_eq!(browser.asks(&house, set(&[("b", "2")])).await, "");
    assert_eq!(browser.asks(&house, nothing()).await, "");
    assert_eq!(browser.look(&house).await, "live a=1&b=2");
    assert_eq!(browser.asks(&house, login("ada")).await, "session");
    assert_eq!(browser.asks(&house, regenerate(nothing())).await, "session");
    assert_eq!(browser.look(&house).await, "live a=1&b=2");
    assert_eq!(house.store.calls(), "");
}

pub async fn a_session_grows_into_pieces_and_shrinks_without_leftovers(house: House) {
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    assert_eq!(browser.asks(&house, set(&[("a", &text(2))])).await, "session.0 session.1 -session");
    assert_eq!(browser.look(&house).await, format!("live a={}", text(2)));
    assert_eq!(browser.asks(&house, set(&[("b", "2")])).await, "session.0 session.1");
    assert_eq!(browser.look(&house).await, format!("live a={}&b=2", text(2)));
    assert_eq!(browser.asks(&house, set(&[("a", &text(1))])).await, "session -session.0 -session.1");
    assert_eq!(browser.look(&house).await, format!("live a={}&b=2", text(1)));
    assert_eq!(browser.cookies(), 1);
}

pub async fn a_session_that_is_too_large_is_refused_whole(house: House) {
    // CK3
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let session = browser.resolve(&house).await;
    let error = house.try_answer(&session, set(&[("a", "2"), ("b", &text(3))])).await.unwrap_err();
    assert_eq!(error.to_string(), "refused (limit): the session does not fit into its cookie of 2000 bytes");
    assert_eq!(browser.look(&house).await, "live a=1");

    let house = house.with_options(|options| options.on_refused = OnRefused::Deliver);
    let committed = house.answer(&session, set(&[("a", "2"), ("b", &text(3))])).await;
    assert_eq!(committed.refused.as_ref().map(|refused| refused.reason), Some(Refusal::Limit));
    assert_eq!(browser.keep(&committed), "session");
    assert_eq!(browser.look(&house).await, "live a=1");
}

pub async fn a_session_ends_by_our_clock(house: House) {
    // SL4, SL5, SL11
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    house.wait(30 * MINUTE);
    assert_eq!(browser.look(&house).await, "live a=1");
    house.wait(INSTANT);
    assert_eq!(browser.look(&house).await, "expired");
    assert_eq!(browser.asks(&house, nothing()).await, "-session");

    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    for _ in 0..3 {
        house.wait(20 * MINUTE);
        browser.asks(&house, set(&[("a", "2")])).await;
    }
    assert_eq!(browser.look(&house).await, "live a=2");
    house.wait(INSTANT);
    assert_eq!(browser.look(&house).await, "expired");
    assert_eq!(browser.asks(&house, set(&[("b", "2")])).await, "session");
    assert_eq!(browser.look(&house).await, "live b=2");
}

pub async fn the_end_removes_every_piece(house: House) {
    let end = || Batch { destroy: Some(Scope::This), ..nothing() };
    for (n, removed) in [(1, "-session"), (2, "-session.0 -session.1")] {
        let mut browser = Browser::visiting(&house, &[("a", &text(n))]).await;
        let committed = house.answer(&browser.resolve(&house).await, end()).await;
        assert_eq!((browser.keep(&committed).as_str(), committed.event), (removed, Some(Event::Destroyed)));
        assert_eq!((browser.look(&house).await.as_str(), browser.cookies()), ("none", 0));
        assert_eq!(browser.asks(&house, end()).await, "");

        let browser = Browser::visiting(&house, &[("a", &text(n))]).await;
        let committed = house.answer(&browser.resolve(&house).await, flash("bye", end())).await;
        assert_eq!(committed.event, Some(Event::Destroyed));
    }
}

pub async fn use_is_written_down_at_most_every_interval(house: House) {
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let mut lines = Vec::new();
    for _ in 0..6 {
        house.wait(40 * SECOND); // an interval has a minute, and by chance up to a quarter more
        lines.push(browser.asks(&house, nothing()).await);
    }
    assert_eq!(lines, ["", "session", "", "session", "", "session"]);
    house.wait(30 * MINUTE);
    assert_eq!(browser.look(&house).await, "live a=1");
}

pub async fn a_dead_cookie_on_a_path_of_its_own_is_no_obstacle(house: House) {
    // SL11, CP4: where it lies is not known once the session is gone
    let house = house.with_a_path();
    let mut browser = Browser::default();
    assert_eq!(browser.asks(&house, to_path(set(&[("a", "1")]))).await, "session");
    house.wait(30 * MINUTE + INSTANT);
    assert_eq!(browser.clone().asks(&house, nothing()).await, "-session -session");
    assert_eq!(browser.asks(&house, set(&[("b", "2")])).await, "-session session");
    assert_eq!((browser.look(&house).await.as_str(), browser.cookies()), ("live b=2", 1));
}

pub async fn a_session_under_an_older_key_is_issued_again_on_sight(house: House) {
    let (both, new) = (house.with_keys(&[2, 1]), house.with_keys(&[2]));
    for (n, lines) in [(1, "session"), (2, "session.0 session.1")] {
        let mut browser = Browser::visiting(&house, &[("a", &text(n))]).await;
        let old = browser.clone();
        assert_eq!(browser.asks(&both, nothing()).await, lines);
        assert_eq!(browser.asks(&both, nothing()).await, "");
        assert_eq!(browser.look(&new).await, format!("live a={}", text(n)));
        assert_eq!(old.look(&new).await, "invalid");
    }
}

pub async fn what_does_not_verify_is_no_session_and_goes_away(house: House) {
    // SL2, CP8
    let whole = Browser::visiting(&house, &[("a", &text(2))]).await;
    let mut broken = whole.without("session.1");
    assert_eq!(broken.look(&house).await, "invalid");
    assert_eq!(broken.asks(&house, nothing()).await, "-session.0");
    let mut forged = Browser::with("session", &"A".repeat(100));
    assert_eq!(forged.look(&house).await, "invalid");
    assert_eq!(forged.asks(&house, set(&[("a", "1")])).await, "session");
    assert_eq!(forged.look(&house).await, "live a=1");
}

pub async fn nobody_ends_the_sessions_of_other_browsers(house: House) {
    // SL7: what cannot be done is refused, not promised
    let mut browser = Browser::default();
    browser.asks(&house, login("ada")).await;
    for scope in [Scope::Others, Scope::All] {
        let batch = Batch { destroy: Some(scope), ..nothing() };
        let error = house.try_answer(&browser.resolve(&house).await, batch).await.unwrap_err();
        let expected = "refused (rights): Destroy: sessions that browsers keep cannot be ended from afar";
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(browser.look(&house).await, "live ");
}

pub async fn a_cookie_that_moves_to_another_path_leaves_none_behind(house: House) {
    // CP4: two cookies that both verify would make the visitor anonymous
    let house = house.with_a_path();
    for (n, moved) in [(1, "-session session"), (2, "-session.0 -session.1 session.0 session.1")] {
        let mut browser = Browser::visiting(&house, &[("a", &text(n))]).await;
        assert_eq!(browser.asks(&house, to_path(nothing())).await, moved);
        assert_eq!((browser.look(&house).await, browser.cookies()), (format!("live a={}", text(n)), n));
    }
}
