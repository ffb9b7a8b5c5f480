//! What a test wants a page to answer, and what the page saw.

use crate::support::client::{Ask, ask, post};
use crate::support::message::Message;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A request that tells the application what to answer.
#[derive(Clone, Debug)]
pub struct Page {
    method: &'static str,
    path: String,
    items: Vec<(String, String)>,
    fields: Vec<(String, String)>,
    body: Option<String>,
}

/// `GET /`, answered with a page and nothing else.
pub fn page() -> Page {
    at("/")
}

/// `GET` of this path.
pub fn at(path: &str) -> Page {
    Page { method: "GET", path: path.into(), items: Vec::new(), fields: Vec::new(), body: None }
}

impl Page {
    fn item(mut self, name: &str, value: &str) -> Self {
        self.items.push((name.into(), value.into()));
        self
    }

    /// The snippet's function that sets a key.
    pub fn set(self, key: &str, value: &str) -> Self {
        self.item("set", &format!("{key}={value}"))
    }

    /// The snippet's function that adds to a number.
    pub fn add(self, key: &str, number: i64) -> Self {
        self.item("add", &format!("{key}={number}"))
    }

    /// The snippet's function that removes a key, or all with `*`.
    pub fn unset(self, key: &str) -> Self {
        self.item("unset", key)
    }

    /// The snippet's function that logs somebody in.
    pub fn login(self, user: &str) -> Self {
        self.item("login", user)
    }

    /// The snippet's function that ends the session.
    pub fn destroy(self) -> Self {
        self.item("destroy", "1")
    }

    /// The snippet's function that leaves a message.
    pub fn flash(self, level: &str, text: &str) -> Self {
        self.item("flash", &format!("{level}={text}"))
    }

    /// A command that the snippet has no function for, as a plain header.
    pub fn say(self, verb: &str, value: &str) -> Self {
        self.header(&format!("X-Session-{verb}"), value)
    }

    /// Any header of the answer.
    pub fn header(self, name: &str, value: &str) -> Self {
        assert!(name.contains('-'), "the application takes {name} for a word of its own");
        self.item(name, value)
    }

    /// The application shows the messages of this list only, `""` for those in none.
    pub fn showing(self, list: &str) -> Self {
        self.item("show", list)
    }

    /// The status of the answer.
    pub fn status(self, status: u16) -> Self {
        self.item("status", &status.to_string())
    }

    /// The media type of the answer; HTML otherwise.
    pub fn media(self, media: &str) -> Self {
        self.item("type", media)
    }

    /// A command in a trailer, from the one application that can send any.
    pub fn trailer(self, value: &str) -> Self {
        self.item("trailer", value)
    }

    /// The application waits until the test lets it go on; see `Visitor::begin`.
    pub fn held_at(self, path: &str) -> Self {
        Self { path: "/held".into(), ..self }.item("hold", path)
    }

    /// Another method.
    pub fn by(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// A field of the request.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// As a form that is sent: `POST`, the items in its body.
    pub fn posted(mut self) -> Self {
        self.method = "POST";
        self.body = Some(self.encoded());
        self.items.clear();
        self.with("Content-Type", "application/x-www-form-urlencoded")
    }

    fn encoded(&self) -> String {
        let items = self.items.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value)));
        items.collect::<Vec<_>>().join("&")
    }

    /// The request, to this host and with this `Cookie` line.
    pub fn ask(&self, host: &str, cookie: Option<&str>) -> Ask {
        let query = if self.items.is_empty() { String::new() } else { format!("?{}", self.encoded()) };
        let target = self.path.clone() + &query;
        let begun = match &self.body {
            Some(body) => post(&target, body),
            None => ask(self.method, &target),
        };
        // What a browser says that asks for a page.
        let asked = begun.but("Host", host).with("Accept", "text/html,*/*;q=0.8").cookie(cookie);
        self.fields.iter().fold(asked, |asked, (name, value)| asked.with(name, value))
    }
}

/// Text as any URL encoder writes it.
pub fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").unwrap(),
        }
        encoded
    })
}

/// What the application saw, by its own account.
#[derive(Clone, Debug, PartialEq)]
pub struct Saw {
    /// `none`, `live`, `expired`, `invalid`.
    pub state: String,
    /// Who logged in, or nobody.
    pub user: String,
    /// The data.
    pub data: BTreeMap<String, String>,
    /// Level and text of each message.
    pub flashes: Vec<(String, String)>,
    /// Further fields of each message.
    pub fields: Vec<BTreeMap<String, String>>,
    /// The data as JSON, where the dialect is that.
    pub json: Value,
    /// The address that was asked for.
    pub target: String,
    /// Every header of the request, with names as CGI has them.
    sent: BTreeMap<String, String>,
}

impl Saw {
    /// Reads the page.
    pub fn read(got: &Message) -> Option<Self> {
        let whole: Value = serde_json::from_slice(&got.body).ok()?;
        let word = |name: &str| whole[name].as_str().unwrap_or_default().to_owned();
        let map = |value: &Value| {
            let items = value.as_object().into_iter().flatten();
            items.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
        };
        let pair = |flash: &Value| Some((flash[0].as_str()?.to_owned(), flash[1].as_str()?.to_owned()));
        Some(Self {
            state: whole["state"].as_str()?.to_owned(),
            user: word("user"),
            data: map(&whole["data"]),
            flashes: whole["flashes"].as_array().into_iter().flatten().filter_map(pair).collect(),
            fields: whole["flashes"].as_array().into_iter().flatten().map(|flash| map(&flash[2])).collect(),
            json: whole["json"].clone(),
            target: word("target"),
            sent: map(&whole["sent"]),
        })
    }

    /// A header of the request, as `Cookie`.
    pub fn field(&self, name: &str) -> Option<&str> {
        let folded = name.to_uppercase().replace('-', "_");
        self.sent.get(&format!("HTTP_{folded}")).map(String::as_str)
    }

    /// A header of the session, as `Version`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.field(&format!("X-Session-{name}"))
    }

    /// A header of the session that is a number.
    pub fn number(&self, name: &str) -> u64 {
        self.header(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {name}: {self:?}"))
    }

    /// A key of the data.
    pub fn key(&self, key: &str) -> Option<&str> {
        self.data.get(key).map(String::as_str)
    }
}
