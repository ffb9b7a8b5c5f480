//! What an operator should know about a server, said once, when it first answered.

use super::names::Place;
use super::servers::Servers;
use redis::{Cmd, Pipeline, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether it has been looked at.
#[derive(Debug, Default)]
pub(super) struct Checks(AtomicBool);

impl Checks {
    /// Looks at the servers behind the back of the request that happened to come first.
    pub(super) fn begin(&self, servers: &Arc<Servers>) {
        if !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Relaxed) {
            tokio::spawn(look(Arc::clone(servers)));
        }
    }
}

async fn look(servers: Arc<Servers>) {
    let Ok(nodes) = servers.primaries(Duration::ZERO).await else { return };
    for node in nodes {
        let mut questions = Pipeline::with_capacity(3);
        questions.add_command(Cmd::new().arg("CONFIG").arg("GET").arg("maxmemory").to_owned());
        questions.add_command(Cmd::new().arg("CONFIG").arg("GET").arg("maxmemory-policy").to_owned());
        questions.add_command(Cmd::new().arg("ROLE").to_owned());
        let first = Place { name: Vec::new(), lane: 0 };
        let Ok(answers) = servers.ask_node(&node, &first, &questions, 3).await else { return };
        let [memory, policy, role] = &answers.values[..] else { return };
        let at = node.name();
        match (setting(memory), setting(policy)) {
            (Some(memory), Some(policy)) if memory != b"0" && policy != b"noeviction" => tracing::warn!(
                server = at,
                policy = %String::from_utf8_lossy(policy),
                "redis may drop live sessions when its memory is full: set maxmemory-policy to noeviction"
            ),
            (Some(_), Some(_)) => {}
            _ => tracing::info!(
                server = at,
                "redis does not tell its maxmemory-policy: see to it that it is noeviction, or live sessions may be dropped"
            ),
        }
        if matches!(role, Value::Array(parts) if parts.first() == Some(&Value::BulkString(b"slave".to_vec()))) {
            tracing::warn!(server = at, "this redis is a replica: it serves old sessions and takes no writes");
        }
    }
}

/// The value in the answer to `CONFIG GET`.
fn setting(answer: &Value) -> Option<&[u8]> {
    match answer {
        Value::Array(parts) => match &parts[..] {
            [_, Value::BulkString(value)] => Some(value),
            _ => None,
        },
        _ => None,
    }
}
