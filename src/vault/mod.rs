//! The vault: everything that needs its keys, on top of a store that has none.
//!
//! To change something, a caller reads it ([`Versioned`]), decides, and [commits a draft](Draft). A draft holds what must be
//! unchanged, the new records and the audit rows, and is committed as a whole or not at all. [`Outcome::Stale`] means
//! that another caller was faster: read and decide again. So a decision must have no effect other than the draft.
//!
//! ```text
//! keyring, key, seal, metadata   keys, and what is sealed with them
//! records/, names                the encoding of values in records, their MACs, and their index entries
//! ledger, audit_row, verify      the audit log: chains, anchors, checks, pruning; `knots` bind the chains
//! writer, draft                  changes, many in one commit
//! people, secrets, search, enrolments   reads for the operations
//! authority                      the certificate authority of the guard
//! sessions                       client sessions and messages that the nodes of a vault on a server share
//! open, format1, state, sources/ from an address and a key to an open vault
//! slots, slot_rotation           the ways to open it: listed, added, removed, given a new key
//! root, rotation, renewal        the root key and what it wraps; new keys; keys that another process has changed
//! examine, examine_terms         the examination of every record and row
//! backup, restore                a checked copy of a vault that is in use, and the way back
//! relocate, copy                 a vault that is moved to another place, record by record
//! repair, mend, mend_secrets     a damaged vault built anew from what is sound in it and in a backup
//! ```
//!
//! Never here: a permission, a clock (times are arguments), a protocol, or a way to turn a key into text.

mod archive;
mod audit_row;
mod authority;
mod backup;
mod batch_delay;
mod copy;
mod creation;
mod draft;
mod enrolments;
mod erasing;
mod examine;
mod examine_terms;
mod format1;
mod job;
mod key;
mod keyring;
mod knots;
mod ledger;
mod mend;
mod mend_secrets;
mod metadata;
mod names;
mod open;
mod open_error;
mod people;
mod records;
mod relocate;
mod renewal;
mod repair;
mod repair_server;
mod restore;
mod root;
mod rotation;
mod seal;
mod search;
mod secrets;
mod seeds;
mod sessions;
mod slot_rotation;
mod slots;
mod sources;
mod state;
mod tokens;
mod verify;
mod walk;
mod writer;

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub use self::{
    archive::{Archive, ArchiveCheck, ArchiveReport, Archived, StoredRow},
    authority::KeptAuthority,
    backup::BackedUp,
    draft::{Draft, Outcome},
    enrolments::{Derived, PinMemory},
    erasing::Erased,
    examine::Examined,
    keyring::Mac,
    knots::Ties,
    ledger::{AuditAsk, AuditRows},
    open::{VaultRequest, VaultStatus, accept_loss, open},
    open_error::OpenError,
    records::{KeptKey, Repeat, Stored},
    relocate::{Relocated, Relocation, Stage, Travel, relocation},
    repair::{Act, Mended, Repaired, repair},
    restore::{Restored, restore},
    root::UnlockError,
    rotation::{Resealed, Rotation},
    seal::OpenSealError,
    search::SearchPage,
    secrets::{InUse, NewSecret},
    seeds::SeedHashes,
    slots::{SlotError, VaultKey, Ways},
    sources::{
        KeyError, KeyFileError, NewKey, Passphrase, RecoveryError, RecoveryWords, Source, hand_over, handed,
        read_private,
    },
    verify::{AuditReport, Finding},
};
pub use crate::store::{
    Circumstance, Life, OpenRequest, Paced, RecordKey, ServerClock, StoreError, Surroundings, Writes,
};

use self::{keyring::Keyring, writer::Writer};
use crate::{
    domain::{
        api_key::{HashedKey, PlainKey},
        ids::{AccountId, SecretId},
        rate::Rate,
        totp::Step,
    },
    random::{NoRandomness, SharedRandom},
    store::{Kind, List, Record, SharedStore, Store},
};

/// The number of records that are read at a time when all are requested.
const CHUNK: u32 = 1000;

/// An open vault. Cheap to clone; several processes may have the same one open.
#[derive(Clone)]
pub struct Vault {
    core: Arc<Core>,
}

struct Core {
    store: SharedStore,
    keyring: Arc<Keyring>,
    random: SharedRandom,
    writer: Arc<Writer>,
    status: VaultStatus,
    /// The request with which the store was opened.
    place: OpenRequest,
    /// The source of the key, if it can give the key again: for a new root key.
    source: Option<Source>,
    /// Locked while the keys of a changed header are taken over; holds the last header for which that failed.
    renewal: tokio::sync::Mutex<Option<renewal::Refused>>,
    /// Whether every commit is durable when it returns.
    strict: AtomicBool,
}

/// A value that was read, with its record: a change is committed only if the record is unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    record: Record,
}

impl<T> Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A page of a list. Damaged records are listed separately and don't hide others.
#[derive(Debug)]
pub struct Listed<T> {
    /// The sound values, in order.
    pub sound: Vec<T>,
    /// The damaged records, each with its error.
    pub damaged: Vec<(RecordKey, StoreError)>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { sound: Vec::new(), damaged: Vec::new() }
    }
}

/// Which page of a list to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The number of records to skip.
    pub offset: u64,
    /// The most records to return; `None`: all.
    pub limit: Option<u32>,
}

impl Page {
    /// The whole list.
    pub const ALL: Self = Self { offset: 0, limit: None };
}

/// The rest of a list that is read part by part, so that no more than a part of it stands in memory.
#[derive(Debug, Clone)]
pub struct ListRest(List);

impl ListRest {
    fn of(kind: Kind, account: AccountId, offset: u64) -> Self {
        Self(List { offset, ..List::of(kind, Some(account), CHUNK) })
    }

    /// The secrets of an account, oldest first, without the first `offset`.
    pub fn of_secrets(account: AccountId, offset: u64) -> Self {
        Self::of(Kind::Secret, account, offset)
    }

    /// The seats of an account, oldest first, without the first `offset`.
    pub fn of_seats(account: AccountId, offset: u64) -> Self {
        Self::of(Kind::Seat, account, offset)
    }
}

impl From<NoRandomness> for StoreError {
    fn from(cause: NoRandomness) -> Self {
        Self::Unavailable(cause.to_string())
    }
}

impl Vault {
    /// The facts that `vault status` prints.
    pub fn status(&self) -> &VaultStatus {
        &self.core.status
    }

    /// Makes every commit from now on survive a power cut when it returns, even one that hands out a code again.
    pub fn sync_every_commit(&self) {
        self.core.strict.store(true, Ordering::Relaxed);
    }

    /// The stored hash of an API key.
    pub fn hash_key(&self, key: &PlainKey) -> HashedKey {
        self.core.keyring.hash_key(key)
    }

    /// A keyed hash of caller input, to recognise it again without storing it.
    pub fn fingerprint(&self, purpose: &'static str, fields: &[&[u8]]) -> Mac {
        self.core.keyring.fingerprint(purpose, fields)
    }

    /// A keyed hash of a code, to answer later whether the code came from this vault.
    pub fn code_tag(&self, secret: SecretId, step: Step, digits: &str) -> [u8; 16] {
        self.core.keyring.code_tag(secret, step, digits)
    }

    /// Whether the vault can be written right now.
    ///
    /// # Errors
    /// [`StoreError`], if it can't be written.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.retry_renewal().await?;
        self.core.store.probe().await
    }

    /// The size of the store's write-ahead log in bytes: this much data may be in the log alone.
    pub fn log_bytes(&self) -> u64 {
        self.core.store.log_bytes()
    }

    /// The circumstances of the store that an operator should know.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn surroundings(&self) -> Result<Surroundings, StoreError> {
        self.core.store.surroundings().await
    }

    /// The clock of the server that the vault is on, as it was read with one of the last reads.
    pub fn clock(&self) -> Option<ServerClock> {
        self.core.store.clock()
    }

    /// Counts a call of a bucket, if it is within a rate over all machines that share the vault.
    ///
    /// # Errors
    /// [`StoreError`]: the call may or may not be counted.
    pub async fn pace(&self, bucket: [u8; 16], rate: Rate) -> Result<Paced, StoreError> {
        self.core.store.pace(bucket, rate).await
    }

    /// Makes all commits so far durable.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sync(&self) -> Result<(), StoreError> {
        self.core.store.sync().await
    }

    /// Commits the queued changes, makes everything durable and closes the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn close(&self) -> Result<(), StoreError> {
        let written = self.core.writer.close().await;
        let closed = self.core.store.close().await;
        written.and(closed)
    }

    fn store(&self) -> &dyn Store {
        self.core.store.as_ref()
    }

    /// Whether the system keeps the vault's keys out of swap.
    pub fn keys_are_locked(&self) -> bool {
        self.keyring().is_locked()
    }

    fn keyring(&self) -> &Keyring {
        &self.core.keyring
    }

    /// One value by its record's id.
    async fn one<T: Stored>(&self, id: impl Into<Vec<u8>>) -> Result<Option<Versioned<T>>, StoreError> {
        let key = RecordKey::new(T::KIND, id);
        let found = self.store().read_one(&key).await?;
        found.map(|record| self.kept(&key, record)).transpose()
    }

    /// Reads a record that was looked up by key. A damaged index could return another record that is sound in itself.
    fn kept<T: Stored>(&self, key: &RecordKey, record: Record) -> Result<Versioned<T>, StoreError> {
        if record.key != *key {
            return Err(records::damaged(key, "another record stands in its place"));
        }
        Ok(Versioned { value: self.keyring().open_record(&record)?, record })
    }

    /// Every record of a kind, whatever its account, unchecked. For kinds with few records.
    async fn records(&self, kind: Kind) -> Result<Vec<Record>, StoreError> {
        self.page_of(List { life: None, ..List::of(kind, None, CHUNK) }, Page::ALL).await
    }

    /// The records of a page, unchecked; in chunks if all are wanted.
    async fn page_of(&self, mut list: List, page: Page) -> Result<Vec<Record>, StoreError> {
        list.offset = page.offset;
        if let Some(limit) = page.limit {
            list.limit = limit;
            return self.store().list(&list).await;
        }
        // Records found by words are sorted each time that they are read, so they are read at once.
        list.limit = if list.words.is_empty() { CHUNK } else { u32::MAX };
        let mut all = Vec::new();
        while let Some(chunk) = self.next_chunk(&mut list).await? {
            all.extend(chunk);
        }
        Ok(all)
    }

    /// The next records of a list, which then continues after them. `None`: there are no more.
    async fn next_chunk(&self, list: &mut List) -> Result<Option<Vec<Record>>, StoreError> {
        let chunk = self.store().list(list).await?;
        let Some(end) = chunk.last() else { return Ok(None) };
        (list.after, list.offset) = (Some((end.sort, end.key.id.clone())), 0);
        Ok(Some(chunk))
    }

    /// The next part of a list, and the rest after it, if there may be more.
    async fn next_part(&self, ListRest(mut list): ListRest) -> Result<(Vec<Record>, Option<ListRest>), StoreError> {
        let chunk = self.next_chunk(&mut list).await?.unwrap_or_default();
        let rest = (chunk.len() == list.limit as usize).then_some(ListRest(list));
        Ok((chunk, rest))
    }

    /// A page of values.
    async fn listed<T: Stored>(&self, list: List, page: Page) -> Result<Listed<Versioned<T>>, StoreError> {
        Ok(self.read_all(self.page_of(list, page).await?))
    }

    fn read_all<T: Stored>(&self, records: Vec<Record>) -> Listed<Versioned<T>> {
        let mut listed = Listed::default();
        for record in records {
            match self.keyring().open_record(&record) {
                Ok(value) => listed.sound.push(Versioned { value, record }),
                Err(cause) => listed.damaged.push((record.key, cause)),
            }
        }
        listed
    }
}

/// Reads bytes as parts of a vault, for a fuzzer.
#[cfg(fuzzing)]
pub fn fuzz_stored(bytes: &[u8]) {
    let _ = (audit_row::decode(bytes), metadata::decode(bytes));
    records::fuzz(bytes);
}
