//! Servers that say what no real server says, or that end in the middle of it.

use super::{at, open, options};
use crate::support::{NOW, create, entry, key, keys_of, text};
use cloakroom::store::near::{Near, NearEntries, NearOptions};
use cloakroom::store::redis::{Invalidate, RedisOptions, RedisStore, Topology};
use cloakroom::store::{Store, StoreError, Version, Written};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a scripted server does with a command.
enum Act {
    Say(Vec<u8>),
    HangUp,
    /// Says nothing, and listens to nothing more.
    Wait,
}

/// A server that answers `PING` as one does, and all else by a script, which is told the words and how many commands,
/// `PING`s apart, came before.
struct Scripted {
    port: u16,
    seen: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    fn start(script: impl Fn(&[Vec<u8>], usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let (script, count) = (Arc::new(script), Arc::clone(&seen));
        let connections = Arc::new(AtomicUsize::new(0));
        let made = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                made.fetch_add(1, Ordering::SeqCst);
                let (script, count) = (Arc::clone(&script), Arc::clone(&count));
                std::thread::spawn(move || serve(&stream.unwrap(), &*script, &count));
            }
        });
        Self { port, seen, connections }
    }

    fn store(&self) -> RedisStore {
        let limit = Duration::from_secs(5);
        open(RedisOptions { timeout: limit, ..options(Topology::Single(at(self.port))) })
    }
}

fn serve(stream: &TcpStream, script: &dyn Fn(&[Vec<u8>], usize) -> Act, seen: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let count = number(&mut reader, b'*')?;
        let mut words = Vec::new();
        for _ in 0..count {
            let mut word = vec![0; number(&mut reader, b'$')?];
            reader.read_exact(&mut word).ok()?;
            reader.read_line(&mut String::new()).ok()?;
            words.push(word);
        }
        if words[0] == b"PING" {
            writer.write_all(b"+PONG\r\n").ok()?;
            continue;
        }
        if words[0] == b"CONFIG" || words[0] == b"ROLE" || words[0] == b"HELLO" {
            writer.write_all(b"-NOPERM not you\r\n").ok()?;
            continue;
        }
        match script(&words, seen.fetch_add(1, Ordering::SeqCst)) {
            Act::Say(said) => writer.write_all(&said).ok()?,
            Act::HangUp => return None,
            Act::Wait => loop {
                std::thread::park();
            },
        }
    }
}

fn number(reader: &mut impl std::io::BufRead, sign: u8) -> Option<usize> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    assert_eq!(line.first().copied().unwrap_or(sign), sign);
    std::str::from_utf8(line.get(1..)?).ok()?.trim().parse().ok()
}

fn bulk(bytes: &[u8]) -> Act {
    Act::Say([format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

/// The value of an entry that holds these bytes, under a key of which half is repeated.
fn value(key_byte: u8, bytes: &[u8]) -> Vec<u8> {
    let deadline = crate::support::later(10).as_millis().to_be_bytes();
    [&[1][..], &[key_byte; 16], &7_u64.to_be_bytes(), &deadline, &[0], bytes].concat()
}

/// The value of an entry of this owner.
fn owned_value(key_byte: u8, owner: &str) -> Vec<u8> {
    let mut value = value(key_byte, b"");
    value[33] = 1;
    let owner = crate::support::owned("", owner).owner.unwrap();
    [&value[..], owner.as_bytes(), &[0; 16], b"theirs"].concat()
}

fn digest(byte: u8) -> cloakroom::session::StoreKey {
    cloakroom::session::StoreKey::from_bytes([byte; 32])
}

#[tokio::test]
async fn nobody_gets_the_session_of_another_when_answers_slip() {
    // The first connection answers each question with the answer to another.
    let server = Scripted::start(|_, before| bulk(&value(if before == 0 { 2 } else { 1 }, b"mine")));
    let store = server.store();
    let error = store.load(&digest(1), NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(text(&store, &digest(1), NOW).await.as_deref(), Some("mine"), "a new connection is as good as ever");
}

#[tokio::test]
async fn a_write_is_not_acknowledged_by_the_answer_to_another() {
    let server = Scripted::start(|_, _| bulk(&[b"D", &[2; 16][..]].concat()));
    let store = server.store();
    for _ in 0..2 {
        let error = store.create(&digest(1), entry(""), NOW).await.unwrap_err();
        assert!(matches!(error, StoreError::Lost { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_unknown_and_is_not_repeated() {
    let server = Scripted::start(|_, _| Act::HangUp);
    let store = server.store();
    let error = store.create(&key(1), entry(""), NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. }) && error.is_unknown(), "{error:?}");
    assert_eq!(server.seen.load(Ordering::SeqCst), 1);
    store.delete(&key(1)).await.unwrap_err();
    assert_eq!(server.seen.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_read_whose_answer_is_lost_is_repeated_once() {
    let server = Scripted::start(|_, before| if before == 0 { Act::HangUp } else { bulk(&value(1, b"one")) });
    assert_eq!(text(&server.store(), &digest(1), NOW).await.as_deref(), Some("one"));
    let server = Scripted::start(|_, _| Act::HangUp);
    let error = server.store().load(&digest(1), NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(server.seen.load(Ordering::SeqCst), 2);
}

/// A page of an owner's set.
fn listed(keys: &[u8]) -> Vec<u8> {
    let member = |byte: &u8| [&b"$40\r\n"[..], &[*byte; 40], b"\r\n$1\r\n1\r\n"].concat();
    let members: Vec<u8> = keys.iter().flat_map(member).collect();
    [format!("*2\r\n$1\r\n0\r\n*{}\r\n", keys.len() * 2).as_bytes(), &members].concat()
}

#[tokio::test]
async fn a_session_that_gets_another_id_while_it_is_listed_is_not_missed() {
    // By the time the first key is looked at, the session lies under the second; then it is moved once more.
    let server = Scripted::start(|words, before| match (&words[0][..], before) {
        (b"ZSCAN", 0) => Act::Say(listed(&[1])),
        (b"ZSCAN", 2) => Act::Say(listed(&[1, 2])),
        (b"ZSCAN", _) => Act::Say(listed(&[3])),
        (_, 6) => bulk(&owned_value(3, "ann")),
        _ => bulk(&[]),
    });
    assert_eq!(keys_of(&server.store(), "ann", NOW).await, [digest(3)]);
}

#[tokio::test]
async fn a_listing_that_no_session_is_found_for_is_looked_at_twice() {
    let server = Scripted::start(|words, _| match &words[0][..] {
        b"ZSCAN" => Act::Say(listed(&[1])),
        _ => bulk(&[]),
    });
    assert_eq!(keys_of(&server.store(), "ann", NOW).await, []);
    assert_eq!(server.seen.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_left_by_all_connections() {
    let tag = [1; 16];
    let server = Scripted::start(move |words, before| match &words[0][..] {
        b"EVALSHA" if before < 3 => Act::Say(b"-READONLY You can't write against a read only replica.\r\n".to_vec()),
        b"EVALSHA" => bulk(&[&b"G"[..], &tag].concat()),
        _ => bulk(&[]),
    });
    let connected = || server.connections.load(Ordering::SeqCst);
    let store = server.store();
    // Two keys, two connections.
    for n in [1, 2] {
        assert!(store.load(&digest(n), NOW).await.unwrap().is_none());
    }
    let before = connected();
    // A connection that was just made is not left.
    tokio::time::sleep(Duration::from_millis(150)).await;
    store.delete(&digest(1)).await.unwrap();
    assert_eq!(connected(), before + 1);
    // Who reads by the other one would be told old things by a replica.
    store.load(&digest(2), NOW).await.unwrap();
    assert_eq!(connected(), before + 2);
}

/// What a cache hears goes to these copies.
#[derive(Debug)]
struct Hears(Arc<NearEntries>);

impl Invalidate for Hears {
    fn forget(&self, key: &cloakroom::session::StoreKey) {
        self.0.forget(key);
    }
    fn forget_all(&self) {
        self.0.forget_all();
    }
    fn trust(&self, tracked: bool) {
        self.0.trust(tracked);
    }
}

#[tokio::test]
async fn where_nobody_may_listen_every_look_asks_the_server() {
    let server = Scripted::start(|_, _| bulk(&value(1, b"one")));
    let hour = Duration::from_secs(3600);
    let copies = Arc::new(NearEntries::new(NearOptions { fresh: hour, recall: hour, max_bytes: 1 << 20 }));
    let hears: Arc<dyn Invalidate> = Arc::new(Hears(Arc::clone(&copies)));
    let store = RedisStore::open(options(Topology::Single(at(server.port))), Some(hears)).unwrap();
    let store = Near::around(Arc::new(store), copies);
    for looks in 1..4 {
        store.peek(&digest(1), NOW).await.unwrap().unwrap();
        assert_eq!(server.seen.load(Ordering::SeqCst), looks);
    }
    assert!(store.recall(&digest(1), NOW).is_some());
}

#[tokio::test]
async fn what_was_done_is_not_unknown_because_a_listing_stays() {
    let tag = [1; 16];
    let server = Scripted::start(move |words, _| match &words[0][..] {
        // The answer that the entry has gone, and under whom it was listed.
        b"EVALSHA" => bulk(&[&b"G"[..], &tag, &[9; 48]].concat()),
        _ => Act::Wait,
    });
    let limit = Duration::from_secs(2);
    let store = open(RedisOptions { timeout: limit, ..options(Topology::Single(at(server.port))) });
    let began = std::time::Instant::now();
    store.delete(&digest(1)).await.unwrap();
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_a_server_forbids_to_a_walk_is_told() {
    let server = Scripted::start(|_, _| Act::Say(b"-NOPERM this user has no permissions to run 'info'\r\n".to_vec()));
    let store = server.store();
    let (page, count) = (store.scan().unwrap().page(None, 10, NOW).await, store.scan().unwrap().count().await);
    for said in [format!("{:?}", page.unwrap_err()), format!("{:?}", count.unwrap_err())] {
        assert!(said.contains("NOPERM"), "{said}");
    }
}

#[tokio::test]
async fn no_answer_is_too_strange() {
    let strange: [&[u8]; 11] = [
        b":5\r\n",
        b"+OK\r\n",
        b"*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"-\r\n",
        b"-ERR unknown command 'GET', with args beginning with: 'app:secret'\r\n",
        b"-MOVED\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
        b"-ASK x y\r\n",
        b"?what\r\n",
        b"$99999999999\r\nx",
        b"-MISCONF Errors writing to the AOF file: No space left on device\r\n",
    ];
    for said in strange {
        let server = Scripted::start(move |_, _| Act::Say(said.to_vec()));
        let limit = Duration::from_secs(1);
        let store = open(RedisOptions { timeout: limit, ..options(Topology::Single(at(server.port))) });
        let began = std::time::Instant::now();
        let read = store.load(&key(1), NOW).await;
        let written = store.delete(&key(1)).await;
        let (Err(read), Err(written)) = (read, written) else { panic!("{said:?} is no answer") };
        assert!(!format!("{read:?} {written:?}").contains("secret"), "{read:?} {written:?}");
        // What a server refuses it has not done.
        assert_eq!(written.is_unknown(), !said.starts_with(b"-"), "{written:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{said:?} took {:?}", began.elapsed());
    }
}

// ST5
#[tokio::test]
async fn a_value_that_is_not_ours_is_no_session_and_is_written_over() {
    let server = crate::servers::redis::Server::start();
    let options = options(Topology::Single(at(server.port)));
    let name = |n| {
        use base64::Engine as _;
        let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key(n).as_bytes());
        format!("{}{{{digest}}}", options.key_prefix)
    };
    let (words, list) = (name(1), name(2));
    server.run(&["SET", &words, "not a session"]);
    server.run(&["RPUSH", &list, "not", "a", "session"]);
    let store = open(options);
    for n in [1, 2] {
        assert!(store.load(&key(n), NOW).await.unwrap().is_none());
        assert_eq!(store.replace(&key(n), entry("over it"), Version(1), NOW).await.unwrap(), Written::Gone);
        create(&store, &key(n), entry("ours")).await;
        assert_eq!(text(&store, &key(n), NOW).await.as_deref(), Some("ours"));
    }
    // The time to live is set in the same step.
    let redis::Value::Int(left) = server.run(&["PTTL", &words]) else { panic!("a time is a number") };
    assert!((60_000..=70_000).contains(&left), "{left}");
}
