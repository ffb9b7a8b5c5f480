//! So many sessions at a time for one owner.

use crate::support::{Browser, House, MINUTE, SECOND, add, cookies, login, nothing, regenerate, set};
use crate::watched::{Fault, Watched};
use cloakroom::codec::AtRest;
use cloakroom::manager::{CommitError, OwnerCap, WhenFull};
use cloakroom::session::{Batch, OwnerKey, Refusal, Scope};
use cloakroom::store::disk::{DiskOptions, DiskStore, Sync};
use std::num::NonZeroU32;
use std::sync::Arc;

const ORDERS: [WhenFull; 3] = [WhenFull::Reject, WhenFull::Oldest, WhenFull::LeastRecent];

/// Another process on the same store, where an owner may have `limit` sessions.
fn capped(house: &House, limit: u32, when_full: WhenFull) -> House {
    let limit = NonZeroU32::new(limit).unwrap();
    house.with_options(|options| options.max_sessions_per_owner = Some(OwnerCap { limit, when_full }))
}

fn logout() -> Batch {
    Batch { destroy: Some(Scope::This), ..nothing() }
}

/// A browser after a login that nobody refused.
async fn visitor(house: &House, owner: &str) -> Browser {
    let mut browser = Browser::default();
    assert_eq!(browser.asks(house, login(owner)).await, "session");
    browser
}

async fn is_refused(house: &House, browser: &Browser, batch: Batch) -> bool {
    match house.try_answer(&browser.resolve(house).await, batch).await {
        Ok(_) => false,
        Err(CommitError::Refused(refused)) => {
            assert_eq!(refused.reason, Refusal::Limit);
            true
        }
        Err(error) => panic!("{error}"),
    }
}

/// Which of the browsers are logged in: `x` for each that is, `-` for the others.
async fn living(house: &House, browsers: impl IntoIterator<Item = &Browser>) -> String {
    let mut living = String::new();
    for browser in browsers {
        living.push(if browser.look(house).await.starts_with("live") { 'x' } else { '-' });
    }
    living
}

pub async fn a_login_beyond_the_limit_is_refused_whole_or_ends_another_session(house: House) {
    for (when_full, expected) in [(WhenFull::Oldest, "--xx"), (WhenFull::LeastRecent, "x--x")] {
        let house = capped(&house, 2, when_full);
        let owner = format!("{when_full:?}");
        let mut browsers = Vec::new();
        for _ in 0..4 {
            house.wait(2 * MINUTE);
            browsers.push(visitor(&house, &owner).await);
            house.wait(2 * MINUTE);
            browsers[0].asks(&house, nothing()).await;
        }
        assert_eq!(living(&house, &browsers).await, expected, "{when_full:?}");
        let evicted = browsers.iter_mut().find(|browser| browser.cookies() == 1);
        assert!(evicted.is_some());
    }
    let house = capped(&house, 2, WhenFull::Reject);
    let browsers = [visitor(&house, "ada").await, visitor(&house, "ada").await];
    let mut guest = Browser::visiting(&house, &[("a", "1")]).await;
    let refused = house.try_answer(&guest.resolve(&house).await, login("ada")).await.unwrap_err();
    assert_eq!(refused.to_string(), "refused (limit): Login: the owner has 2 sessions, as many as there may be");
    assert!(is_refused(&house, &Browser::default(), login("ada")).await);
    assert_eq!(living(&house, &browsers).await, "xx");
    assert_eq!(guest.look(&house).await, "live a=1");
    assert_eq!(guest.asks(&house, login("eve")).await, "session");
}

pub async fn the_visitor_of_a_session_that_made_room_loses_the_cookie(house: House) {
    // SL11
    let house = capped(&house, 1, WhenFull::Oldest);
    let mut first = visitor(&house, "ada").await;
    let before = first.resolve(&house).await;
    visitor(&house, "ada").await;
    assert_eq!(cookies(&house.answer(&before, set(&[("a", "1")])).await), "");
    assert_eq!(first.look(&house).await, "expired");
    assert_eq!(first.asks(&house, nothing()).await, "-session");
}

pub async fn a_seat_is_freed_by_whatever_ends_the_session(house: House) {
    let house = capped(&house, 1, WhenFull::Reject);
    let ends = [
        logout(),
        Batch { invalidate: true, ..nothing() },
        Batch { destroy: Some(Scope::All), ..nothing() },
        login("eve"),
    ];
    for end in ends {
        let mut browser = visitor(&house, "ada").await;
        assert!(is_refused(&house, &Browser::default(), login("ada")).await);
        browser.asks(&house, end.clone()).await;
        let mut next = visitor(&house, "ada").await;
        next.asks(&house, logout()).await;
        browser.asks(&house, logout()).await;
    }
    visitor(&house, "ada").await;
    house.wait(30 * MINUTE);
    assert!(is_refused(&house, &Browser::default(), login("ada")).await);
    house.wait(SECOND);
    visitor(&house, "ada").await;
}

pub async fn the_end_of_the_others_frees_their_seats(house: House) {
    let house = capped(&house, 3, WhenFull::Reject);
    let browsers = [visitor(&house, "ada").await, visitor(&house, "ada").await, visitor(&house, "ada").await];
    let others = Batch { destroy: Some(Scope::Others), ..nothing() };
    browsers[1].clone().asks(&house, others.clone()).await;
    assert_eq!(living(&house, &browsers).await, "-x-");
    let more = [visitor(&house, "ada").await, visitor(&house, "ada").await];
    assert!(is_refused(&house, &Browser::default(), login("ada")).await);
    // Who ends all others finds room.
    let mut only = Browser::default();
    assert_eq!(only.asks(&house, Batch { login: login("ada").login, ..others }).await, "session");
    assert_eq!(living(&house, browsers.iter().chain(&more).chain([&only])).await, "-----x");
}

pub async fn a_session_that_changes_its_id_keeps_its_seat(house: House) {
    for when_full in ORDERS {
        let house = capped(&house, 2, when_full);
        let owner = format!("{when_full:?}");
        let mut browsers = [visitor(&house, &owner).await, visitor(&house, &owner).await];
        for _ in 0..3 {
            for batch in [regenerate(nothing()), login(&owner), Batch { invalidate: true, ..login(&owner) }] {
                assert_eq!(browsers[0].asks(&house, batch).await, "session");
                assert_eq!(living(&house, &browsers).await, "xx", "{when_full:?}");
            }
        }
        house.wait(10 * MINUTE);
        let third = Browser::default();
        assert_eq!(is_refused(&house, &third, login(&owner)).await, when_full == WhenFull::Reject);
    }
}

pub async fn a_login_on_an_old_copy_takes_along_the_seat_of_the_newest_id(house: House) {
    let house = capped(&house, 1, WhenFull::Reject);
    let mut browser = visitor(&house, "ada").await;
    let mut copy = browser.clone();
    house.store.grow_old(house.now()).await;
    browser.asks(&house, regenerate(nothing())).await;
    assert_eq!(copy.asks(&house, login("ada")).await, "session");
    house.store.forget_copies();
    assert_eq!(living(&house, [&copy, &browser]).await, "x-");
}

pub async fn sessions_that_began_before_there_was_a_limit_count(house: House) {
    let old = [visitor(&house, "ada").await, visitor(&house, "ada").await, visitor(&house, "ada").await];
    let strict = capped(&house, 3, WhenFull::Reject);
    assert!(is_refused(&strict, &Browser::default(), login("ada")).await);
    let lower = capped(&house, 2, WhenFull::Oldest);
    let new = visitor(&lower, "ada").await;
    assert_eq!(living(&lower, &old).await.matches('x').count(), 1);
    assert_eq!(living(&lower, [&new]).await, "x");
}

pub async fn a_roster_that_cannot_be_read_is_begun_anew(house: House) {
    // ST5
    let house = capped(&house, 2, WhenFull::Reject);
    let browsers = [visitor(&house, "ada").await, visitor(&house, "ada").await];
    let roster = OwnerKey::new("main", "ada").roster_key();
    for bytes in [&b""[..], b"\x80\x04\x95 a pickle", &[1; 15_000]] {
        house.store.overwrite(&roster, bytes, house.now()).await;
        assert!(is_refused(&house, &Browser::default(), login("ada")).await);
        assert_eq!(living(&house, &browsers).await, "xx");
    }
}

pub async fn a_login_that_fails_takes_no_seat(house: House) {
    // The roster is written first, then the session
    for when_full in ORDERS {
        let house = capped(&house, 1, when_full);
        let owner = format!("{when_full:?}");
        house.store.fail(Fault::Lost, 1);
        house.try_answer(&Browser::default().resolve(&house).await, login(&owner)).await.unwrap_err();
        let first = visitor(&house, &owner).await;
        if when_full != WhenFull::Reject {
            house.store.fail(Fault::Lost, 1);
            house.try_answer(&Browser::default().resolve(&house).await, login(&owner)).await.unwrap_err();
        }
        assert_eq!(living(&house, [&first]).await, "x", "{when_full:?}");
        first.clone().asks(&house, regenerate(nothing())).await;
        assert_eq!(living(&house, [&first]).await, "x", "{when_full:?}");
    }
}

pub async fn a_login_that_is_given_up_half_way_holds_its_seat_for_a_moment_only(house: House) {
    let house = Arc::new(capped(&house, 1, WhenFull::Reject));
    let session = Browser::default().resolve(&house).await;
    // The roster is new, too: the second entry that is created is the session.
    let mut held = house.store.hold_after("create", 1);
    let login_under_way = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.answer(&session, login("ada")).await }
    });
    held.reached().await;
    login_under_way.abort();
    login_under_way.await.unwrap_err();
    assert!(is_refused(&house, &Browser::default(), login("ada")).await);
    house.wait(31 * SECOND);
    visitor(&house, "ada").await;
}

pub async fn a_cut_connection_costs_no_seat(house: House) {
    let house = capped(&house, 2, WhenFull::Reject);
    for cut in [Fault::CutBefore, Fault::CutAfter, Fault::CutAndFirst, Fault::CutAndSecond] {
        for others in 0..2 {
            let owner = format!("{cut:?} {others}");
            house.store.fail(cut, others);
            let first = visitor(&house, &owner).await;
            let second = visitor(&house, &owner).await;
            assert_eq!(living(&house, [&first, &second]).await, "xx", "{owner}");
            assert!(is_refused(&house, &Browser::default(), login(&owner)).await, "{owner}");
        }
    }
}

pub async fn sessions_that_an_operator_ended_take_no_seat(house: House) {
    let house = capped(&house, 1, WhenFull::Reject);
    visitor(&house, "ada").await;
    house.wait(MINUTE);
    let now = house.now();
    let ended = house.with_options(|options| options.not_before = Some(now));
    visitor(&ended, "ada").await;
}

/// Logins at once on two processes: how many were not refused, and the browsers after them.
async fn login_at_once(houses: &[Arc<House>; 2], owner: &str, count: usize) -> Vec<Browser> {
    let logins = (0..count).map(|n| {
        let (house, batch) = (Arc::clone(&houses[n % 2]), login(owner));
        tokio::spawn(async move {
            let mut browser = Browser::default();
            let session = browser.resolve(&house).await;
            match house.try_answer(&session, batch).await {
                Ok(committed) => browser.keep(&committed),
                Err(CommitError::Refused(_)) => String::new(),
                Err(error) => panic!("{error}"),
            };
            browser
        })
    });
    let mut browsers = Vec::new();
    for login in logins.collect::<Vec<_>>() {
        browsers.push(login.await.unwrap());
    }
    browsers
}

pub async fn logins_at_once_leave_no_more_sessions_than_there_may_be(house: House) {
    for when_full in ORDERS {
        let houses = [capped(&house, 3, when_full), capped(&house, 3, when_full)].map(Arc::new);
        for round in 0..4 {
            let owner = format!("{when_full:?} {round}");
            let browsers = login_at_once(&houses, &owner, 40).await;
            let living = living(&houses[0], &browsers).await.matches('x').count();
            assert_eq!(living, 3, "{when_full:?}");
            if when_full == WhenFull::Reject {
                assert_eq!(browsers.iter().filter(|browser| browser.cookies() == 1).count(), 3);
            }
        }
    }
}

pub async fn logouts_and_new_ids_among_logins_leave_no_more_sessions_than_there_may_be(house: House) {
    for (when_full, round) in ORDERS.into_iter().flat_map(|order| (0..4).map(move |round| (order, round))) {
        let houses = [capped(&house, 3, when_full), capped(&house, 3, when_full)].map(Arc::new);
        let owner = format!("{when_full:?} {round}, busy");
        let mut tasks = Vec::new();
        for n in 0..12 {
            let (house, batch) = (Arc::clone(&houses[n % 2]), login(&owner));
            tasks.push(tokio::spawn(async move {
                let mut browser = Browser::default();
                for step in 0..6 {
                    let batch = match (n + step) % 3 {
                        0 => batch.clone(),
                        1 => regenerate(add("n", 1)),
                        _ if n % 4 == 0 => logout(),
                        _ => Batch { regenerate: true, ..set(&[("a", "1")]) },
                    };
                    let session = browser.resolve(&house).await;
                    match house.try_answer(&session, batch).await {
                        Ok(committed) => browser.keep(&committed),
                        Err(CommitError::Refused(_)) => String::new(),
                        Err(error) => panic!("{error}"),
                    };
                }
                browser
            }));
        }
        let mut browsers = Vec::new();
        for task in tasks {
            browsers.push(task.await.unwrap());
        }
        let mut logged_in = 0;
        for browser in &browsers {
            let session = browser.resolve(&houses[0]).await;
            let view = session.snapshot().map(|snapshot| cloakroom::session::View::parse(&snapshot.bytes).unwrap());
            logged_in += usize::from(view.is_some_and(|view| view.owner.is_some()));
        }
        assert!(logged_in <= 3, "{when_full:?}: {logged_in}");
        // Nothing is listed that holds a seat for nothing: there is room for as many as there may be.
        houses[0].wait(MINUTE);
        let free = 3 - logged_in;
        let more = login_at_once(&houses, &owner, 6).await;
        let living = living(&houses[0], &more).await.matches('x').count();
        assert_eq!(living, if when_full == WhenFull::Reject { free } else { 3 }, "{when_full:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logins_at_once_on_disk_leave_no_more_sessions_than_there_may_be() {
    let directory = tempfile::tempdir().unwrap();
    let options = DiskOptions { path: directory.path().join("sessions.db"), sync: Sync::Never };
    let store = Watched::new(Arc::new(DiskStore::open(options).unwrap()));
    let house = House::on(store, crate::support::Keeper::Store(AtRest::Sealed));
    logins_at_once_leave_no_more_sessions_than_there_may_be(house.with_keys(&[1])).await;
    logouts_and_new_ids_among_logins_leave_no_more_sessions_than_there_may_be(house).await;
}
