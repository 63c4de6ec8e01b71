//! The clock of a node against that of the server: the difference is known, and beyond some seconds, codes are neither
//! made nor checked.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use countersign::{
    clock::{Clock, SystemClock},
    domain::{principal::Principal, time::Timestamp},
    operations::{
        Diagnose, EnrollSecret, Enrolled, GetCode, Health, ListSecrets, OpenEnrolment, Refusal, Registration, Service,
        Typed,
    },
    random::SystemRandom,
    transport::http::LocalPage,
    vault::Writes,
};

use super::fresh;
use crate::{
    kit::{registration_of, typed},
    store::runtime,
};

/// The machine's clock, with an error in microseconds.
struct Wrong(AtomicI64);

impl Wrong {
    fn by(micros: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(micros)))
    }

    fn set(&self, seconds: i64) {
        self.0.store(seconds * 1_000_000, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().micros() + self.0.load(Ordering::SeqCst))
    }

    async fn wait(&self, until: Timestamp, most: std::time::Duration) {
        SystemClock.wait(until, most).await;
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn the_doctor_compares_the_clocks() {
    for (off, side) in [(0, "agrees"), (90_000_000, "behind"), (-90_000_000, "ahead of")] {
        let (url, folder) = (fresh(), tempfile::tempdir().unwrap());
        runtime(Writes::Thread).block_on(async {
            let vault = super::nodes::node(&url, folder.path()).await;
            let account = vault.status().default_account;
            let service = Service::new(vault, Wrong::by(off), Arc::new(SystemRandom));
            let found = service.perform(&Principal::person(account), Diagnose).await.unwrap();
            let clock = found.server.iter().find(|one| one.name == "clock").unwrap();
            assert!(off == 0 || clock.found.contains(side), "{clock:?}");
            assert_eq!(clock.concern.is_some(), off != 0, "{clock:?}");
            service.close().await.unwrap();
        });
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_node_whose_clock_is_far_off_makes_and_checks_no_codes_and_is_not_ready() {
    let (url, folder) = (fresh(), tempfile::tempdir().unwrap());
    runtime(Writes::Thread).block_on(async {
        let vault = super::nodes::node(&url, folder.path()).await;
        let person = Principal::person(vault.status().default_account);
        let clock = Wrong::by(0);
        let service = Service::new(vault, clock.clone(), Arc::new(SystemRandom));
        service.watch_clock();
        service.offer_enrolments(Arc::new(LocalPage::default()));
        let new = Registration { label: Some("a".to_owned()), ..Registration::default() };
        let id = service.perform(&person, registration_of(new)).await.unwrap().secret.id;
        service.perform(&person, GetCode::of(id)).await.unwrap();
        assert_eq!(service.health().await, Health::Ready);
        let asked = service.perform(&person, EnrollSecret::default()).await.unwrap();
        let Enrolled::Pending { id: enrolment, .. } = asked else { panic!() };
        let proven = service.perform(&person, OpenEnrolment { id: enrolment }).await.unwrap().unwrap();
        let key = Typed { key: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", label: Some("b"), issuer: None };
        let handle = service.take_typed(&proven, &key).await.unwrap();

        for (off, ahead) in [(20, true), (-20, false)] {
            clock.set(off);
            let code = service.perform(&person, GetCode::of(id)).await.map(|_| ()).unwrap_err();
            let Refusal::ClockApart { seconds, ahead: told } = code else { panic!("{code:?}") };
            // The server's answers may have taken some time.
            assert!((15..=20).contains(&seconds) && told == ahead, "{off}: {seconds}, {told}");
            let checked = service.perform(&person, typed(id, "123456")).await.map(|_| ()).unwrap_err();
            assert!(matches!(checked, Refusal::ClockApart { .. }), "{checked:?}");
            let shown = service.review(&proven, &handle).await.map(|_| ()).unwrap_err();
            assert!(matches!(shown, Refusal::ClockApart { .. }), "{shown:?}");
            assert_eq!(service.health().await, Health::NotReady, "{off}");
            let known = service.tally().clock_ahead.unwrap();
            assert!((15_000_000..=20_000_000).contains(&known.abs()) && (known > 0) == ahead, "{known}");
            service.perform(&person, ListSecrets::default()).await.unwrap();
        }

        // Two seconds are a warning. Once the clock is right, codes are made again.
        for off in [2, -2, 0] {
            clock.set(off);
            service.perform(&person, GetCode::of(id)).await.unwrap();
            assert_eq!(service.health().await, Health::Ready, "{off}");
        }
        assert!(service.review(&proven, &handle).await.unwrap().is_some());
        service.close().await.unwrap();
    });
}
