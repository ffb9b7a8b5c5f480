//! Answers that overlap on one session in a store.

use crate::support::{Browser, House, add, cookies, login, name, nothing, regenerate, set};
use cloakroom::manager::{CommitError, Committed};
use cloakroom::session::{Batch, Condition, Scope};
use std::sync::Arc;

/// The answers to requests that all came before the first answer went; each task is a request, each house a process.
async fn in_parallel(
    houses: &[Arc<House>; 2],
    browser: &Browser,
    batches: impl IntoIterator<Item = Batch>,
) -> Vec<Committed> {
    let mut requests = Vec::new();
    for (batch, house) in batches.into_iter().zip(houses.iter().cycle()) {
        requests.push((Arc::clone(house), browser.resolve(house).await, batch));
    }
    let answers = requests
        .into_iter()
        .map(|(house, session, batch)| tokio::spawn(async move { house.answer(&session, batch).await }));
    let mut committed = Vec::new();
    for answer in answers.collect::<Vec<_>>() {
        committed.push(answer.await.unwrap());
    }
    committed
}

pub async fn a_hundred_parallel_answers_lose_nothing(house: House) {
    // ST3: two processes on one store
    let browser = Browser::visiting(&house, &[("sum", "0")]).await;
    let houses = [house.with_keys(&[1]), house].map(Arc::new);
    let batches = (0..100).map(|n| {
        let mut batch = set(&[(&format!("key{n:02}"), "x")]);
        batch.changes.add = add("sum", n).changes.add;
        batch
    });
    for committed in in_parallel(&houses, &browser, batches).await {
        assert_eq!(cookies(&committed), "");
    }
    let keys: String = (0..100).map(|n| format!("key{n:02}=x&")).collect();
    assert_eq!(browser.look(&houses[0]).await, format!("live {keys}sum=4950"));
}

pub async fn parallel_answers_that_change_the_id_lose_nothing(house: House) {
    // ST3, SL3
    let browser = Browser::visiting(&house, &[("sum", "0")]).await;
    let houses = [house.with_keys(&[1]), house].map(Arc::new);
    let answers = in_parallel(&houses, &browser, (1..=40).map(|n| Batch { regenerate: n % 2 == 0, ..add("sum", n) }));
    answers.await;
    assert_eq!(browser.look(&houses[0]).await, "live sum=820");
}

pub async fn a_logout_among_parallel_answers_leaves_no_id_alive(house: House) {
    // SL6
    let browser = Browser::visiting(&house, &[("a", "1")]).await;
    let houses = [house.with_keys(&[1]), house].map(Arc::new);
    let end = |n| (n == 20).then_some(Scope::This);
    let batches = (0..40).map(|n| Batch { destroy: end(n), regenerate: true, ..set(&[("a", &n.to_string())]) });
    for committed in in_parallel(&houses, &browser, batches).await {
        let mut copy = Browser::default();
        copy.keep(&committed);
        assert!(["none", "expired"].contains(&copy.look(&houses[0]).await.as_str()));
    }
    assert_eq!(browser.look(&houses[0]).await, "expired");
}

pub async fn a_late_answer_revives_no_session(house: House) {
    // S13
    let logout = || Batch { destroy: Some(Scope::This), ..nothing() };
    for late in [nothing(), set(&[("a", "1")]), set(&[("b", "2")]), regenerate(nothing()), logout()] {
        let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
        let copy = browser.clone();
        let before = browser.resolve(&house).await;
        browser.asks(&house, logout()).await;
        assert_eq!(cookies(&house.answer(&before, late.clone()).await), "", "{late:?}");
        assert_eq!(copy.look(&house).await, "expired", "{late:?}");
    }
}

pub async fn a_late_login_begins_a_session_of_its_own(house: House) {
    // S13
    for end in [Batch { destroy: Some(Scope::This), ..nothing() }, login("eve")] {
        let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
        let copy = browser.clone();
        let before = browser.resolve(&house).await;
        browser.asks(&house, end).await;
        let late = house.answer(&before, Batch { login: login("ada").login, ..set(&[("b", "2")]) }).await;
        assert_eq!(browser.keep(&late), "session");
        assert_eq!(browser.look(&house).await, "live b=2");
        assert_eq!(copy.look(&house).await, "expired");
    }
}

/// A stale copy says `n=before`, the newest record says `n=after`; a batch on condition that `n=1`.
async fn conditional(house: &House, (before, after): (&str, &str), batch: Batch) -> (bool, String) {
    let mut browser = Browser::visiting(house, &[("n", before)]).await;
    let stale = browser.resolve(house).await;
    browser.asks(house, set(&[("n", after)])).await;
    let conditions = vec![Condition::Equals(name("n"), "1".into())];
    let refused = match house.try_answer(&stale, Batch { conditions, ..batch }).await {
        Ok(_) => false,
        Err(CommitError::Refused(_)) => true,
        Err(error) => panic!("{error}"),
    };
    (refused, browser.look(house).await)
}

pub async fn a_condition_is_decided_on_the_newest_record(house: House) {
    let end = || Batch { destroy: Some(Scope::This), ..nothing() };
    let (held, holds) = (("1", "2"), ("2", "1"));
    let table = [
        (held, set(&[("x", "y")]), true, "live n=2"),
        (held, set(&[("n", "1")]), true, "live n=2"),
        (held, nothing(), true, "live n=2"),
        (held, regenerate(nothing()), true, "live n=2"),
        (held, end(), true, "live n=2"),
        (holds, set(&[("x", "y")]), false, "live n=1&x=y"),
        (holds, set(&[("n", "1")]), false, "live n=1"),
        (holds, nothing(), false, "live n=1"),
        (holds, regenerate(nothing()), false, "live n=1"),
        (holds, end(), false, "expired"),
    ];
    for (values, batch, refused, after) in table {
        assert_eq!(conditional(&house, values, batch.clone()).await, (refused, after.into()), "{values:?} {batch:?}");
    }
}

pub async fn a_value_that_only_the_old_copy_held_is_still_a_change(house: House) {
    let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
    let stale = browser.resolve(&house).await;
    browser.asks(&house, set(&[("a", "2")])).await;
    house.answer(&stale, set(&[("a", "1")])).await;
    assert_eq!(browser.look(&house).await, "live a=1");
}

pub async fn a_new_id_takes_along_what_was_written_meanwhile(house: House) {
    // ST3
    for moving in [regenerate(set(&[("b", "2")])), Batch { login: login("ada").login, ..set(&[("b", "2")]) }] {
        let mut browser = Browser::visiting(&house, &[("a", "1")]).await;
        let stale = browser.resolve(&house).await;
        browser.asks(&house, set(&[("c", "3")])).await;
        assert_eq!(browser.keep(&house.answer(&stale, moving).await), "session");
        assert_eq!(browser.look(&house).await, "live a=1&b=2&c=3");
    }
}
