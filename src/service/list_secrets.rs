//! Listing secrets: metadata alone, never a seed, newest last.

use super::{Refusal, Service};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SecretId,
        limits::{PAGE_ROWS_MAX, TEXT_CHARS_MAX},
        name_query::NameQuery,
        principal::Principal,
        scope::Scope,
        secret::TotpSecret,
        text::ShownText,
    },
    store::{Life, SealedSecret, StoreError},
};

/// Which secrets a caller wants to see.
#[derive(Debug, Clone, Default)]
pub struct SecretQuery {
    /// Words, all of which occur in issuer and label taken together, without case.
    pub query: Option<String>,
    /// Rows of a page, 0..=1000; all without it.
    pub limit: Option<u32>,
    /// Rows to skip.
    pub offset: u64,
}

/// A page of secrets.
#[derive(Debug)]
pub struct SecretPage {
    /// The secrets.
    pub secrets: Vec<TotpSecret>,
    /// How many match in all.
    pub total: u64,
    /// How many exist for the caller, whether they match or not.
    pub stored: u64,
}

impl Service {
    /// Lists the secrets that exist for a caller.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_argument`, `unavailable`.
    pub async fn list_secrets(&self, caller: &Principal, query: &SecretQuery) -> Result<SecretPage, Refusal> {
        self.require(caller, Scope::SecretsRead, Action::Call).await?;
        let refusal = if query.limit.is_some_and(|limit| limit > PAGE_ROWS_MAX) {
            Some(Refusal::invalid("limit", format!("must be 0 to {PAGE_ROWS_MAX}")))
        } else if query.query.as_ref().is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX) {
            Some(Refusal::invalid("query", format!("must be at most {TEXT_CHARS_MAX} characters")))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Err(self.refuse(refusal, AuditEntry::of(caller, Action::Call, self.now())).await);
        }
        let mut found = self.all_secrets(caller, Life::Live).await?;
        let stored = found.len() as u64;
        if let Some(wanted) = query.query.as_deref().map(NameQuery::of) {
            found.retain(|secret| {
                let metadata = &secret.metadata;
                wanted.matches(metadata.issuer.as_ref().map(ShownText::as_str), metadata.label.as_str())
            });
        }
        let total = found.len() as u64;
        let skipped = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let taken = query.limit.map_or(usize::MAX, |limit| limit as usize);
        Ok(SecretPage { secrets: found.into_iter().skip(skipped).take(taken).collect(), total, stored })
    }

    /// Lists the deleted secrets that a person may still restore.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn list_deleted(&self, caller: &Principal) -> Result<Vec<TotpSecret>, Refusal> {
        self.require_person(caller, Action::Call).await?;
        self.all_secrets(caller, Life::Deleted).await
    }

    /// One secret that exists for a caller.
    ///
    /// # Errors
    /// `permission_denied`, `not_found`, `unavailable`.
    pub async fn get_secret(&self, caller: &Principal, id: SecretId) -> Result<TotpSecret, Refusal> {
        self.require(caller, Scope::SecretsRead, Action::Call).await?;
        let kept = self.store().secret(caller.account(), id).await.map_err(|cause| self.failed(&cause))?;
        let kept = kept.filter(|kept| kept.deleted_at.is_none() && caller.sees(kept.id));
        self.opened(&kept.ok_or(Refusal::NotFound("secret"))?)
    }

    /// A damaged one is left out, with a line in the log: it must not hide the others.
    async fn all_secrets(&self, caller: &Principal, life: Life) -> Result<Vec<TotpSecret>, Refusal> {
        let kept = match self.store().secrets(caller.account(), life).await {
            Err(StoreError::Damaged { .. }) => self.sound_secrets(caller, life).await,
            kept => kept,
        };
        let kept = kept.map_err(|cause| self.failed(&cause))?;
        let seen = kept.iter().filter(|kept| caller.sees(kept.id));
        // What can't be opened has been put into the log under an id.
        Ok(seen.filter_map(|kept| self.opened(kept).ok()).collect())
    }

    /// Those that can be read, one by one, oldest first.
    async fn sound_secrets(&self, caller: &Principal, life: Life) -> Result<Vec<SealedSecret>, StoreError> {
        let mut sound = Vec::new();
        let every = self.store().secret_ids().await?;
        let own = every.into_iter().filter(|row| row.account == Some(caller.account()));
        for id in own.filter_map(|row| row.id) {
            match self.store().secret(caller.account(), id).await {
                Ok(kept) => sound.extend(kept),
                Err(cause @ StoreError::Damaged { .. }) => tracing::error!(%cause, "left out of a list"),
                Err(cause) => return Err(cause),
            }
        }
        sound.retain(|kept| kept.deleted_at.is_some() == matches!(life, Life::Deleted));
        sound.sort_by_key(|kept| (kept.created_at, kept.id));
        Ok(sound)
    }
}
