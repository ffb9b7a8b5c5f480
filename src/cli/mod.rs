//! The command line: who answers what is asked for, and how the answer ends.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 78 a
//! configuration that cannot be used (`EX_CONFIG` of sysexits).

pub mod arguments;
mod check;
mod completions;
mod config;
mod demo;
mod explain;
mod history;
mod init;
mod inspect;
mod keygen;
pub mod picture;
mod profiles;
mod run;
mod server;
mod sessions;
mod snippet;
mod store;

use crate::config::Problems;
use arguments::{Arguments, Command, CookieCommand, FileArgument, PLACES};
use clap::Parser;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// How a command ends that does not do what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// It could not: one sentence.
    Failed(String),
    /// It was asked for something that makes no sense.
    Usage(String),
    /// There is a configuration that cannot be used.
    Configuration(Box<Problems>),
    /// There is no configuration.
    NoConfiguration,
    /// A running server found problems in its configuration, and told them.
    Unusable(String),
    /// As with [`Failure::Configuration`], and the problems have been printed.
    Reported,
}

/// How a command ends.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// The exit code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Configuration(_) | Self::Unusable(_) | Self::NoConfiguration | Self::Reported => 78,
        }
    }

    /// Arguments that made a configuration with problems: the first says it.
    #[must_use]
    pub fn usage(problems: &Problems) -> Self {
        Self::Usage(problems.list().first().map(ToString::to_string).unwrap_or_default())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(problems) => f.write_str(problems),
            Self::Failed(message) | Self::Usage(message) => write!(f, "error: {message}"),
            Self::Configuration(problems) => f.write_str(&problems.render(has_colour(&std::io::stderr()))),
            Self::NoConfiguration => {
                let places = PLACES.map(|place| format!("`{place}`")).join(" and ");
                write!(f, "error: there is no configuration: looked for {places}; ")?;
                f.write_str("name one with `-c`, or write one with `cloakroom init`")
            }
            Self::Reported => Ok(()),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Configuration(Box::new(problems))
    }
}

/// Does what the arguments of the process say.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to be done when even this cannot be printed.
            error.print().unwrap_or_default();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    dispatch(&arguments.command).unwrap_or_else(|failure| {
        let message = failure.to_string();
        if !message.is_empty() {
            eprintln!("{message}");
        }
        ExitCode::from(failure.code())
    })
}

fn dispatch(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(arguments) => return Ok(run::run(arguments.load()?)),
        Command::Demo(arguments) => return Ok(demo::demo(arguments.port)),
        Command::Explain(arguments) => {
            let request = arguments.request()?;
            return Ok(explain::explain(&arguments.file.load()?, &request));
        }
        Command::Cookie(CookieCommand::Inspect(arguments)) => {
            let config = arguments.file.load()?;
            return Ok(inspect::inspect(&config, &arguments.value()?));
        }
        Command::Store(command) => return store::store(command),
        Command::Status(arguments) => server::status(arguments)?,
        Command::Reload(arguments) => server::reload(arguments)?,
        Command::Sessions(command) => sessions::sessions(command)?,
        Command::Init(arguments) => init::init(arguments)?,
        Command::Check(arguments) => check::check(arguments)?,
        Command::Keygen(arguments) => keygen::keygen(arguments)?,
        Command::Snippet(arguments) => snippet::snippet(arguments)?,
        Command::Profiles(arguments) => profiles::profiles(arguments)?,
        Command::Config(command) => config::config(command)?,
        Command::Completions(arguments) => completions::completions(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether an output is a terminal whose user does not mind colours.
pub fn has_colour(output: &impl IsTerminal) -> bool {
    output.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a result. Who stops reading, as `head` does, has what they want.
///
/// # Errors
/// [`Failure::Failed`] when the result could not be written for another reason.
pub fn print(result: &str) -> Outcome {
    let mut output = std::io::stdout().lock();
    match output.write_all(result.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("the result cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints an error and its causes.
pub(crate) fn print_error(error: &(dyn std::error::Error + 'static)) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}
