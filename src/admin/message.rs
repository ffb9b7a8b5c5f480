//! The words of the API: what both ends write as JSON.
//!
//! Neither ids nor values are among them; a user's name goes in one direction only.

use serde::{Deserialize, Serialize};

/// Why a request was not answered as it asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// One sentence.
    pub error: String,
}

/// What the server is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// For how many seconds it has been running.
    pub uptime: u64,
    /// The file of its configuration.
    pub configuration: Option<String>,
    /// How many seconds ago that was read.
    pub loaded: u64,
    /// How often it was read again since the start.
    pub reloads: u64,
    /// Requests that are being answered.
    pub requests: usize,
    /// Connections that stand.
    pub connections: usize,
    /// The addresses of its listeners.
    pub listeners: Vec<String>,
    /// Its session policies.
    pub policies: Vec<PolicyStatus>,
}

/// One session policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Its name.
    pub name: String,
    /// The store of its sessions; `cookie` where browsers keep them.
    pub store: String,
    /// The sessions can be listed one by one.
    pub lists: bool,
    /// The sessions of a user can be found.
    pub finds_users: bool,
    /// Sessions can be ended from here.
    pub revokes: bool,
}

/// The configuration was read again, and is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The file.
    pub configuration: String,
    /// What should be known about it, as `check` prints it; empty when there is nothing.
    pub warnings: String,
}

/// The configuration on the disk cannot be served; the old one goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unusable {
    /// One sentence.
    pub error: String,
    /// The problems of the file, as `check` prints them, where the file is at fault.
    pub problems: Option<String>,
}

/// Which sessions are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Those of this policy; of all policies without it.
    pub policy: Option<String>,
    /// Those of this user.
    pub user: Option<String>,
    /// So many at most.
    pub limit: Option<usize>,
    /// From here on: the `next` of the answer before.
    pub after: Option<String>,
}

/// Sessions, and whether there may be more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The sessions.
    pub sessions: Vec<SessionSummary>,
    /// Where to go on; nothing when these were the last.
    pub next: Option<String>,
    /// The policies whose sessions nobody can list, where all were asked for.
    pub unlisted: Vec<String>,
}

/// What may be known about one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    /// Its reference, as logs and `X-Session-Ref` call it.
    pub reference: String,
    /// Its policy.
    pub policy: String,
    /// Somebody is logged in.
    pub logged_in: bool,
    /// How many seconds ago its absolute clock began: when it came into being, or at the last login.
    pub began: u64,
    /// In how many seconds it ends unless it is used.
    pub ends: u64,
    /// What it takes in the store.
    pub bytes: usize,
    /// The names of its keys, where the store may read what it holds.
    pub keys: Option<Vec<Key>>,
}

/// A key of a session, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// The length of its value.
    pub bytes: usize,
}

/// Which sessions end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Revocation {
    /// The one with this reference.
    Reference(String),
    /// All of this user.
    User(String),
    /// All of this policy that have begun by now.
    Policy(String),
    /// All that have begun by now.
    All,
}

/// What has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The policies whose sessions were meant and have ended.
    pub policies: Vec<String>,
    /// The policies whose sessions cannot be ended from here.
    pub beyond_reach: Vec<String>,
    /// How many sessions were found, where they are looked for one by one.
    pub found: Option<u64>,
    /// Where to go on looking; nothing when all is done.
    pub next: Option<String>,
}

/// Whose history is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// That of the session with this reference.
    Reference(String),
    /// That of this user's sessions.
    User(String),
}

/// What is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryOf {
    /// Whose history.
    pub whose: Option<Whose>,
    /// In this policy; in all that keep one without it.
    pub policy: Option<String>,
}

/// What happened to sessions. Times are of UTC, as RFC 3339 writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histories {
    /// The sessions, and what became of each.
    pub sessions: Vec<SessionOutcome>,
    /// What happened, the oldest first.
    pub happened: Vec<Occurrence>,
    /// How many older changes are kept no more.
    pub dropped: u64,
    /// The user has more sessions than are told of.
    pub more_sessions: bool,
}

/// One session that has a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOutcome {
    /// Its reference.
    pub reference: String,
    /// Its policy.
    pub policy: String,
    /// Somebody was logged in.
    pub logged_in: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// It lives.
    Lives {
        /// Until then, unless it is used.
        until: String,
    },
    /// It may live: browsers keep the sessions of its policy.
    MayLive {
        /// Until then at least, unless it has ended.
        until: String,
    },
    /// Somebody ended it.
    Ended {
        /// This did.
        by: Box<Occurrence>,
    },
    /// A clock ended it.
    Expired {
        /// When.
        at: String,
        /// It was not used; otherwise it lasted as long as it may.
        idle: bool,
    },
    /// The operator ended it, in the configuration or since.
    Revoked {
        /// With all that had begun before this moment.
        before: Option<String>,
    },
    /// Its store has it no more, and nothing that is known has ended it.
    Missing,
}

/// One change, or several in a row that are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// When, at last.
    pub at: String,
    /// When first, of several.
    pub since: Option<String>,
    /// How many times.
    pub times: u32,
    /// The policy.
    pub policy: String,
    /// The session that it happened to, or that did it to others.
    pub session: Option<String>,
    /// The session whose page asked for it; nothing where the operator did it.
    pub by: Option<String>,
    /// The session that began in its place, or that it began in the place of.
    pub other: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// What it was, in words.
    pub what: String,
    /// Why it was refused.
    pub reason: Option<String>,
    /// The commands, as the protocol spells them.
    pub verbs: Vec<String>,
    /// The keys that they named.
    pub keys: Vec<String>,
    /// How many more keys there were.
    pub more_keys: u16,
    /// How many other sessions of the user ended by it, where they were counted.
    pub ended: Option<u32>,
}
