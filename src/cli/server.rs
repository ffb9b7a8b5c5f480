//! `cloakroom status` and `cloakroom reload`: what a running server is doing, and what it is to do.

use super::{Failure, FileArgument, Outcome, print};
use crate::admin::{Client, ClientError, PolicyStatus, Status};
use crate::config::admin_socket;
use clap::Args;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Which running server is meant.
#[derive(Clone, Debug, Args)]
pub struct ServerArgument {
    /// The configuration that the server serves: it says where the admin socket is
    #[command(flatten)]
    file: FileArgument,
    /// The admin socket itself
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
}

impl ServerArgument {
    /// Asks the server.
    ///
    /// # Errors
    /// [`Failure::Failed`] when it does not answer or says no, [`Failure::Unusable`] when its configuration is at fault.
    pub(super) fn ask<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        question: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => admin_socket(&self.file.find()?).ok_or_else(|| {
                Failure::Failed("this configuration has no admin socket: `socket = \"\"` in [admin]".into())
            })?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Failed(format!("no connection can be made: {error}")))?;
        runtime.block_on(question(Client::new(&socket))).map_err(|error| match error {
            ClientError::Unusable(unusable) => {
                let problems = unusable.problems.map(|problems| problems + "\n").unwrap_or_default();
                Failure::Unusable(format!("{problems}error: {}", unusable.error))
            }
            error => Failure::Failed(error.to_string()),
        })
    }
}

/// Arguments of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArguments {
    /// Which server is asked.
    #[command(flatten)]
    server: ServerArgument,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Arguments of `reload`.
#[derive(Clone, Debug, Args)]
pub struct ReloadArguments {
    /// Which server is told.
    #[command(flatten)]
    server: ServerArgument,
}

pub(super) fn status(arguments: &StatusArguments) -> Outcome {
    let status = arguments.server.ask(async |client| client.status().await)?;
    print(&if arguments.json { as_json(&status) } else { text(&status) })
}

pub(super) fn reload(arguments: &ReloadArguments) -> Outcome {
    let reloaded = arguments.server.ask(async |client| client.reload().await)?;
    if !reloaded.warnings.is_empty() {
        eprintln!("{}", reloaded.warnings);
    }
    print(&format!("{} is served\n", reloaded.configuration))
}

/// An answer for programs.
pub(super) fn as_json(answer: &impl serde::Serialize) -> String {
    // None of our answers holds what JSON cannot say.
    serde_json::to_string_pretty(answer).unwrap_or_default() + "\n"
}

fn text(status: &Status) -> String {
    let file = status.configuration.as_deref().unwrap_or("the command line");
    let (uptime, loaded) = (span(status.uptime), span(status.loaded));
    let mut text = format!("version        {}, process {}, up {uptime}\n", status.version, status.pid);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "configuration  {file}, read {loaded} ago, reloaded {} times", status.reloads);
    let _ = writeln!(text, "listeners      {}", status.listeners.join(", "));
    let _ = writeln!(text, "requests       {} on {} connections", status.requests, status.connections);
    for PolicyStatus { name, store, lists, finds_users, revokes } in &status.policies {
        let can = [("listed", lists), ("found by user", finds_users), ("ended from here", revokes)];
        let can: Vec<&str> = can.iter().filter(|(_, can)| **can).map(|(word, _)| *word).collect();
        let can = if can.is_empty() { "out of reach from here".to_owned() } else { can.join(", ") };
        let _ = writeln!(text, "sessions       {name} in {store}: {can}");
    }
    text
}

/// A span of time in its largest unit, with one below.
pub(super) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let Some(at) = UNITS.iter().position(|(unit, _)| seconds >= *unit) else { return "0s".into() };
    let (unit, name) = UNITS[at];
    match UNITS.get(at + 1) {
        Some((below, below_name)) if seconds % unit >= *below => {
            format!("{}{name} {}{below_name}", seconds / unit, seconds % unit / below)
        }
        _ => format!("{}{name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_short() {
        let spans: Vec<String> = [0, 59, 60, 61, 3600, 3659, 3661, 90_000, 172_800].map(span).into();
        assert_eq!(spans, ["0s", "59s", "1m", "1m 1s", "1h", "1h", "1h 1m", "1d 1h", "2d"]);
    }
}
