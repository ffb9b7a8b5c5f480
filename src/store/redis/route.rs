//! How a server is found: at its address, or by asking the Sentinels.

use super::dial::Dialer;
use super::failure::{Failure, while_connecting};
use super::url::{Address, RedisUrl};
use super::wire::Wire;
use parking_lot::Mutex;
use redis::{Cmd, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// The way to one server.
#[derive(Debug)]
pub(super) struct Route {
    dialer: Arc<Dialer>,
    goal: Goal,
    /// How often a connection was made: each time it may lead to another server.
    made: AtomicU64,
    /// The number of the present turn; connections of earlier turns are not used any more.
    turn: AtomicU64,
    /// Where the primary was found last.
    primary: Mutex<Option<Address>>,
}

#[derive(Debug)]
enum Goal {
    /// What listens there.
    Server(RedisUrl),
    /// Whom the Sentinels name; `primary` has that name in place of its host.
    Primary { name: String, sentinels: Vec<RedisUrl>, primary: RedisUrl },
}

impl Route {
    pub(super) fn to_server(dialer: Arc<Dialer>, url: RedisUrl) -> Self {
        Self::new(dialer, Goal::Server(url))
    }

    pub(super) fn to_primary(dialer: Arc<Dialer>, sentinels: Vec<RedisUrl>, primary: RedisUrl) -> Self {
        let name = match &primary.address {
            Address::Tcp { host, .. } => host.clone(),
            Address::Unix(path) => path.display().to_string(),
        };
        Self::new(dialer, Goal::Primary { name, sentinels, primary })
    }

    fn new(dialer: Arc<Dialer>, goal: Goal) -> Self {
        Self { dialer, goal, made: AtomicU64::new(0), turn: AtomicU64::new(0), primary: Mutex::default() }
    }

    pub(super) fn limit(&self) -> Duration {
        self.dialer.limit
    }

    /// Another number whenever it may lead to another server.
    pub(super) fn changes(&self) -> u64 {
        self.made.load(Ordering::Acquire)
    }

    /// A new connection to the server.
    pub(super) async fn connect(&self) -> Result<Wire, Failure> {
        let wire = match &self.goal {
            // Its name may be that of another machine since.
            Goal::Server(url) => self.dialer.dial(url).await?.of_turn(self.turn()),
            Goal::Primary { .. } => {
                let (url, wire) = self.discover().await?;
                let mut primary = self.primary.lock();
                if primary.replace(url.address.clone()).is_some_and(|before| before != url.address) {
                    self.turn.fetch_add(1, Ordering::AcqRel);
                }
                wire.of_turn(self.turn())
            }
        };
        self.made.fetch_add(1, Ordering::Release);
        Ok(wire)
    }

    /// Whether a connection leads to where the server was found last.
    pub(super) fn holds_for(&self, wire: &Wire) -> bool {
        wire.turn() == self.turn()
    }

    /// The server behind a connection is not the one to ask. All connections to it are given up, so that the next requests
    /// look for it anew; what is under way on them goes on. Nothing happens to one that was just made: the search has
    /// found nothing else.
    pub(super) fn doubt(&self, wire: &Wire) {
        if !wire.is_young() {
            let turn = wire.turn();
            // Where it fails, somebody else has said the same.
            let _ = self.turn.compare_exchange(turn, turn + 1, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    fn turn(&self) -> u64 {
        self.turn.load(Ordering::Acquire)
    }

    /// Where the server is at present.
    pub(super) async fn find(&self) -> Result<RedisUrl, Failure> {
        match &self.goal {
            Goal::Server(url) => Ok(url.clone()),
            Goal::Primary { .. } => self.discover().await.map(|(url, _)| url),
        }
    }

    /// Asks all Sentinels at once, so that none that hangs holds up the others, and believes the first whose primary
    /// says of itself that it is one.
    async fn discover(&self) -> Result<(RedisUrl, Wire), Failure> {
        let Goal::Primary { name, sentinels, primary } = &self.goal else {
            return Err(Failure::NoSlots);
        };
        let mut asked = JoinSet::new();
        for sentinel in sentinels {
            let (dialer, sentinel) = (Arc::clone(&self.dialer), sentinel.clone());
            let (name, primary) = (name.clone(), primary.clone());
            asked.spawn(async move {
                let url = named_by(&dialer, &sentinel, &name, &primary).await?;
                let wire = dialer.dial(&url).await?;
                match is_primary(&wire, &url, dialer.limit).await {
                    Ok(()) => Ok((url, wire)),
                    Err(failure) => {
                        wire.cut();
                        Err(failure)
                    }
                }
            });
        }
        let mut failure = Failure::NoPrimary { name: name.clone() };
        while let Some(outcome) = asked.join_next().await {
            match outcome {
                Ok(Ok(found)) => return Ok(found),
                // What a server said is worth more to the operator than that a Sentinel was silent.
                Ok(Err(said @ (Failure::Login { .. } | Failure::Replica { .. }))) => failure = said,
                Ok(Err(other)) if matches!(failure, Failure::NoPrimary { .. }) => failure = other,
                _ => {}
            }
        }
        Err(failure)
    }
}

/// Where the primary is, as one Sentinel sees it.
async fn named_by(dialer: &Dialer, sentinel: &RedisUrl, name: &str, primary: &RedisUrl) -> Result<RedisUrl, Failure> {
    let wire = dialer.dial(sentinel).await?;
    let question = Cmd::new().arg("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).to_owned();
    let answer = in_time(&wire, &question, sentinel, dialer.limit).await;
    wire.cut();
    let Value::Array(parts) = answer? else { return Err(Failure::NoPrimary { name: name.to_owned() }) };
    let [Value::BulkString(host), Value::BulkString(port)] = &parts[..] else {
        return Err(Failure::NoPrimary { name: name.to_owned() });
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let (Some(host), Some(port)) = (text(host), text(port).and_then(|port| port.parse().ok())) else {
        return Err(Failure::NoPrimary { name: name.to_owned() });
    };
    Ok(primary.at(host, port))
}

async fn is_primary(wire: &Wire, url: &RedisUrl, limit: Duration) -> Result<(), Failure> {
    let answer = in_time(wire, &Cmd::new().arg("ROLE").to_owned(), url, limit).await?;
    match answer {
        Value::Array(parts) if parts.first() == Some(&Value::BulkString(b"master".to_vec())) => Ok(()),
        _ => Err(Failure::Replica { server: url.to_string() }),
    }
}

/// The answer to a question about the servers themselves.
pub(super) async fn in_time(wire: &Wire, question: &Cmd, url: &RedisUrl, limit: Duration) -> Result<Value, Failure> {
    let Ok(answer) = tokio::time::timeout(limit, wire.send(question)).await else {
        return Err(Failure::Slow { server: url.to_string(), limit });
    };
    answer.and_then(Value::extract_error).map_err(|error| while_connecting(url.to_string(), &error))
}
