//! An API key: everything that authorises, and the hash by which its holder is recognised.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Bytes, Stored, from_json, to_json};
use crate::{
    domain::{
        api_key::{ApiKey, HashedKey, KeyId, KeyRights},
        ids::{AccountId, SeatId, SecretId},
        text::Name,
        time::Timestamp,
    },
    store::{Kind, Record, RecordKey},
};

/// A key and the hash of its token. The time of its last use is a separate record, since it changes with every minute
/// of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKey {
    /// The key; `last_used_at` is empty.
    pub key: ApiKey,
    /// The keyed hash of its token.
    pub hash: HashedKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    scopes: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seat: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secrets: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codes_per_hour: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    off_since: Option<i64>,
    hash: Bytes,
}

/// The key id of a key's record.
pub(super) fn key_id(record: &Record) -> Option<KeyId> {
    std::str::from_utf8(&record.key.id).ok()?.parse().ok()
}

/// Reads an optional id.
pub(super) fn optional<T: FromStr>(text: Option<&String>) -> Result<Option<T>, T::Err> {
    text.map(|text| text.parse()).transpose()
}

impl KeptKey {
    /// The record key of an API key, which works for a damaged one, too.
    pub fn key_of(id: KeyId) -> RecordKey {
        RecordKey::new(Kind::ApiKey, id.as_str())
    }
}

impl Stored for KeptKey {
    const KIND: Kind = Kind::ApiKey;

    fn id(&self) -> Vec<u8> {
        self.key.id.as_str().as_bytes().to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.key.rights.account)
    }

    fn sort(&self) -> i64 {
        self.key.created_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        // `last_used_at` has its own record, and the record itself holds the account.
        let ApiKey { id: _, name, rights, created_at: _, last_used_at: _, revoked_at, off_since } = &self.key;
        let KeyRights { account: _, scopes, seat, secrets, codes_per_hour, expires_at } = rights;
        to_json(&Body {
            name: name.to_string(),
            scopes: scopes.to_string(),
            seat: seat.as_ref().map(SeatId::to_string),
            secrets: secrets.as_ref().map(|secrets| secrets.iter().map(SecretId::to_string).collect()),
            codes_per_hour: *codes_per_hour,
            expires_at: expires_at.map(Timestamp::micros),
            revoked_at: revoked_at.map(Timestamp::micros),
            off_since: off_since.map(Timestamp::micros),
            hash: Bytes::of(&self.hash.0),
        })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        let secrets = body.secrets.map(|ids| ids.iter().map(|id| id.parse()).collect::<Result<_, _>>());
        let key = ApiKey {
            id: key_id(record)?,
            name: Name::kept(body.name),
            rights: KeyRights {
                account: record.account?,
                scopes: if body.scopes.is_empty() { <_>::default() } else { body.scopes.parse().ok()? },
                seat: optional(body.seat.as_ref()).ok()?,
                secrets: secrets.transpose().ok()?,
                codes_per_hour: body.codes_per_hour,
                expires_at: body.expires_at.map(Timestamp::from_micros),
            },
            created_at: Timestamp::from_micros(record.sort),
            last_used_at: None,
            revoked_at: body.revoked_at.map(Timestamp::from_micros),
            off_since: body.off_since.map(Timestamp::from_micros),
        };
        Some(Self { key, hash: HashedKey(body.hash.array()?) })
    }
}
