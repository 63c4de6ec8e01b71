//! The encoding of each kind of record, and the MAC over the whole record.
//!
//! A body is JSON with fixed names; unknown names are refused. Fields of the record itself (id, account, sort, life)
//! are not repeated in the body: the MAC covers them too.

mod account;
mod api_key;
mod authority;
mod ends;
mod enrolment;
mod floor;
mod header;
mod idempotency;
mod seat;
mod seat_pin;
mod secret;
mod session;
mod token;
mod usage;

use data_encoding::BASE64_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use subtle::ConstantTimeEq as _;

pub use api_key::KeptKey;
pub(super) use authority::SealedAuthority;
pub(super) use ends::{AuditBase, AuditHead};
pub(super) use floor::Floor;
pub(super) use header::VaultHeader;
pub use idempotency::Repeat;
pub(super) use secret::{SealedMetadata, SealedSeed};
pub(super) use usage::{CountRecord, KeyUseRecord, UseRecord};

use super::keyring::{Keyring, Mac};
use crate::{
    domain::ids::AccountId,
    store::{Finders, Kind, Life, Record, RecordKey, StoreError},
};

/// A value that is stored as one record.
pub trait Stored: Sized {
    /// The kind of its record.
    const KIND: Kind;

    /// Its identity within the kind.
    fn id(&self) -> Vec<u8>;

    /// The account it belongs to.
    fn account(&self) -> Option<AccountId> {
        None
    }

    /// The number by which lists are sorted.
    fn sort(&self) -> i64 {
        0
    }

    /// Whether it is listed as live or as deleted.
    fn life(&self) -> Life {
        Life::Live
    }

    /// Its encoded body.
    fn body(&self) -> Vec<u8>;

    /// Reads it from a record whose MAC is right. `None`: this program never writes such a record.
    fn read(record: &Record) -> Option<Self>;

    /// Its index entries, besides its id.
    fn finders(&self, _keyring: &Keyring) -> Finders {
        Finders::default()
    }
}

impl Keyring {
    /// The MAC of a record: over everything in it except the MAC.
    pub(super) fn mac_of(&self, record: &Record) -> Mac {
        let life = match record.life {
            Life::Live => 0,
            Life::Deleted => 1,
        };
        self.record_mac(&[
            &[record.key.kind.number()],
            &record.key.id,
            record.account.as_ref().map_or(&[], |account| account.as_bytes()),
            &record.version.to_be_bytes(),
            &record.sort.to_be_bytes(),
            &[life],
            &record.body,
        ])
    }

    /// The record of a value.
    pub(super) fn record<T: Stored>(&self, thing: &T, version: u64) -> Record {
        let mut record = Record {
            key: RecordKey::new(T::KIND, thing.id()),
            version,
            account: thing.account(),
            sort: thing.sort(),
            life: thing.life(),
            body: thing.body(),
            mac: [0; 32],
        };
        record.mac = self.mac_of(&record);
        record
    }

    /// Reads a value from its record.
    pub(super) fn open_record<T: Stored>(&self, record: &Record) -> Result<T, StoreError> {
        self.check_record(record)?;
        let read = T::read(record).filter(|_| record.key.kind == T::KIND);
        read.ok_or_else(|| damaged(&record.key, "it is none that was ever written"))
    }

    pub(super) fn check_record(&self, record: &Record) -> Result<(), StoreError> {
        let right: bool = self.mac_of(record).ct_eq(&record.mac).into();
        if right { Ok(()) } else { Err(damaged(&record.key, "it was changed without the vault's key")) }
    }
}

/// The error of a damaged record: its kind, its id if that can be shown, and what is wrong.
pub(super) fn damaged(key: &RecordKey, what: &str) -> StoreError {
    StoreError::Damaged { what: format!("{}: {what}", shown(key)) }
}

/// A record's name for people. Don't print bytes that are not a valid id: an attacker may have written them.
pub(super) fn shown(key: &RecordKey) -> String {
    let kind = match key.kind {
        Kind::Header => "the vault's header",
        Kind::Account => "account",
        Kind::Secret => "secret",
        Kind::Seed => "seed of secret",
        Kind::Use => "use of secret",
        Kind::Count => "count of codes of secret",
        Kind::Seat => "seat",
        Kind::ApiKey => "key",
        Kind::KeyUse => "use of key",
        Kind::Idempotency => "repeatable registration",
        Kind::AuditHead => "head of an audit chain",
        Kind::AuditBase => "base of an audit chain",
        Kind::Enrolment => "enrolment",
        Kind::Token => "token",
        Kind::Floor => "floor",
        Kind::SeatPin => "PIN of seat",
        Kind::Session => "session of a client",
        Kind::Letter => "message for a session",
        Kind::Authority => "certificate authority of the guard of account",
    };
    let uuid = || uuid::Uuid::from_slice(key.id.get(..16)?).ok().map(|id| id.to_string());
    let id = match key.kind {
        Kind::ApiKey | Kind::KeyUse => {
            let text = std::str::from_utf8(&key.id).ok();
            text.and_then(|text| text.parse::<crate::domain::api_key::KeyId>().ok()).map(|id| id.to_string())
        }
        Kind::Header
        | Kind::Idempotency
        | Kind::AuditHead
        | Kind::AuditBase
        | Kind::Floor
        | Kind::Session
        | Kind::Letter => None,
        Kind::Account
        | Kind::Secret
        | Kind::Seed
        | Kind::Use
        | Kind::Count
        | Kind::Seat
        | Kind::Enrolment
        | Kind::SeatPin
        | Kind::Token
        | Kind::Authority => uuid(),
    };
    id.map_or_else(|| kind.to_owned(), |id| format!("{kind} {id}"))
}

fn to_json<T: Serialize>(body: &T) -> Vec<u8> {
    // Strings, numbers and lists of them always serialise.
    serde_json::to_vec(body).unwrap_or_default()
}

/// Reads every kind of record from these bytes: the first 16 are its id, the others its body.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let Some((id, body)) = bytes.split_at_checked(16) else { return };
    let key = RecordKey::new(Kind::Header, id);
    let record =
        Record { key, version: 1, account: None, sort: 0, life: Life::Live, body: body.to_vec(), mac: [0; 32] };
    let _ = (VaultHeader::read(&record), KeptKey::read(&record), Repeat::read(&record), Floor::read(&record));
    let _ = (AuditBase::read(&record), AuditHead::read(&record), UseRecord::read(&record));
    let _ = (CountRecord::read(&record), KeyUseRecord::read(&record), SealedSeed::read(&record));
    let record = Record { account: AccountId::from_slice(id).ok(), ..record };
    let _ = (SealedMetadata::read(&record), SealedSeed::read(&record), UseRecord::read(&record));
    let _ = SealedAuthority::read(&record);
    let _ = (crate::domain::session::Session::read(&record), crate::domain::session::Letter::read(&record));
    let _ = (crate::domain::seat::Seat::read(&record), crate::domain::enrolment::Enrolment::read(&record));
}

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

/// Bytes in JSON: base64 without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.0.as_slice().try_into().ok()
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_NOPAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_NOPAD.decode(text.as_bytes()).map(Self).map_err(|_| serde::de::Error::custom("not base64"))
    }
}

#[cfg(test)]
mod tests;
