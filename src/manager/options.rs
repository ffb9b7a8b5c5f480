//! One session policy, resolved: `[sessions.<name>]`.

use super::bond::Bond;
use crate::clock::Timestamp;
use crate::codec::TokenMode;
use crate::cookie::{CookieName, CookiePolicy};
use crate::session::{CookieChoices, Expiry, Limits, Name};
use std::num::NonZeroU32;
use std::time::Duration;

/// What happens to the page when a batch was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefused {
    /// An error answers in its place: 502, or 409 for a condition.
    #[default]
    Error,
    /// The page passes, and the next request tells the backend.
    Deliver,
}

/// What happens to the page when an `X-Session-If` did not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// An error answers in its place: 409.
    #[default]
    Error,
    /// The page passes, and the next request tells the backend.
    Deliver,
    /// The request is sent again with the newest session where that does no harm; else as [`OnConflict::Error`].
    Replay,
}

/// When flash messages that a request was shown are consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consume {
    /// By a successful HTML navigation.
    #[default]
    Document,
    /// By `X-Session-Flash-Read`.
    Acknowledge,
    /// By any final answer.
    Always,
}

/// How a session that the browser keeps is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// Nobody but us can read or change it (AES-256-GCM).
    #[default]
    Sealed,
    /// Anybody can read it, nobody but us can change it (HMAC-SHA-256).
    Signed,
}

impl From<Protection> for TokenMode {
    fn from(protection: Protection) -> Self {
        match protection {
            Protection::Sealed => Self::Sealed,
            Protection::Signed => Self::Signed,
        }
    }
}

/// Where the sessions of a policy are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// In the store of this name.
    Store(String),
    /// In the visitor's own cookie.
    Browser(Protection),
}

/// Who makes room when an owner has as many sessions as there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Nobody: the login is refused.
    Reject,
    /// The session whose login is the longest ago.
    #[default]
    Oldest,
    /// The session that was not used for the longest time, as exactly as use is written down (`touch_interval`).
    LeastRecent,
}

/// How many sessions one owner may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerCap {
    /// How many; more than [`OwnerCap::MAX_LIMIT`] count as that.
    pub limit: NonZeroU32,
    /// Who makes room for a login beyond that.
    pub when_full: WhenFull,
}

impl OwnerCap {
    /// The largest limit: a login that finds no room looks up so many sessions.
    pub const MAX_LIMIT: u32 = 100;

    pub(super) fn limit(self) -> usize {
        self.limit.get().min(Self::MAX_LIMIT) as usize
    }
}

/// How much is kept of what happened to sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// The last so many changes of a session: at least one, and more than [`History::MAX`](crate::session::History::MAX) count as that.
    pub most: usize,
    /// For so long after the session's last use or its end.
    pub keeps: Duration,
}

/// One request at a time for each session (`lock = "exclusive"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockOptions {
    /// How long a request waits for its turn at most.
    pub wait: Duration,
    /// How many requests wait for one session in this process at most.
    pub waiters: usize,
    /// When the lock of a request ends that does not give it back.
    pub lease: Duration,
}

/// What shows that a visitor has consented to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// A cookie of this name comes with the request, with any value.
    Cookie(CookieName),
    /// The session with which he begins has this key.
    Key(Name),
}

/// What a browser can be told to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteData {
    /// What it has cached of the site.
    Cache,
    /// All cookies of the site and its neighbours.
    Cookies,
    /// What scripts have stored.
    Storage,
}

/// Everything about one session policy but its headers.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct PolicyOptions {
    /// The name in the file.
    pub name: String,
    /// Where its sessions are kept.
    pub keep: Keep,
    /// The clocks.
    pub expiry: Expiry,
    /// Sessions whose absolute clock started before this moment are over: the operator's emergency exit. It lies in the
    /// past, or sessions would end as they begin.
    pub not_before: Option<Timestamp>,
    /// How many sessions an owner may have at a time, in a store.
    pub max_sessions_per_owner: Option<OwnerCap>,
    /// What is kept of what happened to its sessions; `None`: nothing.
    pub history: Option<HistoryOptions>,
    /// What a session may grow to.
    pub limits: Limits,
    /// A route keeps cookies of its backend in these sessions, which are then never shown from a copy: a backend that gets
    /// an old cookie back may set another in place of the newest.
    pub holds_cookies: bool,
    /// A backend is told when its sessions were in use before, so that their records say it.
    pub notes_use: bool,
    /// A backend is told a token of the session, which may stand in the forms of its pages.
    pub hands_out_tokens: bool,
    /// What `X-Session-Cookie` may choose from.
    pub choices: CookieChoices,
    /// What happens to the page when a batch was refused.
    pub on_refused: OnRefused,
    /// What happens to the page when an `X-Session-If` did not hold.
    pub on_conflict: OnConflict,
    /// One request at a time for each session; `None`: as many as there are.
    pub lock: Option<LockOptions>,
    /// Obey commands on answers of status 500 and above.
    pub apply_on_error_status: bool,
    /// When flash messages are consumed.
    pub consume: Consume,
    /// What the browser forgets with a session that the backend ends.
    pub clear_site_data: Vec<SiteData>,
    /// What its sessions are bound to.
    pub bond: Option<Bond>,
    /// Without it nobody gets a session; `None`: everybody may.
    pub consent: Option<Consent>,
    /// The cookie.
    pub cookie: CookiePolicy,
}
