//! A session to request headers, within what the backend takes.

use super::budget::{Allowance, LINE_COST, Owed};
use super::dialect;
use super::options::{Dialect, HeaderOptions};
use super::proof::{NONCE_LEN, PROOF_LEN, ProofKey, Proven};
use super::speech::Speech;
use crate::clock::Timestamp;
use crate::session::{Changed, Handed, Keys, State, Unreadable, View};
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

/// The length of the token of a session's forms.
pub const CSRF_LEN: usize = 32;

/// A live session as the backend is to see it.
#[derive(Clone, Copy, Debug)]
pub struct Live<'v, 's> {
    /// The record.
    pub view: &'v View<'s>,
    /// When the session ends unless it is extended.
    pub deadline: Timestamp,
    /// When it ends in any case.
    pub absolute_deadline: Timestamp,
    /// The token of its forms, where the backend is to be told.
    pub csrf: Option<[u8; CSRF_LEN]>,
    /// Which messages it is to be told.
    pub handed: Handed,
}

/// What the backend was shown and may be consumed by its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The numbers of the flashes, and of those that can never be told.
    pub flashes: SmallVec<[u32; 4]>,
    /// The backend was told about a refusal.
    pub refusal: bool,
}

/// The names under which one policy speaks to its backend, and how.
#[derive(Debug)]
pub struct Voice {
    pub(super) options: HeaderOptions,
    pub(super) state: Bytes,
    pub(super) data: Bytes,
    pub(super) version: Bytes,
    pub(super) reference: Bytes,
    pub(super) user: Bytes,
    pub(super) flashes: Bytes,
    pub(super) error: Bytes,
    pub(super) omitted: Bytes,
    pub(super) idle_left: Bytes,
    pub(super) absolute_left: Bytes,
    pub(super) created: Bytes,
    pub(super) accessed: Bytes,
    pub(super) csrf: Bytes,
    changed: Bytes,
    nonce: Bytes,
    proof: Bytes,
    proof_key: Option<ProofKey>,
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
            created: name("Created"),
            accessed: name("Accessed"),
            csrf: name("Csrf"),
            changed: name("Changed"),
            nonce: name("Nonce"),
            proof: name("Proof"),
            proof_key: options.proof_key.as_ref().map(ProofKey::new),
            options,
        }
    }

    /// The options it was made of.
    #[must_use]
    pub const fn options(&self) -> &HeaderOptions {
        &self.options
    }

    /// What this policy is owed in any case beyond state, version and clocks.
    #[must_use]
    pub fn owed(&self) -> Owed {
        let lines = [
            (self.options.csrf, &self.csrf, CSRF_LEN),
            (self.options.changes, &self.changed, Changed::MAX_LEN),
            (self.needs_nonce(), &self.nonce, NONCE_LEN),
            (self.proof_key.is_some(), &self.proof, PROOF_LEN),
        ];
        let sent = lines.into_iter().filter(|(is_sent, ..)| *is_sent);
        sent.fold(Owed::default(), |owed, (_, name, value)| Owed {
            fields: owed.fields + 1,
            bytes: owed.bytes + name.len() + value + LINE_COST,
        })
    }

    /// Writes what has changed about the visitor since his session was bound to him, before anything else is written of
    /// the session.
    pub fn warn(&self, fields: &mut Fields, allowance: &mut Allowance, changed: Changed) {
        if let Some(words) = changed.words() {
            allowance.spend(self.changed.len(), words.len());
            fields.push(Field { name: self.changed.clone(), value: HeaderValue::from_static(words) });
        }
    }

    /// Whether each request has a nonce of its own.
    #[must_use]
    pub fn needs_nonce(&self) -> bool {
        self.options.nonce || self.proof_key.is_some()
    }

    /// Writes the nonce of a request, before anything else of the policy; room is kept for the proof, which comes last.
    pub fn number(&self, fields: &mut Fields, allowance: &mut Allowance, nonce: &HeaderValue) {
        allowance.spend(self.nonce.len(), nonce.len());
        fields.push(Field { name: self.nonce.clone(), value: nonce.clone() });
        if self.proof_key.is_some() {
            allowance.spend(self.proof.len(), PROOF_LEN);
        }
    }

    /// The proof of a request that is about to be sent with these headers of the policy, where it has a key for that.
    #[must_use]
    pub fn prove(&self, request: Proven<'_>, fields: &[Field]) -> Option<Field> {
        let value = self.proof_key.as_ref()?.prove(request, fields)?;
        Some(Field { name: self.proof.clone(), value })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::session::{Flash, Lineage, Name, Owner, Record, Refusal, Value, encode};
    use crate::wire::budget::Budget;
    use crate::wire::{Alias, Forward, Prefix};
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
        let (deadline, absolute_deadline) = (NOW.after(Duration::from_secs(60)), Timestamp::NEVER);
        let csrf = options.csrf.then_some([b'c'; CSRF_LEN]);
        let live = Live { view: &view, deadline, absolute_deadline, csrf, handed: Handed::Free };
        let (mut fields, mut allowance) = (Fields::new(), Allowance::new(budget, 1));
        let voice = Voice::new(options);
        if voice.needs_nonce() {
            voice.number(&mut fields, &mut allowance, &HeaderValue::from_static("0123456789abcdef0123456789abcdef"));
        }
        voice.speak(&mut fields, &mut allowance, State::Live, Some(live), read, NOW).unwrap();
        let request = Proven { seconds: NOW.as_secs(), method: b"GET", host: b"", target: b"/" };
        fields.extend(voice.prove(request, &fields));
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
        assert_eq!(lines[8], "X-Session-Flashes: info=Hi%20there;title=A%3BB&info=2");
    }

    #[test]
    fn moments_are_told_in_seconds_where_the_clocks_are() {
        // R13, R14
        let mut record = record(&[]);
        record.seen_at = Some(Timestamp::from_millis(1_234_999));
        let lines = speak(&record, HeaderOptions { clocks: true, ..options() }, WIDE, &Keys::All);
        assert_eq!(lines[5..], ["X-Session-Created: 1000", "X-Session-Accessed: 1234"]);
        record.seen_at = None;
        let lines = speak(&record, HeaderOptions { clocks: true, ..options() }, WIDE, &Keys::All);
        assert_eq!(lines[5..], ["X-Session-Created: 1000"], "what was not kept is not told");
        assert!(!speak(&record, options(), WIDE, &Keys::All).iter().any(|line| line.contains("Created")));
    }

    #[test]
    fn the_token_of_forms_is_told_where_the_policy_says_so() {
        let told = |csrf| {
            let lines = speak(&record(&[]), HeaderOptions { csrf, ..options() }, WIDE, &Keys::All);
            lines.into_iter().find(|line| line.contains("Csrf"))
        };
        assert_eq!(told(true).as_deref(), Some("X-Session-Csrf: cccccccccccccccccccccccccccccccc"));
        assert_eq!(told(false), None);
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
                let proof_key = Some(Secret::new(String::from("0123456789abcdef0123456789abcdef")));
                let options = HeaderOptions { forward, csrf: true, proof_key, ..options() };
                speak(&record(&pairs), options, profile.budget, &Keys::All);
            }
        }
    }
}
