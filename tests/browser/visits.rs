//! Whole visits: two tabs, the button that goes back, the end of the browser, an application with sessions of its own.

use super::application::Application;
use super::driver::{Browser, in_a_browser};
use super::servers::{Daemon, directory, free_port};
use super::support::eventually;
use super::support::proxy::Proxy;
use super::{mirror, page, see_other};
use std::net::TcpStream;

#[test]
fn a_session_outlives_the_browser_only_where_it_shall() {
    // CK8
    let Some(mut browser) = Browser::start() else { return };
    let application = Application::over_tls(
        "[sessions.main]\nstore = \"memory\"\n\
         [sessions.basket]\nstore = \"memory\"\nheaders = { prefix = \"X-Basket-\" }\n\
         cookie = { name = \"__Host-basket\", persistent = true }\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"main\", \"basket\"]\n",
    );
    application.shows("/begin", mirror().say("Set", "a=1").with("X-Basket-Set", "b=2"));
    application.shows("/", mirror());
    let home = application.at("lasting.example", "/");
    browser.go(&application.at("lasting.example", "/begin"));
    let kept = browser.cookies(&home);
    let kinds: Vec<_> = kept.iter().map(|cookie| (cookie.name.as_str(), cookie.ends_with_browser)).collect();
    assert_eq!(kinds, [("__Host-basket", false), ("__Host-session", true)]);
    browser.restart();
    browser.go(&home);
    let seen = application.last("/");
    let states = ["X-Session-State", "X-Basket-State", "X-Basket-Data"].map(|name| seen.get(name).unwrap_or_default());
    assert_eq!(states, ["none", "live", "b=2"]);
}

#[test]
fn what_two_tabs_change_at_the_same_time_is_kept() {
    in_a_browser(|browser| {
        let application = Application::over_tls("");
        application.shows("/begin", mirror().say("Set", "user=ada"));
        application.shows("/", mirror());
        application.shows("/together/left", mirror().say("Set", "left=1"));
        application.shows("/together/right", mirror().say("Set", "right=2"));
        let home = application.at("tabs.example", "/");
        browser.go(&application.at("tabs.example", "/begin"));
        let left = browser.tab();
        let right = browser.open_tab();
        browser.go(&home);
        browser.switch_to(&left);
        browser.go(&home);
        // Both are answered when both have come.
        browser.script("window.done = 0; fetch('/together/left').then(() => window.done = 1)");
        browser.switch_to(&right);
        browser.script("return fetch('/together/right').then(() => 1)");
        browser.switch_to(&left);
        eventually("the other answer comes", || browser.script("return window.done") == 1);
        assert_eq!(application.last("/together/right").data(), "user=ada");
        for tab in [left, right] {
            browser.switch_to(&tab);
            browser.reload();
            assert!(browser.text().contains("data=left=1&right=2&user=ada"), "{}", browser.text());
        }
    });
}

const SHOP: &str = r#"
[sessions.main]
store = "memory"
headers = { csrf = true }
[[routes]]
path = "/account"
upstream = "app"
sessions = ["main"]
response_headers.set = { "Cache-Control" = "no-store" }
[[routes]]
upstream = "app"
sessions = ["main"]
csrf = "enforce"
"#;

/// A shop where one logs in, changes something by a form, and logs out.
fn shop() -> Application {
    let application = Application::over_tls(SHOP);
    application.shows("/log-in", see_other("/form").say("Login", "ada").say("Set", "user=ada"));
    application.shows("/log-out", see_other("/bye").say("Destroy", "1"));
    application.shows("/bye", page("bye"));
    application.shows("/account", mirror());
    application.shows("/open", mirror());
    let form = |action: &str, text: &str| {
        format!(
            "<form method=post action='{action}' id='{text}'>\
             <input type=hidden name=csrf_token value='{{csrf}}'><button>{text}</button></form>"
        )
    };
    let forms = [form("/change", "change"), form("/log-out", "leave")].concat();
    application.shows("/form", page(&format!("{forms}<pre>state={{state}}</pre>")));
    application.shows("/change", mirror().say("Add", "changes=1"));
    application
}

#[test]
fn forms_work_in_two_tabs_and_after_going_back() {
    in_a_browser(|browser| {
        let shop = shop();
        browser.go(&shop.at("forms.example", "/log-in"));
        let left = browser.tab();
        let right = browser.open_tab();
        browser.go(&shop.at("forms.example", "/form"));
        let send = || {
            let before = shop.requests("/change").len();
            browser.click("#change button");
            eventually("the form is sent", || browser.address().ends_with("/change"));
            assert!(browser.text().contains("state=live"), "{}", browser.text());
            assert_eq!(shop.requests("/change").len(), before + 1);
        };
        send();
        browser.switch_to(&left);
        send();
        browser.back();
        send();
        browser.switch_to(&right);
        browser.back();
        send();
        assert!(shop.last("/change").data().contains("changes=3"));
        // What lacks the token, or comes from elsewhere, is refused.
        browser.go(&shop.at("forms.example", "/form"));
        let forged = "return fetch('/change', {method: 'POST', body: new URLSearchParams()}).then(got => got.status)";
        assert_eq!(browser.script(forged), 403);
        assert_eq!(shop.requests("/change").len(), 4);
    });
}

#[test]
fn logout_in_one_tab_ends_the_other() {
    // L4
    in_a_browser(|browser| {
        let shop = shop();
        browser.go(&shop.at("ends.example", "/log-in"));
        let left = browser.tab();
        let right = browser.open_tab();
        browser.go(&shop.at("ends.example", "/open"));
        assert!(browser.text().contains("state=live data=user=ada"), "{}", browser.text());
        browser.switch_to(&left);
        browser.click("#leave button");
        eventually("he is logged out", || browser.address().ends_with("/bye"));
        browser.switch_to(&right);
        browser.reload();
        assert!(browser.text().contains("state=none data= "), "{}", browser.text());
        assert_eq!(browser.cookies(&shop.at("ends.example", "/")), []);
    });
}

#[test]
fn going_back_after_logout_shows_no_page_that_was_not_to_be_stored() {
    // CA1
    in_a_browser(|browser| {
        let shop = shop();
        browser.go(&shop.at("back.example", "/log-in"));
        browser.go(&shop.at("back.example", "/account"));
        assert!(browser.text().contains("data=user=ada"), "{}", browser.text());
        browser.script("location.href = '/form'");
        eventually("the form is shown", || browser.address().ends_with("/form"));
        browser.click("#leave button");
        eventually("he is logged out", || browser.address().ends_with("/bye"));
        browser.back();
        browser.back();
        assert!(browser.address().ends_with("/account"), "{}", browser.address());
        assert!(browser.text().contains("state=none data= "), "{}", browser.text());
    });
}

#[test]
fn the_cookies_of_a_php_application_stay_out_of_the_browser() {
    // E5
    in_a_browser(|browser| {
        let (port, own) = (free_port(), directory("php"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/logins/login.php");
        let save = format!("session.save_path={}", own.display());
        let address = format!("127.0.0.1:{port}");
        let php = ["php", "-d", &save, "-d", "session.use_strict_mode=0", "-S", &address, script];
        let _php = Daemon::start(&own, &php, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let config = super::support::complete(
            "[listeners.web]\naddress = \"@web\"\n[sessions.main]\nstore = \"memory\"\n[[routes]]\nupstream = \"app\"\n\
             sessions = [\"main\"]\n[[routes.cookies]]\nname = \"*\"\naction = \"hold\"\n",
            &format!("http://{address}"),
        );
        let proxy = Proxy::start(tempfile::tempdir().unwrap(), &config);
        let at = |path: &str| format!("http://legacy.example:{}{path}", proxy.address().port());
        browser.go(&at("/"));
        assert!(browser.text().contains("user=nobody seen=1"), "{}", browser.text());
        browser.script(
            "const form = Object.assign(document.createElement('form'), {method: 'post', action: '/login'});
             form.append(Object.assign(document.createElement('input'), {name: 'user', value: 'ada'}));
             document.body.append(form);
             form.submit();",
        );
        eventually("he is logged in", || browser.text().contains("user=ada"));
        let names: Vec<String> = browser.cookies(&at("/")).into_iter().map(|cookie| cookie.name).collect();
        assert_eq!(names, ["session"]);
        assert_eq!(browser.script("return document.cookie"), "");
        // A PHPSESSID that somebody plants changes nothing.
        browser.script("document.cookie = 'PHPSESSID=planted; path=/'");
        browser.go(&at("/"));
        assert!(browser.text().contains("user=ada") && !browser.text().contains("planted"), "{}", browser.text());
        browser.go(&at("/logout"));
        browser.go(&at("/"));
        assert!(browser.text().contains("user=nobody"), "{}", browser.text());
    });
}
