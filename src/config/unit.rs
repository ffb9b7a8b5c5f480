//! Amounts with their unit in the value: `"30m"`, `"4KiB"`.

use crate::manager::Rate;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// A text that is no value of its setting. Written out, the remedy stands on a second line, as the reader of the file
/// expects it of every error of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: String,
}

impl Fault {
    /// A fault with its remedy.
    pub fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.message, self.remedy)
    }
}

/// The longest time that can be written, far below what arithmetic on clocks can bear.
const MAX_PERIOD: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The times of a rate, in seconds.
const TIMES: [(&str, u64); 3] = [("s", 1), ("min", 60), ("h", 3600)];

/// The largest number of a rate.
const MAX_COUNT: u32 = 1_000_000;

const MILLIS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const BYTES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A length of time, as `"250ms"`, `"30m"` or `"12h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// Reads a length of time.
    ///
    /// # Errors
    /// [`Fault`] for a missing or unknown unit, and for more than a hundred years.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let millis = amount(text, &MILLIS, "a length of time", "30s")?;
        match millis.map(Duration::from_millis).filter(|period| *period <= MAX_PERIOD) {
            Some(period) => Ok(Self(period)),
            None => Err(Fault::new(format!("`{text}` is longer than a hundred years"), "choose a shorter time")),
        }
    }
}

impl fmt::Display for Period {
    /// In the largest unit that is exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days only from two on: `24h` reads better than `1d`.
        let units = if self.0 < Duration::from_secs(2 * 86_400) { &MILLIS[..4] } else { &MILLIS };
        show(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), units, "0s")
    }
}

/// `"off"`, or how old something may be, as `"2s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxAge(pub Option<Duration>);

impl MaxAge {
    /// Reads `off` or a length of time.
    ///
    /// # Errors
    /// [`Fault`] as [`Period::parse`], and for no time at all.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text == "off" {
            return Ok(Self(None));
        }
        match Period::parse(text)?.0 {
            Duration::ZERO => Err(Fault::new(format!("`{text}` keeps nothing"), "write `\"off\"`")),
            age => Ok(Self(Some(age))),
        }
    }
}

/// `"off"`, or how often something may be, as `"60/min"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxRate(pub Option<Rate>);

impl MaxRate {
    /// Reads `off` or a rate.
    ///
    /// # Errors
    /// [`Fault`] for a number that is none, zero or beyond a million, and for an unknown time.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text == "off" {
            return Ok(Self(None));
        }
        let what = text.escape_default();
        let example = "write how many in which time, `s`, `min` or `h`, such as `\"60/min\"`, or `\"off\"`";
        let Some((number, time)) = text.split_once('/') else {
            return Err(Fault::new(format!("`{what}` is not a rate"), example));
        };
        let Some((_, seconds)) = TIMES.iter().find(|(name, _)| *name == time) else {
            return Err(Fault::new(format!("`{}` is no time of a rate", time.escape_default()), example));
        };
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        match number.parse().ok().filter(|count: &NonZeroU32| digits && count.get() <= MAX_COUNT) {
            Some(count) => Ok(Self(Some(Rate { count, period: Duration::from_secs(*seconds) }))),
            None => Err(Fault::new(format!("`{what}` is not a rate from 1 to {MAX_COUNT}"), example)),
        }
    }
}

/// A number of bytes, as `"3800B"`, `"4KiB"` or `"100MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// Reads a number of bytes.
    ///
    /// # Errors
    /// [`Fault`] for a missing or unknown unit; `K`, `KB` and `kB` are unknown, since not everybody means the same.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        match amount(text, &BYTES, "a size", "4KiB")? {
            Some(bytes) if i64::try_from(bytes).is_ok() => Ok(Self(bytes)),
            _ => Err(Fault::new(format!("`{text}` is more than any machine has"), "choose a smaller size")),
        }
    }
}

impl fmt::Display for Size {
    /// In the largest unit that is exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0, &BYTES, "0B")
    }
}

fn show(f: &mut fmt::Formatter<'_>, amount: u64, units: &[(&str, u64)], zero: &str) -> fmt::Result {
    match units.iter().rev().find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", amount / factor),
        None => f.write_str(zero),
    }
}

/// A whole number with one of the units; `Ok(None)` when it is too large to be counted.
fn amount(text: &str, units: &[(&str, u64)], what: &str, example: &str) -> Result<Option<u64>, Fault> {
    let names = || units.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    if number.is_empty() {
        let message = format!("`{}` is not {what}", text.escape_default());
        return Err(Fault::new(message, format!("write a whole number and its unit, such as `\"{example}\"`")));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        // `min` means `m`, `sec` means `s`, `KB` means `KiB`.
        let wanted = unit.to_ascii_lowercase();
        let begins = |name: &str| wanted.starts_with(&name.to_ascii_lowercase());
        let letter = |name: &str| wanted.chars().next() == name.to_ascii_lowercase().chars().next();
        let close = units.iter().filter(|(name, _)| begins(name)).max_by_key(|(name, _)| name.len());
        let close = close.or_else(|| units.iter().find(|(name, _)| letter(name)));
        let message = match unit {
            "" => format!("`{text}` has no unit"),
            unit => format!("`{unit}` is not a unit of {what}"),
        };
        let suggestion = match close {
            Some((name, _)) => format!("write `\"{number}{name}\"`; the units are {}", names()),
            None => format!("the units are {}, as in `\"{example}\"`", names()),
        };
        return Err(Fault::new(message, suggestion));
    };
    Ok(number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)))
}

/// Gives a type its place in the file: a string that it parses, never a bare number.
macro_rules! written_as_text {
    ($type:ident, $expected:literal, $unit:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        $type::parse(text).map_err(E::custom)
                    }
                    fn visit_i64<E: Error>(self, number: i64) -> Result<$type, E> {
                        let remedy = format!("write `\"{}{}\"`", number.unsigned_abs(), $unit);
                        Err(E::custom(Fault::new(format!("`{number}` has no unit"), remedy)))
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}
written_as_text!(Period, "a length of time such as `\"30s\"`", "s", r"^\$\{|^[0-9]+ ?(ms|s|m|h|d)$");
written_as_text!(MaxAge, "`\"off\"` or a length of time such as `\"2s\"`", "s", r"^\$\{|^off$|^[0-9]+ ?(ms|s|m|h|d)$");
written_as_text!(MaxRate, "`\"off\"` or a rate such as `\"60/min\"`", "/min", r"^\$\{|^off$|^[0-9]+/(s|min|h)$");
written_as_text!(Size, "a size such as `\"4KiB\"`", "B", r"^\$\{|^[0-9]+ ?(B|KiB|MiB|GiB)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_shown_in_the_same_words() {
        for text in ["250ms", "30s", "60m", "12h", "90s", "0s"] {
            let shown = Period::parse(text).unwrap().to_string();
            assert_eq!(Period::parse(&shown), Period::parse(text), "{text}");
        }
        assert_eq!(Period::parse("1d").unwrap().to_string(), "24h");
        assert_eq!(Period::parse("9600h").unwrap().to_string(), "400d");
        assert_eq!(Period::parse("30 m").unwrap().0, Duration::from_secs(1800));
        for text in ["3800B", "4KiB", "100MiB", "1GiB", "0B"] {
            assert_eq!(Size::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn rates_are_read() {
        let rate =
            |text: &str| MaxRate::parse(text).map(|rate| rate.0.map(|rate| (rate.count.get(), rate.period.as_secs())));
        assert_eq!(rate("off"), Ok(None));
        assert_eq!(rate("60/min"), Ok(Some((60, 60))));
        assert_eq!((rate("5/s"), rate("1000000/h")), (Ok(Some((5, 1))), Ok(Some((1_000_000, 3600)))));
        for wrong in ["", "60", "0/s", "+5/s", "-1/s", "1000001/s", "60/m", "60 / min", "1.5/s", "/s", "60/"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_has_no_unit_is_refused_with_a_suggestion() {
        for (text, message, remedy) in [
            ("30", "`30` has no unit", "the units are `ms`, `s`, `m`, `h`, `d`, as in `\"30s\"`"),
            (
                "30min",
                "`min` is not a unit of a length of time",
                "write `\"30m\"`; the units are `ms`, `s`, `m`, `h`, `d`",
            ),
            ("", "`` is not a length of time", "write a whole number and its unit, such as `\"30s\"`"),
            ("-1s", "`-1s` is not a length of time", "write a whole number and its unit, such as `\"30s\"`"),
            (
                "1.5h",
                "`.5h` is not a unit of a length of time",
                "the units are `ms`, `s`, `m`, `h`, `d`, as in `\"30s\"`",
            ),
            ("99999999d", "`99999999d` is longer than a hundred years", "choose a shorter time"),
        ] {
            assert_eq!(Period::parse(text), Err(Fault::new(message, remedy)));
        }
        for (text, message, remedy) in [
            ("4KB", "`KB` is not a unit of a size", "write `\"4KiB\"`; the units are `B`, `KiB`, `MiB`, `GiB`"),
            ("99999999999GiB", "`99999999999GiB` is more than any machine has", "choose a smaller size"),
        ] {
            assert_eq!(Size::parse(text), Err(Fault::new(message, remedy)));
        }
    }
}
