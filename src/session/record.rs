//! The record of a session as owned data: what a batch is applied to.

use super::batch::Refusal;
use super::expiry::Age;
use super::held::Held;
use super::id::Lineage;
use super::imprint::Imprint;
use super::lease::Lease;
use super::name::{Flash, Name, Owner, Value};
use crate::clock::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// A random mark that every write leaves in the record, so that a write of unknown outcome can be looked up.
pub type Mark = [u8; 8];

/// The right of one request to write alone (`lock = "exclusive"`): whoever comes later waits for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whose it is: no two requests have the same.
    pub token: Mark,
    /// When it ends by itself. Until somebody else takes it, it is still its holder's.
    pub until: Timestamp,
}

/// Everything that is kept about one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name that survives every change of the id.
    pub lineage: Lineage,
    /// Counts the changes; the backend sees it as `X-Session-Version`.
    pub revision: u64,
    /// When the session came into being.
    pub created_at: Timestamp,
    /// When the absolute clock started: at creation, and again at each login.
    pub started_at: Timestamp,
    /// The mark of the last write.
    pub mark: Mark,
    /// The session's own idle limit (`X-Session-Expire`).
    pub idle: Option<Duration>,
    /// The session's own absolute limit (`X-Session-Expire`).
    pub absolute: Option<Duration>,
    /// Whether the cookie outlives the browser, where the session has its own wish.
    pub persistent: Option<bool>,
    /// The cookie's path, where the session has its own (`X-Session-Cookie`).
    pub path: Option<String>,
    /// The cookie's domain, where the session has its own (`X-Session-Cookie`).
    pub domain: Option<String>,
    /// Whose session it is, since `X-Session-Login`.
    pub owner: Option<Owner>,
    /// When the session was in use before, as exactly as use is written down; kept where a policy tells it to backends.
    pub seen_at: Option<Timestamp>,
    /// When the browser drops the cookie that it has, where the cookie has a life of its own (`cookie.max_age`).
    pub kept_until: Option<Timestamp>,
    /// What the session is bound to, where its policy binds sessions.
    pub imprint: Imprint,
    /// Who may write alone at the moment.
    pub turn: Option<Turn>,
    /// Why the previous batch was refused, until the backend has been told.
    pub refusal: Option<Refusal>,
    /// The data.
    pub values: BTreeMap<Name, Value>,
    /// Cookies of the backend that are kept here in the browser's place, in the order of their creation.
    pub held: Vec<Held<'static>>,
    /// Messages that no page has shown yet.
    pub flashes: Vec<Flash>,
    /// Which of the messages requests under way hold.
    pub leases: Vec<Lease>,
    /// The number of the next flash.
    pub next_flash: u32,
}

impl Record {
    /// What it says about its own time.
    #[must_use]
    pub const fn age(&self) -> Age {
        Age {
            lineage: self.lineage,
            created_at: self.created_at,
            started_at: self.started_at,
            idle: self.idle,
            absolute: self.absolute,
            persistent: self.persistent,
            kept_until: self.kept_until,
        }
    }

    /// An empty record that begins `now`.
    #[must_use]
    pub const fn new(lineage: Lineage, now: Timestamp) -> Self {
        Self {
            lineage,
            revision: 0,
            created_at: now,
            started_at: now,
            mark: [0; 8],
            idle: None,
            absolute: None,
            persistent: None,
            path: None,
            domain: None,
            owner: None,
            seen_at: None,
            kept_until: None,
            imprint: Imprint::NONE,
            turn: None,
            refusal: None,
            values: BTreeMap::new(),
            held: Vec::new(),
            flashes: Vec::new(),
            leases: Vec::new(),
            next_flash: 1,
        }
    }
}
