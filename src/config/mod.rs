//! The configuration: the file as written becomes what the rest of the program is told.
//!
//! `file` mirrors the file, `read` reports what is wrong with single settings, `resolve` decides everything that spans
//! several. All problems of a file are reported at once. No component below knows TOML; this one knows the options of
//! every component and none of their work.

pub mod defaults;
mod file;
mod given;
mod interpolate;
mod moment;
mod nearest;
mod password;
mod problem;
mod read;
mod resolve;
mod show;
mod store;
mod unit;
mod word;

pub use interpolate::Surroundings;
pub use nearest::suggestion;
pub use problem::{Label, Problem, Problems, Severity, Source};
pub use show::schema;
pub use store::{NearCache, StoreKind, StoreOptions};
pub use unit::{Fault, Period, Size};
pub use word::LogFormat;

use crate::clock::Timestamp;
use crate::manager::{Keep, OnOutage, PolicyOptions};
use crate::proxy::options::{ListenerOptions, ProxyOptions, RouteOptions, UpstreamOptions};
use crate::secret::Secret;
use crate::wire::HeaderOptions;
use cookie::time::{Date as Day, OffsetDateTime};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// A whole configuration that has been proven.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from, if it came from one.
    pub path: Option<PathBuf>,
    /// The process.
    pub server: ServerOptions,
    /// The admin socket, unless there is to be none. Without a file there is one only where it is wanted.
    pub admin: Option<AdminOptions>,
    /// What holds for every request.
    pub proxy: ProxyOptions,
    /// Where requests come in: at least one.
    pub listeners: Vec<ListenerOptions>,
    /// Where they go: at least one.
    pub upstreams: Vec<UpstreamOptions>,
    /// The first seals, all open. Empty: the file has none, and the server makes one of its own.
    pub keys: Vec<KeyOptions>,
    /// The stores that a policy or another store uses.
    pub stores: Vec<StoreOptions>,
    /// The stores that nothing uses: sessions can be copied from them and to them.
    pub spare_stores: Vec<StoreOptions>,
    /// The session policies, in the order of the file; routes name them by index.
    pub policies: Vec<Policy>,
    /// The routes, in the order of the file: at least one.
    pub routes: Vec<RouteOptions>,
    /// How old a copy may be that stands in for a session whose store cannot answer.
    pub cached_max_age: Duration,
    /// What is written about it.
    pub log: LogOptions,
    /// What should be known about it.
    pub warnings: Vec<Problem>,
    /// The text, to show the warnings in it.
    pub source: Source,
}

impl Config {
    /// The store of a name, whether something uses it or not.
    #[must_use]
    pub fn store(&self, name: &str) -> Option<&StoreOptions> {
        self.stores.iter().chain(&self.spare_stores).find(|store| store.name == name)
    }

    /// The warnings as they stand in the file.
    #[must_use]
    pub fn problems(&self) -> Problems {
        Problems::new(self.source.clone(), self.warnings.clone())
    }

    /// For how long the copies of this store's entries may stand in for them, when it is to keep any.
    ///
    /// A store in this process answers whenever somebody can ask, so that nobody needs a copy of what it holds.
    #[must_use]
    pub fn keeps_copies(&self, store: &str) -> Option<Duration> {
        let in_memory = |own: &StoreOptions| own.name == store && matches!(own.kind, StoreKind::Memory(_));
        let is_here = |policy: usize| matches!(&self.policies[policy].options.keep, Keep::Store(name) if name == store);
        let mut routes = self.routes.iter().filter(|route| route.on_outage == OnOutage::Cached);
        let wanted = routes.any(|route| route.sessions.iter().any(|used| is_here(used.policy)));
        (wanted && !self.stores.iter().any(in_memory)).then_some(self.cached_max_age)
    }
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Worker threads, at least one.
    pub threads: usize,
    /// The directory of the disk stores.
    pub state_dir: PathBuf,
    /// The directory of the admin socket.
    pub runtime_dir: PathBuf,
    /// After SIGTERM, running requests have this long.
    pub shutdown_timeout: Duration,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminOptions {
    /// The path of the socket.
    pub socket: PathBuf,
    /// The file says where it is to be, so that a server without it is not what was asked for.
    pub is_wanted: bool,
}

/// One of `[[keys]]`.
#[derive(Clone, Debug)]
pub struct KeyOptions {
    /// Its name.
    pub id: String,
    /// The key.
    pub secret: Secret<[u8; 32]>,
    /// The last day on which something may need it.
    pub retire_after: Option<Date>,
}

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// The year.
    pub year: u16,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
}

impl Date {
    /// The day of a moment, in UTC.
    #[must_use]
    pub fn of(now: Timestamp) -> Self {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let day = OffsetDateTime::from_unix_timestamp(seconds).map_or(Day::MAX, OffsetDateTime::date);
        Self { year: u16::try_from(day.year()).unwrap_or(u16::MAX), month: day.month().into(), day: day.day() }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// One `[sessions.<name>]`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How its sessions live.
    pub options: PolicyOptions,
    /// How they are told to backends.
    pub headers: HeaderOptions,
    /// The store that remembers which sessions have ended, where the browser keeps them.
    pub revocation: Option<String>,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// From which level on.
    pub level: LevelFilter,
    /// How.
    pub format: LogFormat,
}

/// Reads a file.
///
/// # Errors
/// All [`Problems`] of the file at once.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let label = path.display().to_string();
    let unreadable = |reason: String| {
        let help = "name a file with `-c`, or write one with `cloakroom init`";
        let problem = Problem::error("config::unreadable", format!("`{label}` cannot be read: {reason}")).help(help);
        Problems::new(Source::new(&label, ""), vec![problem])
    };
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| unreadable(format!("it is not UTF-8: {error}")))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parse_file(&text, &label, Some(path), &Surroundings::of_process(directory))
}

/// The admin socket of the server that serves this file, as far as the file can be read: it may be wrong elsewhere, which
/// is no reason not to find the server.
#[must_use]
pub fn admin_socket(path: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let around = Surroundings::of_process(directory);
    resolve::admin_socket(&read::read(&text, &around).file, &around).map(|admin| admin.socket)
}

/// Reads a text that comes from no file; `label` is what problems call it. Relative paths begin in the working
/// directory.
///
/// # Errors
/// All [`Problems`] of the text at once.
pub fn parse(text: &str, label: &str) -> Result<Config, Problems> {
    parse_in(text, label, &Surroundings::of_process(Path::new(".")))
}

/// Reads a text that may refer to these surroundings and to no others.
///
/// # Errors
/// All [`Problems`] of the text at once.
pub fn parse_in(text: &str, label: &str, around: &Surroundings) -> Result<Config, Problems> {
    parse_file(text, label, None, around)
}

fn parse_file(text: &str, label: &str, path: Option<&Path>, around: &Surroundings) -> Result<Config, Problems> {
    let mut found = read::read(text, around);
    let mut source = Source::new(label, text);
    source.hide(found.secrets.iter().cloned());
    source.hide(password::places_in_lines(text));
    let mut problems = std::mem::take(&mut found.problems);
    let config = found.is_read.then(|| resolve::resolve(&found, path, around, &mut problems)).flatten();
    for problem in &mut problems {
        found.insertions.mask(problem);
    }
    match config {
        Some(config) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
            let warnings = Problems::new(source.clone(), problems).list().to_vec();
            Ok(Config { path: path.map(Into::into), warnings, source, ..config })
        }
        _ => Err(Problems::new(source, problems)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For how long copies are kept of what lies in the stores `far` and `fast`.
    fn copies(failure: &str, members: &str, public: &str) -> [Option<u64>; 2] {
        let text = format!(
            "[listeners.web]\naddress = \"127.0.0.1:1\"\n[upstreams.app]\nservers = [\"http://127.0.0.1:2\"]\n\
             [stores.far]\ntype = \"disk\"\n[stores.fast]\ntype = \"memory\"\n\
             [sessions.login]\nstore = \"far\"\n[sessions.basket]\nstore = \"fast\"\ncookie.name = \"basket\"\n\
             headers.prefix = \"X-Basket-\"\n[failure]\n{failure}\n\
             [[routes]]\npath = \"/members/*\"\nupstream = \"app\"\nsessions = [\"login\", \"basket\"]\n{members}\n\
             [[routes]]\nupstream = \"app\"\nsessions = [\"basket\"]\n{public}\n"
        );
        let config = parse(&text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"));
        ["far", "fast"].map(|store| config.keeps_copies(store).map(|age| age.as_secs()))
    }

    #[test]
    fn copies_are_kept_where_a_route_may_show_them_and_their_store_may_fail() {
        let cached = "store_unavailable = \"cached\"";
        let error = "store_unavailable = \"error\"";
        assert_eq!(copies("", "", ""), [None, None]);
        assert_eq!(copies("", cached, ""), [Some(300), None]);
        assert_eq!(copies("", "", cached), [None, None], "no session of that route lies in `far`");
        assert_eq!(copies(cached, "", ""), [Some(300), None]);
        assert_eq!(copies(cached, error, ""), [None, None], "the route's own word counts");
        assert_eq!(copies(&format!("{cached}\ncached_max_age = \"20s\""), "", ""), [Some(20), None]);
        assert_eq!(copies("store_unavailable = \"anonymous\"", "", ""), [None, None]);
    }

    #[test]
    fn a_moment_has_its_day() {
        assert_eq!(Date::of(Timestamp::from_millis(1_798_675_200_000)).to_string(), "2026-12-31");
        assert_eq!(Date::of(Timestamp::default()).to_string(), "1970-01-01");
        assert_eq!(Date::of(Timestamp::NEVER).to_string(), "9999-12-31");
    }
}
