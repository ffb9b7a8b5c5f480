//! What storage has to do for one response: a pure decision, made on the newest record.

use super::apply::{CookieChoices, Limits, check};
use super::batch::{Batch, Changes, Keys, Picked, Refusal, Refused, Scope};
use super::expiry::Expiry;
use super::held;
use super::id::Lineage;
use super::imprint::Imprint;
use super::name::{Flash, Owner};
use super::record::{Mark, Record};
use super::view::encode;
use crate::clock::Timestamp;

/// The operator's rules for one session policy on one route.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The clocks.
    pub expiry: &'a Expiry,
    /// What a session may grow to.
    pub limits: &'a Limits,
    /// What `X-Session-Cookie` may choose from.
    pub choices: &'a CookieChoices,
    /// The keys that the route may change.
    pub keys: &'a Keys,
    /// Whether a request on this route extends the session.
    pub touch: bool,
    /// Whether the record says when the session was in use (R14).
    pub notes_use: bool,
    /// Whether backends print a token of the session into pages, which then outlives the messages on them.
    pub hands_out_tokens: bool,
    /// What the visitor looks like, where the policy binds its sessions.
    pub imprint: Imprint,
}

/// When the messages that a request was shown count as read (`[sessions.x.flash] consume`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The answer is of the kind that shows them to a person: all of them are read.
    All,
    /// Only what `X-Session-Flash-Read` names is read.
    Acknowledged,
}

/// What the backend was shown with the request, and what its answer makes of it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The numbers of the flashes in the request.
    pub flashes: &'a [u32],
    /// Which of them are read now.
    pub reading: Reading,
    /// The request told the backend about a refusal.
    pub refusal: bool,
}

impl Shown<'_> {
    /// A request that showed nothing to be consumed.
    pub const NOTHING: Self = Self { flashes: &[], reading: Reading::Acknowledged, refusal: false };
}

/// Where the session stands at the moment of the answer.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The newest record and its deadline; `None` for a visitor without a session.
    pub current: Option<(&'a Record, Timestamp)>,
    /// The visitor had a session when the request came.
    pub had_session: bool,
    /// What the backend was shown.
    pub shown: Shown<'a>,
    /// The mark under which the request holds messages that no other request is shown.
    pub lent: Option<Mark>,
    /// The token under which the session is the request's alone: its turn ends with what is written.
    pub holds: Option<Mark>,
    /// A refusal that the next request shall be told about (`on_refused = "deliver"`).
    pub remember: Option<Refusal>,
}

/// Chance as an argument: used where the decision makes something new.
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    /// The lineage of a session that comes into being.
    pub lineage: Lineage,
    /// The mark of this write.
    pub mark: Mark,
}

/// A record to be written, already encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The record.
    pub record: Record,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its deadline.
    pub deadline: Timestamp,
}

/// What becomes of the old id when a session moves to a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It leads to the new id for a short grace (`X-Session-Regenerate`).
    Alias,
    /// It is dead at once (`X-Session-Login`).
    Dead,
}

/// What storage has to do with this session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing at all.
    Nothing,
    /// Write down that the session is in use: move its deadline, and write these bytes where the record says so, too.
    Touch(Timestamp, Option<Vec<u8>>),
    /// Give back the messages that the request held, and no other change: these bytes, with this deadline.
    GiveBack(Vec<u8>, Timestamp),
    /// Begin a session.
    Create(Draft),
    /// Write over the record that the decision was made on.
    Replace(Draft),
    /// Write the record under a new id.
    Move(Draft, Farewell),
    /// End the session; where there is a successor, begin it under a new id.
    End(Option<Draft>),
    /// End the session for want of anything to keep: an answer that is under way may still begin another.
    Lapse,
}

/// A decision: this session's step, and what happens to the owner's other sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What to do with this session.
    pub step: Step,
    /// [`Scope::Others`] or [`Scope::All`]: end the other sessions of the owner, too.
    pub owners: Option<Scope>,
}

impl Plan {
    const NOTHING: Self = Self { step: Step::Nothing, owners: None };

    /// Whose other sessions end: with a `Login` the new owner's, but nobody logs in with an answer that ends all.
    #[must_use]
    pub fn whose<'a>(&self, batch: &'a Batch, before: Option<&'a Record>) -> Option<&'a Owner> {
        let owner = before.and_then(|record| record.owner.as_ref());
        match self.owners? {
            Scope::Others => batch.login.as_ref().or(owner),
            Scope::All | Scope::This => owner,
        }
    }
}

/// Decides what storage has to do.
///
/// The effects come in the order of the protocol, section 5.1. A session that ended while the backend worked is not
/// revived, unless the batch logs somebody in (5.4).
///
/// # Errors
/// The refusal, when the batch cannot be applied whole; then nothing may be written for it.
pub fn plan(
    situation: &Situation<'_>,
    batch: &Batch,
    rules: &Rules<'_>,
    chance: Chance,
    now: Timestamp,
) -> Result<Plan, Refused> {
    let current = situation.current;
    if current.is_none() && situation.had_session && batch.login.is_none() {
        return Ok(Plan::NOTHING);
    }
    check(&batch.conditions, current.map(|(record, _)| record), now)?;
    check_turn(situation, batch)?;
    match batch.destroy {
        Some(scope @ (Scope::This | Scope::All)) => destroy(situation, scope, batch, rules, chance, now),
        others => {
            let step = change(situation, batch, rules, chance, now)?;
            Ok(Plan { step, owners: others.filter(|_| current.is_some() || batch.login.is_some()) })
        }
    }
}

/// Only `Flash` survives a `Destroy`, into a fresh anonymous session.
fn destroy(
    situation: &Situation<'_>,
    scope: Scope,
    batch: &Batch,
    rules: &Rules<'_>,
    chance: Chance,
    now: Timestamp,
) -> Result<Plan, Refused> {
    let mut farewell = Batch::default();
    farewell.changes.flash.clone_from(&batch.changes.flash);
    let blank =
        Situation { current: None, had_session: false, shown: Shown::NOTHING, lent: None, holds: None, remember: None };
    let successor = match change(&blank, &farewell, rules, chance, now)? {
        Step::Create(draft) => Some(draft),
        _ => None,
    };
    let step = match (situation.current, successor) {
        (Some(_), successor) => Step::End(successor),
        (None, Some(draft)) => Step::Create(draft),
        (None, None) => Step::Nothing,
    };
    Ok(Plan { step, owners: (scope == Scope::All && situation.current.is_some()).then_some(scope) })
}

fn change(
    situation: &Situation<'_>,
    batch: &Batch,
    rules: &Rules<'_>,
    chance: Chance,
    now: Timestamp,
) -> Result<Step, Refused> {
    // What one person left is not handed to the next: a login as somebody else begins an empty session.
    let is_other = |record: &Record| batch.login.is_some() && record.owner.is_some() && record.owner != batch.login;
    let kept = situation.current.filter(|(record, _)| !batch.invalidate && !is_other(record));
    let mut record = kept.map_or_else(|| Record::new(chance.lineage, now), |(record, _)| record.clone());
    batch_effects(situation, batch, rules, &mut record, now)?;
    let extend = batch.touch.unwrap_or(rules.touch);
    keep_cookie(kept.map(|(before, _)| before), &mut record, batch, rules, extend, now);
    let changed = kept.is_none_or(|(before, _)| *before != record);

    let draft = |mut record: Record| {
        end_turn(&mut record, situation.holds);
        record.revision = record.revision.saturating_add(1);
        record.mark = chance.mark;
        record.take_back(situation.lent, now);
        note_use(&mut record, rules, extend, now);
        // Bound anew with a new id; what is bound to nothing is bound with any write.
        let is_bound_anew = batch.login.is_some() || batch.regenerate;
        record.imprint = if is_bound_anew { rules.imprint } else { record.imprint.or(rules.imprint) };
        let active = match situation.current {
            None => rules.expiry.first_deadline(&record, now),
            Some(_) => rules.expiry.deadline(&record, now),
        };
        let before = kept.filter(|_| !extend).map(|(before, deadline)| rules.expiry.clocks(before.age(), deadline));
        let deadline = before.map_or(active, |before| rules.expiry.proven(before).min(active));
        let bytes = encode(&record);
        if bytes.len() > rules.limits.session_bytes {
            let (size, limit) = (bytes.len(), rules.limits.session_bytes);
            return Err(Refused::new(
                Refusal::Limit,
                format!("the session would have {size} bytes, the limit is {limit}"),
            ));
        }
        Ok(Draft { record, bytes, deadline })
    };

    Ok(match (situation.current, kept) {
        (None, _) if !stores_something(&record) => Step::Nothing,
        (None, _) => Step::Create(draft(record)?),
        (Some(_), None) => Step::End(Some(draft(record)?)),
        (Some((before, _)), _) if is_emptied(before, &record, batch, rules) => Step::Lapse,
        _ if batch.login.is_some() => Step::Move(draft(record)?, Farewell::Dead),
        _ if batch.regenerate => Step::Move(draft(record)?, Farewell::Alias),
        _ if changed => Step::Replace(draft(record)?),
        (Some((before, deadline)), _) => {
            let due = rules.expiry.touch_due(rules.expiry.clocks(before.age(), deadline), extend, now);
            let in_use = due.is_some() && rules.notes_use && extend;
            if in_use {
                note_use(&mut record, rules, extend, now);
            }
            let ends_turn = end_turn(&mut record, situation.holds);
            if situation.lent.is_some_and(|mark| before.has_lent(mark)) {
                record.take_back(situation.lent, now);
                return Ok(Step::GiveBack(encode(&record), due.unwrap_or(deadline)));
            }
            let noted = (in_use || ends_turn).then(|| encode(&record));
            due.map_or(Step::Nothing, |deadline| Step::Touch(deadline, noted))
        }
    })
}

/// The cookie's own life in the browser begins anew whenever the browser gets the cookie.
fn keep_cookie(
    before: Option<&Record>,
    record: &mut Record,
    batch: &Batch,
    rules: &Rules<'_>,
    extend: bool,
    now: Timestamp,
) {
    let renewed = rules.expiry.kept_until(record.age(), now);
    let is_handed_out = before.is_none()
        || batch.login.is_some()
        || batch.regenerate
        || batch.expire.is_some()
        || batch.cookie.is_some();
    if is_handed_out || renewed.is_none() || (extend && rules.expiry.renewal_due(record.kept_until, renewed)) {
        record.kept_until = renewed;
    }
}

/// Whoever has lost the session to another request writes nothing any more: the other one has not seen it. To that an
/// answer that asks for nothing is no danger.
fn check_turn(situation: &Situation<'_>, batch: &Batch) -> Result<(), Refused> {
    let (Some(token), Some((record, _)), false) = (situation.holds, situation.current, batch.is_empty()) else {
        return Ok(());
    };
    if record.turn.is_some_and(|turn| turn.token == token) {
        return Ok(());
    }
    let detail = "the request took longer than `lock_lease`, and another one has been given the session since";
    Err(Refused::new(Refusal::Lock, detail))
}

/// Ends the turn of the request that is answered; whether it was its own. That is no change of the session.
fn end_turn(record: &mut Record, holds: Option<Mark>) -> bool {
    let is_own = record.turn.is_some_and(|turn| Some(turn.token) == holds);
    if is_own {
        record.turn = None;
    }
    is_own
}

fn note_use(record: &mut Record, rules: &Rules<'_>, extend: bool, now: Timestamp) {
    if rules.notes_use && (extend || record.seen_at.is_none()) {
        record.seen_at = Some(now);
    }
}

fn batch_effects(
    situation: &Situation<'_>,
    batch: &Batch,
    rules: &Rules<'_>,
    record: &mut Record,
    now: Timestamp,
) -> Result<(), Refused> {
    let shown = situation.shown;
    record.flashes.retain(|flash| !is_read(flash, batch, shown));
    if shown.refusal {
        record.refusal = None;
    }
    record.refusal = situation.remember.or(record.refusal);
    batch.changes.apply(record, rules.keys, rules.limits, now)?;
    held::hold(&mut record.held, &batch.held, now)?;
    if let Some(owner) = &batch.login {
        record.owner = Some(owner.clone());
        record.started_at = now;
    }
    if let Some(wish) = &batch.expire {
        wish.apply(record, rules.expiry)?;
    }
    if let Some(wish) = &batch.cookie {
        wish.apply(record, rules.choices)?;
    }
    Ok(())
}

fn is_read(flash: &Flash, batch: &Batch, shown: Shown<'_>) -> bool {
    let named = |picked: &Option<Picked>| picked.as_ref().is_some_and(|picked| picked.has(flash));
    let read = shown.reading == Reading::All || named(&batch.flash_read);
    shown.flashes.contains(&flash.number) && read && !named(&batch.flash_keep)
}

/// Whether this answer takes away the last thing that there was to keep (L10).
fn is_emptied(before: &Record, record: &Record, batch: &Batch, rules: &Rules<'_>) -> bool {
    let holds = |record: &Record| stores_something(record) || record.refusal.is_some();
    let asked = batch.changes != Changes::default() || !batch.held.is_empty();
    holds(before) && !holds(record) && (asked || !rules.hands_out_tokens)
}

/// A session comes into being only when there is something to keep (SL10).
fn stores_something(record: &Record) -> bool {
    !record.values.is_empty() || record.owner.is_some() || !record.flashes.is_empty() || !record.held.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::batch::{Condition, ExpireWish, NewFlash, SetTo};
    use crate::session::held::{CrossSite, Held};
    use crate::session::lease::Lease;
    use crate::session::name::{Name, Owner, Value};
    use crate::session::view::View;
    use std::collections::BTreeMap;
    use std::time::Duration;

    const MINUTE: Duration = Duration::from_secs(60);
    const NOW: Timestamp = Timestamp::from_millis(100_000_000);
    const LENT: Mark = [4; 8];
    const CHANCE: Chance = Chance { lineage: Lineage::from_bytes([2; 12]), mark: [3; 8] };
    const EXPIRY: Expiry = Expiry {
        idle: Duration::from_secs(30 * 60),
        absolute: Duration::from_secs(60 * 60),
        touch_interval: MINUTE,
        regenerate_grace: Duration::from_secs(10),
        max_idle: Duration::from_secs(30 * 60),
        max_absolute: Duration::from_secs(60 * 60),
        probation: None,
        browser: None,
    };

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn ada() -> Record {
        let mut record = Record::new(Lineage::from_bytes([1; 12]), NOW);
        record.values.insert(name("cart"), Value::text("3"));
        record.owner = Owner::parse("ada");
        record.flashes.push(Flash { number: 1, level: name("info"), text: "hi".into(), fields: vec![] });
        record.next_flash = 2;
        record
    }

    fn set(key: &str, text: &str) -> Batch {
        let mut batch = Batch::default();
        batch.changes.set.insert(name(key), SetTo::Value(Value::text(text)));
        batch
    }

    fn flash() -> Batch {
        let mut batch = Batch::default();
        batch.changes.flash.push(NewFlash { level: name("info"), text: "bye".into(), fields: vec![] });
        batch
    }

    /// An answer that sets a cookie for the session to hold, or removes it.
    fn held(value: &'static str, is_over: bool) -> Batch {
        let [name, domain, path] = [&b"id"[..], b"a.b", b"/"].map(Into::into);
        let (value, expires) = (value.as_bytes().into(), is_over.then_some(Timestamp::default()));
        let cross_site = CrossSite::default();
        let held = Held { name, value, domain, host_only: true, path, secure: false, cross_site, expires };
        Batch { held: vec![held], ..Batch::default() }
    }

    fn decide_at(current: Option<&Record>, had: bool, shown: Shown<'_>, batch: &Batch, now: Timestamp) -> String {
        let limits = Limits::default();
        let choices = CookieChoices { paths: vec!["/app".into()], domains: vec![] };
        let rules = Rules {
            expiry: &EXPIRY,
            limits: &limits,
            choices: &choices,
            keys: &Keys::All,
            touch: true,
            notes_use: false,
            hands_out_tokens: false,
            imprint: Imprint::default(),
        };
        let current = current.map(|record| (record, NOW.after(EXPIRY.idle)));
        let situation = Situation { current, had_session: had, shown, lent: Some(LENT), holds: None, remember: None };
        let keys = |draft: &Draft| {
            let keys = draft.record.values.keys().map(Name::as_str).collect::<Vec<_>>().join(",");
            format!("[{keys}|{}]", draft.record.flashes.len())
        };
        match plan(&situation, batch, &rules, CHANCE, now) {
            Err(refused) => format!("refused {}", refused.reason.as_str()),
            Ok(Plan { step, owners }) => {
                let step = match step {
                    Step::Nothing => "nothing".into(),
                    Step::Touch(..) => "touch".into(),
                    Step::GiveBack(bytes, _) => {
                        let record = View::parse(&bytes).unwrap().to_record().unwrap();
                        format!("give back {:?} of {}", record.leases, record.flashes.len())
                    }
                    Step::Create(draft) => format!("create {}", keys(&draft)),
                    Step::Replace(draft) => format!("replace {}", keys(&draft)),
                    Step::Move(draft, farewell) => format!("move {} {farewell:?}", keys(&draft)),
                    Step::End(None) => "end".into(),
                    Step::End(Some(draft)) => format!("end, begin {}", keys(&draft)),
                    Step::Lapse => "lapse".into(),
                };
                owners.map_or(step.clone(), |scope| format!("{step}, owners {scope}"))
            }
        }
    }

    /// The decision table: who the visitor is, what the backend asks, what storage does.
    #[test]
    fn decision_table() {
        let ada = ada();
        let login = || Batch { login: Owner::parse("eve"), ..set("a", "1") };
        let destroy = |scope| Batch { destroy: Some(scope), ..set("a", "1") };
        let with_flash = |scope| Batch { destroy: Some(scope), ..flash() };
        let invalidate = |batch| Batch { invalidate: true, ..batch };
        let regenerate = |batch| Batch { regenerate: true, ..batch };
        let condition = |condition| Batch { conditions: vec![condition], ..set("a", "1") };
        let none = Batch::default();
        let (live, fresh, ended) = ((Some(&ada), true), (None, false), (None, true));
        #[rustfmt::skip]
        let table = vec![
            // visitor, batch, decision
            (fresh, none.clone(), "nothing"),                                    // SL10: reading creates nothing
            (fresh, set("a", "1"), "create [a|0]"),
            (fresh, flash(), "create [|1]"),
            (fresh, regenerate(none.clone()), "nothing"),
            (fresh, Batch { expire: Some(ExpireWish { idle: Some(MINUTE), ..ExpireWish::default() }), ..none.clone() }, "nothing"),
            (fresh, login(), "create [a|0]"),
            (fresh, Batch { destroy: Some(Scope::Others), ..login() }, "create [a|0], owners others"),
            (fresh, destroy(Scope::This), "nothing"),
            (fresh, with_flash(Scope::All), "create [|1]"),
            (fresh, held("1", false), "create [|0]"),
            (fresh, held("", true), "nothing"),
            (ended, held("1", false), "nothing"),
            (live, held("1", false), "replace [cart|1]"),
            (live, held("", true), "nothing"),
            (live, Batch { destroy: Some(Scope::This), ..held("1", false) }, "end"),
            (live, invalidate(held("1", false)), "end, begin [|0]"),
            (ended, set("a", "1"), "nothing"),                                   // 5.4: never revived
            (ended, destroy(Scope::This), "nothing"),
            (ended, invalidate(set("a", "1")), "nothing"),
            (ended, condition(Condition::Version(9)), "nothing"),
            (ended, login(), "create [a|0]"),
            (live, none.clone(), "nothing"),
            (live, set("cart", "3"), "nothing"),                                 // S2: the same value is no change
            (live, set("cart", "4"), "replace [cart|1]"),
            (live, flash(), "replace [cart|2]"),
            (live, login(), "end, begin [a|0]"),                                 // ada's cart is not eve's
            (live, Batch { login: Owner::parse("ada"), ..set("a", "1") }, "move [a,cart|1] Dead"),
            (live, regenerate(none.clone()), "move [cart|1] Alias"),
            (live, regenerate(set("a", "1")), "move [a,cart|1] Alias"),
            (live, invalidate(none.clone()), "end, begin [|0]"),
            (live, invalidate(set("a", "1")), "end, begin [a|0]"),
            (live, invalidate(login()), "end, begin [a|0]"),
            (live, destroy(Scope::This), "end"),
            (live, with_flash(Scope::This), "end, begin [|1]"),
            (live, destroy(Scope::All), "end, owners all"),
            (live, destroy(Scope::Others), "replace [a,cart|1], owners others"),
            (live, condition(Condition::Version(0)), "replace [a,cart|1]"),
            (live, condition(Condition::Version(9)), "refused condition"),
            (live, Batch { expire: Some(ExpireWish { idle: Some(31 * MINUTE), ..ExpireWish::default() }), ..none.clone() }, "refused limit"),
            (live, Batch { cookie: Some(crate::session::batch::CookieWish { path: Some("/x".into()), domain: None }), ..none.clone() }, "refused rights"),
            (live, Batch { cookie: Some(crate::session::batch::CookieWish { path: Some("/app".into()), domain: None }), ..none }, "replace [cart|1]"),
        ];
        for ((current, had), batch, expected) in table {
            assert_eq!(decide_at(current, had, Shown::NOTHING, &batch, NOW), expected, "{had} {batch:?}");
        }
    }

    #[test]
    fn a_session_with_nothing_left_to_keep_ends() {
        // L10
        let ada = ada();
        let guest = Record { owner: None, ..ada.clone() };
        let greeted = Record { values: BTreeMap::default(), ..guest.clone() };
        let told = Record { flashes: vec![], refusal: Some(Refusal::Type), ..greeted.clone() };
        let empty = Record { refusal: None, ..told.clone() };
        let read = Shown { flashes: &[1], reading: Reading::All, refusal: true };
        let clear = |batch: Batch| Batch { changes: Changes { clear: true, ..batch.changes.clone() }, ..batch };
        let cleared = || clear(Batch::default());
        let none = Batch::default;
        #[rustfmt::skip]
        let table = vec![
            // record, what was shown, batch, decision
            (&guest, read, cleared(), "lapse"),
            (&guest, Shown::NOTHING, cleared(), "replace [|1]"),                // a message waits
            (&guest, read, none(), "replace [cart|0]"),
            (&guest, read, clear(flash()), "replace [|1]"),
            (&guest, read, clear(set("a", "1")), "replace [a|0]"),
            (&guest, read, clear(held("1", false)), "replace [|0]"),
            (&guest, read, Batch { regenerate: true, ..cleared() }, "lapse"),
            (&guest, read, Batch { login: Owner::parse("ada"), ..cleared() }, "move [|0] Dead"),
            (&guest, read, Batch { destroy: Some(Scope::Others), ..cleared() }, "lapse, owners others"),
            (&guest, read, Batch { expire: Some(ExpireWish { idle: Some(MINUTE), ..ExpireWish::default() }), ..cleared() }, "lapse"),
            (&ada, read, cleared(), "replace [|0]"),                          // an owner's session stays
            (&greeted, read, none(), "lapse"),
            (&greeted, read, Batch { flash_keep: Some(Picked::All), ..none() }, "nothing"),
            (&greeted, Shown::NOTHING, none(), "nothing"),
            (&told, Shown::NOTHING, none(), "nothing"),                         // the backend has not been told yet
            (&told, read, none(), "lapse"),
            (&empty, read, none(), "nothing"),                                  // nothing was taken away
            (&empty, read, cleared(), "nothing"),
            (&empty, read, Batch { regenerate: true, ..none() }, "move [|0] Alias"),
        ];
        for (record, shown, batch, expected) in table {
            assert_eq!(decide_at(Some(record), true, shown, &batch, NOW), expected, "{record:?} {batch:?}");
        }
    }

    #[test]
    fn a_token_on_a_page_outlives_the_message_on_it() {
        // L10
        let greeted = Record { owner: None, values: BTreeMap::default(), ..ada() };
        let limits = Limits::default();
        let choices = CookieChoices::default();
        let rules = Rules {
            expiry: &EXPIRY,
            limits: &limits,
            choices: &choices,
            keys: &Keys::All,
            touch: true,
            notes_use: false,
            hands_out_tokens: true,
            imprint: Imprint::default(),
        };
        let shown = Shown { flashes: &[1], reading: Reading::All, refusal: false };
        let current = Some((&greeted, NOW.after(EXPIRY.idle)));
        let situation = Situation { current, had_session: true, shown, lent: None, holds: None, remember: None };
        let step = |batch: &Batch| plan(&situation, batch, &rules, CHANCE, NOW).unwrap().step;
        assert!(matches!(step(&Batch::default()), Step::Replace(draft) if draft.record.flashes.is_empty()));
        let cleared = Batch { changes: Changes { clear: true, ..Changes::default() }, ..Batch::default() };
        assert_eq!(step(&cleared), Step::Lapse);
    }

    #[test]
    fn touching_waits_for_the_interval_and_for_leave() {
        let ada = ada();
        let at = |batch, later| decide_at(Some(&ada), true, Shown::NOTHING, &batch, NOW.after(later));
        assert_eq!(at(Batch::default(), MINUTE / 2), "nothing");
        assert_eq!(at(Batch::default(), EXPIRY.longest_interval()), "touch");
        assert_eq!(at(Batch { touch: Some(false), ..Batch::default() }, 2 * MINUTE), "nothing");
    }

    #[test]
    fn shown_messages_are_consumed_once_and_only_those_shown() {
        let ada = ada();
        let read = Shown { flashes: &[1], reading: Reading::All, refusal: false };
        let asked = Shown { reading: Reading::Acknowledged, ..read };
        let level = |level| Some(Picked::Only { levels: [name(level)].into(), lists: [].into() });
        let list = |list| Some(Picked::Only { levels: [].into(), lists: [list].into() });
        let (info, error) = (level("info"), level("error"));
        let at = |shown, batch| decide_at(Some(&ada), true, shown, &batch, NOW);
        assert_eq!(at(read, Batch::default()), "replace [cart|0]");
        assert_eq!(at(read, flash()), "replace [cart|1]");
        assert_eq!(at(Shown { flashes: &[], ..read }, Batch::default()), "nothing");
        assert_eq!(at(Shown { flashes: &[2, 3], ..read }, Batch::default()), "nothing");
        assert_eq!(at(read, Batch { flash_keep: Some(Picked::All), ..Batch::default() }), "nothing");
        assert_eq!(at(asked, Batch::default()), "nothing");
        assert_eq!(at(asked, Batch { flash_read: error, ..Batch::default() }), "nothing");
        assert_eq!(at(asked, Batch { flash_read: info, ..Batch::default() }), "replace [cart|0]");
        // F6
        assert_eq!(at(asked, Batch { flash_read: list(Some(name("cart"))), ..Batch::default() }), "nothing");
        assert_eq!(at(asked, Batch { flash_read: list(None), ..Batch::default() }), "replace [cart|0]");
    }

    #[test]
    fn messages_that_stay_are_given_back_and_that_is_no_change() {
        // F3
        let lease = |mark| Lease { mark: [mark; 8], until: NOW.after(MINUTE), flashes: vec![1] };
        let lent = |leases| Record { leases, ..ada() };
        let shown = Shown { flashes: &[1], reading: Reading::Acknowledged, refusal: false };
        let at = |record: &Record, shown, batch, now| decide_at(Some(record), true, shown, &batch, now);
        let held = lent(vec![lease(4)]);
        assert_eq!(at(&held, shown, Batch::default(), NOW), "give back [] of 1");
        let touched = NOW.after(EXPIRY.longest_interval());
        assert_eq!(at(&held, shown, Batch::default(), touched), "give back [] of 1");
        assert_eq!(at(&held, shown, set("a", "1"), NOW), "replace [a,cart|1]");
        assert_eq!(at(&held, Shown { reading: Reading::All, ..shown }, Batch::default(), NOW), "replace [cart|0]");
        // What another request holds is none of this one's business.
        assert_eq!(at(&lent(vec![lease(5)]), shown, Batch::default(), NOW), "nothing");
    }

    #[test]
    fn a_login_restarts_the_absolute_clock_and_nothing_else_does() {
        // SL5
        let ada = ada();
        let limits = Limits::default();
        let choices = CookieChoices::default();
        let rules = Rules {
            expiry: &EXPIRY,
            limits: &limits,
            choices: &choices,
            keys: &Keys::All,
            touch: true,
            notes_use: false,
            hands_out_tokens: false,
            imprint: Imprint::default(),
        };
        let later = NOW.after(50 * MINUTE);
        let current = Some((&ada, later.after(MINUTE)));
        let situation =
            Situation { current, had_session: true, shown: Shown::NOTHING, lent: None, holds: None, remember: None };
        let deadline = |batch: &Batch| match plan(&situation, batch, &rules, CHANCE, later).unwrap().step {
            Step::Replace(draft) | Step::Move(draft, _) => draft.deadline,
            other => panic!("{other:?}"),
        };
        assert_eq!(deadline(&set("a", "1")), NOW.after(EXPIRY.absolute));
        assert_eq!(deadline(&Batch { login: Owner::parse("ada"), ..Batch::default() }), later.after(EXPIRY.idle));
    }
}
