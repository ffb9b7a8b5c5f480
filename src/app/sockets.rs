//! Listening sockets, bound by ourselves.

use crate::proxy::options::ListenAddress;
use std::fs;
use std::io;
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use tokio::net::TcpSocket;

/// Who may connect to a Unix socket: the owner and the group.
pub(super) const MODE: u32 = 0o660;

/// Binds a listener ourselves: pingora would try for thirty seconds and then panic in a task.
pub(super) fn bind(address: &ListenAddress) -> io::Result<i32> {
    match address {
        ListenAddress::Tcp(address) => {
            // The socket is registered with a runtime only when pingora takes it over.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
            let _inside = runtime.enter();
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(*address)?;
            Ok(socket.listen(4096)?.into_std()?.into_raw_fd())
        }
        ListenAddress::Unix(path) => {
            if UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
            listener.set_nonblocking(true)?;
            Ok(listener.into_raw_fd())
        }
    }
}
