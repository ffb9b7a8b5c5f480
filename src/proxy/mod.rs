//! THE LIFE OF ONE EXCHANGE: the hooks of the proxy in the order in which they run.
//!
//! ```text
//! early_request_filter       time limits; the header section is complete
//! request_filter             refuse what no backend may see · route · sessions · require · csrf · lock · what to inject
//! upstream_peer              whose turn it is · on a replay the newest sessions first
//! upstream_request_filter    STRIP · cut our cookie · announce the client · INJECT · prove    may run again on a retry
//!    ... backend ...
//! upstream_response_filter   read the batches · STRIP · the backend's cookies · (1xx? stop) · COMMIT             durable before the head leaves · unlock
//! response_filter            Set-Cookie · Clear-Site-Data · the operator's edits
//! fail_to_proxy              our own page
//! logging                    one line · what the request holds and no answer has settled goes back · unlock
//! ```
//!
//! The order is a security property and not configurable. Only this layer knows pingora's proxy traits.

pub mod admission;
pub mod background;
pub mod caching;
pub mod context;
pub mod forwarding;
pub mod gate;
pub mod options;
pub mod replay;
pub mod reply;
pub mod tether;
pub mod tls;
pub mod upstream;
pub mod watch;

mod access;
mod answer;
mod backend_cookies;
mod csrf;
mod farewell;
mod frames;
mod lock;
mod messages;
mod seldom;
mod site_data;
mod status;
mod telling;
mod visitor;

use crate::clock::Clock;
use crate::cookie::header::{Rest, split};
use admission::Survey;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use backend_cookies::Counter;
use bytes::Bytes;
use caching::Personal;
use context::{Context, Exchange, InFlight, Snapshot, Stage};
use forwarding::Client;
use http::header::{COOKIE, EXPECT, HOST, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use options::{AliasHeaders, Goal, OnMissing, RouteOptions};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session as Downstream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorType, Result};
use replay::Withheld;
use reply::Failure;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use visitor::Visitor;

/// A client may be silent for this long within a request's body, and take this long to read a part of the answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A tunnel may be silent for this long.
const TUNNEL_TIMEOUT: Duration = Duration::from_secs(3600);

/// What is left of a body that nobody wants is read for this long, so that the connection can be used again.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    snapshot: Arc<ArcSwap<Snapshot>>,
    clock: Arc<dyn Clock>,
    in_flight: InFlight,
    spoof_log: access::SpoofLog,
    outages: access::OutageLog,
    csrf_log: access::CsrfLog,
    withheld: access::CookieLog,
    strangers: access::StrangerLog,
    /// Counts the connections that serve one request only.
    kept_apart: AtomicU64,
}

impl Proxy {
    /// A proxy that serves `snapshot`, whatever it is when a request comes.
    #[must_use]
    pub fn new(snapshot: Arc<ArcSwap<Snapshot>>, clock: Arc<dyn Clock>, in_flight: InFlight) -> Self {
        Self {
            snapshot,
            clock,
            in_flight,
            spoof_log: access::SpoofLog::default(),
            outages: access::OutageLog::default(),
            csrf_log: access::CsrfLog::default(),
            withheld: access::CookieLog::default(),
            strangers: access::StrangerLog::default(),
            kept_apart: AtomicU64::new(1),
        }
    }

    /// Finds the route and its sessions: everything that is decided before a backend is asked.
    async fn admit(&self, downstream: &Downstream, ctx: &mut Context) -> Result<Box<Exchange>> {
        let snapshot = Arc::clone(&ctx.snapshot);
        let request = downstream.req_header();
        ctx.survey = Survey::of(request, &snapshot.reserved);
        if let Some(listener) = &ctx.listener {
            let header_bytes = downstream.to_h1_raw().len();
            let most = snapshot.options.max_body_bytes;
            let checked = admission::check(request, &ctx.survey, header_bytes, listener, most);
            checked.map_err(|failure| ctx.fail(failure))?;
        }
        if !ctx.survey.spoofed.is_empty() {
            self.spoof_log.report(downstream, &ctx.survey.spoofed);
            if snapshot.options.alias_headers == AliasHeaders::Reject {
                return Err(ctx.fail(Failure::BadRequest(400)));
            }
        }
        let found = snapshot.routes.find(host(request), request.uri.path(), &request.method);
        let target = *found.ok_or_else(|| ctx.fail(Failure::NoRoute))?;
        let route = &snapshot.targets[target];

        let lines = request.headers.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes);
        let cookies = split(lines, &snapshot.cookie_names);
        let is_use = route.touch && ctx.survey.cause.is_use(route.background);
        let mut exchange = Box::new(Exchange::new(target, cookies.rest, is_use));
        exchange.cut_target = answer::cut_target(request, route).map_err(|failure| ctx.fail(failure))?;
        let now = self.clock.now();
        // Where we answer ourselves, nothing is required and nobody is kept away.
        let asks_a_backend = route.goal != Goal::Status;
        let mut visitor = Visitor::new(&cookies.ours, route.on_outage, &self.outages, now);
        for (index, used) in route.sessions.iter().enumerate() {
            let policy = &snapshot.policies[used.policy];
            let is_required = asks_a_backend && route.require == Some(index);
            let session = visitor.session(policy, used.policy, is_required).await;
            let mut session = session.map_err(|failure| ctx.fail(failure))?;
            if asks_a_backend && policy.manager.options().bond.is_some() {
                let known = self.recognize(policy, &mut session, downstream, ctx, now).await;
                known.map_err(|failure| ctx.fail(failure))?;
            }
            exchange.sessions.push(session);
        }
        Ok(exchange)
    }

    /// Gives a request a connection that no other one uses: its key in the pool is never asked for again.
    fn keep_apart(&self, peer: &mut HttpPeer) {
        peer.group_key = self.kept_apart.fetch_add(1, Ordering::Relaxed);
        peer.options.idle_timeout = Some(Duration::ZERO);
    }

    /// Answers a visitor who has not the session that the route requires.
    async fn turn_away(&self, downstream: &mut Downstream, ctx: &mut Context, exchange: Box<Exchange>) -> Result<bool> {
        let on_missing = route(&ctx.snapshot, &exchange).on_missing.clone();
        let cookies = answer::farewell(&ctx.snapshot, &exchange, self.clock.now());
        ctx.exchange = Some(exchange);
        discard_body(downstream).await;
        match on_missing {
            OnMissing::Status(status) => {
                reply::page(downstream, status, &ctx.snapshot.options.error_pages, &cookies).await?;
                ctx.failure = Some(Failure::SessionMissing(status));
            }
            OnMissing::Redirect(template) => {
                let location = answer::location(&template, downstream.req_header());
                reply::redirect(downstream, &location, &cookies).await?;
            }
        }
        Ok(true)
    }

    /// Refuses what another site may have caused; `true` when it was refused and answered.
    async fn guard(&self, downstream: &mut Downstream, ctx: &mut Context, session: usize) -> Result<bool> {
        let Err(failure) = csrf::check(downstream, ctx, session).await? else { return Ok(false) };
        let route = ctx.exchange.as_ref().map_or("-", |exchange| &route(&ctx.snapshot, exchange).name);
        self.csrf_log.report(downstream, route, failure);
        discard_body(downstream).await;
        reply::page(downstream, failure.status(), &ctx.snapshot.options.error_pages, &[]).await?;
        ctx.failure = Some(failure);
        Ok(true)
    }

    fn client(downstream: &Downstream, ctx: &Context) -> Client {
        let address = downstream.client_addr().and_then(|address| address.as_inet()).map(std::net::SocketAddr::ip);
        let listener = ctx.listener.as_ref();
        let secure = listener.is_some_and(|listener| listener.behind_tls || !listener.certificates.is_empty());
        Client::new(address, secure, &ctx.snapshot.options.trusted_proxies)
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            snapshot: self.snapshot.load_full(),
            started: Instant::now(),
            listener: None,
            exchange: None,
            survey: Survey::default(),
            body_bytes: 0,
            failure: None,
            _in_flight: self.in_flight.enter(),
        }
    }

    /// No modules: pingora's default compression module costs 2 % of a request and is of no use here.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, downstream: &mut Downstream, ctx: &mut Context) -> Result<()> {
        if let Some(gate) = context::gate(&downstream.downstream_session) {
            gate.begin_exchange();
            ctx.listener = Some(Arc::clone(gate.listener()));
        }
        let keepalive = ctx.listener.as_ref().map(|listener| listener.keepalive_timeout.as_secs().max(1));
        if downstream.get_keepalive().is_some() {
            downstream.set_keepalive(keepalive);
        }
        let is_tunnel = downstream.is_upgrade_req() && forwarding::asks_for_websocket(downstream.req_header());
        let silence = if is_tunnel { TUNNEL_TIMEOUT } else { CLIENT_TIMEOUT };
        downstream.set_read_timeout(Some(silence));
        downstream.set_write_timeout(Some(silence));
        downstream.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
        if downstream.req_header().version == Version::HTTP_10 {
            downstream.set_ignore_info_resp(true); // such a client knows no 1xx (RFC 9110, section 15.2)
        }
        if let ServerSession::H1(http) = &mut *downstream.downstream_session {
            http.set_pipelining_enabled(true);
        }
        Ok(())
    }

    async fn request_filter(&self, downstream: &mut Downstream, ctx: &mut Context) -> Result<bool> {
        let mut exchange = self.admit(downstream, ctx).await?;
        let snapshot = Arc::clone(&ctx.snapshot);
        let route = &snapshot.targets[exchange.target];
        if route.goal == Goal::Status {
            ctx.exchange = Some(exchange);
            return Box::pin(status::answer(downstream, ctx, self.clock.now())).await.map(|()| true);
        }
        // Boxed: an ordinary request must not pay for the size of these futures.
        if is_missing(route, &exchange) {
            return Box::pin(self.turn_away(downstream, ctx, exchange)).await;
        }
        if let Some(session) = route.csrf {
            ctx.exchange = Some(exchange);
            if Box::pin(self.guard(downstream, ctx, session)).await? {
                return Ok(true);
            }
            exchange = ctx.exchange.take().ok_or_else(unrouted)?;
        }
        if !route.locked.is_empty() {
            let locked = Box::pin(lock::take(downstream, &snapshot, &mut exchange, &*self.clock, &self.outages)).await;
            if let Err(failure) = locked {
                ctx.exchange = Some(exchange); // what is locked already is given back at the end
                return Err(ctx.fail(failure));
            }
            if is_missing(route, &exchange) {
                return Box::pin(self.turn_away(downstream, ctx, exchange)).await; // it ended meanwhile
            }
        }
        let told = self.tell(downstream, ctx, &mut exchange).await;
        if told.is_ok() && waits(downstream, route) {
            tether::tie(downstream, &snapshot, &exchange).await;
        }
        ctx.exchange = Some(exchange);
        told.map(|()| false)
    }

    async fn upstream_peer(&self, downstream: &mut Downstream, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        if ctx.exchange.as_ref().is_some_and(|exchange| exchange.stage == Stage::Outdated) {
            Box::pin(self.begin_again(downstream, ctx)).await?;
        }
        let (snapshot, Some(exchange)) = (&ctx.snapshot, &mut ctx.exchange) else { return Err(unrouted()) };
        let upstream = snapshot.upstream(exchange.target).ok_or_else(unrouted)?;
        // A retry after a broken connection asks the same server once more; one that refused is in `tried` for good.
        let server = upstream.choose(&exchange.tried).or(exchange.tried.last().copied()).ok_or_else(unrouted)?;
        exchange.tried.push(server);
        let mut peer = upstream.peer(server);
        if ctx.survey.upgrades && forwarding::asks_for_websocket(downstream.req_header()) {
            peer.options.read_timeout = Some(TUNNEL_TIMEOUT);
            // A connection of its own: on one of the pool a quick 101 may be read before pingora knows that the request
            // has no body, and the tunnel ends as it begins (pingora issue 946).
            self.keep_apart(&mut peer);
        } else if ctx.survey.authorizes && forwarding::logs_its_connection_in(downstream.req_header()) {
            self.keep_apart(&mut peer);
        }
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        downstream: &mut Downstream,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        let Some(exchange) = &ctx.exchange else { return Err(unrouted()) };
        let route = &ctx.snapshot.targets[exchange.target];
        for name in &ctx.survey.spoofed {
            request.remove_header(name); // HI1: first of all
        }
        if ctx.survey.needs_repair {
            forwarding::repair(request)?;
        }
        match &exchange.cookies {
            Rest::Untouched => {}
            Rest::Nothing => drop(request.remove_header(&COOKIE)),
            Rest::Line(line) => request.insert_header("Cookie", line.as_slice())?,
        }
        forwarding::announce(request, Self::client(downstream, ctx), ctx.survey.claims)?;
        if exchange.continued {
            request.remove_header(&EXPECT);
        }
        if let Some(target) = &exchange.cut_target {
            request.set_raw_path(target)?;
        }
        if let Some(server) = exchange.tried.last()
            && let Some(host) = ctx.snapshot.upstream(exchange.target).and_then(|upstream| upstream.host(*server))
        {
            request.insert_header(HOST, host.clone())?;
        }
        forwarding::edit_request(request, &route.request_headers)?;
        for field in &exchange.inject {
            request.insert_header(field.name.clone(), field.value.clone())?; // HI3: after `Connection` was processed
        }
        answer::prove(&ctx.snapshot, exchange, request, self.clock.now()) // HI9: last, over what the backend gets
    }

    async fn request_body_filter(
        &self,
        downstream: &mut Downstream,
        body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        // Never await here: on an upgrade the tunnel would be torn down.
        ctx.body_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
        if ctx.body_bytes > ctx.snapshot.options.max_body_bytes && !downstream.was_upgraded() {
            return Err(ctx.fail(Failure::BadRequest(413)));
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        downstream: &mut Downstream,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        let snapshot = Arc::clone(&ctx.snapshot);
        let switches = response.status == http::StatusCode::SWITCHING_PROTOCOLS;
        if switches && !forwarding::asks_for_websocket(downstream.req_header()) {
            return Err(ctx.fail(Failure::UnaskedUpgrade));
        }
        let is_final = switches || !response.status.is_informational();
        let mut heard = match &mut ctx.exchange {
            Some(exchange) if is_final && exchange.stage == Stage::Asking => {
                exchange.stage = Stage::Answered;
                Some(answer::hear(&snapshot, exchange, response))
            }
            _ => None,
        };
        let cookies = answer::cookies_of(response);
        answer::strip(&snapshot, response); // HI7: whatever the status, whatever the route
        if let Some(exchange) = &ctx.exchange
            && response.headers.contains_key(SET_COOKIE)
            && !route(&snapshot, exchange).cookies.is_empty()
        {
            let request = downstream.req_header();
            let place = backend_cookies::place(request, host(request), Self::client(downstream, ctx).is_secure);
            let counter = Counter::new(&snapshot, exchange.target, self.clock.now());
            let held = counter.receive(response, &exchange.sessions, &place, &self.withheld);
            answer::hold(&mut heard, held);
        }
        let withholds_cookie = answer::cookies_of(response) < cookies;
        let (Some(heard), Some(exchange)) = (heard, &mut ctx.exchange) else { return Ok(()) };
        let personal = if heard.is_empty() || answer::is_quiet(&snapshot, exchange, &heard, self.clock.now()) {
            Ok(answer::personal(exchange, false))
        } else {
            // What this answer itself does to a session must not end it.
            tether::release(downstream);
            // Boxed: the ordinary answer must not pay for the size of this future.
            let (outages, now) = (&self.outages, self.clock.now());
            let commit = answer::commit(&snapshot, exchange, heard, downstream, response, outages, now);
            Box::pin(commit).await
        };
        let target = exchange.target;
        if personal.is_ok() && exchange.is_locked() {
            Box::pin(lock::give_back(&snapshot, exchange, &self.outages, self.clock.now())).await;
        }
        if personal.is_ok() && snapshot.targets[target].ends_with_session {
            tether::retie(downstream, &snapshot, exchange).await;
        }
        let mut personal = match personal {
            Ok(personal) => personal,
            Err(Withheld::For(failure)) => return Err(ctx.fail(failure)),
            Err(Withheld::ToAskAgain) => {
                exchange.stage = Stage::Outdated; // `error_while_proxy` sees to it that the backend is asked again
                return Err(Failure::ConditionFailed.error());
            }
        };
        if withholds_cookie {
            personal = personal.max(Personal::Read); // with it in sight, no cache would have kept the answer
        }
        forwarding::edit_response(response, &snapshot.targets[target].response_headers)?;
        caching::mark(response, personal, &snapshot.reserved)
    }

    async fn response_filter(
        &self,
        downstream: &mut Downstream,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if response.status.is_informational() && response.status != http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(()); // CK9, HF17
        }
        if let Some(exchange) = &ctx.exchange {
            for line in &exchange.set_cookies {
                response.append_header(SET_COOKIE, line.as_str())?;
            }
            if !exchange.forgotten.is_empty()
                && Self::client(downstream, ctx).is_secure
                && let Some(forgotten) = site_data::value(&exchange.forgotten, &response.headers)
            {
                response.append_header(site_data::CLEAR_SITE_DATA, forgotten)?; // beside what the backend says
            }
            if let Some(gate) = context::gate(&downstream.downstream_session)
                && response.status == http::StatusCode::SWITCHING_PROTOCOLS
            {
                gate.begin_tunnel(ctx.snapshot.targets[exchange.target].close_code);
            }
        }
        if downstream.req_header().version == Version::HTTP_10 {
            // A client of HTTP/1.0 cannot read chunks: the end of the connection ends the body.
            response.remove_header(&TRANSFER_ENCODING);
            response.set_version(Version::HTTP_10);
            downstream.set_keepalive(None);
        } else {
            response.set_version(Version::HTTP_11); // our own version, not the backend's (RFC 9110, section 2.5)
        }
        Ok(())
    }

    fn upstream_response_trailer_filter(
        &self,
        _downstream: &mut Downstream,
        trailers: &mut HeaderMap,
        ctx: &mut Context,
    ) -> Result<()> {
        let ours: Vec<_> = trailers.keys().filter(|name| ctx.snapshot.reserved.has(name.as_str())).cloned().collect();
        for name in ours {
            trailers.remove(name); // HI7
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _downstream: &mut Downstream,
        _peer: &HttpPeer,
        ctx: &mut Context,
        mut error: BError,
    ) -> BError {
        // Nothing was sent, so any request may go to another server.
        let more = ctx.exchange.as_ref().is_some_and(|exchange| {
            let upstream = ctx.snapshot.upstream(exchange.target);
            upstream.is_some_and(|upstream| upstream.choose(&exchange.tried).is_some())
        });
        error.set_retry(more);
        error
    }

    /// What was heard too early is asked again: `answer::commit` has seen to it that this does no harm.
    ///
    /// HF8: only an idempotent request is sent again, and only when the backend closed a connection that was in use before.
    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        downstream: &mut Downstream,
        mut error: BError,
        ctx: &mut Context,
        client_reused: bool,
    ) -> BError {
        let has_ended = tether::has_ended(downstream);
        if ctx.exchange.as_ref().is_some_and(|exchange| exchange.stage == Stage::Outdated) {
            error.set_retry(!has_ended);
            return error;
        }
        let repeatable = downstream.req_header().method.is_idempotent()
            && !downstream.as_ref().retry_buffer_truncated()
            && !has_ended;
        let Some(exchange) = ctx.exchange.as_mut().filter(|_| repeatable) else {
            error.set_retry(false);
            return error;
        };
        error.retry.decide_reuse(client_reused);
        let upstream = ctx.snapshot.upstream(exchange.target);
        if upstream.is_none_or(|upstream| exchange.resent >= upstream.options().retries) {
            error.set_retry(false);
        }
        exchange.resent += usize::from(error.retry());
        error
    }

    async fn fail_to_proxy(&self, downstream: &mut Downstream, error: &Error, ctx: &mut Context) -> FailToProxy {
        if tether::has_ended(downstream) {
            ctx.failure = Some(Failure::SessionEnded);
        }
        let status = match ctx.failure {
            Some(failure) => Some(failure.status()),
            None => reply::status_of_error(error),
        };
        // An interim answer is no answer yet.
        let answered = downstream.response_written().is_some_and(|response| {
            !response.status.is_informational() || response.status == http::StatusCode::SWITCHING_PROTOCOLS
        });
        if let Some(status) = status.filter(|_| !answered) {
            // The connection ends here, and the page must say so (RFC 9112, section 9.6).
            downstream.set_keepalive(None);
            tether::pardon(downstream);
            // What another session of the route has committed, the browser must learn even so.
            let cookies = ctx.exchange.as_ref().map_or(&[][..], |exchange| &exchange.set_cookies);
            let written = reply::page(downstream, status, &ctx.snapshot.options.error_pages, cookies).await;
            if let Err(error) = written {
                tracing::debug!(%error, "the client left before its error page");
            }
        }
        FailToProxy { error_code: status.unwrap_or(0), can_reuse_downstream: false }
    }

    async fn logging(&self, downstream: &mut Downstream, error: Option<&Error>, ctx: &mut Context) {
        access::log(downstream, error, ctx);
        if let Some(exchange) = ctx.exchange.as_mut().filter(|exchange| messages::are_held(exchange)) {
            let (outages, now) = (&self.outages, self.clock.now());
            Box::pin(messages::give_back(&ctx.snapshot, exchange, outages, now)).await;
        }
        if let Some(exchange) = ctx.exchange.as_mut().filter(|exchange| exchange.is_locked()) {
            Box::pin(lock::give_back(&ctx.snapshot, exchange, &self.outages, self.clock.now())).await;
        }
        if let Some(gate) = context::gate(&downstream.downstream_session) {
            gate.end_exchange();
        }
    }

    /// The method alone: paths and queries are for the access log to decide.
    fn request_summary(&self, downstream: &Downstream, _ctx: &Context) -> String {
        downstream.req_header().method.to_string()
    }

    /// A backend that is asked again is no fault, and told in our own words.
    fn suppress_proxy_warn_log(
        &self,
        _downstream: &Downstream,
        ctx: &Context,
        _error: &Error,
        _at: ProxyWarnLogContext,
    ) -> bool {
        ctx.exchange.as_ref().is_some_and(|exchange| exchange.stage == Stage::Outdated)
    }

    /// Our own refusals and clients that left are told in our own words.
    fn suppress_error_log(&self, _downstream: &Downstream, _ctx: &Context, _error: &Error) -> bool {
        true
    }
}

/// Reads what is left of a body that nobody wants, so that the connection can be used again.
async fn discard_body(downstream: &mut Downstream) {
    // A client that waits for `100 Continue` has sent nothing yet.
    let waits = downstream.req_header().headers.contains_key(EXPECT);
    if waits || downstream.drain_request_body().await.is_err() {
        downstream.set_keepalive(None);
    }
}

#[expect(clippy::unnecessary_box_returns, reason = "pingora's errors are boxed")]
fn unrouted() -> BError {
    Error::explain(ErrorType::InternalError, "a request without a route")
}

fn host(request: &RequestHeader) -> &str {
    let header = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    header.or(request.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default()
}

/// Whether the session that the route requires is not there.
fn is_missing(route: &RouteOptions, exchange: &Exchange) -> bool {
    route.require.is_some_and(|session| exchange.sessions[session].snapshot().is_none())
}

/// Whether a request ends with its sessions while it waits for an answer: it may be a long poll. What changes something
/// is not kept from its answer.
fn waits(downstream: &Downstream, route: &RouteOptions) -> bool {
    route.ends_with_session && downstream.req_header().method.is_safe()
}

/// The route of an exchange.
fn route<'a>(snapshot: &'a Snapshot, exchange: &Exchange) -> &'a RouteOptions {
    &snapshot.targets[exchange.target]
}
