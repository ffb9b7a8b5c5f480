//! `cloakroom keygen`: a key from the system's random source.

use super::{Failure, Outcome, print};
use crate::clock::{Clock, SystemClock};
use crate::config::Date;
use crate::session::random;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

/// Arguments of `keygen`.
#[derive(Clone, Debug, Args)]
pub struct KeygenArguments {
    /// The name of the key; without it the day
    #[arg(long)]
    id: Option<String>,
}

pub(super) fn keygen(arguments: &KeygenArguments) -> Outcome {
    let id = arguments.id.clone().unwrap_or_else(|| Date::of(SystemClock.now()).to_string());
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !(1..=32).contains(&id.len()) || !id.bytes().all(good) {
        let message = format!(
            "`{}` is not the id of a key: use at most 32 letters, digits, `-`, `_` and `.`",
            id.escape_default()
        );
        return Err(Failure::Usage(message));
    }
    print(&block(&id)?)
}

/// A fresh key as a block of the configuration.
///
/// # Errors
/// [`Failure::Failed`] when the system has no randomness to give.
pub(super) fn block(id: &str) -> Result<String, Failure> {
    let key = random::<32>().map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(format!("[[keys]]\nid = \"{id}\"\nsecret = \"{}\"\n", STANDARD.encode(key)))
}
