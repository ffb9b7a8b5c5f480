//! Which request is which question.

use super::message::{HistoryOf, Wanted, Whose};
use super::{Control, histories, sessions};
use hyper::body::Bytes;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What every path begins with: the version of the API.
const VERSION: &str = "/v1/";

/// An answer, as JSON.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) json: Vec<u8>,
}

impl Answer {
    /// An answer with this body.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_vec_pretty(body) {
            Ok(mut json) => {
                json.push(b'\n');
                Self { status, json }
            }
            // None of our words holds what JSON cannot say.
            Err(_) => Self { status: StatusCode::INTERNAL_SERVER_ERROR, json: Vec::new() },
        }
    }

    fn of<T: Serialize>(result: Result<T, Self>) -> Self {
        result.map_or_else(|fault| fault, |body| Self::json(StatusCode::OK, &body))
    }
}

/// Answers a request.
pub(super) async fn answer(head: &Parts, body: &Bytes, control: &dyn Control) -> Answer {
    let path = head.uri.path();
    let Some(path) = path.strip_prefix(VERSION) else {
        return Answer::fault(StatusCode::NOT_FOUND, "nothing is there: every path begins with `/v1/`");
    };
    let segments: Result<Vec<String>, Answer> = path.split('/').map(word).collect();
    let segments = match segments {
        Ok(segments) => segments,
        Err(fault) => return fault,
    };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let query = head.uri.query().unwrap_or_default();
    match (&head.method, segments.as_slice()) {
        (&Method::GET, ["status"]) => Answer::of(Ok(control.status())),
        (&Method::POST, ["reload"]) => match control.reload().await {
            Ok(reloaded) => Answer::of(Ok(reloaded)),
            Err(unusable) => Answer::json(StatusCode::UNPROCESSABLE_ENTITY, &unusable),
        },
        (&Method::GET, ["sessions"]) => Answer::of(match parsed(query) {
            Ok(wanted) => sessions::list(control, &wanted).await,
            Err(fault) => Err(fault),
        }),
        (&Method::GET, ["sessions", reference]) => Answer::of(match after(query) {
            Ok(after) => sessions::show(control, reference, after.as_deref()).await,
            Err(fault) => Err(fault),
        }),
        (&Method::GET, ["histories"]) => Answer::of(match history_of(query) {
            Ok(asked) => histories::history(control, &asked).await,
            Err(fault) => Err(fault),
        }),
        (&Method::POST, ["revocations"]) => Answer::of(match (given(body), after(query)) {
            (Ok(revocation), Ok(after)) => sessions::revoke(control, &revocation, after.as_deref()).await,
            (Err(fault), _) | (_, Err(fault)) => Err(fault),
        }),
        (_, ["status" | "reload" | "sessions" | "histories" | "revocations"] | ["sessions", _]) => {
            Answer::fault(StatusCode::METHOD_NOT_ALLOWED, format!("{} is not a method of this path", head.method))
        }
        _ => Answer::fault(
            StatusCode::NOT_FOUND,
            "nothing is there: `status`, `reload`, `sessions`, `sessions/REF`, `histories` and `revocations` are under `/v1/`",
        ),
    }
}

/// A body of JSON.
fn given<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| {
        Answer::fault(StatusCode::BAD_REQUEST, format!("the body is not what is expected here: {error}"))
    })
}

/// A part of a path or of a query, decoded.
fn word(text: &str) -> Result<String, Answer> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(String::from).map_err(|_| Answer::fault(StatusCode::BAD_REQUEST, "the address is not UTF-8"))
}

/// The pairs of a query.
fn pairs(query: &str) -> Result<Vec<(String, String)>, Answer> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| Ok((word(name)?, word(value)?))).collect()
}

fn parsed(query: &str) -> Result<Wanted, Answer> {
    let mut wanted = Wanted::default();
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "policy" => wanted.policy = Some(value),
            "user" => wanted.user = Some(value),
            "after" => wanted.after = Some(value),
            "limit" => {
                let limit = value
                    .parse()
                    .map_err(|_| Answer::fault(StatusCode::BAD_REQUEST, "`limit` is not a number such as 100"))?;
                wanted.limit = Some(limit);
            }
            name => return Err(stranger(name)),
        }
    }
    Ok(wanted)
}

fn history_of(query: &str) -> Result<HistoryOf, Answer> {
    let mut asked = HistoryOf::default();
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "policy" => asked.policy = Some(value),
            "reference" => asked.whose = Some(Whose::Reference(value)),
            "user" => asked.whose = Some(Whose::User(value)),
            name => return Err(stranger(name)),
        }
    }
    Ok(asked)
}

fn after(query: &str) -> Result<Option<String>, Answer> {
    let mut after = None;
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "after" => after = Some(value),
            name => return Err(stranger(name)),
        }
    }
    Ok(after)
}

fn stranger(name: &str) -> Answer {
    Answer::fault(StatusCode::BAD_REQUEST, format!("`{}` is not a word of this question", name.escape_default()))
}
