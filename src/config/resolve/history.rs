//! `[sessions.<name>] history`: how much is kept of what happened to sessions, and where that can be.

use super::super::file::Session;
use super::super::given::At;
use super::super::problem::Problem;
use super::super::unit::Period;
use super::Resolver;
use crate::manager::{HistoryOptions, Keep};
use crate::session::History;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn history(
    name: &At<String>,
    session: &Session,
    keep: Option<&Keep>,
    to: &mut Resolver<'_>,
) -> Option<HistoryOptions> {
    let most = u32::try_from(History::MAX).unwrap_or(u32::MAX);
    let most = to.within("history", &session.history, 0, 0..=most) as usize;
    let bounds = Period(Duration::from_secs(3600))..=Period(90 * DAY);
    let keeps = to.within("history_keeps", &session.history_keeps, Period(7 * DAY), bounds).0;
    if most == 0 {
        let is_off = session.history.get().is_none_or(|most| *most == 0);
        if let Some(given) = session.history_keeps.at().filter(|_| is_off) {
            let problem = Problem::error("session::history", "`history_keeps` means nothing without `history`");
            to.report(problem.at(given.span.clone()).help("add `history = 20`, or remove it"));
        }
        return None;
    }
    if matches!(keep, Some(Keep::Browser(_))) && session.revocation.at().is_none() {
        let message = format!("`{}` has no store to keep a history in: its sessions lie in cookies", name.value);
        let problem = Problem::error("session::history", message).at(session.history.span_or(&name.span));
        to.report(
            problem.help("name the store that remembers ends, too, such as `revocation = \"disk\"`, or remove it"),
        );
    }
    Some(HistoryOptions { most, keeps })
}
