//! The laws of `Scan`.

use crate::support::{NOW, create, entry, key, later, owned};
use cloakroom::clock::Timestamp;
use cloakroom::session::StoreKey;
use cloakroom::store::{Cursor, Entry, Scan, Store};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One page; the place goes through text, as when a process ends between two pages.
async fn page(scan: &dyn Scan, from: Option<Cursor>, now: Timestamp) -> (Vec<(StoreKey, Entry)>, Option<Cursor>) {
    let page = scan.page(from.as_ref(), 7, now).await.unwrap();
    assert!(page.entries.len() <= 14, "about as many as asked for, not {}", page.entries.len());
    let place = |Cursor(text): Cursor| {
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
        Cursor(text)
    };
    (page.entries, page.next.map(place))
}

async fn walk(scan: &dyn Scan, now: Timestamp) -> BTreeMap<StoreKey, Entry> {
    let (mut seen, mut place) = (BTreeMap::new(), None);
    loop {
        let (entries, next) = page(scan, place, now).await;
        seen.extend(entries);
        place = next;
        if place.is_none() {
            return seen;
        }
    }
}

// Law 10
pub async fn a_walk_sees_every_live_entry_and_no_expired_one(store: Arc<dyn Store>) {
    let scan = store.scan().expect("this store can be walked");
    assert_eq!(walk(scan, NOW).await.len(), 0);
    let mut expected = BTreeMap::new();
    for n in 0..100 {
        let live = Entry { deadline: later(30), ..owned(&n.to_string(), "ann") };
        create(&*store, &key(n), live.clone()).await;
        expected.insert(key(n), live);
        create(&*store, &key(1000 + n), entry("short")).await;
    }
    assert_eq!(scan.count().await.unwrap(), 200);
    assert_eq!(walk(scan, NOW).await.len(), 200);
    assert!(walk(scan, later(11)).await == expected);
}

// Law 10
pub async fn a_walk_sees_what_lives_through_all_of_it(store: Arc<dyn Store>) {
    let scan = store.scan().expect("this store can be walked");
    for n in 0..100 {
        create(&*store, &key(n), entry("")).await;
    }
    let (mut seen, mut place, mut step) = (BTreeMap::new(), None, 0);
    loop {
        let (entries, next) = page(scan, place, NOW).await;
        seen.extend(entries);
        place = next;
        if place.is_none() {
            break;
        }
        // Even ones come and go, odd ones change.
        let (even, odd) = (key(step * 2 % 100), key((step * 6 + 1) % 100));
        store.delete(&even).await.unwrap();
        create(&*store, &key(500 + step), entry("new")).await;
        if let Some((_, version)) = store.load(&odd, NOW).await.unwrap() {
            let changed = Entry { deadline: later(5 + step % 9), ..entry("changed") };
            store.replace(&odd, changed, version, NOW).await.unwrap();
        }
        step += 1;
    }
    assert!(step > 5, "it has pages");
    assert!((0..50).all(|n| seen.contains_key(&key(2 * n + 1))));
}

// The place comes from an operator, or from a file.
pub async fn a_place_that_is_none_is_an_error(store: Arc<dyn Store>) {
    let scan = store.scan().expect("this store can be walked");
    for text in ["", "x", "00", "é"] {
        assert!(scan.page(Some(&Cursor(text.to_owned())), 7, NOW).await.is_err(), "{text:?}");
    }
}
