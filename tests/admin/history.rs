//! "Who logged this user out?", asked at the machine.

use crate::servers;
use crate::support::Site;
use crate::support::client::get;
use crate::support::operator::HEARD;
use crate::support::upstream::ok;
use serde_json::Value as Json;
use std::fs;

const ROUTES: &str = "[[routes]]\nname = \"login\"\npath = \"/login\"\nupstream = \"app\"\nsessions = [\"main\"]\n\
    [[routes]]\nname = \"account\"\npath = \"/account\"\nupstream = \"app\"\nsessions = [\"main\"]\n\
    [[routes]]\nname = \"shop\"\nupstream = \"app\"\nsessions = [\"main\"]\n";

const KEY: &str =
    "[[keys]]\nid = \"k\"\nsecret = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\"\n";

fn config(policy: &str) -> String {
    format!("{HEARD}{KEY}{ROUTES}[sessions.main]\n{policy}\n")
}

/// A site over each kind of store, with these settings of its policy.
fn on_each_store(settings: &str, check: impl Fn(&str, &Site)) {
    let redis = servers::redis::Server::start();
    let far = format!("[stores.far]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:{}\"", redis.port);
    for store in ["memory", "disk", "far"] {
        let more = if store == "far" { far.as_str() } else { "" };
        check(store, &Site::new(&config(&format!("store = \"{store}\"\n{settings}\n{more}"))));
    }
}

/// The items of a list.
fn items(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().expect("a list").iter()
}

/// What became of the session of a reference.
fn outcome(told: &Json, reference: &str) -> Json {
    let session = items(&told["sessions"]).find(|session| session["reference"] == reference);
    session.unwrap_or_else(|| panic!("{told}"))["outcome"].clone()
}

/// What happened, as `login began Login`.
fn happened(told: &Json) -> Vec<String> {
    let text = |json: &Json| json.as_str().unwrap_or("-").to_owned();
    let verbs = |json: &Json| items(json).map(text).collect::<Vec<_>>().join("+");
    let row = |row: &Json| format!("{} {} {}", text(&row["route"]), text(&row["what"]), verbs(&row["verbs"]));
    items(&told["happened"]).map(|each| row(each).trim_end().to_owned()).collect()
}

#[test]
fn the_page_that_logged_a_user_out_on_another_device_is_named() {
    on_each_store("history = 20", |store, site| {
        let (mut phone, mut desk) = (site.browser(), site.browser());
        phone.ask(&get("/login"), ok().say("Login", "ada@example.org").say("Set", "cart=hunter2"));
        desk.ask(&get("/login"), ok().say("Login", "ada@example.org"));
        phone.visit(ok().say("Set", "basket=swordfish"));
        let (lost, author) = (phone.look().told("Ref"), desk.look().told("Ref"));
        desk.ask(&get("/account"), ok().say("Destroy", "all"));
        assert_eq!(phone.look().told("State"), "expired", "{store}");

        let operator = site.operator();
        let told = operator.tells(&["sessions", "history", &lost]);
        let expected = ["login began Set+Login", "shop changed Set", "account ended Destroy: all"];
        assert_eq!(happened(&told), expected, "{store}");
        let end = outcome(&told, &lost);
        assert_eq!(
            (&end["kind"], &end["by"]["by"], &end["by"]["route"]),
            (&"ended".into(), &author.as_str().into(), &"account".into())
        );
        let told = operator.tells(&["sessions", "history", "--user", "ada@example.org", "--session", "main"]);
        assert_eq!(
            (happened(&told).len(), outcome(&told, &author)["by"]["by"].clone()),
            (4, author.as_str().into()),
            "{store}"
        );

        let said = operator.says(&["sessions", "history", &lost]);
        let line = said.lines().last().unwrap();
        assert!(line.starts_with(&format!("{lost}  ended 20")), "{said}");
        assert!(line.ends_with(&format!(" by a page of session {author} on route `account`: Destroy: all")), "{said}");
        assert!(said.contains("shop     changed: Set (basket)"), "{said}");

        // LG1: no value anywhere, no name of a user in what is said, no name of a key in what is sealed.
        let all = format!("{said}{told}");
        let logged = site.proxy.log().join("\n");
        for secret in ["hunter2", "swordfish", "ada@example.org"] {
            assert!(!all.contains(secret) && !logged.contains(secret), "{store}: {secret}");
        }
        if store == "disk" {
            for file in ["sessions.db", "sessions.db-wal"] {
                let bytes = fs::read(site.proxy.path("state").join(file)).unwrap_or_default();
                for word in ["hunter2", "swordfish", "ada@example", "basket", "account"] {
                    assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word} in {file}");
                }
            }
        }
    });
}

#[test]
fn the_end_of_what_was_emptied_or_came_from_elsewhere_is_told() {
    // L10, SL14
    on_each_store("history = 20\nbinding.user_agent = \"end\"", |store, site| {
        let (mut guest, mut ada) = (site.browser(), site.browser());
        guest.visit(ok().say("Set", "cart=1"));
        let emptied = guest.look().told("Ref");
        guest.visit(ok().say("Unset", "cart"));
        ada.ask(&get("/login"), ok().say("Login", "ada"));
        let stolen = ada.look().told("Ref");
        ada.ask(&get("/").with("User-Agent", "curl"), ok());
        assert_eq!(ada.look().told("State"), "none", "{store}");

        let operator = site.operator();
        let told = operator.tells(&["sessions", "history", &emptied]);
        assert_eq!(happened(&told), ["shop began Set", "shop ended Unset"], "{store}");
        let told = operator.tells(&["sessions", "history", &stolen]);
        assert_eq!(outcome(&told, &stolen)["by"]["what"], "ended, its visitor was another", "{store}: {told}");
        let said = operator.says(&["sessions", "history", &stolen]);
        assert!(said.trim_end().ends_with(": its visitor was another (`binding`)"), "{said}");
    });
}

#[test]
fn a_login_that_needed_room_is_told_from_an_end_by_the_operator() {
    on_each_store("history = 20\nmax_sessions_per_owner = 1", |store, site| {
        let (mut phone, mut desk) = (site.browser(), site.browser());
        phone.ask(&get("/login"), ok().say("Login", "ada"));
        let lost = phone.look().told("Ref");
        desk.ask(&get("/login"), ok().say("Login", "ada"));
        let author = desk.look().told("Ref");
        let operator = site.operator();
        let end = outcome(&operator.tells(&["sessions", "history", &lost]), &lost);
        assert_eq!(
            (&end["by"]["by"], &end["by"]["what"], &end["by"]["ended"]),
            (&author.as_str().into(), &"logged in".into(), &1.into()),
            "{store}"
        );

        assert_eq!(outcome(&operator.tells(&["sessions", "history", &author]), &author)["kind"], "lives", "{store}");
        operator.says(&["sessions", "revoke", &author]);
        let said = operator.says(&["sessions", "history", &author]);
        assert!(said.contains("revoked by the operator") && said.trim_end().ends_with(" by the operator"), "{said}");

        desk.ask(&get("/login"), ok().say("Login", "ada"));
        let third = desk.look().told("Ref");
        operator.says(&["sessions", "revoke", "--user", "ada"]);
        let told = operator.tells(&["sessions", "history", &third]);
        let end = outcome(&told, &third);
        assert_eq!((&end["by"]["what"], &end["by"]["by"]), (&"revoked".into(), &Json::Null), "{store}: {told}");

        desk.ask(&get("/login"), ok().say("Login", "ada"));
        let fourth = desk.look().told("Ref");
        operator.says(&["sessions", "revoke", "--all"]);
        let said = operator.says(&["sessions", "history", &fourth]);
        assert!(said.contains("ended by the operator, with all that began before 20"), "{said}");
    });
}

#[test]
fn a_history_outlives_a_restart_on_a_disk() {
    let config = config("store = \"disk\"\nhistory = 20");
    let site = Site::new(&config);
    let mut ada = site.browser();
    ada.ask(&get("/login"), ok().say("Login", "ada"));
    let hers = ada.look().told("Ref");
    ada.ask(&get("/account"), ok().say("Destroy", "1"));
    site.restart(&config);
    let said = site.operator().says(&["sessions", "history", &hers]);
    assert!(said.trim_end().ends_with(" by a page of its own on route `account`: Destroy"), "{said}");
}

#[test]
fn a_page_that_was_withheld_is_told_with_the_reason() {
    for (deliver, status) in [("", 502), ("on_refused = \"deliver\"\n", 200)] {
        let site = Site::new(&config(&format!("store = \"memory\"\nhistory = 20\n{deliver}")));
        let mut ada = site.browser();
        ada.ask(&get("/login"), ok().say("Login", "ada").say("Set", "word=tea"));
        let hers = ada.look().told("Ref");
        // One that cannot be read, and one that cannot be applied.
        assert_eq!(ada.visit(ok().say("Add", "word=many")).got.status(), status);
        assert_eq!(ada.visit(ok().say("Add", "word=1")).got.status(), status);
        let told = site.operator().tells(&["sessions", "history", &hers]);
        assert_eq!(happened(&told), ["login began Set+Login", "shop refused", "shop refused Add"]);
        assert_eq!(told["happened"][2]["reason"], "type");
        assert_eq!(told["happened"][2]["keys"], serde_json::json!(["word"]));
        assert_eq!(outcome(&told, &hers)["kind"], "lives");
    }
}

#[test]
fn nothing_is_told_where_nothing_is_kept() {
    let site = Site::new(&config("store = \"memory\""));
    let mut ada = site.browser();
    ada.ask(&get("/login"), ok().say("Login", "ada"));
    let hers = ada.look().told("Ref");
    let asked = site.operator().call(&["sessions", "history", &hers]);
    assert_eq!(asked.code, 1);
    assert!(asked.err.contains("no history is kept of its sessions: say how much with `history`"), "{asked:?}");

    let site = Site::new(&config("store = \"memory\"\nhistory = 20"));
    for which in [&["AAAAAAAAAAAAAAAA"][..], &["--user", "nobody"]] {
        let asked = site.operator().call(&[&["sessions", "history"], which].concat());
        assert_eq!((asked.code, asked.err.contains("nothing is known")), (1, true), "{asked:?}");
    }
    for which in [&["not-a-reference"][..], &["AAAAAAAAAAAAAAAA", "--session", "other"]] {
        assert_eq!(site.operator().call(&[&["sessions", "history"], which].concat()).code, 1);
    }
    assert_eq!(site.operator().call(&["sessions", "history"]).code, 2, "one of the two is needed");
}

#[test]
fn a_store_that_cannot_be_walked_keeps_histories_too() {
    let memcached = servers::memcached::Memcached::on_port(&[]);
    let store = format!(
        "store = \"far\"\nhistory = 20\n[stores.far]\ntype = \"memcached\"\nservers = [\"{}\"]",
        memcached.name()
    );
    let site = Site::new(&config(&store));
    let (mut phone, mut desk) = (site.browser(), site.browser());
    phone.ask(&get("/login"), ok().say("Login", "ada"));
    desk.ask(&get("/login"), ok().say("Login", "ada"));
    let (lost, author) = (phone.look().told("Ref"), desk.look().told("Ref"));
    desk.ask(&get("/account"), ok().say("Destroy", "others"));
    let end = outcome(&site.operator().tells(&["sessions", "history", &lost]), &lost);
    assert_eq!(end["by"]["by"], author.as_str());
    let told = site.operator().tells(&["sessions", "history", "--user", "ada"]);
    assert!(happened(&told).contains(&"account ended others Destroy: others".to_owned()), "{told}");
}
