//! The keys that open the vault: a person lists, adds and removes them.

use std::sync::Arc;

use super::{Call, Effect, Failed, Operation, Refusal, Service, Spec, retries::Retries};
use crate::{
    domain::{audit::Action, text::Name},
    random::NoRandomness,
    vault::{KeyError, RecoveryWords, SlotError, Source, UnlockError, VaultKey},
};

/// The refusal to remove the key in use.
const IN_USE: &str = "the vault was opened by this key just now; open it by another one (`--key-source`) to see that you can, or \
                      use --force";

impl Service {
    /// New words of a recovery key. They open nothing before they are added.
    ///
    /// # Errors
    /// `internal`: the system gave no random bytes.
    pub fn new_recovery_words(&self) -> Result<RecoveryWords, Refusal> {
        let words = RecoveryWords::generate(self.shared.random.as_ref());
        words.map_err(|cause: NoRandomness| self.refusal_of(cause.into()))
    }
}

/// Every key that opens the vault, in the order in which they were added.
#[derive(Debug, Clone, Copy)]
pub struct ListVaultKeys;

impl Operation for ListVaultKeys {
    const SPEC: Spec = Spec::person("list_vault_keys", Action::Call, Effect::Read);
    type Output = Vec<VaultKey>;

    async fn run(self, call: &mut Call<'_>) -> Result<Vec<VaultKey>, Failed> {
        Ok(call.service.vault().vault_keys().await?)
    }
}

/// Adds a key that opens the vault.
pub struct AddVaultKey {
    /// The source of the new key.
    pub new: Arc<Source>,
    /// Its label, for people.
    pub label: Option<String>,
}

impl Operation for AddVaultKey {
    const SPEC: Spec = Spec::person("add_vault_key", Action::VaultKeyAdd, Effect::Change);
    type Output = VaultKey;

    async fn run(self, call: &mut Call<'_>) -> Result<VaultKey, Failed> {
        let vault = call.service.vault();
        let label = self.label.as_deref().map(Name::parse).transpose();
        let label = label.map_err(|problem| Refusal::invalid("label", problem.to_string()))?;
        let new = vault.new_key(&self.new).await.map_err(|cause| Refusal::VaultKey(cause.to_string()))?;
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            match vault.add_slot(&new, label.as_ref(), call.entry.clone()).await {
                Err(SlotError::Stale) => retries.again().await?,
                done => return Ok(done?),
            }
        }
    }
}

/// Removes a key that opens the vault. One always stays.
#[derive(Debug, Clone, Copy)]
pub struct RemoveVaultKey {
    /// Its id.
    pub id: u8,
    /// Whether to remove it even if the vault was opened by it.
    pub force: bool,
}

impl Operation for RemoveVaultKey {
    const SPEC: Spec = Spec::person("remove_vault_key", Action::VaultKeyRemove, Effect::Erase);
    type Output = ();

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            match call.service.vault().remove_slot(self.id, self.force, call.entry.clone()).await {
                Err(SlotError::Stale) => retries.again().await?,
                done => return Ok(done?),
            }
        }
    }
}

impl From<SlotError> for Failed {
    fn from(cause: SlotError) -> Self {
        match cause {
            SlotError::Store(cause) => cause.into(),
            SlotError::NoRandomness(cause) => cause.into(),
            SlotError::NotFound => Refusal::NotFound("key of the vault").into(),
            SlotError::Last => {
                Refusal::InUse("this is the only key that opens the vault; add another one first").into()
            }
            SlotError::InUse => Refusal::InUse(IN_USE).into(),
            SlotError::Unlock(UnlockError::WrongKey) | SlotError::Key(KeyError::Wrong) => {
                Refusal::VaultKey("the key that opened the vault was removed meanwhile".to_owned()).into()
            }
            cause @ (SlotError::Full
            | SlotError::There(_)
            | SlotError::Stale
            | SlotError::Same(_)
            | SlotError::Busy
            | SlotError::Begun(_)
            | SlotError::Absent(_)
            | SlotError::Foreign(_)
            | SlotError::Unlock(UnlockError::Damaged)
            | SlotError::Key(_)) => Refusal::VaultKey(cause.to_string()).into(),
        }
    }
}
