//! `type = "postgres"`: one table of a PostgreSQL database.

use super::super::file::Store;
use super::super::given::At;
use super::super::problem::Problem;
use super::{Resolver, network};
use crate::store::postgres::{PostgresOptions, PostgresUrl, TableName};
use std::time::Duration;

const URL: &str = "postgres://user:${env:PASSWORD}@db.internal:5432/database";

pub(super) fn options(name: &At<String>, store: &Store, to: &mut Resolver<'_>) -> Option<PostgresOptions> {
    let url = url(name, store, to);
    let table = table(store, to);
    let ca = network::authorities(&store.ca, to);
    Some(PostgresOptions {
        ca,
        sync: store.sync.value(),
        connections: network::connections(store, 4, to),
        timeout: network::timeout(store, Duration::from_secs(1), to),
        url: url?,
        table: table?,
    })
}

fn url(name: &At<String>, store: &Store, to: &mut Resolver<'_>) -> Option<PostgresUrl> {
    let Some(url) = store.url.at() else {
        network::missing(name, "url", &format!("\"{URL}\""), to);
        return None;
    };
    network::readable(url, to);
    let servers = PostgresUrl::parse(&url.value)
        .map_err(|error| network::no_address(name, "url", &error.to_string(), &url.span, URL, to))
        .ok()?;
    let help = "take `sslmode=disable` out if the server talks TLS";
    let exposed = servers.exposed();
    let hosts = exposed.iter().map(String::as_str);
    network::exposed(name, hosts, servers.has_password(), url.span.clone(), help, to);
    Some(servers)
}

fn table(store: &Store, to: &mut Resolver<'_>) -> Option<TableName> {
    let Some(table) = store.table.at() else { return Some(TableName::default()) };
    TableName::parse(&table.value)
        .map_err(|error| {
            let message = format!("`{}` cannot be the table of a store: {error}", table.value.escape_default());
            let problem = Problem::error("store::table", message).at(table.span.clone());
            to.report(problem.help("write a name such as `\"cloakroom_sessions\"`, or `\"schema.name\"`"));
        })
        .ok()
}
