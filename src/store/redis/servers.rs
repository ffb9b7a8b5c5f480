//! One request, one answer: which server is asked, what its refusals mean, and what is repeated.
//!
//! A request that a server refused was not executed and may go elsewhere. A request whose answer did not come may have
//! been executed: a read is repeated once, a write never.

use super::cluster::Cluster;
use super::dial::Dialer;
use super::failure::{Failure, Quiet, Refusal};
use super::names::Place;
use super::node::Node;
use super::route::Route;
use super::scripts::Lua;
use super::wire::Wire;
use super::{NAME, RedisOptions, Topology};
use crate::store::StoreError;
use crate::store::pauses::jittered;
use redis::{Cmd, Pipeline, RedisResult, ServerError, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// So many times a request follows the nodes from one to the other at once; then it pauses before each step.
const STEPS: u32 = 5;

/// The pause after which a server that is not ready is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// All servers of a store.
#[derive(Debug)]
pub(super) struct Servers {
    form: Form,
    limit: Duration,
}

#[derive(Debug)]
enum Form {
    One(Arc<Node>),
    Cluster(Arc<Cluster>),
}

/// What is asked; without `Debug`, as it holds what visitors left.
pub(super) struct Request {
    command: Cmd,
    script: Option<&'static Lua>,
}

impl Request {
    /// A command that changes nothing.
    pub(super) fn read(command: Cmd) -> Self {
        Self { command, script: None }
    }

    /// A script on one key, which may change it.
    pub(super) fn write(script: &'static Lua, place: &Place, arguments: &[&[u8]]) -> Self {
        let mut command = Cmd::new();
        command.arg("EVALSHA").arg(&script.hash).arg(1).arg(&place.name);
        for argument in arguments {
            command.arg(*argument);
        }
        Self { command, script: Some(script) }
    }

    const fn writes(&self) -> bool {
        self.script.is_some()
    }
}

/// What was answered, and the connection it came by; without `Debug` for the same reason.
pub(super) struct Answer {
    pub(super) value: Value,
    wire: Arc<Wire>,
}

impl Answer {
    /// The answer belongs to another request: nothing that this connection says is to be believed.
    pub(super) fn mixed(&self) -> Failure {
        self.wire.cut();
        Failure::Mixed
    }
}

/// What was answered to several questions.
pub(super) struct Answers {
    pub(super) values: Vec<Value>,
    wire: Arc<Wire>,
}

impl Answers {
    /// The answers, where every question was answered.
    pub(super) fn all(self) -> Result<Self, StoreError> {
        let refusal = self.values.iter().find_map(|value| match value {
            Value::ServerError(error) => Some(Refusal::new(error)),
            _ => None,
        });
        refusal.map_or(Ok(self), |refusal| Err(unavailable(Failure::Refused(refusal))))
    }

    /// As [`Answer::mixed`].
    pub(super) fn mixed(&self) -> Failure {
        self.wire.cut();
        Failure::Mixed
    }
}

/// How far a request came; asked when its time is up.
enum Stage {
    /// No server has it; why not, as far as is known.
    Unsent(Option<Arc<Failure>>),
    /// A server may be at it.
    Sent(Arc<Wire>, Instant),
}

impl Stage {
    fn timed_out(self, limit: Duration) -> StoreError {
        match self {
            Self::Unsent(cause) => unavailable(cause.unwrap_or_else(|| Arc::new(Failure::Waited { limit }))),
            Self::Sent(wire, since) => {
                // Who asks next on this connection would have to wait for this answer first; unless it had no time to
                // come, because there was no connection for long.
                if since.elapsed() >= limit / 2 {
                    wire.cut();
                }
                StoreError::TimedOut { store: NAME, limit }
            }
        }
    }
}

/// What a server's refusal asks of us.
enum Remedy {
    Moved(String),
    Ask(String),
    Load,
    Wait,
    Elsewhere,
    NoRoom,
    NoEntry,
    None,
}

impl Servers {
    pub(super) fn new(options: &RedisOptions, dialer: &Arc<Dialer>) -> Option<Self> {
        let dialer = || Arc::clone(dialer);
        let one = |route| Form::One(Arc::new(Node::new((String::new(), 0), route, options.connections)));
        let form = match &options.topology {
            Topology::Single(url) => one(Route::to_server(dialer(), url.clone())),
            Topology::Sentinel { sentinels, .. } if sentinels.is_empty() => return None,
            Topology::Sentinel { sentinels, primary } => {
                one(Route::to_primary(dialer(), sentinels.clone(), primary.clone()))
            }
            Topology::Cluster(seeds) => {
                let model = seeds.first()?.clone();
                Form::Cluster(Arc::new(Cluster::new(dialer(), seeds, model, options.connections)))
            }
        };
        Some(Self { form, limit: options.timeout })
    }

    /// How long an answer may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Asks whoever holds the key, in the time that there is.
    pub(super) async fn ask(&self, place: &Place, request: &Request) -> Result<Answer, StoreError> {
        let mut stage = Stage::Unsent(None);
        let attempt = tokio::time::timeout(self.limit, self.follow(place, request, &mut stage)).await;
        attempt.unwrap_or_else(|_| Err(stage.timed_out(self.limit)))
    }

    async fn follow(&self, place: &Place, request: &Request, stage: &mut Stage) -> Result<Answer, StoreError> {
        let (mut sent_by, mut asking): (Option<Arc<Node>>, bool) = (None, false);
        let (mut steps, mut repeated) = (0, false);
        loop {
            let node = match sent_by.take() {
                Some(node) => node,
                None => self.holder(place).await?,
            };
            let wire = match node.link(place).wire().await {
                Ok(wire) => wire,
                Err(unconnected) => {
                    self.look_around();
                    let Some(again) = unconnected.again else { return Err(unavailable(unconnected.cause)) };
                    *stage = Stage::Unsent(Some(unconnected.cause));
                    asking = false;
                    tokio::time::sleep_until(again).await;
                    continue;
                }
            };
            *stage = Stage::Sent(Arc::clone(&wire), Instant::now());
            let error = match send(&wire, request, asking).await {
                Ok(Value::ServerError(error)) => error,
                Ok(value) => return Ok(Answer { value, wire }),
                Err(error) => {
                    wire.cut();
                    let failure = Failure::Broken(Quiet::from(&error));
                    if request.writes() {
                        return Err(StoreError::Lost { store: NAME, source: Box::new(failure) });
                    }
                    if repeated {
                        return Err(unavailable(failure));
                    }
                    repeated = true;
                    *stage = Stage::Unsent(Some(Arc::new(failure)));
                    continue;
                }
            };
            let refused = Failure::Refused(Refusal::new(&error));
            asking = false;
            steps += 1;
            match remedy(&error) {
                Remedy::Moved(to) => {
                    let Form::Cluster(cluster) = &self.form else { return Err(unavailable(refused)) };
                    cluster.moved(place.slot(), &to, &node);
                }
                Remedy::Ask(to) => {
                    let Form::Cluster(cluster) = &self.form else { return Err(unavailable(refused)) };
                    (sent_by, asking) = (cluster.node_at(&to, &node), true);
                }
                Remedy::Load => load(&wire, request).await,
                Remedy::Wait => self.look_around(),
                Remedy::Elsewhere => {
                    node.route.doubt(&wire);
                    self.look_around();
                }
                Remedy::NoRoom => return Err(StoreError::Full { store: NAME, limit: refused_words(&error) }),
                Remedy::NoEntry if !request.writes() => return Ok(Answer { value: Value::Nil, wire }),
                Remedy::NoEntry | Remedy::None => return Err(unavailable(refused)),
            }
            *stage = Stage::Unsent(Some(Arc::new(refused)));
            if steps > STEPS || matches!(remedy(&error), Remedy::Wait | Remedy::Elsewhere) {
                tokio::time::sleep(jittered(PAUSE)).await;
            }
        }
    }

    /// Asks one server several things at once; an error of one stands among the answers.
    pub(super) async fn ask_node(
        &self,
        node: &Node,
        lane: &Place,
        questions: &Pipeline,
        count: usize,
    ) -> Result<Answers, StoreError> {
        let mut stage = Stage::Unsent(None);
        let asking = async {
            let wire = node.link(lane).wire().await.map_err(|unconnected| unavailable(unconnected.cause))?;
            stage = Stage::Sent(Arc::clone(&wire), Instant::now());
            match wire.send_all(questions, count).await {
                Ok(values) => Ok(Answers { values, wire }),
                Err(error) => {
                    wire.cut();
                    Err(unavailable(Failure::Broken(Quiet::from(&error))))
                }
            }
        };
        let outcome = tokio::time::timeout(self.limit, asking).await;
        outcome.unwrap_or_else(|_| Err(stage.timed_out(self.limit)))
    }

    /// Who holds a key.
    pub(super) async fn holder(&self, place: &Place) -> Result<Arc<Node>, StoreError> {
        let cluster = match &self.form {
            Form::One(node) => return Ok(Arc::clone(node)),
            Form::Cluster(cluster) => cluster,
        };
        let slot = place.slot();
        if let Some(node) = cluster.holder(slot) {
            return Ok(node);
        }
        cluster.ask_for_map().wait().await;
        cluster.holder(slot).ok_or_else(|| unavailable(cluster.trouble()))
    }

    /// All servers that hold something, in an order that stays, as was known not longer than `recent` ago.
    pub(super) async fn primaries(&self, recent: Duration) -> Result<Vec<Arc<Node>>, StoreError> {
        let cluster = match &self.form {
            Form::One(node) => return Ok(vec![Arc::clone(node)]),
            Form::Cluster(cluster) => cluster,
        };
        if !cluster.was_read_within(recent)
            && tokio::time::timeout(self.limit, cluster.ask_for_map().wait()).await.is_err()
        {
            return Err(StoreError::TimedOut { store: NAME, limit: self.limit });
        }
        let nodes = cluster.nodes();
        if nodes.is_empty() { Err(unavailable(cluster.trouble())) } else { Ok(nodes) }
    }

    /// Stands for who holds what.
    pub(super) fn fingerprint(&self) -> u64 {
        match &self.form {
            Form::One(_) => 0,
            Form::Cluster(cluster) => cluster.fingerprint(),
        }
    }

    /// Another number whenever it became known that somebody else holds something.
    pub(super) fn changes(&self) -> u64 {
        match &self.form {
            Form::One(node) => node.route.changes(),
            Form::Cluster(cluster) => cluster.changes(),
        }
    }

    /// Something is not where it was: the others may know more.
    fn look_around(&self) {
        if let Form::Cluster(cluster) = &self.form {
            drop(cluster.ask_for_map());
        }
    }
}

async fn send(wire: &Wire, request: &Request, asking: bool) -> RedisResult<Value> {
    if !asking {
        return wire.send(&request.command).await;
    }
    let mut both = Pipeline::with_capacity(2);
    both.add_command(Cmd::new().arg("ASKING").to_owned()).add_command(request.command.clone());
    // The answer to ASKING itself says nothing.
    Ok(wire.send_all(&both, 2).await?.pop().unwrap_or_default())
}

/// Makes the script known to a server that has not seen it, or has forgotten it; if that fails, the next attempt tells.
async fn load(wire: &Wire, request: &Request) {
    if let Some(script) = request.script {
        let _ = wire.send(&Cmd::new().arg("SCRIPT").arg("LOAD").arg(&script.code).to_owned()).await;
    }
}

fn remedy(error: &ServerError) -> Remedy {
    let address = || error.details().and_then(|details| details.split_ascii_whitespace().nth(1)).map(str::to_owned);
    match error.code() {
        "MOVED" => address().map_or(Remedy::None, Remedy::Moved),
        "ASK" => address().map_or(Remedy::None, Remedy::Ask),
        "NOSCRIPT" => Remedy::Load,
        "READONLY" => Remedy::Elsewhere,
        "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "BUSY" => Remedy::Wait,
        "OOM" => Remedy::NoRoom,
        "WRONGTYPE" => Remedy::NoEntry,
        _ => Remedy::None,
    }
}

fn refused_words(error: &ServerError) -> String {
    Refusal::new(error).to_string()
}

pub(super) fn unavailable(failure: impl Into<Arc<Failure>>) -> StoreError {
    StoreError::Unavailable { store: NAME, source: Box::new(failure.into()) }
}
