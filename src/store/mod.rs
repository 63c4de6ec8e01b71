//! What is kept: the contract that every backend obeys, and the way to the backends.
//!
//! A backend keeps records (bytes under a kind and an id) and audit records (bytes in chains), and the indexes that find
//! them. It knows no key, decides nothing and asks neither clock nor dice. Five rules hold for every method. (1) "Not
//! there" is `None` or an empty list, never an error. (2) Something changes in one way alone: the caller reads records
//! with their versions, decides, and [commits](Store::commit) what it decided; if a version has moved meanwhile, nothing
//! is done and the caller decides again. (3) A commit is all or nothing, over all processes. (4) When a commit returns
//! [`Committed::Done`], it survives a killed process, and with [`Durable::Now`] a power cut. (5) Reads never wait for
//! writers.
//!
//! Never: a permission, a key, plaintext, or a protocol. The contract names no page or database, and no file but to open one.

mod audit;
mod open;
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;

pub use audit::{AuditPage, AuditPut, AuditQuery, AuditRecord, AuditTerms, Cursor, Prune, Tail};
pub use open::{Absent, Facts, OpenError, OpenRequest, Opened, Writes, open};
pub use sqlite::{
    files::{create_private_dir, is_within},
    format1,
    ownership::refuse_shared_keys,
};

use crate::domain::ids::AccountId;

/// A store that any thread may use.
pub type SharedStore = Arc<dyn Store>;

/// The longest id of a record, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// Why a store could not do it. For logs: a caller hears `unavailable` or `internal`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached or written right now; nothing was changed.
    #[error("the vault can't be reached or written: {0}")]
    Unavailable(String),
    /// The disk failed while a change was made durable: it may be kept or not.
    #[error("the vault could not make a change durable, so it may or may not be kept: {0}")]
    Unknown(String),
    /// What is kept can't be read as it was written: what is wrong, never contents.
    #[error("the vault is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
}

/// What kind of thing a record is. The number is kept, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// What the vault is, and its wrapped keys.
    Header = 1,
    /// A tenant.
    Account = 2,
    /// A secret's sealed metadata.
    Secret = 3,
    /// A secret's sealed seed.
    Seed = 4,
    /// Which steps of a secret were given and accepted.
    Use = 5,
    /// Codes of the last hour.
    Count = 6,
    /// A person in an account.
    Seat = 7,
    /// What a caller authenticates with.
    ApiKey = 8,
    /// When a key was last used.
    KeyUse = 9,
    /// A registration that may be repeated.
    Idempotency = 10,
    /// Where an audit chain ended when it was last vouched for.
    AuditHead = 11,
    /// What an audit chain starts from.
    AuditBase = 12,
    /// An invitation that waits to be taken.
    Enrolment = 13,
    /// A short-lived token.
    Token = 14,
    /// Steps that count as used after an older vault was accepted.
    Floor = 15,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
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
    ];

    /// The number that is kept.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Which record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// Its kind.
    pub kind: Kind,
    /// Its identity within the kind, at most [`ID_BYTES_MAX`] bytes.
    pub id: Vec<u8>,
}

impl RecordKey {
    /// The record of a kind with an id.
    pub fn new(kind: Kind, id: impl Into<Vec<u8>>) -> Self {
        Self { kind, id: id.into() }
    }
}

/// Which of an account's lists a record stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    /// It exists for callers.
    Live,
    /// A person may still restore it.
    Deleted,
}

/// A record. Whoever can write the store can change every field, so the reader checks `mac`; a field that does not even
/// read as its type comes back empty or zero, and then `mac` is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which one.
    pub key: RecordKey,
    /// 1 for a new one; each replacement is exactly one higher.
    pub version: u64,
    /// The account it belongs to, if it belongs to one.
    pub account: Option<AccountId>,
    /// Lists go by this number, then by id.
    pub sort: i64,
    /// Which lists show it.
    pub life: Life,
    /// Opaque.
    pub body: Vec<u8>,
    /// Opaque.
    pub mac: [u8; 32],
}

/// What finds a record beside its id. No MAC covers it: who finds a record by it checks the record's body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finders {
    /// Names, each unique among the records of one kind and account.
    pub names: Vec<[u8; 32]>,
    /// Words, which others may share.
    pub words: Vec<[u8; 8]>,
}

/// What a replacement does with the finders that a record has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Index {
    /// They stay; a new record has none.
    Keep,
    /// It has these from now on. A record that moves to another account needs them anew.
    Replace(Finders),
}

/// A record to be kept. It carries an expectation of its own: version 1 expects that the record is absent, a higher one
/// that the version before it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The record.
    pub record: Record,
    /// What finds it.
    pub index: Index,
}

/// What must be so for a change to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The record is there with this version.
    Version(RecordKey, u64),
    /// There is no such record.
    Absent(RecordKey),
    /// The record is there.
    Exists(RecordKey),
    /// No record of the kind, live or deleted, is in the account.
    NoneIn(Kind, AccountId),
}

/// What a change removes. What finds a record goes with it; what is not there is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// One record.
    One(RecordKey),
    /// Every record of the kind whose id begins with these bytes.
    Prefix(Kind, Vec<u8>),
}

/// One caller's part of a commit. It happens in this order: `expect`, `remove`, `put`, `prune`, `audit`. At most one `put`
/// for a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// What must be so.
    pub expect: Vec<Expect>,
    /// Records to be kept.
    pub put: Vec<Put>,
    /// Records to be removed.
    pub remove: Vec<Removal>,
    /// Audit records to be added, all in the chain of [`Commit::tail`], one after the other over all changes.
    pub audit: Vec<AuditPut>,
    /// Audit records to be removed.
    pub prune: Option<Prune>,
    /// What it replaces and removes is not to be found in the storage afterwards, as soon as nobody reads it any more.
    pub scrub: bool,
}

/// How durable a commit is before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// It survives a power cut.
    Now,
    /// It survives a killed process; a power cut after the next [`Store::sync`] or commit with [`Durable::Now`].
    Soon,
}

/// Changes that are committed together, in order: all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The changes. A later one sees what an earlier one did.
    pub changes: Vec<Change>,
    /// Where the audit records go on from. Needed if there are any; it must be the chain's last record. A chain without
    /// records takes any.
    pub tail: Option<Tail>,
    /// How durable it is before it is answered.
    pub durable: Durable,
}

/// How a commit ended. But for `Done`, nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It happened.
    Done,
    /// These changes, by number, no longer fit what is kept: it is to be read and decided again.
    Stale {
        /// Which, in order. One that touches the same records as another of them may be missing or be named without need.
        changes: Vec<usize>,
    },
    /// A record of this change would bear a name that another record bears.
    Taken {
        /// Which.
        change: usize,
    },
    /// Somebody else has added audit records: the chain ends here now.
    Moved {
        /// Where.
        tail: Tail,
    },
}

/// Which records a list shows: those that meet every condition, by `sort`, then by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The kind.
    pub kind: Kind,
    /// Those of this account; `None`: of every account and of none.
    pub account: Option<AccountId>,
    /// Those that stand in this list; `None`: in either.
    pub life: Option<Life>,
    /// Those that are found by each of these words.
    pub words: Vec<[u8; 8]>,
    /// Those after this place: the last record of the page before.
    pub after: Option<(i64, Vec<u8>)>,
    /// Those whose `sort` is below this.
    pub before_sort: Option<i64>,
    /// How many are skipped.
    pub offset: u64,
    /// How many at most.
    pub limit: u32,
}

impl List {
    /// The first `limit` live records of a kind.
    pub const fn of(kind: Kind, account: Option<AccountId>, limit: u32) -> Self {
        Self {
            kind,
            account,
            life: Some(Life::Live),
            words: Vec::new(),
            after: None,
            before_sort: None,
            offset: 0,
            limit,
        }
    }
}

/// Everything Countersign keeps. Several processes may hold the same one open.
#[async_trait]
pub trait Store: Send + Sync {
    /// Records by their keys, in their order, all as of one moment.
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StoreError>;

    /// The record of a kind and account that bears a name. Without an account: of those that belong to none.
    async fn find(&self, kind: Kind, account: Option<AccountId>, name: [u8; 32]) -> Result<Option<Record>, StoreError>;

    /// What finds each of some records, in their order; names and words rise. A record that is not there is found by nothing.
    async fn finders(&self, keys: &[RecordKey]) -> Result<Vec<Finders>, StoreError>;

    /// A page of records.
    async fn list(&self, list: &List) -> Result<Vec<Record>, StoreError>;

    /// How many records a list has, whatever its place, offset and limit.
    async fn count(&self, list: &List) -> Result<u64, StoreError>;

    /// Makes changes, all or none. A commit of nothing is done at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing was done. [`StoreError::Unknown`]: it may be kept or not.
    async fn commit(&self, commit: Arc<Commit>) -> Result<Committed, StoreError>;

    /// A page of audit records.
    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError>;

    /// The last record of a chain, if it has any.
    async fn tail(&self, chain: u32) -> Result<Option<Tail>, StoreError>;

    /// The chains that have records, in order.
    async fn chains(&self) -> Result<Vec<u32>, StoreError>;

    /// Makes durable what was committed with [`Durable::Soon`]. It waits for no other writer.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]: what was committed since the last sync may not survive a power cut.
    async fn sync(&self) -> Result<(), StoreError>;

    /// Whether it can be written right now.
    async fn probe(&self) -> Result<(), StoreError>;

    /// How large the write-ahead log is, in bytes, where there is one: that much of what is stored may stand in it alone,
    /// where one damaged page loses all that follows it.
    fn log_bytes(&self) -> u64 {
        0
    }

    /// Checks the structure, not the contents. Empty: sound.
    async fn examine(&self) -> Result<Vec<String>, StoreError>;

    /// Makes everything durable and lets go of it. What comes later is [`StoreError::Unavailable`].
    async fn close(&self) -> Result<(), StoreError>;
}
