//! The gate in front of the proxy: counts connections, ends headers that drip, and answers what pingora would answer
//! with its own name before any hook of ours runs.

use super::farewell::Tunnel;
use super::options::ListenerOptions;
use super::reply;
use super::tether::{Held, Tether, Tethers};
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType, raw_connect::ProxyDigest, tls::SslDigest,
};
use pingora::server::ShutdownWatch;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Connections that stand, over all listeners, and how many may.
#[derive(Debug)]
pub struct Connections {
    standing: AtomicUsize,
    most: AtomicUsize,
    tethers: Arc<Tethers>,
}

impl Connections {
    /// A count that ends at `most`.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { standing: AtomicUsize::new(0), most: AtomicUsize::new(most), tethers: Arc::default() }
    }

    /// Lets so many stand from now on; those that stand already do.
    pub fn limit(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// What ties their exchanges to sessions.
    #[must_use]
    pub const fn tethers(&self) -> &Arc<Tethers> {
        &self.tethers
    }

    /// How many stand now.
    #[must_use]
    pub fn standing(&self) -> usize {
        self.standing.load(Ordering::Relaxed)
    }

    fn admit(self: &Arc<Self>) -> Option<Place> {
        let most = self.most.load(Ordering::Relaxed);
        let admitted = self
            .standing
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |standing| (standing < most).then_some(standing + 1));
        admitted.is_ok().then(|| Place(Arc::clone(self)))
    }
}

/// One connection's place in the count; given back on drop.
#[derive(Debug)]
struct Place(Arc<Connections>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.standing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The gate of one listener.
#[derive(Debug)]
pub struct Gate<P> {
    proxy: Arc<P>,
    listener: Arc<ListenerOptions>,
    connections: Arc<Connections>,
}

impl<P> Gate<P> {
    /// A gate in front of `proxy`.
    pub const fn new(proxy: Arc<P>, listener: Arc<ListenerOptions>, connections: Arc<Connections>) -> Self {
        Self { proxy, listener, connections }
    }
}

#[async_trait]
impl<P: HttpServerApp + Send + Sync + 'static> ServerApp for Gate<P> {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let Some(place) = self.connections.admit() else {
            tracing::warn!(listener = self.listener.name, "a connection was refused: `max_connections` is reached");
            stream.shutdown().await;
            return None;
        };
        let held = self.connections.tethers.hold();
        let tether = Arc::clone(held.tether());
        let gated = Gated::new(stream, Arc::clone(&self.listener), place, held);
        tokio::select! {
            biased;
            stream = ServerApp::process_new(&self.proxy, Box::new(gated), shutdown) => stream,
            () = tether.overdue() => {
                // It waits for something else than this client: it does not read, or its backend does not.
                tracing::info!(target: "cloakroom::access", listener = self.listener.name, "an exchange was dropped: its session has ended");
                None
            }
        }
    }

    async fn cleanup(&self) {
        HttpServerApp::http_cleanup(&*self.proxy).await;
    }
}

/// Where a connection is between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// No byte of the next request has come.
    Idle,
    /// The header section is coming.
    Header,
    /// The request is with the proxy.
    Exchange,
}

/// A client's connection behind the gate.
#[derive(Debug)]
pub struct Gated {
    inner: Stream,
    listener: Arc<ListenerOptions>,
    phase: AtomicU8,
    /// The most bytes that one read may give.
    read_limit: AtomicUsize,
    /// Armed only when a header does not come in one piece, at the first read after its first byte.
    timer: Option<Pin<Box<Sleep>>>,
    /// What goes out in place of pingora's own answer, and how much of it has.
    substitute: Option<(Vec<u8>, usize)>,
    held: Held,
    /// The code that a tunnel ends with; zero until there is one.
    close_code: AtomicU16,
    tunnel: Option<Tunnel>,
    _place: Place,
}

impl Gated {
    fn new(inner: Stream, listener: Arc<ListenerOptions>, place: Place, held: Held) -> Self {
        let (phase, close_code) = (AtomicU8::new(Phase::Idle as u8), AtomicU16::new(0));
        let read_limit = AtomicUsize::new(usize::MAX);
        let (timer, substitute, tunnel) = (None, None, None);
        Self { inner, listener, phase, read_limit, timer, substitute, held, close_code, tunnel, _place: place }
    }

    /// The gate of a client's connection.
    #[must_use]
    pub fn of(stream: &Stream) -> Option<&Self> {
        (**stream).as_any().downcast_ref()
    }

    /// The listener that the client came by.
    #[must_use]
    pub const fn listener(&self) -> &Arc<ListenerOptions> {
        &self.listener
    }

    /// The header section is complete.
    pub fn begin_exchange(&self) {
        self.phase.store(Phase::Exchange as u8, Ordering::Relaxed);
    }

    /// The answer is a 101: what follows it is a tunnel, which ends with this code when its session does.
    pub fn begin_tunnel(&self, close_code: u16) {
        self.close_code.store(close_code, Ordering::Relaxed);
    }

    /// What ties the exchange to its sessions.
    #[must_use]
    pub fn tether(&self) -> &Tether {
        self.held.tether()
    }

    /// The request has been answered; what comes now is the next one.
    pub fn end_exchange(&self) {
        self.limit_reads(usize::MAX);
        self.phase.store(Phase::Idle as u8, Ordering::Relaxed);
        self.tether().release();
        self.tether().pardon();
    }

    /// The tunnel, where the exchange has become one.
    fn tunnel(&mut self) -> Option<&mut Tunnel> {
        let code = self.close_code.load(Ordering::Relaxed);
        (code != 0).then(|| self.tunnel.get_or_insert_with(|| Tunnel::new(code)))
    }

    /// From now on no read gives more than this, for a body of which no more may be held; [`usize::MAX`] ends that.
    pub fn limit_reads(&self, most: usize) {
        self.read_limit.store(most, Ordering::Relaxed);
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// Whether the header section has taken too long (HF14).
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is(Phase::Header) {
            return false;
        }
        let limit = self.listener.header_timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).is_ready()
    }

    /// Sends our own answer in place of pingora's.
    fn poll_substitute(&mut self, cx: &mut Context<'_>, theirs: &[u8]) -> Poll<io::Result<usize>> {
        let (answer, mut sent) = self.substitute.take().unwrap_or_else(|| {
            let status = reply::status_of(theirs).unwrap_or(400);
            tracing::info!(target: "cloakroom::access", listener = self.listener.name, status, "malformed request");
            (reply::raw(status), 0)
        });
        while sent < answer.len() {
            match Pin::new(&mut self.inner).poll_write(cx, &answer[sent..]) {
                Poll::Pending => {
                    self.substitute = Some((answer, sent));
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(more)) => sent += more,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(theirs.len()))
    }
}

/// What pingora is told when the exchange has to end.
fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the session of the exchange has ended")
}

impl AsyncRead for Gated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.tether().is_ended() {
            let Self { inner, tunnel, .. } = &mut *self;
            if let Some(tunnel) = tunnel.as_mut().filter(|tunnel| tunnel.can_say_farewell()) {
                ready!(tunnel.poll_farewell(inner, cx, buf))?;
            }
            return Poll::Ready(Err(ended()));
        }
        if self.is_late(cx) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the header section took too long")));
        }
        let before = buf.filled().len();
        let most = self.read_limit.load(Ordering::Relaxed);
        if most < buf.remaining() {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buf.advance(read);
        } else {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        }
        if buf.filled().len() > before && self.is(Phase::Idle) {
            self.timer = None;
            self.phase.store(Phase::Header as u8, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.tether().is_ended() {
            // Nothing of the backend's reaches the client any more; what a tunnel is told, `poll_read` says.
            let is_heard_out = self.tunnel.as_ref().is_some_and(Tunnel::can_say_farewell);
            return Poll::Ready(if is_heard_out { Ok(bytes.len()) } else { Err(ended()) });
        }
        // Nothing of ours is written before a request is with the proxy: this is pingora's answer to a malformed one.
        if !self.is(Phase::Exchange) && bytes.starts_with(b"HTTP/1.") {
            return self.poll_substitute(cx, bytes);
        }
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        if let Some(tunnel) = self.tunnel() {
            tunnel.saw(&bytes[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is(Phase::Exchange) && !self.tether().is_ended() && self.tunnel().is_none() {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        }
        let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| piece);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tether().is_ended() {
            let is_heard_out = self.tunnel.as_ref().is_some_and(Tunnel::can_say_farewell);
            return Poll::Ready(if is_heard_out { Ok(()) } else { Err(ended()) });
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Gated {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

impl UniqueID for Gated {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Gated {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Gated {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Gated {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Gated {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Gated {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buf).await
    }
}
