//! The key ring: of the operator's keys, or of one that this server keeps for itself.

use super::StartError;
use super::private_directory;
use crate::codec::{Key, KeyRing};
use crate::config::{Config, KeyOptions, StoreKind};
use crate::manager::Keep;
use crate::secret::Secret;
use crate::session::random;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The keys that this server has made for itself, the first of which seals: they last for as long as it runs, whatever
/// a reload changes.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnKeys(Vec<Secret<[u8; 32]>>);

impl OwnKeys {
    /// Lets a key seal from now on; cookies of the others are still opened.
    fn put_first(&mut self, key: Secret<[u8; 32]>) {
        self.0.retain(|known| *known != key);
        self.0.insert(0, key);
    }
}

/// The operator's keys; without any, a key of our own: kept beside the sessions that outlive us, else made anew.
///
/// # Errors
/// [`StartError::Key`] when our own key cannot be read or written.
pub fn key_ring(config: &Config) -> Result<KeyRing, StartError> {
    ring(config, &OwnKeys::default()).map(|(ring, _)| ring)
}

/// The same, in a process that has made these keys before.
pub(super) fn ring(config: &Config, known: &OwnKeys) -> Result<(KeyRing, OwnKeys), StartError> {
    let mut own = known.clone();
    let key = |key: &KeyOptions| Key::new(key.id.clone(), &key.secret);
    if !config.keys.is_empty() {
        return Ok((KeyRing::new(config.keys.iter().map(key).collect())?, own));
    }
    let kept = |policy: &crate::config::Policy| match &policy.options.keep {
        Keep::Browser(_) => true,
        Keep::Store(name) => config.store(name).is_some_and(|store| !matches!(store.kind, StoreKind::Memory(_))),
    };
    if config.policies.iter().any(kept) {
        let path = config.server.state_dir.join("session.key");
        own.put_first(own_key(&path).map_err(|source| StartError::Key { path, source })?);
    } else if own.0.is_empty() {
        own.put_first(Secret::new(random()?));
    }
    let ring = KeyRing::new(own.0.iter().map(|secret| Key::new("own", secret)).collect())?;
    Ok((ring, own))
}

/// Reads the key that an earlier start has made, or makes one.
fn own_key(path: &Path) -> io::Result<Secret<[u8; 32]>> {
    if let Some(directory) = path.parent() {
        private_directory(directory)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let secret: [u8; 32] = random().map_err(io::Error::other)?;
            file.write_all(URL_SAFE_NO_PAD.encode(secret).as_bytes())?;
            file.sync_all()?;
            Ok(Secret::new(secret))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may read it; `chmod 600` it")); // LG7
            }
            let text = Secret::new(fs::read_to_string(path)?);
            let bytes = URL_SAFE_NO_PAD.decode(text.expose().trim()).ok().map(Secret::new);
            let secret = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.expose().as_slice()).ok());
            secret.map(Secret::new).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not a key"))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn config(store: &str, directory: &Path) -> Config {
        let text = format!(
            "[server]\nstate_dir = \"{}\"\n[listeners.web]\naddress = \"127.0.0.1:1\"\n[upstreams.app]\nservers = \
             [\"http://127.0.0.1:2\"]\n[sessions.main]\nstore = \"{store}\"\n[[routes]]\nupstream = \"app\"\n",
            directory.display()
        );
        parse(&text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn our_own_keys_stay_over_a_reload_and_the_kept_one_seals() {
        let directory = tempfile::tempdir().unwrap();
        let (memory, disk) = (config("memory", directory.path()), config("disk", directory.path()));
        let (_, first) = ring(&memory, &OwnKeys::default()).unwrap();
        let (_, same) = ring(&memory, &first).unwrap();
        assert_eq!(first.0, same.0, "sessions in memory go on");
        let (_, both) = ring(&disk, &first).unwrap();
        let kept = own_key(&directory.path().join("session.key")).unwrap();
        assert_eq!(both.0, [kept, first.0[0].clone()], "what outlives us is sealed with the key that does, too");
        assert_eq!(ring(&disk, &both).unwrap().1.0, both.0);
    }
}
