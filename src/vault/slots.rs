//! The slots of a vault: each is a way to open it, with a key of its own that wraps the same root key. They stand in the
//! header, under its MAC. A process that has the vault open keeps the root key's keys, so it need not know of a change.

use std::fmt;

use super::{
    Outcome, Vault,
    key::KeyCheck,
    open_error::{OpenError, no_key},
    records::VaultHeader,
    root::{Header, Slot, UnlockError},
    sources::{KeyError, NewKey, Source},
};
use crate::{
    domain::{
        audit::AuditEntry, key_source::SourceKind, limits::VAULT_KEYS_MAX, purpose::Purpose, text::Name,
        time::Timestamp,
    },
    random::NoRandomness,
    store::StoreError,
};

/// A key that opens the vault, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultKey {
    /// The number of its slot.
    pub id: u8,
    /// The kind of its source; `None`: one that a newer version knows.
    pub source: Option<SourceKind>,
    /// The name that a person gave it.
    pub label: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// Whether this process opened the vault by it.
    pub in_use: bool,
}

/// Why a slot is not added or removed. Nothing was changed, unless the store says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// Another process changed the header in this moment: read and decide again.
    #[error("another process changed the vault's keys in this moment")]
    Stale,
    /// Every number is taken.
    #[error("the vault has 16 keys already; remove one first")]
    Full,
    /// The key opens the vault already.
    #[error("this key opens the vault already: it is the key with the id {0}")]
    There(u8),
    /// No slot has this number.
    #[error("no such key")]
    NotFound,
    /// The source still gives the key that the slot has.
    #[error(
        "its source still gives the key that key {0} has; put a new one into another place, and name that by --to SOURCE"
    )]
    Same(u8),
    /// The slot is getting a new key, and may be the one that opens the vault now or the one that will.
    #[error("key {0} is getting a new key; finish that first: `countersign vault rotate --key {0}`")]
    Begun(u8),
    /// Another process is giving a key of the vault a new one.
    #[error("another process is giving a key of the vault a new one")]
    Busy,
    /// The slot is the only one that opens the vault.
    #[error("this is the only key that opens the vault; add another one first")]
    Last,
    /// The vault was opened by the key of the slot.
    #[error("the vault was opened by this key just now")]
    InUse,
    /// The key of this source opens no slot.
    #[error("it does not open the vault: {0}")]
    Foreign(String),
    /// These slots would open nothing any more, since the keys of their sources were not given.
    #[error("{}", absent(.0))]
    Absent(Vec<(u8, String)>),
    /// The key that opened the vault does not open it any more.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// The source gives no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// An error of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The kinds of sources that open a vault, each once. The header that lists them may not be trusted yet, so nothing
/// else of it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways(Vec<SourceKind>);

impl Ways {
    pub(super) fn of(header: &Header) -> Self {
        let kinds = SourceKind::ALL.into_iter();
        Self(kinds.filter(|kind| header.slots.iter().any(|slot| slot.source == kind.as_str())).collect())
    }
}

impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, kind) in self.0.iter().enumerate() {
            f.write_str(if nth == 0 { ". The vault opens by: " } else { ", " })?;
            f.write_str(kind.as_str())?;
        }
        Ok(())
    }
}

impl Vault {
    /// The keys that open the vault, as they stand now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn vault_keys(&self) -> Result<Vec<VaultKey>, StoreError> {
        Ok(self.vault_keys_with_checks().await?.into_iter().map(|(key, _)| key).collect())
    }

    /// The keys that open the vault, each with its check value.
    pub(super) async fn vault_keys_with_checks(&self) -> Result<Vec<(VaultKey, KeyCheck)>, StoreError> {
        let header = self.header().await?;
        Ok(header.keys.slots.iter().map(|slot| (self.shown(&header, slot), slot.check)).collect())
    }

    /// Takes a key for a new slot from its source, which makes one if it keeps keys and has none of this vault.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn new_key(&self, source: &Source) -> Result<NewKey, OpenError> {
        let key = source.new_key(self.spot(), self.core.random.as_ref()).await;
        key.map_err(|cause| no_key(cause, Ways::default()))
    }

    /// Adds a slot.
    ///
    /// # Errors
    /// [`SlotError`].
    pub async fn add_slot(&self, new: &NewKey, label: Option<&Name>, entry: AuditEntry) -> Result<VaultKey, SlotError> {
        let header = self.header().await?;
        if let Some(there) = header.keys.slot_of(&new.kek) {
            return Err(SlotError::There(there.number));
        }
        let taken = |number: &u8| header.keys.slots.iter().any(|slot| slot.number == *number);
        let most = u8::try_from(VAULT_KEYS_MAX).unwrap_or(u8::MAX);
        let number = (0..most).find(|number| !taken(number)).ok_or(SlotError::Full)?;
        if !header.keys.slots.iter().any(|slot| slot.number == self.status().slot) {
            return Err(UnlockError::WrongKey.into());
        }
        let mut changed = header.value.clone();
        let slot = Slot {
            number,
            source: new.source.as_str().to_owned(),
            label: label.map(ToString::to_string),
            created_at: Some(entry.at),
            parameters: new.parameters.clone(),
            root_epoch: 0,
            check: [0; 16],
            wrapped: Vec::new(),
        };
        let slot = self.keyring().root().in_slot(header.keys.vault, slot, &new.kek, self.core.random.as_ref())?;
        let added = self.shown(&header, &slot);
        changed.keys.slots.push(slot);
        let draft = self.draft(about(entry, number, new.source.as_str())).replace(&header, &changed);
        if draft.commit().await? == Outcome::Done { Ok(added) } else { Err(SlotError::Stale) }
    }

    /// Removes a slot. Its key does not open the vault any more, but it opens copies that were made before.
    ///
    /// # Errors
    /// [`SlotError`].
    pub async fn remove_slot(&self, id: u8, even_in_use: bool, entry: AuditEntry) -> Result<(), SlotError> {
        let header = self.header().await?;
        let slot = header.keys.slots.iter().find(|slot| slot.number == id).ok_or(SlotError::NotFound)?;
        if header.keys.slots.len() == 1 {
            return Err(SlotError::Last);
        }
        let begun = |replaced: &u8| *replaced == id || slot.replaces() == Some(*replaced);
        if let Some(replaced) = header.keys.replaced_slots().find(begun) {
            return Err(SlotError::Begun(replaced));
        }
        if self.shown(&header, slot).in_use && !even_in_use {
            return Err(SlotError::InUse);
        }
        let mut changed = header.value.clone();
        changed.keys.slots.retain(|slot| slot.number != id);
        // The wrapped key is removed from the file, too.
        let draft = self.draft(about(entry, id, &slot.source)).replace(&header, &changed).scrub();
        if draft.commit().await? == Outcome::Done { Ok(()) } else { Err(SlotError::Stale) }
    }

    fn shown(&self, header: &VaultHeader, slot: &Slot) -> VaultKey {
        VaultKey {
            id: slot.number,
            source: SourceKind::from_word(&slot.source),
            label: slot.label.clone(),
            created_at: slot.created_at.unwrap_or(header.created_at),
            in_use: slot.number == self.status().slot,
        }
    }
}

fn absent(slots: &[(u8, String)]) -> String {
    let named: Vec<_> = slots.iter().map(|(number, source)| format!("key {number} ({source})")).collect();
    format!(
        "every key that opens the vault must be at hand, since it wraps the new root key; this is missing: {}. Give each by \
         --with SOURCE, or remove it first: `countersign vault key remove ID`",
        named.join(", ")
    )
}

/// The audit row of a change, with the slot's number and source as its purpose.
pub(super) fn about(entry: AuditEntry, number: u8, source: &str) -> AuditEntry {
    AuditEntry { purpose: Purpose::of(&format!("vault key {number}, {source}")), ..entry }
}
