//! C: what the five libraries are configured with.

use crate::backends::BACKENDS;
use crate::page::page;
use crate::place::{World, everywhere, policy, problems, resolved};
use crate::support::client::{Jar, SetCookie};
use cloakroom::manager::Keep;
use redis::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const DAY: u64 = 86_400;

fn key(secret: &str) -> String {
    format!("[[keys]]\nid = \"k\"\nsecret = \"{secret}\"\n")
}

// C1
#[test]
fn cookies_are_signed_whether_the_operator_names_a_key_or_not() {
    assert!(problems(&key("c2hvcnQ=")).contains("expected 32"));
    assert!(resolved("").keys.is_empty(), "without one the server makes its own");
    everywhere(|place| {
        let ada = place.visitor_who_set("a", "1");
        let ticket = ada.ticket();
        let (head, tail) = ticket.split_at(60);
        let forged = format!("{head}{}", tail.chars().rev().collect::<String>());
        let jar = Jar(vec![(place.cookie_name(), forged)]);
        assert_eq!(place.visitor_with(&jar).look().state, "invalid");
    });
}

// C2
#[test]
fn the_cookie_has_the_name_that_the_operator_gives_it() {
    assert_eq!(resolved("").policies[0].options.cookie.name().as_str(), "__Host-session");
    policy("cookie.name = \"__Host-tipfy-@\"").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        let cookie = ada.visit(&page().set("a", "1")).cookie();
        assert_eq!(cookie.name, format!("__Host-tipfy-{}", place.store));
        assert_eq!(ada.look().key("a"), Some("1"));
    });
}

// C3
#[test]
fn a_policy_names_its_store_and_the_disk_is_the_default() {
    let bare = resolved("[sessions.main]\n");
    assert!(matches!(&bare.policies[0].options.keep, Keep::Store(name) if name == "disk"));
    let world = World::of(policy(""));
    world.each(|place| {
        let before = world.in_redis().len();
        place.visitor_who_set("a", "1");
        assert_eq!(world.in_redis().len() - before, usize::from(place.store == "redis"));
    });
}

// C4
#[test]
fn a_store_is_one_of_a_few_kinds_and_none_is_loaded_by_its_name() {
    let told = problems("[stores.own]\ntype = \"myapp.sessions:DbmStore\"\n");
    for kind in ["memory", "disk", "redis", "memcached", "postgres", "cookie"] {
        assert!(told.contains(kind), "{told}");
    }
}

// C5
#[test]
fn every_cookie_of_a_policy_has_the_arguments_of_its_table() {
    let lines = "cookie.path = \"/shop\"\ncookie.same_site = \"strict\"\ncookie.http_only = false\n\
                 cookie.domain = \"example.org\"\n";
    policy(lines).in_cookies_too().everywhere(|place| {
        let cookie = place.visitor().visit(&page().set("a", "1")).cookie();
        assert_eq!(cookie.attributes, ["Domain=example.org", "Path=/shop", "SameSite=Strict", "Secure"]);
    });
}

// C6
#[test]
fn a_page_chooses_the_cookie_arguments_of_its_visitor_within_the_operators_list() {
    let lines = "cookie.allow_paths = [\"/shop\"]\ncookie.allow_domains = [\"example.org\"]";
    policy(lines).in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        let given = ada.visit(&page().set("a", "1").say("Cookie", "path=/shop&domain=example.org")).cookie();
        assert_eq!((given.attribute("Path"), given.attribute("Domain")), (Some("/shop"), Some("example.org")));
        for beyond in ["path=/other", "domain=org", "domain=evil.example"] {
            assert_eq!(ada.visit(&page().set("a", "2").say("Cookie", beyond)).got.status(), 502, "{beyond}");
        }
        assert_eq!(ada.look().key("a"), Some("1"));
    });
}

// C7
#[test]
fn max_age_is_the_life_of_the_cookie_in_the_browser() {
    let none = place_cookie("", &[]);
    assert_eq!((none.attribute("Max-Age"), none.attribute("Expires")), (None, None), "it ends with the browser");
    policy("absolute_timeout = \"60d\"\nidle_timeout = \"60d\"\ncookie.max_age = \"30d\"").in_cookies_too().everywhere(
        |place| {
            let mut ada = place.visitor();
            let cookie = ada.visit(&page().set("a", "1")).cookie();
            assert_eq!(cookie.attribute("Max-Age"), Some("2592000"));
            assert!(cookie.attribute("Expires").is_some(), "both: {cookie:?}");
            // What a browser has dropped is worth nothing to who has kept it.
            place.pass(30 * DAY + 1);
            assert_eq!(ada.look().state, "expired");
        },
    );
}

fn place_cookie(lines: &'static str, commands: &[(&str, &str)]) -> SetCookie {
    let world = World::of(policy(lines));
    let answer = commands.iter().fold(page().set("a", "1"), |answer, (verb, value)| answer.say(verb, value));
    world.place("php", "memory").visitor().visit(&answer).cookie()
}

// C8
#[test]
fn the_contents_have_a_life_apart_from_that_of_the_cookie() {
    policy("absolute_timeout = \"1h\"\nidle_timeout = \"1h\"\ncookie.persistent = true").in_cookies_too().everywhere(
        |place| {
            let mut ada = place.visitor_who_set("a", "1");
            let kept = ada.jar.clone();
            for _ in 0..3 {
                place.pass(1190);
                assert_eq!(ada.visit(&page().add("n", 1)).saw().state, "live");
            }
            place.pass(31);
            assert_eq!(place.visitor_with(&kept).look().state, "expired", "whatever the browser does");
            assert_eq!(ada.look().state, "expired", "however active");
        },
    );
}

// C9
#[test]
fn a_cookie_ends_with_the_browser_or_lives_for_seconds_or_as_long_as_browsers_keep_one() {
    let lines = "absolute_timeout = \"400d\"\nidle_timeout = \"400d\"";
    assert!(problems(&format!("[sessions.main]\n{lines}\ncookie.max_age = \"401d\"")).contains("400 days at most"));
    policy("absolute_timeout = \"400d\"\nidle_timeout = \"400d\"\ncookie.max_age = \"400d\"").everywhere(|place| {
        let mut ada = place.visitor();
        assert_eq!(ada.visit(&page().set("a", "1")).cookie().attribute("Max-Age"), Some("34560000"));
        let with_the_browser = ada.visit(&page().say("Expire", "persist=0")).cookie();
        assert_eq!((with_the_browser.attribute("Max-Age"), with_the_browser.attribute("Expires")), (None, None));
    });
}

// C10
#[test]
fn the_cookie_is_for_this_host_alone_unless_a_domain_is_set() {
    assert_eq!(place_cookie("", &[]).attribute("Domain"), None);
    assert_eq!(place_cookie("cookie.domain = \"example.org\"", &[]).attribute("Domain"), Some("example.org"));
    everywhere(|place| {
        assert_eq!(place.visitor().visit(&page().set("a", "1")).cookie().attribute("Domain"), None);
    });
}

// C11
#[test]
fn the_cookies_path_is_the_root_unless_one_is_set() {
    assert_eq!(place_cookie("cookie.path = \"/shop\"", &[]).attribute("Path"), Some("/shop"));
    everywhere(|place| {
        assert_eq!(place.visitor().visit(&page().set("a", "1")).cookie().attribute("Path"), Some("/"));
    });
}

// C12
#[test]
fn the_cookie_is_secure_where_visitors_come_over_tls() {
    let options = |file: &str| resolved(file).policies[0].options.cookie.options().clone();
    assert!(options("").secure);
    assert!(!options("[listeners.web]\naddress = \"@web\"\n").secure);
    everywhere(|place| {
        let cookie = place.visitor().visit(&page().set("a", "1")).cookie();
        assert!(cookie.attributes.contains(&"Secure".to_owned()), "{cookie:?}");
    });
}

// C13
#[test]
fn scripts_cannot_read_the_cookie_unless_they_shall() {
    let open = place_cookie("cookie.http_only = false", &[]);
    assert!(!open.attributes.contains(&"HttpOnly".to_owned()));
    everywhere(|place| {
        let cookie = place.visitor().visit(&page().set("a", "1")).cookie();
        assert!(cookie.attributes.contains(&"HttpOnly".to_owned()), "{cookie:?}");
    });
}

// C14
#[test]
fn same_site_is_always_sent_and_none_needs_secure() {
    let told = problems(
        "[listeners.web]\naddress = \"@web\"\n[sessions.main]\nstore = \"memory\"\ncookie.same_site = \"none\"\n",
    );
    assert!(told.contains("`SameSite=None` needs Secure"), "{told}");
    assert_eq!(place_cookie("cookie.same_site = \"strict\"", &[]).attribute("SameSite"), Some("Strict"));
    assert_eq!(place_cookie("cookie.same_site = \"none\"", &[]).attribute("SameSite"), Some("None"));
    everywhere(|place| {
        assert_eq!(place.visitor().visit(&page().set("a", "1")).cookie().attribute("SameSite"), Some("Lax"));
    });
}

// C15
#[test]
fn the_cookie_can_be_sent_with_every_answer_although_nothing_changed() {
    policy("cookie.max_age = \"10h\"\ncookie.renew_after = \"0s\"").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        for _ in 0..3 {
            place.pass(60);
            assert_eq!(ada.visit(&page()).cookie().attribute("Max-Age"), Some("36000"));
        }
    });
}

// C16
#[test]
fn a_session_ends_after_its_idle_time_and_use_extends_it() {
    policy("idle_timeout = \"10m\"").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        for _ in 0..4 {
            place.pass(540);
            assert_eq!(ada.look().state, "live");
        }
        place.pass(601);
        assert_eq!(ada.look().state, "expired");
    });
}

// C17
#[test]
fn use_is_written_down_at_intervals_or_never() {
    let told = problems("[sessions.main]\nidle_timeout = \"1m\"\ntouch_interval = \"2m\"\n");
    assert!(told.contains("before it is written down"), "it would log people out: {told}");
    // Where a route does not extend the session, its idle time counts from elsewhere.
    policy("idle_timeout = \"10m\"").route("touch = false").everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        place.pass(540);
        assert_eq!(ada.look().state, "live");
        place.pass(61);
        assert_eq!(ada.look().state, "expired");
    });
}

// C18
#[test]
fn what_a_page_changes_is_saved_without_a_call_to_save() {
    policy("").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().set("a", "1").status(404));
        ada.visit(&page().set("b", "2").status(303).header("X-Other", "1"));
        let saw = ada.look();
        assert_eq!((saw.key("a"), saw.key("b")), (Some("1"), Some("2")));
    });
}

// C21
#[test]
fn a_corrupt_cookie_is_no_session_and_is_removed_once() {
    policy("").in_cookies_too().everywhere(|place| {
        let jar = Jar(vec![(place.cookie_name(), "%00garbage\"}".into())]);
        let mut ada = place.visitor_with(&jar);
        let visit = ada.visit(&page());
        assert_eq!((visit.got.status(), visit.saw().state.as_str()), (200, "invalid"));
        assert_eq!(visit.cookie().attribute("Max-Age"), Some("0"));
        let next = ada.visit(&page());
        assert_eq!(next.sets_no_cookie().saw().state, "none");
    });
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

// C22
#[test]
fn sessions_lie_in_a_directory_that_nobody_else_can_enter() {
    let world = World::of(policy(""));
    world.each(|place| drop(place.visitor_who_set("a", "1")));
    assert_eq!(mode(&world.state_dir()), 0o700);
}

// C31
#[test]
fn the_file_of_a_store_has_the_name_that_the_operator_gives_it() {
    let world = World::of(policy("").once("[stores.disk]\ntype = \"disk\"\npath = \"tipfy.db\"\n"));
    world.each(|place| drop(place.visitor_who_set("a", "1")));
    assert!(world.state_dir().join("tipfy.db").is_file());
}

// C32
#[test]
fn what_is_stored_on_disk_is_for_its_owner_alone() {
    let world = World::of(policy(""));
    world.each(|place| drop(place.visitor_who_set("a", "1")));
    let files: Vec<_> = fs::read_dir(world.state_dir()).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 1, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

// C23
#[test]
fn there_is_no_directory_of_locks_to_configure() {
    for setting in ["lock_dir = \"/tmp/locks\"", "data_dir = \"/tmp\""] {
        assert!(problems(&format!("[sessions.main]\n{setting}\n")).contains("unknown"), "{setting}");
    }
    let world = World::of(policy(""));
    world.each(|place| {
        let mut ada = place.visitor();
        assert_eq!(ada.visit(&page().add("n", 1)).got.status(), 200);
    });
}

// C24
#[test]
fn one_url_says_where_a_store_is() {
    let told =
        problems("[stores.far]\ntype = \"redis\"\nurl = \"http://127.0.0.1\"\n[sessions.main]\nstore = \"far\"\n");
    assert!(told.contains("not redis, rediss or"), "{told}");
    let world = World::of(policy(""));
    for language in ["php", "perl", "python"] {
        world.place(language, "redis").visitor_who_set("a", "1");
    }
    assert_eq!(world.in_redis().len(), 3, "they lie on that server, under that prefix");
}

// C25
#[test]
fn a_store_is_told_when_a_session_ends() {
    let world = World::of(policy("idle_timeout = \"10m\""));
    for language in ["php", "perl", "python"] {
        world.place(language, "redis").visitor_who_set("a", "1");
    }
    for key in world.in_redis() {
        let Value::Int(left) = BACKENDS.redis.run(&["PTTL", &key]) else { panic!("no time to live") };
        // The session's own deadline and a minute.
        assert!((630_000..=660_000).contains(&left), "{left}");
    }
}

// C26
#[test]
fn nothing_that_looks_like_a_pickle_is_ever_read() {
    // A cookie of Werkzeug whose pickle calls a function.
    let pickle = "9s0VR9zlkeJXYHQ0dPiJRfCg6Ys=?a=Y3Bvc2l4CnN5c3RlbQooUydpZCcKdFIu";
    policy("").in_cookies_too().everywhere(|place| {
        for value in [pickle, "gASVHAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJpZJSFlFKULg"] {
            let jar = Jar(vec![(place.cookie_name(), value.into())]);
            assert_eq!(place.visitor_with(&jar).look().state, "invalid");
        }
        // As a value it is text.
        assert_eq!(place.visitor_who_set("a", pickle).look().key("a"), Some(pickle));
    });
}

// C27
#[test]
fn what_is_kept_can_be_read_by_nobody_else() {
    let world = World::of(policy("").in_cookies_too());
    let secret = "the quick brown fox";
    world.each(|place| {
        let ada = place.visitor_who_set("a", secret);
        let shown = ada.jar.line().unwrap();
        for spelled in [secret, "the%20quick", "dGhlIHF1aWNr", "aGUgcXVpY2", "ZSBxdWlja"] {
            assert!(!shown.contains(spelled), "{shown}");
        }
    });
    let has_secret = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    for key in world.in_redis() {
        let Value::BulkString(bytes) = BACKENDS.redis.run(&["GET", &key]) else { panic!("no value") };
        assert!(!has_secret(&bytes));
    }
    for file in fs::read_dir(world.state_dir()).unwrap() {
        assert!(!has_secret(&fs::read(file.unwrap().path()).unwrap()));
    }
}

// C28
#[test]
fn a_key_that_cannot_be_used_is_an_error_at_start_and_never_plain_text() {
    for (secret, reason) in [
        ("correct horse battery staple", "neither base64 nor hexadecimal"),
        (&"00".repeat(32), "not random"),
        (&"ab".repeat(16), "expected 32"),
    ] {
        let told = problems(&key(secret));
        assert!(told.contains(reason), "{told}");
        assert!(!told.contains(secret), "nor is it repeated: {told}");
    }
}

// C29
#[test]
fn the_digest_is_fixed_and_the_alphabet_that_of_urls() {
    for setting in ["hash_method = \"sha1\"", "quote_base64 = false"] {
        assert!(problems(&format!("[sessions.main]\n{setting}\n")).contains("unknown"), "{setting}");
    }
    everywhere(|place| {
        let ticket = place.visitor_who_set("a", "1").ticket();
        assert_eq!(ticket.len(), 68, "version, key, 32 bytes of id, 16 of HMAC-SHA-256");
        assert!(ticket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{ticket}");
    });
}

// C30
#[test]
fn the_headers_have_the_prefix_that_the_operator_gives_them() {
    policy("headers.prefix = \"X-Beaker-\"").in_cookies_too().everywhere(|place| {
        let mut ada = place.visitor();
        let began = ada.visit(&page().header("X-Beaker-Set", "a=1"));
        assert!(!began.got.text().to_lowercase().contains("x-beaker"), "{:?}", began.got);
        // What a client says under it is not believed, however it spells it.
        let asked = page().with("X-Beaker-User", "root").with("X_Beaker_Data", "a=2");
        let saw = ada.visit(&asked).saw().clone();
        assert_eq!(saw.field("X-Beaker-Data"), Some("a=1"));
        assert_eq!((saw.field("X-Beaker-State"), saw.field("X-Beaker-User")), (Some("live"), None));
    });
}

// C33
#[test]
fn an_id_that_is_missing_in_the_store_is_always_renewed() {
    assert!(problems("[sessions.main]\nrenew_missing = false\n").contains("unknown"));
    everywhere(|place| {
        let mut ada = place.visitor_who_set("a", "1");
        let old = ada.jar.clone();
        ada.visit(&page().destroy());
        let mut thief = place.visitor_with(&old);
        thief.visit(&page().set("b", "2"));
        assert_ne!(thief.jar.value(&place.cookie_name()), old.value(&place.cookie_name()));
        assert_eq!(place.visitor_with(&old).look().state, "expired", "the old id stays dead");
    });
}

// C34
#[test]
fn an_unknown_setting_is_an_error_with_its_place() {
    for (wrong, meant) in [("beaker.timeout", "idle_timeout"), ("idle_timeuot", "idle_timeout"), ("cookie.pth", "path")]
    {
        let told = problems(&format!("[sessions.main]\nstore = \"memory\"\n{wrong} = \"10m\"\n"));
        assert!(told.contains("rows.toml:3:"), "{told}");
        assert!(wrong.starts_with("beaker") || told.contains(meant), "{told}");
    }
}
