//! What the store's tests are made with: a vault in a folder of its own, records that differ, a verifier of the trail.

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
        account::Account,
        api_key::{ApiKey, HashedKey, KeyId, KeyRights},
        audit::{Action, Actor, AuditEntry, AuditFilter, AuditRow, ChainHead},
        hourly::HourlyCount,
        ids::{AccountId, SeatId, SecretId},
        scope::ScopeSet,
        seat::{Seat, SeatProfile},
        text::{AuthSubject, Email, Name},
        time::Timestamp,
        totp::Step,
    },
    keyring::Keyring,
    store::{
        Holder, InUse, OpenError, OpenRequest, Opened, SealedSecret, SecretUse, SharedStore, StoreError, UseState,
        Verdict, Writes, open,
    },
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// The moment at which the tests begin: 2026-11-22T08:30:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_795_336_200);

/// A folder for a vault and its key.
pub(crate) struct Folder {
    pub(crate) root: PathBuf,
    pub(crate) writes: Writes,
    /// Removes the folder in the end, if it is this process's own.
    _own: Option<TempDir>,
}

impl Folder {
    pub(crate) fn new(writes: Writes) -> Self {
        let own = tempfile::tempdir().unwrap();
        Self { root: own.path().to_owned(), writes, _own: Some(own) }
    }

    /// Another process's folder.
    pub(crate) fn shared(root: &Path, writes: Writes) -> Self {
        Self { root: root.to_owned(), writes, _own: None }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.data().join("vault.db")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("config/keys")
    }

    pub(crate) fn request(&self) -> OpenRequest {
        request_at(&self.root, self.writes)
    }

    pub(crate) fn open(&self) -> Result<Opened, OpenError> {
        open(&self.request())
    }
}

/// The request for a vault in `data`, with its keys in `config/keys`, under a folder.
pub(crate) fn request_at(root: &Path, writes: Writes) -> OpenRequest {
    OpenRequest {
        url: "sqlite:".to_owned(),
        data_dir: root.join("data"),
        key_dir: root.join("config/keys"),
        key_file: None,
        now: NOW,
        writes,
        strict: false,
    }
}

/// An open vault of one backend, and a source of ids that differ.
pub(crate) struct World {
    pub(crate) folder: Folder,
    pub(crate) opened: Opened,
    next: AtomicU64,
}

/// Checks a promise of the contract against every backend, each in every way of writing.
#[expect(clippy::needless_pass_by_value, reason = "a promise is written where it is checked")]
pub(crate) fn check(promise: impl AsyncFn(&World)) {
    for writes in [Writes::Inline, Writes::Thread] {
        let runtime = runtime(writes);
        let folder = Folder::new(writes);
        runtime.block_on(async {
            let world = World::of(folder);
            promise(&world).await;
            world.verify().await.unwrap();
            assert_eq!(world.store().examine().await.unwrap(), Vec::<String>::new());
            world.store().close().await.unwrap();
        });
    }
}

/// The runtime that goes with a way of writing: one thread for a sidecar, several for a server.
pub(crate) fn runtime(writes: Writes) -> Runtime {
    match writes {
        Writes::Inline => tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        Writes::Thread => tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
    }
}

impl World {
    /// A new vault in a folder.
    pub(crate) fn of(folder: Folder) -> Self {
        let opened = folder.open().unwrap();
        Self::around(folder, opened)
    }

    /// A vault that is open already.
    pub(crate) fn around(folder: Folder, opened: Opened) -> Self {
        Self { folder, opened, next: AtomicU64::new(1) }
    }

    /// The same vault, as another process has it open.
    pub(crate) fn elsewhere(&self) -> Self {
        let folder = Folder::shared(&self.folder.root, self.folder.writes);
        let opened = folder.open().unwrap();
        let elsewhere = Self::around(folder, opened);
        elsewhere.ids_from(1000);
        elsewhere
    }

    /// Makes ids from a number on, so that several processes don't make the same.
    pub(crate) fn ids_from(&self, number: u64) {
        self.next.store(number, Ordering::Relaxed);
    }

    pub(crate) fn store(&self) -> &SharedStore {
        &self.opened.store
    }

    pub(crate) fn account(&self) -> AccountId {
        self.opened.status.default_account
    }

    /// An id that nothing else has; later ones sort later.
    pub(crate) fn id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.next.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn secret(&self) -> SealedSecret {
        let id = SecretId::new(self.id());
        SealedSecret {
            id,
            account: self.account(),
            version: 1,
            created_at: NOW,
            deleted_at: None,
            last_used_at: None,
            metadata: [b"sealed metadata of ".as_slice(), id.as_bytes()].concat(),
            seed: [b"sealed seed of ".as_slice(), id.as_bytes()].concat(),
        }
    }

    pub(crate) async fn added_secret(&self) -> SealedSecret {
        let secret = self.secret();
        let entry = self.entry_on(Action::SecretRegister, secret.id);
        self.store().add_secret(secret.clone(), None, entry).await.unwrap();
        secret
    }

    pub(crate) fn seat(&self, email: &str, subject: Option<&str>) -> Seat {
        Seat {
            id: SeatId::new(self.id()),
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

    pub(crate) async fn added_seat(&self, email: &str) -> Seat {
        let seat = self.seat(email, None);
        self.store().add_seat(seat.clone(), self.entry(Action::SeatAdd)).await.unwrap();
        seat
    }

    pub(crate) fn key(&self, seat: Option<SeatId>) -> (ApiKey, HashedKey) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = ApiKey {
            id: format!("{number:012}").parse::<KeyId>().unwrap(),
            name: Name::parse("a key").unwrap(),
            rights: KeyRights {
                account: self.account(),
                scopes: ScopeSet::of_a_new_key(),
                seat,
                secrets: Some(vec![SecretId::new(self.id()), SecretId::new(self.id())]),
                codes_per_hour: Some(7),
                expires_at: Some(later(3600)),
            },
            created_at: NOW,
            last_used_at: None,
            revoked_at: None,
        };
        (key, HashedKey([7; 32]))
    }

    pub(crate) async fn added_key(&self, seat: Option<SeatId>) -> ApiKey {
        let (key, hash) = self.key(seat);
        self.store().add_key(key.clone(), hash, self.entry(Action::KeyCreate)).await.unwrap();
        key
    }

    pub(crate) fn account_named(&self, name: &str) -> Account {
        Account { id: AccountId::new(self.id()), name: Name::parse(name).unwrap(), created_at: later(1) }
    }

    pub(crate) fn entry(&self, action: Action) -> AuditEntry {
        AuditEntry { account: Some(self.account()), ..AuditEntry::by(Actor::Person, action, NOW) }
    }

    pub(crate) fn entry_on(&self, action: Action, secret: SecretId) -> AuditEntry {
        AuditEntry { secret: Some(secret), ..self.entry(action) }
    }

    /// A use that decides as it is told and reports what it saw.
    pub(crate) async fn use_with(
        &self,
        secret: SecretId,
        decide: impl FnMut(Seen) -> Verdict + Send + 'static,
    ) -> bool {
        self.use_for(secret, Vec::new(), NOW, decide).await
    }

    pub(crate) async fn use_for(
        &self,
        secret: SecretId,
        counted: Vec<Holder>,
        now: Timestamp,
        mut decide: impl FnMut(Seen) -> Verdict + Send + 'static,
    ) -> bool {
        let request = SecretUse {
            account: self.account(),
            secret,
            now,
            counted,
            decide: Box::new(move |seen| {
                let (secret, state) = (seen.secret.clone(), seen.state.clone());
                decide(Seen { secret, state, counts: seen.counts.to_vec() })
            }),
        };
        Arc::clone(self.store()).use_secret(request).await.unwrap()
    }

    /// A use in another account; whether it found anything.
    pub(crate) async fn use_in(&self, account: AccountId, secret: SecretId) -> bool {
        let nothing = || Verdict { state: None, entry: None, counted: false, repeats_until: None };
        let request =
            SecretUse { account, secret, now: NOW, counted: Vec::new(), decide: Box::new(move |_| nothing()) };
        Arc::clone(self.store()).use_secret(request).await.unwrap()
    }

    /// A use whose decision panics.
    #[expect(clippy::panic, reason = "that is what it is for")]
    pub(crate) async fn fail(&self, secret: SecretId) -> Result<bool, StoreError> {
        let decide = Box::new(|_: InUse<'_>| panic!("a decision that fails"));
        let request = SecretUse { account: self.account(), secret, now: NOW, counted: Vec::new(), decide };
        Arc::clone(self.store()).use_secret(request).await
    }

    /// A code handed out as a plain call does: the step is marked once.
    pub(crate) async fn give(&self, secret: SecretId, step: u64) -> bool {
        let entry = AuditEntry { step: Some(Step(step)), ..self.entry_on(Action::CodeGet, secret) };
        self.use_with(secret, move |seen| given(seen, Step(step), entry.clone())).await
    }

    pub(crate) async fn state_of(&self, secret: SecretId) -> UseState {
        let (send, receive) = std::sync::mpsc::channel();
        let found = self
            .use_with(secret, move |seen| {
                send.send(seen.state).unwrap();
                Verdict { state: None, entry: None, counted: false, repeats_until: None }
            })
            .await;
        assert!(found, "a use of a secret that is not there");
        receive.try_iter().last().unwrap()
    }

    pub(crate) async fn trail(&self) -> Vec<AuditRow> {
        self.store().trail(AuditFilter::default()).await.unwrap()
    }

    pub(crate) async fn actions(&self) -> Vec<&'static str> {
        self.trail().await.into_iter().map(|row| row.entry.action.as_str()).collect()
    }

    pub(crate) async fn verify(&self) -> Result<u64, String> {
        verify(self.store(), &self.opened.keyring).await
    }

    /// Closes the vault and opens it again.
    pub(crate) async fn reopened(self) -> Self {
        self.opened.store.close().await.unwrap();
        self.dropped_and_reopened()
    }

    /// Lets go of the vault without closing it, and opens it again.
    pub(crate) fn dropped_and_reopened(self) -> Self {
        let Self { folder, opened, next } = self;
        drop(opened);
        let opened = folder.open().unwrap();
        Self { folder, opened, next }
    }
}

/// What a decision was made from, to keep.
pub(crate) struct Seen {
    pub(crate) secret: SealedSecret,
    pub(crate) state: UseState,
    pub(crate) counts: Vec<HourlyCount>,
}

/// The verdict of a plain call for a step.
pub(crate) fn given(seen: Seen, step: Step, entry: AuditEntry) -> Verdict {
    let mut state = seen.state;
    let new = state.steps.given < Some(step);
    state.steps.given = state.steps.given.max(Some(step));
    state.last_used_at = Some(entry.at);
    Verdict { state: new.then_some(state), entry: Some(entry), counted: true, repeats_until: Some(later(30)) }
}

pub(crate) fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

/// Follows the whole chain from its base. How many rows it has, or what is wrong with it.
pub(crate) async fn verify(store: &SharedStore, keyring: &Keyring) -> Result<u64, String> {
    let rows = store.trail(AuditFilter::default()).await.map_err(|error| error.to_string())?;
    let (base, head) = store.trail_ends().await.map_err(|error| error.to_string())?;
    let head = head.ok_or("the head is not the vault's")?;
    let (mut at, mut headed) = (base, base == head);
    for row in &rows {
        let mac = keyring.trail_mac(&at.mac, &row.entry.canonical(at.seq + 1));
        if row.seq != at.seq + 1 || row.mac != mac {
            return Err(format!("the chain breaks at row {}", at.seq + 1));
        }
        at = ChainHead { seq: row.seq, mac };
        headed |= at == head;
    }
    if headed { Ok(at.seq) } else { Err(format!("the head names row {}, which is not there", head.seq)) }
}
