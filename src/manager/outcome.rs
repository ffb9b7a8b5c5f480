//! What may come of an answer: cookies and an event, or why it was not committed.

use super::creations::Share;
use super::trail::Whereabouts;
use crate::session::{Lineage, NoRandomness, Passage, Refusal, Refused, Rights};
use crate::store::StoreError;

/// What a route lets a request do with a session.
#[derive(Clone, Copy, Debug)]
pub struct Permit<'a> {
    /// Rights to keys and commands.
    pub rights: &'a Rights,
    /// Whether the request extends the session.
    pub touch: bool,
    /// The request carries the cookie that stands for the visitor's consent.
    pub consents: bool,
    /// What the visitor's address may begin, where that is limited.
    pub share: Option<Share<'a>>,
}

impl<'a> Permit<'a> {
    /// What a route lets do; nobody has consented to anything, and nothing limits his address.
    #[must_use]
    pub const fn of(rights: &'a Rights, touch: bool) -> Self {
        Self { rights, touch, consents: false, share: None }
    }
}

/// What came of an answer.
#[derive(Debug, Default)]
pub struct Committed {
    /// `Set-Cookie` lines, in order.
    pub cookies: Vec<String>,
    /// What happened, for the log.
    pub event: Option<Event>,
    /// Where the session is to be found from now on.
    pub whereabouts: Whereabouts,
    /// The reference of a session that began.
    pub began: Option<Lineage>,
    /// The batch was refused, and the policy delivers the page all the same.
    pub refused: Option<Refused>,
    /// What its history is told, where the policy keeps one.
    pub passage: Option<Box<Passage>>,
    /// Why the session's activity, or that messages were read, could not be written down; the page is delivered.
    pub unwritten: Option<SessionError>,
}

/// What happened to a session (LG2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It began.
    Created,
    /// Its data changed.
    Changed,
    /// Its activity was written down.
    Touched,
    /// It moved to a new id.
    Renewed,
    /// It ended.
    Destroyed,
    /// It ended for want of anything to keep.
    Emptied,
}

impl Event {
    /// The word in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Touched => "touched",
            Self::Renewed => "renewed",
            Self::Destroyed => "destroyed",
            Self::Emptied => "emptied",
        }
    }
}

/// The session's fate is unknown: whatever is answered, it is neither "anonymous" nor "logged out" (LG5).
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The store could not answer.
    #[error("the session store failed")]
    Store(#[from] StoreError),
    /// The session only stands in for one whose store could not answer: it takes no change.
    #[error("an answer wanted to change a session whose store had not answered")]
    Degraded,
    /// The system gave no random bytes.
    #[error("no session can be made")]
    NoRandomness(#[from] NoRandomness),
    /// Other writers changed the session faster than this batch could be applied.
    #[error("the session changed {attempts} times while the batch was applied")]
    Contended {
        /// How often it was tried.
        attempts: usize,
    },
}

/// Why an answer was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The batch was refused, and the policy wants that to be loud.
    #[error("refused ({reason}): {0}", reason = .0.reason.as_str())]
    Refused(Refused),
    /// The visitor's address begins too many sessions.
    #[error("refused ({reason}): {0}", reason = .0.reason.as_str())]
    Flood(Refused),
    /// The session's fate is unknown.
    #[error(transparent)]
    Session(SessionError),
}

impl From<SessionError> for CommitError {
    /// What a store does not take is the batch's fault, and not an outage: nothing was changed, and the next try would
    /// fare no better.
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Store(StoreError::TooLarge { size, limit, .. }) => {
                let detail = format!("the session would have {size} bytes, its store takes {limit}");
                Self::Refused(Refused::new(Refusal::Limit, detail))
            }
            error => Self::Session(error),
        }
    }
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        SessionError::from(error).into()
    }
}

impl From<NoRandomness> for CommitError {
    fn from(error: NoRandomness) -> Self {
        Self::Session(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_a_store_does_not_take_is_the_fault_of_the_batch_and_no_outage() {
        let too_large = StoreError::TooLarge { store: "memcached", size: 9000, limit: 8000 };
        let CommitError::Refused(refused) = too_large.into() else { panic!("it is refused") };
        assert_eq!(refused.reason, Refusal::Limit);
        assert!(refused.detail.contains("9000") && refused.detail.contains("8000"), "{}", refused.detail);
        let late = StoreError::TimedOut { store: "memcached", limit: Duration::from_secs(1) };
        assert!(matches!(CommitError::from(late), CommitError::Session(_)));
    }
}
