//! Checking a code that a person typed from their own authenticator app.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use zeroize::Zeroizing;

use super::{Parts, Refusal, Service, place_of};
use crate::{
    domain::{
        audit::{Action, AuditEntry, Outcome},
        characters::parts_groups,
        ids::SecretId,
        principal::Principal,
        scope::Scope,
        time::Timestamp,
        totp::Step,
    },
    keyring::OpenSealError,
    store::{InUse, SecretUse, Verdict},
};

/// Whether a code was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verification {
    /// The code is that of now, the step before or the step after, and was not accepted before.
    pub valid: bool,
}

enum Checked {
    Done(Verification),
    Held(Duration),
    Malformed(u8),
    Damaged(OpenSealError),
}

struct Check {
    parts: Arc<Parts>,
    now: Timestamp,
    typed: Zeroizing<String>,
    entry: AuditEntry,
    checked: Arc<Mutex<Option<Checked>>>,
}

impl Service {
    /// Checks a code. Each time step is accepted once; wrong tries slow down further ones, in every process.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `invalid_argument`, `rate_limited`, `unavailable`.
    pub async fn verify_code(
        &self,
        caller: &Principal,
        secret: SecretId,
        typed: &str,
        seat: Option<&str>,
    ) -> Result<Verification, Refusal> {
        self.require_scope(caller, Scope::CodesVerify, Action::CodeVerify).await?;
        let now = self.now();
        let mut entry = AuditEntry { secret: Some(secret), ..AuditEntry::of(caller, Action::CodeVerify, now) };
        if !caller.sees(secret) {
            return Err(self.refuse(Refusal::NotFound("secret"), entry).await);
        }
        entry.seat = self.seat_for(caller, seat, &entry).await?.map(|seat| seat.id);
        self.count_use(secret, &entry).await?;
        // People type and paste codes as apps show them: `123 456`, with whatever space that is.
        let typed = Zeroizing::new(typed.chars().filter(|c| !parts_groups(*c)).take(9).collect::<String>());
        let checked = Arc::new(Mutex::new(None));
        let mut check =
            Check { parts: Arc::clone(&self.parts), now, typed, entry: entry.clone(), checked: Arc::clone(&checked) };
        let decide = Box::new(move |in_use: InUse<'_>| check.decide(&in_use));
        let request = SecretUse { account: caller.account(), secret, now, counted: Vec::new(), decide };
        match Arc::clone(self.store()).use_secret(request).await {
            Ok(true) => {}
            Ok(false) => return Err(self.refuse(Refusal::NotFound("secret"), entry).await),
            Err(cause) => return Err(self.refuse_failed(cause, entry).await),
        }
        let checked = checked.lock().ok().and_then(|mut checked| checked.take());
        match checked.ok_or(Refusal::Unavailable)? {
            Checked::Done(verification) => Ok(verification),
            Checked::Held(after) => {
                let what = "too many wrong codes for this secret";
                Err(self.refuse(Refusal::RateLimited { what, after }, entry).await)
            }
            Checked::Malformed(digits) => {
                Err(self.refuse(Refusal::invalid("code", format!("must be {digits} digits")), entry).await)
            }
            Checked::Damaged(cause) => Err(self.damaged(secret, cause)),
        }
    }
}

impl Check {
    fn decide(&mut self, in_use: &InUse<'_>) -> Verdict {
        let (verdict, checked) = self.check(in_use).unwrap_or_else(|cause| {
            let entry = AuditEntry { outcome: Outcome::Internal, ..self.entry.clone() };
            (verdict(None, Some(entry)), Checked::Damaged(cause))
        });
        if let Ok(mut cell) = self.checked.lock() {
            *cell = Some(checked);
        }
        verdict
    }

    fn check(&self, in_use: &InUse<'_>) -> Result<(Verdict, Checked), OpenSealError> {
        let mut state = in_use.state.clone();
        if let Some(left) = state.verify.held(self.now) {
            return Ok((verdict(None, None), Checked::Held(left)));
        }
        let totp = self.parts.terms_of(in_use)?.totp;
        let digits = totp.digits.get();
        if self.typed.len() != usize::from(digits) || !self.typed.bytes().all(|b| b.is_ascii_digit()) {
            return Ok((verdict(None, None), Checked::Malformed(digits)));
        }
        let seed = self.parts.keyring.open_seed(&in_use.secret.seed, &place_of(in_use.secret))?;
        let current = totp.step_at(self.now).0;
        // All three are made and compared whatever the first ones gave, so that time tells nothing.
        let window = [current.saturating_sub(1), current, current.saturating_add(1)].map(Step);
        let hits = window.map(|step| totp.code_at(&seed, step).matches(&self.typed));
        let hit = window.into_iter().zip(hits).filter(|(_, hit)| *hit).map(|(step, _)| step);
        let unused = hit.clone().find(|step| state.verify.is_unused(*step));
        let entry = |outcome| AuditEntry { outcome, step: unused, ..self.entry.clone() };
        match unused {
            Some(step) => {
                state.verify.accept(step);
                Ok((verdict(Some(state), Some(entry(Outcome::Ok))), Checked::Done(Verification { valid: true })))
            }
            // The right code a second time is refused, but it is no guess: it does not slow anybody down.
            None if hit.count() > 0 => {
                Ok((verdict(None, Some(entry(Outcome::Wrong))), Checked::Done(Verification { valid: false })))
            }
            None => {
                state.verify.refuse(self.now);
                Ok((verdict(Some(state), Some(entry(Outcome::Wrong))), Checked::Done(Verification { valid: false })))
            }
        }
    }
}

const fn verdict(state: Option<crate::store::UseState>, entry: Option<AuditEntry>) -> Verdict {
    Verdict { state, entry, counted: false, repeats_until: None }
}
