//! What an answer did to its session, and what of that goes into which history. Pure.

use super::{Asked, Ended, Happening, RouteName, Standing, What};
use crate::clock::Timestamp;
use crate::session::{Batch, Lineage, Owner, Refusal, Scope};
use smallvec::SmallVec;

/// A session before and after an answer to it.
#[derive(Clone, Debug, Default)]
pub struct Passage {
    /// How it stood; `None`: the visitor had no session.
    pub before: Option<Standing>,
    /// How the visitor's session stands now: the same one, another, or none.
    pub after: Option<Standing>,
    /// Other sessions of the owner that ended by it.
    pub ended: Option<Ended>,
}

/// What is to be noted.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// In the history of a session: how it stands now, and what happened to it, if anything did.
    pub sessions: SmallVec<[(Standing, Option<Happening>); 2]>,
    /// In the history of an owner: that he logged in, or that sessions of his ended.
    pub owners: SmallVec<[(Owner, Happening); 2]>,
}

impl Passage {
    /// What is to be noted of an answer that asked for this batch on this route. `refused`: it was not obeyed.
    #[must_use]
    pub fn notes(&self, batch: &Batch, refused: Option<Refusal>, route: &str, now: Timestamp) -> Notes {
        let (route, asked) = (RouteName::cut(route), Asked::from(batch));
        let happening = |what: What, session: Lineage, other: Option<Lineage>| Happening {
            session: Some(session),
            other,
            route: route.clone(),
            asked: asked.clone(),
            ..Happening::by_nobody(what, now)
        };
        let mut notes = Notes::default();
        let parted = match (&self.before, &self.after) {
            (Some(before), Some(after)) if before.lineage == after.lineage => {
                let what = self.what(before, after, batch, &asked, refused);
                let ended = self.ended.clone().unwrap_or(Ended::NONE);
                let happening = what.map(|what| Happening { ended, ..happening(what, after.lineage, None) });
                if happening.is_some() || before != after {
                    notes.sessions.push((after.clone(), happening));
                }
                None
            }
            (before, after) => {
                let [was, is] = [before, after].map(|standing| standing.as_ref().map(|standing| standing.lineage));
                let end = if after.is_some() && batch.destroy.is_none() { What::GaveWay } else { What::Ended };
                let ending = before.as_ref().map(|before| (before, happening(end, before.lineage, is)));
                let began = after.as_ref().map(|after| (after, happening(What::Began, after.lineage, was)));
                let both = ending.iter().cloned().chain(began);
                notes.sessions.extend(both.map(|(standing, happening)| (standing.clone(), Some(happening))));
                ending
            }
        };
        let login = self.after.as_ref().filter(|after| batch.login.is_some() && after.owner == batch.login);
        if let Some(after) = login.filter(|_| refused.is_none()) {
            notes
                .owners
                .extend(after.owner.clone().map(|owner| (owner, happening(What::LoggedIn, after.lineage, None))));
        }
        if let Some((before, ending)) = parted {
            notes.owners.extend(before.owner.clone().map(|owner| (owner, ending)));
        }
        self.reach(&mut notes, batch, |session| happening(What::EndedOthers, session, None));
        notes
    }

    /// What happened to a session that goes on.
    fn what(
        &self,
        before: &Standing,
        after: &Standing,
        batch: &Batch,
        asked: &Asked,
        refused: Option<Refusal>,
    ) -> Option<What> {
        if let Some(reason) = refused {
            return Some(What::Refused(reason));
        }
        let is_changed = before.revision != after.revision && !asked.is_nothing();
        Some(match is_changed {
            true if batch.login.is_some() => What::LoggedIn,
            true if before.place != after.place => What::Renewed,
            true => What::Changed,
            false if self.ended.as_ref().is_some_and(|ended| *ended != Ended::NONE) => What::EndedOthers,
            false => return None,
        })
    }

    /// Says which other sessions ended, where their owner's history tells who ended them.
    fn reach(&self, notes: &mut Notes, batch: &Batch, alone: impl FnOnce(Lineage) -> Happening) {
        let Some(ended) = self.ended.clone().filter(|ended| *ended != Ended::NONE) else { return };
        let before = self.before.as_ref();
        let whose = match batch.destroy {
            Some(Scope::All | Scope::This) => before.and_then(|before| before.owner.as_ref()),
            Some(Scope::Others) | None => batch.login.as_ref().or(before.and_then(|before| before.owner.as_ref())),
        };
        let Some(whose) = whose.cloned() else { return };
        let own = notes.sessions.iter_mut().filter_map(|(_, happening)| happening.as_mut());
        own.for_each(|happening| happening.ended = ended.clone());
        if let Some((_, happening)) = notes.owners.iter_mut().find(|(owner, _)| *owner == whose) {
            happening.ended = ended;
        } else if let Some(author) = self.after.as_ref().or(before) {
            notes.owners.push((whose, Happening { ended, ..alone(author.lineage) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Name, SetTo, StoreKey, Value};

    fn standing(lineage: u8, revision: u64) -> Standing {
        Standing {
            lineage: Lineage::from_bytes([lineage; 12]),
            owner: None,
            revision,
            started_at: Timestamp::default(),
            deadline: Timestamp::from_millis(50),
            end: Timestamp::from_millis(90),
            place: Some(StoreKey::from_bytes([lineage; 32])),
        }
    }

    fn of(owner: &str, lineage: u8, revision: u64) -> Standing {
        Standing { owner: Owner::parse(owner), ..standing(lineage, revision) }
    }

    fn set() -> Batch {
        let mut batch = Batch::default();
        batch.changes.set.insert(Name::parse("cart").unwrap(), SetTo::Value(Value::text("3")));
        batch
    }

    fn told(happening: &Happening) -> String {
        let letter = |lineage: Option<Lineage>| lineage.map_or(String::from("-"), |it| it.as_bytes()[0].to_string());
        let Happening { what, session, other, route, asked, ended, .. } = happening;
        assert_eq!(route.as_str(), "shop");
        let ended = match ended.count() {
            None => String::from(" ?"),
            Some(0) => String::new(),
            Some(count) => format!(" ended {count}"),
        };
        let other = other.map(|other| format!("/{}", letter(Some(other)))).unwrap_or_default();
        format!("{}{other} {} ({asked}){ended}", letter(*session), what.as_str())
    }

    /// What is noted: of sessions by their number, of owners by their name.
    #[track_caller]
    fn check(passage: &Passage, batch: &Batch, refused: Option<Refusal>, expected: &[&str]) {
        let notes = passage.notes(batch, refused, "shop", Timestamp::from_millis(7));
        let sessions = notes.sessions.iter().map(|(standing, happening)| {
            let happening = happening.as_ref().map_or(String::from("stands"), told);
            format!("[{}] {happening}", standing.lineage.as_bytes()[0])
        });
        let owners = notes.owners.iter().map(|(owner, happening)| format!("[{}] {}", owner.as_str(), told(happening)));
        assert_eq!(sessions.chain(owners).collect::<Vec<_>>(), expected);
    }

    fn passage(before: Option<Standing>, after: Option<Standing>) -> Passage {
        Passage { before, after, ended: None }
    }

    #[test]
    fn a_session_begins_changes_and_ends() {
        let (one, two) = (Some(standing(1, 1)), Some(standing(1, 2)));
        check(&passage(None, one.clone()), &set(), None, &["[1] 1 began (Set)"]);
        check(&passage(one.clone(), two.clone()), &set(), None, &["[1] 1 changed (Set)"]);
        check(&passage(one.clone(), one.clone()), &set(), None, &[]);
        check(&passage(one.clone(), two), &Batch::default(), None, &["[1] stands"]);
        let used = Some(Standing { deadline: Timestamp::from_millis(60), ..standing(1, 1) });
        check(&passage(one.clone(), used), &Batch::default(), None, &["[1] stands"]);
        let logout = Batch { destroy: Some(Scope::This), ..Batch::default() };
        check(&passage(one.clone(), None), &logout, None, &["[1] 1 ended (Destroy)"]);
        check(&passage(one.clone(), one), &set(), Some(Refusal::Condition), &["[1] 1 refused (Set)"]);
        check(&passage(None, None), &logout, None, &[]);
    }

    #[test]
    fn another_session_in_the_place_of_the_first_is_told_in_both_histories() {
        let (old, new) = (Some(standing(1, 1)), Some(standing(2, 1)));
        let invalidate = Batch { invalidate: true, ..Batch::default() };
        let both = ["[1] 1/2 gave way (Invalidate)", "[2] 2/1 began (Invalidate)"];
        check(&passage(old.clone(), new.clone()), &invalidate, None, &both);
        let farewell = Batch { destroy: Some(Scope::This), ..Batch::default() };
        check(&passage(old, new), &farewell, None, &["[1] 1/2 ended (Destroy)", "[2] 2/1 began (Destroy)"]);
    }

    #[test]
    fn an_owner_is_told_of_logins_and_ends() {
        let (before, ada) = (Some(standing(1, 1)), Some(of("ada", 1, 2)));
        let login = Batch { login: Owner::parse("ada"), ..Batch::default() };
        check(&passage(before, ada.clone()), &login, None, &["[1] 1 logged in (Login)", "[ada] 1 logged in (Login)"]);
        let logout = Batch { destroy: Some(Scope::This), ..Batch::default() };
        check(&passage(ada.clone(), None), &logout, None, &["[1] 1 ended (Destroy)", "[ada] 1 ended (Destroy)"]);
        let eve = Batch { login: Owner::parse("eve"), ..Batch::default() };
        check(
            &passage(ada, Some(of("eve", 2, 1))),
            &eve,
            None,
            &[
                "[1] 1/2 gave way (Login)",
                "[2] 2/1 began (Login)",
                "[eve] 2 logged in (Login)",
                "[ada] 1/2 gave way (Login)",
            ],
        );
    }

    #[test]
    fn who_ends_other_sessions_is_told_with_how_many() {
        let ada = Some(of("ada", 1, 1));
        let ended = Some(Ended::of(&[StoreKey::from_bytes([8; 32]), StoreKey::from_bytes([9; 32])]));
        let others = Batch { destroy: Some(Scope::Others), ..Batch::default() };
        let both = ["[1] 1 ended others (Destroy: others) ended 2", "[ada] 1 ended others (Destroy: others) ended 2"];
        check(&Passage { ended: ended.clone(), ..passage(ada.clone(), ada.clone()) }, &others, None, &both);
        let all = Batch { destroy: Some(Scope::All), ..Batch::default() };
        let both = ["[1] 1 ended (Destroy: all) ended 2", "[ada] 1 ended (Destroy: all) ended 2"];
        check(&Passage { ended: ended.clone(), ..passage(ada.clone(), None) }, &all, None, &both);
        let login = Batch { login: Owner::parse("ada"), ..Batch::default() };
        let both = ["[1] 1 began (Login) ended 2", "[ada] 1 logged in (Login) ended 2"];
        check(&Passage { ended, ..passage(None, ada.clone()) }, &login, None, &both);
        let nobody = Some(Ended::NONE);
        check(&Passage { ended: nobody, ..passage(ada.clone(), ada) }, &others, None, &[]);
    }
}
