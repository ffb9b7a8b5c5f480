//! Making a connection: to the first server that takes writes, and only to a table that we can use.

use super::failure::{ConnectError, Said};
use super::link::Link;
use super::queries::Queries;
use super::rest::Rest;
use super::schema;
use super::url::place_of;
use super::value::Value;
use super::{OpenError, PostgresOptions, tls};
use crate::session::random;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A setting that means nothing to the server; a connection that shows it is ours from end to end.
const MARK: &str = "cloakroom.connection";

/// Where the connections of a store lead.
pub(super) struct Target {
    pub options: PostgresOptions,
    pub queries: Queries,
    pub rest: Rest,
    tls: MakeRustlsConnect,
    /// The server that was last found to take writes.
    preferred: AtomicUsize,
    /// A pooler was seen: statements have no names from then on, for each may run on another connection of its own.
    pooled: AtomicBool,
}

type Made = (Client, Connection<Socket, <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream>);

impl Target {
    pub(super) fn new(options: PostgresOptions) -> Result<Self, OpenError> {
        let tls = tls::connector(&options)?;
        let queries = Queries::new(&options.table, options.sync);
        let (preferred, pooled) = (AtomicUsize::new(0), AtomicBool::new(false));
        Ok(Self { options, queries, rest: Rest::default(), tls, preferred, pooled })
    }

    /// A connection that was checked. Each server has `timeout` to answer.
    pub(super) async fn connect(&self) -> Result<Link, ConnectError> {
        let servers = &self.options.url.servers;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failure = None;
        for place in (0..servers.len()).map(|step| (first + step) % servers.len()) {
            let limit = self.options.timeout;
            let server = &servers[place];
            let made = tokio::time::timeout(limit, self.call(server)).await;
            match made.unwrap_or_else(|_| Err(ConnectError::Silent { server: place_of(server), limit })) {
                Ok(link) => {
                    self.preferred.store(place, Ordering::Relaxed);
                    return Ok(link);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| self.silent()))
    }

    /// Nobody has answered in time.
    pub(super) fn silent(&self) -> ConnectError {
        ConnectError::Silent { server: self.options.url.places().join(","), limit: self.options.timeout }
    }

    /// A pooler showed itself in the middle of work.
    pub(super) fn suspect_pooler(&self) {
        self.pooled.store(true, Ordering::Relaxed);
    }

    async fn call(&self, server: &Config) -> Result<Link, ConnectError> {
        let mark = u64::from_be_bytes(random().map_err(ConnectError::NoRandomness)?);
        let mark = format!("{mark:016x}");
        let (client, driver) = self.log_in(server, &mark).await.map_err(|error| refused(server, error))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                let error = Said::from(error);
                tracing::warn!(error = &error as &dyn std::error::Error, "a connection to PostgreSQL broke");
            }
        })
        .abort_handle();
        let mut link = Link::new(client, driver);
        let seen = self.look(&link).await.map_err(|error| refused(server, error))?;
        schema::judge(&self.options.table, seen.is_there, seen.comment.as_deref())?;
        if seen.mark != Some(mark) {
            self.suspect_pooler();
        }
        if !self.pooled.load(Ordering::Relaxed) {
            link.prepare(&self.queries).await.map_err(|error| refused(server, error))?;
        }
        Ok(link)
    }

    /// Logs in under a mark, by which we will know that nobody stands in between. Most poolers refuse such a setting at
    /// once, which tells the same; then we come again without.
    async fn log_in(&self, server: &Config, mark: &str) -> Result<Made, Error> {
        if !self.pooled.load(Ordering::Relaxed) {
            let mut marked = server.clone();
            let own = server.get_options().unwrap_or_default();
            marked.options(format!("{own} -c {MARK}={mark}").trim());
            match marked.connect(self.tls.clone()).await {
                Ok(made) => return Ok(made),
                Err(error) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => self.suspect_pooler(),
                Err(error) => return Err(error),
            }
        }
        server.connect(self.tls.clone()).await
    }

    /// Looks at the table and at the connection, in one round trip.
    async fn look(&self, link: &Link) -> Result<Seen, Error> {
        let sql = "SELECT to_regclass($1) IS NOT NULL, obj_description(to_regclass($1), 'pg_class'), \
                   current_setting($2, true), current_setting('fsync')";
        let row = link.once(sql, &[Value::Text(&self.options.table.quoted()), Value::Text(MARK)]).await?;
        if row.try_get::<_, Option<&str>>(3)? == Some("off") {
            tracing::warn!("fsync is off on the PostgreSQL server: a crash of its machine may destroy every session");
        }
        Ok(Seen { is_there: row.try_get(0)?, comment: row.try_get(1)?, mark: row.try_get(2)? })
    }

    /// A connection for work on the schema, unchecked.
    pub(super) async fn connect_unchecked(&self) -> Result<Client, ConnectError> {
        let (limit, mut failure) = (self.options.timeout, None);
        for server in &self.options.url.servers {
            match tokio::time::timeout(limit, server.connect(self.tls.clone())).await {
                Ok(Ok((client, driver))) => {
                    tokio::spawn(driver);
                    return Ok(client);
                }
                Ok(Err(error)) => failure = Some(refused(server, error)),
                Err(_) => failure = Some(ConnectError::Silent { server: place_of(server), limit }),
            }
        }
        Err(failure.unwrap_or_else(|| self.silent()))
    }
}

/// What is at the other end of a connection.
struct Seen {
    is_there: bool,
    comment: Option<String>,
    mark: Option<String>,
}

fn refused(server: &Config, error: Error) -> ConnectError {
    ConnectError::Refused { server: place_of(server), source: error.into() }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}", self.options.table, self.options.sync)
    }
}
