//! Mends the records of a vault that is built anew: restores damaged and lost records from a backup, and makes anew or
//! removes those that the vault can do without.

use std::collections::BTreeSet;

use super::{
    CHUNK, Vault,
    ledger::{base_of, end_of},
    open::FLOOR,
    records::{Floor, SealedMetadata, Stored, UseRecord, shown},
    repair::Mended,
};
use crate::{
    domain::{
        account::{Account, DEFAULT_ACCOUNT},
        audit::{Action, Actor, AuditEntry, AuditFilter, Outcome},
        code_use::UseState,
        ids::{AccountId, SeatId, SecretId},
        seat::Seat,
        text::Name,
        time::Timestamp,
    },
    store::{Kind, List, Record, RecordKey, Salvage, StoreError},
    vault::{AuditAsk, examine::sound},
};

/// The kinds of records that the vault can do without, each with the effect of removing one, for the report.
const SPARE: [(Kind, &str); 9] = [
    (Kind::Count, "removed: codes of the last hour are counted from 0"),
    (Kind::KeyUse, "removed: the key counts as unused"),
    (Kind::Idempotency, "removed: a registration that is repeated is a new one"),
    (Kind::Enrolment, "removed: the agent has to ask again"),
    (Kind::Token, "removed"),
    (Kind::SeatPin, "removed: `countersign seat update --pin` sets a new one"),
    (Kind::Session, "removed: the client begins a new session"),
    (Kind::Letter, "removed: the client sends its message again"),
    (Kind::Authority, "removed: `countersign guard ca` makes another, which the browser has to be told"),
];

/// A backup that damaged records are taken from.
pub(super) struct Backup {
    pub(super) vault: Vault,
    /// The number of the last row of its audit log.
    end: u64,
}

impl Backup {
    pub(super) async fn of(vault: Vault) -> Result<Self, StoreError> {
        let end = end_of(vault.store(), vault.keyring(), 0).await?.head().seq;
        Ok(Self { vault, end })
    }

    /// The record of the vault's keys.
    pub(super) async fn header(&self) -> Result<Option<Record>, StoreError> {
        self.vault.store().read_one(&RecordKey::new(Kind::Header, [])).await
    }

    pub(super) async fn close(self) -> Result<(), StoreError> {
        self.vault.close().await
    }
}

/// The mending of a vault's records.
pub(super) struct Mending<'a> {
    pub(super) vault: &'a Vault,
    salvage: &'a Salvage,
    source: Option<&'a Backup>,
    /// Records that exist but are not sound.
    unsound: BTreeSet<RecordKey>,
    pub(super) now: Timestamp,
    pub(super) done: Vec<Mended>,
}

/// A version that no process has read: a decision on a record's former contents must not apply to its new ones.
pub(super) fn unread_version(now: Timestamp) -> u64 {
    now.micros().max(1).cast_unsigned()
}

/// The last action in the life of a secret, seat or key, according to the audit log, and its time.
pub(super) type LastWord = Option<(Action, Timestamp)>;

impl<'a> Mending<'a> {
    pub(super) fn new(
        vault: &'a Vault,
        salvage: &'a Salvage,
        source: Option<&'a Backup>,
        unsound: Vec<RecordKey>,
        now: Timestamp,
    ) -> Self {
        Self { vault, salvage, source, unsound: unsound.into_iter().collect(), now, done: Vec::new() }
    }

    /// Mends every record that can be mended. The others are left as they are, and the examination finds them.
    pub(super) async fn everything(&mut self) -> Result<(), StoreError> {
        for (kind, how) in SPARE {
            let keys: Vec<_> = self.unsound.iter().filter(|key| key.kind == kind).cloned().collect();
            for key in keys {
                self.remove(&key, how).await?;
            }
        }
        let floors: Vec<_> = self.unsound.iter().filter(|key| key.kind == Kind::Floor).cloned().collect();
        for key in floors {
            if key.id.is_empty() {
                let floor = Floor { until: self.now.plus(FLOOR) };
                self.put(&floor, self.entry(None)).await?;
                self.report(&key, "set anew: steps of the next two minutes count as used");
            } else {
                self.remove(&key, "removed: it only looks like a floor").await?;
            }
        }
        self.default_account().await?;
        if let Some(source) = self.source {
            self.accounts(source).await?;
            self.seats(source).await?;
            self.secrets(source).await?;
            self.keys(source).await?;
        }
        self.strangers().await?;
        self.uses().await?;
        self.orphans().await?;
        self.keys_without_a_seat().await
    }

    async fn default_account(&mut self) -> Result<(), StoreError> {
        let status = self.vault.status();
        let (id, created_at) = (status.default_account, status.created_at);
        let key = RecordKey::new(Kind::Account, id.as_bytes());
        if self.is_sound(&key).await? {
            return Ok(());
        }
        let account = Account { id, name: Name::kept(DEFAULT_ACCOUNT.to_owned()), created_at };
        self.put(&account, self.entry(Some(id))).await?;
        self.report(&key, "made anew from the vault's header");
        Ok(())
    }

    async fn accounts(&mut self, source: &Backup) -> Result<(), StoreError> {
        for kept in source.vault.accounts().await?.sound {
            if !self.is_sound(&kept.record.key).await? && self.is_needed(kept.id).await? {
                self.put(&kept.value, self.entry(Some(kept.id))).await?;
                self.report(&kept.record.key, "restored from the backup");
            }
        }
        Ok(())
    }

    /// Whether an account is damaged, or has secrets, seats or keys.
    async fn is_needed(&self, account: AccountId) -> Result<bool, StoreError> {
        for kind in [Kind::Secret, Kind::Seat, Kind::ApiKey] {
            if self.vault.store().count(&List { life: None, ..List::of(kind, Some(account), 0) }).await? > 0 {
                return Ok(true);
            }
        }
        Ok(self.unsound.contains(&RecordKey::new(Kind::Account, account.as_bytes())))
    }

    async fn seats(&mut self, source: &Backup) -> Result<(), StoreError> {
        for record in source.vault.records(Kind::Seat).await? {
            let Ok(seat) = source.vault.keyring().open_record::<Seat>(&record) else { continue };
            let filter = AuditFilter { seat: Some(seat.id), ..AuditFilter::default() };
            let word = self.last_word(filter, &[Action::SeatAdd, Action::SeatRemove]).await?;
            if self.is_sound(&record.key).await?
                || matches!(word, Some((Action::SeatRemove, _)))
                || !self.is_lost(source, &record.key).await?
                || !self.has_account(seat.account).await?
                || self.vault.seat_by_email(seat.account, &seat.profile.email).await?.is_some()
            {
                continue;
            }
            self.put(&seat, AuditEntry { seat: Some(seat.id), ..self.entry(Some(seat.account)) }).await?;
            self.report(&record.key, "restored from the backup, as it was then");
        }
        Ok(())
    }

    async fn keys(&mut self, source: &Backup) -> Result<(), StoreError> {
        for kept in source.vault.every_key().await? {
            let (id, account) = (kept.key.id, kept.key.rights.account);
            if self.is_sound(&kept.record.key).await?
                || !self.is_lost(source, &kept.record.key).await?
                || !self.has_account(account).await?
            {
                continue;
            }
            if let Some(seat) = kept.key.rights.seat
                && !self.is_sound(&RecordKey::new(Kind::Seat, seat.as_bytes())).await?
            {
                continue;
            }
            let filter = AuditFilter { key: Some(id), ..AuditFilter::default() };
            let word = self.last_word(filter, &[Action::KeyCreate, Action::KeyRevoke, Action::SeatRemove]).await?;
            let mut key = kept.value.clone();
            if let Some((Action::KeyRevoke | Action::SeatRemove, at)) = word {
                key.key.revoked_at = key.key.revoked_at.or(Some(at));
            }
            key.key.off_since = key.key.off_since.or(Some(self.now));
            let is_revoked = key.key.revoked_at.is_some();
            self.put(&key, AuditEntry { key: Some(id), ..self.entry(Some(account)) }).await?;
            let how = if is_revoked {
                "restored from the backup; it is revoked"
            } else {
                "restored from the backup; it is off until `countersign key enable`"
            };
            self.report(&kept.record.key, how);
        }
        Ok(())
    }

    /// Removes damaged records whose ids the audit log never names, such as a record whose id was damaged. If a part of
    /// the audit log is gone, that can't be known, and nothing is removed.
    async fn strangers(&mut self) -> Result<(), StoreError> {
        let fences = AuditFilter { action: Some(Action::AuditFence), ..AuditFilter::default() };
        let base = base_of(self.vault.store(), self.vault.keyring(), 0).await?;
        if base.seq > 0 || self.is_in_log(fences).await? {
            return Ok(());
        }
        for key in self.unsound.clone() {
            let id = key.id.as_slice();
            let none = AuditFilter::default();
            let filter = match key.kind {
                Kind::Secret | Kind::Seed => {
                    SecretId::from_slice(id).ok().map(|id| AuditFilter { secret: Some(id), ..none })
                }
                Kind::Seat => SeatId::from_slice(id).ok().map(|id| AuditFilter { seat: Some(id), ..none }),
                Kind::ApiKey => {
                    let text = std::str::from_utf8(id).ok().and_then(|text| text.parse().ok());
                    text.map(|id| AuditFilter { key: Some(id), ..none })
                }
                Kind::Account => AccountId::from_slice(id).ok().map(|id| AuditFilter { account: Some(id), ..none }),
                Kind::Header
                | Kind::Use
                | Kind::Count
                | Kind::KeyUse
                | Kind::Idempotency
                | Kind::AuditHead
                | Kind::AuditBase
                | Kind::Enrolment
                | Kind::Token
                | Kind::Floor
                | Kind::SeatPin
                | Kind::Session
                | Kind::Letter
                | Kind::Authority => continue,
            };
            let is_known = match filter {
                Some(filter) => self.is_in_log(filter).await?,
                None => false,
            };
            if !is_known && !self.is_sound(&key).await? {
                self.remove(&key, "removed: the audit log knows nothing of it").await?;
            }
        }
        Ok(())
    }

    /// Whether the audit log has a row that a filter finds.
    async fn is_in_log(&self, filter: AuditFilter) -> Result<bool, StoreError> {
        let mut ask = AuditAsk { limit: 1, newest: true, ..AuditAsk::default() };
        loop {
            let page = self.vault.audit_page(&filter, &ask).await?;
            if !page.rows.is_empty() {
                return Ok(true);
            }
            let Some(next) = page.next else { return Ok(false) };
            ask.from = Some(next);
        }
    }

    /// Makes the marks of steps of each secret that has none.
    async fn uses(&mut self) -> Result<(), StoreError> {
        for record in self.vault.records(Kind::Secret).await? {
            let Ok(sealed) = self.vault.keyring().open_record::<SealedMetadata>(&record) else { continue };
            let key = RecordKey::new(Kind::Use, sealed.id.as_bytes());
            let Ok(metadata) = self.vault.keyring().open_metadata(&sealed.sealed, &sealed.place()) else { continue };
            if self.is_sound(&key).await? {
                continue;
            }
            let mut state = UseState::default();
            state.close_until(&metadata.totp, self.now.plus(FLOOR));
            let entry = AuditEntry { secret: Some(sealed.id), ..self.entry(Some(sealed.account)) };
            self.put(&UseRecord { secret: sealed.id, account: sealed.account, state }, entry).await?;
            self.report(
                &key,
                "made anew: all steps of the next two minutes count as used, and wrong tries are counted from 0",
            );
        }
        Ok(())
    }

    /// Removes the marks and counts of secrets that are not there. A seed stays: it may be all that is left of a secret.
    async fn orphans(&mut self) -> Result<(), StoreError> {
        for kind in [Kind::Use, Kind::Count] {
            for record in self.vault.records(kind).await? {
                let secret = RecordKey::new(Kind::Secret, record.key.id.get(..16).unwrap_or_default());
                if self.vault.store().read_one(&secret).await?.is_none() {
                    self.remove(&record.key, "removed: its secret is not there").await?;
                }
            }
        }
        Ok(())
    }

    async fn keys_without_a_seat(&mut self) -> Result<(), StoreError> {
        for kept in self.vault.every_key().await? {
            let Some(seat) = kept.key.rights.seat.filter(|_| kept.key.revoked_at.is_none()) else { continue };
            let seat = RecordKey::new(Kind::Seat, seat.as_bytes());
            if self.vault.store().read_one(&seat).await?.is_some() {
                continue;
            }
            let mut key = kept.value.clone();
            key.key.revoked_at = Some(self.now);
            self.put(&key, AuditEntry { key: Some(key.key.id), ..self.entry(Some(key.key.rights.account)) }).await?;
            self.report(&kept.record.key, "revoked: its seat is not there");
        }
        Ok(())
    }

    /// Whether a record of the backup was lost rather than removed since: it is damaged, or the audit log goes back to
    /// the backup, so that a removal would be in it. A removal may be in rows that are fenced off; then the record is
    /// restored all the same, because to lose a secret is worse than to have one again, and the report names it.
    pub(super) async fn is_lost(&self, source: &Backup, key: &RecordKey) -> Result<bool, StoreError> {
        if self.unsound.contains(key) {
            return Ok(true);
        }
        let base = base_of(self.vault.store(), self.vault.keyring(), 0).await?;
        Ok(base.seq <= source.end)
    }

    /// The last successful one of some actions in the rows that a filter finds, and its time.
    pub(super) async fn last_word(&self, filter: AuditFilter, of: &[Action]) -> Result<LastWord, StoreError> {
        let mut ask = AuditAsk { limit: CHUNK, newest: true, ..AuditAsk::default() };
        loop {
            let page = self.vault.audit_page(&filter, &ask).await?;
            let found = page.rows.iter().find(|row| row.entry.outcome == Outcome::Ok && of.contains(&row.entry.action));
            if let Some(row) = found {
                return Ok(Some((row.entry.action, row.entry.at)));
            }
            let Some(next) = page.next else { return Ok(None) };
            ask.from = Some(next);
        }
    }

    pub(super) async fn has_account(&self, account: AccountId) -> Result<bool, StoreError> {
        self.is_sound(&RecordKey::new(Kind::Account, account.as_bytes())).await
    }

    async fn is_sound(&self, key: &RecordKey) -> Result<bool, StoreError> {
        let found = self.vault.store().read_one(key).await?;
        Ok(found.is_some_and(|record| sound(self.vault.keyring(), &record).is_ok()))
    }

    /// A record of a vault, if it is sound.
    pub(super) async fn sound_one<T: Stored>(&self, vault: &Vault, key: &RecordKey) -> Result<Option<T>, StoreError> {
        let found = vault.store().read_one(key).await?;
        let found = found.filter(|record| sound(vault.keyring(), record).is_ok());
        Ok(found.and_then(|record| vault.keyring().open_record(&record).ok()))
    }

    /// The audit row of a repair. A repair that belongs to no account is listed with the default account: otherwise it
    /// would be in no account's list.
    pub(super) fn entry(&self, account: Option<AccountId>) -> AuditEntry {
        let account = account.or(Some(self.vault.status().default_account));
        AuditEntry { account, ..AuditEntry::by(Actor::Person, Action::VaultRepair, self.now) }
    }

    pub(super) async fn put<T: Stored>(&self, thing: &T, entry: AuditEntry) -> Result<(), StoreError> {
        self.put_silently(thing)?;
        self.vault.record(vec![entry]).await
    }

    pub(super) fn put_silently<T: Stored>(&self, thing: &T) -> Result<(), StoreError> {
        let keyring = self.vault.keyring();
        self.salvage.put(&keyring.record(thing, unread_version(self.now)), thing.finders(keyring))
    }

    async fn remove(&mut self, key: &RecordKey, how: &str) -> Result<(), StoreError> {
        self.salvage.remove(key)?;
        let secret = key.id.get(..16).and_then(|id| SecretId::from_slice(id).ok());
        let secret = secret.filter(|_| matches!(key.kind, Kind::Use | Kind::Count));
        self.vault.record(vec![AuditEntry { secret, ..self.entry(None) }]).await?;
        self.report(key, how);
        Ok(())
    }

    pub(super) fn report(&mut self, key: &RecordKey, how: &str) {
        self.done.push(Mended { what: shown(key), how: how.to_owned() });
    }
}
