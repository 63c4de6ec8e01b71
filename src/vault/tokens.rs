//! Short-lived tokens, by the keyed hash of their text.

use super::{CHUNK, Page, Vault, Versioned, keyring::Keyring};
use crate::{
    domain::{
        api_key::KeyId,
        ids::TokenId,
        token::{AccessToken, PlainToken},
    },
    store::{Kind, List, StoreError},
};

impl Keyring {
    /// The index entry of a key's tokens.
    pub(super) fn tokens_word(&self, key: KeyId) -> [u8; 8] {
        let mac = self.fingerprint("tokens-of", &[key.as_str().as_bytes()]);
        std::array::from_fn(|nth| mac.get(nth).copied().unwrap_or_default())
    }
}

impl Vault {
    /// The stored form of a token: its id, and its hash.
    pub fn hash_token(&self, token: &PlainToken) -> (TokenId, [u8; 32]) {
        let text = [token.expose().as_bytes()];
        let (id, hash) = (self.fingerprint("token-id", &text), self.fingerprint("token", &text));
        let id = std::array::from_fn(|nth| id.get(nth).copied().unwrap_or_default());
        (TokenId::new(uuid::Builder::from_random_bytes(id).into_uuid()), hash)
    }

    /// One token.
    ///
    /// # Errors
    /// [`StoreError`]; `Damaged` if it was changed without the vault's key.
    pub async fn token(&self, id: TokenId) -> Result<Option<Versioned<AccessToken>>, StoreError> {
        self.one(id.as_bytes().as_slice()).await
    }

    /// The number of tokens of a key, among them those that expired within the last day.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_tokens(&self, key: KeyId) -> Result<u64, StoreError> {
        self.store().count(&self.list_of_tokens(key)).await
    }

    /// The tokens of a key, the first to expire first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tokens_of(&self, key: KeyId) -> Result<Vec<Versioned<AccessToken>>, StoreError> {
        let listed = self.listed::<AccessToken>(self.list_of_tokens(key), Page::ALL).await?;
        Ok(listed.sound.into_iter().filter(|kept| kept.key == key).collect())
    }

    fn list_of_tokens(&self, key: KeyId) -> List {
        List { words: vec![self.keyring().tokens_word(key)], ..List::of(Kind::Token, None, CHUNK) }
    }
}
