//! Examines every record: MACs, seals, references and index entries.

use std::collections::BTreeSet;

use super::{
    CHUNK, Vault,
    keyring::Keyring,
    records::{
        AuditBase, AuditHead, CountRecord, Floor, KeptKey, KeyUseRecord, Repeat, SealedAuthority, SealedMetadata,
        SealedSeed, Stored, UseRecord, VaultHeader, damaged, shown,
    },
    seal::OpenSealError,
};
use crate::{
    domain::{
        account::Account,
        enrolment::Enrolment,
        ids::AccountId,
        seat::Seat,
        seat_pin::SeatPin,
        session::{Letter, Session},
        token::AccessToken,
    },
    store::{Finders, Kind, List, Record, RecordKey, StoreError},
};

/// The most problems that are reported: more are no more informative.
const PROBLEMS_MAX: usize = 1000;

/// The result of an examination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// The problems, in words without contents; empty: the vault is sound.
    pub problems: Vec<String>,
    /// The number of secrets that were examined.
    pub secrets: u64,
}

impl Examined {
    fn report(&mut self, problem: String) {
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
                    let belongs = match record.account.filter(|_| kind != Kind::Account) {
                        Some(account) => self.is_there(account, &mut accounts).await?,
                        None => true,
                    };
                    if !belongs {
                        examined.report(format!("{}: it belongs to an account that is not there", shown(&record.key)));
                    }
                    match self.examine_record_now(record).await {
                        Ok(()) => {}
                        Err(StoreError::Damaged { what }) => examined.report(what),
                        Err(cause) => return Err(cause),
                    }
                }
                tokio::task::yield_now().await;
            }
        }
        self.examine_terms().await?.into_iter().for_each(|problem| examined.report(problem));
        if accounts.is_empty() {
            examined.report("there is no account".to_owned());
        }
        Ok(examined)
    }

    /// Whether an account is in `known`, or was added since; then it is put into `known`.
    async fn is_there(&self, account: AccountId, known: &mut BTreeSet<AccountId>) -> Result<bool, StoreError> {
        if known.contains(&account) {
            return Ok(true);
        }
        let added = self.store().read(&[RecordKey::new(Kind::Account, account.as_bytes())]).await?;
        Ok(added.iter().any(Option::is_some) && known.insert(account))
    }

    /// Examines a record, and once more as it stands now if it was changed meanwhile, or sealed under a new key.
    async fn examine_record_now(&self, record: &Record) -> Result<(), StoreError> {
        let known = self.keyring().version();
        let cause = match self.examine_record(record).await {
            Err(cause @ StoreError::Damaged { .. }) => cause,
            examined => return examined,
        };
        let now = self.store().read_one(&record.key).await?;
        let has_new_keys = self.meets_keys_after(known).await?;
        match now {
            Some(now) if has_new_keys || now.version != record.version => self.examine_record(&now).await,
            // It was erased meanwhile, together with the records that belong to it.
            None if sound(self.keyring(), record).is_ok() => Ok(()),
            _ => Err(cause),
        }
    }

    async fn examine_record(&self, record: &Record) -> Result<(), StoreError> {
        let finders = sound(self.keyring(), record)?;
        match record.key.kind {
            // This fails for a header that is older than the one that this process knows: it was put back.
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
            | Kind::SeatPin
            | Kind::Session
            | Kind::Letter
            | Kind::Authority => Ok(()),
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
        let kept = self.store().read_one(&key).await?;
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

/// The index entries of a record whose MAC is right, whose seal opens, and whose contents this program could have
/// written.
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
        Kind::Session => read::<Session>(keyring, record),
        Kind::Letter => read::<Letter>(keyring, record),
        Kind::Authority => {
            let authority: SealedAuthority = keyring.open_record(record)?;
            unsealed(keyring.open_authority(&authority).map(drop))?;
            Ok(Finders::default())
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::{
        domain::{
            audit::{Action, Actor, AuditEntry},
            ids::SecretId,
            secret::{SecretMetadata, SecretUse},
            seed::Seed,
            text::{Name, ShownText},
            time::Timestamp,
            totp::TotpParameters,
        },
        random::SystemRandom,
        store::{AuditQuery, Cursor},
        vault::{self, NewSecret, OpenRequest, Outcome, Source, VaultRequest, Writes},
    };

    const NOW: Timestamp = Timestamp::from_seconds(1_795_336_200);

    /// A new vault.
    pub(in crate::vault) async fn opened() -> (TempDir, Vault) {
        let root = tempfile::tempdir().unwrap();
        let store = OpenRequest {
            url: "sqlite:".to_owned(),
            data_dir: root.path().join("data"),
            writes: Writes::Inline,
            make: true,
        };
        let source = Arc::new(Source::file(None, root.path().join("keys")));
        let request = VaultRequest { store, source, state_dir: None, now: NOW };
        let vault = vault::open(&request, Arc::new(SystemRandom)).await.unwrap();
        (root, vault)
    }

    fn entry(action: Action) -> AuditEntry {
        AuditEntry::by(Actor::Person, action, NOW)
    }

    async fn add_secret(vault: &Vault, account: AccountId) -> SecretId {
        let id = SecretId::new(vault.core.random.random_id().unwrap());
        let metadata = SecretMetadata {
            label: ShownText::parse("ada").unwrap(),
            issuer: None,
            totp: TotpParameters::default(),
            usage: SecretUse::Plain,
            origins: Vec::new(),
        };
        let seed = Seed::from_base32("JBSWY3DPEHPK3PXP").unwrap();
        let new = NewSecret { id, account, created_at: NOW, metadata: &metadata, seed: &seed };
        let draft = vault.draft(entry(Action::SecretRegister)).add_secret(&new);
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
        id
    }

    async fn of_secret(vault: &Vault, id: SecretId) -> Vec<Record> {
        let keys = [Kind::Secret, Kind::Seed, Kind::Use].map(|kind| RecordKey::new(kind, id.as_bytes()));
        vault.store().read(&keys).await.unwrap().into_iter().flatten().collect()
    }

    #[tokio::test]
    async fn a_record_that_is_erased_while_it_is_examined_is_not_called_damaged() {
        let (_root, vault) = opened().await;
        let id = add_secret(&vault, vault.status().default_account).await;
        let read = of_secret(&vault, id).await;
        let draft = vault.draft(entry(Action::SecretErase)).erase_secret(id);
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
        assert_eq!(read.len(), 3);
        for record in &read {
            assert_eq!(vault.examine_record_now(record).await, Ok(()), "{}", shown(&record.key));
            let damaged = Record { mac: [0; 32], ..record.clone() };
            assert!(vault.examine_record_now(&damaged).await.is_err(), "it was damaged before that");
        }
    }

    #[tokio::test]
    async fn a_secret_that_is_renamed_while_it_is_examined_is_not_called_damaged() {
        let (_root, vault) = opened().await;
        let account = vault.status().default_account;
        let id = add_secret(&vault, account).await;
        let read = of_secret(&vault, id).await;
        let kept = vault.secret(account, id).await.unwrap().unwrap();
        let renamed = SecretMetadata { label: ShownText::parse("grace").unwrap(), ..kept.metadata.clone() };
        let draft = vault.draft(entry(Action::SecretUpdate)).change_secret(&kept, &renamed, None);
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
        assert!(vault.examine_record(&read[0]).await.is_err(), "its words are other ones now");
        assert_eq!(vault.examine_record_now(&read[0]).await, Ok(()));
    }

    #[tokio::test]
    async fn a_record_of_an_account_that_is_added_while_the_vault_is_examined_is_not_called_strange() {
        let (_root, vault) = opened().await;
        let account = AccountId::new(vault.core.random.random_id().unwrap());
        let new = Account { id: account, name: Name::parse("other").unwrap(), created_at: NOW };
        let mut known = BTreeSet::from([vault.status().default_account]);
        let id = SecretId::new(vault.core.random.random_id().unwrap());
        let key = RecordKey::new(Kind::Secret, id.as_bytes());
        assert!(!vault.is_there(account, &mut known).await.unwrap(), "{}", shown(&key));
        let draft = vault.draft(entry(Action::AccountAdd)).add(&new);
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
        assert!(vault.is_there(account, &mut known).await.unwrap());
    }

    #[tokio::test]
    async fn rows_that_are_pruned_while_the_log_is_examined_are_not_called_hidden() {
        let (_root, vault) = opened().await;
        for _ in 0..4 {
            vault.record(vec![entry(Action::CodeGet)]).await.unwrap();
        }
        let after = Cursor(vec![(0, 0)]);
        let query = AuditQuery { chain: Some(0), after, limit: CHUNK, ..AuditQuery::default() };
        let rows = vault.store().audit(&query).await.unwrap().records;
        assert_eq!(vault.hidden(&rows).await, Ok(None));
        let pruned = vault.prune(NOW.plus(std::time::Duration::from_secs(1)), &entry(Action::AuditPrune), None).await;
        assert_eq!(pruned, Ok(5));
        assert_eq!(vault.hidden(&rows).await, Ok(None));
    }

    #[tokio::test]
    async fn a_list_of_records_has_no_end_at_a_thousand() {
        let (_root, vault) = opened().await;
        let mut draft = vault.draft(entry(Action::AccountAdd));
        for nth in 0..1001 {
            let id = AccountId::new(vault.core.random.random_id().unwrap());
            let name = Name::parse(&format!("account {nth}")).unwrap();
            draft = draft.add(&Account { id, name, created_at: NOW });
        }
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
        assert_eq!(vault.records(Kind::Account).await.unwrap().len(), 1002);
    }
}
