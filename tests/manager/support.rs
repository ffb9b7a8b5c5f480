//! A house of sessions with a clock that the test moves, a browser that keeps cookies, and a store that is watched.

use crate::watched::Watched;
use bytes::Bytes;
use cloakroom::clock::{Clock as _, ManualClock, Timestamp};
use cloakroom::codec::{AtRest, Key, KeyRing, TokenMode};
use cloakroom::cookie::{CookieName, CookieOptions, CookiePolicy, SameSite, header::split};
use cloakroom::manager::{
    Account, CommitError, Committed, Consume, Custody, HistoryError, Keep, LockError, OnConflict, OnRefused, Permit,
    PolicyOptions, Presented, Session, SessionError, SessionManager, Subject,
};
use cloakroom::secret::Secret;
use cloakroom::session::{
    Batch, CookieChoices, CookieWish, Expiry, Handed, Limits, Name, NewFlash, Owner, Record, Refused, Rights, SetTo,
    Shown, State, Value, View, encode,
};
use cloakroom::store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);

/// The moment after which a deadline has passed.
pub const INSTANT: Duration = Duration::from_millis(1);

/// Who keeps the sessions of a house.
#[derive(Clone, Copy, Debug)]
pub enum Keeper {
    Store(AtRest),
    Browser(TokenMode),
    /// The browser, and a store that remembers which sessions have ended.
    Remembering(TokenMode),
}

/// One session policy at work: idle 30 minutes, absolute 60, touched every minute, a grace of 10 seconds.
#[derive(Debug)]
pub struct House {
    pub store: Arc<Watched>,
    clock: Arc<ManualClock>,
    keeper: Keeper,
    keys: Vec<u8>,
    options: PolicyOptions,
    manager: SessionManager,
}

impl House {
    pub fn new(keeper: Keeper) -> Self {
        Self::on(Watched::default(), keeper)
    }

    pub fn on(store: Watched, keeper: Keeper) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        Self::build(Arc::new(store), clock, keeper, vec![1], options())
    }

    /// Another process on the same store, with these keys.
    pub fn with_keys(&self, keys: &[u8]) -> Self {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        Self::build(store, clock, self.keeper, keys.to_vec(), self.options.clone())
    }

    /// Another process on the same store, with other options.
    pub fn with_options(&self, change: impl FnOnce(&mut PolicyOptions)) -> Self {
        let mut options = self.options.clone();
        change(&mut options);
        Self::build(Arc::clone(&self.store), Arc::clone(&self.clock), self.keeper, self.keys.clone(), options)
    }

    /// Another process on the same store, where a session's cookie may lie on `/app`.
    pub fn with_a_path(&self) -> Self {
        self.with_options(|options| options.choices.paths.push("/app".into()))
    }

    fn build(
        store: Arc<Watched>,
        clock: Arc<ManualClock>,
        keeper: Keeper,
        keys: Vec<u8>,
        options: PolicyOptions,
    ) -> Self {
        let key = |byte: &u8| Key::new(format!("key-{byte}"), &Secret::new([*byte; 32]));
        let ring = Arc::new(KeyRing::new(keys.iter().map(key).collect()).unwrap());
        let custody = match keeper {
            Keeper::Store(at_rest) => Custody::Server { store: Arc::clone(&store) as Arc<dyn Store>, at_rest },
            Keeper::Browser(mode) => Custody::Browser { mode, revoked: None },
            Keeper::Remembering(mode) => Custody::Browser { mode, revoked: Some(Arc::clone(&store) as Arc<dyn Store>) },
        };
        let manager = SessionManager::new(options.clone(), custody, ring).unwrap();
        Self { store, clock, keeper, keys, options, manager }
    }

    pub fn wait(&self, span: Duration) {
        self.clock.advance(span);
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn step_back(&self, span: Duration) {
        self.clock.set(Timestamp::from_millis(self.clock.now().as_millis() - u64::try_from(span.as_millis()).unwrap()));
    }

    /// Changes the bytes of every record in the store.
    pub async fn damage(&self, change: impl Fn(Bytes) -> Bytes) {
        self.store.damage(self.clock.now(), change).await;
    }

    pub async fn try_answer(&self, session: &Session, batch: Batch) -> Result<Committed, CommitError> {
        let asked = (!batch.is_empty()).then_some(&batch);
        self.commit(session, Ok(asked), Shown::NOTHING).await
    }

    pub async fn lock(&self, session: &mut Session) -> Result<(), LockError> {
        self.manager.lock(session, &*self.clock).await
    }

    pub async fn unlock(&self, session: &mut Session) {
        self.manager.unlock(session, self.clock.now()).await.unwrap();
    }

    /// The backend answers a request that came with `session`.
    pub async fn answer(&self, session: &Session, batch: Batch) -> Committed {
        self.try_answer(session, batch).await.unwrap()
    }

    /// Reads the session of a request again, as before a replay.
    pub async fn renew(&self, session: &mut Session) -> Result<(), SessionError> {
        self.manager.renew(session, self.clock.now()).await
    }

    /// Hands what waits to this request alone, as far as a backend takes so many messages.
    pub async fn lend(&self, session: &mut Session, most: usize) -> Result<(), SessionError> {
        let now = self.clock.now();
        let fits = |record: &Record| {
            let bytes = encode(record);
            let free = View::parse(&bytes).unwrap().handed(Handed::Free, now).unwrap();
            free.iter().map(|flash| flash.number).take(most).collect::<Vec<_>>()
        };
        self.manager.lend(session, now, fits).await
    }

    /// The request ends without an answer.
    pub async fn give_back(&self, session: &mut Session) -> Result<(), SessionError> {
        self.manager.give_back(session, self.clock.now()).await
    }

    /// An answer by a route, noted in the histories as the proxy has it; what came of it, and whether it could be noted.
    pub async fn noted(
        &self,
        route: &str,
        session: &Session,
        batch: &Batch,
    ) -> (Result<Committed, CommitError>, Result<(), SessionError>) {
        let outcome = self.try_answer(session, batch.clone()).await;
        let noted = self.manager.remember(session, Some(batch), outcome.as_ref(), route, self.clock.now()).await;
        (outcome, noted)
    }

    /// What the histories tell.
    pub async fn history(&self, subject: &Subject) -> Account {
        self.try_history(subject).await.unwrap()
    }

    pub async fn try_history(&self, subject: &Subject) -> Result<Account, HistoryError> {
        self.manager.history(subject, self.clock.now()).await
    }

    pub async fn commit(
        &self,
        session: &Session,
        asked: Result<Option<&Batch>, Refused>,
        shown: Shown<'_>,
    ) -> Result<Committed, CommitError> {
        let rights = Rights::default();
        let permit = Permit::of(&rights, true);
        self.manager.commit(session, asked, permit, shown, self.clock.now()).await
    }

    /// The backend of a route with these rights answers.
    pub async fn commit_with(
        &self,
        session: &Session,
        batch: &Batch,
        rights: &Rights,
    ) -> Result<Committed, CommitError> {
        let permit = Permit::of(rights, true);
        self.manager.commit(session, Ok(Some(batch)), permit, Shown::NOTHING, self.clock.now()).await
    }
}

fn options() -> PolicyOptions {
    let cookie = CookieOptions {
        name: CookieName::parse("session").unwrap(),
        path: "/".into(),
        domain: None,
        secure: true,
        http_only: true,
        same_site: SameSite::Lax,
        partitioned: false,
        persistent: false,
        max_bytes: 1000,
        max_chunks: 2,
    };
    PolicyOptions {
        name: "main".into(),
        keep: Keep::Store("memory".into()),
        expiry: Expiry {
            idle: 30 * MINUTE,
            absolute: 60 * MINUTE,
            touch_interval: MINUTE,
            regenerate_grace: 10 * SECOND,
            max_idle: 30 * MINUTE,
            max_absolute: 60 * MINUTE,
            probation: None,
            browser: None,
        },
        not_before: None,
        holds_cookies: false,
        notes_use: false,
        hands_out_tokens: false,
        max_sessions_per_owner: None,
        history: None,
        limits: Limits::default(),
        choices: CookieChoices::default(),
        on_refused: OnRefused::Error,
        on_conflict: OnConflict::Error,
        lock: None,
        apply_on_error_status: false,
        consume: Consume::Always,
        clear_site_data: Vec::new(),
        consent: None,
        bond: None,
        cookie: CookiePolicy::new(cookie).unwrap(),
    }
}

/// Keeps cookies by name and path, and sends all of them. A clone is a browser whose cookies are about to grow old.
#[derive(Clone, Debug, Default)]
pub struct Browser(BTreeMap<(String, String), String>);

impl Browser {
    pub fn with(name: &str, value: &str) -> Self {
        Self([((name.into(), "/".into()), value.into())].into())
    }

    /// The browser after its first exchange, in which the backend stored `pairs`.
    pub async fn visiting(house: &House, pairs: &[(&str, &str)]) -> Self {
        let mut browser = Self::default();
        browser.asks(house, set(pairs)).await;
        browser
    }

    /// The browser after it lost a cookie.
    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(kept, _), _| kept != name);
        self
    }

    pub async fn resolve(&self, house: &House) -> Session {
        self.try_resolve(house).await.unwrap()
    }

    pub async fn try_resolve(&self, house: &House) -> Result<Session, SessionError> {
        let pairs: Vec<String> = self.0.iter().map(|((name, _), value)| format!("{name}={value}")).collect();
        let header = pairs.join("; ");
        let lines = (!header.is_empty()).then_some(header.as_bytes());
        let names = [house.manager.cookie_name().clone()];
        let ours = split(lines, &names).ours;
        house.manager.resolve(Presented::of(&ours, 0), house.clock.now()).await
    }

    /// One exchange: says what became of the cookies, as in `session.0 session.1 -session`.
    pub async fn asks(&mut self, house: &House, batch: Batch) -> String {
        let session = self.resolve(house).await;
        let committed = house.answer(&session, batch).await;
        self.keep(&committed)
    }

    /// Does what the `Set-Cookie` lines of an answer say.
    pub fn keep(&mut self, committed: &Committed) -> String {
        for line in &committed.cookies {
            let (pair, attributes) = line.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let path = attributes.split("; ").find_map(|attribute| attribute.strip_prefix("Path=")).unwrap();
            let place = (name.to_owned(), path.to_owned());
            if attributes.contains("Max-Age=0") {
                self.0.remove(&place);
            } else {
                self.0.insert(place, value.to_owned());
            }
        }
        cookies(committed)
    }

    pub async fn look(&self, house: &House) -> String {
        shown(&self.resolve(house).await)
    }

    pub fn cookies(&self) -> usize {
        self.0.len()
    }
}

/// What the lines of an answer do: `session` is set, `-session` removed.
pub fn cookies(committed: &Committed) -> String {
    let words = committed.cookies.iter().map(|line| {
        let name = line.split_once('=').unwrap().0;
        if line.contains("Max-Age=0") { format!("-{name}") } else { name.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What the backend would be told of a session: `live a=1&b=2`, `expired`, `none` or `invalid`.
pub fn shown(session: &Session) -> String {
    let state = session.state().as_str();
    let Some(snapshot) = session.snapshot() else { return state.to_owned() };
    assert_eq!(session.state(), State::Live);
    let view = View::parse(&snapshot.bytes).unwrap();
    let pairs: Vec<String> = view.values.iter().map(|item| format!("{}={}", item.name, item.text)).collect();
    format!("{state} {}", pairs.join("&"))
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub fn nothing() -> Batch {
    Batch::default()
}

pub fn set(pairs: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::default();
    batch.changes.set = pairs.iter().map(|(key, text)| (name(key), SetTo::Value(Value::text(*text)))).collect();
    batch
}

pub fn add(key: &str, amount: i64) -> Batch {
    let mut batch = Batch::default();
    batch.changes.add.push((name(key), amount));
    batch
}

pub fn flash(text: &str, mut batch: Batch) -> Batch {
    batch.changes.flash.push(NewFlash { level: name("info"), text: text.into(), fields: vec![] });
    batch
}

/// Moves the session's cookie to `/app`.
pub fn to_path(batch: Batch) -> Batch {
    Batch { cookie: Some(CookieWish { path: Some("/app".into()), domain: None }), ..batch }
}

pub fn login(owner: &str) -> Batch {
    Batch { login: Owner::parse(owner), ..Batch::default() }
}

pub fn regenerate(batch: Batch) -> Batch {
    Batch { regenerate: true, ..batch }
}
