//! Secrets: rows of two sealed blobs and the state of their use. The blobs vouch for themselves; the rest of the row
//! stands under a keyed hash.

use rusqlite::{Row, params};

use super::{
    db::{Db, Field, Tx},
    error::{damaged, misplaced, not_added, of_record, one_changed},
};
use crate::{
    domain::{
        audit::AuditEntry,
        ids::{AccountId, ReservationId, SecretId},
        steps::{Reservation, StepMarks},
        time::Timestamp,
        totp::Step,
        verification::VerifyMarks,
    },
    keyring::{Keyring, Mac},
    store::{Added, Changed, Idempotency, Life, SealedSecret, StoreError, UncheckedId, UseState},
};

const TABLE: &str = "secret";
/// Where registrations are remembered that may be repeated.
const REPEATS: &str = "idempotency";
/// A reservation as it is kept: its step and its id.
const RESERVATION_BYTES: usize = 24;

/// A query for whole rows, put together at compile time. `$seed` is the column, or an empty blob in its place.
macro_rules! select {
    ($seed:literal, $rest:literal) => {
        concat!(
            "SELECT n, id, account, version, created_at, deleted_at, last_used_at, given, taken, waiting, accepted, ",
            "wrong, held_until, mac, metadata, ",
            $seed,
            " FROM secret ",
            $rest
        )
    };
}

/// A row, checked.
pub(super) struct Kept {
    /// The row's own number, which finds it fastest.
    pub(super) row: i64,
    pub(super) secret: SealedSecret,
    pub(super) state: UseState,
}

/// Adds a secret, unless the same request has done so before.
pub(super) fn add(
    tx: &Tx<'_>,
    secret: &SealedSecret,
    repeat: Option<&Idempotency>,
    entry: &AuditEntry,
) -> Result<Added, StoreError> {
    if let Some(repeat) = repeat
        && let Some(earlier) = earlier(tx, repeat)?
    {
        return Ok(earlier);
    }
    let state = UseState::default();
    let waiting = packed(&state.steps.waiting);
    let added = tx
        .statement(
            "INSERT INTO secret (id, account, version, created_at, deleted_at, waiting, wrong, mac, metadata, seed) \
             VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
        )?
        .execute(params![
            secret.id.as_bytes(),
            secret.account.as_bytes(),
            secret.version,
            secret.created_at.micros(),
            secret.deleted_at.map(Timestamp::micros),
            waiting,
            mac_of(tx.keyring(), secret, &state, &waiting),
            secret.metadata,
            secret.seed,
        ]);
    one_changed(TABLE, added.map_err(|error| not_added(error, "this secret"))?)?;
    if let Some(repeat) = repeat {
        remember(tx, repeat, secret.id, entry.at)?;
    }
    tx.append(entry)?;
    Ok(Added::New)
}

/// What an earlier request with the same key did, if it still counts.
fn earlier(tx: &Tx<'_>, repeat: &Idempotency) -> Result<Option<Added>, StoreError> {
    let sql = "SELECT request, secret, created_at, mac FROM idempotency WHERE key = ? AND created_at >= ?";
    tx.first(sql, params![repeat.key, repeat.since.micros()], |row| {
        let (request, secret) = answered(tx, row, &repeat.key)?;
        Ok(if request == repeat.request { Added::Repeat(secret) } else { Added::Conflict })
    })
}

/// The request that was remembered under a key, and the secret that it added. That names it when it is damaged: a person
/// knows it by nothing else.
fn answered(db: &Db<'_>, row: &Row<'_>, key: &[u8; 32]) -> Result<([u8; 32], SecretId), StoreError> {
    let checked = || {
        let (request, secret, at): ([u8; 32], [u8; 16], i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        db.check(REPEATS, &[key, &request, &secret, &at.to_be_bytes()], row.get(3)?)?;
        Ok((request, SecretId::new(uuid::Uuid::from_bytes(secret))))
    };
    checked().map_err(|error| of_record(error, REPEATS, row, 1))
}

/// Keeps what was done for a request, and forgets what no longer counts.
fn remember(tx: &Tx<'_>, repeat: &Idempotency, secret: SecretId, at: Timestamp) -> Result<(), StoreError> {
    let fields: [&[u8]; 4] = [&repeat.key, &repeat.request, secret.as_bytes(), &at.micros().to_be_bytes()];
    let mac = tx.keyring().row_mac(REPEATS, &fields);
    tx.execute("DELETE FROM idempotency WHERE created_at < ?", [repeat.since.micros()])?;
    tx.change_one(
        REPEATS,
        "INSERT OR REPLACE INTO idempotency (key, request, secret, created_at, mac) VALUES (?, ?, ?, ?, ?)",
        params![repeat.key, repeat.request, secret.as_bytes(), at.micros(), mac],
    )
}

/// One secret of an account, live or deleted.
pub(super) fn one(db: &Db<'_>, account: AccountId, id: SecretId) -> Result<Option<Kept>, StoreError> {
    let found = db.first(select!("seed", "WHERE id = ?"), [id.as_bytes()], |row| read(db, row))?;
    // A damaged index could lead to another row, whole in itself.
    if found.as_ref().is_some_and(|kept| kept.secret.id != id) {
        return Err(misplaced(TABLE));
    }
    Ok(found.filter(|kept| kept.secret.account == account))
}

/// One secret of an account that exists for callers.
pub(super) fn live(db: &Db<'_>, account: AccountId, id: SecretId) -> Result<Option<Kept>, StoreError> {
    Ok(one(db, account, id)?.filter(|kept| kept.secret.deleted_at.is_none()))
}

/// The secrets of an account, oldest first, without seeds.
pub(super) fn list(db: &Db<'_>, account: AccountId, life: Life) -> Result<Vec<SealedSecret>, StoreError> {
    let sql = match life {
        Life::Live => select!("x''", "WHERE account = ? AND deleted_at IS NULL ORDER BY created_at, id"),
        Life::Deleted => select!("x''", "WHERE account = ? AND deleted_at IS NOT NULL ORDER BY created_at, id"),
    };
    db.all(sql, [account.as_bytes()], |row| Ok(read(db, row)?.secret))
}

pub(super) fn change(tx: &Tx<'_>, new: &SealedSecret, entry: &AuditEntry) -> Result<Changed, StoreError> {
    let Some(mut kept) = live(tx, new.account, new.id)? else { return Ok(Changed::NotThere) };
    if kept.secret.version.checked_add(1) != Some(new.version) {
        return Ok(Changed::Stale);
    }
    kept.secret.version = new.version;
    tx.change_one(
        TABLE,
        "UPDATE secret SET version = ?, metadata = ?, seed = ? WHERE n = ?",
        params![new.version, new.metadata, new.seed, kept.row],
    )?;
    put(tx, &kept)?;
    tx.append(entry)?;
    tx.scrub();
    Ok(Changed::Yes)
}

/// Deletes a live secret: gone for callers, kept for a person.
pub(super) fn delete(tx: &Tx<'_>, account: AccountId, id: SecretId, entry: &AuditEntry) -> Result<bool, StoreError> {
    let Some(mut kept) = live(tx, account, id)? else { return Ok(false) };
    kept.secret.deleted_at = Some(entry.at);
    put(tx, &kept)?;
    tx.append(entry)?;
    Ok(true)
}

/// Brings a secret back, unless it was deleted before a time: then it is as good as erased.
pub(super) fn restore(
    tx: &Tx<'_>,
    account: AccountId,
    id: SecretId,
    since: Timestamp,
    entry: &AuditEntry,
) -> Result<bool, StoreError> {
    let deleted = one(tx, account, id)?.filter(|kept| kept.secret.deleted_at.is_some_and(|at| at >= since));
    let Some(mut kept) = deleted else { return Ok(false) };
    kept.secret.deleted_at = None;
    put(tx, &kept)?;
    tx.append(entry)?;
    Ok(true)
}

/// Erases a secret and all that is kept with it, for good. A damaged one too: there must be a way to be rid of it.
pub(super) fn erase(tx: &Tx<'_>, account: AccountId, id: SecretId, entry: &AuditEntry) -> Result<bool, StoreError> {
    let sql = "DELETE FROM secret WHERE id = ? AND account = ?";
    if tx.execute(sql, [id.as_bytes(), account.as_bytes()])? == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM code_count WHERE secret = ?", [id.as_bytes()])?;
    tx.recall(id);
    tx.append(entry)?;
    tx.scrub();
    Ok(true)
}

/// Erases every secret deleted before a time. A damaged one stays: whoever can write the file could otherwise have any
/// secret erased for good by giving it a time.
pub(super) fn erase_deleted(tx: &Tx<'_>, before: Timestamp, entry: &AuditEntry) -> Result<u64, StoreError> {
    let sql = select!("x''", "WHERE deleted_at < ? ORDER BY deleted_at, id");
    let due = tx.all(sql, [before.micros()], |row| match read(tx, row) {
        Ok(kept) => Ok(Some((kept.secret.account, kept.secret.id))),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    })?;
    let mut erased = 0;
    for (account, id) in due.into_iter().flatten() {
        let entry = AuditEntry { account: Some(account), secret: Some(id), ..entry.clone() };
        erased += u64::from(erase(tx, account, id, &entry)?);
    }
    // Also what another process removed while somebody read.
    tx.scrub();
    Ok(erased)
}

/// The account and id of every secret, as they stand in rows that may be damaged.
pub(super) fn ids(db: &Db<'_>) -> Result<Vec<UncheckedId>, StoreError> {
    db.all("SELECT account, id FROM secret ORDER BY n", [], |row| {
        let id = |column| row.get(column).ok().map(uuid::Uuid::from_bytes);
        Ok(UncheckedId { account: id(0).map(AccountId::new), id: id(1).map(SecretId::new) })
    })
}

/// Checks every row. The blobs are left closed.
pub(super) fn examine(db: &Db<'_>) -> Result<Vec<StoreError>, StoreError> {
    let every = select!("x''", "");
    db.all(every, [], |row| Ok(read(db, row).err())).map(|found| found.into_iter().flatten().collect())
}

/// Checks every registration that is remembered.
pub(super) fn examine_repeats(db: &Db<'_>) -> Result<Vec<StoreError>, StoreError> {
    let every = "SELECT request, secret, created_at, mac, key FROM idempotency";
    let found = db.all(every, [], |row| {
        // A key of another length is none, and no row stands under it.
        Ok(answered(db, row, &row.get(4).unwrap_or_default()).err())
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Writes the part of a row that the keyed hash covers.
pub(super) fn put(tx: &Tx<'_>, kept: &Kept) -> Result<(), StoreError> {
    let (secret, state) = (&kept.secret, &kept.state);
    let waiting = packed(&state.steps.waiting);
    // What is remembered of it is no longer so.
    tx.recall(secret.id);
    tx.change_one(
        TABLE,
        "UPDATE secret SET deleted_at = ?, last_used_at = ?, given = ?, taken = ?, waiting = ?, accepted = ?, \
         wrong = ?, held_until = ?, mac = ? WHERE n = ?",
        params![
            secret.deleted_at.map(Timestamp::micros),
            state.last_used_at.map(Timestamp::micros),
            state.steps.given.map(number),
            state.steps.taken.map(number),
            waiting,
            state.verify.accepted.map(number),
            state.verify.wrong,
            state.verify.held_until.map(Timestamp::micros),
            mac_of(tx.keyring(), secret, state, &waiting),
            kept.row,
        ],
    )
}

const fn number(step: Step) -> i64 {
    step.0.cast_signed()
}

fn packed(waiting: &[Reservation]) -> Vec<u8> {
    let mut out = Vec::with_capacity(waiting.len() * RESERVATION_BYTES);
    for held in waiting {
        out.extend_from_slice(&held.step.0.to_be_bytes());
        out.extend_from_slice(held.id.as_bytes());
    }
    out
}

fn unpacked(bytes: &[u8]) -> Option<Vec<Reservation>> {
    let one = |bytes: &[u8]| {
        let (step, id) = bytes.split_at_checked(8)?;
        let step = Step(u64::from_be_bytes(step.try_into().ok()?));
        Some(Reservation { step, id: ReservationId::from_slice(id).ok()? })
    };
    bytes.chunks(RESERVATION_BYTES).map(one).collect()
}

fn mac_of(keyring: &Keyring, secret: &SealedSecret, state: &UseState, waiting: &[u8]) -> Mac {
    mac_fields(secret, state, waiting, |fields| keyring.row_mac(TABLE, fields))
}

fn mac_fields<T>(secret: &SealedSecret, state: &UseState, waiting: &[u8], then: impl FnOnce(&[&[u8]]) -> T) -> T {
    let (steps, verify) = (&state.steps, &state.verify);
    then(&[
        secret.id.as_bytes(),
        secret.account.as_bytes(),
        &secret.version.to_be_bytes(),
        &secret.created_at.micros().to_be_bytes(),
        Field::time(secret.deleted_at).bytes(),
        Field::time(state.last_used_at).bytes(),
        Field::number(steps.given.map(number)).bytes(),
        Field::number(steps.taken.map(number)).bytes(),
        waiting,
        Field::number(verify.accepted.map(number)).bytes(),
        &verify.wrong.to_be_bytes(),
        Field::time(verify.held_until).bytes(),
    ])
}

fn read(db: &Db<'_>, row: &Row<'_>) -> Result<Kept, StoreError> {
    checked(db, row).map_err(|error| of_record(error, TABLE, row, 1))
}

fn checked(db: &Db<'_>, row: &Row<'_>) -> Result<Kept, StoreError> {
    let time =
        |column: usize| -> Result<_, StoreError> { Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_micros)) };
    let step = |column: usize| -> Result<_, StoreError> {
        Ok(row.get::<_, Option<i64>>(column)?.map(|step| Step(step.cast_unsigned())))
    };
    let waiting: Vec<u8> = row.get(9)?;
    let last_used_at = time(6)?;
    let secret = SealedSecret {
        id: SecretId::new(uuid::Uuid::from_bytes(row.get(1)?)),
        account: AccountId::new(uuid::Uuid::from_bytes(row.get(2)?)),
        version: row.get(3)?,
        created_at: Timestamp::from_micros(row.get(4)?),
        deleted_at: time(5)?,
        last_used_at,
        metadata: row.get(14)?,
        seed: row.get(15)?,
    };
    let reserved = unpacked(&waiting).ok_or_else(|| damaged(TABLE, "its reservations are cut short"))?;
    let state = UseState {
        steps: StepMarks { given: step(7)?, taken: step(8)?, waiting: reserved },
        verify: VerifyMarks { accepted: step(10)?, wrong: row.get(11)?, held_until: time(12)? },
        last_used_at,
    };
    let mac: Mac = row.get(13)?;
    mac_fields(&secret, &state, &waiting, |fields| db.check(TABLE, fields, mac))?;
    Ok(Kept { row: row.get(0)?, secret, state })
}
