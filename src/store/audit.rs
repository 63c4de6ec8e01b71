//! The contract's words for the audit log: records in chains, and pages of them.

use std::borrow::Cow;

use crate::domain::{
    api_key::KeyId,
    ids::{AccountId, SeatId, SecretId},
    time::Timestamp,
};

/// A record of the audit log, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// The chain it stands in.
    pub chain: u32,
    /// Its number there; each is one higher than the one before it.
    pub seq: u64,
    /// When. Within a chain this never falls.
    pub at: Timestamp,
    /// Opaque.
    pub body: Vec<u8>,
    /// Opaque.
    pub mac: [u8; 32],
}

/// What finds an audit record. No MAC covers it: who finds a record by it checks the record's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditTerms {
    /// The account it is about.
    pub account: Option<AccountId>,
    /// The key that acted.
    pub actor_key: Option<KeyId>,
    /// The key that it is about.
    pub key: Option<KeyId>,
    /// The seat.
    pub seat: Option<SeatId>,
    /// The secret.
    pub secret: Option<SecretId>,
    /// What was done, as one word.
    pub action: Cow<'static, str>,
}

/// An audit record to be added, and what finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPut {
    /// The record.
    pub record: AuditRecord,
    /// What finds it.
    pub terms: AuditTerms,
}

/// Where a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The chain.
    pub chain: u32,
    /// Its last record's number.
    pub seq: u64,
    /// That record's MAC.
    pub mac: [u8; 32],
}

/// Audit records to be removed: those of a chain up to a number, which is one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prune {
    /// The chain.
    pub chain: u32,
    /// The last one that goes.
    pub upto: u64,
}

/// A place in each chain: the number of a record there. A chain that is not named has not been begun.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(pub Vec<(u32, u64)>);

/// Which audit records are wanted: those that meet every condition, by time, then by chain, then by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Of this chain alone.
    pub chain: Option<u32>,
    /// About this account.
    pub account: Option<AccountId>,
    /// With this seat.
    pub seat: Option<SeatId>,
    /// With one of these secrets.
    pub secrets: Option<Vec<SecretId>>,
    /// With this key, which acted or which it is about.
    pub key: Option<KeyId>,
    /// With this action.
    pub action: Option<Cow<'static, str>>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Beyond this place.
    pub after: Cursor,
    /// Before this place.
    pub before: Cursor,
    /// From the newest back instead of from the oldest on.
    pub newest: bool,
    /// How many at most.
    pub limit: u32,
}

/// Some of the audit records that a query asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditPage {
    /// The records, in the order of the query. The work for a page is bounded, so that there may be fewer than `limit`,
    /// also none, although there are more.
    pub records: Vec<AuditRecord>,
    /// The place to go on from: `after` of the next query, `before` if it goes from the newest back. `None`: that was all.
    pub next: Option<Cursor>,
}
