//! Requests that prove where they come from, and answers that prove what they answer.

mod support;

use std::process::Command;
use support::client::{Ask, get, post};
use support::message::Message;
use support::upstream::{ok, status};
use support::{Site, eventually};

const KEY: &str = "nhJ/AMRa4TOIC9dh8k2pFnC+BTyS6Fet+WtE0B+Dyi8=";

fn proving(more: &str) -> Site {
    Site::new(&format!("[sessions.main]\nstore = \"memory\"\n[sessions.main.headers]\nproof_key = \"{KEY}\"\n{more}"))
}

/// A request as CGI has it.
fn environment(seen: &Message) -> Vec<(String, String)> {
    let name = |name: &str| format!("HTTP_{}", name.to_uppercase().replace('-', "_"));
    let mut environment: Vec<_> = seen.fields().into_iter().map(|(own, value)| (name(&own), value)).collect();
    environment.push(("REQUEST_METHOD".into(), seen.method()));
    environment.push(("REQUEST_URI".into(), seen.target()));
    environment
}

/// The languages of the snippets that check proofs, and how each is asked for its opinion: it prints it at last.
fn languages() -> Vec<(&'static str, &'static str, &'static str, Vec<String>)> {
    let php = "eval('namespace T; function header($line) {} ?>' . file_get_contents('snippet.php')); \
        echo \"\\nproven: \", \\T\\cloakroom_is_proven(getenv('KEY'), array('HTTP_X_REMOTE_USER')) ? 'yes' : 'no';";
    let perl = "do './snippet.pl'; print \"\\nproven: \", is_proven($ENV{KEY}, 'HTTP_X_REMOTE_USER') ? 'yes' : 'no';";
    let python = "import os, sys; sys.dont_write_bytecode = True; sys.path.insert(0, '.'); import snippet; \
        proven = snippet.Session(dict(os.environ)).is_proven(os.environ['KEY'], ['HTTP_X_REMOTE_USER']); \
        print('\\nproven: ' + ('yes' if proven else 'no'))";
    let node = "const headers = {}, { env } = process; \
        for (const [name, value] of Object.entries(env)) \
            if (name.startsWith('HTTP_')) headers[name.slice(5).toLowerCase().replace(/_/g, '-')] = value; \
        const request = { headers, method: env.REQUEST_METHOD, url: env.REQUEST_URI }; \
        const session = new (require('./snippet.js').Session)(request, {}); \
        console.log('\\nproven: ' + (session.isProven(env.KEY, ['x-remote-user']) ? 'yes' : 'no'));";
    vec![
        ("php", "snippet.php", "php", vec!["-d".into(), "variables_order=EGPCS".into(), "-r".into(), php.into()]),
        ("perl", "snippet.pl", "perl", vec!["-e".into(), perl.into()]),
        ("python", "snippet.py", "python3", vec!["-c".into(), python.into()]),
        ("node", "snippet.js", "node", vec!["-e".into(), node.into()]),
    ]
}

/// What the snippet of a language says about a request; `None` where the interpreter is not here.
fn is_proven(
    (language, file, program, arguments): &(&str, &str, &str, Vec<String>),
    key: &str,
    environment: &[(String, String)],
) -> Option<bool> {
    let directory = tempfile::tempdir().expect("a directory of our own");
    let snippet =
        Command::new(env!("CARGO_BIN_EXE_cloakroom")).args(["snippet", language]).output().expect("it starts");
    std::fs::write(directory.path().join(file), &snippet.stdout).expect("a file");
    let mut command = Command::new(program);
    let run = command.args(arguments).current_dir(directory.path()).env("KEY", key).envs(environment.iter().cloned());
    let output =
        run.env("PYTHONIOENCODING", "utf-8").output().ok().filter(|output| output.status.code() != Some(127))?;
    let (page, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match page.trim_end().rsplit_once("proven: ") {
        Some((_, "yes")) => Some(true),
        Some((_, "no")) => Some(false),
        _ => panic!("{language} has no opinion: {page}{error}"),
    }
}

/// Requests of every shape, each as the backend saw it.
fn requests(site: &Site) -> Vec<Message> {
    let mut ada = site.browser();
    let first = ada.visit(ok().say("Set", "name=caf%C3%A9&user=ada&a=1&a1=2&a-b=3")).seen;
    ada.visit(ok().say("Login", "ada%20l").say("Flash", "info=Hello%3B"));
    let asks: [Ask; 4] =
        [get("/"), get("/a%20b/../c?q=%C3%A9&x=1+2&&"), post("/form", "a=1"), get("http://app.example/absolute?x=1")];
    let seen = asks.iter().map(|ask| ada.ask(ask, ok()).seen);
    [first].into_iter().chain(seen).collect()
}

#[test]
fn a_backend_of_any_language_believes_what_came_through_the_proxy_and_nothing_else() {
    // HI9
    let site = proving("forward = \"both\"\ncsrf = true\nexpose = { user = \"X-Remote-User\" }\n");
    let requests = requests(&site);
    let mut believed = 0;
    for language in languages() {
        for seen in &requests {
            let sent = environment(seen);
            let Some(proven) = is_proven(&language, KEY, &sent) else { break };
            assert!(proven, "{} does not believe {seen:?}", language.0);
            believed += 1;
        }
        let sent = environment(requests.last().expect("a request"));
        let with = |name: &str, value: &str| {
            let mut changed = sent.clone();
            changed.retain(|(own, _)| own != name);
            changed.push((name.into(), value.into()));
            changed
        };
        let proof = requests.last().expect("a request").told("Proof");
        let old = proof.replace(&proof[..12], "t=1000000000");
        for forged in [
            with("HTTP_X_SESSION_USER", "root"),
            with("HTTP_X_SESSION_DATA", "user=root"),
            with("HTTP_X_SESSION_MORE", "1"),
            with("HTTP_X_SESSION_NONCE", "0"),
            with("HTTP_X_REMOTE_USER", "root"),
            with("REQUEST_METHOD", "DELETE"),
            with("REQUEST_URI", "/admin"),
            with("HTTP_HOST", "other.example"),
            with("HTTP_X_SESSION_PROOF", &old),
            with("HTTP_X_SESSION_PROOF", ""),
            with("HTTP_X_SESSION_PROOF", &format!("{proof}\n")),
        ] {
            assert_ne!(is_proven(&language, KEY, &forged), Some(true), "{} believes {forged:?}", language.0);
        }
        assert_ne!(is_proven(&language, "another key", &sent), Some(true), "{}", language.0);
    }
    assert!(believed > 0, "not one interpreter is here");
    assert!(!site.proxy.has_logged(KEY));
}

#[test]
fn what_is_proven_is_the_request_that_the_backend_gets() {
    let site = Site::new(&format!(
        "[upstreams.app]\nservers = [\"@app\"]\nhost_header = \"inner.example:81\"\n\
         [sessions.main]\nstore = \"memory\"\nheaders.proof_key = \"{KEY}\"\n\
         [[routes]]\npath = \"/app/*\"\nstrip_prefix = \"/app\"\nupstream = \"app\"\nsessions = [\"main\"]\n"
    ));
    let seen = site.exchange(&get("/app/page?a=1"), ok()).seen;
    assert_eq!((seen.target().as_str(), seen.get("Host").as_deref()), ("/page?a=1", Some("inner.example:81")));
    for language in languages() {
        assert_ne!(is_proven(&language, KEY, &environment(&seen)), Some(false), "{}: {seen:?}", language.0);
    }
}

#[test]
fn each_request_has_a_nonce_and_a_proof_of_its_own() {
    let site = proving("");
    let seen: Vec<Message> = (0..3).map(|_| site.browser().look()).collect();
    let mut nonces: Vec<String> = seen.iter().map(|seen| seen.told("Nonce")).collect();
    let mut proofs: Vec<String> = seen.iter().map(|seen| seen.told("Proof")).collect();
    for all in [&mut nonces, &mut proofs] {
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 3, "{all:?}");
    }
    assert!(nonces.iter().all(|nonce| nonce.len() == 32) && proofs.iter().all(|proof| proof.len() == 80));
    let spoofed = get("/").with("X-Session-Nonce", "mine").with("X-Session-Proof", "mine");
    let seen = site.exchange(&spoofed, ok()).seen;
    assert!(!seen.mentions("mine"), "{seen:?}");
    let plain = Site::new("").browser().look();
    assert!(!plain.has("X-Session-Nonce") && !plain.has("X-Session-Proof"));
}

#[test]
fn two_policies_prove_their_own_headers_each() {
    let site = Site::new(&format!(
        "[sessions.main]\nstore = \"memory\"\nheaders.proof_key = \"{KEY}\"\n\
         [sessions.cart]\nstore = \"memory\"\ncookie.name = \"cart\"\nheaders = {{ prefix = \"X-Cart-\", proof_key = \"{KEY}\" }}\n\
         [[routes]]\nupstream = \"app\"\nsessions = [\"cart\", \"main\"]\n"
    ));
    let mut ada = site.browser();
    ada.visit(ok().say("Set", "a=1").with("X-Cart-Set", "b=2"));
    let seen = ada.look();
    assert_ne!(seen.get("X-Cart-Proof"), seen.get("X-Session-Proof"));
    // As the backend of the other policy would see it.
    let mut cart = environment(&seen);
    cart.retain(|(name, _)| !name.starts_with("HTTP_X_SESSION_"));
    for (name, _) in &mut cart {
        *name = name.replace("HTTP_X_CART_", "HTTP_X_SESSION_");
    }
    for language in languages() {
        assert_ne!(is_proven(&language, KEY, &environment(&seen)), Some(false), "{}: {seen:?}", language.0);
        assert_ne!(is_proven(&language, KEY, &cart), Some(true), "{}: the names are proven, too", language.0);
    }
}

#[test]
fn an_answer_without_the_nonce_of_its_request_writes_nothing() {
    let site = Site::new("[sessions.main]\nstore = \"memory\"\nheaders.nonce = \"required\"\n");
    let mut ada = site.browser();
    for answer in [ok().say("Set", "a=1"), ok().say("Set", "a=1").say("Nonce", "0"), ok().say("Set", "a=%")] {
        let before = site.proxy.log().len();
        let got = ada.visit(answer).got;
        assert_eq!((got.status(), got.set_cookies()), (502, vec![]), "{got:?}");
        eventually("the reason is logged", || {
            site.proxy.log()[before..].iter().any(|line| line.contains("\"reason\":\"nonce\""))
        });
    }
    assert_eq!(ada.visit(status(500).say("Destroy", "1")).got.status(), 502, "also where only an end would count");
    assert_eq!(ada.visit(ok()).got.status(), 200, "an answer that asks for nothing owes nothing");
    assert_eq!(ada.look().told("State"), "none");
}

#[test]
fn an_answer_with_the_nonce_of_its_request_is_obeyed_once() {
    let policy = "[sessions.main]\nstore = \"memory\"\nheaders.nonce = \"required\"\n";
    let site = Site::answering(policy, |request| {
        let nonce = request.told("Nonce");
        match request.target().as_str() {
            "/set" => ok().say("Add", "n=1").say("Nonce", nonce),
            "/twice" => ok().say("Add", "n=1").say("Nonce", &nonce).say("Nonce", nonce),
            "/cached" => ok().say("Add", "n=1").say("Nonce", "00000000000000000000000000000000"),
            _ => ok(),
        }
    });
    let mut ada = site.browser();
    for (path, expected) in [("/set", 200), ("/cached", 502), ("/twice", 200), ("/cached", 502)] {
        let got = ada.fetch(&get(path));
        assert_eq!(got.status(), expected, "{path}");
        assert!(!got.mentions("x-session"), "{got:?}");
    }
    site.upstream.take();
    ada.fetch(&get("/"));
    assert_eq!(site.upstream.only().data(), "n=2");
}

#[test]
fn a_missing_nonce_is_told_to_the_backend_once_where_the_policy_delivers() {
    let policy = "[sessions.main]\nstore = \"memory\"\non_refused = \"deliver\"\nheaders.nonce = \"required\"\n";
    let site = Site::answering(policy, |request| match request.target().as_str() {
        "/set" => ok().say("Set", "a=1").say("Nonce", request.told("Nonce")),
        "/forget" => ok().say("Set", "a=2"),
        _ => ok(),
    });
    let mut ada = site.browser();
    for path in ["/set", "/forget", "/", "/"] {
        assert_eq!(ada.fetch(&get(path)).status(), 200, "{path}");
    }
    let told: Vec<_> = site.upstream.take().iter().map(|seen| (seen.told("Error"), seen.data())).collect();
    let told: Vec<_> = told.iter().map(|(error, data)| (error.as_str(), data.as_str())).collect();
    assert_eq!(told, [("", ""), ("", "a=1"), ("nonce", "a=1"), ("", "a=1")]);
}
