//! Which node of a cluster holds which slot: asked once, corrected by every node that says otherwise.

use super::dial::Dialer;
use super::failure::{Failure, Quiet, Refusal};
use super::flight::{Flight, Landing};
use super::names::SLOTS;
use super::node::Node;
use super::route::Route;
use super::url::{Address, RedisUrl};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use redis::{Cmd, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Nodes that are asked at once for the map.
const ASKED: usize = 8;

/// The map is not asked for more often than this, whatever the nodes say.
const PAUSE: Duration = Duration::from_millis(100);

/// More nodes than the specification advises; a map of more is no map.
const MOST_NODES: usize = 1000;

/// A slot that no known node holds.
const NOBODY: u16 = u16::MAX;

/// The nodes of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    dialer: Arc<Dialer>,
    seeds: Vec<Arc<Node>>,
    /// How all nodes are reached but for their addresses.
    model: RedisUrl,
    connections: usize,
    map: ArcSwap<Map>,
    /// Held while the map changes, so that no correction is lost.
    changing: Mutex<()>,
    refresh: Flight,
    refreshed: Mutex<Option<Instant>>,
    /// Why the map could not be had when it was last asked for.
    trouble: Mutex<Option<Arc<Failure>>>,
    /// Counts the changes of the map.
    changes: AtomicU64,
}

/// Who holds what.
#[derive(Clone, Debug)]
struct Map {
    holders: Box<[u16]>,
    nodes: Vec<Arc<Node>>,
}

impl Map {
    fn empty() -> Self {
        Self { holders: vec![NOBODY; usize::from(SLOTS)].into(), nodes: Vec::new() }
    }

    /// The node's place in the map, where there is one for it.
    fn number_of(&mut self, address: &(String, u16), make: impl FnOnce() -> Arc<Node>) -> Option<u16> {
        let found = self.nodes.iter().position(|node| node.address == *address).or_else(|| {
            let next = self.nodes.len();
            (next < MOST_NODES).then(|| self.nodes.push(make())).map(|()| next)
        });
        found.and_then(|found| u16::try_from(found).ok())
    }
}

impl Cluster {
    pub(super) fn new(dialer: Arc<Dialer>, seeds: &[RedisUrl], model: RedisUrl, connections: usize) -> Self {
        let node = |url: &RedisUrl| {
            let address = match &url.address {
                Address::Tcp { host, port, .. } => (host.clone(), *port),
                Address::Unix(path) => (path.display().to_string(), 0),
            };
            Arc::new(Node::new(address, Route::to_server(Arc::clone(&dialer), url.clone()), connections))
        };
        Self {
            seeds: seeds.iter().map(node).collect(),
            dialer,
            model,
            connections,
            map: ArcSwap::from_pointee(Map::empty()),
            changing: Mutex::default(),
            refresh: Flight::default(),
            refreshed: Mutex::default(),
            trouble: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// Who holds a slot, as far as is known.
    pub(super) fn holder(&self, slot: u16) -> Option<Arc<Node>> {
        let map = self.map.load();
        map.nodes.get(usize::from(map.holders[usize::from(slot)])).cloned()
    }

    /// Why nobody is known to hold a slot.
    pub(super) fn trouble(&self) -> Arc<Failure> {
        self.trouble.lock().clone().unwrap_or_else(|| Arc::new(Failure::NoSlots))
    }

    /// All nodes that may hold something, in the order of their addresses.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        let mut nodes = self.map.load().nodes.clone();
        nodes.sort_by(|a, b| a.address.cmp(&b.address));
        nodes
    }

    /// Another number after every change of the map.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// A number that stands for who holds what, the same in every process.
    pub(super) fn fingerprint(&self) -> u64 {
        use std::fmt::Write as _;
        let map = self.map.load();
        let mut text = String::new();
        let mut last = NOBODY;
        for (slot, holder) in map.holders.iter().enumerate() {
            if *holder != last {
                let address = map.nodes.get(usize::from(*holder)).map(|node| &node.address);
                let _ = write!(text, "{slot}{address:?}");
                last = *holder;
            }
        }
        // FNV-1a: it has to be the same tomorrow, not to resist anybody.
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// The node that listens there, known or not; `asked` is the one that spoke of it, which may leave its host out.
    pub(super) fn node_at(&self, address: &str, asked: &Node) -> Option<Arc<Node>> {
        let address = parse(address, &asked.address.0)?;
        if let Some(node) = self.map.load().nodes.iter().find(|node| node.address == address) {
            return Some(Arc::clone(node));
        }
        let _changing = self.changing.lock();
        let mut map = Map::clone(&self.map.load());
        let known = map.nodes.len();
        let number = map.number_of(&address, || self.node(&address))?;
        let node = map.nodes.get(usize::from(number)).cloned();
        if map.nodes.len() > known {
            self.put(map);
        }
        node
    }

    /// A node says that another holds the slot.
    pub(super) fn moved(self: &Arc<Self>, slot: u16, to: &str, asked: &Node) {
        let Some(node) = self.node_at(to, asked) else { return };
        // Many may be told at once; one of them changes the map.
        if self.holder(slot).is_none_or(|holder| holder.address != node.address) {
            let _changing = self.changing.lock();
            let mut map = Map::clone(&self.map.load());
            let Some(number) = map.number_of(&node.address, || Arc::clone(&node)) else { return };
            if map.holders[usize::from(slot)] != number {
                map.holders[usize::from(slot)] = number;
                self.put(map);
            }
        }
        drop(self.ask_for_map());
    }

    /// Whether the map was read so lately.
    pub(super) fn was_read_within(&self, recent: Duration) -> bool {
        self.trouble.lock().is_none() && self.refreshed.lock().is_some_and(|last| last.elapsed() < recent)
    }

    /// Has the map asked for, unless it has just been; the answer comes when it comes.
    pub(super) fn ask_for_map(self: &Arc<Self>) -> Landing {
        let cluster = Arc::clone(self);
        self.refresh.join(|| async move {
            let last = *cluster.refreshed.lock();
            if let Some(last) = last {
                tokio::time::sleep_until(last + PAUSE).await;
            }
            cluster.read_map().await;
            *cluster.refreshed.lock() = Some(Instant::now());
        })
    }

    async fn read_map(self: &Arc<Self>) {
        // What is known goes first; who was first named is asked too, as all others may be gone.
        let mut candidates = self.map.load().nodes.clone();
        candidates.extend(self.seeds.iter().cloned());
        for some in candidates.chunks(ASKED) {
            let mut asked = JoinSet::new();
            for node in some {
                let (node, limit) = (Arc::clone(node), self.dialer.limit);
                asked.spawn(async move {
                    let Ok(ranges) = tokio::time::timeout(limit, slots_by(&node)).await else {
                        return Err(Arc::new(Failure::Slow { server: node.name(), limit }));
                    };
                    ranges.map(|ranges| (node, ranges))
                });
            }
            while let Some(answer) = asked.join_next().await {
                match answer {
                    Ok(Ok((node, ranges))) if self.take(&node, &ranges) => {
                        *self.trouble.lock() = None;
                        return;
                    }
                    Ok(Err(failure)) => *self.trouble.lock() = Some(failure),
                    _ => {}
                }
            }
        }
    }

    fn take(&self, asked: &Node, ranges: &[Value]) -> bool {
        if ranges.len() > usize::from(SLOTS) {
            return false;
        }
        let _changing = self.changing.lock();
        let old = self.map.load_full();
        let mut map = Map::empty();
        for range in ranges {
            let Some((first, last, address)) = range_of(range, &asked.address.0) else { return false };
            let make = || {
                let known = old.nodes.iter().find(|node| node.address == address);
                known.cloned().unwrap_or_else(|| self.node(&address))
            };
            let Some(number) = map.number_of(&address, make) else { return false };
            map.holders[usize::from(first)..=usize::from(last)].fill(number);
        }
        if map.nodes.is_empty() {
            return false;
        }
        let same = |slot: usize| {
            let holder = |map: &Map| map.nodes.get(usize::from(map.holders[slot])).map(|node| node.address.clone());
            holder(&map) == holder(&old)
        };
        if map.nodes.len() != old.nodes.len() || !(0..usize::from(SLOTS)).all(same) {
            self.put(map);
        }
        true
    }

    fn put(&self, map: Map) {
        self.map.store(Arc::new(map));
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn node(&self, (host, port): &(String, u16)) -> Arc<Node> {
        // A node that was first named by a URL keeps its connections.
        let seed = self.seeds.iter().find(|seed| seed.address == (host.clone(), *port));
        seed.cloned().unwrap_or_else(|| {
            let route = Route::to_server(Arc::clone(&self.dialer), self.model.at(host.clone(), *port));
            Arc::new(Node::new((host.clone(), *port), route, self.connections))
        })
    }
}

async fn slots_by(node: &Node) -> Result<Vec<Value>, Arc<Failure>> {
    let wire = node.any_link().wire().await.map_err(|unconnected| unconnected.cause)?;
    let question = Cmd::new().arg("CLUSTER").arg("SLOTS").to_owned();
    match wire.send(&question).await {
        Ok(Value::Array(ranges)) => Ok(ranges),
        Ok(Value::ServerError(error)) => Err(Arc::new(Failure::Refused(Refusal::new(&error)))),
        Ok(_) => Err(Arc::new(Failure::NoSlots)),
        Err(error) => {
            wire.cut();
            Err(Arc::new(Failure::Broken(Quiet::from(&error))))
        }
    }
}

/// `[first, last, [host, port, ..], ..]`, the primary first; the host may be missing, it is then that of who was asked.
fn range_of(value: &Value, asked: &str) -> Option<(u16, u16, (String, u16))> {
    let Value::Array(parts) = value else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &parts[..] else { return None };
    let [host, Value::Int(port), ..] = &primary[..] else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        Value::Nil => "",
        _ => return None,
    };
    let host = if host.is_empty() || host == "?" { asked } else { host };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    (first <= last && last < SLOTS).then_some((first, last, (host.to_owned(), u16::try_from(*port).ok()?)))
}

/// `host:port` as a node writes it; without a host it is that of the node itself.
fn parse(address: &str, asked: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = if host.is_empty() || host == "?" { asked } else { host };
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_names_a_primary() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let range = |first, last, host| {
            Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(vec![host, Value::Int(7000)])])
        };
        assert_eq!(range_of(&range(0, 16_383, text("10.0.0.1")), "a"), Some((0, 16_383, ("10.0.0.1".into(), 7000))));
        assert_eq!(range_of(&range(5, 5, Value::Nil), "a"), Some((5, 5, ("a".into(), 7000))));
        for (first, last) in [(0, 16_384), (6, 5), (-1, 5), (0, 1 << 40)] {
            assert_eq!(range_of(&range(first, last, text("h")), "a"), None);
        }
    }

    #[test]
    fn a_map_has_room_for_so_many_nodes() {
        let dialer = Arc::new(Dialer::plain(Duration::ZERO));
        let url = RedisUrl::parse("redis://127.0.0.1:1").unwrap();
        let cluster = Arc::new(Cluster::new(dialer, std::slice::from_ref(&url), url.clone(), 1));
        let asked = Arc::clone(&cluster.seeds[0]);
        for port in 0..2000_u16 {
            let address = format!("127.0.0.1:{port}");
            assert_eq!(cluster.node_at(&address, &asked).is_some(), usize::from(port) < MOST_NODES, "{port}");
        }
        assert_eq!(cluster.nodes().len(), MOST_NODES);
        let range = |port: i64| {
            let host = Value::BulkString(b"h".to_vec());
            Value::Array(vec![Value::Int(port), Value::Int(port), Value::Array(vec![host, Value::Int(port)])])
        };
        assert!(cluster.take(&asked, &(0..1000).map(range).collect::<Vec<_>>()));
        assert!(!cluster.take(&asked, &(0..1001).map(range).collect::<Vec<_>>()));
        let many: Vec<_> = std::iter::repeat_n(range(1), 20_000).collect();
        assert!(!cluster.take(&asked, &many));
        assert_eq!(cluster.nodes().len(), 1000);
    }

    #[test]
    fn redirections_name_a_node() {
        assert_eq!(parse("10.0.0.1:7000", "a"), Some(("10.0.0.1".into(), 7000)));
        assert_eq!(parse("::1:7000", "a"), Some(("::1".into(), 7000)));
        assert_eq!(parse(":7000", "a"), Some(("a".into(), 7000)));
        assert_eq!(parse("nowhere", "a"), None);
    }
}
