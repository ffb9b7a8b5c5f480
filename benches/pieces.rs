//! What the pieces of one exchange cost by themselves: `cargo bench --bench pieces [FILTER]`.
//!
//! One function for each module; a new piece is one `bench_function` more.

use cloakroom::clock::Timestamp;
use cloakroom::codec::{AtRest, Binding, Key, KeyRing, TokenMode, open_ticket, open_token, seal_ticket, seal_token};
use cloakroom::cookie::CookieName;
use cloakroom::cookie::header::split;
use cloakroom::secret::Secret;
use cloakroom::session::{
    Batch, Chance, CookieChoices, Expiry, Handed, Imprint, Keys, Limits, Lineage, Name, PolicyTag, Record, Rules,
    SessionId, SetTo, Shown, Situation, State, Value, View, encode, plan,
};
use cloakroom::wire::request::{Fields, Live, Voice};
use cloakroom::wire::response::Commands;
use cloakroom::wire::{Allowance, Forward, HeaderOptions, Prefix, Profile, Reserved};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use std::hint::black_box;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const START: Timestamp = Timestamp::from_millis(1_760_000_000_000);

/// The session that `/login` of `backend.rs` makes.
const VALUES: [(&str, &str); 10] = [
    ("cart", "00000000"),
    ("csrf", "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"),
    ("filter", "state:open owner:me sort:updated-desc label:bill"),
    ("lang", "en-GB"),
    ("name", "Ada Lovelace"),
    ("prefs", r#"{"theme":"dark","rows":50,"columns":["date","title","author"]}"#),
    ("recent", "/reports/2026/10 /reports/2026/09 /reports/2026/08 /notes/1187"),
    ("return", "/reports/2026/11?page=2&view=full"),
    ("role", "editor"),
    ("user", "ada.lovelace@example.org"),
];

/// What a browser sends, as the proxy sees the names.
const REQUEST_NAMES: [&str; 10] = [
    "host",
    "user-agent",
    "accept",
    "accept-language",
    "accept-encoding",
    "referer",
    "x-requested-with",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "cookie",
];

fn record() -> Record {
    let mut record = Record::new(Lineage::from_bytes([1; 12]), START);
    record.values.extend(VALUES.map(|(key, text)| (name(key), Value::text(text))));
    record
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("the keys above are names")
}

fn session(c: &mut Criterion) {
    let record = record();
    let bytes = encode(&record);
    let mut group = c.benchmark_group("session");
    group.bench_function("parse", |b| b.iter(|| View::parse(black_box(&bytes))));
    group.bench_function("parse to record", |b| b.iter(|| View::parse(black_box(&bytes)).map(|view| view.to_record())));
    group.bench_function("encode", |b| b.iter(|| encode(black_box(&record))));
    group.finish();
}

fn decide(c: &mut Criterion) {
    let expiry = Expiry {
        idle: 30 * MINUTE,
        absolute: 720 * MINUTE,
        touch_interval: MINUTE,
        regenerate_grace: Duration::from_secs(10),
        max_idle: 30 * MINUTE,
        max_absolute: 720 * MINUTE,
        probation: None,
        browser: None,
    };
    let (limits, choices) = (Limits::default(), CookieChoices::default());
    let rules = Rules {
        expiry: &expiry,
        limits: &limits,
        choices: &choices,
        keys: &Keys::All,
        touch: true,
        notes_use: false,
        hands_out_tokens: false,
        imprint: Imprint::default(),
    };
    let record = record();
    let current = Some((&record, START.after(expiry.idle)));
    let situation =
        Situation { current, had_session: true, shown: Shown::NOTHING, lent: None, holds: None, remember: None };
    let chance = Chance { lineage: Lineage::from_bytes([2; 12]), mark: [3; 8] };

    let silence = Batch::default();
    let mut set = Batch::default();
    set.changes.set.insert(name("cart"), SetTo::Value(Value::text("00000001")));

    let mut group = c.benchmark_group("plan");
    for (case, batch, now) in
        [("nothing", &silence, START), ("touch", &silence, START.after(2 * MINUTE)), ("replace", &set, START)]
    {
        group.bench_function(case, |b| b.iter(|| plan(black_box(&situation), black_box(batch), &rules, chance, now)));
    }
    group.finish();
}

fn cookie(c: &mut Criterion) {
    let names = [CookieName::parse("session").expect("`session` is a token")];
    let (strangers, value) = ("theme=dark; _ga=GA1.2.1187318734.1760000000", "k".repeat(43));
    let ours = format!("{strangers}; session={value}; _gid=GA1.2.908172635.1763500000");
    let split = |line: &str| split([line.as_bytes()], black_box(&names)).ours.len();
    let mut group = c.benchmark_group("cookie");
    group.bench_function("split", |b| b.iter(|| split(black_box(&ours))));
    group.bench_function("split strangers", |b| b.iter(|| split(black_box(strangers))));
    group.finish();
}

fn wire(c: &mut Criterion) {
    let reserved = Reserved::new([&HeaderOptions::new(Prefix::default())]);
    let bytes = encode(&record());
    let mut answer = HeaderMap::new();
    answer.insert("content-type", HeaderValue::from_static("text/html"));
    let plain = answer.clone();
    answer.insert("x-session-set", HeaderValue::from_static("cart=00000001"));
    let mut group = c.benchmark_group("wire");
    group.bench_function("reserved, ten names", |b| {
        b.iter(|| black_box(&REQUEST_NAMES).iter().filter(|name| reserved.has(name)).count());
    });
    for forward in [Forward::Data, Forward::Each] {
        let voice = Voice::new(HeaderOptions { forward, ..HeaderOptions::new(Prefix::default()) });
        group.bench_function(format!("speak, {forward:?}"), |b| b.iter(|| speak(&voice, black_box(&bytes))));
    }
    let commands = Commands::new(&HeaderOptions::new(Prefix::default()));
    group.bench_function("read no command", |b| b.iter(|| commands.read(black_box(&plain))));
    group.bench_function("read one command", |b| b.iter(|| commands.read(black_box(&answer))));
    group.finish();
}

fn speak(voice: &Voice, bytes: &[u8]) -> Fields {
    let mut fields = Fields::new();
    let Ok(view) = View::parse(bytes) else { return fields };
    let (deadline, absolute_deadline) = (START.after(MINUTE), Timestamp::NEVER);
    let live = Live { view: &view, deadline, absolute_deadline, csrf: None, handed: Handed::Free };
    let mut allowance = Allowance::new(Profile::generic().budget, 1);
    black_box(voice.speak(&mut fields, &mut allowance, State::Live, Some(live), &Keys::All, START)).ok();
    fields
}

fn codec(c: &mut Criterion) {
    let ring = ring();
    let binding = Binding::new("session", "main");
    let id = SessionId::from_bytes([7; 32]);
    let (key, ticket) = (id.store_key(), seal_ticket(&ring, &binding, &id));
    let (record, tag) = (encode(&record()), PolicyTag::new("main"));
    let mut group = c.benchmark_group("codec");
    group.bench_function("open ticket", |b| b.iter(|| open_ticket(&ring, &binding, black_box(ticket.as_bytes()))));
    let sealed = AtRest::Sealed.seal(&id, &key, tag, record.clone()).expect("the system has random bytes");
    group.bench_function("seal record", |b| b.iter(|| AtRest::Sealed.seal(&id, &key, tag, black_box(record.clone()))));
    group.bench_function("open record", |b| b.iter(|| AtRest::Sealed.open(&id, &key, black_box(sealed.clone()))));
    for mode in [TokenMode::Sealed, TokenMode::Signed] {
        let token = seal_token(&ring, &binding, mode, &record, START).expect("the system has random bytes");
        group.bench_function(format!("seal token, {mode:?}"), |b| {
            b.iter(|| seal_token(&ring, &binding, mode, black_box(&record), START));
        });
        group.bench_function(format!("open token, {mode:?}"), |b| {
            b.iter(|| open_token(&ring, &binding, mode, black_box(token.as_bytes())));
        });
    }
    group.finish();
}

fn ring() -> KeyRing {
    KeyRing::new(vec![Key::new("bench", &Secret::new([1; 32]))]).expect("a ring with one key")
}

criterion_group!(pieces, session, decide, cookie, wire, codec);
criterion_main!(pieces);
