//! One connection: a task that writes the commands of many callers at once, and hands the replies out in order.
//!
//! Nothing that a caller does can bring the order into disorder: a caller who has gone leaves a command whose reply is read
//! and thrown away. A reply must repeat the key and the number of the command that waits for it; at the first that does not,
//! the connection ends, and with it every command that is under way.

use super::failure::{End, Failure};
use super::wire::{Command, Outcome, Over, Parsed, Reply, Ttl, parse};
use bytes::{Buf as _, Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// The most commands that wait for their replies.
const UNDER_WAY: usize = 1024;

/// About how much is written at once.
const WRITE: usize = 256 << 10;

/// How much is read at once, where no value is larger.
const READ: usize = 16 << 10;

/// A command that a caller wants done.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) key: Bytes,
    pub(super) ask: Ask,
}

/// What is to be done.
#[derive(Clone)]
pub(super) enum Ask {
    Get,
    Create(Bytes, Ttl),
    Replace(Unique, Bytes, Ttl),
    Delete,
    DeleteIf(Unique),
}

/// A unique number and the connection that said it. A server that was started anew counts from one again, so the number means
/// nothing on another connection, which may be one to another life of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unique {
    connection: u64,
    number: u64,
}

/// What became of it.
pub(super) enum Answer {
    Found(Bytes, Unique),
    /// Done; a write learns its unique number.
    Done(Option<Unique>),
    Missing,
    /// Something else is there than was expected, or may be.
    Other,
}

/// A request on its way, and the way back.
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Result<Answer, Failure>>,
}

/// What waits for its reply.
struct UnderWay {
    key: Bytes,
    number: u32,
    /// When the server will have taken too long.
    due: Instant,
    /// How large the value is that it writes.
    size: usize,
    reply: oneshot::Sender<Result<Answer, Failure>>,
}

/// The state of a connection.
pub(super) struct Connection {
    server: Arc<str>,
    value_max: usize,
    timeout: Duration,
    id: u64,
    next: u32,
    out: BytesMut,
    input: BytesMut,
    under_way: VecDeque<UnderWay>,
}

impl Connection {
    /// To a server that takes values of `value_max` bytes, and has `timeout` for an answer.
    pub(super) fn new(server: Arc<str>, value_max: usize, timeout: Duration) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let (out, input) = (BytesMut::new(), BytesMut::with_capacity(READ));
        Self { server, value_max, timeout, id, next: 0, out, input, under_way: VecDeque::new() }
    }

    /// Serves `jobs` until the connection ends or nobody is left to ask; says whether the server has ever answered.
    pub(super) async fn serve(
        mut self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
        jobs: &mut mpsc::Receiver<Job>,
    ) -> bool {
        let mut has_answered = false;
        // Set for the oldest command under way, and only looked at again when it rings: most are answered by then.
        let mut alarm = std::pin::pin!(sleep_until(Instant::now()));
        let mut is_set = false;
        let end = loop {
            while self.takes_more()
                && let Ok(job) = jobs.try_recv()
            {
                self.begin(job);
            }
            if let (false, Some(oldest)) = (is_set, self.under_way.front()) {
                alarm.as_mut().reset(oldest.due);
                is_set = true;
            }
            tokio::select! {
                biased;
                written = writer.write_buf(&mut self.out), if !self.out.is_empty() => match written {
                    Ok(0) => break End::Closed,
                    Ok(_) => {}
                    Err(error) => break error.into(),
                },
                read = reader.read_buf(&mut self.input) => match read {
                    Ok(0) => break End::Closed,
                    Ok(_) => {
                        if let Err(end) = self.hand_out() {
                            break end;
                        }
                        has_answered = true;
                    }
                    Err(error) => break error.into(),
                },
                job = jobs.recv(), if self.takes_more() => match job {
                    Some(job) => self.begin(job),
                    // The store is gone, and with it everybody who asked.
                    None => return has_answered,
                },
                () = &mut alarm, if is_set => {
                    if self.is_overdue() {
                        break End::TimedOut;
                    }
                    is_set = false;
                }
            }
        };
        for waiting in self.under_way.drain(..) {
            let failure = Failure::Ended { server: Arc::clone(&self.server), sent: true, end: end.clone() };
            // Nobody listens when the caller has gone.
            let _ = waiting.reply.send(Err(failure));
        }
        refuse_waiting(jobs, || Failure::Ended { server: Arc::clone(&self.server), sent: false, end: end.clone() });
        has_answered
    }

    fn takes_more(&self) -> bool {
        self.under_way.len() < UNDER_WAY && self.out.len() < WRITE
    }

    /// Writes a command to the buffer, unless that would be in vain.
    fn begin(&mut self, job: Job) {
        let Job { request: Request { key, ask }, reply } = job;
        if reply.is_closed() {
            return;
        }
        let number = self.next;
        let command = match ask {
            Ask::Get => Command::Get,
            Ask::Delete => Command::Delete(None),
            Ask::Create(value, ttl) => Command::Set { over: Over::Nothing, ttl, value },
            Ask::Replace(unique, ..) | Ask::DeleteIf(unique) if unique.connection != self.id => {
                let _ = reply.send(Ok(Answer::Other));
                return;
            }
            Ask::Replace(unique, value, ttl) => Command::Set { over: Over::Unique(unique.number), ttl, value },
            Ask::DeleteIf(unique) => Command::Delete(Some(unique.number)),
        };
        let size = if let Command::Set { value, .. } = &command { value.len() } else { 0 };
        if size > self.value_max {
            // memcached would refuse it too, and drop the session that it was to replace.
            let _ = reply.send(Err(self.too_large(size)));
            return;
        }
        self.next = self.next.wrapping_add(1);
        command.write(&mut self.out, &key, number);
        self.under_way.push_back(UnderWay { key, number, due: Instant::now() + self.timeout, size, reply });
    }

    /// Hands out every whole reply that was read.
    fn hand_out(&mut self) -> Result<(), End> {
        loop {
            let (reply, length) = match parse(&self.input, self.value_max)? {
                Parsed::Whole(reply, length) => (reply, length),
                Parsed::Part(least) => {
                    self.input.reserve(READ.max(least - self.input.len()));
                    return Ok(());
                }
            };
            // A reply that nobody waits for is somebody else's too.
            let waiting = self.under_way.pop_front().ok_or(End::Slipped)?;
            let answer = if waiting.is_answered_by(&reply) {
                self.answer(&reply, waiting.size)
            } else {
                self.under_way.push_front(waiting);
                return Err(End::Slipped);
            };
            let _ = waiting.reply.send(answer);
            self.input.advance(length);
            if self.input.is_empty() && self.under_way.is_empty() {
                self.input.reserve(READ);
                return Ok(());
            }
        }
    }

    fn answer(&self, reply: &Reply<'_>, size: usize) -> Result<Answer, Failure> {
        let server = || Arc::clone(&self.server);
        let unique = reply.unique.map(|number| Unique { connection: self.id, number });
        match (reply.outcome, unique) {
            // Copied: a slice would keep the whole buffer alive for as long as somebody keeps the session.
            (Outcome::Value(value), Some(unique)) => Ok(Answer::Found(Bytes::copy_from_slice(value), unique)),
            (Outcome::Value(_), None) => Err(Failure::Senseless { server: server() }),
            (Outcome::Done, unique) => Ok(Answer::Done(unique)),
            (Outcome::Missing, _) => Ok(Answer::Missing),
            (Outcome::Exists | Outcome::NotStored, _) => Ok(Answer::Other),
            (Outcome::TooLarge, _) => Err(self.too_large(size)),
            (Outcome::OutOfMemory, _) => Err(Failure::OutOfMemory { server: server() }),
            (Outcome::Failed, _) => Err(Failure::Failed { server: server() }),
        }
    }

    fn too_large(&self, size: usize) -> Failure {
        Failure::TooLarge { server: Arc::clone(&self.server), size, limit: self.value_max }
    }

    fn is_overdue(&self) -> bool {
        self.under_way.front().is_some_and(|first| first.due <= Instant::now())
    }
}

impl UnderWay {
    fn is_answered_by(&self, reply: &Reply<'_>) -> bool {
        match (reply.key, reply.number) {
            (Some(key), Some(number)) => key == self.key && number == self.number,
            (None, None) => {
                matches!(reply.outcome, Outcome::TooLarge | Outcome::OutOfMemory | Outcome::Failed)
            }
            _ => false,
        }
    }
}

/// Tells everybody in the queue, and everybody who comes too late, that there is no connection.
pub(super) fn refuse_waiting(jobs: &mut mpsc::Receiver<Job>, failure: impl Fn() -> Failure) {
    jobs.close();
    while let Ok(job) = jobs.try_recv() {
        let _ = job.reply.send(Err(failure()));
    }
}
