//! Defects that a review found in what passes between client and backend: targets, connections, switched protocols,
//! caches, names.

mod support;

use std::collections::HashSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use support::client::{Ask, Client, SetCookie, get, post};
use support::message::{Message, Reader};
use support::upstream::{Answer, Reply, ok, status};
use support::{Browser, Site, Stream as _};

/// A route that requires a session before one that does not.
const CLOSED: &str = r#"
[sessions.main]
store = "memory"
[[routes]]
path = "/admin/*"
upstream = "app"
sessions = ["main"]
require = "main"
[[routes]]
path = "/members/*"
upstream = "app"
sessions = ["main"]
require = "main"
on_missing = { redirect = "/login" }
[[routes]]
path = "/plain/*"
upstream = "app"
[[routes]]
upstream = "app"
sessions = ["main"]
"#;

/// The status of the answer to these lines, and what the backend saw.
fn raw(site: &Site, lines: &str) -> (u16, Vec<Message>) {
    site.upstream.take();
    let mut client = site.client();
    client.send(format!("{}\r\n\r\n", lines.replace('\n', "\r\n")));
    (client.answer("GET").status(), site.upstream.take())
}

fn session(site: &Site) -> Browser<'_> {
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada"));
    ada
}

#[test]
fn a_target_that_is_no_path_here_leads_past_no_requirement() {
    // HF1
    let site = Site::new(CLOSED);
    for lines in [
        "GET admin/x HTTP/1.1\nHost: app.example",
        "GET ?a=b HTTP/1.1\nHost: app.example",
        "GET * HTTP/1.1\nHost: app.example",
        "GET foo://app.example/admin/x HTTP/1.1\nHost: app.example",
        "GET foo://app.example/x HTTP/1.1\nHost: app.example",
        "GET http://app.example/admin/x HTTP/1.0",
        "GET http://app.example/x HTTP/1.0\nA: b",
        "GET http://other.example/admin/x HTTP/1.1\nHost: app.example",
        "GET http://other.example/x HTTP/1.1\nHost: app.example",
        "GET http://app.example:81/x HTTP/1.1\nHost: app.example",
        "GET http://user@app.example/x HTTP/1.1\nHost: app.example",
    ] {
        assert_eq!(raw(&site, lines), (400, vec![]), "{lines:?}");
    }
    for target in ["/admin/x", "http://app.example/admin/x"] {
        let lines = format!("GET {target} HTTP/1.1\nHost: app.example");
        assert_eq!(raw(&site, &lines), (401, vec![]), "{lines:?}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
    // HF1
    let site = Site::new("");
    for host in ["a:b:c", "[", "[::1", "[]", "[::1]x", "[::1]:x", ":80", "a:80b", "::1", "a[b]"] {
        assert_eq!(raw(&site, &format!("GET / HTTP/1.1\nHost: {host}")), (400, vec![]), "{host}");
    }
    for host in ["a:80", "[::1]", "[::1]:80"] {
        assert_eq!(raw(&site, &format!("GET / HTTP/1.1\nHost: {host}")).0, 200, "{host}");
    }
}

/// The backend's connection that a request of a client of its own comes by.
fn connection(site: &Site, request: &Ask) -> usize {
    let visit = site.exchange(request, ok());
    assert_eq!(visit.got.status(), 200, "{request:?}");
    visit.seen.connection
}

#[test]
fn a_connection_that_is_logged_in_serves_no_ordinary_request() {
    // HF13
    let site = Site::new("");
    let mut shared = vec![connection(&site, &get("/"))];
    for credentials in ["NTLM x", "Negotiate x", "ntlm x", "NEGOTIATE x"] {
        for request in [get("/"), post("/", "x")] {
            let alone = connection(&site, &request.with("Authorization", credentials));
            shared.extend([get("/"), get("/").with("Authorization", "Basic x")].map(|other| connection(&site, &other)));
            assert!(!shared.contains(&alone), "{credentials}: {alone} is one of {shared:?}");
        }
    }
    let distinct: HashSet<&usize> = shared.iter().collect();
    assert!(distinct.len() < shared.len(), "the others do share: {shared:?}");
}

#[test]
fn a_connection_that_is_logged_in_serves_no_second_login_and_no_tunnel() {
    // HF13: whoever comes next on it would be taken for the one who has logged in
    let site = Site::new("");
    let upgrade = || get("/").with("Connection", "Upgrade").with("Upgrade", "websocket");
    let mut before = Vec::new();
    for _ in 0..5 {
        for request in
            [get("/").with("Authorization", "NTLM x"), post("/", "").with("Authorization", "Negotiate x"), upgrade()]
        {
            let own = connection(&site, &request);
            assert!(!before.contains(&own), "{request:?} came by {own} after {before:?}");
            before.push(own);
        }
    }
}

#[test]
fn an_error_behind_an_informational_answer_still_has_a_page() {
    // HF17, protocol 5.7
    let site = Site::new("");
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"] {
        for end in [b"".to_vec(), b"HTTP/1.1 200".to_vec(), ok().say("Set", "a=%").bytes("POST")] {
            for request in [post("/", "abc"), post("/", "abc").with("Expect", "100-continue")] {
                let case = format!("{interim:?} {:?} {request:?}", String::from_utf8_lossy(&end));
                let answer = Answer::Last([interim.as_bytes(), &end].concat());
                let got = site.exchange(&request, answer).got;
                assert_eq!((got.status(), got.set_cookies()), (502, vec![]), "{case}: {got:?}");
                assert!(got.body_text().contains("</html>") && !got.body_text().contains("hello"), "{case}: {got:?}");
            }
        }
    }
}

#[test]
fn an_unasked_switch_of_protocols_changes_nothing() {
    // HF11
    let site = Site::new("");
    let mut ada = session(&site);
    let cookie = ada.cookie();
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     X-Session-Login: eve\r\nX-Session-Set: a=1\r\n\r\nhello";
    let upgrade = |to: &str| get("/").with("Connection", "Upgrade").with("Upgrade", to);
    for request in [get("/"), get("/").http10(), upgrade("h2c"), upgrade("foo"), upgrade("websocket").http10()] {
        let got = ada.ask(&request, Answer::Last(switching.into())).got;
        assert_eq!((got.status(), got.set_cookies()), (502, vec![]), "{request:?}: {got:?}");
        assert!(!got.mentions("hello") && !got.mentions("x-session"), "{request:?}: {got:?}");
        let seen = ada.look();
        assert_eq!(
            (seen.told("Version"), seen.told("User"), seen.data()),
            ("1".into(), String::new(), "user=ada".into())
        );
        assert_eq!(ada.cookie(), cookie);
    }
}

#[test]
fn who_waits_for_an_invitation_is_answered_at_once() {
    // Shorter than what a body that nobody wants is waited for.
    const AT_ONCE: Duration = Duration::from_millis(1500);
    let site = Site::new(CLOSED);
    for (path, expected) in [("/admin/x", 401), ("/members/x", 302)] {
        let stream = TcpStream::connect(site.proxy.address()).expect("the proxy listens");
        stream.limit(AT_ONCE);
        let mut reader = Reader::new(stream);
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: app.example\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n");
        std::io::Write::write_all(&mut reader.stream, head.as_bytes()).expect("the proxy reads");
        let head = reader.head().expect("an answer at once").expect("an answer");
        assert_eq!(Message::new(head, 0).status(), expected, "{path}");
    }
    assert_eq!(site.upstream.take(), []);
}

#[test]
fn a_socket_file_is_for_its_owner_and_group() {
    let site = Site::new(
        "[listeners.web]\naddress = \"@web\"\nbehind_tls = true\n\
         [listeners.local]\naddress = \"unix:local.sock\"\nbehind_tls = true\n",
    );
    let path = site.proxy.path("local.sock");
    assert_eq!(Client::unix(&path).ask(&get("/")).status(), 200, "it serves, so nobody changes the mode any more");
    let mode = fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "{mode:o}");
}

/// Fields that speak to one kind of cache past `Cache-Control`.
const TARGETED: &[&str] = &["CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires", "Acme-CDN-Cache-Control"];

fn targeted(reply: Reply) -> Reply {
    TARGETED.iter().fold(reply, |reply, name| reply.with(name, "max-age=600"))
}

#[test]
fn a_page_with_a_session_that_caches_could_keep_by_guessing_is_private() {
    // CA2
    let site = Site::new("");
    let mut ada = session(&site);
    for (name, value) in [("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"), ("ETag", "\"a\"")] {
        let got = ada.visit(ok().with(name, value)).got;
        assert_eq!((got.all("Cache-Control"), got.has(name)), (vec!["private".into()], true), "{got:?}");
    }
}

#[test]
fn fields_for_one_kind_of_cache_are_gone_from_personal_answers() {
    // CA1, CA2
    let site = Site::new("");
    let mut ada = site.browser();
    for reply in [ok().say("Set", "user=ada"), ok(), ok().say("Regenerate", "1"), ok().say("Destroy", "1")] {
        let got = ada.visit(targeted(reply.clone())).got;
        let left: Vec<_> = TARGETED.iter().filter(|name| got.has(name)).collect();
        assert!(left.is_empty(), "{reply:?}: {got:?}");
    }
    let got = site.exchange(&get("/"), targeted(ok())).got;
    assert!(TARGETED.iter().all(|name| got.has(name)), "for strangers they stand: {got:?}");
    assert_eq!(got.all("Vary").join(", "), "Cookie");
}

#[test]
fn a_header_of_the_route_makes_no_personal_answer_public() {
    // CA1, CA2
    let site = Site::new(
        "[[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n\
         response_headers.set = { \"Cache-Control\" = \"public\" }\n",
    );
    let mut ada = site.browser();
    for (reply, expected) in
        [(ok().say("Set", "a=1"), "no-store"), (ok(), "private"), (ok().say("Regenerate", "1"), "no-store")]
    {
        let got = ada.visit(reply.clone()).got;
        assert_eq!(got.all("Cache-Control"), [expected], "{reply:?}: {got:?}");
    }
    assert_eq!(site.exchange(&get("/"), ok()).got.all("Cache-Control"), ["public"]);
}

#[test]
fn a_public_page_for_visitors_without_a_session_is_for_them_alone() {
    // CA2
    let site = Site::new(CLOSED);
    let public = || ok().with("Cache-Control", "public");
    for (reply, expected) in [
        (public(), "Cookie"),
        (public().with("Vary", "Accept-Encoding"), "Accept-Encoding, Cookie"),
        (public().with("Vary", "cookie"), "Cookie"),
    ] {
        let got = site.exchange(&get("/"), reply.clone()).got;
        assert_eq!(
            (got.all("Cache-Control"), got.all("Vary")),
            (vec!["public".into()], vec![expected.into()]),
            "{got:?}"
        );
    }
    assert!(!site.exchange(&get("/plain/"), public()).got.has("Vary"), "a route without sessions");
}

#[test]
fn a_trusted_proxy_is_believed_in_one_spelling_and_one_line() {
    // HI10
    let site = Site::new("[server]\nthreads = 2\ntrusted_proxies = [\"127.0.0.1\"]\n");
    for name in ["X_Forwarded_For", "x_forwarded-for", "X.Forwarded.For", "X_Forwarded_Proto", "X_Real_IP"] {
        let seen = site.exchange(&get("/").with("X-Forwarded-For", "1.2.3.4").with(name, "SPOOF"), ok()).seen;
        assert!(!seen.mentions("SPOOF"), "{name}: {seen:?}");
        assert_eq!(seen.all("X-Forwarded-For"), ["1.2.3.4, 127.0.0.1"], "{name}");
    }
    let request = get("/").with("X-Forwarded-For", "1.2.3.4").with("X-Forwarded-For", "5.6.7.8, 9.9.9.9");
    let seen = site.exchange(&request, ok()).seen;
    assert_eq!(seen.all("X-Forwarded-For"), ["1.2.3.4, 5.6.7.8, 9.9.9.9, 127.0.0.1"]);
}

#[test]
fn no_client_chooses_the_proxy_of_a_cgi() {
    // CVE-2016-5385 class
    let site = Site::new(CLOSED);
    for name in ["Proxy", "proxy", "PROXY"] {
        for request in [get("/"), get("/plain/"), post("/", "x"), get("/").http10()] {
            let seen = site.exchange(&request.clone().with(name, "http://evil.example"), ok()).seen;
            assert!(!seen.has("Proxy") && !seen.mentions("evil"), "{request:?}: {seen:?}");
        }
    }
}

#[test]
fn our_cookies_name_without_a_name_is_not_for_a_backend_to_set() {
    // CK7
    let secure = ("", "__Host-session");
    let plain = ("[listeners.web]\naddress = \"@web\"\n", "session");
    for (config, name) in [secure, plain] {
        let site = Site::new(config);
        for line in ["=@=x", "= @=x; Path=/", "=@.0=x", "=@", "=@; Path=/"] {
            let line = line.replace('@', name);
            let got = site.exchange(&get("/"), ok().with("Set-Cookie", &line).with("Set-Cookie", "=a=1")).got;
            assert_eq!(got.set_cookies(), ["=a=1"], "{line}");
        }
    }
}

#[test]
fn a_cookie_of_no_use_is_removed_by_our_own_answers_too() {
    // SL11
    let site = Site::new(CLOSED);
    let mut ada = session(&site);
    let dead = ada.cookie();
    ada.visit(ok().say("Destroy", "1"));
    site.upstream.take();
    for (path, expected) in [("/admin/x", 401), ("/members/x", 302)] {
        for cookie in [dead.as_str(), "__Host-session=forged"] {
            let got = site.fetch(&get(path).with("Cookie", cookie));
            assert_eq!(got.status(), expected, "{path} {cookie}");
            let removed = SetCookie::only(&got);
            assert_eq!((removed.name.as_str(), removed.attribute("Max-Age")), ("__Host-session", Some("0")), "{path}");
        }
        assert_eq!(site.fetch(&get(path).with("Cookie", "other=1")).set_cookies(), [""; 0]);
    }
    let got = site.fetch(&get("/admin/x").with("Cookie", session(&site).cookie()));
    assert_eq!((got.status(), got.set_cookies()), (200, vec![]));
    assert_eq!(site.exchange(&get("/plain/"), status(302)).got.set_cookies(), [""; 0]);
}
