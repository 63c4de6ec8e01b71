//! What the vault is: its identity, its age and its wrapped keys, all under one keyed hash.

use rusqlite::{Connection, params};

use super::{
    db::{self, Db, Tx},
    error::damaged,
};
use crate::{
    domain::{
        ids::{AccountId, VaultId},
        time::Timestamp,
    },
    keyring::{Header, Keyring, Mac, Slot, WrappedEpoch},
    store::StoreError,
};

const TABLE: &str = "vault";

/// The header as it is kept.
pub(super) struct Kept {
    pub(super) header: Header,
    pub(super) created_at: Timestamp,
    pub(super) default_account: AccountId,
    mac: Mac,
}

/// Reads the header. Nothing of it is trusted before [`Kept::check`].
pub(super) fn read(conn: &Connection) -> Result<Kept, StoreError> {
    let slots = db::all(conn, "SELECT number, kind, \"check\", wrapped FROM key_slot ORDER BY number", [], |row| {
        Ok(Slot { number: row.get(0)?, kind: row.get(1)?, check: row.get(2)?, wrapped: row.get(3)? })
    })?;
    let epochs = db::all(conn, "SELECT epoch, \"check\", wrapped FROM data_key ORDER BY epoch", [], |row| {
        Ok(WrappedEpoch { epoch: row.get(0)?, check: row.get(1)?, wrapped: row.get(2)? })
    })?;
    let sql = "SELECT vault_id, created_at, default_account, active_epoch, bundle, mac FROM vault";
    let kept = db::first(conn, sql, [], |row| {
        Ok(Kept {
            header: Header {
                vault: VaultId::new(uuid::Uuid::from_bytes(row.get(0)?)),
                slots,
                epochs,
                active_epoch: row.get(3)?,
                bundle: row.get(4)?,
            },
            created_at: Timestamp::from_micros(row.get(1)?),
            default_account: AccountId::new(uuid::Uuid::from_bytes(row.get(2)?)),
            mac: row.get(5)?,
        })
    })?;
    kept.ok_or_else(|| damaged(TABLE, "it is not there"))
}

/// Writes the header of a new vault.
pub(super) fn insert(
    tx: &Tx<'_>,
    header: &Header,
    created_at: Timestamp,
    default_account: AccountId,
    format: u32,
) -> Result<(), StoreError> {
    for slot in &header.slots {
        let values = params![slot.number, slot.kind, slot.check, slot.wrapped];
        tx.execute("INSERT INTO key_slot (number, kind, \"check\", wrapped) VALUES (?, ?, ?, ?)", values)?;
    }
    for epoch in &header.epochs {
        let values = params![epoch.epoch, epoch.check, epoch.wrapped];
        tx.execute("INSERT INTO data_key (epoch, \"check\", wrapped) VALUES (?, ?, ?)", values)?;
    }
    tx.execute(
        "INSERT INTO vault (one, vault_id, created_at, default_account, active_epoch, bundle, mac) \
         VALUES (1, ?, ?, ?, ?, ?, ?)",
        params![
            header.vault.as_bytes(),
            created_at.micros(),
            default_account.as_bytes(),
            header.active_epoch,
            header.bundle,
            with_fields(header, created_at, default_account, format, |fields| tx.keyring().row_mac(TABLE, fields)),
        ],
    )?;
    Ok(())
}

impl Kept {
    /// Refuses a header that was changed without the vault's key. `format` is the database's own.
    pub(super) fn check(&self, db: &Db<'_>, format: u32) -> Result<(), StoreError> {
        with_fields(&self.header, self.created_at, self.default_account, format, |fields| {
            db.check(TABLE, fields, self.mac)
        })
    }

    /// Vouches for the same header in another format: what a migration ends with.
    pub(super) fn put_mac(&self, tx: &Tx<'_>, format: u32) -> Result<(), StoreError> {
        let mac = with_fields(&self.header, self.created_at, self.default_account, format, |fields| {
            Keyring::row_mac(tx.keyring(), TABLE, fields)
        });
        tx.change_one(TABLE, "UPDATE vault SET mac = ?", [mac])
    }
}

fn with_fields<T>(
    header: &Header,
    created_at: Timestamp,
    default_account: AccountId,
    format: u32,
    then: impl FnOnce(&[&[u8]]) -> T,
) -> T {
    let numbers = [format, u32::try_from(header.slots.len()).unwrap_or(u32::MAX), header.active_epoch];
    let numbers: Vec<[u8; 4]> = numbers.into_iter().map(u32::to_be_bytes).collect();
    let created_at = created_at.micros().to_be_bytes();
    let epochs: Vec<[u8; 4]> = header.epochs.iter().map(|kept| kept.epoch.to_be_bytes()).collect();
    let mut fields: Vec<&[u8]> = numbers.iter().map(<[u8; 4]>::as_slice).collect();
    fields.extend([header.vault.as_bytes().as_slice(), &created_at, default_account.as_bytes(), &header.bundle]);
    for slot in &header.slots {
        fields.extend([std::slice::from_ref(&slot.number), slot.kind.as_bytes(), &slot.check, &slot.wrapped]);
    }
    for (kept, number) in header.epochs.iter().zip(&epochs) {
        fields.extend([number.as_slice(), &kept.check, &kept.wrapped]);
    }
    then(&fields)
}
