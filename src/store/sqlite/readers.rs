//! Connections that only read, so that a server's reads wait for no commit. Used where they are asked for: a point read
//! is shorter than any hand-over.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::{
    connection::{self, Patience},
    db::Db,
    files::OpenFile,
};
use crate::{keyring::Keyring, store::StoreError};

/// Connections that are kept when nobody uses them.
const KEPT: usize = 8;

/// A pool that opens what it lacks and keeps a few.
pub(super) struct Readers {
    file: Arc<OpenFile>,
    keyring: Arc<Keyring>,
    /// `None` once it is closed.
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    pub(super) const fn new(file: Arc<OpenFile>, keyring: Arc<Keyring>) -> Self {
        Self { file, keyring, idle: Mutex::new(Some(Vec::new())) }
    }

    /// Reads. The connection goes back to the pool only if all went well.
    pub(super) fn read<T>(&self, act: impl FnOnce(&Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let conn = self.take()?;
        self.file.is_there()?;
        let read = act(&Db::new(&conn, &self.keyring))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(idle) = idle.as_mut().filter(|idle| idle.len() < KEPT) {
            idle.push(conn);
        }
        Ok(read)
    }

    /// Closes those that are idle; none is opened any more.
    pub(super) fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let idle = match self.idle.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(idle) => idle.pop(),
            None => return Err(super::writer::closed()),
        };
        if let Some(conn) = idle {
            return Ok(conn);
        }
        let conn = connection::connect(self.file.path(), &Patience::new())?;
        connection::settle(&conn)?;
        conn.execute_batch("PRAGMA query_only=ON")?;
        Ok(conn)
    }
}
