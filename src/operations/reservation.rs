//! Gives a reserved step back when its call ends before the code was shown: the client cancelled, hung up, or lost its
//! rights.

use std::sync::Arc;

use super::{Failed, Service, retries::Retries};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        steps::Reservation,
    },
    vault::Outcome,
};

/// A reserved step, given back on drop.
pub(super) struct HeldStep {
    /// Boxed because few calls reserve a step, and the others should reserve no room for it.
    back: Option<Box<(Service, Reservation, AuditEntry)>>,
}

impl HeldStep {
    pub(super) fn new(service: &Service, reservation: Reservation, entry: &AuditEntry) -> Self {
        Self { back: Some(Box::new((service.clone(), reservation, entry.clone()))) }
    }

    /// Keeps the step from being given back: the code was shown, or the step was never reserved.
    pub(super) fn disarm(mut self) {
        self.back = None;
    }
}

impl Drop for HeldStep {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            let (service, reservation, entry) = *back;
            let shared = Arc::clone(&service.shared);
            shared.waiters.leave_behind(async move { service.give_back(reservation, entry).await });
        }
    }
}

impl Service {
    async fn give_back(&self, reservation: Reservation, entry: AuditEntry) {
        if let Err(failed) = self.try_give_back(reservation, &entry).await {
            // The step expires unused, which is safe.
            let cause = self.refusal_of(failed);
            tracing::warn!(%cause, "a reserved step could not be given back");
        }
    }

    async fn try_give_back(&self, reservation: Reservation, entry: &AuditEntry) -> Result<(), Failed> {
        let (Some(account), Some(secret)) = (entry.account, entry.secret) else { return Ok(()) };
        // The commit that reserved the step may still be queued; this one is carried out after it.
        self.vault().silent_draft().soon().commit().await?;
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let at = self.now();
            let Some(in_use) = self.vault().in_use(account, secret, &[], at).await? else { return Ok(()) };
            let mut state = in_use.state.clone();
            if !state.steps.give_back(reservation) {
                return Ok(());
            }
            let step = Some(reservation.step);
            let draft = self.vault().draft(AuditEntry { at, action: Action::CodeRelease, step, ..entry.clone() });
            if draft.used(&in_use, Some(&state)).commit().await? == Outcome::Done {
                return Ok(());
            }
            retries.again().await?;
        }
    }
}
