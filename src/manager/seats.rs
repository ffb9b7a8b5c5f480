//! So many sessions at a time for one owner (`max_sessions_per_owner`), exact under races on every store.
//!
//! The roster of an owner is an entry of the store, changed by compare-and-swap only. Three steps make a session:
//!
//! 1. *Claim*: the new key enters the roster. Who has to make room for it is marked as leaving in the same write.
//! 2. The session is written.
//! 3. *Confirm*: the roster is read again. Who is leaving is ended; a session that has lost its seat ends itself.
//!
//! So no session outlives its seat: whoever takes the seat away does it before deleting the session, and the session is
//! written before it looks for its seat; one of the two sees the other. A session that is leaving is ended by whoever reads
//! the roster next, should the first be interrupted. A claim whose session never came is dropped after a grace.
//!
//! A change of id moves the seat along in the same way. A logout gives it up; should that fail, or the session end by
//! itself, the next login that finds no room looks up who still lives.

use super::desk::{Desk, twice_if_cut};
use super::writers::Writers;
use super::{CommitError, OwnerCap, Revocations, SessionError, WhenFull};
use crate::clock::Timestamp;
use crate::session::{OwnerKey, Refusal, Refused, Roster, Seat, StoreKey};
use crate::store::{Entry, StoreError, Version, Written};
use std::sync::Arc;
use std::time::Duration;

/// How long a claim counts although its session is not there: the limits of a few calls to the store, and the difference
/// of two machines' clocks.
const CLAIM_STAYS: Duration = Duration::from_secs(30);

/// How often a change is made again. Writers of this process queue, so a conflict needs another process.
const MAX_ATTEMPTS: usize = 32;

/// The most seats that are not leaving, where nothing may be refused: an id that changes takes its seat along.
const MOST: usize = Roster::MAX_SEATS - OwnerCap::MAX_LIMIT as usize;

/// The seats of all owners of one policy.
#[derive(Debug)]
pub(super) struct Seats {
    cap: OwnerCap,
    /// How long a roster is kept: no session lives longer.
    stays: Duration,
    /// Sessions that began earlier are over, wherever they still lie.
    not_before: Option<Timestamp>,
    /// As are those that the operator has ended since.
    revocations: Option<Arc<Revocations>>,
    queue: Arc<Writers>,
}

/// A session that wants a seat.
pub(super) struct Newcomer {
    pub(super) owner: OwnerKey,
    pub(super) key: StoreKey,
    /// The session goes on: its seat under this key is given up for the new one.
    pub(super) old: Option<StoreKey>,
    /// When its owner logged in.
    pub(super) login: Timestamp,
    /// Whether the limit holds for it: not for a session that only changes its id, or that ends all others.
    pub(super) is_limited: bool,
}

/// A seat that was taken, and what giving it back restores.
pub(super) struct Claim {
    owner: OwnerKey,
    key: StoreKey,
    was: Option<Seat>,
    evicted: Vec<StoreKey>,
}

impl Claim {
    /// Who had to make room.
    pub(super) fn evicted(&self) -> &[StoreKey] {
        &self.evicted
    }
}

/// What lies in the place of a roster.
struct Sheet {
    /// The roster, when there is one that can be read.
    roster: Option<Roster>,
    found: Option<(Version, Timestamp)>,
}

/// What is known of a seat.
enum Life {
    /// The session lives until this deadline, unless it is used again.
    Live(Timestamp),
    /// The session has not been written yet.
    Claimed,
    Over,
}

impl Seats {
    pub(super) fn new(cap: OwnerCap, stays: Duration, not_before: Option<Timestamp>) -> Self {
        Self { cap, stays, not_before, revocations: None, queue: Arc::new(Writers::new()) }
    }

    pub(super) fn heed(&mut self, revocations: Arc<Revocations>) {
        self.revocations = Some(revocations);
    }

    pub(super) fn succeed(&mut self, before: &Self) {
        self.queue = Arc::clone(&before.queue);
    }

    /// Takes a seat for a session that is about to be written.
    pub(super) async fn claim(&self, desk: &Desk<'_>, newcomer: &Newcomer) -> Result<Claim, CommitError> {
        let _turn = self.queue.turn(&newcomer.owner.roster_key()).await;
        let mut unknown: Option<(Claim, StoreError)> = None;
        let mut cuts = 0;
        for _ in 0..MAX_ATTEMPTS {
            let sheet = self.read(desk, &newcomer.owner).await?;
            if let Some((claim, error)) = unknown.take() {
                if sheet.roster.as_ref().is_some_and(|roster| roster.seat_of(&newcomer.key).is_some()) {
                    return Ok(claim);
                }
                cuts += 1;
                if cuts > 1 || !matches!(error, StoreError::Lost { .. }) {
                    return Err(error.into());
                }
            }
            let mut roster = match sheet.roster {
                Some(roster) => roster,
                None => self.listed_by_the_store(desk, &newcomer.owner).await?,
            };
            let claim = self.seat(desk, &mut roster, newcomer).await?;
            match self.write(desk, &newcomer.owner, &roster, sheet.found).await {
                Ok(true) => return Ok(claim),
                Ok(false) => {}
                // Whether it took place is seen in the next round: nobody else has this key.
                Err(error) if error.is_unknown() => unknown = Some((claim, error)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(SessionError::Contended { attempts: MAX_ATTEMPTS }.into())
    }

    /// Ends who has to make room for others, and the session itself when it is among them.
    pub(super) async fn confirm(&self, desk: &Desk<'_>, claim: &Claim) -> Result<(), StoreError> {
        // A roster that is lost, as a cache may lose it, says nothing against anybody.
        let Some(roster) = self.read(desk, &claim.owner).await?.roster else { return Ok(()) };
        for key in roster.leaving() {
            desk.delete(&key).await?;
        }
        match roster.seat_of(&claim.key) {
            Some(_) => Ok(()),
            None => desk.delete(&claim.key).await,
        }
    }

    /// Undoes a claim whose session was not written after all. Should it fail, the claim runs out by itself.
    pub(super) async fn give_back(&self, desk: &Desk<'_>, claim: Claim) {
        let Claim { owner, key, was, evicted } = claim;
        let undo = |roster: &mut Roster| {
            if roster.remove(&key).is_none() {
                return false;
            }
            roster.seats.extend(was);
            for seat in roster.seats.iter_mut().filter(|seat| evicted.contains(&seat.key)) {
                seat.is_leaving = false;
            }
            true
        };
        self.amend_if_possible(desk, &owner, undo).await;
    }

    /// Lists a session under its old key, too, when it cannot be told whether the id was changed: whichever lives counts.
    pub(super) async fn keep_both(&self, desk: &Desk<'_>, claim: &Claim) {
        let Some(was) = claim.was else { return };
        let keep = |roster: &mut Roster| {
            let is_missing = roster.seat_of(&was.key).is_none() && roster.seats.len() < Roster::MAX_SEATS;
            roster.seats.extend(Some(was).filter(|_| is_missing));
            is_missing
        };
        self.amend_if_possible(desk, &claim.owner, keep).await;
    }

    /// Frees the seats of sessions that have ended.
    pub(super) async fn vacate(&self, desk: &Desk<'_>, owner: &OwnerKey, ended: &[StoreKey]) {
        let clear = |roster: &mut Roster| {
            let before = roster.seats.len();
            roster.seats.retain(|seat| !ended.contains(&seat.key));
            roster.seats.len() != before
        };
        self.amend_if_possible(desk, owner, clear).await;
    }

    async fn amend_if_possible(&self, desk: &Desk<'_>, owner: &OwnerKey, change: impl Fn(&mut Roster) -> bool) {
        if let Err(error) = self.amend(desk, owner, change).await {
            tracing::debug!(session = desk.policy, %error, "a seat stays taken until somebody looks whether it is in use");
        }
    }

    async fn amend(
        &self,
        desk: &Desk<'_>,
        owner: &OwnerKey,
        change: impl Fn(&mut Roster) -> bool,
    ) -> Result<(), SessionError> {
        let _turn = self.queue.turn(&owner.roster_key()).await;
        for _ in 0..MAX_ATTEMPTS {
            let Sheet { roster: Some(mut roster), found } = self.read(desk, owner).await? else { return Ok(()) };
            if !change(&mut roster) {
                return Ok(());
            }
            match self.write(desk, owner, &roster, found).await {
                Ok(true) => return Ok(()),
                // Made twice it comes to the same.
                Ok(false) | Err(StoreError::Lost { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(SessionError::Contended { attempts: MAX_ATTEMPTS })
    }

    /// Gives the newcomer a seat, or refuses it; who has to leave for it is marked.
    async fn seat(&self, desk: &Desk<'_>, roster: &mut Roster, newcomer: &Newcomer) -> Result<Claim, CommitError> {
        for key in roster.leaving() {
            desk.delete(&key).await?;
        }
        roster.seats.retain(|seat| !seat.is_leaving);
        let was = newcomer.old.and_then(|old| roster.remove(&old));
        let mut evicted = Vec::new();
        if was.is_none() {
            let limit = if newcomer.is_limited { self.cap.limit() } else { MOST };
            let full = self.full(desk, roster, &newcomer.owner, limit).await?;
            let excess = (full.len() + 1).saturating_sub(limit);
            if excess > 0 && newcomer.is_limited && self.cap.when_full == WhenFull::Reject {
                let detail = format!("Login: the owner has {} sessions, as many as there may be", full.len());
                return Err(CommitError::Refused(Refused::new(Refusal::Limit, detail)));
            }
            evicted = self.victims(full, excess);
            for seat in roster.seats.iter_mut().filter(|seat| evicted.contains(&seat.key)) {
                seat.is_leaving = true;
            }
        }
        let (key, login) = (newcomer.key, newcomer.login);
        roster.seats.push(Seat { key, login, claimed: desk.now, is_leaving: false });
        Ok(Claim { owner: newcomer.owner, key, was, evicted })
    }

    /// Drops the seats of sessions that are over, as many as it takes to make room; returns who is left if there is none.
    async fn full(
        &self,
        desk: &Desk<'_>,
        roster: &mut Roster,
        owner: &OwnerKey,
        limit: usize,
    ) -> Result<Vec<(Seat, Life)>, StoreError> {
        let mut left = Vec::new();
        let mut unknown = std::mem::take(&mut roster.seats).into_iter();
        while left.len() + unknown.len() >= limit {
            let Some(seat) = unknown.next() else { break };
            match self.life(desk, owner, &seat).await? {
                Life::Over => {}
                life => left.push((seat, life)),
            }
        }
        roster.seats.extend(left.iter().map(|(seat, _)| *seat).chain(unknown));
        Ok(left)
    }

    async fn life(&self, desk: &Desk<'_>, owner: &OwnerKey, seat: &Seat) -> Result<Life, StoreError> {
        let is_known = seat.login != Timestamp::default();
        let begun = self.revocations.as_ref().map(|revocations| revocations.before()).max(self.not_before);
        if is_known && begun.is_some_and(|moment| seat.login < moment) {
            return Ok(Life::Over);
        }
        Ok(match twice_if_cut(|| desk.store.load(&seat.key, desk.now)).await? {
            // Aliases and tombstones belong to nobody.
            Some((entry, _)) if entry.owner.as_ref() == Some(owner) => Life::Live(entry.deadline),
            None if !seat.claimed.after(CLAIM_STAYS).has_passed(desk.now) => Life::Claimed,
            _ => Life::Over,
        })
    }

    /// Who makes room: the first by the operator's order.
    fn victims(&self, mut seats: Vec<(Seat, Life)>, excess: usize) -> Vec<StoreKey> {
        seats.sort_by_key(|(seat, life)| match (self.cap.when_full, life) {
            (WhenFull::LeastRecent, Life::Live(deadline)) => *deadline,
            (WhenFull::LeastRecent, _) => Timestamp::NEVER,
            (WhenFull::Oldest | WhenFull::Reject, _) => seat.login,
        });
        seats.iter().take(excess).map(|(seat, _)| seat.key).collect()
    }

    /// The sessions that began before there was a limit, or whose roster was lost, where the store can list them.
    async fn listed_by_the_store(&self, desk: &Desk<'_>, owner: &OwnerKey) -> Result<Roster, StoreError> {
        let Some(index) = desk.store.index() else { return Ok(Roster::default()) };
        let keys = twice_if_cut(|| index.keys_of(owner, desk.now)).await?;
        let nobody_knows = Timestamp::default();
        let seat = |key| Seat { key, login: nobody_knows, claimed: nobody_knows, is_leaving: false };
        Ok(Roster { seats: keys.into_iter().map(seat).take(MOST).collect() })
    }

    async fn read(&self, desk: &Desk<'_>, owner: &OwnerKey) -> Result<Sheet, StoreError> {
        let key = owner.roster_key();
        let Some((entry, version)) = twice_if_cut(|| desk.store.load(&key, desk.now)).await? else {
            return Ok(Sheet { roster: None, found: None });
        };
        let roster = Roster::decode(&entry.bytes);
        if roster.is_err() {
            tracing::warn!(session = desk.policy, "the list of an owner's sessions cannot be read: it is begun anew");
        }
        Ok(Sheet { roster: roster.ok(), found: Some((version, entry.deadline)) })
    }

    async fn write(
        &self,
        desk: &Desk<'_>,
        owner: &OwnerKey,
        roster: &Roster,
        found: Option<(Version, Timestamp)>,
    ) -> Result<bool, StoreError> {
        let key = owner.roster_key();
        let stays = desk.now.after(self.stays);
        let deadline = found.map_or(stays, |(_, before)| before.max(stays));
        let entry = Entry { bytes: roster.encode().into(), deadline, owner: None };
        let written = match found {
            None => desk.store.create(&key, entry, desk.now).await?,
            Some((version, _)) => desk.store.replace(&key, entry, version, desk.now).await?,
        };
        Ok(matches!(written, Written::Done(_)))
    }
}
