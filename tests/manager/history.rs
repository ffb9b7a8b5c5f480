//! "Who logged this user out?": what is kept of a session when it is gone.

use crate::support::{Browser, House, INSTANT, MINUTE, login, nothing, regenerate, set};
use crate::watched::Fault;
use cloakroom::clock::Timestamp;
use cloakroom::manager::{Account, CommitError, Fate, HistoryOptions, OnRefused, OwnerCap, Subject, WhenFull};
use cloakroom::session::{Batch, Happening, Head, Lineage, Name, Owner, OwnerKey, Scope, StoreKey, View};
use cloakroom::store::Store as _;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Another process on the same store, which keeps the last so many changes for a week.
fn keeping(house: &House, most: usize) -> House {
    house.with_options(|options| options.history = Some(HistoryOptions { most, keeps: 7 * DAY }))
}

fn end(scope: Scope) -> Batch {
    Batch { destroy: Some(scope), ..nothing() }
}

/// An answer by a route to what the browser asks; it is noted.
async fn on(route: &str, house: &House, browser: &mut Browser, batch: Batch) {
    let session = browser.resolve(house).await;
    let (outcome, noted) = house.noted(route, &session, &batch).await;
    noted.unwrap();
    browser.keep(&outcome.unwrap());
}

async fn lineage(house: &House, browser: &Browser) -> Lineage {
    let session = browser.resolve(house).await;
    Head::parse(&session.snapshot().unwrap().bytes).unwrap().lineage
}

async fn of_session(house: &House, lineage: Lineage) -> Account {
    house.history(&Subject::Session(lineage)).await
}

async fn of_owner(house: &House, owner: &str) -> Account {
    house.history(&Subject::Owner(Owner::parse(owner).unwrap())).await
}

/// What happened, in words: `changed cart by shop (Set) x3`.
fn rows(account: &Account) -> Vec<String> {
    account.rows.iter().map(|row| told(&row.happening)).collect()
}

fn told(happening: &Happening) -> String {
    let Happening { what, route, asked, ended, times, .. } = happening;
    let keys: Vec<&str> = asked.keys().iter().map(Name::as_str).collect();
    let mut words = vec![what.as_str().to_owned(), keys.join(","), format!("by {} ({asked})", route.as_str())];
    words.extend((*times > 1).then(|| format!("x{times}")));
    words.extend(ended.count().filter(|count| *count > 0).map(|count| format!("ended {count}")));
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// What became of the sessions, the oldest first.
fn fates(account: &Account, begun: Timestamp) -> Vec<String> {
    let minutes = |moment: Timestamp| begun.until(moment).as_secs() / 60;
    let fate = |fate: &Fate| match fate {
        Fate::Live(until) => format!("live until {}", minutes(*until)),
        Fate::MayLive(until) => format!("may live until {}", minutes(*until)),
        Fate::Ended(by) => told(by),
        Fate::Expired(at, clock) => format!("{clock:?} at {}", minutes(*at)),
        Fate::NotBefore(_) => String::from("not before"),
        Fate::Revoked => String::from("revoked"),
        Fate::Missing => String::from("missing"),
    };
    account.sessions.iter().map(|told| fate(&told.fate)).collect()
}

pub async fn a_history_tells_what_happened_and_no_value(house: House) {
    let house = keeping(&house, 20);
    let (begun, mut browser) = (house.now(), Browser::default());
    on("shop", &house, &mut browser, set(&[("cart", "tea")])).await;
    let lineage = lineage(&house, &browser).await;
    for amount in ["1", "2", "3"] {
        house.wait(MINUTE);
        on("shop", &house, &mut browser, set(&[("cart", amount)])).await;
    }
    on(
        "login",
        &house,
        &mut browser,
        Batch { login: login("ada").login, ..set(&[("user", "ada"), ("role", "admin")]) },
    )
    .await;
    on("shop", &house, &mut browser, nothing()).await;
    on("shop", &house, &mut browser, set(&[("cart", "3")])).await;
    on("shop", &house, &mut browser, regenerate(nothing())).await;
    let living = of_session(&house, lineage).await;
    assert_eq!(fates(&living, begun), ["live until 33"]);
    on("account", &house, &mut browser, end(Scope::This)).await;
    let account = of_session(&house, lineage).await;
    let expected = [
        "began cart by shop (Set)",
        "changed cart by shop (Set) x3",
        "logged in role,user by login (Set, Login)",
        "got a new id by shop (Regenerate)",
        "ended by account (Destroy)",
    ];
    assert_eq!(rows(&account), expected);
    assert_eq!(fates(&account, begun), ["ended by account (Destroy)"]);
    assert_eq!(rows(&of_owner(&house, "ada").await), expected, "the same by the user's name");
    assert_eq!(account.sessions[0].standing.owner, Owner::parse("ada"));
    let moments = |row: usize| {
        let Happening { since, at, .. } = &account.rows[row].happening;
        (begun.until(*since), begun.until(*at))
    };
    assert_eq!([moments(0), moments(1)], [(Duration::ZERO, Duration::ZERO), (MINUTE, 3 * MINUTE)]);
    assert_eq!(of_owner(&house, "eve").await, Account::default());
    assert_eq!(of_session(&house, Lineage::from_bytes([0; 12])).await, Account::default());
}

pub async fn who_ended_a_session_from_elsewhere_is_told(house: House) {
    for scope in [Scope::Others, Scope::All] {
        let house = keeping(&house, 20);
        let (begun, owner) = (house.now(), scope.to_string());
        let (mut phone, mut desk) = (Browser::default(), Browser::default());
        on("login", &house, &mut phone, login(&owner)).await;
        on("login", &house, &mut desk, login(&owner)).await;
        let [lost, author] = [lineage(&house, &phone).await, lineage(&house, &desk).await];
        house.wait(MINUTE);
        on("account", &house, &mut desk, end(scope)).await;
        assert_eq!(phone.look(&house).await, "expired");
        let what = match scope {
            Scope::Others => "ended others by account (Destroy: others) ended 1",
            _ => "ended by account (Destroy: all) ended 1",
        };
        let account = of_session(&house, lost).await;
        assert_eq!(rows(&account), ["began by login (Login)", what]);
        assert_eq!(fates(&account, begun), [what]);
        let Fate::Ended(by) = &account.sessions[0].fate else { panic!("{account:?}") };
        assert_eq!(by.session, Some(author));
        // A third session that begins later has nothing to do with it.
        house.wait(MINUTE);
        let mut third = Browser::default();
        on("login", &house, &mut third, login(&owner)).await;
        let third = of_session(&house, lineage(&house, &third).await).await;
        assert_eq!(
            (rows(&third), fates(&third, begun)),
            (vec!["began by login (Login)".into()], vec!["live until 32".into()])
        );
        let all = of_owner(&house, &owner).await;
        assert_eq!(rows(&all), ["began by login (Login)", "began by login (Login)", what, "began by login (Login)"]);
        assert_eq!(all.sessions.len(), 3);
    }
}

pub async fn who_made_room_for_a_login_is_told_whose_it_was(house: House) {
    let house = keeping(&house, 20).with_options(|options| {
        let limit = NonZeroU32::new(1).unwrap();
        options.max_sessions_per_owner = Some(OwnerCap { limit, when_full: WhenFull::Oldest });
    });
    let (mut phone, mut desk) = (Browser::visiting(&house, &[("a", "1")]).await, Browser::default());
    on("login", &house, &mut phone, login("ada")).await;
    let lost = lineage(&house, &phone).await;
    house.wait(MINUTE);
    on("login", &house, &mut desk, login("ada")).await;
    let account = of_session(&house, lost).await;
    assert_eq!(rows(&account), ["logged in by login (Login)", "logged in by login (Login) ended 1"]);
    assert_eq!(fates(&account, house.now()), ["logged in by login (Login) ended 1"]);
    let Fate::Ended(by) = &account.sessions[0].fate else { panic!("{account:?}") };
    assert_eq!(by.session, Some(lineage(&house, &desk).await));
}

pub async fn the_clock_that_ended_a_session_is_told(house: House) {
    let house = keeping(&house, 20);
    let (begun, mut idle, mut busy) = (house.now(), Browser::default(), Browser::default());
    on("login", &house, &mut idle, login("ada")).await;
    on("login", &house, &mut busy, login("ada")).await;
    let (idle_one, busy_one) = (lineage(&house, &idle).await, lineage(&house, &busy).await);
    for minute in 1..60 {
        house.wait(MINUTE);
        // Use is no change, but moves the clock that is told.
        if minute <= 10 {
            on("shop", &house, &mut idle, nothing()).await;
        }
        on("shop", &house, &mut busy, nothing()).await;
    }
    house.wait(MINUTE + INSTANT);
    let account = of_session(&house, idle_one).await;
    assert_eq!(rows(&account), ["began by login (Login)"]);
    assert_eq!(fates(&account, begun), ["Idle at 40"]);
    assert_eq!(fates(&of_session(&house, busy_one).await, begun), ["Absolute at 60"]);
    assert_eq!(idle.look(&house).await, "expired");
    let later = house.with_options(|options| options.not_before = Some(begun.after(INSTANT)));
    assert_eq!(fates(&of_session(&later, idle_one).await, begun), ["not before"]);
}

pub async fn a_session_that_gave_way_leads_to_the_one_in_its_place(house: House) {
    let house = keeping(&house, 20);
    let mut browser = Browser::default();
    on("login", &house, &mut browser, login("ada")).await;
    let first = lineage(&house, &browser).await;
    on("login", &house, &mut browser, login("eve")).await;
    let second = lineage(&house, &browser).await;
    let account = of_session(&house, first).await;
    assert_eq!(rows(&account), ["began by login (Login)", "gave way by login (Login)"]);
    assert_eq!(account.rows[1].happening.other, Some(second));
    let account = of_session(&house, second).await;
    assert_eq!((rows(&account), account.rows[0].happening.other), (vec!["began by login (Login)".into()], Some(first)));
    assert_eq!(rows(&of_owner(&house, "ada").await), ["began by login (Login)", "gave way by login (Login)"]);
    assert_eq!(rows(&of_owner(&house, "eve").await), ["began by login (Login)"]);
}

pub async fn a_refused_batch_is_noted_whether_its_page_was_delivered_or_not(house: House) {
    for on_refused in [OnRefused::Error, OnRefused::Deliver] {
        let house = keeping(&house, 20).with_options(|options| options.on_refused = on_refused);
        let mut browser = Browser::visiting(&house, &[("word", "tea")]).await;
        on("shop", &house, &mut browser, set(&[("a", "1")])).await;
        for _ in 0..2 {
            let session = browser.resolve(&house).await;
            let (outcome, noted) = house.noted("shop", &session, &crate::support::add("word", 1)).await;
            noted.unwrap();
            assert_eq!(matches!(outcome, Err(CommitError::Refused(_))), on_refused == OnRefused::Error);
        }
        let account = of_session(&house, lineage(&house, &browser).await).await;
        assert_eq!(rows(&account), ["changed a by shop (Set)", "refused word by shop (Add) x2"], "{on_refused:?}");
        assert_eq!(account.sessions.len(), 1);
        let stranger = Browser::default().resolve(&house).await;
        house
            .noted("shop", &stranger, &Batch { regenerate: true, ..crate::support::add("n", i64::MAX) })
            .await
            .1
            .unwrap();
    }
}

pub async fn a_session_that_its_store_has_lost_is_told_from_one_that_ended(house: House) {
    let house = keeping(&house, 20);
    let mut browser = Browser::default();
    on("login", &house, &mut browser, login("ada")).await;
    let lineage = lineage(&house, &browser).await;
    let place = of_session(&house, lineage).await.sessions[0].standing.place.unwrap();
    house.store.delete(&place).await.unwrap();
    assert_eq!(fates(&of_session(&house, lineage).await, house.now()), ["missing"]);
}

pub async fn the_oldest_changes_go_first(house: House) {
    let house = keeping(&house, 3);
    let mut browser = Browser::default();
    for key in ["a", "b", "c", "d", "e"] {
        on(&"r".repeat(100), &house, &mut browser, set(&[(key, "1")])).await;
    }
    let account = of_session(&house, lineage(&house, &browser).await).await;
    let keys: Vec<&str> = account.rows.iter().map(|row| row.happening.asked.keys()[0].as_str()).collect();
    assert_eq!((keys, account.dropped), (vec!["c", "d", "e"], 2));
    assert!(account.rows[0].happening.route.as_str().ends_with("rr…"));
}

pub async fn what_is_kept_outlives_the_session_for_so_long_and_no_longer(house: House) {
    let house = keeping(&house, 20);
    let (mut idle, mut leaving) = (Browser::default(), Browser::default());
    on("login", &house, &mut idle, login("ada")).await;
    on("login", &house, &mut leaving, login("eve")).await;
    let [idle, left] = [lineage(&house, &idle).await, lineage(&house, &leaving).await];
    on("account", &house, &mut leaving, end(Scope::This)).await;
    // Written in the hope of half an hour more, which the logout ended: nobody writes a deadline back.
    house.wait(7 * DAY + 30 * MINUTE);
    assert_eq!(of_session(&house, idle).await.rows.len(), 1);
    assert_eq!(of_owner(&house, "eve").await.rows.len(), 2);
    house.wait(INSTANT);
    for lineage in [idle, left] {
        assert_eq!(of_session(&house, lineage).await, Account::default());
    }
    assert_eq!(
        [of_owner(&house, "ada").await, of_owner(&house, "eve").await],
        [Account::default(), Account::default()]
    );
}

pub async fn who_never_comes_back_leaves_no_history_behind(house: House) {
    let house = keeping(&house, 20);
    let (mut bot, mut visitor) = (Browser::default(), Browser::default());
    on("shop", &house, &mut bot, set(&[("a", "1")])).await;
    on("shop", &house, &mut visitor, set(&[("a", "1")])).await;
    let [bot, known] = [lineage(&house, &bot).await, lineage(&house, &visitor).await];
    house.wait(2 * MINUTE);
    on("shop", &house, &mut visitor, nothing()).await;
    house.wait(31 * MINUTE);
    assert_eq!(of_session(&house, bot).await, Account::default());
    assert_eq!(rows(&of_session(&house, known).await), ["began a by shop (Set)"]);
}

pub async fn a_policy_without_history_pays_nothing(house: House) {
    let mut browser = Browser::default();
    on("login", &house, &mut browser, login("ada")).await;
    house.store.calls();
    on("shop", &house, &mut browser, set(&[("a", "1")])).await;
    assert_eq!(house.store.calls(), "load replace");
    let keeping = keeping(&house, 20);
    on("shop", &keeping, &mut browser, nothing()).await;
    assert_eq!(house.store.calls(), "load", "nor does an answer that does nothing");
    on("shop", &keeping, &mut browser, set(&[("a", "2")])).await;
    assert_eq!(house.store.calls(), "load replace load create");
    assert!(house.store.keys().len() == 2);
}

pub async fn histories_outlive_the_key_that_sealed_them(house: House) {
    let old = keeping(&house, 20);
    let mut browser = Browser::default();
    on("login", &old, &mut browser, login("ada")).await;
    let lineage = lineage(&old, &browser).await;
    let rotated = old.with_keys(&[2, 1]);
    on("shop", &rotated, &mut browser, set(&[("a", "1")])).await;
    let both = ["began by login (Login)", "changed a by shop (Set)"];
    assert_eq!(rows(&of_session(&rotated, lineage).await), both);
    let new = old.with_keys(&[2]);
    assert_eq!(rows(&of_session(&new, lineage).await), both, "it was sealed again when it was written");
    assert_eq!(rows(&of_owner(&new, "ada").await), both, "the owner's own history does not open any more");
    assert_eq!(of_session(&old.with_keys(&[3]), lineage).await, Account::default());
}

pub async fn a_damaged_history_begins_anew(house: House) {
    let house = keeping(&house, 20);
    let mut browser = Browser::default();
    on("login", &house, &mut browser, login("ada")).await;
    let lineage = lineage(&house, &browser).await;
    for bytes in [&b""[..], b"\x01", b"no history at all, but bytes of some length for sure"] {
        house.store.overwrite(&lineage.history_key("main"), bytes, house.now()).await;
        assert_eq!(of_session(&house, lineage).await, Account::default());
        on("shop", &house, &mut browser, set(&[("a", &bytes.len().to_string())])).await;
        assert_eq!(rows(&of_session(&house, lineage).await), ["changed a by shop (Set)"]);
    }
}

pub async fn parallel_answers_of_two_processes_are_all_noted(house: House) {
    const ANSWERS: usize = 24;
    let house = keeping(&house, 100);
    let mut browser = Browser::default();
    on("login", &house, &mut browser, login("ada")).await;
    let lineage = lineage(&house, &browser).await;
    let houses = [1, 2].map(|_| Arc::new(house.with_keys(&[1])));
    let answers = (0..ANSWERS).map(|index| {
        let (house, browser) = (Arc::clone(&houses[index % 2]), browser.clone());
        tokio::spawn(async move {
            let session = browser.resolve(&house).await;
            let batch = set(&[(&format!("k{}", index % 4), &index.to_string())]);
            let (outcome, noted) = house.noted("shop", &session, &batch).await;
            outcome.unwrap();
            noted.unwrap();
        })
    });
    for answer in answers.collect::<Vec<_>>() {
        answer.await.unwrap();
    }
    let account = of_session(&house, lineage).await;
    let times: u32 = account.rows.iter().skip(1).map(|row| row.happening.times).sum();
    assert_eq!(times as usize, ANSWERS);
}

pub async fn a_cut_connection_neither_loses_nor_doubles_a_change(house: House) {
    let house = keeping(&house, 20);
    for cut in [Fault::CutAfter, Fault::CutBefore, Fault::CutAndFirst, Fault::CutAndSecond] {
        let mut browser = Browser::default();
        on("login", &house, &mut browser, login("ada")).await;
        let session = browser.resolve(&house).await;
        // The first write is the session's own.
        house.store.fail(cut, 1);
        let (outcome, noted) = house.noted("shop", &session, &set(&[("a", "1")])).await;
        outcome.unwrap();
        noted.unwrap();
        let account = of_session(&house, lineage(&house, &browser).await).await;
        assert_eq!(rows(&account), ["began by login (Login)", "changed a by shop (Set)"], "{cut:?}");
        house.store.fail_no_more();
        on("account", &house, &mut browser, end(Scope::This)).await;
    }
}

pub async fn a_store_that_fails_costs_the_history_and_not_the_answer(house: House) {
    let house = keeping(&house, 20);
    let mut browser = Browser::default();
    on("login", &house, &mut browser, login("ada")).await;
    let lineage = lineage(&house, &browser).await;
    for late in [Fault::Late, Fault::Lost] {
        let session = browser.resolve(&house).await;
        house.store.fail(late, 1);
        let (outcome, noted) = house.noted("shop", &session, &set(&[("a", &format!("{late:?}"))])).await;
        outcome.unwrap();
        noted.unwrap_err();
        assert_eq!(browser.look(&house).await, format!("live a={late:?}"));
    }
    on("shop", &house, &mut browser, set(&[("b", "1")])).await;
    let expected = ["began by login (Login)", "changed a by shop (Set)", "changed b by shop (Set)"];
    assert_eq!(
        rows(&of_session(&house, lineage).await),
        expected,
        "the first took place, although nobody could say so"
    );
    house.store.refuse_reading(true);
    let unread = house.try_history(&Subject::Session(lineage)).await.unwrap_err();
    assert_eq!(unread.to_string(), "watched store is unavailable");
}

pub async fn neither_values_nor_names_lie_in_the_store_in_the_clear(house: House) {
    let house = keeping(&house, 20);
    let mut browser = Browser::default();
    let batch = set(&[("basket", "hunter2"), ("telephone", "0123456789")]);
    on("cashdesk", &house, &mut browser, Batch { login: login("ada@example.org").login, ..batch }).await;
    on("cashdesk", &house, &mut browser, crate::support::flash("swordfish", set(&[("basket", "swordfish")]))).await;
    let session = browser.resolve(&house).await;
    let view = View::parse(&session.snapshot().unwrap().bytes).unwrap();
    let lineage = view.head.lineage;
    let owner = OwnerKey::new("main", "ada@example.org");
    let histories = [lineage.history_key("main"), owner.history_key()];
    for key in &histories {
        let (entry, _) = house.store.load(key, house.now()).await.unwrap().unwrap();
        for word in ["hunter2", "0123456789", "swordfish", "basket", "telephone", "cashdesk", "ada", "example"] {
            assert!(!entry.bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
        }
    }
    // What the operator is told has no value in it either.
    let account =
        format!("{:?} {:?}", of_session(&house, lineage).await, rows(&of_owner(&house, "ada@example.org").await));
    for word in ["hunter2", "0123456789", "swordfish", "example"] {
        assert!(!account.contains(word), "{word}");
    }
    let listed = house.store.index().unwrap().keys_of(&owner, house.now()).await.unwrap();
    assert!(
        !histories.iter().any(|key: &StoreKey| listed.contains(key)),
        "no history counts as a session of its owner"
    );
}

pub async fn what_browsers_keep_has_a_history_too(house: House) {
    let house = keeping(&house, 20);
    let (begun, mut phone, mut desk) = (house.now(), Browser::default(), Browser::default());
    on("login", &house, &mut phone, login("ada")).await;
    on("login", &house, &mut desk, login("ada")).await;
    let [lost, author] = [lineage(&house, &phone).await, lineage(&house, &desk).await];
    assert_eq!(fates(&of_session(&house, lost).await, begun), ["may live until 30"]);
    house.wait(MINUTE);
    on("account", &house, &mut desk, end(Scope::Others)).await;
    let account = of_session(&house, lost).await;
    let expected = "ended others by account (Destroy: others)";
    assert_eq!(
        (rows(&account), fates(&account, begun)),
        (vec!["began by login (Login)".into(), expected.into()], vec![expected.into()])
    );
    let Fate::Ended(by) = &account.sessions[0].fate else { panic!("{account:?}") };
    assert_eq!(by.session, Some(author));
    on("account", &house, &mut desk, end(Scope::This)).await;
    assert_eq!(fates(&of_session(&house, author).await, begun), ["ended by account (Destroy)"]);
    house.wait(31 * MINUTE);
    let mut third = Browser::default();
    on("login", &house, &mut third, login("ada")).await;
    let third = lineage(&house, &third).await;
    house.wait(30 * MINUTE + INSTANT);
    assert_eq!(fates(&of_session(&house, third).await, begun), ["Idle at 62"]);
}
