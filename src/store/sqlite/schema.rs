//! The schema, its history, and the structural check. A released migration is never edited.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{audit, generation::Generation};
use crate::{domain::text::Claim, store::StoreError};

/// The newest format that this version understands.
pub(super) const FORMAT: u32 = 2;
/// The tables of [`FORMAT`].
pub(super) const CREATE: &str = include_str!("../../../migrations/sqlite/0002_records.sql");
/// The tables of format 1, in an order in which they can be dropped.
const FORMAT1_TABLES: [&str; 10] =
    ["code_count", "idempotency", "secret", "seat", "api_key", "account", "trail", "trail_end", "data_key", "key_slot"];
/// `CSGN`, the application id in the database's header.
pub(super) const APPLICATION: i32 = 0x4353_474E;
/// `CSGM`, the application id of a vault that was moved elsewhere.
pub(super) const MOVED: i32 = 0x4353_474D;
/// The most findings of the page check that are reported: more would add no information.
const FINDINGS_MAX: u32 = 100;

/// The database's format.
pub(super) fn format(conn: &Connection) -> Result<u32, rusqlite::Error> {
    let number = conn.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))?;
    Ok(Generation::split(number).0)
}

/// The database's application id.
pub(super) fn application(conn: &Connection) -> Result<i32, rusqlite::Error> {
    conn.query_row("SELECT application_id FROM pragma_application_id", [], |row| row.get(0))
}

/// Makes the tables in an empty database, inside a transaction.
pub(super) fn create(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.execute_batch(CREATE)?;
    conn.execute_batch(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};"))
}

/// Ends a vault that was moved elsewhere, inside a transaction: a process that has it open finds no record any more.
pub(super) fn retire(conn: &Connection, to: &str) -> Result<(), rusqlite::Error> {
    conn.execute_batch("ALTER TABLE record RENAME TO moved_record; ALTER TABLE probe RENAME TO moved_probe; CREATE TABLE moved (place TEXT NOT NULL) STRICT;")?;
    conn.execute("INSERT INTO moved (place) VALUES (?)", [to])?;
    conn.execute_batch(&format!("PRAGMA application_id = {MOVED};"))
}

/// Where the vault was moved.
pub(super) fn moved_to(conn: &Connection) -> Result<String, rusqlite::Error> {
    conn.query_row("SELECT place FROM moved", [], |row| row.get(0))
}

/// Removes the tables of format 1 and sets the present format.
pub(super) fn drop_format1(conn: &Connection) -> Result<(), rusqlite::Error> {
    for table in FORMAT1_TABLES.iter().chain(&["vault"]) {
        conn.execute_batch(&format!("DROP TABLE {table};"))?;
    }
    conn.execute_batch(&format!("PRAGMA user_version = {FORMAT};"))
}

/// Checks every page, the schema, and the indexes that this program maintains itself. Returns the findings, none if all
/// is sound.
pub(super) fn examine(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let whole = conn.unchecked_transaction()?;
    let mut found = pages(conn)?;
    for check in [schema, finders, audit::examine] {
        match check(conn) {
            Ok(more) => found.extend(more),
            // Without findings, an error means that the check could not run.
            Err(error @ (StoreError::Unavailable(_) | StoreError::Unknown(_))) if found.is_empty() => {
                return Err(error);
            }
            // The check could not finish; other findings are still useful.
            Err(error) => found.push(error.to_string()),
        }
    }
    whole.finish()?;
    Ok(found)
}

fn pages(conn: &Connection) -> Result<Vec<String>, StoreError> {
    match strings(conn, &format!("PRAGMA integrity_check({FINDINGS_MAX})")) {
        Ok(found) if found == ["ok"] => Ok(Vec::new()),
        Err(StoreError::Damaged { what }) => Ok(vec![what]),
        found => found,
    }
}

/// Checks that names and words refer to existing records, in the account they name, and that the counts are right.
fn finders(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    for table in ["record_name", "record_word"] {
        let lost: i64 = conn.query_row(
            &format!(
                "SELECT count(*) FROM {table} AS finder LEFT JOIN record USING (kind, id) \
                 WHERE record.n IS NULL OR record.account <> finder.account"
            ),
            [],
            |row| row.get(0),
        )?;
        if lost > 0 {
            found.push(format!("{lost} rows of {table} lead to no record, or to one of another account"));
        }
    }
    let wrong: i64 = conn.query_row(
        "SELECT count(*) FROM (SELECT kind, account, life, count(*) AS n FROM record GROUP BY kind, account, life) AS real \
         FULL JOIN (SELECT * FROM record_count WHERE n <> 0) AS kept USING (kind, account, life) \
         WHERE real.n IS NOT kept.n",
        [],
        |row| row.get(0),
    )?;
    if wrong > 0 {
        found.push(format!("the number of records in a list is kept wrong ({wrong})"));
    }
    Ok(found)
}

/// The objects of a schema: kind and name, then table and definition.
type Things = BTreeMap<(String, String), (String, Option<String>)>;

/// Compares the schema with that of a new vault. An attacker who can write the file can change it: a trigger, or a
/// column that swallows writes, could undo changes.
fn schema(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let fresh = Connection::open_in_memory()?;
    create(&fresh)?;
    let (wanted, found) = (things(&fresh)?, things(conn)?);
    // An attacker may have chosen the name, and it is shown on a terminal.
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
    let mut statement = conn.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let all = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?))))?;
    Ok(all.collect::<Result<_, _>>()?)
}

fn strings(conn: &Connection, sql: &str) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare(sql)?;
    let found = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// A change here means that a released file was edited: write a new one instead.
    #[test]
    fn a_released_migration_is_never_edited() {
        let files = [include_str!("../../../migrations/sqlite/0001_init.sql"), CREATE];

        let found = files.map(|text| data_encoding::HEXLOWER.encode(&Sha256::digest(text)));

        assert_eq!(
            found,
            [
                "902739b3eb941ec9775abdbb56aabf050654ce38d68597e0c7fb927c35fbc180",
                "de16ac12b39a4eb3f34c6032aa7251186ff5676e76e2a2e3dde237d49b70c6c3",
            ]
        );
    }
}
