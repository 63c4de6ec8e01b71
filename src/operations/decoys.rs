//! Decoys: digits that stand for a code in a browser behind the guard, which puts a real one in their place when they
//! are sent to an origin of the secret. No step is taken for a decoy; one is taken when it is spent. Only decoys that
//! were handed out work: a page that sends many digits must not make codes be taken that no caller requested.

use std::time::Duration;

use super::{
    Call, Effect, Failed, IssuedCode, Limit, Operation, Refusal, Spec, issue::counted_holders,
    origins::is_of_strangers, retries::Retries,
};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        code_use::UseState,
        ids::SecretId,
        limits::{FILL_VALIDITY_DEFAULT, WAIT_SECONDS_DEFAULT},
        origin::Origin,
        secret::TotpSecret,
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

/// A valid decoy.
pub struct Decoy {
    /// The secret for whose code it stands.
    pub secret: SecretId,
    /// The step in which it was made.
    pub step: Step,
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
    /// The origin that the code goes to, no wildcard.
    pub origin: Origin,
}

impl Call<'_> {
    /// Gives the caller a decoy. It counts as a code where codes an hour are limited: a code will go out for it.
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
            let code = self.decoy_of(&in_use, step)?;
            let entry = AuditEntry { at: now, step: Some(step), ..self.entry.clone() };
            let state = with_decoy(&in_use.state, step);
            let draft = service.vault().draft(entry).used(&in_use, state.as_ref()).counted(&in_use, now);
            if draft.commit().await? == Outcome::Done {
                return Ok(IssuedCode { code, expires_in: totp.expires_in(now), step });
            }
            retries.again().await?;
        }
    }

    /// The decoy of a secret and a step: always the same one, and none of the codes that a site may accept meanwhile.
    fn decoy_of(&self, in_use: &InUse, step: Step) -> Result<Code, Failed> {
        let (vault, totp) = (self.service.vault(), in_use.terms().totp);
        let seed = vault.open_seed(in_use)?;
        let around = step.0.saturating_sub(STEPS_AROUND)..=step.0.saturating_add(2 * STEPS_AROUND);
        let codes: Vec<Code> = around.map(|step| totp.code_at(&seed, Step(step))).collect();
        let id = in_use.secret.id;
        let mut decoys = (0_u64..).map(|nth| {
            let hash = vault.fingerprint("decoy", &[id.as_bytes(), &step.0.to_be_bytes(), &nth.to_be_bytes()]);
            let random = hash.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte));
            Code::decoy(totp.digits, random)
        });
        let decoy = decoys.find(|decoy| !codes.iter().any(|code| code.matches(decoy.digits())));
        decoy.ok_or_else(|| Refusal::Contended.into())
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
            let works = |step: &&Step| is_in_time(**step, totp.step_at(now));
            for step in in_use.state.decoys.iter().filter(works) {
                decoys.push(Decoy { secret, step: *step, totp, digits: call.decoy_of(&in_use, *step)? });
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
        let kept = call.service.vault().secret(call.caller.account(), self.secret_id).await?;
        let kept = kept.filter(|kept| kept.deleted_at.is_none()).ok_or(Refusal::NotFound("secret"))?;
        if !origins_of(&kept).any(|origin| origin.covers(&self.origin)) {
            return Err(Refusal::WrongOrigin(kept.value.metadata.origins).into());
        }
        let totp = kept.metadata.totp;
        if !is_in_time(self.step, totp.step_at(call.entry.at)) {
            return Err(Refusal::invalid("step", "must be one whose decoy still works").into());
        }
        let wish = CodeWish {
            min_validity: FILL_VALIDITY_DEFAULT.min(totp.period.seconds()),
            single_use: true,
            max_wait: Duration::from_secs(WAIT_SECONDS_DEFAULT.into()),
        };
        call.issue_hidden(self.secret_id, wish).await
    }
}

/// The state with one more decoy handed out, and without those that have expired; `None`: nothing changes.
fn with_decoy(state: &UseState, step: Step) -> Option<UseState> {
    let mut new = state.clone();
    new.decoys.retain(|earlier| is_in_time(*earlier, step));
    if !new.decoys.contains(&step) {
        new.decoys.push(step);
    }
    (new != *state).then_some(new)
}

/// Whether a step's decoy still works in another step.
fn is_in_time(step: Step, now: Step) -> bool {
    now.0.checked_sub(step.0).is_some_and(|age| age <= STEPS_AFTER)
}

/// The origins of a secret, without those that cover the sites of strangers.
fn origins_of(secret: &TotpSecret) -> impl Iterator<Item = &Origin> {
    secret.metadata.origins.iter().filter(|origin| !is_of_strangers(origin))
}
