//! `on_conflict = "replay"`: a condition that did not hold is put to the backend again, with the session as it is by now.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::Site;
use support::client::{Ask, Jar, ask, get, post};
use support::message::Message;
use support::upstream::{Answer, Gate, Reply, ok};

const REPLAY: &str = "[sessions.main]\nstore = \"memory\"\non_conflict = \"replay\"\n";

/// A site whose `/order` adds an order on the condition that the session is what the backend was told, and a visitor of it
/// whom somebody disturbs.
struct Shop {
    site: Site,
    gates: Vec<Gate>,
    ada: Jar,
    arrivals: usize,
}

impl Shop {
    /// `answer` has its last word about the answer to the attempt with this number.
    fn new(config: &str, answer: impl Fn(usize, Reply) -> Answer + Send + Sync + 'static) -> Self {
        let gates: Vec<Gate> = (0..4).map(|_| Gate::shut()).collect();
        let (doors, attempts) = (gates.clone(), Arc::new(AtomicUsize::new(0)));
        let site = Site::answering(config, move |request: &Message| {
            if request.target() != "/order" {
                return ok().into();
            }
            let attempt = attempts.fetch_add(1, Ordering::SeqCst);
            doors[attempt].pass();
            let condition = format!("@version={}", request.told("Version"));
            let reply = ok().say("If", condition).say("Add", "orders=1");
            let secrets = reply.with("Set-Cookie", format!("try={attempt}")).with("X-Try", attempt.to_string());
            answer(attempt, secrets.body(format!("try {attempt}")))
        });
        let mut browser = site.browser();
        browser.visit(ok().say("Set", "n=0"));
        let ada = browser.jar.clone();
        Self { site, gates, ada, arrivals: 1 }
    }

    fn plain(config: &str) -> Self {
        Self::new(config, |_, reply| reply.into())
    }

    /// Sends a request by the visitor, and changes the session while the backend works on each of the first `times` tries.
    fn order(&mut self, ask: &Ask, times: usize) -> (Message, Vec<Message>) {
        self.disturbed(ask, times, |shop| {
            shop.arrivals += 1;
            shop.visit(ok().say("Add", "n=1"));
        })
    }

    /// As `order`, with something else that happens meanwhile.
    fn disturbed(&mut self, ask: &Ask, times: usize, happens: impl Fn(&mut Self)) -> (Message, Vec<Message>) {
        self.site.upstream.take();
        let mut client = self.site.client();
        client.send(ask.clone().cookie(self.ada.line().as_deref()).bytes());
        let mut seen = Vec::new();
        for attempt in 0..times {
            self.arrivals += 1;
            self.site.upstream.wait_for(self.arrivals);
            seen.extend(self.site.upstream.take());
            happens(self);
            self.gates[attempt].open();
        }
        self.gates.iter().for_each(Gate::open);
        let got = client.answer(ask.method());
        seen.extend(self.site.upstream.take().into_iter().filter(|request| request.target() == "/order"));
        (got, seen)
    }

    fn visit(&mut self, reply: Reply) -> Message {
        let mut browser = self.site.browser();
        browser.jar = self.ada.clone();
        let seen = browser.visit(reply).seen;
        self.ada = browser.jar.clone();
        seen
    }

    fn data(&mut self) -> String {
        self.visit(ok()).data()
    }
}

fn versions(seen: &[Message]) -> Vec<String> {
    seen.iter().map(|request| request.told("Version")).collect()
}

/// Nothing of the tries before the last is in the answer.
fn is_of_try(got: &Message, attempt: usize) {
    assert_eq!(got.status(), 200, "{got:?}");
    assert_eq!(got.all("X-Try"), [attempt.to_string()], "{got:?}");
    assert_eq!(got.set_cookies(), [format!("try={attempt}")], "{got:?}");
    assert_eq!(got.body_text(), format!("try {attempt}"), "{got:?}");
}

#[test]
fn a_condition_that_fails_is_put_to_the_backend_again_with_the_newest_session() {
    // S12, protocol 5.7
    for store in ["memory", "disk"] {
        let mut shop = Shop::plain(&REPLAY.replace("memory", store));
        let (got, seen) = shop.order(&get("/order"), 1);
        is_of_try(&got, 1);
        assert_eq!(versions(&seen), ["1", "2"], "{store}");
        assert_eq!(seen[1].data(), "n=1", "{store}");
        assert_ne!(seen[0].connection, seen[1].connection, "the connection of a discarded answer is not used again");
        assert_eq!(shop.data(), "n=1&orders=1", "{store}");
    }
}

#[test]
fn after_two_replays_it_is_an_error() {
    let mut shop = Shop::plain(REPLAY);
    let (got, seen) = shop.order(&get("/order"), 3);
    assert_eq!((got.status(), got.set_cookies()), (409, vec![]), "{got:?}");
    assert!(!got.mentions("try") || !got.has("X-Try"), "{got:?}");
    assert_eq!(versions(&seen), ["1", "2", "3"]);
    assert_eq!(shop.data(), "n=3", "no order");
    let mut twice = Shop::plain(REPLAY);
    let (got, seen) = twice.order(&get("/order"), 2);
    is_of_try(&got, 2);
    assert_eq!(seen.len(), 3);
    assert_eq!(twice.data(), "n=2&orders=1");
}

#[test]
fn what_cannot_be_sent_again_meets_the_error_at_once() {
    for refused in [post("/order", "a=b"), post("/order", ""), ask("DELETE", "/order"), ask("PUT", "/order")] {
        let mut shop = Shop::plain(REPLAY);
        let (got, seen) = shop.order(&refused, 1);
        assert_eq!((got.status(), got.set_cookies(), seen.len()), (409, vec![], 1), "{seen:?}");
        assert_eq!(shop.data(), "n=1");
    }
    for sent_again in ["HEAD", "OPTIONS"] {
        let (got, seen) = Shop::plain(REPLAY).order(&ask(sent_again, "/order"), 1);
        assert_eq!((got.status(), seen.len()), (200, 2), "{sent_again}");
    }
}

#[test]
fn other_policies_never_send_a_request_again() {
    for (policy, expected) in [("error", 409), ("deliver", 200)] {
        let mut shop = Shop::plain(&REPLAY.replace("replay", policy));
        let (got, seen) = shop.order(&get("/order"), 1);
        assert_eq!((got.status(), seen.len()), (expected, 1), "{policy}");
    }
}

#[test]
fn a_condition_on_no_session_at_all_is_not_asked_again() {
    let site = Site::new(REPLAY);
    let got = site.browser().visit(ok().say("If", "@version=7").say("Set", "a=1")).got;
    assert_eq!(got.status(), 409, "nobody else could have changed it");
}

#[test]
fn every_other_refusal_is_an_error_as_ever() {
    let site = Site::new(REPLAY);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "n=0"));
    assert_eq!(ada.visit(ok().say("Set", "a=%")).got.status(), 502);
}

#[test]
fn the_connection_of_the_client_goes_on_and_what_it_sent_ahead_is_answered_in_turn() {
    let shop = Shop::plain(REPLAY);
    let mut client = shop.site.client();
    let cookie = shop.ada.line();
    let order = get("/order").cookie(cookie.as_deref()).bytes();
    let next = get("/next").cookie(cookie.as_deref()).bytes();
    client.send([order, next].concat());
    shop.site.upstream.wait_for(2);
    let mut other = shop.site.browser();
    other.jar = shop.ada.clone();
    other.visit(ok().say("Add", "n=1"));
    shop.gates.iter().for_each(Gate::open);
    is_of_try(&client.answer("GET"), 1);
    let second = client.answer("GET");
    assert_eq!((second.status(), second.body_text().as_str()), (200, "<p>hello</p>"));
    assert_eq!(client.ask(&get("/third")).status(), 200, "the connection is used on");
    let seen = shop.site.upstream.take();
    let next = seen.iter().find(|request| request.target() == "/next").expect("it came");
    assert_eq!(next.data(), "n=1&orders=1");
}

#[test]
fn of_an_answer_that_streams_not_a_byte_is_seen() {
    // The head and a part of the body are there, the rest never comes.
    let mut shop = Shop::new(REPLAY, |attempt, reply| match attempt {
        0 => Answer::takeover(|reader| {
            let head = "HTTP/1.1 200 OK\r\nX-Session-If: @version=1\r\nX-Session-Add: orders=1\r\nX-Try: 0\r\n\
                        Set-Cookie: try=0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntry 0\r\n";
            drop(reader.stream.write_all(head.as_bytes()));
            drop(reader.head()); // until the proxy closes
        }),
        _ => reply.into(),
    });
    let (got, seen) = shop.order(&get("/order"), 1);
    is_of_try(&got, 1);
    assert_eq!(seen.len(), 2);
    assert_eq!(shop.data(), "n=1&orders=1");
}

#[test]
fn each_try_has_a_nonce_and_a_proof_of_its_own() {
    let key = "nhJ/AMRa4TOIC9dh8k2pFnC+BTyS6Fet+WtE0B+Dyi8=";
    let mut shop = Shop::plain(&format!("{REPLAY}[sessions.main.headers]\nproof_key = \"{key}\"\n"));
    let (got, seen) = shop.order(&get("/order"), 1);
    is_of_try(&got, 1);
    for name in ["Nonce", "Proof"] {
        assert!(!seen[0].told(name).is_empty(), "{name}");
        assert_ne!(seen[0].told(name), seen[1].told(name), "{name}");
    }
}

/// Two policies on one route; the one without conditions comes first.
const TWO: &str = r#"
[sessions.basket]
store = "memory"
cookie.name = "__Host-basket"
headers.prefix = "X-Basket-"
[sessions.main]
store = "memory"
on_conflict = "replay"
[[routes]]
upstream = "app"
sessions = ["basket", "main"]
"#;

#[test]
fn nothing_of_an_answer_that_is_asked_for_again_is_written_elsewhere() {
    let mut shop = Shop::new(TWO, |_, reply| reply.with("X-Basket-Add", "items=1").into());
    shop.arrivals += 1;
    shop.visit(ok().with("X-Basket-Set", "items=0"));
    let (got, seen) = shop.order(&get("/order"), 2);
    is_of_try(&got, 2);
    assert_eq!(seen.len(), 3);
    let now = shop.visit(ok());
    assert_eq!((now.data().as_str(), now.get("X-Basket-Data").as_deref()), ("n=2&orders=1", Some("items=1")));
    assert_eq!(now.get("X-Basket-Version").as_deref(), Some("2"), "one write");
}

#[test]
fn what_another_session_of_the_answer_has_written_is_not_written_twice() {
    // Both have conditions; that of the first holds, and is written before that of the second is known to fail.
    let mut shop =
        Shop::new(TWO, |_, reply| reply.with("X-Basket-If", "items=0").with("X-Basket-Add", "items=1").into());
    shop.arrivals += 1;
    shop.visit(ok().with("X-Basket-Set", "items=0"));
    let (got, seen) = shop.order(&get("/order"), 1);
    assert_eq!((got.status(), seen.len()), (409, 1));
    let now = shop.visit(ok());
    assert_eq!((now.data().as_str(), now.get("X-Basket-Data").as_deref()), ("n=1", Some("items=1")));
}

#[test]
fn cookies_that_a_discarded_answer_sets_are_not_held() {
    let rule =
        "[[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n[[routes.cookies]]\nname = \"*\"\naction = \"hold\"\n";
    let mut shop = Shop::new(&format!("{REPLAY}{rule}"), |attempt, reply| {
        reply.with("Set-Cookie", format!("of{attempt}=1")).into()
    });
    let (got, seen) = shop.order(&get("/order"), 1);
    assert_eq!((got.status(), seen.len(), got.set_cookies()), (200, 2, vec![]));
    assert_eq!(shop.visit(ok()).get("Cookie").as_deref(), Some("try=1; of1=1"));
}

#[test]
fn of_a_session_that_ended_meanwhile_nothing_is_asked_again() {
    // protocol, 5.4
    let mut shop = Shop::plain(REPLAY);
    let (got, seen) = shop.disturbed(&get("/order"), 1, |shop| {
        shop.arrivals += 1;
        shop.visit(ok().say("Destroy", "1"));
    });
    assert_eq!((got.status(), seen.len()), (200, 1), "its batch is nothing any more");
}
