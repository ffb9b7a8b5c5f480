//! The limit that the proxy is measured against: pingora passing everything through, under the settings of the product.
//!
//! Allocator, listener, buffers, keep-alive, timeouts, retries and pool are those of `cloakroom run` with one thread;
//! only the work of its hooks is missing. It runs until it is killed.
//!
//! ```text
//! bare --listen 127.0.0.1:8080 --upstream 127.0.0.1:9000
//! ```

use async_trait::async_trait;
use clap::Parser;
use parking_lot::Mutex;
use pingora::Result;
use pingora::apps::HttpServerOptions;
use pingora::http::RequestHeader;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session as Downstream, http_proxy};
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use pingora::upstreams::peer::HttpPeer;
use pingora_runtime::Runtime;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A proxy that does nothing but proxy.
#[derive(Parser)]
struct Args {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// The backend.
    #[arg(long)]
    upstream: SocketAddr,
    /// Add the headers that every proxy owes the next hop: X-Forwarded-For, -Proto, -Host and Via.
    #[arg(long)]
    announce: bool,
    /// Let idle threads take work from busy ones.
    #[arg(long)]
    steal: bool,
    /// Seconds after which an unused connection to the backend is closed.
    #[arg(long, default_value_t = 60)]
    idle_timeout: u64,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let runtime = if args.steal { Runtime::new_steal(1, "bare") } else { Runtime::new_no_steal(1, "bare") };

    let address = args.listen.to_string();
    let listener = TcpListener::bind(args.listen)?;
    listener.set_nonblocking(true)?;
    let mut fds = Fds::new();
    fds.add(address.clone(), listener.into_raw_fd());

    let conf = Arc::new(ServerConf {
        threads: 1,
        work_stealing: args.steal,
        upstream_keepalive_pool_size: 256,
        max_retries: 2,
        ..ServerConf::default()
    });
    let mut options = HttpServerOptions::default();
    options.keepalive_request_limit = Some(10_000);
    let mut proxy =
        http_proxy(&conf, PassThrough { peer: peer(args.upstream, args.idle_timeout), announce: args.announce });
    proxy.server_options = Some(options);

    let mut service = Service::new("bare".into(), proxy);
    service.add_listener(ListenerConfig::tcp(address).l4_buffer(L4BufferSettings::default().read(4096)));
    let (_running, shutdown) = watch::channel(false);
    let serving = runtime
        .get_handle()
        .spawn(async move { service.start_service(Some(Arc::new(Mutex::new(fds))), shutdown, 1).await });
    runtime.get_handle().block_on(serving).map_err(std::io::Error::other)
}

fn peer(upstream: SocketAddr, idle_timeout: u64) -> HttpPeer {
    let mut peer = HttpPeer::new(upstream, false, String::new());
    peer.options.connection_timeout = Some(Duration::from_secs(3));
    peer.options.total_connection_timeout = Some(Duration::from_secs(10));
    peer.options.read_timeout = Some(Duration::from_secs(60));
    peer.options.write_timeout = Some(Duration::from_secs(30));
    peer.options.idle_timeout = Some(Duration::from_secs(idle_timeout));
    peer
}

struct PassThrough {
    peer: HttpPeer,
    announce: bool,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    /// pingora's default adds a compression module, which costs time on every request even while it is off.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, downstream: &mut Downstream, (): &mut ()) -> Result<()> {
        downstream.set_keepalive(Some(75));
        downstream.set_read_timeout(Some(Duration::from_secs(30)));
        downstream.set_write_timeout(Some(Duration::from_secs(30)));
        downstream.set_total_drain_timeout(Some(Duration::from_secs(2)));
        downstream.set_pipelining_enabled(true);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        downstream: &mut Downstream,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        if self.announce {
            let address = downstream.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
            if let Some(address) = address {
                request.insert_header("X-Forwarded-For", address.to_string())?;
            }
            request.insert_header("X-Forwarded-Proto", "http")?;
            if let Some(host) = request.headers.get("host").cloned() {
                request.insert_header("X-Forwarded-Host", host)?;
            }
            request.append_header("Via", "1.1 proxy")?;
        }
        Ok(())
    }

    async fn upstream_peer(&self, _downstream: &mut Downstream, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}
