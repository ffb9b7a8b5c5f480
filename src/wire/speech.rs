//! Writing the headers of one session: what is owed goes first, then the data, as much as there is room for.

use super::budget::{Allowance, OMISSIONS_LEN};
use super::options::{Alias, Charset, Dialect, Forward};
use super::request::{Field, Fields, Live, Told, Voice};
use super::{dialect, fold, grammar};
use crate::clock::Timestamp;
use crate::session::{Handed, Item, Keys, Unreadable, View};
use bytes::Bytes;
use http::HeaderValue;
use smallvec::SmallVec;

/// One session's headers while they are written.
pub(super) struct Speech<'a, 's> {
    pub(super) voice: &'a Voice,
    pub(super) fields: &'a mut Fields,
    pub(super) allowance: &'a mut Allowance,
    pub(super) omitted: SmallVec<[&'s str; 4]>,
}

impl<'s> Speech<'_, 's> {
    /// Adds a header that is owed in any case.
    pub(super) fn put(&mut self, name: &Bytes, value: HeaderValue) {
        self.allowance.spend(name.len(), value.len());
        self.fields.push(Field { name: name.clone(), value });
    }

    /// Adds a header if there is room for it.
    fn offer(&mut self, name: Bytes, value: Vec<u8>) -> bool {
        let fits = self.allowance.room(name.len()).is_some_and(|room| value.len() <= room);
        let value = fits.then(|| HeaderValue::from_maybe_shared(Bytes::from(value)).ok()).flatten();
        let Some(value) = value else { return false };
        self.allowance.spend(name.len(), value.len());
        self.fields.push(Field { name, value });
        true
    }

    pub(super) fn metadata(&mut self, live: Live<'_, '_>, now: Timestamp) -> Result<Told, Unreadable> {
        let voice = self.voice;
        let view = live.view;
        self.put(&voice.version, HeaderValue::from(view.head.revision));
        let reference = view.head.lineage.as_text().into_bytes();
        self.offer(voice.reference.clone(), reference);
        if let Some(owner) = view.owner {
            let mut text = Vec::with_capacity(owner.len());
            if grammar::print(&mut text, owner, voice.options.charset) {
                self.offer(voice.user.clone(), text);
            }
        }
        let refusal = view.refusal.is_some_and(|why| self.offer(voice.error.clone(), why.as_str().into()));
        if voice.options.clocks {
            self.put(&voice.idle_left, HeaderValue::from(now.until(live.deadline).as_secs()));
            self.put(&voice.absolute_left, HeaderValue::from(now.until(live.absolute_deadline).as_secs()));
            self.offer(voice.created.clone(), view.head.created_at.as_secs().to_string().into());
            if let Some(moment) = view.seen_at() {
                self.offer(voice.accessed.clone(), moment.as_secs().to_string().into());
            }
        }
        if let Some(token) = live.csrf.and_then(|token| HeaderValue::from_bytes(&token).ok()) {
            self.put(&voice.csrf, token);
        }
        Ok(Told { flashes: self.messages(view, live.handed, now)?, refusal })
    }

    /// Hands over the flashes in order, as many as there is room for; answers their numbers.
    fn messages(&mut self, view: &View<'_>, handed: Handed, now: Timestamp) -> Result<SmallVec<[u32; 4]>, Unreadable> {
        let flashes = view.handed(handed, now)?;
        let mut told = SmallVec::new();
        let Some(room) = self.allowance.room(self.voice.flashes.len()).filter(|_| !flashes.is_empty()) else {
            return Ok(told);
        };
        let charset = self.voice.options.charset;
        let mut line = Vec::new();
        for flash in flashes {
            let before = line.len();
            if before > 0 {
                line.push(b'&');
            }
            let mut written = pair(&mut line, flash.level, flash.text, charset);
            for (name, text) in flash.fields {
                line.push(b';');
                written &= pair(&mut line, name, text, charset);
            }
            let fits = line.len() <= room;
            if !written || line.len() - before > room {
                // It can never be shown: it must not stand in the way of the others.
                line.truncate(before);
                self.omit("Flashes");
            } else if !fits {
                line.truncate(before);
                break;
            }
            told.push(flash.number);
        }
        if !line.is_empty() {
            self.offer(self.voice.flashes.clone(), line);
        }
        Ok(told)
    }

    pub(super) fn data(&mut self, view: &View<'s>, read: &Keys, now: Timestamp) {
        let options = &self.voice.options;
        let shown =
            |item: &&Item<'s>| read.has(item.name) && item.deadline.is_none_or(|deadline| !deadline.has_passed(now));
        let combined = matches!(options.forward, Forward::Data | Forward::Both);
        if matches!(options.forward, Forward::Each | Forward::Both) {
            let items: SmallVec<[&Item<'s>; 12]> = view.values.iter().filter(shown).collect();
            self.each(&items, !combined);
        }
        for alias in &options.expose {
            if let Some(item) = view.values.iter().filter(shown).find(|item| item.name == alias.key.as_str()) {
                self.alias(alias, item);
            }
        }
        match (combined, options.dialect) {
            (false, _) => {}
            (true, Dialect::Json) => self.json(view.values.iter().filter(shown)),
            (true, Dialect::Form | Dialect::ModSession) => self.pairs(view.values.iter().filter(shown)),
        }
    }

    /// One header for each key whose folded name no other key shares.
    fn each(&mut self, items: &[&Item<'s>], report: bool) {
        let folded: SmallVec<[Box<[u8]>; 12]> = items.iter().map(|item| fold(item.name)).collect();
        for (item, name) in items.iter().zip(&folded) {
            let unique = folded.iter().filter(|other| *other == name).count() == 1;
            let spelled = item.name.replace('_', "-");
            let header = Bytes::from([self.voice.options.prefix.as_str(), "Data-", &spelled].concat());
            let sent = unique && self.value(item).is_some_and(|value| self.offer(header, value));
            if !sent && report {
                self.omit(item.name);
            }
        }
    }

    fn alias(&mut self, alias: &Alias, item: &Item<'s>) {
        let header = Bytes::copy_from_slice(alias.header.as_str().as_bytes());
        let value = if alias.raw {
            let printable = item.text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
            let trimmed = item.text.trim_matches(' ').len() == item.text.len();
            (printable && trimmed && item.text.len() <= self.allowance.largest_value()).then(|| item.text.into())
        } else {
            self.value(item)
        };
        if !value.is_some_and(|value| self.offer(header, value)) {
            self.omit(item.name);
        }
    }

    /// One key's value, percent-encoded; `None` when it is too large or the charset has no letters for it.
    fn value(&self, item: &Item<'_>) -> Option<Vec<u8>> {
        let mut text = Vec::with_capacity(item.text.len() + 16);
        let written = grammar::print(&mut text, item.text, self.voice.options.charset);
        (written && text.len() <= self.allowance.largest_value()).then_some(text)
    }

    /// All keys in one header; beyond the budget the least important are left out.
    fn pairs<'i>(&mut self, items: impl Iterator<Item = &'i Item<'s>>)
    where
        's: 'i,
    {
        let Some(room) = self.allowance.room(self.voice.data.len()) else {
            items.for_each(|item| self.omit(item.name));
            return;
        };
        let most = self.allowance.largest_value();
        let charset = self.voice.options.charset;
        let mut line = Vec::with_capacity(room.min(1024));
        let mut ends: SmallVec<[(&'s str, usize); 12]> = SmallVec::new();
        for item in items {
            let before = line.len();
            if before > 0 {
                line.push(b'&');
            }
            let written = pair(&mut line, item.name, item.text, charset);
            if !written || line.len() - before > most + item.name.len() + 2 {
                line.truncate(before);
                self.omit(item.name);
            } else {
                ends.push((item.name, line.len()));
            }
        }
        if line.len() > room {
            line = self.fit(&line, &ends, room);
        }
        if !line.is_empty() {
            self.offer(self.voice.data.clone(), line);
        }
    }

    /// Leaves keys out, in reverse order of priority, until the rest fits.
    fn fit(&mut self, line: &[u8], ends: &[(&'s str, usize)], room: usize) -> Vec<u8> {
        let mut start = 0;
        let mut pieces: Vec<(&'s str, &[u8])> = Vec::with_capacity(ends.len());
        for (name, end) in ends {
            pieces.push((name, line[start..*end].strip_prefix(b"&").unwrap_or(&line[start..*end])));
            start = *end;
        }
        let mut size = line.len();
        for name in self.least_important(ends.iter().map(|(name, _)| *name)) {
            if size <= room {
                break;
            }
            let left_out = pieces.iter().position(|(held, _)| *held == name).map(|at| pieces.remove(at));
            size = size.saturating_sub(left_out.map_or(0, |(_, piece)| piece.len() + 1));
            self.omit(name);
        }
        pieces.iter().map(|(_, piece)| *piece).collect::<Vec<_>>().join(&b'&')
    }

    /// The names, the least important first: those without a priority from the last to the first, then the others.
    fn least_important(&self, names: impl Iterator<Item = &'s str>) -> Vec<&'s str> {
        let priority = &self.voice.options.priority;
        let mut names: Vec<&'s str> = names.collect();
        let rank = |name: &str| priority.iter().position(|key| key.as_str() == name).unwrap_or(usize::MAX);
        names.sort_by_key(|name| rank(name)); // stable: the others stay sorted by name
        names.reverse();
        names
    }

    fn json<'i>(&mut self, items: impl Iterator<Item = &'i Item<'s>>)
    where
        's: 'i,
    {
        let most = self.allowance.largest_value();
        let room = self.allowance.room(self.voice.data.len()).unwrap_or(0);
        let (mut kept, large): (Vec<&Item<'s>>, Vec<&Item<'s>>) = items.partition(|item| item.text.len() <= most);
        for item in large {
            self.omit(item.name);
        }
        let mut packed = dialect::print(&object(&kept));
        for name in self.least_important(kept.clone().iter().map(|item| item.name)) {
            if packed.len() <= room {
                break;
            }
            kept.retain(|item| item.name != name);
            self.omit(name);
            packed = dialect::print(&object(&kept));
        }
        if !kept.is_empty() {
            self.offer(self.voice.data.clone(), packed.into_bytes());
        }
    }

    fn omit(&mut self, name: &'s str) {
        if !self.omitted.contains(&name) {
            self.omitted.push(name);
        }
    }

    /// Names what was left out; a list too long for its own line ends in `*`.
    pub(super) fn omissions(&mut self) {
        if self.omitted.is_empty() {
            return;
        }
        let mut line = String::new();
        for name in &self.omitted {
            if line.len() + name.len() + 1 > OMISSIONS_LEN - 2 {
                line.push_str(",*");
                break;
            }
            if !line.is_empty() {
                line.push(',');
            }
            line.push_str(name);
        }
        if let Ok(value) = HeaderValue::try_from(line) {
            let name = self.voice.omitted.clone();
            self.put(&name, value);
        }
    }
}

fn pair(line: &mut Vec<u8>, name: &str, text: &str, charset: Charset) -> bool {
    line.extend_from_slice(name.as_bytes());
    line.push(b'=');
    grammar::print(line, text, charset)
}

/// The data as JSON; what was written as JSON is shown as JSON.
fn object(items: &[&Item<'_>]) -> serde_json::Map<String, serde_json::Value> {
    let value = |item: &Item<'_>| {
        let json = item.json.then(|| serde_json::from_str(item.text).ok()).flatten();
        json.unwrap_or_else(|| item.text.into())
    };
    items.iter().map(|item| (item.name.to_owned(), value(item))).collect()
}
