//! Which backend is asked, with which path, host and headers; and what is answered when none can be.

mod support;

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::sync::Mutex;

use support::client::{Ask, ask, get, post};
use support::message::Message;
use support::upstream::{Answer, Upstream, ok, status};
use support::{Site, eventually};

fn get_at(host: &str, path: &str) -> Ask {
    get(path).but("Host", host)
}

#[test]
fn the_first_route_that_fits_wins() {
    let site = Site::new(
        r#"
[sessions.main]
store = "memory"
[[routes]]
path = "/exact"
upstream = "app"
request_headers = { set = { "X-Route" = "exact" } }
[[routes]]
host = ["apps.example.org", "*.intra.example.org"]
path = "/apps/*"
upstream = "app"
request_headers = { set = { "X-Route" = "apps" } }
[[routes]]
methods = ["POST"]
path = "/form"
upstream = "app"
request_headers = { set = { "X-Route" = "form" } }
[[routes]]
path_regex = "/v[0-9]+/"
upstream = "app"
sessions = ["main"]
request_headers = { set = { "X-Route" = "regex" } }
"#,
    );
    for (request, route) in [
        (get("/exact"), Some("exact")),
        (get("/exact?q"), Some("exact")),
        (get("/%65xact"), Some("exact")),
        (get("/exact/"), None),
        (get_at("apps.example.org", "/apps"), Some("apps")),
        (get_at("APPS.example.org:8080", "/apps/x/y"), Some("apps")),
        (get_at("a.intra.example.org", "/apps/"), Some("apps")),
        (get_at("intra.example.org", "/apps/"), None),
        (get_at("apps.example.org", "/appsx"), None),
        (post("/form", ""), Some("form")),
        (get("/form"), None),
        (get("/v12/x"), Some("regex")),
        (get("/v/x"), None),
        (get("/exact/..;/x"), None),
        (get("/"), None),
    ] {
        site.upstream.take();
        let got = site.fetch(&request);
        let seen: Vec<_> = site.upstream.take().iter().filter_map(|seen| seen.get("X-Route")).collect();
        assert_eq!(seen.first().map(String::as_str), route, "{request:?}");
        assert_eq!(got.status(), if route.is_some() { 200 } else { 404 }, "{request:?}");
    }
}

#[test]
fn a_prefix_is_cut_from_the_path() {
    // HF6
    let site = Site::new(
        "[[routes]]\npath = \"/app/*\"\nstrip_prefix = \"/app\"\nupstream = \"app\"\nsessions = [\"main\"]\n",
    );
    for (target, forwarded) in [
        ("/app", "/"),
        ("/app/", "/"),
        ("/app?q=1", "/?q=1"),
        ("/app/a%2Fb/../c?x=/app", "/a%2Fb/../c?x=/app"),
        ("/app//app/x", "//app/x"),
        ("http://app.example/app/x", "/x"),
    ] {
        assert_eq!(site.exchange(&get(target), ok()).seen.target(), forwarded, "{target}");
    }
}

#[test]
fn the_backend_is_sent_the_host_that_the_operator_chose() {
    for (setting, expected) in
        [("preserve", Some("app.example")), ("upstream", None), ("fixed.example:81", Some("fixed.example:81"))]
    {
        let site = Site::new(&format!("[upstreams.app]\nservers = [\"@app\"]\nhost_header = \"{setting}\"\n"));
        let seen = site.exchange(&get("/"), ok()).seen;
        let own = site.upstream.authority();
        assert_eq!(seen.get("Host").as_deref(), Some(expected.unwrap_or(&own)), "{setting}");
        assert_eq!(seen.get("X-Forwarded-Host").as_deref(), Some("app.example"), "{setting}");
    }
}

#[test]
fn headers_are_edited_in_both_directions() {
    let site = Site::new(
        r#"
[[routes]]
upstream = "app"
sessions = ["main"]
request_headers = { set = { "X-Forwarded-Prefix" = "/app", "X-Set" = "1" }, remove = ["X-Debug"] }
response_headers = { set = { "Referrer-Policy" = "same-origin", "X-Frame-Options" = "DENY" }, remove = ["X-Powered-By"] }
"#,
    );
    let request = get("/").with("X-Debug", "1").with("X-Set", "0").with("X-Set", "2");
    let reply = ok().with("X-Powered-By", "PHP").with("X-Frame-Options", "ALLOWALL").say("Set", "a=1");
    let visit = site.exchange(&request, reply);
    assert_eq!((visit.seen.has("X-Debug"), visit.seen.all("X-Set")), (false, vec!["1".into()]));
    assert_eq!(visit.seen.get("X-Forwarded-Prefix").as_deref(), Some("/app"));
    assert_eq!((visit.got.has("X-Powered-By"), visit.got.all("X-Frame-Options")), (false, vec!["DENY".into()]));
    assert_eq!(visit.got.get("Referrer-Policy").as_deref(), Some("same-origin"));
}

#[test]
fn servers_take_turns_by_weight() {
    let (one, two) = (Upstream::new(), Upstream::new());
    let site = Site::new(&format!(
        "[upstreams.app]\nservers = [{{ url = \"{}\", weight = 3 }}, {{ url = \"{}\" }}]\n",
        one.url(),
        two.url()
    ));
    for _ in 0..40 {
        assert_eq!(site.fetch(&get("/")).status(), 200);
    }
    assert_eq!((one.take().len(), two.take().len()), (30, 10));
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("its own address"))
}

#[test]
fn another_server_is_asked_when_one_cannot_be_reached() {
    let (one, backup) = (Upstream::new(), Upstream::new());
    let servers = |first: &str, second: &str| {
        format!(
            "[upstreams.app]\nservers = [\"{first}\", \"{second}\", {{ url = \"{}\", backup = true }}]\n",
            backup.url()
        )
    };
    let site = Site::new(&servers(&nobody(), &one.url()));
    for _ in 0..6 {
        // A POST too: nothing was sent yet.
        assert_eq!(site.fetch(&post("/", "x")).status(), 200);
    }
    assert_eq!((one.take().len(), backup.take().len()), (6, 0));
    let site = Site::new(&servers(&nobody(), &nobody()));
    assert_eq!(site.fetch(&post("/", "x")).status(), 200);
    assert_eq!((one.take().len(), backup.take().len()), (0, 1));
}

#[test]
fn the_session_goes_to_whichever_server_is_asked() {
    let one = Upstream::new();
    let site = Site::new(&format!("[upstreams.app]\nservers = [\"{}\", \"{}\"]\n", nobody(), one.url()));
    one.will(ok().say("Set", "a=1"));
    let mut ada = site.browser();
    ada.fetch(&get("/"));
    ada.fetch(&get("/"));
    let seen = one.take();
    assert_eq!((seen[1].told("State"), seen[1].data()), ("live".into(), "a=1".into()));
}

#[test]
fn a_dead_backend_is_502() {
    let site = Site::new(&format!("[upstreams.app]\nservers = [\"{}\"]\n", nobody()));
    let got = site.fetch(&get("/").with("Cookie", "a=1"));
    assert_eq!(got.status(), 502);
    assert!(!got.mentions("127.0.0.1") && !got.has("Set-Cookie"), "{got:?}"); // LG4
    assert_eq!(site.fetch(&ask("HEAD", "/")).body, b"");
}

#[test]
fn a_backend_that_says_nothing_is_504_whatever_the_client_asks_for() {
    let site = Site::new("[upstreams.app]\nservers = [\"@app\"]\nrequest_timeout = \"300ms\"\n");
    // The last two would turn the operator's limit off, if any `Upgrade` were taken for the beginning of a tunnel.
    for request in [get("/"), post("/", "x"), get("/").with("Upgrade", "foo"), get("/").with("Upgrade", "h2c")] {
        // Silent until the proxy gives up on it.
        site.upstream.will(Answer::takeover(|connection| drop(connection.rest())));
        assert_eq!(site.fetch(&request).status(), 504, "{request:?}");
        assert_eq!(site.upstream.take().len(), 1, "asked once: {request:?}");
    }
    assert_eq!(site.fetch(&get("/")).status(), 200);
}

/// Answers, but for `/die` on a connection that has served before: that ends without an answer, at most `deaths` times.
fn dying(deaths: usize) -> Site {
    let served = Mutex::new((HashSet::new(), 0));
    Site::answering("", move |request: &Message| {
        let mut served = served.lock().expect("nobody panics here");
        let is_used = !served.0.insert(request.connection);
        if request.target() == "/die" && is_used && served.1 < deaths {
            served.1 += 1;
            return Answer::Last(Vec::new());
        }
        ok().say("Add", "n=1").into()
    })
}

/// Asks for `/die` until it meets a connection of the pool that dies, and shows what the client and the backend saw.
fn met_by_death(site: &Site, request: &Ask) -> (Message, Vec<Message>) {
    let mut met = None;
    eventually("a pooled connection is used and dies", || {
        assert_eq!(site.fetch(&get("/")).status(), 200);
        site.upstream.take();
        let got = site.fetch(request);
        let seen = site.upstream.take();
        let died = got.status() != 200 || seen.len() > 1;
        met = Some((got, seen));
        died
    });
    met.expect("the last one")
}

#[test]
fn what_may_have_been_done_is_never_sent_twice() {
    // HF8
    for request in [post("/die", "x"), ask("PATCH", "/die").with("Content-Length", "0")] {
        let (got, seen) = met_by_death(&dying(usize::MAX), &request);
        assert_eq!((got.status(), seen.len()), (502, 1), "{seen:?}");
    }
}

#[test]
fn a_get_is_sent_once_more_when_a_connection_of_the_pool_has_died() {
    // HF8
    let site = dying(1);
    let mut ada = site.browser();
    ada.fetch(&get("/"));
    let (got, seen) = met_by_death(&site, &get("/die").with("Cookie", ada.cookie()));
    assert_eq!((got.status(), seen.len()), (200, 2), "{seen:?}");
    assert_eq!(seen[0].head, seen[1].head);
    // Its command was obeyed once: one for the visit, and one for each `/die` that was answered.
    let before: i64 = seen[0].data()[2..].parse().expect("a number");
    ada.fetch(&get("/look"));
    assert_eq!(site.upstream.only().data(), format!("n={}", before + 1));
}

#[test]
fn a_request_is_not_repeated_for_ever() {
    // HF8
    let (got, seen) = met_by_death(&dying(usize::MAX), &get("/die"));
    assert!(got.status() == 502 || got.status() == 200, "{got:?}");
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn nothing_is_sent_again_on_a_fresh_connection() {
    // HF8
    let site = Site::new("");
    site.upstream.will(Answer::Last(Vec::new()));
    assert_eq!(site.fetch(&get("/")).status(), 502);
    assert_eq!(site.upstream.take().len(), 1);
}

#[test]
fn own_pages_stand_in_for_errors() {
    let dir = tempfile::tempdir().expect("a directory");
    let page = dir.path().join("page.html");
    fs::write(&page, "<h1>ours</h1>").expect("a file");
    let site = Site::new(&format!(
        "[[routes]]\npath = \"/\"\nupstream = \"app\"\nsessions = [\"main\"]\n[failure]\nerror_pages = {{ \"404\" = \"{0}\", \"502\" = \"{0}\" }}\n",
        page.display()
    ));
    let got = site.fetch(&get("/nowhere"));
    assert_eq!((got.status(), got.body_text().as_str()), (404, "<h1>ours</h1>"));
    let got = site.exchange(&get("/"), ok().say("Set", "%")).got;
    assert_eq!((got.status(), got.body_text().as_str()), (502, "<h1>ours</h1>"));
    // The backend's own errors are the backend's.
    let got = site.exchange(&get("/"), status(404)).got;
    assert_eq!((got.status(), got.body_text().as_str()), (404, "<p>hello</p>"));
}

const CLOSED: &str = r#"
[sessions.main]
store = "memory"
[[routes]]
path = "/login"
upstream = "app"
sessions = ["main"]
[[routes]]
path = "/api/*"
upstream = "app"
sessions = ["main"]
require = "main"
on_missing = { status = 403 }
[[routes]]
path = "/plain/*"
upstream = "app"
sessions = ["main"]
require = "main"
[[routes]]
upstream = "app"
sessions = ["main"]
require = "main"
on_missing = { redirect = "/login?return={path_and_query}" }
"#;

#[test]
fn visitors_without_the_required_session_do_not_reach_the_backend() {
    let site = Site::new(CLOSED);
    let forged = |path| get(path).with("Cookie", "__Host-session=forged").with("X-Session-State", "live");
    for request in [get("/api/x"), forged("/api/x"), get("/%61pi/x")] {
        assert_eq!(site.fetch(&request).status(), 403);
    }
    assert_eq!(site.fetch(&get("/plain/x")).status(), 401);
    for (target, location) in [
        ("/", "/login?return=%2F"),
        ("/a?b=c&d=%20", "/login?return=%2Fa%3Fb%3Dc%26d%3D%2520"),
        ("/%0d%0aX:%20y", "/login?return=%2F%250d%250aX%3A%2520y"),
        ("//evil.example/", "/login?return=%2F%2Fevil.example%2F"),
    ] {
        let got = site.fetch(&get(target));
        assert_eq!((got.status(), got.get("Location").as_deref()), (302, Some(location)));
        assert_eq!(got.get("Cache-Control").as_deref(), Some("no-store"));
    }
    assert_eq!(site.upstream.take(), []);
}

#[test]
fn a_redirected_post_leaves_the_connection_usable() {
    let site = Site::new(CLOSED);
    let mut client = site.client();
    assert_eq!(client.ask(&post("/form", "x".repeat(1000))).status(), 302);
    assert_eq!(client.ask(&get("/login")).status(), 200);
}

#[test]
fn with_the_required_session_the_way_is_free_until_it_ends() {
    let site = Site::new(CLOSED);
    let mut ada = site.browser();
    ada.ask(&get("/login"), ok().say("Login", "ada"));
    assert_eq!(ada.ask(&get("/api/x"), ok()).seen.told("User"), "ada");
    ada.visit(ok().say("Destroy", "1"));
    assert_eq!(ada.fetch(&get("/")).status(), 302);
}

#[test]
fn a_dead_cookie_is_removed_from_those_who_are_sent_to_log_in() {
    // SL11
    let site = Site::new(CLOSED);
    let mut ada = site.browser();
    ada.ask(&get("/login"), ok().say("Login", "ada"));
    let cookie = ada.cookie();
    ada.visit(ok().say("Destroy", "1"));
    for path in ["/", "/api/x"] {
        let got = site.fetch(&get(path).with("Cookie", &cookie));
        let lines = got.set_cookies();
        assert!(lines.len() == 1 && lines[0].contains("Max-Age=0"), "{path}: {got:?}");
    }
}

#[test]
fn a_backend_that_comes_back_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its own address");
    drop(listener);
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("app.sock");
    let site = Site::new(&format!(
        "[upstreams.app]\nservers = [\"unix:{}\", \"http://{address}\"]\nconnect_timeout = \"1s\"\n",
        socket.display()
    ));
    assert_eq!(site.fetch(&get("/")).status(), 502);
    let upstream = Upstream::on_socket(&socket);
    eventually("the backend is asked", || site.fetch(&get("/")).status() == 200);
    assert!(!upstream.take().is_empty());
}

#[test]
fn a_slow_backend_holds_up_nobody_else() {
    let gate = support::upstream::Gate::shut();
    let held = gate.clone();
    let site = Site::answering("", move |request: &Message| {
        if request.target() == "/slow" {
            held.pass();
        }
        ok()
    });
    let mut slow = site.client();
    slow.send(get("/slow").bytes());
    site.upstream.wait_for(1);
    for _ in 0..20 {
        assert_eq!(site.fetch(&get("/")).status(), 200);
    }
    gate.open();
    assert_eq!(slow.answer("GET").status(), 200);
}
