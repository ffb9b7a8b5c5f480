//! Requests that another site may have caused are refused before the backend sees a byte of them.

mod support;

use support::client::{Ask, ask, get, post};
use support::upstream::ok;
use support::{Browser, Site, eventually};

const POLICY: &str = "[sessions.main]\nstore = \"memory\"\nheaders.csrf = true\n";

/// As much of a body as is held back.
const HELD: usize = 64 * 1024;

fn enforcing() -> Site {
    Site::new(&format!("{POLICY}[[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\ncsrf = \"enforce\"\n"))
}

fn form(body: impl AsRef<[u8]>) -> Ask {
    post("/", body).with("Content-Type", "application/x-www-form-urlencoded")
}

/// A visitor with a session, and the token of its forms.
fn visitor(site: &Site) -> (Browser<'_>, String) {
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "cart=1"));
    let token = ada.look().told("Csrf");
    assert_eq!(token.len(), 32, "{token}");
    (ada, token)
}

fn is_refused(site: &Site, ada: &mut Browser<'_>, ask: &Ask, reason: &str) {
    site.upstream.take();
    let before = site.proxy.log().len();
    let got = ada.fetch(ask);
    assert_eq!(got.status(), 403, "{ask:?}: {got:?}");
    assert!(!got.body_text().contains("hello") && !got.mentions("csrf"), "{got:?}");
    assert!(site.upstream.take().is_empty(), "the backend has seen {ask:?}");
    let told = format!("\"reason\":\"{reason}\"");
    eventually(&format!("{reason} is logged"), || {
        site.proxy.log()[before..].iter().any(|line| line.contains("\"status\":403") && line.contains(&told))
    });
}

#[test]
fn the_token_is_of_the_session_and_its_login() {
    let site = Site::new(POLICY);
    let (mut ada, token) = visitor(&site);
    assert_eq!(ada.look().told("Csrf"), token, "the same in every request");
    assert!(!site.browser().look().has("X-Session-Csrf"), "nobody without a session has one");
    ada.visit(ok().say("Regenerate", "1"));
    assert_eq!(ada.look().told("Csrf"), token, "forms in other tabs stay valid");
    ada.visit(ok().say("Login", "ada"));
    let after = ada.look().told("Csrf");
    assert!(after.len() == 32 && after != token, "what was known before the login is worth nothing");
    ada.visit(ok().say("Invalidate", "1").say("Set", "a=1"));
    assert_ne!(ada.look().told("Csrf"), after);
    let mut eve = site.browser();
    eve.visit(ok().say("Set", "cart=1"));
    assert_ne!(eve.look().told("Csrf"), ada.look().told("Csrf"));
    assert!(!site.proxy.has_logged(&token));
}

#[test]
fn a_session_in_a_cookie_has_a_token_too() {
    let site = Site::new("[sessions.main]\nstore = \"cookie\"\nheaders.csrf = true\n");
    let (mut ada, token) = visitor(&site);
    ada.visit(ok().say("Set", "cart=2"));
    assert_eq!(ada.look().told("Csrf"), token);
}

#[test]
fn without_the_token_nothing_unsafe_passes() {
    let site = enforcing();
    let (mut ada, token) = visitor(&site);
    let (_, foreign) = visitor(&site);
    for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
        is_refused(&site, &mut ada, &ask(method, "/").with("Content-Length", "0"), "csrf_missing");
        is_refused(&site, &mut ada, &ask(method, "/").with("X-CSRF-Token", &foreign), "csrf_wrong");
        let got = ada.fetch(&ask(method, "/").with("Content-Length", "0").with("X-CSRF-Token", &token));
        assert_eq!(got.status(), 200, "{method}");
    }
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert_eq!(ada.fetch(&ask(method, "/")).status(), 200, "{method}");
    }
    for body in
        ["", "a=1", "csrf_token=", "csrf_token=x", &format!("csrf_token={foreign}"), &format!("csrf_token={token}0")]
    {
        is_refused(&site, &mut ada, &form(body), "csrf_missing");
    }
    // In the query, in another kind of body, or in our own name space a token counts for nothing.
    let field = format!("csrf_token={token}");
    is_refused(&site, &mut ada, &post(&format!("/?{field}"), ""), "csrf_missing");
    is_refused(&site, &mut ada, &post("/", &field), "csrf_missing");
    is_refused(&site, &mut ada, &post("/", &field).with("Content-Type", "text/plain"), "csrf_missing");
    is_refused(&site, &mut ada, &form("").with("X-Session-Csrf", &token), "csrf_missing");
    assert_eq!(ada.look().data(), "cart=1");
    assert!(!site.proxy.has_logged(&token) && !site.proxy.has_logged(&foreign));
}

#[test]
fn a_form_with_the_token_arrives_byte_for_byte() {
    let site = enforcing();
    let (mut ada, token) = visitor(&site);
    let field = format!("csrf_token={token}");
    let filler = |bytes: usize| format!("text={}", "x".repeat(bytes - 5));
    for body in [
        field.clone(),
        format!("a=1&{field}&b=%26"),
        format!("csrf%5Ftoken={token}"),
        format!("{field}&{}", filler(300_000)),
        format!("{}&{field}", filler(HELD - field.len() - 1)),
        format!("{}&{field}&{}", filler(HELD - field.len() - 2), filler(100_000)),
    ] {
        let seen = ada.ask(&form(&body), ok()).seen;
        assert!(seen.body == body.as_bytes(), "{} of {} bytes arrived", seen.body.len(), body.len());
        let chunks: Vec<u8> = body
            .as_bytes()
            .chunks(1000)
            .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
            .chain(*b"0\r\n\r\n")
            .collect();
        let chunked = form("").without("Content-Length").with("Transfer-Encoding", "chunked");
        let bytes = [chunked.cookie(ada.jar.line().as_deref()).bytes(), chunks].concat();
        let mut client = site.client();
        site.upstream.take();
        client.send(bytes);
        assert_eq!(client.answer("POST").status(), 200);
        assert!(site.upstream.only().body == body.as_bytes(), "chunks of {} bytes", body.len());
        assert_eq!(client.ask(&get("/")).status(), 200, "the connection goes on");
    }
}

#[test]
fn a_token_beyond_what_is_held_back_is_too_late() {
    let site = enforcing();
    let (mut ada, token) = visitor(&site);
    let field = format!("csrf_token={token}");
    for filler in [HELD - field.len(), HELD, 3 * HELD] {
        let body = format!("text={}&{field}", "x".repeat(filler - 5));
        is_refused(&site, &mut ada, &form(body), "csrf_missing");
    }
}

#[test]
fn a_form_that_comes_byte_by_byte_is_understood() {
    let site = enforcing();
    let (ada, token) = visitor(&site);
    let body = format!("a=1&csrf_token={token}&b=2");
    let ask = form(&body).cookie(ada.jar.line().as_deref()).bytes();
    let head = ask.len() - body.len();
    let mut client = site.client();
    site.upstream.take();
    client.send(&ask[..head]);
    for byte in &ask[head..] {
        client.send([*byte]);
    }
    assert_eq!(client.answer("POST").status(), 200);
    assert_eq!(site.upstream.only().body_text(), body);
}

#[test]
fn a_client_that_waits_to_be_told_is_told_once() {
    let site = enforcing();
    let (ada, token) = visitor(&site);
    let body = format!("csrf_token={token}");
    let ask = form(&body).with("Expect", "100-continue").cookie(ada.jar.line().as_deref()).bytes();
    let head = ask.len() - body.len();
    let mut client = site.client();
    site.upstream.take();
    client.send(&ask[..head]);
    assert_eq!(client.next("POST").expect("an interim answer").status(), 100);
    client.send(&body);
    assert_eq!(client.next("POST").expect("the answer").status(), 200);
    let seen = site.upstream.only();
    assert!(seen.body_text() == body && !seen.has("Expect"), "{seen:?}");
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_no_trace() {
    let site = enforcing();
    let (mut ada, token) = visitor(&site);
    let ask = form(format!("csrf_token={token}&a=1")).cookie(ada.jar.line().as_deref()).bytes();
    site.upstream.take();
    let mut client = site.client();
    client.send(&ask[..ask.len() - 30]);
    client.half_close();
    drop(client.rest());
    assert!(site.upstream.take().is_empty());
    assert_eq!(ada.fetch(&get("/")).status(), 200);
}

#[test]
fn a_page_of_another_site_is_refused_even_without_a_session() {
    let site = enforcing();
    let (mut ada, token) = visitor(&site);
    let foreign =
        [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site")];
    for (name, value) in foreign {
        is_refused(&site, &mut ada, &form(format!("csrf_token={token}")).with(name, value), "csrf_origin");
        is_refused(&site, &mut site.browser(), &form("user=eve").with(name, value), "csrf_origin");
        assert_eq!(ada.fetch(&get("/").with(name, value)).status(), 200, "a link from another site works");
    }
    for own in [("Origin", "https://app.example"), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "none")] {
        assert_eq!(site.browser().fetch(&form("user=ada").with(own.0, own.1)).status(), 200, "{own:?}");
    }
    assert_eq!(site.browser().fetch(&form("user=ada")).status(), 200, "a visitor without a session has no token");
}

#[test]
fn a_page_of_another_site_opens_no_tunnel() {
    let site = enforcing();
    let (mut ada, _) = visitor(&site);
    let handshake = get("/").with("Connection", "Upgrade").with("Upgrade", "websocket");
    is_refused(&site, &mut ada, &handshake.clone().with("Origin", "https://evil.example"), "csrf_origin");
    let accepts = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for _ in 0..20 {
        let mut client = site.client();
        site.upstream.will(accepts);
        let own = handshake.clone().with("Origin", "https://app.example").cookie(ada.jar.line().as_deref());
        client.send(own.bytes());
        assert_eq!(client.next("GET").expect("an answer").status(), 101);
    }
}

#[test]
fn the_session_that_must_be_live_is_the_one_whose_token_counts() {
    let policies = "[sessions.cart]\nstore = \"memory\"\ncookie.name = \"cart\"\nheaders = { prefix = \"X-Cart-\", csrf = true }\n\
        [sessions.main]\nstore = \"memory\"\ncookie.name = \"main\"\nheaders.csrf = true\n\
        [[routes]]\npath = \"/pay\"\nupstream = \"app\"\nsessions = [\"cart\", \"main\"]\nrequire = \"main\"\ncsrf = \"enforce\"\n\
        [[routes]]\nupstream = \"app\"\nsessions = [\"cart\", \"main\"]\ncsrf = \"enforce\"\n";
    let site = Site::new(policies);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1").with("X-Cart-Set", "b=1"));
    let seen = ada.look();
    let (main, cart) = (seen.told("Csrf"), seen.get("X-Cart-Csrf").expect("a token of its own"));
    let status = |ada: &mut Browser<'_>, path: &str, token: &str| {
        ada.fetch(&post(path, "").with("X-CSRF-Token", token)).status()
    };
    assert_eq!((status(&mut ada, "/pay", &main), status(&mut ada, "/pay", &cart)), (200, 403));
    assert_eq!((status(&mut ada, "/", &cart), status(&mut ada, "/", &main)), (200, 403));
}

#[test]
fn a_backend_that_cannot_be_reached_at_first_gets_the_whole_form() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let site = Site::new(&format!(
        "{POLICY}[upstreams.app]\nservers = [\"http://{closed}\", \"@app\"]\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\ncsrf = \"enforce\"\n"
    ));
    let (mut ada, token) = visitor(&site);
    let body = format!("csrf_token={token}&text={}", "x".repeat(200_000));
    for _ in 0..4 {
        assert!(ada.ask(&form(&body), ok()).seen.body == body.as_bytes());
    }
}
