//! A running proxy reads its configuration again: what is right takes effect at once, what is wrong changes nothing, and no
//! request notices.

mod support;

use cloakroom::clock::{Clock as _, SystemClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use support::client::get;
use support::lasting::{Stage, close_frame, end_of, stands, websocket};
use support::message::Message;
use support::operator::HEARD;
use support::upstream::{Upstream, ok};
use support::{Site, eventually};

/// A route that requires a session, so that it is seen which configuration holds.
const CLOSED: &str = "[[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\nrequire = \"main\"\n";

/// A store that looks into the disk store for what it does not have.
fn moving(name: &str) -> String {
    format!("[stores.{name}]\ntype = \"disk\"\npath = \"{name}.db\"\nfallback = \"disk\"\n")
}

fn with(more: &str) -> String {
    format!("{HEARD}{more}")
}

/// Reloads, and expects it to be done.
fn reload(site: &Site) {
    let said = site.operator().says(&["reload"]);
    assert!(said.ends_with("cloakroom.toml is served\n"), "{said}");
}

#[test]
fn a_reload_takes_effect_at_once_and_sessions_in_memory_stay() {
    let site = Site::new(&with(""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    assert_eq!(site.browser().visit(ok()).got.status(), 200);
    site.write(&with(CLOSED));
    assert_eq!(site.browser().visit(ok()).got.status(), 200, "the file alone changes nothing");
    reload(&site);
    assert_eq!(site.fetch(&get("/")).status(), 401);
    assert_eq!(ada.look().data(), "a=1", "the store and our own key are the same ones");
    ada.visit(ok().say("Set", "b=2"));
    site.write(&with(""));
    site.proxy.signal("HUP");
    eventually("SIGHUP does the same", || site.operator().tells(&["status"])["reloads"] == 2);
    assert_eq!(site.browser().visit(ok()).got.status(), 200);
    assert_eq!(ada.look().data(), "a=1&b=2");
}

#[test]
fn a_file_with_problems_changes_nothing_and_is_diagnosed_as_by_check() {
    let site = Site::new(&with(""));
    site.write(&with("[limits]\nmax_body_bytes = \"lots\"\ncolour = 1\n").replace("threads = 2", "threads = 3"));
    let ending = site.operator().call(&["reload"]);
    let check = site.operator().call(&["check"]);
    assert_eq!((ending.code, check.code, ending.out.as_str()), (78, 78, ""));
    let diagnosis = |text: &str| {
        text.replace(&site.proxy.dir().display().to_string(), "").replace("/cloakroom.toml", "cloakroom.toml")
    };
    assert!(diagnosis(&ending.err).starts_with(&check.out), "{}\n---\n{}", ending.err, check.out);
    assert!(ending.err.ends_with("cannot be used: the old configuration is served on\n"), "{}", ending.err);
    site.proxy.signal("HUP");
    eventually("the log says why", || {
        site.proxy.log().iter().filter(|line| line.contains("the configuration was not changed")).count() == 2
    });
    assert!(site.proxy.has_logged("colour"));
    assert_eq!(site.browser().visit(ok()).got.status(), 200);
    assert_eq!(site.operator().tells(&["status"])["reloads"], 0);
}

#[test]
fn what_only_a_start_can_change_is_refused_as_a_whole() {
    let site = Site::new(&with(""));
    for (change, settings) in [
        (with(CLOSED).replace("threads = 2", "threads = 3"), "`threads`"),
        (with(CLOSED).replace("\"state\"", "\"other\""), "`state_dir`"),
        (format!("{}[listeners.more]\naddress = \"unix:more.sock\"\n", with(CLOSED)), "`[listeners.more]`"),
        (
            with(&format!("{CLOSED}[listeners.web]\naddress = \"@web\"\nbehind_tls = true\nmax_headers = 50\n")),
            "`[listeners.web]`",
        ),
        (with(&format!("{CLOSED}[sessions.main]\nstore = \"new\"\n{}", moving("new"))), "`fallback`"),
        (
            format!("{}[log]\nlevel = \"warn\"\n[admin]\nsocket = \"other.sock\"\n", with(CLOSED)),
            "`admin.socket` and `log.level`",
        ),
    ] {
        site.write(&change);
        // The socket may be one of them: who asks knows where it is.
        let ending = site.operator().call(&["reload", "--socket", "run/admin.sock"]);
        let expected = format!(
            "error: {settings} cannot change while the server runs: restart it, or take the change back; the old \
             configuration is served on\n"
        );
        assert_eq!((ending.code, ending.err), (78, expected));
        assert_eq!(site.fetch(&get("/")).status(), 200, "nothing of it holds");
    }
    site.write(&with("[upstreams.app]\nservers = [\"http://nowhere.invalid:1\"]\n"));
    let ending = site.operator().call(&["reload"]);
    assert!(ending.code == 78 && ending.err.contains("`nowhere.invalid` has no address"), "{ending:?}");
    assert_eq!(site.fetch(&get("/")).status(), 200);
}

#[test]
fn no_request_fails_and_none_is_lost_while_it_reloads() {
    let site = Site::answering(&with(""), |request: &Message| {
        let count: u64 = request.data().strip_prefix("n=").and_then(|n| n.parse().ok()).unwrap_or(0);
        ok().say("Set", format!("n={}", count + 1))
    });
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served, mut client) = (Arc::clone(&stop), Arc::clone(&served), site.client());
            thread::spawn(move || {
                let (mut jar, mut count) = (support::client::Jar::default(), 0_u64);
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.ask(&get("/").cookie(jar.line().as_deref()));
                    assert_eq!(answer.status(), 200, "{answer:?}");
                    jar.keep(&answer);
                    count += 1;
                    served.fetch_add(1, Ordering::Relaxed);
                }
                (jar, count)
            })
        })
        .collect();
    let texts = [with(CLOSED_TO_NOBODY), with("")];
    for round in 0..20 {
        site.write(&texts[round % 2]);
        let before = served.load(Ordering::Relaxed);
        reload(&site);
        eventually("requests are served on", || served.load(Ordering::Relaxed) >= before + 20);
    }
    stop.store(true, Ordering::Relaxed);
    let visitors: Vec<_> =
        visitors.into_iter().map(|visitor| visitor.join().expect("no request of this visitor failed")).collect();
    for (jar, count) in visitors {
        drop(site.upstream.take());
        site.fetch(&get("/").cookie(jar.line().as_deref()));
        assert_eq!(site.upstream.only().data(), format!("n={count}"), "every change was kept");
    }
    assert_eq!(site.operator().tells(&["status"])["reloads"], 20);
}

/// Another configuration under which everybody is served the same.
const CLOSED_TO_NOBODY: &str = "[sessions.main]\nstore = \"memory\"\nidle_timeout = \"20m\"\n[limits]\n\
    max_connections = 500\n[[routes]]\npath = \"/never/*\"\nupstream = \"app\"\n[[routes]]\nupstream = \"app\"\n\
    sessions = [\"main\"]\n";

#[test]
fn another_store_is_opened_and_one_that_nothing_uses_is_closed() {
    let (memory, disk) = (with("[sessions.main]\nstore = \"memory\"\n"), with("[sessions.main]\nstore = \"disk\"\n"));
    let site = Site::new(&disk);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    site.write(&memory);
    reload(&site);
    assert_eq!(ada.look().told("State"), "expired", "another store knows nothing of it");
    ada.visit(ok().say("Set", "a=2"));
    assert_eq!(ada.look().data(), "a=2");
    eventually("the database is closed", || site.proxy.has_logged("a store is closed: nothing uses it any more"));
    eventually("its log is put away", || !site.proxy.path("state/sessions.db-wal").exists());
    site.write(&disk);
    reload(&site);
    let mut bob = site.browser();
    bob.visit(ok().say("Set", "b=1"));
    assert_eq!(bob.look().data(), "b=1");
}

#[test]
fn what_lasts_goes_on_over_a_reload_and_ends_with_its_session_still() {
    let stage = Stage::default();
    let backend = stage.clone();
    let site = Site::answering(&with(""), move |request: &Message| backend.answer(request));
    let (mut ada, mut bob) = (site.browser(), site.browser());
    ada.visit(ok().say("Login", "ada"));
    bob.visit(ok().say("Login", "bob"));
    let (mut hers, mut his) = (websocket(&site, &ada.cookie()), websocket(&site, &bob.cookie()));
    site.write(&with("[sessions.main]\nstore = \"memory\"\nidle_timeout = \"20m\"\n"));
    reload(&site);
    assert!(stands(&mut hers) && stands(&mut his));
    site.operator().says(&["sessions", "revoke", &ada.look().told("Ref")]);
    assert_eq!(end_of(&mut hers), close_frame(4401));
    assert!(stands(&mut his));
    site.operator().says(&["sessions", "revoke", "--all"]);
    assert_eq!(end_of(&mut his), close_frame(4401));
}

#[test]
fn a_moment_in_the_file_ends_sessions_of_one_policy_or_of_all() {
    for text in [
        with("").replace("[server]\n", "[server]\nnot_before = @now\n"),
        with("[sessions.main]\nstore = \"memory\"\nnot_before = @now\n"),
    ] {
        let site = Site::new(&with(""));
        let mut ada = site.browser();
        ada.visit(ok().say("Set", "a=1"));
        // The file knows whole seconds: the next one is waited for, so that the session began before it.
        let second = || SystemClock.now().as_secs();
        let began = second();
        eventually("another second", || second() > began);
        let now = cookie::time::OffsetDateTime::from_unix_timestamp(i64::try_from(second()).unwrap()).unwrap();
        let (date, time) = (now.date(), now.time());
        let moment = format!("{date}T{:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second());
        site.write(&text.replace("@now", &moment));
        reload(&site);
        assert_eq!(ada.look().told("State"), "expired", "{moment}");
        ada.visit(ok().say("Set", "a=2"));
        assert_eq!(ada.look().data(), "a=2");
    }
}

#[test]
fn the_budget_of_an_address_is_not_refilled() {
    let limited = |more: &str| with(&format!("[limits]\nsessions_created_per_ip = \"2/h\"\n{more}"));
    let site = Site::new(&limited(""));
    for _ in 0..2 {
        assert_eq!(site.browser().visit(ok().say("Set", "a=1")).got.status(), 200);
    }
    site.write(&limited("max_connections = 500\n"));
    reload(&site);
    assert_eq!(site.browser().visit(ok().say("Set", "a=1")).got.status(), 429);
    site.write(&limited("").replace("2/h", "3/h"));
    reload(&site);
    assert_eq!(site.browser().visit(ok().say("Set", "a=1")).got.status(), 200, "another budget is another matter");
}

#[test]
fn a_backend_is_replaced_by_another() {
    let site = Site::new(&with(""));
    let other = Upstream::new();
    site.write(&with(&format!("[upstreams.app]\nservers = [\"{}\"]\n", other.url())));
    reload(&site);
    let got = site.fetch(&get("/"));
    assert_eq!((got.status(), other.take().len(), site.upstream.take().len()), (200, 1, 0));
}

#[test]
fn a_signal_reaches_a_server_without_a_socket() {
    let site = Site::new("[admin]\nsocket = \"\"\n");
    site.write(&format!("[admin]\nsocket = \"\"\n{CLOSED}"));
    // Its sockets accept before signals are caught; it says so when both is done.
    eventually("it is ready", || site.proxy.has_logged("\"ready\""));
    site.proxy.signal("HUP");
    eventually("SIGHUP needs no socket", || site.proxy.has_logged("the configuration was read again"));
    assert_eq!(site.fetch(&get("/")).status(), 401);
}
