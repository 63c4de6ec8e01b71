//! Counting the seats of an account.

use super::{Call, Failed, Operation, Spec, get_seat::reads_seats};

/// How many seats the caller's account has; to a caller that is bound to a seat there is that one.
#[derive(Debug, Clone, Default)]
pub struct CountSeats {
    /// Only those with exactly this e-mail address.
    pub email: Option<String>,
}

impl Operation for CountSeats {
    const SPEC: Spec = reads_seats("get_seat_count");
    type Output = u64;

    async fn run(self, call: &mut Call<'_>) -> Result<u64, Failed> {
        if call.caller.seat().is_none() && self.email.is_none() {
            return Ok(call.service.vault().count_seats(call.caller.account()).await?);
        }
        Ok(u64::from(call.seat_with(self.email.as_deref()).await?.is_some()))
    }
}
