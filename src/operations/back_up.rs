//! Writes a backup of the whole vault, for a person.

use std::path::{Path, PathBuf};

use super::{Call, Effect, Failed, Operation, Refusal, Service, Spec};
use crate::{
    domain::{
        age::Recipient,
        audit::{Action, Actor, AuditEntry},
    },
    vault::{BackedUp, Vault},
};

/// Writes a backup of the vault, every account in it, to a new file. The vault's key is not in it.
#[derive(Debug, Clone)]
pub struct BackUp {
    /// The file. It must not exist.
    pub to: PathBuf,
    /// The only people who can open the file, which is encrypted once more for them. Empty: the vault's key opens it.
    pub recipients: Vec<Recipient>,
}

impl Operation for BackUp {
    const SPEC: Spec = Spec::person("back_up", Action::VaultBackup, Effect::Read);
    type Output = BackedUp;

    async fn run(self, call: &mut Call<'_>) -> Result<BackedUp, Failed> {
        back_up(call.service.vault(), call.entry.clone(), &self.to, self.recipients).await
    }
}

impl Service {
    /// Writes a backup that a server makes by itself.
    ///
    /// # Errors
    /// As those of [`BackUp`].
    pub async fn back_up_unasked(&self, to: &Path) -> Result<BackedUp, Refusal> {
        let entry = AuditEntry::by(Actor::System, Action::VaultBackup, self.now());
        let made = back_up(self.vault(), entry, to, Vec::new()).await.map_err(|failed| self.refusal_of(failed))?;
        self.shared.counters.backed_up(self.now());
        Ok(made)
    }
}

async fn back_up(vault: &Vault, entry: AuditEntry, to: &Path, recipients: Vec<Recipient>) -> Result<BackedUp, Failed> {
    // The row is committed before the copy, so that the backup itself records when it was made.
    vault.record(vec![entry]).await?;
    vault.back_up(to, recipients).await.map_err(|cause| Refusal::NotBackedUp(cause.to_string()).into())
}
