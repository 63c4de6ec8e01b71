//! Decoys: digits that stand for a code in a browser behind the guard, which puts a real one in their place when they
//! are sent to an origin of the secret. No step is taken for a decoy; one is taken when it is spent. Only decoys that
//! were handed out work: a page that sends many digits must not make codes be taken that no caller requested.

use std::time::Duration;

use super::{
    Call, Effect, Failed, IssuedCode, Limit, Operation, Refusal, Spec,
    issue::counted_holders,
    origins::{check_origin, origins_of},
    retries::Retries,
};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        code_use::{HandedDecoy, UseState},
        ids::SecretId,
        limits::{FILL_VALIDITY_DEFAULT, WAIT_SECONDS_DEFAULT},
        origin::Origin,
        steps::CodeWish,
        text::Purpose,
        totp::{Code, Step, TotpParameters},
    },
    vault::{InUse, Life, Outcome},
};

/// The steps after its own in which a decoy still works: an agent reads a page and types more slowly than a person.
const STEPS_AFTER: u64 = 2;
/// A decoy differs from the codes of its own step, of this many steps before it, and of twice as many after it: a site
/// may accept those.
const STEPS_AROUND: u64 = 2;
/// The most decoys of a secret that work at a time: the state of its use stays short, and no more than a few codes come
/// within the life of a decoy.
const DECOYS_MAX: usize = 32;

const TOO_MANY: &str = "as many decoys of this secret were handed out as work at a time";

/// A valid decoy.
pub struct Decoy {
    /// The secret for whose code it stands.
    pub secret: SecretId,
    /// The step in which it was made.
    pub step: Step,
    /// Its number among the decoys of that step.
    pub nth: usize,
    /// How the secret's codes are made.
    pub totp: TotpParameters,
    /// Its digits.
    pub digits: Code,
}

/// Lists the origins to which codes may go, each with the secret of these codes.
#[derive(Debug)]
pub struct GuardedOrigins;

/// Lists the decoys that are valid at an origin now.
#[derive(Debug)]
pub struct ListDecoys {
    /// The origin, no wildcard.
    pub origin: Origin,
    /// The secrets whose decoys may work there.
    pub secrets: Vec<SecretId>,
}

/// Takes a code in the place of a decoy.
#[derive(Debug)]
pub struct SpendDecoy {
    /// The secret.
    pub secret_id: SecretId,
    /// The step in which the decoy was made.
    pub step: Step,
    /// The decoy's number among those of that step.
    pub nth: usize,
    /// The origin that the code goes to, no wildcard.
    pub origin: Origin,
}

impl Call<'_> {
    /// Gives the caller a decoy, which no other caller gets. It counts as a code where codes an hour are limited: a code
    /// will go out for it.
    pub(super) async fn decoy(&self, secret: SecretId) -> Result<IssuedCode, Failed> {
        let service = self.service;
        let (holders, limits) = counted_holders(self);
        let mut retries = Retries::new(&service.shared.random);
        let mut is_counted = false;
        loop {
            let now = service.now();
            let in_use = service.vault().in_use(self.caller.account(), secret, &holders, now).await?;
            let in_use = in_use.ok_or(Refusal::NotFound("secret"))?;
            service.check_skew()?;
            if !std::mem::replace(&mut is_counted, true) {
                self.count_use(secret).await?;
            }
            if origins_of(&in_use.secret).next().is_none() {
                return Err(Refusal::NoOrigins.into());
            }
            let full = in_use.counts.iter().zip(&limits).filter_map(|(given, most)| given.full_until(*most)).max();
            if let Some(free_at) = full {
                return Err(Refusal::RateLimited { limit: Limit::CodesPerHour, after: now.until(free_at) }.into());
            }
            let totp = in_use.terms().totp;
            let step = totp.step_at(now);
            let handed = HandedDecoy { step, key: self.entry.actor.key(), seat: self.entry.seat, is_spent: false };
            let mut state = in_use.state.clone();
            let code = self.next_decoy(&in_use, &mut state.decoys, handed)?;
            let entry = AuditEntry { at: now, step: Some(step), ..self.entry.clone() };
            let draft = service.vault().draft(entry).used(&in_use, Some(&state)).counted(&in_use, now);
            if draft.commit().await? == Outcome::Done {
                return Ok(IssuedCode { code, expires_in: totp.expires_in(now), step });
            }
            retries.again().await?;
        }
    }

    /// Adds a decoy to those that work, without the ones that have expired.
    fn next_decoy(&self, in_use: &InUse, handed: &mut Vec<HandedDecoy>, next: HandedDecoy) -> Result<Code, Failed> {
        handed.retain(|earlier| is_in_time(earlier.step, next.step));
        let step = handed.last().map_or(next.step, |last| last.step.max(next.step));
        // By chance, a decoy can equal one of an earlier step. That one stays with its caller.
        while handed.len() < DECOYS_MAX {
            handed.push(HandedDecoy { step, ..next });
            let mut all = self.digits_of(in_use, handed)?;
            if let Some(new) = all.pop()
                && !all.iter().any(|earlier| earlier.matches(new.digits()))
            {
                return Ok(new);
            }
        }
        let first = handed.first().map_or(step, |first| first.step);
        let expires = in_use.terms().totp.start_of(Step(first.0.saturating_add(STEPS_AFTER + 1)));
        Err(Refusal::Busy { reason: TOO_MANY, after: self.service.now().until(expires) }.into())
    }

    /// The digits of decoys that were handed out, in their order: always the same, none of the codes that a site may
    /// accept meanwhile, and within a step none twice.
    fn digits_of(&self, in_use: &InUse, handed: &[HandedDecoy]) -> Result<Vec<Code>, Failed> {
        let (vault, totp) = (self.service.vault(), in_use.terms().totp);
        let seed = vault.open_seed(in_use)?;
        let id = in_use.secret.id;
        let mut all = Vec::with_capacity(handed.len());
        for of_step in handed.chunk_by(|one, next| one.step == next.step) {
            let Some(HandedDecoy { step, .. }) = of_step.first() else { continue };
            let around = step.0.saturating_sub(STEPS_AROUND)..=step.0.saturating_add(2 * STEPS_AROUND);
            let mut excluded: Vec<Code> = around.map(|step| totp.code_at(&seed, Step(step))).collect();
            let codes = excluded.len();
            let mut random = (0_u64..).map(|nth| {
                let hash = vault.fingerprint("decoy", &[id.as_bytes(), &step.0.to_be_bytes(), &nth.to_be_bytes()]);
                let random = hash.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte));
                Code::decoy(totp.digits, random)
            });
            for _ in of_step {
                let decoy = random.find(|decoy| !excluded.iter().any(|other| other.matches(decoy.digits())));
                excluded.push(decoy.ok_or(Refusal::Contended)?);
            }
            all.extend(excluded.drain(codes..));
        }
        Ok(all)
    }
}

impl Operation for GuardedOrigins {
    const SPEC: Spec = Spec::person("list_guarded_origins", Action::CodeFill, Effect::Read);
    type Output = Vec<(Origin, SecretId)>;

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Output, Failed> {
        let secrets = call.service.vault().all_secrets(call.caller.account(), Life::Live).await?;
        let each = |secret| origins_of(secret).map(|origin| (origin.clone(), secret.id));
        Ok(secrets.sound.iter().flat_map(each).collect())
    }
}

impl Operation for ListDecoys {
    const SPEC: Spec = Spec::person("list_decoys", Action::CodeFill, Effect::Read);
    type Output = Vec<Decoy>;

    async fn run(self, call: &mut Call<'_>) -> Result<Vec<Decoy>, Failed> {
        let (vault, account, now) = (call.service.vault(), call.caller.account(), call.entry.at);
        let mut decoys = Vec::new();
        for secret in self.secrets {
            let Some(in_use) = vault.in_use(account, secret, &[], now).await? else { continue };
            if !origins_of(&in_use.secret).any(|origin| origin.covers(&self.origin)) {
                continue;
            }
            let totp = in_use.terms().totp;
            let mut handed = in_use.state.decoys.clone();
            handed.retain(|decoy| is_in_time(decoy.step, totp.step_at(now)));
            let digits = call.digits_of(&in_use, &handed)?;
            let nth_of = |at: usize, step| handed.iter().take(at).filter(|earlier| earlier.step == step).count();
            for (at, (HandedDecoy { step, .. }, digits)) in handed.iter().zip(digits).enumerate() {
                decoys.push(Decoy { secret, step: *step, nth: nth_of(at, *step), totp, digits });
            }
        }
        Ok(decoys)
    }
}

impl Operation for SpendDecoy {
    const SPEC: Spec = Spec::person("spend_decoy", Action::CodeFill, Effect::Use);
    type Output = IssuedCode;

    fn secret(&self) -> Option<SecretId> {
        Some(self.secret_id)
    }

    async fn run(self, call: &mut Call<'_>) -> Result<IssuedCode, Failed> {
        call.entry.purpose = Purpose::of("guard");
        let (account, now) = (call.caller.account(), call.entry.at);
        let in_use = call.service.vault().in_use(account, self.secret_id, &[], now).await?;
        let in_use = in_use.ok_or(Refusal::NotFound("secret"))?;
        let totp = in_use.terms().totp;
        let handed = self.position_in(&in_use.state).and_then(|at| in_use.state.decoys.get(at));
        let handed = handed.filter(|decoy| is_in_time(decoy.step, totp.step_at(now)));
        if let Some(handed) = handed {
            // The row names the caller for whom the code is taken, also if it is refused.
            (call.entry.key, call.entry.seat) = (handed.key, handed.seat);
        }
        check_origin(&in_use.secret, Some(&self.origin))?;
        if handed.is_none() {
            return Err(no_longer().into());
        }
        let wish = CodeWish {
            min_validity: FILL_VALIDITY_DEFAULT.min(totp.period.seconds()),
            single_use: true,
            max_wait: Duration::from_secs(WAIT_SECONDS_DEFAULT.into()),
        };
        call.issue_for(&self, wish).await
    }
}

impl SpendDecoy {
    fn position_in(&self, state: &UseState) -> Option<usize> {
        let of_step = state.decoys.iter().enumerate().filter(|(_, decoy)| decoy.step == self.step);
        of_step.map(|(at, _)| at).nth(self.nth)
    }

    /// Marks the decoy as spent. One that has expired while its call waited may be gone from the state.
    pub(super) fn mark_spent(&self, state: &mut UseState) {
        if let Some(handed) = self.position_in(state).and_then(|at| state.decoys.get_mut(at)) {
            handed.is_spent = true;
        }
    }
}

impl Call<'_> {
    /// Checks that a decoy can still be spent: its origin, the caller who got it, and that no other call has spent it.
    pub(super) async fn check_decoy(&self, decoy: &SpendDecoy, in_use: &InUse, spent: bool) -> Result<(), Failed> {
        check_origin(&in_use.secret, Some(&decoy.origin))?;
        let handed = decoy.position_in(&in_use.state).and_then(|at| in_use.state.decoys.get(at));
        if !spent && handed.is_some_and(|handed| handed.is_spent) {
            return Err(no_longer().into());
        }
        self.service.still_holds(self.caller.account(), self.entry.key, self.entry.seat).await
    }
}

/// The guard then sends the digits on as they are.
fn no_longer() -> Refusal {
    Refusal::invalid("step", "must be one whose decoy still works")
}

/// Whether a step's decoy works in another step. The clocks of two machines differ by less than a step.
fn is_in_time(step: Step, now: Step) -> bool {
    (now.0.saturating_sub(STEPS_AFTER)..=now.0.saturating_add(1)).contains(&step.0)
}
