//! A backup that takes the place of a vault: copied beside it first, checked by the caller, then renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    connection::{self, Patience},
    files::{self, Spot, beside, create_private, io_at, not_ours, open_private},
};
use crate::store::{OpenError, StoreError};

/// What a file that `age` encrypted begins with.
const AGE: &[u8] = b"age-encryption.org/";
/// What the copy's name ends with.
const ENDING: &str = ".restore";
/// What the name of a vault that was replaced goes on with, before the time.
const ASIDE: &str = ".replaced-";

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

    /// Gives a vault that is there another name beside it, with this time. Processes that have it open notice that and serve
    /// no more; none can make a new one.
    ///
    /// # Errors
    /// [`OpenError`]; the vault is where it was. After a crash in between, it is missing; restoring again goes on.
    pub fn clear_place(self, time: &str) -> Result<Cleared, OpenError> {
        let file = self.spot.file().to_owned();
        let kept = match files::look(&file)? {
            Some(_) => Some(beside(&file, &format!("{ASIDE}{time}"))),
            None => self.unfinished()?,
        };
        let mut cleared = Cleared { incoming: self, moved: Vec::new(), kept };
        let Some(kept) = cleared.kept.clone() else { return Ok(cleared) };
        for ending in ["", "-wal", "-shm"] {
            let (from, to) = (beside(&file, ending), beside(&kept, ending));
            if files::look(&from)?.is_some() {
                if files::look(&to)?.is_some() {
                    return Err(not_ours(&to, "is there already; remove it, or wait a second"));
                }
                fs::rename(&from, &to).map_err(io_at(&from))?;
                cleared.moved.push((from, to));
            }
        }
        Ok(cleared)
    }

    /// The newest replaced vault, if a crash left its log in the vault's place.
    fn unfinished(&self) -> Result<Option<PathBuf>, OpenError> {
        let (file, folder) = (self.spot.file(), self.spot.folder());
        let begin = beside(file, ASIDE);
        if files::look(&self.spot.log())?.is_none() {
            return Ok(None);
        }
        let mut newest = None;
        for entry in fs::read_dir(folder).map_err(io_at(folder))? {
            let path = entry.map_err(io_at(folder))?.path();
            let (name, begin) = (path.as_os_str().as_encoded_bytes(), begin.as_os_str().as_encoded_bytes());
            let is_database = name.starts_with(begin) && !name.ends_with(b"-wal") && !name.ends_with(b"-shm");
            if is_database && files::look(&beside(&path, "-wal"))?.is_none() {
                newest = newest.max(Some(path));
            }
        }
        Ok(newest)
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

/// A copy of a backup whose place is free. Dropped before it takes it, what was there gets its name back.
pub struct Cleared {
    incoming: Incoming,
    /// The files that were moved, from and to.
    moved: Vec<(PathBuf, PathBuf)>,
    kept: Option<PathBuf>,
}

impl Cleared {
    /// Gives the copy, which nobody has open any more, the vault's name. Returns where a vault that was there is kept.
    ///
    /// # Errors
    /// [`OpenError`]; what was there has its name back.
    pub fn take_place(mut self) -> Result<Option<PathBuf>, OpenError> {
        let (file, path) = (self.incoming.spot.file(), &self.incoming.path);
        let failed = |cause: rusqlite::Error| StoreError::from(cause).at(path);
        let copy = connection::open(path, &Patience::default()).map_err(failed)?;
        if !connection::empty_log(&copy).map_err(failed)? {
            return Err(StoreError::Unavailable("somebody reads it".to_owned()).at(path));
        }
        copy.close().map_err(|(_, cause)| failed(cause))?;
        files::sync_file(path)?;
        fs::rename(path, file).map_err(io_at(file))?;
        self.moved.clear();
        files::sync_file(file)?;
        Ok(self.kept.take())
    }
}

impl Drop for Cleared {
    fn drop(&mut self) {
        for (from, to) in self.moved.iter().rev() {
            // The error that led here is told. Another restore goes on with what keeps its new name.
            let _ = fs::rename(to, from);
        }
    }
}
