//! Carries out a commit in an open transaction: checks each change, then makes it.

use std::collections::BTreeSet;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use super::{
    audit,
    records::{account_bytes, life_number, refuse_long},
};
use crate::store::{
    AuditPut, Change, Commit, Committed, Expect, Finders, ID_BYTES_MAX, Index, Kind, Put, Record, RecordKey, Removal,
    StoreError,
};

/// The result of one change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Yes,
    Stale,
    Taken,
}

/// Makes every change. Unless the result is [`Committed::Done`], the caller must roll the transaction back.
pub(super) fn all(conn: &Connection, commit: &Commit) -> Result<Committed, StoreError> {
    if let Some(moved) = moved(conn, commit)? {
        return Ok(moved);
    }
    let (mut stale, mut taken, mut refused) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (number, change) in commit.changes.iter().enumerate() {
        match one(conn, change)? {
            Done::Yes => continue,
            Done::Stale => stale.push(number),
            // A name that only a refused change has put is free.
            Done::Taken if has_name_of(conn, change, &refused)? => {}
            Done::Taken => taken.push(number),
        }
        refused.extend(change.put.iter().map(|put| &put.record.key));
    }
    Ok(match (stale.is_empty(), taken.is_empty()) {
        (false, _) => Committed::Stale { changes: stale },
        (true, false) => Committed::Taken { changes: taken },
        (true, true) => Committed::Done,
    })
}

/// Whether a name of a change belongs to one of these records.
fn has_name_of(conn: &Connection, change: &Change, records: &BTreeSet<&RecordKey>) -> Result<bool, StoreError> {
    if records.is_empty() {
        return Ok(false);
    }
    let mut owner = conn.prepare_cached("SELECT id FROM record_name WHERE kind = ? AND account = ? AND name = ?")?;
    for Put { record, index } in &change.put {
        let (Index::Replace(finders), kind) = (index, record.key.kind) else { continue };
        for name in &finders.names {
            let of = params![kind.number(), account_bytes(record.account.as_ref()), name];
            let id = owner.query_row(of, |row| row.get::<_, Vec<u8>>(0)).optional()?;
            if id.is_some_and(|id| id != record.key.id && records.contains(&RecordKey { kind, id })) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether the chain's end differs from the one that the commit builds on.
fn moved(conn: &Connection, commit: &Commit) -> Result<Option<Committed>, StoreError> {
    let rows = || commit.changes.iter().flat_map(|change| &change.audit);
    let Some(first) = rows().next() else { return Ok(None) };
    let follows = |AuditPut { record, .. }: &AuditPut, chain, seq: u64| record.chain == chain && record.seq == seq;
    let tail = commit.tail.filter(|tail| {
        let numbered = (tail.seq..).skip(1).zip(rows()).all(|(seq, row)| follows(row, tail.chain, seq));
        numbered && tail.chain == first.record.chain
    });
    let Some(tail) = tail else {
        return Err(StoreError::Unavailable("audit records do not go on from where their chain ends".to_owned()));
    };
    let last = audit::tail(conn, tail.chain)?;
    Ok(last.filter(|last| *last != tail).map(|tail| Committed::Moved { tail }))
}

fn one(conn: &Connection, change: &Change) -> Result<Done, StoreError> {
    for expect in &change.expect {
        if !holds(conn, expect)? {
            return Ok(Done::Stale);
        }
    }
    for removal in &change.remove {
        remove(conn, removal)?;
    }
    for put in &change.put {
        match store(conn, put)? {
            Done::Yes => {}
            not_done @ (Done::Stale | Done::Taken) => return Ok(not_done),
        }
    }
    if let Some(prune) = change.prune {
        audit::prune(conn, prune)?;
    }
    for row in &change.audit {
        audit::append(conn, row)?;
    }
    Ok(Done::Yes)
}

fn holds(conn: &Connection, expect: &Expect) -> Result<bool, StoreError> {
    Ok(match expect {
        Expect::Version(key, wanted) => version(conn, key)? == Some(*wanted),
        Expect::Absent(key) => version(conn, key)?.is_none(),
        Expect::Exists(key) => version(conn, key)?.is_some(),
        Expect::NoneIn(kind, account) => !conn
            .prepare_cached("SELECT 1 FROM record WHERE kind = ? AND account = ?")?
            .exists(params![kind.number(), account.as_bytes()])?,
    })
}

pub(super) fn version(conn: &Connection, key: &RecordKey) -> Result<Option<u64>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT version FROM record WHERE kind = ? AND id = ?")?;
    let version = statement.query_row(params![key.kind.number(), key.id], |row| row.get::<_, i64>(0)).optional()?;
    Ok(version.map(i64::cast_unsigned))
}

/// Stores a record if its previous version exists.
fn store(conn: &Connection, Put { record, index }: &Put) -> Result<Done, StoreError> {
    refuse_long(&record.key)?;
    let kept = match record.version.checked_sub(1) {
        Some(0) => insert(conn, record)?,
        Some(before) => replace(conn, record, before)?,
        None => false,
    };
    match index {
        _ if !kept => Ok(Done::Stale),
        Index::Keep => Ok(Done::Yes),
        Index::Replace(finders) => find_by(conn, record, finders),
    }
}

pub(super) fn insert(conn: &Connection, record: &Record) -> Result<bool, StoreError> {
    if version(conn, &record.key)?.is_some() {
        return Ok(false);
    }
    let sql = "INSERT INTO record (kind, id, version, account, sort, life, mac, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let inserted = conn.prepare_cached(sql)?.execute(params![
        record.key.kind.number(),
        record.key.id,
        record.version.cast_signed(),
        account_bytes(record.account.as_ref()),
        record.sort,
        life_number(record.life),
        record.mac,
        record.body,
    ])?;
    one_changed(inserted)?;
    add_to_count(conn, record.key.kind, account_bytes(record.account.as_ref()), life_number(record.life), 1)?;
    Ok(true)
}

/// Keeps the number of an account's records of a kind.
fn add_to_count(conn: &Connection, kind: Kind, account: &[u8], life: u8, by: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO record_count (kind, account, life, n) VALUES (?, ?, ?, ?) \
               ON CONFLICT DO UPDATE SET n = n + excluded.n";
    one_changed(conn.prepare_cached(sql)?.execute(params![kind.number(), account, life, by])?)
}

/// Subtracts records from the counts of their accounts.
fn take_off_counts(conn: &Connection, kind: Kind, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
    let sql = "SELECT account, life, count(*) FROM record WHERE kind = ? AND id BETWEEN ? AND ? GROUP BY account, life";
    let mut statement = conn.prepare_cached(sql)?;
    let found = statement.query_map(params![kind.number(), first, last], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u8>(1)?, row.get::<_, i64>(2)?))
    })?;
    for counted in found.collect::<Result<Vec<_>, _>>()? {
        let (account, life, count) = counted;
        add_to_count(conn, kind, &account, life, -count)?;
    }
    Ok(())
}

/// Most replacements change only unindexed columns; a statement that does not name the other columns leaves the indexes
/// alone.
fn replace(conn: &Connection, record: &Record, before: u64) -> Result<bool, StoreError> {
    let (kind, id, version) = (record.key.kind.number(), &record.key.id, record.version.cast_signed());
    let (account, life) = (account_bytes(record.account.as_ref()), life_number(record.life));
    let before = before.cast_signed();
    let same = "UPDATE record SET version = ?, mac = ?, body = ? \
                WHERE kind = ? AND id = ? AND version = ? AND account = ? AND sort = ? AND life = ?";
    let values = params![version, record.mac, record.body, kind, id, before, account, record.sort, life];
    if conn.prepare_cached(same)?.execute(values)? == 1 {
        return Ok(true);
    }
    let other = "UPDATE record SET version = ?, mac = ?, body = ?, account = ?, sort = ?, life = ? \
                 WHERE kind = ? AND id = ? AND version = ?";
    let values = params![version, record.mac, record.body, account, record.sort, life, kind, id, before];
    let mut listed =
        conn.prepare_cached("SELECT account, life FROM record WHERE kind = ? AND id = ? AND version = ?")?;
    let was = listed.query_row(params![kind, id, before], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u8>(1)?)));
    let Some(was) = was.optional()? else { return Ok(false) };
    if was != (account.to_vec(), life) {
        add_to_count(conn, record.key.kind, &was.0, was.1, -1)?;
        add_to_count(conn, record.key.kind, account, life, 1)?;
    }
    Ok(conn.prepare_cached(other)?.execute(values)? == 1)
}

/// Replaces a record's index entries. Returns whether its names were free.
pub(super) fn put_finders(conn: &Connection, Put { record, index }: &Put) -> Result<bool, StoreError> {
    match index {
        Index::Keep => Ok(true),
        Index::Replace(finders) => Ok(find_by(conn, record, finders)? == Done::Yes),
    }
}

/// Replaces a record's index entries.
fn find_by(conn: &Connection, record: &Record, finders: &Finders) -> Result<Done, StoreError> {
    let (kind, id, account) = (record.key.kind.number(), &record.key.id, account_bytes(record.account.as_ref()));
    if record.version > 1 {
        erase(conn, &["record_name", "record_word"], record.key.kind, id, id)?;
    }
    let sql = "INSERT INTO record_name (kind, account, name, id) VALUES (?, ?, ?, ?)";
    for name in &finders.names {
        match conn.prepare_cached(sql)?.execute(params![kind, account, name, id]) {
            Err(cause) if cause.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                return Ok(Done::Taken);
            }
            added => one_changed(added?)?,
        }
    }
    let sql = "INSERT OR IGNORE INTO record_word (kind, account, word, id) VALUES (?, ?, ?, ?)";
    for word in &finders.words {
        conn.prepare_cached(sql)?.execute(params![kind, account, word, id])?;
    }
    Ok(Done::Yes)
}

pub(super) fn remove(conn: &Connection, removal: &Removal) -> Result<(), StoreError> {
    match removal {
        Removal::One(key) => erase(conn, &["record", "record_name", "record_word"], key.kind, &key.id, &key.id),
        Removal::Prefix(kind, prefix) => {
            // Ids have at most this many bytes, so no id with the prefix sorts after this.
            let last = [prefix.as_slice(), &[0xFF; ID_BYTES_MAX]].concat();
            erase(conn, &["record", "record_name", "record_word"], *kind, prefix, &last)
        }
    }
}

fn erase(conn: &Connection, tables: &[&str], kind: Kind, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
    if tables.contains(&"record") {
        take_off_counts(conn, kind, first, last)?;
    }
    for table in tables {
        let sql = format!("DELETE FROM {table} WHERE kind = ? AND id BETWEEN ? AND ?");
        conn.prepare_cached(&sql)?.execute(params![kind.number(), first, last])?;
    }
    Ok(())
}

/// Refuses a write of one record that changed another number of rows: a tampered schema can swallow a write and report
/// success.
pub(super) fn one_changed(changed: usize) -> Result<(), StoreError> {
    if changed == 1 {
        return Ok(());
    }
    Err(StoreError::Damaged { what: format!("a write of one record changed {changed}") })
}
