//! Imports the secrets of files in one change, without those that are already stored.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use uuid::Uuid;

use super::{Call, Effect, Enrolment, Failed, Operation, Refusal, Spec, retries::Retries};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SecretId,
        secret::{SecretMetadata, TotpSecret},
        time::Timestamp,
        totp::TotpParameters,
    },
    vault::{NewSecret, Outcome},
};

/// The number of secrets after which other tasks may run, and above which all seeds of the account are read once.
const PIECE: usize = 100;

/// Imports checked secrets, all or none. A secret with the same seed and parameters as another, in the vault or earlier
/// in the file, is present already, whatever its name.
pub struct ImportSecrets {
    /// The secrets, in the file's order. Shared, because a preview comes before the import.
    pub entries: Arc<[Enrolment]>,
    /// Whether to store nothing and only return what would be stored.
    pub dry_run: bool,
    /// The progress of the import, for the caller to show.
    pub progress: Arc<Progress>,
}

/// The progress of an import.
#[derive(Debug, Default)]
pub struct Progress(AtomicUsize);

impl Progress {
    /// The number of secrets that were examined. Once it is that of all entries, they are being stored.
    pub fn done(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The result of an import.
#[derive(Debug, Default)]
pub struct Imported {
    /// The secrets that were or would be stored, in the file's order.
    pub secrets: Vec<TotpSecret>,
    /// The entries that were present already, in order.
    pub present: Vec<PresentSecret>,
}

/// An entry whose secret exists: in the account, or earlier in the files.
#[derive(Debug)]
pub struct PresentSecret {
    /// Its index, from 0.
    pub index: usize,
    /// The metadata of the existing secret.
    pub there: SecretMetadata,
}

impl Imported {
    /// The result of an import into a vault that does not exist yet. Its secrets have no real ids or times.
    pub fn into_nothing(entries: &[Enrolment]) -> Self {
        let (mut imported, mut seen) = (Self::default(), HashMap::new());
        for (index, Enrolment { metadata, seed }) in entries.iter().enumerate() {
            let there = *seen.entry((seed.expose(), metadata.totp)).or_insert(metadata);
            if std::ptr::eq(there, metadata) {
                let (id, created_at) = (SecretId::new(Uuid::nil()), Timestamp::from_micros(0));
                let (last_used_at, deleted_at) = (None, None);
                let metadata = metadata.clone();
                imported.secrets.push(TotpSecret { id, created_at, last_used_at, deleted_at, metadata });
            } else {
                imported.present.push(PresentSecret { index, there: there.clone() });
            }
        }
        imported
    }
}

impl Operation for ImportSecrets {
    const SPEC: Spec = Spec::person("import_secrets", Action::SecretRegister, Effect::Add);
    type Output = Imported;

    async fn run(self, call: &mut Call<'_>) -> Result<Imported, Failed> {
        let mut retries = Retries::new(&call.service.shared.random);
        loop {
            if let Some(imported) = self.try_once(call).await? {
                return Ok(imported);
            }
            // Another import was faster, or the vault got another data key meanwhile.
            retries.again().await?;
        }
    }
}

impl ImportSecrets {
    /// Decides and commits. `None`: something that the decision depends on has changed.
    async fn try_once(&self, call: &Call<'_>) -> Result<Option<Imported>, Failed> {
        let (service, account) = (call.service, call.caller.account());
        let (vault, now) = (service.vault(), call.entry.at.whole_millis());
        let (mut imported, mut seen) = (Imported::default(), HashMap::new());
        // Two imports at once would each not find the other's secrets. Each raises the account's version, so the second
        // one decides again.
        let kept = vault.account(account).await?.ok_or(Refusal::NotFound("account"))?;
        let mut draft = vault.silent_draft().replace(&kept, &kept.value);
        let seeds = if self.entries.len() > PIECE { Some(vault.seeds(account).await?) } else { None };
        for (index, Enrolment { metadata, seed }) in self.entries.iter().enumerate() {
            if index % PIECE == 0 {
                self.progress.0.store(index, Ordering::Relaxed);
                // Let the tasks run that show the progress or cancel the import.
                tokio::task::yield_now().await;
            }
            let TotpParameters { algorithm, digits, period } = metadata.totp;
            let parts: [&[u8]; 4] =
                [seed.expose(), algorithm.as_str().as_bytes(), &[digits.get()], &period.seconds().to_be_bytes()];
            let fingerprint = vault.fingerprint("secret", &parts);
            let mut there = seen.get(&fingerprint).map(|there: &&SecretMetadata| (*there).clone());
            if there.is_none() && seeds.as_ref().is_none_or(|seeds| seeds.may_have(seed)) {
                let same = vault.same_seed(account, seed, metadata).await?;
                there = same.into_iter().next().map(|secret| secret.metadata);
            }
            if let Some(there) = there {
                imported.present.push(PresentSecret { index, there });
                continue;
            }
            seen.insert(fingerprint, metadata);
            let id = SecretId::new(service.ordered_id(now)?);
            if !self.dry_run {
                let new = NewSecret { id, account, created_at: now, metadata, seed };
                draft = draft.add_secret(&new).entry(AuditEntry { at: now, secret: Some(id), ..call.entry.clone() });
            }
            let (last_used_at, deleted_at) = (None, None);
            let metadata = metadata.clone();
            imported.secrets.push(TotpSecret { id, created_at: now, last_used_at, deleted_at, metadata });
        }
        if self.dry_run || imported.secrets.is_empty() {
            return Ok(Some(imported));
        }
        self.progress.0.store(self.entries.len(), Ordering::Relaxed);
        let outcome = draft.commit().await?;
        Ok((outcome == Outcome::Done).then_some(imported))
    }
}
