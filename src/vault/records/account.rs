//! The record of an account.

use serde::{Deserialize, Serialize};

use super::{Stored, from_json, to_json};
use crate::{
    domain::{account::Account, ids::AccountId, text::Name, time::Timestamp},
    store::{Finders, Kind, Record},
    vault::{keyring::Keyring, names::Named},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
}

impl Stored for Account {
    const KIND: Kind = Kind::Account;

    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn sort(&self) -> i64 {
        self.created_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        to_json(&Body { name: self.name.as_str().to_owned() })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        Some(Self {
            id: AccountId::from_slice(&record.key.id).ok()?,
            name: Name::kept(body.name),
            created_at: Timestamp::from_micros(record.sort),
        })
    }

    fn finders(&self, keyring: &Keyring) -> Finders {
        Finders { names: vec![keyring.name_hash(Named::Account, self.name.as_str())], words: Vec::new() }
    }
}
