//! `cloakroom init`: a configuration to begin with, which works and says what else it could say.

use super::{Failure, Outcome, keygen, print};
use crate::clock::{Clock, SystemClock};
use crate::config::{Date, parse};
use clap::Args;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Arguments of `init`.
#[derive(Clone, Debug, Args)]
pub struct InitArguments {
    /// The backend
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    upstream: String,
    /// What kind of backend it is: `cloakroom profiles` lists them
    #[arg(long, default_value = "generic")]
    profile: String,
    /// The file to write, which must not exist; `-` prints it
    #[arg(short, long, value_name = "FILE", default_value = "cloakroom.toml")]
    output: PathBuf,
}

pub(super) fn init(arguments: &InitArguments) -> Outcome {
    let text = text(arguments)?;
    if let Err(problems) = parse(&text, "the file") {
        return Err(Failure::usage(&problems));
    }
    if arguments.output.as_os_str() == "-" {
        return print(&text);
    }
    let shown = arguments.output.display();
    // Readable for its owner only: there is a key in it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&arguments.output);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => {
            eprintln!("wrote {shown}: look at it, then `cloakroom check -c {shown}` and `cloakroom run -c {shown}`");
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(Failure::Failed(format!("`{shown}` exists already, and is left as it is: name another file with `-o`")))
        }
        Err(error) => Err(Failure::Failed(format!("`{shown}` cannot be written: {error}"))),
    }
}

fn text(arguments: &InitArguments) -> Result<String, Failure> {
    let quoted = |text: &str| toml::Value::String(text.into()).to_string();
    let key = keygen::block(&Date::of(SystemClock.now()).to_string())?;
    Ok(include_str!("init.toml")
        .replace("\"UPSTREAM\"", &quoted(&arguments.upstream))
        .replace("\"PROFILE\"", &quoted(&arguments.profile))
        .replace("# KEY\n", &key))
}
