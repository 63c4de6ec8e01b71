//! Reads secrets.

use super::{
    CHUNK, ListRest, Listed, Page, Repeat, Vault, Versioned,
    records::{CountRecord, Floor, SealedMetadata, SealedSeed, UseRecord, damaged},
    seal::OpenSealError,
};
use crate::{
    domain::{
        code_use::{Holder, UseState},
        hourly::HourlyCount,
        ids::{AccountId, SecretId},
        secret::{CodeTerms, SecretMetadata, TotpSecret},
        seed::Seed,
        time::Timestamp,
        totp::Step,
    },
    store::{Kind, Life, List, Record, RecordKey, StoreError},
};

/// A secret to add.
pub struct NewSecret<'a> {
    /// Its id.
    pub id: SecretId,
    /// The account it will belong to.
    pub account: AccountId,
    /// When it is created, in whole milliseconds.
    pub created_at: Timestamp,
    /// Its metadata.
    pub metadata: &'a SecretMetadata,
    /// Its seed.
    pub seed: &'a Seed,
}

/// Everything that a decision about a code depends on, read at one moment.
pub struct InUse {
    /// The secret, live.
    pub secret: Versioned<TotpSecret>,
    /// Its use state.
    pub state: UseState,
    /// The codes of the last hour for each requested holder, in the order of the request.
    pub counts: Vec<HourlyCount>,
    pub(super) seed: Versioned<SealedSeed>,
    pub(super) used: Versioned<UseRecord>,
    pub(super) counted: Vec<(CountRecord, Option<Record>)>,
    /// The last step that counts as used because an older copy of the vault was accepted or restored.
    closed: Option<Step>,
}

impl InUse {
    /// How the secret's codes are made and given.
    pub const fn terms(&self) -> CodeTerms {
        let SecretMetadata { totp, usage, .. } = &self.secret.value.metadata;
        CodeTerms { totp: *totp, usage: *usage }
    }

    /// Whether no code is given until `free_at` because it is unknown which codes were given before an older copy was
    /// accepted or restored.
    pub fn is_closed_until(&self, free_at: Timestamp) -> bool {
        let totp = &self.secret.value.metadata.totp;
        self.closed.is_some_and(|last| free_at <= totp.start_of(Step(last.0.saturating_add(1))))
    }
}

impl Vault {
    /// One secret of an account, live or deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn secret(&self, account: AccountId, id: SecretId) -> Result<Option<Versioned<TotpSecret>>, StoreError> {
        self.with_new_keys(|| self.read_secret(account, id.as_bytes())).await
    }

    async fn read_secret(&self, account: AccountId, id: &[u8]) -> Result<Option<Versioned<TotpSecret>>, StoreError> {
        let keys = [Kind::Secret, Kind::Use].map(|kind| RecordKey::new(kind, id));
        let mut found = self.store().read(&keys).await?.into_iter();
        let (Some(record), used) = (found.next().flatten(), found.next().flatten()) else { return Ok(None) };
        let [key, _] = &keys;
        let sealed: Versioned<SealedMetadata> = self.kept(key, record)?;
        if sealed.account != account {
            return Ok(None);
        }
        self.opened(sealed, used.as_ref()).map(Some)
    }

    /// The secrets of an account, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn secrets(
        &self,
        account: AccountId,
        life: Life,
        page: Page,
    ) -> Result<Listed<Versioned<TotpSecret>>, StoreError> {
        let list = List { life: Some(life), ..List::of(Kind::Secret, Some(account), CHUNK) };
        let records = self.page_of(list, page).await?;
        self.opened_all(records).await
    }

    /// The next live secrets of a list that is read part by part, and the rest of it, if there may be more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn secrets_part(&self, parts: ListRest) -> Result<(Listed<TotpSecret>, Option<ListRest>), StoreError> {
        let (records, rest) = self.next_part(parts).await?;
        let Listed { sound, damaged } = self.opened_all(records).await?;
        Ok((Listed { sound: sound.into_iter().map(|kept| kept.value).collect(), damaged }, rest))
    }

    /// All secrets of an account, oldest first, without their records, which would take as much memory again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all_secrets(&self, account: AccountId, life: Life) -> Result<Listed<TotpSecret>, StoreError> {
        let mut list = List { life: Some(life), ..List::of(Kind::Secret, Some(account), CHUNK) };
        let mut all = Listed::default();
        while let Some(chunk) = self.next_chunk(&mut list).await? {
            let Listed { sound, damaged } = self.opened_all(chunk).await?;
            all.sound.extend(sound.into_iter().map(|kept| kept.value));
            all.damaged.extend(damaged);
            // Opening many secrets takes a while; let other tasks run between the chunks.
            tokio::task::yield_now().await;
        }
        Ok(all)
    }

    /// The damaged secrets that belong to this account or to one that does not exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn damaged_secrets(&self, account: AccountId) -> Result<Vec<(RecordKey, StoreError)>, StoreError> {
        self.damaged_of(Kind::Secret, account).await
    }

    /// The live secrets among `ids` in an account, in that order: the view of a key that is limited to them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn secrets_by_id(
        &self,
        account: AccountId,
        ids: &[SecretId],
    ) -> Result<Listed<Versioned<TotpSecret>>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| RecordKey::new(Kind::Secret, id.as_bytes())).collect();
        let mut records: Vec<_> = self.store().read(&keys).await?.into_iter().flatten().collect();
        records.retain(|record| record.account == Some(account) && record.life == Life::Live);
        self.opened_all(records).await
    }

    /// The number of secrets of an account, including damaged ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_secrets(&self, account: AccountId, life: Life) -> Result<u64, StoreError> {
        self.store().count(&List { life: Some(life), ..List::of(Kind::Secret, Some(account), 0) }).await
    }

    /// The live secrets of an account that make the same codes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn same_seed(
        &self,
        account: AccountId,
        seed: &Seed,
        metadata: &SecretMetadata,
    ) -> Result<Vec<TotpSecret>, StoreError> {
        let hash = self.keyring().seed_hash(account, seed);
        let list = List { words: vec![hash], ..List::of(Kind::Secret, Some(account), CHUNK) };
        let mut records = self.page_of(list, Page::ALL).await?;
        // Index entries are not under a secret's MAC; the hash in its record is.
        let sealed = |record: &Record| self.keyring().open_record::<SealedMetadata>(record).ok();
        records.retain(|record| sealed(record).is_some_and(|sealed| sealed.seed_hash == Some(hash)));
        let mut same: Vec<_> = self.opened_all(records).await?.sound.into_iter().map(|kept| kept.value).collect();
        same.retain(|secret| secret.metadata.totp == metadata.totp);
        Ok(same)
    }

    /// A live secret with its use state and the counts of some holders, as of one moment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn in_use(
        &self,
        account: AccountId,
        id: SecretId,
        holders: &[Holder],
        now: Timestamp,
    ) -> Result<Option<InUse>, StoreError> {
        self.with_new_keys(|| self.read_in_use(account, id, holders, now)).await
    }

    async fn read_in_use(
        &self,
        account: AccountId,
        id: SecretId,
        holders: &[Holder],
        now: Timestamp,
    ) -> Result<Option<InUse>, StoreError> {
        let key = |kind| RecordKey::new(kind, id.as_bytes());
        let mut keys = vec![key(Kind::Secret), key(Kind::Seed), key(Kind::Use), RecordKey::new(Kind::Floor, [])];
        keys.extend(holders.iter().map(|holder| RecordKey::new(Kind::Count, CountRecord::id_of(id, *holder))));
        let mut found = self.store().read(&keys).await?.into_iter();
        let mut next = || found.next().flatten();
        let (secret, seed, used, floor) = (next(), next(), next(), next());
        let Some(secret) = secret else { return Ok(None) };
        let secret: Versioned<SealedMetadata> = self.kept(&key(Kind::Secret), secret)?;
        if secret.account != account || secret.deleted_at.is_some() {
            return Ok(None);
        }
        let missing = |kind| damaged(&key(kind), "it is missing");
        let seed: Versioned<SealedSeed> = self.kept(&key(Kind::Seed), seed.ok_or_else(|| missing(Kind::Seed))?)?;
        if !self.keyring().knows(&seed.sealed) {
            return Err(damaged(&seed.record.key, &OpenSealError::UnknownEpoch.to_string()));
        }
        let used: Versioned<UseRecord> = self.kept(&key(Kind::Use), used.ok_or_else(|| missing(Kind::Use))?)?;
        let mut counted = Vec::with_capacity(holders.len());
        for (holder, key) in holders.iter().zip(keys.iter().skip(4)) {
            let none = CountRecord { secret: id, account, holder: *holder, count: HourlyCount::default() };
            counted.push(match next() {
                Some(record) => {
                    let Versioned { value, record } = self.kept::<CountRecord>(key, record)?;
                    (value, Some(record))
                }
                None => (none, None),
            });
        }
        let secret = self.with_use(secret, &used)?;
        let mut state = used.state.clone();
        let mut closed = None;
        if let Some(floor) = floor {
            let Floor { until } = self.keyring().open_record(&floor)?;
            state.close_until(&secret.metadata.totp, until);
            closed = Some(secret.metadata.totp.step_at(until));
        }
        let counts = counted.iter().map(|(counted, _)| counted.count.at(now)).collect();
        Ok(Some(InUse { secret, state, counts, seed, used, counted, closed }))
    }

    /// Opens a seed. No other method returns one.
    ///
    /// # Errors
    /// [`OpenSealError`]: damaged, moved, or sealed under an unknown epoch.
    pub fn open_seed(&self, in_use: &InUse) -> Result<Seed, OpenSealError> {
        self.keyring().open_seed(&in_use.seed.sealed, &in_use.seed.place())
    }

    /// The record of an earlier registration with the same `Idempotency-Key`. It may be older than a day.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn repeat(&self, key: [u8; 32]) -> Result<Option<Versioned<Repeat>>, StoreError> {
        self.one(key).await
    }

    /// Seals a new secret.
    pub(super) fn sealed(&self, new: &NewSecret<'_>) -> Result<(SealedMetadata, SealedSeed), StoreError> {
        let NewSecret { id, account, created_at, metadata, seed } = *new;
        let (keyring, random) = (self.keyring(), self.core.random.as_ref());
        let mut sealed = SealedSeed { id, account, created_at, writing: 1, sealed: Vec::new() };
        sealed.sealed = keyring.seal_seed(seed, &sealed.place(), random)?;
        let seed_hash = Some(keyring.seed_hash(account, seed));
        let mut kept =
            SealedMetadata { id, account, created_at, deleted_at: None, writing: 1, seed_hash, sealed: Vec::new() };
        kept.sealed = keyring.seal_metadata(metadata, &kept.place(), random)?;
        Ok((kept, sealed))
    }

    /// Opens records of secrets, with their use state.
    pub(super) async fn opened_all(&self, records: Vec<Record>) -> Result<Listed<Versioned<TotpSecret>>, StoreError> {
        let mut listed = Listed::default();
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let chunk: Vec<_> = records.by_ref().take(CHUNK as usize).collect();
            let keys: Vec<_> = chunk.iter().map(|record| RecordKey::new(Kind::Use, record.key.id.clone())).collect();
            let used = self.store().read(&keys).await?;
            for (record, used) in chunk.into_iter().zip(used) {
                let (key, account, known) = (record.key.clone(), record.account, self.keyring().version());
                let mut opened =
                    self.kept(&key, record).and_then(|sealed| self.opened(sealed, used.as_ref())).map(Some);
                if let (Err(StoreError::Damaged { .. }), Some(account)) = (&opened, account)
                    && self.meets_keys_after(known).await?
                {
                    opened = self.read_secret(account, &key.id).await;
                }
                match opened {
                    // The secret was erased meanwhile.
                    Ok(None) => {}
                    Ok(Some(secret)) => listed.sound.push(secret),
                    Err(cause @ StoreError::Damaged { .. }) => listed.damaged.push((key, cause)),
                    Err(cause) => return Err(cause),
                }
            }
        }
        Ok(listed)
    }

    fn opened(
        &self,
        sealed: Versioned<SealedMetadata>,
        used: Option<&Record>,
    ) -> Result<Versioned<TotpSecret>, StoreError> {
        let key = RecordKey::new(Kind::Use, sealed.id.as_bytes());
        let used = used.filter(|used| used.key == key).ok_or_else(|| damaged(&key, "it is missing"))?;
        self.with_use(sealed, &self.keyring().open_record(used)?)
    }

    fn with_use(
        &self,
        sealed: Versioned<SealedMetadata>,
        used: &UseRecord,
    ) -> Result<Versioned<TotpSecret>, StoreError> {
        let Versioned { value, record } = sealed;
        let metadata = self.keyring().open_metadata(&value.sealed, &value.place());
        let metadata = metadata.map_err(|cause| damaged(&record.key, &cause.to_string()))?;
        let SealedMetadata { id, created_at, deleted_at, .. } = value;
        let last_used_at = used.state.last_used_at;
        Ok(Versioned { value: TotpSecret { id, created_at, last_used_at, deleted_at, metadata }, record })
    }
}
