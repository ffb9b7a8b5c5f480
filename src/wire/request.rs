//! A session to request headers, within what the backend takes.

use super::options::{Charset, Dialect, Forward, HeaderOptions};
use super::profile::Budget;
use super::{dialect, fold, grammar};
use crate::clock::Timestamp;
use crate::session::{Item, Keys, State, Unreadable, View};
use bytes::Bytes;
use http::HeaderValue;
use smallvec::SmallVec;

/// A header to be injected, its name as it is spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: Bytes,
    /// The value: visible ASCII (HI4).
    pub value: HeaderValue,
}

/// The headers to be injected into one request.
pub type Fields = SmallVec<[Field; 6]>;

/// What is left of a backend's budget while the headers of a request are made.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    budget: Budget,
    fields: usize,
    bytes: usize,
}

/// What a header line costs beyond name and value: `: ` and CRLF.
const LINE_COST: usize = 4;

/// The longest list of keys that were left out.
const OMISSIONS_LEN: usize = 256;

/// What that list costs as a line, under any prefix of ordinary length.
const OMISSIONS_COST: usize = OMISSIONS_LEN + 32;

impl Allowance {
    /// The whole budget of a backend, less what it may take to say what was left out.
    #[must_use]
    pub const fn new(budget: Budget) -> Self {
        let (fields, bytes) = (budget.fields.saturating_sub(1), budget.total.saturating_sub(OMISSIONS_COST));
        Self { budget, fields, bytes }
    }

    /// The largest value that one more header of this name may have; `None` when there may be none.
    fn room(&self, name: usize) -> Option<usize> {
        let line = self.budget.line.min(self.bytes);
        (self.fields > 0).then(|| line.checked_sub(name + LINE_COST)).flatten()
    }

    const fn spend(&mut self, name: usize, value: usize) {
        self.fields = self.fields.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(name + value + LINE_COST);
    }
}

/// A live session as the backend is to see it.
#[derive(Clone, Copy, Debug)]
pub struct Live<'v, 's> {
    /// The record.
    pub view: &'v View<'s>,
    /// When the session ends unless it is extended.
    pub deadline: Timestamp,
    /// When it ends in any case.
    pub absolute_deadline: Timestamp,
}

/// What the backend was shown and may be consumed by its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The highest number among the flashes; zero when there were none.
    pub flashes: u32,
    /// The backend was told about a refusal.
    pub refusal: bool,
}

/// The names under which one policy speaks to its backend, and how.
#[derive(Debug)]
pub struct Voice {
    options: HeaderOptions,
    state: Bytes,
    data: Bytes,
    version: Bytes,
    reference: Bytes,
    user: Bytes,
    flashes: Bytes,
    error: Bytes,
    omitted: Bytes,
    idle_left: Bytes,
    absolute_left: Bytes,
}

impl Voice {
    /// The names of one policy.
    #[must_use]
    pub fn new(options: HeaderOptions) -> Self {
        let name = |suffix: &str| Bytes::from([options.prefix.as_str(), suffix].concat());
        let data = match options.dialect {
            Dialect::ModSession => Bytes::from_static(dialect::MOD_SESSION_REQUEST.as_bytes()),
            Dialect::Form | Dialect::Json => name("Data"),
        };
        Self {
            state: name("State"),
            data,
            version: name("Version"),
            reference: name("Ref"),
            user: name("User"),
            flashes: name("Flashes"),
            error: name("Error"),
            omitted: name("Omitted"),
            idle_left: name("Idle-Left"),
            absolute_left: name("Absolute-Left"),
            options,
        }
    }

    /// The options it was made of.
    #[must_use]
    pub const fn options(&self) -> &HeaderOptions {
        &self.options
    }

    /// Writes the headers of one session; `read` are the keys that the route may see.
    ///
    /// # Errors
    /// [`Unreadable`] when the flashes of the record cannot be read.
    pub fn speak(
        &self,
        fields: &mut Fields,
        allowance: &mut Allowance,
        state: State,
        live: Option<Live<'_, '_>>,
        read: &Keys,
        now: Timestamp,
    ) -> Result<Told, Unreadable> {
        let mut speech = Speech { voice: self, fields, allowance, omitted: SmallVec::new() };
        speech.put(&self.state, HeaderValue::from_static(state.as_str()));
        let Some(live) = live else { return Ok(Told::default()) };
        let told = speech.metadata(live, now)?;
        speech.data(live.view, read, now);
        speech.omissions();
        Ok(told)
    }
}

/// One session's headers while they are written.
struct Speech<'a, 's> {
    voice: &'a Voice,
    fields: &'a mut Fields,
    allowance: &'a mut Allowance,
    omitted: SmallVec<[&'s str; 4]>,
}

impl<'s> Speech<'_, 's> {
    /// Adds a header that is owed in any case.
    fn put(&mut self, name: &Bytes, value: HeaderValue) {
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

    fn metadata(&mut self, live: Live<'_, '_>, now: Timestamp) -> Result<Told, Unreadable> {
        let voice = self.voice;
        let view = live.view;
        self.put(&voice.version, HeaderValue::from(view.head.revision));
        let reference = view.head.lineage.to_string().into_bytes();
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
        }
        Ok(Told { flashes: self.messages(view)?, refusal })
    }

    /// Hands over the flashes in order, as many as there is room for; answers the number of the last.
    fn messages(&mut self, view: &View<'_>) -> Result<u32, Unreadable> {
        let flashes = view.flashes()?;
        let Some(room) = self.allowance.room(self.voice.flashes.len()).filter(|_| !flashes.is_empty()) else {
            return Ok(0);
        };
        let charset = self.voice.options.charset;
        let (mut line, mut last) = (Vec::new(), 0);
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
            if !written || line.len() > room {
                line.truncate(before);
                if written {
                    break;
                }
                continue;
            }
            last = flash.number;
        }
        if !line.is_empty() {
            self.offer(self.voice.flashes.clone(), line);
        }
        Ok(last)
    }

    fn data(&mut self, view: &View<'s>, read: &Keys, now: Timestamp) {
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

    fn alias(&mut self, alias: &super::Alias, item: &Item<'s>) {
        let header = Bytes::copy_from_slice(alias.header.as_str().as_bytes());
        let value = if alias.raw {
            let printable = item.text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
            let trimmed = item.text.trim_matches(' ').len() == item.text.len();
            (printable && trimmed && item.text.len() <= self.allowance.budget.value).then(|| item.text.into())
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
        (written && text.len() <= self.allowance.budget.value).then_some(text)
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
        let most = self.allowance.budget.value;
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
        let most = self.allowance.budget.value;
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
    fn omissions(&mut self) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Flash, Lineage, Name, Owner, Record, Refusal, Value, encode};
    use crate::wire::{Alias, Prefix};
    use http::HeaderName;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const WIDE: Budget = Budget { fields: 32, value: 1024, line: 3072, total: 3072 };

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn record(pairs: &[(&str, &str)]) -> Record {
        let mut record = Record::new(Lineage::from_bytes([0; 12]), NOW);
        record.revision = 4;
        record.values = pairs.iter().map(|(key, text)| (name(key), Value::text(*text))).collect();
        record
    }

    /// What a backend of this budget is told, as `Name: value` lines.
    fn speak(record: &Record, options: HeaderOptions, budget: Budget, read: &Keys) -> Vec<String> {
        let bytes = encode(record);
        let view = View::parse(&bytes).unwrap();
        let live =
            Live { view: &view, deadline: NOW.after(Duration::from_secs(60)), absolute_deadline: Timestamp::NEVER };
        let (mut fields, mut allowance) = (Fields::new(), Allowance::new(budget));
        Voice::new(options).speak(&mut fields, &mut allowance, State::Live, Some(live), read, NOW).unwrap();
        let total: usize = fields.iter().map(|field| field.name.len() + field.value.len() + LINE_COST).sum();
        assert!(total <= budget.total, "{total} bytes of {}", budget.total);
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
        fields.iter().map(|field| format!("{}: {}", text(&field.name), text(field.value.as_bytes()))).collect()
    }

    fn options() -> HeaderOptions {
        HeaderOptions::new(Prefix::default())
    }

    #[test]
    fn a_session_becomes_one_combined_header_with_sorted_keys() {
        let lines = speak(&record(&[("user", "ada l"), ("cart", "3")]), options(), WIDE, &Keys::All);
        let expected = [
            "X-Session-State: live",
            "X-Session-Version: 4",
            "X-Session-Ref: AAAAAAAAAAAAAAAA",
            "X-Session-Data: cart=3&user=ada%20l",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_empty_session_has_no_data_header() {
        assert!(!speak(&record(&[]), options(), WIDE, &Keys::All).iter().any(|line| line.contains("Data")));
    }

    #[test]
    fn each_key_gets_a_header_if_its_folded_name_is_unique() {
        let options = HeaderOptions { forward: Forward::Each, ..options() };
        let lines =
            speak(&record(&[("a", "1"), ("user_id", "2"), ("x-y", "3"), ("x_y", "4")]), options, WIDE, &Keys::All);
        let expected = ["X-Session-Data-a: 1", "X-Session-Data-user-id: 2", "X-Session-Omitted: x-y,x_y"];
        assert_eq!(lines[3..], expected);
    }

    #[test]
    fn aliases_are_percent_encoded_or_raw_and_never_carry_a_line_break() {
        // HI4
        let alias = |key, header, raw| Alias { key: name(key), header: HeaderName::from_static(header), raw };
        let expose =
            vec![alias("user", "x-remote-user", true), alias("bad", "x-bad", true), alias("bad", "x-good", false)];
        let options = HeaderOptions { forward: Forward::None, expose, ..options() };
        let lines = speak(&record(&[("bad", "a\r\nX: y"), ("user", "Ada L")]), options, WIDE, &Keys::All);
        assert_eq!(lines[3..], ["x-remote-user: Ada L", "x-good: a%0D%0AX%3A%20y", "X-Session-Omitted: bad"]);
    }

    #[test]
    fn what_is_too_much_is_left_out_by_priority_and_named() {
        let long = "x".repeat(60);
        let record = record(&[("a", &long), ("b", &long), ("c", &long), ("huge", &"y".repeat(2000))]);
        let options = HeaderOptions { priority: vec![name("c")], ..options() };
        let budget = Budget { fields: 8, value: 1024, line: 160, total: 800 };
        let lines = speak(&record, options, budget, &Keys::All);
        assert_eq!(lines[3..], [format!("X-Session-Data: a={long}&c={long}"), "X-Session-Omitted: huge,b".into()]);
    }

    #[test]
    fn a_route_sees_its_own_keys_and_no_dead_ones() {
        let mut record = record(&[("lang", "de"), ("user", "ada"), ("code", "1")]);
        record.values.get_mut("code").unwrap().deadline = Some(Timestamp::from_millis(1));
        let read = Keys::Only([name("lang"), name("code")].into());
        assert_eq!(speak(&record, options(), WIDE, &read)[3], "X-Session-Data: lang=de");
    }

    #[test]
    fn owner_error_clocks_and_flashes_are_told() {
        let mut record = record(&[]);
        record.owner = Owner::parse("ada@example.org");
        record.refusal = Some(Refusal::Limit);
        let fields = vec![(name("title"), "A;B".into())];
        record.flashes = vec![
            Flash { number: 1, level: name("info"), text: "Hi there".into(), fields },
            Flash { number: 2, level: name("info"), text: "2".into(), fields: vec![] },
        ];
        let lines = speak(&record, HeaderOptions { clocks: true, ..options() }, WIDE, &Keys::All);
        let expected = ["X-Session-User: ada%40example.org", "X-Session-Error: limit", "X-Session-Idle-Left: 60"];
        assert_eq!(lines[3..6], expected);
        assert_eq!(lines[7], "X-Session-Flashes: info=Hi%20there;title=A%3BB&info=2");
    }

    #[test]
    fn the_json_dialect_packs_an_object() {
        let mut record = record(&[("user", "ada")]);
        record.values.insert(name("n"), Value { text: "4".into(), json: true, deadline: None });
        let lines = speak(&record, HeaderOptions { dialect: Dialect::Json, ..options() }, WIDE, &Keys::All);
        let packed = lines[3].strip_prefix("X-Session-Data: ").unwrap();
        let objects = dialect::objects("Data", packed.as_bytes()).unwrap();
        assert_eq!(serde_json::Value::from(objects[0].clone()), serde_json::json!({"n": 4, "user": "ada"}));
    }

    #[test]
    fn mod_session_data_goes_by_its_own_name() {
        let lines = speak(
            &record(&[("a", "1")]),
            HeaderOptions { dialect: Dialect::ModSession, ..options() },
            WIDE,
            &Keys::All,
        );
        assert_eq!(lines[3], "Session: a=1");
    }

    #[test]
    fn no_profile_is_ever_overrun() {
        let pairs: Vec<(String, String)> = (0..128).map(|i| (format!("key{i}"), "é".repeat(i * 4))).collect();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        for profile in crate::wire::PROFILES {
            for forward in [Forward::Data, Forward::Each, Forward::Both] {
                speak(&record(&pairs), HeaderOptions { forward, ..options() }, profile.budget, &Keys::All);
            }
        }
    }
}
