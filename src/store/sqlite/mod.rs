//! The embedded backend: one SQLite file that several processes may hold open at once.
//!
//! Opening goes from looking to touching: the files' owner and modes, the format, the key, the header's keyed hash; until
//! the key is known to be right, nothing is written. Reading and writing then go through [`Sqlite`]: one connection
//! writes, in batches ([`commit`], [`writer`]); each table has its file, with its SQL beside the rows it makes.
//!
//! Never: a permission, a clock (times are arguments), or a seal opened.

mod accounts;
mod commit;
mod connection;
mod create;
mod db;
mod error;
mod files;
mod header;
mod keys;
mod memory;
mod readers;
mod schema;
mod seats;
mod secrets;
mod snapshot;
mod store;
mod trail;
mod upkeep;
mod uses;
mod writer;

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, config::DbConfig};

use self::{
    commit::Core,
    connection::Patience,
    db::Db,
    files::{OpenFile, Spot},
    readers::Readers,
    store::Sqlite,
    writer::Writer,
};
use super::{Made, OpenError, OpenRequest, Opened, StoreError, VaultStatus};
use crate::keyring::{Keyring, UnlockError, read_key_file};

/// Opens the vault at an address, making it first if there is none.
pub(super) fn open(request: &OpenRequest, address: &str) -> Result<Opened, OpenError> {
    check_version()?;
    let spot = Spot::prepare(&request.data_dir, address)?;
    let made = if spot.has_vault()? { Made::Before } else { create::create(request, &spot)? };
    opened(request, &spot, made)
}

/// Opens the vault at an address, and makes nothing, not even its folder.
pub(super) fn open_existing(request: &OpenRequest, address: &str) -> Result<Opened, OpenError> {
    check_version()?;
    let spot = Spot::find(&request.data_dir, address)?;
    if !spot.has_vault()? {
        spot.refuse_stray_log()?;
        return Err(OpenError::NoVault(spot.folder().to_owned()));
    }
    opened(request, &spot, Made::Before)
}

fn check_version() -> Result<(), OpenError> {
    if rusqlite::version_number() < connection::SQLITE_MIN {
        let what = format!("SQLite {} can lose commits; this program needs 3.51.3 or newer", rusqlite::version());
        return Err(StoreError::Unavailable(what).into());
    }
    Ok(())
}

fn opened(request: &OpenRequest, spot: &Spot, made: Made) -> Result<Opened, OpenError> {
    let file = Arc::new(OpenFile::at(spot)?);
    let patience = Patience::new();
    let unlocked = unlock(request, spot, &patience)?;
    let keyring = Arc::new(unlocked.keyring);
    let core = Core::new(unlocked.conn, Arc::clone(&file), Arc::clone(&keyring), patience);
    let writer = Writer::start(core, request.writes, request.strict)
        .map_err(|source| OpenError::Io { path: spot.file().to_owned(), source })?;
    let readers = Readers::new(file, Arc::clone(&keyring));
    let store = Arc::new(Sqlite::new(writer, readers, request.writes));
    Ok(Opened { store, keyring, status: unlocked.status, made })
}

struct Unlocked {
    conn: Connection,
    keyring: Keyring,
    status: VaultStatus,
}

/// Opens the file and its header. Nothing is written before the key is known to be right.
fn unlock(request: &OpenRequest, spot: &Spot, patience: &Patience) -> Result<Unlocked, OpenError> {
    // Closing a connection copies the log into the database. Until the key is right, that must not happen either; a log
    // that was empty before is removed as it came.
    let keep_log = spot.has_log()?;
    let conn = connection::connect(spot.file(), patience).map_err(opening(spot.file()))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep_log).map_err(opening(spot.file()))?;
    let format = known_format(&conn, spot.file())?;
    let empty_handed = header_of(&conn).map_err(damage(spot.file()))?;
    let key_file = create::key_path(request, spot, empty_handed.header.vault)?;
    let keyring = Keyring::unlock(&empty_handed.header, &read_key_file(&key_file)?).map_err(|source| match source {
        UnlockError::WrongKey => OpenError::WrongKey { key_file: key_file.clone(), source },
        UnlockError::Damaged => OpenError::Damaged { path: spot.file().to_owned(), what: source.to_string() },
    })?;
    empty_handed.check(&Db::new(&conn, &keyring), format).map_err(damage(spot.file()))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(opening(spot.file()))?;
    connection::settle(&conn).map_err(opening(spot.file()))?;
    schema::migrate(&conn, &keyring).map_err(damage(spot.file()))?;
    let header = empty_handed.header;
    let status = VaultStatus {
        vault: header.vault,
        default_account: empty_handed.default_account,
        format: schema::FORMAT,
        created_at: empty_handed.created_at,
        backend: format!("SQLite {}, embedded", rusqlite::version()),
        location: spot.file().to_owned(),
        key_file,
        slots: header.slots.into_iter().map(|slot| slot.kind).collect(),
        epoch: header.active_epoch,
    };
    Ok(Unlocked { conn, keyring, status })
}

/// The database's format, if it is a vault of a format that this version understands.
fn known_format(conn: &Connection, path: &Path) -> Result<u32, OpenError> {
    let application: i32 = conn
        .query_row("SELECT application_id FROM pragma_application_id", [], |row| row.get(0))
        .map_err(opening(path))?;
    if application != schema::APPLICATION {
        return Err(OpenError::Damaged { path: path.to_owned(), what: "it is another program's database".to_owned() });
    }
    match schema::format(conn).map_err(opening(path))? {
        0 => Err(OpenError::Damaged { path: path.to_owned(), what: "it bears no format".to_owned() }),
        found if found > schema::FORMAT => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: schema::FORMAT })
        }
        found => Ok(found),
    }
}

/// Reads the header in one piece, although another process may be changing slots.
fn header_of(conn: &Connection) -> Result<header::Kept, StoreError> {
    let read = conn.unchecked_transaction()?;
    let kept = header::read(conn)?;
    read.finish()?;
    Ok(kept)
}

/// What is wrong with the database, beside its path.
fn damage(path: &Path) -> impl FnOnce(StoreError) -> OpenError {
    let path = path.to_owned();
    move |error| match error {
        StoreError::Damaged { .. } => OpenError::Damaged { path, what: error.to_string() },
        StoreError::Unavailable(what) => OpenError::Unusable { path, what },
        StoreError::Exists(_) | StoreError::NoAccount | StoreError::InUse(_) => error.into(),
    }
}

fn opening(path: &Path) -> impl FnOnce(rusqlite::Error) -> OpenError {
    let damage = damage(path);
    move |error| damage(error.into())
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    /// A test may run as a user who may write everything, so the errors of one who may not are made here.
    #[test]
    fn a_database_that_cant_be_used_is_named_with_what_to_do() {
        for code in [ffi::SQLITE_CANTOPEN, ffi::SQLITE_READONLY, ffi::SQLITE_READONLY_DIRECTORY, ffi::SQLITE_FULL] {
            let told = opening(Path::new("/v/vault.db"))(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));

            let told = told.to_string();
            assert!(told.starts_with("/v/vault.db can't be read or written: Error code"), "{told}");
            assert!(told.contains("chmod 700 the folder"), "{told}");
        }
    }
}
