//! What an answer may change while its session is unknown: nothing, and no page pretends otherwise.

use crate::fickle::Trouble;
use crate::place::Place;
use crate::support::upstream::{ok, status};
use crate::{CONFIG, MINUTE, ada, is_withheld, told};
use cloakroom::clock::Clock as _;
use cloakroom::manager::{CommitError, OnOutage, Permit, SessionError};
use cloakroom::session::{Batch, Owner, Reading, Rights, Scope, Shown};

/// Commands that would change the session, or decide by what it holds.
const CHANGES: [(&str, &str); 16] = [
    ("Set", "a=2"),
    ("Set", "a=1"),
    ("Init", "a=1"),
    ("Unset", "*"),
    ("Replace", "b=2"),
    ("Add", "n=1"),
    ("Push", "l=1"),
    ("Ttl", "a=60"),
    ("Flash", "info=hello"),
    ("If", "!a"),
    ("Login", "eve"),
    ("Regenerate", "1"),
    ("Destroy", "1"),
    ("Destroy", "all"),
    ("Invalidate", "1"),
    ("Expire", "idle=60"),
];

#[test]
fn a_session_that_is_unknown_takes_no_change() {
    // LG5, protocol 5.2
    let place = Place::new(CONFIG);
    let mut ada = ada(&place);
    let cookie = ada.cookie();
    place.store("far").meets(Trouble::Gone);
    for path in ["/cached/", "/anonymous/"] {
        for (verb, value) in CHANGES {
            place.store("far").calls();
            let got = ada.visit(path, ok().body("hello").say(verb, value)).got;
            assert!(is_withheld(&got), "{path} {verb}: {got:?}");
            assert_eq!(place.store("far").calls(), 1, "{path} {verb}: it is read once and never written");
        }
        for (verb, value) in [("Revert", "1"), ("Touch", "1"), ("Touch", "0"), ("Flash-Keep", "1"), ("Flash-Read", "1")]
        {
            let got = ada.visit(path, ok().body("hello").say(verb, value)).got;
            assert_eq!((got.status(), got.body_text().as_str()), (200, "hello"), "{path} {verb}");
            assert_eq!(got.set_cookies(), [""; 0], "{path} {verb}");
        }
        let reverted = ada.visit(path, ok().say("Destroy", "1").say("Revert", "1")).got;
        assert_eq!(reverted.status(), 200, "{path}");
        let failed = ada.visit(path, status(500).say("Set", "a=2")).got;
        assert_eq!(failed.status(), 500, "{path}: commands of a failed page do not count");
        let failed = ada.visit(path, status(500).say("Destroy", "1")).got;
        assert!(is_withheld(&failed), "{path}: a logout that did not take place must not look like one");
    }
    place.store("far").meets(Trouble::None);
    assert_eq!((ada.cookie(), told(&ada.look("/error/"))), (cookie, "live ada a=1 info=Hi".into()));
}

#[test]
fn a_store_that_comes_back_in_between_changes_nothing_about_that() {
    let place = Place::new(CONFIG);
    let mut ada = ada(&place);
    let cookie = ada.cookie();
    for path in ["/cached/", "/anonymous/"] {
        for command in [("Set", "a=2"), ("Login", "eve"), ("Destroy", "1")] {
            let got = place.recovering_while_the_backend_works(&mut ada, path, command);
            assert!(is_withheld(&got), "{path} {command:?}: {got:?}");
        }
    }
    assert_eq!((ada.cookie(), told(&ada.look("/error/"))), (cookie, "live ada a=1 info=Hi".into()));
}

#[test]
fn a_refusal_is_a_refusal_in_an_outage_too() {
    let deliver = CONFIG.replace("absolute_timeout", "on_refused = \"deliver\"\nabsolute_timeout");
    for (config, expected) in [(CONFIG, 502), (&deliver, 200)] {
        let place = Place::new(config);
        let mut ada = ada(&place);
        place.store("far").meets(Trouble::Gone);
        for path in ["/cached/", "/anonymous/"] {
            assert_eq!(ada.visit(path, ok().say("Set", "a=%")).got.status(), expected, "{path}");
        }
        place.store("far").meets(Trouble::None);
        assert_eq!(told(&ada.look("/error/")), "live ada a=1 info=Hi");
    }
}

#[test]
fn a_write_that_fails_withholds_its_page_on_every_rung() {
    let place = Place::new(CONFIG);
    let mut ada = ada(&place);
    for path in ["/error/", "/cached/", "/anonymous/"] {
        let got = place.failing_while_the_backend_works(&mut ada, path, ("Set", "a=2"));
        assert!(is_withheld(&got), "{path}: {got:?}");
        assert_eq!(ada.look("/error/").data(), "a=1", "{path}");
    }
}

#[tokio::test]
async fn the_manager_itself_writes_nothing_for_a_session_that_is_unknown() {
    let place = Place::new(CONFIG);
    let cookie = ada(&place).cookie().unwrap();
    let manager = place.manager(|_| {});
    let (rights, now) = (Rights::default(), place.clock.now());
    let permit = Permit::of(&rights, true);
    let shown = Shown { flashes: &[9], reading: Reading::All, refusal: true };
    let login = Batch { login: Owner::parse("eve"), ..Batch::default() };
    let destroy = Batch { destroy: Some(Scope::All), ..Batch::default() };
    for rung in [OnOutage::Cached, OnOutage::Anonymous] {
        let session = place.stand_in(&manager, &cookie, rung).unwrap();
        assert!(session.is_degraded() && manager.is_settled(&session, permit, now.after(20 * MINUTE)));
        for batch in [&login, &destroy] {
            let error = manager.commit(&session, Ok(Some(batch)), permit, shown, now).await.unwrap_err();
            assert!(matches!(error, CommitError::Session(SessionError::Degraded)), "{error:?}");
        }
        let committed = manager.commit(&session, Ok(None), permit, shown, now).await.unwrap();
        assert!(committed.cookies.is_empty() && committed.event.is_none());
        assert!(manager.farewell(&session, now).is_empty());
    }
    assert_eq!(place.store("far").calls(), 0);
}
