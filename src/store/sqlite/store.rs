//! The contract, method by method: which table does it, in a transaction or not, and how soon it must be on the disk.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{
    accounts,
    commit::Need,
    db::{Db, Tx},
    keys,
    readers::Readers,
    seats, secrets, trail, upkeep, uses,
    writer::Writer,
};
use crate::{
    domain::{
        account::Account,
        api_key::{ApiKey, HashedKey, KeyId},
        audit::{AuditEntry, AuditFilter, AuditRow, ChainHead},
        ids::{AccountId, SeatId, SecretId},
        seat::{Seat, SeatName},
        text::{Email, Name},
        time::Timestamp,
    },
    store::{
        Added, Changed, Idempotency, Keys, Life, Listed, Page, SealedSecret, SecretUse, Store, StoreError, UncheckedId,
        Writes,
    },
};

/// Secrets whose last verdict is remembered; a forgotten one costs a sync.
const HINTS: usize = 4096;

/// The embedded backend.
pub(super) struct Sqlite {
    writer: Writer,
    readers: Arc<Readers>,
    writes: Writes,
    /// Until when a use of a secret would leave its state as it is. Only a guess at what a commit will need.
    repeats: Mutex<HashMap<SecretId, Timestamp>>,
}

impl Sqlite {
    pub(super) fn new(writer: Writer, readers: Readers, mode: Writes) -> Self {
        Self { writer, readers: Arc::new(readers), writes: mode, repeats: Mutex::default() }
    }

    /// A transaction that is on the disk when this returns.
    async fn write<T, F>(&self, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.write(Need::Sync, act).await
    }

    /// A few rows, read where they are asked for.
    fn read<T>(&self, act: impl FnOnce(&Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self.writes {
            Writes::Inline => self.writer.read(act),
            Writes::Thread => self.readers.read(act),
        }
    }

    /// Perhaps many rows: on a server, away from the threads that serve everybody.
    async fn read_many<T, F>(&self, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        match self.writes {
            Writes::Inline => self.writer.read(act),
            Writes::Thread => {
                let readers = Arc::clone(&self.readers);
                let read = tokio::task::spawn_blocking(move || readers.read(act)).await;
                read.unwrap_or_else(|_| Err(StoreError::Unavailable("a read was given up".to_owned())))
            }
        }
    }

    /// Until when a use of a secret is thought to leave its state as it is.
    fn repeats_until(&self, secret: SecretId) -> Option<Timestamp> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner).get(&secret).copied()
    }

    fn need_of(&self, request: &SecretUse, repeats_until: Option<Timestamp>) -> Need {
        match (repeats_until, self.writes) {
            (Some(until), _) if until > request.now => Need::SyncSoon,
            // A sidecar that has just started shares its vault with others: its first code was often handed out by one
            // of them, and then no sync is due. To find out otherwise costs a rollback, a hundredth of a sync.
            (None, Writes::Inline) => Need::SyncSoon,
            _ => Need::Sync,
        }
    }

    fn note_repeats(&self, secret: SecretId, now: Timestamp, until: Option<Timestamp>) {
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = until else {
            repeats.remove(&secret);
            return;
        };
        if repeats.len() >= HINTS {
            repeats.retain(|_, until| *until > now);
        }
        if repeats.len() < HINTS {
            repeats.insert(secret, until);
        }
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn add_secret(
        &self,
        secret: SealedSecret,
        repeat: Option<Idempotency>,
        entry: AuditEntry,
    ) -> Result<Added, StoreError> {
        self.write(move |tx| secrets::add(tx, &secret, repeat.as_ref(), &entry)).await
    }

    async fn secret(&self, account: AccountId, id: SecretId) -> Result<Option<SealedSecret>, StoreError> {
        self.read(|db| Ok(secrets::one(db, account, id)?.map(|kept| kept.secret)))
    }

    async fn secrets(&self, account: AccountId, life: Life) -> Result<Vec<SealedSecret>, StoreError> {
        self.read_many(move |db| secrets::list(db, account, life)).await
    }

    async fn change_secret(&self, secret: SealedSecret, entry: AuditEntry) -> Result<Changed, StoreError> {
        self.write(move |tx| secrets::change(tx, &secret, &entry)).await
    }

    async fn delete_secret(&self, account: AccountId, id: SecretId, entry: AuditEntry) -> Result<bool, StoreError> {
        self.write(move |tx| secrets::delete(tx, account, id, &entry)).await
    }

    async fn restore_secret(
        &self,
        account: AccountId,
        id: SecretId,
        since: Timestamp,
        entry: AuditEntry,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| secrets::restore(tx, account, id, since, &entry)).await
    }

    async fn erase_secret(&self, account: AccountId, id: SecretId, entry: AuditEntry) -> Result<bool, StoreError> {
        self.write(move |tx| secrets::erase(tx, account, id, &entry)).await
    }

    async fn erase_deleted_before(&self, before: Timestamp, entry: AuditEntry) -> Result<u64, StoreError> {
        self.write(move |tx| secrets::erase_deleted(tx, before, &entry)).await
    }

    async fn use_secret(self: Arc<Self>, mut request: SecretUse) -> Result<bool, StoreError> {
        let (secret, now) = (request.secret, request.now);
        let thought = self.repeats_until(secret);
        let need = self.need_of(&request, thought);
        let used = self.writer.write(need, move |tx| uses::run(tx, &mut request)).await?;
        if used.repeats_until != thought {
            self.note_repeats(secret, now, used.repeats_until);
        }
        Ok(used.found)
    }

    async fn add_seat(&self, seat: Seat, entry: AuditEntry) -> Result<(), StoreError> {
        self.write(move |tx| seats::add(tx, &seat, &entry)).await
    }

    async fn seat(&self, account: AccountId, name: SeatName) -> Result<Option<Seat>, StoreError> {
        self.read(|db| seats::one(db, account, &name))
    }

    async fn seats(&self, account: AccountId, email: Option<Email>, page: Page) -> Result<Listed<Seat>, StoreError> {
        self.read_many(move |db| seats::list(db, account, email.as_ref(), page)).await
    }

    async fn count_seats(&self, account: AccountId, email: Option<Email>) -> Result<u64, StoreError> {
        self.read(|db| seats::count(db, account, email.as_ref()))
    }

    async fn change_seat(&self, seat: Seat, entry: AuditEntry) -> Result<Changed, StoreError> {
        self.write(move |tx| seats::change(tx, &seat, &entry)).await
    }

    async fn remove_seat(&self, account: AccountId, id: SeatId, entry: AuditEntry) -> Result<bool, StoreError> {
        self.write(move |tx| seats::remove(tx, account, id, &entry)).await
    }

    async fn add_account(&self, account: Account, entry: AuditEntry) -> Result<(), StoreError> {
        self.write(move |tx| accounts::add(tx, &account, &entry)).await
    }

    async fn account(&self, name: Name) -> Result<Option<Account>, StoreError> {
        self.read(|db| accounts::by_name(db, &name))
    }

    async fn accounts(&self) -> Result<Listed<Account>, StoreError> {
        self.read(accounts::all)
    }

    async fn remove_account(&self, id: AccountId, entry: AuditEntry) -> Result<bool, StoreError> {
        self.write(move |tx| accounts::remove(tx, id, &entry)).await
    }

    async fn add_key(&self, key: ApiKey, hash: HashedKey, entry: AuditEntry) -> Result<(), StoreError> {
        self.write(move |tx| keys::add(tx, &key, &hash, &entry)).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<(ApiKey, HashedKey)>, StoreError> {
        self.read(|db| keys::one(db, id))
    }

    async fn keys(&self, account: AccountId) -> Result<Keys, StoreError> {
        self.read_many(move |db| keys::list(db, account)).await
    }

    async fn revoke_key(&self, account: AccountId, id: KeyId, entry: AuditEntry) -> Result<bool, StoreError> {
        self.write(move |tx| keys::revoke(tx, account, id, &entry)).await
    }

    async fn remove_damaged_keys(&self, account: AccountId, entry: AuditEntry) -> Result<u64, StoreError> {
        self.write(move |tx| keys::remove_damaged(tx, account, &entry)).await
    }

    async fn touch_key(&self, id: KeyId, at: Timestamp) -> Result<(), StoreError> {
        self.writer.write(Need::SyncSoon, move |tx| keys::touch(tx, id, at)).await
    }

    async fn record(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        self.write(move |tx| entries.iter().try_for_each(|entry| tx.append(entry))).await
    }

    async fn trail(&self, filter: AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
        self.read_many(move |db| trail::select(db, &filter)).await
    }

    async fn trail_ends(&self) -> Result<(ChainHead, Option<ChainHead>), StoreError> {
        self.read(trail::ends)
    }

    async fn prune_trail(&self, before: Timestamp, entry: AuditEntry) -> Result<u64, StoreError> {
        self.write(move |tx| trail::prune(tx, before, entry.clone())).await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        // A real write: a probe that rolled back would not notice a full disk.
        self.writer.write(Need::SyncSoon, trail::touch).await
    }

    async fn examine(&self) -> Result<Vec<String>, StoreError> {
        self.read_many(upkeep::examine).await
    }

    async fn secret_ids(&self) -> Result<Vec<UncheckedId>, StoreError> {
        self.read_many(secrets::ids).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.readers.close();
        self.writer.close()
    }
}
