//! Examines every record: MACs, seals, references and index entries.

use std::collections::BTreeSet;

use super::{
    CHUNK, Vault,
    records::{
        AuditBase, AuditHead, CountRecord, Floor, KeptKey, KeyUseRecord, Repeat, SealedMetadata, SealedSeed, Stored,
        UseRecord, VaultHeader, damaged, shown,
    },
};
use crate::{
    domain::{
        account::Account, enrolment::Enrolment, ids::AccountId, seat::Seat, seat_pin::SeatPin, token::AccessToken,
    },
    store::{Finders, Kind, List, Record, RecordKey, StoreError},
};

/// The most problems that are reported: more are no more informative.
const PROBLEMS_MAX: usize = 1000;

/// The result of an examination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// What is wrong, in words without contents; empty: sound.
    pub problems: Vec<String>,
    /// The number of secrets whose seals were opened.
    pub secrets: u64,
}

impl Examined {
    fn tell(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

impl Vault {
    /// Examines the store's structure, every record, and the index entries of audit rows. The chains are
    /// [verified](Self::verify) separately.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], if the store can't be read.
    pub async fn examine(&self) -> Result<Examined, StoreError> {
        let mut examined = Examined { problems: self.store().examine().await?, secrets: 0 };
        let mut accounts = BTreeSet::new();
        for kind in Kind::ALL {
            let mut list = List { life: None, ..List::of(kind, None, CHUNK) };
            while let Some(chunk) = self.next_chunk(&mut list).await? {
                if kind == Kind::Account {
                    accounts.extend(chunk.iter().filter_map(|record| AccountId::from_slice(&record.key.id).ok()));
                }
                for record in &chunk {
                    examined.secrets += u64::from(kind == Kind::Secret);
                    let belongs = record.account.is_none_or(|account| accounts.contains(&account));
                    if !belongs && kind != Kind::Account {
                        examined.tell(format!("{}: it belongs to an account that is not there", shown(&record.key)));
                    }
                    match self.examine_record_now(record).await {
                        Ok(()) => {}
                        Err(StoreError::Damaged { what }) => examined.tell(what),
                        Err(cause) => return Err(cause),
                    }
                }
                tokio::task::yield_now().await;
            }
        }
        self.examine_terms().await?.into_iter().for_each(|problem| examined.tell(problem));
        if accounts.is_empty() {
            examined.tell("there is no account".to_owned());
        }
        Ok(examined)
    }

    /// Examines a record, and once more as it stands now if it was changed meanwhile, or sealed under a new key.
    async fn examine_record_now(&self, record: &Record) -> Result<(), StoreError> {
        let known = self.keyring().version();
        let cause = match self.examine_record(record).await {
            Err(cause @ StoreError::Damaged { .. }) => cause,
            examined => return examined,
        };
        let now = self.store().read(std::slice::from_ref(&record.key)).await?.into_iter().flatten().next();
        let has_new_keys = self.meets_keys_after(known).await?;
        match now {
            Some(now) if has_new_keys || now.version != record.version => self.examine_record(&now).await,
            _ => Err(cause),
        }
    }

    async fn examine_record(&self, record: &Record) -> Result<(), StoreError> {
        match record.key.kind {
            Kind::Header => {
                self.readable::<VaultHeader>(record)?;
                // One that is older than what this process knows was put back.
                self.header().await.map(|_| ())
            }
            Kind::Account => self.found::<Account>(record).await,
            Kind::Secret => self.examine_secret(record).await,
            Kind::Seed => {
                let seed: SealedSeed = self.readable(record)?;
                let opened = self.keyring().open_seed(&seed.sealed, &seed.place());
                opened.map_err(|cause| damaged(&record.key, &cause.to_string()))?;
                self.belongs_to_secret(record).await
            }
            Kind::Use => {
                self.readable::<UseRecord>(record)?;
                self.belongs_to_secret(record).await
            }
            Kind::Count => {
                self.readable::<CountRecord>(record)?;
                self.belongs_to_secret(record).await
            }
            Kind::Seat => self.found::<Seat>(record).await,
            Kind::ApiKey => self.examine_key(record).await,
            Kind::KeyUse => self.readable::<KeyUseRecord>(record).map(|_| ()),
            Kind::Idempotency => self.readable::<Repeat>(record).map(|_| ()),
            Kind::AuditHead => self.readable::<AuditHead>(record).map(|_| ()),
            Kind::AuditBase => self.readable::<AuditBase>(record).map(|_| ()),
            Kind::Enrolment => self.readable::<Enrolment>(record).map(|_| ()),
            Kind::Token => self.readable::<AccessToken>(record).map(|_| ()),
            Kind::Floor => self.readable::<Floor>(record).map(|_| ()),
            Kind::SeatPin => self.readable::<SeatPin>(record).map(|_| ()),
        }
    }

    fn readable<T: Stored>(&self, record: &Record) -> Result<T, StoreError> {
        self.keyring().open_record(record)
    }

    async fn examine_secret(&self, record: &Record) -> Result<(), StoreError> {
        let secret: SealedMetadata = self.readable(record)?;
        let opened = self.keyring().open_metadata(&secret.sealed, &secret.place());
        opened.map_err(|cause| damaged(&record.key, &cause.to_string()))?;
        let keys = [Kind::Seed, Kind::Use].map(|kind| RecordKey::new(kind, record.key.id.clone()));
        for (key, kept) in keys.iter().zip(self.store().read(&keys).await?) {
            kept.ok_or_else(|| damaged(key, "it is missing"))?;
        }
        self.found::<SealedMetadata>(record).await
    }

    /// Reports a live key whose seat does not exist.
    async fn examine_key(&self, record: &Record) -> Result<(), StoreError> {
        let Some(seat) = self.readable::<KeptKey>(record)?.key.rights.seat else { return Ok(()) };
        // Read both at the same moment: the seat may just be removed together with its keys.
        let keys = [record.key.clone(), RecordKey::new(Kind::Seat, seat.as_bytes())];
        let [Some(key), seat] = <[_; 2]>::try_from(self.store().read(&keys).await?).unwrap_or_default() else {
            return Ok(());
        };
        let is_revoked = self.readable::<KeptKey>(&key)?.key.revoked_at.is_some();
        let is_bound = seat.is_some_and(|seat| seat.account == key.account);
        if is_revoked || is_bound {
            return Ok(());
        }
        Err(damaged(&record.key, "it is bound to a seat that is not there; revoke it"))
    }

    async fn belongs_to_secret(&self, record: &Record) -> Result<(), StoreError> {
        let key = RecordKey::new(Kind::Secret, record.key.id.get(..16).unwrap_or_default());
        let kept = self.store().read(&[key]).await?.into_iter().flatten().next();
        let belongs = kept.is_some_and(|secret| secret.account == record.account);
        if belongs { Ok(()) } else { Err(damaged(&record.key, "it belongs to a secret that is not there")) }
    }

    /// Checks that a record is indexed under its names and words.
    async fn found<T: Stored>(&self, record: &Record) -> Result<(), StoreError> {
        let thing: T = self.readable(record)?;
        let Finders { mut names, mut words } = thing.finders(self.keyring());
        names.sort_unstable();
        words.sort_unstable();
        let kept =
            self.store().finders(std::slice::from_ref(&record.key)).await?.into_iter().next().unwrap_or_default();
        if kept.names != names {
            return Err(damaged(&record.key, "it is not found by its name"));
        }
        if kept.words == words { Ok(()) } else { Err(damaged(&record.key, "it is not found by its words")) }
    }
}
