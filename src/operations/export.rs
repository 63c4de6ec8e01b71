//! Exports seeds, for a person who moves to another vault or app.

use zeroize::Zeroizing;

use super::{Call, Effect, Failed, Operation, Spec};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SecretId,
        otpauth::OtpAuth,
        secret::SecretMetadata,
    },
    vault::{Life, Listed, Page, RecordKey, StoreError},
};

/// The result of an export.
#[derive(Default)]
pub struct Export {
    /// The `otpauth://` URIs of the secrets, oldest first.
    pub uris: Vec<Zeroizing<String>>,
    /// Damaged secrets: they must neither prevent the export nor be omitted silently. `None`: not even the id can be
    /// read.
    pub damaged: Vec<Option<SecretId>>,
}

/// Exports secrets of an account. An audit row for each is written before any is handed out.
#[derive(Debug, Clone, Default)]
pub struct ExportSecrets {
    /// The secrets to export; `None`: all.
    pub only: Option<Vec<SecretId>>,
}

impl Operation for ExportSecrets {
    const SPEC: Spec = Spec::person("export_secrets", Action::SecretExport, Effect::Use);
    type Output = Export;

    async fn run(self, call: &mut Call<'_>) -> Result<Export, Failed> {
        let (vault, account) = (call.service.vault(), call.caller.account());
        let (mut export, named) = (Export::default(), self.only.is_some());
        let ids = if let Some(ids) = self.only {
            ids
        } else {
            let Listed { sound, damaged } = vault.secrets(account, Life::Live, Page::ALL).await?;
            let lost = vault.damaged_secrets(account).await?;
            export.damaged.extend(damaged.iter().chain(&lost).map(|(key, _)| id_of(key)));
            sound.iter().map(|kept| kept.id).collect()
        };
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            match call.uri_of(id).await {
                Ok(None) if named => return Err(super::Refusal::NotFound("secret").into()),
                // The secret was deleted since the list was read.
                Ok(None) => {}
                Ok(Some(uri)) => {
                    export.uris.push(uri);
                    rows.push(AuditEntry { secret: Some(id), ..call.entry.clone() });
                }
                Err(Failed::Store(StoreError::Damaged { .. }) | Failed::Internal(_)) => {
                    tracing::error!(%id, "a damaged secret is left out of an export");
                    export.damaged.push(Some(id));
                }
                Err(failed) => return Err(failed),
            }
        }
        export.damaged.sort_unstable();
        export.damaged.dedup();
        vault.record(rows).await?;
        Ok(export)
    }
}

impl Call<'_> {
    async fn uri_of(&self, id: SecretId) -> Result<Option<Zeroizing<String>>, Failed> {
        let vault = self.service.vault();
        let Some(in_use) = vault.in_use(self.caller.account(), id, &[], self.entry.at).await? else { return Ok(None) };
        let seed = vault.open_seed(&in_use)?;
        // A URI has no place for origins.
        let SecretMetadata { label, issuer, totp, usage, origins: _ } = in_use.secret.value.metadata;
        Ok(Some(OtpAuth { label, issuer, totp, seed, single_use: usage.single_use() }.to_uri()))
    }
}

fn id_of(key: &RecordKey) -> Option<SecretId> {
    SecretId::from_slice(&key.id).ok()
}
