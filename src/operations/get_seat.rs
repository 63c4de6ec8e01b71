//! One seat, by its id or its `auth_subject`.

use super::{Access, Call, Effect, Failed, Operation, Refusal, Spec};
use crate::domain::{account::Account, audit::Action, scope::Scope, seat::Seat};

/// One seat. A caller that is bound to a seat must not learn which others exist.
#[derive(Debug, Clone)]
pub struct GetSeat {
    /// The seat's id, `auth_subject` or e-mail address.
    pub seat_id: String,
}

/// What a caller needs to read of seats.
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
    /// The caller's account, whose name seats show.
    pub(super) async fn account(&self) -> Result<Account, Failed> {
        let account = self.service.vault().account(self.caller.account()).await?;
        Ok(account.ok_or(Refusal::NotFound("account"))?.value)
    }
}
