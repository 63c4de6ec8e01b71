//! The writing side: one connection, one transaction at a time, and how soon it is on the disk.

use std::{
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    apply,
    connection::{self, PATIENCE, Patience},
    error, files,
    open_file::{Conn, OpenFile},
};
use crate::store::{Commit, Committed, Durable, Kind, Put, StoreError};

/// How long the log's readers are waited for when something was removed. After that, every later commit tries again.
const SCRUB_PATIENCE: Duration = Duration::from_secs(1);

/// The writing connection and what belongs to it.
pub(super) struct Writer {
    file: Arc<OpenFile>,
    core: Mutex<Core>,
    patience: Patience,
    /// The write-ahead log, to bring it to the disk without a transaction: that takes no lock.
    log: Mutex<Option<Arc<File>>>,
    /// A sync failed. What was written before it may be lost, and what follows in the same log would be lost with it.
    suspect: AtomicBool,
}

#[derive(Default)]
struct Core {
    /// `None`: it was not needed yet, or something went wrong with it.
    conn: Option<Conn>,
    /// Commits are not synced.
    normal: bool,
    /// Something was committed.
    committed: bool,
    /// The log is still to be emptied of what was removed.
    scrub: bool,
}

/// Why a write was not carried out.
pub(super) enum Failed {
    /// Somebody else is writing.
    Busy,
    /// It could not be done.
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
        Self { file, core, patience: Patience::default(), log, suspect }
    }

    /// Commits if nobody is in the way, and no connection is to be opened for it: that may meet others' locks too, and reads
    /// the disk.
    pub(super) fn commit_at_once(&self, commit: &Commit) -> Result<Committed, Failed> {
        let core = match self.core.try_lock() {
            Ok(core) => core,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(Failed::Busy),
        };
        if self.is_connected(&core) { self.commit(core, commit, Instant::now()) } else { Err(Failed::Busy) }
    }

    /// Commits, waiting for others until then.
    pub(super) fn commit_until(&self, commit: &Commit, until: Instant) -> Result<Committed, StoreError> {
        self.commit(lock(&self.core), commit, until).map_err(|failed| self.told(failed))
    }

    /// Reads over the writing connection, if that is open and nobody uses it: what it has committed is still in its memory.
    pub(super) fn read_at_once<T>(
        &self,
        act: impl Fn(&rusqlite::Connection) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let mut core = self.core.try_lock().ok()?;
        self.patience.until(Instant::now() + PATIENCE);
        let read = act(core.conn.as_ref()?).map_err(|error| self.file.judged(error));
        if read.is_err() {
            core.conn = None;
        }
        Some(read)
    }

    /// Writes something, waiting for others until then.
    pub(super) fn probe(&self, until: Instant) -> Result<(), StoreError> {
        let mut core = lock(&self.core);
        let probed = self.transact(&mut core, Durable::Soon, until, |conn| {
            apply::one_changed(conn.execute("UPDATE probe SET probed = probed + 1", [])?)?;
            Ok(Committed::Done)
        });
        probed.map(drop).map_err(|failed| self.told(failed))
    }

    /// Brings to the disk what was committed.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let Some(log) = lock(&self.log).clone() else { return Ok(()) };
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

    /// Whether the log has grown so much that it should be copied into the database.
    pub(super) fn is_log_long(&self) -> bool {
        let log = lock(&self.log);
        log.as_ref().and_then(|log| log.metadata().ok()).is_some_and(|facts| facts.len() > connection::LOG_BYTES)
    }

    /// Syncs, moves what is in the log into the database as far as nobody is in the way, and lets go of the connection.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        self.patience.close();
        let synced = self.sync();
        let mut core = lock(&self.core);
        if let Some(conn) = core.conn.take().filter(|_| core.committed) {
            // What stays in the log is safe there; only less of it would be better.
            let _ = if core.scrub { connection::empty_log(&conn).map(drop) } else { connection::checkpoint(&conn) };
        }
        lock(&self.log).take();
        synced
    }

    fn told(&self, failed: Failed) -> StoreError {
        match failed {
            Failed::Busy => StoreError::Unavailable(files::obstacle(self.file.spot().file())),
            Failed::Error(error) => error,
        }
    }

    fn commit(&self, mut core: MutexGuard<'_, Core>, commit: &Commit, until: Instant) -> Result<Committed, Failed> {
        let ended = self.transact(&mut core, commit.durable, until, |conn| apply::all(conn, commit))?;
        if ended == Committed::Done {
            core.scrub |= commit.changes.iter().any(|change| change.scrub);
            if core.scrub {
                self.scrub(&mut core, commit);
            } else if commit.changes.iter().flat_map(|change| &change.put).any(is_seldom) {
                // A damaged log loses what follows the damage, so what matters most does not stay in it. That it can't be
                // moved now, since somebody reads or writes, is no failure.
                let _ = core.conn.as_deref().map(connection::checkpoint);
            }
        }
        Ok(ended)
    }

    /// Runs something in a transaction, and commits it if it is done.
    fn transact(
        &self,
        core: &mut Core,
        durable: Durable,
        until: Instant,
        act: impl FnOnce(&rusqlite::Connection) -> Result<Committed, StoreError>,
    ) -> Result<Committed, Failed> {
        if self.patience.is_closed() {
            return Err(Failed::Error(closed()));
        }
        self.patience.until(until);
        let ended = self.attempt(core, durable, act).map_err(|failed| match failed {
            Failed::Busy => failed,
            Failed::Error(error) => Failed::Error(self.file.judged(error)),
        });
        if let Err(Failed::Error(cause)) = &ended {
            if matches!(cause, StoreError::Unknown(_)) {
                self.suspect.store(true, Ordering::Relaxed);
            }
            // A connection with which something went wrong may stay as it is; the next commit opens another one.
            core.conn = None;
        }
        ended
    }

    fn attempt(
        &self,
        core: &mut Core,
        durable: Durable,
        act: impl FnOnce(&rusqlite::Connection) -> Result<Committed, StoreError>,
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
            Committed::Done => connection::run(conn, "COMMIT").map(|()| ended).map_err(error::of_commit),
            Committed::Stale { .. } | Committed::Taken { .. } | Committed::Moved { .. } => Ok(ended),
        });
        if !conn.is_autocommit()
            && let Err(cause) = connection::run(conn, "ROLLBACK")
        {
            // Some errors have rolled back already. The connection is not used again, and what the commit itself said of its
            // outcome is what is told.
            ended?;
            return Err(cause.into());
        }
        if !*committed && matches!(ended, Ok(Committed::Done)) {
            // It is committed whatever becomes of this; the next commit tries it again.
            *committed = connection::keep_log(conn, false).is_ok();
        }
        Ok(ended?)
    }

    fn is_connected(&self, core: &Core) -> bool {
        core.conn.is_some() && !self.suspect.load(Ordering::Relaxed)
    }

    /// Opens the connection if there is none.
    fn connect(&self, core: &mut Core) -> Result<(), Failed> {
        if self.is_connected(core) {
            return Ok(());
        }
        core.conn = None;
        let conn = self.file.connect(&self.patience)?;
        connection::configure(&conn).map_err(before_commit)?;
        if self.suspect.load(Ordering::Relaxed) {
            self.recover(&conn)?;
        }
        *lock(&self.log) = Some(Arc::new(self.file.spot().open_log()?));
        core.normal = false;
        core.conn = Some(conn);
        Ok(())
    }

    /// After a failed sync: everything goes from the log into the database, anew and synced, and the log starts over, so
    /// that what comes next does not stand behind something that was lost.
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

    /// Empties the log of what was removed: old pages must not outlive their records there.
    fn scrub(&self, core: &mut Core, commit: &Commit) {
        let Some(conn) = core.conn.as_deref() else { return };
        // Only the commit that removes something waits for readers, those that come after it only try.
        let waits = commit.changes.iter().any(|change| change.scrub);
        self.patience.until(Instant::now() + if waits { SCRUB_PATIENCE } else { Duration::ZERO });
        let emptied = matches!(connection::empty_log(conn), Ok(true));
        if !emptied && waits {
            tracing::warn!(
                "what was removed is still in the vault's log, sealed: another process keeps reading that, or the disk takes \
                 nothing; it is tried again, by `countersign vault doctor` too"
            );
        }
        core.scrub = !emptied;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nobody is left to tell; a power cut in the next moments could lose what was committed without a sync.
        let _ = self.close();
    }
}

/// What an error means before anything is committed.
fn before_commit(cause: rusqlite::Error) -> Failed {
    if error::is_busy(&cause) { Failed::Busy } else { cause.into() }
}

/// Whether a record is new and of a kind that people make, not calls.
fn is_seldom(put: &Put) -> bool {
    let seldom = [Kind::Header, Kind::Account, Kind::Secret, Kind::Seat, Kind::ApiKey, Kind::Enrolment, Kind::Floor];
    put.record.version == 1 && seldom.contains(&put.record.key.kind)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the vault is closed".to_owned())
}
