//! A server and the connections to it.

use super::link::Link;
use super::names::Place;
use super::route::Route;
use std::sync::Arc;

/// One server, or whoever is the primary at present.
#[derive(Debug)]
pub(super) struct Node {
    /// Where a cluster's node listens; empty where there is only one server.
    pub(super) address: (String, u16),
    pub(super) route: Arc<Route>,
    links: Box<[Link]>,
}

impl Node {
    pub(super) fn new(address: (String, u16), route: Route, connections: usize) -> Self {
        let route = Arc::new(route);
        let links = (0..connections.max(1)).map(|_| Link::new(Arc::clone(&route))).collect();
        Self { address, route, links }
    }

    /// What to call it in a message.
    pub(super) fn name(&self) -> String {
        let (host, port) = &self.address;
        if host.is_empty() { "the server".to_owned() } else { format!("{host}:{port}") }
    }

    /// The connection that carries the requests of this key.
    pub(super) fn link(&self, place: &Place) -> &Link {
        &self.links[place.lane % self.links.len()]
    }

    /// The connection for questions about the server itself.
    pub(super) fn any_link(&self) -> &Link {
        &self.links[0]
    }
}
