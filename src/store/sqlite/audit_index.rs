//! The index of the audit log: which terms occur in which blocks of a segment, written once, when the segment is full.
//! An index of every record by every term would write as many pages as the log itself.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params, types::ValueRef};

use super::apply::one_changed;
use crate::store::{AuditQuery, StoreError};

/// Records in a segment. A full segment is read once to index it; searches read an unfinished one in full.
pub(super) const SEGMENT: i64 = 1024;
/// Records in a block, so that a segment has 64 blocks, one for each bit of a number.
pub(super) const BLOCK: i64 = SEGMENT / 64;
/// The most secrets looked up in the index. With more, nearly every segment contains one of them.
pub(super) const SECRETS_SOUGHT: usize = 64;

pub(super) const fn segment_of(place: i64) -> i64 {
    (place - 1).div_euclid(SEGMENT)
}

/// The first and the last place of a segment.
pub(super) const fn places_of(segment: i64) -> (i64, i64) {
    (segment * SEGMENT + 1, (segment + 1) * SEGMENT)
}

pub(super) fn index(conn: &Connection, segment: i64) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached("INSERT INTO audit_index (segment, term, blocks) VALUES (?, ?, ?)")?;
    for (term, blocks) in terms_of(conn, segment)? {
        one_changed(insert.execute(params![segment, term, blocks.cast_signed()])?)?;
    }
    Ok(())
}

/// The terms of a segment, each with the blocks that contain it.
pub(super) fn terms_of(conn: &Connection, segment: i64) -> Result<BTreeMap<Vec<u8>, u64>, StoreError> {
    // Columns are read by number, since this reads a whole segment and looking up a name costs more than reading it.
    let sql = "SELECT place, account, actor_key, key, seat, secret, action FROM audit WHERE place BETWEEN ? AND ?";
    let letters = [b'a', b'k', b'k', b't', b's', b'd'];
    let mut statement = conn.prepare_cached(sql)?;
    let (first, last) = places_of(segment);
    let mut rows = statement.query([first, last])?;
    let mut terms = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let block = (row.get::<_, i64>(0)? - first) / BLOCK;
        for (letter, column) in letters.into_iter().zip(1..) {
            if let ValueRef::Blob(value) | ValueRef::Text(value) = row.get_ref(column)? {
                *terms.entry(term(letter, value)).or_default() |= 1_u64 << block;
            }
        }
    }
    Ok(terms)
}

pub(super) fn term(letter: u8, value: &[u8]) -> Vec<u8> {
    [&[letter], value].concat()
}

/// The blocks of a segment that, by the index, contain each of the terms.
pub(super) fn blocks(conn: &Connection, terms: &[Vec<Vec<u8>>], segment: i64, tail: i64) -> Result<u64, StoreError> {
    if places_of(segment).1 > tail {
        return Ok(u64::MAX);
    }
    let mut statement = conn.prepare_cached("SELECT blocks FROM audit_index WHERE segment = ? AND term = ?")?;
    let mut all = u64::MAX;
    for either in terms {
        let mut blocks = 0;
        for term in either {
            let found = statement.query_row(params![segment, term], |row| row.get::<_, i64>(0)).optional()?;
            blocks |= found.unwrap_or(0).cast_unsigned();
        }
        all &= blocks;
        if all == 0 {
            break;
        }
    }
    Ok(all)
}

/// The places of a segment's blocks as ranges, in the order of the query; adjacent blocks make one range.
pub(super) fn ranges(segment: i64, blocks: u64, newest: bool) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for block in (0..64).filter(|block| blocks >> block & 1 == 1) {
        let first = places_of(segment).0 + block * BLOCK;
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == first => *last += BLOCK,
            _ => ranges.push((first, first + BLOCK - 1)),
        }
    }
    if newest {
        ranges.reverse();
    }
    ranges
}

/// The terms of a query: one of each list must occur. The rarest come first.
pub(super) fn terms(query: &AuditQuery) -> Vec<Vec<Vec<u8>>> {
    let secrets = query.secrets.iter().filter(|ids| ids.len() <= SECRETS_SOUGHT);
    let secrets = secrets.map(|ids| ids.iter().map(|id| term(b's', id.as_bytes())).collect());
    let single = [
        query.key.as_ref().map(|id| term(b'k', id.as_str().as_bytes())),
        query.seat.as_ref().map(|id| term(b't', id.as_bytes())),
        query.action.as_ref().map(|action| term(b'd', action.as_bytes())),
        query.account.as_ref().map(|id| term(b'a', id.as_bytes())),
    ];
    secrets.chain(single.into_iter().flatten().map(|term| vec![term])).collect()
}
