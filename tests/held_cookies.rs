//! Cookies of the backend that the visitor's session keeps in the browser's place.

mod support;

use support::client::{SetCookie, ask, get};
use support::message::Message;
use support::upstream::{Gate, Reply, ok, status};
use support::{Browser, Site};

const HOLD: &str = r#"
[[routes]]
upstream = "app"
sessions = ["main"]
[[routes.cookies]]
name = "open_*"
action = "pass"
[[routes.cookies]]
name = "*"
action = "hold"
"#;

fn setting(lines: &[&str]) -> Reply {
    lines.iter().fold(ok(), |reply, line| reply.with("Set-Cookie", line))
}

/// What the backend sees in `Cookie` at this path.
fn seen(visitor: &mut Browser<'_>, path: &str) -> String {
    visitor.ask(&get(path), ok()).seen.get("Cookie").unwrap_or_default()
}

#[test]
fn the_browser_sees_one_hardened_cookie_and_the_backend_its_own() {
    let site = Site::new(HOLD);
    let mut visitor = site.browser();
    let got = visitor.visit(setting(&["PHPSESSID=abc; path=/", "open_a=1; Path=/", "lang=\"de\"; Path=/"])).got;
    let given: Vec<SetCookie> = got.set_cookies().iter().map(|line| SetCookie::parse(line)).collect();
    assert_eq!(given.iter().map(|cookie| cookie.name.as_str()).collect::<Vec<_>>(), ["open_a", "__Host-session"]);
    assert_eq!(given[1].attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
    assert!(!got.mentions("PHPSESSID") && got.get("Cache-Control").is_some(), "{got:?}");
    assert_eq!(seen(&mut visitor, "/"), "open_a=1; PHPSESSID=abc; lang=\"de\"");
    let before = visitor.cookie();
    let got = visitor.visit(setting(&["PHPSESSID=def; path=/"])).got;
    assert!(got.set_cookies().is_empty(), "a new value needs no new id");
    assert_eq!((seen(&mut visitor, "/x").as_str(), visitor.cookie()), ("open_a=1; PHPSESSID=def; lang=\"de\"", before));
    assert_eq!(seen(&mut site.browser(), "/"), "", "another visitor has none of them");
}

#[test]
fn cookies_that_a_client_sends_in_their_place_never_arrive() {
    let site = Site::new(&HOLD.replace("\"*\"", "\"PHP*\""));
    for planted in ["PHPSESSID=evil", "PHPSESSID", "PHPSESSID[]=evil", "%50HPSESSID=evil", "x=1, PHPSESSID=evil"] {
        let line = format!("{planted};a=\"1\" ; b");
        let visit = site.exchange(&get("/").with("Cookie", line), ok());
        assert_eq!(visit.seen.get("Cookie").as_deref(), Some("a=\"1\" ; b"), "{planted}");
    }
    let mut visitor = site.browser();
    visitor.visit(setting(&["PHPSESSID=own; path=/"]));
    let line = format!("PHPSESSID=evil; {}; a=1;;b = 2", visitor.cookie());
    let visit = site.exchange(&get("/").with("Cookie", line), ok());
    assert_eq!(visit.seen.get("Cookie").as_deref(), Some("a=1;;b = 2; PHPSESSID=own"));
}

#[test]
fn path_domain_and_expiry_are_honoured_as_a_browser_would() {
    let site = Site::new(HOLD);
    let mut visitor = site.browser();
    let lines = [
        "root=1; Path=/",
        "shop=2; Path=/shop",
        "here=3",
        "wide=4; Domain=app.example; Path=/",
        "alien=5; Domain=other.example; Path=/",
        "gone=6; Path=/; Expires=Thu, 01 Jan 2015 00:00:00 GMT",
        "__Host-bad=7; Secure",
        "safe=8; Secure; Path=/; Max-Age=100",
    ];
    visitor.ask(&get("/shop/cart?x=/y"), setting(&lines));
    assert_eq!(seen(&mut visitor, "/shop/x"), "shop=2; here=3; root=1; wide=4; safe=8");
    assert_eq!(seen(&mut visitor, "/shopping"), "root=1; wide=4; safe=8");
    let elsewhere = get("/shop/").but("Host", "www.app.example:8080");
    let visit = visitor.ask(&elsewhere, ok());
    assert_eq!(visit.seen.get("Cookie").as_deref(), Some("wide=4"));
    visitor.visit(setting(&["root=; Path=/; Max-Age=0", "shop=; Path=/; Max-Age=0", "root=9; Path=/shop"]));
    assert_eq!(seen(&mut visitor, "/shop"), "shop=2; here=3; root=9; wide=4; safe=8");
    assert!(site.proxy.has_logged("a browser would not take it"), "{:?}", site.proxy.log());
}

#[test]
fn what_another_site_causes_takes_no_strict_cookie_along() {
    let site = Site::new(HOLD);
    let mut visitor = site.browser();
    visitor.visit(setting(&["a=1; SameSite=Strict", "b=2; SameSite=Lax", "c=3; SameSite=None; Secure"]));
    let mut caused = |method: &str, mode: &str| {
        let ask = ask(method, "/").with("Sec-Fetch-Site", "cross-site").with("Sec-Fetch-Mode", mode);
        visitor.ask(&ask, ok()).seen.get("Cookie").unwrap_or_default()
    };
    assert_eq!(caused("GET", "navigate"), "b=2; c=3");
    assert_eq!(caused("DELETE", "navigate"), "c=3");
    assert_eq!(caused("GET", "no-cors"), "c=3");
    assert_eq!(seen(&mut visitor, "/"), "a=1; b=2; c=3");
}

#[test]
fn two_answers_that_set_different_cookies_both_survive() {
    let gate = Gate::for_many(2);
    let site = Site::answering(HOLD, move |request: &Message| {
        if request.target() == "/" {
            return ok();
        }
        gate.pass();
        setting(&[&format!("{}=1; Path=/", request.target().trim_start_matches('/'))])
    });
    let mut visitor = site.browser();
    visitor.visit(setting(&["first=1; Path=/"]));
    let cookie = visitor.cookie();
    std::thread::scope(|scope| {
        for path in ["/left", "/right"] {
            let (site, cookie) = (&site, &cookie);
            scope.spawn(move || assert_eq!(site.fetch(&get(path).with("Cookie", cookie)).status(), 200));
        }
    });
    let mut held: Vec<String> = seen(&mut visitor, "/").split("; ").map(str::to_owned).collect();
    held.sort();
    assert_eq!(held, ["first=1", "left=1", "right=1"]);
}

#[test]
fn too_many_and_too_large_cookies_are_refused_like_any_batch() {
    let site = Site::new(HOLD);
    let mut visitor = site.browser();
    visitor.visit(setting(&["a=1; Path=/"]));
    let many: Vec<String> = (0..50).map(|i| format!("c{i}=1; Path=/")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(visitor.visit(setting(&many)).got.status(), 502);
    let large = format!("large={}; Path=/", "x".repeat(4096));
    assert_eq!(visitor.visit(setting(&["b=2; Path=/", &large]).say("Set", "user=ada")).got.status(), 502);
    let seen = visitor.look();
    assert_eq!((seen.get("Cookie").as_deref(), seen.data().as_str()), (Some("a=1"), ""), "whole or not at all");
    assert!(site.proxy.has_logged("limit") && !site.proxy.has_logged("xxx"));
}

#[test]
fn held_cookies_end_with_the_session() {
    let site = Site::new(HOLD);
    let mut visitor = site.browser();
    visitor.visit(setting(&["id=1; Path=/"]).say("Login", "ada"));
    let stolen = visitor.cookie();
    assert_eq!(seen(&mut visitor, "/"), "id=1");
    visitor.visit(setting(&["id=2; Path=/"]).say("Destroy", "1"));
    assert_eq!(site.exchange(&get("/").with("Cookie", stolen), ok()).seen.get("Cookie"), None);
    visitor.visit(setting(&["id=3; Path=/"]).say("Login", "ada"));
    visitor.visit(ok().say("Login", "eve"));
    assert_eq!(seen(&mut visitor, "/"), "", "what one person left is not handed to the next");
}

#[test]
fn cookies_of_answers_of_every_status_count_but_of_interim_ones() {
    let site = Site::new(HOLD);
    let mut visitor = site.browser();
    visitor.visit(status(500).with("Set-Cookie", "a=1; Path=/"));
    visitor.visit(status(302).with("Location", "/").with("Set-Cookie", "b=2; Path=/"));
    let interim = b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: c=3; Path=/\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let mut client = site.client();
    site.upstream.will(interim);
    client.ask(&get("/").with("Cookie", visitor.cookie()));
    assert!(client.interim.iter().all(|hint| !hint.has("Set-Cookie")), "{:?}", client.interim);
    assert_eq!(seen(&mut visitor, "/"), "a=1; b=2");
}

#[test]
fn deleting_what_is_not_held_begins_no_session() {
    let site = Site::new(HOLD);
    let got = site.exchange(&get("/"), setting(&["old=; Path=/; Max-Age=0"])).got;
    assert!(got.set_cookies().is_empty(), "{got:?}");
}

#[test]
fn held_cookies_survive_a_restart_and_lie_sealed() {
    let config = format!("[sessions.main]\nstore = \"disk\"\n{HOLD}");
    let site = Site::new(&config);
    let mut visitor = site.browser();
    visitor.visit(setting(&["PHPSESSID=conspicuous; Path=/"]));
    site.restart(&config);
    assert_eq!(seen(&mut visitor, "/"), "PHPSESSID=conspicuous");
    site.restart(&config.replace("\"hold\"", "\"pass\""));
    assert_eq!(seen(&mut visitor, "/"), "", "what is not held any more is not sent");
    site.proxy.stop();
    let state = std::fs::read_dir(site.proxy.path("state")).expect("the state directory");
    for file in state.map(|entry| entry.expect("a file").path()).filter(|path| path.is_file()) {
        let bytes = std::fs::read(&file).expect("a file of the store");
        assert!(!bytes.windows(11).any(|window| window == b"conspicuous"), "{}", file.display());
    }
}

#[test]
fn a_session_in_the_browser_holds_cookies_too() {
    let site = Site::new(&format!("[sessions.main]\nstore = \"cookie\"\n{HOLD}"));
    let mut visitor = site.browser();
    let got = visitor.visit(setting(&["id=conspicuous; Path=/"])).got;
    assert!(!got.mentions("conspicuous"));
    assert_eq!(seen(&mut visitor, "/"), "id=conspicuous");
}

#[test]
fn the_session_that_a_rule_names_holds_the_cookie() {
    let site = Site::new(
        "[sessions.main]\nstore = \"memory\"\n\
         [sessions.app]\nstore = \"memory\"\ncookie.name = \"__Host-app\"\nheaders.prefix = \"X-App-\"\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\", \"app\"]\n\
         [[routes.cookies]]\nname = \"id\"\naction = \"hold\"\nsession = \"app\"\n\
         [[routes.cookies]]\nname = \"lang\"\naction = \"hold\"\n",
    );
    let mut visitor = site.browser();
    visitor.visit(setting(&["id=1; Path=/", "lang=de; Path=/"]).say("Set", "a=1"));
    assert_eq!(seen(&mut visitor, "/"), "lang=de; id=1");
    visitor.jar.0.retain(|(name, _)| name != "__Host-app");
    assert_eq!(seen(&mut visitor, "/"), "lang=de");
}

#[test]
fn a_secure_cookie_neither_comes_nor_goes_in_the_clear() {
    let site = Site::new(&format!(
        "[listeners.web]\naddress = \"@web\"\n[sessions.main]\nstore = \"memory\"\ncookie.secure = false\n{HOLD}"
    ));
    let mut visitor = site.browser();
    visitor.visit(setting(&["a=1; Secure; Path=/", "b=2; Path=/"]));
    assert_eq!(seen(&mut visitor, "/"), "b=2");
}
