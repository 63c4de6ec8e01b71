//! Seats, which a person manages.

use super::{Call, Effect, Failed, Operation, Refusal, Spec, register_secret::shown, retries::Retries};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SeatId,
        limits::CODES_PER_HOUR_MAX,
        seat::{Seat, SeatName, SeatProfile},
        text::{AuthSubject, Email, PhoneNumber, TextError},
    },
    vault::{Outcome, Versioned},
};

/// The error for an `auth_subject` that is another seat's id.
pub const NOT_ANOTHERS_ID: &str = "must not be the id of another seat";

/// Changes of a seat. `None` leaves a field; an empty text removes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeatChanges {
    /// E-mail address; required for a new seat.
    pub email: Option<String>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Where calls are forwarded to.
    pub forwarding_number: Option<String>,
    /// The user's id at the identity provider.
    pub auth_subject: Option<String>,
    /// Codes in an hour, per secret; 0 removes the limit.
    pub codes_per_hour: Option<u32>,
}

/// Adds a seat.
#[derive(Debug, Clone)]
pub struct AddSeat {
    /// Its fields.
    pub profile: SeatChanges,
}

impl Operation for AddSeat {
    const SPEC: Spec = Spec::person("add_seat", Action::SeatAdd, Effect::Add);
    type Output = Seat;

    async fn run(self, call: &mut Call<'_>) -> Result<Seat, Failed> {
        let (now, account) = (call.entry.at.whole_millis(), call.caller.account());
        let profile = check_seat(&self.profile)?;
        let id = SeatId::new(call.service.ordered_id(now)?);
        let seat = Seat { id, account, created_at: now, profile };
        call.refuse_anothers_id(&seat).await?;
        call.entry.seat = Some(id);
        let draft = call.service.vault().draft(AuditEntry { at: now, ..call.entry.clone() });
        match draft.add(&seat).commit().await? {
            Outcome::Done => Ok(seat),
            Outcome::Taken => Err(Refusal::Exists(TAKEN).into()),
            Outcome::Stale => Err(Refusal::NotFound("account").into()),
        }
    }
}

/// Changes a seat.
#[derive(Debug, Clone)]
pub struct UpdateSeat {
    /// The seat's id, `auth_subject` or e-mail address.
    pub seat: String,
    /// The changes.
    pub changes: SeatChanges,
}

impl Operation for UpdateSeat {
    const SPEC: Spec = Spec::person("update_seat", Action::SeatUpdate, Effect::Change);
    type Output = Seat;

    async fn run(self, call: &mut Call<'_>) -> Result<Seat, Failed> {
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            let kept = call.kept_seat(&self.seat).await?;
            let profile = with_changes(kept.profile.clone(), &self.changes)?;
            let seat = Seat { profile, ..kept.value.clone() };
            call.refuse_anothers_id(&seat).await?;
            match call.service.vault().draft(call.entry.clone()).replace(&kept, &seat).commit().await? {
                Outcome::Done => return Ok(seat),
                Outcome::Taken => return Err(Refusal::Exists(TAKEN).into()),
                Outcome::Stale => retries.again().await?,
            }
        }
    }
}

/// Removes a seat; keys bound to it are revoked.
#[derive(Debug, Clone)]
pub struct RemoveSeat {
    /// The seat's id, `auth_subject` or e-mail address.
    pub seat: String,
}

impl Operation for RemoveSeat {
    const SPEC: Spec = Spec::person("remove_seat", Action::SeatRemove, Effect::Erase);
    type Output = ();

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            let kept = call.kept_seat(&self.seat).await?;
            match call.service.vault().remove_seat(&kept, call.entry.clone()).await? {
                Outcome::Done => return Ok(()),
                Outcome::Taken | Outcome::Stale => retries.again().await?,
            }
        }
    }
}

/// The error for a seat whose unique fields belong to another seat of the account.
const TAKEN: &str = "a seat with this e-mail address or `auth_subject`";

impl Call<'_> {
    /// The seat that a person names. The audit row names it from then on.
    pub(super) async fn kept_seat(&mut self, name: &str) -> Result<Versioned<Seat>, Failed> {
        let seat = self.service.seat_for(self.caller, Some(name)).await?.ok_or(Refusal::NotFound("seat"))?;
        self.entry.seat = Some(seat.id);
        let kept = self.service.vault().seat(self.caller.account(), &SeatName::Id(seat.id)).await?;
        Ok(kept.ok_or(Refusal::NotFound("seat"))?)
    }

    /// Refuses a seat whose `auth_subject` is another seat's id: it could never be found by it. Other subjects that are
    /// UUIDs are common.
    async fn refuse_anothers_id(&self, seat: &Seat) -> Result<(), Failed> {
        match seat.profile.subject_as_id() {
            Some(id) if id != seat.id && self.service.has_seat(seat.account, id).await? => {
                Err(Refusal::invalid("auth_subject", NOT_ANOTHERS_ID).into())
            }
            _ => Ok(()),
        }
    }
}

/// Checks a new seat without adding it: an import checks every line before it adds one.
///
/// # Errors
/// `invalid_argument`.
pub fn check_seat(from: &SeatChanges) -> Result<SeatProfile, Refusal> {
    let email = from.email.as_deref().ok_or_else(|| Refusal::invalid("email", "is required"))?;
    if from.codes_per_hour == Some(0) {
        let problem = format!("must be 1 to {CODES_PER_HOUR_MAX}; leave it out for no limit");
        return Err(Refusal::invalid("codes_per_hour", problem));
    }
    let profile = SeatProfile {
        email: parsed("email", email, Email::parse)?,
        first_name: None,
        last_name: None,
        forwarding_number: None,
        auth_subject: None,
        codes_per_hour: None,
    };
    with_changes(profile, from)
}

fn with_changes(mut profile: SeatProfile, from: &SeatChanges) -> Result<SeatProfile, Refusal> {
    if let Some(email) = &from.email {
        profile.email = parsed("email", email, Email::parse)?;
    }
    optional(&mut profile.first_name, from.first_name.as_deref(), |text| shown("first_name", text))?;
    optional(&mut profile.last_name, from.last_name.as_deref(), |text| shown("last_name", text))?;
    optional(&mut profile.forwarding_number, from.forwarding_number.as_deref(), |text| {
        parsed("forwarding_number", text, PhoneNumber::parse)
    })?;
    optional(&mut profile.auth_subject, from.auth_subject.as_deref(), |text| {
        parsed("auth_subject", text, AuthSubject::parse)
    })?;
    match from.codes_per_hour {
        None => {}
        Some(0) => profile.codes_per_hour = None,
        Some(most) if most <= CODES_PER_HOUR_MAX => profile.codes_per_hour = Some(most),
        Some(_) => return Err(Refusal::invalid("codes_per_hour", format!("must be 0 to {CODES_PER_HOUR_MAX}"))),
    }
    Ok(profile)
}

fn optional<T>(
    field: &mut Option<T>,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, Refusal>,
) -> Result<(), Refusal> {
    match text {
        None => {}
        Some(text) if text.trim().is_empty() => *field = None,
        Some(text) => *field = Some(parse(text)?),
    }
    Ok(())
}

fn parsed<T>(field: &'static str, text: &str, parse: fn(&str) -> Result<T, TextError>) -> Result<T, Refusal> {
    parse(text).map_err(|problem| Refusal::invalid(field, problem.to_string()))
}
