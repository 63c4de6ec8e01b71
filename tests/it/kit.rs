//! What every test needs: a real vault in a temporary directory, and a clock moved by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use countersign::{
    clock::Clock,
    domain::{ids::AccountId, principal::Principal, time::Timestamp},
    random::SystemRandom,
    service::{Registered, Registration, Service},
    store::{OpenRequest, Opened, Writes, open},
};
use tempfile::TempDir;
use tokio::sync::Notify;
use zeroize::Zeroizing;

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

    /// Sets the time, forwards or back, and wakes everybody who waits.
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

/// A vault in a temporary directory, with a service on it and the person who keeps it.
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

    /// A vault in a directory: a second process on the first one's, so to speak.
    pub(crate) fn at(dir: TempDir, clock: Arc<HandClock>) -> Self {
        let opened = open_in(dir.path(), clock.now());
        let service = Service::new(opened.store, opened.keyring, clock.clone(), Arc::new(SystemRandom));
        let account = opened.status.default_account;
        Self { dir, clock, service, account, person: Principal::person(account) }
    }

    /// A further service on the same vault, as another process would have.
    pub(crate) fn another_service(&self) -> Service {
        let opened = open_in(self.dir.path(), self.clock.now());
        Service::new(opened.store, opened.keyring, self.clock.clone(), Arc::new(SystemRandom))
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
        self.service.register_secret(&self.person, registration).await.unwrap()
    }
}

pub(crate) fn open_in(dir: &std::path::Path, now: Timestamp) -> Opened {
    open(&OpenRequest {
        url: "sqlite:".to_owned(),
        data_dir: dir.join("data"),
        key_dir: dir.join("config/keys"),
        key_file: None,
        now,
        writes: Writes::Inline,
        strict: false,
    })
    .unwrap()
}
