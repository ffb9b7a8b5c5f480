//! Applying a batch to a record. Pure, and repeatable on a newer record after a conflict.

use super::batch::{Changes, Condition, CookieWish, ExpireWish, Keys, NewFlash, Refusal, Refused, SetTo};
use super::expiry::Expiry;
use super::name::{Flash, Name, Value};
use super::record::Record;
use crate::clock::Timestamp;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::time::Duration;

/// What one session may grow to (protocol and `config`: numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Keys in one session.
    pub keys: usize,
    /// Bytes of one value.
    pub value_bytes: usize,
    /// Bytes of the whole record.
    pub session_bytes: usize,
    /// Items of a list made by `X-Session-Push`; the oldest go first.
    pub list_items: usize,
    /// Flash messages waiting at one time; the oldest go first.
    pub flashes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { keys: 128, value_bytes: 4096, session_bytes: 16 * 1024, list_items: 100, flashes: 32 }
    }
}

/// Whether every condition holds on `record`; `None` is a visitor without a session.
///
/// # Errors
/// [`Refusal::Condition`], naming the condition that does not hold.
pub fn check(conditions: &[Condition], record: Option<&Record>, now: Timestamp) -> Result<(), Refused> {
    let held = |name: &Name| record.and_then(|record| record.values.get(name)).filter(|value| !value.is_dead(now));
    for condition in conditions {
        let (holds, what) = match condition {
            Condition::Version(wanted) => {
                (record.map_or(0, |record| record.revision) == *wanted, String::from("@version"))
            }
            Condition::Equals(name, text) => (held(name).is_some_and(|value| value.text == *text), name.to_string()),
            Condition::Absent(name) => (held(name).is_none(), format!("!{name}")),
        };
        if !holds {
            return Err(Refused::new(Refusal::Condition, format!("the condition on `{what}` does not hold")));
        }
    }
    Ok(())
}

impl Changes {
    /// Applies the changes in the order of their effects; `keys` are those the route may change.
    ///
    /// # Errors
    /// The refusal of the first change that cannot be made; `record` is then of no use.
    pub fn apply(&self, record: &mut Record, keys: &Keys, limits: &Limits, now: Timestamp) -> Result<(), Refused> {
        let values = &mut record.values;
        values.retain(|_, value| !value.is_dead(now));
        if self.clear || self.replace.is_some() {
            values.retain(|name, _| !keys.has(name.as_str()));
        }
        values.extend(self.replace.iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        values.retain(|name, _| !self.unset.contains(name));
        for (name, value) in &self.init {
            values.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (name, to) in &self.set {
            set(values, name, to);
        }
        for (name, amount) in &self.add {
            add(values, name, *amount)?;
        }
        for (name, text) in &self.push {
            push(values, name, text, limits.list_items)?;
        }
        for (name, left) in &self.ttl {
            live_for(values, name, *left, now);
        }
        for flash in &self.flash {
            announce(record, flash, limits.flashes);
        }
        within(limits, record)
    }
}

fn set(values: &mut BTreeMap<Name, Value>, name: &Name, to: &SetTo) {
    let value = match to {
        SetTo::Value(value) => value.clone(),
        SetTo::Merge(patch) => {
            let held = values.get(name).filter(|value| value.json).map(|value| value.text.as_str());
            let mut object = held.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            merge(&mut object, patch);
            Value::json(&Json::Object(object))
        }
    };
    values.insert(name.clone(), value);
}

/// JSON merge patch, RFC 7396, section 2.
fn merge(target: &mut Map<String, Json>, patch: &Map<String, Json>) {
    for (key, value) in patch {
        match value {
            Json::Null => {
                target.remove(key);
            }
            Json::Object(patch) => {
                let inner = target.entry(key.clone()).or_insert_with(|| Json::Object(Map::new()));
                if !inner.is_object() {
                    *inner = Json::Object(Map::new());
                }
                if let Json::Object(inner) = inner {
                    merge(inner, patch);
                }
            }
            other => {
                target.insert(key.clone(), other.clone());
            }
        }
    }
}

fn add(values: &mut BTreeMap<Name, Value>, name: &Name, amount: i64) -> Result<(), Refused> {
    let Some(value) = values.get_mut(name) else {
        values.insert(name.clone(), Value::text(amount.to_string()));
        return Ok(());
    };
    let held: i64 = value
        .text
        .parse()
        .map_err(|_| Refused::new(Refusal::Type, format!("Add: the value of `{name}` is not an integer")))?;
    let sum = held
        .checked_add(amount)
        .ok_or_else(|| Refused::new(Refusal::Limit, format!("Add: `{name}` would leave the range of 64 bits")))?;
    value.text = sum.to_string();
    Ok(())
}

fn push(values: &mut BTreeMap<Name, Value>, name: &Name, text: &str, most: usize) -> Result<(), Refused> {
    let mut list: Vec<Json> = match values.get(name) {
        None => Vec::new(),
        Some(held) => serde_json::from_str(&held.text)
            .map_err(|_| Refused::new(Refusal::Type, format!("Push: the value of `{name}` is not a list")))?,
    };
    list.push(Json::String(text.to_owned()));
    let surplus = list.len().saturating_sub(most);
    list.drain(..surplus);
    let deadline = values.get(name).and_then(|held| held.deadline);
    values.insert(name.clone(), Value { deadline, ..Value::json(&Json::Array(list)) });
    Ok(())
}

fn live_for(values: &mut BTreeMap<Name, Value>, name: &Name, left: Duration, now: Timestamp) {
    if left.is_zero() {
        values.remove(name);
    } else if let Some(value) = values.get_mut(name) {
        value.deadline = Some(now.after(left));
    }
}

fn announce(record: &mut Record, flash: &NewFlash, most: usize) {
    let NewFlash { level, text, fields } = flash.clone();
    record.flashes.push(Flash { number: record.next_flash, level, text, fields });
    record.next_flash = record.next_flash.saturating_add(1);
    let surplus = record.flashes.len().saturating_sub(most);
    record.flashes.drain(..surplus);
}

fn within(limits: &Limits, record: &Record) -> Result<(), Refused> {
    if record.values.len() > limits.keys {
        let detail = format!("the session would have {} keys, the limit is {}", record.values.len(), limits.keys);
        return Err(Refused::new(Refusal::Limit, detail));
    }
    let values = record.values.iter().map(|(name, value)| (name, value.text.len()));
    let fields = record.flashes.iter().flat_map(|flash| flash.fields.iter().map(|(name, text)| (name, text.len())));
    let texts = record.flashes.iter().map(|flash| (&flash.level, flash.text.len()));
    match values.chain(fields).chain(texts).find(|(_, bytes)| *bytes > limits.value_bytes) {
        Some((name, bytes)) => {
            let detail = format!("the value of `{name}` has {bytes} bytes, the limit is {}", limits.value_bytes);
            Err(Refused::new(Refusal::Limit, detail))
        }
        None => Ok(()),
    }
}

impl ExpireWish {
    /// Writes the wish into the record.
    ///
    /// # Errors
    /// [`Refusal::Limit`] beyond what the operator allows.
    pub fn apply(&self, record: &mut Record, expiry: &Expiry) -> Result<(), Refused> {
        let bounds = [("idle", self.idle, expiry.max_idle), ("absolute", self.absolute, expiry.max_absolute)];
        for (clock, wish, most) in bounds {
            if wish.is_some_and(|wish| wish > most) {
                let detail = format!("Expire: {clock} may be at most {} seconds", most.as_secs());
                return Err(Refused::new(Refusal::Limit, detail));
            }
        }
        record.idle = self.idle.or(record.idle);
        record.absolute = self.absolute.or(record.absolute);
        record.persistent = self.persist.or(record.persistent);
        Ok(())
    }
}

/// The cookie attributes that `X-Session-Cookie` may choose from; empty allows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieChoices {
    /// Allowed paths.
    pub paths: Vec<String>,
    /// Allowed domains.
    pub domains: Vec<String>,
}

impl CookieWish {
    /// Writes the wish into the record.
    ///
    /// # Errors
    /// [`Refusal::Rights`] for what is not on the operator's list.
    pub fn apply(&self, record: &mut Record, choices: &CookieChoices) -> Result<(), Refused> {
        let allowed = |what: &str, wish: &Option<String>, list: &[String]| match wish {
            Some(wish) if !list.contains(wish) => {
                Err(Refused::new(Refusal::Rights, format!("Cookie: this {what} is not on the list of the policy")))
            }
            _ => Ok(()),
        };
        allowed("path", &self.path, &choices.paths)?;
        allowed("domain", &self.domain, &choices.domains)?;
        if self.path.is_some() {
            record.path.clone_from(&self.path);
        }
        if self.domain.is_some() {
            record.domain.clone_from(&self.domain);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::id::Lineage;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn record(pairs: &[(&str, &str)]) -> Record {
        let mut record = Record::new(Lineage::from_bytes([1; 12]), NOW);
        record.values = pairs.iter().map(|(key, text)| (name(key), Value::text(*text))).collect();
        record
    }

    fn texts(record: &Record) -> Vec<(&str, &str)> {
        record.values.iter().map(|(name, value)| (name.as_str(), value.text.as_str())).collect()
    }

    /// Applies `changes` to a record of `before` and shows the data afterwards, or the refusal.
    fn check(before: &[(&str, &str)], changes: &Changes, after: Result<&[(&str, &str)], Refusal>) {
        let mut record = record(before);
        let outcome = changes.apply(&mut record, &Keys::All, &Limits::default(), NOW);
        let seen = outcome.as_ref().map(|()| texts(&record)).map_err(|refused| refused.reason);
        assert_eq!(seen, after.map(<[_]>::to_vec), "{changes:?}");
    }

    fn value(text: &str) -> Value {
        Value::text(text)
    }

    #[test]
    fn effects_have_a_fixed_order() {
        // Replace, Unset, Init, Set, Add: whatever their order on the wire.
        let changes = Changes {
            replace: Some([(name("a"), value("1")), (name("b"), value("1"))].into()),
            unset: [name("a"), name("c")].into(),
            init: [(name("b"), value("9")), (name("c"), value("2"))].into(),
            set: [(name("d"), SetTo::Value(value("3")))].into(),
            add: vec![(name("d"), 4), (name("e"), -1), (name("e"), -1)],
            ..Changes::default()
        };
        check(&[("z", "0")], &changes, Ok(&[("b", "1"), ("c", "2"), ("d", "7"), ("e", "-2")]));
    }

    #[test]
    fn a_key_both_unset_and_set_ends_set() {
        let set = [(name("a"), SetTo::Value(value("2")))].into();
        let changes = Changes { unset: [name("a")].into(), set, ..Changes::default() };
        check(&[("a", "1")], &changes, Ok(&[("a", "2")]));
    }

    #[test]
    fn an_empty_value_is_an_empty_string() {
        let changes = Changes { set: [(name("a"), SetTo::Value(value("")))].into(), ..Changes::default() };
        check(&[], &changes, Ok(&[("a", "")]));
    }

    #[test]
    fn adding_to_a_word_or_past_the_range_is_refused() {
        let add = |amount| Changes { add: vec![(name("n"), amount)], ..Changes::default() };
        check(&[("n", "tea")], &add(1), Err(Refusal::Type));
        check(&[("n", &i64::MAX.to_string())], &add(1), Err(Refusal::Limit));
    }

    #[test]
    fn pushing_keeps_the_newest() {
        let push =
            |n: usize| Changes { push: (0..n).map(|i| (name("seen"), i.to_string())).collect(), ..Changes::default() };
        check(&[], &push(2), Ok(&[("seen", r#"["0","1"]"#)]));
        check(&[("seen", "tea")], &push(1), Err(Refusal::Type));
        let limits = Limits { list_items: 2, ..Limits::default() };
        let mut record = record(&[]);
        push(4).apply(&mut record, &Keys::All, &limits, NOW).unwrap();
        assert_eq!(texts(&record), [("seen", r#"["2","3"]"#)]);
    }

    #[test]
    fn a_key_with_a_deadline_dies_by_itself() {
        let mut record = record(&[("code", "1"), ("user", "ada")]);
        let ttl = Changes { ttl: [(name("code"), Duration::from_secs(5))].into(), ..Changes::default() };
        ttl.apply(&mut record, &Keys::All, &Limits::default(), NOW).unwrap();
        let later = NOW.after(Duration::from_secs(6));
        Changes::default().apply(&mut record, &Keys::All, &Limits::default(), later).unwrap();
        assert_eq!(texts(&record), [("user", "ada")]);
    }

    #[test]
    fn clearing_leaves_keys_that_the_route_may_not_change() {
        let mut record = record(&[("lang", "de"), ("user", "ada")]);
        let clear = Changes { clear: true, ..Changes::default() };
        clear.apply(&mut record, &Keys::Only([name("lang")].into()), &Limits::default(), NOW).unwrap();
        assert_eq!(texts(&record), [("user", "ada")]);
    }

    #[test]
    fn a_json_object_is_merged() {
        let patch = |json: Json| match json {
            Json::Object(map) => Changes { set: [(name("o"), SetTo::Merge(map))].into(), ..Changes::default() },
            _ => unreachable!(),
        };
        let mut record = record(&[]);
        for json in [serde_json::json!({"a": {"b": 1, "c": 2}}), serde_json::json!({"a": {"b": null, "d": [3]}})] {
            patch(json).apply(&mut record, &Keys::All, &Limits::default(), NOW).unwrap();
        }
        assert_eq!(texts(&record), [("o", r#"{"a":{"c":2,"d":[3]}}"#)]);
    }

    #[test]
    fn a_session_has_limits() {
        let many: BTreeMap<_, _> = (0..129).map(|i| (name(&format!("k{i}")), SetTo::Value(value("")))).collect();
        check(&[], &Changes { set: many, ..Changes::default() }, Err(Refusal::Limit));
        let large = [(name("a"), SetTo::Value(value(&"x".repeat(4097))))].into();
        check(&[], &Changes { set: large, ..Changes::default() }, Err(Refusal::Limit));
    }

    #[test]
    fn conditions_are_decided_on_the_newest_record() {
        let record = record(&[("cart", "3")]);
        let holds = |condition, record| super::check(&[condition], record, NOW).is_ok();
        assert!(holds(Condition::Version(0), Some(&record)));
        assert!(!holds(Condition::Version(1), Some(&record)));
        assert!(holds(Condition::Equals(name("cart"), "3".into()), Some(&record)));
        assert!(!holds(Condition::Equals(name("cart"), "4".into()), Some(&record)));
        assert!(holds(Condition::Absent(name("user")), Some(&record)));
        assert!(!holds(Condition::Absent(name("cart")), Some(&record)));
        assert!(holds(Condition::Absent(name("cart")), None));
        assert!(!holds(Condition::Equals(name("cart"), "3".into()), None));
    }
}
