//! `cloakroom store`: what is kept where, and moving it.

mod bookmark;
mod copy;
mod migrate;
mod progress;

use super::{Failure, FileArgument, picture, print};
use crate::config::{Config, StoreOptions, suggestion};
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use std::process::ExitCode;

/// What to do with stores.
#[derive(Clone, Debug, Subcommand)]
pub enum StoreCommand {
    /// List the stores of the configuration, with what each promises
    List(ListArguments),
    /// Copy all sessions from one store to another, while both are in use
    Copy(copy::CopyArguments),
    /// Make the table of a PostgreSQL store, or bring it up to date
    Migrate(migrate::MigrateArguments),
}

/// Arguments of `store list`.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// Which configuration has the stores.
    #[command(flatten)]
    file: FileArgument,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) fn store(command: &StoreCommand) -> Result<ExitCode, Failure> {
    match command {
        StoreCommand::List(arguments) => {
            let config = arguments.file.load()?;
            print(&if arguments.json { format!("{:#}\n", json(&config)) } else { picture::stores(&config) })?;
            Ok(ExitCode::SUCCESS)
        }
        StoreCommand::Copy(arguments) => copy::copy(arguments),
        StoreCommand::Migrate(arguments) => migrate::migrate(arguments),
    }
}

fn json(config: &Config) -> Json {
    let each = |store: &StoreOptions, is_used: bool| {
        let mut json = picture::store_json(store);
        json["used"] = json!(is_used);
        json
    };
    let used = config.stores.iter().map(|store| each(store, true));
    used.chain(config.spare_stores.iter().map(|store| each(store, false))).collect()
}

/// The store of a name; cookies are none that a command could open.
fn find<'a>(config: &'a Config, name: &str) -> Result<&'a StoreOptions, Failure> {
    config.store(name).ok_or_else(|| {
        let names = config.stores.iter().chain(&config.spare_stores).map(|store| store.name.as_str());
        let names: Vec<&str> = names.filter(|own| *own != "memory").collect();
        Failure::Usage(match name {
            "cookie" => {
                "`cookie` is no place that could be opened: each visitor's browser keeps its own session".into()
            }
            name => format!("no store `{name}` is kept by this server: {}", suggestion(name, names, "")),
        })
    })
}
