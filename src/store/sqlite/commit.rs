//! The writing connection: jobs that are ready together are committed together, and only what must be is synced.
//!
//! A commit is FULL (on the disk before it is answered) unless nothing in it needs that: then it is NORMAL, safe from a
//! killed process at once and from a power cut with the next FULL one, which [`SYNC_WITHIN`] brings. The level can't
//! change inside a transaction, so it is predicted; a wrong prediction rolls back and starts over.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    connection::{PATIENCE, Patience},
    db::{Db, Tx},
    files::OpenFile,
    memory::Memory,
    snapshot::Snapshot,
    trail,
};
use crate::{keyring::Keyring, store::StoreError};

/// How long a NORMAL commit may wait for a FULL one; the promise is 250 ms, the rest is for the timer and the disk.
pub(super) const SYNC_WITHIN: Duration = Duration::from_millis(200);

/// How long the log's readers are waited for at an erasure, and writers wait with them; after that it is tried again without
/// waiting, every [`SYNC_WITHIN`]. Other processes that run end their snapshots within a fifth of it.
const SCRUB_WITHIN: Duration = Duration::from_secs(1);

/// How long after somebody else's commit a process counts as alone with the vault again.
const ALONE_AFTER: Duration = Duration::from_secs(1);

/// What a job is expected to need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It is on the disk before it is answered.
    Sync,
    /// It survives a killed process at once, and a power cut soon.
    SyncSoon,
}

/// What one caller wants done in a transaction, and where the answer goes.
pub(super) trait Job: Send {
    /// What it is expected to need; it may find out otherwise and say so to the transaction.
    fn need(&self) -> Need;
    /// Does it. It may be called again after a rollback, and what it does last is what happened.
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), StoreError>;
    /// Tells the caller how it ended, once that is certain.
    fn answer(self: Box<Self>, ended: Result<(), StoreError>);
}

/// A job made of a function.
pub(super) struct Work<T, F> {
    pub(super) need: Need,
    pub(super) act: F,
    pub(super) made: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send> Job for Work<T, F> {
    fn need(&self) -> Need {
        self.need
    }

    fn run(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.made = None;
        self.made = Some((self.act)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, ended: Result<(), StoreError>) {
        let Self { made, reply, .. } = *self;
        let nothing = || StoreError::Unavailable("nothing was done".to_owned());
        // A caller that is gone needs no answer.
        let _ = reply.send(ended.and_then(|()| made.ok_or_else(nothing)));
    }
}

/// The writing connection.
pub(super) struct Core {
    conn: Connection,
    file: Arc<OpenFile>,
    keyring: Arc<Keyring>,
    patience: Patience,
    level: Level,
    unsynced_since: Option<Instant>,
    /// When to try again to empty the log.
    scrub_again: Option<Instant>,
    memory: Memory,
    snapshot: Snapshot,
    /// When somebody else's commit was found, if that is not long ago.
    others_at: Cell<Option<Instant>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Full,
    Normal,
}

/// Why a transaction did not happen.
enum Failed {
    /// One of the jobs could not be done.
    Job(StoreError),
    /// None of them could.
    All(StoreError),
    /// The commit would have been NORMAL, but a job needs it FULL.
    Level,
}

impl Core {
    /// Takes over a connection that is settled, at level FULL.
    pub(super) fn new(conn: Connection, file: Arc<OpenFile>, keyring: Arc<Keyring>, patience: Patience) -> Self {
        Self {
            conn,
            file,
            keyring,
            patience,
            level: Level::Full,
            unsynced_since: None,
            scrub_again: None,
            memory: Memory::default(),
            snapshot: Snapshot::default(),
            others_at: Cell::default(),
        }
    }

    /// Reads outside a transaction.
    pub(super) fn read<T>(&self, act: impl FnOnce(&Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.file.is_there()?;
        // What others have committed since is to be seen.
        self.snapshot.let_go(&self.conn);
        act(&self.db())
    }

    fn db(&self) -> Db<'_> {
        Db::new(&self.conn, &self.keyring)
    }

    /// By when a FULL commit must follow, or the log be emptied.
    pub(super) fn sync_due(&self) -> Option<Instant> {
        self.unsynced_since.map(|since| since + SYNC_WITHIN).into_iter().chain(self.scrub_again).min()
    }

    /// Does every job, in as few commits as can be, and answers each.
    pub(super) fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        match self.transact(&mut jobs) {
            Ok(()) => jobs.into_iter().for_each(|job| job.answer(Ok(()))),
            Err(Failed::Job(_)) if jobs.len() > 1 => {
                // One failed: each alone, so that it hurts none of its neighbours.
                for job in jobs {
                    self.commit(vec![job]);
                }
            }
            Err(failed) => {
                let error = failed.into_error();
                let told = error.to_string();
                let mut first = Some(error);
                for job in jobs {
                    job.answer(Err(first.take().unwrap_or_else(|| StoreError::Unavailable(told.clone()))));
                }
            }
        }
    }

    /// Does every job without waiting for anybody. Gives them back undone if another process is writing, if one of them
    /// can't be done, or if it turns out that one needs a sync.
    pub(super) fn commit_now(&mut self, mut jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        self.patience.set(Duration::ZERO);
        let ended = self.transact_at(Level::Normal, &mut jobs, |_| Ok(()));
        self.patience.set(PATIENCE);
        if ended.is_err() {
            return jobs;
        }
        for job in jobs {
            job.answer(Ok(()));
        }
        Vec::new()
    }

    /// Brings what is committed to the disk, if anything waits for that, and out of the log what must not stay there.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        let synced = if self.unsynced_since.is_some() { self.commit_synced() } else { Ok(()) };
        if self.scrub_again.is_some() {
            self.scrub(Duration::ZERO);
        }
        synced
    }

    fn commit_synced(&mut self) -> Result<(), StoreError> {
        let synced = self.transact_at(Level::Full, &mut [], trail::touch).map_err(Failed::into_error);
        if synced.is_err() {
            // Tried again after the same time, not at once.
            self.unsynced_since = Some(Instant::now());
        }
        synced
    }

    /// Syncs and closes.
    pub(super) fn close(mut self) -> Result<(), StoreError> {
        self.sync()
    }

    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failed> {
        let full = jobs.iter().any(|job| job.need() == Need::Sync);
        let level = if full { Level::Full } else { Level::Normal };
        match self.transact_at(level, jobs, |_| Ok(())) {
            Err(Failed::Level) => self.transact_at(Level::Full, jobs, |_| Ok(())),
            ended => ended,
        }
    }

    fn transact_at(
        &mut self,
        level: Level,
        jobs: &mut [Box<dyn Job>],
        last: impl FnOnce(&Tx<'_>) -> Result<(), StoreError>,
    ) -> Result<(), Failed> {
        let continued = match self.begin(level) {
            Ok(continued) => continued,
            Err(cause) => {
                self.snapshot.let_go(&self.conn);
                return Err(Failed::All(cause));
            }
        };
        let before = self.conn.total_changes();
        let memory = std::mem::take(&mut self.memory);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let memory = if continued { memory } else { self.brought_up(memory).map_err(Failed::All)? };
            let tx = Tx::with_memory(self.db(), memory);
            run_all(&tx, level, jobs, last)?;
            // Where others write too it would often be in vain, and between them they would never let the log start over.
            if level == Level::Normal && self.others_at.get().is_none() {
                self.snapshot.keep(&self.conn);
            } else {
                self.snapshot.let_go(&self.conn);
            }
            self.run("COMMIT").map_err(Failed::All)?;
            Ok((tx.must_scrub(), tx.into_memory()))
        }))
        .unwrap_or_else(|_| Err(Failed::Job(StoreError::Unavailable("a write panicked".to_owned()))));
        if ended.is_err() {
            self.snapshot.let_go(&self.conn);
            if !self.conn.is_autocommit() {
                // Some errors have rolled back already; if this fails, the connection says so at the next BEGIN.
                let _ = self.run("ROLLBACK");
            }
        }
        let (must_scrub, memory) = ended?;
        self.memory = memory;
        // A commit of nothing writes nothing, and so it neither needs a sync nor is one.
        if self.conn.total_changes() != before {
            self.unsynced_since = match level {
                Level::Full => None,
                Level::Normal => self.unsynced_since.or_else(|| Some(Instant::now())),
            };
        }
        if self.unsynced_since.is_none() {
            // Nothing would end it.
            self.snapshot.let_go(&self.conn);
        }
        if must_scrub {
            self.scrub(SCRUB_WITHIN);
        }
        Ok(())
    }

    /// Begins a transaction that writes. Whether it goes on from the last one: then nobody else has committed between them.
    fn begin(&mut self, level: Level) -> Result<bool, StoreError> {
        self.set_level(level)?;
        self.file.is_there()?;
        if self.snapshot.is_kept() {
            // Without patience: SQLite never waits with an open snapshot, which may be what others wait for.
            if self.run("BEGIN IMMEDIATE").is_ok() {
                return Ok(true);
            }
            self.snapshot.let_go(&self.conn);
        }
        self.run("BEGIN IMMEDIATE").map(|()| false)
    }

    /// What is left of a memory, now that nobody else can write.
    fn brought_up(&self, memory: Memory) -> Result<Memory, StoreError> {
        let version = self.version()?;
        if memory.was_changed(version) {
            self.others_at.set(Some(Instant::now()));
        } else if self.others_at.get().is_some_and(|at| at.elapsed() >= ALONE_AFTER) {
            self.others_at.set(None);
        }
        Ok(memory.kept_at(version))
    }

    /// Empties the log of what was removed: old pages must not outlive their records there. If somebody reads it for longer,
    /// it is tried again later.
    fn scrub(&mut self, patience: Duration) {
        self.patience.set(patience);
        let in_use: Result<bool, _> = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        self.patience.set(PATIENCE);
        let done = matches!(in_use, Ok(false));
        if !done && self.scrub_again.is_none() {
            tracing::warn!(
                "what was removed is still in the vault's log, sealed: another process keeps reading that, or the disk takes \
                 nothing; it is tried again, by `countersign vault doctor` too"
            );
        }
        self.scrub_again = (!done).then(|| Instant::now() + SYNC_WITHIN);
    }

    fn set_level(&mut self, level: Level) -> Result<(), StoreError> {
        if self.level != level {
            self.conn.execute_batch(match level {
                Level::Full => "PRAGMA synchronous=FULL",
                Level::Normal => "PRAGMA synchronous=NORMAL",
            })?;
            self.level = level;
        }
        Ok(())
    }

    /// SQLite's number for the contents, as this connection sees them: another one once somebody else has committed.
    fn version(&self) -> Result<i64, StoreError> {
        Ok(self.conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Nobody is left to tell; a power cut in the next moments could lose rows that say "was read again".
        let _ = self.sync();
    }
}

impl Failed {
    fn into_error(self) -> StoreError {
        match self {
            Self::Job(error) | Self::All(error) => error,
            Self::Level => StoreError::Unavailable("the commit could not be made durable".to_owned()),
        }
    }
}

fn run_all(
    tx: &Tx<'_>,
    level: Level,
    jobs: &mut [Box<dyn Job>],
    last: impl FnOnce(&Tx<'_>) -> Result<(), StoreError>,
) -> Result<(), Failed> {
    for job in jobs {
        job.run(tx).map_err(Failed::Job)?;
    }
    last(tx).map_err(Failed::All)?;
    match level {
        Level::Full => trail::move_head(tx).map_err(Failed::All),
        Level::Normal if tx.must_sync() => Err(Failed::Level),
        Level::Normal => Ok(()),
    }
}
