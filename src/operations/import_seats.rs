//! Imports the seats of a file in one change, without those that already exist.

use std::collections::HashMap;

use super::{
    Call, Effect, EverySeat, Failed, NOT_ANOTHERS_ID, Operation, Refusal, SeatChanges, Spec, check_seat,
    retries::Retries,
};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SeatId,
        seat::{Seat, SeatProfile},
    },
    vault::Outcome,
};

/// Imports seats, all or none: none if one of them is wrong.
#[derive(Debug)]
pub struct ImportSeats {
    /// The seats, in the file's order.
    pub entries: Vec<SeatChanges>,
}

/// The result of an import.
#[derive(Debug)]
pub struct ImportedSeats {
    /// The seats that were added, in the file's order.
    pub seats: Vec<Seat>,
    /// The outcome of each entry.
    pub sorted: SortedSeats,
}

/// The entries of a file, by outcome.
#[derive(Debug, Default)]
pub struct SortedSeats {
    /// The entries to add.
    pub new: Vec<SeatProfile>,
    /// The entries whose seat exists, in the account or earlier in the file.
    pub present: Vec<PresentSeat>,
    /// The problems of other entries, by their indexes from 0. If there are any, nothing is added.
    pub problems: Vec<(usize, String)>,
}

/// An entry whose e-mail address a seat has.
#[derive(Debug)]
pub struct PresentSeat {
    /// Its index, from 0.
    pub index: usize,
    /// Its e-mail address.
    pub email: String,
    /// Whether another field differs from the seat's.
    pub differs: bool,
}

impl SortedSeats {
    /// Sorts entries by their outcome, given the seats of the account.
    pub fn of(entries: &[SeatChanges], kept: &[Seat]) -> Self {
        let (mut sorted, mut known) = (Self::default(), KnownSeats::default());
        for seat in kept {
            known.take(&seat.profile, None);
        }
        for (index, changes) in entries.iter().enumerate() {
            let profile = match check_seat(changes) {
                Ok(profile) => profile,
                Err(refusal) => {
                    sorted.problems.push((index, refusal.to_string()));
                    continue;
                }
            };
            let is_anothers = |id| kept.iter().any(|seat| seat.id == id && !is_same(&seat.profile, &profile));
            if profile.subject_as_id().is_some_and(is_anothers) {
                sorted.problems.push((index, format!("`auth_subject` {NOT_ANOTHERS_ID}")));
            }
            match known.place(&profile) {
                Place::Free => {
                    known.take(&profile, Some(index));
                    sorted.new.push(profile);
                }
                Place::There { differs } => {
                    sorted.present.push(PresentSeat { index, email: profile.email.to_string(), differs });
                }
                Place::Taken => sorted.problems.push((index, TAKEN.to_owned())),
            }
        }
        sorted
    }
}

/// The seats that are known so far, by the values that are unique in an account.
#[derive(Default)]
struct KnownSeats {
    /// The seat of each e-mail address, with the entry that it comes from, if any.
    by_email: HashMap<String, (SeatProfile, Option<usize>)>,
    /// The e-mail address of each subject's seat.
    by_subject: HashMap<String, String>,
}

/// Whether an entry's seat exists.
enum Place {
    Free,
    There { differs: bool },
    Taken,
}

const TAKEN: &str = "its e-mail address or auth_subject exists already";

impl KnownSeats {
    fn take(&mut self, profile: &SeatProfile, entry: Option<usize>) {
        let email = key_of(profile);
        if let Some(subject) = &profile.auth_subject {
            self.by_subject.insert(subject.to_string(), email.clone());
        }
        self.by_email.insert(email, (profile.clone(), entry));
    }

    fn place(&self, profile: &SeatProfile) -> Place {
        let email = key_of(profile);
        let subject = profile.auth_subject.as_ref().and_then(|subject| self.by_subject.get(&subject.to_string()));
        if subject.is_some_and(|owner| *owner != email) {
            return Place::Taken;
        }
        match self.by_email.get(&email) {
            None => Place::Free,
            // If two lines of one file differ, it is unknown which is meant.
            Some((known, Some(_))) if !is_same(known, profile) => Place::Taken,
            Some((known, _)) => Place::There { differs: !is_same(known, profile) },
        }
    }
}

fn key_of(profile: &SeatProfile) -> String {
    profile.email.as_str().to_lowercase()
}

/// Whether two profiles are the same. Addresses are compared without case.
fn is_same(one: &SeatProfile, other: &SeatProfile) -> bool {
    key_of(one) == key_of(other) && SeatProfile { email: one.email.clone(), ..other.clone() } == *one
}

impl Operation for ImportSeats {
    const SPEC: Spec = Spec::person("import_seats", Action::SeatAdd, Effect::Add);
    type Output = ImportedSeats;

    async fn run(self, call: &mut Call<'_>) -> Result<ImportedSeats, Failed> {
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            if let Some(imported) = self.try_once(call).await? {
                return Ok(imported);
            }
            // Another caller has changed seats meanwhile.
            retries.again().await?;
        }
    }
}

impl ImportSeats {
    /// Decides and commits. `None`: something that the decision depends on has changed.
    async fn try_once(&self, call: &mut Call<'_>) -> Result<Option<ImportedSeats>, Failed> {
        let (account, now) = (call.caller.account(), call.entry.at.whole_millis());
        let (service, entry) = (call.service, call.entry.clone());
        // Each import raises the account's version, so of two at once the second one decides again.
        let kept = service.vault().account(account).await?.ok_or(Refusal::NotFound("account"))?;
        let sorted = SortedSeats::of(&self.entries, &EverySeat.run(call).await?);
        if sorted.new.is_empty() || !sorted.problems.is_empty() {
            return Ok(Some(ImportedSeats { seats: Vec::new(), sorted }));
        }
        let mut draft = service.vault().silent_draft().replace(&kept, &kept.value);
        let mut seats = Vec::with_capacity(sorted.new.len());
        for profile in &sorted.new {
            let id = SeatId::new(service.ordered_id(now)?);
            let seat = Seat { id, account, created_at: now, profile: profile.clone() };
            draft = draft.add(&seat).entry(AuditEntry { at: now, seat: Some(id), ..entry.clone() });
            seats.push(seat);
        }
        let outcome = draft.commit().await?;
        Ok((outcome == Outcome::Done).then_some(ImportedSeats { seats, sorted }))
    }
}
