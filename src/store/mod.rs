//! What is kept: the contract that every backend obeys, and the door to the backends.
//!
//! Six rules hold for every method. (1) "Not there" is `Ok(None)` or `Ok(false)`, never an error. (2) Time and ids come
//! in as arguments; a backend asks no clock and no dice. (3) What changes or reveals something takes the [`AuditEntry`]
//! and writes it in the same transaction: if the row can't be kept, nothing happened. (4) An account that does not match
//! is "not there". (5) One method is one transaction as its caller sees it; a backend may commit several together.
//! (6) When a method returns `Ok`, what it changed survives a killed process and a power cut; a [`Verdict`] without a new
//! state, the former at once and the latter within 250 ms.
//!
//! Never: a permission, a seed or a label in clear, a protocol, or SQL outside a backend.

mod open;
mod sqlite;

use std::{cell::OnceCell, sync::Arc};

use async_trait::async_trait;

pub use open::{Made, OpenError, OpenRequest, Opened, VaultStatus, Writes, open, open_existing};

use crate::domain::{
    account::Account,
    api_key::{ApiKey, HashedKey, KeyId},
    audit::{AuditEntry, AuditFilter, AuditRow, ChainHead},
    hourly::HourlyCount,
    ids::{AccountId, SeatId, SecretId},
    seat::{Seat, SeatName},
    secret::CodeTerms,
    steps::StepMarks,
    text::{Email, Name},
    time::Timestamp,
    verification::VerifyMarks,
};

/// A store that any thread may use.
pub type SharedStore = Arc<dyn Store>;

/// Why a store could not do it. For logs: a caller hears `unavailable` or `internal`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached or written right now; nothing was changed.
    #[error("the vault can't be reached or written: {0}")]
    Unavailable(String),
    /// A record does not read as it was written: which one, and what is wrong with it, never its contents.
    #[error("a record of {table} is damaged: {what}")]
    Damaged {
        /// The kind of record.
        table: &'static str,
        /// What is wrong.
        what: String,
    },
    /// Two records would bear the same unique name.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// The account that a record belongs to is not there any more.
    #[error("the account is not there any more")]
    NoAccount,
    /// It is not empty, so it can't be removed.
    #[error("{0} is in use")]
    InUse(&'static str),
}

/// A secret as it is kept: two sealed blobs and what a list is ordered by. `seed` is empty in lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Its identity.
    pub id: SecretId,
    /// The account it belongs to.
    pub account: AccountId,
    /// Which writing of it this is, from 1; bound into both seals.
    pub version: u32,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
    /// When a new code of it was last handed out.
    pub last_used_at: Option<Timestamp>,
    /// Its sealed metadata.
    pub metadata: Vec<u8>,
    /// Its sealed seed.
    pub seed: Vec<u8>,
}

/// What a registration that may be repeated is remembered by: a keyed hash of the caller's `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    /// The keyed hash of account and key.
    pub key: [u8; 32],
    /// The keyed hash of the request, so that another request with the same key is noticed.
    pub request: [u8; 32],
    /// Repeats since then get the first answer.
    pub since: Timestamp,
}

/// How an addition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was added.
    New,
    /// The same request had added this secret before.
    Repeat(SecretId),
    /// Another request had used the same `Idempotency-Key`.
    Conflict,
}

/// The keys of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// Those that read as they were written, oldest first, revoked ones among them.
    pub sound: Vec<ApiKey>,
    /// Those that were changed without the vault's key, and let nobody in. `None`: not even its id can be read.
    pub damaged: Vec<Option<KeyId>>,
}

/// Records of a list.
#[derive(Debug)]
pub struct Listed<T> {
    /// Those that read as they were written, in order.
    pub sound: Vec<T>,
    /// What is wrong with those that the list came by and that do not: [`StoreError::Damaged`], each. They hide no others.
    pub damaged: Vec<StoreError>,
}

/// What the row of a secret, which may be damaged, says it is. `None`: that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UncheckedId {
    /// The account it belongs to.
    pub account: Option<AccountId>,
    /// Its identity.
    pub id: Option<SecretId>,
}

/// Which secrets a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Those that exist for callers.
    Live,
    /// Those that a person may still restore.
    Deleted,
}

/// What is kept about the use of one secret, in clear: numbers of steps, never codes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UseState {
    /// Which steps were handed out and reserved.
    pub steps: StepMarks,
    /// Which steps were accepted, and what wrong tries cost.
    pub verify: VerifyMarks,
    /// When a new code was last handed out.
    pub last_used_at: Option<Timestamp>,
}

/// Whose codes are counted: a key's or a seat's, per secret, over the last hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A key.
    Key(KeyId),
    /// A seat.
    Seat(SeatId),
}

/// What a decision is made from.
pub struct InUse<'a> {
    /// The secret, with both blobs.
    pub secret: &'a SealedSecret,
    /// Its state of use.
    pub state: &'a UseState,
    /// Codes given in the last hour, for each counted holder, in their order.
    pub counts: &'a [HourlyCount],
    /// What an earlier decision has found out of this secret's terms, as long as its metadata is the same: to be filled.
    pub terms: &'a OnceCell<CodeTerms>,
}

/// What was decided.
pub struct Verdict {
    /// The new state; `None` leaves it, and then the commit need not be durable at once.
    pub state: Option<UseState>,
    /// The row for the trail; `None` only for what reveals and changes nothing.
    pub entry: Option<AuditEntry>,
    /// Whether this was a code given, to be counted for the holders.
    pub counted: bool,
    /// Until then, another such use of this secret would leave the state as it is. A hint for the backend: it lets a
    /// repeated read of a code already handed out do without a sync of its own.
    pub repeats_until: Option<Timestamp>,
}

/// Decides on one use of a secret from what is kept about it. It may be called again if the backend has to start over,
/// so it must not act, only decide; what it decides last is what happened.
pub type Decide = Box<dyn FnMut(InUse<'_>) -> Verdict + Send>;

/// One use of a secret.
pub struct SecretUse {
    /// The caller's account.
    pub account: AccountId,
    /// The secret.
    pub secret: SecretId,
    /// Now.
    pub now: Timestamp,
    /// Whose codes to count.
    pub counted: Vec<Holder>,
    /// The decision.
    pub decide: Decide,
}

/// How a change of a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It was changed.
    Yes,
    /// There is no such record.
    NotThere,
    /// Somebody changed it in between: read it again.
    Stale,
}

/// What a page of a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Sound rows to skip.
    pub offset: u64,
    /// Sound rows to return at most; `None`: all.
    pub limit: Option<u32>,
}

impl Page {
    /// The whole list.
    pub const ALL: Self = Self { offset: 0, limit: None };
}

/// Everything Countersign keeps. Object-safe; several processes may hold the same one open.
#[async_trait]
pub trait Store: Send + Sync {
    // ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────
    /// Adds a secret with an empty state of use.
    async fn add_secret(
        &self,
        secret: SealedSecret,
        repeat: Option<Idempotency>,
        entry: AuditEntry,
    ) -> Result<Added, StoreError>;
    /// One live or deleted secret, with both blobs.
    async fn secret(&self, account: AccountId, id: SecretId) -> Result<Option<SealedSecret>, StoreError>;
    /// The secrets of an account, oldest first, without seeds.
    async fn secrets(&self, account: AccountId, life: Life) -> Result<Vec<SealedSecret>, StoreError>;
    /// Replaces both blobs of a live secret, if its version is still the one before `secret.version`.
    async fn change_secret(&self, secret: SealedSecret, entry: AuditEntry) -> Result<Changed, StoreError>;
    /// Deletes a live secret: gone for callers, kept for a person.
    async fn delete_secret(&self, account: AccountId, id: SecretId, entry: AuditEntry) -> Result<bool, StoreError>;
    /// Brings a secret back that was deleted since a time, with its marks.
    async fn restore_secret(
        &self,
        account: AccountId,
        id: SecretId,
        since: Timestamp,
        entry: AuditEntry,
    ) -> Result<bool, StoreError>;
    /// Erases a live or deleted secret and all that is kept with it, for good.
    async fn erase_secret(&self, account: AccountId, id: SecretId, entry: AuditEntry) -> Result<bool, StoreError>;
    /// Erases every secret deleted before a time, with a row for each like `entry`. Returns how many. Damaged ones stay.
    async fn erase_deleted_before(&self, before: Timestamp, entry: AuditEntry) -> Result<u64, StoreError>;
    /// Reads a live secret and its state, decides, and keeps the decision: one atomic step over all processes.
    /// `false` if there is no such secret; nothing is written then.
    async fn use_secret(self: Arc<Self>, request: SecretUse) -> Result<bool, StoreError>;

    // ── seats ────────────────────────────────────────────────────────────────────────────────────────────────────────
    /// Adds a seat. [`StoreError::Exists`] if its e-mail or subject is taken in the account.
    async fn add_seat(&self, seat: Seat, entry: AuditEntry) -> Result<(), StoreError>;
    /// One seat.
    async fn seat(&self, account: AccountId, name: SeatName) -> Result<Option<Seat>, StoreError>;
    /// The seats of an account, oldest first. The one that is asked for by its address is refused when it is damaged, as it
    /// is by its name: there are no others.
    async fn seats(&self, account: AccountId, email: Option<Email>, page: Page) -> Result<Listed<Seat>, StoreError>;
    /// How many there are, damaged ones among them.
    async fn count_seats(&self, account: AccountId, email: Option<Email>) -> Result<u64, StoreError>;
    /// Replaces a seat's profile.
    async fn change_seat(&self, seat: Seat, entry: AuditEntry) -> Result<Changed, StoreError>;
    /// Removes a seat and revokes the keys bound to it.
    async fn remove_seat(&self, account: AccountId, id: SeatId, entry: AuditEntry) -> Result<bool, StoreError>;

    // ── accounts and keys ────────────────────────────────────────────────────────────────────────────────────────────
    /// Adds an account. [`StoreError::Exists`] if the name is taken.
    async fn add_account(&self, account: Account, entry: AuditEntry) -> Result<(), StoreError>;
    /// One account, by name.
    async fn account(&self, name: Name) -> Result<Option<Account>, StoreError>;
    /// Every account, oldest first.
    async fn accounts(&self) -> Result<Listed<Account>, StoreError>;
    /// Removes an account without secrets, with its seats and keys. [`StoreError::InUse`] if it has some, live or deleted.
    async fn remove_account(&self, id: AccountId, entry: AuditEntry) -> Result<bool, StoreError>;
    /// Adds a key.
    async fn add_key(&self, key: ApiKey, hash: HashedKey, entry: AuditEntry) -> Result<(), StoreError>;
    /// One key with its hash, revoked or not. A row that was changed without the vault's key is [`StoreError::Damaged`].
    async fn key(&self, id: KeyId) -> Result<Option<(ApiKey, HashedKey)>, StoreError>;
    /// The keys of an account.
    async fn keys(&self, account: AccountId) -> Result<Keys, StoreError>;
    /// Revokes a key, from the next request on, in every process. A damaged one is removed, whosever it seems to be.
    async fn revoke_key(&self, account: AccountId, id: KeyId, entry: AuditEntry) -> Result<bool, StoreError>;
    /// Removes every damaged key of an account, also one whose id or account can't be read, with a row for each like `entry`.
    /// Returns how many.
    async fn remove_damaged_keys(&self, account: AccountId, entry: AuditEntry) -> Result<u64, StoreError>;
    /// Remembers that a key was used. Need not be durable.
    async fn touch_key(&self, id: KeyId, at: Timestamp) -> Result<(), StoreError>;

    // ── the trail ────────────────────────────────────────────────────────────────────────────────────────────────────
    /// Writes rows that belong to no other change: refusals, exports, counters.
    async fn record(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError>;
    /// Rows that match a filter, in order.
    async fn trail(&self, filter: AuditFilter) -> Result<Vec<AuditRow>, StoreError>;
    /// What the chain starts from (after pruning, the last row pruned) and the head that was last vouched for, if its
    /// own keyed hash is right.
    async fn trail_ends(&self) -> Result<(ChainHead, Option<ChainHead>), StoreError>;
    /// Removes rows older than a time and leaves a row that says so. Returns how many.
    async fn prune_trail(&self, before: Timestamp, entry: AuditEntry) -> Result<u64, StoreError>;

    // ── upkeep ───────────────────────────────────────────────────────────────────────────────────────────────────────
    /// Whether it can be written right now.
    async fn check_writable(&self) -> Result<(), StoreError>;
    /// Checks every page and every record it can check without opening a seal. Empty: sound.
    async fn examine(&self) -> Result<Vec<String>, StoreError>;
    /// Every secret, live or deleted, damaged ones among them: what is to be looked at one by one.
    async fn secret_ids(&self) -> Result<Vec<UncheckedId>, StoreError>;
    /// Makes everything durable and lets go of it.
    async fn close(&self) -> Result<(), StoreError>;
}
