//! Wiring: a [`Config`] to a running server. The only place, with `cli`, that chooses implementations.

mod house;
mod keys;
mod office;
mod sockets;
mod stores;
mod sweep;
mod upkeep;
mod wiring;

pub use house::ReloadError;
pub use keys::key_ring;
pub use office::Reloader;
pub use stores::open;
pub(crate) use stores::private_directory;

use crate::admin;
use crate::clock::{Clock, SystemClock};
use crate::codec::RingError;
use crate::config::Config;
use crate::proxy::Proxy;
use crate::proxy::gate::Gate;
use crate::proxy::options::{ListenAddress, ListenerOptions};
use crate::proxy::tls::{Certificates, TlsError};
use crate::proxy::upstream::UpstreamError;
use crate::proxy::watch::watch as watch_sessions;
use crate::session::NoRandomness;
use house::House;
use office::Office;
use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use pingora_runtime::Runtime;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Requests on one connection before it is closed.
const KEEPALIVE_REQUESTS: u32 = 10_000;

/// How often pingora asks whom to try next: more often than we ever answer, for a reload may add servers.
const MAX_RETRIES: usize = 10_000;

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
    /// The admin socket cannot be had, though the file asks for it.
    #[error(transparent)]
    Admin(#[from] crate::admin::SocketError),
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

/// A listener whose socket is bound, with the TLS that it serves.
struct Socket {
    listener: Arc<ListenerOptions>,
    bound: i32,
    tls: Option<TlsSettings>,
}

/// A server whose sockets are bound and whose stores are open.
pub struct Server {
    /// As it was at the start.
    config: Arc<Config>,
    house: Arc<House>,
    proxy: Arc<HttpProxy<Proxy>>,
    sockets: Vec<Socket>,
    admin: Option<admin::Socket>,
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
        let house = Arc::new(House::open(config, clock)?);
        let config = house.config();
        let conf = Arc::new(ServerConf {
            threads: threads(&config),
            max_retries: MAX_RETRIES,
            upstream_keepalive_pool_size: 256,
            ..ServerConf::default()
        });
        let proxy = Proxy::new(Arc::clone(&house.snapshot), Arc::clone(&house.clock), house.in_flight.clone());
        let mut proxy = http_proxy(&conf, proxy);
        let mut options = HttpServerOptions::default();
        options.keepalive_request_limit = Some(KEEPALIVE_REQUESTS);
        proxy.server_options = Some(options);
        // First, so that it is there when the others are.
        let admin = office::bind(&config)?;
        let sockets = config.listeners.iter().map(|listener| {
            let tls = (!listener.certificates.is_empty())
                .then(|| Certificates::new(&listener.certificates).and_then(Certificates::into_settings))
                .transpose()
                .map_err(|source| StartError::Tls { listener: listener.name.clone(), source })?;
            let bound = sockets::bind(&listener.address).map_err(|source| StartError::Bind {
                listener: listener.name.clone(),
                address: listener.address.to_string(),
                source,
            })?;
            Ok(Socket { listener: Arc::new(listener.clone()), bound, tls })
        });
        let sockets = sockets.collect::<Result<_, StartError>>()?;
        Ok(Self { config, house, proxy: Arc::new(proxy), sockets, admin })
    }

    /// The configuration that it was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Lets it read its configuration again while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.house))
    }

    /// Serves until `stop` comes, then lets running requests finish, within the configured time.
    ///
    /// `ready` is called once connections are accepted.
    ///
    /// # Errors
    /// When the system has no thread or timer for us.
    pub fn run(mut self, stop: impl Future<Output = ()>, ready: impl FnOnce()) -> io::Result<()> {
        let workers = Runtime::new_no_steal(threads(&self.config), "worker");
        let desk = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (shutdown, watch) = watch::channel(false);
        for socket in std::mem::take(&mut self.sockets) {
            let (mut service, fds) = self.service(socket);
            let watch = watch.clone();
            workers.get_handle().spawn(async move { service.start_service(Some(fds), watch, 1).await });
        }
        let office = self.admin.take().map(|socket| Office::open(socket, &self.house)).transpose()?;
        desk.block_on(async {
            let tethers = Arc::clone(self.house.connections.tethers());
            let watcher = tokio::spawn(watch_sessions(tethers, Arc::clone(&self.house.clock)));
            let upkeep = tokio::spawn(upkeep::upkeep(Arc::clone(&self.house), self.house.kept()));
            // Signals are caught before anybody hears that we are ready.
            let mut stop = std::pin::pin!(stop);
            let stopped = tokio::select! {
                biased;
                () = &mut stop => true,
                () = std::future::ready(()) => false,
            };
            ready();
            if !stopped {
                stop.await;
            }
            // The receivers are in the services; when all are gone there is nobody left to tell.
            shutdown.send(true).ok();
            self.drain().await;
            [watcher, upkeep].iter().for_each(tokio::task::JoinHandle::abort);
        });
        if let Some(office) = office {
            office.close();
        }
        workers.shutdown_timeout(Duration::from_millis(200));
        for listener in &self.config.listeners {
            if let ListenAddress::Unix(path) = &listener.address {
                fs::remove_file(path).ok();
            }
        }
        Ok(())
    }

    fn service(&self, socket: Socket) -> (Service<Gate<HttpProxy<Proxy>>>, pingora::server::ListenFds) {
        let Socket { listener, bound, tls } = socket;
        let gate = Gate::new(Arc::clone(&self.proxy), Arc::clone(&listener), Arc::clone(&self.house.connections));
        let mut service = Service::new(listener.name.clone(), gate);
        let buffers = L4BufferSettings::default().read(4096);
        let (name, endpoint) = match &listener.address {
            ListenAddress::Tcp(address) => (address.to_string(), ListenerConfig::tcp(address.to_string())),
            ListenAddress::Unix(path) => {
                let path = path.to_string_lossy().into_owned();
                // pingora sets the mode again when it takes the socket over; its own would let everybody in.
                let owner_and_group = fs::Permissions::from_mode(sockets::MODE);
                (path.clone(), ListenerConfig::uds(path).permissions(owner_and_group))
            }
        };
        let mut endpoint = endpoint.l4_buffer(buffers);
        if let Some(settings) = tls {
            endpoint = endpoint.tls(settings);
        }
        service.add_listener(endpoint);
        let mut fds = Fds::new();
        fds.add(name, bound);
        (service, Arc::new(parking_lot::Mutex::new(fds)))
    }

    async fn drain(&self) {
        let limit = self.house.config().server.shutdown_timeout;
        let idle = async {
            while self.house.in_flight.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(limit, idle).await.is_err() {
            tracing::warn!(requests = self.house.in_flight.count(), "leaving with requests unfinished after {limit:?}");
        }
    }
}

fn threads(config: &Config) -> usize {
    match config.server.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    }
}
