//! The seats that a person may mean by a name.

use super::{Call, Effect, Failed, Operation, Spec};
use crate::domain::{
    audit::Action,
    seat::{Seat, SeatName},
    text::{AuthSubject, Email},
};

/// The seats that match a name, for a person to choose from: the one with this id, or else with this `auth_subject`;
/// and the one with this e-mail address. No match is no error.
#[derive(Debug, Clone)]
pub struct FindSeats {
    /// The text that the person typed.
    pub name: String,
}

impl Operation for FindSeats {
    const SPEC: Spec = Spec::person("find_seats", Action::Call, Effect::Read);
    type Output = Vec<Seat>;

    async fn run(self, call: &mut Call<'_>) -> Result<Vec<Seat>, Failed> {
        let (vault, account) = (call.service.vault(), call.caller.account());
        let by_id = self.name.parse().ok().map(SeatName::Id);
        let by_subject = AuthSubject::parse(&self.name).ok().map(SeatName::Subject);
        let mut found: Vec<Seat> = Vec::new();
        for name in by_id.into_iter().chain(by_subject) {
            if found.is_empty() {
                found.extend(vault.seat(account, &name).await?.map(|kept| kept.value));
            }
        }
        if let Ok(email) = Email::parse(&self.name)
            && let Some(seat) = vault.seat_by_email(account, &email).await?
            && found.iter().all(|other| other.id != seat.id)
        {
            found.push(seat.value);
        }
        Ok(found)
    }
}
