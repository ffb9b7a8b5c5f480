//! The backend: says what it was told to say, and remembers every byte that it was sent.

use super::message::{Framing, Message, Reader};
use super::{LIMIT, Stream};
use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// A response under construction.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// `200 OK` with a little HTML.
pub fn ok() -> Reply {
    status(200)
}

/// This status, with a little HTML where it may have a body.
pub fn status(status: u16) -> Reply {
    Reply { status, fields: Vec::new(), body: b"<p>hello</p>".to_vec() }.with("Content-Type", "text/html")
}

impl Reply {
    /// Adds a field.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Adds a command under the usual prefix.
    pub fn say(self, verb: &str, value: impl AsRef<[u8]>) -> Self {
        self.with(&format!("X-Session-{verb}"), value)
    }

    /// Puts a value in place of all of this name.
    pub fn but(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        self.with(name, value)
    }

    /// Puts another body in.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Changes the text of the body.
    pub fn filled(self, fill: impl FnOnce(String) -> String) -> Self {
        let text = fill(String::from_utf8_lossy(&self.body).into_owned());
        self.body(text)
    }

    /// The bytes of the answer to a request of this method.
    pub fn bytes(&self, method: &str) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Scripted\r\n", self.status).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let bodiless = matches!(self.status, 100..200 | 204 | 304);
        if !bodiless {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).into_bytes());
        }
        bytes.extend(b"\r\n");
        if !bodiless && method != "HEAD" {
            bytes.extend(&self.body);
        }
        bytes
    }
}

type Takeover = Box<dyn FnOnce(&mut Reader<Box<dyn Stream>>) + Send>;

/// What the backend does about one request.
pub enum Answer {
    /// Answers, and keeps the connection.
    Reply(Reply),
    /// Sends these bytes, and keeps the connection.
    Bytes(Vec<u8>),
    /// Sends these bytes, and closes.
    Last(Vec<u8>),
    /// Hands the connection over; closes when that returns.
    Takeover(Takeover),
}

impl Answer {
    /// Hands the connection over.
    pub fn takeover(script: impl FnOnce(&mut Reader<Box<dyn Stream>>) + Send + 'static) -> Self {
        Self::Takeover(Box::new(script))
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<&[u8]> for Answer {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Answer {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

struct State {
    script: Box<dyn Fn(&Message) -> Answer + Send + Sync>,
    queue: Mutex<VecDeque<Answer>>,
    seen: Mutex<Vec<Message>>,
    arrived: Condvar,
    arrivals: AtomicUsize,
    connections: AtomicUsize,
    closing: AtomicBool,
}

enum Place {
    Tcp(SocketAddr),
    Unix(std::path::PathBuf),
}

/// A backend of HTTP/1.1 with a thread for each connection.
pub struct Upstream {
    place: Place,
    state: Arc<State>,
}

impl Upstream {
    /// Answers with what [`Upstream::will`] has queued, else [`ok`].
    pub fn new() -> Self {
        Self::answering(|_| ok())
    }

    /// Answers with what [`Upstream::will`] has queued, else as the script says.
    pub fn answering<A: Into<Answer>>(script: impl Fn(&Message) -> A + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let place = Place::Tcp(listener.local_addr().expect("its own address"));
        let accept = move || listener.accept().map(|(stream, _)| Box::new(stream) as Box<dyn Stream>);
        Self::start(place, Box::new(move |request| script(request).into()), accept)
    }

    /// Listens on a Unix socket.
    pub fn on_socket(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a new socket");
        let accept = move || listener.accept().map(|(stream, _)| Box::new(stream) as Box<dyn Stream>);
        Self::start(Place::Unix(path.to_owned()), Box::new(|_| ok().into()), accept)
    }

    fn start(
        place: Place,
        script: Box<dyn Fn(&Message) -> Answer + Send + Sync>,
        accept: impl Fn() -> std::io::Result<Box<dyn Stream>> + Send + 'static,
    ) -> Self {
        let state = Arc::new(State {
            script,
            queue: Mutex::default(),
            seen: Mutex::default(),
            arrived: Condvar::new(),
            arrivals: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok(stream) = accept() {
                if shared.closing.load(Ordering::SeqCst) {
                    return;
                }
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(&state, stream, number));
            }
        });
        Self { place, state }
    }

    /// The address as the configuration writes it.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Tcp(address) => format!("http://{address}"),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// The host and port.
    pub fn authority(&self) -> String {
        self.url().replace("http://", "")
    }

    /// Queues an answer.
    pub fn will(&self, answer: impl Into<Answer>) {
        lock(&self.state.queue).push_back(answer.into());
    }

    /// Takes back what is queued.
    pub fn forget(&self) {
        lock(&self.state.queue).clear();
    }

    /// The requests that came since the last call.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *lock(&self.state.seen))
    }

    /// The only request that came since the last call.
    pub fn only(&self) -> Message {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "expected one request: {seen:?}");
        seen.remove(0)
    }

    /// How many requests have come altogether.
    pub fn arrivals(&self) -> usize {
        self.state.arrivals.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have come altogether.
    pub fn wait_for(&self, arrivals: usize) {
        let until = Instant::now() + LIMIT;
        let mut seen = lock(&self.state.seen);
        while self.state.arrivals.load(Ordering::SeqCst) < arrivals {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{arrivals} requests expected within {LIMIT:?}: {seen:?}");
            seen = self.state.arrived.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many connections it has taken.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.state.closing.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; whether it is still there does not matter.
        match &self.place {
            Place::Tcp(address) => drop(TcpStream::connect(address)),
            Place::Unix(path) => drop(UnixStream::connect(path)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection; ends when the proxy closes it, or breaks off within a request.
fn serve(state: &State, stream: Box<dyn Stream>, connection: usize) {
    stream.limit(LIMIT);
    let mut reader = Reader::new(stream);
    while let Ok(Some(head)) = reader.head() {
        let mut request = Message::new(head, connection);
        let framing = Framing::of_request(&request);
        let Ok(body) = reader.body(framing) else { return };
        request.body = body;
        // Before it is told that the request has come: what is queued after that is for the next one.
        let queued = lock(&state.queue).pop_front();
        {
            let mut seen = lock(&state.seen);
            seen.push(request.clone());
            state.arrivals.fetch_add(1, Ordering::SeqCst);
            state.arrived.notify_all();
        }
        let sent = match queued.unwrap_or_else(|| (state.script)(&request)) {
            Answer::Reply(reply) => reader.stream.write_all(&reply.bytes(&request.method())),
            Answer::Bytes(bytes) => reader.stream.write_all(&bytes),
            Answer::Last(bytes) => {
                drop(reader.stream.write_all(&bytes));
                return;
            }
            Answer::Takeover(script) => return script(&mut reader),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Holds threads back until enough of them have come, or until somebody opens it.
#[derive(Clone)]
pub struct Gate(Arc<(Mutex<usize>, Condvar, usize)>);

impl Gate {
    /// A gate that opens by itself when `many` wait at it.
    pub fn for_many(many: usize) -> Self {
        Self(Arc::new((Mutex::new(0), Condvar::new(), many)))
    }

    /// A gate that stays shut until [`Gate::open`].
    pub fn shut() -> Self {
        Self::for_many(usize::MAX)
    }

    /// Opens it for good.
    pub fn open(&self) {
        *lock(&self.0.0) = self.0.2;
        self.0.1.notify_all();
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *lock(&self.0.0) >= self.0.2
    }

    /// Waits until it is open.
    pub fn pass(&self) {
        let (waiting, changed, many) = &*self.0;
        let mut count = lock(waiting);
        *count = count.saturating_add(1);
        changed.notify_all();
        let shut = |count: &mut usize| *count < *many;
        let (_count, waited) = changed.wait_timeout_while(count, LIMIT, shut).unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "the gate stayed shut for {LIMIT:?}");
    }
}
