//! `cloakroom sessions history`: who logged this user out?

use super::server::{ServerArgument, as_json};
use super::{Outcome as Result, print};
use crate::admin::{Histories, HistoryOf, Occurrence, Outcome, SessionOutcome, Whose};
use crate::session::What;
use clap::Args;
use std::fmt::Write as _;

/// Arguments of `sessions history`.
#[derive(Clone, Debug, Args)]
pub struct HistoryArguments {
    /// Whose history.
    #[command(flatten)]
    whose: WhoseArgument,
    /// Only in this session policy
    #[arg(long, value_name = "POLICY")]
    session: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
    /// Which server is asked.
    #[command(flatten)]
    server: ServerArgument,
}

/// Whose history.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct WhoseArgument {
    /// The reference of a session, as logs and `X-Session-Ref` show it
    #[arg(allow_hyphen_values = true)]
    reference: Option<String>,
    /// All sessions of this user, as `X-Session-Login` named him
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl WhoseArgument {
    fn whose(&self) -> Option<Whose> {
        let reference = self.reference.clone().map(Whose::Reference);
        reference.or_else(|| self.user.clone().map(Whose::User))
    }
}

pub(super) fn history(arguments: &HistoryArguments) -> Result {
    let HistoryArguments { whose, session, json, server } = arguments;
    let asked = HistoryOf { whose: whose.whose(), policy: session.clone() };
    let told = server.ask(async |client| client.history(&asked).await)?;
    if *json {
        return print(&as_json(&told));
    }
    if told.dropped > 0 {
        eprintln!("{} older changes are kept no more: a larger `history` keeps them", told.dropped);
    }
    if told.more_sessions {
        eprintln!("the user had more sessions than are told of: ask for one by its reference");
    }
    print(&text(&told))
}

fn text(told: &Histories) -> String {
    let route = |happened: &Occurrence| happened.route.as_deref().map_or_else(|| "-".into(), printable);
    let width =
        told.happened.iter().map(|happened| route(happened).chars().count()).max().unwrap_or(0).max("route".len());
    let mut text = format!("{:20}  {:16}  {:width$}  what\n", "time", "session", "route");
    for happened in &told.happened {
        let session = happened.session.as_deref().unwrap_or("all of the user");
        let (time, route) = (short(&happened.at), route(happened));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{time:20}  {session:16}  {route:width$}  {}", what(happened));
    }
    text.push('\n');
    for session in &told.sessions {
        let SessionOutcome { reference, outcome, .. } = session;
        let _ = writeln!(text, "{reference:16}  {}", fate(reference, outcome));
    }
    text
}

/// What happened, in a line.
fn what(happened: &Occurrence) -> String {
    let mut text = match &happened.reason {
        Some(reason) => format!("{} ({reason})", happened.what),
        None if happened.by.is_none() => format!("{} by the operator", happened.what),
        None => happened.what.clone(),
    };
    if let Some(other) = &happened.other {
        let _ = write!(text, " {} {other}", if happened.what == "began" { "after" } else { "to" });
    }
    if !happened.verbs.is_empty() {
        let _ = write!(text, ": {}", happened.verbs.join(", "));
    }
    if !happened.keys.is_empty() {
        let more = if happened.more_keys > 0 { format!(" and {} more", happened.more_keys) } else { String::new() };
        let _ = write!(text, " ({}{more})", happened.keys.join(", "));
    }
    match happened.ended {
        Some(0) | None => {}
        Some(1) => text.push_str("; 1 other session ended"),
        Some(count) => {
            let _ = write!(text, "; {count} other sessions ended");
        }
    }
    if let Some(since) = &happened.since {
        let _ = write!(text, "; {} times since {}", happened.times, short(since));
    }
    text
}

/// What became of a session, in a line.
fn fate(reference: &str, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Lives { until } => format!("lives until {}, unless it is used", short(until)),
        Outcome::MayLive { until } => {
            format!("may live until {}: only the visitor's browser knows", short(until))
        }
        Outcome::Ended { by } => {
            let route =
                by.route.as_deref().map_or_else(String::new, |route| format!(" on route `{}`", printable(route)));
            let who = match &by.by {
                None if by.what == What::Revoked.as_str() => return format!("ended {} by the operator", short(&by.at)),
                None => return format!("ended {}: its visitor was another (`binding`)", short(&by.at)),
                Some(own) if own == reference => format!("a page of its own{route}"),
                Some(other) => format!("a page of session {other}{route}"),
            };
            let asked = if by.verbs.is_empty() { String::new() } else { format!(": {}", by.verbs.join(", ")) };
            format!("ended {} by {who}{asked}", short(&by.at))
        }
        Outcome::Expired { at, idle: true } => format!("ended {}: it was not used (`idle_timeout`)", short(at)),
        Outcome::Expired { at, idle: false } => {
            format!("ended {}: it may not last longer (`absolute_timeout`, or its cookie's `max_age`)", short(at))
        }
        Outcome::Revoked { before: Some(before) } => {
            format!("ended by the operator, with all that began before {}", short(before))
        }
        Outcome::Revoked { before: None } => "ended by the operator".into(),
        Outcome::Missing => {
            "is not in its store, and nothing known has ended it: the store lost it, or somebody deleted it".into()
        }
    }
}

/// A moment to the second, for people.
fn short(moment: &str) -> String {
    moment.split_once('.').map_or(moment.to_owned(), |(seconds, _)| seconds.replace('T', " ") + "Z")
}

/// The name of a route as it may stand on a terminal.
fn printable(name: &str) -> String {
    name.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
