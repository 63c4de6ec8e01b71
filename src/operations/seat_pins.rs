//! The PIN with which the person of a seat proves their identity on a page: set by a person at the command line, tried
//! on the page.

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
    vault::{Outcome, PinMemory},
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
        let hash = self.slowly(move |memory| vault.pin_hash(memory, seat, &pin, (&salt, cost))).await?;
        hash.ok_or_else(|| Failed::Internal(Box::new(NoMemory)))
    }

    /// Runs a slow hash on a thread of its own, one at a time.
    async fn slowly<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut PinMemory) -> T + Send + 'static,
    ) -> Result<T, Failed> {
        // Locked until the work has ended, even if the caller is gone.
        let mut memory = self.shared.enrolments.pins.clone().lock_owned().await;
        let run = tokio::task::spawn_blocking(move || work(&mut memory));
        run.await.map_err(|cause| Failed::Internal(Box::new(cause)))
    }

    /// Counts a try of a PIN as a wrong one before it is checked, so that the delays between tries also hold for
    /// concurrent ones, over all enrolments of the seat. The error is the time that a try must still wait.
    pub(super) async fn count_pin_try(&self, seat: SeatId) -> Result<Result<SeatPin, Duration>, Failed> {
        let mut retries = Retries::new(&self.shared.random);
        loop {
            // If the PIN was removed meanwhile, the next request reports that.
            let kept = self.vault().seat_pin(seat).await?.ok_or(Refusal::Contended)?;
            let now = self.now();
            if let Some(after) = kept.tries.held(now) {
                return Ok(Err(after));
            }
            let mut new = kept.value.clone();
            new.tries.refuse(now);
            if self.vault().silent_draft().replace(&kept, &new).commit().await? == Outcome::Done {
                return Ok(Ok(new));
            }
            retries.again().await?;
        }
    }

    /// Whether the typed text is the PIN for which a try was counted. If so, earlier tries are not counted any more.
    pub(super) async fn is_pin(&self, counted: &SeatPin, typed: Zeroizing<String>) -> Result<bool, Failed> {
        let (vault, pin) = (self.vault().clone(), counted.clone());
        let right = self.slowly(move |memory| vault.is_pin(memory, &pin, &typed)).await?;
        if !right.ok_or_else(|| Failed::Internal(Box::new(NoMemory)))? {
            return Ok(false);
        }
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let kept = self.vault().seat_pin(counted.seat).await?;
            // A PIN that was replaced meanwhile proves nothing any more.
            let Some(kept) = kept.filter(|kept| kept.hash == counted.hash) else { return Ok(false) };
            let new = SeatPin { tries: VerifyMarks::default(), ..kept.value.clone() };
            if new == kept.value || self.vault().silent_draft().replace(&kept, &new).commit().await? == Outcome::Done {
                return Ok(true);
            }
            retries.again().await?;
        }
    }
}

/// The machine has no memory for the hash of a PIN.
#[derive(Debug, thiserror::Error)]
#[error("there is no memory for the hash of a PIN")]
struct NoMemory;
