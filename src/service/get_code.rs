//! Getting a code: the current one; a fresh one; one that nobody else gets. The main job.
//!
//! A call is decided in one atomic step of the store, from the secret's marks. If its code lies ahead it waits, holding
//! no lock, connection or thread, and is decided again when the step begins. The seed is open only while a decision is
//! made.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    Refusal, Service,
    decide_code::{Asked, Call, Decided, Stage, Told},
    give_back::{Held, UnderWay},
    waiting::Patience,
};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SecretId,
        limits::{WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX},
        principal::Principal,
        scope::Scope,
        seat::Seat,
        steps::CodeWish,
        text::Purpose,
        time::Timestamp,
        totp::{Code, Step},
    },
    store::{Holder, InUse, SecretUse},
};

/// A timer and the clock need not agree to the last moment on when a step begins.
const TIMER_SLACK: Duration = Duration::from_secs(1);

/// Seconds of `min_validity` that may be lost on the way before a code is asked for again.
const LOST_SECONDS: u32 = 1;

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
    /// Why, for the audit log; what looks like a secret is masked there.
    pub purpose: Option<String>,
}

/// A code, and how long it lives.
pub struct IssuedCode {
    /// The digits.
    pub code: Code,
    /// Whole seconds until it rotates: 1..=period.
    pub expires_in: u32,
    /// Which time step's it is.
    pub step: Step,
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
        self.require_scope(caller, Scope::CodesRead, Action::CodeGet).await?;
        let begun = self.now();
        let mut entry = AuditEntry { secret: Some(secret), ..AuditEntry::of(caller, Action::CodeGet, begun) };
        let wish = match wish_of(request, &mut entry) {
            Ok(wish) => wish,
            Err(refusal) => return Err(self.refuse(refusal, entry).await),
        };
        if !caller.sees(secret) {
            return Err(self.refuse(Refusal::NotFound("secret"), entry).await);
        }
        let (counted, limits) = {
            // Let go of before the call waits.
            let seat = self.seat_for(caller, request.seat.as_deref(), &entry).await?;
            entry.seat = seat.as_ref().map(|seat| seat.id);
            counted_holders(caller, seat.as_ref())
        };
        self.count_use(secret, &entry).await?;
        let mut left = wish.max_wait;
        // Dropped from the last to the first: a step is given back before its place is.
        let (mut place, mut stage, mut held) = (None, Stage::Ask, None::<Held>);
        loop {
            let (now, wish) = (self.now(), CodeWish { max_wait: left, ..wish });
            let asked = Asked { wish, patient: request.max_wait.is_some(), limits: limits.clone() };
            // Boxed, as the wait is, so that neither keeps room for the other.
            let decided = Box::pin(self.decide(asked, &counted, stage, AuditEntry { at: now, ..entry.clone() }));
            let from = match decided.await? {
                Decided::Issued { code, .. } => {
                    if let Some(held) = held.take() {
                        held.keep();
                    }
                    self.parts.counters.issued();
                    return Ok(code);
                }
                Decided::Refused(refusal) => {
                    // Its row was written with the decision.
                    self.parts.counters.refused(refusal.code());
                    return Err(refusal);
                }
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
            place = place.or_else(|| self.parts.waiters.enter(caller));
            let waited = match place {
                Some(_) => Box::pin(self.wait_as(caller, from, &mut left, patience)).await,
                None => Err(Refusal::TooManyWaiting),
            };
            if let Err(refusal) = waited {
                // It is refused now, however long ago the call began.
                return Err(self.refuse(refusal, AuditEntry { at: self.now(), ..entry }).await);
            }
        }
    }

    /// Waits for a moment. The process may end meanwhile, or the caller's rights.
    async fn wait_as(
        &self,
        caller: &Principal,
        moment: Timestamp,
        left: &mut Duration,
        patience: &dyn Patience,
    ) -> Result<(), Refusal> {
        let span = self.now().until(moment);
        if span > left.saturating_add(TIMER_SLACK) {
            // It was to begin within what is left.
            return Err(Refusal::Busy { reason: "the clock was set back while the call waited", after: span });
        }
        *left = left.saturating_sub(span);
        self.wait_until(caller, moment, patience).await
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
        let min_validity = asked.wish.min_validity;
        let (now, told) = (entry.at, Mutex::default());
        let call = Arc::new(Call { parts: Arc::clone(&self.parts), secret, now, asked, stage, entry, told });
        let deciding = Arc::clone(&call);
        let decide = Box::new(move |in_use: InUse<'_>| deciding.decide(&in_use));
        let request = SecretUse { account, secret, now, counted: counted.to_vec(), decide };
        let work = Arc::clone(self.store()).use_secret(request);
        let mut under_way = UnderWay::new(self, &call, work);
        let done = under_way.done().await;
        drop(under_way);
        match done {
            Ok(true) => {}
            Ok(false) => return Err(self.refuse(Refusal::NotFound("secret"), call.entry.clone()).await),
            Err(cause) => return Err(self.refuse_failed(cause, call.entry.clone()).await),
        }
        let Told { decided, leftover } =
            call.told.lock().map(|mut told| std::mem::take(&mut *told)).unwrap_or_default();
        self.record_leftover(leftover).await;
        decided.map(|decided| self.as_old_as_it_is(decided, min_validity)).ok_or(Refusal::Unavailable)
    }

    /// A code's row may have had to wait for the disk or for other processes. A code whose step has ended meanwhile, or of
    /// which clearly less is left than was asked for, is no answer.
    fn as_old_as_it_is(&self, decided: Decided, min_validity: u32) -> Decided {
        let Decided::Issued { code, totp } = decided else { return decided };
        let now = self.now();
        // A clock that was set back makes no code live longer.
        let expires_in = totp.expires_in(now).min(code.expires_in);
        let was_enough = code.expires_in >= min_validity;
        if totp.step_at(now) > code.step || was_enough && expires_in.saturating_add(LOST_SECONDS) < min_validity {
            return Decided::Missed;
        }
        Decided::Issued { code: IssuedCode { expires_in, ..code }, totp }
    }

    /// Writes the counter rows that a decision found due.
    async fn record_leftover(&self, rows: Vec<AuditEntry>) {
        if !rows.is_empty()
            && let Err(cause) = self.store().record(rows).await
        {
            tracing::error!(%cause, "counted refusals could not be put on the trail");
        }
    }
}

/// Reads the wish, and the purpose into the entry: whatever that is, it never costs the code.
fn wish_of(request: &CodeRequest, entry: &mut AuditEntry) -> Result<CodeWish, Refusal> {
    entry.purpose = request.purpose.as_deref().and_then(Purpose::of);
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
fn counted_holders(caller: &Principal, seat: Option<&Seat>) -> (Vec<Holder>, Vec<u32>) {
    let key = caller.key().zip(caller.codes_per_hour()).map(|(key, most)| (Holder::Key(key), most));
    let seat = seat.and_then(|seat| seat.profile.codes_per_hour.map(|most| (Holder::Seat(seat.id), most)));
    key.into_iter().chain(seat).unzip()
}
