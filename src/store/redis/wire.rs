//! One connection that many requests share, and whether it is still there.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// For so long a connection counts as just made.
const YOUTH: Duration = Duration::from_millis(100);

/// A connection. Its driver lives on the runtime that made it; requests reach it from any.
#[derive(Clone)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    hold: Arc<Hold>,
    /// Counts the times that its server was looked for anew.
    turn: u64,
}

/// What all users of a connection share.
struct Hold {
    /// Whether the driver has ended: a request that has not been handed over by then is certainly not sent.
    has_ended: Arc<AtomicBool>,
    driver: AbortHandle,
    made: Instant,
}

impl Drop for Hold {
    /// The driver would wait for the answers that are due, and a server that hangs gives none.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Lies in the driver's task and goes with it: when the connection breaks, when it is cut, when its runtime ends.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Wire {
    pub(super) fn start(connection: MultiplexedConnection, driver: impl Future<Output = ()> + Send + 'static) -> Self {
        let has_ended = Arc::new(AtomicBool::new(false));
        let alive = Alive(Arc::clone(&has_ended));
        let driver = tokio::spawn(async move {
            let _alive = alive;
            driver.await;
        });
        Self {
            connection,
            hold: Arc::new(Hold { has_ended, driver: driver.abort_handle(), made: Instant::now() }),
            turn: 0,
        }
    }

    pub(super) fn of_turn(self, turn: u64) -> Self {
        Self { turn, ..self }
    }

    pub(super) const fn turn(&self) -> u64 {
        self.turn
    }

    pub(super) fn is_open(&self) -> bool {
        !self.hold.has_ended.load(Ordering::Acquire)
    }

    /// Closes it, whatever is under way on it: nobody may read another's answer, or wait for one that does not come.
    pub(super) fn cut(&self) {
        self.hold.has_ended.store(true, Ordering::Release);
        self.hold.driver.abort();
    }

    pub(super) fn is_young(&self) -> bool {
        self.hold.made.elapsed() < YOUTH
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
