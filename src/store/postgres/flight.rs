//! The statements of a commit: guards first, then the changes.
//!
//! A guard that does not hold divides by zero, and the server undoes the whole transaction. Every statement behind a `BEGIN`
//! that writes also demands the lock timeout that it sets: should `BEGIN` fail alone, the statements behind it do nothing.
//!
//! The commit of a code is a single statement, and a transaction of its own. The server answers every statement by itself, and
//! each answer wakes this process: waking it eight times takes longer than the work.

use super::{
    link::{Step, Value},
    plan::{Condition, Plan},
    reads::{account_bytes, life_number},
};

use crate::{
    domain::{
        api_key::KeyId,
        ids::{AccountId, SeatId, SecretId},
    },
    store::{
        AuditPut, Commit, Kind, Record, RecordKey, StoreError, Tail,
        places::{end, place},
    },
};

/// The kinds whose lists are long: their records are counted.
pub(super) const COUNTED: [Kind; 2] = [Kind::Secret, Kind::Seat];

/// Begins a flight. Statements recognise by the odd timeout that they run inside it.
pub(super) const BEGIN: &str =
    "BEGIN; SET LOCAL lock_timeout = '3999ms'; SET LOCAL idle_in_transaction_session_timeout = '2s'";

const LEASED: &str = "WITH moved AS (UPDATE writer SET flight = $3, lease_until = \
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $4 \
    WHERE chain = $1 AND epoch = $2 AND current_setting('lock_timeout') = '3999ms' RETURNING 1) \
    SELECT 1 / count(*)::int FROM moved";
const LOCKED: &str = "WITH locked AS (SELECT 1 FROM record JOIN unnest($1::smallint[], $2::bytea[], $3::bigint[]) \
    AS wanted (kind, id, version) USING (kind, id, version) ORDER BY record.kind, record.id FOR UPDATE OF record) \
    SELECT 1 / (count(*) = $4)::int FROM locked";
const HELD: &str = "WITH held AS (SELECT 1 FROM record JOIN unnest($1::smallint[], $2::bytea[], $3::bigint[]) \
    AS wanted (kind, id, version) USING (kind, id) WHERE wanted.version IS NULL OR wanted.version = record.version \
    ORDER BY record.kind, record.id FOR SHARE OF record) SELECT 1 / (count(*) = $4)::int FROM held";
const ABSENT: &str = "SELECT 1 / (count(*) = 0)::int FROM record \
    JOIN unnest($1::smallint[], $2::bytea[]) AS wanted (kind, id) USING (kind, id)";
const NONE_IN: &str = "SELECT 1 / (count(*) = 0)::int FROM record \
    JOIN unnest($1::smallint[], $2::bytea[]) AS wanted (kind, account) USING (kind, account)";
const TAIL: &str = "SELECT 1 / coalesce((SELECT place = $3 AND mac = $4 FROM audit \
    WHERE place BETWEEN $1 AND $2 ORDER BY place DESC LIMIT 1), true)::int";
const REMOVE: &str = "WITH gone AS (DELETE FROM record USING unnest($1::smallint[], $2::bytea[]) AS wanted (kind, id) \
    WHERE record.kind = wanted.kind AND record.id = wanted.id AND current_setting('lock_timeout') = '3999ms' \
    RETURNING record.kind, record.account, record.life) ";
const REMOVE_RANGE: &str = "WITH gone AS (DELETE FROM record WHERE kind = $1 AND id BETWEEN $2 AND $3 \
    AND current_setting('lock_timeout') = '3999ms' RETURNING kind, account, life) ";
const UNCOUNT: &str = "INSERT INTO record_count (kind, account, life, n) SELECT kind, account, life, -count(*) FROM gone \
    WHERE kind IN (3, 7) GROUP BY kind, account, life ORDER BY kind, account, life \
    ON CONFLICT (kind, account, life) DO UPDATE SET n = record_count.n + excluded.n";
const RECOUNT: &str = "INSERT INTO record_count (kind, account, life, n) SELECT kind, account, life, sum(n) FROM ( \
    SELECT record.kind, record.account, record.life, -1 AS n FROM record \
    JOIN unnest($1::smallint[], $2::bytea[]) AS wanted (kind, id) USING (kind, id) \
    UNION ALL SELECT kind, account, life, 1 FROM unnest($1::smallint[], $3::bytea[], $4::smallint[]) \
    AS new (kind, account, life)) AS moved WHERE current_setting('lock_timeout') = '3999ms' \
    GROUP BY kind, account, life HAVING sum(n) <> 0 ORDER BY kind, account, life \
    ON CONFLICT (kind, account, life) DO UPDATE SET n = record_count.n + excluded.n";
const UPDATE: &str = "WITH done AS (UPDATE record SET version = new.version, account = new.account, sort = new.sort, \
    life = new.life, mac = new.mac, body = new.body FROM unnest($1::smallint[], $2::bytea[], $3::bigint[], $4::bytea[], \
    $5::bigint[], $6::smallint[], $7::bytea[], $8::bytea[]) AS new (kind, id, version, account, sort, life, mac, body) \
    WHERE record.kind = new.kind AND record.id = new.id AND current_setting('lock_timeout') = '3999ms' RETURNING 1) \
    SELECT 1 / (count(*) = $9)::int FROM done";
const INSERT: &str = "WITH added AS (INSERT INTO record (kind, id, version, account, sort, life, mac, body) \
    SELECT * FROM unnest($1::smallint[], $2::bytea[], $3::bigint[], $4::bytea[], $5::bigint[], $6::smallint[], $7::bytea[], \
    $8::bytea[]) WHERE current_setting('lock_timeout') = '3999ms' RETURNING kind, account, life), \
    counted AS (INSERT INTO record_count (kind, account, life, n) SELECT kind, account, life, count(*) FROM added \
    WHERE kind IN (3, 7) GROUP BY kind, account, life ORDER BY kind, account, life \
    ON CONFLICT (kind, account, life) DO UPDATE SET n = record_count.n + excluded.n) \
    SELECT 1 / (count(*) = $9)::int FROM added";
const UNINDEX: [&str; 2] = [
    "DELETE FROM record_name USING unnest($1::smallint[], $2::bytea[]) AS wanted (kind, id) \
     WHERE record_name.kind = wanted.kind AND record_name.id = wanted.id AND current_setting('lock_timeout') = '3999ms'",
    "DELETE FROM record_word USING unnest($1::smallint[], $2::bytea[]) AS wanted (kind, id) \
     WHERE record_word.kind = wanted.kind AND record_word.id = wanted.id AND current_setting('lock_timeout') = '3999ms'",
];
const NAME: &str = "INSERT INTO record_name (kind, account, name, id) \
    SELECT * FROM unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bytea[]) WHERE current_setting('lock_timeout') = '3999ms'";
const WORD: &str = "INSERT INTO record_word (kind, account, word, id) \
    SELECT * FROM unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bytea[]) WHERE current_setting('lock_timeout') = '3999ms' \
    ON CONFLICT DO NOTHING";
const PRUNE: &str = "DELETE FROM audit WHERE place BETWEEN $1 AND $2 AND current_setting('lock_timeout') = '3999ms'";
const APPEND: &str = "INSERT INTO audit (place, at, mac, account, actor_key, key, seat, secret, action, body) \
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::bytea[], $8::bytea[], \
    $9::text[], $10::bytea[]) WHERE current_setting('lock_timeout') = '3999ms'";

/// A whole commit that only logs, replaces records and holds others. `moved` is read first, and sets the timeout for the locks
/// of rows.
const SINGLE: &str = "WITH moved AS (UPDATE writer SET flight = $3, lease_until = \
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $4 \
    WHERE chain = $1 AND epoch = $2 AND set_config('lock_timeout', '3999ms', true) <> '' RETURNING 1), \
    held AS (SELECT 1 FROM record JOIN unnest($5::smallint[], $6::bytea[], $7::bigint[]) \
    AS wanted (kind, id, version) USING (kind, id) WHERE wanted.version IS NULL OR wanted.version = record.version \
    ORDER BY record.kind, record.id FOR SHARE OF record), \
    done AS (UPDATE record SET version = new.version, account = new.account, sort = new.sort, \
    life = new.life, mac = new.mac, body = new.body FROM unnest($9::smallint[], $10::bytea[], $11::bigint[], $12::bytea[], \
    $13::bigint[], $14::smallint[], $15::bytea[], $16::bytea[], $18::bigint[]) \
    AS new (kind, id, version, account, sort, life, mac, body, expected) \
    WHERE record.kind = new.kind AND record.id = new.id AND record.version = new.expected RETURNING 1), \
    added AS (INSERT INTO audit (place, at, mac, account, actor_key, key, seat, secret, action, body) \
    SELECT * FROM unnest($23::bigint[], $24::bigint[], $25::bytea[], $26::bytea[], $27::text[], $28::text[], $29::bytea[], \
    $30::bytea[], $31::text[], $32::bytea[])) \
    SELECT 1 / ((SELECT count(*) FROM moved) = 1 AND (SELECT count(*) FROM held) = $8 AND (SELECT count(*) FROM done) = $17 \
    AND coalesce((SELECT place = $21 AND mac = $22 FROM audit \
    WHERE place BETWEEN $19 AND $20 ORDER BY place DESC LIMIT 1), true))::int";

/// Renews the writer's lease without changing the flight's number, and reads the server's clock.
const ALIVE: &str = "WITH moved AS (UPDATE writer SET \
    lease_until = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $3 \
    WHERE chain = $1 AND epoch = $2 AND current_setting('lock_timeout') = '3999ms' RETURNING lease_until) \
    SELECT 1 / count(*)::int, (max(lease_until) - $3)::bigint FROM moved";
/// Takes a chain away from flights of an epoch whose answers were lost. It may be sent again if its own answer is lost:
/// a writer that takes the chain over begins with a much higher epoch.
const SETTLED: &str = "UPDATE writer SET epoch = $2 + 1 WHERE chain = $1 AND epoch IN ($2, $2 + 1) \
    AND current_setting('lock_timeout') = '3999ms' RETURNING epoch, flight";
/// Takes over a chain whose lease has expired.
const TAKEN: &str = "UPDATE writer SET epoch = (epoch / 1048576 + 1) * 1048576, \
    lease_until = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $1 \
    WHERE chain = (SELECT chain FROM writer \
    WHERE lease_until < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
    ORDER BY chain LIMIT 1 FOR UPDATE SKIP LOCKED) \
    AND current_setting('lock_timeout') = '3999ms' RETURNING chain, epoch, flight";
/// Begins a chain.
const BEGUN: &str = "INSERT INTO writer (chain, epoch, flight, lease_until) SELECT coalesce(max(chain) + 1, 0), 1, 0, \
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $1 FROM writer \
    WHERE current_setting('lock_timeout') = '3999ms' ON CONFLICT DO NOTHING RETURNING chain, epoch, flight";

/// The place of a writer: its chain, the epoch in which it holds that, and the number of its next flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) chain: u32,
    pub(super) epoch: i64,
    pub(super) flight: i64,
}

/// Microseconds for which a writer holds its chain after each flight or renewal.
const LEASE: i64 = 30_000_000;

/// The guard that the writer still holds its chain. It numbers the flight.
pub(super) fn leased(lease: &Lease) -> Step {
    let values = [i64::from(lease.chain), lease.epoch, lease.flight, LEASE].map(Value::Number);
    Step::new(LEASED, values.into())
}

/// The statement that renews a writer's lease.
pub(super) fn alive(lease: &Lease) -> Step {
    Step::new(ALIVE, [i64::from(lease.chain), lease.epoch, LEASE].map(Value::Number).into())
}

/// Ends the epoch of a flight whose answer was lost.
pub(super) fn settled(sent: &Lease) -> Step {
    Step::new(SETTLED, [i64::from(sent.chain), sent.epoch].map(Value::Number).into())
}

/// The ways to get a chain, in their order.
pub(super) fn chains() -> [Step; 2] {
    [TAKEN, BEGUN].map(|sql| Step::new(sql, vec![Value::Number(LEASE)]))
}

/// Returns a commit as one statement, if that can do everything the commit does.
///
/// It has one snapshot, from before it waits for the writer's row. So a commit that names no record is not among them: if a repair
/// replaced the whole content meanwhile, only the records' versions would show it.
pub(super) fn single(lease: &Lease, plan: &Plan<'_>, tail: Option<&Tail>) -> Result<Option<Step>, StoreError> {
    let Plan { locked, held, none_in, removed, prefixes, inserted, updated, indexed, pruned, rows, .. } = plan;
    let puts_more = !inserted.is_empty() || !indexed.is_empty() || updated.iter().any(|record| is_counted(record));
    let removes = !removed.is_empty() || !prefixes.is_empty() || !pruned.is_empty();
    let needs_absence = !none_in.is_empty() || held.iter().any(|(_, held)| *held == Condition::Absent);
    let names_none = updated.is_empty() && held.is_empty();
    if rows.is_empty() || puts_more || removes || needs_absence || names_none {
        return Ok(None);
    }
    let Some(tail) = tail else { return Ok(None) };
    let mut values = leased(lease).values;
    values.extend(held_values(held));
    values.extend(columns(updated));
    // `locked` has the same records as `updated`, in the same order.
    values.push(versions(locked));
    values.extend(tail_values(tail)?);
    values.extend(row_values(rows)?);
    Ok(Some(Step::new(SINGLE, values)))
}

/// The statements of a commit.
pub(super) fn steps(plan: &Plan<'_>, tail: Option<&Tail>) -> Result<Vec<Step>, StoreError> {
    let mut steps = Vec::new();
    guards(&mut steps, plan);
    if let Some(tail) = tail.filter(|_| !plan.rows.is_empty()) {
        steps.push(Step::new(TAIL, tail_values(tail)?));
    }
    removals(&mut steps, plan);
    puts(&mut steps, plan);
    for prune in &plan.pruned {
        let places = [place(prune.chain, 1)?, place(prune.chain, prune.upto)?].map(Value::Number);
        steps.push(Step::new(PRUNE, places.into()));
    }
    if !plan.rows.is_empty() {
        steps.push(Step::new(APPEND, row_values(&plan.rows)?));
    }
    Ok(steps)
}

fn is_counted(record: &Record) -> bool {
    COUNTED.contains(&record.key.kind)
}

fn guards(steps: &mut Vec<Step>, plan: &Plan<'_>) {
    if !plan.locked.is_empty() {
        let mut values = keys(plan.locked.iter().map(|(key, _)| *key));
        values.push(versions(&plan.locked));
        values.push(number(plan.locked.len()));
        steps.push(Step::new(LOCKED, values));
    }
    let (absent, held): (Vec<_>, Vec<_>) = plan.held.iter().partition(|(_, held)| *held == Condition::Absent);
    if !held.is_empty() {
        steps.push(Step::new(HELD, held_values(&held)));
    }
    if !absent.is_empty() {
        steps.push(Step::new(ABSENT, keys(absent.iter().map(|(key, _)| *key))));
    }
    if !plan.none_in.is_empty() {
        let kinds = plan.none_in.iter().map(|(kind, _)| i16::from(kind.number())).collect();
        let accounts = plan.none_in.iter().map(|(_, account)| account.as_bytes().to_vec()).collect();
        steps.push(Step::new(NONE_IN, vec![Value::Smalls(kinds), Value::Blobs(accounts)]));
    }
}

fn versions(locked: &[(&RecordKey, u64)]) -> Value {
    Value::Numbers(locked.iter().map(|(_, version)| version.cast_signed()).collect())
}

fn held_values(held: &[(&RecordKey, Condition)]) -> Vec<Value> {
    let version = |held: &Condition| match held {
        Condition::Version(version) => Some(version.cast_signed()),
        Condition::Exists | Condition::Absent => None,
    };
    let mut values = keys(held.iter().map(|(key, _)| *key));
    values.push(Value::MaybeNumbers(held.iter().map(|(_, held)| version(held)).collect()));
    values.push(number(held.len()));
    values
}

fn tail_values(tail: &Tail) -> Result<Vec<Value>, StoreError> {
    let places = [place(tail.chain, 0)?, end(tail.chain)?, place(tail.chain, tail.seq)?].map(Value::Number);
    Ok(places.into_iter().chain([Value::Bytes(tail.mac.to_vec())]).collect())
}

fn removals(steps: &mut Vec<Step>, plan: &Plan<'_>) {
    if !plan.removed.is_empty() {
        steps.push(Step::new(format!("{REMOVE}{UNCOUNT}"), keys(plan.removed.iter().copied())));
    }
    for (kind, prefix) in &plan.prefixes {
        // Ids have at most this many bytes, so no id with the prefix sorts after this.
        let last = [*prefix, &[0xFF; crate::store::ID_BYTES_MAX]].concat();
        let values = vec![Value::Small(i16::from(kind.number())), Value::Bytes(prefix.to_vec()), Value::Bytes(last)];
        steps.push(Step::new(format!("{REMOVE_RANGE}{UNCOUNT}"), values));
    }
}

fn puts(steps: &mut Vec<Step>, plan: &Plan<'_>) {
    let counted: Vec<_> = plan.updated.iter().filter(|record| is_counted(record)).collect();
    if !counted.is_empty() {
        let mut values = keys(counted.iter().map(|record| &record.key));
        values.push(Value::Blobs(counted.iter().map(|record| account_bytes(record.account.as_ref())).collect()));
        values.push(Value::Smalls(counted.iter().map(|record| life_number(record.life)).collect()));
        steps.push(Step::new(RECOUNT, values));
    }
    for (sql, records) in [(UPDATE, &plan.updated), (INSERT, &plan.inserted)] {
        if !records.is_empty() {
            steps.push(Step::new(sql, columns(records)));
        }
    }
    if plan.indexed.is_empty() {
        return;
    }
    for sql in UNINDEX {
        steps.push(Step::new(sql, keys(plan.indexed.iter().map(|(record, _)| &record.key))));
    }
    let names =
        plan.indexed.iter().flat_map(|(record, finders)| finders.names.iter().map(|name| (*record, name.to_vec())));
    let words =
        plan.indexed.iter().flat_map(|(record, finders)| finders.words.iter().map(|word| (*record, word.to_vec())));
    for (sql, entries) in [(NAME, names.collect::<Vec<_>>()), (WORD, words.collect())] {
        if !entries.is_empty() {
            let kinds = entries.iter().map(|(record, _)| i16::from(record.key.kind.number())).collect();
            let accounts = entries.iter().map(|(record, _)| account_bytes(record.account.as_ref())).collect();
            let ids = entries.iter().map(|(record, _)| record.key.id.clone()).collect();
            let entries = entries.into_iter().map(|(_, entry)| entry).collect();
            let values = vec![Value::Smalls(kinds), Value::Blobs(accounts), Value::Blobs(entries), Value::Blobs(ids)];
            steps.push(Step::new(sql, values));
        }
    }
}

fn row_values(rows: &[&AuditPut]) -> Result<Vec<Value>, StoreError> {
    let places: Result<Vec<_>, _> = rows.iter().map(|row| place(row.record.chain, row.record.seq)).collect();
    let id = |id: Option<&[u8; 16]>| id.map(|id| id.to_vec());
    let text = |id: &KeyId| id.as_str().to_owned();
    Ok(vec![
        Value::Numbers(places?),
        Value::Numbers(rows.iter().map(|row| row.record.at.micros()).collect()),
        Value::Blobs(rows.iter().map(|row| row.record.mac.to_vec()).collect()),
        Value::MaybeBlobs(rows.iter().map(|row| id(row.terms.account.as_ref().map(AccountId::as_bytes))).collect()),
        Value::MaybeTexts(rows.iter().map(|row| row.terms.actor_key.as_ref().map(text)).collect()),
        Value::MaybeTexts(rows.iter().map(|row| row.terms.key.as_ref().map(text)).collect()),
        Value::MaybeBlobs(rows.iter().map(|row| id(row.terms.seat.as_ref().map(SeatId::as_bytes))).collect()),
        Value::MaybeBlobs(rows.iter().map(|row| id(row.terms.secret.as_ref().map(SecretId::as_bytes))).collect()),
        Value::MaybeTexts(rows.iter().map(|row| Some(row.terms.action.clone().into_owned())).collect()),
        Value::Blobs(rows.iter().map(|row| row.record.body.clone()).collect()),
    ])
}

/// The columns of records, and the number of records.
fn columns(records: &[&Record]) -> Vec<Value> {
    let mut values = keys(records.iter().map(|record| &record.key));
    values.extend([
        Value::Numbers(records.iter().map(|record| record.version.cast_signed()).collect()),
        Value::Blobs(records.iter().map(|record| account_bytes(record.account.as_ref())).collect()),
        Value::Numbers(records.iter().map(|record| record.sort).collect()),
        Value::Smalls(records.iter().map(|record| life_number(record.life)).collect()),
        Value::Blobs(records.iter().map(|record| record.mac.to_vec()).collect()),
        Value::Blobs(records.iter().map(|record| record.body.clone()).collect()),
        number(records.len()),
    ]);
    values
}

/// Kinds and ids.
pub(super) fn keys<'a>(keys: impl Iterator<Item = &'a RecordKey> + Clone) -> Vec<Value> {
    let kinds = keys.clone().map(|key| i16::from(key.kind.number())).collect();
    vec![Value::Smalls(kinds), Value::Blobs(keys.map(|key| key.id.clone()).collect())]
}

fn number(count: usize) -> Value {
    Value::Number(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Whether a commit's rows go on from its tail, in order.
pub(super) fn check_rows(commit: &Commit) -> Result<(), StoreError> {
    let rows = || commit.changes.iter().flat_map(|change| &change.audit);
    let Some(first) = rows().next() else { return Ok(()) };
    let follows = commit.tail.is_some_and(|tail| {
        let numbered =
            (tail.seq..).skip(1).zip(rows()).all(|(seq, row)| row.record.chain == tail.chain && row.record.seq == seq);
        numbered && tail.chain == first.record.chain
    });
    if follows {
        return Ok(());
    }
    Err(StoreError::Unavailable("audit records do not go on from where their chain ends".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::{
        domain::time::Timestamp,
        store::{AuditRecord, AuditTerms, Change, Durable, Expect, Finders, Index, Life, Prune, Put, Removal},
    };

    const TAIL_OF_7: Tail = Tail { chain: 7, seq: 3, mac: [1; 32] };

    fn key(id: &str) -> RecordKey {
        RecordKey::new(Kind::Use, id.as_bytes().to_vec())
    }

    fn put(kind: Kind, version: u64) -> Put {
        let key = RecordKey::new(kind, b"put".to_vec());
        let record = Record { key, version, account: None, sort: 0, life: Life::Live, mac: [0; 32], body: Vec::new() };
        Put { record, index: Index::Keep }
    }

    /// The change that the commit of a code makes.
    fn of_a_code() -> Change {
        let record = AuditRecord { chain: 7, seq: 4, at: Timestamp::from_micros(0), mac: [2; 32], body: Vec::new() };
        let action = Cow::Borrowed("code.read");
        let terms = AuditTerms { account: None, actor_key: None, key: None, seat: None, secret: None, action };
        Change {
            expect: vec![Expect::Exists(key("secret")), Expect::Version(key("key"), 3)],
            put: vec![put(Kind::Use, 2)],
            audit: vec![AuditPut { record, terms }],
            ..Change::default()
        }
    }

    fn is_single(change: Change) -> bool {
        let commit = Commit { changes: vec![change], tail: Some(TAIL_OF_7), durable: Durable::Now };
        let lease = Lease { chain: 7, epoch: 1, flight: 1 };
        single(&lease, &Plan::of(&commit, None), commit.tail.as_ref()).unwrap().is_some()
    }

    #[test]
    fn what_commits_of_codes_do_is_one_statement_and_whatever_does_more_is_several() {
        assert!(is_single(of_a_code()));
        assert!(is_single(Change { put: Vec::new(), ..of_a_code() }));
        assert!(is_single(Change { expect: Vec::new(), ..of_a_code() }));

        let more: [fn(&mut Change); 9] = [
            |change| change.audit.clear(),
            |change| (change.put, change.expect) = (Vec::new(), Vec::new()),
            |change| change.expect.push(Expect::Absent(key("new"))),
            |change| change.expect.push(Expect::NoneIn(Kind::Use, AccountId::new(uuid::Uuid::from_u128(1)))),
            |change| change.put = vec![put(Kind::Use, 1)],
            |change| change.put = vec![put(Kind::Secret, 2)],
            |change| change.put[0].index = Index::Replace(Finders::default()),
            |change| change.remove.push(Removal::One(key("old"))),
            |change| change.prune = Some(Prune { chain: 7, upto: 1 }),
        ];
        for (nth, more) in more.iter().enumerate() {
            let mut change = of_a_code();
            more(&mut change);
            assert!(!is_single(change), "{nth}");
        }
    }
}
