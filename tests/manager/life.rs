//! How a session in a store begins, changes, is told about and ends.

use crate::support::{
    Browser, House, INSTANT, MINUTE, SECOND, add, cookies, flash, login, name, nothing, regenerate, set, shown, to_path,
};
use crate::watched::Fault;
use cloakroom::manager::OnRefused;
use cloakroom::session::{Batch, Condition, Reading, Refusal, Refused, Scope, Shown, View};

pub async fn reading_creates_nothing(house: House) {
    // SL10
    let mut browser = Browser::default();
    let mut unset = nothing();
    unset.changes.unset.insert(name("a"));
    for batch in [nothing(), unset, regenerate(nothing()), Batch { destroy: Some(Scope::All), ..nothing() }] {
        assert_eq!(browser.asks(&house, batch).await, "");
        assert_eq!(browser.look(&house).await, "none");
    }
    assert_eq!(house.store.calls(), "");
}

pub async fn a_forged_cookie_costs_no_store_call_and_goes_away(house: House) {
    // SL2, SL10, SL11
    for forged in [String::new(), "x".repeat(68), "A".repeat(4000)] {
        let mut browser = Browser::with("session", &forged);
        assert_eq!(browser.look(&house).await, "invalid");
        assert_eq!(browser.asks(&house, nothing()).await, "-session");
        assert_eq!(browser.look(&house).await, "none");
        assert_eq!(house.store.calls(), "");
    }
}

pub async fn the_browser_hears_of_a_session_only_when_its_copy_must_change(house: House) {
    // CK9
    let mut browser = Browser::default();
    assert_eq!(browser.asks(&house, set(&[("a", "1")])).await, "session");
    assert_eq!(browser.asks(&house, set(&[("b", "2")])).await, "");
    assert_eq!(browser.asks(&house, nothing()).await, "");
    assert_eq!(browser.look(&house).await, "live a=1&b=2");
    let persist = cloakroom::session::ExpireWish { persist: Some(true), ..Default::default() };
    assert_eq!(browser.asks(&house, Batch { expire: Some(persist), ..nothing() }).await, "session");
    assert_eq!(browser.asks(&house, regenerate(nothing())).await, "session");
    assert_eq!(browser.asks(&house, login("ada")).await, "session");
    assert_eq!(browser.asks(&house, set(&[("a", "2")])).await, "");
    assert_eq!(browser.look(&house).await, "live a=2&b=2");
}

pub async fn a_destroyed_session_is_over_for_every_copy_of_its_cookie(house: House) {
    // SL6, SL11
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let mut copy = browser.clone();
    assert_eq!(browser.asks(&house, Batch { destroy: Some(Scope::This), ..set(&[("a", "2")]) }).await, "-session");
    assert_eq!(browser.look(&house).await, "none");
    assert_eq!(copy.look(&house).await, "expired");
    assert_eq!(copy.asks(&house, nothing()).await, "-session");
    assert_eq!(copy.look(&house).await, "none");
}

pub async fn the_next_batch_after_the_end_begins_a_session_under_a_new_id(house: House) {
    // SL2
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let copy = browser.clone();
    house.wait(30 * MINUTE + INSTANT);
    assert_eq!(browser.asks(&house, set(&[("b", "2")])).await, "session");
    assert_eq!(browser.look(&house).await, "live b=2");
    assert_eq!(copy.look(&house).await, "expired");
}

pub async fn a_farewell_message_goes_into_a_new_session(house: House) {
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let copy = browser.clone();
    let farewell = Batch { destroy: Some(Scope::This), ..set(&[("a", "2")]) };
    assert_eq!(browser.asks(&house, flash("bye", farewell)).await, "session");
    assert_eq!((browser.look(&house).await.as_str(), copy.look(&house).await.as_str()), ("live ", "expired"));
    let session = browser.resolve(&house).await;
    let view = View::parse(&session.snapshot().unwrap().bytes).unwrap();
    assert_eq!(view.flashes().unwrap()[0].text, "bye");
}

pub async fn a_session_ends_when_nobody_used_it_for_the_idle_time(house: House) {
    // SL4, SL11
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    house.wait(30 * MINUTE);
    assert_eq!(browser.asks(&house, nothing()).await, "");
    house.wait(30 * MINUTE);
    assert_eq!(browser.look(&house).await, "live a=1");
    house.wait(INSTANT);
    assert_eq!(browser.look(&house).await, "expired");
    assert_eq!(browser.asks(&house, nothing()).await, "-session");
    assert_eq!(browser.look(&house).await, "none");
}

pub async fn a_session_ends_at_its_absolute_time_however_active_it_is(house: House) {
    // SL5, SL11
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    for pairs in [[("a", "2")], [("a", "3")], [("a", "4")]] {
        house.wait(20 * MINUTE);
        browser.asks(&house, set(&pairs)).await;
    }
    assert_eq!(browser.look(&house).await, "live a=4");
    house.wait(INSTANT);
    assert_eq!(browser.look(&house).await, "expired");
    assert_eq!(browser.asks(&house, nothing()).await, "-session");
}

pub async fn a_shorter_absolute_time_ends_sessions_that_began_before(house: House) {
    let browser = Browser::visiting(&house, &[("a", "1")]).await;
    let strict = house.with_options(|options| options.expiry.absolute = MINUTE);
    house.wait(MINUTE + INSTANT);
    assert_eq!(browser.look(&strict).await, "expired");
    assert_eq!(browser.look(&house).await, "expired");
}

pub async fn a_session_that_is_over_is_so_although_the_store_fails_to_remove_it(house: House) {
    // SL5, SL11: our own clock knows it, whatever becomes of the entry
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let strict = house.with_options(|options| options.expiry.absolute = MINUTE);
    house.wait(MINUTE + INSTANT);
    house.store.fail(Fault::Lost, 0);
    assert_eq!(browser.asks(&strict, nothing()).await, "-session");
    assert_eq!(house.store.calls().matches("delete").count(), 1);
}

pub async fn sessions_that_began_before_a_moment_of_the_operators_choice_are_over(house: House) {
    let [early, late] =
        [Browser::visiting(&house, &[("a", "1")]).await, Browser::visiting(&house, &[("a", "1")]).await];
    let mut late = late;
    house.wait(MINUTE);
    late.asks(&house, login("ada")).await;
    let now = house.now();
    let strict = house.with_options(|options| options.not_before = Some(now));
    assert_eq!((early.look(&strict).await.as_str(), late.look(&strict).await.as_str()), ("expired", "live a=1"));
    assert_eq!(early.clone().asks(&strict, nothing()).await, "-session");
    assert_eq!(Browser::visiting(&strict, &[("b", "2")]).await.look(&strict).await, "live b=2");
}

pub async fn a_login_restarts_the_absolute_time(house: House) {
    // SL5
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    house.wait(25 * MINUTE);
    browser.asks(&house, login("ada")).await;
    for _ in 0..3 {
        house.wait(20 * MINUTE);
        assert_eq!(browser.asks(&house, nothing()).await, "");
    }
    assert_eq!(browser.look(&house).await, "live a=1");
    house.wait(INSTANT);
    assert_eq!(browser.look(&house).await, "expired");
}

pub async fn a_clock_that_steps_back_revives_nothing(house: House) {
    // SL13
    let idle = Browser::visiting(&house, &[("a", "1")]).await;
    house.wait(30 * MINUTE + INSTANT);
    assert_eq!(idle.look(&house).await, "expired");
    house.step_back(5 * MINUTE);
    assert_eq!(idle.look(&house).await, "expired");

    let mut active = Browser::visiting(&house, &[("a", "1")]).await;
    for _ in 0..3 {
        house.wait(20 * MINUTE);
        active.asks(&house, nothing()).await;
    }
    house.wait(INSTANT);
    assert_eq!(active.look(&house).await, "expired");
    house.step_back(5 * MINUTE);
    assert_eq!(active.look(&house).await, "expired");
}

pub async fn use_is_written_down_at_most_every_interval(house: House) {
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let mut touches = Vec::new();
    house.store.calls();
    for _ in 0..8 {
        house.wait(40 * SECOND); // an interval has a minute, and by chance up to a quarter more
        assert_eq!(browser.asks(&house, nothing()).await, "");
        touches.push(house.store.calls().matches("replace").count());
    }
    assert_eq!(touches, [0, 1, 0, 1, 0, 1, 0, 1]);
    let still = Batch { touch: Some(false), ..nothing() };
    house.wait(2 * MINUTE);
    browser.asks(&house, still).await;
    assert!(!house.store.calls().contains("replace"));
}

pub async fn a_refused_batch_changes_nothing_and_is_loud(house: House) {
    let mut browser = Browser::visiting(&house, &[("a", "tea")]).await;
    let session = browser.resolve(&house).await;
    let batch = Batch { login: login("ada").login, ..add("a", 1) };
    let error = house.try_answer(&session, batch).await.unwrap_err();
    assert_eq!(error.to_string(), "refused (type): Add: the value of `a` is not an integer");
    assert_eq!(browser.asks(&house, nothing()).await, "");
    assert_eq!(browser.look(&house).await, "live a=tea");
}

/// What the next request is told about a refused batch.
async fn told(browser: &Browser, house: &House) -> Option<Refusal> {
    let session = browser.resolve(house).await;
    View::parse(&session.snapshot().unwrap().bytes).unwrap().refusal
}

pub async fn a_refusal_that_is_delivered_is_told_once(house: House) {
    let house = house.with_options(|options| options.on_refused = OnRefused::Deliver);
    let browser = Browser::visiting(&house, &[("a", "tea")]).await;
    let unreadable = || Refused::new(Refusal::Escape, "a broken escape");
    let session = browser.resolve(&house).await;
    let batch = add("a", 1);
    for (asked, reason) in [(Ok(Some(&batch)), Refusal::Type), (Err(unreadable()), Refusal::Escape)] {
        let committed = house.commit(&session, asked, Shown::NOTHING).await.unwrap();
        assert_eq!(committed.refused.map(|refused| refused.reason), Some(reason));
        assert_eq!(told(&browser, &house).await, Some(reason));
    }
    let shown = Shown { flashes: &[], reading: Reading::Acknowledged, refusal: true };
    let session = browser.resolve(&house).await;
    house.commit(&session, Ok(None), shown).await.unwrap();
    assert_eq!(told(&browser, &house).await, None);

    house.commit(&session, Ok(Some(&batch)), Shown::NOTHING).await.unwrap();
    let stale = browser.resolve(&house).await;
    house.commit(&browser.resolve(&house).await, Ok(None), shown).await.unwrap();
    house.commit(&stale, Ok(Some(&batch)), Shown::NOTHING).await.unwrap();
    assert_eq!(told(&browser, &house).await, Some(Refusal::Type));
    house.commit(&browser.resolve(&house).await, Ok(None), shown).await.unwrap();

    let condition = Batch { conditions: vec![Condition::Version(99)], ..nothing() };
    let error = house.try_answer(&browser.resolve(&house).await, condition).await.unwrap_err();
    assert_eq!(error.to_string(), "refused (condition): the condition on `@version` does not hold");
    assert_eq!(told(&browser, &house).await, None);
}

pub async fn a_record_that_cannot_be_read_is_no_session(house: House) {
    // ST5
    let cut = |bytes: bytes::Bytes| bytes.slice(..bytes.len() - 3);
    let foreign = |_| bytes::Bytes::from_static(b"\x80\x04\x95 a pickle");
    let empty = |_| bytes::Bytes::new();
    let damages: [&dyn Fn(bytes::Bytes) -> bytes::Bytes; 3] = [&cut, &foreign, &empty];
    for damage in damages {
        let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
        house.damage(damage).await;
        let copy = browser.clone();
        assert_eq!(copy.clone().asks(&house, nothing()).await, "-session");
        assert_eq!(browser.asks(&house, set(&[("b", "2")])).await, "session");
        assert_eq!(browser.look(&house).await, "live b=2");
        assert_eq!(copy.look(&house).await, "expired");
    }
}

pub async fn an_answer_finds_a_record_damaged_since_its_request_and_sets_no_cookie(house: House) {
    // ST5
    let browser = Browser::visiting(&house, &[("a", "1")]).await;
    let session = browser.resolve(&house).await;
    house.damage(|bytes| bytes.slice(..bytes.len() - 3)).await;
    assert_eq!(cookies(&house.answer(&session, set(&[("b", "2")])).await), "");
    assert_eq!(shown(&browser.resolve(&house).await), "expired");
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

/// Three sessions of ada and one of eve.
async fn visitors(house: &House) -> [Browser; 4] {
    let mut browsers = [const { None::<Browser> }; 4];
    for (slot, owner) in browsers.iter_mut().zip(["ada", "ada", "ada", "eve"]) {
        let mut browser = Browser::default();
        browser.asks(house, Batch { login: login(owner).login, ..set(&[("of", owner)]) }).await;
        *slot = Some(browser);
    }
    browsers.map(Option::unwrap)
}

async fn looks(browsers: &[Browser; 4], house: &House) -> String {
    let mut looks = Vec::new();
    for browser in browsers {
        looks.push(browser.look(house).await);
    }
    looks.join(", ")
}

pub async fn an_owner_ends_the_others_or_all(house: House) {
    // SL8
    let ended = |scope| Batch { destroy: Some(scope), ..nothing() };
    let mut browsers = visitors(&house).await;
    assert_eq!(browsers[0].asks(&house, ended(Scope::Others)).await, "");
    assert_eq!(looks(&browsers, &house).await, "live of=ada, expired, expired, live of=eve");

    let mut browsers = visitors(&house).await;
    assert_eq!(browsers[0].asks(&house, ended(Scope::All)).await, "-session");
    assert_eq!(looks(&browsers, &house).await, "none, expired, expired, live of=eve");

    let mut nobody = Browser::visiting(&house, &[("a", "1")]).await;
    assert_eq!(nobody.asks(&house, ended(Scope::Others)).await, "");
    assert_eq!(looks(&browsers, &house).await, "none, expired, expired, live of=eve");
}

pub async fn ending_the_others_spares_the_session_that_moves_in_the_same_answer(house: House) {
    // SL8: as after a change of password
    for moving in [login("ada"), regenerate(nothing()), Batch { invalidate: true, ..login("ada") }] {
        let mut browsers = visitors(&house).await;
        let batch = Batch { destroy: Some(Scope::Others), ..moving };
        assert_eq!(browsers[0].asks(&house, batch).await, "session");
        let own = looks(&browsers, &house).await;
        assert!(own.starts_with("live"), "{own}");
        assert!(own.ends_with(", expired, expired, live of=eve"), "{own}");
    }
}

pub async fn a_cookie_that_moves_to_another_path_leaves_none_behind(house: House) {
    // CP4: two cookies that both verify would make the visitor anonymous
    let house = house.with_a_path();
    for batch in [nothing(), login("ada"), regenerate(nothing())].map(to_path) {
        let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
        assert_eq!(browser.asks(&house, batch).await, "-session session");
        assert_eq!((browser.look(&house).await.as_str(), browser.cookies()), ("live a=1", 1));
        let new = Batch { invalidate: true, ..set(&[("b", "2")]) };
        assert_eq!(browser.asks(&house, new).await, "-session session");
        assert_eq!((browser.look(&house).await.as_str(), browser.cookies()), ("live b=2", 1));
    }
}
