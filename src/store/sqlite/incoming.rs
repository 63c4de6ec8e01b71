//! A backup that takes the place of a vault: copied beside it first, checked by the caller, then renamed.
//!
//! ```text
//! copied    NAME is the vault            NAME.restore-TIME is the copy
//! cleared   NAME.replaced-TIME is it     NAME.restore-TIME is the copy     a process that is killed here leaves this
//! placed    NAME.replaced-TIME is it     NAME is the copy
//! ```
//!
//! So an interrupted restore leaves a copy and a replaced vault of the same time, and no vault. No process opens or
//! makes a vault there until a person runs the restore again, which first gives the replaced vault its name back.

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

/// The beginning of a file that `age` encrypted.
const AGE: &[u8] = b"age-encryption.org/";
/// The part of the copy's name between the vault's name and the time.
const COPY: &str = ".restore-";
/// The part of a replaced vault's name between the vault's name and the time.
const ASIDE: &str = ".replaced-";

/// A copy of a backup beside the vault. Dropping it before it takes the vault's place removes it.
pub struct Incoming {
    spot: Spot,
    path: PathBuf,
    /// The new name for the vault that it replaces.
    aside: PathBuf,
    /// Lets one process at a time replace the vault; dropping it releases the lock.
    _lock: File,
}

impl Incoming {
    /// Copies a backup to the place of a vault, at this time. An interrupted restore of a killed process is undone
    /// first.
    pub(super) fn of(spot: Spot, backup: &Path, time: &str) -> Result<Self, OpenError> {
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
        let lock = spot.lock()?;
        for (from, to) in moved_by_a_killed_one(&spot)? {
            fs::rename(&from, &to).map_err(io_at(&from))?;
        }
        // Only now, since the copy shows that the vault had another name.
        remove_named(spot.folder(), &beside(spot.file(), COPY));
        let path = beside(spot.file(), &format!("{COPY}{time}"));
        let aside = free(beside(spot.file(), &format!("{ASIDE}{time}")))?;
        let incoming = Self { spot, path, aside, _lock: lock };
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

    /// Renames an existing vault to a name beside it. Processes that have it open notice that and stop serving; no
    /// process can make a new one.
    ///
    /// # Errors
    /// [`OpenError`]; the vault is where it was.
    pub fn clear_place(self) -> Result<Cleared, OpenError> {
        let (file, aside) = (self.spot.file().to_owned(), self.aside.clone());
        let is_there = files::look(&file)?.is_some();
        let mut cleared = Cleared { incoming: self, moved: Vec::new(), kept: is_there.then(|| aside.clone()) };
        // A log without its database would be taken for the copy's.
        for ending in ["", "-wal", "-shm"] {
            let from = beside(&file, ending);
            if files::look(&from)?.is_some() {
                let to = free(beside(&aside, ending))?;
                fs::rename(&from, &to).map_err(io_at(&from))?;
                cleared.moved.push((from, to));
            }
        }
        Ok(cleared)
    }
}

/// Returns the path if nothing is there.
fn free(path: PathBuf) -> Result<PathBuf, OpenError> {
    match files::look(&path)? {
        Some(_) => Err(not_ours(&path, "is there already; remove it, or wait a second")),
        None => Ok(path),
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // If the vault did not get its name back, the copy stays, as the sign of that for the next process.
        if moved_by_a_killed_one(&self.spot).is_ok_and(|moved| moved.is_empty()) {
            remove_named(self.spot.folder(), &self.path);
        }
    }
}

/// The renames that give a vault back the name that a killed process took from it, in order; empty if no process was
/// killed while the vault had another name.
pub(super) fn moved_by_a_killed_one(spot: &Spot) -> Result<Vec<(PathBuf, PathBuf)>, OpenError> {
    if files::look(spot.file())?.is_some() {
        return Ok(Vec::new());
    }
    let copies = beside(spot.file(), COPY);
    for copy in named(spot.folder(), &copies).map_err(io_at(spot.folder()))? {
        let Some(time) = copy.to_str().zip(copies.to_str()).and_then(|(copy, copies)| copy.strip_prefix(copies)) else {
            continue;
        };
        let aside = beside(spot.file(), &format!("{ASIDE}{time}"));
        if files::look(&aside)?.is_none() {
            continue;
        }
        // The database last: until it has its name back, the other files are found by its present name.
        let pairs = ["-wal", "-shm", ""].map(|ending| (beside(&aside, ending), beside(spot.file(), ending)));
        let mut moved = Vec::new();
        for (from, to) in pairs {
            if files::look(&from)?.is_some() {
                if files::look(&to)?.is_some() {
                    return Err(not_ours(
                        &to,
                        "is there, and so is the one that was moved aside; remove the wrong one",
                    ));
                }
                moved.push((from, to));
            }
        }
        return Ok(moved);
    }
    Ok(Vec::new())
}

/// The files of a folder whose paths begin with this.
fn named(folder: &Path, begin: &Path) -> io::Result<Vec<PathBuf>> {
    let begin = begin.as_os_str().as_encoded_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.as_os_str().as_encoded_bytes().starts_with(begin) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Removes the files whose paths begin with this: a copy, its log, and the snapshot from before its migration.
fn remove_named(folder: &Path, begin: &Path) {
    for path in named(folder, begin).unwrap_or_default() {
        // A file that can't be removed is sealed like the vault, and the next restore tries again.
        let _ = fs::remove_file(path);
    }
}

/// A copy of a backup whose place is free. Dropping it before it takes the place gives the former vault its name back.
pub struct Cleared {
    incoming: Incoming,
    /// The files that were moved, from and to.
    moved: Vec<(PathBuf, PathBuf)>,
    kept: Option<PathBuf>,
}

/// A copy that has the vault's name.
pub struct Placed {
    /// Where it is.
    pub file: PathBuf,
    /// The path at which the former vault is kept, if there was one.
    pub aside: Option<PathBuf>,
    /// Whether the new name is durable.
    pub synced: Result<(), OpenError>,
}

impl Cleared {
    /// Gives the copy the vault's name. No connection may have it open any more.
    ///
    /// # Errors
    /// [`OpenError`]; the former vault has its name back.
    pub fn take_place(mut self) -> Result<Placed, OpenError> {
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
        let synced = files::sync_file(file);
        Ok(Placed { file: file.to_owned(), aside: self.kept.take(), synced })
    }
}

impl Drop for Cleared {
    fn drop(&mut self) {
        for (from, to) in self.moved.iter().rev() {
            // The first error is returned already. If this fails, the next restore renames the file back first.
            let _ = fs::rename(to, from);
        }
    }
}
