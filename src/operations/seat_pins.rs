//! The PIN with which the person of a seat proves on a page who they are: set by a person at the command line, tried on
//! the page.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{Call, Effect, Failed, Operation, Refusal, Service, Spec, retries::Retries};
use crate::{
    domain::{
        audit::Action,
        ids::SeatId,
        seat_pin::{PinCost, SeatPin, check_pin},
        verification::VerifyMarks,
    },
    vault::Outcome,
};

/// Sets the PIN of a seat, or removes it.
pub struct SetSeatPin {
    /// The seat's id, `auth_subject` or e-mail address.
    pub seat: String,
    /// The new PIN; `None` removes it.
    pub pin: Option<Zeroizing<String>>,
}

impl Operation for SetSeatPin {
    const SPEC: Spec = Spec::person("set_seat_pin", Action::SeatUpdate, Effect::Change);
    type Output = ();

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let (service, now) = (call.service, call.entry.at);
        if let Some(pin) = &self.pin {
            check_pin(pin).map_err(|problem| Refusal::invalid("pin", problem.to_string()))?;
        }
        let mut retries = Retries::new(&service.shared.random);
        loop {
            let seat = call.kept_seat(&self.seat).await?;
            let before = service.vault().seat_pin(seat.id).await?;
            let new = match &self.pin {
                Some(pin) => {
                    let mut salt = [0; 16];
                    service.shared.random.fill(&mut salt)?;
                    let (cost, tries) = (PinCost::NEW, VerifyMarks::default());
                    let hash = service.slow_hash(seat.id, pin.clone(), salt, cost).await?;
                    Some(SeatPin { seat: seat.id, account: seat.account, cost, salt, hash, tries, set_at: now })
                }
                None => None,
            };
            let draft = service.vault().draft(call.entry.clone()).unchanged(&seat);
            let draft = match (&before, &new) {
                (Some(before), Some(new)) => draft.replace(before, new).scrub(),
                (None, Some(new)) => draft.add(new),
                (Some(before), None) => draft.remove(before).scrub(),
                (None, None) => return Ok(()),
            };
            if draft.commit().await? == Outcome::Done {
                return Ok(());
            }
            retries.again().await?;
        }
    }
}

impl Service {
    async fn slow_hash(
        &self,
        seat: SeatId,
        pin: Zeroizing<String>,
        salt: [u8; 16],
        cost: PinCost,
    ) -> Result<[u8; 32], Failed> {
        let vault = self.vault().clone();
        let hash = self.slowly(move || vault.pin_hash(seat, &pin, &salt, cost)).await?;
        hash.ok_or_else(|| Failed::Internal(Box::new(NoMemory)))
    }

    /// Runs a slow hash on a thread of its own, at most a few at once.
    async fn slowly<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failed> {
        let permit = self.shared.enrolments.pins.clone().acquire_owned().await;
        let run = tokio::task::spawn_blocking(move || {
            // Held until the work has ended, even if the caller is gone.
            let _permit = permit;
            work()
        });
        run.await.map_err(|cause| Failed::Internal(Box::new(cause)))
    }

    /// Counts a try at a PIN before it is looked at, as if it were wrong, or says how long the next one must wait. Wrong
    /// tries in a row slow down the next ones over all enrolments of the seat, however many are made at once.
    pub(super) async fn take_pin_try(&self, seat: SeatId) -> Result<PinTry, Failed> {
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let Some(kept) = self.vault().seat_pin(seat).await? else { return Ok(PinTry::NoPin) };
            let now = self.now();
            if let Some(after) = kept.tries.held(now) {
                return Ok(PinTry::Held(after));
            }
            let mut new = kept.value.clone();
            new.tries.refuse(now);
            if self.vault().silent_draft().replace(&kept, &new).commit().await? == Outcome::Done {
                return Ok(PinTry::Taken);
            }
            retries.again().await?;
        }
    }

    /// Looks at a try that was counted. A right one clears the count.
    pub(super) async fn try_pin(&self, seat: SeatId, typed: Zeroizing<String>) -> Result<bool, Failed> {
        let Some(kept) = self.vault().seat_pin(seat).await? else { return Ok(false) };
        let (vault, pin) = (self.vault().clone(), kept.value);
        let right = self.slowly(move || vault.is_pin(&pin, &typed)).await?;
        if !right.ok_or_else(|| Failed::Internal(Box::new(NoMemory)))? {
            return Ok(false);
        }
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let Some(kept) = self.vault().seat_pin(seat).await? else { return Ok(false) };
            let new = SeatPin { tries: VerifyMarks::default(), ..kept.value.clone() };
            if new == kept.value || self.vault().silent_draft().replace(&kept, &new).commit().await? == Outcome::Done {
                return Ok(true);
            }
            retries.again().await?;
        }
    }
}

/// What came of taking a try at a PIN.
pub(super) enum PinTry {
    /// It may be looked at.
    Taken,
    /// Too many were wrong; the next may be made after this time.
    Held(Duration),
    /// The seat has no PIN any more.
    NoPin,
}

/// The machine has no memory for the hash of a PIN.
#[derive(Debug, thiserror::Error)]
#[error("there is no memory for the hash of a PIN")]
struct NoMemory;
