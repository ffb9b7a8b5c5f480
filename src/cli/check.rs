//! `cloakroom check`: every problem at once, or else what the configuration means.

use super::{Failure, FileArgument, Outcome, has_colour, picture, print};
use crate::config::{Problems, load};
use clap::{Args, ValueEnum};

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArguments {
    /// Which configuration is checked.
    #[command(flatten)]
    file: FileArgument,
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// For whom the result is.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

pub(super) fn check(arguments: &CheckArguments) -> Outcome {
    match load(&arguments.file.find()?) {
        Ok(config) => {
            let problems = config.problems();
            print(&match arguments.format {
                Format::Text => format!("{}\n{}", picture::text(&config), text(&problems)),
                Format::Json => {
                    let mut json = problems.to_json();
                    json["effective"] = picture::json(&config);
                    format!("{json:#}\n")
                }
            })
        }
        Err(problems) => {
            print(&match arguments.format {
                Format::Text => text(&problems),
                Format::Json => format!("{:#}\n", problems.to_json()),
            })?;
            Err(Failure::Reported)
        }
    }
}

fn text(problems: &Problems) -> String {
    problems.render(has_colour(&std::io::stdout())) + "\n"
}
