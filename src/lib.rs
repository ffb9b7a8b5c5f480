//! Cloakroom: a reverse proxy that gives sessions to backends nobody can change.
//!
//! A visitor's cookie is a cloakroom ticket. Cloakroom checks it, fetches what was left there, and hands it to the backend
//! as request headers; the backend answers with a few header lines that say what to change; Cloakroom applies them,
//! durably, and only then lets the answer go.
//!
//! ```text
//! browser ── cookie ──▶ Cloakroom ── X-Session-Data: user=ada&cart=3 ──▶ legacy application
//! browser ◀─ Set-Cookie ─ Cloakroom ◀── X-Session-Set: cart=4 ────────── legacy application
//! ```
//!
//! # Lexicon
//!
//! * *downstream*: the client's side; *upstream*: the backend's side, and the pool of servers there.
//! * *policy*: one `[sessions.<name>]`: a cookie, a prefix of headers, clocks, and a place where sessions are kept.
//! * *record*: everything that is kept about one session. *lineage*: the name it keeps through every change of its id.
//! * *ticket*: the cookie of a session in a store. *token*: the cookie that is the session itself.
//! * *batch*: what one response asks of one session; applied whole or not at all. *refusal*: why not.
//! * *deadline*: when something is no more. *version*: counts the writes of one store entry, for compare-and-swap.
//! * *degraded*: of a session whose store cannot answer; where a route shows it, it is a copy, and never written.
//! * *owner*: whom a session belongs to since `X-Session-Login`. *roster*: the list of an owner's sessions,
//!   where there may be only so many at a time; each has a *seat* on it.
//! * *tether*: what ties an exchange that lasts to its sessions, so that it ends when one of them does.
//! * *lease*: the hold of one request on messages for the next page, which no other request is shown meanwhile.
//! * *lock*: a session that a request has to itself. *turn*: what lies in the record for that, and ends by itself.
//! * *replay*: the same request sent again with the newest session, after a condition that did not hold.
//! * *held*: of a cookie of the backend that the session keeps in the browser's place, by a rule of the route.
//! * *history*: the last changes of a session, or of an owner's sessions, without their values: when, by which route, which
//!   verbs and keys. Each is a *happening*. It outlives the session; *standing*: how the session stood at last.
//! * *key ring*: the operator's keys; the first seals, all open.
//! * *budget*: how much of a session one request may carry; a property of the backend's *profile*.
//! * *snapshot*: the configuration as one request sees it.
//! * *label*: what a store may know of a sealed session: its policy, its lineage, when its absolute clock began.
//! * *revocation list*: what an operator has ended of a policy; every proxy reads it twice a second.
//!
//! # Layers
//!
//! A row imports earlier rows only; modules of one row do not know each other. `tests/layering.rs` keeps it so.
//!
//! ```text
//! 0  clock  secret                  nothing of ours
//! 1  session                        no I/O, no clock, no HTTP types
//! 2  codec  wire  cookie  store     wire: http types, not pingora · store: bytes, not records · cookie: not sessions
//! 3  manager  route                 manager: the only place where cookie, codec, store and clocks meet
//! 4  proxy  admin                   proxy: the only place with pingora's proxy traits · admin: the socket for operators
//! 5  config                         knows every component's options; no component knows TOML
//! 6  app  cli                       the only place that chooses implementations
//! ```
//!
//! # The life of one exchange
//!
//! It reads top to bottom in [`proxy`]: refuse what no backend may see, find the route, resolve its sessions
//! ([`manager::SessionManager::resolve`]), strip every header in our name space, inject ours ([`wire::request`]), ask the
//! backend, read its commands ([`wire::response`]), strip again, commit ([`manager::SessionManager::commit`]), and only
//! then let the head of the answer go, with `Set-Cookie` where the browser's copy must change.
//!
//! What to write is decided by a pure function on the newest record, [`session::plan`]; the manager acts on the decision
//! without deciding anything itself, and decides again when another writer was faster.
//!
//! An exchange that lasts, a WebSocket or an event stream, is tied to its sessions meanwhile ([`proxy::tether`]), and ends
//! when one of them does ([`proxy::watch`]).
//!
//! # Invariants
//!
//! * No header of a client in our name space reaches a backend, however it is spelled; none of ours reaches a client.
//! * A session comes into being only when a batch stores something. An id that we did not issue is never adopted.
//! * A batch is durable before the first byte of the answer leaves, and counts once.
//! * A store that cannot answer means *unknown*: neither anonymous nor logged out. Who is shown a page without a session
//!   then, because the operator wants it so, is told apart, and nothing is written for him.
//! * No id, token, value or query string is ever logged.

pub mod clock;
pub mod secret;
pub mod session;

pub mod codec;
pub mod cookie;
pub mod store;
pub mod wire;

pub mod manager;
pub mod route;

pub mod admin;
pub mod proxy;

pub mod config;

pub mod app;
pub mod cli;
