//! This operation writes a backup of the whole vault, for a person.

use std::path::PathBuf;

use super::{Call, Effect, Failed, Operation, Refusal, Spec};
use crate::{domain::audit::Action, vault::BackedUp};

/// Writes a backup of the vault, every account in it, to a new file. The vault's key is not in it.
#[derive(Debug, Clone)]
pub struct BackUp {
    /// The file. It must not exist.
    pub to: PathBuf,
}

impl Operation for BackUp {
    const SPEC: Spec = Spec::person("back_up", Action::VaultBackup, Effect::Read);
    type Output = BackedUp;

    async fn run(self, call: &mut Call<'_>) -> Result<BackedUp, Failed> {
        let vault = call.service.vault();
        // The row is committed before the copy, so that the backup itself says when it was made.
        vault.record(vec![call.entry.clone()]).await?;
        let made = vault.back_up(&self.to).await;
        made.map_err(|cause| Refusal::NotBackedUp(cause.to_string()).into())
    }
}
