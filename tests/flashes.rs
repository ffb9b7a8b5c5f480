//! Messages for the next page: who sees them, and when they count as read.

mod support;

use support::Site;
use support::client::{Ask, ask, get, post};
use support::upstream::{Reply, ok, status};

fn site(consume: &str) -> Site {
    Site::new(&format!("[sessions.main]\nstore = \"memory\"\n[sessions.main.flash]\nconsume = \"{consume}\"\n"))
}

/// A visitor for whom `info=Saved` and `error=No` wait looks once more after this exchange.
fn after(site: &Site, request: &Ask, reply: Reply) -> String {
    let mut ada = site.browser();
    ada.ask(&post("/save", ""), status(303).say("Flash", "info=Saved").say("Flash", "error=No"));
    let visit = ada.ask(request, reply);
    assert_eq!(visit.seen.told("Flashes"), "info=Saved&error=No");
    ada.ask(&get("/").with("Purpose", "prefetch"), status(204)).seen.told("Flashes")
}

fn json() -> Reply {
    ok().but("Content-Type", "application/json")
}

const BOTH: &str = "info=Saved&error=No";

#[test]
fn a_message_waits_for_the_next_page_and_is_read_once() {
    let site = site("document");
    let mut ada = site.browser();
    let got = ada.ask(&post("/save", "x"), status(303).say("Flash", "info=Well%20done;title=A%26B;life=5")).got;
    assert_eq!(got.set_cookies().len(), 1, "a message is something to keep");
    let visit = ada.visit(ok());
    assert_eq!(visit.seen.told("Flashes"), "info=Well%20done;title=A%26B;life=5");
    assert_eq!(visit.got.set_cookies(), [""; 0]);
    assert_eq!(ada.look().told("Flashes"), "");
}

#[test]
fn only_a_page_before_a_person_consumes() {
    let site = site("document");
    let html = "text/html; charset=utf-8";
    for (request, reply, left) in [
        (get("/"), ok(), ""),
        (get("/"), ok().but("Content-Type", html), ""),
        (post("/", "x"), ok(), ""),
        (get("/").with("Sec-Fetch-Dest", "document"), ok(), ""),
        (get("/").with("Sec-Fetch-Dest", "image"), ok(), BOTH),
        (get("/").with("Sec-Purpose", "prefetch;prerender"), ok(), BOTH),
        (get("/").with("X-Requested-With", "XMLHttpRequest"), ok(), BOTH),
        (get("/"), json(), BOTH),
        (get("/"), status(302).with("Location", "/next"), BOTH),
        (get("/"), status(404), BOTH),
        (get("/"), status(500), BOTH),
        (get("/"), status(204), BOTH),
        (ask("HEAD", "/"), ok(), BOTH),
        (ask("PUT", "/"), ok(), BOTH),
    ] {
        assert_eq!(after(&site, &request, reply.clone()), left, "{request:?} {reply:?}");
    }
}

#[test]
fn the_backend_may_keep_or_acknowledge_what_was_shown() {
    let site = site("document");
    assert_eq!(after(&site, &get("/"), ok().say("Flash-Keep", "1")), BOTH);
    assert_eq!(after(&site, &get("/"), ok().say("Flash-Keep", "error")), "error=No");
    assert_eq!(after(&site, &get("/"), json().say("Flash-Read", "1")), "");
    assert_eq!(after(&site, &get("/"), json().say("Flash-Read", "error")), "info=Saved");
}

#[test]
fn acknowledged_messages_stay_until_the_backend_says_so() {
    let site = site("acknowledge");
    assert_eq!(after(&site, &get("/"), ok()), BOTH);
    assert_eq!(after(&site, &get("/"), ok().say("Flash-Read", "info")), "error=No");
    assert_eq!(after(&site, &get("/"), ok().say("Flash-Read", "1")), "");
}

#[test]
fn any_final_answer_consumes_where_the_policy_says_so() {
    let site = site("always");
    for reply in [ok(), status(302), status(404), status(204), status(500), ok().but("Content-Type", "image/png")] {
        assert_eq!(after(&site, &get("/"), reply.clone()), "", "{reply:?}");
    }
    assert_eq!(after(&site, &get("/"), ok().say("Flash-Keep", "1")), BOTH);
}

#[test]
fn a_message_that_comes_with_the_page_is_for_the_next_one() {
    let site = site("document");
    let mut ada = site.browser();
    ada.visit(ok().say("Flash", "info=one"));
    assert_eq!(ada.visit(ok().say("Flash", "info=two")).seen.told("Flashes"), "info=one");
    assert_eq!(ada.look().told("Flashes"), "info=two");
    assert_eq!(ada.look().told("Flashes"), "");
}

#[test]
fn levels_repeat_and_keep_their_order() {
    let site = site("acknowledge");
    let mut ada = site.browser();
    ada.visit(ok().say("Flash", "info=1&error=2&info=3"));
    ada.visit(ok().say("Flash", "info=4"));
    assert_eq!(ada.look().told("Flashes"), "info=1&error=2&info=3&info=4");
}

#[test]
fn a_route_that_only_reads_consumes_nothing() {
    let site = Site::new(
        "[[routes]]\npath = \"/read\"\nupstream = \"app\"\nsessions = [{ use = \"main\", access = \"read\" }]\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n",
    );
    let mut ada = site.browser();
    ada.visit(ok().say("Flash", "info=hi"));
    assert_eq!(ada.ask(&get("/read"), ok()).seen.told("Flashes"), "info=hi");
    assert_eq!(ada.look().told("Flashes"), "info=hi");
    assert_eq!(ada.look().told("Flashes"), "");
}
