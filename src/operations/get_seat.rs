//! Reads one seat, by its id or its `auth_subject`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Access, Api, ApiOperation, Call, Effect, ErrorCode, Failed, Method, Operation, Refusal, Spec,
    answers::{self, OK},
};
use crate::domain::{account::Account, audit::Action, scope::Scope, seat::Seat};

/// One seat. A caller that is bound to a seat must not learn which others exist.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct GetSeat {
    /// The seat's id, or the user's id at the identity provider (`auth_subject`).
    pub seat_id: String,
}

/// One seat, as callers see it.
#[derive(Serialize, JsonSchema)]
pub struct SeatRetrieveResponse {
    /// The seat.
    pub seat: answers::Seat,
    /// `OK`.
    pub status: &'static str,
}

impl From<(Seat, Account)> for SeatRetrieveResponse {
    fn from((seat, account): (Seat, Account)) -> Self {
        Self { seat: answers::Seat::of(&seat, &account), status: OK }
    }
}

impl ApiOperation for GetSeat {
    const API: Api = Api {
        title: "Get a seat",
        words: Some("Returns one seat (a person in the account)."),
        method: Method::Get,
        path: "/api/v2/seats/{seat_id}",
        id: "getSeat",
        tag: "Seats",
        description: "One seat, by its id or by its `auth_subject`.",
        answer: "The seat.",
        waits: false,
        refusals: &[ErrorCode::NotFound],
    };
    type Answer = SeatRetrieveResponse;
    type RestAnswer = SeatRetrieveResponse;
}

/// The specification of an operation that reads seats.
pub(super) const fn reads_seats(name: &'static str) -> Spec {
    Spec { name, access: Access::Scope(Scope::SeatsRead), action: Action::Call, effect: Effect::Read }
}

impl Operation for GetSeat {
    const SPEC: Spec = reads_seats("get_seat");
    type Output = (Seat, Account);

    async fn run(self, call: &mut Call<'_>) -> Result<(Seat, Account), Failed> {
        let seat = call.service.seat_for(call.caller, Some(&self.seat_id)).await?;
        Ok((seat.ok_or(Refusal::NotFound("seat"))?, call.account().await?))
    }
}

impl Call<'_> {
    /// The caller's account, whose name is part of a seat's answer.
    pub(super) async fn account(&self) -> Result<Account, Failed> {
        let account = self.service.vault().account(self.caller.account()).await?;
        Ok(account.ok_or(Refusal::NotFound("account"))?.value)
    }
}
