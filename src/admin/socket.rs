//! The socket's file: made for its owner and group, taken over from a server that is gone, removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Who may connect: the owner and the group. Who can does what the operator can.
const MODE: u32 = 0o660;

/// Who may look into the directory, where we make it.
const DIRECTORY_MODE: u32 = 0o700;

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Its directory cannot be made.
    #[error("the admin socket: cannot make its directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process answers there.
    #[error("the admin socket: another server listens on {path}; give each its own `runtime_dir`")]
    Taken {
        /// The path.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error("the admin socket: {path} is not a socket")]
    Strange {
        /// The path.
        path: PathBuf,
    },
    /// The system says no.
    #[error("the admin socket: cannot listen on {path}")]
    Bind {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A socket that is bound; its file is removed on drop.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: somebody may have put another in its place meanwhile.
    identity: Option<(u64, u64)>,
}

impl Socket {
    /// Binds it. A file that nobody listens behind is taken over.
    ///
    /// # Errors
    /// [`SocketError`] says why it cannot be had.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        if let Some(directory) = path.parent().filter(|directory| !directory.is_dir()) {
            let made = fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
            made.map_err(|source| SocketError::Directory { path: directory.to_owned(), source })?;
        }
        let path = path.to_owned();
        let failed = |source| SocketError::Bind { path: path.clone(), source };
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.file_type().is_socket() => return Err(SocketError::Strange { path }),
            Ok(_) if UnixStream::connect(&path).is_ok() => return Err(SocketError::Taken { path }),
            Ok(_) => fs::remove_file(&path).map_err(failed)?,
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let identity = identity(&path);
        Ok(Self { listener, path, identity })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, for the runtime that serves it.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            fs::remove_file(&self.path).ok();
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_taken_over_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/admin.sock");
        let socket = Socket::bind(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o660, 0o700));
        assert!(matches!(Socket::bind(&path), Err(SocketError::Taken { .. })));
        drop(socket);
        assert!(!path.exists(), "it is removed at the end");
        drop(UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&path).expect("nobody listens behind that file");
        // Whoever comes later and takes the place keeps it.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(other);
    }

    #[test]
    fn nothing_but_a_socket_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::Strange { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
