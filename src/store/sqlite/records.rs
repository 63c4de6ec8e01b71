//! Queries for records.

use rusqlite::{Connection, OptionalExtension as _, Row, RowIndex, ToSql, params, types::FromSql};

use super::connection::at_one_moment;
use crate::{
    domain::ids::AccountId,
    store::{Finders, ID_BYTES_MAX, Kind, Life, List, Record, RecordKey, StoreError},
};

/// The columns of a record, in the order in which [`record`] reads them.
pub(super) const COLUMNS: &str =
    "record.id, record.version, record.account, record.sort, record.life, record.mac, record.body";

/// As [`COLUMNS`], with the record's kind.
pub(super) const COLUMNS_AND_KIND: &str =
    "record.id, record.version, record.account, record.sort, record.life, record.mac, record.body, record.kind";

/// Records by their keys, as of one moment.
pub(super) fn read(conn: &Connection, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StoreError> {
    at_one_moment(conn, || {
        let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM record WHERE kind = ? AND id = ?"))?;
        let mut read = |key: &RecordKey| {
            let found = statement.query_row(params![key.kind.number(), key.id], |row| Ok(record(row, key.kind)));
            Ok(found.optional()?)
        };
        keys.iter().map(&mut read).collect()
    })
}

/// The record with a name.
pub(super) fn find(
    conn: &Connection,
    kind: Kind,
    account: Option<AccountId>,
    name: &[u8; 32],
) -> Result<Option<Record>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM record_name JOIN record USING (kind, id) \
         WHERE record_name.kind = ? AND record_name.account = ? AND record_name.name = ?"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let found =
        statement.query_row(params![kind.number(), account_bytes(account.as_ref()), name], |row| Ok(record(row, kind)));
    Ok(found.optional()?)
}

/// The index entries of records.
pub(super) fn finders(conn: &Connection, keys: &[RecordKey]) -> Result<Vec<Finders>, StoreError> {
    let found = |key| Ok(Finders { names: finders_of(conn, "name", key)?, words: finders_of(conn, "word", key)? });
    at_one_moment(conn, || keys.iter().map(found).collect())
}

/// Names or words of a record, in its own account.
fn finders_of<const N: usize>(conn: &Connection, what: &str, key: &RecordKey) -> Result<Vec<[u8; N]>, StoreError> {
    let sql = format!(
        "SELECT {what} FROM record_{what} AS finder JOIN record USING (kind, id, account) \
         WHERE finder.kind = ? AND finder.id = ? ORDER BY {what}"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let found = statement.query_map(params![key.kind.number(), key.id], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// A page of records.
pub(super) fn list(conn: &Connection, list: &List) -> Result<Vec<Record>, StoreError> {
    let mut values = Values::default();
    let parts: Vec<String> =
        lives(list).iter().map(|life| format!("SELECT {COLUMNS} {}", selection(list, *life, &mut values))).collect();
    let sql = format!("{} ORDER BY sort, id LIMIT ? OFFSET ?", parts.join(" UNION ALL "));
    values.push(i64::from(list.limit));
    values.push(i64::try_from(list.offset).unwrap_or(i64::MAX));
    let mut statement = conn.prepare_cached(&sql)?;
    let records = statement.query_map(values.refs().as_slice(), |row| Ok(record(row, list.kind)))?;
    Ok(records.collect::<Result<_, _>>()?)
}

/// The number of records in a list.
pub(super) fn count(conn: &Connection, list: &List) -> Result<u64, StoreError> {
    let whole = List { after: None, ..list.clone() };
    let mut total: u64 = 0;
    for life in lives(list) {
        if let Some(account) = list.account.as_ref().filter(|_| list.words.is_empty() && list.before_sort.is_none()) {
            let sql = "SELECT n FROM record_count WHERE kind = ? AND account = ? AND life = ?";
            let values = params![list.kind.number(), account.as_bytes(), life_number(life)];
            let kept: Option<i64> = conn.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
            let kept = u64::try_from(kept.unwrap_or_default());
            let kept = kept.map_err(|_| StoreError::Damaged { what: "a count of records is below zero".to_owned() })?;
            total = kept.saturating_add(total);
            continue;
        }
        let mut values = Values::default();
        let sql = format!("SELECT count(*) {}", selection(&whole, life, &mut values));
        let count: i64 = conn.prepare_cached(&sql)?.query_row(values.refs().as_slice(), |row| row.get(0))?;
        total = count.cast_unsigned().saturating_add(total);
    }
    Ok(total)
}

fn lives(list: &List) -> Vec<Life> {
    list.life.map_or_else(|| vec![Life::Live, Life::Deleted], |life| vec![life])
}

/// The FROM and WHERE of a list. With words, the first word's index leads: it finds few records, and the list is long.
fn selection(list: &List, life: Life, values: &mut Values) -> String {
    let mut sql = "FROM record".to_owned();
    if let Some(word) = list.words.first() {
        "FROM record_word CROSS JOIN record USING (kind, id)".clone_into(&mut sql);
        sql.push_str(" WHERE record_word.kind = ? AND record_word.word = ?");
        values.push(list.kind.number());
        values.push(word.to_vec());
        if list.account.is_some() {
            sql.push_str(" AND record_word.account = ?");
            values.push(account_bytes(list.account.as_ref()).to_vec());
        }
        sql.push_str(" AND record.kind = ? AND record.life = ?");
    } else {
        sql.push_str(" WHERE record.kind = ? AND record.life = ?");
    }
    values.push(list.kind.number());
    values.push(life_number(life));
    if list.account.is_some() {
        sql.push_str(" AND record.account = ?");
        values.push(account_bytes(list.account.as_ref()).to_vec());
    }
    for word in list.words.iter().skip(1) {
        sql.push_str(
            " AND EXISTS (SELECT 1 FROM record_word AS other WHERE other.kind = record.kind \
             AND other.account = record.account AND other.word = ? AND other.id = record.id)",
        );
        values.push(word.to_vec());
    }
    if let Some((sort, id)) = &list.after {
        sql.push_str(" AND (record.sort, record.id) > (?, ?)");
        values.push(*sort);
        values.push(id.clone());
    }
    if let Some(sort) = list.before_sort {
        sql.push_str(" AND record.sort < ?");
        values.push(sort);
    }
    sql
}

/// The values of a statement that is built at run time.
#[derive(Default)]
pub(super) struct Values(Vec<Box<dyn ToSql>>);

impl Values {
    pub(super) fn push(&mut self, value: impl ToSql + 'static) {
        self.0.push(Box::new(value));
    }

    pub(super) fn refs(&self) -> Vec<&dyn ToSql> {
        self.0.iter().map(|value| &**value).collect()
    }
}

/// Reads a record. A value of the wrong type becomes empty or zero, so that one damaged row does not hide others.
pub(super) fn record(row: &Row<'_>, kind: Kind) -> Record {
    Record {
        key: RecordKey { kind, id: lenient(row, 0) },
        version: lenient::<i64>(row, 1).cast_unsigned(),
        account: AccountId::from_slice(&lenient::<Vec<u8>>(row, 2)).ok(),
        sort: lenient(row, 3),
        life: if lenient::<i64>(row, 4) == 0 { Life::Live } else { Life::Deleted },
        mac: lenient(row, 5),
        body: lenient(row, 6),
    }
}

/// A column that does not have the expected type is read as empty or zero: a MAC of the wrong length becomes zeros, which is
/// a wrong MAC too.
pub(super) fn lenient<T: FromSql + Default>(row: &Row<'_>, column: impl RowIndex) -> T {
    row.get(column).unwrap_or_default()
}

pub(super) fn account_bytes(account: Option<&AccountId>) -> &[u8] {
    account.map_or(&[], |account| account.as_bytes())
}

pub(super) const fn life_number(life: Life) -> u8 {
    match life {
        Life::Live => 0,
        Life::Deleted => 1,
    }
}

/// Refuses a key with an overlong id.
pub(super) fn refuse_long(key: &RecordKey) -> Result<(), StoreError> {
    if key.id.len() > ID_BYTES_MAX {
        return Err(StoreError::Unavailable("a record's id is too long to be kept".to_owned()));
    }
    Ok(())
}
