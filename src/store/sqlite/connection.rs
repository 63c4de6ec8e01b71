//! Configures connections: the features that SQLite must refuse, and how long it waits for other processes.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    error,
    files::{self, Spot},
};
use crate::store::{OpenError, StoreError};

/// The oldest SQLite that does not lose commits when two connections checkpoint at once.
pub(super) const SQLITE_MIN: i32 = 3_051_003;
/// How long a caller waits for other processes in total. A longer wait means that something is stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The first and the longest wait between two tries. SQLite's own schedule starves processes; this one was measured to
/// be fair without losing throughput.
const FIRST_WAIT: Duration = Duration::from_micros(200);
const LONGEST_WAIT: Duration = Duration::from_millis(5);
/// Compiled statements in the cache: nearly all of them.
const STATEMENTS: usize = 64;
/// A connection's page cache, in KiB. It holds the pages that are read most: the tables' upper levels and the end of
/// the audit log. The system caches the others for all processes; a cache of eight times this size was no faster.
const PAGES_KIB: usize = 256;

/// How long one connection's statements wait for other processes. Shared with its busy handler.
#[derive(Clone, Default)]
pub(super) struct Patience(Arc<Limits>);

#[derive(Default)]
struct Limits {
    /// When to stop waiting; `None`: [`PATIENCE`] after the first try.
    until: Mutex<Option<Instant>>,
    /// The store is closing: don't wait any more.
    closed: AtomicBool,
}

impl Patience {
    /// Makes all waits end at this time from now on.
    pub(super) fn until(&self, until: Instant) {
        *self.0.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Stops all waiting for good.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }

    fn is_over(&self, began: Instant) -> bool {
        let until = self.0.until.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(began + PATIENCE);
        self.is_closed() || Instant::now() >= until
    }
}

/// Opens the file for reading and writing. Writes nothing to it.
///
/// # Errors
/// [`OpenError`] if the files fail the checks or can't be opened for writing: SQLite would silently open them read-only
/// and stay so.
pub(super) fn connect(spot: &Spot, patience: &Patience) -> Result<Connection, OpenError> {
    spot.refuse_journal()?;
    spot.refuse_unwritable()?;
    // Closing the last connection copies the log into the database. Before the first commit that must not happen, since
    // the key may be wrong. An empty log may be removed.
    let keep = spot.has_log()?;
    let failed = |cause: rusqlite::Error| {
        let busy = error::is_busy(&cause).then(|| StoreError::Unavailable(files::obstacle(spot.file())));
        busy.unwrap_or_else(|| cause.into()).at(spot.file())
    };
    let conn = open(spot.file(), patience).map_err(failed)?;
    keep_log(&conn, keep).map_err(failed)?;
    if conn.is_readonly("main").unwrap_or(true) {
        return Err(StoreError::Unavailable("it can't be opened for writing".to_owned()).at(spot.file()));
    }
    Ok(conn)
}

pub(super) fn open(path: &Path, patience: &Patience) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut conn = Connection::open_with_flags(path, flags)?;
    // Set this before any pragma: the first pragma may already meet another process.
    conn.busy_handler(Some(waiter(patience.clone())))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // The schema has no triggers or views. An attacker may have planted some, to undo a revocation unnoticed, for
    // example.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.execute_batch(&format!(
        "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-{PAGES_KIB}; \
         PRAGMA secure_delete=ON;"
    ))?;
    // Reading connections copy the log into the database, too, and that must reach the disk before the log starts over.
    #[cfg(target_os = "macos")]
    conn.execute_batch("PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON;")?;
    Ok(conn)
}

/// Sets whether the log stays when the last connection is closed, instead of being copied into the database.
pub(super) fn keep_log(conn: &Connection, keep: bool) -> Result<(), rusqlite::Error> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

/// Size at which the log is copied into the database, and to which it shrinks when it starts over. A damaged log loses
/// everything after the damage, so little data should be in the log alone.
pub(super) const LOG_BYTES: u64 = 2 << 20;

/// Configures a writing connection. A commit copies the log into the database itself only if nothing else could for
/// long: the copy takes several syncs.
pub(super) fn configure(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.execute_batch(&format!(
        "PRAGMA synchronous=FULL; PRAGMA journal_size_limit={LOG_BYTES}; PRAGMA wal_autocheckpoint=8000;"
    ))?;
    Ok(())
}

pub(super) fn run(conn: &Connection, sql: &str) -> Result<(), rusqlite::Error> {
    conn.prepare_cached(sql)?.execute([]).map(drop)
}

/// Reads a consistent snapshot, unaffected by other commits meanwhile.
pub(super) fn at_one_moment<T>(
    conn: &Connection,
    read: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    run(conn, "BEGIN")?;
    let read = read();
    // Some errors have ended the transaction already; the first error is the one to report.
    let ended = run(conn, "ROLLBACK");
    let read = read?;
    ended?;
    Ok(read)
}

/// Copies as much of the log as possible into the database, without waiting.
pub(super) fn checkpoint(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// Copies the log into the database and empties it. `false`: another connection is still reading or writing it.
pub(super) fn empty_log(conn: &Connection) -> Result<bool, rusqlite::Error> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(!row.get::<_, bool>(0)?))
}

/// Makes a complete copy of the committed data, for its owner alone and durable.
pub(super) fn copy(spot: &Spot, to: &Path) -> Result<(), OpenError> {
    files::create_private(to)?;
    let copied = copy_into(spot, to).and_then(|()| files::sync_file(to));
    if copied.is_err() {
        // Half a copy looks like a whole one.
        files::remove_database(to);
    }
    copied
}

fn copy_into(spot: &Spot, to: &Path) -> Result<(), OpenError> {
    let failed = |cause: rusqlite::Error| StoreError::from(cause).at(to);
    let name = to.to_str().ok_or_else(|| files::not_in_utf8(to))?;
    connect(spot, &Patience::default())?.execute("VACUUM INTO ?", [name]).map_err(failed)?;
    let copy = open(to, &Patience::default()).map_err(failed)?;
    // In the original's journal mode, so that it can replace the original.
    keep_a_log(&copy).map_err(|cause| cause.at(to))?;
    copy.close().map_err(|(_, cause)| failed(cause))?;
    must_keep_a_log(to).map_err(|cause| cause.at(to))
}

/// Switches a new database to a write-ahead log.
pub(super) fn keep_a_log(conn: &Connection) -> Result<(), StoreError> {
    // If the disk is full, SQLite keeps the mode that it had, and only reports that.
    let mode: String = conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    if mode == "wal" { Ok(()) } else { Err(StoreError::Unavailable("its journal mode can't be set".to_owned())) }
}

/// Checks that a closed database has a write-ahead log: the switch may not have reached the file.
pub(super) fn must_keep_a_log(path: &Path) -> Result<(), StoreError> {
    let unread = |_| StoreError::Unavailable("the disk can't be read".to_owned());
    let mut head = [0; 20];
    std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head)).map_err(unread)?;
    // Bytes 18 and 19: the versions that write and read the file, 2 with a write-ahead log.
    if head.ends_with(&[2, 2]) {
        Ok(())
    } else {
        Err(StoreError::Unavailable("it was not written to its end".to_owned()))
    }
}

/// Waits 0.2 ms, then twice as long each time up to 5 ms. Each wait is cut at random by up to half, so that processes
/// don't retry in step.
fn waiter(patience: Patience) -> impl FnMut(i32) -> bool + Send + 'static {
    let mut began = Instant::now();
    let mut jitter = RandomState::new().build_hasher().finish() | 1;
    move |tries| {
        if tries == 0 {
            began = Instant::now();
        }
        if patience.is_over(began) {
            return false;
        }
        jitter ^= jitter << 13;
        jitter ^= jitter >> 7;
        jitter ^= jitter << 17;
        let whole = FIRST_WAIT.saturating_mul(1 << tries.clamp(0, 8)).min(LONGEST_WAIT);
        let cut = whole.mul_f64(f64::from(u8::try_from(jitter & 0xFF).unwrap_or(0)) / 512.0);
        std::thread::sleep(whole.saturating_sub(cut));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_whose_switch_to_a_log_did_not_reach_the_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(must_keep_a_log(&path).is_err());
        keep_a_log(&conn).unwrap();
        conn.close().unwrap();
        assert_eq!(must_keep_a_log(&path), Ok(()));
        assert!(keep_a_log(&Connection::open_in_memory().unwrap()).is_err(), "it has no file");
    }
}
