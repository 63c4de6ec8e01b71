//! The query for a list of records.

use super::{Kind, Life};
use crate::domain::ids::AccountId;

/// Which records to list: those that meet every condition, by `sort`, then by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The kind.
    pub kind: Kind,
    /// Of this account; `None`: of any account, or of none.
    pub account: Option<AccountId>,
    /// In this list; `None`: in either.
    pub life: Option<Life>,
    /// Indexed under each of these words.
    pub words: Vec<[u8; 8]>,
    /// After this place: the last record of the page before.
    pub after: Option<(i64, Vec<u8>)>,
    /// With a `sort` below this.
    pub before_sort: Option<i64>,
    /// How many records to skip.
    pub offset: u64,
    /// The most records to return.
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
