//! What a backend says about sessions never reaches a client, and its own cookies pass as they are.

mod support;

use support::Site;
use support::client::{SetCookie, ask, get};
use support::upstream::{Answer, Reply, ok, status};

const CONFIG: &str = r#"
[sessions.main]
store = "memory"
on_refused = "deliver"
[sessions.main.headers]
expose = { user = "X-Remote-User" }
capture = { "X-Auth-User" = "user" }
[sessions.cart]
store = "memory"
cookie = { name = "__Host-cart" }
headers = { prefix = "X-Cart-" }
[[routes]]
path = "/plain/*"
upstream = "app"
[[routes]]
upstream = "app"
sessions = ["main"]
"#;

const NAMES: &[&str] = &[
    "X-Session-Set",
    "x_session_set",
    "X.Session.Login",
    "X-Session-Data",
    "X-Session-State",
    "X-Session-Ref",
    "X-Session-Flash",
    "X-Session-Unheard-Of",
    "X-Session-",
    "X-Cart-Set",
    "X_Cart_Data",
    "X-Remote-User",
    "x_remote_user",
    "X-Auth-User",
    "X_Auth_User",
];

fn leaking(reply: Reply) -> Reply {
    NAMES.iter().fold(reply, |reply, name| reply.with(name, "user=LEAK")).with("X-Kept", "1")
}

#[test]
fn none_of_our_names_reaches_a_client_whatever_the_status_and_the_route() {
    // HI7
    let site = Site::new(CONFIG);
    for path in ["/", "/plain/"] {
        for code in [200, 204, 301, 304, 404, 418, 500, 503] {
            for method in ["GET", "HEAD", "POST"] {
                let got = site.exchange(&ask(method, path), leaking(status(code))).got;
                assert!(!got.mentions("LEAK") && !got.mentions("session-"), "{method} {path} {code}: {got:?}");
                assert_eq!(got.get("X-Kept").as_deref(), Some("1"), "{method} {path} {code}: {got:?}");
                assert_eq!(got.status(), code);
            }
        }
    }
}

#[test]
fn none_of_our_names_reaches_a_client_of_http_1_0() {
    // HI7
    let site = Site::new(CONFIG);
    for path in ["/", "/plain/"] {
        let got = site.exchange(&get(path).http10(), leaking(ok())).got;
        assert!(!got.mentions("LEAK") && got.first_line().starts_with("HTTP/1.0 200"), "{got:?}");
    }
}

#[test]
fn none_of_our_names_reaches_a_client_with_informational_answers() {
    // HI7, HF17
    let site = Site::new(CONFIG);
    for path in ["/", "/plain/"] {
        for code in [102, 103] {
            let both = [leaking(status(code)).bytes("GET"), leaking(ok()).bytes("GET")].concat();
            site.upstream.will(both.as_slice());
            let mut client = site.client();
            let got = client.ask(&get(path));
            assert_eq!(client.interim.len(), 1, "{code}");
            for answer in client.interim.iter().chain([&got]) {
                assert!(!answer.mentions("LEAK") && answer.has("X-Kept"), "{path} {code}: {answer:?}");
            }
        }
    }
}

#[test]
fn none_of_our_names_reaches_a_client_with_an_upgrade() {
    // HI7, protocol 5.6: a 101 is final and its commands count
    let site = Site::new(CONFIG);
    for path in ["/", "/plain/"] {
        site.upstream.take();
        let head = leaking(status(101)).say("Set", "a=1").with("Connection", "Upgrade").with("Upgrade", "websocket");
        site.upstream.will(Answer::Last(head.bytes("GET")));
        let mut client = site.client();
        client.send(get(path).with("Connection", "Upgrade").with("Upgrade", "websocket").bytes());
        let got = client.next("GET").expect("an answer");
        assert_eq!(got.status(), 101, "{got:?}");
        assert!(!got.mentions("LEAK") && got.has("X-Kept"), "{path}: {got:?}");
    }
}

#[test]
fn none_of_our_names_reaches_a_client_with_trailers() {
    // HI7, HF12
    let site = Site::new(CONFIG);
    for path in ["/", "/plain/"] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Session-Set\r\n\r\n";
        let body = "2\r\nok\r\n0\r\nX-Session-Set: user=LEAK\r\nX_Session_Data: LEAK\r\nX-Remote-User: LEAK\r\n\r\n";
        site.upstream.will([head, body].concat().as_bytes());
        let mut client = site.client();
        client.send(get(path).with("TE", "trailers").with("Connection", "close").bytes());
        let raw = String::from_utf8(client.rest()).expect("ASCII");
        assert!(raw.starts_with("HTTP/1.1 200") && raw.contains("\r\nok\r\n"), "{raw}");
        assert!(!raw.contains("LEAK") && !raw.to_ascii_lowercase().contains("x-session"), "{raw}");
        site.upstream.take();
    }
    let mut ada = site.browser();
    assert_eq!(ada.look().told("State"), "none", "trailers carry no command");
}

#[test]
fn none_of_our_names_reaches_a_client_when_the_page_is_withheld() {
    // HI7, LG4
    let site = Site::new("");
    let got = site.exchange(&get("/"), leaking(ok()).say("Set", "a=%")).got;
    assert_eq!(got.status(), 502);
    assert!(!got.mentions("LEAK") && !got.mentions("session") && !got.has("X-Kept"), "{got:?}");
}

#[test]
fn our_cookie_is_not_for_a_backend_to_set() {
    // CK7
    let site = Site::new(CONFIG);
    for line in [
        "__Host-session=evil; Path=/; Secure",
        "__Host-session=",
        " __Host-session =evil",
        "__Host-session.0=evil",
        "__Host-cart=evil; Path=/",
        "__Host-session",
    ] {
        for path in ["/", "/plain/"] {
            for code in [200, 404, 500] {
                let got =
                    site.exchange(&get(path), status(code).with("Set-Cookie", line).with("Set-Cookie", "a=1")).got;
                assert_eq!(got.set_cookies(), ["a=1"], "{line} {path} {code}");
            }
        }
    }
}

#[test]
fn a_backends_own_cookies_pass_octet_for_octet_separate_and_in_order() {
    // CK7, CK11
    let site = Site::new(CONFIG);
    let theirs = [
        "PHPSESSID=abc; path=/",
        "b=\"q;uoted\"; Expires=Thu, 01 Jan 2037 00:00:00 GMT; HttpOnly",
        "PHPSESSID=def; Path=/app;Secure;;",
        "__host-session=other; Path=/",
        "__Host-sessions=1",
        "weird",
        "=nameless",
        "c=%E9,x; Domain=.example.org",
    ];
    let reply = theirs.iter().fold(ok(), |reply, line| reply.with("Set-Cookie", line));
    let got = site.exchange(&get("/"), reply.clone()).got;
    assert_eq!(got.set_cookies(), theirs);
    // With ours behind them.
    let got = site.exchange(&get("/"), reply.with("Set-Cookie", "__Host-session=evil").say("Set", "a=1")).got;
    let lines = got.set_cookies();
    assert_eq!(lines[..theirs.len()], theirs);
    assert_eq!(lines.len(), theirs.len() + 1);
    let own = SetCookie::parse(&lines[theirs.len()]);
    assert!(own.name == "__Host-session" && own.value != "evil");
}

#[test]
fn a_set_cookie_line_with_bytes_beyond_ascii_passes() {
    // CK11
    let site = Site::new(CONFIG);
    let got = site.exchange(&get("/"), ok().with("Set-Cookie", b"name=caf\xe9; Path=/".as_slice())).got;
    assert_eq!(got.set_cookies(), ["name=caf\u{e9}; Path=/"]);
}

#[test]
fn an_answer_with_a_command_is_kept_out_of_shared_caches() {
    // CA1
    let site = Site::new("");
    let public = || ok().with("Cache-Control", "public, max-age=600").with("Expires", "Thu, 01 Jan 2037 00:00:00 GMT");
    let mut ada = site.browser();
    for reply in [public().say("Set", "a=1"), public().say("Touch", "0"), public().say("Destroy", "1")] {
        let got = ada.visit(reply.clone()).got;
        assert_eq!((got.all("Cache-Control"), got.has("Expires")), (vec!["no-store".into()], false), "{reply:?}");
    }
    let stranger = site.exchange(&get("/"), public()).got;
    assert_eq!((stranger.all("Cache-Control"), stranger.has("Expires")), (vec!["public, max-age=600".into()], true));
}

#[test]
fn an_answer_made_with_a_session_is_private_whatever_it_says() {
    // CA2
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let got = ada.visit(ok().with("Cache-Control", "public, max-age=600, s-maxage=9")).got;
    assert_eq!(got.all("Cache-Control"), ["private, max-age=600"]);
    let got = ada.visit(ok().with("Cache-Control", "no-store")).got;
    assert_eq!(got.all("Cache-Control"), ["no-store"]);
    // Caches have a time of their own for what says nothing.
    let got = ada.visit(ok()).got;
    assert_eq!((got.all("Cache-Control"), got.all("Vary")), (vec!["private".into()], vec!["Cookie".into()]));
}

#[test]
fn varying_on_our_headers_becomes_varying_on_the_cookie() {
    // CA2, protocol 5.8
    let site = Site::new("");
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    let got = ada.visit(ok().with("Vary", "Accept, X-Session-Data")).got;
    assert_eq!((got.all("Vary"), got.all("Cache-Control")), (vec!["Accept, Cookie".into()], vec!["private".into()]));
    for vary in ["Accept, X-Session-Data", "Accept"] {
        let got = site.exchange(&get("/"), ok().with("Vary", vary)).got;
        assert_eq!((got.all("Vary"), got.has("Cache-Control")), (vec!["Accept, Cookie".into()], false), "{vary}");
    }
    for vary in ["*", "Accept, *", "X-Session-Data, *"] {
        // Caches know it only where it stands alone.
        assert_eq!(site.exchange(&get("/"), ok().with("Vary", vary)).got.all("Vary"), ["*"], "{vary}");
    }
}
