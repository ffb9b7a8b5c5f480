//! `${env:N}`, `${env:N:-default}`, `${file:PATH}` and `${cred:NAME}` inside string values; `$${` stands for `${`.
//!
//! Whatever comes from one is taken for a secret: it is remembered, and masked wherever a problem would show it.

use super::given::Span;
use super::problem::Problem;
use super::unit::Fault;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::secret::Secret;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file that is taken into a value.
const MAX_FILE: u64 = 1 << 20;

/// What the variables of an environment hold.
pub type Environment = Box<dyn Fn(&str) -> Option<String>>;

/// What a file may refer to outside itself.
pub struct Surroundings {
    /// What relative paths are relative to: the directory of the file.
    pub directory: PathBuf,
    /// The environment.
    pub env: Environment,
    /// The present moment, for keys that retire.
    pub now: Timestamp,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process(directory: &Path) -> Self {
        // Absolute, because a service changes its directory.
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        Self { directory, env: Box::new(|name| std::env::var(name).ok()), now: SystemClock.now() }
    }

    /// A path of the file.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.join(path)
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Surroundings({})", self.directory.display())
    }
}

/// Where an inserted text came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A variable of the environment.
    Environment,
    /// A file.
    File(PathBuf),
}

/// A text with what was inserted into it.
#[derive(Debug)]
pub struct Expanded {
    /// The whole text.
    pub text: Secret<String>,
    /// Each inserted text with where it came from.
    pub parts: Vec<(Origin, Secret<String>)>,
}

/// Everything that was inserted into a file.
#[derive(Debug, Default)]
pub struct Insertions(Vec<(Span, Expanded)>);

impl Insertions {
    /// Remembers what was inserted at a place.
    pub fn add(&mut self, span: Span, expanded: Expanded) {
        self.0.push((span, expanded));
    }

    /// Where the texts came from that were inserted into the value at a place.
    pub fn origins(&self, span: &Span) -> impl Iterator<Item = &Origin> {
        self.0.iter().filter(move |(own, _)| own == span).flat_map(|(_, e)| e.parts.iter().map(|(origin, _)| origin))
    }

    /// Masks in a problem what was inserted anywhere.
    pub fn mask(&self, problem: &mut Problem) {
        let parts =
            self.0.iter().flat_map(|(_, e)| std::iter::once(&e.text).chain(e.parts.iter().map(|(_, part)| part)));
        let mut secrets: Vec<&str> = parts.map(|secret| secret.expose().as_str()).filter(|s| !s.is_empty()).collect();
        // The longest first: one may be part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for text in problem.texts_mut() {
            for secret in &secrets {
                for shown in [(*secret).to_owned(), secret.escape_default().to_string()] {
                    // Very short ones are masked only as a whole; elsewhere the mask itself would give them away.
                    *text = match shown.len() {
                        0..4 => text.replace(&format!("`{shown}`"), "`***`"),
                        _ => text.replace(&shown, "***"),
                    };
                }
            }
        }
    }
}

/// Inserts what a text asks for; `None` when it asks for nothing.
///
/// # Errors
/// [`Fault`] for what is not there, cannot be read, or is none of the three forms.
pub fn expand(text: &str, around: &Surroundings) -> Result<Option<Expanded>, Fault> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut whole = String::new();
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            whole.push_str(before);
            whole.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        let Some(length) = rest[start..].find('}') else {
            return Err(Fault::new("`${` has no `}`", "close it, or write `$${` for the two characters themselves"));
        };
        let (origin, part) = insert(&rest[start + 2..start + length], around)?;
        whole.push_str(&rest[..start]);
        whole.push_str(&part);
        parts.push((origin, Secret::new(part)));
        rest = &rest[start + length + 1..];
    }
    whole.push_str(rest);
    Ok(Some(Expanded { text: Secret::new(whole), parts }))
}

fn insert(what: &str, around: &Surroundings) -> Result<(Origin, String), Fault> {
    match what.split_once(':') {
        Some(("env", name)) => environment(name, around).map(|text| (Origin::Environment, text)),
        Some(("file", path)) => read(&around.path(path), what),
        Some(("cred", name)) => credential(name, around, what),
        _ => Err(Fault::new(
            format!("`${{{what}}}` is not something that can be inserted"),
            "write `${env:NAME}`, `${file:PATH}` or `${cred:NAME}`, or `$${` for the two characters themselves",
        )),
    }
}

/// As in a shell, `:-` also replaces what is empty.
fn environment(name: &str, around: &Surroundings) -> Result<String, Fault> {
    let (name, default) = name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
    match ((around.env)(name), default) {
        (Some(text), None) => Ok(text),
        (Some(text), Some(_)) if !text.is_empty() => Ok(text),
        (_, Some(default)) => Ok(default.into()),
        (None, None) => Err(Fault::new(
            format!("the environment has no `{name}`"),
            format!("set it, or give it a default: `${{env:{name}:-default}}`"),
        )),
    }
}

fn credential(name: &str, around: &Surroundings, what: &str) -> Result<(Origin, String), Fault> {
    let Some(directory) = (around.env)("CREDENTIALS_DIRECTORY") else {
        return Err(Fault::new(
            format!("there are no credentials for `${{{what}}}`: `CREDENTIALS_DIRECTORY` is not set"),
            format!("start the service with `LoadCredential={name}:/path/to/it`, or use `${{file:PATH}}`"),
        ));
    };
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(Fault::new(
            format!("`{name}` is not the name of a credential"),
            "write the name from `LoadCredential=`",
        ));
    }
    read(&Path::new(&directory).join(name), what)
}

/// The text of a file without the line break that editors put at its end.
fn read(path: &Path, what: &str) -> Result<(Origin, String), Fault> {
    let fault = |reason: String| {
        Fault::new(format!("`${{{what}}}` cannot be read: {reason}"), "name a file that this user can read")
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| fault(error.to_string()))?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| fault(error.to_string()))?;
    if text.len() as u64 > MAX_FILE {
        return Err(fault(format!("it has more than {MAX_FILE} bytes")));
    }
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok((Origin::File(path.into()), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(directory: &Path) -> Surroundings {
        let credentials = directory.display().to_string();
        let env = move |name: &str| match name {
            "USER" => Some(String::from("ada")),
            "EMPTY" => Some(String::new()),
            "CREDENTIALS_DIRECTORY" => Some(credentials.clone()),
            _ => None,
        };
        Surroundings { directory: directory.into(), env: Box::new(env), now: Timestamp::default() }
    }

    #[test]
    fn texts_are_inserted() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("key"), "s3cret\r\n").unwrap();
        let around = around(directory.path());
        for (text, expected) in [
            ("${env:USER}", "ada"),
            ("a ${env:USER} b ${env:USER}", "a ada b ada"),
            ("${env:NOBODY:-x:-y}", "x:-y"),
            ("${env:EMPTY}", ""),
            ("${env:EMPTY:-x}", "x"),
            ("${file:key}", "s3cret"),
            ("${cred:key}", "s3cret"),
            ("$${env:USER} $5 ${env:USER}", "${env:USER} $5 ada"),
        ] {
            assert_eq!(expand(text, &around).unwrap().unwrap().text.expose(), expected, "{text}");
        }
        assert!(expand("$USER {}", &around).unwrap().is_none());
        let file = expand("${file:key}", &around).unwrap().unwrap();
        assert_eq!(file.parts[0].0, Origin::File(directory.path().join("key")));
    }

    #[test]
    fn what_cannot_be_inserted_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("${env:NOBODY}", "the environment has no `NOBODY`"),
            ("${file:nothing}", "`${file:nothing}` cannot be read: No such file or directory (os error 2)"),
            ("${cred:../key}", "`../key` is not the name of a credential"),
            ("${USER}", "`${USER}` is not something that can be inserted"),
            ("${env:USER", "`${` has no `}`"),
        ] {
            assert_eq!(expand(text, &around(directory.path())).unwrap_err().message, expected);
        }
    }

    #[test]
    fn what_was_inserted_is_masked() {
        let directory = tempfile::tempdir().unwrap();
        let around = around(directory.path());
        let mut insertions = Insertions::default();
        insertions.add(3..9, expand("x${env:LONG:-hunter2}", &around).unwrap().unwrap());
        insertions.add(3..9, expand("${env:USER}", &around).unwrap().unwrap());
        let mut problem = Problem::error("a::b", "`xhunter2` is no good, `ada` neither").help("not hunter2, in canada");
        insertions.mask(&mut problem);
        assert_eq!(problem.to_string(), "`***` is no good, `***` neither; not ***, in canada");
        assert_eq!(insertions.origins(&(3..9)).count(), 2);
    }
}
