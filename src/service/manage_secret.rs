//! What happens to a secret after its registration: deletion by callers; restoring, changing, erasing by a person.

use std::{sync::Arc, time::Duration};

use super::{Refusal, Service, place_of, register_secret::shown};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        ids::SecretId,
        limits::RESTORE_DAYS,
        principal::Principal,
        scope::Scope,
        secret::TotpSecret,
        time::Timestamp,
    },
    keyring::Place,
    store::{Changed, InUse, SealedSecret, SecretUse, Verdict},
};

/// What a person may change of a secret. `None` leaves it; `Some("")` for the issuer removes it.
#[derive(Debug, Clone, Default)]
pub struct SecretChanges {
    /// Another label.
    pub label: Option<String>,
    /// Another issuer.
    pub issuer: Option<String>,
    /// Whether every call for it is single-use.
    pub single_use: Option<bool>,
}

impl Service {
    /// Deletes a secret: for good, as far as any caller can tell. A person may restore it for seven days.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `unavailable`.
    pub async fn delete_secret(&self, caller: &Principal, id: SecretId) -> Result<(), Refusal> {
        self.require(caller, Scope::SecretsWrite, Action::SecretDelete).await?;
        let entry = AuditEntry { secret: Some(id), ..AuditEntry::of(caller, Action::SecretDelete, self.now()) };
        let there = caller.sees(id) && {
            let deleted = self.store().delete_secret(caller.account(), id, entry.clone());
            deleted.await.map_err(|cause| self.failed(&cause))?
        };
        self.found(there, entry).await
    }

    /// Brings a secret back that was deleted within the last seven days, with its marks.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `unavailable`.
    pub async fn restore_secret(&self, caller: &Principal, id: SecretId) -> Result<(), Refusal> {
        self.require_person(caller, Action::SecretRestore).await?;
        let now = self.now();
        let entry = AuditEntry { secret: Some(id), ..AuditEntry::of(caller, Action::SecretRestore, now) };
        let restored = self.store().restore_secret(caller.account(), id, restorable_since(now), entry.clone());
        let there = restored.await.map_err(|cause| self.failed(&cause))?;
        self.found(there, entry).await
    }

    /// Erases a secret, live or deleted, at once and for good.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `unavailable`.
    pub async fn erase_secret(&self, caller: &Principal, id: SecretId) -> Result<(), Refusal> {
        self.require_person(caller, Action::SecretErase).await?;
        let entry = AuditEntry { secret: Some(id), ..AuditEntry::of(caller, Action::SecretErase, self.now()) };
        let erased = self.store().erase_secret(caller.account(), id, entry.clone());
        let there = erased.await.map_err(|cause| self.failed(&cause))?;
        self.found(there, entry).await
    }

    /// Erases what was deleted more than seven days ago, in every account. Returns how many secrets.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn erase_expired(&self) -> Result<u64, Refusal> {
        let now = self.now();
        let entry = AuditEntry::by(Actor::System, Action::SecretErase, now);
        self.store().erase_deleted_before(restorable_since(now), entry).await.map_err(|cause| self.failed(&cause))
    }

    /// Changes what is known of a secret.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `invalid_argument`, `unavailable`.
    pub async fn update_secret(
        &self,
        caller: &Principal,
        id: SecretId,
        changes: &SecretChanges,
    ) -> Result<TotpSecret, Refusal> {
        self.require_person(caller, Action::SecretUpdate).await?;
        let entry = AuditEntry { secret: Some(id), ..AuditEntry::of(caller, Action::SecretUpdate, self.now()) };
        loop {
            let kept = self.store().secret(caller.account(), id).await.map_err(|cause| self.failed(&cause))?;
            let Some(kept) = kept.filter(|kept| kept.deleted_at.is_none()) else {
                return Err(self.refuse(Refusal::NotFound("secret"), entry).await);
            };
            let (secret, sealed) = self.changed(&kept, changes)?;
            match self.store().change_secret(sealed, entry.clone()).await.map_err(|cause| self.failed(&cause))? {
                Changed::Yes => return Ok(secret),
                // Somebody else was faster: look at what is there now.
                Changed::Stale => {}
                Changed::NotThere => return Err(self.refuse(Refusal::NotFound("secret"), entry).await),
            }
        }
    }

    fn changed(&self, kept: &SealedSecret, changes: &SecretChanges) -> Result<(TotpSecret, SealedSecret), Refusal> {
        let mut secret = self.opened(kept)?;
        if let Some(label) = &changes.label {
            secret.metadata.label = shown("label", label)?;
        }
        if let Some(issuer) = &changes.issuer {
            let removed = issuer.trim().is_empty();
            secret.metadata.issuer = if removed { None } else { Some(shown("issuer", issuer)?) };
        }
        secret.metadata.single_use = changes.single_use.unwrap_or(secret.metadata.single_use);
        let opened = self.keyring().open_seed(&kept.seed, &place_of(kept));
        let seed = opened.map_err(|cause| self.damaged(kept.id, cause))?;
        let place = Place { version: kept.version.saturating_add(1), ..place_of(kept) };
        let sealed = self.sealed(&secret.metadata, &seed, place)?;
        Ok((secret, sealed))
    }

    /// Frees the steps that a clock which ran ahead had marked.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `unavailable`.
    pub async fn reset_steps(&self, caller: &Principal, id: SecretId) -> Result<(), Refusal> {
        self.require_person(caller, Action::SecretResetSteps).await?;
        let secret = self.get_secret(caller, id).await?;
        let now = self.now();
        let current = secret.metadata.totp.step_at(now);
        let entry = AuditEntry {
            secret: Some(id),
            step: Some(current),
            ..AuditEntry::of(caller, Action::SecretResetSteps, now)
        };
        let written = entry.clone();
        let decide = move |in_use: InUse<'_>| {
            let mut state = in_use.state.clone();
            state.steps.reset(current);
            Verdict { state: Some(state), entry: Some(written.clone()), counted: false, repeats_until: None }
        };
        let request =
            SecretUse { account: caller.account(), secret: id, now, counted: Vec::new(), decide: Box::new(decide) };
        let there = Arc::clone(self.store()).use_secret(request).await.map_err(|cause| self.failed(&cause))?;
        self.found(there, entry).await
    }

    async fn found(&self, there: bool, entry: AuditEntry) -> Result<(), Refusal> {
        if there { Ok(()) } else { Err(self.refuse(Refusal::NotFound("secret"), entry).await) }
    }
}

/// What was deleted before that is erased, or about to be.
fn restorable_since(now: Timestamp) -> Timestamp {
    now.minus(Duration::from_secs(RESTORE_DAYS.unsigned_abs() * 86_400))
}
