//! `cloakroom store migrate`: makes the table of a PostgreSQL store, or brings it up to date.

use super::find;
use crate::cli::{Failure, FileArgument, print, print_error};
use crate::config::StoreKind;
use crate::store::postgres::PostgresStore;
use clap::Args;
use std::process::ExitCode;

/// Arguments of `store migrate`.
#[derive(Clone, Debug, Args)]
pub struct MigrateArguments {
    /// The store
    name: String,
    /// Which configuration has the store.
    #[command(flatten)]
    file: FileArgument,
}

pub(super) fn migrate(arguments: &MigrateArguments) -> Result<ExitCode, Failure> {
    let config = arguments.file.load()?;
    let store = find(&config, &arguments.name)?;
    let StoreKind::Postgres(options) = &store.kind else {
        return Err(Failure::Usage(format!(
            "`{}` is a {} store, which makes what it needs by itself: only a postgres store is migrated",
            store.name,
            store.kind.as_str()
        )));
    };
    let failed = |error: std::io::Error| Failure::Failed(format!("no runtime: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let postgres = match PostgresStore::open(options.clone()) {
        Ok(postgres) => postgres,
        Err(error) => {
            print_error(&error);
            return Ok(ExitCode::FAILURE);
        }
    };
    match runtime.block_on(postgres.migrate()) {
        Ok(migration) => {
            print(&format!("store {}, table {}: {migration}\n", store.name, options.table.as_str()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            print_error(&error);
            Ok(ExitCode::FAILURE)
        }
    }
}
