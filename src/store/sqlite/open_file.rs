//! The open files: whether they are still the files at their paths, and whether they can be read.

use std::{
    fs::{self, File, Metadata},
    io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{
    beside_sqlite::{self, Number, number},
    connection::{self, Patience},
    error,
    files::{Spot, beside, look},
    generation::{self, Generation},
};
use crate::store::{OpenError, StoreError};

/// A connection that shares the state of the open files.
pub(super) struct Conn {
    sqlite: Connection,
    /// Whether the files are no longer those at their paths.
    lost: Arc<AtomicBool>,
    /// The file, open as long as the connection is, and closed after it.
    _file: Arc<File>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        if self.lost.load(Ordering::Relaxed) {
            // Keep the log: it does not belong to the file that has replaced the database. If this fails, the
            // connection is closed as usual.
            let _ = connection::keep_log(&self.sqlite, true);
        }
    }
}

impl Deref for Conn {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.sqlite
    }
}

/// The identity of the open files. If the vault is moved away, replaced by a copy, or loses its log, a process that has
/// it open would otherwise go on with files that no other process uses.
pub(super) struct OpenFile {
    spot: Spot,
    seen: Mutex<FileIdentity>,
    /// Whether they have been replaced. All open connections share this.
    lost: Arc<AtomicBool>,
    /// The database's identity.
    number: Option<Number>,
    /// Whether the files were checked since their contents last were.
    is_whole_due: AtomicBool,
}

/// The identity of the files, and when it was last checked.
struct FileIdentity {
    at: Instant,
    /// The database never shrinks, so a smaller file means that another one was copied over it.
    bytes: u64,
    /// The database's generation never falls, so an earlier one means the same.
    generation: Generation,
    /// The log and its index, once they exist: SQLite creates them, and keeps them while a connection is open.
    beside: [(PathBuf, Option<Number>); 2],
}

/// How long reads rely on the last check.
const SEEN_FOR: Duration = Duration::from_secs(1);

impl OpenFile {
    /// Records the identity of the files.
    pub(super) fn at(spot: Spot) -> Result<Self, OpenError> {
        let facts = look(spot.file())?;
        let number = facts.as_ref().and_then(number);
        let bytes = facts.map_or(0, |facts| facts.len());
        let generation = beside_sqlite::open(spot.file(), number)
            .and_then(|database| Generation::in_file(&database))
            .map_err(|cause| unread(&cause).at(spot.file()))?;
        let beside = [(spot.log(), None), (beside(spot.file(), "-shm"), None)];
        let seen = Mutex::new(FileIdentity { at: Instant::now(), bytes, generation, beside });
        Ok(Self { spot, seen, lost: Arc::default(), number, is_whole_due: AtomicBool::new(true) })
    }

    /// The database file, to read it without its log.
    fn database(&self) -> io::Result<Arc<File>> {
        beside_sqlite::open(self.spot.file(), self.number)
    }

    /// The generation in the database file, without its log.
    pub(super) fn generation(&self) -> Result<Generation, StoreError> {
        self.database().and_then(|database| Generation::in_file(&database)).map_err(|cause| unread(&cause))
    }

    /// Waits until the disk has all writes to the database.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        beside_sqlite::sync(self.spot.file(), self.number).map_err(|cause| error::unsynced(&cause))
    }

    /// Stops serving for good. Returns the error for that.
    pub(super) fn lose(&self) -> StoreError {
        self.lost.store(true, Ordering::Relaxed);
        StoreError::Unavailable("its files were moved, removed or replaced; restart countersign".to_owned())
    }

    /// Opens a connection. As long as no connection is open, other processes may legitimately remove the log and its
    /// index.
    pub(super) fn connect(&self, patience: &Patience) -> Result<Conn, OpenError> {
        self.is_there()?;
        let database = self.database().map_err(|cause| unread(&cause))?;
        let connected = match connection::connect(&self.spot, patience) {
            // SQLite reports a read that failed once as damage, too. Real damage is still there.
            Err(OpenError::Damaged { .. }) => connection::connect(&self.spot, patience),
            connected => connected,
        };
        let sqlite = connected.map_err(|error| self.judged_at_opening(error))?;
        Ok(Conn { sqlite, lost: Arc::clone(&self.lost), _file: database })
    }

    pub(super) const fn spot(&self) -> &Spot {
        &self.spot
    }

    /// SQLite reports an unreadable disk as damage. Damage is reported only if every byte can be read.
    pub(super) fn judged(&self, error: StoreError) -> StoreError {
        let StoreError::Damaged { .. } = error else { return error };
        match self.read_through() {
            Ok(()) => error,
            Err(cause) => unread(&cause),
        }
    }

    /// As [`Self::judged`], for an error while the store is opened.
    pub(super) fn judged_at_opening(&self, error: OpenError) -> OpenError {
        let OpenError::Damaged { path, what } = error else { return error };
        self.judged(StoreError::Damaged { what }).at(&path)
    }

    /// Reads both files once, completely.
    pub(super) fn read_through(&self) -> io::Result<()> {
        read_whole(&*self.database()?)?;
        match File::open(self.spot.log()) {
            Ok(log) => read_whole(&log),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(cause),
        }
    }

    /// Like [`Self::is_there`], but relies on a check within the last second.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; if they are not, from then on, whatever happens to the files.
    pub(super) fn was_there(&self) -> Result<(), StoreError> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.at.elapsed() < SEEN_FOR && !self.lost.load(Ordering::Relaxed) { Ok(()) } else { self.look(seen) }
    }

    /// Checks, once after each check of the files, that the database is not older than its log.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; if it is, from then on.
    pub(super) fn is_whole(&self, conn: &Connection) -> Result<(), StoreError> {
        if self.is_whole_due.load(Ordering::Relaxed) {
            generation::refuse_mixed(conn, self)?;
            self.is_whole_due.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Checks that the open files are still the files at their paths.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; if they are not, from then on, whatever happens to the files.
    pub(super) fn is_there(&self) -> Result<(), StoreError> {
        self.look(self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes the generation after the log was copied into the database: SQLite's cached pages have that generation.
    pub(super) fn copied(&self) {
        // If it can't be read now, the next check reads it.
        let Ok(generation) = self.generation() else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.generation.is_before(generation) {
            seen.generation = generation;
        }
    }

    /// Whether the files are those that the connection has open, and nothing older was put over the database. If not, the
    /// log stays as it is when the connections are closed.
    pub(super) fn is_ours(&self, conn: &Connection) -> bool {
        self.is_there().and_then(|()| self.is_whole(conn)).is_ok()
    }

    fn look(&self, mut seen: MutexGuard<'_, FileIdentity>) -> Result<(), StoreError> {
        let facts = there(self.spot.file())?;
        let bytes = facts.as_ref().map_or(0, Metadata::len);
        let mut same = facts.as_ref().and_then(number) == self.number && bytes >= seen.bytes;
        if same {
            let generation = self.generation()?;
            same = !generation.is_before(seen.generation);
            if same {
                seen.generation = generation;
            }
        }
        let is_open = Arc::strong_count(&self.lost) > 1;
        for (path, known) in &mut seen.beside {
            let there = there(path)?.as_ref().and_then(number);
            // When no connection is open, other processes may legitimately remove the log and its index.
            *known = known.filter(|_| is_open);
            same &= known.is_none() || *known == there;
            *known = known.or(there).filter(|_| is_open);
        }
        if !same || self.lost.load(Ordering::Relaxed) {
            return Err(self.lose());
        }
        seen.bytes = bytes;
        seen.at = Instant::now();
        self.is_whole_due.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The error of a file that can't be read.
pub(super) fn unread(cause: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("the disk can't be read ({cause})"))
}

/// The metadata of the file at a path; `None` if no file exists there. If the system can't determine that, as when
/// memory is short or the disk fails, this is an error, since the files may still be there.
fn there(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(facts) => Ok(Some(facts)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StoreError::Unavailable(format!("its files can't be looked at ({cause})"))),
    }
}

/// Reads a file as SQLite does: at offsets, independent of other threads' positions.
#[cfg(unix)]
fn read_whole(file: &File) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;

    let (mut buffer, mut at) = (vec![0; 64 * 1024], 0);
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(()),
            count => at += count as u64,
        }
    }
}

#[cfg(not(unix))]
fn read_whole(mut file: &File) -> io::Result<()> {
    io::Seek::rewind(&mut file)?;
    io::copy(&mut file, &mut io::sink()).map(drop)
}
