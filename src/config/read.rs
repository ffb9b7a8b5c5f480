//! From text to [`File`]: everything that is wrong with single settings, at once.
//!
//! The reader of TOML stops at its first error. So an error is written down, what caused it is taken out of the tree,
//! and the tree is read again, until nothing is left to complain about.

use super::file::File;
use super::given::Span;
use super::interpolate::{Insertions, Surroundings, expand};
use super::nearest::{list, nearest};
use super::problem::Problem;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Nobody reads further than this.
const MAX_PROBLEMS: usize = 100;

/// What a text turned out to be.
#[derive(Debug, Default)]
pub struct Found {
    /// The file, without what is wrong.
    pub file: File,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Whether all of it was read, so that what is missing can be called missing.
    pub is_read: bool,
    /// What was inserted into it.
    pub insertions: Insertions,
    /// Places of secrets that stand in the text itself.
    pub secrets: Vec<Span>,
    damaged: Vec<Vec<Step>>,
}

impl Found {
    /// Whether something was said about a setting, or within it, that could not be read.
    pub fn is_damaged(&self, path: &[&str]) -> bool {
        let same = |(step, name): (&Step, &&str)| matches!(step, Step::Key(key) if key == name);
        let within = |damage: &Vec<Step>| {
            let keys = damage.iter().filter(|step| matches!(step, Step::Key(_)));
            keys.zip(path).all(same)
        };
        self.damaged.iter().any(within)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Reads a text.
pub fn read(text: &str, around: &Surroundings) -> Found {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let is_toml = errors.is_empty();
    let mut found = Found::default();
    for error in errors {
        let place = error.span().unwrap_or_default();
        // A place of no width is no place for `at`; the character in front of it is.
        let place = if place.is_empty() { place.start.saturating_sub(1)..place.start.max(1) } else { place };
        found.problems.push(Problem::error("config::syntax", error.message()).at(place));
    }
    let broken_lines: Vec<usize> = found.problems.iter().map(|problem| line(text, problem)).collect();
    let mut root = DeValue::Table(tree.into_inner());
    let mut failed = Vec::new();
    insert(&mut root, &mut Vec::new(), 0..0, around, &mut found, &mut failed);
    // The last first: what is taken out of a list moves what comes after it.
    for path in failed.into_iter().rev() {
        found.take_out(&mut root, path);
    }
    while found.problems.len() < MAX_PROBLEMS {
        let DeValue::Table(table) = root.clone() else { break };
        let error = match File::deserialize(toml::Deserializer::from(Spanned::new(0..0, table))) {
            Ok(file) => {
                found.file = file;
                found.is_read = is_toml;
                break;
            }
            Err(error) => error,
        };
        let unknown = error.message().starts_with("unknown field");
        let span = error.span().unwrap_or_default();
        let Some(path) = locate(&root, &span, unknown) else {
            found.problems.push(Problem::error("config::invalid_value", error.message()).at(span));
            break;
        };
        let (problem, meant) = describe(error.message(), &path, at(&root, &path));
        let problem = problem.at(span);
        let problem = if unknown { problem.label(stranger(&path)) } else { problem };
        // What stands on a line that is no TOML may not be what was written.
        if !broken_lines.contains(&line(text, &problem)) {
            found.problems.push(problem);
        }
        if let (Some(meant), [table @ .., _]) = (meant, path.as_slice()) {
            found.damaged.push([table, &[Step::Key(meant)]].concat());
        }
        found.take_out(&mut root, path);
    }
    found
}

/// The line on which a problem stands, from 0.
fn line(text: &str, problem: &Problem) -> usize {
    let start = problem.span.as_ref().map_or(0, |span| span.start);
    text.get(..start).map_or(0, |before| before.matches('\n').count())
}

impl Found {
    fn take_out(&mut self, root: &mut DeValue<'_>, path: Vec<Step>) {
        let Some((last, table)) = path.split_last() else { return };
        match (last, at_mut(root, table)) {
            (Step::Key(key), Some(DeValue::Table(table))) => drop(table.remove(key.as_str())),
            (Step::Index(index), Some(DeValue::Array(array))) => {
                let left = std::mem::replace(array, DeArray::new()).into_iter().enumerate().filter(|(i, _)| i != index);
                *array = left.map(|(_, value)| value).collect();
            }
            _ => {}
        }
        self.damaged.push(path);
    }
}

/// Expands the strings of a tree, and notes which could not be.
fn insert(
    value: &mut DeValue<'_>,
    path: &mut Vec<Step>,
    span: Span,
    around: &Surroundings,
    found: &mut Found,
    failed: &mut Vec<Vec<Step>>,
) {
    match value {
        DeValue::String(text) => match expand(text, around) {
            Ok(None) if is_secret(path, text) => found.secrets.push(span),
            Ok(None) => {}
            Ok(Some(expanded)) => {
                *text = expanded.text.expose().clone().into();
                found.insertions.add(span, expanded);
            }
            Err(fault) => {
                found.problems.push(Problem::error("config::interpolation", fault.message).at(span).help(fault.remedy));
                failed.push(path.clone());
            }
        },
        DeValue::Array(array) => {
            for (index, item) in array.iter_mut().enumerate() {
                path.push(Step::Index(index));
                let span = item.span();
                insert(item.get_mut(), path, span, around, found, failed);
                path.pop();
            }
        }
        DeValue::Table(table) => {
            for (key, item) in table.iter_mut() {
                path.push(Step::Key(key.get_ref().to_string()));
                let span = item.span();
                insert(item.get_mut(), path, span, around, found, failed);
                path.pop();
            }
        }
        _ => {}
    }
}

/// `secret` of a key, `proof_key`, a private key that stands in the file, and what should be the URL of a store and has no scheme.
fn is_secret(path: &[Step], text: &str) -> bool {
    let is = |name: &str| matches!(path.last(), Some(Step::Key(key)) if key == name);
    let is_store = matches!(path.first(), Some(Step::Key(section)) if section == "stores");
    is("secret")
        || is("proof_key")
        || (is("key") && text.contains("PRIVATE KEY"))
        || (is_store && text.contains('@') && !text.contains("://"))
}

/// The path to the key, or to the outermost value, that stands at a place.
fn locate(root: &DeValue<'_>, span: &Span, key: bool) -> Option<Vec<Step>> {
    let with = |step: Step, mut path: Vec<Step>| {
        path.insert(0, step);
        path
    };
    match root {
        DeValue::Table(table) => table.iter().find_map(|(name, value)| {
            let step = || Step::Key(name.get_ref().to_string());
            if (if key { name.span() } else { value.span() }) == *span {
                return Some(vec![step()]);
            }
            locate(value.get_ref(), span, key).map(|path| with(step(), path))
        }),
        DeValue::Array(array) => array.iter().enumerate().find_map(|(index, value)| {
            if !key && value.span() == *span {
                return Some(vec![Step::Index(index)]);
            }
            locate(value.get_ref(), span, key).map(|path| with(Step::Index(index), path))
        }),
        _ => None,
    }
}

fn at<'a, 'i>(root: &'a DeValue<'i>, path: &[Step]) -> Option<&'a DeValue<'i>> {
    path.iter().try_fold(root, |value, step| match step {
        Step::Key(key) => value.get(key.as_str()).map(Spanned::get_ref),
        Step::Index(index) => value.get(*index).map(Spanned::get_ref),
    })
}

fn at_mut<'a, 'i>(root: &'a mut DeValue<'i>, path: &[Step]) -> Option<&'a mut DeValue<'i>> {
    path.iter().try_fold(root, |value, step| match (step, value) {
        (Step::Key(key), DeValue::Table(table)) => table.get_mut(key.as_str()).map(Spanned::get_mut),
        (Step::Index(index), DeValue::Array(array)) => array.get_mut(*index).map(Spanned::get_mut),
        _ => None,
    })
}

/// An error of a type in our words, and the name that was meant where an unknown one stands.
fn describe(message: &str, path: &[Step], value: Option<&DeValue<'_>>) -> (Problem, Option<String>) {
    let Some((last, table)) = path.split_last() else {
        return (Problem::error("config::invalid_value", message), None);
    };
    let name = match (last, table.last()) {
        (Step::Key(key), _) => format!("`{key}`"),
        (Step::Index(_), Some(Step::Key(key))) => format!("an item of `{key}`"),
        (Step::Index(_), _) => String::from("an item"),
    };
    let place =
        section(if matches!(last, Step::Index(_)) { table.split_last().map_or(table, |(_, t)| t) } else { table });
    if let (Some(rest), Step::Key(key)) = (message.strip_prefix("unknown field"), last) {
        let names: Vec<&str> =
            rest.split_once(", expected").map_or("", |(_, names)| names).split('`').skip(1).step_by(2).collect();
        let meant = nearest(key, names.iter().copied());
        let help = meant.map_or_else(|| format!("choose {}", list(&names)), |name| format!("did you mean `{name}`?"));
        let problem = Problem::error("config::unknown_field", format!("unknown field {name} {place}")).help(help);
        return (problem, meant.map(String::from));
    }
    if let Some((message, remedy)) = message.split_once('\n') {
        return (Problem::error("config::invalid_value", format!("{name} {place}: {message}")).help(remedy), None);
    }
    let Some((_, expected)) = message.split_once(", expected ") else {
        return (Problem::error("config::invalid_value", format!("{name} {place}: {message}")), None);
    };
    let expected = match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a TOML datetime" => "a date such as `2026-12-31`",
        "a map" => "a table",
        expected if expected.starts_with("struct ") => "a table",
        expected => expected,
    };
    let problem =
        Problem::error("config::wrong_type", format!("{name} {place} is {}: expected {expected}", kind(value)));
    let problem = match (last, table, expected, value) {
        (Step::Key(key), [], "a list", Some(DeValue::Table(_))) => problem.help(format!("write `[[{key}]]`")),
        (Step::Key(key), [], "a table", Some(DeValue::Array(_))) => problem.help(format!("write `[{key}]`")),
        _ => problem,
    };
    (problem, None)
}

fn kind(value: Option<&DeValue<'_>>) -> String {
    match value {
        Some(DeValue::Integer(number)) => format!("`{number}`"),
        Some(DeValue::Float(number)) => format!("`{number}`"),
        Some(DeValue::Boolean(truth)) => format!("`{truth}`"),
        Some(DeValue::String(_)) => "a string".into(),
        Some(DeValue::Datetime(_)) => "a date".into(),
        Some(DeValue::Array(_)) => "a list".into(),
        Some(DeValue::Table(_)) | None => "a table".into(),
    }
}

/// A table as the file calls it.
fn section(path: &[Step]) -> String {
    let keys: Vec<&str> =
        path.iter().filter_map(|step| if let Step::Key(key) = step { Some(key.as_str()) } else { None }).collect();
    match path {
        [] => "at the top level".into(),
        [Step::Key(key), Step::Index(_)] => format!("in [[{key}]]"),
        _ => format!("in [{}]", keys.join(".")),
    }
}

/// What an unknown key is not.
fn stranger(path: &[Step]) -> String {
    let keys: Vec<&str> =
        path.iter().filter_map(|step| if let Step::Key(key) = step { Some(key.as_str()) } else { None }).collect();
    let what = match keys.as_slice() {
        [_] => return "no such section".into(),
        ["server", _] => "the server",
        ["admin", _] => "the admin socket",
        ["listeners", _, _] => "a listener",
        ["listeners", _, "tls", "certificates", _] => "a certificate",
        ["listeners", _, "tls", ..] => "TLS",
        ["upstreams", _, _] => "an upstream",
        ["upstreams", ..] => "a server",
        ["keys", ..] => "a key",
        ["stores", ..] => "a store",
        ["sessions", _, _] => "a session policy",
        ["sessions", _, "cookie", ..] => "a cookie",
        ["sessions", _, "headers", "expose", ..] => "an exposed key",
        ["sessions", _, "headers", ..] => "the headers",
        ["sessions", _, "flash", ..] => "flash messages",
        ["routes", "sessions", ..] => "a session on a route",
        ["routes", "on_missing", ..] => "an answer",
        ["routes", "request_headers" | "response_headers", ..] => "header edits",
        ["routes", ..] => "a route",
        ["failure", ..] => "failures",
        ["limits", ..] => "the limits",
        _ => "the log",
    };
    format!("not a setting of {what}")
}
