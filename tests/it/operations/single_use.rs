//! Codes that go to one caller only.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use async_trait::async_trait;
use countersign::{
    clock::Clock,
    domain::{
        audit::{Action, AuditFilter},
        time::Timestamp,
    },
    operations::{
        ErrorCode, GetCode, Patience, Refusal, Registration, ResetSteps, Seconds, SecretChanges, UpdateSecret,
    },
    random::SystemRandom,
};

use super::{code, plain, single_use, whole};
use crate::kit::{Vault, alone_at_once};

const START: i64 = 1_795_305_600;

/// Whether `retry_after` is in the first third of the step that begins in `seconds`: callers are spread over it.
fn in_step_from(seconds: i64, refusal: &Refusal) -> bool {
    let first = u64::try_from(seconds).unwrap();
    refusal.retry_after().is_some_and(|after| (first..first + 10).contains(&after))
}

#[tokio::test]
async fn a_fleet_that_is_refused_is_told_to_come_back_when_it_can_succeed_and_not_in_one_second() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let at_once = GetCode { single_use: true, max_wait: Seconds::new(0), ..plain() };
    code(&vault.service, &vault.person, id, at_once.clone()).await.unwrap();

    let mut told = std::collections::BTreeSet::new();
    for _ in 0..64 {
        let refusal = code(&vault.service, &vault.person, id, at_once.clone()).await.unwrap_err();
        assert!(in_step_from(30, &refusal), "{refusal}");
        told.insert(refusal.retry_after().unwrap());
    }

    assert!(told.len() > 3, "64 callers are told {told:?}");
    vault.clock.set_seconds(START + i64::try_from(*told.last().unwrap()).unwrap());
    code(&vault.service, &vault.person, id, at_once).await.unwrap();
}

#[tokio::test]
async fn two_callers_never_get_one_step() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let elsewhere = vault.another_service();
    let first = code(&vault.service, &vault.person, id, single_use()).await.unwrap();
    let refusal = code(&elsewhere, &vault.person, id, single_use()).await.unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::Busy);
    assert!(in_step_from(30, &refusal), "{refusal}");
    vault.clock.set_seconds(START + 30);
    let second = code(&elsewhere, &vault.person, id, single_use()).await.unwrap();
    assert_ne!(first, second);
}

#[tokio::test]
async fn callers_queue_for_the_next_steps() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let ask = GetCode { single_use: true, max_wait: Seconds::new(120), ..plain() };
    let of = |action| AuditFilter { action: Some(action), ..AuditFilter::default() };
    let mut calls = Vec::new();
    for nth in 1..=4 {
        let (service, person, ask) = (vault.service.clone(), vault.person.clone(), ask.clone());
        calls.push(tokio::spawn(async move { code(&service, &person, id, ask).await.unwrap() }));
        // Each caller has its step before the next one sends its request.
        let patience = crate::kit::Patience::new();
        while vault.rows(of(Action::CodeGet)).await.len() + vault.rows(of(Action::CodeReserve)).await.len() < nth {
            patience.turn().await;
        }
    }
    let mut codes = Vec::new();
    for (nth, call) in calls.into_iter().enumerate() {
        vault.clock.set_seconds(START + 30 * i64::try_from(nth).unwrap());
        codes.push(call.await.unwrap());
    }
    codes.dedup();
    assert_eq!(codes.len(), 4);
}

#[tokio::test]
async fn a_plain_call_is_never_given_a_reserved_code() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    code(&vault.service, &vault.person, id, single_use()).await.unwrap();
    vault.clock.set_seconds(START + 12);
    let refusal = code(&vault.service, &vault.person, id, plain()).await.unwrap_err();
    assert_eq!((refusal.code(), refusal.retry_after()), (ErrorCode::Busy, Some(18)));
    assert!(refusal.to_string().starts_with("the current code is reserved for another caller"), "{refusal}");
    vault.clock.set_seconds(START + 30);
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
}

#[tokio::test]
async fn a_code_that_a_plain_call_saw_is_never_single_use() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seen = code(&vault.service, &vault.person, id, plain()).await.unwrap();
    assert_eq!(code(&vault.service, &vault.person, id, single_use()).await.unwrap_err().code(), ErrorCode::Busy);
    assert_eq!(code(&vault.service, &vault.person, id, plain()).await.unwrap(), seen);
    vault.clock.set_seconds(START + 30);
    assert_ne!(code(&vault.service, &vault.person, id, single_use()).await.unwrap(), seen);
}

#[tokio::test]
async fn a_cancelled_waiter_gives_its_step_back() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    code(&vault.service, &vault.person, id, single_use()).await.unwrap();
    let ask = GetCode { single_use: true, max_wait: Seconds::new(45), ..plain() };
    let (service, person) = (vault.service.clone(), vault.person.clone());
    let waiting = tokio::spawn(async move { code(&service, &person, id, ask).await });
    let released = |action| AuditFilter { action: Some(action), ..AuditFilter::default() };
    let patience = crate::kit::Patience::new();
    while vault.rows(released(Action::CodeReserve)).await.is_empty() {
        patience.turn().await;
    }
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    let patience = crate::kit::Patience::new();
    while vault.rows(released(Action::CodeRelease)).await.is_empty() {
        patience.turn().await;
    }
    vault.clock.set_seconds(START + 30);
    code(&vault.service, &vault.person, id, single_use()).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_ran_ahead_leaves_a_secret_busy_until_a_person_resets_it() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    // Further than any queue of callers reaches: 120 seconds and a step.
    for ahead in [210, 3600, 86_400] {
        vault.clock.set_seconds(START + ahead);
        code(&vault.service, &vault.person, id, single_use()).await.unwrap();
        vault.clock.set_seconds(START);
        for request in [single_use(), plain()] {
            let refusal = code(&vault.service, &vault.person, id, request).await.unwrap_err();
            assert_eq!(refusal.code(), ErrorCode::Busy);
            // The whole wait is reported, however long: every earlier try is in vain.
            assert!(in_step_from(ahead + 30, &refusal), "{refusal}");
            assert!(refusal.to_string().contains("reset-steps"), "{refusal}");
        }
    }

    vault.service.perform(&vault.person, ResetSteps { id }).await.unwrap();
    vault.clock.set_seconds(START + 30);
    code(&vault.service, &vault.person, id, single_use()).await.unwrap();
    let filter = AuditFilter { action: Some(Action::SecretResetSteps), ..AuditFilter::default() };
    assert_eq!(vault.rows(filter).await.len(), 1);
}

#[tokio::test]
async fn a_secret_can_be_single_use_for_everybody() {
    let vault = Vault::new();
    let registration = Registration { label: Some("A".to_owned()), single_use: true, ..Registration::default() };
    let id = vault.register_as(registration).await.secret.id;
    let request = GetCode { max_wait: Seconds::new(0), ..plain() };
    code(&vault.service, &vault.person, id, request.clone()).await.unwrap();
    assert_eq!(code(&vault.service, &vault.person, id, request.clone()).await.unwrap_err().code(), ErrorCode::Busy);

    let changes = SecretChanges { single_use: Some(false), ..SecretChanges::default() };
    vault.service.perform(&vault.person, UpdateSecret { id, changes }).await.unwrap();
    vault.clock.set_seconds(START + 30);
    code(&vault.service, &vault.person, id, request.clone()).await.unwrap();
    code(&vault.service, &vault.person, id, request).await.unwrap();
}

#[tokio::test]
async fn a_single_use_code_can_be_fresh_too() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    vault.clock.set_seconds(START + 25);
    let ask = GetCode { single_use: true, min_validity: Seconds::new(10), ..plain() };
    let (service, person) = (vault.service.clone(), vault.person.clone());
    let waiting = tokio::spawn(async move { whole(&service, &person, id, ask).await });
    tokio::task::yield_now().await;
    vault.clock.set_seconds(START + 30);
    assert_eq!(waiting.await.unwrap().unwrap().expires_in, 30);
}

#[tokio::test]
async fn what_was_given_survives_a_restart() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    code(&vault.service, &vault.person, id, single_use()).await.unwrap();
    vault.service.close().await.unwrap();
    let Vault { dir, clock, .. } = vault;
    let vault = Vault::at(dir, clock);
    assert_eq!(code(&vault.service, &vault.person, id, single_use()).await.unwrap_err().code(), ErrorCode::Busy);
}

#[tokio::test]
async fn a_process_that_ends_gives_its_steps_back_first() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    code(&vault.service, &vault.person, id, single_use()).await.unwrap();
    let ask = GetCode { single_use: true, max_wait: Seconds::new(45), ..plain() };
    let (service, person) = (vault.service.clone(), vault.person.clone());
    let waiting = tokio::spawn(async move { code(&service, &person, id, ask).await });
    let reserved = AuditFilter { action: Some(Action::CodeReserve), ..AuditFilter::default() };
    let patience = crate::kit::Patience::new();
    while vault.rows(reserved.clone()).await.is_empty() {
        patience.turn().await;
    }
    waiting.abort();
    vault.service.close().await.unwrap();

    let Vault { dir, clock, .. } = vault;
    let vault = Vault::at(dir, clock);
    vault.clock.set_seconds(START + 30);
    code(&vault.service, &vault.person, id, single_use()).await.unwrap();
}

#[tokio::test]
async fn a_caller_gone_while_its_step_is_reserved_leaves_none_reserved() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    code(&vault.service, &vault.person, id, single_use()).await.unwrap();
    let ask = GetCode { single_use: true, max_wait: Seconds::new(120), ..plain() };
    let on_trail = async |action| {
        let filter = AuditFilter { action: Some(action), ..AuditFilter::default() };
        vault.rows(filter).await.len()
    };
    for nth in 1..=3 {
        // The call is dropped on its way to the store, before any answer.
        let mut call = Box::pin(code(&vault.service, &vault.person, id, ask.clone()));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(call);
        let patience = crate::kit::Patience::new();
        while on_trail(Action::CodeReserve).await < nth || on_trail(Action::CodeRelease).await < nth {
            patience.turn().await;
        }
    }
    let refusal = code(&vault.service, &vault.person, id, single_use()).await.unwrap_err();
    assert!(in_step_from(30, &refusal), "the very next step is free: {refusal}");
}

/// A clock that is set back during a wait: the wait lasts as long as planned, and the time afterwards is an earlier
/// one.
struct SetBack {
    seconds: AtomicI64,
    waits: AtomicU32,
}

#[async_trait]
impl Clock for SetBack {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.seconds.load(Ordering::SeqCst))
    }

    async fn wait(&self, _moment: Timestamp, _at_most: Duration) {
        assert!(self.waits.fetch_add(1, Ordering::SeqCst) < 300, "a call waits for ever");
        self.seconds.fetch_sub(60, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_clock_set_back_does_not_make_a_caller_wait_longer_than_it_said() {
    struct Listens;
    #[async_trait]
    impl Patience for Listens {
        async fn waiting(&self, _waited: Duration, _total: Duration) {}
    }
    let kept = Vault::new();
    let id = kept.register("A").await.secret.id;
    let single = GetCode { single_use: true, max_wait: Seconds::new(12), ..GetCode::of(id) };
    let fresh = GetCode { min_validity: Seconds::new(15), max_wait: Seconds::new(12), ..GetCode::of(id) };
    for request in [single, fresh] {
        for patience in [&() as &dyn Patience, &Listens] {
            let clock = Arc::new(SetBack { seconds: AtomicI64::new(START + 20), waits: AtomicU32::new(0) });
            let service = kept.service_with(clock.clone(), Arc::new(SystemRandom));
            // This call takes the current step, if it is free.
            let _ = service.perform(&kept.person, alone_at_once(id)).await;
            let refusal = service.perform_for(&kept.person, request.clone(), patience).await.err().unwrap();
            assert_eq!(refusal.code(), ErrorCode::Busy, "{refusal}");
            assert!(!request.single_use || refusal.to_string().contains("clock was set back"), "{refusal}");
            assert!(clock.waits.load(Ordering::SeqCst) <= 13);
            kept.service.perform(&kept.person, ResetSteps { id }).await.unwrap();
        }
    }
}
