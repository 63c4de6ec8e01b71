//! The embedded backend: one SQLite file that several processes may hold open at once.
//!
//! One connection writes, others read; a read never waits for a writer. An existing file is not written before the
//! first commit. [`apply`] carries out a commit, [`records`] and [`audit`] answer queries, [`store`] chooses the thread
//! and the durability.
//!
//! This module uses no keys and no clock (times are arguments; waits are measured), and makes no decisions.

mod apply;
mod audit;
mod audit_index;
mod beside_sqlite;
mod connection;
mod damaged;
mod error;
pub(super) mod files;
pub(super) mod filling;
pub mod format1;
mod generation;
pub(super) mod incoming;
mod open_file;
pub(super) mod ownership;
mod records;
pub(super) mod salvage;
mod schema;
pub(super) mod snapshot;
mod store;
mod writer;

use std::{fs::File, path::Path, sync::Arc};

use rusqlite::Connection;

use self::{
    connection::Patience, files::Spot, format1::Format1, incoming::Incoming, open_file::OpenFile, salvage::Salvage,
    snapshot::Snapshot, store::Sqlite,
};
use super::{Absent, Commit, Committed, Facts, OpenError, OpenRequest, Opened, StoreError, Writes};

/// A place without a vault, with the lock for creating one there.
#[derive(Debug)]
pub(super) struct Place {
    spot: Spot,
    /// Dropping it releases the lock.
    _lock: File,
}

/// Opens the store at an address. Without a store there, and if `make` is not set, this creates nothing, not even a
/// folder.
pub(super) fn open(request: &OpenRequest, address: &str) -> Result<Opened, OpenError> {
    if rusqlite::version_number() < connection::SQLITE_MIN {
        let what = format!("SQLite {} can lose commits; this program needs 3.51.3 or newer", rusqlite::version());
        return Err(StoreError::Unavailable(what).into());
    }
    let spot =
        if request.make { Spot::prepare(&request.data_dir, address)? } else { Spot::find(&request.data_dir, address)? };
    if !spot.has_vault()? {
        let is_restoring = !incoming::moved_by_a_killed_one(&spot)?.is_empty() || spot.has_vault()?;
        if !is_restoring {
            spot.refuse_stray_log()?;
            if let Some(left) = filling::unfinished_at(&spot)? {
                return Err(OpenError::Unfinished(left));
            }
            if !request.make {
                return Err(OpenError::NoVault(spot.folder().to_owned()));
            }
        }
        // The lock waits for a restore that is under way.
        let lock = spot.lock()?;
        if !spot.has_vault()? {
            let moved = incoming::moved_by_a_killed_one(&spot)?;
            if !moved.is_empty() {
                return Err(OpenError::HalfRestored { path: spot.file().to_owned(), moved });
            }
            spot.refuse_stray_log()?;
            if !request.make {
                return Err(OpenError::NoVault(spot.folder().to_owned()));
            }
            return Ok(Opened::Absent(Absent { place: super::open::Spot::File(Place { spot, _lock: lock }) }));
        }
    }
    opened(spot, request.writes)
}

/// Opens the store in an existing file.
fn opened(spot: Spot, writes: Writes) -> Result<Opened, OpenError> {
    let file = Arc::new(OpenFile::at(spot.clone())?);
    generation::refuse_older(&file)?;
    let connect = || {
        let conn = file.connect(&Patience::default())?;
        let format = known_format(&conn, spot.file()).map_err(|error| file.judged_at_opening(error))?;
        Ok::<_, OpenError>((conn, format))
    };
    let (conn, format) = match connect() {
        // SQLite reports a read that failed once as damage, too. Real damage is still there.
        Err(OpenError::Damaged { .. }) => connect()?,
        connected => connected?,
    };
    let backend = format!("SQLite {}, embedded", rusqlite::version());
    let facts = Facts { format, backend, location: spot.file().to_owned() };
    if format == 1 {
        return Ok(Opened::Format1(Box::new(Format1 { conn, spot, facts })));
    }
    Ok(Opened::Store(Arc::new(Sqlite::new(file, conn, writes)), facts))
}

/// Copies the vault at an address.
pub(super) fn snapshot(request: &OpenRequest, address: &str) -> Result<Snapshot, OpenError> {
    Snapshot::of(&Spot::find(&request.data_dir, address)?)
}

/// Copies a backup to the place of a vault.
pub(super) fn incoming(request: &OpenRequest, address: &str, backup: &Path, time: &str) -> Result<Incoming, OpenError> {
    Incoming::of(Spot::prepare(&request.data_dir, address)?, backup, time)
}

/// Reads the vault at an address as far as possible.
pub(super) fn salvage(request: &OpenRequest, address: &str, incoming: Option<&Incoming>) -> Result<Salvage, OpenError> {
    Salvage::of(Spot::find(&request.data_dir, address)?, incoming)
}

/// The database's format, if it is a vault in a known format.
fn known_format(conn: &Connection, path: &Path) -> Result<u32, OpenError> {
    let failed = |cause: rusqlite::Error| StoreError::from(cause).at(path);
    let damaged = |what: &str| OpenError::Damaged { path: path.to_owned(), what: what.to_owned() };
    match schema::application(conn).map_err(failed)? {
        schema::APPLICATION => {}
        schema::MOVED => {
            let to = schema::moved_to(conn).map_err(failed)?;
            return Err(OpenError::Moved { from: path.to_owned(), to });
        }
        _ => return Err(damaged("it is another program's database")),
    }
    match schema::format(conn).map_err(failed)? {
        0 => Err(damaged("it bears no format")),
        found if found > schema::FORMAT => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: schema::FORMAT })
        }
        found => Ok(found),
    }
}

impl Place {
    pub(super) fn location(&self) -> &Path {
        self.spot.file()
    }

    /// Builds the vault under another name, then renames it, so that there is a whole vault or none.
    pub(super) fn create(self, first: &Commit) -> Result<(), OpenError> {
        let draft = self.spot.draft();
        // A killed process may have left a draft.
        files::remove_database(&draft);
        files::create_private(&draft)?;
        let built =
            build(&draft, first).and_then(|()| connection::must_keep_a_log(&draft)).map_err(|error| match error {
                // Data that was just written is not damaged: the disk can't be read.
                StoreError::Damaged { .. } => StoreError::Unavailable("the disk can't be read".to_owned()),
                error @ (StoreError::Unavailable(_) | StoreError::Unknown(_)) => error,
            });
        let published = built.map_err(|error| error.at(self.spot.file())).and_then(|()| self.spot.publish());
        if published.is_err() {
            files::remove_database(&draft);
        }
        published
    }
}

/// Builds a vault's file. It needs no journal, because an unfinished draft is discarded, and is synced as a whole
/// before it is renamed. A code that is read again rewrites only the last page of the audit log, so half of SQLite's
/// usual page size halves what is written and checksummed for it; a quarter would need a new page for every sixth
/// record.
fn build(draft: &Path, first: &Commit) -> Result<(), StoreError> {
    let conn = connection::open(draft, &Patience::default())?;
    conn.execute_batch("PRAGMA page_size=2048; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; BEGIN IMMEDIATE;")?;
    schema::create(&conn)?;
    match apply::all(&conn, first)? {
        Committed::Done => {}
        Committed::Stale { .. } | Committed::Taken { .. } | Committed::Moved { .. } => {
            return Err(StoreError::Unavailable("a first commit must fit an empty store".to_owned()));
        }
    }
    conn.execute_batch("COMMIT")?;
    connection::keep_a_log(&conn)?;
    conn.close().map_err(|(_, error)| error.into())
}
