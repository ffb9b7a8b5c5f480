//! `lock = "exclusive"`: one request at a time for each session. S14.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use support::client::{Client, get};
use support::lasting::upgrade;
use support::message::Message;
use support::upstream::{Answer, Gate, ok, status};
use support::{Browser, Site, eventually};

const MANY: usize = 20;

/// A policy that locks; whoever waits in vain here would wait longer than the tests do.
fn policy(store: &str, more: &str) -> String {
    format!(
        "[sessions.main]\nstore = \"{store}\"\nlock = \"exclusive\"\nlock_wait = \"60s\"\nlock_waiters = 32\n{more}"
    )
}

/// Reads `n` of what it is told and writes the next number, as applications do that know of no `X-Session-Add`.
fn counts(request: &Message) -> Answer {
    let before: usize = request.data().trim_start_matches("n=").parse().unwrap_or(0);
    ok().say("Set", format!("n={}", before + 1)).into()
}

fn visitor(site: &Site) -> Browser<'_> {
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "n=0"));
    ada
}

fn fire(site: &Site, cookie: &str) {
    thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| assert_eq!(site.fetch(&get("/count").with("Cookie", cookie)).status(), 200));
        }
    });
    site.upstream.take();
}

#[test]
fn with_the_lock_what_an_application_reads_and_writes_loses_nothing() {
    for store in ["memory", "disk"] {
        let site = Site::answering(&policy(store, ""), |request: &Message| match request.target().as_str() {
            "/count" => counts(request),
            _ => ok().into(),
        });
        let mut ada = visitor(&site);
        fire(&site, &ada.cookie());
        let now = ada.look();
        assert_eq!(now.data(), format!("n={MANY}"), "{store}");
        assert_eq!(now.told("Version"), (MANY + 1).to_string(), "{store}: a lock is no change");
    }
}

#[test]
fn without_it_the_same_loses_all_but_one() {
    // S12: the last one wins
    let gate = Gate::for_many(MANY);
    let site = Site::answering("[sessions.main]\nstore = \"memory\"\n", move |request: &Message| {
        match request.target().as_str() {
            "/count" => {
                gate.pass();
                counts(request)
            }
            _ => ok().into(),
        }
    });
    let mut ada = visitor(&site);
    fire(&site, &ada.cookie());
    assert_eq!(ada.look().data(), "n=1");
}

/// A site where `/hold` keeps its session until the gate opens, and a connection on which it does.
fn held(config: &str) -> (Site, Gate, String, Client) {
    let gate = Gate::shut();
    let door = gate.clone();
    let site = Site::answering(config, move |request: &Message| {
        if request.target() == "/hold" {
            door.pass();
        }
        ok()
    });
    let cookie = visitor(&site).cookie();
    let mut holder = site.client();
    holder.send(get("/hold").with("Cookie", &cookie).bytes());
    site.upstream.wait_for(2);
    (site, gate, cookie, holder)
}

#[test]
fn routes_that_read_or_are_set_free_do_not_wait() {
    let routes = r#"
[[routes]]
path = "/read"
upstream = "app"
sessions = [{ use = "main", access = "read" }]
[[routes]]
path = "/free"
upstream = "app"
sessions = ["main"]
lock = false
[[routes]]
upstream = "app"
sessions = ["main"]
"#;
    let (site, gate, cookie, mut holder) = held(&policy("memory", routes));
    for path in ["/read", "/free"] {
        assert_eq!(site.fetch(&get(path).with("Cookie", &cookie)).status(), 200, "{path}");
    }
    assert_eq!(site.fetch(&get("/")).status(), 200, "nor does another visitor");
    gate.open();
    assert_eq!(holder.answer("GET").status(), 200);
}

#[test]
fn who_waits_too_long_or_is_one_too_many_is_told_to_come_again() {
    let busy = |got: Message| got.status() == 503 && got.has("Retry-After") && got.set_cookies().is_empty();
    let in_vain = policy("memory", "").replace("60s", "50ms");
    let nobody = policy("memory", "").replace("waiters = 32", "waiters = 0");
    for config in [in_vain, nobody] {
        let (site, gate, cookie, mut holder) = held(&config);
        assert!(busy(site.fetch(&get("/").with("Cookie", &cookie))), "{config}");
        assert_eq!(site.upstream.take().len(), 1, "the backend does not hear of it");
        eventually("the log says so", || site.proxy.has_logged("session_busy"));
        gate.open();
        assert_eq!(holder.answer("GET").status(), 200);
        assert_eq!(site.fetch(&get("/").with("Cookie", &cookie)).status(), 200);
    }
}

#[test]
fn however_a_request_ends_the_next_one_comes() {
    let site = Site::answering(&policy("memory", ""), |request: &Message| match request.target().as_str() {
        "/changes" => ok().say("Add", "n=1").into(),
        "/moves" => ok().say("Regenerate", "1").into(),
        "/refused" => ok().say("Set", "a=%").into(),
        "/conflict" => ok().say("If", "@version=99").into(),
        "/fails" => status(500).say("Set", "a=1").into(),
        "/cut" => Answer::Last(b"HTTP/1.1 200".to_vec()),
        "/streams" => Answer::takeover(|reader| {
            drop(reader.stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
            drop(reader.head()); // the rest never comes
        }),
        "/ws" => Answer::takeover(|reader| {
            let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            drop(reader.stream.write_all(head));
            drop(reader.head());
        }),
        _ => ok().into(),
    });
    let mut ada = visitor(&site);
    let ends = [
        ("/", 200),
        ("/changes", 200),
        ("/moves", 200),
        ("/refused", 502),
        ("/conflict", 409),
        ("/fails", 500),
        ("/cut", 502),
    ];
    for (path, expected) in ends {
        assert_eq!(ada.fetch(&get(path)).status(), expected, "{path}");
        assert_eq!(ada.fetch(&get("/")).status(), 200, "after {path}");
    }
    let mut stream = site.client();
    stream.send(get("/streams").with("Cookie", ada.cookie()).bytes());
    let mut tunnel = site.client();
    tunnel.send(upgrade("/ws", &ada.cookie()).bytes());
    assert_eq!(tunnel.next("GET").map(|got| got.status()), Some(101));
    assert_eq!(ada.fetch(&get("/")).status(), 200, "what lasts keeps nobody waiting");
    site.upstream.take();
    assert_eq!(ada.look().data(), "n=1");
}

#[test]
fn a_client_that_leaves_takes_its_lock_along() {
    let arrived = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&arrived);
    let site = Site::answering(&policy("memory", ""), move |request: &Message| match request.target().as_str() {
        "/never" => {
            counter.fetch_add(1, Ordering::SeqCst);
            Answer::takeover(|reader| drop(reader.head()))
        }
        _ => ok().into(),
    });
    let mut ada = visitor(&site);
    let mut client = site.client();
    client.send(get("/never").with("Cookie", ada.cookie()).bytes());
    site.upstream.wait_for(2);
    drop(client);
    assert_eq!(ada.fetch(&get("/")).status(), 200);
    assert_eq!(arrived.load(Ordering::SeqCst), 1);
}

#[test]
fn the_lock_of_a_proxy_that_was_killed_ends_by_itself() {
    let times = "lock_lease = \"1s\"\n[upstreams.app]\nservers = [\"@app\"]\nrequest_timeout = \"1s\"\n";
    let config = policy("disk", times);
    let (site, gate, cookie, _holder) = held(&config);
    site.proxy.kill();
    gate.open();
    site.restart(&config);
    let got = site.fetch(&get("/").with("Cookie", &cookie));
    assert_eq!(got.status(), 200);
    assert_eq!(site.upstream.take().last().map(Message::data).as_deref(), Some("n=0"));
}

#[test]
fn routes_that_lock_two_sessions_do_not_wait_for_each_other() {
    let config = r#"
[sessions.main]
store = "memory"
lock = "exclusive"
lock_wait = "60s"
lock_waiters = 64
[sessions.basket]
store = "memory"
lock = "exclusive"
lock_wait = "60s"
lock_waiters = 64
cookie.name = "__Host-basket"
headers.prefix = "X-Basket-"
[[routes]]
path = "/one"
upstream = "app"
sessions = ["main", "basket"]
[[routes]]
path = "/two"
upstream = "app"
sessions = ["basket", "main"]
[[routes]]
upstream = "app"
sessions = ["main", "basket"]
"#;
    let site = Site::new(config);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "n=0").with("X-Basket-Set", "n=0"));
    let cookie = ada.cookie();
    thread::scope(|scope| {
        for number in 0..30 {
            let (site, cookie) = (&site, &cookie);
            let path = if number % 2 == 0 { "/one" } else { "/two" };
            scope.spawn(move || assert_eq!(site.fetch(&get(path).with("Cookie", cookie)).status(), 200));
        }
    });
}

#[test]
fn a_request_that_is_sent_again_keeps_its_lock() {
    // With a route that does not wait, what was read under the lock may still be overtaken.
    let gate = Gate::shut();
    let door = gate.clone();
    let routes = "on_conflict = \"replay\"\n[[routes]]\npath = \"/free\"\nupstream = \"app\"\nsessions = [\"main\"]\nlock = false\n\
                  [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n";
    let site = Site::answering(&policy("memory", routes), move |request: &Message| match request.target().as_str() {
        "/order" => {
            door.pass();
            ok().say("If", format!("@version={}", request.told("Version"))).say("Add", "orders=1")
        }
        "/free" => ok().say("Add", "n=1"),
        _ => ok(),
    });
    let mut ada = visitor(&site);
    let mut client = site.client();
    client.send(get("/order").with("Cookie", ada.cookie()).bytes());
    site.upstream.wait_for(2);
    assert_eq!(ada.fetch(&get("/free")).status(), 200);
    gate.open();
    assert_eq!(client.answer("GET").status(), 200);
    assert_eq!(site.upstream.take().iter().filter(|request| request.target() == "/order").count(), 2);
    assert_eq!(ada.look().data(), "n=1&orders=1");
}
