//! One connection that many requests share, and whether it is still there.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::AbortHandle;

/// A connection. Its driver lives on the runtime that made it; requests reach it from any.
#[derive(Clone)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    end: Arc<End>,
    driver: AbortHandle,
}

/// Whether the driver has ended; what is asked before a request is handed over is certainly not sent.
#[derive(Debug, Default)]
struct End(AtomicBool);

/// Lies in the driver's task and goes with it: when the connection breaks, when it is cut, when its runtime ends.
struct Alive(Arc<End>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

impl Wire {
    pub(super) fn start(connection: MultiplexedConnection, driver: impl Future<Output = ()> + Send + 'static) -> Self {
        let end = Arc::new(End::default());
        let alive = Alive(Arc::clone(&end));
        let driver = tokio::spawn(async move {
            let _alive = alive;
            driver.await;
        });
        Self { connection, end, driver: driver.abort_handle() }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.end.0.load(Ordering::Acquire)
    }

    /// Closes it, whatever is under way on it: nobody may read another's answer, or wait for one that does not come.
    pub(super) fn cut(&self) {
        self.end.0.store(true, Ordering::Release);
        self.driver.abort();
    }

    pub(super) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        self.connection.clone().send_packed_command(command).await
    }

    /// Sends commands next to each other; an error of one of them stands among the answers.
    pub(super) async fn send_all(&self, commands: &Pipeline, count: usize) -> RedisResult<Vec<Value>> {
        self.connection.clone().send_packed_commands(commands, 0, count).await
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_open() { "Wire(open)" } else { "Wire(closed)" })
    }
}
