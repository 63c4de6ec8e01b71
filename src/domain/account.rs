//! An account: a tenant. Every secret, seat and key belongs to one, and no call reaches into another.

use super::{ids::AccountId, text::Name, time::Timestamp};

/// The account that exists from the start.
pub const DEFAULT_ACCOUNT: &str = "default";

/// A tenant of the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its identity.
    pub id: AccountId,
    /// Its name, unique in the vault.
    pub name: Name,
    /// When it was made.
    pub created_at: Timestamp,
}
