//! Exporting seeds: for the person who moves to another vault or app, and for nobody else.

use zeroize::Zeroizing;

use super::{Refusal, Service, place_of};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        otpauth::OtpAuth,
        principal::Principal,
        secret::SecretMetadata,
    },
    store::Life,
};

impl Service {
    /// The `otpauth://` URIs of all secrets of an account, oldest first; a row for each is on the trail before any is
    /// handed out.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn export_secrets(&self, caller: &Principal) -> Result<Vec<Zeroizing<String>>, Refusal> {
        self.require_person(caller, Action::SecretExport).await?;
        let (account, now) = (caller.account(), self.now());
        let kept = self.store().secrets(account, Life::Live).await.map_err(|cause| self.failed(&cause))?;
        let (mut uris, mut rows) = (Vec::with_capacity(kept.len()), Vec::with_capacity(kept.len()));
        for id in kept.into_iter().map(|kept| kept.id) {
            let whole = self.store().secret(account, id).await.map_err(|cause| self.failed(&cause))?;
            // Deleted since the list was read: it is not there to be exported.
            let Some(whole) = whole.filter(|whole| whole.deleted_at.is_none()) else { continue };
            let SecretMetadata { label, issuer, totp, single_use } = self.opened(&whole)?.metadata;
            let seed =
                self.keyring().open_seed(&whole.seed, &place_of(&whole)).map_err(|cause| self.damaged(id, cause))?;
            uris.push(OtpAuth { label, issuer, totp, seed, single_use }.to_uri());
            rows.push(AuditEntry { secret: Some(id), ..AuditEntry::of(caller, Action::SecretExport, now) });
        }
        self.store().record(rows).await.map_err(|cause| self.failed(&cause))?;
        Ok(uris)
    }
}
