//! Counting the seats of an account.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Api, ApiOperation, Call, Failed, Method, Operation, Spec, get_seat::reads_seats};

/// How many seats the caller's account has; to a caller that is bound to a seat there is that one.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct CountSeats {
    /// Only the seat with this address.
    #[serde(default)]
    #[schemars(with = "String")]
    pub email: Option<String>,
}

/// How many seats there are.
#[derive(Serialize, JsonSchema)]
pub struct SeatCountResponse {
    /// The number.
    pub count: u64,
}

impl From<u64> for SeatCountResponse {
    fn from(count: u64) -> Self {
        Self { count }
    }
}

impl ApiOperation for CountSeats {
    const API: Api = Api {
        title: "Count seats",
        words: Some("Returns how many seats (people) the account has."),
        method: Method::Get,
        path: "/api/v2/seats/count",
        id: "countSeats",
        tag: "Seats",
        description: "How many seats the account has; with `email`, how many have exactly that address.",
        answer: "The number.",
        waits: false,
        refusals: &[],
    };
    type Answer = SeatCountResponse;
    type RestAnswer = SeatCountResponse;
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
