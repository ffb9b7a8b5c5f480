//! What happens to a backend's answer between its arrival and the client: hear, strip, commit.

use super::access::{self, OutageLog};
use super::admission::has_absolute_target;
use super::backend_cookies::Received;
use super::caching::Personal;
use super::context::{Exchange, Policy, Portion, Snapshot};
use super::options::{RouteOptions, SessionUse};
use super::replay::{Withheld, may_be_sent_again};
use super::reply::Failure;
use super::{Downstream, forwarding, messages, route};
use crate::clock::Timestamp;
use crate::cookie::header::carries;
use crate::manager::{
    CommitError, Committed, Consent, Event, OnRefused, Permit, PolicyOptions, Session, SessionManager, Share,
    Whereabouts,
};
use crate::route::strip_prefix;
use crate::session::{self, Batch, Handed, Reading, Refusal, Refused, Shown, State, View};
use crate::wire::Allowance;
use crate::wire::proof::Proven;
use crate::wire::request::{Fields, Live, Told};
use crate::wire::response::Heard;
use http::HeaderValue;
use http::header::{COOKIE, HOST, HeaderName, SET_COOKIE};
use pingora::http::{RequestHeader, ResponseHeader};
use smallvec::SmallVec;

/// What a session was asked by an answer: mostly nothing; or why it could not be understood.
type Said = Result<Option<Box<Heard>>, Refused>;

/// The same of each session of the route.
pub(super) type HeardAll = SmallVec<[Said; 1]>;

/// Reads the batches of an answer, one for each session of the route.
pub(super) fn hear(snapshot: &Snapshot, exchange: &Exchange, response: &ResponseHeader) -> HeardAll {
    let failed = response.status.is_server_error();
    let sessions = &route(snapshot, exchange).sessions;
    let hear = |policy: usize, portion: &Portion| {
        let policy = &snapshot.policies[policy];
        let heard = if failed && !policy.manager.options().apply_on_error_status {
            policy.commands.read_failed(&response.headers)
        } else {
            policy.commands.read(&response.headers)
        };
        policy.commands.verify(heard, &response.headers, portion.nonce.as_ref())
    };
    sessions.iter().zip(&exchange.portions).map(|(used, portion)| hear(used.policy, portion)).collect()
}

/// Adds the cookies that sessions are to hold to what they were asked: a part of the same batch, refused with it.
pub(super) fn hold(heard: &mut Option<HeardAll>, held: Received) {
    let Some(heard) = heard else { return };
    for (session, cookie) in held {
        if let Some(Ok(asked)) = heard.get_mut(session) {
            let asked = asked.get_or_insert_default();
            asked.spoke = true;
            asked.batch.held.push(cookie);
        }
    }
}

/// Removes every name of ours, every `Set-Cookie` of a name of ours, and the fields of one hop (HI7, CK7, HF4).
///
/// One pass over the fields tells what there is to do; mostly nothing.
pub(super) fn strip(snapshot: &Snapshot, response: &mut ResponseHeader) {
    let (mut cookies, mut one_hop) = (false, false);
    let mut ours: SmallVec<[HeaderName; 4]> = SmallVec::new();
    for name in response.headers.keys() {
        if *name == SET_COOKIE {
            cookies = true;
        } else if forwarding::is_hop_by_hop(name) {
            one_hop = true;
        } else if snapshot.reserved.has(name.as_str()) {
            ours.push(name.clone());
        }
    }
    for name in &ours {
        response.remove_header(name);
    }
    if one_hop {
        forwarding::remove_hop_by_hop(response);
    }
    if cookies {
        strip_cookies(snapshot, response);
    }
}

/// How many cookies an answer sets.
pub(super) fn cookies_of(response: &ResponseHeader) -> usize {
    response.headers.get_all(SET_COOKIE).iter().count()
}

fn strip_cookies(snapshot: &Snapshot, response: &mut ResponseHeader) {
    let is_ours = |line: &HeaderValue| {
        // A line that begins with `=` makes a cookie without a name, which browsers send as its bare value.
        let line = line.as_bytes().trim_ascii_start();
        let line = line.strip_prefix(b"=").unwrap_or(line);
        let name = line.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default().trim_ascii();
        snapshot.cookie_names.iter().any(|cookie| match name.strip_prefix(cookie.as_str().as_bytes()) {
            Some([] | [b'.', b'0'..=b'9']) => true,
            Some(_) | None => false,
        })
    };
    if response.headers.get_all(SET_COOKIE).iter().any(is_ours) {
        let kept: Vec<HeaderValue> =
            response.headers.get_all(SET_COOKIE).iter().filter(|line| !is_ours(line)).cloned().collect();
        response.remove_header(&SET_COOKIE);
        for line in kept {
            // The value came as a header and can be one again.
            drop(response.append_header(SET_COOKIE, line));
        }
    }
}

/// Tells a backend about the sessions of one policy on one route.
#[derive(Clone, Copy)]
pub(super) struct Teller<'a> {
    pub(super) policy: &'a Policy,
    pub(super) used: &'a SessionUse,
    pub(super) now: Timestamp,
}

impl Teller<'_> {
    /// Writes the headers of one session into the request.
    pub(super) fn tell(self, session: &Session, inject: &mut Fields, allowance: &mut Allowance) -> Told {
        let state = session.state();
        match session.snapshot() {
            Some(snapshot) => self.tell_record(state, snapshot, session.handed(), inject, allowance),
            None => self.speak(state, None, inject, allowance),
        }
    }

    /// Writes the headers of a session whose record is known, with the messages that the request is handed.
    pub(super) fn tell_record(
        self,
        state: State,
        snapshot: &session::Snapshot,
        handed: Handed,
        inject: &mut Fields,
        allowance: &mut Allowance,
    ) -> Told {
        let Self { policy, .. } = self;
        let Ok(view) = View::parse(&snapshot.bytes) else { return self.speak(State::Expired, None, inject, allowance) };
        let absolute_deadline = policy.manager.absolute_deadline(&view);
        let csrf = policy.voice.options().csrf.then(|| policy.manager.csrf_token(&view.head));
        let live = Live { view: &view, deadline: snapshot.deadline, absolute_deadline, csrf, handed };
        self.speak(state, Some(live), inject, allowance)
    }

    fn speak(self, state: State, live: Option<Live<'_, '_>>, inject: &mut Fields, allowance: &mut Allowance) -> Told {
        let Self { policy, used, now } = self;
        policy.voice.speak(inject, allowance, state, live, &used.rights.read, now).unwrap_or_default()
    }
}

/// Proves to the backend that a request came through us, for each session whose policy has a key for that.
pub(super) fn prove(
    snapshot: &Snapshot,
    exchange: &Exchange,
    request: &mut RequestHeader,
    now: Timestamp,
) -> pingora::Result<()> {
    let mut start = 0;
    for (used, share) in route(snapshot, exchange).sessions.iter().zip(&exchange.portions) {
        let own = &exchange.inject[start..share.end];
        start = share.end;
        let proven = Proven {
            seconds: now.as_secs(),
            method: request.method.as_str().as_bytes(),
            host: request.headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes),
            target: request.raw_path(),
        };
        if let Some(proof) = snapshot.policies[used.policy].voice.prove(proven, own) {
            request.insert_header(proof.name, proof.value)?;
        }
    }
    Ok(())
}

/// Whether an answer leaves every session as it is and owes the browser no cookie: the ordinary case.
pub(super) fn is_quiet(snapshot: &Snapshot, exchange: &Exchange, heard: &HeardAll, now: Timestamp) -> bool {
    let route = route(snapshot, exchange);
    let mut sessions = route.sessions.iter().zip(&exchange.sessions).zip(&exchange.told).zip(heard);
    sessions.all(|(((used, session), told), heard)| {
        let unspoken = matches!(heard, Ok(None));
        let permit = Permit::of(&used.rights, exchange.is_use);
        unspoken && *told == Told::default() && snapshot.policies[used.policy].manager.is_settled(session, permit, now)
    })
}

/// What is personal about an answer.
pub(super) fn personal(exchange: &Exchange, spoke: bool) -> Personal {
    if spoke || !exchange.set_cookies.is_empty() {
        Personal::Changed
    } else if exchange.sessions.iter().any(|session| matches!(session.state(), State::Live | State::Degraded)) {
        Personal::Read
    } else if exchange.sessions.is_empty() {
        Personal::No
    } else {
        Personal::Anonymous
    }
}

/// Applies what was heard to each session; durable when it returns.
///
/// Nothing is written when any batch could not be understood and its policy is loud about it. Batches with conditions come
/// first: of one that does not hold nothing else was written, and the backend may be asked again.
pub(super) async fn commit(
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    heard: HeardAll,
    downstream: &Downstream,
    response: &ResponseHeader,
    outages: &OutageLog,
    now: Timestamp,
) -> Result<Personal, Withheld> {
    let route = route(snapshot, exchange);
    let share = share(snapshot, downstream);
    let speaks = |heard: &Option<Box<Heard>>| heard.as_ref().is_some_and(|heard| heard.spoke);
    let spoke = heard.iter().any(|heard| heard.as_ref().map_or(true, speaks));
    let used = route.sessions.iter().map(|used| &snapshot.policies[used.policy].manager);
    let mut each = exchange.sessions.iter().zip(used.zip(&heard));
    let refused = each.find_map(|(session, (manager, heard))| {
        let refused = heard.as_ref().err().filter(|_| manager.options().on_refused == OnRefused::Error)?;
        Some((Case { manager, session, route, outages, now }, CommitError::Refused(refused.clone())))
    });
    if let Some((case, refused)) = refused {
        return Err(case.withheld(None, &refused, false).await);
    }
    let may_ask_again = may_be_sent_again(downstream.req_header(), exchange);

    let mut asked = exchange.sessions.iter().zip(&heard).filter(|(_, heard)| heard.as_ref().is_ok_and(speaks));
    if asked.clone().count() > 1 || asked.any(|(session, _)| session.is_degraded()) {
        rehearse(snapshot, exchange, &heard, may_ask_again, outages, now).await?;
    }
    exchange.whereabouts.resize_with(route.sessions.len(), Whereabouts::default);
    for (index, heard) in conditions_first(heard) {
        let used = &route.sessions[index];
        let manager = &snapshot.policies[used.policy].manager;
        // A route that only reads consumes nothing.
        let told = Some(&exchange.told[index]).filter(|_| used.rights.may_write);
        let shown = told.map_or(Shown::NOTHING, |told| {
            let consumes = messages::consumes(manager.options().consume, downstream.req_header(), response);
            let reading = if consumes { Reading::All } else { Reading::Acknowledged };
            Shown { flashes: &told.flashes, reading, refusal: told.refusal }
        });
        if let Ok(Some(heard)) = &heard
            && heard.unknown > 0
        {
            access::report_unknown_commands(manager.options(), &route.name, heard.unknown);
        }
        let asked = match &heard {
            Ok(heard) => Ok(heard.as_ref().filter(|heard| heard.spoke).map(|heard| &heard.batch)),
            Err(refused) => Err(refused.clone()),
        };
        let consents = consents(manager.options(), downstream.req_header());
        let permit = Permit { consents, share, ..Permit::of(&used.rights, exchange.is_use) };
        let batch = heard.as_ref().ok().and_then(Option::as_ref).map(|heard| &heard.batch);
        let case = Case { manager, session: &exchange.sessions[index], route, outages, now };
        let committed = match manager.commit(case.session, asked, permit, shown, now).await {
            Ok(committed) => committed,
            Err(error) => {
                let is_untouched = matches!(exchange.event, None | Some(Event::Touched));
                return Err(case.withheld(batch, &error, may_ask_again && is_untouched).await);
            }
        };
        case.note(batch, Ok(&committed)).await;
        exchange.sessions[index].settle();
        if let Some(error) = &committed.unwritten {
            outages.report_unwritten(manager.options(), error);
        }
        if let Some(refused) = &committed.refused {
            access::report_refused(manager.options(), &route.name, refused, "the page was delivered");
        }
        access::report_event(manager.options(), &exchange.sessions[index], &committed);
        if committed.event == Some(Event::Destroyed) {
            exchange.forgotten.extend_from_slice(&manager.options().clear_site_data);
        }
        if matches!(committed.event, Some(Event::Changed | Event::Renewed | Event::Destroyed)) {
            exchange.sessions[index].let_go(); // the lease ended with the write
        }
        exchange.event = exchange.event.or(committed.event);
        exchange.whereabouts[index] = committed.whereabouts;
        exchange.set_cookies.extend(committed.cookies);
    }

    Ok(personal(exchange, spoke))
}

/// What was heard with the index of its session, batches with conditions before the others.
fn conditions_first(heard: HeardAll) -> SmallVec<[(usize, Said); 1]> {
    let has_conditions = |heard: &Result<Option<Box<Heard>>, Refused>| matches!(heard, Ok(Some(heard)) if !heard.batch.conditions.is_empty());
    let mut heard: SmallVec<[_; 1]> = heard.into_iter().enumerate().collect();
    heard.sort_by_key(|(_, heard)| !has_conditions(heard));
    heard
}

/// Where an answer speaks to several sessions, a batch beyond its rights, or that cannot be applied to what its session
/// held when the request came refuses the others before anything is written; so does one for a session that may not be
/// written at all. What changes in between can still refuse the later of them.
async fn rehearse(
    snapshot: &Snapshot,
    exchange: &Exchange,
    heard: &HeardAll,
    may_ask_again: bool,
    outages: &OutageLog,
    now: Timestamp,
) -> Result<(), Withheld> {
    let route = route(snapshot, exchange);
    for ((used, session), heard) in route.sessions.iter().zip(&exchange.sessions).zip(heard) {
        let Ok(Some(heard)) = heard else { continue };
        let permit = Permit::of(&used.rights, exchange.is_use);
        let manager = &snapshot.policies[used.policy].manager;
        if let Err(error) = manager.rehearse(session, &heard.batch, permit, now) {
            let case = Case { manager, session, route, outages, now };
            return Err(case.withheld(Some(&heard.batch), &error, may_ask_again).await);
        }
    }
    Ok(())
}

/// An answer to one session of a route.
struct Case<'a> {
    manager: &'a SessionManager,
    session: &'a Session,
    route: &'a RouteOptions,
    outages: &'a OutageLog,
    now: Timestamp,
}

impl Case<'_> {
    /// Notes what became of it in the histories of its session; that this failed is no reason to withhold a page.
    async fn note(&self, batch: Option<&Batch>, outcome: Result<&Committed, &CommitError>) {
        let remembered = self.manager.remember(self.session, batch, outcome, &self.route.name, self.now).await;
        if let Err(error) = remembered {
            self.outages.report_forgotten(self.manager.options(), &error);
        }
    }

    /// Tells why its page is withheld. Nothing is noted of an answer after which the backend is asked again.
    async fn withheld(&self, batch: Option<&Batch>, error: &CommitError, may_ask_again: bool) -> Withheld {
        let policy = self.manager.options();
        let withheld = match error {
            CommitError::Refused(refused) if may_ask_again && self.manager.wants_replay(self.session, refused) => {
                access::report_replay(policy, &self.route.name, refused);
                return Withheld::ToAskAgain;
            }
            CommitError::Refused(refused) => {
                access::report_refused(policy, &self.route.name, refused, "the page was withheld");
                failure_of(refused)
            }
            // Told by the access log, and once in a while by who refuses: a flood must not fill the log.
            CommitError::Flood(_) => Failure::Flood,
            CommitError::Session(error) => {
                self.outages.report(policy, error);
                Failure::SessionUnknown
            }
        };
        self.note(batch, Err(error)).await;
        withheld.into()
    }
}

/// What the visitor's address may begin. On a Unix socket nobody has an address.
fn share<'a>(snapshot: &'a Snapshot, downstream: &Downstream) -> Option<Share<'a>> {
    let creations = snapshot.creations.as_ref()?;
    let peer = downstream.client_addr()?.as_inet()?.ip();
    let address = forwarding::visitor(peer, &downstream.req_header().headers, &snapshot.options.trusted_proxies);
    Some(Share { creations, address })
}

/// Whether the request carries the cookie that stands for consent to this policy's sessions.
fn consents(policy: &PolicyOptions, request: &RequestHeader) -> bool {
    let Some(Consent::Cookie(name)) = &policy.consent else { return false };
    carries(request.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes), name)
}

/// The `Set-Cookie` lines that an answer of our own owes to the browser.
pub(super) fn farewell(snapshot: &Snapshot, exchange: &Exchange, now: Timestamp) -> Vec<String> {
    let used = route(snapshot, exchange).sessions.iter().zip(&exchange.sessions);
    used.flat_map(|(used, session)| snapshot.policies[used.policy].manager.farewell(session, now)).collect()
}

fn failure_of(refused: &Refused) -> Failure {
    match refused.reason {
        Refusal::Condition => Failure::ConditionFailed,
        Refusal::Lock => Failure::LockLost,
        _ => Failure::BatchRefused,
    }
}

/// The target without the route's prefix; its query, and the rest of its path, stay as they came (HF6).
///
/// `None` where the route cuts nothing; no route at all for a path that has the prefix only by one of the ways in which
/// it can be read.
pub(super) fn cut_target(request: &RequestHeader, route: &RouteOptions) -> Result<Option<Vec<u8>>, Failure> {
    let Some(prefix) = &route.strip_prefix else { return Ok(None) };
    let absolute = request.uri.path_and_query().filter(|_| has_absolute_target(request));
    let target = absolute.map_or(request.raw_path(), |target| target.as_str().as_bytes());
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let rest = std::str::from_utf8(path).ok().and_then(|path| strip_prefix(path, prefix)).ok_or(Failure::NoRoute)?;
    let rest = if rest.is_empty() { "/" } else { rest };
    Ok(Some([rest.as_bytes(), query].concat()))
}

/// The address of a redirection; `{path_and_query}` stands for the request's own, percent-encoded.
pub(super) fn location(template: &str, request: &RequestHeader) -> String {
    let target = String::from_utf8_lossy(request.raw_path());
    let mut encoded = Vec::new();
    let _always = crate::wire::grammar::print(&mut encoded, &target, crate::wire::Charset::default());
    template.replace("{path_and_query}", &String::from_utf8_lossy(&encoded))
}
