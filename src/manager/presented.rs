//! Which of the cookies that came is the visitor's session.

use crate::codec::{Binding, Freshness, KeyRing, OpenedToken, TokenMode, open_ticket, open_token};
use crate::cookie::header::Found;
use crate::session::SessionId;
use smallvec::SmallVec;
use std::borrow::Cow;

/// Candidates opened for one policy in one request (CP5).
const MAX_CANDIDATES: usize = 4;

/// The cookies of one name that came: whole (`None`) or numbered.
pub(super) type Pieces = SmallVec<[Option<u8>; 2]>;

/// The cookies of one policy's name, as they came.
#[derive(Clone, Debug, Default)]
pub struct Presented<'a>(SmallVec<[Found<'a>; 2]>);

impl<'a> Presented<'a> {
    /// Those of `ours` that bear the name with this index.
    #[must_use]
    pub fn of(ours: &[Found<'a>], name: usize) -> Self {
        Self(ours.iter().filter(|found| found.name == name).copied().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn pieces(&self) -> Pieces {
        let mut pieces: Pieces = self.0.iter().map(|found| found.chunk).collect();
        pieces.sort_unstable();
        pieces.dedup();
        pieces
    }

    /// The session id of the only ticket that verifies.
    pub(super) fn ticket(&self, ring: &KeyRing, binding: &Binding) -> Option<(SessionId, Freshness)> {
        let whole = self.0.iter().filter(|found| found.chunk.is_none()).map(|found| found.value);
        let mut opened = distinct(whole).into_iter().filter_map(|text| open_ticket(ring, binding, text).ok());
        only(&mut opened)
    }

    /// The session of the only token that verifies: a whole one, or the pieces put together.
    pub(super) fn token(&self, ring: &KeyRing, binding: &Binding, mode: TokenMode) -> Option<OpenedToken> {
        let whole = self.0.iter().filter(|found| found.chunk.is_none()).map(|found| Cow::Borrowed(found.value));
        let candidates = distinct(whole.chain(self.joined().map(Cow::Owned)));
        only(&mut candidates.into_iter().filter_map(|text| open_token(ring, binding, mode, &text).ok()))
    }

    /// The numbered pieces `0, 1, …` in order; `None` when one is missing or came twice.
    fn joined(&self) -> Option<Vec<u8>> {
        let mut pieces: SmallVec<[(u8, &[u8]); 4]> =
            self.0.iter().filter_map(|found| found.chunk.map(|chunk| (chunk, found.value))).collect();
        pieces.sort_unstable_by_key(|(chunk, _)| *chunk);
        let complete = pieces.iter().enumerate().all(|(at, (chunk, _))| at == usize::from(*chunk));
        (complete && !pieces.is_empty()).then(|| pieces.iter().flat_map(|(_, value)| *value).copied().collect())
    }
}

/// The values without repetition; none when there are more than may be opened, since their order never matters (CP4).
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> SmallVec<[T; MAX_CANDIDATES]> {
    let mut distinct = SmallVec::new();
    for value in values {
        if !distinct.contains(&value) {
            if distinct.len() == MAX_CANDIDATES {
                return SmallVec::new();
            }
            distinct.push(value);
        }
    }
    distinct
}

/// The only one: two different sessions that both verify are none (CP4).
fn only<T>(opened: &mut impl Iterator<Item = T>) -> Option<T> {
    let first = opened.next();
    if opened.next().is_some() {
        tracing::warn!("two cookies of one name both verify: the visitor is treated as anonymous");
        return None;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::codec::{Key, seal_ticket, seal_token};
    use crate::cookie::{CookieName, header::split};
    use crate::secret::Secret;

    fn ring() -> KeyRing {
        KeyRing::new(vec![Key::new("k", &Secret::new([1; 32]))]).unwrap()
    }

    fn binding() -> Binding {
        Binding::new("session", "main")
    }

    fn ticket(header: &str) -> Option<SessionId> {
        let names = [CookieName::parse("session").unwrap()];
        let split = split([header.as_bytes()], &names);
        Presented::of(&split.ours, 0).ticket(&ring(), &binding()).map(|(id, _)| id)
    }

    #[test]
    fn the_only_cookie_that_verifies_counts_wherever_it_stands() {
        // CP4
        let (a, b) = (SessionId::from_bytes([1; 32]), SessionId::from_bytes([2; 32]));
        let (one, two) = (seal_ticket(&ring(), &binding(), &a), seal_ticket(&ring(), &binding(), &b));
        assert_eq!(ticket(&format!("session={one}")), Some(a.clone()));
        assert_eq!(ticket(&format!("session=x; session={one}")), Some(a.clone()));
        assert_eq!(ticket(&format!("session={one}; session=x")), Some(a.clone()));
        assert_eq!(ticket(&format!("session={one}; session={one}")), Some(a));
        assert_eq!(ticket(&format!("session={one}; session={two}")), None);
        assert_eq!(ticket("session=x"), None);
    }

    #[test]
    fn no_more_than_four_candidates_are_opened() {
        // CP5
        let good = seal_ticket(&ring(), &binding(), &SessionId::from_bytes([1; 32]));
        let header = |bad: usize| {
            let bad: Vec<String> = (0..bad).map(|i| format!("session={i}; ")).collect();
            format!("{}session={good}", bad.concat())
        };
        assert!(ticket(&header(3)).is_some());
        assert!(ticket(&header(4)).is_none());
        assert!(ticket(&format!("session={good}; {}", header(4))).is_none());
    }

    #[test]
    fn pieces_are_one_message() {
        let token = seal_token(&ring(), &binding(), TokenMode::Sealed, &[7; 100], Timestamp::NEVER).unwrap();
        let (first, second) = token.split_at(60);
        let names = [CookieName::parse("session").unwrap()];
        let opens = |header: String| {
            let split = split([header.as_bytes()], &names);
            Presented::of(&split.ours, 0).token(&ring(), &binding(), TokenMode::Sealed).is_some()
        };
        assert!(opens(format!("session.1={second}; a=b; session.0={first}")));
        assert!(!opens(format!("session.0={first}")));
        assert!(!opens(format!("session.1={second}; session.2={first}")));
        assert!(!opens(format!("session.0={first}; session.0={first}; session.1={second}")));
    }
}
