//! `[admin]`: where the admin socket is.

use super::Resolver;
use crate::config::AdminOptions;
use crate::config::file::{File, Server};
use crate::config::interpolate::Surroundings;
use crate::config::problem::Problem;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// The longest path that a Unix socket can have.
const MAX_PATH: usize = 107;

pub(super) fn runtime_dir(server: &Server, around: &Surroundings) -> PathBuf {
    around.path(server.runtime_dir.or("/run/cloakroom".into()))
}

/// The socket, and whether somebody asks for it.
pub(in crate::config) fn socket(file: &File, around: &Surroundings) -> Option<AdminOptions> {
    let is_wanted = file.server.runtime_dir.at().is_some() || file.admin.socket.at().is_some();
    let name: String = file.admin.socket.or("admin.sock".into());
    (!name.is_empty()).then(|| AdminOptions { socket: runtime_dir(&file.server, around).join(name), is_wanted })
}

pub(super) fn admin(file: &File, to: &mut Resolver<'_>) -> Option<AdminOptions> {
    let admin = socket(file, to.around)?;
    let length = admin.socket.as_os_str().as_bytes().len();
    if length > MAX_PATH {
        let path = admin.socket.display();
        let message =
            format!("the admin socket `{path}` has a path of {length} bytes: a socket has at most {MAX_PATH}");
        let given = file.admin.socket.at().or(file.server.runtime_dir.at());
        let place = given.map(|at| at.span.clone()).unwrap_or_default();
        to.report(Problem::error("admin::socket", message).at(place).help("name a shorter `runtime_dir`"));
    }
    Some(admin)
}
