//! Giving a reserved step back when the call that reserved it is dropped: its client cancelled, hung up, or lost its
//! rights.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{
    Service,
    decide_code::{Call, Decided},
};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        steps::Reservation,
    },
    store::{InUse, SecretUse, StoreError, Verdict},
};

impl Service {
    /// Gives a reserved step back, if its code was not shown.
    async fn give_back(&self, reservation: Reservation, entry: AuditEntry) {
        let (Some(account), Some(secret)) = (entry.account, entry.secret) else { return };
        let now = self.now();
        let entry = AuditEntry { at: now, action: Action::CodeRelease, step: Some(reservation.step), ..entry };
        let decide = move |in_use: InUse<'_>| {
            let mut state = in_use.state.clone();
            let given_back = state.steps.give_back(reservation);
            Verdict {
                state: given_back.then_some(state),
                entry: given_back.then(|| entry.clone()),
                counted: false,
                repeats_until: None,
            }
        };
        let request = SecretUse { account, secret, now, counted: Vec::new(), decide: Box::new(decide) };
        if let Err(cause) = Arc::clone(self.store()).use_secret(request).await {
            // The step lapses unused, which is safe.
            tracing::warn!(%cause, "a reserved step could not be given back");
        }
    }
}

/// A decision that the store is carrying out. If its caller is gone before it is there, it is carried out all the same,
/// and a step that it reserved is given back.
pub(super) struct UnderWay<'a> {
    service: &'a Service,
    call: &'a Arc<Call>,
    work: Option<Work>,
}

/// What the store does; in the end, whether the secret was there.
type Work = BoxFuture<'static, Result<bool, StoreError>>;

impl<'a> UnderWay<'a> {
    pub(super) const fn new(service: &'a Service, call: &'a Arc<Call>, work: Work) -> Self {
        Self { service, call, work: Some(work) }
    }

    /// Whether the secret was there.
    pub(super) async fn done(&mut self) -> Result<bool, StoreError> {
        let Some(work) = &mut self.work else { return Ok(false) };
        let there = work.await;
        self.work = None;
        there
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let (service, call) = (self.service.clone(), Arc::clone(self.call));
        self.service.parts.waiters.leave_behind(async move {
            let carried_out = work.await.is_ok();
            let decided = call.told.lock().ok().and_then(|mut told| told.decided.take());
            if let Some(Decided::Held { reservation, .. }) = decided.filter(|_| carried_out) {
                service.give_back(reservation, call.entry.clone()).await;
            }
        });
    }
}

/// A reserved step, given back when the waiter is dropped. Once the code was shown that does nothing, so it is safe at any
/// moment.
pub(super) struct Held {
    /// Boxed: few calls reserve anything, and the others don't keep room for it.
    back: Option<Box<(Service, Reservation, AuditEntry)>>,
}

impl Held {
    pub(super) fn new(service: &Service, reservation: Reservation, entry: &AuditEntry) -> Self {
        Self { back: Some(Box::new((service.clone(), reservation, entry.clone()))) }
    }

    /// The code was shown.
    pub(super) fn keep(mut self) {
        self.back = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            let (service, reservation, entry) = *back;
            let parts = Arc::clone(&service.parts);
            parts.waiters.leave_behind(async move { service.give_back(reservation, entry).await });
        }
    }
}
