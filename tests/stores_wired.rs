//! Stores as the file wires them into the real binary: far ones, dead ones, and those that were used before.

mod servers;
mod support;

use servers::postgres::Postgres;
use servers::{Daemon, directory, free_port, program};
use std::net::TcpStream;
use std::process::Command;
use support::client::get;
use support::upstream::ok;
use support::{Site, eventually};

/// The same keys for all, so that what one configuration has sealed another one opens.
const KEY: &str = "
[[keys]]
id = \"test\"
secret = \"9e127f00c45ae133880bd761f24da91670be053c92e857ad21f96b44d01f83ca\"
";

fn redis(port: u16) -> Daemon {
    let directory = directory("redis");
    let place = directory.display().to_string();
    let redis = program("redis-server", &["/usr/bin"]);
    let port_text = port.to_string();
    let line = [&redis, "--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--dir", &place];
    Daemon::start(&directory, &line, || TcpStream::connect(("127.0.0.1", port)).is_ok())
}

fn memcached(port: u16) -> Daemon {
    let memcached = program("memcached", &["/usr/bin"]);
    let port_text = port.to_string();
    let line = [&memcached, "-l", "127.0.0.1", "-p", &port_text, "-U", "0", "-u", "nobody"];
    Daemon::start(&directory("memcached"), &line, || TcpStream::connect(("127.0.0.1", port)).is_ok())
}

/// A policy `main` in a Redis store `far`, with these settings more.
fn in_redis(port: u16, settings: &str) -> String {
    format!(
        "{KEY}\n[stores.far]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:{port}\"\n{settings}\n\
         [sessions.main]\nstore = \"far\"\n"
    )
}

fn in_disk() -> String {
    format!("{KEY}\n[sessions.main]\nstore = \"disk\"\n")
}

#[test]
fn the_proxy_starts_without_its_store_and_recovers_when_it_comes() {
    let port = free_port();
    let site = Site::new(&in_redis(port, ""));
    let mut ada = site.browser();
    assert_eq!(ada.visit(ok()).got.status(), 200, "who brings no session needs no store");
    assert_eq!(ada.visit(ok().say("Set", "a=1")).got.status(), 503);
    let _redis = redis(port);
    eventually("the proxy finds the store", || site.browser().visit(ok().say("Set", "a=1")).got.status() == 200);
    // Each connection finds the server again in its own time, and Ada's may be another one.
    eventually("for everybody", || ada.visit(ok().say("Set", "a=2")).got.status() == 200);
    assert_eq!(ada.look().data(), "a=2");
}

#[test]
fn sessions_move_to_another_store_without_a_logout() {
    let port = free_port();
    let _redis = redis(port);
    let site = Site::new(&in_disk());
    let (mut ada, mut bob) = (site.browser(), site.browser());
    ada.visit(ok().say("Login", "ada").say("Set", "a=1"));
    bob.visit(ok().say("Login", "bob").say("Set", "b=1"));

    site.restart(&in_redis(port, "fallback = \"disk\""));
    let seen = ada.look();
    assert_eq!((seen.told("User"), seen.data()), ("ada".into(), "a=1".into()));
    ada.visit(ok().say("Set", "a=2"));
    assert_eq!(ada.look().data(), "a=2");

    // Bob has not come by: the copy brings his session, and leaves Ada's, which is newer here.
    let out = store(&site, "copy --from disk --to far");
    assert!(out.contains(" copied from disk to far"), "{out}");
    site.restart(&in_redis(port, ""));
    assert_eq!(ada.look().data(), "a=2");
    let seen = bob.look();
    assert_eq!((seen.told("User"), seen.data()), ("bob".into(), "b=1".into()));
}

/// Calls `cloakroom store` with the configuration of a running proxy.
fn store(site: &Site, line: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
    command.current_dir(site.proxy.dir()).arg("store").args(line.split(' ')).args(["-c", "cloakroom.toml"]);
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_near_cache_answers_for_its_store_and_hears_what_other_servers_change() {
    let port = free_port();
    let redis = redis(port);
    let site = Site::new(&in_redis(port, "near_cache = \"60s\""));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    assert_eq!(ada.look().data(), "a=1");
    // Another server that shares the store and has no copies.
    let other = Site::new(&in_redis(port, ""));
    let look_elsewhere = |cookie: &str| other.exchange(&get("/").with("Cookie", cookie), ok()).seen.data();
    assert_eq!(look_elsewhere(&ada.cookie()), "a=1");
    other.exchange(&get("/").with("Cookie", ada.cookie()), ok().say("Set", "a=2"));
    eventually("the copy is given up", || ada.look().data() == "a=2");
    redis.freeze();
    let seen = ada.look();
    redis.thaw();
    assert_eq!(seen.data(), "a=2", "no server was needed for that");
}

#[test]
fn sessions_live_in_memcached() {
    let port = free_port();
    let _memcached = memcached(port);
    let config = format!(
        "{KEY}\n[stores.mc]\ntype = \"memcached\"\nservers = [\"127.0.0.1:{port}\"]\n[sessions.main]\nstore = \"mc\"\n"
    );
    let site = Site::new(&config);
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1"));
    site.restart(&config);
    assert_eq!(ada.look().data(), "a=1", "they outlive the proxy");
}

#[test]
fn a_logout_from_a_cookie_is_final_where_a_store_remembers_it() {
    let site = Site::new(&format!("{KEY}\n[sessions.main]\nstore = \"cookie\"\nrevocation = \"disk\"\n"));
    let mut ada = site.browser();
    ada.visit(ok().say("Login", "ada"));
    let stolen = get("/").with("Cookie", ada.cookie());
    assert_eq!(site.exchange(&stolen, ok()).seen.told("User"), "ada");
    ada.visit(ok().say("Destroy", "1"));
    let seen = site.exchange(&stolen, ok()).seen;
    assert!(seen.told("State") != "live" && !seen.has("X-Session-User"), "{seen:?}");
}

#[test]
fn the_table_of_a_postgres_store_is_made_by_a_command() {
    let config = format!(
        "{KEY}\n[stores.pg]\ntype = \"postgres\"\nurl = \"{}\"\ntable = \"wired\"\n[sessions.main]\nstore = \"pg\"\n",
        Postgres::shared().url()
    );
    let site = Site::new(&config);
    let mut ada = site.browser();
    assert_eq!(ada.visit(ok().say("Set", "a=1")).got.status(), 503);
    eventually("the operator is told what to do", || site.proxy.has_logged("cloakroom store migrate"));
    assert_eq!(store(&site, "migrate pg"), "store pg, table wired: made the table, format 1\n");
    assert_eq!(store(&site, "migrate pg"), "store pg, table wired: nothing to do: the table has format 1\n");
    eventually("the proxy finds the table", || ada.visit(ok().say("Set", "a=1")).got.status() == 200);
    assert_eq!(ada.look().data(), "a=1");
}

#[test]
fn a_password_of_a_store_reaches_no_log() {
    let site = Site::new(&in_redis(free_port(), "").replace("redis://", "redis://app:hunter2@"));
    eventually("the failure is told", || {
        site.browser().visit(ok().say("Set", "a=1"));
        site.proxy.has_logged("session store failed")
    });
    let log = site.proxy.log().join("\n");
    assert!(!log.contains("hunter2"), "{log}");
}
