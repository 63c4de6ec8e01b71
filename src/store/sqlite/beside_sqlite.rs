//! The database file, open beside SQLite's own descriptors, to read data that SQLite does not expose.
//!
//! On Unix, closing any descriptor of a file releases all locks that the process has on it, SQLite's too. So a process opens
//! each database once for all its stores, and closes it after the last connection.

use std::{
    fs::{File, Metadata},
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// The open files.
static OPEN: Mutex<Vec<(Number, Weak<File>)>> = Mutex::new(Vec::new());

/// Opens the file at a path, or returns it if it is open. `number` is its identity, on systems that have one.
pub(super) fn open(path: &Path, number: Option<Number>) -> io::Result<Arc<File>> {
    let Some(number) = number else { return File::open(path).map(Arc::new) };
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|(_, file)| file.strong_count() > 0);
    if let Some(file) = open.iter().find(|(known, _)| *known == number).and_then(|(_, file)| file.upgrade()) {
        return Ok(file);
    }
    let file = Arc::new(File::open(path)?);
    open.push((number, Arc::downgrade(&file)));
    Ok(file)
}

/// Waits until the disk has all writes to the file at a path.
#[cfg(unix)]
pub(super) fn sync(path: &Path, number: Option<Number>) -> io::Result<()> {
    open(path, number)?.sync_data()
}

/// Windows syncs a file only through a handle that may write it.
#[cfg(not(unix))]
pub(super) fn sync(path: &Path, _number: Option<Number>) -> io::Result<()> {
    File::options().write(true).open(path)?.sync_data()
}

/// The system's identity of a file: device and inode.
#[cfg(unix)]
pub(super) type Number = (u64, u64);

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have no such number")]
pub(super) fn number(facts: &Metadata) -> Option<Number> {
    use std::os::unix::fs::MetadataExt as _;

    Some((facts.dev(), facts.ino()))
}

/// On Windows no process can move or remove a file that SQLite has open.
#[cfg(not(unix))]
pub(super) type Number = ();

#[cfg(not(unix))]
pub(super) fn number(_facts: &Metadata) -> Option<Number> {
    None
}
