//! `[sessions.<name>]` as it is written.

use super::super::given::{At, Given, Named, Section, Short, Shorthand};
use super::super::moment::Moment;
use super::super::unit::{MaxAge, Period, Size};
use super::super::word::{Choice, Echo, Encoding, Locking, Secure};
use crate::cookie::SameSite;
use crate::manager::{Consume, OnChange, OnConflict, OnRefused, SiteData, WhenFull};
use crate::wire::{Dialect, Forward};
use schemars::JsonSchema;
use serde::Deserialize;

/// A session policy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// The store of its sessions.
    pub store: Given<String>,
    /// Of sessions in a cookie: the store that remembers which of them have ended, so that a logout is final.
    pub revocation: Given<String>,
    /// A session ends this long after its last request.
    pub idle_timeout: Given<Period>,
    /// A session ends this long after its beginning or its last login, however active it is.
    pub absolute_timeout: Given<Period>,
    /// A session without an owner ends this long after its beginning, until its cookie has come back once; or `off`.
    pub probation: Given<MaxAge>,
    /// Activity is written down at most this often.
    pub touch_interval: Given<Period>,
    /// How long an old id works after `X-Session-Regenerate`: at most 10 seconds.
    pub regenerate_grace: Given<Period>,
    /// The longest idle time that `X-Session-Expire` may ask for; without it `idle_timeout`.
    pub max_idle_timeout: Given<Period>,
    /// The longest absolute time that `X-Session-Expire` may ask for; without it `absolute_timeout`.
    pub max_absolute_timeout: Given<Period>,
    /// The most bytes of a session: at most 64KiB; in a cookie store what fits into the cookie.
    pub max_session_bytes: Given<Size>,
    /// The most bytes of one value.
    pub max_value_bytes: Given<Size>,
    /// The most keys.
    pub max_keys: Given<usize>,
    /// The most items of a list; the oldest go first.
    pub max_list_items: Given<usize>,
    /// The most flash messages that wait; the oldest go first.
    pub max_flashes: Given<usize>,
    /// What happens to the page when its batch was refused: 502, or it is delivered.
    pub on_refused: Given<Choice<OnRefused>>,
    /// What happens to the page when an `X-Session-If` did not hold: 409, it is delivered, or the request is sent again.
    pub on_conflict: Given<Choice<OnConflict>>,
    /// `exclusive`: one request at a time for each session, on the routes that may write to it.
    pub lock: Given<Choice<Locking>>,
    /// How long a request waits for its turn before it is answered 503: at most a minute.
    pub lock_wait: Given<Period>,
    /// How many requests wait for one session in this process; the next one is answered 503 at once.
    pub lock_waiters: Given<usize>,
    /// When the lock of a request ends that does not give it back: not before the upstream's `request_timeout`.
    pub lock_lease: Given<Period>,
    /// The most sessions of one owner at a time; 0 is no limit.
    pub max_sessions_per_owner: Given<u32>,
    /// What a login does that would be one too many: it is `reject`ed, or ends the `oldest` session of the owner, or the
    /// `least_recent`ly used one.
    pub when_full: Given<Choice<WhenFull>>,
    /// The last so many changes of each session are kept, without values, for `cloakroom sessions history`; 0 keeps none.
    pub history: Given<u32>,
    /// For so long after the end of the session.
    pub history_keeps: Given<Period>,
    /// Sessions that began before this moment have ended, as after a leak.
    pub not_before: Given<Moment>,
    /// What the browser forgets with a session that the backend ends: `cache`, `cookies`, `storage`.
    pub clear_site_data: Vec<At<Choice<SiteData>>>,
    /// Obey commands on answers of status 500 and above.
    pub apply_on_error_status: Given<bool>,
    /// What sessions are bound to.
    pub binding: Section<Binding>,
    /// The cookie.
    pub cookie: Section<Cookie>,
    /// The headers.
    pub headers: Section<Headers>,
    /// Flash messages.
    pub flash: Section<Flash>,
}

/// What the sessions of a policy are bound to: when it changes the backend is told (`flag`), or they `end`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Binding {
    /// Whether the visitor comes over TLS.
    pub scheme: Given<Choice<OnChange>>,
    /// The visitor's `User-Agent`, without digits and dots.
    pub user_agent: Given<Choice<OnChange>>,
    /// The visitor's network.
    pub address: Given<Choice<OnChange>>,
    /// How many leading bits of an IPv4 address are the network.
    pub ipv4_prefix: Given<u8>,
    /// How many leading bits of an IPv6 address are the network.
    pub ipv6_prefix: Given<u8>,
}

/// The cookie of a session policy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cookie {
    /// Its name; without one `__Host-session` when the cookie is Secure, else `session`.
    pub name: Given<String>,
    /// `Path`.
    pub path: Given<String>,
    /// `Domain`; empty binds the cookie to the host.
    pub domain: Given<String>,
    /// `Secure`; `auto` where every listener is reached over TLS.
    pub secure: Given<Choice<Secure>>,
    /// `HttpOnly`.
    pub http_only: Given<bool>,
    /// `SameSite`.
    pub same_site: Given<Choice<SameSite>>,
    /// `Partitioned`.
    pub partitioned: Given<bool>,
    /// Let the cookie outlive the browser: its `Max-Age` follows the absolute end of the session.
    pub persistent: Given<bool>,
    /// How long the browser keeps the cookie, counted from when it got it, and at most until the absolute end of the
    /// session; or `off`.
    pub max_age: Given<MaxAge>,
    /// The first request so long after the browser got the cookie hands it out again, with a new `max_age`; without a
    /// word half of `max_age`, and `0s` does so with every answer.
    pub renew_after: Given<Period>,
    /// The most bytes of name and value in one cookie.
    pub max_bytes: Given<Size>,
    /// Into how many cookies one session may be cut.
    pub max_chunks: Given<usize>,
    /// Nobody gets a session, nor its cookie, before he has consented.
    pub consent: Given<Section<Consent>>,
    /// Paths that `X-Session-Cookie` may choose.
    pub allow_paths: Vec<At<String>>,
    /// Domains that `X-Session-Cookie` may choose.
    pub allow_domains: Vec<At<String>>,
}

/// What shows that a visitor has consented: one of the two.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Consent {
    /// A cookie of this name, with any value.
    pub cookie: Given<String>,
    /// The key that the application sets in the session with which it begins.
    pub key: Given<String>,
}

/// The headers of a session policy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Headers {
    /// What their names begin with.
    pub prefix: Given<String>,
    /// How the data reaches the backend: one header, one for each key, both, or only what is exposed.
    pub forward: Given<Choice<Forward>>,
    /// The notation of values.
    pub dialect: Given<Choice<Dialect>>,
    /// The charset of the backend's text.
    pub charset: Given<String>,
    /// Keys that the backend also gets under a name of their own: key to request header.
    pub expose: Named<At<Short<Exposure>>>,
    /// Response headers that the backend sends anyway and that set a key: header to key.
    pub capture: Named<At<String>>,
    /// Send how long the session has left, when it began and when it was in use before.
    pub clocks: Given<bool>,
    /// Send a token for the forms of the session, which no other site can know.
    pub csrf: Given<bool>,
    /// A key that the backend has, too: each request proves with it that it came through the proxy. 32 bytes as
    /// `cloakroom keygen` makes them, and none of `keys`.
    pub proof_key: Given<String>,
    /// `required`: an answer is obeyed only when it repeats the request's `X-Session-Nonce`.
    pub nonce: Given<Choice<Echo>>,
    /// The keys that matter most when there is no room for all, most important first.
    pub priority: Vec<At<String>>,
}

/// The header of an exposed key; its short form is the `header`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Exposure {
    /// The request header.
    pub header: Given<String>,
    /// `percent`-encoded, or `raw` where the value is printable ASCII.
    pub encoding: Given<Choice<Encoding>>,
}

impl Shorthand for Exposure {
    fn from_text(text: String) -> Self {
        Self { header: Given::placeless(text), ..Self::default() }
    }
}

/// Flash messages.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Flash {
    /// What consumes them: a successful HTML `document`, the backend's `acknowledge`ment, or `always` any answer.
    pub consume: Given<Choice<Consume>>,
}
