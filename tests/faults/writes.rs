//! The store breaks in the middle of changes.

use crate::engine::{Engine, recovers};
use crate::servers::relay::Cut;
use crate::support::client::get;
use crate::support::upstream::{ok, status};
use crate::support::{Browser, Site};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Longer than any request that only reads.
const LONG: usize = 400;

/// A visitor with a counter, in a session so long that what writes it is told from what reads it by its size.
fn counting(site: &Site) -> Browser<'_> {
    let mut ada = site.browser();
    ada.visit(ok().say("Set", format!("n=0&padding={}", "x".repeat(LONG))));
    ada
}

fn count(ada: &mut Browser<'_>) -> usize {
    let data = ada.look().data();
    let number = data.split('&').find_map(|pair| pair.strip_prefix("n="));
    number.unwrap_or_else(|| panic!("no counter in {data}")).parse().unwrap()
}

pub fn a_write_that_is_cut_off_counts_once(engine: &Engine) {
    // ST3: the outcome is looked up, and the write repeated where it did not take place.
    let site = Site::new(&engine.config(""));
    let mut ada = counting(&site);
    let mut expected = 0;
    for round in 0..3 {
        for cut in [Cut::Before, Cut::Within, Cut::After] {
            let before = engine.wire.cuts();
            engine.wire.cut_next(LONG, cut);
            let got = ada.visit(ok().say("Add", "n=1")).got;
            assert_eq!(engine.wire.cuts(), before + 1, "{cut:?}: the wire was cut");
            assert_eq!((got.status(), got.set_cookies()), (200, vec![]), "{cut:?} in round {round}");
            expected += 1;
            assert_eq!(count(&mut ada), expected, "{cut:?} in round {round}");
        }
    }
    // A session that begins, too. Whoever is first on a connection pays for making it, so all of them stand before.
    (0..20).for_each(|_| drop(counting(&site)));
    for cut in [Cut::Before, Cut::Within, Cut::After] {
        engine.wire.cut_next(LONG, cut);
        let mut bob = counting(&site);
        assert_eq!(count(&mut bob), 0, "{cut:?}");
    }
}

/// Says that all is done when it goes.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Adds one from several connections until told to stop; answers how many were acknowledged and how many are unknown.
///
/// The `trouble` is given what waits until a change is acknowledged.
fn under_load(site: &Site, cookie: &str, trouble: impl FnOnce(&dyn Fn())) -> (usize, usize) {
    let (done, acknowledged, unknown) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let got = site.fetch(&get("/add").with("Cookie", cookie));
                    assert_eq!(got.set_cookies(), Vec::<String>::new(), "nobody is logged out: {got:?}");
                    match got.status() {
                        200 => acknowledged.fetch_add(1, Ordering::Relaxed),
                        503 => unknown.fetch_add(1, Ordering::Relaxed),
                        other => panic!("answered {other}"),
                    };
                }
            });
        }
        // Also when the trouble is more than was asked for: else nobody would ever come to an end.
        let _end = Ends(&done);
        trouble(&|| {
            let before = acknowledged.load(Ordering::Relaxed);
            recovers("changes are acknowledged", || acknowledged.load(Ordering::Relaxed) > before);
        });
    });
    // The breaker may still be open, or a connection at rest.
    let alone = get("/").with("Cookie", cookie);
    recovers("the store is used again", || site.fetch(&alone).status() == 200);
    site.upstream.take();
    (acknowledged.into_inner(), unknown.into_inner())
}

fn adding_site(engine: &Engine) -> Site {
    Site::answering(&engine.config(""), |request| match request.target().as_str() {
        "/add" => ok().say("Add", "n=1"),
        "/" => ok(),
        _ => status(404),
    })
}

#[test]
fn what_redis_acknowledged_survives_kills_under_load() {
    survives_kills_under_load(&Engine::redis());
}

#[test]
fn what_postgres_acknowledged_survives_kills_under_load() {
    survives_kills_under_load(&Engine::postgres());
}

fn survives_kills_under_load(engine: &Engine) {
    // Law 7, ST8
    let site = adding_site(engine);
    let mut ada = counting(&site);
    let cookie = ada.cookie();
    let (acknowledged, unknown) = under_load(&site, &cookie, |goes_on| {
        for _ in 0..2 {
            goes_on();
            engine.kill();
            engine.restart();
        }
        goes_on();
    });
    let total = count(&mut ada);
    let possible = acknowledged..=acknowledged + unknown;
    assert!(acknowledged > 0 && possible.contains(&total), "{total} is not in {possible:?}");
}

pub fn connections_that_break_under_load_lose_nothing(engine: &Engine) {
    // ST3
    let site = adding_site(engine);
    let mut ada = counting(&site);
    let cookie = ada.cookie();
    let (acknowledged, unknown) = under_load(&site, &cookie, |goes_on| {
        for _ in 0..10 {
            goes_on();
            engine.wire.drop_connections();
        }
    });
    let total = count(&mut ada);
    let possible = acknowledged..=acknowledged + unknown;
    assert!(acknowledged > 0 && possible.contains(&total), "{total} is not in {possible:?}");
    recovers("it goes on", || site.fetch(&get("/add").with("Cookie", &cookie)).status() == 200);
}
