//! What a backend is told before it is asked: the headers of each session, messages under a lease, and the cookies of its
//! own that it gets back; all of it once more with the newest sessions when it is asked again.

use super::answer::Teller;
use super::backend_cookies::{self, Counter};
use super::context::{Context, Exchange, Portion};
use super::reply::Failure;
use super::{Downstream, Proxy, answer, host, is_missing, messages, route, tether, unrouted, waits};
use crate::cookie::header::{Rest, split};
use crate::wire::{Allowance, proof};
use http::header::COOKIE;
use pingora::http::RequestHeader;
use pingora::{ErrorType, OrErr as _, Result};
use std::sync::Arc;

impl Proxy {
    /// Writes down what the backend is told: the headers of each session, and the cookies of its own that it gets back.
    pub(super) async fn tell(&self, downstream: &Downstream, ctx: &Context, exchange: &mut Exchange) -> Result<()> {
        let (snapshot, request, now) = (&ctx.snapshot, downstream.req_header(), self.clock.now());
        let route = route(snapshot, exchange);
        if !route.cookies.is_empty() {
            let rest = std::mem::replace(&mut exchange.cookies, Rest::Untouched);
            let counter = Counter::new(snapshot, exchange.target, now);
            let line = request.headers.get(COOKIE);
            exchange.cookies = counter.forwarded(line, rest);
            if route.holds_cookies() {
                let rest = std::mem::replace(&mut exchange.cookies, Rest::Untouched);
                let place = backend_cookies::place(request, host(request), Self::client(downstream, ctx).is_secure);
                exchange.cookies = counter.with_held(line, rest, &exchange.sessions, &place);
            }
        }
        let upstream = snapshot.upstream(exchange.target).ok_or_else(unrouted)?;
        let mut allowance = Allowance::new(upstream.options().profile.budget, route.sessions.len());
        for used in route.sessions.iter().skip(1) {
            allowance.owe(snapshot.policies[used.policy].voice.owed());
        }
        for used in &route.sessions {
            let policy = &snapshot.policies[used.policy];
            let nonce = policy.voice.needs_nonce().then(proof::nonce).transpose();
            let nonce = nonce.or_err(ErrorType::InternalError, "numbering a request")?;
            exchange.portions.push(Portion { end: 0, nonce });
        }
        // Nothing fails any more: what a request holds from now on its end gives back.
        for (index, used) in route.sessions.iter().enumerate() {
            let teller = Teller { policy: &snapshot.policies[used.policy], used, now };
            self.tell_of(teller, index, exchange, &mut allowance, request).await;
        }
        Ok(())
    }

    /// Begins an exchange anew with the newest sessions: the answer to what the backend was told before is void.
    pub(super) async fn begin_again(&self, downstream: &Downstream, ctx: &mut Context) -> Result<()> {
        let Some(mut exchange) = ctx.exchange.take() else { return Err(unrouted()) };
        exchange.begin_again();
        let renewed = self.renew(downstream, ctx, &mut exchange).await;
        ctx.exchange = Some(exchange);
        renewed
    }

    async fn renew(&self, downstream: &Downstream, ctx: &mut Context, exchange: &mut Exchange) -> Result<()> {
        let snapshot = Arc::clone(&ctx.snapshot);
        let (route, now) = (route(&snapshot, exchange), self.clock.now());
        for (used, session) in route.sessions.iter().zip(&mut exchange.sessions) {
            let manager = &snapshot.policies[used.policy].manager;
            if let Err(error) = manager.renew(session, now).await {
                self.outages.report(manager.options(), &error);
                return Err(ctx.fail(Failure::SessionUnknown));
            }
        }
        if is_missing(route, exchange) {
            exchange.set_cookies.extend(answer::farewell(&snapshot, exchange, now));
            return Err(ctx.fail(Failure::SessionEnded));
        }
        let lines = downstream.req_header().headers.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes);
        exchange.cookies = split(lines, &snapshot.cookie_names).rest;
        self.tell(downstream, ctx, exchange).await?;
        if waits(downstream, route) {
            tether::tie(downstream, &snapshot, exchange).await;
        }
        Ok(())
    }

    /// Writes the headers of one session, and lends the request the messages that its answer may consume.
    async fn tell_of(
        &self,
        teller: Teller<'_>,
        index: usize,
        exchange: &mut Exchange,
        allowance: &mut Allowance,
        request: &RequestHeader,
    ) {
        let Exchange { sessions, portions, inject, told, .. } = exchange;
        let (session, portion) = (&mut sessions[index], &mut portions[index]);
        if let Some(nonce) = &portion.nonce {
            teller.policy.voice.number(inject, allowance, nonce);
        }
        if session.snapshot().is_some() {
            teller.policy.voice.warn(inject, allowance, session.changed());
        }
        let (start, before) = (inject.len(), *allowance);
        let mut tells = teller.tell(session, inject, allowance);
        if !tells.flashes.is_empty() && messages::may_be_consumed(teller, request) {
            // Boxed: few requests come while messages wait.
            Box::pin(messages::lend(teller, session, before, &self.outages)).await;
            inject.truncate(start);
            *allowance = before;
            tells = teller.tell(session, inject, allowance);
        }
        told.push(tells);
        portion.end = inject.len();
    }
}
