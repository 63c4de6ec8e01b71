//! API keys. Everything that authorises stands under the row's keyed hash.

use rusqlite::{Row, params, types::ValueRef};
use subtle::ConstantTimeEq as _;

use super::{
    db::{Db, Field, Tx},
    error::{damaged, misplaced, not_added, of_record, one_changed, tampered},
    uses,
};
use crate::{
    domain::{
        api_key::{ApiKey, HashedKey, KeyId, KeyRights},
        audit::AuditEntry,
        ids::{AccountId, SeatId, SecretId},
        text::Name,
        time::Timestamp,
    },
    keyring::{Keyring, Mac},
    store::{Holder, Keys, StoreError},
};

const TABLE: &str = "api_key";

/// A query for whole rows, put together at compile time.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account, name, scopes, seat, secrets, codes_per_hour, expires_at, created_at, last_used_at, ",
            "revoked_at, hash, mac FROM api_key ",
            $rest
        )
    };
}

pub(super) fn add(tx: &Tx<'_>, key: &ApiKey, hash: &HashedKey, entry: &AuditEntry) -> Result<(), StoreError> {
    let rights = &key.rights;
    let added = tx.statement("INSERT INTO api_key VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)")?.execute(params![
        key.id.as_str(),
        rights.account.as_bytes(),
        key.name.as_str(),
        rights.scopes.to_string(),
        rights.seat.as_ref().map(SeatId::as_bytes),
        rights.secrets.as_deref().map(packed),
        rights.codes_per_hour,
        rights.expires_at.map(Timestamp::micros),
        key.created_at.micros(),
        key.last_used_at.map(Timestamp::micros),
        key.revoked_at.map(Timestamp::micros),
        hash.0,
        mac_of(tx.keyring(), key, hash),
    ]);
    one_changed(TABLE, added.map_err(|error| not_added(error, "this key"))?)?;
    tx.append(entry)
}

pub(super) fn one(db: &Db<'_>, id: KeyId) -> Result<Option<(ApiKey, HashedKey)>, StoreError> {
    let found = db.first(select!("WHERE id = ?"), [id.as_str()], |row| checked(db, row))?;
    if found.as_ref().is_some_and(|(key, _)| key.id != id) { Err(misplaced(TABLE)) } else { Ok(found) }
}

/// Every key of an account. One that is damaged must not hide the others: they are what a person wants to see then.
pub(super) fn list(db: &Db<'_>, account: AccountId) -> Result<Keys, StoreError> {
    let mut keys = Keys::default();
    let sql = select!("WHERE account = ? ORDER BY created_at, id");
    db.all(sql, [account.as_bytes()], |row| {
        match checked(db, row) {
            Ok((key, _)) => keys.sound.push(key),
            Err(StoreError::Damaged { .. }) => {
                keys.damaged.push(row.get::<_, String>(0).ok().and_then(|id| id.parse().ok()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    Ok(keys)
}

/// Revokes a key. A damaged one lets nobody in, so that nothing is lost by removing it: there is no saying what to keep.
pub(super) fn revoke(tx: &Tx<'_>, account: AccountId, id: KeyId, entry: &AuditEntry) -> Result<bool, StoreError> {
    match one(tx, id) {
        Ok(Some((key, hash))) if key.rights.account == account && key.revoked_at.is_none() => {
            put_revoked(tx, key, &hash, entry.at)?;
        }
        Ok(_) => return Ok(false),
        Err(StoreError::Damaged { .. }) => {
            tx.change_one(TABLE, "DELETE FROM api_key WHERE id = ?", [id.as_str()])?;
            uses::forget(tx, Holder::Key(id))?;
        }
        Err(error) => return Err(error),
    }
    tx.append(entry)?;
    Ok(true)
}

/// Removes every damaged key of an account, those of nobody's account among them. How many.
pub(super) fn remove_damaged(tx: &Tx<'_>, account: AccountId, entry: &AuditEntry) -> Result<u64, StoreError> {
    let sql = select!("WHERE account = ? OR account NOT IN (SELECT id FROM account)");
    let damaged = tx.all(sql, [account.as_bytes()], |row| match (checked(tx, row), row.get_ref(0)?) {
        // Its id may be anything by now, even no text at all.
        (Err(StoreError::Damaged { .. }), ValueRef::Text(id)) => Ok(Some(id.to_vec())),
        (read, _) => read.map(|_| None),
    })?;
    let mut removed = 0;
    for id in damaged.into_iter().flatten() {
        tx.execute("DELETE FROM api_key WHERE CAST(id AS BLOB) = ?", [&id])?;
        let key = String::from_utf8(id).ok().and_then(|id| id.parse().ok());
        key.map_or(Ok(()), |key| uses::forget(tx, Holder::Key(key)))?;
        tx.append(&AuditEntry { key, ..entry.clone() })?;
        removed += 1;
    }
    Ok(removed)
}

/// Revokes every key that is bound to a seat. A damaged one lets nobody in as it is.
pub(super) fn revoke_of_seat(tx: &Tx<'_>, account: AccountId, seat: SeatId, at: Timestamp) -> Result<(), StoreError> {
    let sql = select!("WHERE account = ? AND seat = ? AND revoked_at IS NULL");
    let bound = tx.all(sql, [account.as_bytes(), seat.as_bytes()], |row| match checked(tx, row) {
        Err(StoreError::Damaged { .. }) => Ok(None),
        read => read.map(Some),
    })?;
    bound.into_iter().flatten().try_for_each(|(key, hash)| put_revoked(tx, key, &hash, at))
}

pub(super) fn touch(tx: &Tx<'_>, id: KeyId, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE api_key SET last_used_at = ?2 WHERE id = ?1 AND coalesce(last_used_at < ?2, TRUE)";
    tx.execute(sql, params![id.as_str(), at.micros()])?;
    Ok(())
}

/// Checks every row.
pub(super) fn examine(db: &Db<'_>) -> Result<Vec<StoreError>, StoreError> {
    db.all(select!(""), [], |row| Ok(checked(db, row).err())).map(|found| found.into_iter().flatten().collect())
}

fn put_revoked(tx: &Tx<'_>, key: ApiKey, hash: &HashedKey, at: Timestamp) -> Result<(), StoreError> {
    let key = ApiKey { revoked_at: Some(at), ..key };
    let mac = mac_of(tx.keyring(), &key, hash);
    let sql = "UPDATE api_key SET revoked_at = ?, mac = ? WHERE id = ?";
    tx.change_one(TABLE, sql, params![at.micros(), mac, key.id.as_str()])?;
    uses::forget(tx, Holder::Key(key.id))
}

fn packed(secrets: &[SecretId]) -> Vec<u8> {
    secrets.iter().flat_map(|id| *id.as_bytes()).collect()
}

fn mac_of(keyring: &Keyring, key: &ApiKey, hash: &HashedKey) -> Mac {
    let rights = &key.rights;
    // No grants at all and a limit to no secret are different things.
    let limited = [u8::from(rights.secrets.is_some())];
    keyring.row_mac(
        TABLE,
        &[
            key.id.as_str().as_bytes(),
            rights.account.as_bytes(),
            key.name.as_str().as_bytes(),
            rights.scopes.to_string().as_bytes(),
            rights.seat.as_ref().map_or(&[], |id| id.as_bytes()),
            &limited,
            &rights.secrets.as_deref().map(packed).unwrap_or_default(),
            Field::number(rights.codes_per_hour.map(i64::from)).bytes(),
            Field::time(rights.expires_at).bytes(),
            &key.created_at.micros().to_be_bytes(),
            Field::time(key.revoked_at).bytes(),
            &hash.0,
        ],
    )
}

fn checked(db: &Db<'_>, row: &Row<'_>) -> Result<(ApiKey, HashedKey), StoreError> {
    read(db, row).map_err(|error| of_record(error, TABLE, row, 0))
}

fn read(db: &Db<'_>, row: &Row<'_>) -> Result<(ApiKey, HashedKey), StoreError> {
    let time =
        |column: usize| -> Result<_, StoreError> { Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_micros)) };
    let unread = |what: &str| damaged(TABLE, format!("its {what} is none that was ever written"));
    let secrets = row.get::<_, Option<Vec<u8>>>(5)?.map(|ids| {
        let ids = ids.chunks(16).map(SecretId::from_slice).collect::<Result<Vec<_>, _>>();
        ids.map_err(|_| unread("list of secrets"))
    });
    let key = ApiKey {
        id: row.get::<_, String>(0)?.parse().map_err(|_| unread("id"))?,
        name: Name::kept(row.get(2)?),
        rights: KeyRights {
            account: AccountId::new(uuid::Uuid::from_bytes(row.get(1)?)),
            scopes: row.get::<_, String>(3)?.parse().map_err(|_| unread("scope"))?,
            seat: row.get::<_, Option<[u8; 16]>>(4)?.map(uuid::Uuid::from_bytes).map(SeatId::new),
            secrets: secrets.transpose()?,
            codes_per_hour: row.get(6)?,
            expires_at: time(7)?,
        },
        created_at: Timestamp::from_micros(row.get(8)?),
        last_used_at: time(9)?,
        revoked_at: time(10)?,
    };
    let (hash, mac) = (HashedKey(row.get(11)?), row.get::<_, Mac>(12)?);
    if mac_of(db.keyring(), &key, &hash).ct_eq(&mac).into() { Ok((key, hash)) } else { Err(tampered(TABLE)) }
}
