//! Messages for the next page: who sees them, and when they count as read.

mod support;

use support::client::{Ask, Client, SetCookie, ask, get, post};
use support::message::Message;
use support::upstream::{Answer, Gate, Reply, ok, status};
use support::{Browser, Site, eventually};

fn site(consume: &str) -> Site {
    Site::new(&format!("[sessions.main]\nstore = \"memory\"\n[sessions.main.flash]\nconsume = \"{consume}\"\n"))
}

/// A visitor for whom `info=Saved` and `error=No` wait looks once more after this exchange.
fn after(site: &Site, request: &Ask, reply: Reply) -> String {
    let mut ada = site.browser();
    ada.ask(&post("/save", ""), status(303).say("Flash", "info=Saved").say("Flash", "error=No"));
    let visit = ada.ask(request, reply);
    assert_eq!(visit.seen.told("Flashes"), "info=Saved&error=No");
    ada.ask(&get("/").with("Purpose", "prefetch"), status(204)).seen.told("Flashes")
}

fn json() -> Reply {
    ok().but("Content-Type", "application/json")
}

const BOTH: &str = "info=Saved&error=No";

#[test]
fn a_message_waits_for_the_next_page_and_is_read_once() {
    // F1, F2
    let site = site("document");
    let mut ada = site.browser();
    let got = ada.ask(&post("/save", "x"), status(303).say("Flash", "info=Well%20done;title=A%26B;life=5")).got;
    assert_eq!(got.set_cookies().len(), 1, "a message is something to keep");
    let visit = ada.visit(ok());
    assert_eq!(visit.seen.told("Flashes"), "info=Well%20done;title=A%26B;life=5");
    // L10: nothing is left in the session, so it ends, and its cookie goes.
    assert_eq!(SetCookie::only(&visit.got).attribute("Max-Age"), Some("0"));
    let seen = ada.look();
    assert_eq!((seen.told("Flashes"), seen.told("State")), (String::new(), "none".into()));
}

#[test]
fn only_a_page_before_a_person_consumes() {
    // F2
    let site = site("document");
    let html = "text/html; charset=utf-8";
    for (request, reply, left) in [
        (get("/"), ok(), ""),
        (get("/"), ok().but("Content-Type", html), ""),
        (post("/", "x"), ok(), ""),
        (get("/").with("Sec-Fetch-Dest", "document"), ok(), ""),
        (get("/").with("Sec-Fetch-Dest", "image"), ok(), BOTH),
        (get("/").with("Sec-Purpose", "prefetch;prerender"), ok(), BOTH),
        (get("/").with("X-Moz", "prefetch"), ok(), BOTH),
        (get("/").with("Sec-Fetch-Mode", "cors").with("Sec-Fetch-Dest", "empty"), ok(), BOTH),
        (get("/").with("Sec-Fetch-Dest", "empty").with("X-Turbo-Request-Id", "7"), ok(), ""),
        (get("/").with("HX-Request", "true"), ok(), BOTH),
        (get("/").with("HX-Request", "true").with("HX-Boosted", "true"), ok(), ""),
        (get("/").with("Accept", "application/json"), ok(), BOTH),
        (get("/"), ok().with("Content-Disposition", "attachment"), BOTH),
        (get("/"), status(304), BOTH),
        (get("/").with("X-Requested-With", "XMLHttpRequest"), ok(), BOTH),
        (get("/"), json(), BOTH),
        (get("/"), status(302).with("Location", "/next"), BOTH),
        (get("/"), status(404), BOTH),
        (get("/"), status(500), BOTH),
        (get("/"), status(204), BOTH),
        (ask("HEAD", "/"), ok(), BOTH),
        (ask("PUT", "/"), ok(), BOTH),
    ] {
        assert_eq!(after(&site, &request, reply.clone()), left, "{request:?} {reply:?}");
    }
}

#[test]
fn the_backend_may_keep_or_acknowledge_what_was_shown() {
    let site = site("document");
    assert_eq!(after(&site, &get("/"), ok().say("Flash-Keep", "1")), BOTH);
    assert_eq!(after(&site, &get("/"), ok().say("Flash-Keep", "error")), "error=No");
    assert_eq!(after(&site, &get("/"), json().say("Flash-Read", "1")), "");
    assert_eq!(after(&site, &get("/"), json().say("Flash-Read", "error")), "info=Saved");
}

#[test]
fn acknowledged_messages_stay_until_the_backend_says_so() {
    let site = site("acknowledge");
    assert_eq!(after(&site, &get("/"), ok()), BOTH);
    assert_eq!(after(&site, &get("/"), ok().say("Flash-Read", "info")), "error=No");
    assert_eq!(after(&site, &get("/"), ok().say("Flash-Read", "1")), "");
}

#[test]
fn any_final_answer_consumes_where_the_policy_says_so() {
    let site = site("always");
    for reply in [ok(), status(302), status(404), status(204), status(500), ok().but("Content-Type", "image/png")] {
        assert_eq!(after(&site, &get("/"), reply.clone()), "", "{reply:?}");
    }
    assert_eq!(after(&site, &get("/"), ok().say("Flash-Keep", "1")), BOTH);
}

#[test]
fn a_message_that_comes_with_the_page_is_for_the_next_one() {
    // F11
    let site = site("document");
    let mut ada = site.browser();
    ada.visit(ok().say("Flash", "info=one"));
    assert_eq!(ada.visit(ok().say("Flash", "info=two")).seen.told("Flashes"), "info=one");
    assert_eq!(ada.look().told("Flashes"), "info=two");
    assert_eq!(ada.look().told("Flashes"), "");
}

#[test]
fn levels_repeat_and_keep_their_order() {
    // F4, F8
    let site = site("acknowledge");
    let mut ada = site.browser();
    ada.visit(ok().say("Flash", "info=1&error=2&info=3"));
    ada.visit(ok().say("Flash", "info=4"));
    assert_eq!(ada.look().told("Flashes"), "info=1&error=2&info=3&info=4");
}

#[test]
fn a_route_that_only_reads_consumes_nothing() {
    let site = Site::new(
        "[[routes]]\npath = \"/read\"\nupstream = \"app\"\nsessions = [{ use = \"main\", access = \"read\" }]\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n",
    );
    let mut ada = site.browser();
    ada.visit(ok().say("Flash", "info=hi"));
    assert_eq!(ada.ask(&get("/read"), ok()).seen.told("Flashes"), "info=hi");
    assert_eq!(ada.look().told("Flashes"), "info=hi");
    assert_eq!(ada.look().told("Flashes"), "");
}

/// A site whose backend answers `/slow` with this, and not before the gate opens.
fn slow(config: &str, gate: &Gate, answer: impl Fn() -> Answer + Send + Sync + 'static) -> Site {
    let gate = gate.clone();
    Site::answering(config, move |request: &Message| {
        if request.target() != "/slow" {
            return Answer::from(ok());
        }
        gate.pass();
        answer()
    })
}

/// A visitor for whom `info=Saved` waits.
fn waiting(site: &Site) -> Browser<'_> {
    let mut ada = site.browser();
    ada.ask(&post("/save", ""), status(303).say("Flash", "info=Saved"));
    ada
}

/// A request that has come to the backend, and what it was told.
fn under_way(site: &Site, ada: &Browser<'_>, request: &Ask) -> (Client, String) {
    site.upstream.take();
    let before = site.upstream.arrivals();
    let mut client = site.client();
    client.send(request.clone().with("Cookie", ada.cookie()).bytes());
    site.upstream.wait_for(before + 1);
    (client, site.upstream.only().told("Flashes"))
}

#[test]
fn of_two_parallel_pages_one_shows_a_message() {
    // F3
    for store in ["memory", "disk"] {
        let gate = Gate::shut();
        let site = slow(&format!("[sessions.main]\nstore = \"{store}\"\n"), &gate, || ok().into());
        let mut ada = waiting(&site);
        let (mut first, told) = under_way(&site, &ada, &get("/slow"));
        assert_eq!(told, "info=Saved", "{store}");
        assert_eq!(ada.look().told("Flashes"), "", "{store}: another page shows it");
        gate.open();
        assert_eq!(first.answer("GET").status(), 200);
        assert_eq!(ada.look().told("Flashes"), "", "{store}: it was shown");
    }
}

#[test]
fn what_a_page_does_not_show_waits_for_the_next_one() {
    // F3: given back
    type Script = fn() -> Answer;
    let scripts: [(&str, Script); 7] = [
        ("redirect", || status(302).with("Location", "/next").into()),
        ("not modified", || status(304).into()),
        ("not found", || status(404).into()),
        ("failed", || status(500).into()),
        ("no page", || json().into()),
        ("a download", || ok().with("Content-Disposition", "attachment; filename=a.html").into()),
        ("kept", || ok().say("Flash-Keep", "1").into()),
    ];
    for (what, script) in scripts {
        let gate = Gate::shut();
        let site = slow("", &gate, script);
        let mut ada = waiting(&site);
        let version = ada.ask(&get("/").with("Purpose", "prefetch"), ok()).seen.told("Version");
        let (mut first, told) = under_way(&site, &ada, &get("/slow"));
        assert_eq!((told.as_str(), ada.look().told("Flashes").as_str()), ("info=Saved", ""), "{what}");
        gate.open();
        first.answer("GET");
        let seen = ada.look();
        assert_eq!((seen.told("Flashes").as_str(), seen.told("Version")), ("info=Saved", version), "{what}");
        assert_eq!(ada.look().told("Flashes"), "", "{what}");
    }
}

#[test]
fn a_page_that_never_comes_gives_its_messages_back() {
    // F3: the backend closed the connection, or answered what cannot be carried out
    type Script = fn() -> Answer;
    let scripts: [Script; 2] = [|| Answer::Last(Vec::new()), || ok().say("Set", "a b=1").into()];
    for script in scripts {
        let gate = Gate::shut();
        let site = slow("", &gate, script);
        let mut ada = waiting(&site);
        let (mut first, _) = under_way(&site, &ada, &post("/slow", ""));
        gate.open();
        assert_eq!(first.answer("POST").status(), 502);
        let look = get("/").with("Purpose", "prefetch");
        eventually("it waits again", || ada.ask(&look, ok()).seen.told("Flashes") == "info=Saved");
        assert_eq!(ada.look().told("Flashes"), "info=Saved");
    }
}

#[test]
fn a_page_of_our_own_shows_no_message() {
    // F3: nobody is asked, because another session is missing
    let policies = "[sessions.main]\nstore = \"memory\"\n[sessions.staff]\nstore = \"memory\"\n\
        cookie = { name = \"__Host-staff\" }\nheaders = { prefix = \"X-Staff-\" }\n";
    let routes = "[[routes]]\npath = \"/staff\"\nupstream = \"app\"\nsessions = [\"main\", \"staff\"]\n\
        require = \"staff\"\non_missing = { status = 403 }\n[[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n";
    let site = Site::new(&[policies, routes].concat());
    let mut ada = waiting(&site);
    assert_eq!(ada.fetch(&get("/staff")).status(), 403);
    let look = get("/").with("Purpose", "prefetch");
    eventually("it waits again", || ada.ask(&look, ok()).seen.told("Flashes") == "info=Saved");
    assert_eq!(ada.look().told("Flashes"), "info=Saved");
}

#[test]
fn a_client_that_leaves_gives_its_messages_back() {
    // F3
    let gate = Gate::shut();
    let site = slow("", &gate, || ok().into());
    let mut ada = waiting(&site);
    let (first, told) = under_way(&site, &ada, &get("/slow"));
    assert_eq!(told, "info=Saved");
    drop(first);
    let look = get("/").with("Purpose", "prefetch");
    eventually("it waits again", || ada.ask(&look, ok()).seen.told("Flashes") == "info=Saved");
    gate.open();
    assert_eq!(ada.look().told("Flashes"), "info=Saved");
    assert_eq!(ada.look().told("Flashes"), "");
}

#[test]
fn a_request_that_shows_no_page_takes_no_message_from_one() {
    // F2, F3
    let script = [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")];
    let image = [("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")];
    let frame = [("X-Turbo-Request-Id", "7"), ("Turbo-Frame", "cart")];
    let guess = [("Sec-Fetch-Mode", "navigate"), ("Sec-Purpose", "prefetch;prerender")];
    for lines in [script, image, frame, guess] {
        let gate = Gate::shut();
        let site = slow("", &gate, || ok().into());
        let mut ada = waiting(&site);
        let request = lines.iter().fold(get("/slow"), |request, (name, value)| request.with(name, value));
        let (mut first, told) = under_way(&site, &ada, &request);
        assert_eq!(told, "info=Saved", "{lines:?}");
        gate.open();
        first.answer("GET");
        assert_eq!(ada.look().told("Flashes"), "info=Saved", "{lines:?}");
    }
}

#[test]
fn messages_that_are_acknowledged_are_shown_to_one_request_at_a_time() {
    // F3
    let gate = Gate::shut();
    let config = "[sessions.main]\nstore = \"memory\"\n[sessions.main.flash]\nconsume = \"acknowledge\"\n";
    let site = slow(config, &gate, || json().say("Flash-Read", "1").into());
    let mut ada = waiting(&site);
    let (mut first, told) = under_way(&site, &ada, &get("/slow").with("Sec-Fetch-Mode", "cors"));
    assert_eq!((told.as_str(), ada.look().told("Flashes").as_str()), ("info=Saved", ""));
    gate.open();
    first.answer("GET");
    assert_eq!(ada.look().told("Flashes"), "");
}

#[test]
fn a_request_that_is_sent_to_another_server_keeps_its_messages() {
    let site = Site::new("[upstreams.app]\nservers = [\"http://127.0.0.1:1\", \"@app\"]\n");
    let mut ada = waiting(&site);
    assert_eq!(ada.look().told("Flashes"), "info=Saved");
    assert_eq!(ada.look().told("Flashes"), "");
}

#[test]
fn messages_of_a_session_in_a_cookie_are_shown_to_every_page_until_one_has_shown_them() {
    // F7: there is nowhere to write down who holds them
    let gate = Gate::shut();
    let key =
        "[[keys]]\nid = \"test\"\nsecret = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\"\n";
    let site = slow(&format!("{key}[sessions.main]\nstore = \"cookie\"\n"), &gate, || ok().into());
    let mut ada = waiting(&site);
    let (mut first, told) = under_way(&site, &ada, &get("/slow"));
    assert_eq!((told.as_str(), ada.look().told("Flashes").as_str()), ("info=Saved", "info=Saved"));
    gate.open();
    assert_eq!(first.answer("GET").set_cookies().len(), 1);
    assert_eq!(ada.look().told("Flashes"), "");
}

#[test]
fn reading_when_no_message_waits_changes_nothing() {
    // F5
    let key =
        "[[keys]]\nid = \"test\"\nsecret = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\"\n";
    for store in ["memory", "disk", "cookie"] {
        for consume in ["document", "acknowledge", "always"] {
            let flash = format!("[sessions.main.flash]\nconsume = \"{consume}\"\n");
            let site = Site::new(&format!("{key}[sessions.main]\nstore = \"{store}\"\n{flash}"));
            let mut ada = site.browser();
            assert_eq!(ada.visit(ok().say("Flash-Read", "1")).got.set_cookies(), [""; 0], "{store} {consume}");
            ada.visit(ok().say("Set", "a=1"));
            for reply in [ok(), ok().say("Flash-Read", "1"), ok().say("Flash-Keep", "list=cart")] {
                let visit = ada.visit(reply);
                let told = (visit.seen.told("Version"), visit.seen.told("Flashes"));
                assert_eq!((told, visit.got.set_cookies()), (("1".into(), String::new()), vec![]), "{store} {consume}");
            }
        }
    }
}

#[test]
fn a_page_that_shows_one_list_consumes_that_one() {
    // F6
    let site = site("document");
    let mut ada = site.browser();
    let cart = "info=Added;list=cart&error=Sold%20out;list=cart;title=Sorry";
    ada.visit(ok().say("Flash", "info=Saved").say("Flash", cart).say("Flash", "info=New;list=news"));
    let all = format!("info=Saved&{cart}&info=New;list=news");
    assert_eq!(ada.ask(&get("/cart"), ok().say("Flash-Keep", "list=news&list=")).seen.told("Flashes"), all);
    let rest = "info=Saved&info=New;list=news";
    let visit = ada.ask(&get("/api").with("Sec-Fetch-Mode", "cors"), json().say("Flash-Read", "list=news"));
    assert_eq!(visit.seen.told("Flashes"), rest);
    assert_eq!(ada.look().told("Flashes"), "info=Saved");
    assert_eq!(ada.look().told("Flashes"), "");
}

#[test]
fn what_an_application_puts_into_a_message_comes_back_as_it_was() {
    // F4, F8, F9, F12
    let key =
        "[[keys]]\nid = \"test\"\nsecret = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\"\n";
    for store in ["memory", "disk", "cookie"] {
        let site = Site::new(&format!("{key}[sessions.main]\nstore = \"{store}\"\n"));
        let mut ada = site.browser();
        let message =
            "warning=caf%C3%A9%20%3B%26%2C;title=%E2%82%AC;body=%3Cb%3E%0D%0A;life=5;x-y_z=;list=cart;title=2";
        ada.visit(ok().say("Flash", message));
        assert_eq!(ada.look().told("Flashes"), message, "{store}");
    }
}
