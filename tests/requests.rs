//! What pingora's parser lets through and a backend must never see, row by row; and what it must see.

mod support;

use support::client::{ask, get, post};
use support::message::Message;
use support::upstream::{Answer, ok};
use support::{Site, eventually};

/// What the proxy makes of a request that is sent as it stands.
#[derive(Debug)]
struct Outcome {
    /// The status; zero when the connection was just closed.
    status: u16,
    /// What the backend saw.
    seen: Vec<Message>,
}

fn outcome(site: &Site, request: &[u8]) -> Outcome {
    site.upstream.take();
    let mut client = site.client();
    client.try_send(request);
    let method = String::from_utf8_lossy(request).split(' ').next().unwrap_or_default().to_owned();
    let status = client.try_next(&method).map_or(0, |got| {
        assert!(!got.has("Server") && !got.mentions("pingora") && !got.mentions("cloakroom"), "{got:?}"); // CK10
        got.status()
    });
    Outcome { status, seen: site.upstream.take() }
}

/// A request of these lines; the body follows the empty line.
fn raw(lines: &str, body: &str) -> Vec<u8> {
    format!("{}\r\n\r\n{body}", lines.replace('\n', "\r\n")).into_bytes()
}

#[track_caller]
fn refused(site: &Site, lines: &str, body: &str, expected: &[u16]) {
    let outcome = outcome(site, &raw(lines, body));
    assert!(expected.contains(&outcome.status), "{lines:?}: {outcome:?}, expected {expected:?}");
    assert!(outcome.seen.is_empty(), "{lines:?}: {outcome:?}");
}

#[track_caller]
fn passes(site: &Site, lines: &str, body: &str) -> Message {
    let mut outcome = outcome(site, &raw(lines, body));
    assert_eq!((outcome.status, outcome.seen.len()), (200, 1), "{lines:?}: {outcome:?}");
    outcome.seen.remove(0)
}

#[test]
fn a_request_names_one_valid_host() {
    // HF1
    let site = Site::new("");
    for hosts in [
        "X: 1",
        "Host: a.example\nHost: a.example",
        "Host: a.example\nHost: b.example",
        "Host:",
        "Host: a/b",
        "Host: a b",
        "Host: user@a.example",
        "Host: a.example,b.example\\",
        "Host: \"a\"",
    ] {
        refused(&site, &format!("GET / HTTP/1.1\n{hosts}"), "", &[400]);
    }
    for host in ["a.example", "a.example:8080", "[::1]:8080", "127.0.0.1", "A.Example."] {
        assert_eq!(passes(&site, &format!("GET / HTTP/1.1\nHost: {host}"), "").get("Host").as_deref(), Some(host));
    }
    passes(&site, "GET / HTTP/1.0\nX: 1", "");
}

#[test]
fn an_absolute_target_becomes_a_path_if_it_agrees_with_the_host() {
    // HF1
    let site = Site::new("");
    let seen = passes(&site, "GET http://a.example/x?y=1 HTTP/1.1\nHost: a.example", "");
    assert_eq!((seen.first_line(), seen.get("Host")), ("GET /x?y=1 HTTP/1.1".into(), Some("a.example".into())));
    refused(&site, "GET http://a.example/x HTTP/1.1\nHost: b.example", "", &[400]);
}

#[test]
fn trace_and_connect_are_refused() {
    // HF9
    let site = Site::new("");
    refused(&site, "TRACE / HTTP/1.1\nHost: a.example", "", &[405]);
    refused(&site, "CONNECT a.example:443 HTTP/1.1\nHost: a.example:443", "", &[400, 405]);
}

#[test]
fn a_body_has_one_length() {
    // HF2
    let site = Site::new("");
    for lengths in
        ["Content-Length: 3\nContent-Length: 3", "Content-Length: 3, 3", "Content-Length: 3,3\nContent-Length: 3"]
    {
        let seen = passes(&site, &format!("POST / HTTP/1.1\nHost: a.example\n{lengths}"), "abc");
        assert_eq!((seen.all("Content-Length"), seen.body_text()), (vec!["3".into()], "abc".into()), "{lengths}");
    }
    for lengths in [
        "Content-Length: 3\nContent-Length: 4",
        "Content-Length: 3, 4",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: 0x3",
        "Content-Length:",
        "Content-Length: 3 3",
        "Content-Length: 99999999999999999999999",
    ] {
        refused(&site, &format!("POST / HTTP/1.1\nHost: a.example\n{lengths}"), "abc", &[400]);
    }
}

#[test]
fn only_chunked_alone_is_a_transfer_encoding() {
    // HF2
    let site = Site::new("");
    let body = "3\r\nabc\r\n0\r\n\r\n";
    for coding in ["chunked", "Chunked"] {
        let seen = passes(&site, &format!("POST / HTTP/1.1\nHost: a.example\nTransfer-Encoding: {coding}"), body);
        assert_eq!((seen.body_text().as_str(), seen.has("Content-Length")), ("abc", false));
    }
    for codings in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
    ] {
        refused(&site, &format!("POST / HTTP/1.1\nHost: a.example\n{codings}"), body, &[400, 501]);
    }
    refused(&site, "POST / HTTP/1.0\nHost: a.example\nTransfer-Encoding: chunked", body, &[400]);
}

#[test]
fn chunks_beside_a_length_are_refused_or_settled_and_the_connection_ends() {
    // HF2: what follows must never be read as a second request
    let site = Site::new("");
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
    for headers in ["Content-Length: 50\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\nContent-Length: 50"]
    {
        site.upstream.take();
        let mut client = site.client();
        client.send(raw(&format!("POST / HTTP/1.1\nHost: a.example\n{headers}"), smuggled));
        let answers = String::from_utf8_lossy(&client.rest()).into_owned();
        let seen = site.upstream.take();
        assert!(seen.iter().all(|request| request.target() == "/"), "{headers}: {seen:?}");
        if answers.starts_with("HTTP/1.1 200") {
            assert!(seen.iter().all(|request| !request.has("Content-Length")), "{headers}: {seen:?}");
        } else {
            assert!(answers.starts_with("HTTP/1.1 400") && seen.is_empty(), "{headers}: {answers} {seen:?}");
        }
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{headers}: {answers}");
    }
}

#[test]
fn malformed_chunks_reach_no_backend_as_a_whole_request() {
    // HF2
    let site = Site::new("");
    for body in [
        "3\nabc\n0\n\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "3 \tx\r\nabc\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcdef\r\n0\r\n\r\n",
        "g\r\n",
    ] {
        let outcome = outcome(&site, &raw("POST / HTTP/1.1\nHost: a.example\nTransfer-Encoding: chunked", body));
        assert!(matches!(outcome.status, 0 | 400 | 502), "{body:?}: {outcome:?}");
        assert!(outcome.seen.is_empty(), "{body:?}: {outcome:?}");
    }
    assert_eq!(site.fetch(&get("/")).status(), 200);
}

#[test]
fn what_follows_a_chunk_without_a_size_is_no_request() {
    // HF2: pingora reads an empty size as the last chunk, so the rest of the body must go with the connection
    let site = Site::new("");
    let body = "\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut client = site.client();
    client.send(raw("POST / HTTP/1.1\nHost: a.example\nTransfer-Encoding: chunked", body));
    drop(client.try_next("POST"));
    client.try_send(get("/next").with("Connection", "close").bytes());
    while client.try_next("GET").is_some() {}
    let seen = site.upstream.take();
    assert!(seen.iter().all(|request| request.target() != "/smuggled"), "{seen:?}");
}

#[test]
fn chunk_extensions_go_no_further() {
    let site = Site::new("");
    let head = "POST / HTTP/1.1\nHost: a.example\nTransfer-Encoding: chunked";
    let seen = passes(&site, head, "3;a=\"b\"\r\nabc\r\n2;x\r\nde\r\n0;last\r\n\r\n");
    assert_eq!(seen.body_text(), "abcde");
}

#[test]
fn malformed_heads_are_refused() {
    // HF3
    let site = Site::new("");
    for head in [
        "GET / HTTP/1.1\nHost : a.example",
        "GET / HTTP/1.1\nHost: a.example\nA: b\n c",
        "GET / HTTP/1.1\nHost: a.example\nA: b\0c",
        "GET / HTTP/1.1\nHost: a.example\nA: b\rc",
        "GET / HTTP/1.1\nHost: a.example\nA b",
        "GET / HTTP/1.1\nHost: a.example\n: b",
        "GET / HTTP/1.1\nHost: a.example\nA(b): c",
        "GET / HTTP/1.1 HTTP/1.1\nHost: a.example",
        "GET / HTTP/2.0\nHost: a.example",
        "GET / HTTP/1.1x\nHost: a.example",
        "GET /\nHost: a.example",
        "G@T / HTTP/1.1\nHost: a.example",
        "\u{1}\u{2}\u{3}",
    ] {
        refused(&site, head, "", &[400]);
    }
}

#[test]
fn a_target_that_is_no_text_is_refused() {
    let site = Site::new("");
    let outcome = outcome(&site, b"GET /\xff HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!((outcome.status, outcome.seen.len()), (400, 0), "{outcome:?}");
}

#[test]
fn bare_line_feeds_are_normalised() {
    let site = Site::new("");
    let outcome = outcome(&site, b"GET / HTTP/1.1\nHost: a.example\nA: b\n\n");
    assert_eq!((outcome.status, outcome.seen.len()), (200, 1), "{outcome:?}");
    let text = outcome.seen[0].text();
    assert!(text.contains("\r\nA: b\r\n") && !text.replace("\r\n", "").contains('\n'), "{text:?}");
}

#[test]
fn path_and_query_stay_as_they_came() {
    // HF6
    let site = Site::new("");
    for target in ["/a/../%2e%2e//b", "/%7Euser/?a=%20+&b[]=1&&=", "/a%2Fb;x=1?/?", "/caf%C3%A9?q=%", "/?a=http://x/#"]
    {
        let expected = target.trim_end_matches('#');
        assert_eq!(passes(&site, &format!("GET {target} HTTP/1.1\nHost: a.example"), "").target(), expected);
    }
    assert_eq!(passes(&site, "OPTIONS * HTTP/1.1\nHost: a.example", "").first_line(), "OPTIONS * HTTP/1.1");
}

#[test]
fn connection_names_few_plain_fields_and_none_that_matters() {
    // HF4
    let site = Site::new("");
    for tokens in [
        "close, host",
        "content-length",
        "Cookie",
        "transfer-encoding",
        "authorization",
        "\"x\"",
        "a b",
        "a,b,c,d,e,f,g,h,i,j",
    ] {
        refused(&site, &format!("GET / HTTP/1.1\nHost: a.example\nConnection: {tokens}"), "", &[400]);
    }
    // Refused before a connection of the pool is spent on it.
    assert!(site.upstream.connections() <= 1, "{}", site.upstream.connections());
}

#[test]
fn fields_of_one_hop_end_at_the_proxy() {
    // HF4, HF11
    let site = Site::new("");
    let head = "GET / HTTP/1.1\nHost: a.example\nConnection: keep-alive, X-Hop, X-Kept-Not\nX-Hop: 1\nX-Kept-Not: 1\n\
                Keep-Alive: timeout=5\nProxy-Authorization: Basic YTpi\nProxy-Connection: close\nTE: trailers\nTrailer: X\n\
                Upgrade: foo\nX-Kept: 1\nAuthorization: Basic YTpi";
    let seen = passes(&site, head, "");
    for name in
        ["X-Hop", "X-Kept-Not", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Upgrade"]
    {
        assert!(!seen.has(name), "{name}: {seen:?}");
    }
    assert!(seen.has("X-Kept") && seen.has("Authorization"));
    assert!(seen.all("Connection").iter().all(|line| !line.to_ascii_lowercase().contains("x-hop")), "{seen:?}");
}

#[test]
fn nobody_is_invited_to_another_protocol() {
    // HF11
    let site = Site::new("");
    for upgrade in ["h2c", "foo", "TLS/1.0, websocket-x"] {
        let head = format!(
            "GET / HTTP/1.1\nHost: a.example\nConnection: Upgrade, HTTP2-Settings\nUpgrade: {upgrade}\nHTTP2-Settings: AAMAAABk"
        );
        let seen = passes(&site, &head, "");
        assert!(!seen.has("Upgrade") && !seen.has("HTTP2-Settings"), "{upgrade}: {seen:?}");
    }
}

#[test]
fn heads_have_limits() {
    // HF10
    let site = Site::new("");
    let many = |count: usize| (0..count).map(|n| format!("\nX-{n}: 1")).collect::<String>();
    let wide = |bytes: usize| format!("\nX-Wide: {}", "x".repeat(bytes));
    let host = "GET / HTTP/1.1\nHost: a.example";
    refused(&site, &format!("{host}{}", many(120)), "", &[431]);
    refused(&site, &format!("{host}{}", many(300)), "", &[400, 431]);
    refused(&site, &format!("{host}{}", wide(33 << 10)), "", &[431]);
    refused(&site, &format!("{host}{}", wide(100 << 10)), "", &[431]);
    refused(&site, &format!("GET /{} HTTP/1.1\nHost: a.example", "x".repeat(9000)), "", &[414]);
    passes(&site, &format!("{host}{}", many(90)), "");
    passes(&site, &format!("{host}{}", wide(30 << 10)), "");
    passes(&site, &format!("GET /{} HTTP/1.1\nHost: a.example", "x".repeat(8000)), "");
}

#[test]
fn limits_of_heads_are_the_operators() {
    // HF10
    let site = Site::new(
        "[listeners.web]\naddress = \"@web\"\nbehind_tls = true\nmax_header_bytes = \"1KiB\"\nmax_headers = 10\n",
    );
    refused(&site, &format!("GET / HTTP/1.1\nHost: a.example\nX: {}", "x".repeat(1000)), "", &[431]);
    let many: String = (0..10).map(|n| format!("\nX-{n}: 1")).collect();
    refused(&site, &format!("GET / HTTP/1.1\nHost: a.example{many}"), "", &[431]);
}

#[test]
fn bodies_have_a_limit() {
    // HF10
    let site = Site::new("[limits]\nmax_body_bytes = \"10B\"\n");
    let head = "POST / HTTP/1.1\nHost: a.example";
    refused(&site, &format!("{head}\nContent-Length: 11"), "12345678901", &[413]);
    assert_eq!(passes(&site, &format!("{head}\nContent-Length: 10"), "1234567890").body.len(), 10);
    let chunked = format!("{head}\nTransfer-Encoding: chunked");
    refused(&site, &chunked, "6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n", &[413]);
    assert_eq!(passes(&site, &chunked, "6\r\n123456\r\n4\r\n1234\r\n0\r\n\r\n").body_text(), "1234561234");
}

#[test]
fn a_large_body_passes_unchanged() {
    let site = Site::new("");
    let body: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let visit = ada.ask(&post("/upload", &body), ok().body(&body));
    assert!(visit.seen.body == body && visit.got.body == body);
    assert_eq!(visit.seen.data(), "a=1");
}

#[test]
fn an_expected_continue_is_answered() {
    let site = Site::new("");
    let mut client = site.client();
    client.send(ask("POST", "/").with("Content-Length", "3").with("Expect", "100-continue").bytes());
    // The backend waits for the body and says nothing, so the invitation must come from the proxy or not at all.
    site.upstream.will(Answer::Bytes(ok().bytes("POST")));
    client.send("abc");
    assert_eq!(client.answer("POST").status(), 200);
    assert_eq!(site.upstream.only().body, b"abc");
}

#[test]
fn garbage_behind_a_good_request_gets_a_page_without_a_product_name() {
    // CK10
    let site = Site::new("");
    for garbage in ["GARBAGE\r\n\r\n", "GET / HTTP/1.1\r\nA b\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        let mut client = site.client();
        assert_eq!(client.ask(&get("/")).status(), 200);
        client.send(garbage);
        let answer = client.answer("GET");
        assert!(answer.status() == 400 && !answer.has("Server") && !answer.mentions("pingora"), "{answer:?}");
        let mut client = site.client();
        client.send([get("/").bytes(), garbage.into()].concat());
        assert_eq!(client.answer("GET").status(), 200);
        let answer = client.answer("GET");
        assert!(answer.status() == 400 && !answer.has("Server") && !answer.mentions("pingora"), "{answer:?}");
    }
}

#[test]
fn refused_requests_leave_a_line_and_no_product_name() {
    // CK10, LG3
    let site = Site::new("");
    for head in ["GARBAGE", "GET / HTTP/1.1\nA b", "TRACE / HTTP/1.1\nHost: a.example"] {
        let before = site.proxy.log().len();
        let mut client = site.client();
        client.send(raw(head, ""));
        let answer = client.answer("GET");
        assert!(matches!(answer.status(), 400 | 405), "{head}: {answer:?}");
        assert!(!answer.has("Server") && !answer.mentions("pingora") && !answer.mentions("cloakroom"), "{answer:?}");
        eventually("a line in the log", || site.proxy.log().len() > before);
    }
}

#[test]
fn a_page_of_our_own_tells_whether_the_connection_ends() {
    // RFC 9112, 9.6: a client that believes `keep-alive` loses its next request
    let site = Site::new("[[routes]]\npath = \"/\"\nupstream = \"app\"\nsessions = [\"main\"]\n");
    for (request, answer) in [
        (get("/nowhere"), ok()),
        (ask("TRACE", "/"), ok()),
        (get("/"), ok().say("Set", "%")),
        (get("/"), ok().say("If", "a=1")),
    ] {
        site.upstream.take();
        site.upstream.will(answer);
        let mut client = site.client();
        let page = client.ask(&request);
        assert!(page.status() >= 400);
        let is_last = page.all("Connection").iter().any(|value| value.eq_ignore_ascii_case("close"));
        if is_last {
            assert_eq!(client.rest(), b"");
        } else {
            client.try_send(get("/").bytes());
            let next = client.try_next("GET").map(|next| next.status());
            assert_eq!(next, Some(200), "{request:?}: kept alive, and then closed: {page:?}");
        }
        site.upstream.forget();
    }
}
