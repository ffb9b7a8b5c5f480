//! Cookies as the browser keeps them: names, attributes, removal.

use super::application::Application;
use super::driver::{Kept, in_a_browser};
use super::mirror;
use super::support::upstream::ok;
use cloakroom::clock::Timestamp;
use cloakroom::cookie::{Attributes, CookieName, CookieOptions, CookiePolicy, SameSite};

/// Our cookie as it is meant to be kept by default.
fn usual(name: &str, value: String, domain: &str) -> Kept {
    Kept {
        name: name.into(),
        value,
        domain: domain.into(),
        path: "/".into(),
        http_only: true,
        secure: true,
        ends_with_browser: true,
        same_site: "Lax".into(),
        partitioned: false,
    }
}

#[test]
fn the_browser_keeps_one_cookie_that_no_script_can_read() {
    // CK1, CK8
    in_a_browser(|browser| {
        let application = Application::over_tls("");
        application.shows("/begin", mirror().say("Set", "user=ada"));
        application.shows("/", mirror());
        let home = application.at("kept.example", "/");
        browser.go(&home);
        assert!(browser.text().contains("state=none"));
        assert_eq!(browser.cookies(&home), [], "nobody gets a cookie for looking"); // SL10
        browser.go(&application.at("kept.example", "/begin"));
        let kept = browser.cookies(&home);
        assert_eq!(kept, [usual("__Host-session", kept[0].value.clone(), "kept.example")]);
        assert_eq!(browser.script("return document.cookie"), "");
        browser.go(&home);
        assert!(browser.text().contains("state=live data=user=ada"), "{}", browser.text());
        assert!(!application.last("/").has("Cookie"));
        // A page cannot put one of its own in the place of ours.
        browser.script("document.cookie = '__Host-session=planted; Secure; Path=/'");
        browser.reload();
        assert!(browser.text().contains("state=live data=user=ada"), "{}", browser.text());
    });
}

#[test]
fn without_tls_the_cookie_has_a_name_that_the_browser_takes() {
    // CK1, CK13
    in_a_browser(|browser| {
        let application = Application::in_the_clear("");
        application.shows("/", mirror().say("Init", "user=ada"));
        let home = application.at("clear.example", "/");
        browser.go(&home);
        let kept = browser.cookies(&home);
        let expected = usual("session", kept[0].value.clone(), "clear.example");
        assert_eq!(kept, [Kept { secure: false, ..expected }]);
        browser.reload();
        assert!(browser.text().contains("state=live data=user=ada"), "{}", browser.text());
    });
}

/// Every mixture of attributes at this host, each under a name that begins so.
fn mixtures(name: &str, host: &str) -> Vec<CookieOptions> {
    let mut all = Vec::new();
    for same_site in [SameSite::Strict, SameSite::Lax, SameSite::None] {
        for (domain, path) in [(None, "/"), (Some(host), "/"), (None, "/app"), (Some(host), "/app")] {
            for flags in 0..8_u8 {
                let [secure, http_only, partitioned] = [1, 2, 4].map(|flag| flags & flag != 0);
                all.push(CookieOptions {
                    name: CookieName::parse(&format!("{name}{}", all.len())).unwrap(),
                    path: path.into(),
                    domain: domain.map(str::to_owned),
                    secure,
                    http_only,
                    same_site,
                    partitioned,
                    persistent: false,
                    max_bytes: 3800,
                    max_chunks: 1,
                });
            }
        }
    }
    all
}

/// The line of any options, whether or not they are in order.
fn line(options: &CookieOptions) -> String {
    let flag = |is_set: bool, text: &str| if is_set { format!("; {text}") } else { String::new() };
    [
        format!("{}=v; Path={}; SameSite={:?}", options.name, options.path, options.same_site),
        options.domain.as_ref().map(|domain| format!("; Domain={domain}")).unwrap_or_default(),
        flag(options.secure, "Secure"),
        flag(options.http_only, "HttpOnly"),
        flag(options.partitioned, "Partitioned"),
    ]
    .concat()
}

#[test]
fn we_refuse_exactly_the_cookies_that_the_browser_refuses() {
    // CK2, CK12
    in_a_browser(|browser| {
        let application = Application::over_tls("[[routes]]\nupstream = \"app\"\nsessions = []\n");
        for (number, name) in ["s", "__Host-s", "__Secure-s", "__Http-s", "__Host-Http-s"].into_iter().enumerate() {
            let host = format!("mixture{number}.example");
            let all = mixtures(name, &host);
            let (mut reply, mut expected) = (mirror(), Vec::new());
            for options in &all {
                let issued = CookiePolicy::new(options.clone()).ok().map(|policy| {
                    expected.push(options.name.to_string());
                    let (now, end) = (Timestamp::default(), Timestamp::NEVER);
                    policy.issue("v", Attributes::default(), end, now).unwrap().remove(0)
                });
                reply = reply.with("Set-Cookie", issued.unwrap_or_else(|| line(options)));
            }
            application.shows("/app/", reply);
            let address = application.at(&host, "/app/");
            browser.go(&address);
            let kept = browser.cookies(&address);
            let kept: Vec<&str> = kept.iter().map(|cookie| cookie.name.as_str()).collect();
            expected.sort();
            assert!(expected.len() > 5 && expected.len() < all.len(), "{name}: both kinds are there");
            for options in &all {
                let own = options.name.to_string();
                assert_eq!(kept.contains(&own.as_str()), expected.contains(&own), "{}", line(options));
            }
        }
        // What begins like a prefix in other letters is no name for us, and the browser refuses it too.
        let misspelt = ["__host-a", "__HOST-a", "__secure-a", "__SeCure-a"];
        let lines = misspelt.iter().fold(mirror(), |reply, name| reply.with("Set-Cookie", format!("{name}=v; Path=/")));
        application.shows("/", lines.with("Set-Cookie", "control=v; Path=/"));
        let address = application.at("misspelt.example", "/");
        browser.go(&address);
        assert!(misspelt.iter().all(|name| CookieName::parse(name).is_err()));
        let kept: Vec<String> = browser.cookies(&address).into_iter().map(|cookie| cookie.name).collect();
        assert_eq!(kept, ["control"]);
    });
}

/// Sessions whose cookies differ in every attribute that removal must repeat.
const SEVERAL: &str = r#"
[sessions.plain]
store = "memory"
cookie = { name = "__Host-plain" }
headers = { prefix = "X-Plain-" }
[sessions.apart]
store = "memory"
cookie = { name = "__Host-apart", same_site = "none", partitioned = true }
headers = { prefix = "X-Apart-" }
[sessions.wide]
store = "memory"
cookie = { name = "__Secure-wide", domain = "shop.test", path = "/app" }
headers = { prefix = "X-Wide-" }
[sessions.chosen]
store = "memory"
cookie = { name = "__Secure-chosen", allow_paths = ["/app/deep"], allow_domains = ["shop.test"], persistent = true }
headers = { prefix = "X-Chosen-" }
[sessions.kept]
store = "cookie"
cookie = { name = "__Host-Http-kept", max_chunks = 4, same_site = "strict" }
headers = { prefix = "X-Kept-" }
[[routes]]
upstream = "app"
sessions = ["plain", "apart", "wide", "chosen", "kept"]
"#;

const PREFIXES: [&str; 5] = ["X-Plain-", "X-Apart-", "X-Wide-", "X-Chosen-", "X-Kept-"];

/// The same verb for every session.
fn all_say(verb: &str, value: &str) -> super::Reply {
    PREFIXES.iter().fold(ok(), |reply, prefix| reply.with(&format!("{prefix}{verb}"), value))
}

#[test]
fn logout_removes_every_cookie_whatever_its_attributes() {
    // CK6
    in_a_browser(|browser| {
        let application = Application::over_tls(SEVERAL);
        let large = format!("text={}", "x".repeat(4000));
        let begins = all_say("Set", "user=ada").with("X-Chosen-Cookie", "path=/app/deep&domain=shop.test");
        application.shows("/app/deep/begin", begins.with("X-Kept-Set", large));
        application.shows("/app/deep/look", ok());
        application.shows("/app/deep/end", all_say("Destroy", "1"));
        let at = |path: &str| application.at("www.shop.test", path);
        let look = at("/app/deep/look");
        browser.go(&at("/app/deep/begin"));
        let names = |url: &str| browser.cookies(url).into_iter().map(|cookie| cookie.name).collect::<Vec<_>>();
        let pieces = ["__Host-Http-kept.0", "__Host-Http-kept.1"];
        let others = ["__Host-apart", "__Host-plain", "__Secure-chosen", "__Secure-wide"];
        assert_eq!(names(&look), [&pieces[..], &others].concat());
        let kept = browser.cookies(&look);
        let places: Vec<_> = kept[2..].iter().map(|cookie| (cookie.domain.as_str(), cookie.path.as_str())).collect();
        let expected =
            [("www.shop.test", "/"), ("www.shop.test", "/"), (".shop.test", "/app/deep"), (".shop.test", "/app")];
        assert_eq!(places, expected);
        assert!(kept[2].partitioned && !kept[4].ends_with_browser && kept[3].ends_with_browser); // CK8, CK12
        browser.go(&look);
        let seen = application.last("/app/deep/look");
        for prefix in PREFIXES {
            assert_eq!(seen.get(&format!("{prefix}State")).as_deref(), Some("live"), "{prefix}: {seen:?}");
        }
        browser.go(&at("/app/deep/end"));
        assert_eq!(names(&look), [""; 0]);
    });
}

#[test]
fn a_cookie_of_a_domain_serves_its_hosts_and_no_other() {
    // CK1, CK6
    in_a_browser(|browser| {
        let application = Application::over_tls(
            "[sessions.main]\nstore = \"memory\"\ncookie = { name = \"__Secure-session\", domain = \"office.test\" }\n",
        );
        application.shows("/begin", mirror().say("Login", "ada"));
        application.shows("/end", mirror().say("Destroy", "1"));
        application.shows("/", mirror());
        let state = |host: &str| {
            browser.go(&application.at(host, "/"));
            browser.text().split(' ').next().unwrap().to_owned()
        };
        browser.go(&application.at("mail.office.test", "/begin"));
        for (host, expected) in [
            ("mail.office.test", "state=live"),
            ("files.office.test", "state=live"),
            ("office.test", "state=live"),
            ("other.test", "state=none"),
            ("myoffice.test", "state=none"),
        ] {
            assert_eq!(state(host), expected, "{host}");
        }
        browser.go(&application.at("files.office.test", "/end"));
        assert_eq!(state("mail.office.test"), "state=none");
    });
}

#[test]
fn the_largest_session_that_fits_is_kept_whole() {
    // CK3
    in_a_browser(|browser| {
        let application =
            Application::over_tls("[sessions.main]\nstore = \"cookie\"\ncookie = { max_bytes = \"4096B\" }\n");
        application.shows("/", mirror());
        let home = application.at("large.example", "/");
        let (mut least, mut most) = (1, 4096_usize);
        while least < most {
            let length = (least + most).div_ceil(2);
            application.shows("/fill", mirror().say("Set", format!("text={}", "x".repeat(length))));
            browser.go(&application.at("large.example", "/fill"));
            if browser.text().contains("state=") { least = length } else { most = length - 1 }
        }
        let kept = browser.cookies(&home);
        let size = kept[0].name.len() + kept[0].value.len();
        assert!(kept.len() == 1 && (3800..=4096).contains(&size), "{size}: {kept:?}");
        browser.go(&home);
        assert!(browser.text().contains("state=live"), "{}", browser.text());
    });
}
