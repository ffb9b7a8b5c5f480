//! One function for each law, generic over the store.

use crate::support::{NOW, create, entry, key, keys_of, later, move_deadline, owned, text};
use bytes::Bytes;
use cloakroom::clock::Timestamp;
use cloakroom::store::{Entry, Store, StoreError, Version, Written};
use std::sync::Arc;

// Law 1
pub async fn load_answers_none_for_absent_and_expired_alike(store: Arc<dyn Store>) {
    assert!(store.load(&key(1), NOW).await.unwrap().is_none());
    create(&*store, &key(1), entry("one")).await;
    assert!(store.load(&key(1), later(11)).await.unwrap().is_none());
    create(&*store, &key(2), entry("two")).await;
    store.delete(&key(2)).await.unwrap();
    assert!(store.load(&key(2), NOW).await.unwrap().is_none());
}

// Laws 1 and 2; ST2
pub async fn what_was_written_comes_back_whole(store: Arc<dyn Store>) {
    let every_byte: Vec<u8> = (0..=255).cycle().take(64 << 10).collect();
    let bodies = [Bytes::new(), Bytes::from_static(b"a\0b"), Bytes::from(every_byte)];
    for (n, bytes) in (0..).zip(bodies) {
        let written = Entry { bytes, ..owned("", "ann") };
        let version = create(&*store, &key(n), written.clone()).await;
        // Twice: a cache may answer the second time.
        for _ in 0..2 {
            let (found, found_version) = store.load(&key(n), NOW).await.unwrap().unwrap();
            assert!(found == written, "{found:?} instead of {written:?}");
            assert_eq!(found_version, version);
        }
    }
}

// R19
pub async fn a_deadline_holds_at_the_millisecond_it_names(store: Arc<dyn Store>) {
    let deadline = later(10);
    let after = Timestamp::from_millis(deadline.as_millis() + 1);
    let version = create(&*store, &key(1), entry("one")).await;
    assert!(text(&*store, &key(1), deadline).await.is_some());
    assert_eq!(store.sweep(deadline, 10).await.unwrap(), 0);
    assert!(matches!(store.replace(&key(1), entry("two"), version, deadline).await.unwrap(), Written::Done(_)));
    assert!(text(&*store, &key(1), deadline).await.is_some());
    assert!(text(&*store, &key(1), after).await.is_none());
}

// Law 2
pub async fn create_never_overwrites_a_live_entry(store: Arc<dyn Store>) {
    let version = create(&*store, &key(1), entry("one")).await;
    assert_eq!(store.create(&key(1), entry("two"), NOW).await.unwrap(), Written::Conflict);
    assert_eq!(store.create(&key(1), entry("two"), later(10)).await.unwrap(), Written::Conflict);
    let (found, found_version) = store.load(&key(1), NOW).await.unwrap().unwrap();
    assert_eq!((&found.bytes[..], found_version), (&b"one"[..], version));
}

// Law 2
pub async fn create_takes_the_place_of_an_expired_entry(store: Arc<dyn Store>) {
    let old = create(&*store, &key(1), owned("one", "ann")).await;
    let fresh = Entry { deadline: later(30), ..owned("two", "bob") };
    let written = store.create(&key(1), fresh.clone(), later(11)).await.unwrap();
    assert!(matches!(written, Written::Done(version) if version != old), "{written:?}");
    assert_eq!(store.load(&key(1), later(11)).await.unwrap().unwrap().0, fresh);
    assert_eq!(keys_of(&*store, "ann", later(11)).await, []);
    assert_eq!(keys_of(&*store, "bob", later(11)).await, [key(1)]);
    assert_eq!(store.sweep(later(11), 10).await.unwrap(), 0);
}

// Law 3; ST3
pub async fn replace_writes_only_over_the_version_it_was_given(store: Arc<dyn Store>) {
    let first = create(&*store, &key(1), entry("one")).await;
    let Written::Done(second) = store.replace(&key(1), entry("two"), first, NOW).await.unwrap() else {
        panic!("the version was right")
    };
    assert!(second > first);
    assert_eq!(store.replace(&key(1), entry("three"), first, NOW).await.unwrap(), Written::Conflict);
    let never_given = Version(u64::MAX);
    assert_eq!(store.replace(&key(1), entry("three"), never_given, NOW).await.unwrap(), Written::Conflict);
    assert_eq!(store.load(&key(1), NOW).await.unwrap().unwrap(), (entry("two"), second));
}

// Law 3
pub async fn a_version_does_not_fit_an_entry_made_anew(store: Arc<dyn Store>) {
    let old = create(&*store, &key(1), entry("one")).await;
    store.delete(&key(1)).await.unwrap();
    create(&*store, &key(1), entry("two")).await;
    assert_eq!(store.replace(&key(1), entry("three"), old, NOW).await.unwrap(), Written::Conflict);
    assert_eq!(text(&*store, &key(1), NOW).await.as_deref(), Some("two"));
}

// Laws 3 and 4
pub async fn a_deadline_moves_with_a_write_that_counts(store: Arc<dyn Store>) {
    let until = |seconds| Entry { deadline: later(seconds), ..owned("one", "ann") };
    let first = create(&*store, &key(1), until(10)).await;
    // Read before and after, so that a cache has something to correct.
    assert!(text(&*store, &key(1), NOW).await.is_some());
    let Written::Done(second) = store.replace(&key(1), until(20), first, later(5)).await.unwrap() else {
        panic!("the version was right")
    };
    assert!(second > first);
    assert_eq!(store.load(&key(1), later(15)).await.unwrap().unwrap(), (until(20), second));
    let late = store.replace(&key(1), until(30), first, later(15)).await.unwrap();
    assert_eq!(late, Written::Conflict, "it was decided on the old deadline");
    let nearer = store.replace(&key(1), until(16), second, later(15)).await.unwrap();
    assert!(matches!(nearer, Written::Done(third) if third > second), "a deadline may also come nearer: {nearer:?}");
    assert!(text(&*store, &key(1), later(16)).await.is_some());
    assert!(text(&*store, &key(1), later(17)).await.is_none());
}

// Law 4
pub async fn replace_of_what_was_never_there_is_gone(store: Arc<dyn Store>) {
    assert_eq!(store.replace(&key(1), owned("one", "ann"), Version(1), NOW).await.unwrap(), Written::Gone);
    assert!(text(&*store, &key(1), NOW).await.is_none());
}

// Law 4; SL6
pub async fn replace_after_delete_is_gone(store: Arc<dyn Store>) {
    let version = create(&*store, &key(1), entry("one")).await;
    store.delete(&key(1)).await.unwrap();
    let longer = Entry { deadline: later(20), ..entry("two") };
    assert_eq!(store.replace(&key(1), longer, version, NOW).await.unwrap(), Written::Gone);
    assert!(text(&*store, &key(1), NOW).await.is_none());
    assert!(text(&*store, &key(1), later(11)).await.is_none());
}

// Law 4; SL4
pub async fn replace_of_an_expired_entry_is_gone(store: Arc<dyn Store>) {
    for (n, ahead) in [(1, 0), (2, 1)] {
        let version = create(&*store, &key(n), entry("one")).await;
        let (longer, expected) = (Entry { deadline: later(20), ..entry("two") }, Version(version.0 + ahead));
        assert_eq!(store.replace(&key(n), longer, expected, later(11)).await.unwrap(), Written::Gone);
        assert!(text(&*store, &key(n), later(11)).await.is_none());
        assert!(text(&*store, &key(n), NOW).await.is_none());
    }
}

// Law 5
pub async fn delete_of_an_absent_entry_succeeds(store: Arc<dyn Store>) {
    store.delete(&key(1)).await.unwrap();
    create(&*store, &key(1), entry("one")).await;
    store.delete(&key(1)).await.unwrap();
    store.delete(&key(1)).await.unwrap();
}

// SL13
pub async fn what_was_seen_expired_stays_so_when_the_clock_steps_back(store: Arc<dyn Store>) {
    let longer = || Entry { deadline: later(20), ..entry("two") };
    let mut versions = Vec::new();
    for n in 0..3 {
        versions.push(create(&*store, &key(n), entry("one")).await);
    }
    assert!(store.load(&key(0), later(11)).await.unwrap().is_none());
    assert_eq!(store.replace(&key(1), longer(), versions[1], later(11)).await.unwrap(), Written::Gone);
    let other = Version(versions[2].0 + 1);
    assert_eq!(store.replace(&key(2), longer(), other, later(11)).await.unwrap(), Written::Gone);
    for (n, version) in (0..).zip(versions) {
        assert!(text(&*store, &key(n), NOW).await.is_none(), "key {n} came back");
        assert_eq!(store.replace(&key(n), longer(), version, NOW).await.unwrap(), Written::Gone);
    }
}

// SL13
pub async fn no_clock_value_is_too_strange(store: Arc<dyn Store>) {
    let moments = [Timestamp::default(), NOW, Timestamp::from_millis(i64::MAX as u64 - 1), Timestamp::NEVER];
    for (n, deadline) in (0..).zip(moments) {
        store.create(&key(n), Entry { deadline, ..entry("one") }, NOW).await.unwrap();
        for now in moments {
            let found = store.load(&key(n), now).await.unwrap();
            assert!(found.is_none() || !deadline.has_passed(now), "until {deadline:?}, asked at {now:?}");
            let version = found.map_or(Version(0), |(_, version)| version);
            store.replace(&key(n), Entry { deadline, ..entry("two") }, version, now).await.unwrap();
            store.sweep(now, 1).await.unwrap();
        }
    }
    assert!(store.load(&key(3), Timestamp::NEVER).await.unwrap().is_some(), "never is never");
}

// Law 8; SL8
pub async fn the_index_lists_only_live_keys(store: Arc<dyn Store>) {
    let long = Entry { deadline: later(30), ..owned("", "ann") };
    create(&*store, &key(1), owned("", "ann")).await;
    create(&*store, &key(2), long.clone()).await;
    create(&*store, &key(3), long).await;
    create(&*store, &key(4), owned("", "bob")).await;
    create(&*store, &key(5), entry("nobody's")).await;
    let mut expected = vec![key(1), key(2), key(3)];
    expected.sort();
    assert_eq!(keys_of(&*store, "ann", NOW).await, expected);
    store.delete(&key(3)).await.unwrap();
    assert_eq!(keys_of(&*store, "ann", later(11)).await, [key(2)]);
    assert_eq!(keys_of(&*store, "ann", later(31)).await, []);
    assert_eq!(keys_of(&*store, "nobody", NOW).await, []);
}

// Law 8
pub async fn the_index_follows_a_change_of_owner(store: Arc<dyn Store>) {
    let mut version = create(&*store, &key(1), entry("")).await;
    for (name, fresh) in [("ann", owned("", "ann")), ("ann", owned("", "ann")), ("bob", owned("", "bob"))] {
        let Written::Done(next) = store.replace(&key(1), fresh, version, NOW).await.unwrap() else {
            panic!("the version was right")
        };
        version = next;
        assert_eq!(keys_of(&*store, name, NOW).await, [key(1)]);
    }
    assert_eq!(keys_of(&*store, "ann", NOW).await, []);
    store.replace(&key(1), entry(""), version, NOW).await.unwrap();
    assert_eq!(keys_of(&*store, "bob", NOW).await, []);
}

// Laws 4 and 8
pub async fn the_index_follows_the_deadline(store: Arc<dyn Store>) {
    let until = |seconds| Entry { deadline: later(seconds), ..owned("", "ann") };
    for n in 1..=2 {
        create(&*store, &key(n), until(10)).await;
    }
    move_deadline(&*store, &key(1), later(30), NOW).await;
    move_deadline(&*store, &key(2), later(5), NOW).await;
    assert_eq!(keys_of(&*store, "ann", later(6)).await, [key(1)]);
    assert_eq!(keys_of(&*store, "ann", later(30)).await, [key(1)]);
    assert_eq!(keys_of(&*store, "ann", later(31)).await, []);
}

// Laws 1 and 8
pub async fn sweep_removes_what_has_expired_up_to_its_limit(store: Arc<dyn Store>) {
    for n in 0..300 {
        create(&*store, &key(n), owned("short", "ann")).await;
    }
    for n in 300..310 {
        create(&*store, &key(n), Entry { deadline: later(30), ..owned("long", "ann") }).await;
    }
    assert_eq!(store.sweep(NOW, 1000).await.unwrap(), 0);
    assert_eq!(store.sweep(later(11), 0).await.unwrap(), 0);
    assert_eq!(store.sweep(later(11), 7).await.unwrap(), 7);
    assert_eq!(store.sweep(later(11), 200).await.unwrap(), 200);
    assert_eq!(store.sweep(later(11), 1000).await.unwrap(), 93);
    assert_eq!(store.sweep(later(11), 1000).await.unwrap(), 0);
    // Removed, and not just hidden: an earlier clock does not see them either.
    assert_eq!(keys_of(&*store, "ann", NOW).await.len(), 10);
    for n in 0..300 {
        assert!(text(&*store, &key(n), NOW).await.is_none());
    }
    assert_eq!(text(&*store, &key(305), later(11)).await.as_deref(), Some("long"));
}

// Law 4; SL4
pub async fn sweep_goes_by_the_newest_deadline(store: Arc<dyn Store>) {
    for (n, deadlines) in [(0, &[20, 10][..]), (1, &[20, 30]), (2, &[20, 30, 10]), (3, &[20, 10, 30])] {
        create(&*store, &key(n), Entry { deadline: later(deadlines[0]), ..entry("") }).await;
        for deadline in &deadlines[1..] {
            move_deadline(&*store, &key(n), later(*deadline), NOW).await;
        }
    }
    assert_eq!(store.sweep(later(11), 10).await.unwrap(), 2);
    assert_eq!(store.sweep(later(21), 10).await.unwrap(), 0);
    assert!(text(&*store, &key(1), later(21)).await.is_some() && text(&*store, &key(3), later(21)).await.is_some());
    assert_eq!(store.sweep(later(31), 10).await.unwrap(), 2);
}

// Law 6; ST4
pub async fn an_entry_that_is_too_large_is_refused_and_changes_nothing(store: Arc<dyn Store>) {
    let giant = Entry { bytes: Bytes::from(vec![0; 9 << 20]), ..entry("") };
    let refused = store.create(&key(1), giant.clone(), NOW).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert!(text(&*store, &key(1), NOW).await.is_none());
    let version = create(&*store, &key(1), entry("one")).await;
    let refused = store.replace(&key(1), giant, version, NOW).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert_eq!(store.load(&key(1), NOW).await.unwrap().unwrap(), (entry("one"), version));
}
