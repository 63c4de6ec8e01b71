//! Reads the state of an enrolment, without waiting.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Access, Api, ApiOperation, Call, Effect, EnrollResponse, Enrolled, ErrorCode, Failed, Method, Operation, Refusal,
    Spec,
};
use crate::domain::{audit::Action, ids::EnrolmentId, scope::Scope};

/// One enrolment of the caller.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ReadEnrollment {
    /// The `enrollment_id` of the answer that began it.
    pub enrollment_id: EnrolmentId,
}

impl ApiOperation for ReadEnrollment {
    const API: Api = Api {
        title: "Get an enrolment",
        // The tool that begins one waits for its end, too.
        words: None,
        method: Method::Get,
        path: "/api/v2/totp/enrollments/{enrollment_id}",
        id: "getTotpEnrollment",
        tag: "TOTP",
        description: "What came of an enrolment so far, for the caller that began it. It does not wait.",
        answer: "The enrolment.",
        waits: false,
        refusals: &[ErrorCode::NotFound],
    };
    type Answer = EnrollResponse;
    type RestAnswer = EnrollResponse;
}

impl Operation for ReadEnrollment {
    const SPEC: Spec = Spec {
        name: "get_totp_enrollment",
        access: Access::Scope(Scope::SecretsWrite),
        action: Action::Call,
        effect: Effect::Read,
    };
    type Output = Enrolled;

    async fn run(self, call: &mut Call<'_>) -> Result<Enrolled, Failed> {
        let kept = call.service.vault().enrolment(self.enrollment_id).await?;
        let kept = kept.filter(|kept| kept.is_of(call.caller)).ok_or(Refusal::NotFound("enrolment"))?;
        call.service.enrolled(&kept).await
    }
}
