//! What happened to sessions, put to the managers: the answer to "who logged this user out?".

use super::Control;
use super::message::{Histories, HistoryOf, Occurrence, Outcome, SessionOutcome, Whose};
use super::route::Answer;
use super::sessions::{bad, chosen, lineage, owner};
use crate::clock::Timestamp;
use crate::manager::{Fate, HistoryError, RunOut, SessionManager, Subject};
use crate::session::{Happening, Lineage, What};
use cookie::time::OffsetDateTime;
use hyper::StatusCode;
use std::error::Error as _;

/// What is known of a session, or of a user's sessions, in every policy that keeps a history, or in one.
pub(super) async fn history(control: &dyn Control, asked: &HistoryOf) -> Result<Histories, Answer> {
    let subject = match &asked.whose {
        Some(Whose::Reference(reference)) => Subject::Session(lineage(reference)?),
        Some(Whose::User(user)) => Subject::Owner(owner(user)?),
        None => return Err(bad("whose history? expected `reference` or `user`")),
    };
    let (managers, now) = (chosen(control, asked.policy.as_deref())?, control.now());
    let mut told = Histories::default();
    let mut kept = false;
    for manager in &managers {
        match manager.history(&subject, now).await {
            Ok(account) => {
                kept = true;
                let policy = &manager.options().name;
                told.dropped += account.dropped;
                told.more_sessions |= account.is_cut;
                told.happened.extend(account.rows.iter().map(|row| occurrence(policy, row.of, &row.happening)));
                told.sessions.extend(account.sessions.iter().map(|told| SessionOutcome {
                    reference: told.standing.lineage.as_text(),
                    policy: policy.clone(),
                    logged_in: told.standing.owner.is_some(),
                    outcome: outcome(policy, &told.fate),
                }));
            }
            Err(HistoryError::NotKept) if managers.len() > 1 => {}
            Err(error) => return Err(failed(manager, &error)),
        }
    }
    if !kept {
        return Err(Answer::fault(
            StatusCode::CONFLICT,
            "no session policy keeps a history: `history = 20` in one does",
        ));
    }
    if told.happened.is_empty() && told.sessions.is_empty() {
        let error = "nothing is known: there was no such session or user, or it was longer ago than `history_keeps`";
        return Err(Answer::fault(StatusCode::NOT_FOUND, error));
    }
    told.happened.sort_by(|one, other| one.at.cmp(&other.at));
    Ok(told)
}

fn outcome(policy: &str, fate: &Fate) -> Outcome {
    match fate {
        Fate::Live(until) => Outcome::Lives { until: moment(*until) },
        Fate::MayLive(until) => Outcome::MayLive { until: moment(*until) },
        Fate::Ended(by) => Outcome::Ended { by: Box::new(occurrence(policy, None, by)) },
        Fate::Expired(at, clock) => Outcome::Expired { at: moment(*at), idle: *clock == RunOut::Idle },
        Fate::NotBefore(before) => Outcome::Revoked { before: Some(moment(*before)) },
        Fate::Revoked => Outcome::Revoked { before: None },
        Fate::Missing => Outcome::Missing,
    }
}

fn occurrence(policy: &str, of: Option<Lineage>, happening: &Happening) -> Occurrence {
    let reason = match happening.what {
        What::Refused(reason) => Some(reason.as_str().to_owned()),
        _ => None,
    };
    let reference = |lineage: Option<Lineage>| lineage.map(|lineage| lineage.as_text());
    Occurrence {
        at: moment(happening.at),
        since: (happening.times > 1).then(|| moment(happening.since)),
        times: happening.times,
        policy: policy.to_owned(),
        session: reference(of.or(happening.session)),
        by: reference(happening.session),
        other: reference(happening.other),
        route: Some(happening.route.as_str().to_owned()).filter(|route| !route.is_empty()),
        what: happening.what.as_str().to_owned(),
        reason,
        verbs: happening.asked.verbs().map(str::to_owned).collect(),
        keys: happening.asked.keys().iter().map(ToString::to_string).collect(),
        more_keys: happening.asked.more_keys(),
        ended: happening.ended.count(),
    }
}

/// A moment of UTC as RFC 3339 writes it, with milliseconds.
fn moment(timestamp: Timestamp) -> String {
    let seconds = i64::try_from(timestamp.as_secs()).unwrap_or(i64::MAX);
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds) else { return "9999-12-31T23:59:59.999Z".into() };
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", timestamp.as_millis() % 1000)
}

/// What a question to a policy came to. The store's causes are for the operator, who asks.
fn failed(manager: &SessionManager, error: &HistoryError) -> Answer {
    let status = match error {
        HistoryError::NotKept => StatusCode::CONFLICT,
        HistoryError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut text = format!("session policy `{}`: {error}", manager.options().name);
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Answer::fault(status, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_utc() {
        let written = |millis| moment(Timestamp::from_millis(millis));
        assert_eq!(written(1_798_675_200_007), "2026-12-31T00:00:00.007Z");
        assert_eq!(written(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(Timestamp::NEVER), "9999-12-31T23:59:59.999Z");
    }
}
