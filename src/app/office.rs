//! The admin socket at work: what it asks is answered by the house, on a thread of its own.

use super::StartError;
use super::house::{House, ReloadError, warnings};
use crate::admin::{Control, Reloaded, Socket, Status, Unusable, serve};
use crate::clock::Timestamp;
use crate::config::{Config, Problems, Severity};
use crate::manager::SessionManager;
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

/// How many problems of a file are logged; the commands show all.
const MAX_TOLD: usize = 10;

/// Lets a running server read its configuration again.
#[derive(Clone, Debug)]
pub struct Reloader(pub(super) Arc<House>);

impl Reloader {
    /// Reads the file again and serves what it says.
    ///
    /// # Errors
    /// [`ReloadError`] says why the old configuration is served on.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let (tell, told) = oneshot::channel();
        let house = Arc::clone(&self.0);
        // Files are read, names looked up, stores opened: as at a start, outside any runtime.
        std::thread::spawn(move || tell.send(house.reload()));
        match told.await {
            Ok(Ok(config)) => {
                let configuration = config.path.as_ref().map_or_else(String::new, |path| path.display().to_string());
                tracing::info!(configuration, warnings = config.warnings.len(), "the configuration was read again");
                Ok(Reloaded { configuration, warnings: warnings(&config) })
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the configuration was not changed");
                let problems = error.problems().into_iter().flat_map(Problems::list);
                for problem in problems.filter(|problem| problem.severity == Severity::Error).take(MAX_TOLD) {
                    tracing::error!(code = problem.code, "{problem}");
                }
                Err(error)
            }
            // Only a panic keeps it from telling; nothing was changed by then.
            Err(_) => Err(ReloadError::Interrupted),
        }
    }
}

#[async_trait]
impl Control for Reloader {
    fn status(&self) -> Status {
        self.0.status()
    }

    async fn reload(&self) -> Result<Reloaded, Unusable> {
        Self::reload(self).await.map_err(|error| Unusable {
            error: error.to_string(),
            problems: error.problems().map(|problems| problems.render(false)),
        })
    }

    fn managers(&self) -> Vec<Arc<SessionManager>> {
        self.0.snapshot.load().policies.iter().map(|policy| Arc::clone(&policy.manager)).collect()
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

/// Binds the socket. Where the file does not ask for one, a server without it is better than none.
pub(super) fn bind(config: &Config) -> Result<Option<Socket>, StartError> {
    let Some(admin) = config.admin.as_ref().filter(|admin| admin.is_wanted || config.path.is_some()) else {
        return Ok(None);
    };
    match Socket::bind(&admin.socket) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if admin.is_wanted => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "there is no admin socket: name a `runtime_dir`, or `socket = \"\"` in [admin]");
            Ok(None)
        }
    }
}

/// The thread of the socket, and what ends it.
pub(super) struct Office {
    close: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Office {
    /// Serves the socket from now on.
    pub(super) fn open(socket: Socket, house: &Arc<House>) -> io::Result<Self> {
        let control: Arc<dyn Control> = Arc::new(Reloader(Arc::clone(house)));
        let (close, closed) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::from_std(socket.listener()?)?
        };
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, control) => {}
                    _ = closed => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_millis(200));
            drop(socket);
        };
        let thread = std::thread::Builder::new().name("admin".into()).spawn(work)?;
        Ok(Self { close, thread })
    }

    /// Ends it, and removes the socket.
    pub(super) fn close(self) {
        drop(self.close);
        // It ends at once; should it have panicked, the socket is gone as well.
        self.thread.join().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AdminOptions, parse};

    #[test]
    fn a_server_goes_without_a_socket_that_nobody_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("admin.sock");
        let _other = Socket::bind(&socket).unwrap();
        let text = "[listeners.web]\naddress = \"127.0.0.1:1\"\n[upstreams.app]\nservers = [\"http://127.0.0.1:2\"]\n\
                    [[routes]]\nupstream = \"app\"\n";
        let mut config = parse(text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"));
        assert!(matches!(bind(&config), Ok(None)), "without a file there is none");
        config.path = Some("cloakroom.toml".into());
        config.admin = Some(AdminOptions { socket: socket.clone(), is_wanted: false });
        assert!(matches!(bind(&config), Ok(None)));
        config.admin = Some(AdminOptions { socket, is_wanted: true });
        assert!(matches!(bind(&config), Err(StartError::Admin(_))));
        config.admin = None;
        assert!(matches!(bind(&config), Ok(None)));
    }
}
