//! A copy of a vault as of one moment, made while other processes use it, which becomes a backup once it was checked.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, ErrorKind},
    path::{self, Path, PathBuf},
};

use super::{
    connection,
    files::{self, Spot, beside, create_private, io_at, open_private},
};
use crate::store::OpenError;

/// The ending of the copy's name.
const ENDING: &str = ".backup";

/// A copy beside the vault, in its private folder. Dropping it removes it.
pub struct Snapshot {
    path: PathBuf,
    /// Lets one process at a time make a copy; dropping it releases the lock.
    _lock: Option<File>,
}

impl Snapshot {
    /// Copies the vault at an address.
    pub(super) fn of(spot: &Spot) -> Result<Self, OpenError> {
        let copy = Self { path: beside(spot.file(), ENDING), _lock: Some(spot.lock()?) };
        // A killed process may have left a copy.
        files::remove_database(&copy.path);
        connection::copy(spot, &copy.path)?;
        Ok(copy)
    }

    /// The snapshot of a copy that was made elsewhere.
    pub(super) const fn at(path: PathBuf, lock: Option<File>) -> Self {
        Self { path, _lock: lock }
    }

    /// Where the copy is, to be opened as a vault.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the copy by `write` to a new file that only its owner can read, durably, and returns the size that
    /// `write` returns. The file is complete or absent: it is written under another name and renamed.
    ///
    /// # Errors
    /// [`OpenError`]; there is no new file then.
    pub fn write_to(&self, target: &Path, write: impl FnOnce(File, File) -> io::Result<u64>) -> Result<u64, OpenError> {
        // A bare file name has no folder to sync.
        let target = &path::absolute(target).map_err(io_at(target))?;
        if files::look(target)?.is_some() {
            return Err(OpenError::Io { path: target.to_owned(), source: ErrorKind::AlreadyExists.into() });
        }
        let draft = draft_of(target);
        let written = copied(&self.path, &draft, write).and_then(|bytes| {
            files::rename_new(&draft, target).map_err(io_at(target))?;
            files::sync_file(target)?;
            Ok(bytes)
        });
        if written.is_err() {
            // If it can't be removed either, the returned error gives the reason.
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        files::remove_database(&self.path);
    }
}

/// A name beside the target that no other process uses.
fn draft_of(target: &Path) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(format!(".{:016x}.new", RandomState::new().build_hasher().finish()));
    PathBuf::from(name)
}

fn copied(from: &Path, draft: &Path, write: impl FnOnce(File, File) -> io::Result<u64>) -> Result<u64, OpenError> {
    create_private(draft)?;
    let written = File::open(from).and_then(|from| write(from, open_private(draft, OpenOptions::new().write(true))?));
    written.map_err(io_at(draft))
}
