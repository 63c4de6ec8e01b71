//! Examines every record: MACs, seals, references and index entries.

use std::collections::BTreeSet;

use super::{
    CHUNK, Vault,
    keyring::Keyring,
    records::{
        AuditBase, AuditHead, CountRecord, Floor, KeptKey, KeyUseRecord, Repeat, SealedMetadata, SealedSeed, Stored,
        UseRecord, VaultHeader, damaged, shown,
    },
    seal::OpenSealError,
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
        let finders = sound(self.keyring(), record)?;
        match record.key.kind {
            // One that is older than what this process knows was put back.
            Kind::Header => self.header().await.map(|_| ()),
            Kind::Account | Kind::Seat => self.found(record, finders).await,
            Kind::Secret => {
                self.has_parts(record).await?;
                self.found(record, finders).await
            }
            Kind::Seed | Kind::Use | Kind::Count => self.belongs_to_secret(record).await,
            Kind::ApiKey => self.examine_key(record).await,
            Kind::KeyUse
            | Kind::Idempotency
            | Kind::AuditHead
            | Kind::AuditBase
            | Kind::Enrolment
            | Kind::Token
            | Kind::Floor
            | Kind::SeatPin => Ok(()),
        }
    }

    fn readable<T: Stored>(&self, record: &Record) -> Result<T, StoreError> {
        self.keyring().open_record(record)
    }

    /// Reports a secret whose seed or marks of steps are not there.
    async fn has_parts(&self, record: &Record) -> Result<(), StoreError> {
        let keys = [Kind::Seed, Kind::Use].map(|kind| RecordKey::new(kind, record.key.id.clone()));
        for (key, kept) in keys.iter().zip(self.store().read(&keys).await?) {
            kept.ok_or_else(|| damaged(key, "it is missing"))?;
        }
        Ok(())
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
    async fn found(&self, record: &Record, finders: Finders) -> Result<(), StoreError> {
        let Finders { mut names, mut words } = finders;
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

/// The index entries of a record whose MAC is right, whose seal opens, and that is one that this program writes.
///
/// # Errors
/// [`StoreError::Damaged`] if it is not sound.
pub(super) fn sound(keyring: &Keyring, record: &Record) -> Result<Finders, StoreError> {
    fn read<T: Stored>(keyring: &Keyring, record: &Record) -> Result<Finders, StoreError> {
        Ok(keyring.open_record::<T>(record)?.finders(keyring))
    }
    let unsealed = |opened: Result<(), OpenSealError>| opened.map_err(|cause| damaged(&record.key, &cause.to_string()));
    match record.key.kind {
        Kind::Header => read::<VaultHeader>(keyring, record),
        Kind::Account => read::<Account>(keyring, record),
        Kind::Secret => {
            let secret: SealedMetadata = keyring.open_record(record)?;
            unsealed(keyring.open_metadata(&secret.sealed, &secret.place()).map(drop))?;
            Ok(secret.finders(keyring))
        }
        Kind::Seed => {
            let seed: SealedSeed = keyring.open_record(record)?;
            unsealed(keyring.open_seed(&seed.sealed, &seed.place()).map(drop))?;
            Ok(Finders::default())
        }
        Kind::Use => read::<UseRecord>(keyring, record),
        Kind::Count => read::<CountRecord>(keyring, record),
        Kind::Seat => read::<Seat>(keyring, record),
        Kind::ApiKey => read::<KeptKey>(keyring, record),
        Kind::KeyUse => read::<KeyUseRecord>(keyring, record),
        Kind::Idempotency => read::<Repeat>(keyring, record),
        Kind::AuditHead => read::<AuditHead>(keyring, record),
        Kind::AuditBase => read::<AuditBase>(keyring, record),
        Kind::Enrolment => read::<Enrolment>(keyring, record),
        Kind::Token => read::<AccessToken>(keyring, record),
        Kind::Floor => read::<Floor>(keyring, record),
        Kind::SeatPin => read::<SeatPin>(keyring, record),
    }
}
