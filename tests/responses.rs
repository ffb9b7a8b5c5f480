//! What becomes of a backend's answers on their way to clients of HTTP/1.1 and HTTP/1.0.

mod support;

use std::io::Write as _;
use support::Site;
use support::client::{ask, get};
use support::upstream::{Answer, Gate, ok};

/// Everything that a client of its own gets when the backend answers with these bytes.
fn raw(site: &Site, request: &support::client::Ask, answer: impl Into<Answer>) -> String {
    site.upstream.will(answer);
    let mut client = site.client();
    client.send(request.bytes());
    String::from_utf8_lossy(&client.rest()).into_owned()
}

fn closing() -> support::client::Ask {
    get("/").with("Connection", "close")
}

#[test]
fn fields_of_one_hop_end_at_the_proxy() {
    // HF4
    let site = Site::new("");
    let reply = ok()
        .with("Connection", "X-Hop, keep-alive, Content-Length")
        .with("X-Hop", "1")
        .with("Keep-Alive", "timeout=5")
        .with("Proxy-Connection", "keep-alive")
        .with("Trailer", "X")
        .with("Upgrade", "h2c")
        .with("X-Kept", "1")
        .with("Set-Cookie", "a=1");
    let got = site.exchange(&get("/"), reply).got;
    for name in ["X-Hop", "Keep-Alive", "Proxy-Connection", "Trailer", "Upgrade"] {
        assert!(!got.has(name), "{name}: {got:?}");
    }
    assert!(!got.all("Connection").join(",").to_ascii_lowercase().contains("x-hop"), "{got:?}");
    assert_eq!(
        (got.get("X-Kept").as_deref(), got.set_cookies(), got.body_text().as_str()),
        (Some("1"), vec!["a=1".into()], "<p>hello</p>")
    );
}

#[test]
fn fields_pass_with_their_repeats_and_in_order() {
    // HF7
    let site = Site::new("");
    let reply = ok()
        .with("Link", "<a>")
        .with("WWW-Authenticate", "Basic realm=\"a\"")
        .with("Link", "<b>")
        .with("X-Empty", "")
        .with("Allow", "GET")
        .with("X-Bytes", b"caf\xe9".as_slice());
    let got = site.exchange(&get("/"), reply).got;
    assert_eq!((got.all("Link"), got.get("X-Empty")), (vec!["<a>".into(), "<b>".into()], Some(String::new())));
    assert_eq!(got.get("WWW-Authenticate").as_deref(), Some("Basic realm=\"a\""));
    assert_eq!((got.get("Allow").as_deref(), got.get("X-Bytes").as_deref()), (Some("GET"), Some("caf\u{e9}")));
    assert!(!got.has("Server"));
}

#[test]
fn chunks_pass_to_a_client_of_http_1_1() {
    let site = Site::new("");
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=1\r\nde\r\n0\r\nX-T: 1\r\n\r\n";
    assert_eq!(site.exchange(&get("/"), answer).got.body_text(), "abcde");
}

#[test]
fn a_client_of_http_1_0_gets_a_body_without_chunks() {
    let site = Site::new("");
    for answer in [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".as_slice(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
    ] {
        for request in [get("/").http10(), get("/").http10().with("Connection", "keep-alive")] {
            let text = raw(&site, &request, answer);
            assert!(text.starts_with("HTTP/1.0 200"), "{text}");
            assert!(text.ends_with("\r\n\r\nabcde") && !text.to_ascii_lowercase().contains("chunked"), "{text}");
        }
    }
    let unframed = Answer::Last(b"HTTP/1.0 200 OK\r\n\r\nabcde".to_vec());
    let text = raw(&site, &get("/").http10(), unframed);
    assert!(text.starts_with("HTTP/1.0 200") && text.ends_with("\r\n\r\nabcde"), "{text}");
}

#[test]
fn our_own_pages_are_readable_for_a_client_of_http_1_0() {
    let site = Site::new("[[routes]]\npath = \"/only\"\nupstream = \"app\"\nsessions = [\"main\"]\n");
    let text = raw(&site, &get("/").http10(), ok());
    assert!(text.starts_with("HTTP/1.0 404") || text.starts_with("HTTP/1.1 404"), "{text}");
    assert!(!text.to_ascii_lowercase().contains("chunked") && text.ends_with("</html>\n"), "{text}");
}

#[test]
fn an_answer_without_any_framing_gets_one() {
    let site = Site::new("");
    let unframed = Answer::Last(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nabcde".to_vec());
    let got = site.exchange(&get("/"), unframed).got;
    assert_eq!((got.status(), got.body_text().as_str()), (200, "abcde"));
}

#[test]
fn a_head_request_keeps_the_length_and_has_no_body() {
    let site = Site::new("");
    let visit = site.exchange(&ask("HEAD", "/"), ok());
    assert_eq!(visit.seen.method(), "HEAD");
    assert_eq!((visit.got.get("Content-Length").as_deref(), visit.got.body.len()), (Some("12"), 0));
    let text = raw(&site, &ask("HEAD", "/").with("Connection", "close"), ok());
    assert!(text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn a_body_that_breaks_off_is_not_passed_as_whole() {
    let site = Site::new("");
    for half in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".as_slice(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabc",
    ] {
        let text = raw(&site, &closing(), Answer::Last(half.to_vec()));
        let whole = text.contains("\r\n0\r\n\r\n") || (text.contains("Content-Length: 3\r\n") && text.ends_with("abc"));
        assert!(text.starts_with("HTTP/1.1 200") && !whole, "{text}");
    }
    assert_eq!(site.fetch(&get("/")).status(), 200);
}

#[test]
fn an_answer_that_is_none_is_502() {
    let site = Site::new("");
    for garbage in [
        b"".as_slice(),
        b"HTTP/1.1",
        b"hello\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"\x16\x03\x01\x02\x00",
    ] {
        let text = raw(&site, &closing(), Answer::Last(garbage.to_vec()));
        assert!(text.starts_with("HTTP/1.1 502"), "{garbage:?}: {text}");
        assert!(!text.contains("hello") && !text.to_ascii_lowercase().contains("server:"), "{text}");
    }
    assert!(site.proxy.is_alive());
}

#[test]
fn bytes_behind_an_answer_are_never_the_answer_to_the_next_request() {
    // HF13, CVE-2025-4366
    let site = Site::new("");
    let both = [ok().bytes("GET"), ok().body("POISON").bytes("GET")].concat();
    let mut client = site.client();
    site.upstream.will(both.as_slice());
    assert_eq!(client.ask(&get("/")).body_text(), "<p>hello</p>");
    for _ in 0..3 {
        assert_eq!(client.ask(&get("/")).body_text(), "<p>hello</p>");
        assert_eq!(site.fetch(&get("/")).body_text(), "<p>hello</p>");
    }
}

#[test]
fn an_answer_to_half_a_body_costs_the_connection() {
    // HF13
    let site = Site::new("");
    site.upstream.take();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 10\r\n\r\nabc");
    drop(client);
    for _ in 0..3 {
        assert_eq!(site.exchange(&get("/next"), ok()).seen.target(), "/next");
    }
}

#[test]
fn several_informational_answers_pass_in_order() {
    // HF17
    let site = Site::new("");
    let hint = |n: u8| format!("HTTP/1.1 103 Early Hints\r\nLink: <{n}>\r\n\r\n").into_bytes();
    site.upstream.will([hint(1), hint(2), ok().bytes("GET")].concat().as_slice());
    let mut client = site.client();
    assert_eq!(client.ask(&get("/")).body_text(), "<p>hello</p>");
    let links: Vec<_> = client.interim.iter().filter_map(|answer| answer.get("Link")).collect();
    assert_eq!(links, ["<1>", "<2>"]);
}

#[test]
fn a_client_of_http_1_0_gets_no_informational_answer() {
    // RFC 9110, 15.2
    let site = Site::new("");
    let both = [b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n".to_vec(), ok().bytes("GET")].concat();
    let text = raw(&site, &get("/").http10(), both.as_slice());
    assert!(text.starts_with("HTTP/1.0 200") && text.matches("HTTP/1.").count() == 1, "{text}");
}

#[test]
fn nobody_switches_protocols_unasked() {
    // HF11
    let site = Site::new("");
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
    let other = closing().but("Connection", "close, Upgrade");
    for request in [other.clone().with("Upgrade", "foo"), other.with("Upgrade", "h2c"), closing().http10(), closing()] {
        let text = raw(&site, &request, Answer::Last(switching.into()));
        assert!(text.starts_with("HTTP/1.1 502") && !text.contains("hello"), "{request:?}: {text}");
    }
}

#[test]
fn a_stream_reaches_the_client_while_it_is_written() {
    // No body is buffered: the client reads the beginning before the backend writes the end.
    let gate = Gate::shut();
    let shut = gate.clone();
    let site = Site::new("");
    site.upstream.will(Answer::takeover(move |connection| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Session-Set: a=1\r\n\r\ndata: 1\n\n";
        drop(connection.stream.write_all(head.as_bytes()));
        shut.pass();
        drop(connection.stream.write_all(b"data: 2\n\n"));
    }));
    let mut client = site.client();
    client.send(get("/").http10().bytes());
    let mut begun = Vec::new();
    while !begun.ends_with(b"data: 1\n\n") {
        begun.extend(client.exactly(1));
    }
    assert!(String::from_utf8_lossy(&begun).contains("Set-Cookie: __Host-session="));
    gate.open();
    assert_eq!(client.rest(), b"data: 2\n\n");
}
