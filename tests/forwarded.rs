//! What a backend is told about the client, and from whom that is believed.

mod support;

use support::Site;
use support::client::get;
use support::upstream::ok;

#[test]
fn the_backend_is_told_who_asks_and_through_whom() {
    // HF5, HI10
    let site = Site::new("");
    let seen = site.exchange(&get("/"), ok()).seen;
    assert_eq!(seen.get("X-Forwarded-For").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.get("X-Forwarded-Proto").as_deref(), Some("https"), "TLS ends before us");
    assert_eq!(seen.get("X-Forwarded-Host").as_deref(), Some("app.example"));
    let via = seen.get("Via").unwrap_or_default();
    assert!(via.starts_with("1.1 ") && !via.contains("cloakroom") && !via.contains("pingora"), "{via}");
    let plain = Site::new("[listeners.web]\naddress = \"@web\"\n");
    let seen = plain.exchange(&get("/").with("Via", "1.0 other"), ok()).seen;
    assert_eq!(seen.get("X-Forwarded-Proto").as_deref(), Some("http"));
    let via = seen.all("Via").join(", ");
    assert!(via.starts_with("1.0 other, 1.1 "), "{via}");
}

fn claiming() -> support::client::Ask {
    get("/")
        .with("X-Forwarded-For", "1.2.3.4")
        .with("X-Forwarded-Proto", "gopher")
        .with("X-Forwarded-Host", "evil.example")
        .with("X-Forwarded-Port", "70")
        .with("X-Forwarded-Prefix", "/evil")
        .with("X-Real-IP", "1.2.3.4")
        .with("Forwarded", "for=1.2.3.4")
}

#[test]
fn what_a_client_claims_about_itself_is_replaced() {
    // HI10
    let site = Site::new("");
    let seen = site.exchange(&claiming(), ok()).seen;
    assert!(!seen.mentions("1.2.3.4") && !seen.mentions("evil") && !seen.mentions("gopher"), "{seen:?}");
    assert_eq!(seen.all("X-Forwarded-For"), ["127.0.0.1"]);
    for name in ["X-Forwarded-Port", "X-Real-IP", "Forwarded"] {
        assert!(!seen.has(name), "{name}");
    }
}

#[test]
fn spellings_of_these_claims_are_claims_too() {
    // HI10, HI1: a backend that folds reads `X_Forwarded_For` as ours
    let site = Site::new("");
    for name in ["X_Forwarded_For", "x_forwarded-proto", "X_Real_IP", "X.Forwarded.Host"] {
        let seen = site.exchange(&get("/").with(name, "SPOOF"), ok()).seen;
        assert!(!seen.mentions("SPOOF"), "{name}: {seen:?}");
    }
}

#[test]
fn a_listed_proxy_is_believed() {
    // HI10
    let site = Site::new("[server]\nthreads = 2\ntrusted_proxies = [\"127.0.0.0/8\"]\n");
    let seen = site.exchange(&claiming(), ok()).seen;
    assert_eq!(seen.all("X-Forwarded-For").join(", "), "1.2.3.4, 127.0.0.1");
    assert_eq!(seen.get("X-Forwarded-Proto").as_deref(), Some("gopher"));
    assert_eq!(seen.get("X-Forwarded-Host").as_deref(), Some("evil.example"));
    assert!(seen.has("Forwarded"));
    let other = Site::new("[server]\nthreads = 2\ntrusted_proxies = [\"10.0.0.0/8\"]\n");
    assert!(!other.exchange(&claiming(), ok()).seen.mentions("1.2.3.4"));
}

#[test]
fn a_chain_of_proxies_is_kept_whole() {
    // HI10: proxies that add a line of their own (HAProxy does) must not lose to what the client has sent
    let site = Site::new("[server]\nthreads = 2\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let request = get("/").with("X-Forwarded-For", "1.2.3.4").with("X-Forwarded-For", "5.6.7.8, 9.9.9.9");
    let seen = site.exchange(&request, ok()).seen;
    assert_eq!(seen.all("X-Forwarded-For").join(", "), "1.2.3.4, 5.6.7.8, 9.9.9.9, 127.0.0.1");
}
