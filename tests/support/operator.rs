//! An operator at the machine: the commands that ask a running proxy, and its socket.

use super::client::Client;
use super::message::Message;
use super::proxy::Proxy;
use serde_json::Value as Json;
use std::path::PathBuf;
use std::process::Command;

/// What a configuration needs for an operator to be heard, beside what every test needs.
pub const HEARD: &str = "[server]\nthreads = 2\nstate_dir = \"state\"\nruntime_dir = \"run\"\n";

/// How a command ended: exit code, standard output, standard error without the line that names the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// An operator of one proxy.
pub struct Operator<'p>(pub &'p Proxy);

impl Operator<'_> {
    /// Calls the program in the directory of the proxy.
    pub fn call(&self, arguments: &[&str]) -> Ending {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
        let command = command.current_dir(self.0.dir()).env_remove("CLOAKROOM_CONFIG").args(arguments);
        let output = command.output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let err = text(&output.stderr);
        let err = err.strip_prefix("configuration: cloakroom.toml\n").map_or(err.clone(), str::to_owned);
        Ending { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err }
    }

    /// Calls it and expects it to succeed; what it prints.
    pub fn says(&self, arguments: &[&str]) -> String {
        let ending = self.call(arguments);
        assert_eq!(ending.code, 0, "{arguments:?}: {ending:?}");
        ending.out
    }

    /// The same as JSON.
    pub fn tells(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.says(&[arguments, &["--json"]].concat())).expect("it is JSON")
    }

    /// The references of the sessions that are listed, sorted.
    pub fn references(&self, arguments: &[&str]) -> Vec<String> {
        let listed = self.tells(&[&["sessions", "list"], arguments].concat());
        let sessions = listed["sessions"].as_array().expect("a list").iter();
        let mut all: Vec<_> = sessions.map(|one| one["reference"].as_str().expect("a text").to_owned()).collect();
        all.sort();
        all
    }

    /// The path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.0.path("run/admin.sock")
    }

    /// A connection to the socket.
    pub fn connect(&self) -> Client {
        Client::unix(&self.socket())
    }

    /// What the socket answers to these bytes.
    pub fn answer(&self, bytes: impl AsRef<[u8]>) -> Message {
        let mut client = self.connect();
        client.send(bytes);
        client.answer("GET")
    }
}
