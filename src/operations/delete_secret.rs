//! Deletes a secret: for good as far as callers can tell. A person may restore it for seven days.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Access, Api, ApiOperation, Call, Effect, ErrorCode, Failed, Method, Operation, Refusal, Spec, answers::OK,
    retries::Retries,
};
use crate::{
    domain::{audit::Action, ids::SecretId, scope::Scope},
    vault::Outcome,
};

/// Deletes a secret.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub struct DeleteSecret {
    /// From the list of secrets.
    pub secret_id: SecretId,
}

/// The answer to a deletion.
#[derive(Serialize, JsonSchema)]
pub struct SecretDeleteResponse {
    /// `OK`.
    pub status: &'static str,
}

impl From<()> for SecretDeleteResponse {
    fn from((): ()) -> Self {
        Self { status: OK }
    }
}

impl ApiOperation for DeleteSecret {
    const API: Api = Api {
        title: "Delete a TOTP secret",
        words: Some(
            "Permanently deletes a stored TOTP secret: logins that need its codes will fail. Only on the explicit wish of a person.",
        ),
        method: Method::Delete,
        path: "/api/v2/totp/secrets/{secret_id}",
        id: "deleteTotpSecret",
        tag: "TOTP",
        description: "Permanently deletes a stored secret, as far as any caller can tell.",
        answer: "It was deleted.",
        waits: false,
        refusals: &[ErrorCode::NotFound],
    };
    type Answer = SecretDeleteResponse;
    type RestAnswer = SecretDeleteResponse;
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
        let mut retries = Retries::new(&call.service.shared.random);
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
