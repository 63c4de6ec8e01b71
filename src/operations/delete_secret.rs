//! Deleting a secret: for good, as far as any caller can tell. A person may restore it for seven days.

use super::{Access, Call, Effect, Failed, Operation, Refusal, Spec, retries::Retries};
use crate::{
    domain::{audit::Action, ids::SecretId, scope::Scope},
    vault::Outcome,
};

/// Deletes a secret.
#[derive(Debug, Clone, Copy)]
pub struct DeleteSecret {
    /// The secret.
    pub secret_id: SecretId,
}

impl Operation for DeleteSecret {
    const SPEC: Spec = Spec {
        name: "delete_totp_secret",
        access: Access::Scope(Scope::SecretsWrite),
        action: Action::SecretDelete,
        effect: Effect::Erase,
    };
    type Output = ();

    fn secret(&self) -> Option<SecretId> {
        Some(self.secret_id)
    }

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let vault = call.service.vault();
        let mut retries = Retries::new(&call.service.parts.random);
        loop {
            let kept = vault.secret(call.caller.account(), self.secret_id).await?;
            let kept = kept.filter(|kept| kept.deleted_at.is_none()).ok_or(Refusal::NotFound("secret"))?;
            let draft = vault.draft(call.entry.clone()).set_deleted(&kept, Some(call.entry.at));
            if draft.commit().await? == Outcome::Done {
                return Ok(());
            }
            retries.again().await?;
        }
    }
}
