//! The admin socket: a small HTTP/1.1 API in JSON for the operator of this machine, on a Unix socket.
//!
//! * `socket`: where it is, and who may connect: the mode of the file decides.
//! * `serve`: connections, within bounds; it runs on a thread of its own, away from the workers.
//! * `route`: which request is which question. **A new endpoint is an arm of its `match`**, a type in `message`, and a
//!   function of the client.
//! * `sessions`: the questions about sessions, put to the managers. `histories`: about what happened to them.
//! * `message`: the words of the API, shared with the client.
//! * `client`: the other end, for commands.
//!
//! Neither side knows what a configuration is: who wires the server tells it by [`Control`] what there is.

mod client;
mod histories;
mod message;
mod route;
mod serve;
mod sessions;
mod socket;

pub use client::{Client, ClientError};
pub use message::{
    Fault, Histories, HistoryOf, Key, Listed, Occurrence, Outcome, PolicyStatus, Reloaded, Revocation, Revoked,
    SessionOutcome, SessionSummary, Status, Unusable, Wanted, Whose,
};
pub use serve::serve;
pub use socket::{Socket, SocketError};

use crate::clock::Timestamp;
use crate::manager::SessionManager;
use async_trait::async_trait;
use std::fmt::Debug;
use std::sync::Arc;

/// What the socket is told and may ask for; the wiring implements it.
#[async_trait]
pub trait Control: Debug + Send + Sync + 'static {
    /// What the server is doing.
    fn status(&self) -> Status;

    /// Reads the configuration again and serves it.
    ///
    /// # Errors
    /// [`Unusable`] says why the old one is served on.
    async fn reload(&self) -> Result<Reloaded, Unusable>;

    /// The managers of the session policies that are served now, in the order of the file.
    fn managers(&self) -> Vec<Arc<SessionManager>>;

    /// The present moment.
    fn now(&self) -> Timestamp;
}
