//! Servers that say what no real server says, or that end in the middle of it.

use super::{at, open, options};
use crate::support::{NOW, create, entry, key, text};
use cloakroom::store::redis::{RedisOptions, RedisStore, Topology};
use cloakroom::store::{Store, StoreError};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a scripted server does with a command.
enum Act {
    Say(Vec<u8>),
    HangUp,
}

/// A server that answers `PING` as one does, and all else by a script, which is told the words and how many commands,
/// `PING`s apart, came before.
struct Scripted {
    port: u16,
    seen: Arc<AtomicUsize>,
}

impl Scripted {
    fn start(script: impl Fn(&[Vec<u8>], usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let (script, count) = (Arc::new(script), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, count) = (Arc::clone(&script), Arc::clone(&count));
                std::thread::spawn(move || serve(&stream.unwrap(), &*script, &count));
            }
        });
        Self { port, seen }
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
        if words[0] == b"CONFIG" || words[0] == b"ROLE" {
            writer.write_all(b"-NOPERM not you\r\n").ok()?;
            continue;
        }
        match script(&words, seen.fetch_add(1, Ordering::SeqCst)) {
            Act::Say(said) => writer.write_all(&said).ok()?,
            Act::HangUp => return None,
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
        assert!(!store.touch(&key(n), NOW, NOW).await.unwrap());
        create(&store, &key(n), entry("ours")).await;
        assert_eq!(text(&store, &key(n), NOW).await.as_deref(), Some("ours"));
    }
    // The time to live is set in the same step.
    let redis::Value::Int(left) = server.run(&["PTTL", &words]) else { panic!("a time is a number") };
    assert!((60_000..=70_000).contains(&left), "{left}");
}
