//! What a client says about sessions never reaches a backend, however it is spelled and wherever it is sent.

mod support;

use support::client::{Ask, ask, get, post};
use support::message::Message;
use support::upstream::{Answer, ok};
use support::{Site, eventually};

/// Aliases, captures, two policies, and a route without any session.
const CONFIG: &str = r#"
[sessions.main]
store = "memory"
[sessions.main.headers]
forward = "both"
expose = { user = "X-Remote-User", mail = { header = "Remote_Mail", encoding = "raw" } }
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
sessions = ["main", "cart"]
"#;

/// Everything that some backend reads as one of our names.
const SPELLINGS: &[&str] = &[
    "X-Session-Data",
    "x-session-data",
    "X_Session_Data",
    "X_SESSION-DATA",
    "x.session.user",
    "X-Session.State",
    "X!Session#Data",
    "X~Session|Data",
    "X-Session-",
    "X-Session-Anything-Else",
    "X-Session-Data-User",
    "X-Session-Set",
    "X_Session_Set",
    "X-Session-Login",
    "X-Session-Destroy",
    "X-Session-Nonce",
    "X-Cart-Data",
    "x_cart_set",
    "X-Remote-User",
    "X_Remote_User",
    "x.remote-user",
    "Remote_Mail",
    "Remote-Mail",
    "X-Auth-User",
    "x_auth.user",
];

#[test]
fn no_spelling_of_our_names_reaches_a_backend_on_any_route() {
    // HI1, HI2
    let site = Site::new(CONFIG);
    for name in SPELLINGS {
        for path in ["/", "/plain/", "/plain/x?y"] {
            let spoofed = [
                get(path).with(name, "user=SPOOF"),
                get(path).with(name, "user=SPOOF").with(name, "user=SPOOF").http10(),
                get(path).without("Host").with(name, "user=SPOOF").http10(),
                post(path, "x").with(name, "user=SPOOF"),
                ask("HEAD", path).with("A", "1").with(name, "user=SPOOF").with("B", "2"),
                get(path).with("Connection", "Upgrade").with("Upgrade", "websocket").with(name, "SPOOF"),
                get(path).with(name, "SPOOF").with("Connection", format!("close, {name}")),
            ];
            for request in spoofed {
                let visit = site.exchange(&request, ok());
                assert!(!visit.seen.mentions("SPOOF"), "{name} {path}: {:?}", visit.seen);
                let states = usize::from(path == "/");
                assert_eq!(visit.seen.all("X-Session-State").len(), states, "{name} {path}: {:?}", visit.seen);
                assert_eq!(visit.got.set_cookies(), [""; 0]);
            }
        }
    }
}

#[test]
fn what_is_stripped_is_told_to_the_operator_once_a_minute() {
    // protocol, 6.1
    let site = Site::new(CONFIG);
    for _ in 0..3 {
        site.exchange(&get("/").with("X_Session_Data", "user=SPOOF"), ok());
    }
    let told = || site.proxy.log().iter().filter(|line| line.contains("name space")).count();
    eventually("a line in the log", || told() > 0);
    assert_eq!(told(), 1);
    assert!(!site.proxy.has_logged("SPOOF"));
}

#[test]
fn a_live_session_is_not_mixed_with_what_the_client_says() {
    // HI1, HI3
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada&mail=a%40b").with("X-Cart-Set", "item=7"));
    for name in SPELLINGS {
        let seen = ada.ask(&get("/").with(name, "SPOOF"), ok()).seen;
        assert!(!seen.mentions("SPOOF"), "{name}: {seen:?}");
        assert_eq!((seen.data().as_str(), seen.told("State").as_str()), ("mail=a%40b&user=ada", "live"), "{name}");
        assert_eq!(seen.get("X-Remote-User").as_deref(), Some("ada"), "{name}");
        assert_eq!(seen.get("Remote_Mail").as_deref(), Some("a@b"), "{name}");
        assert_eq!(seen.get("X-Cart-Data").as_deref(), Some("item=7"), "{name}");
        assert!(!seen.has("X-Auth-User"), "{name}");
    }
}

#[test]
fn connection_tokens_remove_none_of_our_headers() {
    // HI3, HF4
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada"));
    for tokens in
        ["close, X-Session-Data", "X-Session-State, x-session-data, X-Remote-User", "keep-alive, X_Session_Data"]
    {
        let seen = ada.ask(&get("/").with("Connection", tokens).with("X-Other", "1"), ok()).seen;
        assert_eq!((seen.data(), seen.told("State")), ("user=ada".into(), "live".into()), "{tokens}");
        assert_eq!(seen.get("X-Remote-User").as_deref(), Some("ada"));
        assert_eq!(seen.get("X-Other").as_deref(), Some("1"));
    }
}

#[test]
fn trailers_of_a_request_carry_nothing() {
    // HI1, HF12
    let site = Site::new(CONFIG);
    let mut client = site.client();
    client.send(ask("POST", "/").with("Transfer-Encoding", "chunked").with("Trailer", "X-Session-Data").bytes());
    client.send("3\r\nabc\r\n0\r\nX-Session-Data: user=SPOOF\r\nX_Session_Set: user=SPOOF\r\nX-Other: SPOOF\r\n\r\n");
    assert_eq!(client.answer("POST").status(), 200);
    let seen = site.upstream.only();
    assert_eq!(seen.body, b"abc");
    assert!(!seen.mentions("SPOOF"), "{seen:?}");
}

#[test]
fn malformed_spellings_are_refused() {
    // HF3
    let site = Site::new(CONFIG);
    for line in [
        "X-Session-Data : user=SPOOF",
        "X-Session-Data\t: user=SPOOF",
        "A: b\r\n X-Session-Data: user=SPOOF",
        "A: b\rX-Session-Data: user=SPOOF",
        "A: b\0\r\nX-Session-Data: user=SPOOF",
        " X-Session-Data: user=SPOOF",
        "X-Session-Data user=SPOOF",
        ": user=SPOOF",
    ] {
        let mut client = site.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: app.example\r\n{line}\r\n\r\n"));
        assert_eq!(client.answer("GET").status(), 400, "{line:?}");
        assert_eq!(site.upstream.take(), [], "{line:?}");
    }
}

#[test]
fn headers_of_strangers_pass_as_they_came() {
    // HF7
    let site = Site::new(CONFIG);
    let request = get("/")
        .with("X_Other.Header", "1")
        .with("Authorization", "Basic YTpi")
        .with("X-Sessions", "2")
        .with("X-Session", "3")
        .with("X-Remote-Users", "4")
        .with("X-Bytes", b"caf\xe9".as_slice())
        .with("Accept", "a")
        .with("Accept", "b");
    let seen = site.exchange(&request, ok()).seen;
    for line in ["X_Other.Header: 1", "Authorization: Basic YTpi", "X-Sessions: 2", "X-Session: 3", "X-Remote-Users: 4"]
    {
        assert!(seen.text().contains(&format!("\r\n{line}\r\n")), "{line}: {seen:?}");
    }
    assert!(seen.text().contains("X-Bytes: caf\u{e9}\r\n"), "{seen:?}");
    assert_eq!(seen.all("Accept"), ["a", "b"]);
}

#[test]
fn a_request_with_our_names_is_refused_where_the_operator_says_so() {
    // protocol, 6.1
    let site = Site::new(&format!("{CONFIG}\n[failure]\nalias_headers = \"reject\"\n"));
    for name in SPELLINGS {
        for path in ["/", "/plain/", "/nowhere"] {
            assert_eq!(site.fetch(&get(path).with(name, "SPOOF")).status(), 400, "{name} {path}");
        }
    }
    assert_eq!(site.upstream.take(), []);
    assert_eq!(site.fetch(&get("/").with("X_Other", "1")).status(), 200);
}

#[test]
fn a_backend_that_reflects_every_header_changes_nothing() {
    // HI2, CVE-2021-26691 class
    let reflect = |request: &Message| -> Answer {
        let hop = ["host", "connection", "content-length", "transfer-encoding", "upgrade"];
        let fields = request.fields().into_iter().filter(|(name, _)| !hop.contains(&&*name.to_ascii_lowercase()));
        fields.fold(ok(), |reply, (name, value)| reply.with(&name, value)).into()
    };
    let site = Site::answering(CONFIG, reflect);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada").say("Login", "ada").say("Flash", "info=hi"));
    for verb in ["Set", "Unset", "Replace", "Login", "Destroy", "Expire", "Flash"] {
        for name in [format!("X-Session-{verb}"), format!("x_session.{verb}"), format!("X-Cart-{verb}")] {
            let got = ada.fetch(&get("/").with(&name, "a=1"));
            assert_eq!((got.status(), got.set_cookies()), (200, vec![]), "{name}");
            assert!(!got.mentions("x-session") && !got.mentions("x-cart") && !got.mentions("ada"), "{got:?}");
        }
    }
    site.upstream.take();
    let seen = ada.look();
    assert_eq!((seen.data(), seen.told("Version")), ("user=ada".into(), "2".into()), "the flash was read");
    assert_eq!(seen.get("X-Cart-State").as_deref(), Some("none"));
}

/// What the backend gets to see of this `Cookie`, in which `@` stands for the visitor's own session cookie.
fn forwarded(site: &Site, own: &str, lines: &[&str]) -> Vec<String> {
    let request = lines.iter().fold(get("/"), |request: Ask, line| request.with("Cookie", line.replace('@', own)));
    let seen = site.exchange(&request, ok()).seen;
    assert_eq!(seen.told("State"), "live", "{lines:?}");
    seen.all("Cookie")
}

#[test]
fn our_cookie_is_cut_out_and_every_other_byte_stays() {
    // CP1, CP3, CP6
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada"));
    let own = ada.cookie();
    #[rustfmt::skip]
    let table: &[(&[&str], &[&str])] = &[
        (&["@"],                                                &[]),
        (&["@;"],                                               &[]),
        (&["a=1; @; b=2"],                                      &["a=1; b=2"]),
        (&["@; a=1"],                                           &["a=1"]),
        (&["a=1; @"],                                           &["a=1"]),
        (&["a=1;@;b=2"],                                        &["a=1;b=2"]),
        (&["a=\"x y\" ;b = 3;@;;c;=d;$Version=1"],              &["a=\"x y\" ;b = 3;;c;=d;$Version=1"]),
        (&["a=%20,x; @; __host-session=other; __Host-sessions=y"], &["a=%20,x; __host-session=other; __Host-sessions=y"]),
        (&["a=1", "@", "b=2"],                                  &["a=1; b=2"]),
        (&["@", "@"],                                           &[]),
    ];
    for (sent, left) in table {
        assert_eq!(forwarded(&site, &own, sent), *left, "{sent:?}");
    }
}

#[test]
fn a_cookie_line_without_ours_is_left_alone() {
    // CP6
    let site = Site::new(CONFIG);
    for line in ["a=1", "a=1;b=2 ; c", "\"session\"=1", "=", "a=\u{e9}"] {
        let seen = site.exchange(&get("/").with("Cookie", line), ok()).seen;
        let sent: String = line.bytes().map(char::from).collect();
        assert_eq!(seen.all("Cookie"), [sent], "{line}");
    }
}

#[test]
fn our_cookie_is_cut_out_on_a_route_without_sessions_too() {
    // CP6
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada"));
    let line = format!("a=1; {}; __Host-cart=x; __Host-session.0=y", ada.cookie());
    let seen = site.exchange(&get("/plain/").with("Cookie", line), ok()).seen;
    assert_eq!(seen.all("Cookie"), ["a=1"]);
}

#[test]
fn a_session_is_taken_from_the_cookie_and_from_nowhere_else() {
    // CP7
    let site = Site::new(CONFIG);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "user=ada"));
    let pair = ada.cookie();
    let value = ada.jar.value("__Host-session").expect("a session");
    for request in [
        get(&format!("/?{pair}")),
        get(&format!("/;{pair}")),
        get(&format!("/{value}")),
        post("/", &pair).with("Content-Type", "application/x-www-form-urlencoded"),
        get("/").with("Authorization", format!("Bearer {value}")),
        get("/").with("Cookie2", &pair),
        get("/").with("Set-Cookie", &pair),
        get("/").with("X-Session-Id", &value),
        get("/").with("Cookie", format!("other={pair}")),
        get("/").with("Cookie", format!("\"__Host-session\"=\"{value}\"")),
    ] {
        assert_eq!(site.exchange(&request, ok()).seen.told("State"), "none", "{request:?}");
    }
}
