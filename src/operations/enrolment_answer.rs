//! The answer of a person to an enrolment: they type the seed, see what it is and its current code, and add it or
//! decline. Every method needs the proof that they are the person.

use std::{sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::{
    Failed, Limit, Proven, Refusal, Service, register_secret,
    register_secret::shown,
    retries::Retries,
    staged_seeds::{Handle, StagedSeed},
    typed_secret::Typed,
};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        enrolment::{Enrolment, EnrolmentState},
        ids::{AccountId, SecretId},
        limits::ENROLMENT_SECONDS,
        name_query::{NameQuery, normalised},
        otpauth::Repair,
        secret::{SecretMetadata, TotpSecret},
        text::ShownText,
        totp::{Code, Step, TotpParameters},
    },
    vault::{Life, NewSecret, Outcome, Versioned},
};

/// How often typed seeds are checked for expiry.
const FORGOTTEN_EVERY: Duration = Duration::from_secs(10);

/// One of several secrets in a picture.
pub enum Choice {
    /// It can be added.
    Good {
        /// The handle by which the page refers to it.
        handle: String,
        /// Its name and parameters once it is stored.
        metadata: SecretMetadata,
    },
    /// It can't be added; the text gives the reason.
    Bad(String),
}

/// A secret before it is added, for the person to check.
pub struct Review {
    /// The handle by which the page refers to it.
    pub handle: String,
    /// Its name, and how its codes are made.
    pub metadata: SecretMetadata,
    /// The repaired and the doubtful parts of the typed text.
    pub repaired: Vec<Repair>,
    /// The current code, so that the person can finish the service's own set-up.
    pub code: Code,
    /// Whole seconds until the code rotates.
    pub expires_in: u32,
    /// Secrets that make the same codes.
    pub same_seed: Vec<TotpSecret>,
    /// Secrets of the same issuer and label.
    pub same_name: Vec<TotpSecret>,
    /// The service that the agent named, if the secret is of another one.
    pub other_wanted: Option<ShownText>,
}

/// The outcome of adding a secret.
pub enum Added {
    /// It is stored.
    Stored(Box<TotpSecret>),
    /// The enrolment had ended before.
    Ended(EnrolmentState),
    /// The typed seed is not in this process's memory any more: it must be typed again.
    Lost,
}

impl Proven {
    /// The audit row of a step, and the visitor's address.
    fn step(&self, action: Action) -> (AuditEntry, Option<std::net::IpAddr>) {
        (AuditEntry { action, ..self.row.clone() }, self.from)
    }
}

impl Service {
    /// Checks the secret that a person typed and keeps it in memory, until it is added or a few minutes have passed.
    /// Returns the handle by which the page knows it.
    ///
    /// # Errors
    /// `invalid_argument`, which names the field and never quotes it; `rate_limited`.
    pub async fn take_typed(&self, proven: &Proven, typed: &Typed<'_>) -> Result<String, Refusal> {
        let take = async {
            let seed = self.checked(proven, typed)?;
            let handle = self.new_handle()?;
            self.stage(proven, vec![(handle, seed)])?;
            Ok(HEXLOWER.encode(&handle))
        };
        self.on_page(proven.step(Action::EnrolStore), take).await
    }

    /// Checks the links of a picture, of which the person chooses one, and keeps those that can be added.
    ///
    /// # Errors
    /// `rate_limited`.
    pub async fn take_links(&self, proven: &Proven, links: &[Zeroizing<String>]) -> Result<Vec<Choice>, Refusal> {
        let take = async { self.try_take_links(proven, links) };
        self.on_page(proven.step(Action::EnrolStore), take).await
    }

    fn try_take_links(&self, proven: &Proven, links: &[Zeroizing<String>]) -> Result<Vec<Choice>, Failed> {
        let (mut seeds, mut choices) = (Vec::new(), Vec::new());
        for key in links {
            match self.checked(proven, &Typed { key, label: None, issuer: None }) {
                Ok(seed) => {
                    let (handle, metadata) = (self.new_handle()?, seed.secret.metadata.clone());
                    choices.push(Choice::Good { handle: HEXLOWER.encode(&handle), metadata });
                    seeds.push((handle, seed));
                }
                Err(Failed::Refused(Refusal::Invalid { problem, .. })) => choices.push(Choice::Bad(problem)),
                Err(failed) => return Err(failed),
            }
        }
        self.stage(proven, seeds)?;
        Ok(choices)
    }

    fn checked(&self, proven: &Proven, typed: &Typed<'_>) -> Result<StagedSeed, Failed> {
        let (registration, repaired) = typed.meant(&proven.view.proposal)?;
        let mut secret = self.check_registration(&registration)?;
        secret.metadata.origins.clone_from(&proven.view.proposal.origins);
        Ok(StagedSeed { secret, repaired })
    }

    fn new_handle(&self) -> Result<Handle, Failed> {
        let mut handle = Handle::default();
        self.shared.random.fill(&mut handle)?;
        Ok(handle)
    }

    fn stage(&self, proven: &Proven, seeds: Vec<(Handle, StagedSeed)>) -> Result<(), Failed> {
        let long = self.now().until(proven.view.expires_at).min(Duration::from_secs(ENROLMENT_SECONDS));
        let Some(first) = self.shared.enrolments.staged.put(proven.id, seeds, Instant::now() + long) else {
            return Err(Refusal::RateLimited { limit: Limit::Enrolling, after: Duration::from_mins(1) }.into());
        };
        if first {
            // Removes the seeds once they expire, even if the person does not return to the page.
            let shared = Arc::downgrade(&self.shared);
            tokio::spawn(async move {
                while shared.upgrade().is_some_and(|shared| shared.enrolments.staged.forget_old()) {
                    sleep(FORGOTTEN_EVERY).await;
                }
            });
        }
        Ok(())
    }

    /// Returns the typed secret, with its current code. `None`: it is not in this process's memory any more.
    ///
    /// # Errors
    /// `unavailable`, also if the clock is far from the server's: the code would be another one.
    pub async fn review(&self, proven: &Proven, handle: &str) -> Result<Option<Review>, Refusal> {
        self.on_page(proven.step(Action::EnrolStore), self.try_review(proven, handle)).await
    }

    async fn try_review(&self, proven: &Proven, handle: &str) -> Result<Option<Review>, Failed> {
        let Some(enrolment) = self.vault().enrolment(proven.id).await? else { return Ok(None) };
        self.check_skew()?;
        let Some((secret, repaired, code, expires_in)) = self.with_typed(proven, handle, |seed| {
            let (secret, now) = (&seed.secret, self.now());
            let totp = secret.metadata.totp;
            (copy(secret), seed.repaired.clone(), totp.code_at(&secret.seed, totp.step_at(now)), totp.expires_in(now))
        }) else {
            return Ok(None);
        };
        let secret = secret?;
        let same_seed = self.vault().same_seed(enrolment.account, &secret.seed, &secret.metadata).await?;
        let same_name = self.same_name(enrolment.account, &secret.metadata).await?;
        let wanted = proven.view.proposal.issuer.as_ref();
        let other_wanted = wanted.filter(|wanted| is_another(wanted, secret.metadata.issuer.as_ref())).cloned();
        Ok(Some(Review {
            handle: handle.to_owned(),
            metadata: secret.metadata,
            repaired,
            code,
            expires_in,
            same_seed,
            same_name,
            other_wanted,
        }))
    }

    /// Gives the typed secret the names that the person chose. Returns whether that changed them; `None`: it is not in
    /// this process's memory any more.
    ///
    /// # Errors
    /// `invalid_argument`, which names the field and never quotes it.
    pub async fn rename_typed(
        &self,
        proven: &Proven,
        handle: &str,
        (label, issuer): (&str, &str),
    ) -> Result<Option<bool>, Refusal> {
        let names = async {
            let (label, issuer) = (label.trim(), issuer.trim());
            if label.is_empty() {
                return Err(Refusal::invalid("label", "is missing: say which account the key is for").into());
            }
            let issuer = if issuer.is_empty() { None } else { Some(shown("issuer", issuer)?) };
            Ok((shown("label", label)?, issuer))
        };
        let (label, issuer) = self.on_page(proven.step(Action::EnrolStore), names).await?;
        let renamed = self.with_typed(proven, handle, |StagedSeed { secret, .. }| {
            register_secret::refuse_seed(&secret.seed, &label, issuer.as_ref())?;
            let before = (&secret.metadata.label, &secret.metadata.issuer);
            let has_changed = before != (&label, &issuer);
            (secret.metadata.label, secret.metadata.issuer) = (label, issuer);
            Ok(has_changed)
        });
        renamed.transpose()
    }

    /// The secrets of the same issuer and label.
    pub(super) async fn same_name(
        &self,
        account: AccountId,
        wanted: &SecretMetadata,
    ) -> Result<Vec<TotpSecret>, Failed> {
        let name = |of: &SecretMetadata| {
            (of.issuer.as_ref().map(|issuer| normalised(issuer.as_str())), normalised(of.label.as_str()))
        };
        let query = format!("{} {}", wanted.issuer.as_ref().map_or("", ShownText::as_str), wanted.label.as_str());
        let found = self.vault().find_secrets(account, Life::Live, &query).await?;
        Ok(found.into_iter().map(|kept| kept.value).filter(|secret| name(&secret.metadata) == name(wanted)).collect())
    }

    /// Whether a code is valid at this moment for the typed secret. `None`: the secret is not in memory any more.
    pub fn is_code_of_typed(&self, proven: &Proven, handle: &str, code: &str) -> Option<bool> {
        let digits = Zeroizing::new(code.chars().filter(char::is_ascii_digit).take(8).collect::<String>());
        self.with_typed(proven, handle, |StagedSeed { secret, .. }| {
            let totp = secret.metadata.totp;
            let now = totp.step_at(self.now()).0;
            // One step either side, as in verification: the service's clock and this one may differ a little.
            let window = [now.saturating_sub(1), now, now.saturating_add(1)].map(Step);
            window.into_iter().any(|step| totp.code_at(&secret.seed, step).matches(&digits))
        })
    }

    fn with_typed<T>(&self, proven: &Proven, handle: &str, look: impl FnOnce(&mut StagedSeed) -> T) -> Option<T> {
        let handle: Handle = HEXLOWER.decode(handle.as_bytes()).ok()?.try_into().ok()?;
        self.shared.enrolments.staged.with(&handle, proven.id, look)
    }

    /// Stores the typed secret, once.
    ///
    /// # Errors
    /// `unavailable`, `not_found` if the account was removed.
    pub async fn add_typed(&self, proven: &Proven, handle: &str) -> Result<Added, Refusal> {
        self.on_page(proven.step(Action::EnrolStore), self.try_add(proven, handle)).await
    }

    async fn try_add(&self, proven: &Proven, handle: &str) -> Result<Added, Failed> {
        self.check_clock()?;
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let Some(kept) = self.settled(proven.id).await? else { return Ok(Added::Lost) };
            match kept.state {
                EnrolmentState::Pending => {}
                EnrolmentState::Stored(id) => return self.added_before(&kept, id).await,
                ended @ (EnrolmentState::Declined | EnrolmentState::Cancelled | EnrolmentState::Expired) => {
                    return Ok(Added::Ended(ended));
                }
            }
            let Some(secret) = self.with_typed(proven, handle, |seed| copy(&seed.secret)) else {
                return Ok(Added::Lost);
            };
            let register_secret::Enrolment { metadata, seed } = secret?;
            let now = self.now().whole_millis();
            let id = SecretId::new(self.ordered_id(now)?);
            let new = NewSecret { id, account: kept.account, created_at: now, metadata: &metadata, seed: &seed };
            let row = |action| AuditEntry { secret: Some(id), ..self.enrolment_row(&kept, proven.actor, action) };
            let ended = Enrolment { state: EnrolmentState::Stored(id), ..kept.value.clone() };
            let draft = self.vault().draft(row(Action::EnrolStore)).entry(row(Action::SecretRegister));
            if draft.replace(&kept, &ended).add_secret(&new).commit().await? == Outcome::Done {
                self.end(kept.id);
                let (last_used_at, deleted_at) = (None, None);
                return Ok(Added::Stored(Box::new(TotpSecret {
                    id,
                    created_at: now,
                    last_used_at,
                    deleted_at,
                    metadata,
                })));
            }
            if self.vault().account(kept.account).await?.is_none() {
                return Err(Refusal::NotFound("account").into());
            }
            retries.again().await?;
        }
    }

    /// The answer to a second press of the button.
    async fn added_before(&self, kept: &Versioned<Enrolment>, id: SecretId) -> Result<Added, Failed> {
        let secret = self.vault().secret(kept.account, id).await?.filter(|secret| secret.deleted_at.is_none());
        Ok(secret.map_or(Added::Ended(kept.state), |secret| Added::Stored(Box::new(secret.value))))
    }

    /// Ends an enrolment because the person declines it. Returns how it ended, which may have been earlier.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn decline(&self, proven: &Proven) -> Result<EnrolmentState, Refusal> {
        let declined = self.finish(proven.id, EnrolmentState::Declined, (proven.actor, Action::EnrolDecline));
        self.on_page(proven.step(Action::EnrolDecline), declined).await
    }

    /// Ends an enrolment without a secret, unless it has ended already.
    pub(super) async fn finish(
        &self,
        id: crate::domain::ids::EnrolmentId,
        how: EnrolmentState,
        (actor, action): (Actor, Action),
    ) -> Result<EnrolmentState, Failed> {
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let Some(kept) = self.settled(id).await? else { return Ok(EnrolmentState::Expired) };
            if kept.state != EnrolmentState::Pending {
                return Ok(kept.state);
            }
            let ended = Enrolment { state: how, ..kept.value.clone() };
            let row = self.enrolment_row(&kept, actor, action);
            if self.vault().draft(row).replace(&kept, &ended).commit().await? == Outcome::Done {
                self.end(id);
                return Ok(how);
            }
            retries.again().await?;
        }
    }
}

/// Whether a secret's service differs from the one that the agent named. `GitHub` and `github.com` are the same.
fn is_another(wanted: &ShownText, issuer: Option<&ShownText>) -> bool {
    let names = |query: &ShownText, name: &ShownText| NameQuery::of(query.as_str()).matches(Some(name.as_str()), "");
    issuer.is_some_and(|issuer| !names(wanted, issuer) && !names(issuer, wanted))
}

/// A copy of a typed secret, so that no lock is held while the vault is read or written. It is wiped like the original.
fn copy(secret: &register_secret::Enrolment) -> Result<register_secret::Enrolment, Failed> {
    let seed = crate::domain::seed::Seed::from_bytes(Zeroizing::new(secret.seed.expose().to_vec()))
        .map_err(|cause| Failed::Internal(Box::new(cause)))?;
    Ok(register_secret::Enrolment { metadata: secret.metadata.clone(), seed })
}

/// Describes how the codes of a secret are made, as text.
pub fn in_words(totp: &TotpParameters) -> String {
    format!("{}, {} digits, every {} s", totp.algorithm.as_str(), totp.digits.get(), totp.period.seconds())
}
