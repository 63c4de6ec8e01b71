//! A connection as the tables see it: to read with, and inside a transaction, to write with.

use std::{
    cell::{Cell, RefCell},
    ops::Deref,
};

use rusqlite::{CachedStatement, Connection, Params, Row};
use subtle::ConstantTimeEq as _;

use super::{
    error::{one_changed, tampered},
    memory::{Known, Memory},
    trail,
};
use crate::{
    domain::{
        audit::{AuditEntry, ChainHead},
        ids::SecretId,
        time::Timestamp,
    },
    keyring::{Keyring, Mac},
    store::{Listed, Page, StoreError},
};

/// A connection and the keys that its rows are checked with.
#[derive(Clone, Copy)]
pub(super) struct Db<'c> {
    conn: &'c Connection,
    keyring: &'c Keyring,
}

/// An open transaction.
pub(super) struct Tx<'c> {
    db: Db<'c>,
    memory: RefCell<Memory>,
    /// Adds rows to the trail: kept at hand, since nearly every job of a commit adds one.
    insert: RefCell<Option<CachedStatement<'c>>>,
    must_sync: Cell<bool>,
    scrub: Cell<bool>,
}

impl<'c> Db<'c> {
    pub(super) const fn new(conn: &'c Connection, keyring: &'c Keyring) -> Self {
        Self { conn, keyring }
    }

    pub(super) const fn conn(&self) -> &'c Connection {
        self.conn
    }

    pub(super) const fn keyring(&self) -> &'c Keyring {
        self.keyring
    }

    /// A statement that is kept compiled.
    pub(super) fn statement(&self, sql: &str) -> Result<CachedStatement<'c>, StoreError> {
        Ok(self.conn.prepare_cached(sql)?)
    }

    /// Runs a statement; how many rows it changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        Ok(self.statement(sql)?.execute(params)?)
    }

    /// Runs a statement that must change one row, no more and no less: a table that was changed without the vault's key can
    /// swallow a write and call it done.
    pub(super) fn change_one(&self, table: &'static str, sql: &str, params: impl Params) -> Result<(), StoreError> {
        one_changed(table, self.execute(sql, params)?)
    }

    /// The first row, if there is one.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        first(self.conn, sql, params, read)
    }

    /// Every row.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        all(self.conn, sql, params, read)
    }

    /// A page of sound rows, and the damaged ones on the way. Counted in sound rows, pages that follow one another hold each
    /// of them once.
    pub(super) fn listed<T>(
        &self,
        sql: &str,
        params: impl Params,
        page: Page,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Listed<T>, StoreError> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params)?;
        let most = page.limit.map_or(usize::MAX, |limit| limit as usize);
        let mut skipped = 0;
        let mut listed = Listed { sound: Vec::new(), damaged: Vec::new() };
        while listed.sound.len() < most
            && let Some(row) = rows.next()?
        {
            match read(row) {
                Ok(_) if skipped < page.offset => skipped += 1,
                Ok(record) => listed.sound.push(record),
                Err(error @ StoreError::Damaged { .. }) => listed.damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(listed)
    }

    /// Refuses a row whose keyed hash is not the one it was written with.
    pub(super) fn check(&self, table: &'static str, fields: &[&[u8]], mac: Mac) -> Result<(), StoreError> {
        let right: bool = self.keyring.row_mac(table, fields).ct_eq(&mac).into();
        if right { Ok(()) } else { Err(tampered(table)) }
    }
}

impl<'c> Tx<'c> {
    pub(super) fn new(db: Db<'c>) -> Self {
        Self::with_memory(db, Memory::default())
    }

    /// One that need not read again what it remembers.
    pub(super) fn with_memory(db: Db<'c>, memory: Memory) -> Self {
        let (memory, insert) = (RefCell::new(memory), RefCell::new(None));
        Self { db, memory, insert, must_sync: Cell::new(false), scrub: Cell::new(false) }
    }

    /// What is remembered once it has happened.
    pub(super) fn into_memory(self) -> Memory {
        self.memory.into_inner()
    }

    /// Adds a row to the trail.
    pub(super) fn append(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut insert = self.insert.borrow_mut();
        let insert = match &mut *insert {
            Some(insert) => insert,
            none => none.insert(self.statement(trail::INSERT)?),
        };
        let tail = trail::append(self, insert, self.tail()?, entry)?;
        self.memory.borrow_mut().tail = Some(tail);
        Ok(())
    }

    /// The last row of the trail, or what the chain starts from.
    pub(super) fn tail(&self) -> Result<ChainHead, StoreError> {
        let known = self.memory.borrow().tail;
        known.map_or_else(|| trail::last(self), Ok)
    }

    /// A live secret that is remembered. It is forgotten then, until it is remembered again.
    pub(super) fn recall(&self, id: SecretId) -> Option<Box<Known>> {
        self.memory.borrow_mut().take(id)
    }

    pub(super) fn remember(&self, known: Box<Known>) {
        self.memory.borrow_mut().put(known);
    }

    /// From here on the transaction must be on the disk before anybody is told that it happened.
    pub(super) fn sync(&self) {
        self.must_sync.set(true);
    }

    pub(super) fn must_sync(&self) -> bool {
        self.must_sync.get()
    }

    /// What this transaction removes must not be found in the files once it has happened and nobody reads them.
    pub(super) fn scrub(&self) {
        self.scrub.set(true);
    }

    pub(super) fn must_scrub(&self) -> bool {
        self.scrub.get()
    }
}

impl<'c> Deref for Tx<'c> {
    type Target = Db<'c>;

    fn deref(&self) -> &Db<'c> {
        &self.db
    }
}

/// The first row, if there is one, before there is a key to check it with.
pub(super) fn first<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// Every row, before there is a key to check them with.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// Bytes of an optional number, for a keyed hash: none if there is none.
pub(super) struct Field([u8; 8], usize);

impl Field {
    pub(super) fn time(time: Option<Timestamp>) -> Self {
        Self::number(time.map(Timestamp::micros))
    }

    pub(super) fn number(number: Option<i64>) -> Self {
        number.map_or(Self([0; 8], 0), |number| Self(number.to_be_bytes(), 8))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.get(..self.1).unwrap_or_default()
    }
}
