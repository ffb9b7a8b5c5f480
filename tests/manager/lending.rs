//! Messages are handed to one request at a time, and wait for the next one when its answer does not show them.

use crate::support::{Browser, House, INSTANT, flash, login, nothing, regenerate, set};
use crate::watched::Fault;
use cloakroom::manager::{Committed, Event, OnRefused, Session, SessionError};
use cloakroom::session::{
    Batch, Condition, Handed, LEASE, NewFlash, Picked, Reading, Refusal, Refused, Scope, Shown, View,
};
use std::sync::Arc;

/// A visitor for whom these messages wait.
async fn waiting(house: &House, texts: &[&str]) -> Browser {
    let mut browser = Browser::default();
    browser.asks(house, texts.iter().fold(nothing(), |batch, text| flash(text, batch))).await;
    browser
}

/// The messages that a request is handed, with their numbers.
fn messages(house: &House, session: &Session) -> Vec<(u32, String)> {
    let Some(snapshot) = session.snapshot() else { return Vec::new() };
    let view = View::parse(&snapshot.bytes).unwrap();
    let handed = view.handed(session.handed(), house.now()).unwrap();
    handed.iter().map(|flash| (flash.number, flash.text.to_owned())).collect()
}

fn texts(house: &House, session: &Session) -> String {
    messages(house, session).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
}

/// A request whose answer may consume messages, of which the backend takes so many at a time.
async fn request_for(house: &House, browser: &Browser, most: usize) -> Session {
    let mut session = browser.resolve(house).await;
    house.lend(&mut session, most).await.unwrap();
    session
}

async fn request(house: &House, browser: &Browser) -> Session {
    request_for(house, browser, 100).await
}

/// What waits for a request that takes nothing from others.
async fn left(house: &House, browser: &Browser) -> String {
    texts(house, &browser.resolve(house).await)
}

/// The answer to a request, which shows the messages to a person or does not.
async fn answer(house: &House, session: &Session, reading: Reading, batch: &Batch) -> Committed {
    let numbers: Vec<u32> = messages(house, session).into_iter().map(|(number, _)| number).collect();
    let shown = Shown { flashes: &numbers, reading, refusal: false };
    let asked = (*batch != nothing()).then_some(batch);
    house.commit(session, Ok(asked), shown).await.unwrap()
}

async fn page(house: &House, session: &Session) -> Committed {
    answer(house, session, Reading::All, &nothing()).await
}

async fn redirect(house: &House, session: &Session) -> Committed {
    answer(house, session, Reading::Acknowledged, &nothing()).await
}

fn revision(session: &Session) -> u64 {
    View::parse(&session.snapshot().unwrap().bytes).unwrap().head.revision
}

pub async fn of_two_pages_under_way_one_shows_a_message(house: House) {
    // F3: two processes on one store
    let browser = waiting(&house, &["one", "two"]).await;
    let other = house.with_keys(&[1]);
    let first = request(&house, &browser).await;
    assert_eq!(texts(&house, &first), "one two");
    let second = request(&other, &browser).await;
    assert_eq!((texts(&other, &second).as_str(), left(&house, &browser).await.as_str()), ("", ""));
    page(&house, &first).await;
    page(&other, &second).await;
    assert_eq!(left(&house, &browser).await, "");
    assert_eq!(texts(&house, &request(&house, &browser).await), "");
}

pub async fn what_an_answer_does_not_show_is_given_back_with_one_write_and_no_change(house: House) {
    // F3
    let browser = waiting(&house, &["hi"]).await;
    let before = browser.resolve(&house).await;
    let session = request(&house, &browser).await;
    house.store.calls();
    let committed = redirect(&house, &session).await;
    assert_eq!((house.store.calls().as_str(), committed.event, committed.cookies.len()), ("replace", None, 0));
    let after = request(&house, &browser).await;
    assert_eq!((texts(&house, &after).as_str(), revision(&after)), ("hi", revision(&before)));
    // `If: @version` still means the backend's own changes
    let conditions = vec![Condition::Version(revision(&before))];
    answer(&house, &after, Reading::Acknowledged, &Batch { conditions, ..set(&[("a", "1")]) }).await;
    assert_eq!((left(&house, &browser).await.as_str(), browser.look(&house).await.as_str()), ("hi", "live a=1"));
}

pub async fn a_session_is_in_use_although_its_messages_only_go_back(house: House) {
    let browser = waiting(&house, &["hi"]).await;
    house.wait(LEASE * 40);
    let session = request(&house, &browser).await;
    assert_eq!(redirect(&house, &session).await.event, Some(Event::Touched));
    house.wait(LEASE * 50);
    assert_eq!(left(&house, &browser).await, "hi");
}

pub async fn a_request_without_an_answer_gives_back_what_it_held(house: House) {
    // F3: the backend failed, the client left, the page was withheld
    let browser = waiting(&house, &["hi"]).await;
    let mut session = request(&house, &browser).await;
    house.answer(&browser.resolve(&house).await, set(&[("a", "1")])).await;
    house.give_back(&mut session).await.unwrap();
    assert_eq!((left(&house, &browser).await.as_str(), browser.look(&house).await.as_str()), ("hi", "live a=1"));
    house.store.calls();
    house.give_back(&mut session).await.unwrap();
    assert_eq!(house.store.calls(), "", "there is nothing to give back any more");

    let mut session = request(&house, &browser).await;
    house.answer(&browser.resolve(&house).await, Batch { destroy: Some(Scope::This), ..nothing() }).await;
    house.give_back(&mut session).await.unwrap();
    assert_eq!(browser.look(&house).await, "expired");
}

pub async fn a_lease_ends_by_itself(house: House) {
    // F3: the proxy died
    let browser = waiting(&house, &["hi"]).await;
    let slow = request(&house, &browser).await;
    house.wait(LEASE);
    assert_eq!(texts(&house, &request(&house, &browser).await), "");
    house.wait(INSTANT);
    let next = request(&house, &browser).await;
    assert_eq!(texts(&house, &next), "hi");
    // It was late, and gives back what is not its own any more.
    redirect(&house, &slow).await;
    assert_eq!(left(&house, &browser).await, "", "the next page holds it");
    page(&house, &slow).await;
    redirect(&house, &next).await;
    assert_eq!(left(&house, &browser).await, "", "who shows it late has shown it");
}

pub async fn only_what_there_is_room_for_is_lent(house: House) {
    let browser = waiting(&house, &["one", "two", "three"]).await;
    let first = request_for(&house, &browser, 1).await;
    let second = request_for(&house, &browser, 1).await;
    assert_eq!((texts(&house, &first).as_str(), texts(&house, &second).as_str()), ("one", "two"));
    assert_eq!(left(&house, &browser).await, "three");
    page(&house, &second).await;
    redirect(&house, &first).await;
    assert_eq!(left(&house, &browser).await, "one three");
}

pub async fn an_answer_consumes_what_its_request_was_shown_and_nothing_else(house: House) {
    let browser = waiting(&house, &["one"]).await;
    let first = request(&house, &browser).await;
    house.answer(&browser.resolve(&house).await, flash("two", nothing())).await;
    let second = request(&house, &browser).await;
    assert_eq!(texts(&house, &second), "two");
    house.answer(&browser.resolve(&house).await, flash("three", nothing())).await;
    page(&house, &second).await;
    redirect(&house, &first).await;
    assert_eq!(left(&house, &browser).await, "one three");
}

pub async fn what_the_backend_keeps_waits_for_the_next_request(house: House) {
    let browser = waiting(&house, &["one"]).await;
    let in_cart = |text: &str| {
        let mut batch = nothing();
        let fields = vec![(crate::support::name("list"), "cart".to_owned())];
        batch.changes.flash.push(NewFlash { level: crate::support::name("info"), text: text.into(), fields });
        batch
    };
    house.answer(&browser.resolve(&house).await, in_cart("two")).await;
    let cart = Picked::Only { levels: [].into(), lists: [Some(crate::support::name("cart"))].into() };
    // F6
    let keep = Batch { flash_keep: Some(cart.clone()), ..nothing() };
    answer(&house, &request(&house, &browser).await, Reading::All, &keep).await;
    assert_eq!(texts(&house, &request(&house, &browser).await), "two");
    house.wait(LEASE + INSTANT);
    let read = Batch { flash_read: Some(cart), ..nothing() };
    answer(&house, &request(&house, &browser).await, Reading::Acknowledged, &read).await;
    assert_eq!(left(&house, &browser).await, "");
}

pub async fn of_many_requests_at_once_one_is_handed_each_message(house: House) {
    // F3, ST3
    let browser = waiting(&house, &["one", "two", "three"]).await;
    let houses = [house.with_keys(&[1]), house].map(Arc::new);
    let requests: Vec<_> = (0..20)
        .map(|n| {
            let (house, browser) = (Arc::clone(&houses[n % 2]), browser.clone());
            tokio::spawn(async move {
                let session = request_for(&house, &browser, 1 + n % 2).await;
                texts(&house, &session)
            })
        })
        .collect();
    let mut handed = Vec::new();
    for request in requests {
        handed.extend(request.await.unwrap().split_ascii_whitespace().map(str::to_owned));
    }
    handed.sort();
    assert_eq!(handed, ["one", "three", "two"]);
}

pub async fn messages_are_consumed_while_the_session_changes_all_the_time(house: House) {
    // ST3
    let browser = waiting(&house, &["one", "two"]).await;
    let house = Arc::new(house);
    let writers: Vec<_> = (0..20)
        .map(|n: usize| {
            let (house, browser) = (Arc::clone(&house), browser.clone());
            tokio::spawn(async move {
                if n.is_multiple_of(5) {
                    let session = request(&house, &browser).await;
                    redirect(&house, &session).await;
                } else {
                    house.answer(&browser.resolve(&house).await, set(&[(&format!("k{n:02}"), "x")])).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(left(&house, &browser).await, "one two");
    assert_eq!(browser.look(&house).await.matches("=x").count(), 16);
    page(&house, &request(&house, &browser).await).await;
    assert_eq!(left(&house, &browser).await, "");
}

pub async fn an_old_copy_hands_out_nothing_that_is_gone_or_held(house: House) {
    let browser = waiting(&house, &["one", "two"]).await;
    house.store.grow_old(house.now()).await;
    let first = request_for(&house, &browser, 1).await;
    assert_eq!(left(&house, &browser).await, "one two", "the copy knows nothing of it");
    let second = request(&house, &browser).await;
    assert_eq!(texts(&house, &second), "two");
    page(&house, &first).await;
    redirect(&house, &second).await;
    let third = request(&house, &browser).await;
    assert_eq!(texts(&house, &third), "two");
    page(&house, &third).await;
    assert_eq!(texts(&house, &request(&house, &browser).await), "");
}

pub async fn a_cut_connection_hands_a_message_to_one_request_still(house: House) {
    for cut in [Fault::CutBefore, Fault::CutAfter, Fault::CutAndFirst, Fault::CutAndSecond] {
        let browser = waiting(&house, &["hi"]).await;
        house.store.fail(cut, 0);
        let session = request(&house, &browser).await;
        assert_eq!(texts(&house, &session), "hi", "{cut:?}");
        assert_eq!(texts(&house, &request(&house, &browser).await), "", "{cut:?}");
        house.store.fail(cut, 0);
        redirect(&house, &session).await;
        let mut session = request(&house, &browser).await;
        assert_eq!(texts(&house, &session), "hi", "{cut:?}");
        house.store.fail(cut, 0);
        house.give_back(&mut session).await.unwrap();
        let session = request(&house, &browser).await;
        assert_eq!(texts(&house, &session), "hi", "{cut:?}");
        house.store.fail(cut, 0);
        page(&house, &session).await;
        assert_eq!(left(&house, &browser).await, "", "{cut:?}");
        house.store.fail_no_more();
    }
}

pub async fn where_a_lease_cannot_be_written_the_messages_stay(house: House) {
    for (fault, meanwhile) in [(Fault::Lost, "hi"), (Fault::Late, "")] {
        let browser = waiting(&house, &["hi"]).await;
        let mut session = browser.resolve(&house).await;
        house.store.fail(fault, 0);
        house.store.refuse_reading(true);
        let error = house.lend(&mut session, 100).await.unwrap_err();
        house.store.refuse_reading(false);
        assert!(matches!(error, SessionError::Store(_)), "{error}");
        assert_eq!(texts(&house, &session), "", "{fault:?}: nobody knows who holds it");
        page(&house, &session).await;
        assert_eq!(left(&house, &browser).await, meanwhile, "{fault:?}");
        house.wait(LEASE + INSTANT);
        assert_eq!(texts(&house, &request(&house, &browser).await), "hi", "{fault:?}");
    }
}

pub async fn a_page_passes_although_its_messages_cannot_be_given_back(house: House) {
    let browser = waiting(&house, &["hi"]).await;
    let session = request(&house, &browser).await;
    house.store.fail(Fault::Lost, 0);
    assert!(redirect(&house, &session).await.unwritten.is_some());
    house.wait(LEASE + INSTANT);
    assert_eq!(texts(&house, &request(&house, &browser).await), "hi");
}

pub async fn a_new_id_takes_along_who_holds_what(house: House) {
    for reading in [Reading::All, Reading::Acknowledged] {
        let mut browser = waiting(&house, &["hi"]).await;
        let copy = browser.clone();
        let session = request(&house, &browser).await;
        browser.asks(&house, regenerate(nothing())).await;
        assert_eq!(texts(&house, &request(&house, &copy).await), "", "through the old id");
        assert_eq!(texts(&house, &request(&house, &browser).await), "");
        answer(&house, &session, reading, &nothing()).await;
        let left = if reading == Reading::All { "" } else { "hi" };
        assert_eq!(texts(&house, &request(&house, &browser).await), left);
    }
    let browser = waiting(&house, &["hi"]).await;
    let mut copy = browser.clone();
    let first = request(&house, &browser).await;
    copy.asks(&house, Batch { login: login("ada").login, ..nothing() }).await;
    redirect(&house, &first).await;
    house.wait(LEASE + INSTANT);
    assert_eq!(texts(&house, &request(&house, &copy).await), "hi", "the old id is dead: time gives it back");
}

pub async fn what_an_answer_asks_of_its_session_settles_what_it_held(house: House) {
    // Each with messages that it does not show
    let batches = [set(&[("a", "1")]), flash("more", nothing()), regenerate(nothing()), login("ada")];
    for batch in batches {
        let mut browser = waiting(&house, &["hi"]).await;
        let session = request(&house, &browser).await;
        browser.keep(&answer(&house, &session, Reading::Acknowledged, &batch).await);
        let next = texts(&house, &request(&house, &browser).await);
        assert_eq!(next.split(' ').next(), Some("hi"), "{batch:?}");
    }
    let mut browser = waiting(&house, &["hi"]).await;
    let session = request(&house, &browser).await;
    let end = Batch { destroy: Some(Scope::This), ..flash("bye", nothing()) };
    browser.keep(&answer(&house, &session, Reading::All, &end).await);
    assert_eq!(texts(&house, &request(&house, &browser).await), "bye");
}

pub async fn a_page_whose_batch_was_refused_shows_its_messages_where_it_is_delivered(house: House) {
    let house = house.with_options(|options| options.on_refused = OnRefused::Deliver);
    let browser = waiting(&house, &["hi"]).await;
    let session = request(&house, &browser).await;
    let refused = Refused::new(Refusal::Escape, "a broken escape");
    let shown = Shown { flashes: &[1], reading: Reading::All, refusal: false };
    house.commit(&session, Err(refused.clone()), shown).await.unwrap();
    assert_eq!(left(&house, &browser).await, "");

    let browser = waiting(&house, &["hi"]).await;
    let mut session = request(&house, &browser).await;
    let loud = house.with_options(|options| options.on_refused = OnRefused::Error);
    loud.commit(&session, Err(refused), shown).await.unwrap_err();
    house.give_back(&mut session).await.unwrap();
    assert_eq!(left(&house, &browser).await, "hi", "the page was withheld");
}

pub async fn a_session_that_is_resolved_once_more_gives_back_what_the_request_held(house: House) {
    let browser = waiting(&house, &["one", "two"]).await;
    let mut again = request_for(&house, &browser, 1).await;
    let before = again.handed();
    house.renew(&mut again).await.unwrap();
    assert_eq!(again.handed(), before, "as before a replay");
    house.lend(&mut again, 2).await.unwrap();
    assert_eq!(texts(&house, &again), "one two");
    assert_ne!(again.handed(), before);
    house.lend(&mut again, 0).await.unwrap();
    assert_eq!((again.handed(), left(&house, &browser).await.as_str()), (Handed::Nothing, "one two"));
}

pub async fn a_session_in_a_cookie_lends_nothing_and_shows_what_waits(house: House) {
    // F7
    let mut browser = waiting(&house, &["hi"]).await;
    let (first, second) = (request(&house, &browser).await, request(&house, &browser).await);
    assert_eq!((texts(&house, &first).as_str(), texts(&house, &second).as_str()), ("hi", "hi"));
    assert_eq!(redirect(&house, &first).await.cookies.len(), 0);
    browser.keep(&page(&house, &second).await);
    assert_eq!(left(&house, &browser).await, "");
}
