//! What the settings mean together: every rule that spans more than one of them.
//!
//! Each part returns what it could make of its section and reports what it could not; only the whole is refused.

mod admin;
mod bond;
mod collisions;
mod cookie;
mod cookie_rules;
mod fallback;
mod goal;
mod headers;
mod history;
mod keep;
mod key;
mod listener;
mod lock;
mod memcached;
mod network;
mod policy;
mod postgres;
mod redis;
mod rights;
mod route;
mod store;
mod tls;
mod upstream;

pub(super) use admin::socket as admin_socket;

use super::file::{File, Server};
use super::given::{Given, Span};
use super::interpolate::{Insertions, Surroundings};
use super::problem::Problem;
use super::read::Found;
use super::unit::{Period, Size};
use super::{Config, LogOptions, ServerOptions, Source};
use crate::proxy::options::ProxyOptions;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// The largest own error page.
const MAX_PAGE: u64 = 1 << 20;

/// What every part needs: the file, its surroundings, and where problems go.
struct Resolver<'a> {
    found: &'a Found,
    around: &'a Surroundings,
    path: Option<&'a Path>,
    problems: &'a mut Vec<Problem>,
}

impl Resolver<'_> {
    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports that something is missing, unless it is there and could not be read.
    fn missing(&mut self, path: &[&str], problem: impl FnOnce() -> Problem) {
        if !self.found.is_damaged(path) {
            self.report(problem());
        }
    }

    const fn insertions(&self) -> &Insertions {
        &self.found.insertions
    }

    /// A value within bounds, or its default.
    fn within<T: Copy + PartialOrd + Display>(
        &mut self,
        setting: &str,
        given: &Given<T>,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        match given.at() {
            Some(at) if !range.contains(&at.value) => {
                let message = format!("`{setting}` is {}: expected {} to {}", at.value, range.start(), range.end());
                let help = format!("without it, it is {default}");
                self.report(Problem::error("config::out_of_range", message).at(at.span.clone()).help(help));
                default
            }
            Some(at) => at.value,
            None => default,
        }
    }

    /// A time above zero and of at most a year, or its default.
    fn time(&mut self, setting: &str, given: &Given<Period>, default: Duration) -> Duration {
        let range = Period(Duration::from_millis(1))..=Period(Duration::from_secs(365 * 86_400));
        self.within(setting, given, Period(default), range).0
    }

    fn size(&mut self, setting: &str, given: &Given<Size>, default: u64, range: RangeInclusive<u64>) -> usize {
        let size = self.within(setting, given, Size(default), Size(*range.start())..=Size(*range.end()));
        usize::try_from(size.0).unwrap_or(usize::MAX)
    }
}

/// Everything together; `None` when something without which there is nothing could not be made.
pub(super) fn resolve(
    found: &Found,
    path: Option<&Path>,
    around: &Surroundings,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let file = &found.file;
    let to = &mut Resolver { found, around, path, problems };
    version(file, to);
    present(file, to);
    let server = server(&file.server, to);
    let admin = admin::admin(file, to);
    let listeners = listener::listeners(&file.listeners, to);
    let upstreams = upstream::upstreams(&file.upstreams, to);
    let keys = key::keys(&file.keys, to);
    let stores = store::stores(file, &server.state_dir, to);
    let mut policies = policy::policies(file, &stores, to);
    key::apart(file, &keys, to);
    let routes = route::routes(file, &policies, to);
    lock::leases(file, &policies, &routes, &upstreams, to);
    cookie_rules::mark(&mut policies, &routes);
    collisions::across(file, &policies, &routes, to);
    let proxy = proxy(file, to);
    let (stores, spare_stores) = store::sorted(stores, &policies);
    key::shared(file, &stores, to);
    let cached_max_age = cached_max_age(file, to);
    let level = file.log.level.value();
    let format = file.log.format.value();
    Some(Config {
        path: None,
        server,
        admin,
        proxy,
        listeners: listeners.into_iter().collect::<Option<_>>()?,
        upstreams: upstreams.into_iter().collect::<Option<_>>()?,
        keys,
        stores,
        spare_stores,
        policies: policies.into_iter().collect::<Option<_>>()?,
        routes: routes.into_iter().collect::<Option<_>>()?,
        cached_max_age,
        log: LogOptions { level, format },
        warnings: Vec::new(),
        source: Source::default(),
    })
}

fn version(file: &File, to: &mut Resolver<'_>) {
    if let Some(version) = file.config_version.at().filter(|version| version.value != 1) {
        let message = format!("`config_version` is {}: this program reads version 1", version.value);
        let problem = Problem::error("config::version", message).at(version.span.clone());
        to.report(problem.help("write `config_version = 1`, or use the release that the file was written for"));
    }
}

/// Without a listener, an upstream and a route there is no proxy.
fn present(file: &File, to: &mut Resolver<'_>) {
    let all = [
        (
            "listeners",
            "listener",
            file.listeners.0.is_empty(),
            "add `[listeners.web]` with `address = \"127.0.0.1:8080\"`",
        ),
        (
            "upstreams",
            "upstream",
            file.upstreams.0.is_empty(),
            "add `[upstreams.app]` with `servers = [\"http://127.0.0.1:9000\"]`",
        ),
        ("routes", "route", file.routes.is_empty(), "add `[[routes]]` with `upstream = \"app\"`"),
    ];
    for (section, what, is_missing, help) in all {
        if is_missing {
            to.missing(&[section], || Problem::error("config::missing", format!("there is no {what}")).help(help));
        }
    }
}

fn server(server: &Server, to: &mut Resolver<'_>) -> ServerOptions {
    let threads = to.within("threads", &server.threads, 0, 0..=1024);
    let cores = || std::thread::available_parallelism().map_or(1, Into::into);
    ServerOptions {
        threads: if threads == 0 { cores() } else { threads },
        state_dir: to.around.path(server.state_dir.or("/var/lib/cloakroom".into())),
        runtime_dir: admin::runtime_dir(server, to.around),
        shutdown_timeout: to.time("shutdown_timeout", &server.shutdown_timeout, Duration::from_secs(20)),
    }
}

fn proxy(file: &File, to: &mut Resolver<'_>) -> ProxyOptions {
    ProxyOptions {
        trusted_proxies: listener::networks(&file.server.trusted_proxies, to),
        alias_headers: file.failure.alias_headers.value(),
        error_pages: error_pages(file, to),
        max_connections: to.within("max_connections", &file.limits.max_connections, 10_000, 1..=10_000_000),
        sessions_created_per_ip: file.limits.sessions_created_per_ip.get().and_then(|rate| rate.0),
        max_body_bytes: to.size("max_body_bytes", &file.limits.max_body_bytes, 100 << 20, 0..=1 << 40) as u64,
        access_log: file.log.access.enabled.or(true),
    }
}

/// A copy that is kept for a day tells of yesterday.
fn cached_max_age(file: &File, to: &mut Resolver<'_>) -> Duration {
    let range = Period(Duration::from_secs(1))..=Period(Duration::from_secs(86_400));
    let default = Period(Duration::from_secs(300));
    to.within("cached_max_age", &file.failure.cached_max_age, default, range).0
}

fn error_pages(file: &File, to: &mut Resolver<'_>) -> Vec<(u16, bytes::Bytes)> {
    let mut pages = Vec::new();
    for (status, page) in file.failure.error_pages.iter() {
        let Some(number) = status.value.parse().ok().filter(|status| (400..=599).contains(status)) else {
            let message =
                format!("`{}` is not the status of an error: expected 400 to 599", status.value.escape_default());
            to.report(Problem::error("failure::error_page", message).at(status.span.clone()));
            continue;
        };
        let path = to.around.path(&page.value);
        match std::fs::metadata(&path)
            .and_then(|meta| if meta.len() > MAX_PAGE { Ok(None) } else { std::fs::read(&path).map(Some) })
        {
            Ok(Some(html)) => pages.push((number, html.into())),
            Ok(None) => report_page(page.value.as_str(), "it has more than 1MiB", page.span.clone(), to),
            Err(error) => report_page(page.value.as_str(), &error.to_string(), page.span.clone(), to),
        }
    }
    pages
}

fn report_page(path: &str, reason: &str, span: Span, to: &mut Resolver<'_>) {
    let problem = Problem::error("failure::error_page", format!("the page `{path}` cannot be read: {reason}")).at(span);
    to.report(problem.help("name a file of HTML; relative paths begin in the directory of this file"));
}
