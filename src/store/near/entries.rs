//! The copies of [`Near`](super::Near), and the rules by which they go.
//!
//! # Why no copy is older than it says
//!
//! A copy's age counts from the moment *before* the store was asked, by a clock that does not step. Every write, and
//! every word of a change, moves a counter of its key; an answer comes in only if the counter stands where it stood when
//! the question was asked. So a slow read never overwrites what a faster write has shown, and of two writes that
//! overlap neither is believed: the next look asks the store.
//!
//! # Why nothing that was ended is recalled
//!
//! A write takes away every copy that would outlive it: its deadline is the longest that anyone meant the session to
//! live, and a deletion's deadline lies before all others. A write of unknown outcome may yet take place, after a read
//! has found the old state once more; it leaves a mark that keeps longer-lived copies out until all of them would be too
//! old anyway. A part without room for marks keeps nothing at all until then.

use crate::clock::Timestamp;
use crate::session::StoreKey;
use crate::store::digest::ByDigest;
use crate::store::generations::{Cost, Generations};
use crate::store::{Entry, Version, Written};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a copy costs beside its bytes.
const OVERHEAD: usize = 300;

/// A part has its own lock; with less than this it would keep no large session.
const LEAST_PART: usize = 1 << 20;
const MOST_PARTS: usize = 64;

/// Counters of each part: many, so that writes of other keys seldom keep an answer out.
const COUNTERS: usize = 64;

/// How many writes of unknown outcome a part remembers.
const MARKS: usize = 1024;

/// How old copies may get, and how much memory they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearOptions {
    /// How old a copy may be to answer [`Store::peek`](crate::store::Store::peek); zero for never.
    pub fresh: Duration,
    /// How old a copy may be to answer [`Store::recall`](crate::store::Store::recall); zero for never.
    pub recall: Duration,
    /// The most bytes of copies, with what they cost beside their data.
    pub max_bytes: usize,
}

/// The copies; shared between [`Near`](super::Near) and whoever hears of changes in the store.
pub struct NearEntries {
    options: NearOptions,
    made: Instant,
    /// Grows with every change of trust; odd while changes would not be heard of.
    trust: AtomicU64,
    parts: Box<[Mutex<Part>]>,
}

struct Part {
    copies: Generations<Copied>,
    counters: [u32; COUNTERS],
    /// Until when writes of unknown outcome meant a session to live, and when they were seen.
    marks: HashMap<StoreKey, (Timestamp, Duration), ByDigest>,
    /// Nothing is kept before this moment.
    closed_until: Duration,
}

struct Copied {
    entry: Entry,
    version: Version,
    asked: Asked,
    /// Whether nothing has been heard that speaks against it.
    is_current: bool,
}

/// What was known when the store was about to be asked.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    at: Duration,
    counter: u32,
    trust: u64,
}

impl Cost for Copied {
    fn cost(&self) -> usize {
        self.entry.bytes.len() + OVERHEAD
    }
}

impl NearEntries {
    /// No copies yet.
    #[must_use]
    pub fn new(options: NearOptions) -> Self {
        let parts = (options.max_bytes / LEAST_PART).clamp(1, MOST_PARTS);
        let part = |_| {
            Mutex::new(Part {
                copies: Generations::new(options.max_bytes / parts),
                counters: [0; COUNTERS],
                marks: HashMap::default(),
                closed_until: Duration::ZERO,
            })
        };
        Self { options, made: Instant::now(), trust: AtomicU64::new(0), parts: (0..parts).map(part).collect() }
    }

    /// To be called when the store says that somebody changed this entry. It may have ended, so it is not recalled either.
    pub fn forget(&self, key: &StoreKey) {
        let mut part = self.part_of(key).lock();
        part.count(key);
        part.copies.remove(key);
    }

    /// To be called when changes may have been missed: no copy of before is fresh any more. They stay for times when the
    /// store cannot answer, which is when the word of changes is lost too.
    pub fn forget_all(&self) {
        self.trust.fetch_add(2, Ordering::SeqCst);
    }

    /// Says whether the store tells of every change from now on. Without its word nothing is fresh; with it copies are
    /// fresh up to the age in the options. Where nobody ever calls this, copies are fresh by their age alone.
    pub fn trust(&self, tracked: bool) {
        let next = |trust: u64| Some((trust | 1) + 1 + u64::from(!tracked));
        // The function always answers, so there is no error to speak of.
        let _ = self.trust.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
    }

    /// To be called before the store is asked.
    pub(super) fn ask(&self, key: &StoreKey) -> Asked {
        // The trust is read first: what is lost afterwards is missed by the answer.
        let trust = self.trust.load(Ordering::SeqCst);
        let counter = *self.part_of(key).lock().counter_of(key);
        Asked { at: self.made.elapsed(), counter, trust }
    }

    /// What a read has found.
    pub(super) fn keep(&self, key: &StoreKey, asked: Asked, entry: &Entry, version: Version) {
        if self.options.fresh.max(self.options.recall).is_zero() {
            return;
        }
        let mut part = self.part_of(key).lock();
        if *part.counter_of(key) != asked.counter {
            return;
        }
        if let Some(copy) = part.copies.get(key) {
            // Two reads at once: the later question has the younger answer.
            if copy.asked.at > asked.at {
                return;
            }
            if copy.version == version && copy.entry == *entry {
                (copy.asked, copy.is_current) = (asked, true);
                return;
            }
        }
        self.put(&mut part, key, asked, entry, version);
    }

    /// A read has found nothing.
    pub(super) fn absent(&self, key: &StoreKey, asked: Asked) {
        let mut part = self.part_of(key).lock();
        if *part.counter_of(key) == asked.counter {
            part.count(key);
            part.copies.remove(key);
        }
    }

    /// The copy, if it may stand for the store's answer.
    pub(super) fn fresh(&self, key: &StoreKey, now: Timestamp) -> Option<(Entry, Version)> {
        if self.options.fresh.is_zero() {
            return None;
        }
        let trust = self.trust.load(Ordering::SeqCst);
        let is_trusted = trust.is_multiple_of(2);
        self.find(key, now, |copy, age| {
            is_trusted && copy.is_current && copy.asked.trust == trust && age < self.options.fresh
        })
    }

    /// The copy, if it may be shown while the store has no answer.
    pub(super) fn recall(&self, key: &StoreKey, now: Timestamp) -> Option<(Entry, Version)> {
        self.find(key, now, |_, age| age < self.options.recall)
    }

    fn find(
        &self,
        key: &StoreKey,
        now: Timestamp,
        suits: impl FnOnce(&Copied, Duration) -> bool,
    ) -> Option<(Entry, Version)> {
        let at = self.made.elapsed();
        let mut part = self.part_of(key).lock();
        let copy = part.copies.get(key)?;
        if copy.entry.deadline.has_passed(now) {
            // Seen expired once, it stays so, though the clock step back.
            part.copies.remove(key);
            return None;
        }
        let age = at.saturating_sub(copy.asked.at);
        suits(copy, age).then(|| (copy.entry.clone(), copy.version))
    }

    /// Begins a write that means the entry to live until `deadline`: no copy that would outlive it stays.
    pub(super) fn write<'a>(&'a self, key: &'a StoreKey, deadline: Timestamp) -> Writing<'a> {
        let asked = {
            let mut part = self.part_of(key).lock();
            part.count(key);
            if part.copies.get(key).is_some_and(|copy| copy.entry.deadline > deadline) {
                part.copies.remove(key);
            }
            Asked { at: self.made.elapsed(), counter: *part.counter_of(key), trust: self.trust.load(Ordering::SeqCst) }
        };
        Writing { entries: self, key, deadline, asked, is_open: true }
    }

    fn put(&self, part: &mut Part, key: &StoreKey, asked: Asked, entry: &Entry, version: Version) {
        let at = self.made.elapsed();
        let is_barred = part
            .marks
            .get(key)
            .is_some_and(|(deadline, since)| at < *since + self.longest_age() && entry.deadline > *deadline);
        if is_barred || at < part.closed_until {
            part.copies.remove(key);
            return;
        }
        // Copied, because the caller's bytes may be a small part of a large buffer.
        let entry = Entry { bytes: Bytes::copy_from_slice(&entry.bytes), ..*entry };
        part.copies.put(*key, Copied { entry, version, asked, is_current: true });
    }

    /// Keeps copies out that would outlive a write of unknown outcome.
    fn mark(&self, part: &mut Part, key: &StoreKey, deadline: Timestamp) {
        let (at, longest) = (self.made.elapsed(), self.longest_age());
        if part.marks.len() >= MARKS {
            part.marks.retain(|_, (_, since)| at < *since + longest);
        }
        if part.marks.len() >= MARKS {
            part.copies.clear();
            part.closed_until = at + longest;
            return;
        }
        let mark = part.marks.entry(*key).or_insert((deadline, at));
        *mark = (mark.0.min(deadline), at);
    }

    fn longest_age(&self) -> Duration {
        self.options.fresh.max(self.options.recall)
    }

    fn part_of(&self, key: &StoreKey) -> &Mutex<Part> {
        let [.., last] = key.as_bytes();
        &self.parts[usize::from(*last) % self.parts.len()]
    }
}

impl Part {
    fn counter_of(&mut self, key: &StoreKey) -> &mut u32 {
        let [.., byte, _] = key.as_bytes();
        &mut self.counters[usize::from(*byte) % COUNTERS]
    }

    /// From now on, answers to questions that were asked before do not come in.
    fn count(&mut self, key: &StoreKey) {
        let counter = self.counter_of(key);
        *counter = counter.wrapping_add(1);
    }

    /// Leaves the copy for times without the store, unless it would outlive a write; says whether it did.
    fn outdate(&mut self, key: &StoreKey, deadline: Timestamp) -> bool {
        match self.copies.get(key) {
            Some(copy) if copy.entry.deadline <= deadline => {
                copy.is_current = false;
                true
            }
            _ => {
                self.copies.remove(key);
                false
            }
        }
    }
}

impl fmt::Debug for NearEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let copies: usize = self.parts.iter().map(|part| part.lock().copies.len()).sum();
        write!(f, "NearEntries({copies} copies, {:?})", self.options)
    }
}

/// A write that is under way; dropped without a word it has an unknown outcome, as when its request was given up.
pub(super) struct Writing<'a> {
    entries: &'a NearEntries,
    key: &'a StoreKey,
    deadline: Timestamp,
    asked: Asked,
    is_open: bool,
}

impl Writing<'_> {
    /// The store has answered a write of `entry`.
    pub(super) fn ended(mut self, written: Written, entry: &Entry) {
        let deadline = self.deadline;
        self.settle(|entries, part, key, asked| match written {
            Written::Done(version) if *part.counter_of(key) == asked.counter => {
                entries.put(part, key, asked, entry, version);
            }
            // Another write was under way: which of the two came last, only the store knows.
            Written::Done(_) | Written::Conflict => {
                part.outdate(key, deadline);
            }
            Written::Gone => part.copies.remove(key),
        });
    }

    /// The store has answered a deletion.
    pub(super) fn deleted(mut self) {
        self.settle(|_, part, key, _| part.copies.remove(key));
    }

    fn settle(&mut self, act: impl FnOnce(&NearEntries, &mut Part, &StoreKey, Asked)) {
        self.is_open = false;
        let mut part = self.entries.part_of(self.key).lock();
        act(self.entries, &mut part, self.key, self.asked);
        part.count(self.key);
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let deadline = self.deadline;
        self.settle(|entries, part, key, _| {
            if !part.outdate(key, deadline) {
                entries.mark(part, key, deadline);
            }
        });
    }
}
