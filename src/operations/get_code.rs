//! Gives a caller a code: the current one, a fresh one, or one that no other caller gets. The module `issue` takes it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Access, Api, ApiOperation, Call, Effect, ErrorCode, Failed, ForSeat, IssuedCode, Method, Operation, Seconds, Spec,
    answers::{OK, Revealed},
    bounds::PurposeText,
};
use crate::domain::{
    audit::Action,
    ids::SecretId,
    limits::{PERIOD_SECONDS_MAX, WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX},
    principal::Principal,
    scope::Scope,
    steps::CodeWish,
    text::Purpose,
};

/// Gives a caller a code of a secret.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct GetCode {
    /// From the list of secrets.
    pub secret_id: SecretId,
    /// Seconds that must be left of the code. With fewer, the call waits for the next one.
    #[serde(default)]
    #[schemars(with = "Seconds<0, PERIOD_SECONDS_MAX>", extend("default" = 0))]
    pub min_validity: Option<Seconds<0, PERIOD_SECONDS_MAX>>,
    /// True: the code goes to no other caller. For accounts of several agents.
    #[serde(default)]
    pub single_use: bool,
    /// True: digits that `countersign guard`, the browser's proxy, replaces by a code.
    #[serde(default)]
    pub decoy: bool,
    /// Seconds to wait for a code at most.
    #[serde(default)]
    #[schemars(with = "Seconds<0, WAIT_SECONDS_MAX>", extend("default" = WAIT_SECONDS_DEFAULT))]
    pub max_wait: Option<Seconds<0, WAIT_SECONDS_MAX>>,
    /// The seat (user) it is for: its id or `auth_subject`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub seat_id: Option<String>,
    /// Why, for the audit log. No secrets or codes.
    #[serde(default)]
    #[schemars(with = "PurposeText")]
    pub purpose: Option<String>,
}

impl GetCode {
    /// A plain call for a code.
    pub const fn of(secret_id: SecretId) -> Self {
        Self {
            secret_id,
            min_validity: None,
            single_use: false,
            decoy: false,
            max_wait: None,
            seat_id: None,
            purpose: None,
        }
    }

    /// Whether the answer is a decoy: because the call requests one, or because its caller gets no codes.
    fn is_for_a_decoy(&self, caller: &Principal) -> bool {
        self.decoy || (caller.may(Scope::CodesDecoy) && !caller.may(Scope::CodesRead))
    }
}

/// A code, as callers see it.
#[derive(Serialize, JsonSchema)]
pub struct TotpGetCodeResponse {
    /// The digits, leading zeros kept.
    pub code: Revealed,
    /// Whole seconds until it rotates.
    #[schemars(range(min = 1, max = PERIOD_SECONDS_MAX))]
    pub expires_in: u32,
    /// `OK`.
    pub status: &'static str,
}

impl From<IssuedCode> for TotpGetCodeResponse {
    fn from(from: IssuedCode) -> Self {
        Self { code: Revealed::from(&from.code), expires_in: from.expires_in, status: OK }
    }
}

impl ApiOperation for GetCode {
    const API: Api = Api {
        title: "Get a TOTP code",
        words: Some(
            "Returns the current login code of a stored secret, and expires_in, the seconds until it rotates. Call it at the moment the code is asked for. After busy or rate_limited, wait as long as they say and ask again.",
        ),
        method: Method::Get,
        path: "/api/v2/totp/code/{secret_id}",
        id: "getTotpCode",
        tag: "TOTP",
        description: "The current code of a secret and the whole seconds until it rotates. With `min_validity` it waits \
                      for the next code if fewer seconds are left; with `single_use` the code goes to no other caller, \
                      and a later one is waited for if need be. `busy` says, also in `Retry-After`, in how many seconds \
                      a code is free.",
        answer: "The code.",
        waits: true,
        refusals: &[ErrorCode::NotFound, ErrorCode::Busy],
    };
    type Answer = TotpGetCodeResponse;
    type RestAnswer = TotpGetCodeResponse;
}

impl Operation for GetCode {
    const SPEC: Spec =
        Spec { name: "get_totp_code", access: Access::Codes, action: Action::CodeGet, effect: Effect::Use };
    type Output = IssuedCode;

    fn spec_for(&self, caller: &Principal) -> Spec {
        let action = if self.is_for_a_decoy(caller) { Action::CodeDecoy } else { Action::CodeGet };
        Spec { action, ..Self::SPEC }
    }

    fn secret(&self) -> Option<SecretId> {
        Some(self.secret_id)
    }

    fn seat(&self) -> ForSeat<'_> {
        ForSeat::Named(self.seat_id.as_deref())
    }

    async fn run(self, call: &mut Call<'_>) -> Result<IssuedCode, Failed> {
        call.entry.purpose = self.purpose.as_deref().and_then(Purpose::of);
        if self.is_for_a_decoy(call.caller) {
            return call.decoy(self.secret_id).await;
        }
        let max_wait = self.max_wait.map_or(WAIT_SECONDS_DEFAULT, Seconds::get);
        let wish = CodeWish {
            min_validity: self.min_validity.map_or(0, Seconds::get),
            single_use: self.single_use,
            max_wait: Duration::from_secs(u64::from(max_wait)),
        };
        call.issue(self.secret_id, wish, self.max_wait.is_some()).await
    }
}
