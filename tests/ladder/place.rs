//! The proxy in this process, over stores that can be made to fail, by a clock that the test moves.

use crate::fickle::{Fickle, Trouble};
use crate::support::client::{Ask, Client, Jar, get};
use crate::support::message::Message;
use crate::support::upstream::{Answer, Upstream, ok};
use crate::support::{Visit, complete, eventually};
use arc_swap::ArcSwap;
use cloakroom::clock::{Clock as _, ManualClock, Timestamp};
use cloakroom::codec::{AtRest, Key, KeyRing};
use cloakroom::config::{Config, parse};
use cloakroom::cookie::header::split;
use cloakroom::manager::{Custody, Keep, OnOutage, PolicyOptions, Presented, Session, SessionManager};
use cloakroom::proxy::Proxy;
use cloakroom::proxy::context::{InFlight, Policy, Snapshot};
use cloakroom::proxy::upstream::Upstream as Peer;
use cloakroom::route::RouteTable;
use cloakroom::secret::Secret;
use cloakroom::store::Store;
use cloakroom::wire::Reserved;
use cloakroom::wire::request::Voice;
use cloakroom::wire::response::Commands;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use pingora_runtime::Runtime;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;
use tokio::sync::watch;

/// One for all tests: pingora finds runtimes by their threads, and takes a new one's for those of one that has ended.
static WORKERS: LazyLock<Runtime> = LazyLock::new(|| Runtime::new_no_steal(4, "worker"));

/// A proxy between a scripted backend and stores of the test's own.
pub struct Place {
    pub upstream: Upstream,
    pub clock: Arc<ManualClock>,
    config: Config,
    stores: Vec<(String, Arc<Fickle>)>,
    directory: TempDir,
    /// Once it is dropped, the proxy leaves.
    _leave: watch::Sender<bool>,
}

impl Place {
    /// Every stored policy of the configuration gets a store that can fail, one for each name of a store.
    pub fn new(config: &str) -> Self {
        let upstream = Upstream::new();
        let config = complete(config, &upstream.url()).replace("@web", "127.0.0.1:1");
        let config = parse(&config, "test.toml").unwrap_or_else(|problems| panic!("{problems}"));
        let stores: Vec<_> = config.stores.iter().map(|store| (store.name.clone(), Arc::default())).collect();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let snapshot = snapshot(&config, &stores);
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("proxy.sock");

        let (leave, watch) = watch::channel(false);
        let proxy = Proxy::new(
            Arc::new(ArcSwap::from_pointee(snapshot)),
            Arc::<ManualClock>::clone(&clock),
            InFlight::default(),
        );
        let mut service = Service::new("place".into(), http_proxy(&Arc::new(ServerConf::default()), proxy));
        service.add_uds(socket.to_str().unwrap(), None);
        WORKERS.get_handle().spawn(async move { service.start_service(None, watch, 1).await });
        eventually("it listens", || UnixStream::connect(&socket).is_ok());
        Self { upstream, clock, config, stores, directory, _leave: leave }
    }

    /// The store of this name.
    pub fn store(&self, name: &str) -> &Fickle {
        &self.stores.iter().find(|(own, _)| own == name).unwrap().1
    }

    /// The manager of the first policy as another process has it, with other options.
    pub fn manager(&self, change: impl FnOnce(&mut PolicyOptions)) -> SessionManager {
        let mut options = self.config.policies[0].options.clone();
        change(&mut options);
        manager(options, &self.stores)
    }

    /// What stands in for the session of this `Cookie` line.
    pub fn stand_in(&self, manager: &SessionManager, cookie: &str, rung: OnOutage) -> Option<Session> {
        let names = [manager.cookie_name().clone()];
        let ours = split([cookie.as_bytes()], &names).ours;
        manager.stand_in(&Presented::of(&ours, 0), rung, self.clock.now())
    }

    /// A request whose session is unknown, and an answer that comes when the store works again.
    pub fn recovering_while_the_backend_works(
        &self,
        visitor: &mut Visitor<'_>,
        path: &str,
        command: (&str, &str),
    ) -> Message {
        self.change_meanwhile(visitor, path, command, Trouble::Gone, Trouble::None)
    }

    /// A request whose session is known, and an answer that comes when the store fails; it works again after that.
    pub fn failing_while_the_backend_works(
        &self,
        visitor: &mut Visitor<'_>,
        path: &str,
        command: (&str, &str),
    ) -> Message {
        let got = self.change_meanwhile(visitor, path, command, Trouble::None, Trouble::Gone);
        self.store("far").meets(Trouble::None);
        got
    }

    fn change_meanwhile(
        &self,
        visitor: &mut Visitor<'_>,
        path: &str,
        (verb, value): (&str, &str),
        before: Trouble,
        after: Trouble,
    ) -> Message {
        self.store("far").meets(before);
        let store = Arc::clone(&self.stores.iter().find(|(own, _)| own == "far").unwrap().1);
        let bytes = ok().say(verb, value).bytes("GET");
        let answer = Answer::takeover(move |stream| {
            store.meets(after);
            stream.stream.write_all(&bytes).unwrap();
        });
        visitor.visit(path, answer).got
    }

    /// A visitor without cookies.
    pub fn visitor(&self) -> Visitor<'_> {
        Visitor { place: self, jar: Jar::default() }
    }
}

fn manager(options: PolicyOptions, stores: &[(String, Arc<Fickle>)]) -> SessionManager {
    let Keep::Store(name) = &options.keep else { panic!("only stores can fail") };
    let store: Arc<dyn Store> = Arc::clone(&stores.iter().find(|(own, _)| own == name).unwrap().1) as _;
    SessionManager::new(options, Custody::Server { store, at_rest: AtRest::Sealed }, ring()).unwrap()
}

fn ring() -> Arc<KeyRing> {
    Arc::new(KeyRing::new(vec![Key::new("k", &Secret::new([7; 32]))]).unwrap())
}

/// What the server does with a configuration, but for the stores.
fn snapshot(config: &Config, stores: &[(String, Arc<Fickle>)]) -> Snapshot {
    let policies = config.policies.iter().map(|policy| Policy {
        manager: Arc::new(manager(policy.options.clone(), stores)),
        voice: Voice::new(policy.headers.clone()),
        commands: Commands::new(&policy.headers),
    });
    let policies: Vec<Policy> = policies.collect();
    let routes = config.routes.iter().enumerate().map(|(index, route)| (route.matcher.clone(), index));
    Snapshot {
        routes: RouteTable::new(routes.collect()),
        targets: config.routes.clone(),
        upstreams: config.upstreams.iter().cloned().map(|upstream| Peer::new(upstream).unwrap()).collect(),
        cookie_names: policies.iter().map(|policy| policy.manager.cookie_name().clone()).collect(),
        ring: ring(),
        reserved: Reserved::new(config.policies.iter().map(|policy| &policy.headers)),
        options: config.proxy.clone(),
        creations: None,
        policies,
    }
}

/// Somebody with a cookie jar.
pub struct Visitor<'p> {
    place: &'p Place,
    jar: Jar,
}

impl Visitor<'_> {
    /// A request that the backend answers with this.
    pub fn visit(&mut self, path: &str, answer: impl Into<Answer>) -> Visit {
        self.ask(&get(path), answer)
    }

    /// A request that the backend answers with this.
    pub fn ask(&mut self, ask: &Ask, answer: impl Into<Answer>) -> Visit {
        self.place.upstream.take();
        self.place.upstream.will(answer);
        let got = self.send(ask);
        Visit { seen: self.place.upstream.only(), got }
    }

    /// What the backend is told.
    pub fn look(&mut self, path: &str) -> Message {
        self.visit(path, ok()).seen
    }

    /// A request that must not reach the backend: the status.
    pub fn is_turned_away(&mut self, path: &str) -> Message {
        self.place.upstream.take();
        let got = self.send(&get(path));
        assert_eq!(self.place.upstream.take(), [], "the backend was asked");
        got
    }

    /// A request, whatever becomes of it.
    pub fn fetch(&mut self, path: &str) -> Message {
        self.send(&get(path))
    }

    /// Comes by the cookies of somebody else.
    pub fn keep_cookies_of(&mut self, other: &Self) {
        self.jar = other.jar.clone();
    }

    /// The `Cookie` line.
    pub fn cookie(&self) -> Option<String> {
        self.jar.line()
    }

    fn send(&mut self, ask: &Ask) -> Message {
        let ask = ask.clone().cookie(self.jar.line().as_deref());
        let got = Client::unix(&self.place.directory.path().join("proxy.sock")).ask(&ask);
        self.jar.keep(&got);
        got
    }
}
