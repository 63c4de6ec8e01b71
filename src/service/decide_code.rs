//! One decision on a code: from what is kept of a secret to a verdict. It runs inside the store's transaction, may run
//! again if that starts over, and holds the seed for as long as it takes to make the code.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use uuid::Uuid;

use super::{Parts, Refusal, get_code::IssuedCode, place_of};
use crate::{
    domain::{
        audit::{Action, AuditEntry, Outcome},
        ids::{ReservationId, SecretId},
        limits::WAIT_SECONDS_MAX,
        secret::CodeTerms,
        steps::{CodeWish, Reservation, Turn},
        time::Timestamp,
        totp::{Step, TotpParameters},
    },
    keyring::OpenSealError,
    random::NoRandomness,
    store::{InUse, UseState, Verdict},
};

/// Where a call stands when it is decided.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// It asks.
    Ask,
    /// It waited for a fresh step, which begins now.
    Awaited(Step),
    /// It waited for the step it holds, which begins now.
    Holding(Reservation),
}

/// What was decided last.
pub(super) enum Decided {
    Issued {
        code: IssuedCode,
        /// What its life is counted by.
        totp: TotpParameters,
    },
    /// A fresh code comes with this step.
    Fresh {
        step: Step,
        from: Timestamp,
    },
    /// This step is the caller's alone, once it begins.
    Held {
        reservation: Reservation,
        from: Timestamp,
    },
    /// The step it held has passed or was lost, or the code came too late: ask again.
    Missed,
    Refused(Refusal),
    Damaged(OpenSealError),
}

/// What a decision leaves to be told and done after it.
#[derive(Default)]
pub(super) struct Told {
    pub(super) decided: Option<Decided>,
    /// Counter rows that it found due.
    pub(super) leftover: Vec<AuditEntry>,
}

/// What is asked of a decision.
pub(super) struct Asked {
    pub(super) wish: CodeWish,
    /// The caller said how long it would wait.
    pub(super) patient: bool,
    /// Codes an hour for each counted holder.
    pub(super) limits: Vec<u32>,
}

/// Everything a decision needs, gathered before it, and what it leaves behind.
pub(super) struct Call {
    pub(super) parts: Arc<Parts>,
    pub(super) secret: SecretId,
    pub(super) now: Timestamp,
    pub(super) asked: Asked,
    pub(super) stage: Stage,
    pub(super) entry: AuditEntry,
    pub(super) told: Mutex<Told>,
}

/// What holds for this call of this secret.
struct Terms {
    totp: TotpParameters,
    wish: CodeWish,
    id: ReservationId,
}

impl Terms {
    /// How much later than the step begins this caller is told to come back: a fleet that is told the same second comes back
    /// in the same second. Within the step's first third there is time left to use the code. Its id is random, and nil for a
    /// call that shares its code with others.
    fn spread(&self) -> Duration {
        let (_, random) = self.id.uuid().as_u64_pair();
        Duration::from_secs(random % u64::from(self.totp.period.seconds().div_ceil(3)))
    }
}

impl Call {
    pub(super) fn decide(&self, in_use: &InUse<'_>) -> Verdict {
        let (verdict, decided) = match self.try_decide(in_use) {
            Ok(done) => done,
            Err(cause) => {
                let entry = AuditEntry { outcome: Outcome::Internal, ..self.entry.clone() };
                (unchanged(Some(entry)), Decided::Damaged(cause))
            }
        };
        if let Ok(mut told) = self.told.lock() {
            told.decided = Some(decided);
        }
        verdict
    }

    fn try_decide(&self, in_use: &InUse<'_>) -> Result<(Verdict, Decided), OpenSealError> {
        let CodeTerms { totp, single_use } = self.parts.terms_of(in_use)?;
        if self.asked.wish.min_validity > totp.period.seconds() {
            let problem = format!("must be 0 to {}, this secret's period", totp.period.seconds());
            return Ok(self.refused(Refusal::invalid("min_validity", problem)));
        }
        let limited = in_use.counts.iter().zip(&self.asked.limits);
        if let Some(free_at) = limited.filter_map(|(given, most)| given.full_until(*most)).max() {
            let what = "the limit of codes an hour for this secret is used up";
            return Ok(self.refused(Refusal::RateLimited { what, after: self.now.until(free_at) }));
        }
        let current = totp.step_at(self.now);
        let mut state = in_use.state.clone();
        state.steps.settle(current);
        let wish = CodeWish { single_use: self.asked.wish.single_use || single_use, ..self.asked.wish };
        let Ok(id) = self.reservation_id(wish) else { return Ok(self.refused(Refusal::Unavailable)) };
        let terms = Terms { totp, wish, id };
        match self.turn(&mut state, &terms, current) {
            None => Ok((verdict(in_use, state, None), Decided::Missed)),
            Some(Turn::Now(step)) => self.issue(in_use, state, &terms, step),
            Some(Turn::Later { step, from }) if wish.single_use => {
                let reservation = match self.stage {
                    Stage::Holding(held) => held,
                    Stage::Ask | Stage::Awaited(_) => Reservation { step, id: terms.id },
                };
                let reserved = AuditEntry { action: Action::CodeReserve, step: Some(step), ..self.entry.clone() };
                let entry = (state.steps != in_use.state.steps).then_some(reserved);
                Ok((verdict(in_use, state, entry), Decided::Held { reservation, from }))
            }
            Some(Turn::Later { step, from }) => Ok((unchanged(None), Decided::Fresh { step, from })),
            Some(Turn::Busy { free_at }) => {
                let reason = self.why_busy(&terms, free_at);
                let after = self.now.until(free_at).saturating_add(terms.spread());
                Ok(self.refused(Refusal::Busy { reason, after }))
            }
        }
    }

    /// A fresh id for the calls that reserve; the others don't ask the dice.
    fn reservation_id(&self, wish: CodeWish) -> Result<ReservationId, NoRandomness> {
        let drawn = if wish.single_use { self.parts.random.random_id()? } else { Uuid::nil() };
        Ok(ReservationId::new(drawn))
    }

    /// Whose turn it is; `None` if the step that was held has passed.
    fn turn(&self, state: &mut UseState, terms: &Terms, current: Step) -> Option<Turn> {
        let Terms { totp, wish, id } = terms;
        match self.stage {
            Stage::Holding(held) if held.step > current => {
                Some(Turn::Later { step: held.step, from: totp.start_of(held.step) })
            }
            Stage::Holding(held) => (held.step == current && state.steps.show(held)).then_some(Turn::Now(held.step)),
            Stage::Ask | Stage::Awaited(_) if wish.single_use => {
                Some(state.steps.single_use(totp, self.now, *wish, *id))
            }
            // A step that was waited for is as fresh as can be, although a few milliseconds of it have passed.
            Stage::Awaited(step) if step == current => {
                Some(state.steps.plain(totp, self.now, CodeWish { min_validity: 0, ..*wish }))
            }
            // A call that asked for nothing special never waits, as in the mirrored API.
            Stage::Ask if !self.asked.patient && wish.min_validity == 0 => {
                Some(state.steps.plain(totp, self.now, CodeWish { max_wait: Duration::ZERO, ..*wish }))
            }
            Stage::Ask | Stage::Awaited(_) => Some(state.steps.plain(totp, self.now, *wish)),
        }
    }

    /// Opens the seed for as long as it takes to make the code.
    fn issue(
        &self,
        in_use: &InUse<'_>,
        mut state: UseState,
        terms: &Terms,
        step: Step,
    ) -> Result<(Verdict, Decided), OpenSealError> {
        let (keyring, totp) = (&self.parts.keyring, &terms.totp);
        let code = totp.code_at(&keyring.open_seed(&in_use.secret.seed, &place_of(in_use.secret))?, step);
        let entry = AuditEntry {
            step: Some(step),
            code_tag: Some(keyring.code_tag(self.secret, step, &code)),
            ..self.entry.clone()
        };
        if state.steps != in_use.state.steps {
            state.last_used_at = Some(self.now);
        }
        let mut verdict = verdict(in_use, state, Some(entry));
        verdict.counted = true;
        if !terms.wish.single_use {
            verdict.repeats_until = Some(totp.start_of(Step(step.0.saturating_add(1))));
        }
        let code = IssuedCode { code, expires_in: totp.expires_in(self.now), step };
        Ok((verdict, Decided::Issued { code, totp: *totp }))
    }

    fn refused(&self, refusal: Refusal) -> (Verdict, Decided) {
        let entry = AuditEntry { outcome: refusal.code().outcome(), ..self.entry.clone() };
        let (kept, due) = self.parts.refusals.count(&entry);
        if let Ok(mut told) = self.told.lock() {
            told.leftover.extend(due);
        }
        (unchanged(kept.then_some(entry)), Decided::Refused(refusal))
    }

    /// Callers who wait mark steps no further ahead than the longest wait; beyond that, a clock that ran ahead did.
    fn why_busy(&self, terms: &Terms, free_at: Timestamp) -> &'static str {
        let Terms { totp, wish, .. } = terms;
        let left = self.now.until(totp.start_of(Step(totp.step_at(self.now).0.saturating_add(1))));
        let longest = Duration::from_secs(u64::from(WAIT_SECONDS_MAX) + u64::from(totp.period.seconds()));
        if self.now.until(free_at) > longest {
            "every step until then is marked as used, which happens when the clock ran ahead; a person can look at it \
             and run `countersign secret reset-steps ID`"
        } else if wish.single_use {
            "no unused code within `max_wait`"
        } else if left < Duration::from_secs(u64::from(wish.min_validity)) {
            "the current code has less than `min_validity` left, and no other comes within `max_wait`"
        } else {
            "the current code is reserved for another caller"
        }
    }
}

fn verdict(in_use: &InUse<'_>, state: UseState, entry: Option<AuditEntry>) -> Verdict {
    Verdict { state: (state != *in_use.state).then_some(state), ..unchanged(entry) }
}

const fn unchanged(entry: Option<AuditEntry>) -> Verdict {
    Verdict { state: None, entry, counted: false, repeats_until: None }
}
