//! The store is gone, frozen or slow for a while.

use crate::engine::{Engine, migrate, recovers};
use crate::servers::relay::{Mode, Relay};
use crate::support::client::get;
use crate::support::upstream::ok;
use crate::support::{Browser, Site};
use std::time::{Duration, Instant};

const ROUTES: &str = "[[routes]]\npath = \"/plain\"\nupstream = \"app\"\n[[routes]]\nupstream = \"app\"\n\
                      sessions = [\"main\"]\n";

/// The limit of the store, one more try, and what a busy machine takes.
const AT_MOST: Duration = Duration::from_secs(5);

fn ada(site: &Site) -> Browser<'_> {
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada").say("Set", "cart=3"));
    assert_eq!(ada.look().data(), "cart=3");
    ada
}

/// Nobody is logged in, nobody is logged out, and who has no session notices nothing.
fn is_an_outage(site: &Site, ada: &Browser<'_>) {
    let with_cookie = get("/").with("Cookie", ada.cookie());
    for _ in 0..5 {
        let start = Instant::now();
        let got = site.fetch(&with_cookie);
        assert_eq!((got.status(), got.set_cookies()), (503, vec![]));
        assert!(got.has("Retry-After") && start.elapsed() < AT_MOST, "{:?}", start.elapsed());
    }
    site.upstream.take();
    assert_eq!(site.exchange(&get("/plain").with("Cookie", ada.cookie()), ok()).got.status(), 200);
    let visit = site.exchange(&get("/"), ok());
    assert_eq!((visit.got.status(), visit.seen.told("State").as_str()), (200, "none"));
}

fn is_over(site: &Site, ada: &mut Browser<'_>) {
    let with_cookie = get("/").with("Cookie", ada.cookie());
    // Each of its connections comes back by itself.
    recovers("the proxy uses the store again", || (0..10).all(|_| site.fetch(&with_cookie).status() == 200));
    site.upstream.take();
    let seen = ada.look();
    assert_eq!((seen.told("State"), seen.told("User"), seen.data()), ("live".into(), "ada".into(), "cart=3".into()));
    recovers("it writes again", || ada.visit(ok().say("Set", "cart=4")).got.status() == 200);
    assert_eq!(ada.look().data(), "cart=4");
}

pub fn a_frozen_store_costs_time_and_no_session(engine: &Engine) {
    // LG5, ST4
    let site = Site::new(&(engine.config("") + ROUTES));
    let mut ada = ada(&site);
    engine.freeze();
    is_an_outage(&site, &ada);
    engine.thaw();
    is_over(&site, &mut ada);
}

pub fn a_store_that_is_gone_costs_no_session(engine: &Engine) {
    // LG5
    let site = Site::new(&(engine.config("") + ROUTES));
    let mut ada = ada(&site);
    engine.wire.set(Mode::Cut);
    is_an_outage(&site, &ada);
    // Most of these do not even ask.
    let with_cookie = get("/").with("Cookie", ada.cookie());
    let before = engine.wire.calls();
    for _ in 0..200 {
        assert_eq!(site.fetch(&with_cookie).status(), 503);
    }
    let calls = engine.wire.calls() - before;
    assert!(calls < 100, "{calls} connections tried by 200 requests");
    engine.wire.set(Mode::Whole);
    is_over(&site, &mut ada);
}

pub fn a_slow_store_costs_at_most_its_limit(engine: &Engine) {
    // ST4
    let site = Site::new(&(engine.config("") + ROUTES));
    let mut ada = ada(&site);
    engine.wire.set(Mode::Slow(Duration::from_millis(100)));
    assert_eq!(ada.look().data(), "cart=3", "slow, but in time");
    engine.wire.set(Mode::Slow(Duration::from_secs(2)));
    is_an_outage(&site, &ada);
    engine.wire.set(Mode::Whole);
    is_over(&site, &mut ada);
}

pub fn a_killed_store_is_used_again_when_it_is_back(engine: &Engine) {
    // Law 7, ST8
    let site = Site::new(&(engine.config("") + ROUTES));
    let mut visitor = ada(&site);
    engine.kill();
    is_an_outage(&site, &visitor);
    engine.restart();
    if engine.is_durable() {
        return is_over(&site, &mut visitor);
    }
    // Forgotten is forgotten: the cookie is cleared, and a new session begins as if nothing had been.
    recovers("the proxy uses the store again", || visitor.fetch(&get("/")).status() == 200);
    site.upstream.take();
    assert_eq!(visitor.look().told("State"), "none");
    drop(ada(&site));
}

pub fn a_proxy_starts_before_its_store(engine: &Engine) {
    engine.wire.set(Mode::Cut);
    let site = Site::new(&(engine.config("") + ROUTES));
    assert_eq!(site.exchange(&get("/"), ok()).got.status(), 200);
    assert_eq!(site.exchange(&get("/"), ok().say("Set", "a=1")).got.status(), 503);
    engine.wire.set(Mode::Whole);
    // Each of its connections comes back by itself.
    recovers("all of them write", || (0..10).all(|_| site.browser().visit(ok().say("Set", "a=1")).got.status() == 200));
    drop(ada(&site));
}

pub fn each_route_does_what_it_says_in_an_outage(engine: &Engine) {
    let rungs = "[[routes]]\npath = \"/cached/*\"\nupstream = \"app\"\nsessions = [\"main\"]\nrequire = \"main\"\n\
                 store_unavailable = \"cached\"\n[[routes]]\npath = \"/anonymous/*\"\nupstream = \"app\"\n\
                 sessions = [\"main\"]\nstore_unavailable = \"anonymous\"\n";
    let site = Site::new(&(engine.config("") + rungs + ROUTES));
    let mut ada = ada(&site);
    let mut bob = site.browser();
    bob.visit(ok().say("Set", "a=1"));
    // A copy of hers is kept from here on; none of his.
    assert_eq!(ada.ask(&get("/cached/"), ok()).got.status(), 200);
    engine.wire.set(Mode::Cut);
    is_an_outage(&site, &ada);

    let visit = ada.ask(&get("/cached/"), ok());
    let told = |name| visit.seen.told(name);
    assert_eq!((told("State"), told("User"), visit.seen.data()), ("degraded".into(), "ada".into(), "cart=3".into()));
    assert_eq!((visit.got.status(), visit.got.set_cookies()), (200, vec![]));
    for command in [("Set", "cart=9"), ("Destroy", "1"), ("Login", "eve"), ("Regenerate", "1")] {
        for path in ["/cached/", "/anonymous/"] {
            let got = ada.ask(&get(path), ok().say(command.0, command.1)).got;
            assert_eq!((got.status(), got.set_cookies()), (503, vec![]), "{command:?} {path}");
        }
    }
    let visit = ada.ask(&get("/anonymous/"), ok());
    assert_eq!((visit.seen.told("State").as_str(), visit.seen.data().as_str()), ("degraded", ""));
    assert_eq!((visit.got.status(), visit.got.set_cookies()), (200, vec![]));

    engine.wire.set(Mode::Whole);
    is_over(&site, &mut ada);
    assert_eq!(bob.look().data(), "a=1");
}

/// Not of every store: memcached knows no passwords.
#[test]
fn a_wrong_password_is_told_to_the_operator_and_to_nobody_else() {
    // LG1, LG4
    let engine = Engine::redis();
    let wrong = |config: String| config.replace("redis://127", "redis://app:WrongWord@127");
    let site = Site::new(&(wrong(engine.config("")) + ROUTES));
    let got = site.exchange(&get("/"), ok().say("Set", "a=1")).got;
    assert_eq!(got.status(), 503);
    assert!(!got.body_text().to_lowercase().contains("redis"), "{}", got.body_text());
    recovers("it is logged", || site.proxy.has_logged("redis"));
    assert!(!site.proxy.has_logged("WrongWord"));
    assert!(site.proxy.is_alive());
}

#[test]
fn what_the_clients_of_stores_write_stays_out_of_the_log() {
    // LG1: statements with what is in them, and what servers tell.
    for engine in [Engine::redis(), Engine::postgres()] {
        let site = Site::new(&(engine.config("") + "[log]\nlevel = \"trace\"\n"));
        drop(ada(&site));
        recovers("a request is logged", || site.proxy.has_logged("cloakroom::access"));
        for word in ["tokio_postgres", "\"redis", "executing", "preparing", "log.target"] {
            assert!(!site.proxy.has_logged(word), "{word}: {}", site.proxy.log().join("\n"));
        }
    }
}

/// Only PostgreSQL has tables.
#[test]
fn a_missing_table_is_an_outage_that_a_command_ends() {
    let engine = Engine::postgres();
    let site = Site::new(&engine.config("table = \"later\""));
    let mut ada = site.browser();
    assert_eq!(ada.visit(ok().say("Set", "a=1")).got.status(), 503);
    recovers("the operator is told what to do", || site.proxy.has_logged("cloakroom store migrate"));
    let file = site.proxy.path("cloakroom.toml");
    for said in ["made the table, format 1", "nothing to do: the table has format 1"] {
        assert_eq!(migrate(&file), format!("store net, table later: {said}\n"));
    }
    recovers("the proxy finds the table", || ada.visit(ok().say("Set", "a=1")).got.status() == 200);
    assert_eq!(ada.look().data(), "a=1");
}

/// The wire itself, so that no test passes because of it.
#[test]
fn the_wire_passes_cuts_and_freezes() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let wire = Relay::to(listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    stream.write_all(&bytes[..count]).ok();
                }
            });
        }
    });
    let mut bytes = [0; 4];
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", wire.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.write_all(b"ping").unwrap();
    stream.read_exact(&mut bytes).unwrap();
    wire.set(Mode::Frozen);
    stream.write_all(b"pong").unwrap();
    assert!(stream.read_exact(&mut bytes).is_err(), "frozen");
    wire.set(Mode::Whole);
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"pong");
    wire.set(Mode::Cut);
    assert!(matches!(stream.read(&mut bytes), Ok(0) | Err(_)), "cut");
}
