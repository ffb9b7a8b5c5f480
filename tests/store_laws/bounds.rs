//! What only the memory store promises: its bounds (ST7).

use crate::support::{NOW, create, entry, key, later, owned, text};
use bytes::Bytes;
use cloakroom::store::memory::{MemoryLimits, MemoryStore};
use cloakroom::store::{Entry, Store as _, StoreError, Written};
use std::sync::Arc;
use tokio::task::JoinSet;

fn assert_full<T: std::fmt::Debug>(answer: Result<T, StoreError>, message: &str) {
    let error = answer.expect_err("the store is full");
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(error.to_string(), message);
}

// ST7
#[tokio::test]
async fn a_full_store_refuses_new_entries_and_keeps_every_live_one() {
    let store = MemoryStore::new(MemoryLimits { max_entries: 100, ..MemoryLimits::default() });
    for n in 0..100 {
        create(&store, &key(n), entry(&n.to_string())).await;
    }
    for n in 100..1000 {
        assert_full(store.create(&key(n), entry(""), NOW).await, "memory store is full: it may hold 100 entries");
    }
    for n in 0..100 {
        assert_eq!(text(&store, &key(n), NOW).await, Some(n.to_string()));
    }
    assert_eq!(store.create(&key(7), entry(""), NOW).await.unwrap(), Written::Conflict, "that is no new entry");
    let (_, version) = store.load(&key(7), NOW).await.unwrap().unwrap();
    assert!(matches!(store.replace(&key(7), entry("7!"), version, NOW).await.unwrap(), Written::Done(_)));
    assert_eq!(store.len(), 100);
}

// ST7
#[tokio::test]
async fn a_full_store_takes_new_entries_as_soon_as_one_has_expired() {
    let store = MemoryStore::new(MemoryLimits { max_entries: 100, ..MemoryLimits::default() });
    for n in 0..99 {
        create(&store, &key(n), Entry { deadline: later(20), ..entry("") }).await;
    }
    create(&store, &key(99), entry("the first to go")).await;
    assert!(store.create(&key(100), entry(""), later(10)).await.is_err());
    let written = store.create(&key(100), Entry { deadline: later(20), ..entry("") }, later(11)).await.unwrap();
    assert!(matches!(written, Written::Done(_)));
    assert!(store.create(&key(101), entry(""), later(11)).await.is_err());
    for n in 200..300 {
        store.create(&key(n), Entry { deadline: later(40), ..entry("") }, later(21)).await.unwrap();
    }
    assert_eq!(store.len(), 100);
}

// ST7
#[tokio::test]
async fn growth_by_replace_is_bounded_too() {
    let store = MemoryStore::new(MemoryLimits { max_bytes: 20_000, ..MemoryLimits::default() });
    let sized = |size: usize| Entry { bytes: Bytes::from(vec![0; size]), ..entry("") };
    let large = create(&store, &key(1), sized(10_000)).await;
    let small = create(&store, &key(2), sized(8_000)).await;
    let before = store.bytes();
    let refused = store.replace(&key(2), sized(10_000), small, NOW).await;
    assert_full(refused, "memory store is full: it may hold 20000 bytes");
    assert_eq!(store.load(&key(2), NOW).await.unwrap().unwrap(), (sized(8_000), small));
    assert_eq!(store.bytes(), before);
    assert!(matches!(store.replace(&key(1), sized(10), large, NOW).await.unwrap(), Written::Done(_)));
    assert!(matches!(store.replace(&key(2), sized(10_000), small, NOW).await.unwrap(), Written::Done(_)));
    assert_eq!(store.bytes(), before - 9_990 + 2_000);
}

// ST7
#[tokio::test]
async fn many_small_expired_entries_make_room_for_a_large_one() {
    let store = MemoryStore::new(MemoryLimits { max_bytes: 1 << 20, ..MemoryLimits::default() });
    let mut n = 0;
    while store.create(&key(n), entry(""), NOW).await.is_ok() {
        n += 1;
    }
    let large = Entry { bytes: Bytes::from(vec![0; 1_000_000]), deadline: later(30), owner: None };
    assert!(store.create(&key(n), large.clone(), NOW).await.is_err());
    assert!(matches!(store.create(&key(n), large, later(11)).await.unwrap(), Written::Done(_)));
}

// ST7
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_accounts_return_to_zero_whatever_happened() {
    let store = Arc::new(MemoryStore::new(MemoryLimits { max_entries: 60, max_bytes: 40_000 }));
    let mut writers = JoinSet::new();
    for writer in 0..8_usize {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for step in 0..2_000_usize {
                let key = key(((writer * 31 + step * 7) % 97) as u64);
                let now = later((step % 4) as u64 * 6);
                let text = "x".repeat((writer * step) % 700);
                let fresh = if step % 3 == 0 { entry(&text) } else { owned(&text, &format!("owner {}", step % 5)) };
                match step % 7 {
                    0 => store.delete(&key).await.unwrap(),
                    1 => drop(store.sweep(now, 3).await.unwrap()),
                    2 => {
                        if let Some((found, version)) = store.load(&key, now).await.unwrap() {
                            let longer = Entry { deadline: later(30), ..found };
                            store.replace(&key, longer, version, now).await.unwrap();
                        }
                    }
                    3 | 4 => {
                        if let Some((_, version)) = store.load(&key, now).await.unwrap() {
                            let _ = store.replace(&key, fresh, version, now).await;
                        }
                    }
                    _ => drop(store.create(&key, fresh, now).await),
                }
                assert!(store.len() <= 60 && store.bytes() <= 40_000, "{store:?}");
            }
        });
    }
    writers.join_all().await;
    for n in 0..50 {
        store.delete(&key(n)).await.unwrap();
    }
    store.sweep(later(1000), usize::MAX).await.unwrap();
    assert_eq!((store.len(), store.bytes(), store.is_empty()), (0, 0, true));
    assert_eq!(format!("{store:?}"), "MemoryStore(0 entries, 0 bytes)");
}
