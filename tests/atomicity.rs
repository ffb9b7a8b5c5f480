//! One response is one atomic batch, applied to the newest record: nothing is lost, nothing is revived.

mod support;

use std::thread;
use support::client::{Client, get};
use support::message::Message;
use support::upstream::{Gate, Reply, ok};
use support::{Browser, Site};

const MANY: usize = 100;

/// Answers `/<n>` by the script, and only when as many requests as `MANY` have arrived: so each was sent the same old data.
fn burst(store: &str, script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Site {
    let gate = Gate::for_many(MANY);
    Site::answering(&format!("[sessions.main]\nstore = \"{store}\"\n"), move |request: &Message| {
        match request.target()[1..].parse() {
            Ok(number) => {
                gate.pass();
                script(number)
            }
            Err(_) => ok(),
        }
    })
}

/// Sends `MANY` requests at the same time, each on its own connection.
fn fire(site: &Site, cookie: &str) {
    thread::scope(|scope| {
        for number in 0..MANY {
            scope.spawn(move || {
                let got = site.fetch(&get(&format!("/{number}")).with("Cookie", cookie));
                assert_eq!((got.status(), got.set_cookies()), (200, vec![]), "{number}");
            });
        }
    });
    site.upstream.take();
}

fn session(site: &Site) -> Browser<'_> {
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "n=0"));
    ada
}

#[test]
fn a_hundred_answers_that_change_different_keys_all_count() {
    // ST3
    for store in ["memory", "disk"] {
        let site = burst(store, |number| ok().say("Set", format!("k{number:03}=1")));
        let mut ada = session(&site);
        fire(&site, &ada.cookie());
        let expected: Vec<_> = (0..MANY).map(|number| format!("k{number:03}=1")).chain(["n=0".into()]).collect();
        let seen = ada.look();
        assert_eq!(seen.data(), expected.join("&"), "{store}");
        assert_eq!(seen.told("Version"), (MANY + 1).to_string(), "{store}");
    }
}

#[test]
fn a_hundred_additions_add_up() {
    // ST3
    for store in ["memory", "disk"] {
        let site = burst(store, |number| ok().say("Add", format!("n={number}")));
        let mut ada = session(&site);
        fire(&site, &ada.cookie());
        assert_eq!(ada.look().data(), format!("n={}", MANY * (MANY - 1) / 2), "{store}");
    }
}

#[test]
fn of_a_hundred_conditions_on_one_version_one_holds() {
    let gate = Gate::for_many(MANY);
    let site = Site::answering("", move |request: &Message| {
        if request.target() == "/" {
            return ok();
        }
        gate.pass();
        ok().say("If", format!("@version={}", request.told("Version"))).say("Add", "n=1")
    });
    let mut ada = session(&site);
    let cookie = ada.cookie();
    let fetch = |number: usize| site.fetch(&get(&format!("/{number}")).with("Cookie", &cookie)).status();
    let fetch = &fetch;
    let statuses: Vec<u16> = thread::scope(|scope| {
        let sent: Vec<_> = (0..MANY).map(|number| scope.spawn(move || fetch(number))).collect();
        sent.into_iter().map(|sent| sent.join().expect("an answer")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), MANY - 1, "{statuses:?}");
    site.upstream.take();
    assert_eq!(ada.look().data(), "n=1");
}

/// A request of this visitor that waits at the backend until the gate opens, and is then answered with `reply`.
fn slow(reply: Reply, gate: &Gate) -> Site {
    let gate = gate.clone();
    Site::answering("", move |request: &Message| {
        if request.target() == "/slow" {
            gate.pass();
            return reply.clone();
        }
        ok()
    })
}

/// Begins `/slow`, lets `meanwhile` happen, and answers with what `/slow` brought and with who came after it.
fn while_slow(reply: Reply, meanwhile: impl FnOnce(&mut Browser<'_>)) -> (Message, Message, Message) {
    let gate = Gate::shut();
    let site = slow(reply, &gate);
    let mut ada = session(&site);
    let old = ada.cookie();
    let mut client: Client = site.client();
    client.send(get("/slow").with("Cookie", &old).bytes());
    site.upstream.wait_for(2);
    meanwhile(&mut ada);
    gate.open();
    let late = client.answer("GET");
    let with_old = site.exchange(&get("/").with("Cookie", &old), ok()).seen;
    (late, with_old, ada.look())
}

#[test]
fn a_destroyed_session_is_not_revived_by_an_answer_that_was_under_way() {
    // protocol, 5.4
    let (late, old, now) = while_slow(ok().say("Set", "late=1").say("Touch", "1"), |ada| {
        ada.visit(ok().say("Destroy", "1"));
    });
    assert!(late.set_cookies().iter().all(|line| line.contains("Max-Age=0")), "{late:?}");
    assert_eq!((old.told("State"), old.data()), ("expired".into(), String::new()));
    assert_eq!((now.told("State"), now.data()), ("none".into(), String::new()));
}

#[test]
fn a_login_begins_a_session_even_where_the_old_one_ended_meanwhile() {
    // protocol, 5.4
    let (late, old, _) = while_slow(ok().say("Login", "ada").say("Set", "late=1"), |ada| {
        ada.visit(ok().say("Destroy", "1"));
    });
    let issued: Vec<_> = late.set_cookies().into_iter().filter(|line| !line.contains("Max-Age=0")).collect();
    assert_eq!((late.status(), issued.len()), (200, 1), "{late:?}");
    assert_eq!(old.told("State"), "expired");
}

#[test]
fn a_login_kills_the_old_id_for_a_request_in_flight() {
    // SL3
    let (late, old, now) = while_slow(ok().say("Set", "late=1"), |ada| {
        ada.visit(ok().say("Login", "ada"));
    });
    assert_eq!(late.set_cookies(), [""; 0], "neither a cookie, nor the removal of the new one");
    assert_eq!((old.told("State"), old.data()), ("expired".into(), String::new()));
    assert_eq!((now.told("User"), now.data()), ("ada".into(), "n=0".into()));
}

#[test]
fn an_answer_under_way_lands_on_the_new_id_after_regenerating() {
    let (late, _, now) = while_slow(ok().say("Set", "late=1"), |ada| {
        ada.visit(ok().say("Regenerate", "1"));
    });
    assert_eq!(late.status(), 200);
    assert_eq!(now.data(), "late=1&n=0");
}

#[test]
fn an_update_is_durable_before_the_first_byte_of_its_answer() {
    // protocol, 5.2; ST8: killed in the midst of a burst, nothing that was answered is lost
    let site = Site::answering("[sessions.main]\nstore = \"disk\"\n", |request: &Message| {
        match request.target().strip_prefix("/add/") {
            Some(number) => ok().say("Set", format!("k{number}=1")),
            None => ok(),
        }
    });
    let mut ada = session(&site);
    let cookie = ada.cookie();
    let address = site.proxy.address();
    let answered: Vec<usize> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let cookie = &cookie;
                scope.spawn(move || {
                    let mut answered = Vec::new();
                    for number in (0..25).map(|n| n * 4 + writer) {
                        let Ok(stream) = std::net::TcpStream::connect(address) else { break };
                        let mut client = Client::over(Box::new(stream));
                        let sent = get(&format!("/add/{number}")).with("Cookie", cookie).bytes();
                        // The proxy may be gone at any moment: whoever hears nothing has been promised nothing.
                        match client.try_send(sent).then(|| client.try_next("GET")).flatten() {
                            Some(got) if got.status() == 200 => answered.push(number),
                            _ => break,
                        }
                    }
                    answered
                })
            })
            .collect();
        site.upstream.wait_for(40);
        site.proxy.kill();
        writers.into_iter().flat_map(|writer| writer.join().expect("a list")).collect()
    });
    assert!(answered.len() > 20, "{answered:?}");
    site.restart("[sessions.main]\nstore = \"disk\"\n");
    site.upstream.take();
    let data = ada.look().data();
    for number in answered {
        assert!(data.split('&').any(|pair| pair == format!("k{number}=1")), "k{number} is lost: {data}");
    }
}

#[test]
fn a_session_that_is_destroyed_in_the_midst_of_a_burst_stays_destroyed() {
    let gate = Gate::for_many(MANY);
    let site = Site::answering("[sessions.main]\nstore = \"disk\"\n", move |request: &Message| {
        match request.target()[1..].parse::<usize>() {
            Ok(50) => {
                gate.pass();
                ok().say("Destroy", "1")
            }
            Ok(number) => {
                gate.pass();
                ok().say("Set", format!("k{number}=1"))
            }
            Err(_) => ok(),
        }
    });
    let ada = session(&site);
    let cookie = ada.cookie();
    thread::scope(|scope| {
        for number in 0..MANY {
            let cookie = &cookie;
            let site = &site;
            scope.spawn(move || {
                let got = site.fetch(&get(&format!("/{number}")).with("Cookie", cookie));
                assert_eq!(got.status(), 200);
                assert!(got.set_cookies().iter().all(|line| line.contains("Max-Age=0")), "{got:?}");
            });
        }
    });
    site.upstream.take();
    assert_eq!(site.exchange(&get("/").with("Cookie", &cookie), ok()).seen.told("State"), "expired");
}
