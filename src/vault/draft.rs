//! A change before it is committed: its conditions, the new records, and the audit rows.

use std::sync::atomic::Ordering;

use super::{
    Vault, Versioned,
    job::Job,
    keyring::Keyring,
    records::{CountRecord, KeptKey, SealedMetadata, Stored, UseRecord},
    secrets::{InUse, NewSecret},
};
use crate::{
    domain::{
        audit::AuditEntry,
        code_use::UseState,
        ids::SecretId,
        secret::{SecretMetadata, TotpSecret},
        seed::Seed,
        time::Timestamp,
    },
    store::{Change, Durable, Expect, Index, Kind, Put, Record, RecordKey, Removal, StoreError},
};

/// The result of committing a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Committed, with its audit rows.
    Done,
    /// Nothing was changed: something that the draft depends on has changed. Read and decide again.
    Stale,
    /// Nothing was changed: a name in the draft already belongs to another record.
    Taken,
}

/// A change that is not committed yet. Dropping it has no effect.
#[must_use = "a draft does nothing before it is committed"]
pub struct Draft<'v> {
    vault: &'v Vault,
    change: Change,
    entries: Vec<AuditEntry>,
    durable: Durable,
    /// Whether the commit may go on as long as other processes are faster.
    patient: bool,
    /// Whether it holds a new seal, which depends on the header.
    seals: bool,
    /// The error that keeps the draft from being committed.
    failed: Option<StoreError>,
}

impl Vault {
    /// Begins a change with its audit row.
    pub fn draft(&self, entry: AuditEntry) -> Draft<'_> {
        self.silent_draft().entry(entry)
    }

    /// Begins a change without an audit row, for a change that neither reveals nor authorises anything, such as that of
    /// the time of a key's last use.
    pub fn silent_draft(&self) -> Draft<'_> {
        Draft {
            vault: self,
            change: Change::default(),
            entries: Vec::new(),
            durable: Durable::Now,
            patient: false,
            seals: false,
            failed: None,
        }
    }

    /// Writes audit rows that belong to no change: refusals, exports, counters.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut draft = self.silent_draft();
        draft.entries = entries;
        draft.commit().await.map(|_| ())
    }
}

impl<'v> Draft<'v> {
    /// Adds an audit row.
    pub fn entry(mut self, entry: AuditEntry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Makes the commit durable soon rather than at once: for a code that was handed out before.
    pub fn soon(mut self) -> Self {
        if !self.vault.core.strict.load(Ordering::Relaxed) {
            self.durable = Durable::Soon;
        }
        self
    }

    /// Lets the commit go on for a minute beside processes that write all the time: for an operation that a person
    /// began and can't hurry.
    pub const fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Requests that replaced and removed data is removed from the files, too.
    pub const fn scrub(mut self) -> Self {
        self.change.scrub = true;
        self
    }

    /// Requires that a record has not changed since it was read.
    pub fn unchanged<T>(mut self, kept: &Versioned<T>) -> Self {
        self.change.expect.push(version_of(kept));
        self
    }

    /// Adds a record. Requires that its account, if it has one, still exists.
    #[expect(clippy::should_implement_trait, reason = "nobody takes a draft for a number")]
    pub fn add<T: Stored>(mut self, thing: &T) -> Self {
        if let Some(account) = thing.account() {
            self.expect_exists(RecordKey::new(Kind::Account, account.as_bytes()));
        }
        let keyring = self.vault.keyring();
        let (record, finders) = (keyring.record(thing, 1), thing.finders(keyring));
        self.put(record, Index::Replace(finders));
        self
    }

    /// Adds a key. Requires that the seat to which it is bound still exists.
    pub fn add_key(mut self, key: &KeptKey) -> Self {
        if let Some(seat) = key.key.rights.seat {
            self.expect_exists(RecordKey::new(Kind::Seat, seat.as_bytes()));
        }
        self.add(key)
    }

    /// Replaces a record.
    pub fn replace<T: Stored>(mut self, kept: &Versioned<T>, new: &T) -> Self {
        let keyring = self.vault.keyring();
        self.replace_record(&kept.record, new, Index::Replace(new.finders(keyring)));
        self
    }

    /// Removes a record.
    pub fn remove<T>(mut self, kept: &Versioned<T>) -> Self {
        self.change.expect.push(version_of(kept));
        self.change.remove.push(Removal::One(kept.record.key.clone()));
        self
    }

    /// Removes a damaged record if it still exists.
    pub fn remove_damaged(mut self, key: &RecordKey) -> Self {
        self.expect_exists(key.clone());
        self.change.remove.push(Removal::One(key.clone()));
        self
    }

    /// Revokes a key, from the next request on, in every process.
    pub fn revoke_key(self, kept: &Versioned<KeptKey>, at: Timestamp) -> Self {
        let mut new = kept.value.clone();
        new.key.revoked_at = new.key.revoked_at.or(Some(at));
        self.replace(kept, &new)
    }

    /// Adds a secret, with empty marks.
    pub fn add_secret(self, new: &NewSecret<'_>) -> Self {
        let draft = self.expect_keys();
        match draft.vault.sealed(new) {
            Ok((metadata, seed)) => {
                let used = UseRecord { secret: new.id, account: new.account, state: UseState::default() };
                draft.add(&metadata).add(&seed).add(&used)
            }
            Err(cause) => draft.fail(cause),
        }
    }

    /// Replaces a live secret's metadata, and its seed if a new one is given.
    pub fn change_secret(
        self,
        kept: &Versioned<TotpSecret>,
        metadata: &SecretMetadata,
        seed: Option<(&InUse, &Seed)>,
    ) -> Self {
        let mut draft = self.expect_keys();
        match draft.try_change(kept, metadata, seed) {
            Ok(()) => draft.scrub(),
            Err(cause) => draft.fail(cause),
        }
    }

    fn try_change(
        &mut self,
        kept: &Versioned<TotpSecret>,
        metadata: &SecretMetadata,
        seed: Option<(&InUse, &Seed)>,
    ) -> Result<(), StoreError> {
        let (vault, keyring) = (self.vault, self.vault.keyring());
        let mut new: SealedMetadata = keyring.open_record(&kept.record)?;
        new.writing = new.writing.saturating_add(1);
        new.sealed = keyring.seal_metadata(metadata, &new.place(), vault.core.random.as_ref())?;
        if let Some((in_use, seed)) = seed {
            new.seed_hash = Some(keyring.seed_hash(new.account, seed));
            let mut sealed = in_use.seed.value.clone();
            sealed.writing = sealed.writing.saturating_add(1);
            sealed.sealed = keyring.seal_seed(seed, &sealed.place(), vault.core.random.as_ref())?;
            self.replace_record(&in_use.seed.record, &sealed, Index::Keep);
        }
        self.replace_record(&kept.record, &new, Index::Replace(new.finders(keyring)));
        Ok(())
    }

    /// Deletes a secret for callers, or restores it.
    pub fn set_deleted(mut self, kept: &Versioned<TotpSecret>, at: Option<Timestamp>) -> Self {
        match self.vault.keyring().open_record::<SealedMetadata>(&kept.record) {
            Ok(metadata) => {
                let new = SealedMetadata { deleted_at: at, ..metadata };
                self.replace_record(&kept.record, &new, Index::Keep);
                self
            }
            Err(cause) => self.fail(cause),
        }
    }

    /// Erases a secret and its records for good, even if they are damaged: there must be a way to remove them.
    pub fn erase_secret(self, id: SecretId) -> Self {
        self.erase_where(Kind::Secret, id)
    }

    /// Erases the seed that is all that is left of a secret.
    pub fn erase_orphan(self, id: SecretId) -> Self {
        self.erase_where(Kind::Seed, id)
    }

    fn erase_where(mut self, is_there: Kind, id: SecretId) -> Self {
        let key = |kind| RecordKey::new(kind, id.as_bytes());
        self.expect_exists(key(is_there));
        self.change.remove.extend([Kind::Secret, Kind::Seed, Kind::Use].map(|kind| Removal::One(key(kind))));
        self.change.remove.push(Removal::Prefix(Kind::Count, id.as_bytes().to_vec()));
        self.scrub()
    }

    /// Requires that a secret is live and unchanged since it was read, and stores a new use state if there is one.
    pub fn used(mut self, in_use: &InUse, state: Option<&UseState>) -> Self {
        self.change.expect.push(version_of(&in_use.secret));
        if let Some(state) = state {
            let used = UseRecord { state: state.clone(), ..in_use.used.value.clone() };
            self.replace_record(&in_use.used.record, &used, Index::Keep);
        }
        self
    }

    /// Counts one more code for each holder.
    pub fn counted(mut self, in_use: &InUse, now: Timestamp) -> Self {
        for (counted, kept) in &in_use.counted {
            let new = CountRecord { count: counted.count.with_one(now), ..counted.clone() };
            // A count that does not exist yet has version 0.
            let version = kept.as_ref().map_or(0, |record| record.version).saturating_add(1);
            let record = self.vault.keyring().record(&new, version);
            self.put(record, Index::Keep);
        }
        self
    }

    /// Commits the change.
    ///
    /// # Errors
    /// [`StoreError`]: `Unavailable` means that nothing was changed, `Unknown` that something may have been.
    pub async fn commit(self) -> Result<Outcome, StoreError> {
        let Self { vault, change, entries, durable, patient, seals, failed } = self;
        let outcome = match failed {
            Some(cause) => return Err(cause),
            None => vault.core.writer.commit(Job { change, entries, durable, patient }).await?,
        };
        if seals && outcome == Outcome::Stale {
            // The caller decides again, and seals under the newest key.
            vault.header().await?;
        }
        Ok(outcome)
    }

    /// Requires that the header is the one whose keys seal the records that are put into the draft from here on: a
    /// rotation elsewhere may have ended the key. The version is taken before anything is sealed.
    pub(super) fn expect_keys(mut self) -> Self {
        if !std::mem::replace(&mut self.seals, true) {
            let version = self.vault.keyring().version();
            self.change.expect.push(Expect::Version(RecordKey::new(Kind::Header, []), version));
        }
        self
    }

    /// Replaces a record by one that differs in its seal alone.
    pub(super) fn replace_sealed<T: Stored>(mut self, old: &Record, new: Result<T, StoreError>) -> Self {
        match new {
            Ok(new) => {
                self.replace_record(old, &new, Index::Keep);
                self
            }
            Err(cause) => self.fail(cause),
        }
    }

    pub(super) const fn vault(&self) -> &'v Vault {
        self.vault
    }

    pub(super) fn fail(mut self, cause: StoreError) -> Self {
        self.failed = Some(cause);
        self
    }

    pub(super) fn expect(&mut self, expect: Expect) {
        self.change.expect.push(expect);
    }

    pub(super) fn remove_all(&mut self, keys: impl IntoIterator<Item = RecordKey>) {
        self.change.remove.extend(keys.into_iter().map(Removal::One));
    }

    pub(super) const fn change_mut(&mut self) -> &mut Change {
        &mut self.change
    }

    fn expect_exists(&mut self, key: RecordKey) {
        let exists = Expect::Exists(key);
        // A draft that adds thousands of records expects their account only once.
        if self.change.expect.contains(&exists) {
            return;
        }
        // A record may be added together with the one that it belongs to.
        let added = |put: &Put| matches!(&exists, Expect::Exists(key) if put.record.key == *key);
        if !self.change.put.iter().any(added) {
            self.change.expect.push(exists);
        }
    }

    fn replace_record<T: Stored>(&mut self, old: &Record, new: &T, index: Index) {
        let record = Keyring::record(self.vault.keyring(), new, old.version.saturating_add(1));
        self.put(record, index);
    }

    fn put(&mut self, record: Record, index: Index) {
        self.change.put.push(Put { record, index });
    }
}

fn version_of<T>(kept: &Versioned<T>) -> Expect {
    Expect::Version(kept.record.key.clone(), kept.record.version)
}
