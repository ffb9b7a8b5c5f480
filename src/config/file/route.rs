//! `[[routes]]` as it is written.

use super::super::given::{At, Given, Named, OneOrMany, Section, Short, Shorthand};
use super::super::word::{Access, Choice, CookieDeed, Csrf, Secure};
use crate::cookie::SameSite;
use crate::manager::OnOutage;
use crate::proxy::background::Background;
use schemars::JsonSchema;
use serde::Deserialize;

/// Which requests go where.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Its name in logs; without one its number.
    pub name: Given<String>,
    /// Hosts, such as `apps.example.org` or `*.example.org`; without one every host.
    pub host: Given<OneOrMany>,
    /// `/x` exactly, `/x/*` and what is below by segment; without one every path.
    pub path: Given<String>,
    /// A regular expression in place of `path`, anchored at the start.
    pub path_regex: Given<String>,
    /// Methods, such as `GET`, which brings `HEAD` along; without one every method.
    pub methods: Given<Vec<At<String>>>,
    /// Cut from the front of the path before the backend sees it.
    pub strip_prefix: Given<String>,
    /// The upstream.
    pub upstream: Given<String>,
    /// In place of an upstream: the session policy whose state is answered, as JSON, for a page that warns of a timeout.
    pub status: Given<String>,
    /// The session policies that the backend may use.
    pub sessions: Vec<At<Short<SessionUse>>>,
    /// The one of them that must be live.
    pub require: Given<String>,
    /// What a visitor without it is answered.
    pub on_missing: Given<Section<OnMissing>>,
    /// What a visitor whose session's store cannot answer gets on this route; without it what `[failure]` says.
    pub store_unavailable: Given<Choice<OnOutage>>,
    /// `enforce`: a request that may change something and comes with a session must bring the token of its forms, and
    /// none may come from another site.
    pub csrf: Given<Choice<Csrf>>,
    /// What happens to the backend's own cookies: the first rule that has a cookie's name.
    pub cookies: Vec<At<Section<CookieRule>>>,
    /// Whether a request extends the sessions; `false` for polling.
    pub touch: Given<bool>,
    /// Whether requests of scripts extend the sessions; what a browser fetches ahead never does.
    pub background: Given<Choice<Background>>,
    /// `false`: its requests wait for no session, whatever the policy says.
    pub lock: Given<bool>,
    /// Whether WebSockets, event streams and long polls end when a session of theirs does.
    pub end_with_session: Given<bool>,
    /// The code of the frame that closes such a WebSocket.
    pub close_code: Given<u16>,
    /// Edits to the request that the backend sees.
    pub request_headers: Section<HeaderEdits>,
    /// Edits to the response that the client sees.
    pub response_headers: Section<HeaderEdits>,
}

/// A session policy on a route; its short form is the name of the policy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionUse {
    /// The name of the policy.
    #[serde(rename = "use")]
    pub policy: Given<String>,
    /// `write`: its commands are obeyed; `read`: they are refused.
    pub access: Given<Choice<Access>>,
    /// The keys that it is shown; without a list all.
    pub read: Given<Vec<At<String>>>,
    /// The keys that it may change; without a list all.
    pub write: Given<Vec<At<String>>>,
}

impl Shorthand for SessionUse {
    fn from_text(text: String) -> Self {
        Self { policy: Given::placeless(text), ..Self::default() }
    }
}

/// What a visitor without the required session is answered: one of the two.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OnMissing {
    /// A redirection; `{path_and_query}` stands for the request's own.
    pub redirect: Given<String>,
    /// An error page of this status.
    pub status: Given<u16>,
}

/// What happens to cookies of the backend.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CookieRule {
    /// The name of the cookie; `*` in it stands for any characters.
    pub name: Given<String>,
    /// What happens to it.
    pub action: Given<Choice<CookieDeed>>,
    /// The session that holds it; without it the first of the route.
    pub session: Given<String>,
    /// Force `Secure` onto it; `auto` where every listener is reached over TLS.
    pub secure: Given<Choice<Secure>>,
    /// Force `HttpOnly` onto it.
    pub http_only: Given<bool>,
    /// What its `SameSite` is at least.
    pub same_site: Given<Choice<SameSite>>,
}

/// Headers to set and to remove.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderEdits {
    /// Names and values.
    pub set: Named<At<String>>,
    /// Names.
    pub remove: Vec<At<String>>,
}
