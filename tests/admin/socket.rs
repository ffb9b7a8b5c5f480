//! The socket itself.

use crate::support::operator::HEARD;
use crate::support::{Site, complete, eventually};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

#[test]
fn the_socket_is_for_its_owner_and_group_and_goes_with_the_server() {
    let site = Site::new(HEARD);
    let (socket, directory) = (site.proxy.path("run/admin.sock"), site.proxy.path("run"));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&directory)), (0o660, 0o700));
    let status = site.operator().tells(&["status"]);
    assert!(status["configuration"].as_str().unwrap().ends_with("/cloakroom.toml"));
    assert_eq!(status["policies"][0]["store"], "memory");
    assert!(site.operator().says(&["status"]).contains("sessions       main in memory: listed, found by user, ended"));
    site.proxy.stop();
    assert!(!socket.exists(), "it is removed at the end");
    let gone = site.operator().call(&["status"]);
    assert_eq!(gone.code, 1);
    assert!(gone.err.starts_with("error: no server answers on "), "{gone:?}");
}

#[test]
fn a_socket_that_a_killed_server_left_is_taken_over() {
    let site = Site::new(HEARD);
    site.proxy.kill();
    assert!(site.proxy.path("run/admin.sock").exists());
    site.restart(HEARD);
    assert_eq!(site.operator().tells(&["status"])["reloads"], 0);
}

#[test]
fn a_second_server_takes_no_socket_away() {
    let site = Site::new(HEARD);
    let other = complete(HEARD, "http://127.0.0.1:9").replace("@web", "unix:other.sock");
    let serve = |config: &str| {
        fs::write(site.proxy.path("other.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
        command.current_dir(site.proxy.dir()).args(["run", "-c", "other.toml"]).output().unwrap()
    };
    let output = serve(&other);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("another server listens on"), "{err}");
    assert_eq!(site.operator().call(&["status"]).code, 0, "the first one is still heard");
    let strange = other.replace("runtime_dir = \"run\"", "runtime_dir = \"cloakroom.toml\"");
    assert_eq!(serve(&strange).status.code(), Some(1), "what was asked for cannot be had");
}

#[test]
fn nobody_is_heard_where_the_file_says_so() {
    let site = Site::new("[admin]\nsocket = \"\"\n");
    let ending = site.operator().call(&["status"]);
    assert_eq!(
        (ending.code, ending.err.as_str()),
        (1, "error: this configuration has no admin socket: `socket = \"\"` in [admin]\n")
    );
    assert!(!site.proxy.path("run").exists());
}

/// A request with a body of so many bytes.
fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn what_makes_no_sense_is_told_in_a_sentence() {
    let site = Site::new(HEARD);
    let huge = "x".repeat(20_000);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for (request, status, says) in [
        (get("/"), 404, "every path begins with `/v1/`"),
        (get("/v1/nothing"), 404, "nothing is there"),
        (get("/v1/reload"), 405, "GET is not a method of this path"),
        (get("/v1/sessions?limit=many"), 400, "`limit` is not a number"),
        (get("/v1/sessions?colour=red"), 400, "`colour` is not a word of this question"),
        (get("/v1/sessions?policy=%ff"), 400, "the address is not UTF-8"),
        (get("/v1/sessions?policy=none"), 404, "there is no session policy `none`: there are `main`"),
        (get("/v1/sessions?after=x"), 400, "`after` is no place"),
        (get("/v1/sessions?after=main:zz"), 503, "this is no place in the store"),
        (get("/v1/sessions?user=%00"), 400, "a user has 1 to 256 bytes"),
        (get("/v1/sessions/short"), 400, "this is no reference"),
        (get("/v1/sessions/AAAAAAAAAAAAAAAA"), 404, "there is no session `AAAAAAAAAAAAAAAA`"),
        (post("/v1/revocations", "{"), 400, "the body is not what is expected here"),
        (post("/v1/revocations", "{\"colour\":1}"), 400, "the body is not what is expected here"),
        (post("/v1/revocations", &huge), 413, "the body has more than 16384 bytes"),
    ] {
        let answer = site.operator().answer(&request);
        let line = &request[..request.len().min(60)];
        assert_eq!(answer.status(), status, "{line}: {answer:?}");
        assert_eq!(answer.get("Content-Type").as_deref(), Some("application/json"));
        let json: serde_json::Value = serde_json::from_slice(&answer.body).expect("it is JSON");
        assert!(json["error"].as_str().unwrap().contains(says), "{line}: {json}");
    }
}

#[test]
fn hostile_bytes_and_silent_clients_hold_up_nobody() {
    let site = Site::new(HEARD);
    let head = format!("GET /v1/status HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        head.as_bytes(),
    ] {
        let mut client = site.operator().connect();
        client.try_send(garbage);
        let rest = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest}");
    }
    // As many as there is room for say nothing, or half of something.
    let mut silent: Vec<_> = (0..32).map(|_| site.operator().connect()).collect();
    silent
        .iter_mut()
        .step_by(2)
        .for_each(|client| client.send("POST /v1/reload HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"));
    eventually("somebody is heard again", || site.operator().call(&["status"]).code == 0);
    assert_eq!(site.operator().tells(&["status"])["reloads"], 0);
    assert!(site.proxy.is_alive());
}
