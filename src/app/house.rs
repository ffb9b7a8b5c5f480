//! Everything that serves and that a reload may change, and the reload.
//!
//! A request takes its [`Snapshot`] when it comes and keeps it to its end, so a reload is a swap of one pointer: nobody
//! waits for it, and nobody sees half of it. What the snapshots hold together they share: a store whose options are the
//! same, the queues of writers, the budgets of addresses, what the operator has ended.

use super::keys::{OwnKeys, ring};
use super::stores::{self, Opened};
use super::upkeep::Kept;
use super::{StartError, wiring};
use crate::admin::{PolicyStatus, Status};
use crate::clock::Clock;
use crate::config::{self, Config, Problems, Severity, StoreKind};
use crate::manager::Keep;
use crate::proxy::context::{InFlight, Snapshot};
use crate::proxy::gate::Connections;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::watch;

/// The configuration was not changed, and the old one is served on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There is no file to be read again.
    #[error("this server was started without a file: there is nothing to be read again")]
    NoFile,
    /// The file has problems.
    #[error("{} cannot be used: the old configuration is served on", path.display())]
    Problems {
        /// The file.
        path: PathBuf,
        /// Its problems.
        problems: Box<Problems>,
    },
    /// The file changes what only a start can change.
    #[error(
        "{} cannot change while the server runs: restart it, or take the change back; the old configuration is served on",
        and(settings)
    )]
    Fixed {
        /// The settings that it changes.
        settings: Vec<String>,
    },
    /// It broke off.
    #[error("the reload broke off: the old configuration is served on")]
    Interrupted,
    /// What the file asks for cannot be had.
    #[error("{}; the old configuration is served on", causes(source))]
    Start {
        /// Why not.
        source: Box<StartError>,
    },
}

impl ReloadError {
    /// The problems of the file, where it is at fault.
    #[must_use]
    pub const fn problems(&self) -> Option<&Problems> {
        match self {
            Self::Problems { problems, .. } => Some(problems),
            _ => None,
        }
    }
}

/// `a`, `b` and `c`.
fn and(settings: &[String]) -> String {
    let quoted: Vec<String> = settings.iter().map(|setting| format!("`{setting}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

fn causes(error: &StartError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        write!(text, ": {error}").unwrap_or_default();
        cause = error.source();
    }
    text
}

/// The server, as far as a reload may change it.
#[derive(Debug)]
pub(super) struct House {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) in_flight: InFlight,
    pub(super) connections: Arc<Connections>,
    config: ArcSwap<Config>,
    /// Held for the whole of a reload: there is one at a time.
    goods: Mutex<Goods>,
    /// Stores that no request finds any more, until the last that came before has gone.
    retired: Mutex<Vec<Opened>>,
    kept: watch::Sender<Kept>,
    started: Instant,
    loaded: Mutex<Instant>,
    reloads: AtomicU64,
}

/// What is kept from one configuration to the next.
#[derive(Debug)]
struct Goods {
    stores: Vec<Opened>,
    own_keys: OwnKeys,
}

impl House {
    /// Opens everything that a configuration asks for.
    ///
    /// # Errors
    /// [`StartError`] says what cannot be had.
    pub(super) fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let (ring, own_keys) = ring(&config, &OwnKeys::default())?;
        let stores = stores::open_all(&config, &[])?;
        let snapshot = wiring::snapshot(&config, &stores, &Arc::new(ring), None)?;
        let now = Instant::now();
        Ok(Self {
            kept: watch::Sender::new(Kept::of(&stores, &snapshot)),
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            clock,
            in_flight: InFlight::default(),
            connections: Arc::new(Connections::new(config.proxy.max_connections)),
            config: ArcSwap::from_pointee(config),
            goods: Mutex::new(Goods { stores, own_keys }),
            retired: Mutex::default(),
            started: now,
            loaded: Mutex::new(now),
            reloads: AtomicU64::new(0),
        })
    }

    /// The configuration that is served.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// What has to be looked after in the background, now and whenever that changes.
    pub(super) fn kept(&self) -> watch::Receiver<Kept> {
        self.kept.subscribe()
    }

    /// Reads the file again and serves what it says. It looks names up and opens stores: not on a worker.
    ///
    /// # Errors
    /// [`ReloadError`] says why the old configuration is served on; nothing has changed then.
    pub(super) fn reload(&self) -> Result<Arc<Config>, ReloadError> {
        let goods = &mut *self.goods.lock();
        let before = self.config();
        let path = before.path.clone().ok_or(ReloadError::NoFile)?;
        let config =
            config::load(&path).map_err(|problems| ReloadError::Problems { path, problems: Box::new(problems) })?;
        let settings = fixed(&before, &config);
        if !settings.is_empty() {
            return Err(ReloadError::Fixed { settings });
        }
        let failed = |source| ReloadError::Start { source: Box::new(source) };
        let (ring, own_keys) = ring(&config, &goods.own_keys).map_err(failed)?;
        let stores = stores::open_all(&config, &goods.stores).map_err(failed)?;
        let served = self.snapshot.load_full();
        let snapshot = wiring::snapshot(&config, &stores, &Arc::new(ring), Some(&served)).map_err(failed)?;

        self.kept.send_replace(Kept::of(&stores, &snapshot));
        self.snapshot.store(Arc::new(snapshot));
        self.connections.limit(config.proxy.max_connections);
        let config = Arc::new(config);
        self.config.store(Arc::clone(&config));
        let old = std::mem::replace(goods, Goods { stores, own_keys });
        let gone = old.stores.into_iter().filter(|old| !goods.stores.iter().any(|opened| opened.is(old)));
        self.retired.lock().extend(gone);
        *self.loaded.lock() = Instant::now();
        self.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(config)
    }

    /// Closes stores that the last reload has left unused, away from the caller: one may have to write what is queued.
    pub(super) fn close_unused(&self) {
        let unused: Vec<Opened> = self.retired.lock().extract_if(.., |store| !store.is_in_use()).collect();
        for store in unused {
            tracing::info!(store = store.name(), "a store is closed: nothing uses it any more");
            std::thread::spawn(move || drop(store));
        }
    }

    /// What the server is doing.
    pub(super) fn status(&self) -> Status {
        let (config, snapshot) = (self.config(), self.snapshot.load());
        let policies = snapshot.policies.iter().map(|policy| {
            let (options, manager) = (policy.manager.options(), &policy.manager);
            let store = match &options.keep {
                Keep::Store(name) => name.clone(),
                Keep::Browser(_) => "cookie".to_owned(),
            };
            let (lists, finds_users, revokes) = (manager.lists(), manager.finds_owners(), manager.revokes());
            PolicyStatus { name: options.name.clone(), store, lists, finds_users, revokes }
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime: self.started.elapsed().as_secs(),
            configuration: config.path.as_ref().map(|path| path.display().to_string()),
            loaded: self.loaded.lock().elapsed().as_secs(),
            reloads: self.reloads.load(Ordering::Relaxed),
            requests: self.in_flight.count(),
            connections: self.connections.standing(),
            listeners: config.listeners.iter().map(|listener| listener.address.to_string()).collect(),
            policies: policies.collect(),
        }
    }
}

/// Which store looks into which other, and what the two are. Whoever used the one without the other for a moment could
/// bring ended sessions back, and requests that came before a reload do.
fn fallbacks(config: &Config) -> Vec<[(&str, &StoreKind); 2]> {
    let pairs = config.stores.iter().filter_map(|store| {
        let before = config.store(store.fallback.as_ref()?)?;
        Some([(store.name.as_str(), &store.kind), (before.name.as_str(), &before.kind)])
    });
    pairs.collect()
}

/// The settings that differ and that only a start can change.
fn fixed(before: &Config, after: &Config) -> Vec<String> {
    let mut settings = Vec::new();
    let names = before.listeners.iter().chain(&after.listeners).map(|listener| &listener.name);
    for name in names {
        let of = |config: &Config| config.listeners.iter().find(|listener| listener.name == *name).cloned();
        let setting = format!("[listeners.{name}]");
        if of(before) != of(after) && !settings.contains(&setting) {
            settings.push(setting);
        }
    }
    let others: [(&str, bool); 7] = [
        ("threads", before.server.threads != after.server.threads),
        ("state_dir", before.server.state_dir != after.server.state_dir),
        ("runtime_dir", before.server.runtime_dir != after.server.runtime_dir),
        (
            "admin.socket",
            before.admin.as_ref().map(|admin| &admin.socket) != after.admin.as_ref().map(|admin| &admin.socket),
        ),
        ("fallback", fallbacks(before) != fallbacks(after)),
        ("log.level", before.log.level != after.log.level),
        ("log.format", before.log.format != after.log.format),
    ];
    settings.extend(others.iter().filter(|(_, differs)| *differs).map(|(name, _)| (*name).to_owned()));
    settings
}

/// What should be known about a configuration, as `check` prints it.
pub(super) fn warnings(config: &Config) -> String {
    let problems = config.problems();
    if problems.count(Severity::Warning) == 0 { String::new() } else { problems.render(false) }
}
