//! The client of the admin socket: one connection for each question.

use super::message::{
    Fault, Histories, HistoryOf, Listed, Reloaded, Revocation, Revoked, Status, Unusable, Wanted, Whose,
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// No answer takes longer.
const ANSWER: Duration = Duration::from_secs(65);

/// No answer is larger.
const MAX_ANSWER: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no server answers on {path}: {source}")]
    Connect {
        /// The path of the socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server said why not.
    #[error("{0}")]
    Refused(String),
    /// The configuration on the disk cannot be served.
    #[error("{}", .0.error)]
    Unusable(Unusable),
    /// What came is no answer of a server of this version.
    #[error("the server on {path} did not answer as expected: {detail}")]
    Strange {
        /// The path of the socket.
        path: PathBuf,
        /// What was wrong.
        detail: String,
    },
}

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// A client of the server that listens here.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// What the server is doing.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "status", &()).await
    }

    /// Lets it read its configuration again.
    ///
    /// # Errors
    /// [`ClientError::Unusable`] when it serves the old one on.
    pub async fn reload(&self) -> Result<Reloaded, ClientError> {
        self.ask(Method::POST, "reload", &()).await
    }

    /// A page of sessions.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub async fn sessions(&self, wanted: &Wanted) -> Result<Listed, ClientError> {
        let limit = wanted.limit.map(|limit| limit.to_string());
        let words = [("policy", &wanted.policy), ("user", &wanted.user), ("limit", &limit), ("after", &wanted.after)];
        self.ask(Method::GET, &with_query("sessions", &words), &()).await
    }

    /// The session of a reference, or where to go on looking for it.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub async fn session(&self, reference: &str, after: Option<String>) -> Result<Listed, ClientError> {
        let path = format!("sessions/{}", encoded(reference));
        self.ask(Method::GET, &with_query(&path, &[("after", &after)]), &()).await
    }

    /// What happened to a session, or to a user's sessions.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub async fn history(&self, asked: &HistoryOf) -> Result<Histories, ClientError> {
        let (reference, user) = match &asked.whose {
            Some(Whose::Reference(reference)) => (Some(reference.clone()), None),
            Some(Whose::User(user)) => (None, Some(user.clone())),
            None => (None, None),
        };
        let words = [("reference", &reference), ("user", &user), ("policy", &asked.policy)];
        self.ask(Method::GET, &with_query("histories", &words), &()).await
    }

    /// Ends sessions.
    ///
    /// # Errors
    /// [`ClientError`] when they may not have ended.
    pub async fn revoke(&self, which: &Revocation, after: Option<String>) -> Result<Revoked, ClientError> {
        self.ask(Method::POST, &with_query("revocations", &[("after", &after)]), which).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let (status, bytes) = self.exchange(method, path, body).await?;
        let strange = |detail: String| ClientError::Strange { path: self.path.clone(), detail };
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| strange(error.to_string()));
        }
        if status == StatusCode::UNPROCESSABLE_ENTITY
            && let Ok(unusable) = serde_json::from_slice(&bytes)
        {
            return Err(ClientError::Unusable(unusable));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Fault { error }) => Err(ClientError::Refused(error)),
            Err(_) => Err(strange(status.to_string())),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let strange = |detail: String| ClientError::Strange { path: self.path.clone(), detail };
        let stream = UnixStream::connect(&self.path).await;
        let stream = stream.map_err(|source| ClientError::Connect { path: self.path.clone(), source })?;
        let broken = |error: hyper::Error| strange(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let body = if method == Method::GET { Ok(Vec::new()) } else { serde_json::to_vec(body) };
        let body = body.map_err(|error| strange(error.to_string()))?;
        let request = Request::builder().method(method).uri(format!("/v1/{path}")).header("Host", "cloakroom");
        let request = request.header("Content-Type", "application/json").body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| strange(error.to_string()))?;
        let driver = tokio::spawn(connection);
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|error| strange(error.to_string()))?.to_bytes()))
        };
        let answer = tokio::time::timeout(ANSWER, exchange).await;
        driver.abort();
        answer.unwrap_or_else(|_| Err(strange(format!("no answer within {ANSWER:?}"))))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn with_query(path: &str, words: &[(&str, &Option<String>)]) -> String {
    let given = words.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))));
    let query: Vec<String> = given.collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}
