//! New keys for a vault that is in use: a data key, or the root key with a data key.
//!
//! ```text
//! begin    the header gets a new active data key          one commit; from then on every new seal is under it
//! reseal   each old seal is opened and made anew          at most 256 records a commit, while others go on
//! finish   the header loses the old data keys             one commit, once nothing is sealed under them
//! ```
//!
//! The progress of a rotation is in the vault alone: the header has several data keys until the rotation is finished,
//! and each seal names its own. So any process can continue after a kill, and several may do so at once.

use std::sync::Arc;

use futures::future::join_all;

use super::{
    CHUNK, Draft, Outcome, SlotError, Vault, Versioned,
    key::Kek,
    keyring::Keyring,
    records::{SealedMetadata, SealedSeed, VaultHeader, damaged},
    root::{Header, Slot},
    seal::{Column, Place},
    sources::{KeyError, Source},
};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        purpose::Purpose,
    },
    store::{Kind, List, Record, StoreError},
};

/// The kinds of records that hold a seal.
const SEALED: [Kind; 2] = [Kind::Secret, Kind::Seed];
/// The number of records that are sealed anew in one commit.
const RESEALED_AT_ONCE: u32 = 256;
/// How often sealing a record anew is tried while other callers change it.
const TRIES: u32 = 16;

/// The progress of the data key's rotation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The number of the root key.
    pub root_epoch: u32,
    /// The number of the data key that new seals use.
    pub epoch: u32,
    /// The number of sealed records.
    pub records: u64,
    /// The number of those that are not sealed under that key; 0 once the rotation is finished.
    pub left: u64,
    /// Whether older data keys are gone.
    pub finished: bool,
    /// The numbers of the slots that are getting a new key.
    pub keys: Vec<u8>,
    /// The records that can't be sealed anew, each with its error.
    pub problems: Vec<String>,
}

/// The progress of sealing anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resealed {
    /// The number of records that were looked at.
    pub done: u64,
    /// The number of all records with a seal.
    pub of: u64,
}

impl Vault {
    /// The progress of the data key's rotation. Records are read only while it is not finished.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rotation(&self) -> Result<Rotation, StoreError> {
        let keys = self.header().await?.value.keys;
        let mut rotation = Rotation { records: self.count_sealed().await?, ..Rotation::of(&keys) };
        if rotation.finished {
            return Ok(rotation);
        }
        for kind in SEALED {
            let mut list = List { life: None, ..List::of(kind, None, CHUNK) };
            while let Some(chunk) = self.next_chunk(&mut list).await? {
                let left = chunk.iter().filter(|record| !self.keyring().is_new(record).is_ok_and(|is_new| is_new));
                rotation.left += left.count() as u64;
                tokio::task::yield_now().await;
            }
        }
        Ok(rotation)
    }

    /// Begins a new data key. `false`: a rotation was begun before and is not finished.
    ///
    /// # Errors
    /// [`SlotError`].
    pub async fn begin_rotation(&self, entry: AuditEntry) -> Result<bool, SlotError> {
        let header = self.header().await?;
        if header.keys.epochs.len() > 1 {
            return Ok(false);
        }
        let keyring = self.keyring();
        let new = header.keys.with_new_epoch(&keyring.root(), self.core.random.as_ref())?;
        let begun = self.replace_keys(&header, new.ok_or(SlotError::Stale)?, entry).await?;
        if begun { Ok(true) } else { Err(SlotError::Stale) }
    }

    /// Replaces the root key, and begins a new data key. Every slot needs its source: a slot whose key is not given
    /// would open nothing any more.
    ///
    /// # Errors
    /// [`SlotError`]; `Absent` names the slots whose keys are missing.
    pub async fn replace_root(&self, sources: &[Arc<Source>], entry: AuditEntry) -> Result<(), SlotError> {
        let header = self.header().await?;
        if let Some(replaced) = header.keys.replaced_slots().next() {
            return Err(SlotError::Begun(replaced));
        }
        let mut keks: Vec<Arc<Kek>> = Vec::with_capacity(sources.len());
        for source in sources {
            let foreign = || SlotError::Foreign(source.shown(header.keys.vault));
            let kek = match source.key(self.spot(), &header.keys.slots).await {
                Err(KeyError::Wrong) => return Err(foreign()),
                kek => kek?,
            };
            header.keys.slot_of(&kek).ok_or_else(foreign)?;
            keks.push(kek);
        }
        let is_absent = |slot: &&Slot| !keks.iter().any(|kek| kek.0.is_checked_by(&slot.check));
        let absent: Vec<_> = header.keys.slots.iter().filter(is_absent).collect();
        if !absent.is_empty() {
            return Err(SlotError::Absent(absent.into_iter().map(|slot| (slot.number, slot.source.clone())).collect()));
        }
        let new = header.keys.with_new_root(&self.keyring().root(), &keks, self.core.random.as_ref())?;
        let replaced = self.replace_keys(&header, new.ok_or(SlotError::Stale)?, entry).await?;
        if replaced { Ok(()) } else { Err(SlotError::Stale) }
    }

    /// Seals under the newest data key every record that is not, and removes the older keys once no record needs them.
    /// `entry` is the audit row of the end.
    ///
    /// # Errors
    /// [`StoreError`]; records that were sealed anew stay so, and the next call continues.
    pub async fn finish_rotation(
        &self,
        entry: &AuditEntry,
        tell: &mut (dyn FnMut(Resealed) + Send),
    ) -> Result<Rotation, StoreError> {
        loop {
            let header = self.header().await?;
            let of = self.count_sealed().await?;
            let mut rotation = Rotation { records: of, ..Rotation::of(&header.keys) };
            if rotation.finished {
                return Ok(rotation);
            }
            let mut sealed = 0;
            let mut done = 0;
            for kind in SEALED {
                let mut list = List { life: None, ..List::of(kind, None, RESEALED_AT_ONCE) };
                while let Some(chunk) = self.next_chunk(&mut list).await? {
                    done += chunk.len() as u64;
                    for resealed in join_all(chunk.into_iter().map(|record| self.reseal(record))).await {
                        match resealed {
                            Ok(is_sealed) => sealed += u64::from(is_sealed),
                            Err(StoreError::Damaged { what }) => rotation.problems.push(what),
                            Err(cause) => return Err(cause),
                        }
                    }
                    tell(Resealed { done, of });
                }
            }
            rotation.left = rotation.problems.len() as u64;
            if rotation.left > 0 {
                return Ok(rotation);
            }
            // Since this header was read, no commit has sealed anything under an older key. If the header is not the same any
            // more, another process has finished this or has begun anew, or a slot was changed.
            let alone = header.keys.with_active_epoch_alone();
            let entry = AuditEntry { action: Action::VaultRotated, count: Some(sealed), ..entry.clone() };
            if self.replace_keys(&header, alone, entry).await? {
                return Ok(Rotation { finished: true, ..rotation });
            }
        }
    }

    /// Replaces the header's keys, and removes the old ones from the file, too. `false`: the header has changed.
    async fn replace_keys(
        &self,
        header: &Versioned<VaultHeader>,
        keys: Header,
        entry: AuditEntry,
    ) -> Result<bool, StoreError> {
        let purpose = Purpose::of(&format!("data key {}, root key {}", keys.active_epoch, keys.root_epoch));
        let changed = VaultHeader { keys, ..header.value.clone() };
        let draft = self.draft(AuditEntry { purpose, ..entry }).replace(header, &changed).scrub().patient();
        Ok(draft.commit().await? == Outcome::Done)
    }

    /// Seals a record under the newest data key. `false`: it is sealed under that already, or it is gone.
    async fn reseal(&self, mut record: Record) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let known = self.keyring().version();
            let ended = match self.keyring().is_new(&record) {
                Ok(true) => return Ok(false),
                Ok(false) => self.silent_draft().reseal(&record).commit().await,
                Err(cause) => Err(cause),
            };
            match ended {
                Ok(Outcome::Done) => return Ok(true),
                Ok(Outcome::Stale | Outcome::Taken) => {}
                // Another process may have begun the next rotation.
                Err(StoreError::Damaged { .. }) if self.meets_keys_after(known).await? => {}
                Err(cause) => return Err(cause),
            }
            match self.store().read_one(&record.key).await? {
                Some(again) => record = again,
                None => return Ok(false),
            }
        }
        Err(StoreError::Unavailable("others change the same secrets all the time".to_owned()))
    }

    /// Seals a sealed value again, for the same place.
    fn resealed(&self, record: &Record, column: Column, place: &Place, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let plain = self.keyring().open(column, place, sealed);
        let plain = plain.map_err(|cause| damaged(&record.key, &cause.to_string()))?;
        Ok(self.keyring().seal(column, place, &plain, self.core.random.as_ref())?)
    }

    async fn count_sealed(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for kind in SEALED {
            count += self.store().count(&List { life: None, ..List::of(kind, None, 0) }).await?;
        }
        Ok(count)
    }
}

impl Rotation {
    fn of(keys: &Header) -> Self {
        let Header { root_epoch, active_epoch: epoch, .. } = *keys;
        let (finished, keys) = (keys.epochs.len() == 1, keys.replaced_slots().collect());
        Self { root_epoch, epoch, finished, keys, ..Self::default() }
    }
}

impl Draft<'_> {
    /// Seals a record under the newest data key. Nothing else of it changes.
    fn reseal(self, record: &Record) -> Self {
        let vault = self.vault();
        let draft = self.expect_keys();
        if record.key.kind == Kind::Seed {
            let resealed = vault.keyring().open_record(record).and_then(|kept: SealedSeed| {
                let sealed = vault.resealed(record, Column::Seed, &kept.place(), &kept.sealed)?;
                Ok(SealedSeed { sealed, ..kept })
            });
            return draft.replace_sealed(record, resealed);
        }
        let resealed = vault.keyring().open_record(record).and_then(|kept: SealedMetadata| {
            let sealed = vault.resealed(record, Column::Metadata, &kept.place(), &kept.sealed)?;
            Ok(SealedMetadata { sealed, ..kept })
        });
        draft.replace_sealed(record, resealed)
    }
}

impl Keyring {
    /// Whether a record with a seal is sealed under the newest data key.
    fn is_new(&self, record: &Record) -> Result<bool, StoreError> {
        Ok(!self.is_outdated(&self.seal_in(record)?))
    }

    /// Whether a record is sound and sealed under a data key that is not known.
    pub(super) fn lacks_key_of(&self, record: &Record) -> bool {
        SEALED.contains(&record.key.kind) && self.seal_in(record).is_ok_and(|sealed| !self.knows(&sealed))
    }

    fn seal_in(&self, record: &Record) -> Result<Vec<u8>, StoreError> {
        if record.key.kind == Kind::Seed {
            return Ok(self.open_record::<SealedSeed>(record)?.sealed);
        }
        Ok(self.open_record::<SealedMetadata>(record)?.sealed)
    }
}
