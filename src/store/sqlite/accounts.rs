//! Accounts.

use rusqlite::{Row, params};

use super::{
    db::{Db, Tx},
    error::{is_constraint, misplaced, of_record, one_changed},
};
use crate::{
    domain::{account::Account, audit::AuditEntry, ids::AccountId, text::Name, time::Timestamp},
    keyring::Mac,
    store::{Listed, Page, StoreError},
};

const TABLE: &str = "account";

struct Kept {
    id: [u8; 16],
    name: String,
    created_at: i64,
    mac: Mac,
}

/// Adds an account; the trail's row is the caller's.
pub(super) fn insert(tx: &Tx<'_>, account: &Account) -> Result<(), StoreError> {
    let mac = tx.keyring().row_mac(
        TABLE,
        &[account.id.as_bytes(), account.name.as_str().as_bytes(), &account.created_at.micros().to_be_bytes()],
    );
    let added = tx.statement("INSERT INTO account (id, name, created_at, mac) VALUES (?, ?, ?, ?)")?.execute(params![
        account.id.as_bytes(),
        account.name.as_str(),
        account.created_at.micros(),
        mac
    ]);
    match added {
        Ok(changed) => one_changed(TABLE, changed),
        Err(error) if is_constraint(&error) => Err(StoreError::Exists("an account of that name")),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn add(tx: &Tx<'_>, account: &Account, entry: &AuditEntry) -> Result<(), StoreError> {
    insert(tx, account)?;
    tx.append(entry)
}

pub(super) fn by_name(db: &Db<'_>, name: &Name) -> Result<Option<Account>, StoreError> {
    let sql = "SELECT id, name, created_at, mac FROM account WHERE name = ?";
    let found = db.first(sql, [name.as_str()], |row| checked(db, row))?;
    if found.as_ref().is_some_and(|account| account.name != *name) { Err(misplaced(TABLE)) } else { Ok(found) }
}

pub(super) fn all(db: &Db<'_>) -> Result<Listed<Account>, StoreError> {
    let every = "SELECT id, name, created_at, mac FROM account ORDER BY created_at, id";
    db.listed(every, [], Page::ALL, |row| checked(db, row))
}

/// Removes an account with its seats and keys, unless it has secrets, live or deleted. The default account stays: the vault
/// names it.
pub(super) fn remove(tx: &Tx<'_>, id: AccountId, entry: &AuditEntry) -> Result<bool, StoreError> {
    let found = tx.first("SELECT 1 FROM account WHERE id = ?", [id.as_bytes()], |_| Ok(()))?;
    if found.is_none() {
        return Ok(false);
    }
    let is_default = tx.first("SELECT 1 FROM vault WHERE default_account = ?", [id.as_bytes()], |_| Ok(()))?;
    if is_default.is_some() {
        return Err(StoreError::InUse("the account that a vault always has"));
    }
    if tx.first("SELECT 1 FROM secret WHERE account = ? LIMIT 1", [id.as_bytes()], |_| Ok(()))?.is_some() {
        return Err(StoreError::InUse("the account"));
    }
    for sql in ["DELETE FROM seat WHERE account = ?", "DELETE FROM api_key WHERE account = ?"] {
        tx.execute(sql, [id.as_bytes()])?;
    }
    tx.change_one(TABLE, "DELETE FROM account WHERE id = ?", [id.as_bytes()])?;
    tx.scrub();
    tx.append(entry)?;
    Ok(true)
}

/// Checks every row.
pub(super) fn examine(db: &Db<'_>) -> Result<Vec<StoreError>, StoreError> {
    let every = "SELECT id, name, created_at, mac FROM account";
    let found = db.all(every, [], |row| Ok(checked(db, row).err()))?;
    Ok(found.into_iter().flatten().collect())
}

fn checked(db: &Db<'_>, row: &Row<'_>) -> Result<Account, StoreError> {
    read(row).and_then(|kept| kept.checked(db)).map_err(|error| of_record(error, TABLE, row, 0))
}

fn read(row: &Row<'_>) -> Result<Kept, StoreError> {
    Ok(Kept { id: row.get(0)?, name: row.get(1)?, created_at: row.get(2)?, mac: row.get(3)? })
}

impl Kept {
    fn checked(self, db: &Db<'_>) -> Result<Account, StoreError> {
        db.check(TABLE, &[&self.id, self.name.as_bytes(), &self.created_at.to_be_bytes()], self.mac)?;
        Ok(Account {
            id: AccountId::new(uuid::Uuid::from_bytes(self.id)),
            name: Name::kept(self.name),
            created_at: Timestamp::from_micros(self.created_at),
        })
    }
}
