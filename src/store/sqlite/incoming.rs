//! A backup that takes the place of a vault: copied beside it first, checked by the caller, then renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::files::{self, Spot, beside, create_private, io_at, not_ours, open_private};
use crate::store::OpenError;

/// What a file that `age` encrypted begins with.
const AGE: &[u8] = b"age-encryption.org/";
/// What the copy's name ends with.
const ENDING: &str = ".restore";

/// A copy of a backup beside the vault. Dropped before it takes the vault's place, it is removed.
pub struct Incoming {
    spot: Spot,
    path: PathBuf,
    /// Held so that one process at a time replaces the vault; dropping it releases the lock.
    _lock: File,
}

impl Incoming {
    /// Copies a backup to the place of a vault.
    pub(super) fn of(spot: Spot, backup: &Path) -> Result<Self, OpenError> {
        let facts = fs::metadata(backup).map_err(io_at(backup))?;
        if !facts.is_file() {
            return Err(not_ours(backup, "is not a file"));
        }
        let log = beside(backup, "-wal");
        if files::look(&log)?.is_some_and(|log| log.len() > 0) {
            return Err(not_ours(&log, "has changes that are not in the file yet; restore what `vault backup` made"));
        }
        let mut begin = Vec::new();
        File::open(backup)
            .and_then(|file| file.take(AGE.len() as u64).read_to_end(&mut begin))
            .map_err(io_at(backup))?;
        if begin == AGE {
            return Err(not_ours(
                backup,
                "is encrypted with age; decrypt it first: age -d -i KEY-FILE -o backup.db FILE",
            ));
        }
        let incoming = Self { path: beside(spot.file(), ENDING), _lock: spot.lock()?, spot };
        // A killed process may have left one.
        incoming.remove();
        create_private(&incoming.path)?;
        let copied = || -> io::Result<()> {
            let (mut from, mut to) =
                (File::open(backup)?, open_private(&incoming.path, OpenOptions::new().write(true))?);
            io::copy(&mut from, &mut to)?;
            to.sync_all()
        };
        copied().map_err(io_at(&incoming.path))?;
        Ok(incoming)
    }

    /// Where the copy is, to be opened as a vault.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the copy the vault's name. A vault that is there is kept beside it under a name that ends with this, which is
    /// returned. Processes that have it open notice that and serve no more.
    ///
    /// # Errors
    /// [`OpenError`]. After a crash in between, the vault is missing; restoring again goes on.
    pub fn take_place(self, aside: &str) -> Result<Option<PathBuf>, OpenError> {
        let (file, kept) = (self.spot.file(), beside(self.spot.file(), aside));
        let was_there = files::look(file)?.is_some();
        for ending in ["", "-wal", "-shm"] {
            let (from, to) = (beside(file, ending), beside(&kept, ending));
            if files::look(&from)?.is_some() {
                if files::look(&to)?.is_some() {
                    return Err(not_ours(&to, "is there already; remove it, or wait a second"));
                }
                fs::rename(&from, &to).map_err(io_at(&from))?;
            }
        }
        fs::rename(&self.path, file).map_err(io_at(file))?;
        files::sync_file(file)?;
        Ok(was_there.then_some(kept))
    }

    fn remove(&self) {
        for ending in ["", "-wal", "-shm", "-journal"] {
            // One that can't be removed is sealed like the vault, and the next restore tries again.
            let _ = fs::remove_file(beside(&self.path, ending));
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.remove();
    }
}
