//! The audit log's types in the contract: records in chains, and pages of them.

use std::borrow::Cow;

use crate::domain::{
    api_key::KeyId,
    ids::{AccountId, SeatId, SecretId},
    time::Timestamp,
};

/// A stored record of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its chain.
    pub chain: u32,
    /// Its number in the chain; each is one higher than the one before.
    pub seq: u64,
    /// When it was written. Within a chain this never decreases.
    pub at: Timestamp,
    /// Opaque.
    pub body: Vec<u8>,
    /// Opaque.
    pub mac: [u8; 32],
}

/// The index terms of an audit record. No MAC covers them: a reader that finds a record by a term must check the record's
/// body.
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
    /// The action, as one word.
    pub action: Cow<'static, str>,
}

/// An audit record to add, with its index terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPut {
    /// The record.
    pub record: AuditRecord,
    /// Its index terms.
    pub terms: AuditTerms,
}

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The chain.
    pub chain: u32,
    /// Its last record's number.
    pub seq: u64,
    /// That record's MAC.
    pub mac: [u8; 32],
}

/// Audit records to remove: those of a chain up to an existing number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prune {
    /// The chain.
    pub chain: u32,
    /// The number of the last record to remove.
    pub upto: u64,
}

/// A place in each chain: the number of a record there. A chain without one is read from its beginning, or from its end
/// if the newest come first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(pub Vec<(u32, u64)>);

/// Which audit records to read: those that meet every condition, by time, then by chain, then by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Only of this chain.
    pub chain: Option<u32>,
    /// About this account.
    pub account: Option<AccountId>,
    /// With this seat.
    pub seat: Option<SeatId>,
    /// With one of these secrets.
    pub secrets: Option<Vec<SecretId>>,
    /// With this key as the actor or as the subject.
    pub key: Option<KeyId>,
    /// With this action.
    pub action: Option<Cow<'static, str>>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// After this place.
    pub after: Cursor,
    /// Before this place.
    pub before: Cursor,
    /// In reverse order, newest first.
    pub newest: bool,
    /// The most records to return.
    pub limit: u32,
}

/// One page of a query's audit records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditPage {
    /// The records, in the order of the query. The work for a page is bounded, so a page may have fewer than `limit`
    /// records, or none, although more exist.
    pub records: Vec<AuditRecord>,
    /// Where to continue: `after` of the next query, or `before` if the newest come first. `None`: there are no more.
    pub next: Option<Cursor>,
}
