//! Settings that are one word of a few: each table below says both how the file spells it and what it means.

use super::given::Given;
use super::nearest::{list, nearest};
use super::unit::Fault;
use crate::cookie::SameSite;
use crate::manager::{Consume, OnChange, OnConflict, OnOutage, OnRefused, Protection, SiteData, WhenFull};
use crate::proxy::background::Background;
use crate::proxy::options::AliasHeaders;
use crate::store::disk::Sync;
use crate::wire::{Dialect, Forward};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use tracing::level_filters::LevelFilter;

/// A type whose values have names in the file.
pub trait Word: Copy + 'static {
    /// Every name with its value, the default first.
    const WORDS: &'static [(&'static str, Self)];
    /// Values that have a name and are truth values too.
    const TRUTHS: Option<(Self, Self)> = None;

    /// The name of a value that has one.
    fn word(self) -> &'static str
    where
        Self: PartialEq,
    {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// A value written as one of its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice<T>(pub T);

impl<'de, T: Word> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words<T>(PhantomData<T>);
        impl<T: Word> Visitor<'_> for Words<T> {
            type Value = Choice<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&choices::<T>())
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Choice<T>, E> {
                let found = T::WORDS.iter().find(|(word, _)| *word == text);
                found.map(|(_, value)| Choice(*value)).ok_or_else(|| {
                    let remedy = match nearest(text, T::WORDS.iter().map(|(word, _)| *word)) {
                        Some(word) => format!("did you mean `\"{word}\"`?"),
                        None => format!("choose {}", choices::<T>()),
                    };
                    E::custom(Fault::new(format!("`{}` is not one of its values", text.escape_default()), remedy))
                })
            }
            fn visit_bool<E: Error>(self, truth: bool) -> Result<Choice<T>, E> {
                let Some((yes, no)) = T::TRUTHS else {
                    return Err(E::invalid_type(serde::de::Unexpected::Bool(truth), &self));
                };
                Ok(Choice(if truth { yes } else { no }))
            }
        }
        deserializer.deserialize_any(Words(PhantomData))
    }
}

fn choices<T: Word>() -> String {
    let mut words: Vec<String> = T::WORDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    if T::TRUTHS.is_some() {
        words.extend([true, false].map(|truth| truth.to_string()));
    }
    list(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

impl<T: Word> JsonSchema for Choice<T> {
    fn schema_name() -> Cow<'static, str> {
        "Choice".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut words: Vec<serde_json::Value> = T::WORDS.iter().map(|(word, _)| (*word).into()).collect();
        if T::TRUTHS.is_some() {
            words.extend([true, false].map(Into::into));
        }
        schemars::json_schema!({ "enum": words })
    }
}

impl<T: Word> Given<Choice<T>> {
    /// The value, or the first of the words.
    pub fn value(&self) -> T {
        self.get().map_or(T::WORDS[0].1, |choice| choice.0)
    }
}

/// `secure` of a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secure {
    /// Where every listener is reached over TLS.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl Word for Secure {
    const WORDS: &'static [(&'static str, Self)] = &[("auto", Self::Auto)];
    const TRUTHS: Option<(Self, Self)> = Some((Self::On, Self::Off));
}

impl Word for SiteData {
    const WORDS: &'static [(&'static str, Self)] =
        &[("cache", Self::Cache), ("cookies", Self::Cookies), ("storage", Self::Storage)];
}

impl Word for OnChange {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("flag", Self::Flag), ("end", Self::End)];
}

impl Word for Background {
    const WORDS: &'static [(&'static str, Self)] = &[("extend", Self::Extend), ("ignore", Self::Ignore)];
}

/// `action` of a rule for cookies of the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CookieDeed {
    /// It stays as it is.
    #[default]
    Pass,
    /// Attributes are forced onto it.
    Harden,
    /// The backend is given it only as the backend made it; anybody can read it.
    Sign,
    /// As `Sign`, and nobody else can read it.
    Encrypt,
    /// The visitor's session keeps it in the browser's place.
    Hold,
    /// It is removed both ways.
    Drop,
}

impl Word for CookieDeed {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("pass", Self::Pass),
        ("harden", Self::Harden),
        ("sign", Self::Sign),
        ("encrypt", Self::Encrypt),
        ("hold", Self::Hold),
        ("drop", Self::Drop),
    ];
}

/// `access` of a route to a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Its commands are obeyed.
    #[default]
    Write,
    /// It is shown the session and cannot change it.
    Read,
}

impl Word for Access {
    const WORDS: &'static [(&'static str, Self)] = &[("write", Self::Write), ("read", Self::Read)];
}

/// `lock` of a session policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locking {
    /// Requests of one session run beside each other.
    #[default]
    Off,
    /// One after the other.
    Exclusive,
}

impl Word for Locking {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("exclusive", Self::Exclusive)];
}

/// `csrf` of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Csrf {
    /// The backend looks after that itself.
    #[default]
    Off,
    /// A request without the token is refused.
    Enforce,
}

impl Word for Csrf {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("enforce", Self::Enforce)];
}

/// `nonce` of a session policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Echo {
    /// Answers need not repeat it.
    #[default]
    Off,
    /// Answers without it are not obeyed.
    Required,
}

impl Word for Echo {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("required", Self::Required)];
}

/// `encoding` of an exposed key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Percent-encoded.
    #[default]
    Percent,
    /// As it is, where it is printable ASCII.
    Raw,
}

impl Word for Encoding {
    const WORDS: &'static [(&'static str, Self)] = &[("percent", Self::Percent), ("raw", Self::Raw)];
}

/// `type` of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreType {
    /// In this process.
    Memory,
    /// In a file.
    Disk,
    /// In Redis or Valkey.
    Redis,
    /// In memcached.
    Memcached,
    /// In PostgreSQL.
    Postgres,
    /// In the visitor's cookie.
    Cookie,
}

impl Word for StoreType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("disk", Self::Disk),
        ("redis", Self::Redis),
        ("postgres", Self::Postgres),
        ("memcached", Self::Memcached),
        ("memory", Self::Memory),
        ("cookie", Self::Cookie),
    ];
}

/// `format` of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json)];
}

impl Word for LevelFilter {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("info", Self::INFO),
        ("error", Self::ERROR),
        ("warn", Self::WARN),
        ("debug", Self::DEBUG),
        ("trace", Self::TRACE),
        ("off", Self::OFF),
    ];
}

impl Word for Protection {
    const WORDS: &'static [(&'static str, Self)] = &[("sealed", Self::Sealed), ("signed", Self::Signed)];
}

impl Word for Sync {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("interval", Self::Interval), ("never", Self::Never)];
}

impl Word for OnRefused {
    const WORDS: &'static [(&'static str, Self)] = &[("error", Self::Error), ("deliver", Self::Deliver)];
}

impl Word for OnConflict {
    const WORDS: &'static [(&'static str, Self)] =
        &[("error", Self::Error), ("deliver", Self::Deliver), ("replay", Self::Replay)];
}

impl Word for OnOutage {
    const WORDS: &'static [(&'static str, Self)] =
        &[("error", Self::Error), ("cached", Self::Cached), ("anonymous", Self::Anonymous)];
}

impl Word for Consume {
    const WORDS: &'static [(&'static str, Self)] =
        &[("document", Self::Document), ("acknowledge", Self::Acknowledge), ("always", Self::Always)];
}

impl Word for WhenFull {
    const WORDS: &'static [(&'static str, Self)] =
        &[("oldest", Self::Oldest), ("least_recent", Self::LeastRecent), ("reject", Self::Reject)];
}

impl Word for SameSite {
    const WORDS: &'static [(&'static str, Self)] =
        &[("lax", Self::Lax), ("strict", Self::Strict), ("none", Self::None)];
}

impl Word for Forward {
    const WORDS: &'static [(&'static str, Self)] =
        &[("data", Self::Data), ("each", Self::Each), ("both", Self::Both), ("none", Self::None)];
}

impl Word for Dialect {
    const WORDS: &'static [(&'static str, Self)] =
        &[("form", Self::Form), ("json", Self::Json), ("mod_session", Self::ModSession)];
}

impl Word for AliasHeaders {
    const WORDS: &'static [(&'static str, Self)] = &[("strip", Self::Strip), ("reject", Self::Reject)];
}
