//! New keys for a vault that is in use: a person begins a rotation, and any process can finish it.

use std::sync::Arc;

use super::{
    Call, Effect, Failed, Operation, Refusal, Resealed, Rotation, Service, Source, Spec, VaultKey, retries::Retries,
};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        principal::Principal,
    },
    vault::SlotError,
};

/// Begins a new data key. The output is whether it did: an unfinished rotation continues instead.
#[derive(Debug, Clone, Copy)]
pub struct RotateDataKey;

impl Operation for RotateDataKey {
    const SPEC: Spec = Spec::person("rotate_data_key", Action::VaultRotate, Effect::Change);
    type Output = bool;

    async fn run(self, call: &mut Call<'_>) -> Result<bool, Failed> {
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            match call.service.vault().begin_rotation(call.entry.clone()).await {
                Err(SlotError::Stale) => retries.again().await?,
                begun => return Ok(begun?),
            }
        }
    }
}

/// Replaces the root key, and begins a new data key.
pub struct RotateRootKey {
    /// The sources of all keys that open the vault.
    pub sources: Vec<Arc<Source>>,
}

impl Operation for RotateRootKey {
    const SPEC: Spec = Spec::person("rotate_root_key", Action::VaultRotateRoot, Effect::Change);
    type Output = ();

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            match call.service.vault().replace_root(&self.sources, call.entry.clone()).await {
                Err(SlotError::Stale) => retries.again().await?,
                replaced => return Ok(replaced?),
            }
        }
    }
}

/// Gives one way to open the vault a new key.
pub struct RotateVaultKey {
    /// The number of its slot.
    pub id: u8,
    /// The source of the new key. A file or keyring whose key it has gets a new one.
    pub source: Arc<Source>,
}

impl Operation for RotateVaultKey {
    const SPEC: Spec = Spec::person("rotate_vault_key", Action::VaultKeyRotate, Effect::Change);
    type Output = VaultKey;

    async fn run(self, call: &mut Call<'_>) -> Result<VaultKey, Failed> {
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            match call.service.vault().rotate_slot(self.id, &self.source, &call.entry).await {
                Err(SlotError::Stale) => retries.again().await?,
                rotated => return Ok(rotated?),
            }
        }
    }
}

impl Service {
    /// The state of the rotation of the data key.
    ///
    /// # Errors
    /// `unavailable`, or the damage.
    pub async fn rotation(&self) -> Result<Rotation, Refusal> {
        self.vault().rotation().await.map_err(|cause| self.refusal_of(cause.into()))
    }

    /// Finishes the rotation of the data key, if one was begun: for a person, or by the process itself.
    ///
    /// # Errors
    /// `unavailable`, or the damage. The records that were sealed anew stay so, and the next call continues.
    pub async fn finish_rotation(
        &self,
        by: Option<&Principal>,
        tell: &mut (dyn FnMut(Resealed) + Send),
    ) -> Result<Rotation, Refusal> {
        let actor = if by.is_some() { Actor::Person } else { Actor::System };
        let entry = AuditEntry::by(actor, Action::VaultRotated, self.now());
        let entry = AuditEntry { account: by.map(Principal::account), ..entry };
        self.vault().finish_rotation(&entry, tell).await.map_err(|cause| self.refusal_of(cause.into()))
    }
}
