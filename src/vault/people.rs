//! Reads and removes accounts, seats and keys.

use super::{
    CHUNK, KeptKey, ListRest, Listed, Outcome, Page, Vault, Versioned,
    names::Named,
    records::{KeyUseRecord, Stored, damaged},
};
use crate::{
    domain::{
        account::Account,
        api_key::KeyId,
        audit::AuditEntry,
        ids::AccountId,
        seat::{Seat, SeatName},
        text::{Email, Name},
        time::Timestamp,
    },
    store::{Expect, Kind, Life, List, RecordKey, StoreError},
};

impl Vault {
    /// One account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account(&self, id: AccountId) -> Result<Option<Versioned<Account>>, StoreError> {
        self.one(id.as_bytes().as_slice()).await
    }

    /// One account, by its name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account_named(&self, name: &Name) -> Result<Option<Versioned<Account>>, StoreError> {
        let hash = self.keyring().name_hash(Named::Account, name.as_str());
        self.named(None, hash, |account: &Account| account.name == *name).await
    }

    /// Every account, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts(&self) -> Result<Listed<Versioned<Account>>, StoreError> {
        self.listed(List::of(Kind::Account, None, CHUNK), Page::ALL).await
    }

    /// Removes an account with its seats and keys. Returns [`Outcome::Stale`] also if it has secrets, live or deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_account(&self, account: &Versioned<Account>, entry: AuditEntry) -> Result<Outcome, StoreError> {
        let (id, mut draft) = (account.id, self.draft(entry).remove(account).scrub());
        draft.expect(Expect::NoneIn(Kind::Secret, id));
        draft.remove_all(self.of_account(id).await?);
        let outcome = draft.commit().await?;
        if outcome == Outcome::Done {
            // Remove the records that were added to the account meanwhile. From now on none can be added.
            let mut rest = self.silent_draft().scrub();
            rest.remove_all(self.of_account(id).await?);
            rest.commit().await?;
        }
        Ok(outcome)
    }

    async fn of_account(&self, account: AccountId) -> Result<Vec<RecordKey>, StoreError> {
        let mut keys = Vec::new();
        for kind in [
            Kind::Seat,
            Kind::SeatPin,
            Kind::ApiKey,
            Kind::KeyUse,
            Kind::Idempotency,
            Kind::Enrolment,
            Kind::Token,
            Kind::Authority,
        ] {
            let list = List { life: None, ..List::of(kind, Some(account), CHUNK) };
            keys.extend(self.page_of(list, Page::ALL).await?.into_iter().map(|record| record.key));
        }
        Ok(keys)
    }

    /// One seat of an account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seat(&self, account: AccountId, name: &SeatName) -> Result<Option<Versioned<Seat>>, StoreError> {
        match name {
            SeatName::Id(id) => {
                let found = self.one::<Seat>(id.as_bytes().as_slice()).await?;
                Ok(found.filter(|seat| seat.account == account))
            }
            SeatName::Subject(subject) => {
                let hash = self.keyring().name_hash(Named::SeatSubject, subject.as_str());
                let is_it = |seat: &Seat| seat.profile.auth_subject.as_ref() == Some(subject);
                self.named(Some(account), hash, is_it).await
            }
        }
    }

    /// One seat of an account, by its e-mail address, which is compared without case.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seat_by_email(
        &self,
        account: AccountId,
        email: &Email,
    ) -> Result<Option<Versioned<Seat>>, StoreError> {
        let without_case = |email: &Email| email.as_str().to_lowercase();
        let is_it = |seat: &Seat| without_case(&seat.profile.email) == without_case(email);
        self.named(Some(account), self.keyring().email_hash(email), is_it).await
    }

    /// The seats of an account, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seats(&self, account: AccountId, page: Page) -> Result<Listed<Versioned<Seat>>, StoreError> {
        self.listed(List::of(Kind::Seat, Some(account), CHUNK), page).await
    }

    /// The next seats of a list that is read part by part, and the rest of it, if there may be more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seats_part(&self, parts: ListRest) -> Result<(Listed<Versioned<Seat>>, Option<ListRest>), StoreError> {
        let (records, rest) = self.next_part(parts).await?;
        Ok((self.read_all(records), rest))
    }

    /// The number of seats of an account, including damaged ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_seats(&self, account: AccountId) -> Result<u64, StoreError> {
        self.store().count(&List::of(Kind::Seat, Some(account), 0)).await
    }

    /// Removes a seat with its PIN, and revokes the keys that are bound to it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_seat(&self, seat: &Versioned<Seat>, entry: AuditEntry) -> Result<Outcome, StoreError> {
        let at = entry.at;
        let bound = self.live_keys_of(seat).await?;
        let mut draft = self.draft(entry).remove(seat).scrub();
        draft.remove_all([RecordKey::new(Kind::SeatPin, seat.id.as_bytes())]);
        let outcome = bound.iter().fold(draft, |draft, key| draft.revoke_key(key, at)).commit().await?;
        if outcome == Outcome::Done {
            // Revoke keys that were bound to the seat meanwhile. From now on none can be, so each round finds fewer.
            loop {
                let late = self.live_keys_of(seat).await?;
                if late.is_empty() {
                    break;
                }
                late.iter().fold(self.silent_draft(), |draft, key| draft.revoke_key(key, at)).commit().await?;
            }
        }
        Ok(outcome)
    }

    /// The keys that are bound to a seat and not revoked. Damaged keys don't matter, because they authenticate no
    /// caller. All keys of the account are read, since an index entry is not under a key's MAC.
    async fn live_keys_of(&self, seat: &Versioned<Seat>) -> Result<Vec<Versioned<KeptKey>>, StoreError> {
        let list = List::of(Kind::ApiKey, Some(seat.account), CHUNK);
        let mut bound = self.listed::<KeptKey>(list, Page::ALL).await?.sound;
        bound.retain(|kept| kept.key.rights.seat == Some(seat.id) && kept.key.revoked_at.is_none());
        Ok(bound)
    }

    /// One key with its hash, revoked or not.
    ///
    /// # Errors
    /// [`StoreError`]; `Damaged` if it was changed without the vault's key.
    pub async fn key(&self, id: KeyId) -> Result<Option<Versioned<KeptKey>>, StoreError> {
        self.one(id.as_str().as_bytes()).await
    }

    /// The sound keys of every account. A damaged key authenticates no caller.
    pub(super) async fn every_key(&self) -> Result<Vec<Versioned<KeptKey>>, StoreError> {
        let list = List::of(Kind::ApiKey, None, CHUNK);
        Ok(self.listed(list, Page::ALL).await?.sound)
    }

    /// The keys of an account, oldest first, including revoked ones, with the times of their last use. Damaged ones are
    /// those of this account or of one that does not exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys(&self, account: AccountId) -> Result<Listed<Versioned<KeptKey>>, StoreError> {
        // A damaged key may be among the deleted records.
        let list = List { life: None, ..List::of(Kind::ApiKey, Some(account), CHUNK) };
        let mut listed = self.listed::<KeptKey>(list, Page::ALL).await?;
        for chunk in listed.sound.chunks_mut(CHUNK as usize) {
            let keys: Vec<_> =
                chunk.iter().map(|kept| RecordKey::new(Kind::KeyUse, kept.record.key.id.clone())).collect();
            for (kept, used) in chunk.iter_mut().zip(self.store().read(&keys).await?) {
                let used = used.and_then(|record| self.keyring().open_record::<KeyUseRecord>(&record).ok());
                kept.value.key.last_used_at = used.map(|used| used.last_used_at);
            }
        }
        listed.damaged = self.damaged_of(Kind::ApiKey, account).await?;
        Ok(listed)
    }

    /// The damaged records of a kind that belong to this account or to one that does not exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn damaged_of(&self, kind: Kind, account: AccountId) -> Result<Vec<(RecordKey, StoreError)>, StoreError> {
        let others: Vec<_> = self.accounts().await?.sound.iter().map(|kept| kept.id).collect();
        let mut list = List { life: None, ..List::of(kind, None, CHUNK) };
        let mut damaged = Vec::new();
        while let Some(chunk) = self.next_chunk(&mut list).await? {
            for record in chunk {
                let anothers = record.account.is_some_and(|id| id != account && others.contains(&id));
                if let Err(cause) = self.keyring().check_record(&record)
                    && !anothers
                {
                    damaged.push((record.key, cause));
                }
            }
        }
        Ok(damaged)
    }

    /// Records that a key was used, to the minute. Losing this is harmless.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch_key(&self, key: KeyId, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
        let new =
            KeyUseRecord { key, account, last_used_at: Timestamp::from_seconds(now.seconds().div_euclid(60) * 60) };
        let draft = match self.one::<KeyUseRecord>(key.as_str().as_bytes()).await? {
            Some(kept) if kept.last_used_at >= new.last_used_at => return Ok(()),
            Some(kept) => self.silent_draft().replace(&kept, &new),
            None => self.silent_draft().add(&new),
        };
        // Stale: another call has recorded it.
        draft.soon().commit().await.map(|_| ())
    }

    /// The value with a name. Its own name is compared, because index entries are not under its MAC.
    async fn named<T: Stored>(
        &self,
        account: Option<AccountId>,
        hash: [u8; 32],
        is_it: impl Fn(&T) -> bool,
    ) -> Result<Option<Versioned<T>>, StoreError> {
        let Some(record) = self.store().find(T::KIND, account, hash).await? else { return Ok(None) };
        let value: T = self.keyring().open_record(&record)?;
        if value.account() == account && record.life == Life::Live && is_it(&value) {
            Ok(Some(Versioned { value, record }))
        } else {
            Err(damaged(&record.key, "it is found by another's name"))
        }
    }
}
