//! The parts of the audit log that backends share: places, which are a chain and a number in one integer, and how the
//! chains' parts make one page.

use super::{AuditPage, AuditQuery, AuditRecord, StoreError};
use crate::domain::time::Timestamp;

/// The number of places in a chain.
const SEQS: i64 = 1 << 40;

/// The last number of a record in its chain.
pub(super) const LAST_SEQ: u64 = SEQS.cast_unsigned() - 1;

/// The place of a record: its chain and its number in one integer.
pub(super) fn place(chain: u32, seq: u64) -> Result<i64, StoreError> {
    i64::try_from(seq)
        .ok()
        .filter(|seq| *seq < SEQS)
        .and_then(|seq| i64::from(chain).checked_mul(SEQS)?.checked_add(seq))
        .ok_or_else(|| StoreError::Unavailable("the numbers of the audit log are used up".to_owned()))
}

/// The last place of a chain; an error if the chain's places would be out of range.
pub(super) fn end(chain: u32) -> Result<i64, StoreError> {
    place(chain, LAST_SEQ)
}

pub(super) const fn chain_of(place: i64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places are made from such a number")]
    let chain = (place / SEQS) as u32;
    chain
}

pub(super) const fn seq_of(place: i64) -> u64 {
    place.rem_euclid(SEQS).cast_unsigned()
}

/// One chain's part of a page.
pub(super) struct Part {
    pub(super) chain: u32,
    /// Matching records, in the order of the query.
    pub(super) records: Vec<AuditRecord>,
    /// The last record that was examined, if there may be more after it.
    pub(super) reached: Option<(Timestamp, u64)>,
}

/// Merges the parts of all chains, as far as each has been examined.
pub(super) fn merged(query: &AuditQuery, parts: &[Part]) -> AuditPage {
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
    for part in parts {
        let shown = records.iter().filter(|record| record.chain == part.chain).count();
        let last = records.iter().rev().find(|record| record.chain == part.chain).map(|record| record.seq);
        // Records that were examined and did not match are not examined again.
        let reached = part.reached.map(|(_, seq)| seq).filter(|_| shown == part.records.len());
        if let Some(seq) = reached.or(last) {
            next.0.retain(|(chain, _)| *chain != part.chain);
            next.0.push((part.chain, seq));
        }
    }
    let more = horizon.is_some() || records.len() < found;
    AuditPage { records, next: more.then_some(next) }
}
