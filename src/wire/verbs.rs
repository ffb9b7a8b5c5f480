//! The arguments of single commands: flags, scopes, seconds, clocks, attributes.

use super::{dialect, grammar};
use crate::session::{Batch, CookieWish, ExpireWish, Flash, Name, Picked, Refusal, Refused, Scope};
use std::time::Duration;

pub(super) fn not(what: &str, expected: &str) -> Refused {
    Refused::new(Refusal::Type, format!("{what} is not {expected}"))
}

pub(super) fn json_pairs(verb: &str, value: &[u8]) -> Result<Vec<(Name, serde_json::Value)>, Refused> {
    let pairs = dialect::objects(verb, value)?.into_iter().flatten();
    pairs.map(|(name, json)| Ok((grammar::key(verb, name.as_bytes())?, json))).collect()
}

pub(super) fn one(verb: &str, value: &[u8]) -> Result<bool, Refused> {
    let mut items = grammar::items(value).peekable();
    if items.peek().is_some() && items.all(|item| item == b"1") {
        Ok(true)
    } else {
        Err(not(&format!("{verb}: this"), "`1`"))
    }
}

pub(super) fn seconds(verb: &str, text: &str) -> Result<Duration, Refused> {
    let seconds: u32 = text.parse().map_err(|_| not(&format!("{verb}: a value"), "a number of seconds"))?;
    Ok(Duration::from_secs(seconds.into()))
}

pub(super) fn destroy(batch: &mut Batch, value: &[u8]) -> Result<(), Refused> {
    for item in grammar::items(value) {
        let scope = match item {
            b"1" => Scope::This,
            b"others" => Scope::Others,
            b"all" => Scope::All,
            _ => return Err(not("Destroy: this", "`1`, `others` or `all`")),
        };
        batch.destroy = Some(wider(batch.destroy, scope));
    }
    Ok(())
}

/// Several `Destroy` lines end all that any of them names.
pub(super) const fn wider(before: Option<Scope>, scope: Scope) -> Scope {
    match (before, scope) {
        (Some(Scope::This), Scope::Others) | (Some(Scope::Others), Scope::This) | (Some(Scope::All), _) => Scope::All,
        (_, scope) => scope,
    }
}

/// `1`, levels, and lists as `list=cart`; `list=` names what is in no list. Whatever is named by any item is meant.
pub(super) fn pick(picked: &mut Option<Picked>, verb: &str, value: &[u8]) -> Result<(), Refused> {
    for item in grammar::items(value) {
        let all = item == b"1" || matches!(picked, Some(Picked::All));
        let (mut levels, mut lists) = match picked.take() {
            Some(Picked::Only { levels, lists }) => (levels, lists),
            Some(Picked::All) | None => Default::default(),
        };
        match item.strip_prefix(Flash::LIST.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
            _ if item == b"1" => {}
            Some(b"") => drop(lists.insert(None)),
            Some(list) => drop(lists.insert(Some(grammar::key(verb, list)?))),
            None => drop(levels.insert(grammar::key(verb, item)?)),
        }
        *picked = Some(if all { Picked::All } else { Picked::Only { levels, lists } });
    }
    Ok(())
}

pub(super) fn expire(wish: &mut ExpireWish, name: &str, text: &str) -> Result<(), Refused> {
    let positive = |text| match seconds("Expire", text)? {
        Duration::ZERO => Err(not("Expire: 0", "a time: to end a session use Destroy")),
        span => Ok(Some(span)),
    };
    match (name, text) {
        ("idle", text) => wish.idle = positive(text)?,
        ("absolute", text) => wish.absolute = positive(text)?,
        ("persist", "0") => wish.persist = Some(false),
        ("persist", "1") => wish.persist = Some(true),
        ("persist", _) => return Err(not("Expire: persist", "`0` or `1`")),
        _ => return Err(Refused::new(Refusal::Key, "Expire: the clocks are `idle`, `absolute` and `persist`")),
    }
    Ok(())
}

pub(super) fn attribute(wish: &mut CookieWish, name: &str, text: String) -> Result<(), Refused> {
    match name {
        "path" => wish.path = Some(text),
        "domain" => wish.domain = Some(text),
        _ => return Err(Refused::new(Refusal::Key, "Cookie: the attributes are `path` and `domain`")),
    }
    Ok(())
}
