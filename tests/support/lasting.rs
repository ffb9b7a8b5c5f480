//! Exchanges that last: a backend that opens them, and clients that stay.

use super::client::{Ask, Client, get};
use super::message::{Message, Reader};
use super::upstream::{Answer, ok};
use super::{LIMIT, Site, Stream, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What lasts ends within two seconds of its session; one more for a machine that is busy with other tests.
pub const PROMISE: Duration = Duration::from_secs(3);

/// A frame of text as a server sends it.
pub const HELLO: &[u8] = b"\x81\x05hello";

/// The frame that ends a WebSocket whose session has ended, with this code.
pub fn close_frame(code: u16) -> Vec<u8> {
    [&[0x88, 15][..], &code.to_be_bytes(), b"session ended"].concat()
}

/// A backend whose exchanges last until the proxy ends them, and how many it has ended.
#[derive(Clone, Default)]
pub struct Stage(Arc<AtomicUsize>);

impl Stage {
    /// What it answers: `/ws` switches and greets, `/half` stops within a frame, `/events` streams and falls silent,
    /// `/ticks` goes on, `/poll` never answers; everything else is an ordinary page.
    pub fn answer(&self, request: &Message) -> Answer {
        let switch = |greeting: &[u8]| {
            let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            [head, greeting].concat()
        };
        let stream = || {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            format!("{head}d\r\ndata: hello\n\n\r\n").into_bytes()
        };
        match request.target().as_str() {
            "/ws" => self.until_ended(switch(HELLO), false),
            "/half" => self.until_ended(switch(&HELLO[..4]), false),
            "/events" => self.until_ended(stream(), false),
            "/ticks" => self.until_ended(stream(), true),
            "/poll" => self.until_ended(Vec::new(), false),
            _ => ok().into(),
        }
    }

    fn until_ended(&self, begin: Vec<u8>, ticks: bool) -> Answer {
        let ended = Arc::clone(&self.0);
        Answer::takeover(move |connection: &mut Reader<Box<dyn Stream>>| {
            let mut is_open = connection.stream.write_all(&begin).is_ok();
            if ticks {
                while is_open {
                    std::thread::sleep(Duration::from_millis(20));
                    is_open = connection.stream.write_all(b"8\r\ndata: t\n\r\n").is_ok();
                }
            }
            // Whatever the client says is answered; after the end there is nothing.
            while let Ok(bytes) = connection.some() {
                if bytes.is_empty() || connection.stream.write_all(HELLO).is_err() {
                    break;
                }
            }
            ended.fetch_add(1, Ordering::SeqCst);
        })
    }

    /// Waits until the backend has noticed the end of so many.
    pub fn wait_for_ends(&self, many: usize) {
        eventually("the backend's side ends, too", || self.0.load(Ordering::SeqCst) >= many);
    }
}

/// A request for a WebSocket.
pub fn upgrade(path: &str, cookie: &str) -> Ask {
    get(path).with("Connection", "Upgrade").with("Upgrade", "websocket").with("Cookie", cookie)
}

/// An open WebSocket, whose greeting has come.
pub fn websocket(site: &Site, cookie: &str) -> Client {
    let mut client = site.client();
    client.send(upgrade("/ws", cookie).bytes());
    assert_eq!(client.next("GET").expect("an answer").status(), 101);
    assert_eq!(client.exactly(HELLO.len()), HELLO);
    client
}

/// Whether an open WebSocket still works.
pub fn stands(client: &mut Client) -> bool {
    client.try_send(b"\x81\x80\0\0\0\0") && client.exactly(HELLO.len()) == HELLO
}

/// An event stream whose first event has come.
pub fn events(site: &Site, path: &str, cookie: &str) -> Client {
    let mut client = site.client();
    client.send(get(path).with("Cookie", cookie).bytes());
    let end = b"data: hello\n\n\r\n";
    let mut seen = client.exactly(end.len());
    while !seen.ends_with(end) {
        seen.extend(client.exactly(1));
    }
    client
}

/// Everything up to the end, which must come in time.
pub fn end_of(client: &mut Client) -> Vec<u8> {
    let begun = Instant::now();
    let rest = client.rest();
    assert!(begun.elapsed() < PROMISE, "it ended after {:?} only, of {LIMIT:?}", begun.elapsed());
    rest
}
