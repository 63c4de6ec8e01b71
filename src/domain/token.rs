//! A short-lived token, made from an API key by its holder.

use super::{
    api_key::KeyId,
    ids::{AccountId, TokenId},
    scope::ScopeSet,
    time::Timestamp,
};

/// The stored form of a token. Its rights are a subset of its key's, and it ends with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Its identity.
    pub id: TokenId,
    /// The account of its key.
    pub account: AccountId,
    /// The key that it was made from.
    pub key: KeyId,
    /// What it may do, at most what its key may.
    pub scopes: ScopeSet,
    /// A keyed hash of the token.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
}
