//! The root key, and what it wraps: the header's data keys and its bundle. A new data key begins an epoch; a new root key
//! wraps them all again, and each slot wraps it.

use std::{collections::BTreeMap, sync::Arc};

use zeroize::Zeroizing;

use super::{
    key::{Kek, Key},
    seal::{self, Bound, Column, OpenSealError},
};
use crate::{
    domain::{ids::VaultId, time::Timestamp},
    random::{NoRandomness, Random},
};

/// The stored keys of a vault: wrapped keys and check values, no key in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The vault's id.
    pub vault: VaultId,
    /// Ways to unwrap the root key.
    pub slots: Vec<Slot>,
    /// The root key's number, from 1: a compromised one is replaced by the next.
    pub root_epoch: u32,
    /// Data keys, wrapped by the root key, lowest epoch first.
    pub epochs: Vec<WrappedEpoch>,
    /// The epoch that new seals use.
    pub active_epoch: u32,
    /// Pepper, audit key and record key, wrapped by the root key.
    pub bundle: Vec<u8>,
}

/// One way to unwrap the root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its number, the lowest that was free.
    pub number: u8,
    /// The word for the source of its key, of [`SourceKind`](crate::domain::key_source::SourceKind).
    pub source: String,
    /// The name that a person gave it.
    pub label: Option<String>,
    /// When it was added; `None`: with the vault.
    pub created_at: Option<Timestamp>,
    /// Parameters of the source that are not given by a person, such as the cost of a passphrase's hash.
    pub parameters: BTreeMap<String, String>,
    /// The number of the wrapped root key. A slot that wraps an older one than the header's opens nothing.
    pub root_epoch: u32,
    /// The check value of the slot's key.
    pub check: [u8; 16],
    /// The root key, sealed under that key.
    pub wrapped: Vec<u8>,
}

/// One data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedEpoch {
    /// Its number, from 1.
    pub epoch: u32,
    /// Its check value.
    pub check: [u8; 16],
    /// The data key, sealed under the root key.
    pub wrapped: Vec<u8>,
}

/// Why a key does not open a vault. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// No slot belongs to this key.
    #[error("this key is not the vault's")]
    WrongKey,
    /// The key is right, but a wrapped key does not open: the vault's header is damaged.
    #[error("the vault's header is damaged")]
    Damaged,
}

/// The first epoch of root and data keys.
pub(super) const FIRST_EPOCH: u32 = 1;

/// The root key. No `Debug`, no `Clone`.
pub(super) struct Root {
    key: Key,
    /// Its number, from 1.
    pub(super) epoch: u32,
}

impl Root {
    pub(super) fn generate(epoch: u32, random: &dyn Random) -> Result<Self, NoRandomness> {
        Ok(Self { key: Key::generate(random)?, epoch })
    }

    /// The same key for another keyring.
    pub(super) const fn copy(&self) -> Self {
        Self { key: Key::of(self.key.expose()), epoch: self.epoch }
    }

    /// Seals a key, or several, for a place in the header.
    fn wrap(
        &self,
        vault: VaultId,
        (column, number): (Column, u32),
        plain: &[u8],
        random: &dyn Random,
    ) -> Result<Vec<u8>, NoRandomness> {
        wrap(&self.key, KeyPlace { vault, column, number }, plain, random)
    }

    pub(super) fn wrap_data(
        &self,
        vault: VaultId,
        (epoch, key): (u32, &Key),
        random: &dyn Random,
    ) -> Result<WrappedEpoch, NoRandomness> {
        let wrapped = self.wrap(vault, (Column::DataKey, epoch), key.expose(), random)?;
        Ok(WrappedEpoch { epoch, check: key.check(), wrapped })
    }

    pub(super) fn wrap_bundle(
        &self,
        vault: VaultId,
        bundle: &[u8],
        random: &dyn Random,
    ) -> Result<Vec<u8>, NoRandomness> {
        self.wrap(vault, (Column::Bundle, 0), bundle, random)
    }

    /// The slot, with its check value and the root key under a key of a source.
    pub(super) fn in_slot(
        &self,
        vault: VaultId,
        slot: Slot,
        kek: &Kek,
        random: &dyn Random,
    ) -> Result<Slot, NoRandomness> {
        let slot = Slot { root_epoch: self.epoch, check: kek.0.check(), ..slot };
        let place = KeyPlace { vault, column: Column::RootKey, number: slot.place() };
        let wrapped = wrap(&kek.0, place, self.key.expose(), random)?;
        Ok(Slot { wrapped, ..slot })
    }
}

impl Header {
    /// The slot that a key opens.
    pub(super) fn slot_of(&self, kek: &Kek) -> Option<&Slot> {
        let mut slots = self.slots.iter().filter(|slot| slot.root_epoch == self.root_epoch);
        slots.find(|slot| kek.0.is_checked_by(&slot.check))
    }

    /// The root key, from the slot of a source's key.
    pub(super) fn root(&self, kek: &Kek) -> Result<Root, UnlockError> {
        let slot = self.slot_of(kek).ok_or(UnlockError::WrongKey)?;
        let place = KeyPlace { vault: self.vault, column: Column::RootKey, number: slot.place() };
        let root = unwrap(&kek.0, place, &slot.wrapped).map_err(|_| UnlockError::Damaged)?;
        let key = Key::from_slice(&root).ok_or(UnlockError::Damaged)?;
        Ok(Root { key, epoch: self.root_epoch })
    }

    /// The data keys. One of them is the active epoch's.
    pub(super) fn data_keys(&self, root: &Root) -> Result<BTreeMap<u32, Key>, UnlockError> {
        let mut keys = BTreeMap::new();
        for kept in &self.epochs {
            let place = KeyPlace { vault: self.vault, column: Column::DataKey, number: kept.epoch };
            let data = unwrap(&root.key, place, &kept.wrapped).map_err(|_| UnlockError::Damaged)?;
            let data = Key::from_slice(&data).filter(|key| key.is_checked_by(&kept.check));
            keys.insert(kept.epoch, data.ok_or(UnlockError::Damaged)?);
        }
        if keys.contains_key(&self.active_epoch) { Ok(keys) } else { Err(UnlockError::Damaged) }
    }

    /// Pepper, audit key and record key.
    pub(super) fn opened_bundle(&self, root: &Root) -> Result<Zeroizing<Vec<u8>>, UnlockError> {
        let place = KeyPlace { vault: self.vault, column: Column::Bundle, number: 0 };
        unwrap(&root.key, place, &self.bundle).map_err(|_| UnlockError::Damaged)
    }

    /// The header with a new data key, under which new seals are made. `None`: the header has another root key.
    pub(super) fn with_new_epoch(&self, root: &Root, random: &dyn Random) -> Result<Option<Self>, NoRandomness> {
        if root.epoch != self.root_epoch {
            return Ok(None);
        }
        let last = self.epochs.iter().map(|kept| kept.epoch).max().unwrap_or(0);
        // No vault has four billion rotations.
        let epoch = last.saturating_add(1);
        let wrapped = root.wrap_data(self.vault, (epoch, &Key::generate(random)?), random)?;
        let mut changed = self.clone();
        changed.epochs.push(wrapped);
        changed.active_epoch = epoch;
        Ok(Some(changed))
    }

    /// The header with the active data key alone. Nothing may be sealed under the others any more.
    pub(super) fn with_active_epoch_alone(&self) -> Self {
        let mut changed = self.clone();
        changed.epochs.retain(|kept| kept.epoch == self.active_epoch);
        changed
    }

    /// The header with a new root key: it wraps every data key again, and the bundle, and each slot wraps it under the key
    /// that opens the slot now. `None`: a slot's key is missing, or the root key is another one.
    pub(super) fn with_new_root(
        &self,
        root: &Root,
        keks: &[Arc<Kek>],
        random: &dyn Random,
    ) -> Result<Option<Self>, NoRandomness> {
        let opened = if root.epoch == self.root_epoch { self.data_keys(root).ok() } else { None };
        let Some((data, bundle)) = opened.zip(self.opened_bundle(root).ok()) else { return Ok(None) };
        let new = Root::generate(self.root_epoch.saturating_add(1), random)?;
        let mut slots = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let Some(kek) = keks.iter().find(|kek| kek.0.is_checked_by(&slot.check)) else { return Ok(None) };
            slots.push(new.in_slot(self.vault, slot.clone(), kek, random)?);
        }
        let mut epochs = Vec::with_capacity(data.len());
        for (epoch, key) in &data {
            epochs.push(new.wrap_data(self.vault, (*epoch, key), random)?);
        }
        let bundle = new.wrap_bundle(self.vault, &bundle, random)?;
        let changed = Self { slots, root_epoch: new.epoch, epochs, bundle, ..self.clone() };
        changed.with_new_epoch(&new, random)
    }
}

impl Slot {
    /// The number to which the wrapped root key is bound. For the first root key it is the slot's number, as in format
    /// 1.
    fn place(&self) -> u32 {
        u32::from(self.number) | self.root_epoch.saturating_sub(FIRST_EPOCH) << 8
    }
}

/// The place of a wrapped key. Its number is the blob's epoch.
#[derive(Clone, Copy)]
struct KeyPlace {
    vault: VaultId,
    column: Column,
    number: u32,
}

/// Seals a key under another.
fn wrap(by: &Key, place: KeyPlace, plain: &[u8], random: &dyn Random) -> Result<Vec<u8>, NoRandomness> {
    seal::seal(by, place.number, &Bound::to_number(place.vault, place.column, place.number), plain, random)
}

/// Opens a key sealed under another.
fn unwrap(by: &Key, place: KeyPlace, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenSealError> {
    seal::open(by, &Bound::to_number(place.vault, place.column, place.number), wrapped)
}
