//! What a browser is told to forget with a session that was ended.

mod support;

use support::Site;
use support::message::Message;
use support::upstream::{ok, status};

fn site(settings: &str) -> Site {
    Site::new(&format!("[sessions.main]\nstore = \"memory\"\nclear_site_data = {settings}\n"))
}

fn forgets(got: &Message) -> Vec<String> {
    got.all("Clear-Site-Data")
}

#[test]
fn a_browser_forgets_what_the_operator_says_when_a_session_is_ended() {
    // CA3
    let site = site("[\"storage\", \"cache\", \"cookies\"]");
    for (command, value) in [("Destroy", "1"), ("Destroy", "all")] {
        for reply in [ok(), status(302), status(204)] {
            let mut ada = site.browser();
            assert_eq!(forgets(&ada.visit(ok().say("Login", "ada")).got), [""; 0]);
            assert_eq!(forgets(&ada.visit(ok().say("Set", "a=1")).got), [""; 0]);
            let got = ada.visit(reply.say(command, value)).got;
            assert_eq!(forgets(&got), ["\"cache\", \"cookies\", \"storage\""], "{got:?}");
            assert_eq!(forgets(&ada.visit(ok().say(command, value)).got), [""; 0], "nobody was logged in");
        }
    }
}

#[test]
fn cookies_stay_where_the_answer_sets_one() {
    // CA3: browsers obey it after Set-Cookie
    let site = site("[\"cookies\", \"storage\"]");
    for reply in [
        ok().say("Destroy", "1").say("Flash", "info=Bye"),
        ok().say("Invalidate", "1").say("Set", "b=2"),
        ok().say("Login", "eve"),
        ok().say("Destroy", "1").with("Set-Cookie", "lang=de"),
    ] {
        let mut ada = site.browser();
        ada.visit(ok().say("Login", "ada"));
        let got = ada.visit(reply).got;
        assert_eq!(forgets(&got), ["\"storage\""], "{got:?}");
    }
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    ada.visit(ok().say("Destroy", "1").say("Flash", "info=Bye"));
    assert_eq!(ada.look().told("Flashes"), "info=Bye");
}

#[test]
fn what_the_backend_says_itself_stands_beside_it() {
    let site = site("[\"cache\"]");
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let got = ada.visit(ok().say("Destroy", "1").with("Clear-Site-Data", "\"storage\"")).got;
    assert_eq!(forgets(&got), ["\"storage\"", "\"cache\""]);
    assert_eq!(forgets(&ada.visit(ok().with("Clear-Site-Data", "\"*\"")).got), ["\"*\""]);
}

#[test]
fn a_session_that_times_out_or_is_emptied_takes_nothing_along() {
    let site = site("[\"storage\"]\nidle_timeout = \"1s\"\ntouch_interval = \"100ms\"");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    assert_eq!(forgets(&ada.visit(ok().say("Unset", "*")).got), [""; 0]);
    ada.visit(ok().say("Set", "a=1"));
    let cookie = ada.cookie();
    let mut got = None;
    support::eventually("the session ends", || {
        let idle = support::client::get("/").with("Cookie", &cookie);
        let visit = site.exchange(&idle, ok().say("Touch", "0"));
        got = (visit.seen.told("State") == "expired").then_some(visit.got);
        got.is_some()
    });
    let got = got.expect("an answer");
    assert_eq!((got.set_cookies().len(), forgets(&got)), (1, vec![]));
}

#[test]
fn nothing_is_said_without_tls() {
    let listener = "[listeners.web]\naddress = \"@web\"\n";
    let policy = "[sessions.main]\nstore = \"memory\"\nclear_site_data = [\"storage\"]\ncookie.secure = false\n";
    let site = Site::new(&format!("{listener}{policy}"));
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let got = ada.visit(ok().say("Destroy", "1")).got;
    assert_eq!((got.set_cookies().len(), forgets(&got)), (1, vec![]));
}
