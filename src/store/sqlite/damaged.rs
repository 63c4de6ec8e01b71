//! Reads tables of a damaged database: every row that can be reached, whatever pages can't be read.

use rusqlite::{Connection, ErrorCode, Row, params};

use crate::store::StoreError;

/// Rows that one page can hold at most: how far numbers are tried behind a page that can't be read.
const ROWS_OF_A_PAGE: i64 = 128;

/// How a table is read, whatever is damaged in it.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) columns: &'static str,
}

/// Sees every row of a table that can be read: forwards up to the first page that can't, backwards from the end, and then
/// each number in between. A row may be seen twice. Returns whether some could not be read.
pub(super) fn rows<T>(
    conn: &Connection,
    table: &Table,
    read: fn(&Row<'_>) -> Result<T, rusqlite::Error>,
    see: &mut dyn FnMut(T) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    let Some(last) = scan(conn, table, "", read, see)? else { return Ok(false) };
    let first = scan(conn, table, " ORDER BY KEY DESC", read, see)?.filter(|first| *first > last);
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let end = first.unwrap_or_else(|| last.saturating_add(pages.saturating_mul(ROWS_OF_A_PAGE)));
    let Table { name, key, columns } = table;
    let mut one = match conn.prepare(&format!("SELECT {columns} FROM {name} WHERE {key} = ?")) {
        Ok(one) => one,
        Err(cause) => return unread(cause).map(|()| true),
    };
    for number in last.saturating_add(1)..end {
        match one.query_row(params![number], read) {
            Ok(row) => see(row)?,
            Err(rusqlite::Error::QueryReturnedNoRows) => {}
            Err(cause) => unread(cause)?,
        }
    }
    Ok(true)
}

/// Sees the rows of a table in an order until one can't be read; then returns the number of the last one, 0 if there was
/// none.
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
