//! Seats: callers read them; a person keeps them.

use super::{Code, Refusal, Service, register_secret::shown, sound};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::{AccountId, SeatId},
        limits::{CODES_PER_HOUR_MAX, PAGE_ROWS_MAX},
        principal::Principal,
        scope::Scope,
        seat::{Seat, SeatName, SeatProfile},
        text::{AuthSubject, Email, PhoneNumber, TextError},
    },
    store::{Changed, Page, StoreError},
};

/// What an `auth_subject` must not be.
pub const NOT_ANOTHERS_ID: &str = "must not be the id of another seat";

/// Which seats a caller wants to see.
#[derive(Debug, Clone, Default)]
pub struct SeatQuery {
    /// Exactly this e-mail address, as it is written.
    pub email: Option<String>,
    /// Rows of a page, 0..=1000; all without it.
    pub limit: Option<u32>,
    /// Rows to skip.
    pub offset: u64,
}

/// What a person says of a seat. `None` leaves it; an empty text removes it.
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
    /// Codes an hour, per secret; 0 removes the limit.
    pub codes_per_hour: Option<u32>,
}

impl Service {
    /// Lists the seats of the caller's account; to a caller that is bound to a seat there is that one. A damaged one is left
    /// out, with a line in the log.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_argument`, `unavailable`.
    pub async fn list_seats(&self, caller: &Principal, query: &SeatQuery) -> Result<Vec<Seat>, Refusal> {
        self.require(caller, Scope::SeatsRead, Action::Call).await?;
        if query.limit.is_some_and(|limit| limit > PAGE_ROWS_MAX) {
            let refusal = Refusal::invalid("limit", format!("must be 0 to {PAGE_ROWS_MAX}"));
            return Err(self.refuse(refusal, AuditEntry::of(caller, Action::Call, self.now())).await);
        }
        let page = Page { offset: query.offset, limit: query.limit };
        // What is no e-mail address is no seat's.
        let Ok(email) = query.email.as_deref().map(Email::parse).transpose() else { return Ok(Vec::new()) };
        match caller.seat() {
            None => {
                let listed = self.store().seats(caller.account(), email, page).await;
                listed.map(sound).map_err(|cause| self.failed(&cause))
            }
            Some(bound) => {
                let own = self.own_seat(caller, bound, email.as_ref()).await?;
                let (skipped, most) = (usize::try_from(page.offset), page.limit.map(usize::try_from));
                let rows = own.into_iter().skip(skipped.unwrap_or(usize::MAX));
                Ok(rows.take(most.and_then(Result::ok).unwrap_or(usize::MAX)).collect())
            }
        }
    }

    /// Every seat of the caller's account, for who must not miss one.
    ///
    /// # Errors
    /// `permission_denied`, `internal` if one is damaged, `unavailable`.
    pub async fn every_seat(&self, caller: &Principal) -> Result<Vec<Seat>, Refusal> {
        self.require_person(caller, Action::Call).await?;
        let listed =
            self.store().seats(caller.account(), None, Page::ALL).await.map_err(|cause| self.failed(&cause))?;
        listed.damaged.first().map_or(Ok(listed.sound), |cause| Err(self.failed(cause)))
    }

    /// Counts the seats of the caller's account; to a caller that is bound to a seat there is that one.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn count_seats(&self, caller: &Principal, email: Option<&str>) -> Result<u64, Refusal> {
        self.require(caller, Scope::SeatsRead, Action::Call).await?;
        let Ok(email) = email.map(Email::parse).transpose() else { return Ok(0) };
        match caller.seat() {
            None => self.store().count_seats(caller.account(), email).await.map_err(|cause| self.failed(&cause)),
            Some(bound) => Ok(self.own_seat(caller, bound, email.as_ref()).await?.map_or(0, |_| 1)),
        }
    }

    /// The seat that a caller is bound to, if it has this address.
    async fn own_seat(
        &self,
        caller: &Principal,
        bound: SeatId,
        email: Option<&Email>,
    ) -> Result<Option<Seat>, Refusal> {
        let found = self.store().seat(caller.account(), SeatName::Id(bound)).await;
        let found = found.map_err(|cause| self.failed(&cause))?;
        Ok(found.filter(|seat| email.is_none_or(|email| seat.profile.email == *email)))
    }

    /// One seat, by its id or its `auth_subject`. A caller that is bound to a seat must not learn which others exist.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `unavailable`.
    pub async fn get_seat(&self, caller: &Principal, name: &str) -> Result<Seat, Refusal> {
        self.require(caller, Scope::SeatsRead, Action::Call).await?;
        let found = self.find_seat(caller.account(), name).await.map_err(|cause| self.failed(&cause))?;
        match (found, caller.seat()) {
            (Some(seat), bound) if bound.is_none_or(|bound| bound == seat.id) => Ok(seat),
            (_, None) => {
                self.count_refusal(Code::NotFound);
                Err(Refusal::NotFound("seat"))
            }
            (_, Some(_)) => {
                Err(self.refuse(Refusal::OtherSeat, AuditEntry::of(caller, Action::Call, self.now())).await)
            }
        }
    }

    /// The seat that a text names: by its id, else by its `auth_subject` (which at some providers is a UUID too).
    pub(super) async fn find_seat(&self, account: AccountId, text: &str) -> Result<Option<Seat>, StoreError> {
        let by_id = text.parse().ok().map(SeatName::Id);
        let by_subject = AuthSubject::parse(text).ok().map(SeatName::Subject);
        for name in by_id.into_iter().chain(by_subject) {
            let found = self.store().seat(account, name).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Adds a seat.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_argument`, `unavailable`.
    pub async fn add_seat(&self, caller: &Principal, from: &SeatChanges) -> Result<Seat, Refusal> {
        self.require_person(caller, Action::SeatAdd).await?;
        let now = self.now().whole_millis();
        let profile = new_profile(from)?;
        let id = SeatId::new(self.ordered_id(now)?);
        let seat = Seat { id, account: caller.account(), created_at: now, profile };
        self.refuse_anothers_id(&seat).await?;
        let entry = AuditEntry { seat: Some(id), ..AuditEntry::of(caller, Action::SeatAdd, now) };
        self.store().add_seat(seat.clone(), entry).await.map_err(|cause| self.failed(&cause))?;
        Ok(seat)
    }

    /// Who is called by another seat's id could never be reached by it. Subjects that are UUIDs are usual otherwise.
    async fn refuse_anothers_id(&self, seat: &Seat) -> Result<(), Refusal> {
        match seat.profile.subject_as_id() {
            Some(id) if id != seat.id && self.has_seat(seat.account, id).await? => {
                Err(Refusal::invalid("auth_subject", NOT_ANOTHERS_ID))
            }
            _ => Ok(()),
        }
    }

    /// Checks what a person says of a new seat, without adding it: an import looks at every line before it adds one.
    ///
    /// # Errors
    /// `invalid_argument`.
    pub fn check_seat(&self, from: &SeatChanges) -> Result<SeatProfile, Refusal> {
        new_profile(from)
    }

    /// Changes a seat.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `invalid_argument`, `unavailable`.
    pub async fn update_seat(&self, caller: &Principal, name: &str, changes: &SeatChanges) -> Result<Seat, Refusal> {
        self.require_person(caller, Action::SeatUpdate).await?;
        let mut seat = self.get_seat(caller, name).await?;
        seat.profile = with_changes(seat.profile, changes)?;
        self.refuse_anothers_id(&seat).await?;
        let entry = AuditEntry { seat: Some(seat.id), ..AuditEntry::of(caller, Action::SeatUpdate, self.now()) };
        match self.store().change_seat(seat.clone(), entry).await.map_err(|cause| self.failed(&cause))? {
            Changed::Yes => Ok(seat),
            Changed::NotThere | Changed::Stale => Err(Refusal::NotFound("seat")),
        }
    }

    /// Removes a seat; keys bound to it are revoked.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `unavailable`.
    pub async fn remove_seat(&self, caller: &Principal, name: &str) -> Result<(), Refusal> {
        self.require_person(caller, Action::SeatRemove).await?;
        let seat = self.get_seat(caller, name).await?;
        let entry = AuditEntry { seat: Some(seat.id), ..AuditEntry::of(caller, Action::SeatRemove, self.now()) };
        let removed = self.store().remove_seat(caller.account(), seat.id, entry);
        if removed.await.map_err(|cause| self.failed(&cause))? { Ok(()) } else { Err(Refusal::NotFound("seat")) }
    }
}

fn new_profile(from: &SeatChanges) -> Result<SeatProfile, Refusal> {
    let email = from.email.as_deref().ok_or_else(|| Refusal::invalid("email", "is required"))?;
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
