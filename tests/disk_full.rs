//! The disk is full while the proxy runs: pages are read, updates are refused, nobody is logged out, and it passes.

mod support;

use std::fs;
use support::client::get;
use support::upstream::ok;
use support::{Site, eventually};

const CONFIG: &str = r#"
[sessions.main]
store = "disk"
[[routes]]
upstream = "app"
sessions = ["main"]
"#;

#[test]
fn on_a_full_disk_sessions_are_read_and_none_is_lost() {
    // LG5, ST8
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada").say("Set", "a=1"));
    let log = site.proxy.path("state/sessions.db-wal");
    site.proxy.limit_files(Some(fs::metadata(log).expect("the log of the database").len()));

    for _ in 0..5 {
        let visit = ada.visit(ok().say("Set", "a=2").say("Flash", "info=done"));
        assert_eq!((visit.seen.data().as_str(), visit.got.status()), ("a=1", 503), "the page is withheld");
        assert!(visit.got.has("Retry-After") && visit.got.set_cookies().is_empty(), "{:?}", visit.got);
        let visit = site.exchange(&get("/"), ok().say("Set", "b=1"));
        assert_eq!((visit.got.status(), visit.got.set_cookies().len()), (503, 0), "no session begins");
        assert_eq!(ada.visit(ok().say("Destroy", "1")).got.status(), 503, "nobody is told that a session has ended");
        let visit = ada.visit(ok());
        assert_eq!((visit.got.status(), visit.seen.data().as_str()), (200, "a=1"), "a page without an update is shown");
    }
    let log = site.proxy.log().join("\n");
    assert!(log.contains("session store failed"), "the operator is told:\n{log}");

    site.proxy.limit_files(None);
    eventually("updates are stored again", || ada.visit(ok().say("Set", "a=3")).got.status() == 200);
    assert_eq!((ada.look().data(), ada.look().told("User")), ("a=3".into(), "ada".into()));
    site.proxy.kill();
    site.restart(CONFIG);
    assert_eq!(ada.look().data(), "a=3");
}

#[test]
fn on_a_full_disk_pages_are_shown_without_messages_which_wait() {
    // F3: that a page holds them cannot be written down
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Flash", "info=hi"));
    let log = site.proxy.path("state/sessions.db-wal");
    site.proxy.limit_files(Some(fs::metadata(log).expect("the log of the database").len()));
    for _ in 0..3 {
        let visit = ada.visit(ok());
        assert_eq!((visit.got.status(), visit.seen.told("Flashes").as_str()), (200, ""));
        let part = ada.ask(&get("/").with("Sec-Fetch-Mode", "no-cors"), ok());
        assert_eq!(part.seen.told("Flashes"), "info=hi", "what takes none is shown what waits");
    }
    site.proxy.limit_files(None);
    eventually("a page shows them", || ada.look().told("Flashes") == "info=hi");
    assert_eq!(ada.look().told("Flashes"), "");
}
