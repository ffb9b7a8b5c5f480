//! Several proxies on one store: what is ended at one has ended at all.

use crate::servers::redis::{Server, text};
use crate::support::lasting::{Stage, close_frame, end_of, websocket};
use crate::support::message::Message;
use crate::support::operator::HEARD;
use crate::support::upstream::ok;
use crate::support::{Browser, Site, eventually};

fn config(redis: &Server) -> String {
    let key = "[[keys]]\nid = \"k\"\nsecret = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\"\n";
    let store = format!("[stores.far]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:{}\"\n", redis.port);
    format!("{HEARD}{key}{store}[sessions.main]\nstore = \"far\"\n")
}

/// A visitor who has logged in at one proxy and comes to the other.
fn visitor<'s>(here: &Site, there: &'s Site, name: &str) -> Browser<'s> {
    let mut first = here.browser();
    first.visit(ok().say("Login", name));
    let mut visitor = there.browser();
    visitor.jar = first.jar.clone();
    assert_eq!(visitor.look().told("State"), "live");
    visitor
}

#[test]
fn an_end_at_one_proxy_is_known_at_the_other() {
    // SL6, SL8
    let redis = Server::start();
    let (one, other) = (Site::new(&config(&redis)), Site::new(&config(&redis)));
    let (mut ada, mut bob) = (visitor(&one, &other, "ada"), visitor(&one, &other, "bob"));
    one.operator().says(&["sessions", "revoke", &ada.look().told("Ref")]);
    assert_eq!((ada.look().told("State"), bob.look().told("State")), ("expired".into(), "live".into()));
    let mut eve = visitor(&one, &other, "eve");
    one.operator().says(&["sessions", "revoke", "--user", "eve"]);
    assert_eq!(eve.look().told("State"), "expired");
    one.operator().says(&["sessions", "revoke", "--all"]);
    eventually("the other proxy has learnt it", || bob.look().told("State") == "expired");
    assert_eq!(visitor(&one, &other, "carl").look().told("State"), "live", "a new session is none of those");
}

#[test]
fn a_proxy_that_was_down_has_missed_nothing() {
    let redis = Server::start();
    let (one, other) = (Site::new(&config(&redis)), Site::new(&config(&redis)));
    let mut ada = visitor(&one, &other, "ada");
    other.proxy.kill();
    one.operator().says(&["sessions", "revoke", "--all"]);
    other.restart(&config(&redis));
    assert_eq!(ada.look().told("State"), "expired", "with the first request that it serves");
}

#[test]
fn a_store_that_forgets_what_was_ended_is_told_again() {
    let redis = Server::start();
    let (one, other) = (Site::new(&config(&redis)), Site::new(&config(&redis)));
    let mut ada = visitor(&one, &other, "ada");
    one.operator().says(&["sessions", "revoke", "--all"]);
    eventually("the other proxy has learnt it", || ada.look().told("State") == "expired");
    redis.run(&["FLUSHALL"]);
    eventually("the list is there again", || text(&redis.run(&["DBSIZE"])) != "int(0)");
}

#[test]
fn what_lasts_ends_with_an_operators_word_on_every_proxy() {
    let redis = Server::start();
    let site = |stage: &Stage| {
        let backend = stage.clone();
        Site::answering(&config(&redis), move |request: &Message| backend.answer(request))
    };
    let (here, there) = (Stage::default(), Stage::default());
    let (one, other) = (site(&here), site(&there));
    let mut ada = visitor(&one, &other, "ada");
    let mut tunnel = websocket(&other, &ada.cookie());
    one.operator().says(&["sessions", "revoke", "--session", "main"]);
    assert_eq!(end_of(&mut tunnel), close_frame(4401));
    there.wait_for_ends(1);
    assert_eq!(ada.fetch(&crate::support::client::get("/")).status(), 200);
}
