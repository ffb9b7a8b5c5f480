//! Response headers to a [`Batch`], or the reason why not.

use super::options::{Capture, Charset, Dialect, HeaderOptions};
use super::verbs::{attribute, destroy, expire, json_pairs, not, one, pick, seconds};
use super::{dialect, grammar};
use crate::session::{Batch, Condition, Flash, Name, NewFlash, Owner, Refusal, Refused, SetTo, Value};
use http::{HeaderMap, HeaderName, HeaderValue};

/// All commands of one response together; a session holds 64 KiB at most.
const MAX_COMMAND_BYTES: usize = 128 * 1024;

/// The names under which one policy listens to its backend.
#[derive(Debug)]
pub struct Commands {
    /// The prefix in lower case, as `http` keeps names.
    prefix: Box<str>,
    dialect: Dialect,
    charset: Charset,
    capture: Vec<Capture>,
    replace: Option<HeaderName>,
    /// The name of the nonce, where an answer that speaks must repeat that of its request.
    nonce: Option<HeaderName>,
}

/// A name under the prefix of a policy.
fn prefixed(options: &HeaderOptions, verb: &str) -> Option<HeaderName> {
    HeaderName::from_bytes([options.prefix.as_str(), verb].concat().as_bytes()).ok()
}

/// What a response asks of one session.
#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    /// The commands.
    pub batch: Batch,
    /// Names under the prefix that are no command; they are removed, counted and otherwise ignored.
    pub unknown: usize,
    /// The response carried at least one command, even one that changes nothing.
    pub spoke: bool,
}

impl Commands {
    /// The names of one policy.
    #[must_use]
    pub fn new(options: &HeaderOptions) -> Self {
        let mod_session = options.dialect == Dialect::ModSession;
        Self {
            prefix: options.prefix.as_str().to_ascii_lowercase().into(),
            dialect: options.dialect,
            charset: options.charset,
            capture: options.capture.clone(),
            replace: mod_session
                .then(|| HeaderName::from_bytes(dialect::MOD_SESSION_REPLACE.as_bytes()).ok())
                .flatten(),
            nonce: options.nonce.then(|| prefixed(options, "Nonce")).flatten(),
        }
    }

    /// Refuses what was heard in an answer that does not repeat the nonce of its request, where it must: such an answer
    /// was made by somebody who has not read the request, or for another one.
    ///
    /// # Errors
    /// [`Refusal::Nonce`], whatever else was wrong; else what was heard.
    pub fn verify(
        &self,
        heard: Result<Option<Box<Heard>>, Refused>,
        headers: &HeaderMap,
        nonce: Option<&HeaderValue>,
    ) -> Result<Option<Box<Heard>>, Refused> {
        let Some(name) = &self.nonce else { return heard };
        if !heard.as_ref().map_or(true, |heard| heard.as_ref().is_some_and(|heard| heard.spoke)) {
            return heard;
        }
        let mut echoes = headers.get_all(name).iter().flat_map(|line| grammar::items(line.as_bytes())).peekable();
        if echoes.peek().is_some() && echoes.all(|echo| nonce.is_some_and(|nonce| nonce.as_bytes() == echo)) {
            return heard;
        }
        Err(Refused::new(Refusal::Nonce, "the commands came without the nonce of their request"))
    }

    /// Reads the commands of a final response; `None` when it has no name of ours.
    ///
    /// # Errors
    /// The refusal of the first command that cannot be read; nothing of the batch may then be applied.
    pub fn read(&self, headers: &HeaderMap) -> Result<Option<Box<Heard>>, Refused> {
        if self.is_addressed(headers) { self.read_only(headers, |_| true).map(Some) } else { Ok(None) }
    }

    /// Reads what counts on an answer that failed: `Destroy`, and what decides about it (protocol, section 5.6).
    ///
    /// # Errors
    /// The refusal of the first of these that cannot be read.
    pub fn read_failed(&self, headers: &HeaderMap) -> Result<Option<Box<Heard>>, Refused> {
        if !self.is_addressed(headers) {
            return Ok(None);
        }
        let heard = self.read_only(headers, |verb| matches!(verb, "destroy" | "if" | "revert"))?;
        Ok(Some(heard).filter(|heard| heard.batch.destroy.is_some()))
    }

    /// Whether the answer has any name of ours at all: mostly it has none.
    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        headers.keys().any(|name| {
            name.as_str().starts_with(&*self.prefix)
                || self.replace.as_ref() == Some(name)
                || self.capture.iter().any(|capture| capture.header == *name)
        })
    }

    fn read_only(&self, headers: &HeaderMap, counts: fn(&str) -> bool) -> Result<Box<Heard>, Refused> {
        let mut heard = Box::<Heard>::default();
        let mut bytes = 0;
        for (name, value) in headers {
            if let Some(verb) = name.as_str().strip_prefix(&*self.prefix) {
                if !counts(verb) || verb == "nonce" {
                    continue; // the nonce is no command: `verify` reads it
                }
                bytes += value.len();
                if bytes > MAX_COMMAND_BYTES {
                    let detail = format!("the commands of one response have at most {MAX_COMMAND_BYTES} bytes");
                    return Err(Refused::new(Refusal::Limit, detail));
                }
                let known = self.command(&mut heard.batch, verb, value.as_bytes())?;
                heard.unknown += usize::from(!known);
                heard.spoke |= known;
            } else if !counts("") {
                // Neither a captured header nor another dialect's counts on an answer that failed.
            } else if self.replace.as_ref() == Some(name) {
                self.merge(&mut heard.batch, value.as_bytes())?;
                heard.spoke = true;
            } else if let Some(capture) = self.capture.iter().find(|capture| capture.header == *name) {
                let text = grammar::text(name.as_str(), value.as_bytes().to_vec(), self.charset)?;
                heard.batch.changes.set.insert(capture.key.clone(), SetTo::Value(Value::text(text)));
                heard.spoke = true;
            }
        }
        if heard.batch.revert {
            heard.batch = Batch { revert: true, ..Batch::default() };
        }
        Ok(heard)
    }

    /// Adds one header to the batch; `false` when there is no such command.
    fn command(&self, batch: &mut Batch, verb: &str, value: &[u8]) -> Result<bool, Refused> {
        let changes = &mut batch.changes;
        let pairs = |verb| grammar::pairs(verb, value, self.charset);
        match verb {
            "set" if self.dialect == Dialect::Json => {
                for (name, json) in json_pairs("Set", value)? {
                    match json {
                        serde_json::Value::Null => drop(changes.unset.insert(name)),
                        serde_json::Value::Object(map) => drop(changes.set.insert(name, SetTo::Merge(map))),
                        json => drop(changes.set.insert(name, SetTo::Value(Value::json(&json)))),
                    }
                }
            }
            "set" => {
                let pairs = pairs("Set")?.into_iter();
                changes.set.extend(pairs.map(|(name, text)| (name, SetTo::Value(Value::text(text)))));
            }
            "init" => changes.init.extend(self.values("Init", value)?),
            "replace" => self.replace(batch, "Replace", value)?,
            "unset" => {
                for item in grammar::items(value) {
                    if item == b"*" {
                        changes.clear = true;
                    } else {
                        changes.unset.insert(grammar::key("Unset", item)?);
                    }
                }
            }
            "add" => {
                for (name, text) in pairs("Add")? {
                    let amount = text.parse().map_err(|_| not(&format!("Add: `{name}`"), "an integer of 64 bits"))?;
                    changes.add.push((name, amount));
                }
            }
            "push" => changes.push.extend(pairs("Push")?),
            "ttl" => {
                for (name, text) in pairs("Ttl")? {
                    changes.ttl.insert(name, seconds("Ttl", &text)?);
                }
            }
            "flash" => {
                for item in grammar::items(value) {
                    changes.flash.push(self.flash(item)?);
                }
            }
            "flash-keep" => pick(&mut batch.flash_keep, "Flash-Keep", value)?,
            "flash-read" => pick(&mut batch.flash_read, "Flash-Read", value)?,
            "if" => {
                for item in grammar::items(value) {
                    batch.conditions.push(self.condition(item)?);
                }
            }
            "login" => self.login(batch, value)?,
            "regenerate" => batch.regenerate |= one("Regenerate", value)?,
            "invalidate" => batch.invalidate |= one("Invalidate", value)?,
            "revert" => batch.revert |= one("Revert", value)?,
            "destroy" => destroy(batch, value)?,
            "expire" => {
                let wish = batch.expire.get_or_insert_default();
                for (name, text) in pairs("Expire")? {
                    expire(wish, name.as_str(), &text)?;
                }
            }
            "touch" => {
                batch.touch = Some(match value {
                    b"0" => false,
                    b"1" => true,
                    _ => return Err(not("Touch: this", "`0` or `1`")),
                });
            }
            "cookie" => {
                let wish = batch.cookie.get_or_insert_default();
                for (name, text) in pairs("Cookie")? {
                    attribute(wish, name.as_str(), text)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn values(&self, verb: &str, value: &[u8]) -> Result<Vec<(Name, Value)>, Refused> {
        if self.dialect == Dialect::Json {
            let pairs = json_pairs(verb, value)?;
            return Ok(pairs.into_iter().map(|(name, json)| (name, Value::json(&json))).collect());
        }
        let pairs = grammar::pairs(verb, value, self.charset)?;
        Ok(pairs.into_iter().map(|(name, text)| (name, Value::text(text))).collect())
    }

    fn replace(&self, batch: &mut Batch, verb: &str, value: &[u8]) -> Result<(), Refused> {
        let values = self.values(verb, value)?;
        batch.changes.replace.get_or_insert_default().extend(values);
        Ok(())
    }

    /// As Apache reads its `SessionHeader`: keys are set, a key without a value is removed, the others stay.
    fn merge(&self, batch: &mut Batch, value: &[u8]) -> Result<(), Refused> {
        for (name, text) in grammar::pairs("X-Replace-Session", value, self.charset)? {
            if text.is_empty() {
                batch.changes.unset.insert(name);
            } else {
                batch.changes.set.insert(name, SetTo::Value(Value::text(text)));
            }
        }
        Ok(())
    }

    /// One owner: a joined header would name two, as two headers would.
    fn login(&self, batch: &mut Batch, value: &[u8]) -> Result<(), Refused> {
        if value.iter().any(|byte| matches!(byte, b'&' | b',')) {
            return Err(Refused::new(Refusal::Escape, "Login: a `,` or `&` stands bare, write it as %2C or %26"));
        }
        let owner = Owner::parse(&grammar::value("Login", value, self.charset)?);
        let owner = owner.ok_or_else(|| not("Login: this", "an owner of 1 to 256 bytes without control characters"))?;
        if batch.login.as_ref().is_some_and(|other| *other != owner) {
            return Err(not("Login: a second one", "the same owner"));
        }
        batch.login = Some(owner);
        Ok(())
    }

    /// `level=text;title=…;life=…`, each value percent-encoded.
    fn flash(&self, item: &[u8]) -> Result<NewFlash, Refused> {
        let mut fields = item.split(|byte| *byte == b';').map(|field| {
            let (name, text) = grammar::cut("Flash", field)?;
            Ok((grammar::key("Flash", name)?, grammar::value("Flash", text, self.charset)?))
        });
        let first = fields.next().unwrap_or_else(|| Err(not("Flash: this", "`level=text`")));
        let (level, text) = first?;
        let fields: Vec<_> = fields.collect::<Result<_, _>>()?;
        if fields.len() > 16 {
            return Err(Refused::new(Refusal::Limit, "Flash: a message has at most 16 further fields"));
        }
        let mut lists = fields.iter().filter(|(name, _)| name.as_str() == Flash::LIST);
        if lists.next().is_some_and(|(_, list)| !Name::is_valid(list)) || lists.next().is_some() {
            return Err(Refused::new(Refusal::Key, "Flash: a message is in one list, whose name is a key"));
        }
        Ok(NewFlash { level, text, fields })
    }

    fn condition(&self, item: &[u8]) -> Result<Condition, Refused> {
        if let Some(name) = item.strip_prefix(b"!") {
            return grammar::key("If", name).map(Condition::Absent);
        }
        let (name, text) = grammar::cut("If", item)?;
        if name == b"@version" {
            let version = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            return version.map(Condition::Version).ok_or_else(|| not("If: @version", "a number"));
        }
        Ok(Condition::Equals(grammar::key("If", name)?, grammar::value("If", text, self.charset)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{CookieWish, ExpireWish, Picked, Scope};
    use crate::wire::Prefix;
    use std::time::Duration;

    fn read_as(dialect: Dialect, lines: &[(&str, &str)]) -> Result<Heard, Refusal> {
        let mut options = HeaderOptions::new(Prefix::default());
        options.dialect = dialect;
        options.capture =
            vec![Capture { header: HeaderName::from_static("x-auth-user"), key: Name::parse("user").unwrap() }];
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let heard = Commands::new(&options).read(&headers).map_err(|refused| refused.reason)?;
        Ok(heard.map(|heard| *heard).unwrap_or_default())
    }

    fn read(name: &str, value: &str) -> Result<Batch, Refusal> {
        read_as(Dialect::Form, &[(&format!("X-Session-{name}"), value)]).map(|heard| heard.batch)
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_repeated_header_and_a_joined_header_mean_the_same() {
        let twice = read_as(Dialect::Form, &[("X-Session-Set", "a=1"), ("x-session-set", "b=2")]).unwrap();
        assert_eq!(twice.batch, read("Set", "a=1, b=2").unwrap());
        assert!(twice.spoke);
    }

    #[test]
    fn the_last_item_of_a_key_wins() {
        let batch = read("Set", "a=1&a=2").unwrap();
        assert_eq!(batch.changes.set.get("a"), Some(&SetTo::Value(Value::text("2"))));
        assert_eq!(read("Add", "n=1&n=-3").unwrap().changes.add, [(name("n"), 1), (name("n"), -3)]);
    }

    #[test]
    fn unknown_names_are_counted_and_ignored() {
        let heard = read_as(Dialect::Form, &[("X-Session-Data", "a=1"), ("X-Session-State", "live"), ("X-Other", "1")]);
        let heard = heard.unwrap();
        // A backend that reflects what it was sent reflects no write.
        assert_eq!((heard.batch, heard.unknown, heard.spoke), (Batch::default(), 2, false));
    }

    #[test]
    fn every_verb_is_read() {
        assert_eq!(read("Unset", "a, b").unwrap().changes.unset, [name("a"), name("b")].into());
        assert!(read("Unset", "*").unwrap().changes.clear);
        assert_eq!(read("Replace", "").unwrap().changes.replace, Some([].into()));
        assert_eq!(read("Init", "a=1").unwrap().changes.init, [(name("a"), Value::text("1"))].into());
        assert_eq!(read("Push", "s=a&s=b").unwrap().changes.push.len(), 2);
        assert_eq!(read("Ttl", "code=60").unwrap().changes.ttl, [(name("code"), Duration::from_secs(60))].into());
        assert_eq!(read("Login", "ada%40example.org").unwrap().login, Owner::parse("ada@example.org"));
        assert!(read("Regenerate", "1").unwrap().regenerate && read("Invalidate", "1").unwrap().invalidate);
        assert_eq!(read("Destroy", "others").unwrap().destroy, Some(Scope::Others));
        assert_eq!(read("Touch", "0").unwrap().touch, Some(false));
        assert_eq!(read("Flash-Keep", "1").unwrap().flash_keep, Some(Picked::All));
        let wish = ExpireWish {
            idle: Some(Duration::from_secs(1800)),
            absolute: Some(Duration::from_secs(28800)),
            persist: Some(true),
        };
        assert_eq!(read("Expire", "idle=1800&absolute=28800&persist=1").unwrap().expire, Some(wish));
        let wish = CookieWish { path: Some("/app".into()), domain: Some("example.org".into()) };
        assert_eq!(read("Cookie", "path=/app&domain=example.org").unwrap().cookie, Some(wish));
        let conditions = vec![
            Condition::Version(17),
            Condition::Equals(name("cart"), "3 4".into()),
            Condition::Absent(name("user")),
        ];
        assert_eq!(read("If", "@version=17&cart=3%204&!user").unwrap().conditions, conditions);
        assert!(read("Revert", "1").unwrap().revert);
    }

    #[test]
    fn a_flash_has_a_level_a_text_and_fields() {
        let batch = read("Flash", "info=Hello%3B%20you;title=A%26B;life=5&error=no").unwrap();
        let fields = vec![(name("title"), "A&B".into()), (name("life"), "5".into())];
        let first = NewFlash { level: name("info"), text: "Hello; you".into(), fields };
        let second = NewFlash { level: name("error"), text: "no".into(), fields: vec![] };
        assert_eq!(batch.changes.flash, [first, second]);
    }

    #[test]
    fn messages_are_picked_by_level_and_by_list() {
        // F6
        let only = |levels: &[&str], lists: &[Option<&str>]| {
            let levels = levels.iter().map(|level| name(level)).collect();
            Some(Picked::Only { levels, lists: lists.iter().map(|list| list.map(name)).collect() })
        };
        for (value, picked) in [
            ("1", Some(Picked::All)),
            ("info,error", only(&["info", "error"], &[])),
            ("list=cart", only(&[], &[Some("cart")])),
            ("error&list=cart, list=", only(&["error"], &[Some("cart"), None])),
            ("list", only(&["list"], &[])),
            ("error, 1", Some(Picked::All)),
            ("1, list=cart", Some(Picked::All)),
            ("", None),
        ] {
            assert_eq!(read("Flash-Keep", value).unwrap().flash_keep, picked, "{value}");
            assert_eq!(read("Flash-Read", value).unwrap().flash_read, picked, "{value}");
        }
        let twice = [("X-Session-Flash-Read", "error"), ("X-Session-Flash-Read", "list=cart")];
        assert_eq!(read_as(Dialect::Form, &twice).unwrap().batch.flash_read, only(&["error"], &[Some("cart")]));
    }

    #[test]
    fn malformed_commands_are_refused_with_a_reason() {
        for (verb, value, reason) in [
            ("Set", "a b=1", Refusal::Key),
            ("Set", "a=%0", Refusal::Escape),
            ("Set", "a=%E9", Refusal::Charset),
            ("Unset", "a.b", Refusal::Key),
            ("Add", "a=1.5", Refusal::Type),
            ("Add", "a=9223372036854775808", Refusal::Type),
            ("Ttl", "a=-1", Refusal::Type),
            ("Flash", "info", Refusal::Key),
            ("Flash", "info=a;b", Refusal::Key),
            ("Flash", "info=a;list=my%20list", Refusal::Key),
            ("Flash", "info=a;list=", Refusal::Key),
            ("Flash", "info=a;list=a;list=b", Refusal::Key),
            ("Flash-Read", "list=a b", Refusal::Key),
            ("Flash-Read", "level=error", Refusal::Key),
            ("Flash-Keep", "error;list=cart", Refusal::Key),
            ("If", "@version=x", Refusal::Type),
            ("If", "@user=x", Refusal::Key),
            ("Login", "", Refusal::Type),
            ("Login", "ada,eve", Refusal::Escape),
            ("Destroy", "1, everything", Refusal::Type),
            ("Login", "a%0Ab", Refusal::Type),
            ("Regenerate", "yes", Refusal::Type),
            ("Destroy", "everything", Refusal::Type),
            ("Expire", "idle=0", Refusal::Type),
            ("Expire", "never=1", Refusal::Key),
            ("Touch", "2", Refusal::Type),
            ("Cookie", "secure=0", Refusal::Key),
        ] {
            assert_eq!(read(verb, value), Err(reason), "{verb}: {value}");
        }
        let large = format!("a={}", "x".repeat(MAX_COMMAND_BYTES));
        assert_eq!(read("Set", &large), Err(Refusal::Limit));
    }

    #[test]
    fn revert_forgets_everything_else() {
        let lines = [("X-Session-Set", "a=1"), ("X-Session-Revert", "1"), ("X-Session-Regenerate", "1")];
        let batch = read_as(Dialect::Form, &lines).unwrap().batch;
        assert_eq!(batch, Batch { revert: true, ..Batch::default() });
    }

    #[test]
    fn joined_headers_mean_what_repeated_ones_mean() {
        let unset = read("Unset", "*, a").unwrap().changes;
        assert!(unset.clear && unset.unset.contains("a"));
        assert!(read("Regenerate", "1, 1").unwrap().regenerate);
        assert_eq!(read("Destroy", "1, others").unwrap().destroy, Some(Scope::All));
        let twice = [("X-Session-Login", "ada"), ("X-Session-Login", "eve")];
        assert_eq!(read_as(Dialect::Form, &twice), Err(Refusal::Type));
    }

    #[test]
    fn on_a_failed_answer_destroy_counts_with_its_conditions() {
        let read = |lines: &[(&'static str, &'static str)]| {
            let headers: HeaderMap = lines
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let heard = Commands::new(&HeaderOptions::new(Prefix::default())).read_failed(&headers).unwrap();
            heard.map(|heard| *heard).unwrap_or_default()
        };
        let heard = read(&[("x-session-destroy", "1"), ("x-session-set", "a=%"), ("x-session-if", "@version=9")]);
        assert_eq!((heard.batch.destroy, heard.batch.conditions.len()), (Some(Scope::This), 1));
        assert!(heard.batch.changes.set.is_empty() && heard.spoke);
        assert_eq!(read(&[("x-session-set", "a=1"), ("x-session-if", "a=1")]), Heard::default());
    }

    #[test]
    fn one_refused_command_refuses_the_response() {
        let lines = [("X-Session-Set", "a=1"), ("X-Session-Add", "b=x")];
        assert_eq!(read_as(Dialect::Form, &lines), Err(Refusal::Type));
    }

    #[test]
    fn captured_headers_and_mod_session_speak_too() {
        let heard = read_as(Dialect::ModSession, &[("X-Auth-User", "ada"), ("X-Replace-Session", "a=1&b=")]).unwrap();
        assert_eq!(heard.batch.changes.set.get("user"), Some(&SetTo::Value(Value::text("ada"))));
        assert_eq!(heard.batch.changes.set.get("a"), Some(&SetTo::Value(Value::text("1"))));
        assert_eq!(heard.batch.changes.unset, [name("b")].into());
        assert!(!read_as(Dialect::Form, &[("X-Replace-Session", "a=1")]).unwrap().spoke);
    }

    #[test]
    fn an_answer_that_speaks_repeats_the_nonce_where_it_must() {
        let told = HeaderValue::from_static("abc");
        let verified = |demanded: bool, lines: &[(&'static str, &'static str)]| {
            let commands = Commands::new(&HeaderOptions { nonce: demanded, ..HeaderOptions::new(Prefix::default()) });
            let lines =
                lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value);
            }
            let heard = commands.verify(commands.read(&headers), &headers, Some(&told));
            heard.map(|heard| heard.is_some_and(|heard| heard.spoke)).map_err(|refused| refused.reason)
        };
        let (set, right, wrong) = (("x-session-set", "a=1"), ("x-session-nonce", "abc"), ("x-session-nonce", "abd"));
        let bad = ("x-session-set", "a=%");
        for (expected, lines) in [
            (Ok(true), &[set, right][..]),
            (Ok(true), &[set, right, right]),
            (Ok(true), &[set, ("x-session-nonce", "abc, abc")]),
            (Ok(false), &[]),
            (Ok(false), &[right]),
            (Ok(false), &[wrong]),
            (Ok(false), &[("x-session-state", "live")]),
            (Err(Refusal::Nonce), &[set]),
            (Err(Refusal::Nonce), &[set, wrong]),
            (Err(Refusal::Nonce), &[set, right, wrong]),
            (Err(Refusal::Nonce), &[set, ("x-session-nonce", "")]),
            (Err(Refusal::Nonce), &[bad]),
            (Err(Refusal::Escape), &[bad, right]),
        ] {
            assert_eq!(verified(true, lines), expected, "{lines:?}");
        }
        assert_eq!(verified(false, &[set]), Ok(true));
        assert_eq!(verified(false, &[set, wrong]), Ok(true), "nobody asked for it");
    }

    #[test]
    fn the_json_dialect_reads_a_merge_patch() {
        let heard = read_as(Dialect::Json, &[("X-Session-Set", r#"{"a":"x","n":4,"gone":null,"o":{"k":1}}"#)]).unwrap();
        let changes = heard.batch.changes;
        assert_eq!(changes.unset, [name("gone")].into());
        assert_eq!(changes.set.get("a"), Some(&SetTo::Value(Value::text("x"))));
        assert!(matches!(changes.set.get("n"), Some(SetTo::Value(value)) if value.json && value.text == "4"));
        assert!(matches!(changes.set.get("o"), Some(SetTo::Merge(_))));
    }
}
