//! Storage: the contract that every backend obeys, and how to open a backend.
//!
//! A backend keeps records (bytes under a kind and an id) and audit records (bytes in chains), and indexes over both.
//! It knows no key, decides nothing and reads neither the clock nor the random number generator. Five rules hold for
//! every method. (1) A missing record is `None` or an empty list, never an error. (2) There is only one way to change
//! something: the caller reads records with their versions, decides, and [commits](Store::commit); if a version has
//! changed meanwhile, the commit does nothing and the caller decides again. (3) A commit is all or nothing, over all
//! processes. (4) When a commit returns [`Committed::Done`], it survives a killed process, and with [`Durable::Now`] a
//! power cut. (5) Reads never wait for writers.
//!
//! A store never deals with permissions, keys, plaintext or protocols. The contract names no page or database.

mod audit;
mod error;
mod filling;
mod list;
mod open;
mod places;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(not(feature = "postgres"))]
#[path = "postgres/absent.rs"]
mod postgres;
mod sqlite;
mod surroundings;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use audit::{AuditPage, AuditPut, AuditQuery, AuditRecord, AuditTerms, Cursor, Prune, Tail};
pub use error::StoreError;
pub use filling::{Filling, replacing, scratch, unfinished, vacant, workpiece};
pub use list::List;
pub use open::{
    Absent, Facts, OpenError, OpenRequest, Opened, Writes, folder_of, incoming, open, salvage, snapshot, still,
};
pub use sqlite::{
    files::{create_private_dir, is_within, rename_new, sync_folder},
    format1,
    incoming::{Cleared, Incoming, Placed},
    ownership::{refuse_shared_folder, refuse_shared_keys},
    salvage::{Copied, Salvage},
    snapshot::Snapshot,
};
pub use surroundings::{Circumstance, ServerClock, Surroundings};

use crate::domain::{ids::AccountId, rate::Rate};

/// A store that any thread may use.
pub type SharedStore = Arc<dyn Store>;

/// The longest id of a record, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// The kind of a record. Its number is stored, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The vault's identity and its wrapped keys.
    Header = 1,
    /// A tenant.
    Account = 2,
    /// A secret's sealed metadata.
    Secret = 3,
    /// A secret's sealed seed.
    Seed = 4,
    /// The marks of a secret's steps: given, taken and accepted.
    Use = 5,
    /// Codes of the last hour.
    Count = 6,
    /// A person in an account.
    Seat = 7,
    /// A credential of a caller.
    ApiKey = 8,
    /// When a key was last used.
    KeyUse = 9,
    /// A registration that may be repeated.
    Idempotency = 10,
    /// The end of an audit chain as of the last durable commit.
    AuditHead = 11,
    /// The row after which an audit chain starts.
    AuditBase = 12,
    /// A request that a person add a secret.
    Enrolment = 13,
    /// A short-lived token.
    Token = 14,
    /// The steps that count as used after an older vault was accepted.
    Floor = 15,
    /// The PIN by which the person of a seat proves their identity on a page.
    SeatPin = 16,
    /// A session of a handshake client that any node may serve.
    Session = 17,
    /// A message for a session whose stream is in another node.
    Letter = 18,
    /// The certificate authority of an account's guard, sealed.
    Authority = 19,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::Header,
        Self::Account,
        Self::Secret,
        Self::Seed,
        Self::Use,
        Self::Count,
        Self::Seat,
        Self::ApiKey,
        Self::KeyUse,
        Self::Idempotency,
        Self::AuditHead,
        Self::AuditBase,
        Self::Enrolment,
        Self::Token,
        Self::Floor,
        Self::SeatPin,
        Self::Session,
        Self::Letter,
        Self::Authority,
    ];

    /// The stored number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// The key of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// Its kind.
    pub kind: Kind,
    /// Its identity within the kind, at most [`ID_BYTES_MAX`] bytes.
    pub id: Vec<u8>,
}

impl RecordKey {
    /// The key of a record of this kind with this id.
    pub fn new(kind: Kind, id: impl Into<Vec<u8>>) -> Self {
        Self { kind, id: id.into() }
    }
}

/// The list of an account in which a record appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    /// Callers see it.
    Live,
    /// A person may still restore it.
    Deleted,
}

/// A record. An attacker who can write the store can change every field, so the reader checks `mac`; a field that can't
/// be read as its type is returned empty or zero, and then `mac` is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its kind and id.
    pub key: RecordKey,
    /// 1 for a new record; each replacement is exactly one higher.
    pub version: u64,
    /// The account it belongs to, if any.
    pub account: Option<AccountId>,
    /// Lists are sorted by this number, then by id.
    pub sort: i64,
    /// In which list it appears.
    pub life: Life,
    /// Opaque.
    pub body: Vec<u8>,
    /// Opaque.
    pub mac: [u8; 32],
}

/// The index entries of a record, besides its id. No MAC covers them: a reader that finds a record by one must check the
/// record's body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finders {
    /// Names, unique among the records of one kind and account.
    pub names: Vec<[u8; 32]>,
    /// Words, not unique.
    pub words: Vec<[u8; 8]>,
}

/// The treatment of a record's index entries when it is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Index {
    /// Keep them; a new record has none.
    Keep,
    /// Replace them. A record that moves to another account needs new ones.
    Replace(Finders),
}

/// A record to store. It implies an expectation: version 1 expects that the record is absent, a higher version that the
/// one before it is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The record.
    pub record: Record,
    /// Its index entries.
    pub index: Index,
}

/// A condition of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The record exists with this version.
    Version(RecordKey, u64),
    /// The record does not exist.
    Absent(RecordKey),
    /// The record exists.
    Exists(RecordKey),
    /// No record of the kind, live or deleted, is in the account.
    NoneIn(Kind, AccountId),
}

/// Records to remove, with their index entries. Removing a missing record is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// One record.
    One(RecordKey),
    /// Every record of the kind whose id begins with these bytes.
    Prefix(Kind, Vec<u8>),
}

/// One caller's part of a commit. It is carried out in this order: `expect`, `remove`, `put`, `prune`, `audit`. A
/// record has at most one `put`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Conditions.
    pub expect: Vec<Expect>,
    /// Records to store.
    pub put: Vec<Put>,
    /// Records to remove.
    pub remove: Vec<Removal>,
    /// Audit records to add, all in the chain of [`Commit::tail`], with consecutive numbers over all changes.
    pub audit: Vec<AuditPut>,
    /// Audit records to remove.
    pub prune: Option<Prune>,
    /// Whether replaced and removed data must disappear from the storage, once no reader uses it any more.
    pub scrub: bool,
}

/// How durable a commit is when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// It survives a power cut.
    Now,
    /// It survives a killed process; after the next [`Store::sync`] or commit with [`Durable::Now`] also a power cut.
    Soon,
}

/// Changes that are committed together, in order: all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The changes. Each sees the effects of those before it.
    pub changes: Vec<Change>,
    /// The chain's last record, to which the audit records are added. Needed if there are any. A chain without records
    /// accepts any.
    pub tail: Option<Tail>,
    /// How durable the commit is when it returns.
    pub durable: Durable,
}

/// The result of a commit. Except for `Done`, nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// Everything was committed.
    Done,
    /// Changes that no longer fit the stored versions: read and decide again.
    Stale {
        /// Their numbers, in order. If two changes touch the same records, one may be missing here or be listed without
        /// need.
        changes: Vec<usize>,
    },
    /// Changes with a record that has a name which another record already has.
    Taken {
        /// Their numbers, in order: at least the first one, and none that would fit without the others.
        changes: Vec<usize>,
    },
    /// Another writer has added audit records.
    Moved {
        /// The chain's new end.
        tail: Tail,
    },
}

/// The outcome of counting a call against a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paced {
    /// The call is within its rate, and is counted.
    Counted,
    /// The call is too early by this duration, and is not counted.
    Early(Duration),
    /// Nothing is counted here: the store is on this machine, where each process counts for itself.
    Alone,
}

/// The storage of a vault. Several processes may have the same one open.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads records by their keys, in the order of the keys, all as of one moment.
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StoreError>;

    /// The record of a kind and account with a name. `None` as the account: among the records that belong to none.
    async fn find(&self, kind: Kind, account: Option<AccountId>, name: [u8; 32]) -> Result<Option<Record>, StoreError>;

    /// The index entries of records, in the order of the keys; names and words are sorted. A missing record has none.
    async fn finders(&self, keys: &[RecordKey]) -> Result<Vec<Finders>, StoreError>;

    /// A page of records.
    async fn list(&self, list: &List) -> Result<Vec<Record>, StoreError>;

    /// The number of records in a list, ignoring its place, offset and limit.
    async fn count(&self, list: &List) -> Result<u64, StoreError>;

    /// Makes changes, all or none. A commit without changes returns at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing was changed. [`StoreError::Unknown`]: it may or may not be stored.
    async fn commit(&self, commit: Arc<Commit>) -> Result<Committed, StoreError>;

    /// A page of audit records.
    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError>;

    /// The last record of a chain, if there is one.
    async fn tail(&self, chain: u32) -> Result<Option<Tail>, StoreError>;

    /// The chains that have records, in order.
    async fn chains(&self) -> Result<Vec<u32>, StoreError>;

    /// The chain that this process writes. Where several machines write at the same time, each has its own.
    async fn own_chain(&self) -> Result<u32, StoreError> {
        Ok(0)
    }

    /// Makes commits with [`Durable::Soon`] durable. It does not wait for other writers.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]: commits since the last sync may not survive a power cut.
    async fn sync(&self) -> Result<(), StoreError>;

    /// Checks that the store can be written right now, or soon enough that calls wait for it.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Bytes in the write-ahead log, if there is one. Data may be in the log alone, where one damaged page loses
    /// everything after it.
    fn log_bytes(&self) -> u64 {
        0
    }

    /// Facts for an operator about the place of the store: none, unless other machines are involved.
    async fn surroundings(&self) -> Result<Surroundings, StoreError> {
        Ok(Surroundings::default())
    }

    /// The clock of the server that the store is on, as it was read with one of the last reads.
    fn clock(&self) -> Option<ServerClock> {
        None
    }

    /// Counts a call of a bucket, if it is within a rate over all processes on all machines, by the store's clock. A server
    /// that fails may forget the calls of its last second.
    async fn pace(&self, _bucket: [u8; 16], _rate: Rate) -> Result<Paced, StoreError> {
        Ok(Paced::Alone)
    }

    /// Keeps every process, this one too, from committing, until the store is closed or [retired](Self::retire). Reads go on.
    async fn hold(&self) -> Result<(), StoreError>;

    /// Ends the store, which is [held](Self::hold), for good: no process reads or writes it any more, not even one that
    /// has it open, and [`open()`] reports that the vault is now at `to`. If the error is [`StoreError::Unknown`], the
    /// store may have ended.
    async fn retire(&self, to: &str) -> Result<(), StoreError>;

    /// Checks the structure, not the contents. Returns the findings, none if the structure is sound.
    async fn examine(&self) -> Result<Vec<String>, StoreError>;

    /// Makes everything durable and closes the store. Later calls are [`StoreError::Unavailable`].
    async fn close(&self) -> Result<(), StoreError>;
}

impl dyn Store + '_ {
    /// One record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_one(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        Ok(self.read(std::slice::from_ref(key)).await?.into_iter().flatten().next())
    }
}
