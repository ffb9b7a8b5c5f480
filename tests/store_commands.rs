//! `cloakroom store`: what it lists, what it copies and what it refuses to.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use cloakroom::clock::{Clock as _, SystemClock, Timestamp};
use cloakroom::session::StoreKey;
use cloakroom::store::disk::{DiskOptions, DiskStore, Sync};
use cloakroom::store::{Entry, Store, Written};
use rustix::process::{Pid, Signal};
use serde_json::Value as Json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// More than a page of any walk.
const SESSIONS: u64 = 3000;

const STORES: &str = r#"
[listeners.web]
address = "127.0.0.1:8080"
behind_tls = true
[server]
state_dir = "state"
[upstreams.app]
servers = ["http://127.0.0.1:9000"]
[stores.old]
type = "disk"
path = "old.db"
sync = "never"
[stores.new]
type = "disk"
path = "new.db"
sync = "never"
fallback = "old"
[stores.mc]
type = "memcached"
servers = ["127.0.0.1:1"]
[stores.far]
type = "redis"
url = "redis://app:hunter2@127.0.0.1:1"
near_cache = "2s"
[sessions.main]
store = "new"
[[routes]]
upstream = "app"
sessions = ["main"]
"#;

/// A directory with a configuration of stores.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cloakroom.toml");
    fs::write(&path, STORES).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    directory
}

/// Calls `cloakroom store`: exit code, standard output, standard error.
fn call(directory: &Path, line: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
    command.current_dir(directory).env_remove("CLOAKROOM_CONFIG").arg("store").args(line.split(' '));
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn open(directory: &Path, name: &str) -> DiskStore {
    let path = directory.join("state").join(name);
    DiskStore::open(DiskOptions { path, sync: Sync::Never }).unwrap()
}

fn key(number: u64) -> StoreKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    StoreKey::from_bytes(bytes)
}

fn entry(text: &str) -> Entry {
    let deadline = SystemClock.now().after(Duration::from_secs(3600));
    Entry { bytes: text.to_owned().into(), deadline, owner: None }
}

/// Keeps sessions in a store, each with its number for its content.
fn keep(store: &DiskStore, numbers: impl Iterator<Item = u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for number in numbers {
            let written = store.create(&key(number), entry(&number.to_string()), SystemClock.now()).await.unwrap();
            assert!(matches!(written, Written::Done(_)));
        }
    });
}

/// What lies in a store under these numbers.
fn found(store: &DiskStore, numbers: impl Iterator<Item = u64>) -> Vec<Option<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let now = SystemClock.now();
    let text = |entry: Entry| String::from_utf8(entry.bytes.to_vec()).unwrap();
    runtime.block_on(async {
        let mut found = Vec::new();
        for number in numbers {
            found.push(store.load(&key(number), now).await.unwrap().map(|(entry, _)| text(entry)));
        }
        found
    })
}

fn all() -> Vec<Option<String>> {
    (0..SESSIONS).map(|number| Some(number.to_string())).collect()
}

/// How many of the sessions are in a store.
fn count(store: &DiskStore) -> usize {
    found(store, 0..SESSIONS).into_iter().flatten().count()
}

#[test]
fn every_session_is_copied_and_none_is_overwritten() {
    let directory = directory();
    keep(&open(directory.path(), "old.db"), 0..SESSIONS);
    let there = open(directory.path(), "new.db");
    let newer = entry("newer");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(there.create(&key(5), newer, SystemClock.now())).unwrap();
    drop(there);

    let (code, out, err) = call(directory.path(), "copy --from old --to new");
    let said = format!("{} sessions copied from old to new; 1 were there already, 0 had ended\n", SESSIONS - 1);
    assert_eq!((code, out.as_str()), (0, said.as_str()), "{err}");
    let mut expected = all();
    expected[5] = Some("newer".into());
    assert!(found(&open(directory.path(), "new.db"), 0..SESSIONS) == expected);
    assert!(found(&open(directory.path(), "old.db"), 0..SESSIONS) == all(), "the source is left as it is");

    let (code, out, _) = call(directory.path(), "copy --from old --to new --json");
    let json: Json = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((code, &json["sessions"]["copied"], &json["sessions"]["there"]), (0, &0.into(), &SESSIONS.into()));
    let left: Vec<_> =
        fs::read_dir(directory.path().join("state")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!left.iter().any(|path| path.extension().is_some_and(|own| own == "cursor" || own == "new")), "{left:?}");
}

#[test]
fn a_session_that_has_ended_stays_so() {
    let directory = directory();
    let old = open(directory.path(), "old.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let long_ago = Timestamp::from_millis(1_000_000);
    let ended = Entry { deadline: long_ago.after(Duration::from_secs(60)), ..entry("0") };
    runtime.block_on(old.create(&key(0), ended, long_ago)).unwrap();
    keep(&old, 1..3);
    drop(old);
    let (code, out, err) = call(directory.path(), "copy --from old --to new");
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("2 sessions copied"), "{out}");
    assert_eq!(found(&open(directory.path(), "new.db"), 0..3), [None, Some("1".into()), Some("2".into())]);
}

/// What a copy leaves behind that had come about so far, and then was killed; answers how far.
fn bookmark(directory: &Path, old: &DiskStore, about: u64) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let about = usize::try_from(about).unwrap();
    let page = runtime.block_on(old.scan().unwrap().page(None, about, SystemClock.now())).unwrap();
    let (done, next) = (page.entries.len(), page.next.unwrap().0);
    let text = format!(r#"{{"next":"{next}","copied":{done},"there":0,"skipped":0,"too_large":0}}"#);
    fs::write(directory.join("state/copy-old-new.cursor"), text).unwrap();
    done as u64
}

#[test]
fn a_copy_that_was_interrupted_is_resumed_where_it_stood() {
    let directory = directory();
    let old = open(directory.path(), "old.db");
    keep(&old, 0..SESSIONS);
    let done = bookmark(directory.path(), &old, 500);
    drop(old);
    let bookmark = directory.path().join("state/copy-old-new.cursor");

    let (code, out, err) = call(directory.path(), "copy --from old --to new");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("interrupted after 500 sessions: `--resume` goes on, `--restart` begins again"), "{err}");
    assert!(bookmark.exists());

    let (code, out, err) = call(directory.path(), "copy --from old --to new --resume --json");
    let json: Json = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    assert_eq!((code, &json["resumed"], &json["sessions"]["copied"]), (0, &true.into(), &SESSIONS.into()));
    let rest = usize::try_from(SESSIONS - done).unwrap();
    assert_eq!(count(&open(directory.path(), "new.db")), rest, "only the rest was copied");
    assert!(!bookmark.exists());
}

#[test]
fn a_copy_that_was_interrupted_begins_again_if_somebody_wants_it() {
    let directory = directory();
    keep(&open(directory.path(), "old.db"), 0..20);
    let bookmark = directory.path().join("state/copy-old-new.cursor");
    fs::write(&bookmark, "garbage").unwrap();
    let (code, _, err) = call(directory.path(), "copy --from old --to new --resume");
    assert!(
        code == 1 && err.contains("does not say where to go on") && err.contains("`--restart` begins again"),
        "{err}"
    );
    let (code, out, _) = call(directory.path(), "copy --from old --to new --restart");
    assert!(code == 0 && out.starts_with("20 sessions copied"), "{out}");
    let (code, out, _) = call(directory.path(), "copy --from old --to new --resume");
    assert!(code == 0 && out.starts_with("0 sessions copied"), "nothing to resume is no failure: {out}");
    assert_eq!(call(directory.path(), "copy --from old --to new --resume --restart").0, 2);
}

#[test]
fn ctrl_c_stops_a_copy_which_says_how_to_go_on() {
    /// So many that nobody copies them between two looks at the directory.
    const MANY: u64 = 30_000;
    let directory = directory();
    keep(&open(directory.path(), "old.db"), 0..MANY);
    let bookmark = directory.path().join("state/copy-old-new.cursor");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
    command.current_dir(directory.path()).env_remove("CLOAKROOM_CONFIG");
    command.args(["store", "copy", "--from", "old", "--to", "new"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let copy = command.spawn().unwrap();
    let start = Instant::now();
    while !bookmark.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(fs::metadata(&bookmark).unwrap().permissions().mode() & 0o777, 0o600);
    rustix::process::kill_process(Pid::from_child(&copy), Signal::INT).unwrap();
    let output = copy.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("go on with `cloakroom store copy --from old --to new --resume`"), "{err}");

    let (code, out, err) = call(directory.path(), "copy --from old --to new --resume --json");
    assert_eq!(code, 0, "{err}");
    let sessions = &serde_json::from_str::<Json>(&out).expect("it is JSON")["sessions"];
    let sum = sessions["copied"].as_u64().unwrap() + sessions["there"].as_u64().unwrap();
    assert!(sum >= MANY, "a page that was begun is copied again: {sum}");
    let new = open(directory.path(), "new.db");
    assert!(found(&new, 0..MANY).iter().all(Option::is_some), "nothing was left out");
}

#[test]
fn on_a_terminal_a_bar_shows_how_far_a_copy_has_come() {
    let directory = directory();
    let old = open(directory.path(), "old.db");
    keep(&old, 0..SESSIONS);
    // What an earlier copy has seen is seen from the first moment on, and says nothing about the pace of this one.
    let seen = bookmark(directory.path(), &old, SESSIONS / 3);
    drop(old);
    let binary = env!("CARGO_BIN_EXE_cloakroom");
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &format!("{binary} store copy --from old --to new --resume"), "/dev/null"]);
    terminal.current_dir(directory.path()).env_remove("CLOAKROOM_CONFIG").env("TERM", "xterm").stdin(Stdio::null());
    let output = terminal.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    let first = shown.split('\r').find(|line| line.contains("of about")).unwrap_or_default();
    assert!(
        first.contains('\u{2588}') && first.contains(&format!(" {seen} of about {SESSIONS} sessions, ")),
        "{shown}"
    );
    // Whole numbers, which a person can read.
    let pace = first.split("sessions, ").nth(1).and_then(|rest| rest.split(" a second, ").next()).unwrap_or_default();
    assert!(pace.parse::<u64>().is_ok_and(|pace| pace < 1_000_000), "{shown}");
    assert!(shown.trim_end().ends_with("0 had ended"), "the bar is gone when all is done: {shown}");
}

#[test]
fn directions_that_make_no_sense_are_refused_with_the_reason() {
    let directory = directory();
    for (line, code, reason) in [
        ("copy --from old --to old", 2, "`old` cannot be copied to itself"),
        ("copy --from memory --to new", 2, "`memory` lies in the memory of the proxy: nobody else can read it"),
        ("copy --from old --to memory", 2, "`memory` would forget the sessions when this command ends"),
        ("copy --from cookie --to new", 2, "each visitor's browser keeps its own session"),
        ("copy --from old --to cookie", 2, "each visitor's browser keeps its own session"),
        ("copy --from mc --to new", 2, "a memcached store cannot say which sessions it has; `fallback = \"mc\"`"),
        ("copy --from od --to new", 2, "no store `od` is kept by this server: did you mean `old`?"),
        ("copy --from old --to nowhere", 2, "choose `old`, `new`, `mc`, `far` or `disk`"),
        ("copy --from disk --to new", 1, "there is nothing in `disk`: "),
        ("copy --from old", 2, "--to <STORE>"),
        ("migrate new", 2, "`new` is a disk store, which makes what it needs by itself"),
        ("migrate nowhere", 2, "choose `old`, `new`, `mc`, `far` or `disk`"),
    ] {
        let (ended, out, err) = call(directory.path(), line);
        assert_eq!((ended, out.as_str()), (code, ""), "{line}: {err}");
        assert!(err.contains(reason), "{line}: {err}");
    }
}

#[test]
fn stores_are_listed_without_their_passwords() {
    let directory = directory();
    let (code, out, err) = call(directory.path(), "list");
    assert_eq!(code, 0, "{err}");
    let line = |name: &str| out.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default();
    assert!(line("new").contains("state/new.db") && line("new").contains("what it lacks is fetched from old"), "{out}");
    assert!(
        line("far").contains("redis://127.0.0.1:1  ") && line("far").contains("shown from copies of up to 2s"),
        "{out}"
    );
    assert!(line("mc").ends_with("not in use") && !out.contains("hunter2"), "{out}");
    let (_, out, _) = call(directory.path(), "list --json");
    let json: Json = serde_json::from_str(&out).expect("it is JSON");
    let far = json.as_array().unwrap().iter().find(|store| store["name"] == "far").expect("it is listed");
    assert_eq!((far["type"].as_str(), far["used"].as_bool()), (Some("redis"), Some(false)));
    assert!(!out.contains("hunter2"), "{out}");
}
