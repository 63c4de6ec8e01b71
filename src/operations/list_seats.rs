//! Listing the seats of an account, oldest first.

use super::{Call, Effect, Failed, Operation, Refusal, Spec, get_seat::reads_seats, sound};
use crate::{
    domain::{
        account::Account,
        audit::Action,
        limits::PAGE_ROWS_MAX,
        seat::{Seat, SeatName},
        text::Email,
    },
    vault::Page,
};

/// The seats of the caller's account; to a caller that is bound to a seat there is that one. A damaged one is left out,
/// with a line in the log.
#[derive(Debug, Clone, Default)]
pub struct ListSeats {
    /// Exactly this e-mail address.
    pub email: Option<String>,
    /// Rows of a page, 0..=1000; all without it.
    pub limit: Option<u32>,
    /// Rows to skip.
    pub offset: u64,
}

impl Operation for ListSeats {
    const SPEC: Spec = reads_seats("list_seats");
    type Output = (Vec<Seat>, Account);

    async fn run(self, call: &mut Call<'_>) -> Result<(Vec<Seat>, Account), Failed> {
        if self.limit.is_some_and(|limit| limit > PAGE_ROWS_MAX) {
            return Err(Refusal::invalid("limit", format!("must be 0 to {PAGE_ROWS_MAX}")).into());
        }
        let account = call.account().await?;
        if call.caller.seat().is_none() && self.email.is_none() {
            let page = Page { offset: self.offset, limit: self.limit };
            let seats = sound(call.service.vault().seats(account.id, page).await?);
            return Ok((seats.into_iter().map(|kept| kept.value).collect(), account));
        }
        let one = call.seat_with(self.email.as_deref()).await?;
        let shown = self.offset == 0 && self.limit != Some(0);
        Ok((one.into_iter().filter(|_| shown).collect(), account))
    }
}

impl Call<'_> {
    /// The seat that the caller is bound to or the one that has this address; both, if both are asked for.
    pub(super) async fn seat_with(&self, email: Option<&str>) -> Result<Option<Seat>, Failed> {
        let (vault, account) = (self.service.vault(), self.caller.account());
        // What is no e-mail address is no seat's.
        let Ok(email) = email.map(Email::parse).transpose() else { return Ok(None) };
        let found = match (self.caller.seat(), &email) {
            (Some(bound), _) => vault.seat(account, &SeatName::Id(bound)).await?,
            (None, Some(email)) => vault.seat_by_email(account, email).await?,
            (None, None) => None,
        };
        let found = found.map(|kept| kept.value);
        Ok(found.filter(|seat| email.is_none_or(|email| seat.profile.email == email)))
    }
}

/// Every seat of the caller's account, for a person who must not miss one: a damaged one is an error.
#[derive(Debug, Clone, Copy)]
pub struct EverySeat;

impl Operation for EverySeat {
    const SPEC: Spec = Spec::person("every_seat", Action::Call, Effect::Read);
    type Output = Vec<Seat>;

    async fn run(self, call: &mut Call<'_>) -> Result<Vec<Seat>, Failed> {
        let listed = call.service.vault().seats(call.caller.account(), Page::ALL).await?;
        match listed.damaged.into_iter().next() {
            Some((_, cause)) => Err(cause.into()),
            None => Ok(listed.sound.into_iter().map(|kept| kept.value).collect()),
        }
    }
}
