//! WebSockets, event streams and long polls end with their session, and with nothing else.

mod support;

use std::sync::mpsc;
use std::thread;
use support::client::{get, post};
use support::lasting::{PROMISE, Stage, close_frame, end_of, events, stands, upgrade, websocket};
use support::message::Message;
use support::tls::{self, SelfSigned};
use support::upstream::{Answer, Gate, ok};
use support::{Site, eventually};

const DISK: &str = "[sessions.main]\nstore = \"disk\"\n";

/// The tests of several visitors tell them apart by their owner.
fn site(config: &str) -> (Site, Stage) {
    let stage = Stage::default();
    let backend = stage.clone();
    (Site::answering(config, move |request: &Message| backend.answer(request)), stage)
}

/// Waits until the watch has come round: it has ended an exchange of somebody else's.
fn come_round(site: &Site) {
    let mut witness = site.browser();
    witness.visit(ok().say("Login", "witness"));
    let mut tunnel = websocket(site, &witness.cookie());
    witness.visit(ok().say("Destroy", "1"));
    end_of(&mut tunnel);
}

#[test]
fn a_websocket_is_told_that_its_session_has_ended() {
    for config in ["", DISK] {
        let (site, stage) = site(config);
        let (mut ada, mut bob) = (site.browser(), site.browser());
        ada.visit(ok().say("Login", "ada"));
        bob.visit(ok().say("Login", "bob"));
        let (mut hers, mut again) = (websocket(&site, &ada.cookie()), websocket(&site, &ada.cookie()));
        let (mut his, mut anonymous) = (websocket(&site, &bob.cookie()), websocket(&site, ""));
        ada.visit(ok().say("Destroy", "1"));
        assert_eq!(end_of(&mut hers), close_frame(4401));
        assert_eq!(end_of(&mut again), close_frame(4401));
        stage.wait_for_ends(2);
        eventually("the log says why", || site.proxy.has_logged("session_ended"));
        assert!(stands(&mut his) && stands(&mut anonymous));
    }
}

#[test]
fn the_operator_chooses_the_code() {
    let (site, _) = site("[[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\nclose_code = 1008\n");
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let mut tunnel = websocket(&site, &ada.cookie());
    ada.visit(ok().say("Destroy", "1"));
    assert_eq!(end_of(&mut tunnel), close_frame(1008));
}

#[test]
fn no_frame_of_ours_stands_within_one_of_the_backends() {
    let (site, stage) = site("");
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let mut tunnel = site.client();
    tunnel.send(upgrade("/half", &ada.cookie()).bytes());
    assert_eq!(tunnel.next("GET").expect("an answer").status(), 101);
    assert_eq!(tunnel.exactly(4), b"\x81\x05he");
    ada.visit(ok().say("Destroy", "1"));
    assert_eq!(end_of(&mut tunnel), b"");
    stage.wait_for_ends(1);
}

#[test]
fn a_stream_is_cut_and_does_not_look_complete() {
    for path in ["/events", "/ticks"] {
        let (site, stage) = site(DISK);
        let mut ada = site.browser();
        ada.visit(ok().say("Login", "ada"));
        let mut stream = events(&site, path, &ada.cookie());
        ada.visit(ok().say("Destroy", "1"));
        let rest = end_of(&mut stream);
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{path}: {}", String::from_utf8_lossy(&rest));
        stage.wait_for_ends(1);
    }
}

#[test]
fn a_client_that_has_sent_its_next_request_keeps_no_stream() {
    // pingora does not look at such a client any more until the answer is complete.
    let (site, stage) = site("");
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let mut stream = events(&site, "/events", &ada.cookie());
    stream.send(get("/next").bytes());
    ada.visit(ok().say("Destroy", "1"));
    assert_eq!(end_of(&mut stream), b"");
    stage.wait_for_ends(1);
}

#[test]
fn a_client_that_does_not_read_keeps_no_stream() {
    let (ended, end) = mpsc::channel();
    let site = Site::answering("", move |request: &Message| {
        if request.target() != "/flood" {
            return ok().into();
        }
        let ended = ended.clone();
        Answer::takeover(move |connection| {
            let begin = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n";
            let mut sent = connection.stream.write_all(begin);
            while sent.is_ok() {
                sent = connection.stream.write_all(&vec![b'x'; 65_536]);
            }
            ended.send(()).ok();
        })
    });
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let mut stream = site.client();
    stream.send(get("/flood").with("Cookie", ada.cookie()).bytes());
    site.upstream.wait_for(2);
    ada.visit(ok().say("Destroy", "1"));
    end.recv_timeout(PROMISE).expect("the backend is let go");
}

#[test]
fn a_backend_that_does_not_read_keeps_no_tunnel() {
    let gate = Gate::shut();
    let deaf = gate.clone();
    let site = Site::answering("", move |request: &Message| {
        if request.target() != "/deaf" {
            return ok().into();
        }
        let deaf = deaf.clone();
        Answer::takeover(move |connection| {
            let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            drop(connection.stream.write_all(switch));
            deaf.pass();
        })
    });
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let mut tunnel = site.client();
    tunnel.send(upgrade("/deaf", &ada.cookie()).bytes());
    assert_eq!(tunnel.next("GET").expect("an answer").status(), 101);
    let (ended, end) = mpsc::channel();
    let flood = thread::spawn(move || {
        while tunnel.try_send(vec![0; 65_536]) {}
        ended.send(()).ok();
    });
    ada.visit(ok().say("Destroy", "1"));
    end.recv_timeout(PROMISE).expect("the client is let go");
    gate.open();
    flood.join().expect("a thread of its own");
}

#[test]
fn a_long_poll_is_answered_that_the_session_has_ended() {
    let (site, stage) = site("");
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let mut poll = site.client();
    poll.send(get("/poll").with("Cookie", ada.cookie()).bytes());
    site.upstream.wait_for(2);
    ada.visit(ok().say("Destroy", "1"));
    let got = poll.answer("GET");
    assert_eq!((got.status(), got.set_cookies()), (401, vec![]));
    assert_eq!(end_of(&mut poll), b"");
    stage.wait_for_ends(1);
}

#[test]
fn what_changes_something_is_not_kept_from_its_answer() {
    let gate = Gate::shut();
    let (held, stage) = (gate.clone(), Stage::default());
    let site = Site::answering("", move |request: &Message| {
        if request.method() == "POST" {
            held.pass();
            return ok().body("done").into();
        }
        stage.answer(request)
    });
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let mut client = site.client();
    client.send(post("/", "x").with("Cookie", ada.cookie()).bytes());
    site.upstream.wait_for(2);
    ada.visit(ok().say("Destroy", "1"));
    come_round(&site);
    gate.open();
    assert_eq!(client.answer("POST").body_text(), "done");
}

#[test]
fn an_answer_does_not_end_by_what_it_does_itself() {
    for command in ["Destroy: 1", "Login: eve", "Regenerate: 1", "Invalidate: 1\r\nX-Session-Set: a=1"] {
        let gate = Gate::shut();
        let (held, stage) = (gate.clone(), Stage::default());
        let site = Site::answering("", move |request: &Message| {
            if request.target() != "/slow" {
                return stage.answer(request);
            }
            let held = held.clone();
            Answer::takeover(move |connection| {
                let half = format!("HTTP/1.1 200 OK\r\nX-Session-{command}\r\nContent-Length: 4\r\n\r\nup");
                drop(connection.stream.write_all(half.as_bytes()));
                held.pass();
                drop(connection.stream.write_all(b"on"));
            })
        });
        let mut ada = site.browser();
        ada.visit(ok().say("Login", "ada"));
        let mut client = site.client();
        client.send(get("/slow").with("Cookie", ada.cookie()).bytes());
        site.upstream.wait_for(2);
        come_round(&site);
        gate.open();
        assert_eq!(client.answer("GET").body_text(), "upon", "{command}");
    }
}

#[test]
fn a_session_that_begins_with_the_tunnel_ends_it() {
    let stage = Stage::default();
    let site = Site::answering("", move |request: &Message| {
        if request.target() != "/door" {
            return stage.answer(request);
        }
        Answer::takeover(|connection| {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        X-Session-Login: ada\r\n\r\n";
            drop(connection.stream.write_all(head.as_bytes()));
            while connection.some().is_ok_and(|bytes| !bytes.is_empty()) {}
        })
    });
    let mut ada = site.browser();
    let mut tunnel = site.client();
    tunnel.send(upgrade("/door", "").bytes());
    ada.jar.keep(&tunnel.next("GET").expect("an answer"));
    ada.visit(ok().say("Destroy", "1"));
    assert_eq!(end_of(&mut tunnel), close_frame(4401));
}

#[test]
fn a_tunnel_follows_a_session_to_its_new_id_and_not_to_another_person() {
    let (site, _) = site(DISK);
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let mut tunnel = websocket(&site, &ada.cookie());
    ada.visit(ok().say("Regenerate", "1"));
    come_round(&site);
    assert!(stands(&mut tunnel));
    ada.visit(ok().say("Regenerate", "1"));
    come_round(&site);
    assert!(stands(&mut tunnel));
    ada.visit(ok().say("Login", "eve"));
    assert_eq!(end_of(&mut tunnel), close_frame(4401));
}

#[test]
fn a_session_expires_although_its_tunnel_is_busy() {
    let (site, _) = site("[sessions.main]\nstore = \"disk\"\nidle_timeout = \"3s\"\n");
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let mut tunnel = websocket(&site, &ada.cookie());
    let mut frames = 0;
    while tunnel.try_send(b"\x81\x80\0\0\0\0") {
        if tunnel.exactly(2) != [0x81, 5] {
            break;
        }
        tunnel.exactly(5);
        frames += 1;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(frames > 10, "{frames}");
    assert_eq!(end_of(&mut tunnel), close_frame(4401)[2..]);
    assert_eq!(ada.look().told("State"), "expired");
}

#[test]
fn a_store_that_cannot_answer_ends_nothing() {
    // LG5
    let (site, _) = site(&format!("[log]\nlevel = \"debug\"\n{DISK}"));
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let (mut tunnel, mut stream) = (websocket(&site, &ada.cookie()), events(&site, "/events", &ada.cookie()));
    let database = rusqlite::Connection::open(site.proxy.path("state/sessions.db")).expect("the proxy's own database");
    database.busy_timeout(support::LIMIT).expect("a connection");
    database.execute_batch("ALTER TABLE sessions RENAME TO hidden").expect("the table is there");
    let failures = || site.proxy.log().iter().filter(|line| line.contains("cannot be looked up")).count();
    // Once a second, although two exchanges are tied to it.
    let broken = std::time::Instant::now();
    eventually("it was looked up in vain", || failures() >= 3);
    assert!(broken.elapsed() > std::time::Duration::from_millis(1500), "{:?}", broken.elapsed());
    assert!(stands(&mut tunnel));
    database.execute_batch("ALTER TABLE hidden RENAME TO sessions").expect("the table is there");
    eventually("the store is back", || site.fetch(&get("/").with("Cookie", ada.cookie())).status() == 200);
    site.upstream.take();
    assert!(stands(&mut tunnel));
    ada.visit(ok().say("Destroy", "1"));
    assert_eq!(end_of(&mut tunnel), close_frame(4401));
    assert_eq!(end_of(&mut stream), b"");
}

#[test]
fn a_route_may_let_exchanges_outlive_their_sessions() {
    let (site, _) = site(
        "[[routes]]\nupstream = \"app\"\npath = \"/events\"\nsessions = [\"main\"]\nend_with_session = false\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n",
    );
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let mut stream = events(&site, "/events", &ada.cookie());
    ada.visit(ok().say("Destroy", "1"));
    come_round(&site);
    let is_ended = |line: &String| line.contains("/events") && line.contains("session_ended");
    assert!(!site.proxy.log().iter().any(is_ended), "it stands");
    site.proxy.kill();
    assert_eq!(stream.rest(), b"");
}

#[test]
fn a_session_in_a_cookie_ends_what_lasts_where_endings_are_remembered() {
    let (site, stage) = site("[sessions.main]\nstore = \"cookie\"\nrevocation = \"disk\"\n");
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let (mut tunnel, mut stream) = (websocket(&site, &ada.cookie()), events(&site, "/events", &ada.cookie()));
    ada.visit(ok().say("Set", "a=1"));
    come_round(&site);
    assert!(stands(&mut tunnel));
    ada.visit(ok().say("Destroy", "1"));
    assert_eq!(end_of(&mut tunnel), close_frame(4401));
    assert_eq!(end_of(&mut stream), b"");
    stage.wait_for_ends(3);
}

#[test]
fn what_lasts_over_tls_ends_too() {
    let dir = tempfile::tempdir().expect("a directory of its own");
    let made = SelfSigned::new(dir.path(), "app.example");
    let (site, stage) = site(&format!(
        "[listeners.web]\naddress = \"@web\"\n[listeners.web.tls]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\n",
        made.cert.display(),
        made.key.display()
    ));
    let connect = || tls::connect(site.proxy.address(), "app.example", &made).expect("its own certificate");
    site.upstream.will(ok().say("Login", "ada"));
    let mut jar = support::client::Jar::default();
    jar.keep(&connect().ask(&get("/")));
    let cookie = jar.line().expect("a cookie");
    let mut tunnel = connect();
    tunnel.send(upgrade("/ws", &cookie).bytes());
    assert_eq!(tunnel.next("GET").expect("an answer").status(), 101);
    assert!(stands(&mut tunnel));
    let mut stream = connect();
    stream.send(get("/events").with("Cookie", &cookie).bytes());
    site.upstream.wait_for(3);
    site.upstream.will(ok().say("Destroy", "1"));
    connect().ask(&get("/").with("Cookie", &cookie));
    let rest = end_of(&mut tunnel);
    assert!(rest.ends_with(&close_frame(4401)), "{rest:?}");
    assert!(stream.try_next("GET").is_none(), "it is cut");
    stage.wait_for_ends(2);
}
