//! The schema and its history. Migrations only grow: a file that was released is never edited.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{
    db::{self, Db, Tx},
    header,
};
use crate::{domain::text::Claim, keyring::Keyring, store::StoreError};

/// Every migration, in order; the format's number is how many were applied.
const MIGRATIONS: &[&str] = &[include_str!("../../../migrations/sqlite/0001_init.sql")];

/// The newest format that this version understands.
#[expect(clippy::cast_possible_truncation, reason = "there are not that many migrations")]
pub(super) const FORMAT: u32 = MIGRATIONS.len() as u32;

/// `CSGN`: what the database's header says of who made it.
pub(super) const APPLICATION: i32 = 0x4353_474E;

/// The number that the database bears: which migrations were applied.
pub(super) fn format(conn: &Connection) -> Result<u32, rusqlite::Error> {
    conn.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))
}

/// Applies to an empty database, inside a transaction, all there is.
pub(super) fn create(conn: &Connection) -> Result<(), rusqlite::Error> {
    for migration in MIGRATIONS {
        conn.execute_batch(migration)?;
    }
    conn.execute_batch(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};"))
}

/// Brings an older database up to date, in one transaction, once the key is known to be right.
pub(super) fn migrate(conn: &Connection, keyring: &Keyring) -> Result<(), StoreError> {
    if format(conn)? == FORMAT {
        return Ok(());
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let done = apply(conn, keyring);
    conn.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

fn apply(conn: &Connection, keyring: &Keyring) -> Result<(), StoreError> {
    // Another process may have done it while this one waited for its turn.
    let found = format(conn)?;
    let tx = Tx::new(Db::new(conn, keyring));
    let header = header::read(conn)?;
    header.check(&tx, found)?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        conn.execute_batch(migration)?;
    }
    header.put_mac(&tx, FORMAT)?;
    conn.execute_batch(&format!("PRAGMA user_version = {FORMAT};"))?;
    Ok(())
}

/// What the schema consists of: of each thing its kind and name, then its table and how it was made.
type Things = BTreeMap<(String, String), (String, Option<String>)>;

/// Compares the schema with that of a new vault. Whoever can write the file can change it, too: a trigger, or a column that
/// swallows writes, would undo what is done.
pub(super) fn examine(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let fresh = Connection::open_in_memory()?;
    create(&fresh)?;
    let (wanted, found) = (things(&fresh)?, things(conn)?);
    // A name may be anybody's writing, and somebody's terminal shows it.
    let shown =
        |(kind, name): &(String, String)| format!("{} \"{}\"", Claim::of(kind).as_str(), Claim::of(name).as_str());
    let strange = found.iter().filter_map(|(thing, made)| match wanted.get(thing) {
        None => Some(format!("the schema has what no vault has: {}", shown(thing))),
        Some(wanted) if wanted != made => Some(format!("the schema has another {} than a vault", shown(thing))),
        Some(_) => None,
    });
    let lacking = wanted.keys().filter(|thing| !found.contains_key(*thing));
    Ok(strange.chain(lacking.map(|thing| format!("the schema lacks {}", shown(thing)))).collect())
}

fn things(conn: &Connection) -> Result<Things, StoreError> {
    let all = db::all(conn, "SELECT type, name, tbl_name, sql FROM sqlite_schema", [], |row| {
        Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)))
    })?;
    Ok(all.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// A change here means that a released file was edited: write a new one instead.
    const CHECKSUMS: &[&str] = &["902739b3eb941ec9775abdbb56aabf050654ce38d68597e0c7fb927c35fbc180"];

    #[test]
    fn a_released_migration_is_never_edited() {
        let found: Vec<_> =
            MIGRATIONS.iter().map(|text| data_encoding::HEXLOWER.encode(&Sha256::digest(text))).collect();

        assert_eq!(found, CHECKSUMS);
    }
}
