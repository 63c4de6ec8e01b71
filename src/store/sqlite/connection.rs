//! How a connection is set up: what SQLite must refuse, and how long it waits for its turn.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

/// The oldest SQLite whose log does not lose commits when two connections checkpoint at once.
pub(super) const SQLITE_MIN: i32 = 3_051_003;
/// How long a statement waits for other processes before it gives up: beyond it something is stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// First and longest wait between two tries. SQLite's own schedule lets processes starve; this one was measured to be
/// fair without wasting throughput.
const FIRST_WAIT: Duration = Duration::from_micros(200);
const LONGEST_WAIT: Duration = Duration::from_millis(5);
/// Statements that stay compiled: all that there are, but for the trail's filters and lists of many secrets.
const STATEMENTS: usize = 96;
/// Pages that a connection keeps in memory, in KiB. Those that are asked for most fit into it: the tables' upper levels
/// and the end of the trail. The system keeps the others at hand for all processes; eight times as much was no faster.
const PAGES_KIB: usize = 256;

/// How long statements wait for other processes, in milliseconds. Shared with the busy handler.
#[derive(Clone)]
pub(super) struct Patience(Arc<AtomicU64>);

impl Patience {
    pub(super) fn new() -> Self {
        let patience = Self(Arc::default());
        patience.set(PATIENCE);
        patience
    }

    /// To wait as long, or to give up at once.
    pub(super) fn set(&self, span: Duration) {
        self.0.store(span.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_over(&self, began: Instant) -> bool {
        began.elapsed() >= Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Opens the file. Nothing is written: pragmas that need a right key come in [`settle`].
pub(super) fn connect(path: &Path, patience: &Patience) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut conn = Connection::open_with_flags(path, flags)?;
    // Before any pragma: the first one may already meet another process.
    conn.busy_handler(Some(waiter(patience.clone())))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // The schema has none, so whatever there is was planted, perhaps to undo a revocation without a word.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    conn.execute_batch("PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;")?;
    Ok(conn)
}

/// The rest, once the key is known to be right.
pub(super) fn settle(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // 64 MiB is what the log shrinks to after it grew; 8,000 pages keep the copying into the database away from
    // nearly every commit; while a snapshot is kept, nothing is copied.
    conn.execute_batch(&format!(
        "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON; PRAGMA cache_size=-{PAGES_KIB}; \
         PRAGMA journal_size_limit=67108864; PRAGMA wal_autocheckpoint=8000;",
    ))?;
    #[cfg(target_os = "macos")]
    conn.execute_batch("PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON;")?;
    Ok(())
}

/// Waits 0.2 ms, then twice as long each time up to 5 ms, each wait cut by up to half so that processes don't march in
/// step.
fn waiter(patience: Patience) -> impl FnMut(i32) -> bool + Send + 'static {
    let mut began = Instant::now();
    let mut dice = RandomState::new().build_hasher().finish() | 1;
    move |tries| {
        if tries == 0 {
            began = Instant::now();
        }
        if patience.is_over(began) {
            return false;
        }
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let whole = FIRST_WAIT.saturating_mul(1 << tries.clamp(0, 8)).min(LONGEST_WAIT);
        let cut = whole.mul_f64(f64::from(u8::try_from(dice & 0xFF).unwrap_or(0)) / 512.0);
        std::thread::sleep(whole.saturating_sub(cut));
        true
    }
}
