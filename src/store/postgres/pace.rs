//! Limits over all nodes. For each bucket a row holds the time at which its next call is due at an even pace (GCRA), by
//! the server's clock.
//!
//! A count is one statement, so no node holds a lock while it is stopped, and it does not wait for the disk: nothing is
//! acknowledged by it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use super::{
    link::{Failure, Link, Step, Value},
    reads::column,
    store::Shared,
};
use crate::{domain::rate::Rate, store::Paced};

/// Counts a call ($1: the bucket, $2: the interval of its rate, $3: how far it may be ahead of an even pace), and
/// returns how far it is ahead. A time later than any calls can cause was left by a wrong clock, and is ignored.
const TAKE: &str = "WITH now AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at \
    WHERE set_config('synchronous_commit', 'off', true) = 'off'), \
    taken AS (INSERT INTO pace AS kept (bucket, due) SELECT $1, at + $2 FROM now \
    ON CONFLICT (bucket) DO UPDATE SET due = CASE WHEN kept.due BETWEEN excluded.due - $2 AND excluded.due - $2 + $3 \
    THEN kept.due + $2 ELSE excluded.due END \
    WHERE kept.due <= excluded.due - $2 + $3 OR kept.due > excluded.due + $3 + 60000000 RETURNING 1) \
    SELECT (SELECT count(*) FROM taken), coalesce(due, at + $2 + $3) - at FROM now LEFT JOIN pace ON bucket = $1";
/// Removes expired rows. Rows that another call is updating are skipped, so that a call which waits for this statement
/// does not wait for that call too.
const SWEEP: &str = "WITH now AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at \
    WHERE set_config('synchronous_commit', 'off', true) = 'off'), \
    over AS (SELECT bucket FROM pace WHERE due < (SELECT at FROM now) LIMIT $1 FOR UPDATE SKIP LOCKED), \
    gone AS (DELETE FROM pace USING over WHERE pace.bucket = over.bucket AND due < (SELECT at FROM now) RETURNING 1) \
    SELECT count(*) FROM gone";

/// How often a process removes expired rows.
const SWEPT_EVERY: Duration = Duration::from_mins(1);
/// How many rows it removes at once; calls of these buckets wait meanwhile.
const SWEPT_MAX: i64 = 10_000;
/// How often a statement is sent again that the server undid because of another one.
const TRIES: u32 = 5;

/// When this process last removed expired rows.
#[derive(Debug, Default)]
pub(super) struct Sweeps(Mutex<Option<Instant>>);

impl Sweeps {
    /// Whether a sweep is due. If so, this caller is to do it.
    pub(super) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= SWEPT_EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// Counts a call.
pub(super) async fn take(link: &Link, bucket: [u8; 16], rate: Rate) -> Result<Paced, Failure> {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX).max(1);
    let (span, interval) = (micros(rate.span()), micros(rate.interval()));
    let slack = span - interval;
    let values = vec![Value::Bytes(bucket.to_vec()), Value::Number(interval), Value::Number(slack)];
    let step = Step::new(TAKE, values);
    let mut tries = 1;
    let rows = loop {
        match link.query(&step).await {
            Err(Failure::Refused(code)) if tries < TRIES && is_undone(&code) => tries += 1,
            answer => break answer?,
        }
    };
    let (taken, ahead) = rows.first().map_or((0, 0), |row| (column::<i64>(row, 0), column::<i64>(row, 1)));
    if taken > 0 {
        return Ok(Paced::Counted);
    }
    // The row that the statement read may be older than the one by which it decided.
    Ok(Paced::Early(Duration::from_micros(u64::try_from(ahead - slack).unwrap_or(0).max(1))))
}

fn is_undone(code: &SqlState) -> bool {
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)
}

impl Shared {
    /// Removes expired rows. If this fails, the next sweep removes them.
    pub(super) async fn sweep(&self) {
        let step = Step::new(SWEEP, vec![Value::Number(SWEPT_MAX)]);
        let step = &step;
        loop {
            let swept = self.read(|link| async move { link.query(step).await }).await;
            let gone = swept.ok().and_then(|rows| rows.first().map(|row| column::<i64>(row, 0)));
            if gone.is_none_or(|gone| gone < SWEPT_MAX) {
                return;
            }
        }
    }
}
