//! Gives a caller a code: the current one, a fresh one, or one that nobody else gets.
//!
//! A call reads the secret's stored state, decides which step it gets (`domain::code_use`), and commits the decision
//! with its audit row; only then is the code handed out. If its step has not begun, the call waits, holding no lock,
//! connection or thread, and decides again when the step begins.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Access, Api, ApiOperation, Call, Effect, ErrorCode, Failed, ForSeat, Limit, Method, Operation, Refusal, Seconds,
    Spec,
    answers::{OK, Revealed},
    bounds::PurposeText,
    reservation::HeldStep,
    retries::Retries,
    waiting::WaitingPlace,
};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        code_use::{CodeAnswer, CodeAsk, Holder, Stage, UseState},
        hourly::HourlyCount,
        ids::{ReservationId, SecretId},
        limits::{PERIOD_SECONDS_MAX, WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX},
        scope::Scope,
        steps::{CodeWish, Reservation},
        text::Purpose,
        time::Timestamp,
        totp::{Code, Step, TotpParameters},
    },
    vault::{InUse, Outcome},
};

/// The timer and the clock may disagree by this much on when a step begins.
const TIMER_SLACK: Duration = Duration::from_secs(1);

/// Seconds of `min_validity` that may pass during the commit before the call decides again.
const LOST_SECONDS: u32 = 1;

/// Gives a caller a code of a secret.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct GetCode {
    /// The id that the list of secrets shows.
    pub secret_id: SecretId,
    /// Seconds that must be left of the code, at most its period. With fewer, the call waits for the next code.
    #[serde(default)]
    #[schemars(with = "Seconds<0, PERIOD_SECONDS_MAX>", extend("default" = 0))]
    pub min_validity: Option<Seconds<0, PERIOD_SECONDS_MAX>>,
    /// True: this code goes to no other caller. Use it when several agents may log in to the same account.
    #[serde(default)]
    pub single_use: bool,
    /// Seconds to wait for a code at most.
    #[serde(default)]
    #[schemars(with = "Seconds<0, WAIT_SECONDS_MAX>", extend("default" = WAIT_SECONDS_DEFAULT))]
    pub max_wait: Option<Seconds<0, WAIT_SECONDS_MAX>>,
    /// The seat (user) that the code is for: its id or its `auth_subject`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub seat_id: Option<String>,
    /// Why the code is needed, for the audit log. No secrets, codes or addresses.
    #[serde(default)]
    #[schemars(with = "PurposeText")]
    pub purpose: Option<String>,
}

impl GetCode {
    /// A plain call for a code.
    pub const fn of(secret_id: SecretId) -> Self {
        Self { secret_id, min_validity: None, single_use: false, max_wait: None, seat_id: None, purpose: None }
    }
}

/// A code and its remaining validity.
pub struct IssuedCode {
    /// The digits.
    pub code: Code,
    /// Whole seconds until it rotates: 1..=period.
    pub expires_in: u32,
    /// The code's time step.
    pub step: Step,
}

/// A code, as callers see it.
#[derive(Serialize, JsonSchema)]
pub struct TotpGetCodeResponse {
    /// The digits, leading zeros kept.
    pub code: Revealed,
    /// Whole seconds until it rotates.
    #[schemars(range(min = 1, max = PERIOD_SECONDS_MAX))]
    pub expires_in: u32,
    /// `OK`.
    pub status: &'static str,
}

impl From<IssuedCode> for TotpGetCodeResponse {
    fn from(from: IssuedCode) -> Self {
        Self { code: Revealed::from(&from.code), expires_in: from.expires_in, status: OK }
    }
}

impl ApiOperation for GetCode {
    const API: Api = Api {
        title: "Get a TOTP code",
        words: Some(
            "Returns the current login code of a stored secret, and expires_in, the whole seconds until it rotates. Call it \
             at the moment the code is asked for. With min_validity it waits for the next code if fewer seconds are left; \
             with single_use the code goes to no other caller, and a later one is waited for if need be (max_wait seconds \
             at most). Every code given is put into the audit log. Fails with not_found for an unknown secret, busy (with \
             the seconds until a code is free) and rate_limited: wait that long, then ask again.",
        ),
        method: Method::Get,
        path: "/api/v2/totp/code/{secret_id}",
        id: "getTotpCode",
        tag: "TOTP",
        description: "The current code of a secret and the whole seconds until it rotates. With `min_validity` it waits \
                      for the next code if fewer seconds are left; with `single_use` the code goes to no other caller, \
                      and a later one is waited for if need be. `busy` says, also in `Retry-After`, in how many seconds \
                      a code is free.",
        answer: "The code.",
        waits: true,
        refusals: &[ErrorCode::NotFound, ErrorCode::Busy],
    };
    type Answer = TotpGetCodeResponse;
    type RestAnswer = TotpGetCodeResponse;
}

/// Why no code is given after a restore or an accepted loss.
const CLOSED: &str =
    "codes come again a while after a restore or an accepted loss, as it is not known which were given out before";

/// What a call wants, updated while it goes on.
struct Request {
    secret: SecretId,
    wish: CodeWish,
    /// Whether the caller itself said how long to wait.
    patient: bool,
    holders: Vec<Holder>,
    /// The hourly limit of each holder.
    limits: Vec<u32>,
    stage: Stage,
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

impl Operation for GetCode {
    const SPEC: Spec = Spec {
        name: "get_totp_code",
        access: Access::Scope(Scope::CodesRead),
        action: Action::CodeGet,
        effect: Effect::Use,
    };
    type Output = IssuedCode;

    fn secret(&self) -> Option<SecretId> {
        Some(self.secret_id)
    }

    fn seat(&self) -> ForSeat<'_> {
        ForSeat::Named(self.seat_id.as_deref())
    }

    async fn run(self, call: &mut Call<'_>) -> Result<IssuedCode, Failed> {
        call.entry.purpose = self.purpose.as_deref().and_then(Purpose::of);
        let max_wait = self.max_wait.map_or(WAIT_SECONDS_DEFAULT, Seconds::get);
        let wish = CodeWish {
            min_validity: self.min_validity.map_or(0, Seconds::get),
            single_use: self.single_use,
            max_wait: Duration::from_secs(u64::from(max_wait)),
        };
        let (holders, limits) = counted_holders(call);
        let (secret, patient, stage) = (self.secret_id, self.max_wait.is_some(), Stage::Asks);
        // Locals are dropped in reverse order, so the step is given back before the waiting place is.
        let mut place = None::<WaitingPlace>;
        let mut request = Request { secret, wish, patient, holders, limits, stage, held: None, counted: false };
        let mut again = 0;
        loop {
            // Boxed: a call that waits, as thousands may, keeps only what the wait needs.
            match Box::pin(call.decide_and_commit(&mut request)).await? {
                Next::Done(code) => return Ok(code),
                // The machine is slower than the codes of this secret are short.
                Next::Again if again == AGAIN_MAX => return Err(Refusal::Contended.into()),
                Next::Again => again += 1,
                Next::Wait(from) => {
                    place = place.or_else(|| call.service.shared.waiters.enter(call.caller));
                    if place.is_none() {
                        return Err(Refusal::TooManyWaiting.into());
                    }
                    call.wait(from, &mut request.wish.max_wait).await?;
                }
            }
        }
    }
}

impl Call<'_> {
    /// Reads, decides and commits, until no other caller was faster.
    async fn decide_and_commit(&self, request: &mut Request) -> Result<Next, Failed> {
        let mut retries = Retries::new(&self.service.shared.random);
        let account = self.caller.account();
        loop {
            let now = self.service.now();
            let found = self.service.vault().in_use(account, request.secret, &request.holders, now).await?;
            let in_use = found.ok_or(Refusal::NotFound("secret"))?;
            self.service.check_skew()?;
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

    /// Decides on what was read and commits. `None`: another caller was faster.
    async fn try_once(&self, request: &mut Request, in_use: &InUse, entry: AuditEntry) -> Result<Option<Next>, Failed> {
        let now = entry.at;
        // Only calls that reserve a step need an id.
        let single_use = request.wish.single_use || in_use.terms().usage.single_use();
        let id = if single_use { self.service.shared.random.random_id()? } else { Uuid::nil() };
        let limits: Vec<(HourlyCount, u32)> =
            in_use.counts.iter().cloned().zip(request.limits.iter().copied()).collect();
        let ask = CodeAsk {
            wish: request.wish,
            patient: request.patient,
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
        request: &mut Request,
        in_use: &InUse,
        (step, state): (Step, Option<UseState>),
        entry: AuditEntry,
    ) -> Result<Option<Next>, Failed> {
        let (vault, totp, now) = (self.service.vault(), in_use.secret.metadata.totp, entry.at);
        let code = totp.code_at(&vault.open_seed(in_use)?, step);
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
        request.stage = Stage::Asks;
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
        request: &mut Request,
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

/// A random delay that is added to a refused caller's `retry_after`: callers of a fleet that are all told the same
/// second would come back together. Within the step's first third there is time left to use the code. `id` is random,
/// and nil for a call that shares its code with others.
fn spread(id: Uuid, period: u32) -> Duration {
    let (_, random) = id.as_u64_pair();
    Duration::from_secs(random % u64::from(period.div_ceil(3)))
}

/// The holders whose codes are counted for a call, with their hourly limits.
fn counted_holders(call: &Call<'_>) -> (Vec<Holder>, Vec<u32>) {
    let key = call.caller.key().zip(call.caller.codes_per_hour()).map(|(key, most)| (Holder::Key(key), most));
    let seat = call.seat.as_ref();
    let seat = seat.and_then(|seat| seat.profile.codes_per_hour.map(|most| (Holder::Seat(seat.id), most)));
    key.into_iter().chain(seat).unzip()
}
