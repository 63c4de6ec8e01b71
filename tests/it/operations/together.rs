//! Counts that four processes change at once: over a server, those are four nodes.

use std::{future::Future, sync::Arc};

use countersign::{
    domain::{api_key::PlainKey, principal::Principal, scope::ScopeSet},
    operations::{
        AddSeat, CreateKey, EnrollSecret, Enrolled, ErrorCode, ListSecrets, Offered, Registration, SeatChanges,
        Service, SetSeatPin, Visited,
    },
};
use futures::future::join_all;
use zeroize::Zeroizing;

use super::{
    code,
    enrolment::{Page, typing},
    plain,
};
use crate::kit::{Vault, registration_of, typed};

/// The number of concurrent calls of each process.
const EACH: usize = 6;

/// Makes calls in four processes at once.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    vault: &Vault,
    call: impl Fn(Service, Principal) -> F,
) -> Vec<T> {
    let services: Vec<_> = (0..4).map(|_| vault.another_service()).collect();
    let calls = services.iter().cycle().take(4 * EACH);
    let calls: Vec<_> = calls.map(|service| tokio::spawn(call(service.clone(), vault.person.clone()))).collect();
    join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_codes_an_hour_are_given_than_a_key_may_have() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let request = CreateKey {
        name: "slow".to_owned(),
        scopes: ScopeSet::ALL,
        seat: None,
        secrets: None,
        codes_per_hour: Some(5),
        expires_at: None,
    };
    let minted = vault.service.perform(&vault.person, request).await.unwrap();
    let key = Offered::Key(PlainKey::from_token(&minted.plain.expose_token()).unwrap());
    let caller = vault.service.authenticate(key).await.unwrap();

    let asked = at_once(&vault, |service, _| {
        let caller = caller.clone();
        async move { code(&service, &caller, id, plain()).await.map_err(|refusal| refusal.code()) }
    });
    let mut given = asked.await.iter().filter(|asked| asked.is_ok()).count();
    // Calls that lost against the others too often are repeated.
    while code(&vault.service, &caller, id, plain()).await.is_ok() {
        given += 1;
    }
    assert_eq!(given, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_wrong_codes_are_looked_at_than_are_free() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;

    let checked = at_once(&vault, |service, person| async move { service.perform(&person, typed(id, "000000")).await });
    let mut looked_at = checked.await.iter().filter(|checked| checked.is_ok()).count();
    let refusal = loop {
        match vault.service.perform(&vault.person, typed(id, "000000")).await {
            Ok(_) => looked_at += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!((looked_at, refusal.code()), (5, ErrorCode::RateLimited));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_secret_is_registered_by_one_idempotency_key() {
    let vault = Vault::new();

    let added = at_once(&vault, |service, person| async move {
        let new = registration_of(Registration { label: Some("a".to_owned()), ..Registration::default() });
        let idempotency_key = Some("once".to_owned());
        service.perform(&person, countersign::operations::RegisterSecret { idempotency_key, ..new }).await
    });
    let ids: Vec<_> = added.await.into_iter().map(|added| added.unwrap().secret.id).collect();

    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let listed = vault.service.perform(&vault.person, ListSecrets::default()).await.unwrap();
    assert_eq!(listed.secrets.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_wrong_pins_are_looked_at_than_are_free_over_all_enrolments_of_a_seat() {
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
    let mut tokens = Vec::new();
    for _ in 0..4 {
        let ask = EnrollSecret { seat_id: Some(seat.clone()), ..EnrollSecret::default() };
        let Enrolled::Pending { url, .. } = service.perform(person, ask).await.unwrap() else { panic!("it began") };
        tokens.push(url.rsplit('/').next().unwrap().to_owned());
    }

    let (tokens, turn) = (Arc::new(tokens), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    at_once(&vault, |service, _| {
        let (tokens, turn) = (Arc::clone(&tokens), Arc::clone(&turn));
        async move {
            let token = &tokens[turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % tokens.len()];
            let _ = service.visit(typing(token, "111112")).await;
        }
    })
    .await;

    // None of the enrolments had five wrong ones, and the right PIN has to wait.
    let Visited::Ask(asked) = service.visit(typing(&tokens[0], "492039")).await.unwrap() else { panic!("it waits") };
    assert!(matches!(asked.problem, Some(countersign::operations::ProofProblem::Held(_))), "{asked:?}");
    let wrong = vault.rows(countersign::domain::audit::AuditFilter::default()).await;
    let wrong = wrong.iter().filter(|row| row.entry.outcome == countersign::domain::audit::Outcome::Wrong).count();
    assert_eq!(wrong, 5);
}
