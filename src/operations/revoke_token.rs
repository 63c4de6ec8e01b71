//! Revokes a short-lived token, by the holder of its key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Access, Api, ApiOperation, Call, Effect, ErrorCode, Failed, Method, Operation, Refusal, Spec, answers::OK,
};
use crate::{
    domain::{audit::Action, ids::TokenId},
    vault::Outcome,
};

/// Revokes a token.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub struct RevokeToken {
    /// The id that stood beside the token when it was made.
    pub token_id: TokenId,
}

/// The answer to a revocation.
#[derive(Serialize, JsonSchema)]
pub struct TokenRevokeResponse {
    /// `OK`.
    pub status: &'static str,
}

impl From<()> for TokenRevokeResponse {
    fn from((): ()) -> Self {
        Self { status: OK }
    }
}

impl ApiOperation for RevokeToken {
    const API: Api = Api {
        title: "Revoke a short-lived token",
        words: None,
        method: Method::Delete,
        path: "/v3/auth/tokens/{token_id}",
        id: "revokeToken",
        tag: "Tokens",
        description: "Ends a token at once. Needs the key that it was made from.",
        answer: "It was revoked.",
        waits: false,
        refusals: &[ErrorCode::NotFound],
    };
    type Answer = TokenRevokeResponse;
    type RestAnswer = TokenRevokeResponse;
}

impl Operation for RevokeToken {
    const SPEC: Spec =
        Spec { name: "revoke_token", access: Access::Key, action: Action::TokenRevoke, effect: Effect::Erase };
    type Output = ();

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let vault = call.service.vault();
        let kept = vault.token(self.token_id).await?;
        let kept = kept.filter(|kept| Some(kept.key) == call.caller.key() && kept.account == call.caller.account());
        let kept = kept.ok_or(Refusal::NotFound("token"))?;
        // A token never changes: a stale draft means that another call has removed it.
        match vault.draft(call.entry.clone()).remove(&kept).commit().await? {
            Outcome::Done => Ok(()),
            Outcome::Stale | Outcome::Taken => Err(Refusal::NotFound("token").into()),
        }
    }
}
