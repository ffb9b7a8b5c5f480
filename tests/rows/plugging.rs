//! P: how an application is plugged in.

use crate::page::page;
use crate::place::{World, everywhere, policy};
use cloakroom::app::open;
use cloakroom::clock::Clock as _;
use cloakroom::session::SessionId;
use cloakroom::store::{Entry, Written};
use std::process::Command;
use std::time::Duration;

// P1
#[test]
fn the_proxy_is_the_middleware_of_every_language() {
    policy("").in_cookies_too().everywhere(|place| {
        // No library, no cookie, no store on the application's side: what it does with headers is all.
        let mut ada = place.visitor();
        ada.visit(&page().posted().login("ada").set("lang", "de"));
        let saw = ada.look();
        assert_eq!((saw.user.as_str(), saw.key("lang"), saw.field("Cookie")), ("ada", Some("de"), None));
    });
}

// P2
#[test]
fn helpers_ship_for_the_languages_of_old_applications() {
    let snippet = |language: &str| {
        let run = Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["snippet", language]).output().unwrap();
        assert!(run.status.success(), "{language}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    for language in ["php", "perl", "python", "django", "flask", "node", "java", "jsp", "asp", "go", "sh"] {
        let text = snippet(language);
        for spoken in ["Set", "Flash", "Login"] {
            assert!(text.contains(spoken), "{language} says nothing of {spoken}");
        }
    }
    // Those that run here are what every test of this program uses.
    everywhere(|place| assert_eq!(place.visitor_who_set("a", "ü=1&2").look().key("a"), Some("ü=1&2")));
}

// P3
#[test]
fn requests_under_way_at_the_same_time_never_share_a_context() {
    everywhere(|place| {
        let (mut ada, mut bob) = (place.visitor_who_set("name", "Ada"), place.visitor_who_set("name", "Bob"));
        let hers = ada.begin(page().set("seen", "hers").flash("info", "for Ada"));
        assert_eq!(bob.visit(&page().set("seen", "his")).saw().key("name"), Some("Bob"));
        assert_eq!(hers.finish(&mut ada).saw().key("name"), Some("Ada"));
        assert_eq!((ada.look().key("seen"), bob.look().key("seen")), (Some("hers"), Some("his")));
        assert_eq!(bob.look().flashes, []);
    });
}

// P4
#[tokio::test]
async fn every_kind_of_store_stands_behind_the_same_few_verbs() {
    let world = World::of(policy(""));
    for options in world.config.stores.iter().filter(|store| crate::place::STORES.contains(&store.name.as_str())) {
        let store = open(options).unwrap();
        let now = world.clock.now();
        let key = SessionId::generate().unwrap().store_key();
        let entry = |bytes: &'static [u8]| Entry {
            bytes: bytes.into(),
            deadline: now.after(Duration::from_secs(60)),
            owner: None,
        };
        let Ok(Written::Done(first)) = store.create(&key, entry(b"one"), now).await else { panic!("{}", options.name) };
        let (found, _) = store.load(&key, now).await.unwrap().unwrap();
        assert_eq!(found.bytes, b"one"[..]);
        let Ok(Written::Done(newer)) = store.replace(&key, entry(b"two"), first, now).await else {
            panic!("{}", options.name)
        };
        assert_eq!(store.replace(&key, entry(b"three"), first, now).await.unwrap(), Written::Conflict);
        assert_ne!(newer, first);
        store.delete(&key).await.unwrap();
        assert_eq!(store.replace(&key, entry(b"four"), newer, now).await.unwrap(), Written::Gone, "no late write");
        store.sweep(now, 10).await.unwrap();
        assert!(store.index().is_some(), "sessions of an owner can be listed");
    }
}

// P5
#[test]
fn sessions_are_kept_in_memory_on_disk_in_a_server_or_by_the_browser() {
    let mut seen = std::collections::BTreeSet::new();
    let world = World::of(policy("").in_cookies_too());
    for place in world.places() {
        seen.insert(place.store);
        assert_eq!(place.visitor_who_set("a", "1").look().key("a"), Some("1"));
    }
    assert_eq!(seen, ["cookie", "disk", "memory", "redis"].into());
    // A cache in front is never trusted for what has ended.
    policy("").near_cache().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        assert_eq!(ada.look().key("a"), Some("1"));
        let old = ada.jar.clone();
        ada.visit(&page().destroy());
        assert_eq!(place.visitor_with(&old).look().state, "expired");
    });
}
