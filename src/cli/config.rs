//! `cloakroom config`: the file shown again, and what a file may say.

use super::{FileArgument, Outcome, print};
use crate::config::{defaults, schema};
use clap::{Args, Subcommand};

/// What to show.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show the configuration without its secrets
    Show(ShowArguments),
    /// Print a JSON Schema of the configuration, for editors
    Schema,
}

/// Arguments of `config show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArguments {
    /// Which configuration is shown.
    #[command(flatten)]
    file: FileArgument,
    /// With everything that holds in it although it does not say so
    #[arg(long, conflicts_with = "defaults")]
    effective: bool,
    /// Every setting there is, at its default, with an explanation
    #[arg(long)]
    defaults: bool,
}

pub(super) fn config(command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Show(arguments) if arguments.defaults => print(defaults::REFERENCE),
        ConfigCommand::Show(arguments) => print(&arguments.file.load()?.show(arguments.effective)),
        ConfigCommand::Schema => print(&format!("{:#}\n", schema())),
    }
}
