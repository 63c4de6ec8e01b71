//! Restores damaged and lost secrets from a backup.

use super::{
    NewSecret,
    mend::{Backup, Mending},
    open::FLOOR,
    records::{SealedMetadata, SealedSeed, UseRecord},
};
use crate::{
    domain::{
        audit::{Action, AuditEntry, AuditFilter},
        code_use::UseState,
        ids::SecretId,
        totp::TotpParameters,
    },
    store::{Kind, RecordKey, StoreError},
};

impl Mending<'_> {
    pub(super) async fn secrets(&mut self, source: &Backup) -> Result<(), StoreError> {
        for record in source.vault.records(Kind::Secret).await? {
            let Ok(sealed) = source.vault.keyring().open_record::<SealedMetadata>(&record) else { continue };
            self.secret(source, &record.key, sealed).await?;
        }
        Ok(())
    }

    /// Restores a secret of the backup, if it is damaged or lost, from its sound records in either vault.
    async fn secret(&mut self, source: &Backup, key: &RecordKey, kept: SealedMetadata) -> Result<(), StoreError> {
        let id = kept.id;
        let here: Option<SealedMetadata> = self.sound_one(self.vault, key).await?;
        let seed_key = RecordKey::new(Kind::Seed, id.as_bytes());
        let seed_here: Option<SealedSeed> = self.sound_one(self.vault, &seed_key).await?;
        if here.is_some() && seed_here.is_some() {
            return Ok(());
        }
        let filter = AuditFilter { secret: Some(id), ..AuditFilter::default() };
        let life = [Action::SecretRegister, Action::SecretDelete, Action::SecretRestore, Action::SecretErase];
        let word = self.last_word(filter, &life).await?;
        let is_lost = here.is_some() || seed_here.is_some() || self.is_lost(source, key).await?;
        if matches!(word, Some((Action::SecretErase, _))) || !is_lost || !self.has_account(kept.account).await? {
            return Ok(());
        }
        let (seed, is_own) = match &seed_here {
            Some(sealed) => (self.vault.keyring().open_seed(&sealed.sealed, &sealed.place()), true),
            None => match self.sound_one::<SealedSeed>(&source.vault, &seed_key).await? {
                Some(sealed) => (source.vault.keyring().open_seed(&sealed.sealed, &sealed.place()), false),
                None => return Ok(()),
            },
        };
        let Ok(seed) = seed else { return Ok(()) };
        // The record of a secret holds the hash of its seed. A seed that was replaced since would make wrong codes.
        let hash = self.vault.keyring().seed_hash(kept.account, &seed);
        if !is_own && here.as_ref().and_then(|here| here.seed_hash).is_some_and(|named| named != hash) {
            return Ok(());
        }
        let (from, sealed) = match &here {
            Some(here) => (self.vault, here),
            None => (&source.vault, &kept),
        };
        let Ok(metadata) = from.keyring().open_metadata(&sealed.sealed, &sealed.place()) else { return Ok(()) };
        let new =
            NewSecret { id, account: kept.account, created_at: kept.created_at, metadata: &metadata, seed: &seed };
        let (mut secret, sealed_seed) = self.vault.sealed(&new)?;
        secret.deleted_at = match (&here, word) {
            (Some(here), _) => here.deleted_at,
            (None, Some((Action::SecretDelete, at))) => Some(at),
            (None, Some((Action::SecretRestore, _))) => None,
            (None, _) => kept.deleted_at,
        };
        let state = self.closed_state(source, id, &metadata.totp).await?;
        let entry = AuditEntry { secret: Some(id), ..self.entry(Some(kept.account)) };
        self.put(&sealed_seed, entry.clone()).await?;
        self.put_silently(&UseRecord { secret: id, account: kept.account, state })?;
        self.put_silently(&secret)?;
        let how = match (here.is_some(), is_own) {
            (true, _) => "its seed was restored from the backup; codes come again in two and a half minutes",
            (false, true) => {
                "its label and settings were restored from the backup; codes come again in two and a half minutes"
            }
            (false, false) => {
                "restored from the backup, as it was then; codes come again in two and a half minutes. See that the service accepts them"
            }
        };
        self.report(key, how);
        Ok(())
    }

    /// The marks of a secret's steps as they are known, with those of the next two minutes used: it is not known which of them
    /// were given.
    async fn closed_state(&self, source: &Backup, id: SecretId, totp: &TotpParameters) -> Result<UseState, StoreError> {
        let key = RecordKey::new(Kind::Use, id.as_bytes());
        let used = match self.sound_one::<UseRecord>(self.vault, &key).await? {
            Some(used) => Some(used),
            None => self.sound_one(&source.vault, &key).await?,
        };
        let mut state = used.map(|used| used.state).unwrap_or_default();
        state.close_until(totp, self.now.plus(FLOOR));
        Ok(state)
    }
}
