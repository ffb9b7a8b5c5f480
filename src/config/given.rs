//! Values with their places: what the file says, and where it says it.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

/// A place in the file, in bytes.
pub type Span = Range<usize>;

/// A value and its place.
#[derive(Clone, Debug, Default)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { span: spanned.span(), value: spanned.into_inner() })
    }
}

/// A type whose schema is that of another one.
macro_rules! schema_of_inner {
    ($outer:ident) => {
        impl<T: JsonSchema> JsonSchema for $outer<T> {
            fn schema_name() -> Cow<'static, str> {
                T::schema_name()
            }
            fn inline_schema() -> bool {
                T::inline_schema()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                T::json_schema(generator)
            }
        }
    };
}
schema_of_inner!(At);
schema_of_inner!(Given);
schema_of_inner!(Section);

/// What the file says about one setting: nothing, or a value.
#[derive(Clone, Debug)]
pub struct Given<T>(Option<At<T>>);

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        At::deserialize(deserializer).map(|at| Self(Some(at)))
    }
}

impl<T> Given<T> {
    /// A value that has no place of its own: the short form of a table.
    pub const fn placeless(value: T) -> Self {
        Self(Some(At { value, span: 0..0 }))
    }

    /// The value, if there is one.
    pub const fn get(&self) -> Option<&T> {
        match &self.0 {
            Some(at) => Some(&at.value),
            None => None,
        }
    }

    /// The value with its place, if there is one.
    pub const fn at(&self) -> Option<&At<T>> {
        self.0.as_ref()
    }

    /// The place of the value, or else that of what it belongs to.
    pub fn span_or(&self, owner: &Span) -> Span {
        match &self.0 {
            Some(at) if !at.span.is_empty() => at.span.clone(),
            _ => owner.clone(),
        }
    }

    /// The value, or what holds where the file says nothing.
    pub fn or(&self, default: T) -> T
    where
        T: Clone,
    {
        self.get().cloned().unwrap_or(default)
    }

    /// Whether the file says something.
    pub const fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

/// A table. What serde derives would take a list for one too, its items for the settings in the order of the code.
#[derive(Clone, Debug, Default)]
pub struct Section<T>(T);

impl<T> std::ops::Deref for Section<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
            type Value = Section<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Section<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Section)
            }
        }
        deserializer.deserialize_map(Table(PhantomData))
    }
}

/// Tables with names, in the order of the file.
#[derive(Clone, Debug)]
pub struct Named<T>(pub Vec<(At<String>, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// The tables with their names.
    pub fn iter(&self) -> impl Iterator<Item = &(At<String>, T)> {
        self.0.iter()
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.value.as_str())
    }

    /// The number of the table of a name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names().position(|own| own == name)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Tables<T> {
            type Value = Named<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut tables = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    tables.push(entry);
                }
                Ok(Named(tables))
            }
        }
        deserializer.deserialize_map(Tables(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        std::collections::BTreeMap::<String, T>::json_schema(generator)
    }
}

/// One text, or a list of them.
#[derive(Clone, Debug)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// A list.
    Many(Vec<At<String>>),
}

impl At<OneOrMany> {
    /// Each text with its place.
    pub fn each(&self) -> Vec<At<String>> {
        match &self.value {
            OneOrMany::One(text) => vec![At { value: text.clone(), span: self.span.clone() }],
            OneOrMany::Many(list) => list.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany::Many)
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// A table that may be shortened to the text of its most important setting.
pub trait Shorthand {
    /// The table that the text stands for.
    fn from_text(text: String) -> Self;
}

/// A table, or its short form.
#[derive(Clone, Debug)]
pub struct Short<T>(pub T);

impl<'de, T: Deserialize<'de> + Shorthand> Deserialize<'de> for Short<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Shorthand> Visitor<'de> for TextOrTable<T> {
            type Value = Short<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a table")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Short<T>, E> {
                Ok(Short(T::from_text(text.into())))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Short<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Short)
            }
        }
        deserializer.deserialize_any(TextOrTable(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Short<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Short_{}", T::schema_name()).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}
