//! The token of a session's forms.

use super::{Session, SessionManager};
use crate::codec::{CSRF_LEN, csrf_token, is_csrf_token};
use crate::session::Head;

impl SessionManager {
    /// The token that the forms of this session carry.
    #[must_use]
    pub fn csrf_token(&self, head: &Head) -> [u8; CSRF_LEN] {
        csrf_token(&self.ring, &self.binding, head.lineage, head.started_at)
    }

    /// Whether a text is the token of this session, which must be live.
    #[must_use]
    pub fn knows_csrf_token(&self, session: &Session, text: &[u8]) -> bool {
        let head = session.snapshot().and_then(|snapshot| Head::parse(&snapshot.bytes).ok());
        head.is_some_and(|head| is_csrf_token(&self.ring, &self.binding, head.lineage, head.started_at, text))
    }
}
