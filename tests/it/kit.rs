//! The fixtures of every test: a real vault in a temporary directory, and a clock moved by hand.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use countersign::{
    clock::Clock,
    domain::{
        audit::{AuditFilter, AuditRow},
        ids::{AccountId, SecretId},
        limits::PAGE_ROWS_MAX,
        principal::Principal,
        time::Timestamp,
    },
    operations::{
        AuditAsk, GetCode, ReadAudit, ReadWholeAudit, Refusal, RegisterSecret, Registered, Registration, Seconds,
        Service, VerifyCode,
    },
    random::{Random, SystemRandom},
    vault::{self, OpenRequest, Source, VaultRequest, Writes},
};
use tempfile::TempDir;
use tokio::sync::Notify;
use zeroize::Zeroizing;

/// The longest that a test waits for something that must come.
const LONGEST: Duration = Duration::from_mins(1);

/// Waits until a condition holds. Fails after a minute.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let patience = Patience::new();
    while !holds() {
        patience.check();
        std::thread::yield_now();
    }
}

/// Fails a loop that waits too long.
pub(crate) struct Patience(std::time::Instant);

impl Patience {
    pub(crate) fn new() -> Self {
        Self(std::time::Instant::now())
    }

    /// Lets other tasks run.
    pub(crate) async fn turn(&self) {
        self.check();
        tokio::task::yield_now().await;
    }

    #[track_caller]
    fn check(&self) {
        assert!(self.0.elapsed() < LONGEST, "what this waits for has not come in {LONGEST:?}");
    }
}

/// The seed of RFC 6238, appendix B, in base32.
pub(crate) const RFC_SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// A clock that stands still until a test moves it.
pub(crate) struct HandClock {
    micros: AtomicI64,
    moved: Notify,
}

impl HandClock {
    pub(crate) fn at_seconds(seconds: i64) -> Arc<Self> {
        Arc::new(Self { micros: AtomicI64::new(seconds * 1_000_000), moved: Notify::new() })
    }

    /// Sets the time, forwards or back, and wakes all waiters.
    pub(crate) fn set_seconds(&self, seconds: i64) {
        self.micros.store(seconds * 1_000_000, Ordering::SeqCst);
        self.moved.notify_waiters();
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    async fn wait(&self, moment: Timestamp, at_most: Duration) {
        let until = self.now().plus(at_most).min(moment);
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.now() >= until {
                return;
            }
            moved.await;
        }
    }
}

/// A vault in a temporary directory, with a service on it and a person as its caller.
pub(crate) struct Vault {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) service: Service,
    pub(crate) account: AccountId,
    pub(crate) person: Principal,
}

impl Vault {
    /// A new vault at 2026-11-22T00:00:00Z.
    pub(crate) fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap(), HandClock::at_seconds(1_795_305_600))
    }

    /// A vault in a directory. In the directory of another vault it acts as a second process.
    pub(crate) fn at(dir: TempDir, clock: Arc<HandClock>) -> Self {
        let opened = open_in(dir.path(), clock.now());
        let account = opened.status().default_account;
        let service = Service::new(opened, clock.clone(), Arc::new(SystemRandom));
        Self { dir, clock, service, account, person: Principal::person(account) }
    }

    /// A further service on the same vault, as another process would have.
    pub(crate) fn another_service(&self) -> Service {
        self.service_with(self.clock.clone(), Arc::new(SystemRandom))
    }

    /// A further service on the same vault, with another clock or another random source.
    pub(crate) fn service_with(&self, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Service {
        Service::new(open_in(self.dir.path(), clock.now()), clock, random)
    }

    /// Registers the RFC's seed, 6 digits, 30 seconds, SHA1.
    pub(crate) async fn register(&self, label: &str) -> Registered {
        self.register_as(Registration {
            label: Some(label.to_owned()),
            secret: Some(Zeroizing::new(RFC_SEED.to_owned())),
            ..Registration::default()
        })
        .await
    }

    pub(crate) async fn register_as(&self, registration: Registration) -> Registered {
        self.service.perform(&self.person, registration_of(registration)).await.unwrap()
    }

    /// Rows of the audit log, oldest first, as the person sees them.
    pub(crate) async fn rows(&self, filter: AuditFilter) -> Vec<AuditRow> {
        rows(&self.service, &self.person, filter).await.unwrap()
    }

    /// Rows of the audit log, oldest first, for every account and for rows without an account.
    pub(crate) async fn all_rows(&self, filter: AuditFilter) -> Vec<AuditRow> {
        let page = AuditAsk { limit: PAGE_ROWS_MAX, ..AuditAsk::default() };
        self.service.perform(&self.person, ReadWholeAudit { filter, page }).await.unwrap().rows
    }
}

/// A registration without an `Idempotency-Key`.
pub(crate) fn registration_of(registration: Registration) -> RegisterSecret {
    RegisterSecret { registration, idempotency_key: None, beside: None }
}

/// A call for a single-use code that does not wait.
pub(crate) fn alone_at_once(secret_id: SecretId) -> GetCode {
    GetCode { single_use: true, max_wait: Seconds::new(0), ..GetCode::of(secret_id) }
}

/// A check of a typed code.
pub(crate) fn typed(secret_id: SecretId, code: &str) -> VerifyCode {
    VerifyCode { secret_id, code: Zeroizing::new(code.to_owned()), seat_id: None }
}

/// Rows of the audit log, oldest first, as a caller sees them.
pub(crate) async fn rows(service: &Service, caller: &Principal, filter: AuditFilter) -> Result<Vec<AuditRow>, Refusal> {
    let page = AuditAsk { limit: PAGE_ROWS_MAX, ..AuditAsk::default() };
    Ok(service.perform(caller, ReadAudit { filter, page }).await?.rows)
}

/// Opens the vault in a folder, on its own runtime, because the caller may or may not be on one.
pub(crate) fn open_in(dir: &Path, now: Timestamp) -> vault::Vault {
    open_for(dir, now, Writes::Inline)
}

/// Opens the vault in a folder, for a server or for one caller.
pub(crate) fn open_for(dir: &Path, now: Timestamp, writes: Writes) -> vault::Vault {
    let request = VaultRequest {
        store: OpenRequest { url: crate::postgres::address_for(dir), data_dir: dir.join("data"), writes, make: true },
        source: Arc::new(Source::file(None, dir.join("config/keys"))),
        state_dir: Some(dir.join("state")),
        now,
    };
    let opening = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(vault::open(&request, Arc::new(SystemRandom))).unwrap()
    });
    opening.join().unwrap()
}
