//! Checks a code that a person typed from their own authenticator app.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Access, Api, ApiOperation, Call, Effect, ErrorCode, Failed, ForSeat, Limit, Method, Operation, Refusal, Spec,
    answers::OK,
    bounds::{CodeDigits, wiped},
    retries::Retries,
};
use crate::{
    domain::{
        audit::{Action, AuditEntry, Outcome as AuditOutcome},
        characters::parts_groups,
        code_use::UseState,
        ids::SecretId,
        scope::Scope,
        totp::Step,
    },
    vault::{InUse, Outcome},
};

/// The most digits of a typed code that are examined: one more than any code has.
const TYPED_MAX: usize = 9;

/// Checks a code. Each time step is accepted once; wrong tries slow down further ones, in every process.
#[derive(Deserialize, JsonSchema)]
pub struct VerifyCode {
    /// From the list of secrets.
    pub secret_id: SecretId,
    /// The code that the person typed.
    #[serde(deserialize_with = "wiped")]
    #[schemars(with = "CodeDigits")]
    pub code: Zeroizing<String>,
    /// The seat (user) it is for: its id or `auth_subject`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub seat_id: Option<String>,
}

/// Whether a code was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verification {
    /// Whether the code is that of this step, the one before or the one after, and was not accepted before.
    pub valid: bool,
}

/// Whether a code was right, as callers see it.
#[derive(Serialize, JsonSchema)]
pub struct VerifyResponse {
    /// `OK`.
    pub status: &'static str,
    /// True if the code is right at this moment, and neither it nor a later one was accepted before.
    pub valid: bool,
}

impl From<Verification> for VerifyResponse {
    fn from(from: Verification) -> Self {
        Self { status: OK, valid: from.valid }
    }
}

impl ApiOperation for VerifyCode {
    const API: Api = Api {
        title: "Verify a TOTP code",
        words: Some(
            "Checks a code that a person typed from their own authenticator app, to prove their presence or finish an enrolment. Returns valid: true if it is right now and neither it nor a later one was accepted before.",
        ),
        method: Method::Post,
        path: "/api/v2/totp/code/{secret_id}/verify",
        id: "verifyTotpCode",
        tag: "TOTP",
        description: "Whether a code that a person typed is right at this moment, one time step either side. Each step is \
                      accepted once, and none after a later one; wrong codes slow down further checks of that secret.",
        answer: "Whether it was right.",
        waits: false,
        refusals: &[ErrorCode::NotFound],
    };
    type Answer = VerifyResponse;
    type RestAnswer = VerifyResponse;
}

/// The result of a check, before it is committed.
struct Checked {
    valid: bool,
    state: Option<UseState>,
    step: Option<Step>,
}

impl Operation for VerifyCode {
    const SPEC: Spec = Spec {
        name: "verify_totp_code",
        access: Access::Scope(Scope::CodesVerify),
        action: Action::CodeVerify,
        effect: Effect::Use,
    };
    type Output = Verification;

    fn secret(&self) -> Option<SecretId> {
        Some(self.secret_id)
    }

    fn seat(&self) -> ForSeat<'_> {
        ForSeat::Named(self.seat_id.as_deref())
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Verification, Failed> {
        let (vault, account) = (call.service.vault(), call.caller.account());
        // People type codes as apps show them: `123 456`.
        let digits = self.code.chars().filter(|c| !parts_groups(*c)).take(TYPED_MAX);
        let typed = Zeroizing::new(digits.collect::<String>());
        let mut retries = Retries::new(&call.service.shared.random);
        let mut counted = false;
        loop {
            let now = call.service.now();
            let in_use = vault.in_use(account, self.secret_id, &[], now).await?.ok_or(Refusal::NotFound("secret"))?;
            call.service.check_skew()?;
            if !std::mem::replace(&mut counted, true) {
                call.count_use(self.secret_id).await?;
            }
            let entry = AuditEntry { at: now, ..call.entry.clone() };
            let Checked { valid, state, step } = call.check(&in_use, &typed, &entry)?;
            let outcome = if valid { AuditOutcome::Ok } else { AuditOutcome::Wrong };
            let draft = vault.draft(AuditEntry { outcome, step, ..entry }).used(&in_use, state.as_ref());
            if draft.commit().await? == Outcome::Done {
                return Ok(Verification { valid });
            }
            retries.again().await?;
        }
    }
}

impl Call<'_> {
    /// Whether a typed code is correct, and the new state of the secret's marks.
    fn check(&self, in_use: &InUse, typed: &str, entry: &AuditEntry) -> Result<Checked, Failed> {
        let mut state = in_use.state.clone();
        if let Some(after) = state.verify.held(entry.at) {
            return Err(Refusal::RateLimited { limit: Limit::WrongCodes, after }.into());
        }
        let totp = &in_use.secret.metadata.totp;
        let digits = totp.digits.get();
        if typed.len() != usize::from(digits) || !typed.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refusal::invalid("code", format!("must be {digits} digits")).into());
        }
        let seed = self.service.vault().open_seed(in_use)?;
        let current = totp.step_at(entry.at).0;
        // Make and compare all three whatever the results, so that the time reveals nothing.
        let window = [current.saturating_sub(1), current, current.saturating_add(1)].map(Step);
        let hits = window.map(|step| totp.code_at(&seed, step).matches(typed));
        let mut right = window.into_iter().zip(hits).filter(|(_, hit)| *hit).map(|(step, _)| step).peekable();
        if right.peek().is_none() {
            state.verify.refuse(entry.at);
            return Ok(Checked { valid: false, state: Some(state), step: None });
        }
        match right.find(|step| state.verify.is_unused(*step)) {
            Some(step) => {
                state.verify.accept(step);
                Ok(Checked { valid: true, state: Some(state), step: Some(step) })
            }
            // A correct code that was already accepted is refused, but it is not a guess and causes no delay.
            None => Ok(Checked { valid: false, state: None, step: None }),
        }
    }
}
