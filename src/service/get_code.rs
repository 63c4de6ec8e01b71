//! Getting a code: the current one; a fresh one; one that nobody else gets. The main job.
//!
//! A call is decided in one atomic step of the store, from the secret's marks. If its code lies ahead it waits, holding
//! no lock, connection or thread, and is decided again when the step begins. The seed is open only while a decision is
//! made.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Parts, Refusal, Service, place_of, waiting::Patience};
use crate::{
    domain::{
        audit::{Action, AuditEntry, Outcome},
        ids::{ReservationId, SecretId},
        limits::{WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX},
        principal::Principal,
        scope::Scope,
        steps::{CodeWish, Reservation, Turn},
        text::Purpose,
        time::Timestamp,
        totp::{Code, Step, TotpParameters},
    },
    keyring::OpenSealError,
    store::{Holder, InUse, SecretUse, UseState, Verdict},
};

/// What a caller asks for.
#[derive(Debug, Clone, Default)]
pub struct CodeRequest {
    /// Seconds that must be left of the code, at most its period.
    pub min_validity: Option<u32>,
    /// This code goes to no other caller.
    pub single_use: bool,
    /// Seconds the caller will wait: 45 unless it says, 120 at most.
    pub max_wait: Option<u32>,
    /// The seat it is for, by id or `auth_subject`.
    pub seat: Option<String>,
    /// Why, for the trail.
    pub purpose: Option<String>,
}

/// A code, and how long it lives.
pub struct IssuedCode {
    /// The digits.
    pub code: Code,
    /// Whole seconds until it rotates: 1..=period.
    pub expires_in: u32,
}

/// Where a call stands when it is decided.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// It asks.
    Ask,
    /// It waited for a fresh step, which begins now.
    Awaited(Step),
    /// It waited for the step it holds, which begins now.
    Holding(Reservation),
}

/// What was decided last.
enum Decided {
    Issued(IssuedCode),
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
    /// The step it held has passed or was lost: ask again.
    Missed,
    Refused(Refusal),
    Damaged(OpenSealError),
}

/// What is asked of a decision.
struct Asked {
    wish: CodeWish,
    /// The caller said how long it would wait.
    patient: bool,
    /// Codes an hour for each counted holder.
    limits: Vec<u32>,
}

/// Everything a decision needs, gathered before it.
struct Call {
    parts: Arc<Parts>,
    secret: SecretId,
    now: Timestamp,
    asked: Asked,
    stage: Stage,
    entry: AuditEntry,
    decided: Arc<Mutex<Option<Decided>>>,
    leftover: Arc<Mutex<Vec<AuditEntry>>>,
}

impl Service {
    /// Gives a caller a code of a secret.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `invalid_argument`, `busy`, `rate_limited`, `unavailable`: each on the trail.
    pub async fn get_code(
        &self,
        caller: &Principal,
        secret: SecretId,
        request: &CodeRequest,
        patience: &dyn Patience,
    ) -> Result<IssuedCode, Refusal> {
        self.require(caller, Scope::CodesRead, Action::CodeGet).await?;
        let begun = self.now();
        let mut entry = AuditEntry { secret: Some(secret), ..AuditEntry::of(caller, Action::CodeGet, begun) };
        let wish = match wish_of(request, &mut entry) {
            Ok(wish) => wish,
            Err(refusal) => return Err(self.refuse(refusal, entry).await),
        };
        if !caller.sees(secret) {
            return Err(self.refuse(Refusal::NotFound("secret"), entry).await);
        }
        let seat = self.seat_for(caller, request.seat.as_deref(), &entry).await?;
        entry.seat = seat.as_ref().map(|seat| seat.id);
        let (counted, limits) = counted_holders(caller, seat.as_ref());
        let deadline = begun.plus(wish.max_wait);
        let (mut stage, mut held, mut place) = (Stage::Ask, None::<Held>, None);
        loop {
            let now = self.now();
            // What a caller was promised within its time is given although a moment more has passed.
            let wish = CodeWish { max_wait: now.until(deadline), ..wish };
            let asked = Asked { wish, patient: request.max_wait.is_some(), limits: limits.clone() };
            let decided = self.decide(asked, &counted, stage, AuditEntry { at: now, ..entry.clone() });
            let from = match decided.await? {
                Decided::Issued(code) => {
                    held.take().map(Held::keep);
                    return Ok(code);
                }
                Decided::Refused(refusal) => return Err(refusal),
                Decided::Damaged(cause) => return Err(self.damaged(secret, cause)),
                Decided::Missed => {
                    (stage, held) = (Stage::Ask, None);
                    continue;
                }
                Decided::Fresh { step, from } => {
                    stage = Stage::Awaited(step);
                    from
                }
                Decided::Held { reservation, from } => {
                    stage = Stage::Holding(reservation);
                    held.get_or_insert_with(|| Held::new(self, reservation, &entry));
                    from
                }
            };
            place = place.or_else(|| self.parts.waiters.enter(caller.actor()));
            if place.is_none() {
                return Err(self.refuse(Refusal::TooManyWaiting, entry).await);
            }
            self.wait_until(from, patience).await;
            // Its rights may have ended while it waited.
            if let Err(refusal) = self.still_valid(caller).await {
                return Err(self.refuse(refusal, entry).await);
            }
        }
    }

    /// One atomic decision.
    async fn decide(
        &self,
        asked: Asked,
        counted: &[Holder],
        stage: Stage,
        entry: AuditEntry,
    ) -> Result<Decided, Refusal> {
        let (Some(account), Some(secret)) = (entry.account, entry.secret) else {
            return Err(Refusal::NotFound("secret"));
        };
        let decided = Arc::new(Mutex::new(None));
        let leftover = Arc::new(Mutex::new(Vec::new()));
        let mut call = Call {
            parts: Arc::clone(&self.parts),
            secret,
            now: entry.at,
            asked,
            stage,
            entry: entry.clone(),
            decided: Arc::clone(&decided),
            leftover: Arc::clone(&leftover),
        };
        let there = self
            .store()
            .use_secret(SecretUse {
                account,
                secret,
                now: entry.at,
                counted: counted.to_vec(),
                decide: Box::new(move |in_use| call.decide(&in_use)),
            })
            .await
            .map_err(|cause| self.failed(&cause))?;
        if !there {
            return Err(self.refuse(Refusal::NotFound("secret"), entry).await);
        }
        self.record_leftover(&leftover).await;
        let decided = decided.lock().ok().and_then(|mut decided| decided.take());
        decided.ok_or(Refusal::Unavailable)
    }

    /// Writes the counter rows that a decision found due.
    async fn record_leftover(&self, leftover: &Mutex<Vec<AuditEntry>>) {
        let rows = leftover.lock().map(|mut rows| std::mem::take(&mut *rows)).unwrap_or_default();
        if !rows.is_empty()
            && let Err(cause) = self.store().record(rows).await
        {
            tracing::error!(%cause, "counted refusals could not be put on the trail");
        }
    }

    /// Gives a reserved step back, if nobody has taken a later one and its code was not shown.
    async fn give_back(&self, reservation: Reservation, entry: AuditEntry) {
        let (Some(account), Some(secret)) = (entry.account, entry.secret) else { return };
        let now = self.now();
        let entry = AuditEntry { at: now, action: Action::CodeRelease, step: Some(reservation.step), ..entry };
        let decide = move |in_use: InUse<'_>| {
            let mut state = in_use.state.clone();
            let freed = state.steps.give_back(reservation);
            Verdict {
                state: freed.then_some(state),
                entry: freed.then(|| entry.clone()),
                counted: false,
                repeats_until: None,
            }
        };
        let request = SecretUse { account, secret, now, counted: Vec::new(), decide: Box::new(decide) };
        if let Err(cause) = self.store().use_secret(request).await {
            // The step lapses unused, which is safe.
            tracing::warn!(%cause, "a reserved step could not be given back");
        }
    }
}

/// Reads the wish, and the purpose into the entry.
fn wish_of(request: &CodeRequest, entry: &mut AuditEntry) -> Result<CodeWish, Refusal> {
    if let Some(purpose) = &request.purpose {
        let purpose = Purpose::parse(purpose).map_err(|problem| Refusal::invalid("purpose", problem.to_string()))?;
        entry.purpose = Some(purpose);
    }
    let max_wait = request.max_wait.unwrap_or(WAIT_SECONDS_DEFAULT);
    if max_wait > WAIT_SECONDS_MAX {
        return Err(Refusal::invalid("max_wait", format!("must be 0 to {WAIT_SECONDS_MAX} seconds")));
    }
    Ok(CodeWish {
        min_validity: request.min_validity.unwrap_or(0),
        single_use: request.single_use,
        max_wait: Duration::from_secs(u64::from(max_wait)),
    })
}

/// Whose codes are counted for a call, and how many an hour each may have.
fn counted_holders(caller: &Principal, seat: Option<&crate::domain::seat::Seat>) -> (Vec<Holder>, Vec<u32>) {
    let key = caller.key().zip(caller.codes_per_hour()).map(|(key, most)| (Holder::Key(key), most));
    let seat = seat.and_then(|seat| seat.profile.codes_per_hour.map(|most| (Holder::Seat(seat.id), most)));
    key.into_iter().chain(seat).unzip()
}

impl Call {
    fn decide(&mut self, in_use: &InUse<'_>) -> Verdict {
        let (verdict, decided) = match self.try_decide(in_use) {
            Ok(done) => done,
            Err(cause) => {
                let entry = AuditEntry { outcome: Outcome::Internal, ..self.entry.clone() };
                (unchanged(Some(entry)), Decided::Damaged(cause))
            }
        };
        if let Ok(mut cell) = self.decided.lock() {
            *cell = Some(decided);
        }
        verdict
    }

    fn try_decide(&self, in_use: &InUse<'_>) -> Result<(Verdict, Decided), OpenSealError> {
        let place = place_of(in_use.secret);
        let metadata = self.parts.keyring.open_metadata(&in_use.secret.metadata, &place)?;
        let totp = metadata.totp;
        if self.asked.wish.min_validity > totp.period.seconds() {
            let problem = format!("must be 0 to {}, this secret's period", totp.period.seconds());
            return Ok(self.refused(Refusal::invalid("min_validity", problem)));
        }
        if in_use.counts.iter().zip(&self.asked.limits).any(|(given, most)| given >= most) {
            let what = "the limit of codes an hour for this secret is used up";
            return Ok(self.refused(Refusal::RateLimited { what, after: Duration::from_secs(60) }));
        }
        let current = totp.step_at(self.now);
        let mut state = in_use.state.clone();
        state.steps.settle(current);
        let wish = CodeWish { single_use: self.asked.wish.single_use || metadata.single_use, ..self.asked.wish };
        let id = self.reservation_id(wish);
        match self.turn(&mut state, &totp, wish, id, current) {
            None => Ok((self.verdict(in_use, state, None), Decided::Missed)),
            Some(Turn::Now(step)) => self.issue(in_use, state, &totp, step, wish),
            Some(Turn::Later { step, from }) if wish.single_use => {
                let reservation = match self.stage {
                    Stage::Holding(held) => held,
                    Stage::Ask | Stage::Awaited(_) => Reservation { step, id },
                };
                let reserved = AuditEntry { action: Action::CodeReserve, step: Some(step), ..self.entry.clone() };
                let entry = (state.steps != in_use.state.steps).then_some(reserved);
                Ok((self.verdict(in_use, state, entry), Decided::Held { reservation, from }))
            }
            Some(Turn::Later { step, from }) => Ok((unchanged(None), Decided::Fresh { step, from })),
            Some(Turn::Busy { free_at }) => {
                Ok(self.refused(Refusal::Busy { reason: self.why_busy(wish, free_at), after: self.now.until(free_at) }))
            }
        }
    }

    /// A fresh id for the calls that reserve; the others don't ask the dice.
    fn reservation_id(&self, wish: CodeWish) -> ReservationId {
        let drawn = if wish.single_use { self.parts.random.random_id().ok() } else { None };
        ReservationId::new(drawn.unwrap_or_default())
    }

    /// Whose turn it is; `None` if the step that was held has passed.
    fn turn(
        &self,
        state: &mut UseState,
        totp: &TotpParameters,
        wish: CodeWish,
        id: ReservationId,
        current: Step,
    ) -> Option<Turn> {
        match self.stage {
            Stage::Holding(held) if held.step > current => {
                Some(Turn::Later { step: held.step, from: totp.start_of(held.step) })
            }
            Stage::Holding(held) => (held.step == current && state.steps.show(held)).then_some(Turn::Now(held.step)),
            Stage::Ask | Stage::Awaited(_) if wish.single_use => Some(state.steps.single_use(totp, self.now, wish, id)),
            // A step that was waited for is as fresh as can be, although a few milliseconds of it have passed.
            Stage::Awaited(step) if step == current => {
                Some(state.steps.plain(totp, self.now, CodeWish { min_validity: 0, ..wish }))
            }
            // A call that asked for nothing special never waits, as in the mirrored API.
            Stage::Ask if self.asked.patient || wish.min_validity > 0 => Some(state.steps.plain(totp, self.now, wish)),
            Stage::Ask => Some(state.steps.plain(totp, self.now, CodeWish { max_wait: Duration::ZERO, ..wish })),
            Stage::Awaited(_) => Some(state.steps.plain(totp, self.now, wish)),
        }
    }

    /// Opens the seed for as long as it takes to make the code.
    fn issue(
        &self,
        in_use: &InUse<'_>,
        mut state: UseState,
        totp: &TotpParameters,
        step: Step,
        wish: CodeWish,
    ) -> Result<(Verdict, Decided), OpenSealError> {
        let keyring = &self.parts.keyring;
        let code = totp.code_at(&keyring.open_seed(&in_use.secret.seed, &place_of(in_use.secret))?, step);
        let entry = AuditEntry {
            step: Some(step),
            code_tag: Some(keyring.code_tag(self.secret, step, &code)),
            ..self.entry.clone()
        };
        if state.steps != in_use.state.steps {
            state.last_used_at = Some(self.now);
        }
        let mut verdict = self.verdict(in_use, state, Some(entry));
        verdict.counted = true;
        if !wish.single_use {
            verdict.repeats_until = Some(totp.start_of(Step(step.0.saturating_add(1))));
        }
        Ok((verdict, Decided::Issued(IssuedCode { code, expires_in: totp.expires_in(self.now) })))
    }

    fn verdict(&self, in_use: &InUse<'_>, state: UseState, entry: Option<AuditEntry>) -> Verdict {
        Verdict { state: (state != *in_use.state).then_some(state), ..unchanged(entry) }
    }

    fn refused(&self, refusal: Refusal) -> (Verdict, Decided) {
        let entry = AuditEntry { outcome: refusal.code().outcome(), ..self.entry.clone() };
        let (kept, due) = self.parts.refusals.count(&entry);
        if let Ok(mut leftover) = self.leftover.lock() {
            leftover.extend(due);
        }
        (unchanged(kept.then_some(entry)), Decided::Refused(refusal))
    }

    /// A step further ahead than anybody may wait was marked by a clock that ran ahead, or by a queue of callers.
    fn why_busy(&self, wish: CodeWish, free_at: Timestamp) -> &'static str {
        let longest =
            Duration::from_secs(u64::from(WAIT_SECONDS_MAX) + u64::from(crate::domain::limits::PERIOD_SECONDS_MAX));
        if self.now.until(free_at) > longest {
            "every step until then is marked as used, which happens when the clock ran ahead; a person can look at it \
             and run `countersign secret reset-steps`"
        } else if wish.single_use {
            "no unused code within `max_wait`"
        } else {
            "the current code is reserved for another caller"
        }
    }
}

const fn unchanged(entry: Option<AuditEntry>) -> Verdict {
    Verdict { state: None, entry, counted: false, repeats_until: None }
}

/// Gives a reserved step back when the waiter is dropped: its client cancelled, hung up, or lost its rights. Once the
/// code was shown that does nothing, so it is safe at any moment.
struct Held {
    back: Option<(Service, Reservation, AuditEntry)>,
}

impl Held {
    fn new(service: &Service, reservation: Reservation, entry: &AuditEntry) -> Self {
        Self { back: Some((service.clone(), reservation, entry.clone())) }
    }

    /// The code was shown.
    fn keep(mut self) {
        self.back = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((service, reservation, entry)) = self.back.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { service.give_back(reservation, entry).await });
        }
    }
}
