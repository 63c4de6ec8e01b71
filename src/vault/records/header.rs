//! The header: the vault's identity and its wrapped keys. It is read before the key is known; its MAC is checked right
//! after.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bytes, Stored, from_json, to_json};
use crate::{
    domain::{ids::AccountId, limits::VAULT_KEYS_MAX, time::Timestamp},
    store::{Kind, Record},
    vault::root::{Header, Slot, WrappedEpoch},
};

/// The record of the header, the only one of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::vault) struct VaultHeader {
    pub(in crate::vault) keys: Header,
    pub(in crate::vault) created_at: Timestamp,
    pub(in crate::vault) default_account: AccountId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    vault: String,
    default_account: String,
    slots: Vec<SlotBody>,
    root_epoch: u32,
    epochs: Vec<EpochBody>,
    active_epoch: u32,
    bundle: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotBody {
    number: u8,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<i64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, String>,
    root_epoch: u32,
    check: Bytes,
    wrapped: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochBody {
    epoch: u32,
    check: Bytes,
    wrapped: Bytes,
}

impl Stored for VaultHeader {
    const KIND: Kind = Kind::Header;

    fn id(&self) -> Vec<u8> {
        Vec::new()
    }

    fn sort(&self) -> i64 {
        self.created_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        let Header { vault, slots, root_epoch, epochs, active_epoch, bundle } = &self.keys;
        let slot = |slot: &Slot| SlotBody {
            number: slot.number,
            source: slot.source.clone(),
            label: slot.label.clone(),
            created_at: slot.created_at.map(Timestamp::micros),
            parameters: slot.parameters.clone(),
            root_epoch: slot.root_epoch,
            check: Bytes::of(&slot.check),
            wrapped: Bytes::of(&slot.wrapped),
        };
        let epoch = |kept: &WrappedEpoch| EpochBody {
            epoch: kept.epoch,
            check: Bytes::of(&kept.check),
            wrapped: Bytes::of(&kept.wrapped),
        };
        to_json(&Body {
            vault: vault.to_string(),
            default_account: self.default_account.to_string(),
            slots: slots.iter().map(slot).collect(),
            root_epoch: *root_epoch,
            epochs: epochs.iter().map(epoch).collect(),
            active_epoch: *active_epoch,
            bundle: Bytes::of(bundle),
        })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        // The header is not trusted yet, and each slot of a passphrase costs a derivation. While a slot gets a new key, it
        // is there twice.
        if body.slots.len() > 2 * VAULT_KEYS_MAX {
            return None;
        }
        let slot = |slot: SlotBody| {
            Some(Slot {
                number: slot.number,
                source: slot.source,
                label: slot.label,
                created_at: slot.created_at.map(Timestamp::from_micros),
                parameters: slot.parameters,
                root_epoch: slot.root_epoch,
                check: slot.check.array()?,
                wrapped: slot.wrapped.0,
            })
        };
        let epoch = |kept: EpochBody| {
            Some(WrappedEpoch { epoch: kept.epoch, check: kept.check.array()?, wrapped: kept.wrapped.0 })
        };
        let keys = Header {
            vault: body.vault.parse().ok()?,
            slots: body.slots.into_iter().map(slot).collect::<Option<_>>()?,
            root_epoch: body.root_epoch,
            epochs: body.epochs.into_iter().map(epoch).collect::<Option<_>>()?,
            active_epoch: body.active_epoch,
            bundle: body.bundle.0,
        };
        let default_account = body.default_account.parse().ok()?;
        Some(Self { keys, created_at: Timestamp::from_micros(record.sort), default_account })
    }
}
