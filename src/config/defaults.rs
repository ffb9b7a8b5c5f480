//! The defaults as `conf/reference.toml` states them. A test holds them against what the code does without a setting.

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// Every setting at its default, with comments; what has no default is marked as an example.
pub const REFERENCE: &str = include_str!("../../conf/reference.toml");

/// What marks a line of [`REFERENCE`] that is no default.
const EXAMPLE: &str = "# example";

/// A setting that has a default.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Where it stands in [`REFERENCE`].
    pub path: Vec<String>,
    /// Its default.
    pub value: Value,
}

impl Setting {
    /// Its path in any file: `*` for names that the operator chooses, nothing for the places in a list.
    #[must_use]
    pub fn pattern(&self) -> Vec<&str> {
        pattern(&self.path)
    }
}

/// The sections whose tables have names of the operator's choice.
const NAMED: [&str; 4] = ["listeners", "upstreams", "stores", "sessions"];

/// A path without names and numbers.
#[must_use]
pub fn pattern(path: &[String]) -> Vec<&str> {
    let is_named = path.first().is_some_and(|first| NAMED.contains(&first.as_str()));
    let steps = path.iter().enumerate().filter(|(_, step)| step.parse::<usize>().is_err());
    steps.map(|(i, step)| if is_named && i == 1 { "*" } else { step.as_str() }).collect()
}

/// Every setting of [`REFERENCE`] that has a default.
#[must_use]
pub fn settings() -> Vec<Setting> {
    let Ok(tree) = DeTable::parse(REFERENCE) else { return Vec::new() };
    let Ok(values) = REFERENCE.parse::<Table>() else { return Vec::new() };
    let mut settings = Vec::new();
    for (name, value) in tree.get_ref() {
        let Some(plain) = values.get(name.get_ref().as_ref()) else { continue };
        collect(&mut vec![name.get_ref().to_string()], value, plain, &mut settings);
    }
    settings
}

/// Walks the tree with its places, and the plain values beside it.
fn collect(path: &mut Vec<String>, tree: &Spanned<DeValue<'_>>, plain: &Value, settings: &mut Vec<Setting>) {
    let is_section = REFERENCE[tree.span()].starts_with(|c: char| c != '{' && c != '"');
    match (tree.get_ref(), plain) {
        (DeValue::Table(table), Value::Table(values)) if is_section => {
            for (name, value) in table {
                let Some(plain) = values.get(name.get_ref().as_ref()) else { continue };
                path.push(name.get_ref().to_string());
                collect(path, value, plain, settings);
                path.pop();
            }
        }
        (DeValue::Array(array), Value::Array(values)) if values.first().is_some_and(Value::is_table) => {
            for (index, (value, plain)) in array.iter().zip(values).enumerate() {
                path.push(index.to_string());
                collect(path, value, plain, settings);
                path.pop();
            }
        }
        (_, value) => {
            let line_end = REFERENCE[tree.span().end..].split('\n').next().unwrap_or_default();
            if !line_end.contains(EXAMPLE) {
                settings.push(Setting { path: path.clone(), value: value.clone() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_with_their_defaults_and_examples_are_not() {
        let settings = settings();
        let find = |pattern: &str| settings.iter().find(|setting| setting.pattern().join(".") == pattern);
        assert_eq!(find("server.threads").map(|setting| &setting.value), Some(&Value::Integer(0)));
        assert_eq!(
            find("sessions.*.cookie.same_site").map(|setting| &setting.value),
            Some(&Value::String("lax".into()))
        );
        assert_eq!(find("upstreams.*.servers.weight").map(|setting| &setting.value), Some(&Value::Integer(1)));
        assert!(find("log.access.enabled").is_some() && find("routes.touch").is_some());
        assert!(find("listeners.*.address").is_none() && find("keys.secret").is_none());
    }
}
