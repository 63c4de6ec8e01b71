//! A vault in its own folder, and functions that add records to it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign::{
    domain::{
        api_key::{ApiKey, HashedKey, KeyId, KeyRights},
        audit::{Action, Actor, AuditEntry},
        ids::{AccountId, SeatId, SecretId},
        scope::ScopeSet,
        seat::{Seat, SeatProfile},
        secret::{SecretMetadata, SecretUse},
        seed::Seed,
        text::{AuthSubject, Email, Name, ShownText},
        time::Timestamp,
        totp::{Step, TotpParameters},
    },
    random::SystemRandom,
    vault::{self, KeptKey, NewSecret, OpenError, OpenRequest, Outcome, Source, Vault, VaultRequest, Writes},
};
use tempfile::TempDir;
use uuid::Uuid;

/// The moment at which the tests begin: 2026-11-22T08:30:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_795_336_200);
pub(crate) const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// A folder for a vault, its key and its state file.
pub(crate) struct Folder {
    pub(crate) root: PathBuf,
    _own: Option<TempDir>,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        Self { root: own.path().to_owned(), _own: Some(own) }
    }

    /// Another process's folder.
    pub(crate) fn shared(root: &Path) -> Self {
        Self { root: root.to_owned(), _own: None }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.root.join("data/vault.db")
    }

    /// A request that opens an existing vault and creates none.
    pub(crate) fn existing(&self) -> VaultRequest {
        let request = self.request();
        VaultRequest { store: OpenRequest { make: false, ..request.store.clone() }, ..request }
    }

    pub(crate) fn request(&self) -> VaultRequest {
        VaultRequest {
            store: OpenRequest {
                url: crate::postgres::address_for(&self.root),
                data_dir: self.root.join("data"),
                writes: Writes::Inline,
                make: true,
            },
            source: Arc::new(Source::file(None, self.root.join("config/keys"))),
            state_dir: Some(self.root.join("state")),
            now: NOW,
        }
    }

    /// The request with a key file in this folder.
    pub(crate) fn with_key(&self, path: &str, request: VaultRequest) -> VaultRequest {
        let source = Source::file(Some(self.root.join(path)), self.root.join("config/keys"));
        VaultRequest { source: Arc::new(source), ..request }
    }

    pub(crate) async fn open(&self) -> Result<Vault, OpenError> {
        vault::open(&self.request(), Arc::new(SystemRandom)).await
    }

    /// Changes the file directly.
    pub(crate) fn edit(&self, sql: &str) -> usize {
        let conn = rusqlite::Connection::open(self.file()).unwrap();
        conn.busy_timeout(Duration::from_secs(5)).unwrap();
        conn.execute(sql, []).unwrap()
    }
}

/// An open vault and a source of ids that differ.
pub(crate) struct World {
    pub(crate) folder: Folder,
    pub(crate) vault: Vault,
    next: AtomicU64,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::of(Folder::new()).await
    }

    pub(crate) async fn of(folder: Folder) -> Self {
        let vault = folder.open().await.unwrap();
        Self::over(folder, vault)
    }

    /// A vault that is already open.
    pub(crate) fn over(folder: Folder, vault: Vault) -> Self {
        Self { folder, vault, next: AtomicU64::new(1) }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.vault.status().default_account
    }

    pub(crate) fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.next.fetch_add(1, Ordering::Relaxed)) << 64)
    }

    pub(crate) fn entry(&self, action: Action) -> AuditEntry {
        AuditEntry { account: Some(self.account()), ..AuditEntry::by(Actor::Person, action, NOW) }
    }

    /// Adds a secret.
    pub(crate) async fn secret(&self, issuer: &str, label: &str) -> SecretId {
        self.secret_with(&metadata(issuer, label)).await
    }

    pub(crate) async fn secret_with(&self, metadata: &SecretMetadata) -> SecretId {
        let (id, seed) = (SecretId::new(self.uuid()), Seed::from_base32(SEED).unwrap());
        let new = NewSecret { id, account: self.account(), created_at: NOW, metadata, seed: &seed };
        let entry = AuditEntry { secret: Some(id), ..self.entry(Action::SecretRegister) };
        assert_eq!(self.vault.draft(entry).add_secret(&new).commit().await.unwrap(), Outcome::Done);
        id
    }

    pub(crate) fn new_seat(&self, email: &str, subject: Option<&str>) -> Seat {
        Seat {
            id: SeatId::new(self.uuid()),
            account: self.account(),
            created_at: NOW,
            profile: SeatProfile {
                email: Email::parse(email).unwrap(),
                first_name: None,
                last_name: None,
                forwarding_number: None,
                auth_subject: subject.map(|subject| AuthSubject::parse(subject).unwrap()),
                codes_per_hour: None,
            },
        }
    }

    pub(crate) fn new_key(&self, id: &str, seat: Option<SeatId>) -> KeptKey {
        let rights = KeyRights {
            account: self.account(),
            scopes: ScopeSet::of_a_new_key(),
            seat,
            secrets: None,
            codes_per_hour: None,
            expires_at: None,
        };
        let key = ApiKey {
            id: id.parse::<KeyId>().unwrap(),
            name: Name::parse("robot").unwrap(),
            rights,
            created_at: NOW,
            last_used_at: None,
            revoked_at: None,
            off_since: None,
        };
        KeptKey { key, hash: HashedKey([1; 32]) }
    }

    /// Adds a row to the audit log.
    pub(crate) async fn row(&self, step: u64) {
        self.row_at(step, NOW).await;
    }

    pub(crate) async fn row_at(&self, step: u64, at: Timestamp) {
        let entry = AuditEntry { at, step: Some(Step(step)), ..self.entry(Action::CodeGet) };
        self.vault.record(vec![entry]).await.unwrap();
    }

    /// Checks that everything in the vault is sound.
    pub(crate) async fn check_sound(&self) {
        let report = self.vault.verify(&[]).await.unwrap();
        assert_eq!(report.finding, None);
        assert_eq!(self.vault.examine().await.unwrap().problems, Vec::<String>::new());
    }

    /// The same vault, opened as another process does.
    pub(crate) async fn elsewhere(&self) -> Self {
        let other = Self::of(Folder::shared(&self.folder.root)).await;
        other.begin_numbers_at(1 << 20);
        other
    }

    /// Makes the following ids differ from those of another world of the same vault.
    pub(crate) fn begin_numbers_at(&self, number: u64) {
        self.next.store(number, Ordering::Relaxed);
    }
}

pub(crate) fn metadata(issuer: &str, label: &str) -> SecretMetadata {
    SecretMetadata {
        label: ShownText::parse(label).unwrap(),
        issuer: (!issuer.is_empty()).then(|| ShownText::parse(issuer).unwrap()),
        totp: TotpParameters::default(),
        usage: SecretUse::Plain,
        origins: Vec::new(),
    }
}
