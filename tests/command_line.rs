//! The program as it is called: what it prints where, and how it ends.

use serde_json::Value as Json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// A key of nobody.
const KEY: &str = "9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca";

/// How a call ended: exit code, standard output, standard error.
type Ending = (i32, String, String);

fn ending(output: &Output) -> Ending {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Calls the program in a directory, with an environment that says nothing about it.
fn call(directory: &Path, arguments: &[&str]) -> Ending {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
    command.current_dir(directory).env_remove("CLOAKROOM_CONFIG").env_remove("CREDENTIALS_DIRECTORY");
    ending(&command.args(arguments).output().expect("the program starts"))
}

fn here(arguments: &[&str]) -> Ending {
    call(Path::new("."), arguments)
}

/// Calls the program and expects it to succeed; what it prints.
fn printed(directory: &Path, arguments: &[&str]) -> String {
    let (code, out, err) = call(directory, arguments);
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    out
}

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::write(&path, text).expect(name);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect(name);
}

#[test]
fn help_names_every_command() {
    let (code, out, _) = here(&["--help"]);
    assert_eq!(code, 0);
    for command in [
        "run",
        "demo",
        "init",
        "check",
        "explain",
        "keygen",
        "cookie",
        "snippet",
        "profiles",
        "status",
        "reload",
        "sessions",
        "store",
        "config",
        "completions",
    ] {
        assert!(out.lines().any(|line| line.trim_start().starts_with(command)), "{command} is not in {out}");
        assert_eq!(here(&[command, "--help"]).0, 0, "{command}");
    }
    assert!(here(&["--version"]).1.starts_with("cloakroom "));
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in
        [&[][..], &["serve"], &["snippet", "cobol"], &["check", "--format", "xml"], &["keygen", "--id", "a b"]]
    {
        let (code, out, err) = here(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty());
    }
}

#[test]
fn check_shows_what_a_good_file_means() {
    let (code, out, err) = here(&["check", "-c", "conf/minimal.toml"]);
    let expected = "\
listeners
  web  http://127.0.0.1:8080
routes
  1  /*  → app  with main
upstreams
  app  http://127.0.0.1:9000  profile generic
sessions
  main  in store memory  cookie session, headers X-Session-, 30m idle, 12h at most
stores
  memory  memory  lost when the process ends
keys
  (none)  this server makes one of its own  `cloakroom keygen` makes one to share or to rotate

warning[cookie::not_secure]: session cookies are not Secure, because listener `web` is plain HTTP
 --> conf/minimal.toml:2:11
  |
2 | address = \"127.0.0.1:8080\"
  |           ^^^^^^^^^^^^^^^^
  = help: set `behind_tls = true` in [listeners.web] if TLS ends in front of it, or give it `tls.certificates`

warning[store::memory]: sessions of `main` are lost when the process ends
 --> conf/minimal.toml:8:9
  |
8 | store = \"memory\"
  |         ^^^^^^^^
  = help: a disk store keeps them: `store = \"disk\"`
conf/minimal.toml: 2 warnings.
";
    assert_eq!((code, out.as_str(), err.as_str()), (0, expected, "configuration: conf/minimal.toml\n"));
}

#[test]
fn check_prints_every_problem_of_a_bad_file_and_ends_with_78() {
    let (code, out, err) = call(Path::new("tests/config/invalid"), &["check", "-c", "unknown_fields.toml"]);
    let expected = fs::read_to_string("tests/config/invalid/unknown_fields.txt").unwrap();
    assert_eq!((code, out, err.as_str()), (78, expected, "configuration: unknown_fields.toml\n"));
}

#[test]
fn check_speaks_json() {
    let json = |file: &str, code: i32| -> Json {
        let (ended, out, _) = here(&["check", "--format", "json", "-c", file]);
        assert_eq!(ended, code);
        serde_json::from_str(&out).expect("it is JSON")
    };
    let good = json("conf/minimal.toml", 0);
    assert_eq!(good["errors"], 0);
    assert_eq!(good["problems"][0]["code"], "cookie::not_secure");
    assert_eq!(good["problems"][0]["place"]["line"], 2);
    assert_eq!(good["effective"]["routes"][0]["takes"], "/*");
    assert_eq!(good["effective"]["routes"][0]["sessions"][0], "main");
    let bad = json("tests/config/invalid/nothing.toml", 78);
    assert_eq!((bad["errors"].as_u64(), bad["effective"].is_null()), (Some(3), true));
}

#[test]
fn a_configuration_is_looked_for_where_it_could_be() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, err) = call(directory.path(), &["config", "show"]);
    assert!(code == 78 || Path::new("/etc/cloakroom/cloakroom.toml").exists());
    assert!(err.contains("there is no configuration: looked for `cloakroom.toml` and"), "{err}");
    fs::copy("conf/minimal.toml", directory.path().join("cloakroom.toml")).unwrap();
    let (code, _, err) = call(directory.path(), &["config", "show"]);
    assert_eq!((code, err.as_str()), (0, "configuration: cloakroom.toml\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
    command.args(["config", "show"]).current_dir(directory.path()).env("CLOAKROOM_CONFIG", "other.toml");
    let (code, _, err) = ending(&command.output().unwrap());
    assert!(code == 78 && err.contains("`other.toml` cannot be read"), "{err}");
}

#[test]
fn config_show_hides_secrets_and_completes_what_is_not_said() {
    let directory = tempfile::tempdir().unwrap();
    let text = fs::read_to_string("conf/minimal.toml").unwrap() + "[[keys]]\nid = \"a\"\nsecret = \"" + KEY + "\"\n";
    write(directory.path(), "cloakroom.toml", &text);
    let shown = printed(directory.path(), &["config", "show"]);
    assert!(shown.contains("secret = \"***\"") && !shown.contains(KEY) && !shown.contains("idle_timeout"), "{shown}");
    let effective = printed(directory.path(), &["config", "show", "--effective"]);
    assert!(
        effective.contains("idle_timeout = \"30m\"")
            && effective.contains("name = \"session\"")
            && !effective.contains(KEY)
    );
    let defaults = printed(directory.path(), &["config", "show", "--defaults"]);
    assert_eq!(defaults, fs::read_to_string("conf/reference.toml").unwrap());
}

#[test]
fn the_schema_describes_the_shipped_files() {
    let schema: Json = serde_json::from_str(&printed(Path::new("."), &["config", "schema"])).expect("it is JSON");
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["routes"].is_object());
    assert_eq!(schema.pointer("/$defs/Cookie/properties/same_site/default"), Some(&"lax".into()));
    assert_eq!(schema.pointer("/$defs/UpstreamServer/properties/weight/default"), Some(&1.into()));
}

#[test]
fn a_new_key_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let key = printed(directory.path(), &["keygen"]);
    assert_ne!(key, printed(directory.path(), &["keygen"]));
    let minimal = fs::read_to_string("conf/minimal.toml").unwrap();
    write(directory.path(), "cloakroom.toml", &format!("{minimal}\n{key}"));
    let shown = printed(directory.path(), &["check"]);
    assert!(shown.contains("seals and opens") && shown.ends_with("cloakroom.toml: 2 warnings.\n"), "{shown}");
    // LG7
    fs::set_permissions(directory.path().join("cloakroom.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(printed(directory.path(), &["check"]).contains("warning[key::readable]"));
    assert!(
        printed(directory.path(), &["keygen", "--id", "2026-11"])
            .starts_with("[[keys]]\nid = \"2026-11\"\nsecret = \"")
    );
}

#[test]
fn init_writes_a_file_that_works_and_overwrites_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cloakroom.toml");
    printed(directory.path(), &["init", "--upstream", "http://10.1.2.3:9999", "--profile", "lighttpd"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let shown = printed(directory.path(), &["check"]);
    assert!(shown.contains("http://10.1.2.3:9999  profile lighttpd") && shown.contains("1 warning."), "{shown}");
    let written = fs::read_to_string(&path).unwrap();
    let (code, _, err) = call(directory.path(), &["init"]);
    assert!(code == 1 && err.contains("`cloakroom.toml` exists already"), "{err}");
    assert_eq!(fs::read_to_string(&path).unwrap(), written);
    assert!(printed(directory.path(), &["init", "-o", "-"]).contains("[[routes]]"));
    for (arguments, reason) in
        [(["--upstream", "10.1.2.3"], "`http://10.1.2.3`"), (["--profile", "lightty"], "did you mean `lighttpd`?")]
    {
        let (code, _, err) = call(directory.path(), &[&["init", "-o", "other.toml"][..], &arguments].concat());
        assert!(code == 2 && err.contains(reason) && !directory.path().join("other.toml").exists(), "{err}");
    }
}

#[test]
fn profiles_are_listed() {
    let table = printed(Path::new("."), &["profiles"]);
    let json: Json = serde_json::from_str(&printed(Path::new("."), &["profiles", "--json"])).expect("it is JSON");
    let profiles = json.as_array().unwrap();
    assert!(profiles.len() > 10);
    for profile in profiles {
        let name = profile["name"].as_str().unwrap();
        assert!(table.lines().any(|line| line.starts_with(name)), "{name}");
        assert!(profile["sent"]["total"].as_u64() < profile["taken"]["total"].as_u64());
    }
}

#[test]
fn completions_are_there_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(printed(Path::new("."), &["completions", shell]).contains("keygen"), "{shell}");
    }
}
