//! Exporting seeds: for the person who moves to another vault or app, and for nobody else.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::{Enrolment, Refusal, Service, place_of};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SecretId,
        otpauth::OtpAuth,
        principal::Principal,
        secret::SecretMetadata,
        totp::TotpParameters,
    },
    store::{SealedSecret, StoreError, UncheckedId},
};

/// What an export hands out, and what it has to leave out.
#[derive(Default)]
pub struct Export {
    /// The `otpauth://` URIs of the secrets, oldest first.
    pub uris: Vec<Zeroizing<String>>,
    /// Damaged secrets, which must not hold up the others nor be missing without a word. `None`: not even its id can be read.
    pub damaged: Vec<Option<SecretId>>,
}

impl Service {
    /// Exports all secrets of an account; a row for each is on the trail before any is handed out.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn export_secrets(&self, caller: &Principal) -> Result<Export, Refusal> {
        self.require_person(caller, Action::SecretExport).await?;
        let now = self.now();
        let mut export = Export::default();
        let kept = self.to_export(caller, &mut export.damaged).await.map_err(|cause| self.failed(&cause))?;
        let mut rows = Vec::with_capacity(kept.len());
        for kept in kept {
            // What can't be opened has been put into the log under an id.
            let Ok(uri) = self.uri_of(&kept) else {
                export.damaged.push(Some(kept.id));
                continue;
            };
            export.uris.push(uri);
            rows.push(AuditEntry { secret: Some(kept.id), ..AuditEntry::of(caller, Action::SecretExport, now) });
        }
        export.damaged.sort_unstable();
        self.store().record(rows).await.map_err(|cause| self.failed(&cause))?;
        Ok(export)
    }

    /// Keyed fingerprints of the account's secrets, by seed and parameters: an import skips what is there. The seeds don't
    /// leave. What is damaged can't be compared.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn kept_fingerprints(&self, caller: &Principal) -> Result<HashSet<[u8; 32]>, Refusal> {
        self.require_person(caller, Action::SecretRegister).await?;
        let kept = self.to_export(caller, &mut Vec::new()).await.map_err(|cause| self.failed(&cause))?;
        let opened = kept.iter().filter_map(|kept| {
            let metadata = self.opened(kept).ok()?.metadata;
            let seed = self.keyring().open_seed(&kept.seed, &place_of(kept)).ok()?;
            Some(self.fingerprint_of(caller, &Enrolment { metadata, seed }))
        });
        Ok(opened.collect())
    }

    /// The keyed fingerprint of a secret by its seed and parameters, whatever it is called.
    pub fn fingerprint_of(&self, caller: &Principal, enrolment: &Enrolment) -> [u8; 32] {
        let TotpParameters { algorithm, digits, period } = enrolment.metadata.totp;
        let account = caller.account();
        let parts: [&[u8]; 5] = [
            account.as_bytes(),
            enrolment.seed.expose(),
            algorithm.as_str().as_bytes(),
            &[digits.get()],
            &period.seconds().to_be_bytes(),
        ];
        self.keyring().fingerprint("secret", &parts)
    }

    /// The live secrets of the caller's account, oldest first, and those that may be among them: a damaged one can be
    /// anybody's if the account that it names is nobody's, and can be live although it is called deleted.
    async fn to_export(
        &self,
        caller: &Principal,
        damaged: &mut Vec<Option<SecretId>>,
    ) -> Result<Vec<SealedSecret>, StoreError> {
        let own = caller.account();
        let accounts = self.store().accounts().await?.sound;
        let is_anothers = |id| id != own && accounts.iter().any(|account| account.id == id);
        let mut sound = Vec::new();
        for UncheckedId { account, id } in self.store().secret_ids().await? {
            if account.is_some_and(is_anothers) {
                continue;
            }
            let Some(id) = id else {
                damaged.push(None);
                continue;
            };
            match self.store().secret(own, id).await {
                Ok(kept) => sound.extend(kept.filter(|kept| kept.deleted_at.is_none())),
                Err(cause @ StoreError::Damaged { .. }) => {
                    tracing::error!(%cause, "left out of an export");
                    damaged.push(Some(id));
                }
                Err(cause) => return Err(cause),
            }
        }
        sound.sort_by_key(|kept| (kept.created_at, kept.id));
        Ok(sound)
    }

    fn uri_of(&self, kept: &SealedSecret) -> Result<Zeroizing<String>, Refusal> {
        let SecretMetadata { label, issuer, totp, single_use } = self.opened(kept)?.metadata;
        let seed = self.keyring().open_seed(&kept.seed, &place_of(kept));
        let seed = seed.map_err(|cause| self.damaged(kept.id, cause))?;
        Ok(OtpAuth { label, issuer, totp, seed, single_use }.to_uri())
    }
}
