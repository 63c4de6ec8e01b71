//! Reads tables of a damaged database: every row that can be reached, even if some pages can't be read.

use rusqlite::{Connection, ErrorCode, Row, params};

use crate::store::StoreError;

/// The most rows that one page can hold. At most this many unreadable numbers are tried for each page of the database.
const ROWS_OF_A_PAGE: i64 = 128;

/// The description of a table that is read.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) columns: &'static str,
}

/// Passes every readable row of a table to `see`: forwards up to the first unreadable page, backwards from the end, and
/// then from each number in between to the next row. A row may be passed twice. Returns whether some rows could not be
/// read.
pub(super) fn rows<T>(
    conn: &Connection,
    table: &Table,
    read: fn(&Row<'_>) -> Result<T, rusqlite::Error>,
    see: &mut dyn FnMut(T) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    let Some(last) = scan(conn, table, "", read, see)? else { return Ok(false) };
    let first = scan(conn, table, " ORDER BY KEY DESC", read, see)?.filter(|first| *first > last);
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let mut tries = pages.saturating_mul(ROWS_OF_A_PAGE);
    let end = first.unwrap_or(i64::MAX);
    let Table { name, key, columns } = table;
    let sql = format!("SELECT {columns}, {key} AS number FROM {name} WHERE {key} >= ? ORDER BY {key} LIMIT 1");
    let mut next = match conn.prepare(&sql) {
        Ok(next) => next,
        Err(cause) => return unread(cause).map(|()| true),
    };
    let mut number = last.saturating_add(1);
    while number < end && tries > 0 {
        match next.query_row(params![number], |row| Ok((row.get("number")?, read(row)?))) {
            Ok((found, row)) => {
                see(row)?;
                number = i64::max(found, number);
            }
            Err(rusqlite::Error::QueryReturnedNoRows) => break,
            Err(cause) => {
                unread(cause)?;
                tries -= 1;
            }
        }
        number = number.saturating_add(1);
    }
    Ok(true)
}

/// Passes the rows of a table to `see` in an order until one can't be read; then returns the number of the last one, 0
/// if there was none.
fn scan<T>(
    conn: &Connection,
    table: &Table,
    order: &str,
    read: fn(&Row<'_>) -> Result<T, rusqlite::Error>,
    see: &mut dyn FnMut(T) -> Result<(), StoreError>,
) -> Result<Option<i64>, StoreError> {
    let Table { name, key, columns } = table;
    let sql = format!("SELECT {columns}, {key} AS number FROM {name} NOT INDEXED{}", order.replace("KEY", key));
    let mut last = 0;
    let mut scanned = || -> Result<(), StoreError> {
        let mut statement = conn.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            last = row.get("number")?;
            see(read(row)?)?;
        }
        Ok(())
    };
    match scanned() {
        Ok(()) => Ok(None),
        Err(StoreError::Damaged { .. }) => Ok(Some(last)),
        Err(cause) => Err(cause),
    }
}

/// The error of a row that can't be read, unless it is damage, which is expected here.
fn unread(cause: rusqlite::Error) -> Result<(), StoreError> {
    match cause.sqlite_error_code() {
        None | Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(()),
        Some(_) => Err(cause.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs::OpenOptions,
        io::{Seek as _, SeekFrom, Write as _},
    };

    use super::*;

    const TABLE: Table = Table { name: "t", key: "n", columns: "n, x" };
    const FAR: i64 = 1 << 40;

    #[test]
    fn rows_between_pages_that_can_not_be_read_are_seen_however_far_apart_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA page_size=2048; CREATE TABLE t (n INTEGER PRIMARY KEY, x BLOB)").unwrap();
        let mut add = conn.prepare("INSERT INTO t VALUES (?, zeroblob(100))").unwrap();
        let numbers: BTreeSet<i64> = (1..=900).chain(FAR - 900..=FAR).collect();
        for number in &numbers {
            assert_eq!(add.execute([number]), Ok(1));
        }
        drop(add);
        conn.close().unwrap();
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        for page in [20, 80] {
            file.seek(SeekFrom::Start(page * 2048)).unwrap();
            file.write_all(&[0xFF; 2048]).unwrap();
        }
        drop(file);

        let conn = Connection::open(&path).unwrap();
        let mut seen = BTreeSet::new();
        let read = |row: &Row<'_>| row.get::<_, i64>("n");
        let lost = rows(&conn, &TABLE, read, &mut |number| {
            seen.insert(number);
            Ok(())
        });

        assert_eq!(lost, Ok(true));
        let missing: Vec<_> = numbers.difference(&seen).copied().collect();
        assert!((2..=40).contains(&missing.len()), "{missing:?}");
        assert!(missing.iter().any(|number| *number < 900) && missing.iter().any(|number| *number > 900));
    }
}
