//! A secret: its sealed metadata, and in a separate record, which lists never read, its sealed seed.

use serde::{Deserialize, Serialize};

use super::{Bytes, Stored, from_json, to_json};
use crate::{
    domain::{
        ids::{AccountId, SecretId},
        time::Timestamp,
    },
    store::{Finders, Kind, Life, Record},
    vault::{keyring::Keyring, seal::Place},
};

/// The record of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::vault) struct SealedMetadata {
    pub(in crate::vault) id: SecretId,
    pub(in crate::vault) account: AccountId,
    pub(in crate::vault) created_at: Timestamp,
    pub(in crate::vault) deleted_at: Option<Timestamp>,
    /// The version of the metadata, from 1; bound into the seal.
    pub(in crate::vault) writing: u32,
    /// The keyed hash of the seed, by which duplicates are found; `None` if the seed could not be opened when the
    /// secret was migrated from format 1.
    pub(in crate::vault) seed_hash: Option<[u8; 8]>,
    pub(in crate::vault) sealed: Vec<u8>,
}

/// The record of a secret's seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::vault) struct SealedSeed {
    pub(in crate::vault) id: SecretId,
    pub(in crate::vault) account: AccountId,
    pub(in crate::vault) created_at: Timestamp,
    /// The version of the seed, from 1; bound into the seal.
    pub(in crate::vault) writing: u32,
    pub(in crate::vault) sealed: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    writing: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed_hash: Option<Bytes>,
    sealed: Bytes,
}

impl SealedMetadata {
    pub(in crate::vault) const fn place(&self) -> Place {
        Place { account: self.account, secret: self.id, version: self.writing, created_at: self.created_at }
    }
}

impl SealedSeed {
    pub(in crate::vault) const fn place(&self) -> Place {
        Place { account: self.account, secret: self.id, version: self.writing, created_at: self.created_at }
    }
}

impl Stored for SealedMetadata {
    const KIND: Kind = Kind::Secret;

    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn sort(&self) -> i64 {
        self.created_at.micros()
    }

    fn life(&self) -> Life {
        if self.deleted_at.is_some() { Life::Deleted } else { Life::Live }
    }

    fn body(&self) -> Vec<u8> {
        to_json(&Body {
            writing: self.writing,
            deleted_at: self.deleted_at.map(Timestamp::micros),
            seed_hash: self.seed_hash.as_ref().map(|hash| Bytes::of(hash)),
            sealed: Bytes::of(&self.sealed),
        })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        let read = Self {
            id: SecretId::from_slice(&record.key.id).ok()?,
            account: record.account?,
            created_at: Timestamp::from_micros(record.sort),
            deleted_at: body.deleted_at.map(Timestamp::from_micros),
            writing: body.writing,
            seed_hash: match body.seed_hash {
                Some(hash) => Some(hash.array()?),
                None => None,
            },
            sealed: body.sealed.0,
        };
        (read.life() == record.life).then_some(read)
    }

    /// A secret whose metadata does not open has no index entries for words and seed.
    fn finders(&self, keyring: &Keyring) -> Finders {
        let mut words = match keyring.open_metadata(&self.sealed, &self.place()) {
            Ok(data) => {
                let issuer = data.issuer.as_ref().map_or("", |issuer| issuer.as_str());
                keyring.word_hashes(self.account, &format!("{issuer} {}", data.label))
            }
            Err(_) => Vec::new(),
        };
        words.extend(self.seed_hash);
        Finders { names: Vec::new(), words }
    }
}

impl Stored for SealedSeed {
    const KIND: Kind = Kind::Seed;

    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn sort(&self) -> i64 {
        self.created_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        to_json(&Body { writing: self.writing, deleted_at: None, seed_hash: None, sealed: Bytes::of(&self.sealed) })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        Some(Self {
            id: SecretId::from_slice(&record.key.id).ok()?,
            account: record.account?,
            created_at: Timestamp::from_micros(record.sort),
            writing: body.writing,
            sealed: body.sealed.0,
        })
    }
}
