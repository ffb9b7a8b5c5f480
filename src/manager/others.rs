//! The end of an owner's other sessions, or of all of them (`X-Session-Destroy: others`, `all`), in a store.
//!
//! Only the store knows which they are, and only by key: a session that is just getting a new id elsewhere is listed under
//! that id, too, and nothing there tells that it is the one to be spared. So it is held fast: written over as it is, after
//! the others were listed and before they are deleted. Then the change of the id either took place, and the old id leads
//! to the key that is spared, or it cannot take place any more and begins again.

use super::desk::{Desk, twice_if_cut};
use super::newest::{Newest, Read};
use super::{SessionError, SessionManager};
use crate::session::{OwnerKey, SessionId, StoreKey, View};

/// How often the sessions of an owner are listed until no other is found. Each further round means that a login or a
/// change of an id took place during the one before.
const MAX_ROUNDS: usize = 16;

/// What became of the session that is to be spared.
enum Spared {
    /// It stays under this id until the listed ones are deleted.
    Held(SessionId),
    /// Somebody wrote to it meanwhile: what was listed before may be its new id.
    Busy(SessionId),
    /// It has ended itself: nobody is spared.
    Gone,
}

impl SessionManager {
    /// Ends all sessions of an owner but `own`, and says which. Lists again until no other is found, so that none survives
    /// whose login was under way.
    pub(super) async fn end_others(
        &self,
        desk: &Desk<'_>,
        owner: &OwnerKey,
        own: Option<SessionId>,
    ) -> Result<Vec<StoreKey>, SessionError> {
        let Some(index) = desk.store.index() else { return Ok(Vec::new()) };
        let (mut own, mut ended): (_, Vec<StoreKey>) = (own, Vec::new());
        for _ in 0..MAX_ROUNDS {
            let mut others = twice_if_cut(|| index.keys_of(owner, desk.now)).await?;
            others.retain(|key| own.as_ref().is_none_or(|own| own.store_key() != *key));
            if others.is_empty() {
                if let Some(seats) = &self.seats {
                    seats.vacate(desk, owner, &ended).await;
                }
                return Ok(ended);
            }
            if let Some(id) = own.take() {
                own = match self.hold(desk, owner, id).await? {
                    Spared::Held(id) => Some(id),
                    Spared::Gone => None,
                    Spared::Busy(id) => {
                        own = Some(id);
                        continue;
                    }
                };
            }
            let spared = own.as_ref().map(SessionId::store_key);
            for key in others.into_iter().filter(|key| Some(*key) != spared) {
                desk.delete(&key).await?;
                ended.push(key);
            }
        }
        Err(SessionError::Contended { attempts: MAX_ROUNDS })
    }

    /// Makes sure that a change of this session's id that is under way does not take place.
    async fn hold(&self, desk: &Desk<'_>, owner: &OwnerKey, id: SessionId) -> Result<Spared, SessionError> {
        let Newest::Live { id, version, snapshot } =
            self.follow(desk.store, desk.at_rest, Read::Newest, id, desk.now).await?
        else {
            return Ok(Spared::Gone);
        };
        let name = View::parse(&snapshot.bytes).ok().and_then(|view| view.owner.map(str::to_owned));
        if name.is_none_or(|name| OwnerKey::new(desk.policy, &name) != *owner) {
            return Ok(Spared::Held(id)); // It is on no list of this owner's.
        }
        let held = desk.write_again(&id, &snapshot, Some(*owner), version).await?;
        Ok(if held { Spared::Held(id) } else { Spared::Busy(id) })
    }
}
