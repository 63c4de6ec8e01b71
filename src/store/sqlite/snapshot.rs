//! A read transaction that outlives its commit.
//!
//! Most of the locks that a small commit takes are for opening and ending its read transaction. SQLite leaves that open at a
//! COMMIT while a statement is still being read, and the next BEGIN IMMEDIATE goes on from there, or fails at once if
//! anybody else has committed meanwhile. It is let go of with the next synced commit at the latest, 200 ms later unless the
//! process is stopped: as long as it is there, nobody can copy what is newer than it out of the log.

use std::cell::Cell;

use rusqlite::Connection;

/// Its first row is always there, and nothing ever changes it.
const READ: &str = "SELECT 1 FROM sqlite_schema";

/// Whether a connection has one.
#[derive(Default)]
pub(super) struct Snapshot {
    kept: Cell<bool>,
}

impl Snapshot {
    pub(super) fn is_kept(&self) -> bool {
        self.kept.get()
    }

    /// Inside a transaction: lets its read transaction outlive it, if that can be.
    pub(super) fn keep(&self, conn: &Connection) {
        if self.kept.get() {
            return;
        }
        let Ok(mut statement) = conn.prepare_cached(READ) else { return };
        let Ok(mut rows) = statement.query([]) else { return };
        if matches!(rows.next(), Ok(Some(_))) {
            // Dropping the rows would end the reading. The statement goes back to the connection's cache half-read, and ends
            // with that at the latest.
            std::mem::forget(rows);
            self.kept.set(true);
        }
    }

    /// Ends it, or leaves that to the transaction that is open.
    pub(super) fn let_go(&self, conn: &Connection) {
        // Rows that are dropped end the reading, these as well as those that were not.
        if self.kept.replace(false)
            && let Ok(mut statement) = conn.prepare_cached(READ)
        {
            let _ = statement.query([]);
        }
    }
}
