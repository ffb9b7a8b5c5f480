//! The visitor's session: its names, its record, the batches that change it and the decisions about it.
//!
//! No I/O, no clock, no HTTP types: everything here is a function of its arguments.

mod apply;
mod batch;
mod expiry;
mod extras;
mod held;
mod history;
mod id;
mod imprint;
mod lease;
mod name;
mod parts;
mod plan;
mod record;
mod revocation;
mod revocation_list;
mod roster;
mod view;

pub use apply::{CookieChoices, Limits};
pub use batch::{
    Batch, Changes, Condition, CookieWish, ExpireWish, Keys, NewFlash, Picked, Refusal, Refused, Rights, Scope, SetTo,
};
pub use expiry::{Age, BrowserLife, Clocks, Expiry};
pub use held::{CrossSite, Held};
pub use history::{Asked, Ended, Happening, History, Notes, Passage, RouteName, Standing, What};
pub use id::{ID_LEN, Lineage, NoRandomness, OwnerKey, PolicyTag, SessionId, StoreKey, random};
pub use imprint::{Changed, Digest, Imprint, Trait};
pub use lease::{Handed, LEASE, Lease};
pub use name::{Flash, MAX_NAME_LEN, Name, Owner, Value};
pub use plan::{Chance, Draft, Farewell, Plan, Reading, Rules, Shown, Situation, Step, plan};
pub use record::{Mark, Record, Turn};
pub use revocation::{ENDED, EndedOwner};
pub use revocation_list::RevocationList;
pub use roster::{Roster, Seat};
pub use view::{
    FlashItem, Head, Item, Stored, Unreadable, View, encode, encode_alias, encode_lapsed, encode_tombstone,
};

use crate::clock::Timestamp;
use bytes::Bytes;

/// What the visitor's cookie turned out to be; the backend reads it as `X-Session-State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No cookie came.
    None,
    /// A session.
    Live,
    /// A cookie of ours whose session has ended.
    Expired,
    /// A cookie of our name that we did not issue.
    Invalid,
    /// A cookie of ours whose session is unknown, because its store cannot answer.
    Degraded,
}

impl State {
    /// The word of the protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::Degraded => "degraded",
        }
    }
}

/// A live session as it was when the request came: its encoded record and its deadline.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The record, opened; [`View::parse`] reads it.
    pub bytes: Bytes,
    /// When the session ends unless it is extended.
    pub deadline: Timestamp,
}
