//! The file shown again: without its secrets, and with every default that holds in it; and what a file may say at all.

use super::defaults::{REFERENCE, Setting, settings};
use super::file::File;
use super::word::Word as _;
use super::{Config, Period, Policy, Size, password};
use crate::proxy::options::{Goal, RouteOptions};
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;
use std::time::Duration;
use toml::{Table, Value};

/// What stands in the place of a secret.
const MASK: &str = "***";

impl Config {
    /// The file as TOML: what it says, or with `effective` everything that holds.
    ///
    /// What a value takes from elsewhere is not shown, only that it does; keys that stand in the file are masked.
    #[must_use]
    pub fn show(&self, effective: bool) -> String {
        // The text has been read before, so that it is TOML.
        let mut root: Table = self.source.text().parse().unwrap_or_default();
        mask(&mut root);
        mask_passwords(&mut root);
        if effective {
            for store in &self.stores {
                let stores = section(&mut root, "stores");
                section(stores, &store.name).entry("type").or_insert_with(|| store.kind.as_str().into());
            }
            for policy in &self.policies {
                settle(section(section(&mut root, "sessions"), &policy.options.name), policy);
            }
            ladder(&mut root, &self.routes);
            let reference: Table = REFERENCE.parse().unwrap_or_default();
            for setting in settings() {
                fill(&mut root, &setting, &reference);
            }
        }
        toml::to_string_pretty(&root).unwrap_or_default()
    }
}

/// Replaces the secrets that stand in the file itself.
fn mask(table: &mut Table) {
    for (name, value) in table.iter_mut() {
        match value {
            Value::String(text)
                if !text.contains("${")
                    && (matches!(name.as_str(), "secret" | "proof_key") || text.contains("PRIVATE KEY")) =>
            {
                *text = MASK.into();
            }
            Value::Table(table) => mask(table),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_table_mut).for_each(mask),
            _ => {}
        }
    }
}

/// Replaces the passwords in the addresses of stores.
fn mask_passwords(root: &mut Table) {
    let stores = root.get_mut("stores").and_then(Value::as_table_mut).into_iter().flat_map(|stores| stores.iter_mut());
    for store in stores.filter_map(|(_, store)| store.as_table_mut()) {
        let addresses = ["url", "sentinels", "cluster"];
        for (_, value) in store.iter_mut().filter(|(name, _)| addresses.contains(&name.as_str())) {
            let items: &mut [Value] = match value {
                Value::Array(items) => items,
                one => std::slice::from_mut(one),
            };
            for item in items {
                if let Value::String(url) = item {
                    *url = password::masked(url, MASK);
                }
            }
        }
    }
}

fn section<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    let value = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
    if !value.is_table() {
        *value = Value::Table(Table::new());
    }
    value.as_table_mut().expect("made a table above")
}

/// What `[failure]` says of all routes, each route says for itself.
fn ladder(root: &mut Table, routes: &[RouteOptions]) {
    let tables = root.get_mut("routes").and_then(Value::as_array_mut).into_iter().flatten();
    for (table, route) in tables.filter_map(Value::as_table_mut).zip(routes) {
        if !route.sessions.is_empty() && route.goal != Goal::Status {
            table.entry("store_unavailable").or_insert_with(|| route.on_outage.word().into());
        }
    }
}

/// Defaults of a policy that depend on other settings.
fn settle(session: &mut Table, Policy { options, .. }: &Policy) {
    let time = |time: Duration| Value::String(Period(time).to_string());
    let size = |bytes: usize| Value::String(Size(bytes as u64).to_string());
    for (name, value) in [
        ("touch_interval", time(options.expiry.touch_interval)),
        ("max_idle_timeout", time(options.expiry.max_idle)),
        ("max_absolute_timeout", time(options.expiry.max_absolute)),
        ("max_session_bytes", size(options.limits.session_bytes)),
        ("max_value_bytes", size(options.limits.value_bytes)),
    ] {
        session.entry(name).or_insert(value);
    }
    if let Some(cap) = options.max_sessions_per_owner {
        session.entry("when_full").or_insert_with(|| cap.when_full.word().into());
    }
    if let Some(history) = options.history {
        session.entry("history_keeps").or_insert_with(|| time(history.keeps));
    }
    if let Some(lock) = options.lock {
        let waiters = Value::Integer(lock.waiters.try_into().unwrap_or(i64::MAX));
        for (name, value) in
            [("lock_wait", time(lock.wait)), ("lock_waiters", waiters), ("lock_lease", time(lock.lease))]
        {
            session.entry(name).or_insert(value);
        }
    }
    let cookie = section(session, "cookie");
    if let Some(life) = options.expiry.browser {
        cookie.entry("renew_after").or_insert(time(life.renew_after));
    }
    let options = options.cookie.options();
    cookie.entry("name").or_insert_with(|| options.name.as_str().into());
    // `auto` is a question, and this is the answer.
    cookie.insert("secure".into(), options.secure.into());
}

/// Writes a default wherever a file leaves its setting out.
fn fill(root: &mut Table, setting: &Setting, reference: &Table) {
    let pattern = setting.pattern();
    let kind = |table: &Table| table.get("type").and_then(Value::as_str).map(str::to_owned);
    // Stores of different types have different settings, and the same setting may have different defaults.
    let own_kind = || match setting.path.as_slice() {
        [stores, name, ..] => reference.get(stores)?.get(name)?.as_table().and_then(kind),
        _ => None,
    };
    let fits = |table: &Table| match pattern.as_slice() {
        ["stores", _, _] => kind(table) == own_kind(),
        // No backend is asked there.
        ["routes", ..] if table.contains_key("status") => false,
        // `ladder` has written what holds for each route.
        ["routes", "store_unavailable"] => false,
        ["routes", "on_missing", _] => table.contains_key("require") && !table.contains_key("on_missing"),
        // Attributes stand beside the actions that force them onto a cookie.
        ["routes", "cookies", _] => table.get("action").map_or(table.contains_key("cookies"), |action| {
            !["pass", "hold", "drop"].iter().any(|plain| action.as_str() == Some(plain))
        }),
        _ => true,
    };
    put(root, &pattern, &setting.value, &fits);
}

fn put(table: &mut Table, pattern: &[&str], value: &Value, fits: &dyn Fn(&Table) -> bool) {
    let each = |tables: &mut dyn Iterator<Item = &mut Value>, rest: &[&str]| {
        for table in tables.filter_map(Value::as_table_mut).filter(|table| fits(table)) {
            put(table, rest, value, fits);
        }
    };
    match pattern {
        [] => {}
        [last] => drop(table.entry(*last).or_insert_with(|| value.clone())),
        ["*", rest @ ..] => each(&mut table.iter_mut().map(|(_, value)| value), rest),
        [step, rest @ ..] => match table.entry(*step).or_insert_with(|| Value::Table(Table::new())) {
            Value::Array(items) => each(&mut items.iter_mut(), rest),
            Value::Table(table) => put(table, rest, value, fits),
            _ => {}
        },
    }
}

/// A JSON Schema of the file, with its defaults.
#[must_use]
pub fn schema() -> Json {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>().to_value();
    let settings = settings();
    for setting in &settings {
        // What has several defaults, by the type of the store, has none that the schema could state.
        let is_ambiguous = |other: &Setting| other.pattern() == setting.pattern() && other.value != setting.value;
        if settings.iter().any(is_ambiguous) {
            continue;
        }
        let Ok(value) = serde_json::to_value(&setting.value) else { continue };
        if let Some(place) = place(&schema, &setting.pattern()).and_then(|pointer| schema.pointer_mut(&pointer)) {
            place["default"] = value;
        }
    }
    schema
}

/// Where the schema describes a setting, as a JSON pointer.
fn place(schema: &Json, pattern: &[&str]) -> Option<String> {
    let mut pointer = String::new();
    for step in pattern {
        pointer = follow(schema, pointer);
        pointer = match *step {
            "*" => pointer + "/additionalProperties",
            step => format!("{pointer}/properties/{step}"),
        };
        schema.pointer(&pointer)?;
    }
    Some(pointer)
}

/// Steps over references, into the items of lists, and into the long form of what has a short one.
fn follow(schema: &Json, mut pointer: String) -> String {
    loop {
        let Some(node) = schema.pointer(&pointer) else { return pointer };
        if let Some(target) = node.get("$ref").and_then(Json::as_str) {
            pointer = target.trim_start_matches('#').into();
        } else if node.get("items").is_some() {
            pointer.push_str("/items");
        } else if node.pointer("/anyOf/1").is_some() {
            pointer.push_str("/anyOf/1");
        } else {
            return pointer;
        }
    }
}
