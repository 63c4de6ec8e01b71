//! Fills a vault's file with data from elsewhere, under a name by which no process opens it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    apply, audit,
    audit_index::index,
    connection::{self, Patience},
    files::{self, Spot, beside, create_private, io_at},
    opened, schema,
    snapshot::Snapshot,
};
use crate::store::{
    AuditPut, Facts, Finders, Index, OpenError, OpenRequest, Opened, Put, Record, SharedStore, StoreError,
    open::blocking,
};

/// The part of an unfinished file's name between the vault's name and the mark.
const ENDING: &str = ".unfinished-";
/// The ending of the name of a backup that is being made.
const SCRATCH: &str = ".backup";
/// The ending of the name of a repair's file.
const WORKPIECE: &str = ".server";

/// The file. Dropping this removes it, unless it was kept.
pub(in crate::store) struct Filling {
    spot: Spot,
    path: PathBuf,
    conn: Option<Connection>,
    request: OpenRequest,
    kept: bool,
    /// Lets one process at a time fill a file; dropping it releases the lock. `None`: a snapshot has it now.
    lock: Option<fs::File>,
}

impl Filling {
    /// Finds a place for a vault at an address.
    pub(in crate::store) fn vacant(request: &OpenRequest, address: &str, mark: &str) -> Result<Self, OpenError> {
        let found = Self::at(Spot::prepare(&request.data_dir, address)?, request, &format!("{ENDING}{mark}"))?;
        if files::look(found.spot.file())?.is_some() {
            return Err(OpenError::Occupied(found.spot.file().to_owned()));
        }
        found.spot.refuse_stray_log()?;
        let others = left_in(&found.spot)?;
        if let Some(other) = others.into_iter().find(|other| *other != found.path) {
            return Err(OpenError::Unfinished(other));
        }
        Ok(found)
    }

    /// Finds a file that was filled for an address, and is not published yet.
    pub(in crate::store) fn unfinished(
        request: &OpenRequest,
        address: &str,
        marks: &str,
    ) -> Result<Option<Self>, OpenError> {
        let mut found = Self::at(Spot::find(&request.data_dir, address)?, request, "")?;
        let begin = beside(found.spot.file(), &format!("{ENDING}{marks}"));
        let is_one =
            |path: &PathBuf| path.as_os_str().as_encoded_bytes().starts_with(begin.as_os_str().as_encoded_bytes());
        let left = left_in(&found.spot)?.into_iter().find(is_one);
        Ok(left.map(|path| {
            found.path = path;
            found
        }))
    }

    /// A file in the data directory, for a backup.
    pub(in crate::store) fn scratch(request: &OpenRequest) -> Result<Self, OpenError> {
        Self::at(Spot::prepare(&request.data_dir, "")?, request, SCRATCH)
    }

    /// The same for a repair.
    pub(in crate::store) fn workpiece(request: &OpenRequest) -> Result<Self, OpenError> {
        Self::at(Spot::prepare(&request.data_dir, "")?, request, WORKPIECE)
    }

    fn at(spot: Spot, request: &OpenRequest, ending: &str) -> Result<Self, OpenError> {
        let (path, lock) = (beside(spot.file(), ending), Some(spot.lock()?));
        Ok(Self { spot, path, conn: None, request: request.clone(), kept: true, lock })
    }

    pub(in crate::store) fn location(&self) -> &Path {
        self.spot.file()
    }

    pub(in crate::store) const fn keep(&mut self) {
        self.kept = true;
    }

    pub(in crate::store) async fn begin(&mut self) -> Result<(), OpenError> {
        self.kept = false;
        // A killed process may have left a file.
        remove(&self.path);
        let path = self.path.clone();
        self.conn = Some(blocking(move || begin(&path)).await?);
        Ok(())
    }

    pub(in crate::store) async fn add(
        &mut self,
        records: Vec<(Record, Finders)>,
        rows: Vec<AuditPut>,
    ) -> Result<(), OpenError> {
        let (conn, path) = (self.taken()?, self.path.clone());
        let (conn, added) = blocking(move || {
            let added = add(&conn, records, &rows);
            Ok((conn, added))
        })
        .await?;
        self.conn = Some(conn);
        added.map_err(|error| error.at(&path))
    }

    pub(in crate::store) async fn store(&mut self) -> Result<(SharedStore, Facts), OpenError> {
        let (conn, path) = (self.conn.take(), self.path.clone());
        let (spot, writes) = (self.spot.named(&self.path), self.request.writes);
        blocking(move || {
            if let Some(conn) = conn {
                end(conn).and_then(|()| connection::must_keep_a_log(&path)).map_err(|error| error.at(&path))?;
                files::sync_file(&path)?;
            }
            match opened(spot, writes)? {
                Opened::Store(store, facts) => Ok((store, facts)),
                Opened::Format1(_) | Opened::Absent(_) => {
                    Err(OpenError::Damaged { path, what: "it is not what was written".to_owned() })
                }
            }
        })
        .await
    }

    /// Gives the file the vault's name. No connection may have it open any more.
    pub(in crate::store) fn publish(mut self) -> Result<(), OpenError> {
        let (file, path) = (self.spot.file(), &self.path);
        let failed = |cause: rusqlite::Error| StoreError::from(cause).at(path);
        let copy = connection::open(path, &Patience::default()).map_err(failed)?;
        if !connection::empty_log(&copy).map_err(failed)? {
            return Err(StoreError::Unavailable("somebody reads it".to_owned()).at(path));
        }
        copy.close().map_err(|(_, cause)| failed(cause))?;
        files::sync_file(path)?;
        if files::look(file)?.is_some() {
            return Err(OpenError::Occupied(file.to_owned()));
        }
        fs::rename(path, file).map_err(io_at(file))?;
        self.kept = true;
        files::sync_file(file)
    }

    /// The file as a snapshot, which removes it when it is dropped.
    pub(in crate::store) fn into_snapshot(mut self) -> Snapshot {
        self.kept = true;
        Snapshot::at(self.path.clone(), self.lock.take())
    }

    /// As [`Self::into_snapshot`], without the lock, which a repair of the file takes.
    pub(in crate::store) fn into_unlocked(mut self) -> Snapshot {
        self.kept = true;
        Snapshot::at(self.path.clone(), None)
    }

    fn taken(&mut self) -> Result<Connection, OpenError> {
        let closed = || StoreError::Unavailable("it is finished".to_owned()).at(&self.path);
        self.conn.take().ok_or_else(closed)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if !self.kept {
            self.conn = None;
            remove(&self.path);
        }
    }
}

/// The unfinished file beside a place without a vault, if there is one.
pub(super) fn unfinished_at(spot: &Spot) -> Result<Option<PathBuf>, OpenError> {
    Ok(left_in(spot)?.into_iter().next())
}

fn left_in(spot: &Spot) -> Result<Vec<PathBuf>, OpenError> {
    let begin = beside(spot.file(), ENDING);
    let mut found = Vec::new();
    for entry in fs::read_dir(spot.folder()).map_err(io_at(spot.folder()))? {
        let path = entry.map_err(io_at(spot.folder()))?.path();
        let (name, begin) = (path.as_os_str().as_encoded_bytes(), begin.as_os_str().as_encoded_bytes());
        let is_database = ![b"-wal".as_slice(), b"-shm", b"-journal"].iter().any(|ending| name.ends_with(ending));
        if name.starts_with(begin) && is_database {
            found.push(path);
        }
    }
    Ok(found)
}

fn remove(path: &Path) {
    for ending in ["", "-wal", "-shm", "-journal"] {
        // A file that can't be removed is sealed like the vault, and the next attempt tries again.
        let _ = fs::remove_file(beside(path, ending));
    }
}

/// Begins a file. It needs no journal: an unfinished one is discarded.
fn begin(path: &Path) -> Result<Connection, OpenError> {
    create_private(path)?;
    let begun = || -> Result<Connection, StoreError> {
        let conn = connection::open(path, &Patience::default())?;
        conn.execute_batch(
            "PRAGMA page_size=2048; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; BEGIN IMMEDIATE;",
        )?;
        schema::create(&conn)?;
        Ok(conn)
    };
    begun().map_err(|error| error.at(path))
}

fn add(conn: &Connection, records: Vec<(Record, Finders)>, rows: &[AuditPut]) -> Result<(), StoreError> {
    let twice = || StoreError::Damaged { what: "something is in it twice".to_owned() };
    for (record, finders) in records {
        if !apply::insert(conn, &record)? {
            return Err(twice());
        }
        // A name that two records claim finds the first; the examination reports the other.
        apply::put_finders(conn, &Put { record, index: Index::Replace(finders) })?;
    }
    for row in rows {
        if !audit::put(conn, row)? {
            return Err(twice());
        }
    }
    Ok(())
}

fn end(conn: Connection) -> Result<(), StoreError> {
    for chain in audit::chains(&conn)? {
        for segment in audit::full_segments(&conn, chain)? {
            index(&conn, segment)?;
        }
    }
    conn.execute_batch("COMMIT")?;
    connection::keep_a_log(&conn)?;
    conn.close().map_err(|(_, cause)| cause.into())
}
