//! Wiring: a [`Config`] to a running server. The only place, with `cli`, that chooses implementations.

use crate::clock::{Clock, SystemClock};
use crate::codec::{AtRest, Key, KeyRing, RingError, TokenMode};
use crate::config::{Config, KeyOptions, StoreKind};
use crate::manager::{Custody, Keep, Protection, SessionManager};
use crate::proxy::Proxy;
use crate::proxy::context::{InFlight, Policy, Snapshot};
use crate::proxy::gate::{Connections, Gate};
use crate::proxy::options::{ListenAddress, ListenerOptions};
use crate::proxy::tls::{Certificates, TlsError};
use crate::proxy::upstream::{Upstream, UpstreamError};
use crate::route::RouteTable;
use crate::secret::Secret;
use crate::session::{NoRandomness, random};
use crate::store::Store;
use crate::store::disk::DiskStore;
use crate::store::guarded::Guarded;
use crate::store::memory::MemoryStore;
use crate::wire::Reserved;
use crate::wire::request::Voice;
use crate::wire::response::Commands;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use pingora::apps::HttpServerOptions;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use pingora_runtime::Runtime;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::sync::watch;

/// Requests on one connection before it is closed.
const KEEPALIVE_REQUESTS: u32 = 10_000;

/// A store on this machine that has not answered by then is not going to.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often expired sessions are looked for, and how many are removed in one go.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
const SWEEP_SLICE: usize = 1000;

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be had.
    #[error("listener `{listener}`: cannot listen on {address}")]
    Bind {
        /// The listener.
        listener: String,
        /// Its address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A listener's certificate cannot be served.
    #[error("listener `{listener}`")]
    Tls {
        /// The listener.
        listener: String,
        /// What is wrong.
        #[source]
        source: TlsError,
    },
    /// An upstream cannot be found.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A store cannot be opened.
    #[error("store `{store}` cannot be opened")]
    Store {
        /// The store.
        store: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key that this server made for itself cannot be read or written.
    #[error(
        "the session key {path} cannot be used: {source}; name keys of your own with `[[keys]]`, see `cloakroom keygen`"
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The keys make no ring.
    #[error(transparent)]
    Keys(#[from] RingError),
    /// The system gave no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// A server whose sockets are bound and whose stores are open.
pub struct Server {
    config: Arc<Config>,
    proxy: Arc<HttpProxy<Proxy>>,
    sockets: Vec<(Arc<ListenerOptions>, i32)>,
    stores: Stores,
    clock: Arc<dyn Clock>,
    connections: Arc<Connections>,
    in_flight: InFlight,
}

impl Server {
    /// Opens the stores, looks the upstreams up and binds the sockets.
    ///
    /// # Errors
    /// [`StartError`] says what cannot be had.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_at(config, Arc::new(SystemClock))
    }

    /// As [`Server::start`], by a clock of the caller's choice.
    ///
    /// # Errors
    /// [`StartError`] says what cannot be had.
    pub fn start_at(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let ring = Arc::new(key_ring(&config)?);
        let stores = open_stores(&config)?;
        let snapshot = snapshot(&config, &stores, &ring)?;
        let in_flight = InFlight::default();
        let conf = Arc::new(ServerConf {
            threads: threads(&config),
            max_retries: 2 + config.upstreams.iter().map(|upstream| upstream.servers.len()).max().unwrap_or(0),
            upstream_keepalive_pool_size: 256,
            ..ServerConf::default()
        });
        let mut proxy = http_proxy(&conf, Proxy::new(snapshot, Arc::clone(&clock), in_flight.clone()));
        let mut options = HttpServerOptions::default();
        options.keepalive_request_limit = Some(KEEPALIVE_REQUESTS);
        proxy.server_options = Some(options);
        let sockets = config.listeners.iter().map(|listener| {
            if !listener.certificates.is_empty() {
                Certificates::new(&listener.certificates)
                    .map_err(|source| StartError::Tls { listener: listener.name.clone(), source })?;
            }
            let bound = bind(&listener.address).map_err(|source| StartError::Bind {
                listener: listener.name.clone(),
                address: listener.address.to_string(),
                source,
            })?;
            Ok((Arc::new(listener.clone()), bound))
        });
        let sockets = sockets.collect::<Result<_, StartError>>()?;
        let connections = Arc::new(Connections::new(config.proxy.max_connections));
        Ok(Self { config: Arc::new(config), proxy: Arc::new(proxy), sockets, stores, clock, connections, in_flight })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The stores, by name, with what each promises.
    pub fn promises(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.stores.iter().map(|(name, store)| (name.as_str(), store.promise()))
    }

    /// Serves until `stop` comes, then lets running requests finish, within the configured time.
    ///
    /// `ready` is called once connections are accepted.
    ///
    /// # Errors
    /// When the system has no thread or timer for us.
    pub fn run(self, stop: impl Future<Output = ()>, ready: impl FnOnce()) -> io::Result<()> {
        let workers = Runtime::new_no_steal(threads(&self.config), "worker");
        let desk = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (shutdown, watch) = watch::channel(false);
        for (listener, socket) in &self.sockets {
            let service = self.service(listener, *socket);
            let watch = watch.clone();
            let (mut service, fds) = service;
            workers.get_handle().spawn(async move { service.start_service(Some(fds), watch, 1).await });
        }
        desk.block_on(async {
            let sweepers: Vec<_> = self
                .stores
                .iter()
                .map(|(_, store)| tokio::spawn(sweep(Arc::clone(store), Arc::clone(&self.clock))))
                .collect();
            ready();
            stop.await;
            // The receivers are in the services; when all are gone there is nobody left to tell.
            shutdown.send(true).ok();
            self.drain().await;
            sweepers.iter().for_each(tokio::task::JoinHandle::abort);
        });
        workers.shutdown_timeout(Duration::from_millis(200));
        for (listener, _) in &self.sockets {
            if let ListenAddress::Unix(path) = &listener.address {
                fs::remove_file(path).ok();
            }
        }
        Ok(())
    }

    fn service(
        &self,
        listener: &Arc<ListenerOptions>,
        socket: i32,
    ) -> (Service<Gate<HttpProxy<Proxy>>>, pingora::server::ListenFds) {
        let gate = Gate::new(Arc::clone(&self.proxy), Arc::clone(listener), Arc::clone(&self.connections));
        let mut service = Service::new(listener.name.clone(), gate);
        let buffers = L4BufferSettings::default().read(4096);
        let (name, endpoint) = match &listener.address {
            ListenAddress::Tcp(address) => (address.to_string(), ListenerConfig::tcp(address.to_string())),
            ListenAddress::Unix(path) => {
                let path = path.to_string_lossy().into_owned();
                (path.clone(), ListenerConfig::uds(path))
            }
        };
        let mut endpoint = endpoint.l4_buffer(buffers);
        // Proven when the server started.
        if let Some(settings) = Certificates::new(&listener.certificates)
            .ok()
            .filter(|_| !listener.certificates.is_empty())
            .and_then(Certificates::into_settings)
        {
            endpoint = endpoint.tls(settings);
        }
        service.add_listener(endpoint);
        let mut fds = Fds::new();
        fds.add(name, socket);
        (service, Arc::new(parking_lot::Mutex::new(fds)))
    }

    async fn drain(&self) {
        let limit = self.config.server.shutdown_timeout;
        let idle = async {
            while self.in_flight.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(limit, idle).await.is_err() {
            tracing::warn!(requests = self.in_flight.count(), "leaving with requests unfinished after {limit:?}");
        }
    }
}

fn threads(config: &Config) -> usize {
    match config.server.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    }
}

async fn sweep(store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        // A full slice is followed by the next one at once, after others had their turn.
        while matches!(store.sweep(clock.now(), SWEEP_SLICE).await, Ok(SWEEP_SLICE..)) {
            tokio::task::yield_now().await;
        }
    }
}

fn snapshot(config: &Config, stores: &Stores, ring: &Arc<KeyRing>) -> Result<Snapshot, StartError> {
    let policies = config.policies.iter().map(|policy| {
        let custody = match &policy.options.keep {
            Keep::Browser(Protection::Sealed) => Custody::Browser(TokenMode::Sealed),
            Keep::Browser(Protection::Signed) => Custody::Browser(TokenMode::Signed),
            Keep::Store(name) => {
                let store = stores.iter().find(|(opened, _)| opened == name).map(|(_, store)| Arc::clone(store));
                let unknown = || StartError::Store { store: name.clone(), source: "it is not configured".into() };
                let in_memory = config.stores.iter().any(|s| s.name == *name && matches!(s.kind, StoreKind::Memory(_)));
                let at_rest = if in_memory { AtRest::Plain } else { AtRest::Sealed };
                Custody::Server { store: store.ok_or_else(unknown)?, at_rest }
            }
        };
        Ok(Policy {
            manager: SessionManager::new(policy.options.clone(), custody, Arc::clone(ring))?,
            voice: Voice::new(policy.headers.clone()),
            commands: Commands::new(&policy.headers),
        })
    });
    let policies: Vec<Policy> = policies.collect::<Result<_, StartError>>()?;
    let routes = config.routes.iter().enumerate().map(|(index, route)| (route.matcher.clone(), index));
    Ok(Snapshot {
        routes: RouteTable::new(routes.collect()),
        targets: config.routes.clone(),
        upstreams: config.upstreams.iter().cloned().map(Upstream::new).collect::<Result<_, _>>()?,
        cookie_names: policies.iter().map(|policy| policy.manager.cookie_name().clone()).collect(),
        reserved: Reserved::new(config.policies.iter().map(|policy| &policy.headers)),
        options: config.proxy.clone(),
        policies,
    })
}

/// The open stores, by the names of the file.
type Stores = Vec<(String, Arc<dyn Store>)>;

fn open_stores(config: &Config) -> Result<Stores, StartError> {
    let open = |store: &crate::config::StoreOptions| {
        let opened: Arc<dyn Store> = match &store.kind {
            StoreKind::Memory(limits) => Arc::new(MemoryStore::new(*limits)),
            StoreKind::Disk(options) => {
                if let Some(directory) = options.path.parent() {
                    private_directory(directory).map_err(|source| cannot_open(&store.name, source))?;
                }
                let disk = DiskStore::open(options.clone()).map_err(|source| cannot_open(&store.name, source))?;
                Arc::new(Guarded::new(Arc::new(disk), "disk", STORE_TIMEOUT))
            }
        };
        Ok((store.name.clone(), opened))
    };
    config.stores.iter().map(open).collect()
}

fn cannot_open(store: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StartError {
    StartError::Store { store: store.to_owned(), source: source.into() }
}

fn private_directory(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The operator's keys; without any, a key of our own: kept beside the sessions that outlive us, else made anew.
///
/// # Errors
/// [`StartError::Key`] when our own key cannot be read or written.
pub fn key_ring(config: &Config) -> Result<KeyRing, StartError> {
    let key = |key: &KeyOptions| Key::new(key.id.clone(), &key.secret);
    if !config.keys.is_empty() {
        return Ok(KeyRing::new(config.keys.iter().map(key).collect())?);
    }
    let kept = |policy: &crate::config::Policy| match &policy.options.keep {
        Keep::Browser(_) => true,
        Keep::Store(name) => {
            config.stores.iter().any(|store| store.name == *name && matches!(store.kind, StoreKind::Disk(_)))
        }
    };
    let secret = if config.policies.iter().any(kept) {
        let path = config.server.state_dir.join("session.key");
        own_key(&path).map_err(|source| StartError::Key { path, source })?
    } else {
        Secret::new(random()?)
    };
    Ok(KeyRing::new(vec![Key::new("own", &secret)])?)
}

/// Reads the key that an earlier start has made, or makes one.
fn own_key(path: &Path) -> io::Result<Secret<[u8; 32]>> {
    if let Some(directory) = path.parent() {
        private_directory(directory)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let secret: [u8; 32] = random().map_err(io::Error::other)?;
            file.write_all(URL_SAFE_NO_PAD.encode(secret).as_bytes())?;
            file.sync_all()?;
            Ok(Secret::new(secret))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may read it; `chmod 600` it")); // LG7
            }
            let text = Secret::new(fs::read_to_string(path)?);
            let bytes = URL_SAFE_NO_PAD.decode(text.expose().trim()).ok().map(Secret::new);
            let secret = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.expose().as_slice()).ok());
            secret.map(Secret::new).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not a key"))
        }
        Err(error) => Err(error),
    }
}

/// Binds a listener ourselves: pingora would try for thirty seconds and then panic in a task.
fn bind(address: &ListenAddress) -> io::Result<i32> {
    match address {
        ListenAddress::Tcp(address) => {
            // The socket is registered with a runtime only when pingora takes it over.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
            let _inside = runtime.enter();
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(*address)?;
            Ok(socket.listen(4096)?.into_std()?.into_raw_fd())
        }
        ListenAddress::Unix(path) => {
            if UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
            listener.set_nonblocking(true)?;
            Ok(listener.into_raw_fd())
        }
    }
}
