//! The operations of a person on a registered secret: restore, erase or change it, and reset its steps.

use std::time::Duration;

use super::{
    Call, Effect, Failed, Operation, Refusal, Service, Spec,
    origins::origins,
    register_secret::{FILL_ONLY_WITHOUT, refuse_seed, shown},
    retries::Retries,
};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        ids::SecretId,
        limits::RESTORE_DAYS,
        secret::{SecretMetadata, SecretUse, TotpSecret},
        time::Timestamp,
    },
    vault::{Erased, Outcome, StoreError},
};

/// Changes of a secret. `None` leaves a field; `Some("")` for the issuer removes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretChanges {
    /// The new label.
    pub label: Option<String>,
    /// The new issuer.
    pub issuer: Option<String>,
    /// Whether every call for it is single-use.
    pub single_use: Option<bool>,
    /// Whether its codes are only typed into pages.
    pub fill_only: Option<bool>,
    /// The new origins that its codes may be typed into, which replace the present ones; empty: none.
    pub origins: Option<Vec<String>>,
}

/// Restores a secret that was deleted within the last seven days, with its marks.
#[derive(Debug, Clone, Copy)]
pub struct RestoreSecret {
    /// The secret.
    pub id: SecretId,
}

impl Operation for RestoreSecret {
    const SPEC: Spec = Spec::person("restore_secret", Action::SecretRestore, Effect::Change);
    type Output = ();

    fn secret(&self) -> Option<SecretId> {
        Some(self.id)
    }

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let vault = call.service.vault();
        let since = restorable_since(call.entry.at);
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            let kept = vault.secret(call.caller.account(), self.id).await?;
            let kept = kept.filter(|kept| kept.deleted_at.is_some_and(|at| at >= since));
            let kept = kept.ok_or(Refusal::NotFound("secret"))?;
            if vault.draft(call.entry.clone()).set_deleted(&kept, None).commit().await? == Outcome::Done {
                return Ok(());
            }
            retries.again().await?;
        }
    }
}

/// Erases a secret, live or deleted, at once and for good.
#[derive(Debug, Clone, Copy)]
pub struct EraseSecret {
    /// The secret.
    pub id: SecretId,
}

impl Operation for EraseSecret {
    const SPEC: Spec = Spec::person("erase_secret", Action::SecretErase, Effect::Erase);
    type Output = ();

    fn secret(&self) -> Option<SecretId> {
        Some(self.id)
    }

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let vault = call.service.vault();
        let draft = vault.draft(call.entry.clone());
        let draft = match vault.secret(call.caller.account(), self.id).await {
            // The account of a damaged secret is unknown, and a person must be able to remove it.
            Ok(Some(_)) | Err(StoreError::Damaged { .. }) => draft.erase_secret(self.id),
            Ok(None) if vault.is_orphan(self.id).await? => draft.erase_orphan(self.id),
            Ok(None) => return Err(Refusal::NotFound("secret").into()),
            Err(cause) => return Err(cause.into()),
        };
        match draft.commit().await? {
            Outcome::Done => Ok(()),
            Outcome::Stale | Outcome::Taken => Err(Refusal::NotFound("secret").into()),
        }
    }
}

/// Changes the metadata of a secret.
#[derive(Debug, Clone)]
pub struct UpdateSecret {
    /// The secret.
    pub id: SecretId,
    /// The changes.
    pub changes: SecretChanges,
}

impl Operation for UpdateSecret {
    const SPEC: Spec = Spec::person("update_secret", Action::SecretUpdate, Effect::Change);
    type Output = TotpSecret;

    fn secret(&self) -> Option<SecretId> {
        Some(self.id)
    }

    async fn run(self, call: &mut Call<'_>) -> Result<TotpSecret, Failed> {
        let vault = call.service.vault();
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            let in_use = vault.in_use(call.caller.account(), self.id, &[], call.entry.at).await?;
            let in_use = in_use.ok_or(Refusal::NotFound("secret"))?;
            let metadata = self.changes.applied_to(&in_use.secret.metadata)?;
            if self.changes.label.is_some() || self.changes.issuer.is_some() {
                refuse_seed(&vault.open_seed(&in_use)?, &metadata.label, metadata.issuer.as_ref())?;
            }
            let draft = vault.draft(call.entry.clone()).change_secret(&in_use.secret, &metadata, None);
            if draft.commit().await? == Outcome::Done {
                return Ok(TotpSecret { metadata, ..in_use.secret.value });
            }
            retries.again().await?;
        }
    }
}

impl SecretChanges {
    fn applied_to(&self, metadata: &SecretMetadata) -> Result<SecretMetadata, Refusal> {
        let mut metadata = metadata.clone();
        if let Some(label) = &self.label {
            metadata.label = shown("label", label)?;
        }
        if let Some(issuer) = &self.issuer {
            let removed = issuer.trim().is_empty();
            metadata.issuer = if removed { None } else { Some(shown("issuer", issuer)?) };
        }
        if let Some(single_use) = self.single_use {
            metadata.usage = SecretUse::of_single_use(single_use);
        }
        match self.fill_only {
            Some(true) => metadata.usage = SecretUse::FillOnly,
            Some(false) if metadata.usage == SecretUse::FillOnly => metadata.usage = SecretUse::Plain,
            Some(false) | None => {}
        }
        if let Some(texts) = &self.origins {
            metadata.origins = origins(texts)?;
        }
        if metadata.usage == SecretUse::FillOnly && metadata.origins.is_empty() {
            return Err(Refusal::invalid("origins", FILL_ONLY_WITHOUT));
        }
        Ok(metadata)
    }
}

/// Frees steps that were marked by a clock that ran ahead.
#[derive(Debug, Clone, Copy)]
pub struct ResetSteps {
    /// The secret.
    pub id: SecretId,
}

impl Operation for ResetSteps {
    const SPEC: Spec = Spec::person("reset_steps", Action::SecretResetSteps, Effect::Change);
    type Output = ();

    fn secret(&self) -> Option<SecretId> {
        Some(self.id)
    }

    async fn run(self, call: &mut Call<'_>) -> Result<(), Failed> {
        let vault = call.service.vault();
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            let now = call.service.now();
            let in_use = vault.in_use(call.caller.account(), self.id, &[], now).await?;
            let in_use = in_use.ok_or(Refusal::NotFound("secret"))?;
            let current = in_use.secret.metadata.totp.step_at(now);
            let mut state = in_use.state.clone();
            state.steps.reset(current);
            let entry = AuditEntry { at: now, step: Some(current), ..call.entry.clone() };
            if vault.draft(entry).used(&in_use, Some(&state)).commit().await? == Outcome::Done {
                return Ok(());
            }
            retries.again().await?;
        }
    }
}

impl Service {
    /// Erases secrets that were deleted more than seven days ago, in every account. If the clock was recently wrong, it
    /// erases nothing and reports that.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn erase_expired(&self) -> Result<Erased, Refusal> {
        let now = self.now();
        let entry = AuditEntry::by(Actor::System, Action::SecretErase, now);
        let erased = self.vault().erase_deleted(restorable_since(now), &entry).await;
        let erased = erased.map_err(|cause| self.refusal_of(cause.into()))?;
        if erased.clock_unsettled {
            tracing::info!("what was deleted is not erased until the clock has agreed with the audit log for an hour");
        }
        Ok(erased)
    }
}

/// Secrets that were deleted before this are erased or due to be.
fn restorable_since(now: Timestamp) -> Timestamp {
    now.minus(Duration::from_secs(RESTORE_DAYS.unsigned_abs() * 86_400))
}
