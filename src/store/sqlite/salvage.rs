//! Reads a damaged vault as far as possible and rebuilds it in a new file beside it. At the end the new content takes
//! the place of the old one in the same file, in one transaction.

use std::{
    fs::{self, File, OpenOptions},
    io,
    mem::ManuallyDrop,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, Row,
    backup::{Backup, StepResult},
};

use super::{
    apply, audit,
    audit_index::index,
    connection::{self, Patience},
    damaged::{Table, rows},
    error,
    files::{self, Spot, beside, create_private, io_at, open_private},
    format1::older,
    generation,
    incoming::Incoming,
    known_format, records, schema,
};
use crate::store::{
    AuditPut, AuditRecord, AuditTerms, Finders, Index, Kind, OpenError, Put, Record, RecordKey, Removal, StoreError,
};
/// The size of the blocks with which a database is filled, in bytes.
const FILLER: i64 = 1 << 20;
/// The ending of the new vault's name.
const ENDING: &str = ".repair";
/// A damaged vault and the new one that is built beside it. Dropping it removes the new one.
pub struct Salvage {
    spot: Spot,
    /// Reads the old vault as of one moment, so that its log stays unchanged meanwhile.
    old: Connection,
    /// The number of the newest commit that it reads.
    version: i64,
    new: Connection,
    draft: Draft,
    /// Lets one process at a time repair the vault; dropping it releases the lock. `None`: another value holds it.
    _lock: Option<File>,
}

/// The new vault's files.
struct Draft(PathBuf);

impl Draft {
    /// A draft at a path. A killed process may have left another one there.
    fn at(path: PathBuf) -> Self {
        files::remove_database(&path);
        Self(path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        files::remove_database(&self.0);
    }
}

/// The result of copying a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Sound rows.
    pub rows: u64,
    /// Whether some rows could not be read at all.
    pub lost: bool,
    /// Records that can be read but are not sound. They were copied unchanged, without index entries.
    pub unsound: Vec<RecordKey>,
}

/// Called with each record. A record without a kind has a kind's number that no version of the program writes.
type SeeRecord<'a> = dyn FnMut((Option<Kind>, Record)) -> Result<(), StoreError> + 'a;

const RECORDS: Table = Table { name: "record", key: "n", columns: records::COLUMNS_AND_KIND };
const AUDIT: Table = Table { name: "audit", key: "place", columns: audit::COLUMNS };

impl Salvage {
    /// Begins a repair. The new vault has the old one's header, if that can be read, and nothing else.
    pub(super) fn of(spot: Spot, beside_incoming: Option<&Incoming>) -> Result<Self, OpenError> {
        if !spot.has_vault()? {
            return Err(OpenError::NoVault(spot.folder().to_owned()));
        }
        let lock = if beside_incoming.is_some() { None } else { Some(spot.lock()?) };
        let failed = |cause: rusqlite::Error| StoreError::from(cause).at(spot.file());
        let old = connection::connect(&spot, &Patience::default())?;
        if known_format(&old, spot.file())? != schema::FORMAT {
            return Err(older(spot.file()));
        }
        old.execute_batch("PRAGMA cell_size_check=OFF; BEGIN").map_err(failed)?;
        let version = data_version(&old).map_err(failed)?;
        let draft = Draft::at(beside(spot.file(), ENDING));
        create_private(&draft.0)?;
        let new = begin(&draft.0, &old).map_err(|cause| cause.at(spot.file()))?;
        let salvage = Self { spot, old, version, new, draft, _lock: lock };
        salvage.copy_header().map_err(|error| error.at(salvage.spot.file()))?;
        Ok(salvage)
    }

    /// Where the new vault is, to be opened.
    pub fn path(&self) -> &Path {
        &self.draft.0
    }

    /// Where the old vault is.
    pub fn location(&self) -> &Path {
        self.spot.file()
    }

    fn copy_header(&self) -> Result<(), StoreError> {
        let mut header: Option<Record> = None;
        self.old_records(&mut |(kind, record)| {
            let is_newer = header.as_ref().is_none_or(|header| header.version < record.version);
            if kind == Some(Kind::Header) && record.key.id.is_empty() && is_newer {
                header = Some(record);
            }
            Ok(())
        })?;
        header.map_or(Ok(()), |header| self.keep(&header, None).map(drop))
    }

    /// Passes the readable records of the old vault to `see`. Unreadable records are left out.
    pub fn each_record(&self, see: &mut dyn FnMut(&Record)) {
        // Copying the records reports errors.
        let _ = self.old_records(&mut |(kind, record)| {
            if kind.is_some() {
                see(&record);
            }
            Ok(())
        });
    }

    /// Copies records. `judge` returns the index entries of a sound one.
    ///
    /// # Errors
    /// [`StoreError`]: the disk can't be read or written.
    pub fn copy_records(&self, judge: &mut dyn FnMut(&Record) -> Option<Finders>) -> Result<Copied, StoreError> {
        self.new.execute_batch("BEGIN IMMEDIATE")?;
        let (mut copied, mut unsound) = (Copied::default(), Vec::new());
        copied.lost = self.old_records(&mut |(kind, record)| {
            // No version writes a record of an unknown kind, so it can't be kept.
            if kind.is_none() {
                return Ok(());
            }
            match judge(&record) {
                Some(finders) => copied.rows += u64::from(self.keep(&record, Some(finders))?),
                None => unsound.push(record),
            }
            Ok(())
        })?;
        for record in unsound {
            if records::refuse_long(&record.key).is_ok() && apply::version(&self.new, &record.key)?.is_none() {
                self.keep(&record, None)?;
                copied.unsound.push(record.key);
            }
        }
        self.new.execute_batch("COMMIT")?;
        Ok(copied)
    }

    /// Copies the audit log, row by row. `terms` returns the index terms of a row.
    ///
    /// # Errors
    /// [`StoreError`]: the disk can't be read or written.
    pub fn copy_audit(&self, terms: &mut dyn FnMut(&AuditRecord) -> Option<AuditTerms>) -> Result<Copied, StoreError> {
        self.new.execute_batch("BEGIN IMMEDIATE")?;
        let mut copied = Copied::default();
        copied.lost = rows(&self.old, &AUDIT, audit::placed, &mut |record| {
            let Some(record) = record else { return Ok(()) };
            let terms = terms(&record).unwrap_or(AuditTerms {
                account: None,
                actor_key: None,
                key: None,
                seat: None,
                secret: None,
                action: "".into(),
            });
            copied.rows += u64::from(audit::put(&self.new, &AuditPut { record, terms })?);
            Ok(())
        })?;
        self.new.execute_batch("COMMIT")?;
        Ok(copied)
    }

    /// Passes the copied rows of a chain to `see`, in the order of their numbers, not of their times.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn each_row(&self, chain: u32, see: &mut dyn FnMut(&AuditRecord)) -> Result<(), StoreError> {
        audit::each(&self.new, chain, see)
    }

    /// Removes rows of a chain, and puts another one into the place of the last of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn replace_rows(&self, chain: u32, (from, upto): (u64, u64), by: Option<&AuditPut>) -> Result<(), StoreError> {
        self.new.execute_batch("BEGIN IMMEDIATE")?;
        audit::remove(&self.new, chain, (from, upto))?;
        if let Some(row) = by {
            audit::put(&self.new, row)?;
        }
        Ok(self.new.execute_batch("COMMIT")?)
    }

    /// Stores a record, and replaces any other with its key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put(&self, record: &Record, finders: Finders) -> Result<(), StoreError> {
        self.new.execute_batch("BEGIN IMMEDIATE")?;
        apply::remove(&self.new, &Removal::One(record.key.clone()))?;
        self.keep(record, Some(finders))?;
        Ok(self.new.execute_batch("COMMIT")?)
    }

    /// Removes a record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, key: &RecordKey) -> Result<(), StoreError> {
        apply::remove(&self.new, &Removal::One(key.clone()))
    }

    /// Builds the index of the audit log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn index_audit(&self) -> Result<(), StoreError> {
        self.new.execute_batch("BEGIN IMMEDIATE; DELETE FROM audit_index")?;
        for chain in audit::chains(&self.new)? {
            for segment in audit::full_segments(&self.new, chain)? {
                index(&self.new, segment)?;
            }
        }
        Ok(self.new.execute_batch("COMMIT")?)
    }

    /// Copies the old vault unchanged, with all its damage, to a new file beside it whose name ends with `ending`, and
    /// a number if need be. The vault can't be changed meanwhile.
    ///
    /// # Errors
    /// [`OpenError`]; there is no new file then.
    pub fn copy_files(&self, ending: &str) -> Result<PathBuf, OpenError> {
        let mut to = beside(self.spot.file(), ending);
        for number in 2.. {
            if files::look(&to)?.is_none() {
                break;
            }
            to = beside(self.spot.file(), &format!("{ending}-{number}"));
        }
        let draft = Draft::at(beside(&to, ".new"));
        for ending in ["", "-wal"] {
            let (from, to) = (beside(self.spot.file(), ending), beside(&draft.0, ending));
            if files::look(&from)?.is_none() {
                continue;
            }
            create_private(&to)?;
            let copied = || -> io::Result<()> {
                // Never closed, because closing would release SQLite's locks on it.
                let mut from = ManuallyDrop::new(File::open(&from)?);
                io::copy(&mut *from, &mut open_private(&to, OpenOptions::new().write(true))?)?;
                Ok(())
            };
            copied().map_err(io_at(&to))?;
        }
        // Makes one file without a log, as a backup is. This examines no page.
        let failed = |cause: rusqlite::Error| StoreError::from(cause).at(&draft.0);
        let copy = connection::open(&draft.0, &Patience::default()).map_err(failed)?;
        connection::empty_log(&copy).map_err(failed)?;
        copy.close().map_err(|(_, cause)| failed(cause))?;
        files::sync_file(&draft.0)?;
        fs::rename(&draft.0, &to).map_err(io_at(&to))?;
        files::sync_file(&to)?;
        Ok(to)
    }

    /// Puts the new content into the place of the old one, in the same file and in one transaction: other processes go on
    /// with it.
    ///
    /// # Errors
    /// [`OpenError`]: another process has written meanwhile, or the disk failed. The vault is as it was, unless the error is
    /// [`StoreError::Unknown`].
    pub fn take_place(self) -> Result<(), OpenError> {
        let Self { spot, old, version, new, draft, _lock } = self;
        let failed = |cause: rusqlite::Error| StoreError::from(cause).at(spot.file());
        fill(&new, size_of(&old, spot.file()).map_err(failed)?).map_err(failed)?;
        connection::empty_log(&new).map_err(failed)?;
        let mut into = connection::connect(&spot, &Patience::default())?;
        connection::configure(&into).map_err(failed)?;
        // A connection that has read damage may report it here, too.
        let _ = old.execute_batch("ROLLBACK");
        {
            let copy = Backup::new(&new, &mut into).map_err(failed)?;
            // This copies no page yet, but takes the lock: from here on no other process writes.
            let locked = copy.step(0).map_err(failed)?;
            let is_locked = !matches!(locked, StepResult::Busy | StepResult::Locked);
            if !is_locked || data_version(&old).map_err(failed)? != version {
                let what = "another process wrote to it meanwhile; stop every countersign, and run this again";
                return Err(StoreError::Unavailable(what.to_owned()).at(spot.file()));
            }
            // This commits.
            let written = copy.step(-1).map_err(|cause| error::of_commit(cause).at(spot.file()))?;
            if !matches!(written, StepResult::Done) {
                return Err(StoreError::Unavailable("it could not be written".to_owned()).at(spot.file()));
            }
        }
        // The new content is committed already.
        let _ = connection::keep_log(&into, false);
        drop(old);
        // If a connection still reads the log, the content stays in the log, where it is as safe as in the database.
        let _ = connection::empty_log(&into);
        drop((new, draft));
        Ok(())
    }

    fn old_records(&self, see: &mut SeeRecord<'_>) -> Result<bool, StoreError> {
        rows(&self.old, &RECORDS, |row| Ok(kinded(row)), see)
    }

    /// Stores a record, unless one with its key and at least its version is stored. Returns whether its key is new.
    fn keep(&self, record: &Record, finders: Option<Finders>) -> Result<bool, StoreError> {
        let known = apply::version(&self.new, &record.key)?;
        if known.is_some_and(|known| known >= record.version) {
            return Ok(false);
        }
        if known.is_some() {
            apply::remove(&self.new, &Removal::One(record.key.clone()))?;
        }
        apply::insert(&self.new, record)?;
        if let Some(finders) = finders {
            // A name that two records claim finds the first; the examination reports the other.
            apply::put_finders(&self.new, &Put { record: record.clone(), index: Index::Replace(finders) })?;
        }
        Ok(known.is_none())
    }
}

/// A new database at a path. It needs no syncs: it is discarded after a crash.
///
/// Its pages have the size of the old database's, which older versions chose differently: otherwise it can't take the
/// old one's place.
fn begin(path: &Path, old: &Connection) -> Result<Connection, StoreError> {
    let new = connection::open(path, &Patience::default())?;
    let page = pragma(old, "page_size")?;
    new.execute_batch(&format!("PRAGMA page_size={page}; BEGIN IMMEDIATE"))?;
    schema::create(&new)?;
    generation::go_on(&new, old)?;
    new.execute_batch("COMMIT")?;
    connection::keep_a_log(&new)?;
    new.execute_batch("PRAGMA synchronous=OFF")?;
    Ok(new)
}

fn pragma(conn: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

/// The size of a database in bytes, of which a part may still be in its log.
fn size_of(old: &Connection, file: &Path) -> Result<i64, rusqlite::Error> {
    let there = fs::metadata(file).map_or(0, |facts| i64::try_from(facts.len()).unwrap_or_default());
    Ok(pragma(old, "page_count")?.saturating_mul(pragma(old, "page_size")?).max(there))
}

/// Adds free pages to a database until it is as large as another one: processes that have a vault open take a file that
/// shrank for another vault.
fn fill(new: &Connection, whole: i64) -> Result<(), rusqlite::Error> {
    let bytes = whole.saturating_sub(pragma(new, "page_count")?.saturating_mul(pragma(new, "page_size")?));
    if bytes <= 0 {
        return Ok(());
    }
    new.execute_batch("BEGIN IMMEDIATE; CREATE TABLE filler (bytes BLOB)")?;
    for _ in 0..=bytes / FILLER {
        new.execute("INSERT INTO filler (bytes) VALUES (zeroblob(?))", [bytes.min(FILLER)])?;
    }
    new.execute_batch("DROP TABLE filler; COMMIT")
}

/// A number that changes with each commit of another connection.
fn data_version(conn: &Connection) -> Result<i64, rusqlite::Error> {
    conn.query_row("PRAGMA data_version", [], |row| row.get(0))
}

fn kinded(row: &Row<'_>) -> (Option<Kind>, Record) {
    let number: i64 = records::lenient(row, "kind");
    let kind = Kind::ALL.into_iter().find(|kind| i64::from(kind.number()) == number);
    (kind, records::record(row, kind.unwrap_or(Kind::Header)))
}
