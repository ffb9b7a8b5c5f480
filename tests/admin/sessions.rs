//! What is listed, shown and ended, on one proxy.

use crate::servers;
use crate::support::Site;
use crate::support::operator::HEARD;
use crate::support::upstream::ok;

/// Policies over each kind of store; the server lasts as long as the value.
fn on_each_store(check: impl Fn(&str, &Site)) {
    let redis = servers::redis::Server::start();
    for (name, store) in [
        ("memory", "store = \"memory\"".to_owned()),
        ("disk", "store = \"disk\"".to_owned()),
        (
            "redis",
            format!("store = \"far\"\n[stores.far]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:{}\"", redis.port),
        ),
    ] {
        check(name, &Site::new(&with_key(&store)));
    }
}

fn with_key(store: &str) -> String {
    let key = "[[keys]]\nid = \"k\"\nsecret = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\"\n";
    format!("{HEARD}{key}[sessions.main]\n{store}\n")
}

#[test]
fn sessions_are_listed_by_reference_and_never_by_what_they_hold() {
    on_each_store(|store, site| {
        let (mut ada, mut guest) = (site.browser(), site.browser());
        ada.visit(ok().say("Login", "ada@example.org").say("Set", "cart=hunter2"));
        guest.visit(ok().say("Set", "theme=dark"));
        let (hers, his) = (ada.look().told("Ref"), guest.look().told("Ref"));
        let operator = site.operator();
        let mut both = vec![hers.clone(), his.clone()];
        both.sort();
        assert_eq!(operator.references(&[]), both, "{store}");
        assert_eq!(operator.references(&["--session", "main"]), both, "{store}");
        assert_eq!(operator.references(&["--user", "ada@example.org"]), [hers.as_str()], "{store}");
        assert!(operator.references(&["--user", "bob"]).is_empty(), "{store}");
        assert_eq!(operator.references(&["--limit", "1"]).len(), 1, "{store}");
        let list = operator.says(&["sessions", "list", "--user", "ada@example.org"]);
        let (head, row) = list.split_once('\n').unwrap();
        assert_eq!(head, "reference         policy                began   ends in   bytes");
        assert!(row.starts_with(&format!("{hers}  main    logged in  ")), "{row}");
        let text = operator.says(&["sessions", "show", &hers]);
        assert!(
            text.starts_with(&format!("reference  {hers}\npolicy     main\nvisitor    logged in\nbegan      ")),
            "{text}"
        );
        let keys = if store == "memory" { "cart (7 bytes)" } else { "sealed: only the visitor's cookie opens them" };
        assert!(text.ends_with(&format!("keys       {keys}\n")), "{text}");
        let shown = operator.tells(&["sessions", "show", &hers]);
        assert_eq!((&shown["reference"], &shown["policy"]), (&hers.as_str().into(), &"main".into()), "{store}");
        assert_eq!((&shown["logged_in"], &shown["ends"]), (&true.into(), &shown["ends"]));
        assert!((1..=1800).contains(&shown["ends"].as_u64().unwrap()), "{store}: {shown}");
        // What the store may read tells the names of its keys; a sealed record tells nothing.
        let keys = shown["keys"].clone();
        let expected = serde_json::json!([{ "name": "cart", "bytes": 7 }]);
        assert_eq!(keys, if store == "memory" { expected } else { serde_json::Value::Null }, "{store}");
        let everything =
            format!("{}{}{shown}", operator.says(&["sessions", "list"]), operator.says(&["sessions", "show", &hers]));
        let ticket = ada.jar.value("__Host-session").or(ada.jar.value("session")).unwrap_or_else(|| ada.cookie());
        for secret in ["hunter2", "ada@example.org", ticket.as_str()] {
            assert!(!everything.contains(secret), "{store}: {everything}"); // LG1
        }
        assert!(!site.proxy.has_logged("ada@example.org"), "{store}");
    });
}

#[test]
fn one_session_ends_and_no_other() {
    // L8, SL6
    on_each_store(|store, site| {
        let (mut ada, mut bob) = (site.browser(), site.browser());
        ada.visit(ok().say("Login", "ada"));
        bob.visit(ok().say("Login", "bob"));
        let (hers, his) = (ada.look().told("Ref"), bob.look().told("Ref"));
        let said = site.operator().says(&["sessions", "revoke", &hers]);
        assert_eq!(said, format!("session {hers} of `main` has ended\n"), "{store}");
        assert_eq!((ada.look().told("State"), bob.look().told("State")), ("expired".into(), "live".into()), "{store}");
        assert_eq!(site.operator().references(&[]), [his], "{store}");
        let again = site.operator().call(&["sessions", "revoke", &hers]);
        assert_eq!(
            (again.code, again.err),
            (1, format!("error: there is no session `{hers}`, or it has ended already\n"))
        );
        assert!(site.proxy.has_logged("the operator has ended a session"), "{store}");
    });
}

#[test]
fn all_sessions_of_a_user_end_and_no_others() {
    on_each_store(|store, site| {
        let (mut desk, mut phone, mut bob) = (site.browser(), site.browser(), site.browser());
        desk.visit(ok().say("Login", "ada"));
        phone.visit(ok().say("Login", "ada"));
        bob.visit(ok().say("Login", "bob"));
        let said = site.operator().says(&["sessions", "revoke", "--user", "ada"]);
        assert_eq!(said, "every session of the user in `main` has ended\n", "{store}");
        let states = [desk.look(), phone.look(), bob.look()].map(|seen| seen.told("State"));
        assert_eq!(states, ["expired", "expired", "live"], "{store}");
        desk.visit(ok().say("Login", "ada"));
        assert_eq!(desk.look().told("State"), "live", "{store}: he may come back");
        assert!(!site.proxy.has_logged("\"ada\""), "{store}"); // LG1
    });
}

#[test]
fn all_sessions_of_a_policy_end_at_once_and_new_ones_begin() {
    // SL6, SL8
    on_each_store(|store, site| {
        let (mut ada, mut guest) = (site.browser(), site.browser());
        ada.visit(ok().say("Login", "ada"));
        guest.visit(ok().say("Set", "a=1"));
        let said = site.operator().says(&["sessions", "revoke", "--session", "main"]);
        assert_eq!(said, "every session of `main` that had begun has ended\n", "{store}");
        assert!(site.operator().references(&[]).is_empty(), "{store}");
        assert_eq!([ada.look(), guest.look()].map(|seen| seen.told("State")), ["expired", "expired"], "{store}");
        ada.visit(ok().say("Login", "ada"));
        assert_eq!(ada.look().told("State"), "live", "{store}");
        let none = site.operator().call(&["sessions", "revoke", "--session", "nobody"]);
        assert_eq!((none.code, none.err.contains("there are `main`")), (1, true), "{none:?}");
    });
}

#[test]
fn what_was_ended_stays_ended_over_a_restart() {
    let config = with_key("store = \"disk\"");
    let site = Site::new(&config);
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    // Not even the visitor has come in between, who would have met the end.
    site.operator().says(&["sessions", "revoke", "--all"]);
    site.proxy.kill();
    site.restart(&config);
    assert_eq!(ada.look().told("State"), "expired");
    assert!(site.operator().references(&[]).is_empty());
}

#[test]
fn policies_that_share_a_store_are_told_apart() {
    let one = |name: &str, prefix: &str| {
        format!("[sessions.{name}]\nstore = \"disk\"\ncookie.name = \"{name}\"\nheaders.prefix = \"{prefix}\"\n")
    };
    let routes = "[[routes]]\nupstream = \"app\"\nsessions = [\"main\", \"basket\"]\n";
    let site = Site::new(&format!("{HEARD}{}{}{routes}", one("main", "X-Session-"), one("basket", "X-Basket-")));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1").with("X-Basket-Set", "b=2"));
    let seen = ada.look();
    let (main, basket) = (seen.told("Ref"), seen.get("X-Basket-Ref").unwrap());
    assert_eq!(site.operator().references(&["--session", "main"]), [main.as_str()]);
    assert_eq!(site.operator().references(&["--session", "basket"]), [basket.as_str()]);
    assert_eq!(site.operator().references(&[]).len(), 2);
    assert_eq!(site.operator().tells(&["sessions", "show", &basket])["policy"], "basket");
    site.operator().says(&["sessions", "revoke", "--session", "basket"]);
    let seen = ada.look();
    assert_eq!((seen.told("State"), seen.get("X-Basket-State")), ("live".into(), Some("expired".into())));
}

#[test]
fn sessions_that_browsers_keep_end_where_a_store_remembers_it() {
    let config = |more: &str| with_key(&format!("store = \"cookie\"\n{more}"));
    let site = Site::new(&config("revocation = \"disk\""));
    let (mut ada, mut bob, mut eve) = (site.browser(), site.browser(), site.browser());
    ada.visit(ok().say("Login", "ada"));
    bob.visit(ok().say("Login", "bob"));
    eve.visit(ok().say("Login", "eve"));
    let operator = site.operator();
    let listed = operator.call(&["sessions", "list"]);
    assert_eq!((listed.code, listed.err.contains("its sessions cannot be listed one by one")), (1, true), "{listed:?}");
    let said = operator.says(&["sessions", "revoke", &ada.look().told("Ref")]);
    assert!(said.contains("has ended, if it was one of `main`: those cannot be searched"), "{said}");
    operator.says(&["sessions", "revoke", "--user", "bob"]);
    assert_eq!([ada.look(), bob.look(), eve.look()].map(|seen| seen.told("State")), ["expired", "expired", "live"]);
    operator.says(&["sessions", "revoke", "--all"]);
    assert_eq!(eve.look().told("State"), "expired");
    eve.visit(ok().say("Login", "eve"));
    assert_eq!(eve.look().told("State"), "live");

    let site = Site::new(&config(""));
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    for which in [&["--all"][..], &["--user", "ada"], &["--session", "main"]] {
        let ending = site.operator().call(&[&["sessions", "revoke"], which].concat());
        assert_eq!((ending.code, ending.err.contains("`main` are out of reach")), (1, true), "{ending:?}");
    }
    assert_eq!(ada.look().told("State"), "live", "nothing was promised that did not take place");
}

#[test]
fn a_store_that_cannot_be_walked_finds_users_and_ends_references_unseen() {
    let memcached = servers::memcached::Memcached::on_port(&[]);
    let store = format!("store = \"far\"\n[stores.far]\ntype = \"memcached\"\nservers = [\"{}\"]", memcached.name());
    let site = Site::new(&with_key(&store));
    let (mut ada, mut bob, mut eve) = (site.browser(), site.browser(), site.browser());
    ada.visit(ok().say("Login", "ada"));
    bob.visit(ok().say("Login", "bob"));
    eve.visit(ok().say("Login", "eve"));
    let hers = ada.look().told("Ref");
    assert_eq!(site.operator().references(&["--user", "ada"]), [hers.as_str()]);
    assert_eq!(site.operator().call(&["sessions", "list"]).code, 1);
    site.operator().says(&["sessions", "revoke", &hers]);
    site.operator().says(&["sessions", "revoke", "--user", "bob"]);
    assert_eq!([ada.look(), bob.look(), eve.look()].map(|seen| seen.told("State")), ["expired", "expired", "live"]);
    site.operator().says(&["sessions", "revoke", "--all"]);
    assert_eq!(eve.look().told("State"), "expired");
}

#[test]
fn a_seat_is_free_again_when_its_session_was_ended() {
    let cap = "store = \"memory\"\nmax_sessions_per_owner = 1\nwhen_full = \"reject\"";
    let site = Site::new(&with_key(cap));
    for which in [&["--all"][..], &["--user", "ada"]] {
        let mut ada = site.browser();
        assert_eq!(ada.visit(ok().say("Login", "ada")).got.status(), 200, "{which:?}");
        assert_eq!(site.browser().visit(ok().say("Login", "ada")).got.status(), 502);
        site.operator().says(&[&["sessions", "revoke"], which].concat());
    }
    let mut ada = site.browser();
    assert_eq!(ada.visit(ok().say("Login", "ada")).got.status(), 200);
    site.operator().says(&["sessions", "revoke", &ada.look().told("Ref")]);
    assert_eq!(ada.visit(ok().say("Login", "ada")).got.status(), 200);
}
