//! The writing side: one connection, one transaction at a time, and its durability.

use std::{
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    apply,
    connection::{self, PATIENCE, Patience},
    error, files, generation,
    open_file::{Conn, OpenFile},
};
use crate::store::{Commit, Committed, Durable, Kind, Put, StoreError};

/// How long a removal waits for the log's readers. After that, every later commit tries again.
const SCRUB_PATIENCE: Duration = Duration::from_secs(1);

/// The writing connection and its state.
pub(super) struct Writer {
    file: Arc<OpenFile>,
    core: Mutex<Core>,
    patience: Patience,
    /// The write-ahead log, to sync it without a transaction and its lock.
    log: Mutex<Option<Arc<File>>>,
    growth: Growth,
    /// A sync failed. Commits before it may be lost, and later ones in the same log would be lost with them.
    suspect: AtomicBool,
}

/// The length of the log in bytes when it was last due to be copied.
///
/// The log starts over only once all of it is copied, which one copy can't achieve while others keep committing.
/// Copying again after every commit would keep the disk busy and gain nothing, so the next copy is due when the log has
/// grown by as much.
#[derive(Default)]
struct Growth(AtomicU64);

impl Growth {
    fn is_due(&self, bytes: u64) -> bool {
        // SQLite cuts the file down to this when the log starts over.
        let last = if bytes <= connection::LOG_BYTES { 0 } else { self.0.load(Ordering::Relaxed) };
        let is_due = bytes > last.saturating_add(connection::LOG_BYTES);
        self.0.store(if is_due { bytes } else { last }, Ordering::Relaxed);
        is_due
    }
}

#[derive(Default)]
struct Core {
    /// `None`: not opened yet, or closed after an error.
    conn: Option<Conn>,
    /// A connection that had an error, open until another one is in use: closing the last one removes the log and its
    /// index, and a full disk has no room for new ones.
    failed: Option<Conn>,
    /// Whether the connection is set not to sync commits.
    normal: bool,
    /// Whether the connection has committed a transaction.
    committed: bool,
    /// Whether the log must still be emptied of removed data.
    scrub: bool,
}

impl Core {
    /// Stops using the connection after an error. A connection that could not end its transaction may hold a lock, and
    /// one whose index of the log may be broken shares it with the next connection: both are closed.
    fn give_up(&mut self, cause: &StoreError) {
        let failed = self.conn.take().or_else(|| self.failed.take());
        self.failed = failed.filter(|conn| error::spares_index(cause) && conn.is_autocommit());
    }
}

/// Why a write failed.
pub(super) enum Failed {
    /// Another process or thread is writing.
    Busy,
    /// An error.
    Error(StoreError),
}

impl<E: Into<StoreError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Writer {
    pub(super) fn new(file: Arc<OpenFile>) -> Self {
        let (core, log, suspect) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Self { file, core, patience: Patience::default(), log, growth: Growth::default(), suspect }
    }

    /// Commits. With `until` it waits for others until then; without, it returns [`Failed::Busy`] if it would have to
    /// wait, or to open a connection, which may meet other processes' locks and reads the disk.
    pub(super) fn commit(&self, commit: &Commit, until: Option<Instant>) -> Result<Committed, Failed> {
        let mut core = match self.core.try_lock() {
            Ok(core) => core,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if until.is_some() => lock(&self.core),
            Err(TryLockError::WouldBlock) => return Err(Failed::Busy),
        };
        if until.is_none() && !self.is_connected(&core) {
            return Err(Failed::Busy);
        }
        let (until, may_wait) = (until.unwrap_or_else(Instant::now), until.is_some());
        let ended = self.transact(&mut core, commit.durable, until, |conn| apply::all(conn, commit))?;
        if ended == Committed::Done {
            let removes = commit.changes.iter().any(|change| change.scrub);
            core.scrub |= removes;
            if core.scrub {
                // Only the commit that removes something waits for readers; later ones only try.
                self.scrub(&mut core, removes && may_wait);
            } else if commit.changes.iter().flat_map(|change| &change.put).any(is_seldom) {
                // A damaged log loses everything after the damage, so don't leave the most important records in it. It
                // is no error if the log can't be copied now because others read or write.
                let _ = core.conn.as_deref().map(connection::checkpoint);
                self.file.copied();
            }
        }
        Ok(ended)
    }

    /// Reads over the writing connection if it is open and free: its cache still holds what it has committed.
    pub(super) fn read_at_once<T>(
        &self,
        act: impl Fn(&rusqlite::Connection) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let mut core = self.core.try_lock().ok()?;
        self.patience.until(Instant::now() + PATIENCE);
        let conn = core.conn.as_ref()?;
        let read = self.file.is_whole(conn).and_then(|()| act(conn)).map_err(|error| self.file.judged(error));
        if let Err(cause) = &read {
            core.give_up(cause);
        }
        // A read that finds damage is repeated over another connection.
        Some(read).filter(|read| !matches!(read, Err(StoreError::Damaged { .. })))
    }

    /// Makes a test write, waiting for others until `until`.
    pub(super) fn probe(&self, until: Instant) -> Result<(), StoreError> {
        let mut core = lock(&self.core);
        let probed = self.transact(&mut core, Durable::Soon, until, |conn| {
            apply::one_changed(conn.execute("UPDATE probe SET probed = probed + 1", [])?)?;
            Ok(Committed::Done)
        });
        probed.map(drop).map_err(|failed| self.error_of(failed))
    }

    /// Syncs earlier commits.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        // Another process may have committed data that this one has only read.
        let log = match lock(&self.log).clone() {
            Some(log) => log,
            None if self.file.spot().has_log()? => Arc::new(self.file.spot().open_log()?),
            None => return Ok(()),
        };
        let synced = log.sync_data();
        if let Err(cause) = &synced {
            self.suspect.store(true, Ordering::Relaxed);
            return Err(StoreError::Unknown(format!("the disk did not confirm a write ({cause})")));
        }
        if self.suspect.load(Ordering::Relaxed) {
            return Err(StoreError::Unknown("the disk did not confirm an earlier write".to_owned()));
        }
        Ok(())
    }

    /// Whether the log is due to be copied into the database.
    pub(super) fn is_log_due(&self) -> bool {
        let log = lock(&self.log);
        let bytes = log.as_ref().and_then(|log| log.metadata().ok()).map(|facts| facts.len());
        bytes.is_some_and(|bytes| self.growth.is_due(bytes))
    }

    /// Syncs, copies the log into the database as far as possible without waiting, and closes the connection.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        self.patience.close();
        // A writer that has committed nothing has opened no log.
        let synced = if lock(&self.log).is_some() { self.sync() } else { Ok(()) };
        let mut core = lock(&self.core);
        core.failed = None;
        let conn = core.conn.take().filter(|_| core.committed);
        // The log must not be copied into another file that was put over the database.
        if let Some(conn) = conn.filter(|conn| self.file.is_ours(conn)) {
            // Ignore errors: data in the log is safe; copying it only makes the log shorter.
            let _ = if core.scrub { connection::empty_log(&conn).map(drop) } else { connection::checkpoint(&conn) };
        }
        lock(&self.log).take();
        synced
    }

    pub(super) fn error_of(&self, failed: Failed) -> StoreError {
        match failed {
            Failed::Busy => StoreError::Unavailable(files::obstacle(self.file.spot().file())),
            Failed::Error(error) => error,
        }
    }

    /// Runs a function in a transaction, and commits if it returns [`Committed::Done`].
    fn transact(
        &self,
        core: &mut Core,
        durable: Durable,
        until: Instant,
        act: impl Fn(&rusqlite::Connection) -> Result<Committed, StoreError>,
    ) -> Result<Committed, Failed> {
        if self.patience.is_closed() {
            return Err(Failed::Error(closed()));
        }
        self.patience.until(until);
        let ended = match self.attempt(core, durable, &act) {
            // SQLite reports a read that failed once as damage, too. Real damage is still there. Nothing was committed.
            Err(Failed::Error(cause @ StoreError::Damaged { .. })) => {
                core.give_up(&cause);
                self.attempt(core, durable, &act)
            }
            ended => ended,
        };
        let ended = ended.map_err(|failed| match failed {
            Failed::Busy => failed,
            Failed::Error(error) => Failed::Error(self.file.judged(error)),
        });
        if let Err(Failed::Error(cause)) = &ended {
            if matches!(cause, StoreError::Unknown(_)) || error::is_unsynced(cause) {
                self.suspect.store(true, Ordering::Relaxed);
            }
            // The connection may stay in a bad state after an error, so the next commit opens another one.
            core.give_up(cause);
        }
        ended
    }

    fn attempt(
        &self,
        core: &mut Core,
        durable: Durable,
        act: &impl Fn(&rusqlite::Connection) -> Result<Committed, StoreError>,
    ) -> Result<Committed, Failed> {
        match durable {
            Durable::Now => self.file.is_there()?,
            Durable::Soon => self.file.was_there()?,
        }
        self.connect(core)?;
        let Core { conn: Some(conn), normal, committed, .. } = core else { return Err(Failed::Error(closed())) };
        let soon = durable == Durable::Soon;
        if *normal != soon {
            let pragma = if soon { "PRAGMA synchronous=NORMAL" } else { "PRAGMA synchronous=FULL" };
            conn.execute_batch(pragma).map_err(before_commit)?;
            *normal = soon;
        }
        connection::run(conn, "BEGIN IMMEDIATE").map_err(before_commit)?;
        let ended = act(conn).and_then(|ended| match ended {
            Committed::Done => {
                generation::raise(conn, &self.file)?;
                connection::run(conn, "COMMIT").map(|()| ended).map_err(error::of_commit)
            }
            Committed::Stale { .. } | Committed::Taken { .. } | Committed::Moved { .. } => Ok(ended),
        });
        if !conn.is_autocommit()
            && let Err(cause) = connection::run(conn, "ROLLBACK")
        {
            // Some errors have already rolled back. The connection is not used again; return the commit's own error,
            // which gives the outcome.
            ended?;
            return Err(cause.into());
        }
        if !*committed && matches!(ended, Ok(Committed::Done)) {
            // The commit stands even if this fails; the next commit tries again.
            *committed = connection::keep_log(conn, false).is_ok();
        }
        Ok(ended?)
    }

    fn is_connected(&self, core: &Core) -> bool {
        core.conn.is_some() && !self.suspect.load(Ordering::Relaxed)
    }

    /// Opens the connection if necessary.
    fn connect(&self, core: &mut Core) -> Result<(), Failed> {
        if self.is_connected(core) {
            return Ok(());
        }
        // A sync failed elsewhere.
        if let Some(conn) = core.conn.take() {
            core.failed = Some(conn);
        }
        let conn = self.file.connect(&self.patience)?;
        connection::configure(&conn).map_err(before_commit)?;
        let conn = core.failed.insert(conn);
        if self.suspect.load(Ordering::Relaxed) {
            self.recover(conn)?;
        }
        *lock(&self.log) = Some(Arc::new(self.file.spot().open_log()?));
        core.normal = false;
        core.conn = core.failed.take();
        Ok(())
    }

    /// After a failed sync: copies the whole log into the database again, synced, and restarts the log, so that later
    /// commits don't follow a lost one.
    fn recover(&self, conn: &rusqlite::Connection) -> Result<(), Failed> {
        connection::keep_log(conn, false)?;
        if !connection::empty_log(conn)? {
            return Err(Failed::Busy);
        }
        let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(Failed::Error(StoreError::Damaged { what: format!("after the disk failed: {found}") }));
        }
        self.suspect.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Empties the log of removed data: old pages must not outlive their records there.
    fn scrub(&self, core: &mut Core, waits: bool) {
        let Some(conn) = core.conn.as_deref() else { return };
        self.patience.until(Instant::now() + if waits { SCRUB_PATIENCE } else { Duration::ZERO });
        let emptied = matches!(connection::empty_log(conn), Ok(true));
        self.file.copied();
        if !emptied && waits {
            tracing::warn!(
                "what was removed is still in the vault's log, sealed: another process keeps reading that, or the disk takes \
                 nothing; it is tried again, by `countersign vault doctor` too"
            );
        }
        core.scrub = !emptied;
    }

    /// Whether removed data is still in the log.
    pub(super) fn is_scrub_due(&self) -> bool {
        lock(&self.core).scrub
    }

    /// Empties the log of removed data, once its readers are done. A thread that serves calls must not run this.
    pub(super) fn scrub_patiently(&self) {
        let mut core = lock(&self.core);
        if core.scrub {
            self.scrub(&mut core, true);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The error can't be returned from here; a power cut soon after could lose commits that were not synced.
        let _ = self.close();
    }
}

/// The meaning of an error before anything is committed.
fn before_commit(cause: rusqlite::Error) -> Failed {
    if error::is_busy(&cause) { Failed::Busy } else { cause.into() }
}

/// Whether a record is new and of a kind that people create rather than calls.
fn is_seldom(put: &Put) -> bool {
    let seldom = [
        Kind::Header,
        Kind::Account,
        Kind::Secret,
        Kind::Seat,
        Kind::ApiKey,
        Kind::Enrolment,
        Kind::Floor,
        Kind::SeatPin,
        Kind::Authority,
    ];
    put.record.version == 1 && seldom.contains(&put.record.key.kind)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the vault is closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_keeps_growing_is_copied_once_for_each_length() {
        let growth = Growth::default();
        let page = 2_072;
        let mut due = Vec::new();
        for bytes in (0..8_000).map(|pages| pages * page) {
            if growth.is_due(bytes) {
                due.push(bytes / connection::LOG_BYTES);
            }
        }
        assert_eq!(due, [1, 2, 3, 4, 5, 6, 7]);
        // The log has started over, and then grows again.
        assert!(!growth.is_due(connection::LOG_BYTES));
        assert!(growth.is_due(connection::LOG_BYTES + page));
    }
}
