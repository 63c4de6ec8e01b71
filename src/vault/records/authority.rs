//! The certificate authority of an account's guard: one for each account, and sealed as a whole.

use serde::{Deserialize, Serialize};

use super::{Bytes, Stored, from_json, to_json};
use crate::{
    domain::{ids::AccountId, time::Timestamp},
    store::{Kind, Record},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    sealed: Bytes,
}

/// A sealed authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedAuthority {
    pub(in crate::vault) account: AccountId,
    pub(in crate::vault) made_at: Timestamp,
    pub(in crate::vault) sealed: Vec<u8>,
}

impl Stored for SealedAuthority {
    const KIND: Kind = Kind::Authority;

    fn id(&self) -> Vec<u8> {
        self.account.as_bytes().to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn sort(&self) -> i64 {
        self.made_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        to_json(&Body { sealed: Bytes::of(&self.sealed) })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        let account = record.account.filter(|account| account.as_bytes().as_slice() == record.key.id)?;
        Some(Self { account, made_at: Timestamp::from_micros(record.sort), sealed: body.sealed.0 })
    }
}
