//! Short-lived tokens, made from an API key by its holder: `cst_<key id>_<secret>`. The vault keeps a keyed hash of a
//! token, as of a key.

use zeroize::Zeroizing;

use super::{
    api_key::{KeyId, base62_of, checksum, is_whole},
    ids::{AccountId, NotAnId, SecretId, TokenId},
    scope::ScopeSet,
    time::Timestamp,
};

/// The prefix of every token, so that secret scanners can find a leaked one.
const PREFIX: &str = "cst_";

/// The stored form of a token. Its rights are a subset of its key's, and it ends with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Its identity.
    pub id: TokenId,
    /// The account of its key.
    pub account: AccountId,
    /// The key that it was made from.
    pub key: KeyId,
    /// Its scopes, at most those of its key.
    pub scopes: ScopeSet,
    /// The only secrets that are visible to it, if they are fewer than its key's.
    pub secrets: Option<Vec<SecretId>>,
    /// A keyed hash of the token.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// A whole token as its holder has it. Wiped on drop; no `Debug`.
pub struct PlainToken {
    key: KeyId,
    text: Zeroizing<String>,
}

impl PlainToken {
    /// Makes a token of a key from random bytes.
    pub fn from_random(key: KeyId, secret: &Zeroizing<[u8; 32]>) -> Self {
        let random = Zeroizing::new(base62_of(secret));
        let check = checksum(PREFIX, key, &random);
        Self { key, text: Zeroizing::new([PREFIX, key.as_str(), "_", &random, &check].concat()) }
    }

    /// Reads `cst_<key id>_<secret>`. A wrong form or checksum is refused before anything is looked up.
    ///
    /// # Errors
    /// [`NotAnId`], which holds nothing of the text.
    pub fn from_text(text: &str) -> Result<Self, NotAnId> {
        let (key, secret) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(NotAnId)?;
        let key: KeyId = key.parse()?;
        if is_whole(PREFIX, key, secret) {
            Ok(Self { key, text: Zeroizing::new(text.to_owned()) })
        } else {
            Err(NotAnId)
        }
    }

    /// The key that it names.
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// The token, which a `Bearer` header carries and which is hashed.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::api_key::PlainKey;

    /// A fixed token, whose form must never change: secret scanners look for it.
    const TOKEN: &str = "cst_0129AZaz0167_";

    fn fixed() -> PlainToken {
        PlainToken::from_random("0129AZaz0167".parse().unwrap(), &Zeroizing::new([7; 32]))
    }

    #[test]
    fn a_token_names_its_key_and_is_no_key() {
        let token = fixed();
        assert!(token.expose().starts_with(TOKEN) && token.expose().len() == TOKEN.len() + 49);
        let read = PlainToken::from_text(token.expose()).unwrap();
        assert_eq!((read.key(), read.expose()), (token.key(), token.expose()));
        assert!(PlainKey::from_token(token.expose()).is_err());
        assert!(
            PlainKey::from_token(&token.expose().replace("cst_", "cs_")).is_err(),
            "the checksum covers the prefix"
        );
    }

    #[test]
    fn a_token_with_any_character_changed_or_cut_is_refused() {
        let text = fixed().expose().to_owned();
        for at in 0..text.len() {
            for wrong in [&text[..at], &text[at + 1..], &format!("{}0{}", &text[..at], &text[at + 1..])] {
                assert!(wrong == text || PlainToken::from_text(wrong).is_err(), "{wrong}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = PlainToken::from_text(&["cst_", &text].concat());
        }
    }
}
