//! `cloakroom sessions`: what an operator may know about sessions, and how he ends them.

use super::history::{HistoryArguments, history};
use super::server::{ServerArgument, as_json, span};
use super::{Failure, Outcome, print};
use crate::admin::{ClientError, Listed, Revocation, Revoked, SessionSummary, Wanted};
use clap::{Args, Subcommand};
use std::fmt::Write as _;

/// What to do with sessions.
#[derive(Clone, Debug, Subcommand)]
pub enum SessionsCommand {
    /// List sessions by their references, never what they hold
    List(ListArguments),
    /// Show what may be known about one session
    Show(ShowArguments),
    /// Tell what happened to a session, or to those of a user: what changed it, and what ended it
    History(HistoryArguments),
    /// End one session, all of a user, all of a policy, or all there are
    Revoke(RevokeArguments),
}

/// Arguments of `sessions list`.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// Only those of this session policy
    #[arg(long, value_name = "POLICY")]
    session: Option<String>,
    /// Only those of this user, as `X-Session-Login` named him
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// For programs
    #[arg(long)]
    json: bool,
    /// Which server is asked.
    #[command(flatten)]
    server: ServerArgument,
}

/// Arguments of `sessions show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArguments {
    /// The reference of the session, as logs and `X-Session-Ref` show it
    #[arg(allow_hyphen_values = true)]
    reference: String,
    /// For programs
    #[arg(long)]
    json: bool,
    /// Which server is asked.
    #[command(flatten)]
    server: ServerArgument,
}

/// Arguments of `sessions revoke`.
#[derive(Clone, Debug, Args)]
pub struct RevokeArguments {
    /// Which sessions end.
    #[command(flatten)]
    which: Which,
    /// Which server is told.
    #[command(flatten)]
    server: ServerArgument,
}

/// Which sessions end.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The reference of one session
    #[arg(allow_hyphen_values = true)]
    reference: Option<String>,
    /// All of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// All of this session policy that have begun by now
    #[arg(long, value_name = "POLICY")]
    session: Option<String>,
    /// All that have begun by now
    #[arg(long)]
    all: bool,
}

impl Which {
    fn revocation(&self) -> Revocation {
        match (&self.reference, &self.user, &self.session) {
            (Some(reference), ..) => Revocation::Reference(reference.clone()),
            (_, Some(user), _) => Revocation::User(user.clone()),
            (.., Some(policy)) => Revocation::Policy(policy.clone()),
            (None, None, None) => Revocation::All,
        }
    }
}

pub(super) fn sessions(command: &SessionsCommand) -> Outcome {
    match command {
        SessionsCommand::List(arguments) => list(arguments),
        SessionsCommand::Show(arguments) => show(arguments),
        SessionsCommand::History(arguments) => history(arguments),
        SessionsCommand::Revoke(arguments) => revoke(arguments),
    }
}

fn list(arguments: &ListArguments) -> Outcome {
    let ListArguments { session, user, limit, json, server } = arguments;
    let limit = (*limit).max(1);
    let listed = server.ask(async |client| {
        let mut wanted = Wanted { policy: session.clone(), user: user.clone(), ..Wanted::default() };
        let mut all = Listed::default();
        loop {
            wanted.limit = Some(limit - all.sessions.len());
            let page = client.sessions(&wanted).await?;
            all.sessions.extend(page.sessions);
            all.unlisted = page.unlisted;
            all.next.clone_from(&page.next);
            wanted.after = page.next;
            if wanted.after.is_none() || all.sessions.len() >= limit {
                all.sessions.truncate(limit);
                return Ok(all);
            }
        }
    })?;
    if *json {
        return print(&as_json(&listed));
    }
    if !listed.unlisted.is_empty() {
        eprintln!("the sessions of {} cannot be listed", quoted(&listed.unlisted));
    }
    if listed.next.is_some() {
        eprintln!("there may be more: `--limit` shows them");
    }
    print(&table(&listed.sessions))
}

fn table(sessions: &[SessionSummary]) -> String {
    let width = sessions.iter().map(|session| session.policy.len()).max().unwrap_or(0).max("policy".len());
    let mut text = format!(
        "{:16}  {:width$}  {:9}  {:>8}  {:>8}  {:>6}\n",
        "reference", "policy", "", "began", "ends in", "bytes"
    );
    for session in sessions {
        let SessionSummary { reference, policy, logged_in, began, ends, bytes, .. } = session;
        let who = if *logged_in { "logged in" } else { "anonymous" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{reference:16}  {policy:width$}  {who}  {:>8}  {:>8}  {bytes:>6}",
            span(*began),
            span(*ends)
        );
    }
    text
}

fn show(arguments: &ShowArguments) -> Outcome {
    let session = arguments.server.ask(async |client| {
        let mut after = None;
        loop {
            let page = client.session(&arguments.reference, after).await?;
            if let Some(session) = page.sessions.into_iter().next() {
                return Ok(session);
            }
            after = Some(page.next.ok_or_else(|| ClientError::Refused("the session has ended meanwhile".into()))?);
        }
    })?;
    print(&if arguments.json { as_json(&session) } else { text(&session) })
}

fn text(session: &SessionSummary) -> String {
    let SessionSummary { reference, policy, logged_in, began, ends, bytes, keys } = session;
    let who = if *logged_in { "logged in" } else { "anonymous" };
    let mut text = format!("reference  {reference}\npolicy     {policy}\nvisitor    {who}\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "began      {} ago, or logged in then\nends       in {}, unless it is used",
        span(*began),
        span(*ends)
    );
    let _ = writeln!(text, "size       {bytes} bytes");
    match keys {
        None => text.push_str("keys       sealed: only the visitor's cookie opens them\n"),
        Some(keys) if keys.is_empty() => text.push_str("keys       none\n"),
        Some(keys) => {
            let keys: Vec<String> = keys.iter().map(|key| format!("{} ({} bytes)", key.name, key.bytes)).collect();
            let _ = writeln!(text, "keys       {}", keys.join(", "));
        }
    }
    text
}

fn revoke(arguments: &RevokeArguments) -> Outcome {
    let which = arguments.which.revocation();
    let revoked = arguments.server.ask(async |client| {
        let mut after = None;
        loop {
            let revoked = client.revoke(&which, after).await?;
            match revoked.next {
                Some(next) => after = Some(next),
                None => return Ok(revoked),
            }
        }
    })?;
    let Revoked { policies, beyond_reach, found, .. } = &revoked;
    let ended = match &which {
        Revocation::Reference(reference) if *found == Some(1) => {
            format!("session {reference} of {} has ended", quoted(policies))
        }
        Revocation::Reference(reference) if policies.is_empty() => {
            return Err(Failure::Failed(format!(
                "there is no session `{reference}`, or it has ended already{}",
                beyond(beyond_reach)
            )));
        }
        Revocation::Reference(reference) => {
            format!("session {reference} has ended, if it was one of {}: those cannot be searched", quoted(policies))
        }
        _ if policies.is_empty() => {
            return Err(Failure::Failed(format!("no session has ended{}", beyond(beyond_reach))));
        }
        Revocation::User(_) => format!("every session of the user in {} has ended", quoted(policies)),
        Revocation::Policy(_) | Revocation::All => {
            format!("every session of {} that had begun has ended", quoted(policies))
        }
    };
    print(&(ended + "\n"))?;
    match which {
        Revocation::Reference(_) => Ok(()),
        _ if beyond_reach.is_empty() => Ok(()),
        _ => Err(Failure::Failed(format!("not all have ended{}", beyond(beyond_reach)))),
    }
}

fn beyond(policies: &[String]) -> String {
    if policies.is_empty() {
        return String::new();
    }
    format!("; those of {} are out of reach: browsers keep them, or their store cannot find them", quoted(policies))
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
