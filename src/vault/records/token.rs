//! The record of a short-lived token.

use serde::{Deserialize, Serialize};

use super::{Bytes, Stored, from_json, to_json};
use crate::{
    domain::{
        ids::{AccountId, SecretId, TokenId},
        time::Timestamp,
        token::AccessToken,
    },
    store::{Finders, Kind, Record},
    vault::keyring::Keyring,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    key: String,
    scopes: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secrets: Option<Vec<String>>,
    hash: Bytes,
    created_at: i64,
}

impl Stored for AccessToken {
    const KIND: Kind = Kind::Token;

    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    /// The expiry time, by which expired ones are found.
    fn sort(&self) -> i64 {
        self.expires_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        to_json(&Body {
            key: self.key.to_string(),
            scopes: self.scopes.to_string(),
            secrets: self.secrets.as_ref().map(|ids| ids.iter().map(SecretId::to_string).collect()),
            hash: Bytes::of(&self.hash),
            created_at: self.created_at.micros(),
        })
    }

    fn finders(&self, keyring: &Keyring) -> Finders {
        Finders { names: Vec::new(), words: vec![keyring.tokens_word(self.key)] }
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        let secrets = body.secrets.map(|ids| ids.iter().map(|id| id.parse()).collect::<Result<_, _>>());
        Some(Self {
            id: TokenId::from_slice(&record.key.id).ok()?,
            account: record.account?,
            key: body.key.parse().ok()?,
            scopes: if body.scopes.is_empty() { <_>::default() } else { body.scopes.parse().ok()? },
            secrets: secrets.transpose().ok()?,
            hash: body.hash.array()?,
            created_at: Timestamp::from_micros(body.created_at),
            expires_at: Timestamp::from_micros(record.sort),
        })
    }
}
