//! Issues codes, for the operations that give one: a call reads the secret's stored state, decides which step it gets
//! (`domain::code_use`), and commits the decision with its audit row; only then is the code handed out. If its step has
//! not begun, the call waits, holding no lock, connection or thread, and decides again when the step begins.
//!
//! A code that is typed into a page differs in one way: its step is reserved first, then the code is typed, and then
//! the use is committed. So a step whose code was not typed is given back, and a process that ends in between loses the
//! step and never gives it twice.

use std::time::Duration;

use futures::FutureExt as _;
use uuid::Uuid;

use super::{
    Call, Failed, Limit, Refusal, decoys::SpendDecoy, fill_code::Typist, origins::check_origin, reservation::HeldStep,
    retries::Retries, waiting::WaitingPlace,
};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        code_use::{CodeAnswer, CodeAsk, Holder, Stage, UseState},
        hourly::HourlyCount,
        ids::{ReservationId, SecretId},
        steps::{CodeWish, Reservation},
        time::Timestamp,
        totp::{Code, Step, TotpParameters},
    },
    vault::{InUse, Outcome},
};

/// The timer and the clock may disagree by this much on when a step begins.
const TIMER_SLACK: Duration = Duration::from_secs(1);

/// Seconds of `min_validity` that may pass during the commit before the call decides again.
const LOST_SECONDS: u32 = 1;

/// The reason that no code is given after a restore or an accepted loss.
const CLOSED: &str =
    "codes come again a while after a restore or an accepted loss, as it is not known which were given out before";

/// A code and its remaining validity.
pub struct IssuedCode {
    /// The digits.
    pub code: Code,
    /// Whole seconds until it rotates: 1..=period; 0 if it has rotated while it was typed.
    pub expires_in: u32,
    /// The code's time step.
    pub step: Step,
}

/// The destination of a code.
enum To<'t> {
    Caller,
    /// Into a page.
    Page(&'t mut Typist),
    /// To an origin of the secret, in the place of a decoy.
    Origin(&'t SpendDecoy),
}

/// The request of a call, and its state, updated while the call goes on.
struct Request<'t> {
    secret: SecretId,
    wish: CodeWish,
    /// Whether the caller itself set the longest wait.
    patient: bool,
    holders: Vec<Holder>,
    /// The hourly limit of each holder.
    limits: Vec<u32>,
    stage: Stage,
    /// The decoy whose place the code takes: then the caller sees no digit.
    decoy: Option<&'t SpendDecoy>,
    /// Whether this call has spent the decoy.
    spent: bool,
    /// Types the code into a page; `None`: the caller gets it.
    typist: Option<&'t mut Typist>,
    /// The step that is reserved for the call: given back when this is dropped.
    held: Option<HeldStep>,
    /// Whether the call was already counted as a use of the secret.
    counted: bool,
}

/// How often a call decides again because its code was too old by the time its row was committed.
const AGAIN_MAX: u32 = 3;

/// The result of a committed decision.
enum Next {
    Done(IssuedCode),
    /// Decide again at this time.
    Wait(Timestamp),
    /// Decide again now: the code had almost expired when its row was committed, or the reserved step has passed.
    Again,
}

impl Call<'_> {
    /// Gives the caller a code.
    pub(super) async fn issue(&self, secret: SecretId, wish: CodeWish, patient: bool) -> Result<IssuedCode, Failed> {
        self.issued(secret, wish, patient, To::Caller).boxed().await
    }

    /// Has a code typed into a page.
    pub(super) async fn issue_to(
        &self,
        typist: &mut Typist,
        secret: SecretId,
        wish: CodeWish,
    ) -> Result<IssuedCode, Failed> {
        self.issued(secret, wish, true, To::Page(typist)).boxed().await
    }

    /// Takes a code that goes to an origin of the secret, in the place of a decoy.
    pub(super) async fn issue_for(&self, decoy: &SpendDecoy, wish: CodeWish) -> Result<IssuedCode, Failed> {
        self.issued(decoy.secret_id, wish, true, To::Origin(decoy)).boxed().await
    }

    async fn issued(&self, secret: SecretId, wish: CodeWish, patient: bool, to: To<'_>) -> Result<IssuedCode, Failed> {
        let (holders, limits) = counted_holders(self);
        // Locals are dropped in reverse order, so the step is given back before the waiting place is.
        let mut place = None::<WaitingPlace>;
        let stage = Stage::Asks;
        let (typist, decoy) = match to {
            To::Caller => (None, None),
            To::Page(typist) => (Some(typist), None),
            To::Origin(decoy) => (None, Some(decoy)),
        };
        let (held, counted, spent) = (None, false, false);
        let mut request =
            Request { secret, wish, patient, holders, limits, stage, decoy, spent, typist, held, counted };
        let mut again = 0;
        loop {
            // Boxed, so that a waiting call, of which there may be thousands, keeps only the state that the wait needs.
            match Box::pin(self.decide_and_commit(&mut request)).await? {
                Next::Done(code) => return Ok(code),
                // This machine takes longer for a commit than a code of this secret is valid.
                Next::Again if again == AGAIN_MAX => return Err(Refusal::Contended.into()),
                Next::Again => again += 1,
                // A step that is reserved for a page may have begun already.
                Next::Wait(from) if from <= self.service.now() => {}
                Next::Wait(from) => {
                    place = place.or_else(|| self.service.shared.waiters.enter(self.caller));
                    if place.is_none() {
                        return Err(Refusal::TooManyWaiting.into());
                    }
                    self.wait(from, &mut request.wish.max_wait).await?;
                }
            }
        }
    }

    /// Reads, decides and commits, until no other caller was faster.
    async fn decide_and_commit(&self, request: &mut Request<'_>) -> Result<Next, Failed> {
        let mut retries = Retries::new(&self.service.shared.random);
        let account = self.caller.account();
        loop {
            let now = self.service.now();
            let found = self.service.vault().in_use(account, request.secret, &request.holders, now).await?;
            let in_use = found.ok_or(Refusal::NotFound("secret"))?;
            self.service.check_skew()?;
            self.check_destination(request, &in_use).await?;
            if !std::mem::replace(&mut request.counted, true) {
                self.count_use(request.secret).await?;
            }
            let entry = AuditEntry { at: now, ..self.entry.clone() };
            if let Some(next) = self.try_once(request, &in_use, entry).await? {
                return Ok(next);
            }
            retries.again().await?;
        }
    }

    /// Checks where the code goes: a person may have changed that while the call waited.
    async fn check_destination(&self, request: &Request<'_>, in_use: &InUse) -> Result<(), Failed> {
        match (&request.typist, request.decoy) {
            // What was typed can't be taken back.
            (Some(typist), _) if typist.step().is_some() => Ok(()),
            (Some(typist), _) => check_origin(&in_use.secret, typist.origin().as_ref()),
            (None, Some(decoy)) => self.check_decoy(decoy, in_use, request.spent).await,
            (None, None) => Ok(()),
        }
    }

    /// Decides on the state that was read, and commits. `None`: another caller was faster.
    async fn try_once(
        &self,
        request: &mut Request<'_>,
        in_use: &InUse,
        entry: AuditEntry,
    ) -> Result<Option<Next>, Failed> {
        let now = entry.at;
        // Only calls that reserve a step need an id.
        let typed = request.typist.is_some();
        let single_use = typed || request.wish.single_use || in_use.terms().usage.single_use();
        let id = if single_use { self.service.shared.random.random_id()? } else { Uuid::nil() };
        let limits: Vec<(HourlyCount, u32)> =
            in_use.counts.iter().cloned().zip(request.limits.iter().copied()).collect();
        let ask = CodeAsk {
            wish: request.wish,
            patient: request.patient,
            typed,
            hidden: request.decoy.is_some(),
            stage: request.stage,
            reservation: ReservationId::new(id),
            limits: &limits,
            now,
        };
        match in_use.state.decide(&in_use.terms(), &ask) {
            CodeAnswer::Give { step, state } => self.give(request, in_use, (step, state), entry).await,
            CodeAnswer::Reserved { reservation, from, state } => self
                .reserve(request, in_use, (reservation, state), entry)
                .await
                .map(|kept| kept.then_some(Next::Wait(from))),
            CodeAnswer::Wait { step, from } => {
                request.stage = Stage::Waited(step);
                Ok(Some(Next::Wait(from)))
            }
            CodeAnswer::Missed if let Some(step) = request.typed_step() => {
                // The code was typed at the very end of its step: only the row is left to write.
                self.give(request, in_use, (step, None), entry).await
            }
            CodeAnswer::Missed => {
                (request.stage, request.held) = (Stage::Asks, None);
                Ok(Some(Next::Again))
            }
            CodeAnswer::Busy { reason, free_at } => {
                let reason = if in_use.is_closed_until(free_at) { CLOSED } else { reason };
                let spread = spread(id, in_use.terms().totp.period.seconds());
                Err(Refusal::Busy { reason, after: now.until(free_at).saturating_add(spread) }.into())
            }
            CodeAnswer::LimitReached { free_at } => {
                Err(Refusal::RateLimited { limit: Limit::CodesPerHour, after: now.until(free_at) }.into())
            }
            CodeAnswer::TooFresh { period } => {
                Err(Refusal::invalid("min_validity", format!("must be 0 to {period}, this secret's period")).into())
            }
            CodeAnswer::FillOnly => Err(Refusal::FillOnly.into()),
        }
    }

    /// Opens the seed, makes the code, and hands it out once its row is committed.
    async fn give(
        &self,
        request: &mut Request<'_>,
        in_use: &InUse,
        (step, state): (Step, Option<UseState>),
        entry: AuditEntry,
    ) -> Result<Option<Next>, Failed> {
        let (vault, totp, now) = (self.service.vault(), in_use.secret.metadata.totp, entry.at);
        let code = totp.code_at(&vault.open_seed(in_use)?, step);
        if let Some(typist) = request.typist.as_deref_mut() {
            // From here on the step counts as used, also if this future is dropped, unless it is certain that nothing was typed.
            if let Some(held) = request.held.take() {
                held.disarm();
            }
            if let Err(refusal) = typist.type_once(&code, step).await {
                if let Stage::Holds(reservation) = request.stage {
                    drop(HeldStep::new(self.service, reservation, &entry));
                }
                return Err(refusal.into());
            }
        }
        let mut state = state;
        if let Some((decoy, state)) = request.decoy.zip(state.as_mut()) {
            decoy.mark_spent(state);
        }
        let code_tag = Some(vault.code_tag(request.secret, step, code.digits()));
        let mut draft = vault.draft(AuditEntry { step: Some(step), code_tag, ..entry });
        draft = draft.used(in_use, state.as_ref()).counted(in_use, now);
        if state.is_none() {
            // The code was handed out before: a power cut could only lose this audit row.
            draft = draft.soon();
        }
        if draft.commit().await? != Outcome::Done {
            return Ok(None);
        }
        if let Some(held) = request.held.take() {
            held.disarm();
        }
        (request.stage, request.spent) = (Stage::Asks, true);
        if request.typist.is_some() {
            let (later, counters) = (self.service.now(), &self.service.shared.counters);
            counters.issued();
            let expires_in = if totp.step_at(later) == step { totp.expires_in(later) } else { 0 };
            return Ok(Some(Next::Done(IssuedCode { code, expires_in, step })));
        }
        let expires_in = totp.expires_in(now);
        let next = self.as_old_as_it_is(IssuedCode { code, expires_in, step }, totp, request.wish.min_validity);
        if matches!(next, Next::Done(_)) {
            self.service.shared.counters.issued();
        }
        Ok(Some(next))
    }

    /// Commits a reservation, and gives it back if the call ends before the code is shown. `false`: another caller was
    /// faster.
    async fn reserve(
        &self,
        request: &mut Request<'_>,
        in_use: &InUse,
        (reservation, state): (Reservation, Option<UseState>),
        entry: AuditEntry,
    ) -> Result<bool, Failed> {
        if let Some(state) = state {
            // Hold the step before the commit, so that it is given back if this future is dropped meanwhile.
            request.held.get_or_insert_with(|| HeldStep::new(self.service, reservation, &entry));
            let entry = AuditEntry { action: Action::CodeReserve, step: Some(reservation.step), ..entry };
            let draft = self.service.vault().draft(entry).used(in_use, Some(&state));
            if draft.commit().await? != Outcome::Done {
                if matches!(request.stage, Stage::Asks | Stage::Waited(_))
                    && let Some(held) = request.held.take()
                {
                    held.disarm();
                }
                return Ok(false);
            }
        }
        request.stage = Stage::Holds(reservation);
        Ok(true)
    }

    /// Checks the code's age after the commit, which may have waited for the disk or for other processes: if its step
    /// has ended, or if clearly less validity is left than requested, the call decides again.
    fn as_old_as_it_is(&self, code: IssuedCode, totp: TotpParameters, min_validity: u32) -> Next {
        let now = self.service.now();
        // A clock that was set back does not make a code live longer.
        let expires_in = totp.expires_in(now).min(code.expires_in);
        let was_enough = code.expires_in >= min_validity;
        if totp.step_at(now) > code.step || was_enough && expires_in.saturating_add(LOST_SECONDS) < min_validity {
            return Next::Again;
        }
        Next::Done(IssuedCode { expires_in, ..code })
    }

    /// Waits until a time, unless the process or the caller's rights end first.
    async fn wait(&self, moment: Timestamp, left: &mut Duration) -> Result<(), Failed> {
        let span = self.service.now().until(moment);
        if span > left.saturating_add(TIMER_SLACK) {
            // The decision was that the step begins within the remaining wait, so the clock has changed.
            return Err(Refusal::Busy { reason: "the clock was set back while the call waited", after: span }.into());
        }
        *left = left.saturating_sub(span);
        // The wait is boxed so that calls that don't wait reserve no room for it.
        Box::pin(self.service.wait_until(self.caller, moment, self.patience)).await
    }
}

impl Request<'_> {
    /// The step whose code was typed.
    fn typed_step(&self) -> Option<Step> {
        self.typist.as_ref().and_then(|typist| typist.step())
    }
}

/// A random delay that is added to a refused caller's `retry_after`: callers of a fleet that all got the same second
/// would retry together. Within the step's first third there is time left to use the code. `id` is random, and nil for
/// a call that shares its code with others.
fn spread(id: Uuid, period: u32) -> Duration {
    let (_, random) = id.as_u64_pair();
    Duration::from_secs(random % u64::from(period.div_ceil(3)))
}

/// The holders whose codes are counted for a call, with their hourly limits.
pub(super) fn counted_holders(call: &Call<'_>) -> (Vec<Holder>, Vec<u32>) {
    let key = call.caller.key().zip(call.caller.codes_per_hour()).map(|(key, most)| (Holder::Key(key), most));
    let seat = call.seat.as_ref();
    let seat = seat.and_then(|seat| seat.profile.codes_per_hour.map(|most| (Holder::Seat(seat.id), most)));
    key.into_iter().chain(seat).unzip()
}
