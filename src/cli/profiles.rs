//! `cloakroom profiles`: what backends take.

use super::{Outcome, print};
use crate::wire::{PROFILES, Profile};
use clap::Args;
use serde_json::{Value as Json, json};

/// Arguments of `profiles`.
#[derive(Clone, Debug, Args)]
pub struct ProfilesArguments {
    /// For programs, and with all that is known
    #[arg(long)]
    json: bool,
}

pub(super) fn profiles(arguments: &ProfilesArguments) -> Outcome {
    print(&if arguments.json { format!("{:#}\n", PROFILES.iter().map(profile).collect::<Json>()) } else { table() })
}

fn table() -> String {
    let row = |name: &str, [fields, value, line, total]: [&str; 4], folding: &str, servers: &str| {
        format!("{name:<11} {fields:>6} {value:>6} {line:>6} {total:>6}  {servers:<45}  {folding}")
            .trim_end()
            .to_owned()
            + "\n"
    };
    let mut table = row("profile", ["fields", "value", "line", "total"], "other spellings of a name", "servers");
    for Profile { name, servers, budget, folding, .. } in PROFILES {
        let numbers = [budget.fields, budget.value, budget.line, budget.total].map(|number| number.to_string());
        table += &row(name, numbers.each_ref().map(String::as_str), folding, servers);
    }
    table + "\nWe send at most so many fields, and bytes a value, a line and in all; `--json` has what was measured.\n"
}

fn profile(profile: &Profile) -> Json {
    let Profile { name, servers, budget, max_value, max_total, over_limit, folding, repeats, charset } = profile;
    json!({
        "name": name,
        "servers": servers,
        "sent": { "fields": budget.fields, "value": budget.value, "line": budget.line, "total": budget.total },
        "taken": { "value": max_value, "total": max_total },
        "over_limit": over_limit,
        "folding": folding,
        "repeats": repeats,
        "charset": charset,
    })
}
