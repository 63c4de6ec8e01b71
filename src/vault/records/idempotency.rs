//! A repeatable registration: for a day, the same request gets the first answer.

use serde::{Deserialize, Serialize};

use super::{Bytes, Stored, from_json, to_json};
use crate::{
    domain::{
        ids::{AccountId, SecretId},
        time::Timestamp,
    },
    store::{Kind, Record},
};

/// The record of a repeatable registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// The keyed hash of account and `Idempotency-Key`.
    pub key: [u8; 32],
    /// The account.
    pub account: AccountId,
    /// The keyed hash of the request, to notice another request with the same key.
    pub request: [u8; 32],
    /// The secret that was added. It may have been erased since; the answer stays.
    pub secret: SecretId,
    /// When it was made.
    pub created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    request: Bytes,
    secret: String,
}

impl Stored for Repeat {
    const KIND: Kind = Kind::Idempotency;

    fn id(&self) -> Vec<u8> {
        self.key.to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn sort(&self) -> i64 {
        self.created_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        to_json(&Body { request: Bytes::of(&self.request), secret: self.secret.to_string() })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        Some(Self {
            key: record.key.id.as_slice().try_into().ok()?,
            account: record.account?,
            request: body.request.array()?,
            secret: body.secret.parse().ok()?,
            created_at: Timestamp::from_micros(record.sort),
        })
    }
}
