//! Where a copy goes on that was interrupted: a small file in `state_dir`, written after every page.

use crate::app::private_directory;
use crate::store::Cursor;
use crate::store::copy::Summary;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The largest bookmark: a cursor is a word.
const MAX_BYTES: u64 = 16 << 10;

/// What may stand in the name of a file as it is. Not `-`, so that no two pairs of stores share a file.
const IN_NAMES: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.');

/// The file.
#[derive(Debug)]
pub(super) struct Bookmark {
    path: PathBuf,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    /// Where the walk goes on.
    pub(super) next: String,
    /// Sessions that have been copied.
    pub(super) copied: u64,
    /// Sessions that were there already.
    pub(super) there: u64,
    /// Sessions that had ended before they were copied.
    pub(super) skipped: u64,
    /// Sessions that are larger than the other store takes.
    pub(super) too_large: u64,
}

impl Mark {
    /// After a page: what was done, and where the walk goes on.
    pub(super) fn new(done: Summary, next: &Cursor) -> Self {
        let Summary { copied, there, skipped, too_large } = done;
        Self { next: next.0.clone(), copied, there, skipped, too_large }
    }

    /// The place as the store knows it.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor(self.next.clone())
    }

    /// What was done.
    pub(super) const fn done(&self) -> Summary {
        let Self { copied, there, skipped, too_large, .. } = *self;
        Summary { copied, there, skipped, too_large }
    }
}

impl Bookmark {
    /// The one of a copy; its directory is made.
    pub(super) fn new(state_dir: &Path, from: &str, to: &str) -> io::Result<Self> {
        private_directory(state_dir)?;
        let name = |store| utf8_percent_encode(store, IN_NAMES);
        Ok(Self { path: state_dir.join(format!("copy-{}-{}.cursor", name(from), name(to))) })
    }

    /// The file, to be named.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it says; `None` when there is none.
    pub(super) fn read(&self) -> io::Result<Option<Mark>> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        let mark = serde_json::from_slice(&bytes).ok();
        let mark = mark.filter(|mark: &Mark| mark.next.bytes().all(|byte| byte.is_ascii_graphic()));
        mark.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not what a copy writes"))
    }

    /// Writes it whole or not at all.
    pub(super) fn write(&self, mark: &Mark) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(mark)?)?;
        fs::rename(&new, &self.path)
    }

    /// Takes it away.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_bookmark_is_found_again_by_the_same_copy_and_by_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let bookmark = Bookmark::new(&state, "a-b", "c").unwrap();
        assert_eq!(bookmark.read().unwrap(), None);
        let mark = Mark { next: "0f".into(), copied: 4, there: 3, skipped: 2, too_large: 1 };
        bookmark.write(&mark).unwrap();
        assert_eq!(fs::metadata(bookmark.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Bookmark::new(&state, "a-b", "c").unwrap().read().unwrap(), Some(mark));
        assert_eq!(Bookmark::new(&state, "a", "b-c").unwrap().read().unwrap(), None);
        assert_eq!(Bookmark::new(&state, "../x/y", "c").unwrap().path().parent(), Some(state.as_path()));
        bookmark.remove().unwrap();
        bookmark.remove().unwrap();
        assert_eq!(bookmark.read().unwrap(), None);
    }

    #[test]
    fn what_is_no_bookmark_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let bookmark = Bookmark::new(directory.path(), "a", "b").unwrap();
        for text in
            ["", "0f", "{}", r#"{"next":"a b","copied":0,"there":0,"skipped":0,"too_large":0}"#, &"x".repeat(20_000)]
        {
            fs::write(bookmark.path(), text).unwrap();
            assert_eq!(bookmark.read().unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
        }
    }
}
