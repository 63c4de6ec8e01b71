//! Pages of the audit log: each chain by an index of its own, all at once, then merged.

use std::fmt::Write as _;

use tokio_postgres::Row;

use super::{
    link::{Failure, Link, Step, Value},
    reads::{Values, column, fixed},
};
use crate::{
    domain::time::Timestamp,
    store::{
        AuditPage, AuditQuery, AuditRecord, Cursor, StoreError,
        places::{Part, chain_of, end, merged, place, seq_of},
    },
};

/// The chains that have records, in order. Each look-up skips a whole chain.
pub(super) async fn chains(link: &Link) -> Result<Vec<u32>, Failure> {
    let sql = "WITH RECURSIVE first (place) AS (\
               (SELECT place FROM audit WHERE place >= 0 ORDER BY place LIMIT 1) \
               UNION ALL SELECT (SELECT audit.place FROM audit WHERE audit.place >= (first.place / 1099511627776 + 1) * 1099511627776 \
               ORDER BY audit.place LIMIT 1) FROM first WHERE first.place IS NOT NULL) \
               SELECT place FROM first WHERE place IS NOT NULL";
    let rows = link.query(&Step::new(sql, Vec::new())).await?;
    Ok(rows.iter().map(|row| chain_of(column(row, 0))).collect())
}

/// A page of records, over all chains or one.
pub(super) async fn page(link: &Link, query: &AuditQuery) -> Result<AuditPage, PageError> {
    let chains = match query.chain {
        Some(chain) => vec![chain],
        None => chains(link).await?,
    };
    let steps: Result<Vec<_>, _> = chains.iter().map(|chain| part(query, *chain)).collect();
    let found = link.together(&steps?).await?;
    let limit = query.limit as usize;
    let parts: Vec<_> = chains
        .iter()
        .zip(found)
        .map(|(chain, rows)| {
            let records: Vec<_> = rows.iter().map(record).collect();
            // A part that is full may have more.
            let reached = records.last().filter(|_| records.len() >= limit).map(|last| (last.at, last.seq));
            Part { chain: *chain, records, reached }
        })
        .collect();
    Ok(merged(query, &parts))
}

/// Why a page can't be read.
pub(super) enum PageError {
    Failed(Failure),
    Store(StoreError),
}

impl From<Failure> for PageError {
    fn from(cause: Failure) -> Self {
        Self::Failed(cause)
    }
}

impl From<StoreError> for PageError {
    fn from(cause: StoreError) -> Self {
        Self::Store(cause)
    }
}

/// The statement that finds one chain's records.
fn part(query: &AuditQuery, chain: u32) -> Result<Step, StoreError> {
    let mut values = Values::default();
    let (mut from, mut to) = (place(chain, 1)?, end(chain)?);
    let given = |cursor: &Cursor| cursor.0.iter().find(|(of, _)| *of == chain).map(|(_, seq)| place(chain, *seq));
    if let Some(after) = given(&query.after).transpose()? {
        from = from.max(after + 1);
    }
    if let Some(before) = given(&query.before).transpose()? {
        to = to.min(before - 1);
    }
    let mut sql = "SELECT place, at, mac, body FROM audit WHERE ".to_owned();
    let (first, last) = (values.push(Value::Number(from)), values.push(Value::Number(to)));
    // Writing to a string can't fail.
    let _ = write!(sql, "place BETWEEN {first} AND {last}");
    // Time never decreases within a chain, so a time is a place.
    for (time, sign) in [(query.since, ">="), (query.until, "<")] {
        if let Some(time) = time {
            let time = values.push(Value::Number(time.micros()));
            let (begin, end) = (values.push(Value::Number(place(chain, 1)?)), values.push(Value::Number(end(chain)?)));
            let _ = write!(
                sql,
                " AND place {sign} coalesce((SELECT place FROM audit WHERE at >= {time} AND place BETWEEN {begin} AND {end} \
                 ORDER BY at, place LIMIT 1), {end} + 1)"
            );
        }
    }
    if let Some(secrets) = &query.secrets {
        let ids = values.push(Value::Blobs(secrets.iter().map(|id| id.as_bytes().to_vec()).collect()));
        let _ = write!(sql, " AND secret = ANY ({ids})");
    }
    if let Some(key) = &query.key {
        let key = values.push(Value::Text(key.as_str().to_owned()));
        let _ = write!(sql, " AND (actor_key = {key} OR key = {key})");
    }
    if let Some(seat) = &query.seat {
        let _ = write!(sql, " AND seat = {}", values.push(Value::Bytes(seat.as_bytes().to_vec())));
    }
    if let Some(action) = &query.action {
        let _ = write!(sql, " AND action = {}", values.push(Value::Text(action.clone().into_owned())));
    }
    if let Some(account) = &query.account {
        let _ = write!(sql, " AND account = {}", values.push(Value::Bytes(account.as_bytes().to_vec())));
    }
    let order = if query.newest { "DESC" } else { "ASC" };
    let _ = write!(sql, " ORDER BY place {order} LIMIT {}", values.push(Value::Number(i64::from(query.limit))));
    Ok(Step::new(sql, values.0))
}

fn record(row: &Row) -> AuditRecord {
    let place: i64 = column(row, 0);
    AuditRecord {
        chain: chain_of(place),
        seq: seq_of(place),
        at: Timestamp::from_micros(column(row, 1)),
        mac: fixed(row, 2),
        body: column(row, 3),
    }
}
