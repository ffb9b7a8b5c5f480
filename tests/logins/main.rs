//! Applications that keep their own sessions, in PHP, Python, Flask, Django and JavaScript, behind rules that hold their
//! cookies: nothing in them is changed, and the browser sees one hardened cookie.

#[path = "../servers/mod.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;

use servers::{Daemon, directory, free_port};
use std::net::TcpStream;
use std::path::Path;
use support::client::{Ask, Client, Jar, SetCookie, get, post};
use support::complete;
use support::message::Message;
use support::proxy::Proxy;

/// An application behind a proxy that holds all of its cookies.
struct Place {
    _application: Daemon,
    proxy: Proxy,
}

impl Place {
    fn of(program: &str, arguments: impl Fn(&str, u16, &Path) -> Vec<String>, file: &str) -> Self {
        let (port, own) = (free_port(), directory("login"));
        let script = format!("{}/tests/logins/{file}", env!("CARGO_MANIFEST_DIR"));
        let arguments = arguments(&script, port, &own);
        let program: Vec<&str> = [program].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let application = Daemon::start(&own, &program, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let config = "[sessions.main]\nstore = \"disk\"\n[[routes]]\nupstream = \"app\"\nsessions = [\"main\"]\n\
                      [[routes.cookies]]\nname = \"*\"\naction = \"hold\"\n";
        let config = complete(config, &format!("http://127.0.0.1:{port}"));
        let proxy = Proxy::start(tempfile::tempdir().expect("a directory of its own"), &config);
        Self { _application: application, proxy }
    }

    fn php() -> Self {
        let arguments = |script: &str, port: u16, own: &Path| {
            let save = format!("session.save_path={}", own.display());
            let address = format!("127.0.0.1:{port}");
            ["-d", &save, "-d", "session.use_strict_mode=0", "-S", &address, script].map(str::to_owned).into()
        };
        Self::of("php", arguments, "login.php")
    }

    fn python() -> Self {
        Self::of("python3", |script, port, _| vec!["-u".into(), script.into(), port.to_string()], "login.py")
    }

    /// Debian's own Python, which has Debian's modules.
    fn framework(file: &str) -> Self {
        let arguments = |script: &str, port: u16, own: &Path| {
            vec!["-u".into(), script.into(), port.to_string(), own.display().to_string()]
        };
        Self::of("/usr/bin/python3", arguments, file)
    }

    fn node() -> Self {
        Self::of("node", |script, port, _| vec![script.into(), port.to_string()], "login.js")
    }
}

struct Visitor<'p> {
    place: &'p Place,
    jar: Jar,
}

impl<'p> Visitor<'p> {
    fn of(place: &'p Place) -> Self {
        Self { place, jar: Jar::default() }
    }

    fn ask(&mut self, ask: &Ask) -> Message {
        let ask = ask.clone().cookie(self.jar.line().as_deref());
        let got = Client::tcp(self.place.proxy.address()).ask(&ask);
        for line in got.set_cookies() {
            let given = SetCookie::parse(&line);
            assert_eq!(given.name, "__Host-session", "the browser sees one cookie, and it is ours: {line}");
            // A session that holds nothing any more, as after a logout, ends with its cookie (L10).
            let is_lifetime = |attribute: &&String| attribute.starts_with("Max-Age=0") || attribute.contains("1970");
            let attributes: Vec<_> = given.attributes.iter().filter(|attribute| !is_lifetime(attribute)).collect();
            assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
        }
        self.jar.keep(&got);
        got
    }

    fn look(&mut self) -> String {
        self.ask(&get("/")).body_text()
    }

    /// Sends the form of a login, with the token that the application's own page has in it, if it has one.
    fn log_in(&mut self, user: &str) -> String {
        let page = self.look();
        let token = page.split(' ').find_map(|word| word.strip_prefix("csrf=")).unwrap_or_default();
        let form = post("/login", format!("user={user}&csrfmiddlewaretoken={token}"));
        let got = self.ask(&form.with("Content-Type", "application/x-www-form-urlencoded"));
        assert_eq!(got.status(), 200, "{got:?}");
        got.body_text()
    }
}

/// The value of a word such as `id=…` on a page.
fn word(page: &str, name: &str) -> String {
    page.split(' ').find_map(|word| word.strip_prefix(name)).expect(name).to_owned()
}

/// What every application does, whatever it is written in.
fn log_in_and_out(place: &Place) {
    let (mut ada, mut eve) = (Visitor::of(place), Visitor::of(place));
    assert!(ada.look().starts_with("user=nobody"));
    assert!(ada.log_in("ada").starts_with("user=ada"));
    assert!(ada.look().starts_with("user=ada seen="));
    assert!(eve.log_in("eve").starts_with("user=eve"));
    let before = word(&ada.look(), "seen=");
    let page = ada.look();
    assert!(page.starts_with("user=ada") && word(&page, "seen=") != before, "the application counts on: {page}");
    let stolen = ada.jar.clone();
    assert!(ada.ask(&get("/logout")).body_text().starts_with("user=nobody"));
    assert!(ada.look().starts_with("user=nobody"));
    let mut thief = Visitor { place, jar: stolen };
    assert!(thief.look().starts_with("user=nobody"));
    assert!(eve.look().starts_with("user=eve"));
}

#[test]
fn a_login_of_php_works_unchanged() {
    log_in_and_out(&Place::php());
}

#[test]
fn a_login_of_python_works_unchanged() {
    let place = Place::python();
    log_in_and_out(&place);
    let mut visitor = Visitor::of(&place);
    visitor.log_in("ada");
    assert_eq!(word(&visitor.look(), "theme="), "dark,\u{e9}", "a value in quotes comes back as it was");
}

#[test]
fn a_login_of_flask_works_unchanged() {
    // The session is a cookie of its own, and `remember_token` another one: a copy of either would outlive the logout.
    log_in_and_out(&Place::framework("on_flask.py"));
}

#[test]
fn a_login_of_django_works_unchanged() {
    let place = Place::framework("on_django.py");
    log_in_and_out(&place);
    // Its `csrftoken` is held as well: a form without the page's token, and one with another visitor's, are refused.
    let (mut ada, mut eve) = (Visitor::of(&place), Visitor::of(&place));
    let token = word(&eve.look(), "csrf=");
    ada.look();
    for form in ["user=ada".to_owned(), format!("user=ada&csrfmiddlewaretoken={token}")] {
        let forged = post("/login", form).with("Content-Type", "application/x-www-form-urlencoded");
        assert_eq!(ada.ask(&forged).status(), 403);
    }
    assert!(ada.log_in("ada").starts_with("user=ada"));
}

#[test]
fn a_login_of_node_works_unchanged() {
    log_in_and_out(&Place::node());
}

#[test]
fn an_id_of_php_that_somebody_planted_is_never_adopted() {
    let place = Place::php();
    let mut visitor = Visitor::of(&place);
    let planted = "0123456789abcdef0123456789";
    visitor.jar.0.push(("PHPSESSID".into(), planted.into()));
    // Without strict mode PHP adopts whatever id comes: that of the browser never arrives.
    let page = visitor.look();
    assert!(page.starts_with("user=nobody") && word(&page, "id=") != planted, "{page}");
    let first = word(&page, "id=");
    assert_eq!(word(&visitor.look(), "id="), first, "the id is PHP's own and stays");
    let own = word(&visitor.log_in("ada"), "id=");
    assert_eq!((word(&visitor.look(), "user=").as_str(), word(&visitor.look(), "id=")), ("ada", own.clone()));
    let mut thief = Visitor::of(&place);
    thief.jar.0.push(("PHPSESSID".into(), own));
    assert!(thief.look().starts_with("user=nobody"), "a stolen one opens nothing without our cookie");
}

#[test]
fn a_login_of_php_survives_a_restart_of_the_proxy() {
    let place = Place::php();
    let mut visitor = Visitor::of(&place);
    visitor.log_in("ada");
    let config = std::fs::read_to_string(place.proxy.path("cloakroom.toml")).expect("the configuration");
    let config = config.split("[listeners.zz_ready]").next().expect("all but the second listener").to_owned();
    let address = place.proxy.address().to_string();
    place.proxy.restart(&config.replace(&address, "@web"));
    assert!(visitor.look().starts_with("user=ada"));
}
