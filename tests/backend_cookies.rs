//! The backend's own cookies, by the rules of the route.

mod support;

use support::Site;
use support::client::{SetCookie, get};
use support::upstream::{Reply, ok};

/// A route with these rules: name, action and what else there is.
fn rules(rules: &[(&str, &str)]) -> String {
    let rule = |(name, rest): &(&str, &str)| format!("[[routes.cookies]]\nname = \"{name}\"\naction = {rest}\n");
    let rules: String = rules.iter().map(rule).collect();
    format!("[[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n{rules}")
}

fn setting(lines: &[&str]) -> Reply {
    lines.iter().fold(ok(), |reply, line| reply.with("Set-Cookie", line))
}

/// What the backend sees of this `Cookie` line.
fn forwarded(site: &Site, line: &str) -> Option<String> {
    site.exchange(&get("/").with("Cookie", line), ok()).seen.get("Cookie")
}

#[test]
fn attributes_are_forced_onto_cookies_and_the_rest_stays_as_it_came() {
    let site = Site::new(&rules(&[("PHPSESSID", "\"harden\""), ("strict", "\"harden\"\nsame_site = \"strict\"")]));
    let lines = ["PHPSESSID=a b; path=/;Foo", "strict=1; Secure", "other=1; Path=/x", "__Host-session=forged; Path=/"];
    let got = site.exchange(&get("/").with("Cookie", "PHPSESSID=1; other=2"), setting(&lines));
    let expected = [
        "PHPSESSID=a b; path=/;Foo; Secure; HttpOnly; SameSite=Lax",
        "strict=1; Secure; HttpOnly; SameSite=Strict",
        "other=1; Path=/x",
    ];
    assert_eq!(got.got.set_cookies(), expected);
    assert_eq!(got.seen.get("Cookie").as_deref(), Some("PHPSESSID=1; other=2"));
}

#[test]
fn a_dropped_cookie_goes_neither_way_however_it_is_spelled() {
    let site = Site::new(&rules(&[("keep_me", "\"pass\""), ("ads_*", "\"drop\""), ("my.id", "\"drop\"")]));
    let got = site.exchange(&get("/"), setting(&["ads_1=x", "a=1; Path=/", "my.id=2; Max-Age=0"]));
    assert_eq!(got.got.set_cookies(), ["a=1; Path=/"]);
    for (came, left) in [
        ("ads_1=x", None),
        ("a=1; ads_1=x; b = \"2\" ;;c", Some("a=1; b = \"2\" ;;c")),
        ("ads_=x; a=1", Some("a=1")),
        ("my.id=1; my_id=2; my%2Eid=3; my.id[x]=4; \"my.id\"=5; my.id; a=1", Some("a=1")),
        ("x=1, my.id=2; a=1", Some("a=1")),
        ("keep_me=x; my_ids=1", Some("keep_me=x; my_ids=1")),
    ] {
        assert_eq!(forwarded(&site, came).as_deref(), left, "{came}");
    }
    let crumbs = get("/").with("Cookie", "a=1").with("Cookie", "ads_2=x").with("Cookie", "b=2");
    assert_eq!(site.exchange(&crumbs, ok()).seen.get("Cookie").as_deref(), Some("a=1; b=2"));
}

#[test]
fn rules_never_touch_the_cookie_of_the_session() {
    let site = Site::new(&rules(&[("*", "\"drop\"")]));
    let mut visitor = site.browser();
    let visit = visitor.visit(ok().say("Set", "user=ada").with("Set-Cookie", "own=1"));
    assert_eq!(visit.got.set_cookies().len(), 1, "{:?}", visit.got);
    let seen = visitor.look();
    assert_eq!((seen.data().as_str(), seen.get("Cookie")), ("user=ada", None));
}

/// What the browser is given for this line, and how the backend gets it back.
fn round_trip(site: &Site, line: &str) -> (SetCookie, Option<String>) {
    let given = SetCookie::only(&site.exchange(&get("/"), setting(&[line])).got);
    let back = forwarded(site, &format!("{}={}", given.name, given.value));
    (given, back)
}

const PROTECTED: [(&str, &str); 2] = [("signed", "\"sign\""), ("sealed", "\"encrypt\"")];

#[test]
fn a_protected_cookie_comes_back_as_the_backend_made_it() {
    let site = Site::new(&rules(&PROTECTED));
    for value in ["1", "\"a b\"", "x=y, z", "", "caf\u{e9}", &"x".repeat(2500)] {
        for name in ["signed", "sealed"] {
            let (given, back) = round_trip(&site, &format!("{name}={value}; Path=/"));
            assert!(given.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{given:?}");
            assert_eq!(given.attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
            let latin = |text: &str| text.bytes().map(char::from).collect::<String>();
            assert_eq!(back, Some(latin(&format!("{name}={value}"))), "{value}");
        }
    }
}

#[test]
fn a_protected_cookie_that_does_not_verify_never_reaches_the_backend() {
    let site = Site::new(&rules(&PROTECTED));
    let [signed, sealed] = ["signed", "sealed"].map(|name| round_trip(&site, &format!("{name}=1")).0.value);
    let mut forged: Vec<String> = ["1", "", "\"\""].map(String::from).into();
    forged.extend([format!("{signed}A"), signed[1..].to_owned(), signed.replacen("Ag", "Aw", 1), sealed.clone()]);
    for value in &forged {
        assert_eq!(forwarded(&site, &format!("a=1; signed={value}; b=2")).as_deref(), Some("a=1; b=2"), "{value}");
    }
    assert_eq!(forwarded(&site, &format!("sealed={signed}")), None);
    assert_eq!(forwarded(&site, "signed; signed%20=1; signed[x]=1"), None);
    let other = Site::new(&rules(&PROTECTED));
    assert_eq!(forwarded(&other, &format!("signed={signed}")), None, "another server has other keys");
}

#[test]
fn a_protected_cookie_of_one_backend_is_none_of_another() {
    let rule = "[[routes.cookies]]\nname = \"signed\"\naction = \"sign\"\n";
    let site = Site::new(&format!(
        "[upstreams.app]\nservers = [\"@app\"]\n[upstreams.other]\nservers = [\"@app\"]\n\
         [[routes]]\npath = \"/other/*\"\nupstream = \"other\"\n{rule}\
         [[routes]]\npath = \"/second/*\"\nupstream = \"app\"\n{rule}\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n{rule}"
    ));
    let given = SetCookie::only(&site.exchange(&get("/"), setting(&["signed=1"])).got).value;
    let at = |path: &str| site.exchange(&get(path).with("Cookie", format!("signed={given}")), ok()).seen.get("Cookie");
    assert_eq!(at("/second/x").as_deref(), Some("signed=1"));
    assert_eq!(at("/other/x"), None);
}

#[test]
fn a_protected_cookie_ends_with_its_age_whatever_the_browser_does() {
    let site = Site::new(&rules(&PROTECTED));
    let (_, back) = round_trip(&site, "signed=1; Max-Age=600");
    assert_eq!(back.as_deref(), Some("signed=1"));
    let (given, back) = round_trip(&site, "signed=1; Expires=Thu, 01 Jan 2015 00:00:00 GMT");
    assert_eq!(back, None);
    assert_eq!(given.attribute("Expires"), Some("Thu, 01 Jan 2015 00:00:00 GMT"), "the browser forgets it, too");
}

#[test]
fn a_cookie_that_cannot_be_protected_is_withheld() {
    let site = Site::new(&rules(&[("*", "\"encrypt\"")]));
    let large = format!("large={}", "x".repeat(3100));
    for _ in 0..3 {
        let got = site.exchange(&get("/"), setting(&[&large, "=nameless", "small=1"])).got;
        assert_eq!(SetCookie::only(&got).name, "small");
    }
    let told = site.proxy.log().iter().filter(|line| line.contains("was withheld")).count();
    assert_eq!(told, 2, "once for each");
    assert!(!site.proxy.has_logged("nameless") && !site.proxy.has_logged("xxx"));
}
