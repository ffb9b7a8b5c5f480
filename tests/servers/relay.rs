//! A wire with faults: it stands between a client and a server, and breaks when it is told to.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How often a wire that holds its bytes back looks whether it may go on.
const TICK: Duration = Duration::from_millis(2);

/// What the wire does with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It passes everything on.
    Whole,
    /// It holds everything back, in both directions; connections stay open.
    Frozen,
    /// It passes everything on, this much later.
    Slow(Duration),
    /// It is cut, and nobody gets a connection.
    Cut,
}

/// Where a single request is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server gets nothing of it.
    Before,
    /// The server gets the first half.
    Within,
    /// The server gets all of it, and the client no answer.
    After,
}

struct State {
    mode: Mode,
    /// The next request of at least this many bytes is cut off here.
    cut: Option<(usize, Cut)>,
    cuts: usize,
    calls: usize,
    open: Vec<TcpStream>,
}

/// A wire to one server.
pub struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Relay {
    /// Lays a wire to the server at this port of 127.0.0.1.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { mode: Mode::Whole, cut: None, cuts: 0, calls: 0, open: Vec::new() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                state.calls += 1;
                if state.mode == Mode::Cut {
                    continue;
                }
                drop(state);
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let shared = Arc::clone(&shared);
                thread::spawn(move || join(client, server, &shared));
            }
        });
        Self { address, state }
    }

    /// The port on which the wire begins.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on the wire does this.
    pub fn set(&self, mode: Mode) {
        let mut state = self.state();
        state.mode = mode;
        if mode == Mode::Cut {
            hang_up(&mut state);
        }
    }

    /// Cuts all connections, once; new ones pass.
    pub fn drop_connections(&self) {
        hang_up(&mut self.state());
    }

    /// Cuts the connection of the next request that has at least so many bytes: one that writes, when the record is long.
    pub fn cut_next(&self, at_least: usize, cut: Cut) {
        self.state().cut = Some((at_least, cut));
    }

    /// How many connections were tried, in vain or not.
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// How many requests were cut off.
    pub fn cuts(&self) -> usize {
        self.state().cuts
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hang_up(state: &mut State) {
    for stream in state.open.drain(..) {
        stream.shutdown(Shutdown::Both).ok();
    }
}

fn join(client: TcpStream, server: TcpStream, state: &Arc<Mutex<State>>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
        let copy = stream.try_clone().unwrap();
        state.lock().unwrap_or_else(PoisonError::into_inner).open.push(copy);
    }
    let (up, down) = (Arc::clone(state), Arc::clone(state));
    let (from_client, to_client) = (client.try_clone().unwrap(), client);
    let (from_server, to_server) = (server.try_clone().unwrap(), server);
    thread::spawn(move || pump(from_client, to_server, &up, true));
    pump(from_server, to_client, &down, false);
}

fn pump(mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>, is_request: bool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let chunk = &bytes[..count];
        let mut cut = None;
        loop {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            match state.mode {
                Mode::Frozen => {}
                Mode::Slow(delay) => {
                    drop(state);
                    thread::sleep(delay);
                    break;
                }
                _ => {
                    if is_request && state.cut.is_some_and(|(at_least, _)| count >= at_least) {
                        cut = state.cut.take();
                        state.cuts += 1;
                    }
                    break;
                }
            }
            drop(state);
            thread::sleep(TICK);
        }
        let sent = match cut {
            None => chunk,
            Some((_, Cut::Before)) => &chunk[..0],
            Some((_, Cut::Within)) => &chunk[..count / 2],
            Some((_, Cut::After)) => {
                // The answer comes when it comes: the server has read the request, and its answer finds no client.
                from.shutdown(Shutdown::Both).ok();
                to.write_all(chunk).ok();
                to.shutdown(Shutdown::Write).ok();
                return;
            }
        };
        let is_over = to.write_all(sent).is_err() || cut.is_some();
        if is_over {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
