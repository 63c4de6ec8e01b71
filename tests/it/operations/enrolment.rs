//! The state that an interrupted page of enrolments leaves behind, and the secrets that an export names.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
        mpsc,
    },
    time::Duration,
};

use async_trait::async_trait;
use countersign::{
    clock::Clock,
    domain::{
        audit::{Action, AuditFilter},
        enrolment::EnrolmentState,
        enrolment::ProofWanted,
        ids::{AccountId, EnrolmentId},
        time::Timestamp,
    },
    operations::{
        AddSeat, DeleteSecret, EnrollSecret, Enrolled, EnrolmentPage, ExportSecrets, OpenEnrolment, Refusal,
        SeatChanges, Service, SetSeatPin, Typed, Visited, Visitor,
    },
    random::SystemRandom,
};
use zeroize::Zeroizing;

use crate::kit::Vault;

/// A server's page of enrolments, without a server behind it.
pub(super) struct Page;

#[async_trait]
impl EnrolmentPage for Page {
    fn proof(&self) -> ProofWanted {
        ProofWanted::Seat
    }

    fn signs_in(&self) -> bool {
        false
    }

    fn provider(&self) -> Option<AccountId> {
        None
    }

    async fn serve(&self, _: &Service, _: EnrolmentId) -> Result<String, Refusal> {
        Ok("http://localhost".to_owned())
    }
}

pub(super) fn typing<'a>(token: &'a str, pin: &'a str) -> Visitor<'a> {
    Visitor { token, same_user: None, signed_in: None, ticket: None, typed: Some(pin), looks: true, from: None }
}

#[test]
fn an_enrolment_whose_tries_are_used_up_is_over_although_their_ends_were_lost() {
    // The only thread for slow hashes is busy: a try is counted, and its hash is never computed.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let vault = Vault::new();
        let (service, person) = (&vault.service, &vault.person);
        service.offer_enrolments(Arc::new(Page));
        let profile = SeatChanges {
            email: Some("ada@example.com".to_owned()),
            auth_subject: Some("idp|ada".to_owned()),
            ..SeatChanges::default()
        };
        let seat = service.perform(person, AddSeat { profile }).await.unwrap().id.to_string();
        let pin = Some(Zeroizing::new("492039".to_owned()));
        service.perform(person, SetSeatPin { seat: seat.clone(), pin }).await.unwrap();
        let ask = EnrollSecret { seat_id: Some(seat), ..EnrollSecret::default() };
        let Enrolled::Pending { id, url, .. } = service.perform(person, ask).await.unwrap() else { panic!("it began") };
        let token = url.rsplit('/').next().unwrap();
        let (free, busy) = mpsc::channel::<()>();
        let thread = tokio::task::spawn_blocking(move || busy.recv());
        for _ in 0..5 {
            let visit = service.visit(typing(token, "111112"));
            tokio::pin!(visit);
            for _ in 0..100 {
                assert!(futures::poll!(visit.as_mut()).is_pending(), "it waits for its hash");
                tokio::task::yield_now().await;
            }
        }
        // The delay of the tries has passed, and the thread is free.
        vault.clock.set_seconds(1_795_305_602);
        free.send(()).unwrap();
        thread.await.unwrap().unwrap();

        let visited = service.visit(typing(token, "492039")).await.unwrap();

        assert!(matches!(visited, Visited::Ended(EnrolmentState::Cancelled)));
        assert_eq!(service.is_enrolment_open(id).await, Ok(false));
    });
}

#[tokio::test]
async fn a_refusal_of_the_page_bears_its_own_time() {
    let vault = Vault::new();
    let (service, person) = (&vault.service, &vault.person);
    service.offer_enrolments(Arc::new(Page));
    let profile = SeatChanges { email: Some("ada@example.com".to_owned()), ..SeatChanges::default() };
    let seat = service.perform(person, AddSeat { profile }).await.unwrap().id.to_string();
    let pin = Some(Zeroizing::new("492039".to_owned()));
    service.perform(person, SetSeatPin { seat: seat.clone(), pin }).await.unwrap();
    let ask = EnrollSecret { seat_id: Some(seat), ..EnrollSecret::default() };
    let Enrolled::Pending { id, .. } = service.perform(person, ask).await.unwrap() else { panic!("it began") };
    let proven = service.perform(person, OpenEnrolment { id }).await.unwrap().unwrap();
    let later = 1_795_305_610;
    vault.clock.set_seconds(later);

    service.take_typed(&proven, &Typed { key: "no key", label: None, issuer: None }).await.unwrap_err();

    let filter = AuditFilter { action: Some(Action::EnrolStore), ..AuditFilter::default() };
    let rows = vault.all_rows(filter).await;
    assert_eq!(rows.iter().map(|row| row.entry.at.seconds()).collect::<Vec<_>>(), [later]);
}

#[tokio::test]
async fn a_named_secret_that_was_deleted_meanwhile_is_missed_by_an_export() {
    let vault = Vault::new();
    let (service, person) = (&vault.service, &vault.person);
    let id = vault.register("alice").await.secret.id;
    service.perform(person, DeleteSecret { secret_id: id }).await.unwrap();

    let export = service.perform(person, ExportSecrets { only: Some(vec![id]) }).await;

    assert_eq!(export.err(), Some(Refusal::NotFound("secret")));
    assert_eq!(service.perform(person, ExportSecrets::default()).await.unwrap().uris.len(), 0);
}

/// A clock whose waits end a little late, as on every machine.
struct LateClock(AtomicI64);

#[async_trait]
impl Clock for LateClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    async fn wait(&self, moment: Timestamp, at_most: Duration) {
        let end = self.now().plus(at_most).min(moment).plus(Duration::from_millis(5));
        self.0.store(end.micros(), Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_call_that_waits_for_an_enrolment_is_answered_within_45_seconds() {
    let vault = Vault::new();
    let clock = Arc::new(LateClock(AtomicI64::new(vault.clock.now().micros())));
    let service = vault.service_with(clock.clone(), Arc::new(SystemRandom));
    service.offer_enrolments(Arc::new(Page));
    let profile = SeatChanges {
        email: Some("ada@example.com".to_owned()),
        auth_subject: Some("idp|ada".to_owned()),
        ..SeatChanges::default()
    };
    let seat = service.perform(&vault.person, AddSeat { profile }).await.unwrap().id.to_string();
    let pin = Some(Zeroizing::new("492039".to_owned()));
    service.perform(&vault.person, SetSeatPin { seat: seat.clone(), pin }).await.unwrap();
    let ask = EnrollSecret { seat_id: Some(seat), ..EnrollSecret::default() };
    let begun = service.perform(&vault.person, ask).await.unwrap();
    let Enrolled::Pending { id, .. } = begun else { panic!("it began") };
    let before = clock.now();

    let later = EnrollSecret { enrollment_id: Some(id), ..EnrollSecret::default() };
    let told = service.perform(&vault.person, later).await.unwrap();

    let took = before.until(clock.now());
    assert!(matches!(told, Enrolled::Pending { .. }));
    assert!(took > Duration::from_secs(40) && took < Duration::from_millis(44_500), "{took:?}");
}
