//! Connections on both sides: kept, reused, counted, timed, upgraded, over TLS and over Unix sockets.

mod support;

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};
use support::client::{Client, ask, get, post};
use support::message::Message;
use support::tls::{self, SelfSigned};
use support::upstream::{Answer, Gate, Upstream, ok};
use support::{LIMIT, Site, eventually};

#[test]
fn connections_on_both_sides_serve_many_requests() {
    let site = Site::new("");
    let mut client = site.client();
    for number in 0..30 {
        let request = if number % 2 == 0 { get("/") } else { post("/", "x") };
        let got = client.ask(&request);
        assert_eq!((got.status(), got.all("Connection").join(",").contains("close")), (200, false));
    }
    // Now and then a connection of the pool is not free in time and a new one is made; mostly it is.
    assert_eq!(site.upstream.take().len(), 30);
    assert!(site.upstream.connections() < 30, "{}", site.upstream.connections());
}

#[test]
fn two_visitors_on_one_connection_are_two_visitors() {
    let site = Site::new("");
    let (mut ada, mut bob) = (site.browser(), site.browser());
    ada.visit(ok().say("Set", "user=ada"));
    bob.visit(ok().say("Set", "user=bob"));
    let mut client = site.client();
    site.upstream.take();
    for cookie in [Some(ada.cookie()), Some(bob.cookie()), None, Some(ada.cookie())] {
        client.ask(&get("/").cookie(cookie.as_deref()));
    }
    let data: Vec<_> = site.upstream.take().iter().map(Message::data).collect();
    assert_eq!(data, ["user=ada", "user=bob", "", "user=ada"]);
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let site = Site::answering("", |request: &Message| ok().body(request.target()));
    let mut client = site.client();
    let three: Vec<u8> =
        [get("/1"), post("/2", "abc"), get("/3")].iter().flat_map(support::client::Ask::bytes).collect();
    client.send(three);
    for target in ["/1", "/2", "/3"] {
        assert_eq!(client.answer("GET").body_text(), target);
    }
}

#[test]
fn a_request_that_comes_while_the_first_one_waits_does_not_disturb_it() {
    let gate = Gate::shut();
    let held = gate.clone();
    let site = Site::answering("", move |request: &Message| {
        if request.target() == "/slow" {
            held.pass();
        }
        ok().body(request.target())
    });
    let mut client = site.client();
    client.send(get("/slow").bytes());
    site.upstream.wait_for(1);
    client.send(get("/next").bytes());
    gate.open();
    assert_eq!(client.answer("GET").body_text(), "/slow");
    assert_eq!(client.answer("GET").body_text(), "/next");
}

#[test]
fn a_head_that_drips_is_cut_off() {
    // HF14
    let site = Site::new("[listeners.web]\naddress = \"@web\"\nbehind_tls = true\nheader_timeout = \"500ms\"\n");
    let drip = |mut client: Client| {
        let begun = Instant::now();
        client.try_send("GET / HTTP/1.1\r\nHost: app.example\r\nX-Drip: ");
        // A byte now and then keeps a limit for each read from ever being reached.
        while client.try_send("x") {
            assert!(begun.elapsed() < LIMIT, "still open after {:?}", begun.elapsed());
            thread::sleep(Duration::from_millis(20));
        }
        assert!(begun.elapsed() >= Duration::from_millis(400), "cut after {:?}", begun.elapsed());
    };
    drip(site.client());
    let mut second = site.client();
    assert_eq!(second.ask(&get("/")).status(), 200);
    drip(second);
    assert_eq!(site.upstream.take().len(), 1);
}

#[test]
fn a_head_that_stops_is_cut_off() {
    // HF14
    let site = Site::new("[listeners.web]\naddress = \"@web\"\nbehind_tls = true\nheader_timeout = \"500ms\"\n");
    let mut client = site.client();
    client.send("GET / HTTP/1.1\r\nHost: app.exa");
    client.rest();
    assert_eq!(site.upstream.take(), []);
}

#[test]
fn an_idle_connection_is_closed() {
    // HF14
    let site = Site::new("[listeners.web]\naddress = \"@web\"\nbehind_tls = true\nkeepalive_timeout = \"1s\"\n");
    let mut client = site.client();
    assert_eq!(client.ask(&get("/")).status(), 200);
    let since = Instant::now();
    assert_eq!(client.rest(), b"");
    assert!(since.elapsed() >= Duration::from_millis(500), "{:?}", since.elapsed());
}

#[test]
fn a_slow_body_is_no_slow_head() {
    // HF14
    let site = Site::new("[listeners.web]\naddress = \"@web\"\nbehind_tls = true\nheader_timeout = \"300ms\"\n");
    let mut client = site.client();
    client.send(ask("POST", "/").with("Content-Length", "5").bytes());
    let begun = Instant::now();
    for byte in ["a", "b", "c", "d", "e"] {
        thread::sleep(Duration::from_millis(150));
        client.send(byte);
    }
    assert!(begun.elapsed() > Duration::from_millis(600));
    assert_eq!(client.answer("POST").status(), 200);
    assert_eq!(site.upstream.only().body, b"abcde");
}

#[test]
fn connections_have_a_limit_and_are_given_back() {
    let site = Site::new("[limits]\nmax_connections = 2\n");
    let serves = |client: &mut Client| {
        client.try_send(get("/").bytes()) && client.try_next("GET").is_some_and(|got| got.status() == 200)
    };
    // The one that told that the proxy is ready may still be counted.
    let mut held = Vec::new();
    eventually("two are served", || {
        let mut client = site.client();
        if serves(&mut client) {
            held.push(client);
        }
        held.len() == 2
    });
    assert!(!serves(&mut site.client()), "a third one");
    assert!(held.iter_mut().all(serves), "those that stand are not disturbed");
    held.pop();
    eventually("its place is given back", || serves(&mut site.client()));
}

/// Upgrades, sends bytes both ways, and checks what the backend saw.
fn tunnel(site: &Site, cookie: &str, sizes: &[usize]) {
    let upgrade = get("/ws").with("Connection", "Upgrade").with("Upgrade", "websocket").with("Cookie", cookie);
    let mut client = site.client();
    client.send(upgrade.with("Sec-WebSocket-Key", "abc").bytes());
    let got = client.next("GET").expect("an answer");
    assert_eq!(got.status(), 101, "{got:?}");
    assert_eq!(got.get("Upgrade").as_deref(), Some("websocket"));
    assert!(got.all("Connection").iter().any(|value| value.eq_ignore_ascii_case("upgrade")), "{got:?}");
    assert_eq!(client.exactly(7), b"welcome");
    for size in sizes {
        let sent: Vec<u8> = (0..*size).map(|n| n.to_le_bytes()[0]).collect();
        client.send(&sent);
        let expected: Vec<u8> = sent.iter().map(|byte| !byte).collect();
        assert!(client.exactly(sent.len()) == expected, "{size} bytes");
    }
}

/// Switches protocols, greets, and answers every byte with its complement.
fn complement() -> Answer {
    Answer::takeover(|connection| {
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome";
        let mut sent = connection.stream.write_all(head.as_bytes());
        while let (Ok(()), Ok(bytes)) = (&sent, connection.some()) {
            if bytes.is_empty() {
                return;
            }
            let complement: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
            sent = connection.stream.write_all(&complement);
        }
    })
}

#[test]
fn a_tunnel_carries_bytes_both_ways_and_the_session_at_its_beginning() {
    // HF11, protocol 6.1
    let site = Site::answering("", |request: &Message| match request.target().as_str() {
        "/ws" => complement(),
        _ => ok().into(),
    });
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada").with("Connection", "close"));
    tunnel(&site, &ada.cookie(), &[1, 100, 70_000]);
    let seen = site.upstream.only();
    assert_eq!((seen.told("State"), seen.data(), seen.has("Cookie")), ("live".into(), "user=ada".into(), false));
    assert_eq!(seen.get("Upgrade").as_deref(), Some("websocket"));
    assert_eq!(seen.get("Sec-WebSocket-Key").as_deref(), Some("abc"));
}

#[test]
fn many_tunnels_stand_at_once() {
    let site = Site::answering("", |request: &Message| match request.target().as_str() {
        "/ws" => complement(),
        _ => ok().into(),
    });
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada").with("Connection", "close"));
    let (site, cookie) = (&site, &ada.cookie());
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(move || tunnel(site, cookie, &[1, 5000]));
        }
    });
    let seen = site.upstream.take();
    assert_eq!(seen.iter().filter(|seen| seen.data() == "user=ada").count(), 50);
}

#[test]
fn a_tunnel_stands_on_a_connection_of_the_pool_too() {
    // An answer that comes at once must not end the tunnel that it opens: tried as often as it takes to meet that moment.
    let site = Site::answering("", |request: &Message| match request.target().as_str() {
        "/ws" => complement(),
        _ => ok().into(),
    });
    for _ in 0..200 {
        assert_eq!(site.fetch(&get("/")).status(), 200);
        tunnel(&site, "a=1", &[4]);
    }
}

#[test]
fn a_command_on_101_counts() {
    // protocol, 5.6
    let site = Site::new("");
    site.upstream.will(Answer::Last(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Session-Set: a=1\r\n\r\n"
            .to_vec(),
    ));
    let mut ada = site.browser();
    let mut client = site.client();
    client.send(get("/").with("Connection", "Upgrade").with("Upgrade", "websocket").bytes());
    let got = client.next("GET").expect("an answer");
    assert_eq!((got.status(), got.set_cookies().len()), (101, 1), "{got:?}");
    ada.jar.keep(&got);
    drop(client);
    assert_eq!(ada.look().data(), "a=1");
}

#[test]
fn an_upgrade_that_is_declined_is_an_ordinary_answer() {
    let site = Site::new("");
    let mut client = site.client();
    let got = client.ask(&get("/").with("Connection", "Upgrade").with("Upgrade", "websocket"));
    assert_eq!((got.status(), got.body_text().as_str()), (200, "<p>hello</p>"));
}

#[test]
fn nothing_is_tunnelled_without_101() {
    // HF11, CVE-2026-2833
    let site = Site::new("");
    let mut client = site.client();
    let upgrade = get("/").with("Connection", "Upgrade").with("Upgrade", "websocket").bytes();
    client.send([upgrade, get("/behind").bytes()].concat());
    client.answer("GET");
    drop(client.try_next("GET"));
    for seen in site.upstream.take() {
        assert!(!seen.body_text().contains("/behind"), "{seen:?}");
        assert!(seen.target() != "/behind" || seen.has("Via"), "bytes that we have not read: {seen:?}");
    }
}

#[test]
fn both_sides_may_be_unix_sockets() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("app.sock");
    let upstream = Upstream::on_socket(&socket);
    let site = Site::new(&format!(
        "[listeners.web]\naddress = \"@web\"\nbehind_tls = true\n[listeners.local]\naddress = \"unix:web.sock\"\nbehind_tls = true\n\
         [upstreams.app]\nservers = [\"unix:{}\"]\nhost_header = \"upstream\"\n",
        socket.display()
    ));
    upstream.will(ok().say("Set", "a=1"));
    let path = site.proxy.path("web.sock");
    let mut ada = site.browser();
    let got = Client::unix(&path).ask(&get("/"));
    assert_eq!(got.status(), 200);
    ada.jar.keep(&got);
    Client::unix(&path).ask(&get("/").with("Cookie", ada.cookie()).with("X-Forwarded-For", "1.2.3.4"));
    let seen = upstream.take();
    assert_eq!((seen[1].data().as_str(), seen[1].get("Host").as_deref()), ("a=1", Some("localhost")));
    assert!(!seen[1].mentions("1.2.3.4"));
    site.proxy.stop();
    assert!(!path.exists(), "the socket goes with the process");
}

#[test]
fn certificates_are_chosen_by_the_name_that_the_client_asks_for() {
    // CK1
    let dir = tempfile::tempdir().expect("a directory");
    let (one, two) = (SelfSigned::new(dir.path(), "one.example"), SelfSigned::new(dir.path(), "two.example"));
    let entry =
        |made: &SelfSigned| format!("{{ cert = \"{}\", key = \"{}\" }}", made.cert.display(), made.key.display());
    let site = Site::new(&format!(
        "[listeners.web]\naddress = \"@web\"\n[listeners.web.tls]\ncertificates = [{}, {}]\n",
        entry(&one),
        entry(&two)
    ));
    let address = site.proxy.address();
    for (host, own, other) in [("one.example", &one, &two), ("two.example", &two, &one)] {
        let mut client = tls::connect(address, host, own).expect("its own certificate");
        site.upstream.will(ok().say("Set", "a=1"));
        let got = client.ask(&get("/").but("Host", host));
        assert_eq!(got.status(), 200);
        assert!(got.set_cookies()[0].starts_with("__Host-session=") && got.set_cookies()[0].contains("; Secure"));
        assert_eq!(site.upstream.only().get("X-Forwarded-Proto").as_deref(), Some("https"));
        assert!(tls::connect(address, host, other).is_none(), "the certificate of another");
    }
    assert!(tls::connect(address, "three.example", &one).is_none());
    // Plain HTTP on it is no way in.
    let mut plain = site.client();
    plain.try_send(get("/").bytes());
    assert!(plain.try_next("GET").is_none_or(|got| got.status() == 400));
    assert_eq!(site.upstream.take(), []);
}

#[test]
fn a_running_request_is_finished_before_the_process_ends() {
    // ST9
    let gate = Gate::shut();
    let held = gate.clone();
    let site = Site::answering("[sessions.main]\nstore = \"disk\"\n", move |request: &Message| {
        if request.target() == "/slow" {
            held.pass();
            return ok().say("Set", "late=1");
        }
        ok()
    });
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let mut client = site.client();
    client.send(get("/slow").with("Cookie", ada.cookie()).bytes());
    site.upstream.wait_for(2);
    site.proxy.signal("TERM");
    let address = site.proxy.address();
    eventually("no new connection is taken", || std::net::TcpStream::connect(address).is_err());
    assert!(site.proxy.is_alive());
    gate.open();
    assert_eq!(client.answer("GET").status(), 200);
    assert_eq!(site.proxy.ended().and_then(|status| status.code()), Some(0));
    site.restart("[sessions.main]\nstore = \"disk\"\n");
    assert_eq!(ada.look().data(), "a=1&late=1");
}

#[test]
fn an_idle_process_leaves_at_once() {
    // ST9
    let site = Site::new("");
    let mut idle = site.client();
    assert_eq!(idle.ask(&get("/")).status(), 200);
    let begun = Instant::now();
    assert_eq!(site.proxy.stop().and_then(|status| status.code()), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_process_that_says_that_it_is_ready_catches_signals() {
    // ST9: whoever starts it may end it at any moment after that
    for _ in 0..20 {
        let site = Site::new("");
        eventually("it is ready", || site.proxy.has_logged("ready"));
        assert_eq!(site.proxy.stop().and_then(|status| status.code()), Some(0));
    }
}
