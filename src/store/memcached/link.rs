//! The way to one server: a connection that is made when it is needed, and made anew when it has ended.

use super::connection::{Answer, Ask, Connection, Job, Request, refuse_waiting};
use super::failure::{End, Failure};
use super::greeting::Greeting;
use super::server::MemcachedServer;
use crate::store::pauses::Pauses;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

/// The most requests that wait for a connection; when it is full, callers wait to queue.
const QUEUE: usize = 1024;

/// How long a server is left alone between failures.
const RESTS: Pauses = Pauses { first: Duration::from_millis(20), longest: Duration::from_secs(1) };

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A server, as all connections to it know it.
pub(super) struct Server {
    address: MemcachedServer,
    name: Arc<str>,
    /// How long an answer, and a connection, may take.
    timeout: Duration,
    was_greeted: AtomicBool,
}

/// One shared connection.
pub(super) struct Link {
    server: Arc<Server>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    rest: Arc<Mutex<Rest>>,
}

/// When the next connection may be tried.
#[derive(Default)]
struct Rest {
    failures: u32,
    until: Option<Instant>,
}

/// A request that is on its way.
pub(super) struct Pending {
    answer: oneshot::Receiver<Result<Answer, Failure>>,
    /// The queue that it was put in.
    jobs: mpsc::Sender<Job>,
}

/// How often a read is repeated because the runtime of its connection was shut down meanwhile: many may be, one by one.
const RUNTIMES: usize = 4;

impl Server {
    pub(super) fn new(address: MemcachedServer, timeout: Duration) -> Self {
        let name = address.to_string().into();
        Self { address, name, timeout, was_greeted: AtomicBool::new(false) }
    }

    /// A connection to a server that is what it should be.
    async fn connect(&self) -> Result<(Reader, Writer, Greeting), End> {
        let (mut reader, mut writer): (Reader, Writer) = match &self.address {
            MemcachedServer::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                (Box::new(reader), Box::new(writer))
            }
            MemcachedServer::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                (Box::new(reader), Box::new(writer))
            }
        };
        let greeting = Greeting::ask(&mut reader, &mut writer).await?;
        Ok((reader, writer, greeting))
    }

    /// Says once what an operator should know of the server.
    fn greeted(&self, greeting: Greeting) {
        if self.was_greeted.swap(true, Ordering::Relaxed) {
            return;
        }
        let (server, evictions) = (&*self.name, greeting.evictions);
        if evictions > 0 {
            tracing::warn!(server, evictions, "memcached has pushed out live items: give it more memory (-m)");
        }
        if !greeting.evicts {
            tracing::warn!(
                server,
                "memcached runs without evictions (-M): when full, it drops a session that is written"
            );
        }
    }
}

impl Link {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self { server, jobs: Mutex::default(), rest: Arc::default() }
    }

    /// Asks, and asks once more on a new connection when the first has ended and nothing can have happened twice.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, Failure> {
        let pending = self.post(request.clone()).await;
        self.settle(pending, request).await
    }

    /// Sends a request off, for those who have more to send before they wait.
    pub(super) async fn post(&self, request: Request) -> Result<Pending, Failure> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs()?;
        match jobs.try_send(Job { request, reply }) {
            Ok(()) => Ok(Pending { answer, jobs }),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.ended(false, End::Closed)),
            Err(mpsc::error::TrySendError::Full(job)) => match timeout(self.server.timeout, jobs.send(job)).await {
                Ok(Ok(())) => Ok(Pending { answer, jobs }),
                Ok(Err(_)) => Err(self.ended(false, End::Closed)),
                Err(_) => Err(self.ended(false, End::TimedOut)),
            },
        }
    }

    /// Waits for the answer to a `request` that was posted.
    pub(super) async fn settle(&self, pending: Result<Pending, Failure>, request: Request) -> Result<Answer, Failure> {
        let is_harmless_twice = matches!(request.ask, Ask::Get | Ask::Delete | Ask::DeleteIf(_));
        let mut answer = self.wait(pending).await;
        for _ in 0..RUNTIMES {
            let Err(failure) = &answer else { break };
            if !failure.is_worth_repeating(is_harmless_twice) {
                break;
            }
            let is_ours = matches!(failure, Failure::Ended { end: End::Dropped, .. });
            answer = self.wait(self.post(request.clone()).await).await;
            if !is_ours {
                break;
            }
        }
        answer
    }

    async fn wait(&self, pending: Result<Pending, Failure>) -> Result<Answer, Failure> {
        let Pending { answer, jobs } = pending?;
        if let Ok(answer) = answer.await {
            return answer;
        }
        // The task is being taken apart with its runtime. Its queue may still look open, but leads nowhere.
        let mut place = self.jobs.lock();
        if place.as_ref().is_some_and(|present| present.same_channel(&jobs)) {
            *place = None;
        }
        Err(self.ended(true, End::Dropped))
    }

    fn ended(&self, sent: bool, end: End) -> Failure {
        Failure::Ended { server: Arc::clone(&self.server.name), sent, end }
    }

    /// The queue of the connection; a new connection when there is none and its time has come.
    ///
    /// The task lives on the caller's runtime. When that is shut down the queue closes, and the next caller makes another.
    fn jobs(&self) -> Result<mpsc::Sender<Job>, Failure> {
        let mut place = self.jobs.lock();
        if let Some(jobs) = place.as_ref().filter(|jobs| !jobs.is_closed()) {
            return Ok(jobs.clone());
        }
        if self.rest.lock().until.is_some_and(|until| Instant::now() < until) {
            return Err(Failure::Resting { server: Arc::clone(&self.server.name) });
        }
        let (jobs, queue) = mpsc::channel(QUEUE);
        tokio::spawn(run(Arc::clone(&self.server), Arc::clone(&self.rest), queue));
        *place = Some(jobs.clone());
        Ok(jobs)
    }
}

impl Rest {
    /// None after the first failure in a row, then twice as long each time, and not for all proxies alike.
    fn prolong(&mut self) {
        let rest = self.failures.checked_sub(1).map_or(Duration::ZERO, |made| RESTS.after(made));
        self.until = Some(Instant::now() + rest);
        self.failures = self.failures.saturating_add(1);
    }
}

/// The task of a connection, from the first try to reach the server to its end.
async fn run(server: Arc<Server>, rest: Arc<Mutex<Rest>>, mut jobs: mpsc::Receiver<Job>) {
    match timeout(server.timeout, server.connect()).await.unwrap_or(Err(End::TimedOut)) {
        Ok((reader, writer, greeting)) => {
            server.greeted(greeting);
            let connection = Connection::new(Arc::clone(&server.name), greeting.value_max, server.timeout);
            if connection.serve(reader, writer, &mut jobs).await {
                *rest.lock() = Rest::default();
            } else {
                rest.lock().prolong();
            }
        }
        Err(end) => {
            rest.lock().prolong();
            refuse_waiting(&mut jobs, || Failure::Unreachable { server: Arc::clone(&server.name), end: end.clone() });
        }
    }
}
