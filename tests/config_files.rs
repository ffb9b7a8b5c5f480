//! Files as operators meet them: what is shipped works, what is printed is exact, what is documented is true.

use cloakroom::clock::Timestamp;
use cloakroom::config::{Config, StoreOptions, Surroundings, defaults, parse_in, schema};
use cloakroom::manager::WhenFull;
use proptest::prelude::*;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::{Table, Value};

/// Noon on the first of June 2026.
const NOW: Timestamp = Timestamp::from_millis(1_780_315_200_000);

const KEY: &str = "9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca";

fn around(directory: &str) -> Surroundings {
    let env = |name: &str| match name {
        "ADDRESS" => Some(String::from("10.9.8.7")),
        "BACKEND" => Some(String::from("gopher://backend.internal")),
        "STORE" => Some(String::from("db")),
        "REDIS" => Some(String::from("redis://app:hunter2@10.0.0.9")),
        "VALKEY_PASSWORD" | "PG_PASSWORD" | "KEY" => Some(String::from("hunter2")),
        "GOOD_KEY" => Some(KEY.into()),
        "SECOND_KEY" => Some(KEY.replace('9', "7")),
        "CREDENTIALS_DIRECTORY" => Some(String::from("/nonexistent")),
        _ => None,
    };
    Surroundings { directory: PathBuf::from(directory), env: Box::new(env), now: NOW }
}

fn parse(text: &str, directory: &str) -> Config {
    parse_in(text, "test.toml", &around(directory)).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What there is to compare of two configurations: everything but the places of their warnings.
fn substance(text: &str) -> String {
    let mut config = parse(text, "tests/config");
    config.warnings.clear();
    // Whoever writes a default down asks for it; a server that cannot have it does not start then.
    config.admin.iter_mut().for_each(|admin| admin.is_wanted = true);
    format!("{config:#?}")
}

/// The reference with credentials that exist.
fn reference() -> Table {
    let text = defaults::REFERENCE
        .replace("${cred:tls-key}", "tls/site.key")
        .replace("${cred:session-key-2026-11}", "${env:GOOD_KEY}");
    text.parse().expect("the reference is TOML")
}

fn to_text(table: &Table) -> String {
    toml::to_string(table).expect("a table of TOML can be written")
}

#[test]
fn the_minimal_file_works() {
    let text = fs::read_to_string("conf/minimal.toml").unwrap();
    assert!(text.lines().count() <= 12, "it is called minimal");
    let config = parse(&text, "conf");
    let codes: Vec<_> = config.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["cookie::not_secure", "store::memory"]);
    assert_eq!(config.policies[0].options.cookie.name().as_str(), "session");
}

#[test]
fn the_reference_says_what_holds_without_a_setting() {
    let whole = reference();
    let expected = substance(&to_text(&whole));
    let settings = defaults::settings();
    assert!(settings.len() > 60, "only {} settings were found", settings.len());
    for setting in settings {
        let (last, table) = setting.path.split_last().unwrap();
        let mut shorter = whole.clone();
        let mut at = Value::Table(std::mem::take(&mut shorter));
        let owner = table.iter().fold(&mut at, |at, step| match step.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[step.as_str()],
        });
        assert!(owner.as_table_mut().unwrap().remove(last).is_some(), "{:?}", setting.path);
        let shorter = substance(&to_text(at.as_table().unwrap()));
        assert!(shorter == expected, "{} is not the default of {}", setting.value, setting.path.join("."));
    }
}

#[test]
fn the_reference_has_every_setting_there_is() {
    // Alternatives stand in comments: they are settings too.
    let is_setting = |line: &&str| {
        let name = line.split(" = ").next().unwrap_or_default();
        line.contains(" = ") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    let uncommented: Vec<&str> =
        defaults::REFERENCE.lines().map(|line| line.strip_prefix("# ").filter(is_setting).unwrap_or(line)).collect();
    let reference: Table = uncommented.join("\n").parse().expect("the reference is TOML with its alternatives, too");
    let mut shown = BTreeSet::new();
    collect_shown(&Value::Table(reference), &mut Vec::new(), &mut shown);
    let schema = schema();
    let mut known = BTreeSet::new();
    collect_known(&schema, &schema, &mut Vec::new(), &mut known);
    assert!(known.len() > 90, "only {} settings are known", known.len());
    let missing: Vec<_> = known.difference(&shown).collect();
    assert!(missing.is_empty(), "not in conf/reference.toml: {missing:#?}");
}

fn collect_shown(value: &Value, path: &mut Vec<String>, shown: &mut BTreeSet<String>) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                path.push(name.clone());
                shown.insert(defaults::pattern(path).join("."));
                collect_shown(value, path, shown);
                path.pop();
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_shown(item, path, shown)),
        _ => {}
    }
}

fn collect_known(root: &Json, node: &Json, path: &mut Vec<String>, known: &mut BTreeSet<String>) {
    if let Some(target) = node.get("$ref").and_then(Json::as_str) {
        collect_known(root, root.pointer(target.trim_start_matches('#')).expect(target), path, known);
    }
    for inner in node.get("anyOf").and_then(Json::as_array).into_iter().flatten().chain(node.get("items")) {
        collect_known(root, inner, path, known);
    }
    let is_section = matches!(path.as_slice(), [section] if ["listeners", "upstreams", "stores", "sessions"].contains(&section.as_str()));
    if let Some(inner) = node.get("additionalProperties").filter(|_| is_section) {
        path.push("*".into());
        collect_known(root, inner, path, known);
        path.pop();
    }
    for (name, inner) in node.get("properties").and_then(Json::as_object).into_iter().flatten() {
        path.push(name.clone());
        // The long form of `expose` is shown in a comment.
        if path.iter().all(|step| step != "expose") || name == "expose" {
            known.insert(path.join("."));
        }
        collect_known(root, inner, path, known);
        path.pop();
    }
}

#[test]
fn the_effective_file_means_the_same_as_the_file() {
    let minimal = fs::read_to_string("conf/minimal.toml").unwrap();
    let status = minimal.replacen("[[routes]]", "[[routes]]\npath = \"/s\"\nstatus = \"main\"\n[[routes]]", 1);
    assert_ne!(status, minimal);
    for text in [minimal, status, to_text(&reference())] {
        let effective = parse(&text, "tests/config").show(true);
        assert_eq!(substance(&effective), substance(&text), "{effective}");
        assert_eq!(parse(&effective, "tests/config").show(true), effective, "nothing is left to be said");
    }
}

#[test]
fn secrets_are_never_shown() {
    let minimal = fs::read_to_string("conf/minimal.toml").unwrap();
    let minimal =
        minimal.replace("\"memory\"", &format!("\"memory\"\nheaders.proof_key = \"{}\"", KEY.replace('9', "6")));
    for (secret, shown) in [(KEY, "\"***\""), ("${env:GOOD_KEY}", "\"${env:GOOD_KEY}\"")] {
        let config = parse(&format!("{minimal}\n[[keys]]\nid = \"a\"\nsecret = \"{secret}\"\n"), "conf");
        let everything =
            [config.show(false), config.show(true), format!("{config:?}"), config.problems().to_string()].concat();
        assert!(everything.contains(shown) && !everything.contains(KEY), "{everything}");
        assert!(
            everything.contains("proof_key = \"***\"") && !everything.contains(&KEY.replace('9', "6")),
            "{everything}"
        );
    }
}

#[test]
fn passwords_of_stores_are_never_shown() {
    let minimal = fs::read_to_string("conf/minimal.toml").unwrap().replace("\"memory\"", "\"far\"");
    for (settings, shown) in [
        ("type = 'redis'\nurl = 'redis://app:hunter2@10.0.0.5'", "url = \"redis://app:***@10.0.0.5\""),
        ("type = 'redis'\nurl = 'redis://app:${env:KEY}@10.0.0.5'", "url = \"redis://app:${env:KEY}@10.0.0.5\""),
        ("type = 'redis'\nurl = '${env:REDIS}'", "url = \"${env:REDIS}\""),
        ("type = 'redis'\ncluster = ['redis://:hunter2@10.0.0.5']", "\"redis://:***@10.0.0.5\""),
        (
            "type = 'redis'\nurl = 'redis://:hunter2@main'\nsentinels = ['redis://:hunter2@10.0.0.5']",
            "\"redis://:***@10.0.0.5\"",
        ),
        ("type = 'postgres'\nurl = 'postgres://app:hunter2@127.0.0.1/web'", "\"postgres://app:***@127.0.0.1/web\""),
    ] {
        let config = parse(&format!("{minimal}\n[stores.far]\n{settings}\n"), "conf");
        let everything =
            [config.show(false), config.show(true), format!("{config:?}"), config.problems().to_string()].concat();
        assert!(everything.contains(shown) && !everything.contains("hunter2"), "{everything}");
    }
}

#[test]
fn a_password_that_everybody_can_read_is_known_to_the_operator() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cloakroom.toml");
    let codes = |url: &str, mode: u32| -> Vec<&'static str> {
        let minimal = fs::read_to_string("conf/minimal.toml").unwrap();
        fs::write(&path, format!("{minimal}\n[stores.far]\ntype = 'redis'\nurl = '{url}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let config = cloakroom::config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        config.warnings.iter().map(|warning| warning.code).filter(|code| code.starts_with("store::r")).collect()
    };
    assert_eq!(codes("redis://:hunter2@127.0.0.1", 0o644), ["store::readable"]);
    assert_eq!(codes("redis://:hunter2@127.0.0.1", 0o640), [""; 0]);
    assert_eq!(codes("redis://127.0.0.1", 0o644), [""; 0]);
    let password = directory.path().join("password");
    fs::write(&password, "hunter2\n").unwrap();
    for (mode, expected) in [(0o644, &["store::readable"][..]), (0o600, &[])] {
        fs::set_permissions(&password, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(codes("redis://:${file:password}@127.0.0.1", 0o644), expected);
    }
}

#[test]
fn stores_that_nothing_uses_are_known_and_not_opened() {
    let minimal = fs::read_to_string("conf/minimal.toml").unwrap();
    let names = |stores: &[StoreOptions]| stores.iter().map(|store| store.name.clone()).collect::<Vec<_>>();
    let config = parse(&minimal, "conf");
    assert_eq!((names(&config.stores), names(&config.spare_stores)), (vec!["memory".into()], vec!["disk".into()]));
    let with_fallback = minimal.replace("\"memory\"", "\"far\"")
        + "[stores.far]\ntype = 'redis'\nurl = 'redis://127.0.0.1'\nfallback = 'disk'\nnear_cache = '2s'\n";
    let config = parse(&with_fallback, "conf");
    assert_eq!(
        (names(&config.stores), names(&config.spare_stores)),
        (vec!["far".into(), "disk".into()], vec!["memory".into()])
    );
    assert_eq!(config.stores[0].near.max_age, Some(Duration::from_secs(2)));
    let with_revocation = minimal.replace("\"memory\"", "\"cookie\"\nrevocation = \"disk\"");
    let config = parse(&with_revocation, "conf");
    assert_eq!(names(&config.stores), ["disk"]);
    assert_eq!(config.policies[0].revocation.as_deref(), Some("disk"));
    assert!(config.warnings.iter().all(|warning| warning.code != "store::cookie"));
}

#[test]
fn the_number_of_sessions_and_their_beginning_are_limited_where_the_file_says_so() {
    let limited = |settings: &str| {
        let minimal = fs::read_to_string("conf/minimal.toml").unwrap();
        let text = minimal.replace("store = \"memory\"", &format!("store = \"memory\"\n{settings}"));
        let options = parse(&text, "conf").policies.remove(0).options;
        let cap = options.max_sessions_per_owner.map(|cap| (cap.limit.get(), cap.when_full));
        (cap, options.not_before.map(Timestamp::as_millis))
    };
    assert_eq!(limited(""), (None, None));
    assert_eq!(limited("max_sessions_per_owner = 0"), (None, None));
    assert_eq!(limited("max_sessions_per_owner = 5"), (Some((5, WhenFull::Oldest)), None));
    assert_eq!(limited("max_sessions_per_owner = 1\nwhen_full = \"reject\""), (Some((1, WhenFull::Reject)), None));
    assert_eq!(limited("not_before = 2026-06-01T14:00:00+02:00"), (None, Some(NOW.as_millis())));
}

#[test]
fn a_history_is_kept_where_the_file_says_so() {
    let kept = |settings: &str| {
        let minimal = fs::read_to_string("conf/minimal.toml").unwrap();
        let config = parse(&minimal.replace("store = \"memory\"", &format!("store = \"memory\"\n{settings}")), "conf");
        let shown = config.show(true).contains("history_keeps");
        let history = config.policies[0].options.history;
        assert_eq!(shown, history.is_some());
        history.map(|history| (history.most, history.keeps.as_secs() / 3600))
    };
    assert_eq!(kept(""), None);
    assert_eq!(kept("history = 0"), None);
    assert_eq!(kept("history = 20"), Some((20, 7 * 24)));
    assert_eq!(kept("history = 100\nhistory_keeps = \"1h\""), Some((100, 1)));
}

#[test]
fn problems_are_printed_exactly() {
    // CK2, CK13, LG7, HI10
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut files: Vec<_> = fs::read_dir("tests/config/invalid").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    assert!(files.len() > 12, "only {} files were found", files.len());
    for path in files {
        let label = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let problems = parse_in(&text, label, &around("tests/config/invalid")).expect_err(label);
        let printed = format!("{problems}\n");
        let expected = path.with_extension("txt");
        if update {
            fs::write(&expected, &printed).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert!(
            printed == expected,
            "{label} prints:\n{printed}\ninstead of:\n{expected}\n(UPDATE_EXPECTED=1 writes what is printed)"
        );
    }
}

#[test]
fn every_kind_of_problem_has_an_example() {
    let read = |directory: &str, extension: &str| -> String {
        let mut text = String::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|own| own == extension) {
                text += &fs::read_to_string(path).unwrap();
            }
        }
        text
    };
    let source = read("src/config", "rs") + &read("src/config/resolve", "rs");
    let is_code =
        |text: &&str| text.contains("::") && text.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b':'));
    let codes: BTreeSet<&str> = source.split('"').filter(is_code).collect();
    let examples = read("tests/config/invalid", "txt");
    // These depend on permissions and on files; the tests below have them.
    let elsewhere =
        ["a::b", "config::unreadable", "key::readable", "store::readable", "tls::readable", "tls::mismatch"];
    let missing: Vec<_> =
        codes.iter().filter(|code| !examples.contains(&format!("[{code}]")) && !elsewhere.contains(code)).collect();
    assert!(codes.len() > 30 && missing.is_empty(), "no example of {missing:?}");
}

/// A directory with a certificate, its key, and another key, as private as keys should be.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory of our own");
    for name in ["site.pem", "site.key", "rsa.pem", "rsa.key", "ed25519.pem", "ed25519.key"] {
        let copy = directory.path().join(name);
        fs::copy(Path::new("tests/config/tls").join(name), &copy).expect(name);
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).expect(name);
    }
    directory
}

/// The codes of the problems of a file in a directory, with a listener's certificate and a key as given.
fn codes(directory: &Path, certificate: &str, secret: &str) -> Vec<&'static str> {
    let text = format!(
        "[listeners.a]\naddress = \"127.0.0.1:1\"\ntls.certificates = [{{ {certificate} }}]\n[upstreams.a]\nservers = [\"http://a\"]\n\
         [sessions.a]\n[[routes]]\nupstream = \"a\"\nsessions = [\"a\"]\n{secret}"
    );
    let problems = match parse_in(&text, "test.toml", &around(directory.to_str().expect("a path of ASCII"))) {
        Ok(config) => config.warnings,
        Err(problems) => problems.list().to_vec(),
    };
    problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn certificates_are_proven_to_fit_their_keys() {
    let directory = directory();
    let check = |certificate: &str, expected: &[&str]| {
        let key = format!("[[keys]]\nid = \"a\"\nsecret = \"{KEY}\"");
        assert_eq!(codes(directory.path(), certificate, &key), expected, "{certificate}");
    };
    for name in ["site", "rsa", "ed25519"] {
        check(&format!("cert = '{name}.pem', key = '{name}.key'"), &[]);
        check(&format!("cert = '{name}.pem', key = '${{file:{name}.key}}'"), &[]);
    }
    check("cert = '${file:site.pem}', key = '${file:rsa.key}'", &["tls::mismatch"]);
    check("cert = 'site.pem', key = 'ed25519.key'", &["tls::mismatch"]);
    check("cert = 'site.key', key = 'site.pem'", &["tls::certificate", "tls::key"]);
    fs::set_permissions(directory.path().join("site.key"), fs::Permissions::from_mode(0o644)).unwrap();
    check("cert = 'site.pem', key = 'site.key'", &["tls::readable"]);
    check("cert = 'site.pem', key = '${file:site.key}'", &["tls::readable"]);
}

#[test]
fn a_key_that_everybody_can_read_is_refused() {
    // LG7
    let directory = directory();
    let check = |secret: &str, expected: &[&str]| {
        assert_eq!(codes(directory.path(), "cert = 'site.pem', key = 'site.key'", secret), expected, "{secret}");
    };
    let path = directory.path().join("secret");
    fs::write(&path, KEY).unwrap();
    for (mode, expected) in [(0o600, &[][..]), (0o640, &[]), (0o644, &["key::readable"]), (0o604, &["key::readable"])] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        check("[[keys]]\nid = \"a\"\nsecret = \"${file:secret}\"", expected);
    }
    check("", &[]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_like_any_other() {
    let problems = cloakroom::config::load(Path::new("nothing.toml")).expect_err("there is no such file");
    assert!(problems.to_string().starts_with("error[config::unreadable]: `nothing.toml` cannot be read: No such file"));
    assert_eq!(problems.to_json()["problems"][0]["code"], "config::unreadable");
}

#[test]
fn every_whole_file_in_the_documentation_works() {
    let mut pages: Vec<PathBuf> = vec!["README.md".into()];
    pages.extend(fs::read_dir("docs").into_iter().flatten().map(|entry| entry.unwrap().path()));
    pages.retain(|path| path.exists() && path.extension().is_some_and(|extension| extension == "md"));
    let mut found = 0;
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for block in text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()) {
            // An excerpt is no file.
            if block.contains("[listeners.") && block.contains("[[routes]]") {
                let block = block.replace("${cred:session-key}", "${env:GOOD_KEY}");
                parse_in(&block, &page.display().to_string(), &around("tests/config"))
                    .unwrap_or_else(|problems| panic!("{problems}"));
                found += 1;
            }
        }
    }
    assert!(found > 0 || !Path::new("README.md").exists(), "no whole file was found in {pages:?}");
}

proptest! {
    /// Whatever is written, the answer is a list of problems with places that can be shown.
    #[test]
    fn no_file_brings_the_reader_down(
        cuts in prop::collection::vec((0..9000_usize, 0..60_usize, "[\\[\\]{}=\"'\n.#$ a-zé0-9]{0,6}"), 1..6)
    ) {
        let mut text = defaults::REFERENCE.to_owned();
        for (start, length, with) in cuts {
            let start = text.floor_char_boundary(start);
            let end = text.ceil_char_boundary(start + length);
            text.replace_range(start..end, &with);
        }
        if let Err(problems) = parse_in(&text, "test.toml", &around("tests/config")) {
            prop_assert!(!problems.list().is_empty());
            prop_assert!(problems.to_string().contains("test.toml") && problems.to_json()["errors"].as_u64() > Some(0));
        }
    }
}
