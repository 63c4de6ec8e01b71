//! The audit log: records in chains, and an index of blocks.
//!
//! A record is written with every code, so it goes into no index of its own: that would double what a commit writes. When
//! a block of [`BLOCK`] records is full, the terms that occur in it are written once, with the commit that filled it. Who
//! looks for terms reads the blocks in which all of them occur, and the last block of each chain, which is not full yet.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Row, params, types::ValueRef};

use super::{
    apply::one_changed,
    records::{Values, lenient, mac},
};
use crate::{
    domain::time::Timestamp,
    store::{AuditPage, AuditPut, AuditQuery, AuditRecord, Cursor, Prune, StoreError, Tail},
};

/// Records in a block. A smaller one makes the index larger, a larger one is read longer for one record in it.
const BLOCK: i64 = 128;
/// Blocks that are read for one page at most, and blocks whose index is looked through.
const BLOCKS_READ: usize = 128;
const BLOCKS_SOUGHT: i64 = 1 << 14;
/// Numbers of a chain.
const SEQS: i64 = 1 << 40;

const COLUMNS: &str = "place, at, mac, body";

/// The place of a record: its chain and its number in one integer.
fn place(chain: u32, seq: u64) -> Result<i64, StoreError> {
    i64::try_from(seq)
        .ok()
        .filter(|seq| *seq < SEQS)
        .and_then(|seq| i64::from(chain).checked_mul(SEQS)?.checked_add(seq))
        .ok_or_else(|| StoreError::Unavailable("the numbers of the audit log are used up".to_owned()))
}

/// The last place of a chain; a chain whose places would be too high has none.
fn end(chain: u32) -> Result<i64, StoreError> {
    place(chain, SEQS.cast_unsigned() - 1)
}

const fn chain_of(place: i64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places are made from such a number")]
    let chain = (place / SEQS) as u32;
    chain
}

const fn seq_of(place: i64) -> u64 {
    place.rem_euclid(SEQS).cast_unsigned()
}

const fn block_of(place: i64) -> i64 {
    (place - 1).div_euclid(BLOCK)
}

fn record(row: &Row<'_>) -> Result<AuditRecord, rusqlite::Error> {
    let place: i64 = row.get("place")?;
    Ok(AuditRecord {
        chain: chain_of(place),
        seq: seq_of(place),
        at: Timestamp::from_micros(lenient(row, "at")),
        body: lenient(row, "body"),
        mac: mac(row),
    })
}

/// The last record of a chain.
pub(super) fn tail(conn: &Connection, chain: u32) -> Result<Option<Tail>, StoreError> {
    let sql = "SELECT place, mac FROM audit WHERE place BETWEEN ? AND ? ORDER BY place DESC LIMIT 1";
    let last = conn.prepare_cached(sql)?.query_row([place(chain, 0)?, end(chain)?], |row| {
        Ok(Tail { chain, seq: seq_of(row.get("place")?), mac: mac(row) })
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

/// Adds a record. What fills a block indexes it.
pub(super) fn append(conn: &Connection, AuditPut { record, terms }: &AuditPut) -> Result<(), StoreError> {
    let place = place(record.chain, record.seq)?;
    let sql = "INSERT INTO audit (place, at, mac, account, actor_key, key, seat, secret, action, body) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let added = conn.prepare_cached(sql)?.execute(params![
        place,
        record.at.micros(),
        record.mac,
        terms.account.as_ref().map(|id| id.as_bytes()),
        terms.actor_key.as_ref().map(|id| id.as_str()),
        terms.key.as_ref().map(|id| id.as_str()),
        terms.seat.as_ref().map(|id| id.as_bytes()),
        terms.secret.as_ref().map(|id| id.as_bytes()),
        terms.action,
        record.body,
    ])?;
    one_changed(added)?;
    if place % BLOCK == 0 {
        for term in terms_of(conn, block_of(place))? {
            let sql = "INSERT OR IGNORE INTO audit_block (term, block) VALUES (?, ?)";
            conn.prepare_cached(sql)?.execute(params![term, block_of(place)])?;
        }
    }
    Ok(())
}

/// Removes the records of a chain up to a number, and blocks that have none left from the index.
pub(super) fn prune(conn: &Connection, prune: Prune) -> Result<(), StoreError> {
    let (first, last) = (place(prune.chain, 0)?, place(prune.chain, prune.upto)?);
    let sql = "SELECT place FROM audit WHERE place BETWEEN ? AND ? ORDER BY place LIMIT 1";
    let Some(begin) = conn.prepare_cached(sql)?.query_row([first, last], |row| row.get(0)).optional()? else {
        return Ok(());
    };
    for block in block_of(begin)..=block_of(last) {
        let before = terms_of(conn, block)?;
        let upto = last.min((block + 1) * BLOCK);
        conn.prepare_cached("DELETE FROM audit WHERE place BETWEEN ? AND ?")?.execute([first, upto])?;
        for term in before.difference(&terms_of(conn, block)?) {
            conn.prepare_cached("DELETE FROM audit_block WHERE term = ? AND block = ?")?
                .execute(params![term, block])?;
        }
    }
    Ok(())
}

/// The terms that occur in a block.
fn terms_of(conn: &Connection, block: i64) -> Result<BTreeSet<Vec<u8>>, StoreError> {
    let sql = "SELECT account, actor_key, key, seat, secret, action FROM audit WHERE place BETWEEN ? AND ?";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([block * BLOCK + 1, (block + 1) * BLOCK])?;
    let mut terms = BTreeSet::new();
    while let Some(row) = rows.next()? {
        for (letter, column) in
            [(b'a', "account"), (b'k', "actor_key"), (b'k', "key"), (b't', "seat"), (b's', "secret"), (b'd', "action")]
        {
            if let ValueRef::Blob(value) | ValueRef::Text(value) = row.get_ref(column)? {
                terms.insert(term(letter, value));
            }
        }
    }
    Ok(terms)
}

fn term(letter: u8, value: &[u8]) -> Vec<u8> {
    [&[letter], value].concat()
}

/// A page of records, over all chains or one.
pub(super) fn page(conn: &Connection, query: &AuditQuery) -> Result<AuditPage, StoreError> {
    let moment = conn.unchecked_transaction()?;
    let chains = match query.chain {
        Some(chain) => vec![chain],
        None => chains(conn)?,
    };
    let parts = chains.iter().map(|chain| part(conn, query, *chain)).collect::<Result<Vec<_>, _>>()?;
    moment.finish()?;
    Ok(merged(query, parts))
}

/// What one chain has of a page.
struct Part {
    chain: u32,
    /// Those that match, in the order of the query.
    records: Vec<AuditRecord>,
    /// The last record that was looked at, if there may be more beyond it.
    reached: Option<(Timestamp, u64)>,
}

/// Puts the parts of all chains in one order, as far as each of them has been looked at.
fn merged(query: &AuditQuery, parts: Vec<Part>) -> AuditPage {
    let order = |a: &(Timestamp, u32, u64), b: &(Timestamp, u32, u64)| if query.newest { b.cmp(a) } else { a.cmp(b) };
    let key = |record: &AuditRecord| (record.at, record.chain, record.seq);
    let horizon =
        parts.iter().filter_map(|part| part.reached.map(|(at, seq)| (at, part.chain, seq))).min_by(|a, b| order(a, b));
    let begun = if query.newest { &query.before } else { &query.after };
    let mut next = begun.clone();
    let mut records: Vec<AuditRecord> = parts.iter().flat_map(|part| part.records.iter().cloned()).collect();
    let found = records.len();
    records.sort_by(|a, b| order(&key(a), &key(b)));
    records.retain(|record| horizon.is_none_or(|horizon| order(&key(record), &horizon).is_le()));
    records.truncate(query.limit as usize);
    for part in &parts {
        let shown = records.iter().filter(|record| record.chain == part.chain).count();
        let last = records.iter().rev().find(|record| record.chain == part.chain).map(|record| record.seq);
        // What was looked at in vain is not looked at again.
        let reached = part.reached.map(|(_, seq)| seq).filter(|_| shown == part.records.len());
        if let Some(seq) = reached.or(last) {
            next.0.retain(|(chain, _)| *chain != part.chain);
            next.0.push((part.chain, seq));
        }
    }
    let more = horizon.is_some() || records.len() < found;
    AuditPage { records, next: more.then_some(next) }
}

/// The records of one chain that match.
fn part(conn: &Connection, query: &AuditQuery, chain: u32) -> Result<Part, StoreError> {
    let mut part = Part { chain, records: Vec::new(), reached: None };
    let Some(span) = span(conn, query, chain)? else { return Ok(part) };
    let (ranges, mut reached) = ranges(conn, query, &span)?;
    let limit = query.limit as usize;
    for range in ranges {
        part.records.extend(matching(conn, query, range, limit - part.records.len())?);
        if part.records.len() == limit {
            reached = part.records.last().map(|record| place(chain, record.seq)).transpose()?;
            break;
        }
    }
    let end = if query.newest { span.from } else { span.to };
    if let Some(reached) = reached.filter(|reached| *reached != end) {
        let at = conn
            .prepare_cached("SELECT at FROM audit WHERE place <= ? ORDER BY place DESC LIMIT 1")?
            .query_row([reached], |row| row.get(0))?;
        part.reached = Some((Timestamp::from_micros(at), seq_of(reached)));
    }
    Ok(part)
}

/// The places of a chain that a query may look at.
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

/// The first place whose record is not before a time, or the one after the last. Time never falls within a chain, so
/// halving finds it.
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

/// The ranges of places that may hold what a query asks for, in its order, and the last place that they settle, if there may
/// be more beyond it.
fn ranges(conn: &Connection, query: &AuditQuery, span: &Span) -> Result<(Vec<(i64, i64)>, Option<i64>), StoreError> {
    let terms = terms(query);
    let Some(leading) = terms.first() else { return Ok((vec![(span.from, span.to)], None)) };
    let (first, last) = (block_of(span.from), block_of(span.to));
    // The index is looked through in bounded steps as well: a term may be in many blocks, and another in none of them.
    let most = BLOCKS_SOUGHT / i64::try_from(leading.len()).unwrap_or(BLOCK).clamp(1, BLOCK);
    let (low, high) = if query.newest { (first.max(last - most), last) } else { (first, last.min(first + most)) };
    let mut blocks = blocks(conn, &terms, (low, high), query.newest)?;
    let open = block_of(span.tail);
    if span.tail % BLOCK != 0 && (low..=high).contains(&open) {
        let end = if query.newest { 0 } else { blocks.len() };
        blocks.insert(end, open);
    }
    let beyond = if query.newest { low > first } else { high < last };
    let settled = match blocks.get(BLOCKS_READ - 1) {
        Some(block) if blocks.len() > BLOCKS_READ => Some(*block),
        _ if beyond => Some(if query.newest { low } else { high }),
        _ => None,
    };
    blocks.truncate(BLOCKS_READ);
    let range = |block: i64| (span.from.max(block * BLOCK + 1), span.to.min((block + 1) * BLOCK));
    let edge = |(first, last): (i64, i64)| if query.newest { first } else { last };
    Ok((blocks.into_iter().map(range).collect(), settled.map(|block| edge(range(block)))))
}

/// Full blocks in which each of the terms occurs, in order; one more than are read.
fn blocks(
    conn: &Connection,
    terms: &[Vec<Vec<u8>>],
    (low, high): (i64, i64),
    newest: bool,
) -> Result<Vec<i64>, StoreError> {
    let Some((leading, others)) = terms.split_first() else { return Ok(Vec::new()) };
    let mut values = Values::default();
    let mut sql = format!("SELECT DISTINCT block FROM audit_block WHERE term IN ({})", marks(leading.len()));
    leading.iter().for_each(|term| values.push(term.clone()));
    sql.push_str(" AND block BETWEEN ? AND ?");
    values.push(low);
    values.push(high);
    for term in others.iter().flatten() {
        sql.push_str(
            " AND EXISTS (SELECT 1 FROM audit_block AS other WHERE other.term = ? AND other.block = audit_block.block)",
        );
        values.push(term.clone());
    }
    sql.push_str(if newest { " ORDER BY block DESC LIMIT ?" } else { " ORDER BY block LIMIT ?" });
    values.push(i64::try_from(BLOCKS_READ + 1).unwrap_or(i64::MAX));
    let mut statement = conn.prepare_cached(&sql)?;
    let blocks = statement.query_map(values.refs().as_slice(), |row| row.get(0))?;
    Ok(blocks.collect::<Result<_, _>>()?)
}

/// The terms of a query: of each list, one must occur. Only the first has several, and the last is the commonest.
fn terms(query: &AuditQuery) -> Vec<Vec<Vec<u8>>> {
    let secrets = query.secrets.iter().map(|ids| ids.iter().map(|id| term(b's', id.as_bytes())).collect());
    let single = [
        query.key.as_ref().map(|id| term(b'k', id.as_str().as_bytes())),
        query.seat.as_ref().map(|id| term(b't', id.as_bytes())),
        query.action.as_ref().map(|action| term(b'd', action.as_bytes())),
        query.account.as_ref().map(|id| term(b'a', id.as_bytes())),
    ];
    secrets.chain(single.into_iter().flatten().map(|term| vec![term])).collect()
}

/// Records within a range that match, in the order of the query.
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
        sql.push_str(&format!(" AND secret IN ({})", marks(secrets.len())));
        secrets.iter().for_each(|id| values.push(*id.as_bytes()));
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

fn marks(count: usize) -> String {
    vec!["?"; count].join(",")
}

/// Whether the index of blocks names what is in them. Who can write the file could hide records from a filter there.
pub(super) fn examine(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    for chain in chains(conn)? {
        let Some(last) = tail(conn, chain)? else { continue };
        let first: i64 = conn
            .prepare_cached("SELECT place FROM audit WHERE place >= ? ORDER BY place LIMIT 1")?
            .query_row([place(chain, 0)?], |row| row.get(0))?;
        let tail = place(chain, last.seq)?;
        let full = (block_of(first)..=block_of(tail)).filter(|block| (block + 1) * BLOCK <= tail);
        for block in full {
            let mut named = conn.prepare_cached("SELECT 1 FROM audit_block WHERE term = ? AND block = ?")?;
            for term in terms_of(conn, block)? {
                if !named.exists(params![term, block])? {
                    found.push(format!("the index of the audit log lacks a term of block {block}"));
                    break;
                }
            }
        }
    }
    Ok(found)
}
