//! The audit log: records in chains, and an index of segments.
//!
//! Every code adds a record, so records are not indexed one by one: each index would make the commit write another
//! page. When a segment of [`SEGMENT`] records is full, the commit that filled it indexes once which terms occur where
//! in it. A search by terms reads the blocks of [`BLOCK`] records in which all of them occur, and the unindexed end of
//! the chain. Measured with a million records of 5,000 secrets: an index by term makes the same commits write thirty
//! times as much.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    apply::one_changed,
    audit_index::{BLOCK, SEGMENT, blocks, index, places_of, ranges, segment_of, terms, terms_of},
    connection::at_one_moment,
    records::{Values, lenient},
};
use crate::{
    domain::{
        api_key::KeyId,
        ids::{AccountId, SeatId, SecretId},
        time::Timestamp,
    },
    store::{
        AuditPage, AuditPut, AuditQuery, AuditRecord, Cursor, Prune, StoreError, Tail,
        places::{LAST_SEQ, Part, chain_of, end, merged, place, seq_of},
    },
};

/// The work limit of one page: an index look-up costs one, reading a block [`READING`]. Some 10 ms.
const WORK: usize = 8192;
const READING: usize = 8;

/// The number of segments without a match after which a search looks up where the next record is. A record with a
/// number far out is damage, and must not make the search visit every segment before it.
const BARREN: usize = 64;

pub(super) const COLUMNS: &str = "place, at, mac, body";
const APPEND: &str = "INSERT INTO audit (place, at, mac, account, actor_key, key, seat, secret, action, body) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const PUT: &str = "INSERT OR IGNORE INTO audit (place, at, mac, account, actor_key, key, seat, secret, action, body) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(super) fn record(row: &Row<'_>) -> Result<AuditRecord, rusqlite::Error> {
    let place: i64 = row.get("place")?;
    Ok(AuditRecord {
        chain: chain_of(place),
        seq: seq_of(place),
        at: Timestamp::from_micros(lenient(row, "at")),
        body: lenient(row, "body"),
        mac: lenient(row, "mac"),
    })
}

/// A record, unless its place is in no chain: the program writes none there.
pub(super) fn placed(row: &Row<'_>) -> Result<Option<AuditRecord>, rusqlite::Error> {
    let place: i64 = row.get("place")?;
    if place < 1 { Ok(None) } else { record(row).map(Some) }
}

/// The last record of a chain.
pub(super) fn tail(conn: &Connection, chain: u32) -> Result<Option<Tail>, StoreError> {
    let sql = "SELECT place, mac FROM audit WHERE place BETWEEN ? AND ? ORDER BY place DESC LIMIT 1";
    let last = conn.prepare_cached(sql)?.query_row([place(chain, 0)?, end(chain)?], |row| {
        Ok(Tail { chain, seq: seq_of(row.get("place")?), mac: lenient(row, "mac") })
    });
    Ok(last.optional()?)
}

/// The chains that have records.
pub(super) fn chains(conn: &Connection) -> Result<Vec<u32>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT place FROM audit WHERE place >= ? ORDER BY place LIMIT 1")?;
    let mut chains = Vec::new();
    let mut from = 0;
    while let Some(first) = statement.query_row([from], |row| row.get::<_, i64>(0)).optional()? {
        chains.push(chain_of(first));
        from = end(chain_of(first))?.saturating_add(1);
    }
    Ok(chains)
}

/// Adds a record, and indexes the segment if the record fills it.
pub(super) fn append(conn: &Connection, row: &AuditPut) -> Result<(), StoreError> {
    one_changed(usize::from(insert(conn, APPEND, row)?))?;
    let place = place(row.record.chain, row.record.seq)?;
    if place % SEGMENT == 0 { index(conn, segment_of(place)) } else { Ok(()) }
}

/// Adds a record without indexing anything, unless there is one in its place. Returns whether it was added.
pub(super) fn put(conn: &Connection, row: &AuditPut) -> Result<bool, StoreError> {
    insert(conn, PUT, row)
}

/// Removes records of a chain.
pub(super) fn remove(conn: &Connection, chain: u32, (from, upto): (u64, u64)) -> Result<(), StoreError> {
    let places = [place(chain, from)?, place(chain, upto.min(LAST_SEQ))?];
    conn.prepare_cached("DELETE FROM audit WHERE place BETWEEN ? AND ?")?.execute(places)?;
    Ok(())
}

/// Passes every record of a chain to `see`, in the order of their numbers.
pub(super) fn each(conn: &Connection, chain: u32, see: &mut dyn FnMut(&AuditRecord)) -> Result<(), StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE place BETWEEN ? AND ? ORDER BY place");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([place(chain, 0)?, end(chain)?])?;
    while let Some(row) = rows.next()? {
        see(&record(row)?);
    }
    Ok(())
}

/// The first and the last place of a chain that has records.
pub(super) fn ends(conn: &Connection, chain: u32) -> Result<Option<(i64, i64)>, StoreError> {
    let Some(last) = tail(conn, chain)? else { return Ok(None) };
    let first = conn
        .prepare_cached("SELECT place FROM audit WHERE place >= ? ORDER BY place LIMIT 1")?
        .query_row([place(chain, 0)?], |row| row.get(0))?;
    Ok(Some((first, place(chain, last.seq)?)))
}

fn insert(conn: &Connection, sql: &str, AuditPut { record, terms }: &AuditPut) -> Result<bool, StoreError> {
    let place = place(record.chain, record.seq)?;
    let added = conn.prepare_cached(sql)?.execute(params![
        place,
        record.at.micros(),
        record.mac,
        terms.account.as_ref().map(AccountId::as_bytes),
        terms.actor_key.as_ref().map(KeyId::as_str),
        terms.key.as_ref().map(KeyId::as_str),
        terms.seat.as_ref().map(SeatId::as_bytes),
        terms.secret.as_ref().map(SecretId::as_bytes),
        terms.action,
        record.body,
    ])?;
    Ok(added == 1)
}

/// Removes the records of a chain up to a number, with their index.
pub(super) fn prune(conn: &Connection, prune: Prune) -> Result<(), StoreError> {
    let (first, last) = (place(prune.chain, 1)?, place(prune.chain, prune.upto)?);
    conn.prepare_cached("DELETE FROM audit WHERE place BETWEEN ? AND ?")?.execute([first, last])?;
    let partly = segment_of(last);
    let indexed: bool = conn.prepare_cached("SELECT 1 FROM audit_index WHERE segment = ?")?.exists([partly])?;
    conn.prepare_cached("DELETE FROM audit_index WHERE segment BETWEEN ? AND ?")?
        .execute([segment_of(first), partly])?;
    if indexed { index(conn, partly) } else { Ok(()) }
}

/// A page of records, over all chains or one.
pub(super) fn page(conn: &Connection, query: &AuditQuery) -> Result<AuditPage, StoreError> {
    let parts: Vec<_> = at_one_moment(conn, || {
        let chains = match query.chain {
            Some(chain) => vec![chain],
            None => chains(conn)?,
        };
        chains.iter().map(|chain| part(conn, query, *chain)).collect()
    })?;
    Ok(merged(query, &parts))
}

/// The records of one chain that match.
fn part(conn: &Connection, query: &AuditQuery, chain: u32) -> Result<Part, StoreError> {
    let mut part = Part { chain, records: Vec::new(), reached: None };
    let Some(span) = span(conn, query, chain)? else { return Ok(part) };
    let Some(reached) = walk(conn, query, &span, &mut part.records)? else { return Ok(part) };
    if reached != if query.newest { span.from } else { span.to } {
        let at = conn
            .prepare_cached("SELECT at FROM audit WHERE place <= ? ORDER BY place DESC LIMIT 1")?
            .query_row([reached], |row| row.get(0))?;
        part.reached = Some((Timestamp::from_micros(at), seq_of(reached)));
    }
    Ok(part)
}

/// Searches a chain until there are enough records or the page's work limit is reached; then returns the last place it
/// examined.
fn walk(
    conn: &Connection,
    query: &AuditQuery,
    span: &Span,
    found: &mut Vec<AuditRecord>,
) -> Result<Option<i64>, StoreError> {
    let limit = query.limit as usize;
    let terms = terms(query);
    // Without conditions every record matches, and the limit alone bounds the work.
    let is_whole = terms.is_empty() && query.secrets.is_none();
    let (mut low, mut high) = (segment_of(span.from), segment_of(span.to));
    let (mut work, mut barren) = (0, 0);
    while low <= high {
        let segment = if query.newest { high } else { low };
        let (first, last) = places_of(segment);
        let (first, last) = (first.max(span.from), last.min(span.to));
        let ranges = if is_whole {
            vec![(span.from, span.to)]
        } else {
            work += terms.iter().map(Vec::len).sum::<usize>();
            ranges(segment, blocks(conn, &terms, segment, span.tail)?, query.newest)
        };
        if ranges.is_empty() {
            barren += 1;
            if barren % BARREN == 0 {
                let Some(next) = segment_after(conn, segment, query.newest)? else { break };
                if query.newest {
                    high = next;
                } else {
                    low = next;
                }
                continue;
            }
        }
        for (from, to) in ranges {
            let range = (from.max(span.from), to.min(span.to));
            found.extend(matching(conn, query, range, limit - found.len())?);
            if found.len() >= limit {
                return found.last().map(|record| place(record.chain, record.seq)).transpose();
            }
            work += usize::try_from((to - from + 1) / BLOCK).unwrap_or(WORK) * READING;
        }
        if is_whole {
            break;
        }
        if work >= WORK {
            return Ok(Some(if query.newest { first } else { last }));
        }
        if query.newest { high -= 1 } else { low += 1 }
    }
    Ok(None)
}

/// The places of a chain that a query may match.
struct Span {
    from: i64,
    to: i64,
    /// The chain's last place.
    tail: i64,
}

fn span(conn: &Connection, query: &AuditQuery, chain: u32) -> Result<Option<Span>, StoreError> {
    let Some(last) = tail(conn, chain)? else { return Ok(None) };
    let (mut from, tail) = (place(chain, 1)?, place(chain, last.seq)?);
    let mut to = tail;
    let given = |cursor: &Cursor| cursor.0.iter().find(|(of, _)| *of == chain).map(|(_, seq)| place(chain, *seq));
    if let Some(after) = given(&query.after).transpose()? {
        from = from.max(after + 1);
    }
    if let Some(before) = given(&query.before).transpose()? {
        to = to.min(before - 1);
    }
    if let Some(since) = query.since {
        from = first_since(conn, from, tail, since)?;
    }
    if let Some(until) = query.until {
        to = to.min(first_since(conn, place(chain, 1)?, tail, until)? - 1);
    }
    Ok((from <= to).then_some(Span { from, to, tail }))
}

/// The first place whose record is not before a time, or the one after the last. Time never decreases within a chain,
/// so a binary search works.
fn first_since(conn: &Connection, from: i64, tail: i64, since: Timestamp) -> Result<i64, StoreError> {
    let mut statement = conn.prepare_cached("SELECT at FROM audit WHERE place >= ? ORDER BY place LIMIT 1")?;
    let (mut low, mut high) = (from, tail + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let at: Option<i64> = statement.query_row([middle], |row| row.get(0)).optional()?;
        if at.is_some_and(|at| at < since.micros()) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Matching records within a range, in the order of the query.
fn matching(
    conn: &Connection,
    query: &AuditQuery,
    (first, last): (i64, i64),
    limit: usize,
) -> Result<Vec<AuditRecord>, StoreError> {
    let mut values = Values::default();
    let mut sql = format!("SELECT {COLUMNS} FROM audit WHERE place BETWEEN ? AND ?");
    values.push(first);
    values.push(last);
    if let Some(secrets) = &query.secrets {
        // Writing to a string can't fail.
        let _ = write!(sql, " AND secret IN ({})", vec!["?"; secrets.len()].join(","));
        for id in secrets {
            values.push(*id.as_bytes());
        }
    }
    if let Some(key) = &query.key {
        sql.push_str(" AND ? IN (actor_key, key)");
        values.push(key.as_str().to_owned());
    }
    if let Some(seat) = &query.seat {
        sql.push_str(" AND seat = ?");
        values.push(*seat.as_bytes());
    }
    if let Some(action) = &query.action {
        sql.push_str(" AND action = ?");
        values.push(action.clone().into_owned());
    }
    if let Some(account) = &query.account {
        sql.push_str(" AND account = ?");
        values.push(*account.as_bytes());
    }
    sql.push_str(if query.newest { " ORDER BY place DESC LIMIT ?" } else { " ORDER BY place LIMIT ?" });
    values.push(i64::try_from(limit).unwrap_or(i64::MAX));
    let mut statement = conn.prepare_cached(&sql)?;
    let records = statement.query_map(values.refs().as_slice(), record)?;
    Ok(records.collect::<Result<_, _>>()?)
}

/// The full segments of a chain that have records or index entries.
pub(super) fn full_segments(conn: &Connection, chain: u32) -> Result<BTreeSet<i64>, StoreError> {
    let Some((first, last)) = ends(conn, chain)? else { return Ok(BTreeSet::new()) };
    let full = segment_of(first)..=segment_of(last.saturating_sub(SEGMENT - 1));
    let mut indexed = conn.prepare_cached("SELECT DISTINCT segment FROM audit_index WHERE segment BETWEEN ? AND ?")?;
    let mut segments: BTreeSet<i64> =
        indexed.query_map([full.start(), full.end()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut next = Some(*full.start());
    while let Some(segment) = next.filter(|segment| full.contains(segment)) {
        segments.insert(segment);
        next = segment_after(conn, segment, false)?;
    }
    Ok(segments)
}

/// The next segment with a record, or the one before.
fn segment_after(conn: &Connection, segment: i64, newest: bool) -> Result<Option<i64>, StoreError> {
    let (first, last) = places_of(segment);
    let (sql, place) = if newest {
        ("SELECT place FROM audit WHERE place < ? ORDER BY place DESC LIMIT 1", first)
    } else {
        ("SELECT place FROM audit WHERE place > ? ORDER BY place LIMIT 1", last)
    };
    let next = conn.prepare_cached(sql)?.query_row([place], |row| row.get(0)).optional()?;
    Ok(next.map(segment_of))
}

/// Checks that the index agrees with the segments. An attacker who can write the file could use it to hide records from
/// filters.
pub(super) fn examine(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    if conn.prepare_cached("SELECT 1 FROM audit WHERE place < 1")?.exists([])? {
        found.push("the audit log has rows that are in no chain".to_owned());
    }
    for chain in chains(conn)? {
        let mut statement = conn.prepare_cached("SELECT term, blocks FROM audit_index WHERE segment = ?")?;
        for segment in full_segments(conn, chain)? {
            let indexed =
                statement.query_map([segment], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
            if indexed.collect::<Result<BTreeMap<_, _>, _>>()? != terms_of(conn, segment)? {
                found.push(format!("the index of the audit log is wrong about segment {segment}"));
            }
        }
    }
    Ok(found)
}
