//! Several proxies on one store.

use crate::engine::Engine;
use crate::support::client::get;
use crate::support::lasting::{Stage, close_frame, end_of, events, stands, websocket};
use crate::support::message::Message;
use crate::support::upstream::{Answer, Gate, ok, status};
use crate::support::{Browser, Site, eventually};
use std::thread;
use std::time::Duration;

/// The same visitor at another proxy.
fn same<'s>(visitor: &Browser<'_>, site: &'s Site) -> Browser<'s> {
    let mut browser = site.browser();
    browser.jar = visitor.jar.clone();
    browser
}

pub fn two_proxies_see_each_others_changes_at_once(engine: &Engine) {
    let (one, two) = (Site::new(&engine.config("")), Site::new(&engine.config("")));
    let mut here = one.browser();
    here.visit(ok().say("Login", "ada").say("Set", "n=0"));
    let mut there = same(&here, &two);
    for n in 1..=20 {
        let (writer, reader) = if n % 2 == 0 { (&mut here, &mut there) } else { (&mut there, &mut here) };
        writer.visit(ok().say("Set", format!("n={n}")));
        assert_eq!(reader.look().data(), format!("n={n}"));
    }
}

pub fn of_pages_under_way_on_several_proxies_one_shows_a_message(engine: &Engine) {
    // F3
    let gate = Gate::shut();
    let held = gate.clone();
    let backend = move |ask: &Message| {
        if ask.target() == "/slow" {
            held.pass();
        }
        ok()
    };
    let (one, two) = (Site::answering(&engine.config(""), backend), Site::new(&engine.config("")));
    let mut here = one.browser();
    here.visit(ok().say("Set", "a=1").say("Flash", "info=Saved")); // it goes on when the message is read
    let mut there = same(&here, &two);
    one.upstream.take();
    let mut slow = one.client();
    slow.send(get("/slow").with("Cookie", here.cookie()).bytes());
    one.upstream.wait_for(2);
    assert_eq!(one.upstream.only().told("Flashes"), "info=Saved");
    assert_eq!(there.look().told("Flashes"), "");
    gate.open();
    slow.answer("GET");
    assert_eq!((there.look().told("Flashes"), here.look().told("Flashes")), (String::new(), String::new()));

    here.visit(ok().say("Flash", "info=Again"));
    assert_eq!(there.visit(status(302)).seen.told("Flashes"), "info=Again");
    assert_eq!(here.look().told("Flashes"), "info=Again", "it was given back");
}

pub fn a_logout_is_final_on_every_proxy(engine: &Engine) {
    // SL6, SL8
    let (one, two) = (Site::new(&engine.config("")), Site::new(&engine.config("")));
    let mut first = one.browser();
    first.visit(ok().say("Login", "ada"));
    let mut second = two.browser();
    second.visit(ok().say("Login", "ada"));
    let mut third = one.browser();
    third.visit(ok().say("Login", "ada"));
    let mut bob = two.browser();
    bob.visit(ok().say("Login", "bob"));

    let mut copy = same(&first, &two);
    first.visit(ok().say("Destroy", "1"));
    assert_eq!(copy.look().told("State"), "expired");
    second.visit(ok().say("Destroy", "others"));
    assert_eq!(third.look().told("State"), "expired");
    assert_eq!(second.look().told("User"), "ada");
    assert_eq!(bob.look().told("User"), "bob");
}

pub fn a_logout_ends_what_lasts_on_every_proxy(engine: &Engine) {
    let stage = Stage::default();
    let backend = stage.clone();
    let (one, two) =
        (Site::new(&engine.config("")), Site::answering(&engine.config(""), move |ask| backend.answer(ask)));
    let (mut ada, mut bob) = (one.browser(), one.browser());
    ada.visit(ok().say("Login", "ada"));
    bob.visit(ok().say("Login", "bob"));
    let (mut hers, mut his) = (websocket(&two, &ada.cookie()), websocket(&two, &bob.cookie()));
    let mut stream = events(&two, "/events", &ada.cookie());
    ada.visit(ok().say("Destroy", "1"));
    assert_eq!(end_of(&mut hers), close_frame(4401));
    assert_eq!(end_of(&mut stream), b"");
    stage.wait_for_ends(2);
    assert!(stands(&mut his));
}

pub fn writers_on_two_proxies_add_up(engine: &Engine) {
    // ST3
    const WRITERS: usize = 16;
    const EACH: usize = 10;
    let script = |request: &crate::support::message::Message| match request.target().as_str() {
        "/add" => ok().say("Add", "n=1"),
        _ => ok(),
    };
    let sites = [Site::answering(&engine.config(""), script), Site::answering(&engine.config(""), script)];
    let mut ada = sites[0].browser();
    ada.visit(ok().say("Set", "n=0"));
    let cookie = ada.cookie();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (site, cookie) = (&sites[writer % 2], &cookie);
            scope.spawn(move || {
                let mut client = site.client();
                for _ in 0..EACH {
                    assert_eq!(client.ask(&get("/add").with("Cookie", cookie)).status(), 200);
                }
            });
        }
    });
    assert_eq!(ada.look().data(), format!("n={}", WRITERS * EACH));
}

pub fn a_cap_on_an_owner_holds_on_every_proxy(engine: &Engine) {
    const LOGINS: usize = 12;
    let config =
        |when_full: &str| engine.config("") + &format!("max_sessions_per_owner = 3\nwhen_full = \"{when_full}\"\n");
    for (owner, when_full, welcome) in
        [("ada", "reject", 3), ("bob", "oldest", LOGINS), ("eve", "least_recent", LOGINS)]
    {
        let script = move |request: &crate::support::message::Message| match request.target().as_str() {
            "/login" => ok().say("Login", owner),
            _ => ok(),
        };
        let sites = [Site::answering(&config(when_full), script), Site::answering(&config(when_full), script)];
        let logins: Vec<_> = thread::scope(|scope| {
            let logins = (0..LOGINS).map(|n| {
                let site = &sites[n % 2];
                scope.spawn(move || {
                    let mut visitor = site.browser();
                    let status = visitor.fetch(&get("/login")).status();
                    (status, visitor)
                })
            });
            let logins: Vec<_> = logins.collect();
            logins.into_iter().map(|login| login.join().unwrap()).collect()
        });
        let accepted = logins.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!(accepted, welcome, "{when_full}");
        let live = logins.into_iter().filter(|(status, _)| *status == 200).map(|(_, mut visitor)| {
            for site in &sites {
                site.upstream.take();
            }
            visitor.look().told("State")
        });
        assert_eq!(live.filter(|state| state == "live").count(), 3, "{when_full}");
    }
}

pub fn sessions_move_from_the_disk_while_visitors_use_them(engine: &Engine) {
    let disk = engine.config("").replace("store = \"net\"", "store = \"disk\"");
    let site = Site::new(&disk);
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada").say("Set", "cart=3"));
    let mut bob = site.browser();
    bob.visit(ok().say("Login", "bob"));
    let mut leaver = site.browser();
    leaver.visit(ok().say("Login", "ada"));
    // She does not come by until all is over.
    let mut eve = site.browser();
    eve.visit(ok().say("Login", "eve").say("Set", "cart=1"));

    site.restart(&engine.config("fallback = \"disk\""));
    assert_eq!(ada.look().data(), "cart=3");
    ada.visit(ok().say("Set", "cart=4"));
    let gone = leaver.cookie();
    leaver.visit(ok().say("Destroy", "1"));
    assert_eq!(site.exchange(&get("/").with("Cookie", &gone), ok()).seen.told("State"), "expired");
    bob.visit(ok().say("Destroy", "others"));

    // The old one has served its time.
    let config = site.proxy.path("cloakroom.toml");
    let copied = std::process::Command::new(env!("CARGO_BIN_EXE_cloakroom"))
        .args(["store", "copy", "--from", "disk", "--to", "net", "-c"])
        .arg(&config)
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    site.restart(&engine.config(""));
    assert_eq!(ada.look().data(), "cart=4");
    assert_eq!(bob.look().told("User"), "bob");
    let seen = eve.look();
    assert_eq!((seen.told("User"), seen.data()), ("eve".into(), "cart=1".into()));
    assert_eq!(site.exchange(&get("/").with("Cookie", &gone), ok()).seen.told("State"), "expired");
}

/// Only Redis tells what others change; else a copy lives until its time has passed.
#[test]
fn a_near_cache_answers_for_its_store_and_hears_what_other_proxies_change() {
    let engine = Engine::redis();
    let (one, two) = (Site::new(&engine.config("near_cache = \"60s\"")), Site::new(&engine.config("")));
    let mut here = one.browser();
    here.visit(ok().say("Set", "a=1"));
    let mut there = same(&here, &two);
    assert_eq!((here.look().data(), there.look().data()), ("a=1".into(), "a=1".into()));
    there.visit(ok().say("Set", "a=2"));
    eventually("the copy is given up", || here.look().data() == "a=2");
    engine.freeze();
    let seen = here.look();
    engine.thaw();
    assert_eq!(seen.data(), "a=2", "no server was needed for that");
}

/// A request of every second writer on another proxy; each writes the number after the one that it was told.
pub fn a_lock_on_a_session_holds_on_every_proxy(engine: &Engine) {
    // S14
    const WRITERS: usize = 20;
    let config = engine.config("") + "lock = \"exclusive\"\nlock_wait = \"60s\"\nlock_waiters = 32\n";
    let counts = |request: &crate::support::message::Message| match request.target().as_str() {
        "/count" => {
            let before: usize = request.data().trim_start_matches("n=").parse().unwrap_or(0);
            ok().say("Set", format!("n={}", before + 1))
        }
        _ => ok(),
    };
    let sites = [Site::answering(&config, counts), Site::answering(&config, counts)];
    let mut ada = sites[0].browser();
    ada.visit(ok().say("Set", "n=0"));
    let cookie = ada.cookie();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (site, cookie) = (&sites[writer % 2], &cookie);
            scope.spawn(move || assert_eq!(site.fetch(&get("/count").with("Cookie", cookie)).status(), 200));
        }
    });
    assert_eq!(ada.look().data(), format!("n={WRITERS}"));
}

/// A backend that says that it is still there until its lock is over, and only then answers.
pub fn a_late_answer_whose_lock_is_another_proxys_by_then_writes_nothing(engine: &Engine) {
    let config = engine.config("")
        + "lock = \"exclusive\"\nlock_lease = \"1s\"\n[upstreams.app]\nservers = [\"@app\"]\nrequest_timeout = \"1s\"\n";
    let is_over = Gate::shut();
    let gate = is_over.clone();
    let slow = Site::answering(&config, move |request: &crate::support::message::Message| {
        let gate = gate.clone();
        match request.target().as_str() {
            "/late" => Answer::takeover(move |reader| {
                while !gate.is_open() {
                    thread::sleep(Duration::from_millis(100));
                    drop(reader.stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n"));
                }
                drop(reader.stream.write_all(&ok().say("Set", "n=late").bytes("GET")));
                drop(reader.head());
            }),
            _ => ok().into(),
        }
    });
    let quick = Site::new(&config);
    let mut ada = slow.browser();
    ada.visit(ok().say("Set", "n=0"));
    let mut there = same(&ada, &quick);
    let mut late = slow.client();
    late.send(get("/late").with("Cookie", ada.cookie()).bytes());
    slow.upstream.wait_for(2);
    assert_eq!(there.visit(ok().say("Set", "n=1")).got.status(), 200, "once the lease is over");
    is_over.open();
    assert_eq!(late.answer("GET").status(), 409);
    eventually("the log says so", || slow.proxy.has_logged("lock_lost"));
    slow.upstream.take();
    assert_eq!(there.look().data(), "n=1");
}
